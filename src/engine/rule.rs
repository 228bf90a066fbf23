//! One strategy on one lane: its judgement, its faults, its new version on probation, its shadow.

use std::sync::Arc;

use super::grave::{Undertaker, bury};
use super::probation::{FRAMES, Probation};
use super::shadow::Shadow;
use super::strategies::{LOOK_EVERY, Notes};
use crate::guest::Fault;
use crate::strategy::{Applied, OnFailure, Strategy, View, apply};
use crate::telemetry::StrategyMetrics;
use crate::track::Tracks;
use crate::types::{Clock, Frame, Raised, Zone};

/// A strategy on the lane.
pub(super) struct Rule {
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) generation: u64,
    pub(super) filters: bool,
    pub(super) metrics: StrategyMetrics,
    pub(super) notes: Notes,
    pub(super) trial: Option<Trial>,
    pub(super) shadow: Option<Shadow>,
    pub(super) grave: Option<Undertaker>,
    calls: u64,
}

/// The version that is kept while its successor is on probation.
pub(super) struct Trial {
    pub(super) previous: Box<dyn Strategy>,
    pub(super) generation: u64,
    pub(super) probation: Arc<Probation>,
    frames: u32,
}

/// What a judgement came to.
pub(super) struct Judgement {
    /// What was raised.
    pub(super) raised: Vec<Raised>,
    /// No later strategy may see the frame.
    pub(super) skip: bool,
}

impl Rule {
    pub(super) fn new(
        strategy: Box<dyn Strategy>,
        filters: bool,
        metrics: StrategyMetrics,
        notes: Notes,
        grave: Option<Undertaker>,
    ) -> Self {
        Self { strategy, generation: 1, filters, metrics, notes, trial: None, shadow: None, grave, calls: 0 }
    }

    /// Lets the strategy judge, applies what it says, and returns what it raises. A fault leaves the frame as it was.
    pub(super) fn judge(&mut self, frame: &mut Frame, tracks: &Tracks, zones: &[Zone], clock: &dyn Clock) -> Judgement {
        let started_ns = clock.monotonic_ns();
        self.settle(started_ns);
        let view = View { frame, tracks, zones };
        let verdict = self.strategy.judge(&view);
        let spent_ns = clock.monotonic_ns().saturating_sub(started_ns);
        if let Some(shadow) = &mut self.shadow {
            shadow.compare(&view, &verdict, clock);
        }
        let applied = match verdict {
            Ok(verdict) => {
                let applied = apply(verdict, self.filters, &mut frame.detections);
                if let Err(fault) = &applied {
                    self.strategy.refused(fault, &View { frame, tracks, zones });
                }
                applied
            }
            Err(fault) => Err(fault),
        };
        self.metrics.calls.inc();
        self.metrics.call_seconds.observe(spent_ns as f64 / 1e9);
        self.calls += 1;
        if applied.is_err() || self.calls % LOOK_EVERY == 1 || self.notes.is_open() {
            self.look();
        }
        self.count(&applied, frame, started_ns);
        match applied {
            Ok(Applied { raised, spared, .. }) => {
                if spared > 0 {
                    self.notes.spared(&frame.source, spared);
                }
                self.metrics.alerts.inc_by(raised.len() as u64);
                Judgement { raised, skip: false }
            }
            Err(_) => Judgement { raised: Vec::new(), skip: self.strategy.on_failure() == OnFailure::Skip },
        }
    }

    fn count(&mut self, applied: &Result<Applied, Fault>, frame: &Frame, now_ns: u64) {
        if let Err(fault) = applied {
            self.metrics.fault(fault.kind.as_str());
            self.notes.fault(&frame.source, fault, now_ns);
        }
        let Some(trial) = &mut self.trial else { return };
        if let Err(fault) = applied {
            trial.probation.fault(&format!("{}: {fault}", frame.source));
        }
        trial.frames += 1;
        if trial.frames == FRAMES {
            trial.probation.lane_passed();
        }
    }

    /// Reads what the strategy tells of itself.
    fn look(&mut self) {
        self.notes.look(&*self.strategy, &self.metrics);
    }

    /// Ends a probation that is decided: back to the version that was kept, or on with the new one.
    pub(super) fn settle(&mut self, now_ns: u64) {
        let Some(trial) = &self.trial else { return };
        if trial.probation.failed() {
            if let Some(Trial { previous, generation, .. }) = self.trial.take() {
                self.generation = generation;
                self.look();
                bury(&self.grave, std::mem::replace(&mut self.strategy, previous));
                self.notes.changed(&*self.strategy);
                self.look();
            }
            return;
        }
        if now_ns >= trial.probation.until_ns {
            trial.probation.pass();
        }
        if trial.probation.passed()
            && let Some(Trial { previous, .. }) = self.trial.take()
        {
            bury(&self.grave, previous);
        }
    }

    /// Puts a new version in place; the old one is kept for the probation. On an error nothing changed.
    ///
    /// # Errors
    /// What the new version says when it is to take over.
    pub(super) fn swap(
        &mut self,
        mut strategy: Box<dyn Strategy>,
        generation: u64,
        probation: Arc<Probation>,
    ) -> Result<(), Fault> {
        if probation.failed() {
            // On another lane, before this one had its turn.
            return Ok(());
        }
        // A version whose probation has ended meanwhile goes first: what runs then is what is replaced.
        self.settle(0);
        let from = self.strategy.version().to_owned();
        let state = self.hand_over();
        strategy.resume(&from, &state)?;
        self.look();
        let previous = std::mem::replace(&mut self.strategy, strategy);
        self.notes.changed(&*self.strategy);
        let trial = Trial { previous, generation: self.generation, probation, frames: 0 };
        if let Some(Trial { previous, .. }) = self.trial.replace(trial) {
            // The version that is replaced now was itself on probation: it is the one that is kept.
            bury(&self.grave, previous);
        }
        self.generation = generation;
        self.look();
        Ok(())
    }

    /// What the running version hands to its successor; nothing where it cannot.
    pub(super) fn hand_over(&mut self) -> Vec<u8> {
        match self.strategy.suspend() {
            Ok(state) => state,
            Err(fault) => {
                let strategy = &*self.notes.board.name;
                tracing::warn!(strategy, "hands nothing to its successor: {fault}");
                Vec::new()
            }
        }
    }
}
