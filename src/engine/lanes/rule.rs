//! One strategy on one lane: its judgement, its faults, the probation of its new version, its shadow.

use std::sync::Arc;

use super::probation::{FRAMES, Probation};
use super::reaper::Disposal;
use super::shadow::Shadow;
use crate::alert::seen::Work;
use crate::config::StrategyPlan;
use crate::engine::view::strategy::{Notes, POLL_EVERY};
use crate::guest::Fault;
use crate::strategy::{Applied, OnFailure, Strategy, View, apply};
use crate::telemetry::StrategyMetrics;
use crate::track::Tracks;
use crate::types::{Clock, Frame, Raised, Resolve, Schedule, Zone, add_tags};

/// A strategy on the lane.
pub(in crate::engine) struct Rule {
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) generation: u64,
    pub(super) settings: RuleSettings,
    pub(super) metrics: StrategyMetrics,
    pub(super) notes: Notes,
    trial: Option<OnProbation>,
    pub(super) shadow: Option<Shadow>,
    disposal: Option<Disposal>,
    calls: u64,
}

/// Settings of a rule that change without a new version of its strategy.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct RuleSettings {
    /// Whether it may remove detections.
    pub(in crate::engine) filters: bool,
    /// When it judges; `None` = always.
    pub(in crate::engine) schedule: Option<Schedule>,
    /// Added to those of its alerts.
    pub(in crate::engine) tags: Vec<String>,
    /// Whether an overloaded engine skips it.
    pub(in crate::engine) optional: bool,
}

impl From<&StrategyPlan> for RuleSettings {
    fn from(plan: &StrategyPlan) -> Self {
        Self {
            filters: plan.filters,
            schedule: plan.schedule.clone(),
            tags: plan.tags.clone(),
            optional: plan.optional,
        }
    }
}

/// The version that is kept while its successor is on probation.
pub(in crate::engine) struct OnProbation {
    previous: Option<Box<dyn Strategy>>,
    generation: u64,
    probation: Arc<Probation>,
    frames: u32,
    /// The probation of `previous` itself, until the change that replaced it is confirmed.
    before: Option<Box<OnProbation>>,
}

impl OnProbation {
    /// `previous`, of `generation`, is restored if the probation fails.
    pub(in crate::engine) fn new(previous: Box<dyn Strategy>, generation: u64, probation: Arc<Probation>) -> Self {
        Self { previous: Some(previous), generation, probation, frames: 0, before: None }
    }

    /// If `previous` was replaced during its own probation, keeps the version kept for that instead. Returns the
    /// discarded version.
    fn skip_replaced(&mut self) -> Option<Box<dyn Strategy>> {
        let mut before = self.before.take_if(|before| before.probation.replaced())?;
        self.generation = before.generation;
        std::mem::replace(&mut self.previous, before.previous.take())
    }

    /// All kept versions.
    fn kept(mut self) -> impl Iterator<Item = Box<dyn Strategy>> {
        let before = self.before.take().and_then(|mut before| before.previous.take());
        self.previous.take().into_iter().chain(before)
    }
}

impl Drop for OnProbation {
    fn drop(&mut self) {
        // The probation no longer waits for this lane.
        if self.frames < FRAMES {
            self.probation.lane_passed();
        }
    }
}

/// The result of a judgement.
#[derive(Default)]
pub(super) struct Judgement {
    /// The raised alerts.
    pub(super) raised: Vec<Raised>,
    /// The conditions that have ended.
    pub(super) resolved: Vec<Resolve>,
    /// Whether later strategies must not see the frame.
    pub(super) skip: bool,
    /// What the strategy did, for the log.
    pub(super) work: Work,
}

impl Rule {
    /// A rule whose current version is `generation`.
    pub(in crate::engine) fn new(
        strategy: Box<dyn Strategy>,
        generation: u64,
        settings: RuleSettings,
        metrics: StrategyMetrics,
        notes: Notes,
        disposal: Option<Disposal>,
    ) -> Self {
        Self { strategy, generation, settings, metrics, notes, trial: None, shadow: None, disposal, calls: 0 }
    }

    /// Sets the probation of a version that is already on probation on other lanes.
    #[must_use]
    pub(in crate::engine) fn on_probation(self, trial: Option<OnProbation>) -> Self {
        Self { trial, ..self }
    }

    /// Sets the shadow that runs alongside it.
    #[must_use]
    pub(in crate::engine) fn with_shadow(self, shadow: Option<Shadow>) -> Self {
        Self { shadow, ..self }
    }

    pub(in crate::engine) fn name(&self) -> &Arc<str> {
        &self.notes.board.name
    }

    /// The running version.
    pub(in crate::engine) fn strategy(&mut self) -> &mut dyn Strategy {
        &mut *self.strategy
    }

    /// Sets what changes without a new version.
    pub(super) fn set(&mut self, settings: RuleSettings) {
        self.settings = settings;
    }

    /// Whether a frame is outside its schedule; counted, and shown in the status.
    fn is_off(&mut self, frame: &Frame) -> bool {
        let off = self.settings.schedule.as_ref().is_some_and(|schedule| !schedule.holds(frame.captured_unix_ns));
        self.notes.set_off(off);
        if off {
            self.metrics.off_schedule();
        }
        off
    }

    /// Whether it is skipped while optional strategies are; counted.
    pub(super) fn skips_as_optional(&self) -> bool {
        self.metrics.limited("overload", u64::from(self.settings.optional));
        self.settings.optional
    }

