//! A receiver that is away, refuses or loses its answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::super::Retry;
use super::super::courier::REFUSED_MAX;
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
    /// It refuses whatever it gets.
    Gone,
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
    /// Alerts that were given up in a row because it refused them.
    pub(super) lost: usize,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { mood: Mood::Up, got: Vec::new(), unanswered: BTreeMap::new(), refused: BTreeMap::new(), lost: 0 }
    }

    pub(super) fn change(&mut self, rng: &mut Rng) {
        use Mood::{Away, Busy, Gone, Hanging, Mute, Picky, Up};
        let moods = [Up, Up, Away, Mute, Hanging, Busy, Picky, Gone];
        self.mood = moods[rng.usize(..moods.len())];
    }

    /// Whether an attempt ends only when its handler has waited long enough.
    pub(super) fn hangs(&self) -> bool {
        self.mood == Mood::Hanging
    }

    /// An alert is given up because of this answer.
    ///
    /// # Errors
    /// When it is one too many: a receiver that refuses everything must not cost the whole queue.
    pub(super) fn lose(&mut self, retry: Retry) -> Result<(), String> {
        self.lost += usize::from(retry == Retry::Never);
        match self.lost < REFUSED_MAX {
            true => Ok(()),
            false => Err(format!("{} alerts in a row were given up: nothing gets through", self.lost)),
        }
    }

    pub(super) fn answer(&mut self, alert: &Arc<Alert>) -> Result<(), Retry> {
        match self.mood {
            Mood::Up => {
                self.lost = 0;
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
            Mood::Gone => {
                *self.refused.entry(alert.id.clone()).or_default() += 1;
                Err(Retry::Never)
            }
            Mood::Picky if alert.seq.is_multiple_of(3) => {
                *self.refused.entry(alert.id.clone()).or_default() += 1;
                Err(Retry::Never)
            }
            Mood::Picky => {
                self.lost = 0;
                self.got.push(alert.clone());
                Ok(())
            }
        }
    }
}
