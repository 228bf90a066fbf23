//! The engine's status as plain values, for the page, the API, health checks and the command line.

mod parts;
mod source_board;

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

pub use self::parts::{
    AlertStatus, CheckStatus, HandlerStatus, PluginStatus, SourceStatus, StrategyStatus, ZoneStatus,
};
pub use self::source_board::{SourceError, StateChange};
use crate::alert::silence::SilenceCount;
use crate::backend::SourceState;
use crate::config::{Environment, Plan};
use crate::types::count;

/// The end of a reason for a deleted file, of which nothing was rejected.
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
    /// The profile that applies.
    pub profile: Option<String>,
    /// Seconds since it started.
    pub uptime_s: f64,
    /// Whether at least one source delivers frames.
    pub ready: bool,
    /// `healthy`, `degraded` or `unhealthy`.
    pub health: Health,
    /// What keeps it from being healthy, one sentence each.
    pub problems: Vec<String>,
    /// What is worth knowing and no problem, one sentence each: alerts that are switched off, silences, dead letters,
    /// a handler that does not keep up.
    pub notices: Vec<String>,
    /// The sources.
    pub sources: Vec<SourceStatus>,
    /// The strategies.
    pub strategies: Vec<StrategyStatus>,
    /// The handlers; none for a token that is limited to some sources, since their sums are of all sources.
    pub handlers: Vec<HandlerStatus>,
    /// Alerts since the start.
    pub alerts: AlertStatus,
    /// The silences that hold now.
    pub silences: SilenceCount,
    /// Scripts and components whose latest version was rejected or rolled back.
    pub rejected: Vec<RejectedReload>,
    /// The limits that are set under `monitoring`, as they were last looked at.
    pub checks: Vec<CheckStatus>,
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

impl Status {
    /// A status with readiness and health derived from the parts.
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
        // A source that waits for its publisher works: if it were unready, it would never be sent one.
        let up = |s: &SourceStatus| [running, SourceState::Waiting.as_str()].contains(&s.state);
        // An ended file is not a problem, but does not make the engine ready either.
        let well = |s: &&SourceStatus| up(s) || (s.state == SourceState::Stopped.as_str() && s.error.is_none());
        let ready = sources.iter().any(up);
        let mut problems: Vec<String> = sources.iter().filter(|s| !well(s)).map(SourceStatus::problem).collect();
        problems.extend(sources.iter().filter_map(SourceStatus::evidence_problem));
        problems.extend(strategies.iter().filter(|s| s.degraded).map(|s| match &s.last_error {
            Some(error) => format!("strategy {} is switched off: {error}", s.name),
            None => format!("strategy {} is switched off", s.name),
        }));
        problems.extend(handlers.iter().filter(|h| h.degraded).map(HandlerStatus::problem));
        problems.extend(alerts.journal_error.iter().map(|error| {
            let waiting = count(alerts.pending, "alert");
            format!("the alert journal cannot be written, {waiting} pending: {error}")
        }));
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
            profile: None,
            uptime_s,
            ready,
            health,
            problems,
            notices: Vec::new(),
            sources,
            strategies,
            handlers,
            alerts,
            silences: SilenceCount::default(),
            rejected,
            checks: Vec::new(),
        }
        .noticed()
    }

    /// Sets what is worth knowing.
    fn noticed(self) -> Self {
        let of_handlers = self.handlers.iter().flat_map(HandlerStatus::notices);
        let is_there = |name: &str| self.handlers.iter().any(|handler| handler.name == name);
        let notices = self.alerts.notices(is_there).chain(silenced(&self.silences)).chain(of_handlers).collect();
        Self { notices, ..self }
    }

    /// The status for a user who may see some sources only: readiness, health and problems are derived from those.
    /// Errors of strategies are left out, since they may quote what was seen on any source, and so are the handlers,
    /// but for the problem that one does not deliver; sums of `alerts` cover all sources.
    #[must_use]
    pub fn only(self, visible: impl Fn(&str) -> bool) -> Self {
        let Self { name, uptime_s, mut sources, mut strategies, mut handlers, alerts, mut checks, .. } = self;
        let (config_version, environment, profile) = (self.config_version, self.environment, self.profile);
        let silences = self.silences;
        let alerts = AlertStatus { left: BTreeMap::new(), ..alerts };
        sources.retain(|source| visible(&source.id));
        strategies.iter_mut().for_each(|strategy| strategy.last_error = None);
        handlers.iter_mut().for_each(|handler| handler.last_error = None);
        let seen = Self::new(name, uptime_s, sources, strategies, handlers, alerts, Vec::new());
        checks.retain(|check| check.source.as_deref().is_none_or(&visible));
        Self { config_version, environment, profile, silences, handlers: Vec::new(), ..seen }
            .noticed()
            .with_checks(checks)
    }

    /// Adds the deployment's version and environment from the plan, and whether it has alerts.
    #[must_use]
    pub fn of(self, plan: &Plan) -> Self {
        let (config_version, profile) = (plan.version.clone(), plan.profile.clone());
        let alerts = AlertStatus { switched_off: !plan.alerts.enabled, ..self.alerts };
        Self { config_version, environment: plan.environment.as_str(), profile, alerts, ..self }.noticed()
    }

    /// Reduces it to readiness and health.
    #[must_use]
    pub fn bare(self) -> Self {
        Self {
            problems: Vec::new(),
            notices: Vec::new(),
            sources: Vec::new(),
            strategies: Vec::new(),
            handlers: Vec::new(),
            alerts: AlertStatus::default(),
            silences: SilenceCount::default(),
            rejected: Vec::new(),
            checks: Vec::new(),
            // It may tell whether somebody is at home.
            profile: None,
            ..self
        }
    }

    /// Adds the silences: not a problem, but something to know.
    #[must_use]
    pub fn with_silences(self, silences: SilenceCount) -> Self {
        Self { silences, ..self }.noticed()
    }

    /// Adds the engine's own thresholds: each crossed one is a problem.
    #[must_use]
    pub fn with_checks(self, checks: Vec<CheckStatus>) -> Self {
        let problems = checks.iter().filter_map(CheckStatus::problem).collect();
        Self { checks, ..self.with_notes(problems) }
    }

    /// Adds notes of other components: each is a problem.
    #[must_use]
    pub fn with_notes(mut self, notes: Vec<String>) -> Self {
        if self.health == Health::Healthy && !notes.is_empty() {
            self.health = Health::Degraded;
        }
        self.problems.extend(notes);
        self
    }
}

