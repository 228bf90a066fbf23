//! Checks the plausibility of a model's names and of its output on the first frames.
//!
//! A network whose output is misread still yields numbers: boxes smaller than a pixel, invalid scores. A few are
//! normal; if nearly all values of the first frames are such, the output is misread.

use parking_lot::Mutex;

use super::model::Model;
use crate::types::{Layout, count_are};

/// Frames before the verdict.
const FRAMES: u64 = 10;
/// Ratio of implausible to plausible values from which on the output counts as misread.
const BAD_FOR_GOOD: u64 = 9;

/// Counts of values read from a model's output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Plausible boxes.
    pub good: u64,
    /// Boxes smaller than a pixel of the network's input.
    pub small: u64,
    /// Entries without a valid score or box.
    pub refused: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.good += other.good;
        self.small += other.small;
        self.refused += other.refused;
    }

    fn is_wrong(&self, frames: u64) -> bool {
        let bad = self.small + self.refused;
        bad >= frames && bad >= BAD_FOR_GOOD * self.good
    }
}

/// Checks one model's output. Shared by all its workers.
#[derive(Debug, Default)]
pub struct Watch {
    model: String,
    /// What looks wrong with its names.
    names: Option<String>,
    /// Its layout, and the other layouts that fit.
    read: Option<(Layout, Vec<Layout>)>,
    first: Mutex<First>,
}

#[derive(Debug, Default)]
struct First {
    frames: u64,
    seen: Seen,
    wrong: Option<String>,
}

impl Watch {
    /// Starts checking `model`.
    pub fn new(model: &Model) -> Self {
        let name = model.name().to_owned();
        let names = model.doubt().map(|doubt| format!("model {name}: {doubt}"));
        let read = Some((model.layout(), model.other_layouts().to_vec()));
        Self { model: name, names, read, first: Mutex::default() }
    }

    /// Adds the counts of `frames` frames; after the first ones, gives the verdict and logs a warning once.
    pub fn note(&self, frames: u64, seen: Seen) {
        let mut first = self.first.lock();
        if first.frames >= FRAMES {
            return;
        }
        first.frames += frames;
        first.seen.add(seen);
        if first.frames >= FRAMES && first.seen.is_wrong(first.frames) {
            let message = self.message(first.frames, first.seen);
            tracing::warn!("{message}");
            first.wrong = Some(message);
        }
    }

    /// The problems found, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        self.names.iter().cloned().chain(self.first.lock().wrong.clone()).collect()
    }

    fn message(&self, frames: u64, seen: Seen) -> String {
        let Seen { good, small, refused } = seen;
        let (small_are, refused_are) = (count_are(small, "box"), count_are(refused, "place"));
        let mut message = format!(
            "model {}: of the first {frames} frames {small_are} smaller than a pixel and {refused_are} without a score or \
             a box, {good} may be detections",
            self.model
        );
        let Some((layout, others)) = &self.read else { return message };
        message += &format!("; its output is read as {}", layout.as_str());
        if others.is_empty() {
            message += match (layout, small > refused) {
                (Layout::YoloV8, true) => ", whose boxes are pixels of its input: are these shares of it (0..1)?",
                (Layout::YoloX, _) => ", whose boxes are raw offsets and log sizes: are these decoded already?",
                _ => ": is it quantised, or are its scores not activated?",
            };
            return message;
        }
        let others: Vec<String> = others.iter().map(|layout| format!("`layout: {}`", layout.as_str())).collect();
        message + &format!(", and its shape also fits {}", others.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(others: &[Layout]) -> Watch {
        Watch { model: "m".into(), read: Some((Layout::YoloV8, others.to_vec())), ..Watch::default() }
    }

    #[test]
    fn an_output_that_is_nearly_all_nonsense_is_a_problem_and_says_what_else_fits() {
        for seen in [
            Seen { good: 1, small: 40, refused: 0 },
            Seen { good: 0, small: 0, refused: 8400 },
            Seen { good: 0, small: 1, refused: 0 },
        ] {
            let watch = watch(&[Layout::YoloX]);
            (0..FRAMES - 1).for_each(|_| watch.note(1, seen));
            assert_eq!(watch.problems(), Vec::<String>::new(), "it is judged by several frames");
            watch.note(1, seen);
            let problems = watch.problems();
            assert!(problems.len() == 1 && problems[0].contains("`layout: yolox`"), "{problems:?}");
        }
        let watch = watch(&[]);
        watch.note(FRAMES, Seen { small: 100, ..Seen::default() });
        assert!(watch.problems()[0].contains("shares of it (0..1)"), "{:?}", watch.problems());
    }

    #[test]
    fn some_nonsense_and_empty_pictures_are_no_problem() {
        for seen in [Seen::default(), Seen { good: 20, small: 3, refused: 5 }, Seen { good: 1, small: 8, refused: 0 }] {
            let watch = watch(&[]);
            (0..2 * FRAMES).for_each(|_| watch.note(1, seen));
            assert_eq!(watch.problems(), Vec::<String>::new(), "{seen:?}");
        }
    }
}
