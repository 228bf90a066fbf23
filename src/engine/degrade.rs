//! Whether the engine is overloaded, and what it gives up while it is: in steps, undone in reverse. Pure.
//!
//! It is overloaded while one of the [`Load`]'s signals is beyond its bound. After [`STEP_AFTER_NS`] of overload it
//! takes the next [`Step`]; after [`CALM_AFTER_NS`] with every signal well within its bound it undoes the last one. In
//! between, where a signal is neither, the steps stay as they are.

use super::lanes::Step;

/// Overload for so long leads to the next step.
const STEP_AFTER_NS: u64 = 5_000_000_000;
/// So long without overload undoes the last step. Doubled, up to the maximum, where overload returns soon after that.
const CALM_AFTER_NS: u64 = 10_000_000_000;
const CALM_AFTER_NS_MAX: u64 = 160_000_000_000;
/// Largest share of the live frames that newer ones replace before they are judged; well within is half of it.
const REPLACED_MAX: f64 = 0.4;
/// Fewest live frames from which that share is taken.
const FRAMES_MIN: u64 = 10;
/// Largest mean age of live frames once they are judged; well within is half of it.
const AGE_S_MAX: f64 = 2.0;
/// Most of the machine's memory in use; well within is 5 per cent less.
const MEMORY_PERCENT_MAX: f64 = 95.0;
const MEMORY_PERCENT_CALM: f64 = 90.0;
/// Most entries that wait for the disk of the alert journal; well within is half of it.
const UNWRITTEN_MAX: usize = 4_096;

/// What a step gives up, as part of a sentence.
fn what(step: Step) -> &'static str {
    match step {
        Step::None => "nothing is given up",
        Step::Frames => "sources are analysed less often, by their priority",
        Step::Optional => "sources are analysed less often, and optional strategies are skipped",
        Step::Additions => {
            "sources are analysed less often, optional strategies are skipped, and no source can be added"
        }
    }
}

/// The signals of one check.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    /// Live frames that newer ones replaced in the queues of the models and lanes since the last check.
    pub(super) replaced: u64,
    /// Live frames that were judged since then.
    pub(super) judged: u64,
    /// The sum of their ages, in seconds.
    pub(super) age_s: f64,
    /// The machine's memory in use, in per cent.
    pub(super) memory_percent: Option<f64>,
    /// Entries that wait for the disk of the alert journal.
    pub(super) unwritten: usize,
}

/// How a signal compares with its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Calm,
    Near,
    Over,
}

fn level(value: f64, calm: f64, most: f64) -> Level {
    match value {
        value if value > most => Level::Over,
        value if value <= calm => Level::Calm,
        _ => Level::Near,
    }
}

impl Load {
    /// The signals that are not calm, each as a sentence.
    fn strained(&self) -> Vec<(Level, String)> {
        let frames = self.replaced + self.judged;
        let share = if frames < FRAMES_MIN { 0.0 } else { self.replaced as f64 / frames as f64 };
        let age_s = self.age_s / self.judged.max(1) as f64;
        let memory = self.memory_percent.unwrap_or(0.0);
        let percent = share * 100.0;
        [
            (
                level(share, REPLACED_MAX / 2.0, REPLACED_MAX),
                format!("{percent:.0} % of the live frames are replaced by newer ones before they are judged"),
            ),
            (
                level(age_s, AGE_S_MAX / 2.0, AGE_S_MAX),
                format!("live frames are {age_s:.1} s old once they are judged"),
            ),
            (level(memory, MEMORY_PERCENT_CALM, MEMORY_PERCENT_MAX), format!("{memory:.0} % of the memory is in use")),
            (
                level(self.unwritten as f64, UNWRITTEN_MAX as f64 / 2.0, UNWRITTEN_MAX as f64),
                format!("{} entries wait for the disk of the alert journal", self.unwritten),
            ),
        ]
        .into_iter()
        .filter(|(level, _)| *level != Level::Calm)
        .collect()
    }
}

/// A step that was taken or undone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The step that holds now.
    pub(super) step: Step,
    /// Whether one more was taken.
    pub(super) is_worse: bool,
    /// For the log and the alert.
    pub(super) message: String,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Degradation {
    step: Step,
    /// Since when it has been overloaded, or calm.
    since: Option<(Level, u64)>,
    /// How long it must be calm until a step is undone, and when one was last undone.
    calm_after_ns: u64,
    undone_ns: Option<u64>,
    /// Why the last step was taken.
    reason: String,
}

impl Default for Degradation {
    fn default() -> Self {
        let (step, since, undone_ns) = (Step::None, None, None);
        Self { step, since, calm_after_ns: CALM_AFTER_NS, undone_ns, reason: String::new() }
    }
}

