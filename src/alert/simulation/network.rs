//! A receiver that is away, refuses or loses its answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::super::Retry;
use crate::types::{Alert, AlertId};

/// How a receiver answers for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Up,
    Away,
    /// It takes the alert, and its answer is lost, or breaks off in the middle.
    Mute,
    /// It takes one alert in two, always the same, and does not answer.
    Hanging,
    Busy,
    /// It refuses one alert in three, always the same.
    Picky,
}

/// What a receiver saw.
pub(super) struct Receiver {
    pub(super) mood: Mood,
    /// The alerts that it took, in order.
    pub(super) got: Vec<Arc<Alert>>,
    /// How often it took an alert whose answer was lost, or may have been.
    pub(super) unanswered: BTreeMap<AlertId, u32>,
    /// How often it refused an alert.
    pub(super) refused: BTreeMap<AlertId, u32>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { mood: Mood::Up, got: Vec::new(), unanswered: BTreeMap::new(), refused: BTreeMap::new() }
    }

    pub(super) fn change(&mut self, rng: &mut Rng) {
        let moods = [Mood::Up, Mood::Up, Mood::Away, Mood::Mute, Mood::Hanging, Mood::Busy, Mood::Picky];
        self.mood = moods[rng.usize(..moods.len())];
    }

    /// Whether an attempt ends only when its handler has waited long enough.
    pub(super) fn hangs(&self) -> bool {
        self.mood == Mood::Hanging
    }

    pub(super) fn answer(&mut self, alert: &Arc<Alert>) -> Result<(), Retry> {
        match self.mood {
            Mood::Up => {
                self.got.push(alert.clone());
                Ok(())
            }
            Mood::Away => Err(Retry::Later),
            Mood::Hanging if alert.seq.is_multiple_of(2) => Err(Retry::Later),
            Mood::Mute | Mood::Hanging => {
                self.got.push(alert.clone());
                *self.unanswered.entry(alert.id.clone()).or_default() += 1;
                Err(Retry::Later)
            }
            Mood::Busy => Err(Retry::After(Duration::from_secs(7))),
            Mood::Picky if alert.seq.is_multiple_of(3) => {
                *self.refused.entry(alert.id.clone()).or_default() += 1;
                Err(Retry::Never)
            }
            Mood::Picky => {
                self.got.push(alert.clone());
                Ok(())
            }
        }
    }
}
