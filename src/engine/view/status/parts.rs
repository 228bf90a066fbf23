//! The parts of a status: sources, strategies, handlers, plugins, alerts, limits.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::source_board::{SourceError, StateChange};
use crate::alert::{Outbox, Standing};
use crate::backend::evidence::EvidenceStatus;
use crate::backend::supervise::BreakerState;
use crate::backend::{SourceState, Stream};
use crate::telemetry::{AlertOutcome, SourceMetrics};
use crate::types::{SourceId, Zone, count};

/// One limit of the engine itself.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CheckStatus {
    /// Its name, and the rule of its alerts: `system.cpu`, `system.memory`, `system.engine_cpu`, `system.engine_memory`,
    /// `system.fps`, `system.latency`.
    pub name: &'static str,
    /// The source that it is about; null where it is about the whole.
    pub source: Option<String>,
    /// What was measured.
    pub value: f64,
    /// What it should be.
    pub limit: f64,
    /// The unit of both.
    pub unit: &'static str,
    /// Whether the limit is the least that is wanted; else it is the most.
    pub is_least: bool,
    /// Seconds since it was measured.
    pub age_s: f64,
    /// Seconds for which the limit has been crossed; null while it holds.
    pub crossed_s: Option<f64>,
    /// All of it as a sentence.
    pub text: String,
}

impl CheckStatus {
    /// The problem as a sentence; `None` while the limit holds.
    pub(super) fn problem(&self) -> Option<String> {
        let crossed_s = self.crossed_s?;
        Some(format!("{}: {}, for {crossed_s:.0} s", self.name, self.text))
    }
}

/// One source.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SourceStatus {
    /// Its name.
    pub id: String,
    /// Its name for people; null where it has none.
    pub name: Option<String>,
    /// `connecting`, `waiting` (for a publisher), `running`, `stalled`, `backoff`, `failed` or `stopped`. A live source
    /// that is `failed` is still tried, every `retry_every_s`.
    pub state: &'static str,
    /// Longest time between attempts of a `failed` source, in seconds; 120 or more where something has to be changed. While
    /// its breaker is open, it is asked that often without user and password. Absent when it is not tried any more by itself, or not failed.
    pub retry_every_s: Option<f64>,
    /// Whether it is failed and stays so until it is edited or restarted: `monitoring.auto_recovery` is false.
    pub stays_down: bool,
    /// Frames received per second over the last few seconds.
    pub fps: f64,
    /// Frames received.
    pub frames: u64,
    /// Frames judged.
    pub judged: u64,
    /// Frames not judged, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Seconds since the newest frame was captured.
    pub last_frame_age_s: Option<f64>,
    /// Detections, by class.
    pub detections: BTreeMap<String, u64>,
    /// Attempts to bring it back.
    pub reconnects: u64,
    /// Why it does not run, secrets redacted.
    pub error: Option<String>,
    /// What has to be changed before it can run; absent where waiting may help.
    pub remedy: Option<String>,
    /// What its stream was when it was opened last; null before that, and for what is no stream.
    pub stream: Option<Stream>,
    /// State of its circuit breaker: `closed`, `open` (its account is left alone) or `half_open` (one full attempt).
    pub breaker: &'static str,
    /// How well it has done over the last ten minutes, 0 to 100: 100 · share of time up · share of frames that decode,
    /// less 20 after ten seconds of silence (40 after thirty), less 20 with more than five failed attempts. Absent
    /// before it first ran or failed.
    pub health_score: Option<f64>,
    /// The score as a word: `healthy` (80 and more), `degraded` (60), `unhealthy` (30) or `critical`.
    pub health: Option<&'static str>,
    /// The newest failed attempt; it stays when frames flow again.
    pub last_error: Option<SourceError>,
    /// The newest changes of its state, oldest first; 32 at most.
    pub history: Vec<StateChange>,
    /// The areas of its picture that rules know by name.
    pub zones: Vec<ZoneStatus>,
    /// What is kept of its encoded stream; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceStatus>,
}

/// An area of a source's picture.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ZoneStatus {
    /// Its name.
    pub name: String,
    /// Its corners, each x and y in shares of the picture.
    pub points: Vec<[f32; 2]>,
}

/// One strategy.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StrategyStatus {
    /// Its name.
    pub name: String,
    /// `model`, `motion`, `lua`, `wasm`, or `own` for one of the embedder's.
    pub kind: &'static str,
    /// The generation that judges.
    pub generation: u64,
    /// Faults since the start.
    pub faults: u64,
    /// Whether it is switched off after repeated faults.
    pub degraded: bool,
    /// Whether its schedule leaves it out on the newest frame of a source.
    pub off_schedule: bool,
    /// The last fault or rejected reload, with its place.
    pub last_error: Option<String>,
}