impl Degradation {
    /// Takes the signals of a check. Returns the change that they lead to.
    pub(super) fn see(&mut self, load: &Load, now_ns: u64) -> Option<Change> {
        let strained = load.strained();
        let over: Vec<&str> =
            strained.iter().filter(|(level, _)| *level == Level::Over).map(|(_, text)| text.as_str()).collect();
        let level = match (over.is_empty(), strained.is_empty()) {
            (false, _) => Level::Over,
            (true, true) => Level::Calm,
            (true, false) => Level::Near,
        };
        let (_, since_ns) = *self.since.insert(self.since.filter(|(was, _)| *was == level).unwrap_or((level, now_ns)));
        let held_ns = now_ns.saturating_sub(since_ns);
        let step = match level {
            Level::Over if held_ns >= STEP_AFTER_NS => self.step.next(),
            Level::Calm if held_ns >= self.calm_after_ns => self.step.former(),
            _ => self.step,
        };
        if step == self.step {
            if step == Step::None && level == Level::Calm && held_ns >= self.calm_after_ns {
                self.calm_after_ns = CALM_AFTER_NS;
            }
            return None;
        }
        // The next step needs as long again.
        self.since = Some((level, now_ns));
        let is_worse = step > self.step;
        self.step = step;
        if is_worse {
            self.reason = over.join(", ");
            let is_soon = self.undone_ns.take().is_some_and(|ns| now_ns.saturating_sub(ns) < 2 * self.calm_after_ns);
            if is_soon {
                self.calm_after_ns = (2 * self.calm_after_ns).min(CALM_AFTER_NS_MAX);
            }
        } else {
            self.undone_ns = Some(now_ns);
        }
        let message = match step {
            Step::None => "no longer overloaded".to_owned(),
            step if is_worse => format!("overloaded: {}; {}", self.reason, what(step)),
            step => format!("less overloaded: {}", what(step)),
        };
        Some(Change { step, is_worse, message })
    }

    /// Takes nothing more, and undoes every step.
    pub(super) fn reset(&mut self) -> Option<Change> {
        let was = std::mem::take(self).step;
        let message = "overload is not acted on: `monitoring.degradation` is false".to_owned();
        (was != Step::None).then_some(Change { step: Step::None, is_worse: false, message })
    }

    /// The problem for the status, while a step holds.
    pub(super) fn problem(&self) -> Option<String> {
        (self.step != Step::None).then(|| format!("overloaded ({}): {}", self.reason, what(self.step)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn frames(replaced: u64, judged: u64) -> Load {
        Load { replaced, judged, age_s: 0.05 * judged as f64, ..Load::default() }
    }

    /// The steps that hold after each second with this load.
    fn steps(degradation: &mut Degradation, load: Load, from_s: u64, seconds: u64) -> Vec<u8> {
        let second = |n| {
            degradation.see(&load, (from_s + n) * S);
            degradation.step as u8
        };
        (0..seconds).map(second).collect()
    }

    #[test]
    fn steps_are_taken_one_after_the_other_and_undone_in_reverse() {
        let mut degradation = Degradation::default();
        let up = steps(&mut degradation, frames(60, 40), 0, 17);
        assert_eq!(up, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]);
        let down = steps(&mut degradation, frames(0, 40), 17, 42);
        assert_eq!(down, [[3; 10].as_slice(), &[2; 10], &[1; 10], &[0; 12]].concat());
    }

    #[test]
    fn a_step_that_had_to_be_taken_again_is_kept_for_longer() {
        let mut degradation = Degradation::default();
        let mut kept = Vec::new();
        let (mut taken, mut was) = (0, Step::None);
        // Overloaded whenever nothing is given up.
        for n in 0..2_000 {
            let load = if degradation.step == Step::None { frames(60, 40) } else { frames(0, 40) };
            degradation.see(&load, n * S);
            match (was, degradation.step) {
                (Step::None, Step::Frames) => taken = n,
                (Step::Frames, Step::None) => kept.push(n - taken),
                _ => {}
            }
            was = degradation.step;
        }
        assert_eq!(kept[..7], [11, 21, 41, 81, 161, 161, 161]);
        steps(&mut degradation, frames(0, 40), 3_000, 500);
        steps(&mut degradation, frames(60, 40), 3_500, 6);
        assert_eq!(degradation.step, Step::Frames);
        assert!(steps(&mut degradation, frames(0, 40), 3_506, 12).ends_with(&[0]), "forgotten");
    }

    #[test]
    fn between_calm_and_overload_everything_stays() {
        let mut degradation = Degradation::default();
        steps(&mut degradation, frames(60, 40), 0, 7);
        assert_eq!(steps(&mut degradation, frames(30, 70), 7, 100), [1; 100]);
        let mut never = Degradation::default();
        assert_eq!(steps(&mut never, frames(39, 61), 0, 100), [0; 100]);
        // One calm second in five begins anew.
        let load = |n: u64| if n % 5 == 4 { frames(0, 40) } else { frames(60, 40) };
        assert!((0..100).all(|n| never.see(&load(n), (200 + n) * S).is_none()));
    }

    #[test]
    fn each_signal_leads_to_a_step_that_names_it() {
        for (load, named) in [
            (frames(60, 40), "60 % of the live frames"),
            (Load { judged: 10, age_s: 25.0, ..Load::default() }, "2.5 s old"),
            (Load { memory_percent: Some(97.2), ..Load::default() }, "97 % of the memory"),
            (Load { unwritten: 5_000, ..Load::default() }, "5000 entries wait for the disk"),
        ] {
            let mut degradation = Degradation::default();
            let change = (0..10).find_map(|n| degradation.see(&load, n * S)).unwrap();
            assert_eq!((change.step, change.is_worse), (Step::Frames, true));
            assert!(change.message.contains(named), "{}", change.message);
            assert!(degradation.problem().is_some_and(|problem| problem.contains(named)));
        }
        // A few frames are no share.
        let mut degradation = Degradation::default();
        assert!((0..20).all(|n| degradation.see(&frames(5, 1), n * S).is_none()));
    }

    #[test]
    fn what_is_switched_off_gives_up_nothing() {
        let mut degradation = Degradation::default();
        assert_eq!(degradation.reset(), None);
        steps(&mut degradation, frames(60, 40), 0, 11);
        assert_eq!(degradation.reset().map(|change| change.step), Some(Step::None));
        assert_eq!(degradation.problem(), None);
    }
}
