//! The gate's entries in the log behind `explain`.

use super::Gate;
use crate::alert::Decided;
use crate::alert::chain::{Chain, RaisedBy, Stage};
use crate::alert::seen::{Seen, Work};
use crate::telemetry::AlertOutcome;
use crate::types::{Alert, AlertId, Frame, Raised};

/// The strategy that raised a draft, for the log.
#[derive(Clone, Copy)]
pub struct Raiser<'a> {
    /// Its name.
    pub strategy: &'a str,
    /// The version that it declares.
    pub version: &'a str,
    /// Its generation.
    pub generation: u64,
    /// The line of the script that raised it; asked only if the decision is logged.
    pub line: &'a dyn Fn() -> Option<String>,
}

impl std::fmt::Debug for Raiser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raiser").field("strategy", &self.strategy).finish_non_exhaustive()
    }
}

impl Raiser<'_> {
    fn logged(&self) -> RaisedBy {
        let Self { strategy, version, generation, line } = *self;
        RaisedBy { strategy: strategy.into(), version: version.into(), generation, line: line() }
    }
}

impl Gate {
    /// The decision on a draft so far: the policy has decided on it.
    pub(super) fn chain(&mut self, by: Option<Raiser<'_>>, raised: &Raised, frame: &Frame) -> Chain {
        let stages = self.policy.stages(raised, frame);
        Chain { stages, ..self.start(by, raised, frame) }
    }

    fn start(&self, by: Option<Raiser<'_>>, raised: &Raised, frame: &Frame) -> Chain {
        let by = by.as_ref().map(Raiser::logged);
        let level = self.policy.level(raised);
        Chain::new(by, level, self.policy.last_key(), &raised.message, frame.seq)
    }

    /// Logs a draft that does not reach the policy.
    pub(super) fn log_undecided(&mut self, by: Option<Raiser<'_>>, raised: &Raised, frame: &Frame, stage: Stage) {
        let id = self.policy.undecided(raised, frame);
        if let Some(more) = self.admit(stage.as_str(), raised, frame) {
            let chain = Chain { more, stages: vec![stage], ..self.start(by, raised, frame) };
            self.log(&chain, &raised.rule, frame, id);
        }
    }

    /// Logs a draft that the policy has held back.
    pub(super) fn log_held(&mut self, by: Option<Raiser<'_>>, raised: &Raised, frame: &Frame, kind: &'static str) {
        if let Some(more) = self.admit(kind, raised, frame) {
            let chain = Chain { more, ..self.chain(by, raised, frame) };
            let id = self.policy.last_id(&raised.rule, frame);
            self.log(&chain, &raised.rule, frame, id);
        }
    }

    /// Counts and logs an alert that a silence holds back. The policy learns that it was not sent, so a
    /// condition that lasts becomes an alert afterwards; until then it is raised on every frame.
    pub(super) fn silenced(
        &mut self,
        by: Option<Raiser<'_>>,
        id: String,
        alert: &Alert,
        raised: &Raised,
        frame: &Frame,
    ) {
        self.count(&raised.rule, AlertOutcome::Suppressed);
        if let Some(more) = self.admit("silence", raised, frame) {
            let mut chain = Chain { more, ..self.chain(by, raised, frame) };
            chain.stages.push(Stage::Silenced { id });
            self.log(&chain, &raised.rule, frame, alert.id.clone());
        }
        self.policy.unsent(alert);
    }

    /// Notes a frame before its rules judge it; logs what the strategies did in the last minute.
    pub fn saw_frame(&mut self, frame: &Frame) {
        let former = self.seen.frame(frame.captured_unix_ns / 1_000_000);
        former.inspect(|former| self.log_seen(former));
    }

    /// Notes what a strategy did with the frame.
    pub fn saw(&mut self, strategy: &str, work: &Work) {
        self.seen.add(strategy, work);
    }

    /// Logs what is not logged yet, at the end of the source.
    pub(super) fn log_rest(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        if seen.frames > 0 {
            self.log_seen(&seen);
        }
        self.outbox.lose_decisions(self.decisions.take_rest());
    }

    fn log_seen(&self, seen: &Seen) {
        // It has no map whose keys are not texts, which is what would fail.
        let Ok(contents) = serde_json::to_string(seen) else { return };
        let id = AlertId::new(seen.since_ms.saturating_mul(1_000_000), [0; 10]);
        let (source, rule) = (self.id.clone(), String::new());
        self.outbox.log_decided(Decided { source, rule, at_ms: seen.since_ms, id, contents });
    }

    fn admit(&mut self, kind: &str, raised: &Raised, frame: &Frame) -> Option<u64> {
        let admitted = self.decisions.admit(&[kind, &raised.rule, self.policy.last_key()], frame.pts_ns);
        self.outbox.lose_decisions(self.decisions.take_lost());
        admitted
    }

    fn log(&self, chain: &Chain, rule: &str, frame: &Frame, id: AlertId) {
        self.outbox.log_decision(&frame.source, rule, frame.captured_unix_ns / 1_000_000, id, chain);
    }
}