/// The silences that hold, as a sentence.
fn silenced(silences: &SilenceCount) -> Option<String> {
    let until = silences.until.as_ref()?;
    let (active, hold) = (count(silences.active, "silence"), if silences.active == 1 { "holds" } else { "hold" });
    let last = if silences.active == 1 { "" } else { ", the last of them" };
    Some(format!("{active} {hold}{last} until {until}: `dsengine silence list`"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::telemetry::Metrics;
    use crate::types::TestClock;

    fn source(id: &str, state: SourceState) -> SourceStatus {
        let metrics = Metrics::new(Arc::new(TestClock::default()));
        SourceStatus::read(&id.into(), state, None, None, &metrics.source(&id.into()))
    }

    fn status(sources: &[SourceState], degraded: bool) -> Status {
        let sources = sources.iter().map(|s| source("gate", *s)).collect();
        let strategy = StrategyStatus {
            name: "x".into(),
            kind: "lua",
            generation: 1,
            faults: 0,
            degraded,
            off_schedule: false,
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
    fn a_failed_source_reports_its_retries_and_a_rejected_script_is_a_problem() {
        let mut cam = source("cam", SourceState::Failed);
        (cam.retry_every_s, cam.error) = (Some(10.0), Some("refused".into()));
        let rejected = vec![RejectedReload { script: "a.lua".into(), error: "a.lua:3: boom".into() }];
        let sources = vec![cam, source("gate", SourceState::Running)];
        let status = Status::new("t".into(), 1.0, sources, vec![], vec![], AlertStatus::default(), rejected);
        assert_eq!(status.health, Health::Degraded);
        assert_eq!(
            status.problems,
            [
                "source cam is failed, tried again every 10 s: refused",
                "a.lua: the latest version was rejected, the previous one is running: a.lua:3: boom"
            ]
        );
    }

    #[test]
    fn a_handler_that_keeps_failing_is_a_problem() {
        let handler = |name: &str, degraded| HandlerStatus {
            name: name.into(),
            delivered: 0,
            given_up: 12,
            pending: 1320,
            growth: 0,
            degraded,
            failing_s: Some(1.0),
            last_error: Some("connection refused".into()),
        };
        let (sources, handlers) =
            (vec![source("a", SourceState::Running)], vec![handler("x", false), handler("y", true)]);
        let status = Status::new("t".into(), 1.0, sources, vec![], handlers, AlertStatus::default(), vec![]);
        assert_eq!(status.health, Health::Degraded);
        assert_eq!(status.problems, ["handler y: 12 alerts given up, 1320 waiting; last: connection refused"]);
        let limited = status.only(|_| true);
        assert_eq!((limited.health, limited.handlers.len()), (Health::Degraded, 0));
        assert_eq!(limited.problems, ["handler y does not deliver"]);
    }

    #[test]
    fn what_is_worth_knowing_is_noticed_and_no_problem() {
        let handler = HandlerStatus {
            name: "hook".into(),
            delivered: 1,
            given_up: 2,
            pending: 70,
            growth: 60,
            degraded: false,
            failing_s: Some(2.0),
            last_error: Some("http://u:C4n4ry@h/: refused".into()),
        };
        let left = [("hook".to_owned(), 1), ("old".to_owned(), 4)].into();
        let alerts = AlertStatus { switched_off: true, given_up: 2, left, ..AlertStatus::default() };
        let sources = vec![source("a", SourceState::Running)];
        let status = Status::new("t".into(), 1.0, sources, vec![], vec![handler], alerts, vec![]);
        let until = "2026-01-31T18:00:00.000Z".to_owned();
        let status = status.with_silences(SilenceCount { active: 2, until: Some(until) });
        let wanted = [
            "alerts are switched off: alerts.enabled is false",
            "2 alerts given up and not sent again: `dsengine alerts list --undelivered` lists what is not delivered",
            "1 alert undelivered when handler hook was removed: `dsengine alerts retry --all --handler hook` sends \
             them again",
            "4 alerts left by handler old, which is gone: `dsengine alerts retry --all --handler old --to NEW` gives \
             them to another one",
            "2 silences hold, the last of them until 2026-01-31T18:00:00.000Z: `dsengine silence list`",
            "handler hook has been failing for 2 s, and tries again",
            "handler hook does not keep up: 70 alerts waiting, 60 more than a minute ago",
        ];
        assert_eq!(status.notices, wanted);
        assert_eq!((status.health, status.problems.len()), (Health::Healthy, 0));
        let limited = status.clone().only(|_| true).notices;
        assert_eq!(limited, [wanted[0], wanted[1], wanted[4]], "no handler's for a token that is limited");
        assert_eq!(status.bare().notices, [""; 0], "nothing for a probe");
    }
}