/// One handler.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HandlerStatus {
    /// Its name.
    pub name: String,
    /// Alerts it has delivered.
    pub delivered: u64,
    /// Alerts it gave up, or had no room for.
    pub given_up: u64,
    /// Alerts that wait for it.
    pub pending: u64,
    /// How many more wait than a minute ago; 0 while it keeps up.
    pub growth: u64,
    /// Whether its deliveries fail: the newest was given up, or it has been failing for long.
    pub degraded: bool,
    /// Seconds for which its deliveries have been failing; absent while they do not.
    pub failing_s: Option<f64>,
    /// Why the newest attempt failed, secrets redacted; absent after a success.
    pub last_error: Option<String>,
}

/// One script or component.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PluginStatus {
    /// The strategy's or handler's name.
    pub name: String,
    /// `strategy` or `handler`.
    pub kind: &'static str,
    /// `lua` or `wasm`.
    pub language: &'static str,
    /// Its file.
    pub module: String,
    /// The generation that runs; grows with every reload.
    pub generation: u64,
    /// Whether its newest version may still be rolled back.
    pub on_probation: bool,
    /// The strategy it only runs beside.
    pub shadow_of: Option<String>,
    /// How many sources it runs on.
    pub sources: usize,
    /// Whether it is switched off after repeated faults; of a handler, whether its deliveries fail.
    pub degraded: bool,
    /// The last fault, failed delivery or rejected reload, with its place.
    pub last_error: Option<String>,
}

/// Alerts since the start: raised + recovered = delivered + dead_lettered + expired + dropped + suppressed + digested +
/// refused + pending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlertStatus {
    /// Whether alerts are switched off: `alerts.enabled: false`.
    pub switched_off: bool,
    /// Raised by strategies.
    pub raised: u64,
    /// Accepted by a former process, and not delivered then.
    pub recovered: u64,
    /// Taken by policy and outbox.
    pub accepted: u64,
    /// Held back as duplicates.
    pub suppressed: u64,
    /// Held back by a limit: a digest has them.
    pub digested: u64,
    /// Refused by the policy, or for want of room.
    pub refused: u64,
    /// Every handler has them.
    pub delivered: u64,
    /// At least one handler does not get them.
    pub dead_lettered: u64,
    /// Too old before every receiver took it.
    pub expired: u64,
    /// Lost its place in a full queue, or its handler was removed.
    pub dropped: u64,
    /// Waiting for the journal or a handler.
    pub pending: u64,
    /// Given up since the start by a handler, and not sent again.
    pub given_up: u64,
    /// Left since the start by handlers that were removed or renamed, and not given to another one; by handler.
    pub left: BTreeMap<String, u64>,
    /// Why they cannot be written to the journal, secrets redacted; absent while they can.
    pub journal_error: Option<String>,
}

impl SourceStatus {
    /// A source's status from its metrics.
    pub fn read(
        id: &SourceId,
        state: SourceState,
        retry_every: Option<Duration>,
        error: Option<String>,
        metrics: &SourceMetrics,
    ) -> Self {
        Self {
            id: id.to_string(),
            name: None,
            state: state.as_str(),
            retry_every_s: retry_every.map(|every| every.as_secs_f64()),
            stays_down: false,
            fps: metrics.fps(),
            frames: metrics.frames_decoded(),
            judged: metrics.frames_judged.get(),
            dropped: metrics.drops(),
            last_frame_age_s: metrics.last_frame_age_s(),
            detections: metrics.detections_by_class(),
            reconnects: metrics.reconnects.get(),
            error,
            breaker: BreakerState::Closed.as_str(),
            health_score: None,
            health: None,
            last_error: None,
            history: Vec::new(),
            zones: Vec::new(),
            remedy: None,
            stream: None,
            evidence: None,
        }
    }

    /// Adds its name for people and the zones of its picture.
    #[must_use]
    pub fn of_plan(self, name: Option<&str>, zones: &[Zone]) -> Self {
        let corners = |zone: &Zone| zone.polygon.points().iter().map(|point| [point.x, point.y]).collect();
        let zones = zones.iter().map(|zone| ZoneStatus { name: zone.name.clone(), points: corners(zone) });
        Self { name: name.map(str::to_owned), zones: zones.collect(), ..self }
    }

    /// The problem as a sentence.
    pub(super) fn problem(&self) -> String {
        let backoff = SourceState::Backoff { attempt: 0 }.as_str();
        let name = self.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let mut problem = match self.state == backoff {
            true => format!("source {}{name} waits to be tried again", self.id),
            false => format!("source {}{name} is {}", self.id, self.state),
        };
        let restart = format!("`dsengine sources restart {}`", self.id);
        match self.retry_every_s {
            Some(every) if self.remedy.is_some() => {
                problem += &format!(", tried again every {every} s and at once by {restart}");
            }
            Some(every) => problem += &format!(", tried again every {every} s"),
            None if self.stays_down => problem += &format!(" and stays down until it is edited, or by {restart}"),
            None => {}
        }
        if let Some(error) = &self.error {
            problem += &format!(": {error}");
        }
        problem
    }
}

