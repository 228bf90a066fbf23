//! Where the engine stands, as plain values: the page, the API, health checks and the command line all read these.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::alert::{Outbox, Standing};
use crate::backend::SourceState;
use crate::config::{Environment, Plan};
use crate::telemetry::{AlertOutcome, SourceMetrics};
use crate::types::{SourceId, Zone};

/// How a reason ends that is about a file that was deleted: nothing of it was rejected.
pub(in crate::engine) const GONE: &str = " is gone: what runs goes on, but a restart will fail";

/// One engine.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Status {
    /// The deployment's name.
    pub name: String,
    /// The engine's version.
    pub version: &'static str,
    /// The version of its configuration; null where that says none.
    pub config_version: Option<String>,
    /// What kind of deployment it is: `development`, `staging` or `production`.
    pub environment: &'static str,
    /// Seconds since it started.
    pub uptime_s: f64,
    /// Whether at least one source delivers frames.
    pub ready: bool,
    /// `healthy`, `degraded` or `unhealthy`.
    pub health: Health,
    /// What keeps it from being healthy, one sentence each.
    pub problems: Vec<String>,
    /// The sources.
    pub sources: Vec<SourceStatus>,
    /// The strategies.
    pub strategies: Vec<StrategyStatus>,
    /// The handlers.
    pub handlers: Vec<HandlerStatus>,
    /// Alerts since the start.
    pub alerts: AlertStatus,
    /// Scripts and components whose latest version was rejected or rolled back.
    pub rejected: Vec<RejectedReload>,
    /// The limits that are set under `monitoring`, as they were last looked at.
    pub checks: Vec<CheckStatus>,
}

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
    /// What is not as it should be, as a sentence; none while the limit holds.
    fn problem(&self) -> Option<String> {
        let crossed_s = self.crossed_s?;
        Some(format!("{}: {}, for {crossed_s:.0} s", self.name, self.text))
    }
}

/// A script whose latest contents were rejected; the version before goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RejectedReload {
    /// Its file.
    pub script: String,
    /// Why, with the line.
    pub error: String,
}

/// How well it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// All sources run (or have ended), no strategy is switched off, every handler delivers, every script runs as its
    /// file says.
    Healthy,
    /// Some do not.
    Degraded,
    /// No source delivers frames.
    Unhealthy,
}

/// One source.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SourceStatus {
    /// Its name.
    pub id: String,
    /// `connecting`, `waiting` (for a publisher), `running`, `stalled`, `backoff`, `failed` or `stopped`. A live source
    /// that is `failed` is still tried, every `retry_every_s`.
    pub state: &'static str,
    /// Seconds between attempts of a `failed` source; absent when it is not tried any more, or not failed.
    pub retry_every_s: Option<f64>,
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
    /// The areas of its picture that rules know by name.
    pub zones: Vec<ZoneStatus>,
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

/// Alerts since the start: raised + recovered = delivered + failed + suppressed + refused + pending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlertStatus {
    /// Raised by strategies.
    pub raised: u64,
    /// Accepted by a former process, and not delivered then.
    pub recovered: u64,
    /// Taken by policy and outbox.
    pub accepted: u64,
    /// Held back as duplicates.
    pub suppressed: u64,
    /// Refused by the policy, or for want of room.
    pub refused: u64,
    /// Every handler has them.
    pub delivered: u64,
    /// At least one handler does not get them.
    pub failed: u64,
    /// Waiting for the journal or a handler.
    pub pending: u64,
    /// Why they cannot be written to the journal, secrets redacted; absent while they can.
    pub journal_error: Option<String>,
}

impl SourceStatus {
    /// A source's standing out of its metrics.
    pub fn read(
        id: &SourceId,
        state: SourceState,
        retry_every: Option<Duration>,
        error: Option<String>,
        metrics: &SourceMetrics,
    ) -> Self {
        Self {
            id: id.to_string(),
            state: state.as_str(),
            retry_every_s: retry_every.map(|every| every.as_secs_f64()),
            fps: metrics.fps(),
            frames: metrics.frames_decoded(),
            judged: metrics.frames_judged.get(),
            dropped: metrics.drops(),
            last_frame_age_s: metrics.last_frame_age_s(),
            detections: metrics.detections_by_class(),
            reconnects: metrics.reconnects.get(),
            error,
            zones: Vec::new(),
            remedy: None,
        }
    }

    /// The same with the areas of its picture.
    #[must_use]
    pub fn with_zones(self, zones: &[Zone]) -> Self {
        let corners = |zone: &Zone| zone.polygon.points().iter().map(|point| [point.x, point.y]).collect();
        let zones = zones.iter().map(|zone| ZoneStatus { name: zone.name.clone(), points: corners(zone) });
        Self { zones: zones.collect(), ..self }
    }
    /// What it does not do, as a sentence.
    fn problem(&self) -> String {
        let mut problem = format!("source {} is {}", self.id, self.state);
        if let Some(every) = self.retry_every_s {
            problem += &format!(", still trying every {every} s");
        }
        if let Some(error) = &self.error {
            problem += &format!(": {error}");
        }
        problem
    }
}

