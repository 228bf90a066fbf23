//! Checks a model's input: one float tensor, `[N, 3, H, W]`, of known size.

use crate::config::ModelPlan;
use crate::error::{Code, Error};

use super::session::{Element, Port, Signature};

/// Maximum values in a run's input (256 MiB of floats), whatever size the model declares.
const VALUES_MAX: usize = 1 << 26;

/// A model's input, resolved.
pub(super) struct Input {
    pub(super) element: Element,
    /// Fixed batch size, if the model has one.
    pub(super) batch: Option<usize>,
    /// Width and height.
    pub(super) size: (usize, usize),
}

impl Input {
    /// # Errors
    /// `ModelLayout` when pictures cannot be fed to it.
    pub(super) fn of(plan: &ModelPlan, signature: &Signature) -> Result<Self, Error> {
        let refuse = |why: &str, hint: &str| {
            let message = format!("model {}: {why}; {}", plan.model.display(), signature.describe());
            Err(Error::new(Code::ModelLayout, message).hint(hint))
        };
        let [Port { element, shape, .. }] = signature.inputs.as_slice() else {
            return refuse("a detector with exactly one input is needed", "export the network without further inputs");
        };
        if matches!(element, Element::Other(_)) {
            return refuse("the input must be 32- or 16-bit floats", "export the model with float inputs");
        }
        let &[batch, channels, height, width] = shape.as_slice() else {
            return refuse("the input must have four axes, [N, 3, H, W]", "export the model with NCHW input");
        };
        if channels.is_some_and(|c| c != 3) {
            return refuse("the input must have three channels, [N, 3, H, W]", "export the model with NCHW input");
        }
        let wanted = plan.input_shape.map(|[_, h, w]| (h, w));
        let exported = signature.metadata.imgsz.as_deref().and_then(size_of);
        let (open_height, open_width) = match (wanted.or(exported), height, width) {
            (Some(size), ..) => size,
            (None, Some(h), Some(w)) => (h, w),
            _ => return refuse("height and width of the input are open", "set `input_shape: [3, 640, 640]`"),
        };
        let size = (width.unwrap_or(open_width), height.unwrap_or(open_height));
        if plan.input_shape.is_some_and(|[c, h, w]| c != 3 || (w, h) != size || w == 0 || h == 0) {
            return refuse(
                "`input_shape` is not the model's",
                "`input_shape` is [3, height, width]; leave it out where the model fixes it",
            );
        }
        let values =
            [batch.unwrap_or(1), 3, size.0, size.1].iter().try_fold(1, |all: usize, axis| all.checked_mul(*axis));
        if !values.is_some_and(|values| (1..=VALUES_MAX).contains(&values)) {
            return refuse(
                "the input has no size that a picture can be brought to",
                "export the model for pictures of some hundred pixels, in batches of some",
            );
        }
        Ok(Self { element: element.clone(), batch, size })
    }
}

/// Height and width from `[640, 480]`, or from `640`, which is both.
fn size_of(text: &str) -> Option<(usize, usize)> {
    if let Ok(both) = text.trim().parse() {
        return Some((both, both));
    }
    let (h, w) = text.trim().strip_prefix('[')?.strip_suffix(']')?.split_once(',')?;
    Some((h.trim().parse().ok()?, w.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::session::Metadata;
    use super::*;
    use crate::config;

    fn input(shape: [Option<usize>; 4], imgsz: Option<&str>) -> Result<Input, Error> {
        let port = Port { name: "images".into(), element: Element::F32, shape: shape.to_vec() };
        let metadata = Metadata { imgsz: imgsz.map(str::to_owned), ..Metadata::default() };
        let config = "detection: {strategies: [{name: a, model_path: a.onnx}]}".to_owned();
        let request = config::Request { document: Some(config), ..config::Request::default() };
        let plan = config::load(&request).unwrap().plan;
        Input::of(&plan.models[0], &Signature { inputs: vec![port], outputs: vec![], metadata })
    }

    #[test]
    fn a_model_that_wants_pictures_without_measure_is_refused() {
        let fixed = |batch: usize, height: usize, width: usize| [Some(batch), Some(3), Some(height), Some(width)];
        for shape in [
            fixed(1, 1 << 20, 1 << 20),
            fixed(1, usize::MAX / 2, 4),
            fixed(0, 640, 640),
            fixed(1, 0, 640),
            fixed(1 << 40, 640, 640),
            fixed(1, 640, usize::MAX),
        ] {
            let error = input(shape, None).map(|input| input.size).unwrap_err().to_string();
            assert!(error.contains("no size that a picture can be brought to"), "{shape:?}: {error}");
        }
        let open = [None, Some(3), None, None];
        assert!(input(open, Some("[99999999, 99999999]")).is_err());
        assert_eq!(input(open, Some("[384, 640]")).unwrap().size, (640, 384));
        assert_eq!(input(fixed(16, 640, 640), None).unwrap().size, (640, 640));
    }

    #[test]
    fn the_exported_size_is_height_then_width() {
        assert_eq!(size_of("[640, 480]"), Some((640, 480)));
        assert_eq!(size_of(" 64 "), Some((64, 64)));
        assert_eq!(size_of("64x64"), None);
        assert_eq!(input([None, Some(3), None, None], Some("64")).unwrap().size, (64, 64));
    }
}
