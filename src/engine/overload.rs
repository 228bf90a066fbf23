//! Measures how loaded the engine is, each second, and applies what `degrade` decides.

use std::collections::BTreeMap;

use super::degrade::{Change, Load};
use super::handle::Shared;
use super::lanes::Step;
use super::owner::Owner;
use crate::config::Plan;
use crate::config::diff::Diff;
use crate::error::{Code, Error};
use crate::telemetry::{Sample, SourceMetrics, Stage};
use crate::types::SourceId;

/// Time between two checks.
const CHECK_EVERY_NS: u64 = 1_000_000_000;
/// The reason under which replaced frames are counted.
const REPLACED: &str = "overload";

/// The counters of a live source at the last check.
#[derive(Clone, Copy)]
struct Counted {
    replaced: u64,
    judged: u64,
    age_s: f64,
}

impl Counted {
    fn of(metrics: &SourceMetrics) -> Self {
        let latency = metrics.latency(Stage::Total);
        let replaced = metrics.drops().get(REPLACED).copied().unwrap_or(0);
        Self { replaced, judged: latency.get_sample_count(), age_s: latency.get_sample_sum() }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Overload {
    checked_ns: u64,
    counted: BTreeMap<SourceId, Counted>,
}

impl Overload {
    /// Checks, if it is time to. Returns the step that was taken or undone; the caller has passed on what is given up.
    pub(super) fn check(&mut self, shared: &Shared, plan: &Plan, sample: &Sample, now_ns: u64) -> Option<Change> {
        if now_ns.saturating_sub(self.checked_ns) < CHECK_EVERY_NS {
            return None;
        }
        self.checked_ns = now_ns;
        let load = self.load(shared, sample);
        let change = {
            let mut degradation = shared.degradation.lock();
            if plan.health.degradation { degradation.see(&load, now_ns) } else { degradation.reset() }
        };
        if let Some(Change { step, is_worse, message }) = &change {
            shared.parts.given.set(*step);
            shared.metrics.degraded_step.set(*step as i64);
            match is_worse {
                true => tracing::warn!("{message}"),
                false => tracing::info!("{message}"),
            }
        }
        change
    }

    /// The signals since the last check. Finite sources wait: only live ones lose frames.
    fn load(&mut self, shared: &Shared, sample: &Sample) -> Load {
        let mut load = Load {
            memory_percent: sample.memory_percent,
            unwritten: shared.parts.delivery.outbox().unwritten(),
            ..Load::default()
        };
        let mut counted = BTreeMap::new();
        for source in shared.view().sources.iter().filter(|source| source.route.is_live()) {
            let now = Counted::of(&source.route.metrics);
            if let Some(before) = self.counted.get(&source.route.id) {
                load.replaced += now.replaced.saturating_sub(before.replaced);
                load.judged += now.judged.saturating_sub(before.judged);
                load.age_s += (now.age_s - before.age_s).max(0.0);
            }
            counted.insert(source.route.id.clone(), now);
        }
        self.counted = counted;
        load
    }
}

impl Owner {
    /// While the engine gives up additions, no source is added.
    ///
    /// # Errors
    /// When the change adds one.
    pub(super) fn refuse_additions(&self, diff: &Diff) -> Result<(), Error> {
        let Some(id) = diff.sources.added.first().filter(|_| self.parts.given.refuses_additions()) else {
            return Ok(());
        };
        Err(Error::new(Code::Source, format!("source {id} is not added: the engine is overloaded"))
            .hint("its problems in /health say why; relieve it, or set `monitoring.degradation: false`")
            .about(format!("sources[{id}]")))
    }
}

/// The key of the alert for a step: each step is an alert of its own.
pub(super) fn key(step: Step) -> &'static str {
    match step {
        Step::None => "none",
        Step::Frames => "frames",
        Step::Optional => "optional",
        Step::Additions => "additions",
    }
}
