//! Decodes network outputs into candidates: one file per output layout.
//!
//! A [`Layout`] defines which output shapes it accepts ([`Layout::fits`]), what its networks expect as input
//! ([`Layout::recipe`]), and how to read candidates ([`Layout::decode`]). To add one: a file with these three
//! functions, a variant of [`Layout`], and an arm in each `match` below; the compiler finds the places.
//!
//! Network outputs are untrusted: invalid scores and boxes are rejected and counted in [`Decoded::rejected`].

mod yolov8;
mod yolox;

use super::nms::Candidate;
use super::preprocess::Recipe;
use crate::types::Layout;

/// One output of a network: its shape and its values, row-major.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    /// Shape, batch first.
    pub shape: &'a [usize],
    /// As many values as the shape says.
    pub values: &'a [f32],
}

impl<'a> Tensor<'a> {
    /// Picture `index` of the batch: the shape without its first axis, and its values.
    fn picture(&self, index: usize) -> (&'a [usize], &'a [f32]) {
        let shape = &self.shape[1..];
        let size = shape.iter().product::<usize>();
        (shape, &self.values[index * size..(index + 1) * size])
    }
}

/// The candidates of one picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// Candidates at or above the threshold, in output order, overlapping ones included.
    pub candidates: Vec<Candidate>,
    /// Entries without a valid score or box: NaN, infinite, outside 0..1, far outside the picture.
    pub rejected: u64,
}

impl Decoded {
    /// Adds a box if it is valid: finite, with an area, not far outside an input of `input` pixels.
    fn push(&mut self, candidate: Candidate, input: (usize, usize)) {
        let [l, t, r, b] = candidate.corners;
        let reach = REACH * input.0.max(input.1) as f32;
        // NaN fails every comparison.
        if r > l && b > t && [l, t, r, b].iter().all(|v| v.abs() <= reach) {
            self.candidates.push(candidate);
        } else {
            self.rejected += 1;
        }
    }
}

/// How many input sizes a box may reach from the origin; the part outside the picture is clipped later.
const REACH: f32 = 4.0;

/// How far above 1 the rounding of 16-bit networks may put a score.
const SCORE_SLACK: f32 = 2e-3;

/// The score, clamped to 0..1; `None` if it is invalid.
fn score(value: f32) -> Option<f32> {
    (-SCORE_SLACK..=1.0 + SCORE_SLACK).contains(&value).then(|| value.clamp(0.0, 1.0))
}

impl Layout {
    /// The output shapes it accepts, for messages.
    pub fn expects(self) -> &'static str {
        match self {
            Self::YoloV8 => "one output [N, 4 + classes, places], any strides from 4 to 128",
            Self::YoloX => "one output [N, places, 5 + classes], strides in a row from 4 to 128",
        }
    }

    /// Number of classes, if these output shapes fit this layout for an input of `input` (width, height). If the layout
    /// was configured (`named`), only what decoding requires is checked.
    pub fn fits(self, shapes: &[Vec<usize>], input: (usize, usize), named: bool) -> Option<usize> {
        match self {
            Self::YoloV8 => yolov8::classes(shapes, input, named),
            Self::YoloX => yolox::classes(shapes, input),
        }
    }

    /// The input that networks of this layout expect.
    pub fn recipe(self) -> Recipe {
        match self {
            Self::YoloV8 => yolov8::recipe(),
            Self::YoloX => yolox::recipe(),
        }
    }

    /// Decodes picture `index` of the batch. [`Self::fits`] must have accepted the shapes of `outputs`.
    pub fn decode(self, outputs: &[Tensor<'_>], index: usize, input: (usize, usize), threshold: f32) -> Decoded {
        match self {
            Self::YoloV8 => yolov8::decode(outputs[0].picture(index), input, threshold),
            Self::YoloX => yolox::decode(outputs[0].picture(index), input, threshold),
        }
    }
}

/// Possible strides of detection heads.
const STRIDES: [usize; 6] = [4, 8, 16, 32, 64, 128];
/// Range of the three usual strides in [`STRIDES`].
const USUAL: std::ops::Range<usize> = 1..4;

/// Number of grid cells with these strides for an input of `input` (width, height).
fn grid_places(strides: &[usize], input: (usize, usize)) -> usize {
    strides.iter().map(|s| (input.0 / s) * (input.1 / s)).sum()
}

/// The consecutive strides that yield this number of cells; the usual ones are tried first.
fn strides_in_a_row(places: usize, input: (usize, usize)) -> Option<&'static [usize]> {
    let runs = (0..STRIDES.len()).flat_map(|from| (from + 2..=STRIDES.len()).map(move |to| from..to));
    let mut runs = std::iter::once(USUAL).chain(runs).map(|run| &STRIDES[run]);
    runs.find(|strides| grid_places(strides, input) == places)
}

