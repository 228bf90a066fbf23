//! What an overloaded engine gives up, for those who do it.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is given up, each step with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub(in crate::engine) enum Step {
    /// Nothing.
    #[default]
    None,
    /// Frames, by the priority of their sources. The pool does so at all times.
    Frames,
    /// Optional strategies.
    Optional,
    /// Sources that are not running yet.
    Additions,
}

impl Step {
    /// All steps, in the order in which they are taken.
    pub(in crate::engine) const ALL: [Self; 4] = [Self::None, Self::Frames, Self::Optional, Self::Additions];

    fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Additions)
    }

    /// The step after it.
    pub(in crate::engine) fn next(self) -> Self {
        Self::of((self as u8).saturating_add(1))
    }

    /// The step before it.
    pub(in crate::engine) fn former(self) -> Self {
        Self::of((self as u8).saturating_sub(1))
    }
}

/// The step that holds.
#[derive(Debug, Default)]
pub(in crate::engine) struct Given(AtomicU8);

impl Given {
    /// Sets the step.
    pub(in crate::engine) fn set(&self, step: Step) {
        self.0.store(step as u8, Ordering::Release);
    }

    fn step(&self) -> Step {
        Step::of(self.0.load(Ordering::Acquire))
    }

    /// Whether optional strategies are skipped.
    pub(super) fn skips_optional(&self) -> bool {
        self.step() >= Step::Optional
    }

    /// Whether no source can be added.
    pub(in crate::engine) fn refuses_additions(&self) -> bool {
        self.step() >= Step::Additions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_gives_up_what_those_before_it_do() {
        let given = Given::default();
        for (step, expected) in Step::ALL.into_iter().zip([[false; 2], [false; 2], [true, false], [true; 2]]) {
            given.set(step);
            assert_eq!([given.skips_optional(), given.refuses_additions()], expected, "{step:?}");
            assert_eq!(
                (step.former().next(), step.next().former()),
                match step {
                    Step::None => (Step::Frames, Step::None),
                    Step::Additions => (Step::Additions, Step::Optional),
                    step => (step, step),
                }
            );
        }
    }
}