    /// Sets or removes its shadow; returns the former one.
    pub(super) fn set_shadow(&mut self, shadow: Option<Shadow>) -> Option<Shadow> {
        std::mem::replace(&mut self.shadow, shadow)
    }

    /// Ends the rule: its versions are dropped on the reaper's thread.
    pub(super) fn dispose(self) {
        let Self { strategy, trial, shadow, disposal, .. } = self;
        let kept = trial.into_iter().flat_map(OnProbation::kept);
        for version in kept.chain([strategy]).chain(shadow.map(|shadow| shadow.strategy)) {
            dispose(&disposal, version);
        }
    }

    /// Ends a shadow that ran alongside it.
    pub(super) fn dispose_shadow(&self, shadow: Option<Shadow>) {
        if let Some(shadow) = shadow {
            dispose(&self.disposal, shadow.strategy);
        }
    }

    /// Runs the strategy on a frame, applies its verdict, and returns the raised alerts. A fault leaves the frame
    /// unchanged.
    pub(super) fn judge(&mut self, frame: &mut Frame, tracks: &Tracks, zones: &[Zone], clock: &dyn Clock) -> Judgement {
        let started_ns = clock.monotonic_ns();
        self.settle(started_ns);
        if self.is_off(frame) {
            return Judgement { work: Work { off: 1, ..Work::default() }, ..Judgement::default() };
        }
        let view = View { frame, tracks, zones };
        let verdict = self.strategy.judge(&view);
        let spent_ns = clock.monotonic_ns().saturating_sub(started_ns);
        if let Some(shadow) = &mut self.shadow {
            shadow.compare(&view, &verdict, clock);
        }
        let applied = match verdict {
            Ok(verdict) => {
                let applied = apply(verdict, self.settings.filters, &mut frame.detections);
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
        if applied.is_err() || self.calls % POLL_EVERY == 1 || self.notes.is_open() {
            self.poll();
        }
        self.count(&applied, frame, started_ns);
        match applied {
            Ok(Applied { mut raised, resolved, not_removed, .. }) => {
                if not_removed > 0 {
                    self.notes.not_removed(&frame.source, not_removed);
                }
                raised.iter_mut().for_each(|raised| add_tags(&mut raised.tags, &self.settings.tags));
                self.metrics.alerts.inc_by(raised.len() as u64);
                let work = Work { judged: 1, raised: raised.len() as u64, ..Work::default() };
                Judgement { raised, resolved, skip: false, work }
            }
            Err(_) => Judgement {
                skip: self.strategy.on_failure() == OnFailure::Skip,
                work: Work { faults: 1, ..Work::default() },
                ..Judgement::default()
            },
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

    /// Polls the strategy's health.
    fn poll(&mut self) {
        self.notes.poll(&*self.strategy, &self.metrics);
    }

    /// Ends a decided probation: rolls back to the kept version, or continues with the new one.
    pub(super) fn settle(&mut self, now_ns: u64) {
        let Some(trial) = &mut self.trial else { return };
        // In this order: a version can fail only once the version that it replaced is marked as replaced.
        let failed = trial.probation.failed();
        if let Some(replaced) = trial.skip_replaced() {
            dispose(&self.disposal, replaced);
        }
        if failed {
            return self.go_back();
        }
        trial.probation.expire(now_ns);
        if trial.probation.passed() {
            self.end_trial();
        }
    }

    /// Reverts the change that installed its version: removes a withdrawn version.
    pub(super) fn undo(&mut self, now_ns: u64) {
        if self.trial.as_ref().is_some_and(|trial| trial.probation.withdrawn()) {
            self.go_back();
        }
        self.settle(now_ns);
    }

    /// Rolls back to the kept version and to its probation.
    fn go_back(&mut self) {
        let Some(mut trial) = self.trial.take() else { return };
        self.trial = trial.before.take().map(|before| *before);
        if let Some(previous) = trial.previous.take() {
            self.generation = trial.generation;
            self.poll();
            dispose(&self.disposal, std::mem::replace(&mut self.strategy, previous));
            self.notes.changed(&*self.strategy);
            self.poll();
        }
    }

    /// Hands the running version's state to a new version before it judges. On an error nothing has changed.
    ///
    /// # Errors
    /// The fault that the new version raises on resuming.
    pub(super) fn take_over(&mut self, strategy: &mut dyn Strategy) -> Result<(), Fault> {
        // First settle a probation that has ended meanwhile, so that the version then running is replaced.
        self.settle(0);
        let from = self.strategy.version().to_owned();
        let state = self.hand_over();
        strategy.resume(&from, &state)
    }

    /// Installs a new version that has taken over; the old one is kept for the probation. If the old one is itself on
    /// probation, the version kept for it is kept, too, and it alone once the change is confirmed.
    pub(super) fn install(&mut self, strategy: Box<dyn Strategy>, generation: u64, probation: Arc<Probation>) {
        self.poll();
        let previous = std::mem::replace(&mut self.strategy, strategy);
        self.notes.changed(&*self.strategy);
        let mut trial = OnProbation::new(previous, self.generation, probation);
        trial.before = self.trial.take().map(Box::new);
        self.trial = Some(trial);
        self.generation = generation;
        self.poll();
    }

    /// Discards the versions kept for a probation.
    fn end_trial(&mut self) {
        for version in self.trial.take().into_iter().flat_map(OnProbation::kept) {
            dispose(&self.disposal, version);
        }
    }

    /// The state that the running version hands to its successor; empty if it fails.
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

fn dispose(disposal: &Option<Disposal>, version: Box<dyn Strategy>) {
    if let Some(disposal) = disposal {
        disposal.dispose(version);
    }
}
