//! Totals of a run that add up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::handle::Shared;
use super::lanes::Route;
use super::view::status::{AlertStatus, HandlerStatus, StrategyStatus};
use crate::types::SourceId;

/// The whole engine's summary.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Wall time since the start, in seconds.
    pub seconds: f64,
    /// Per source, in plan order.
    pub sources: Vec<SourceSummary>,
    /// What sources judged that were removed while it ran.
    pub removed: RemovedSources,
    /// Per strategy: generation, faults, the last of them.
    pub strategies: Vec<StrategyStatus>,
    /// Per handler: alerts delivered, given up and waiting, the last error.
    pub handlers: Vec<HandlerStatus>,
    /// Alerts that every handler has received.
    pub delivered: u64,
    /// Alerts that at least one handler will not receive.
    pub failed: u64,
    /// Alerts still queued for a handler.
    pub pending: u64,
}

/// Sums over the sources that were removed while the engine ran.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct RemovedSources {
    /// How many were removed; one that came back and went again counts twice.
    pub sources: u64,
    /// Frames that reached the engine.
    pub frames: u64,
    /// Frames that went through every rule.
    pub judged: u64,
    /// Alerts accepted.
    pub alerts: u64,
}

impl RemovedSources {
    pub(super) fn add(&mut self, source: &SourceSummary) {
        self.sources += 1;
        self.frames += source.frames;
        self.judged += source.judged;
        self.alerts += source.alerts;
    }
}

/// One source's summary.
#[derive(Debug, Clone, Serialize)]
pub struct SourceSummary {
    /// The source.
    pub source: SourceId,
    /// Frames that reached the engine.
    pub frames: u64,
    /// Frames that went through every rule.
    pub judged: u64,
    /// Detections in judged frames.
    pub detections: u64,
    /// Alerts accepted: raised, less those suppressed, digested and refused.
    pub alerts: u64,
    /// Alerts that strategies raised.
    pub raised: u64,
    /// Alerts suppressed as duplicates or in quiet hours.
    pub suppressed: u64,
    /// Alerts held back by a limit: a digest has them.
    pub digested: u64,
    /// Alerts refused by the policy, or for lack of room.
    pub refused: u64,
    /// Frames lost, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Why the source broke, if it did.
    pub broken: Option<String>,
}

impl Summary {
    /// Judged frames over all sources, removed ones included.
    pub fn judged(&self) -> u64 {
        self.sources.iter().map(|s| s.judged).sum::<u64>() + self.removed.judged
    }

    /// Judged frames per second of wall time, over all sources.
    pub fn fps(&self) -> f64 {
        self.judged() as f64 / self.seconds.max(1e-9)
    }

    /// Whether any strategy failed on a frame.
    pub fn any_faulted(&self) -> bool {
        self.strategies.iter().any(|strategy| strategy.faults > 0)
    }

    /// Whether any source broke.
    pub fn any_broken(&self) -> bool {
        self.sources.iter().any(|s| s.broken.is_some())
    }
}

impl SourceSummary {
    /// The alerts over `sources` that were raised and not accepted, as a suffix to their number: ` (9 raised: 3 held
    /// back as duplicates, 1 in digests, 4 refused)`. Empty if there are none.
    pub fn refusals(sources: &[Self]) -> String {
        let sum = |of: fn(&Self) -> u64| sources.iter().map(of).sum::<u64>();
        let (raised, suppressed, refused) = (sum(|s| s.raised), sum(|s| s.suppressed), sum(|s| s.refused));
        let digested = sum(|s| s.digested);
        if suppressed + digested + refused == 0 {
            return String::new();
        }
        let digests = if digested == 0 { String::new() } else { format!("{digested} in digests, ") };
        format!(" ({raised} raised: {suppressed} held back, {digests}{refused} refused)")
    }
}

pub(super) fn of_source(route: &Route) -> SourceSummary {
    let metrics = &route.metrics;
    let mut alerts = AlertStatus::default();
    alerts.add(metrics);
    SourceSummary {
        source: route.id.clone(),
        frames: metrics.frames_decoded(),
        judged: metrics.frames_judged.get(),
        detections: metrics.detections_by_class().values().sum(),
        alerts: alerts.accepted,
        raised: alerts.raised,
        suppressed: alerts.suppressed,
        digested: alerts.digested,
        refused: alerts.refused,
        dropped: metrics.drops(),
        broken: route.board.broken(),
    }
}

pub(super) fn summarise(engine: &Shared) -> Summary {
    let now_ns = engine.clock.monotonic_ns();
    let view = engine.view();
    let totals = engine.parts.delivery.outbox().totals();
    Summary {
        seconds: Duration::from_nanos(now_ns.saturating_sub(engine.started_ns)).as_secs_f64(),
        sources: view.sources.iter().map(|source| of_source(&source.route)).collect(),
        removed: *engine.parts.removed.lock(),
        strategies: view.strategies.iter().map(|board| board.status()).collect(),
        handlers: engine.handlers(),
        delivered: totals.delivered,
        failed: totals.failed(),
        pending: totals.pending(),
    }
}