/// Whether any two or more strides yield this number of cells.
fn is_of_strides(places: usize, input: (usize, usize)) -> bool {
    let least = input.0.min(input.1);
    let chosen = |mask: usize| {
        STRIDES.into_iter().enumerate().filter(move |(bit, stride)| mask & (1 << bit) != 0 && *stride <= least)
    };
    let down = |mask| chosen(mask).map(|(_, s)| (input.0 / s) * (input.1 / s)).sum::<usize>();
    let up = |mask| chosen(mask).map(|(_, s)| input.0.div_ceil(s) * input.1.div_ceil(s)).sum::<usize>();
    (0..1_usize << STRIDES.len()).any(|mask| mask.count_ones() >= 2 && (down(mask) == places || up(mask) == places))
}

/// A hint on what outputs that fit no layout look like, and what to do.
pub fn resembles(shapes: &[Vec<usize>], input: (usize, usize)) -> Option<String> {
    let [only] = shapes else {
        let several =
            "a detector with several outputs: where one of them is of such a layout, name it in `output_layers`";
        return (shapes.len() > 1).then(|| several.to_owned());
    };
    if let Some(hint) = other_axes(only, input) {
        return Some(hint);
    }
    let (a, b) = single(shapes)?;
    if let Some(classes) = swapped(shapes, input) {
        return Some(format!(
            "its output {only:?} reads as [N, {a} places, 4 + {classes} classes]: it looks like yolov8 with its axes \
             swapped: export it without the transposition at its end"
        ));
    }
    if b > 5 && a % 3 == 0 && is_of_strides(a / 3, input) {
        return Some(
            "it looks like YOLOv5 with its anchors, which is not read: export it with Ultralytics' YOLOv8 code (yolov5su …)"
                .to_owned(),
        );
    }
    if (6..=7).contains(&b) && a <= 1000 {
        return Some(
            "it looks like a model with NMS inside: export it without (`yolo export … nms=False`, no `end2end`)"
                .to_owned(),
        );
    }
    None
}

/// Number of classes, if the only output is of yolov8 with its axes swapped: `[N, places, 4 + classes]`.
pub fn swapped(shapes: &[Vec<usize>], input: (usize, usize)) -> Option<usize> {
    let (places, rows) = single(shapes)?;
    (rows > 4 && is_of_strides(places, input)).then(|| rows - 4)
}

/// A hint on an output with an axis too many or too few, if a layout fits the others.
fn other_axes(shape: &[usize], input: (usize, usize)) -> Option<String> {
    let (axes, remedy) = match *shape {
        [a, b] => ([1, a, b], "it has no axis for the batch: export it with the batch as the first axis"),
        [n, 1, a, b] | [n, a, 1, b] | [n, a, b, 1] => {
            ([n, a, b], "it has an axis of 1 too many: export it without (a `Squeeze` at its end)")
        }
        _ => return None,
    };
    let read = [axes.to_vec()];
    let fitting = Layout::ALL.into_iter().find(|layout| layout.fits(&read, input, false).is_some());
    let reading = match (fitting, swapped(&read, input)) {
        (Some(layout), _) => layout.as_str(),
        (None, Some(_)) => "yolov8 with its axes swapped",
        (None, None) => return None,
    };
    Some(format!("its output {shape:?} reads as {axes:?}, which looks like {reading}: {remedy}"))
}

/// The last two axes of the only output, if there is exactly one and it has three axes.
fn single(shapes: &[Vec<usize>]) -> Option<(usize, usize)> {
    match shapes {
        [only] => match only[..] {
            [_, a, b] => Some((a, b)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_of_other_axes_says_how_it_reads_and_what_to_do() {
        let told = |shape: &[usize]| resembles(&[shape.to_vec()], (64, 64)).unwrap_or_default();
        for (shape, words) in [
            (&[1, 84, 6][..], ["[1, 84, 6] reads as [N, 84 places, 4 + 2 classes]", "without the transposition"]),
            (&[1, 1, 6, 84], ["[1, 1, 6, 84] reads as [1, 6, 84], which looks like yolov8", "Squeeze"]),
            (&[1, 6, 84, 1], ["reads as [1, 6, 84]", "an axis of 1 too many"]),
            (&[6, 84], ["[6, 84] reads as [1, 6, 84], which looks like yolov8", "no axis for the batch"]),
            (&[84, 7], ["reads as [1, 84, 7], which looks like yolox", "no axis for the batch"]),
        ] {
            let told = told(shape);
            assert!(words.iter().all(|words| told.contains(words)), "{shape:?}: {told}");
        }
        for none in [&[7][..], &[1, 3, 5, 7], &[3, 5], &[1, 1, 3, 5]] {
            assert_eq!(told(none), "", "{none:?}");
        }
    }
}
