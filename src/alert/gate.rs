//! A lane's way to the outbox: policy, then store, each outcome counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::policy::Refusal;
use super::{Decision, Policy, Store};
use crate::config::AlertPlan;
use crate::telemetry::HandlerMetrics;
use crate::telemetry::{AlertOutcome, Metrics, SourceMetrics};
use crate::types::{Alert, Frame, Raised, SourceId};

/// Most rules of which it is told that their alerts score too low.
const TOLD_MAX: usize = 64;

/// Where one source's lane raises its drafts.
pub struct Gate {
    policy: Policy,
    store: Arc<dyn Store>,
    names: Vec<Arc<str>>,
    handlers: Vec<HandlerMetrics>,
    source: SourceMetrics,
    /// Rules of which it has been told that their alerts score too low.
    told: BTreeSet<Box<str>>,
}

impl Gate {
    /// A gate for `source` whose alerts go to the named handlers.
    pub fn new(
        plan: &AlertPlan,
        source: &SourceId,
        store: Arc<dyn Store>,
        handlers: &[Arc<str>],
        metrics: &Metrics,
    ) -> Self {
        Self {
            policy: Policy::new(plan),
            store,
            names: handlers.to_vec(),
            handlers: handlers.iter().map(|name| metrics.handler(name)).collect(),
            source: metrics.source(source),
            told: BTreeSet::new(),
        }
    }

    /// Takes over new settings; what was sent stays known.
    pub fn apply(&mut self, plan: &AlertPlan) {
        self.policy.apply(plan);
    }

    /// Takes what a strategy raised on `frame`. Returns the alert if it was accepted. Never waits for a handler.
    pub fn raise(&mut self, raised: &Raised, frame: &Frame) -> Option<Arc<Alert>> {
        let count = |outcome| self.source.alert(&raised.rule, outcome);
        count(AlertOutcome::Raised);
        let alert = match self.policy.decide(raised, frame) {
            Decision::Accept(alert) => alert,
            Decision::Suppressed { .. } => {
                count(AlertOutcome::Suppressed);
                return None;
            }
            Decision::Refused(refusal) => {
                count(AlertOutcome::Refused);
                self.tell(refusal, &raised.rule, &frame.source);
                return None;
            }
        };
        let missed = match self.store.append(alert.clone(), &self.names) {
            Ok(missed) => missed,
            Err(error) => {
                count(AlertOutcome::Refused);
                tracing::warn!(source = %alert.source, rule = %alert.rule, "alert not accepted: {error}");
                self.policy.unsent(&alert);
                return None;
            }
        };
        count(AlertOutcome::Accepted);
        if self.names.is_empty() {
            // Nobody to wait for: settled at once.
            count(AlertOutcome::Delivered);
        }
        for (name, handler) in self.names.iter().zip(&self.handlers) {
            handler.pending.set(self.store.pending(name) as i64);
            if missed.contains(name) {
                handler.failed.inc();
                tracing::warn!(handler = %name, alert = %alert.id, "alert not queued: the handler's queue is full");
            }
        }
        Some(alert)
    }

    /// Says why alerts do not arrive, once for each rule.
    fn tell(&mut self, refusal: Refusal, rule: &str, source: &SourceId) {
        let Refusal::Confidence { best, min } = refusal else { return };
        if self.told.contains(rule) || self.told.len() >= TOLD_MAX {
            return;
        }
        self.told.insert(rule.into());
        // Cut, not rounded: 0.4999 is under 0.5.
        let best = (best * 1e3).floor() / 1e3;
        tracing::warn!(%source, rule, "alert refused: best detection {best} is under alerts.min_confidence {min}");
    }
}