impl HandlerStatus {
    /// How a handler stands at `now_ns` on the monotonic clock.
    pub fn read(standing: &Standing, now_ns: u64) -> Self {
        let trouble = standing.trouble(now_ns);
        Self {
            name: standing.name().to_string(),
            delivered: standing.delivered(),
            given_up: standing.given_up(),
            pending: standing.pending() as u64,
            degraded: trouble.as_ref().is_some_and(|trouble| trouble.lasts),
            failing_s: trouble.as_ref().map(|trouble| trouble.for_ns as f64 / 1e9),
            last_error: trouble.map(|trouble| trouble.error),
        }
    }

    /// What it does not do, as a sentence.
    fn problem(&self) -> String {
        let Self { name, given_up, pending, last_error, .. } = self;
        let last = last_error.as_deref().unwrap_or_default();
        format!("handler {name}: {given_up} alerts given up, {pending} waiting; last: {last}")
    }
}

impl AlertStatus {
    /// Alerts of the whole engine, at `now_ns` on the monotonic clock.
    pub fn read(outbox: &Outbox, now_ns: u64) -> Self {
        let totals = outbox.totals();
        let trouble = outbox.trouble(now_ns).filter(|trouble| trouble.lasts);
        Self {
            raised: totals.raised,
            recovered: totals.recovered,
            accepted: totals.accepted,
            suppressed: totals.suppressed,
            refused: totals.refused,
            delivered: totals.delivered,
            failed: totals.failed,
            pending: totals.pending(),
            journal_error: trouble.map(|trouble| trouble.error),
        }
    }

    /// Adds a source's alerts.
    pub fn add(&mut self, metrics: &SourceMetrics) {
        // Read backwards, so that what happens meanwhile cannot make the later outcomes outrun the earlier.
        self.failed += metrics.alerts(AlertOutcome::Failed);
        self.delivered += metrics.alerts(AlertOutcome::Delivered);
        self.refused += metrics.alerts(AlertOutcome::Refused);
        self.suppressed += metrics.alerts(AlertOutcome::Suppressed);
        self.accepted += metrics.alerts(AlertOutcome::Accepted);
        self.recovered += metrics.alerts(AlertOutcome::Recovered);
        self.raised += metrics.alerts(AlertOutcome::Raised);
        let settled = self.delivered + self.failed + self.suppressed + self.refused;
        self.pending = (self.raised + self.recovered).saturating_sub(settled);
    }
}

impl Status {
    /// A status, with readiness and health judged from the parts.
    pub fn new(
        name: String,
        uptime_s: f64,
        sources: Vec<SourceStatus>,
        strategies: Vec<StrategyStatus>,
        handlers: Vec<HandlerStatus>,
        alerts: AlertStatus,
        rejected: Vec<RejectedReload>,
    ) -> Self {
        let running = SourceState::Running.as_str();
        // A source that waits for its publisher does all it can: unready, it would never be sent one.
        let up = |s: &SourceStatus| [running, SourceState::Waiting.as_str()].contains(&s.state);
        // An ended file is no problem, but it makes nobody ready either.
        let well = |s: &&SourceStatus| up(s) || (s.state == SourceState::Stopped.as_str() && s.error.is_none());
        let ready = sources.iter().any(up);
        let mut problems: Vec<String> = sources.iter().filter(|s| !well(s)).map(SourceStatus::problem).collect();
        problems.extend(strategies.iter().filter(|s| s.degraded).map(|s| match &s.last_error {
            Some(error) => format!("strategy {} is switched off: {error}", s.name),
            None => format!("strategy {} is switched off", s.name),
        }));
        problems.extend(handlers.iter().filter(|h| h.degraded).map(HandlerStatus::problem));
        problems.extend(
            alerts
                .journal_error
                .iter()
                .map(|error| format!("the alert journal cannot be written, {} alerts wait: {error}", alerts.pending)),
        );
        problems.extend(rejected.iter().map(|r| match r.error.ends_with(GONE) {
            true => format!("{}: {}", r.script, r.error),
            false => format!("{}: the latest version was rejected, the previous one is running: {}", r.script, r.error),
        }));
        if !ready {
            problems.push("no source is running".into());
        }
        let health = match (ready, problems.is_empty()) {
            (false, _) => Health::Unhealthy,
            (true, true) => Health::Healthy,
            (true, false) => Health::Degraded,
        };
        Self {
            name,
            version: env!("CARGO_PKG_VERSION"),
            config_version: None,
            environment: Environment::default().as_str(),
            uptime_s,
            ready,
            health,
            problems,
            sources,
            strategies,
            handlers,
            alerts,
            rejected,
            checks: Vec::new(),
        }
    }

    /// What somebody sees who may see some sources only: readiness, health and problems are judged from those. Errors
    /// of strategies and handlers are left out, since they may quote what was seen on any source; the sums are of all.
    #[must_use]
    pub fn only(self, visible: impl Fn(&str) -> bool) -> Self {
        let Self { name, uptime_s, mut sources, mut strategies, mut handlers, alerts, mut checks, .. } = self;
        let (config_version, environment) = (self.config_version, self.environment);
        sources.retain(|source| visible(&source.id));
        strategies.iter_mut().for_each(|strategy| strategy.last_error = None);
        handlers.iter_mut().for_each(|handler| handler.last_error = None);
        let seen = Self::new(name, uptime_s, sources, strategies, handlers, alerts, Vec::new());
        checks.retain(|check| check.source.as_deref().is_none_or(&visible));
        Self { config_version, environment, ..seen }.with_checks(checks)
    }

