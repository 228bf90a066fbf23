//! What a model's input must be: one tensor of floats, `[N, 3, H, W]`, with a known size.

use crate::config::ModelPlan;
use crate::error::{Code, Error};

use super::session::{Element, Port, Signature};

/// A model's input, resolved.
pub(super) struct Input {
    pub(super) element: Element,
    /// Pictures per run where the model fixes it.
    pub(super) batch: Option<usize>,
    /// Width and height.
    pub(super) size: (usize, usize),
}

impl Input {
    /// # Errors
    /// `ModelLayout` when it is none that can be fed with pictures.
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
        if plan.input_shape.is_some_and(|[c, h, w]| c != 3 || (w, h) != size || w * h == 0) {
            return refuse(
                "`input_shape` is not the model's",
                "`input_shape` is [3, height, width]; leave it out where the model fixes it",
            );
        }
        Ok(Self { element: element.clone(), batch, size })
    }
}

/// Height and width out of `[640, 480]`.
fn size_of(text: &str) -> Option<(usize, usize)> {
    let (h, w) = text.trim().strip_prefix('[')?.strip_suffix(']')?.split_once(',')?;
    Some((h.trim().parse().ok()?, w.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exported_size_is_height_then_width() {
        assert_eq!(size_of("[640, 480]"), Some((640, 480)));
        assert_eq!(size_of("640"), None);
    }
}