impl HandlerStatus {
    /// A handler's status at `now_ns` on the monotonic clock.
    pub fn read(standing: &Standing, now_ns: u64) -> Self {
        let trouble = standing.trouble(now_ns);
        Self {
            name: standing.name().to_string(),
            delivered: standing.delivered(),
            given_up: standing.given_up(),
            pending: standing.pending() as u64,
            growth: standing.growth() as u64,
            degraded: trouble.as_ref().is_some_and(|trouble| trouble.lasts),
            failing_s: trouble.as_ref().map(|trouble| trouble.for_ns as f64 / 1e9),
            last_error: trouble.map(|trouble| trouble.error),
        }
    }

    /// The problem as a sentence; without its sums where the error is left out, since both are of all sources.
    pub(super) fn problem(&self) -> String {
        let Self { name, given_up, pending, last_error, .. } = self;
        let Some(last) = last_error else { return format!("handler {name} does not deliver") };
        let given_up = count(*given_up, "alert");
        format!("handler {name}: {given_up} given up, {pending} waiting; last: {last}")
    }

    /// What is worth knowing of it, and no problem: it fails for a moment, or its queue grows.
    pub(super) fn notices(&self) -> impl Iterator<Item = String> {
        let Self { name, pending, growth, .. } = self;
        let failing_s = self.failing_s.filter(|_| !self.degraded);
        let fails = failing_s.map(|for_s| format!("handler {name} has been failing for {for_s:.0} s, and tries again"));
        let grows = (*growth > 0).then(|| {
            let waiting = count(*pending, "alert");
            format!("handler {name} does not keep up: {waiting} waiting, {growth} more than a minute ago")
        });
        fails.into_iter().chain(grows)
    }
}

impl AlertStatus {
    /// Alerts of the whole engine, at `now_ns` on the monotonic clock.
    pub fn read(outbox: &Outbox, now_ns: u64) -> Self {
        let (totals, (given_up, left)) = (outbox.totals(), outbox.left());
        let trouble = outbox.trouble(now_ns).filter(|trouble| trouble.lasts);
        Self {
            switched_off: false,
            raised: totals.raised,
            recovered: totals.recovered,
            accepted: totals.accepted,
            suppressed: totals.suppressed,
            digested: totals.digested,
            refused: totals.refused,
            delivered: totals.delivered,
            dead_lettered: totals.dead_lettered,
            expired: totals.expired,
            dropped: totals.dropped,
            pending: totals.pending(),
            given_up,
            left,
            journal_error: trouble.map(|trouble| trouble.error),
        }
    }

    /// Adds a source's alerts.
    pub fn add(&mut self, metrics: &SourceMetrics) {
        // Read in reverse order, so that concurrent updates cannot make later outcomes exceed earlier ones.
        self.dead_lettered += metrics.alerts(AlertOutcome::DeadLettered);
        self.expired += metrics.alerts(AlertOutcome::Expired);
        self.dropped += metrics.alerts(AlertOutcome::Dropped);
        self.delivered += metrics.alerts(AlertOutcome::Delivered);
        self.refused += metrics.alerts(AlertOutcome::Refused);
        self.digested += metrics.alerts(AlertOutcome::Digested);
        self.suppressed += metrics.alerts(AlertOutcome::Suppressed);
        self.accepted += metrics.alerts(AlertOutcome::Accepted);
        self.recovered += metrics.alerts(AlertOutcome::Recovered);
        self.raised += metrics.alerts(AlertOutcome::Raised);
        let failed = self.dead_lettered + self.expired + self.dropped;
        let settled = self.delivered + failed + self.suppressed + self.digested + self.refused;
        self.pending = (self.raised + self.recovered).saturating_sub(settled);
    }

    /// What is worth knowing of them, and no problem; `is_there` knows the handlers.
    pub(super) fn notices(&self, is_there: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
        let off = self.switched_off.then(|| "alerts are switched off: alerts.enabled is false".to_owned());
        let dead = (self.given_up > 0).then(|| {
            let dead = count(self.given_up, "alert");
            format!(
                "{dead} given up and not sent again: `dsengine alerts list --undelivered` lists what is not delivered"
            )
        });
        let left = self.left.iter().map(move |(name, left)| {
            let left = count(*left, "alert");
            let retry = format!("`dsengine alerts retry --all --handler {name}");
            match is_there(name) {
                true => format!("{left} undelivered when handler {name} was removed: {retry}` sends them again"),
                false => {
                    format!("{left} left by handler {name}, which is gone: {retry} --to NEW` gives them to another one")
                }
            }
        });
        off.into_iter().chain(dead).chain(left)
    }
}