    /// The same status with what the plan says of the deployment.
    #[must_use]
    pub fn of(self, plan: &Plan) -> Self {
        Self { config_version: plan.version.clone(), environment: plan.environment.as_str(), ..self }
    }

    /// Whether it is ready and healthy, and nothing more.
    #[must_use]
    pub fn bare(self) -> Self {
        Self {
            problems: Vec::new(),
            sources: Vec::new(),
            strategies: Vec::new(),
            handlers: Vec::new(),
            alerts: AlertStatus::default(),
            rejected: Vec::new(),
            checks: Vec::new(),
            ..self
        }
    }

    /// The same status with the limits of the engine itself: each that is crossed is a problem.
    #[must_use]
    pub fn with_checks(self, checks: Vec<CheckStatus>) -> Self {
        let problems = checks.iter().filter_map(CheckStatus::problem).collect();
        Self { checks, ..self.with_notes(problems) }
    }

    /// The same status with what others have to say: each is a problem.
    #[must_use]
    pub fn with_notes(mut self, notes: Vec<String>) -> Self {
        if self.health == Health::Healthy && !notes.is_empty() {
            self.health = Health::Degraded;
        }
        self.problems.extend(notes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(id: &str, state: SourceState) -> SourceStatus {
        SourceStatus {
            id: id.into(),
            state: state.as_str(),
            retry_every_s: None,
            fps: 0.0,
            frames: 0,
            judged: 0,
            dropped: BTreeMap::new(),
            last_frame_age_s: None,
            detections: BTreeMap::new(),
            reconnects: 0,
            error: None,
            zones: Vec::new(),
            remedy: None,
        }
    }

    fn status(sources: &[SourceState], degraded: bool) -> Status {
        let sources = sources.iter().map(|s| source("gate", *s)).collect();
        let strategy = StrategyStatus {
            name: "x".into(),
            kind: "lua",
            generation: 1,
            faults: 0,
            degraded,
            last_error: Some("x.lua:3: boom".into()),
        };
        Status::new("t".into(), 1.0, sources, vec![strategy], vec![], AlertStatus::default(), vec![])
    }

    #[test]
    fn health_follows_sources_and_strategies() {
        use SourceState::{Backoff, Connecting, Running, Stopped, Waiting};
        let cases: [(&[SourceState], bool, Health); 9] = [
            (&[Running, Running], false, Health::Healthy),
            (&[Running, Stopped], false, Health::Healthy),
            (&[Running, Backoff { attempt: 1 }], false, Health::Degraded),
            (&[Running, Waiting], false, Health::Healthy),
            (&[Waiting], false, Health::Healthy),
            (&[Running], true, Health::Degraded),
            (&[Connecting], false, Health::Unhealthy),
            (&[Stopped], false, Health::Unhealthy),
            (&[], false, Health::Unhealthy),
        ];
        for (sources, degraded, want) in cases {
            let status = status(sources, degraded);
            assert_eq!(status.health, want, "{sources:?}");
            assert_eq!(status.ready, want != Health::Unhealthy);
            assert_eq!(status.problems.is_empty(), want == Health::Healthy, "{:?}", status.problems);
        }
    }

    #[test]
    fn a_failed_source_that_is_still_tried_says_so_and_a_rejected_script_is_a_problem() {
        let mut cam = source("cam", SourceState::Failed);
        (cam.retry_every_s, cam.error) = (Some(10.0), Some("refused".into()));
        let rejected = vec![RejectedReload { script: "a.lua".into(), error: "a.lua:3: boom".into() }];
        let sources = vec![cam, source("gate", SourceState::Running)];
        let status = Status::new("t".into(), 1.0, sources, vec![], vec![], AlertStatus::default(), rejected);
        assert_eq!(status.health, Health::Degraded);
        assert_eq!(
            status.problems,
            [
                "source cam is failed, still trying every 10 s: refused",
                "a.lua: the latest version was rejected, the previous one is running: a.lua:3: boom"
            ]
        );
    }

    #[test]
    fn a_handler_that_lastingly_fails_is_a_problem() {
        let handler = |name: &str, degraded| HandlerStatus {
            name: name.into(),
            delivered: 0,
            given_up: 12,
            pending: 1320,
            degraded,
            failing_s: Some(1.0),
            last_error: Some("connection refused".into()),
        };
        let (sources, handlers) =
            (vec![source("a", SourceState::Running)], vec![handler("x", false), handler("y", true)]);
        let status = Status::new("t".into(), 1.0, sources, vec![], handlers, AlertStatus::default(), vec![]);
        assert_eq!(status.health, Health::Degraded);
        assert_eq!(status.problems, ["handler y: 12 alerts given up, 1320 waiting; last: connection refused"]);
    }
}
