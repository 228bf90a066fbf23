//! Where the engine stands, as plain values: the page, the API, health checks and the command line all read these.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::live::{Events, Live};
use super::reload::Reloaded;
use crate::backend::SourceState;
use crate::error::Error;
use crate::telemetry::{AlertOutcome, SourceMetrics};
use crate::types::SourceId;

/// What the outside may ask of a running engine. Nothing here waits for a lane or a script.
pub trait Board: Send + Sync {
    /// Where everything stands.
    fn status(&self) -> Status;
    /// Where every script and component stands.
    fn plugins(&self) -> Vec<PluginStatus>;
    /// Reads a plugin's file and reloads it. Waits for the lanes to swap: not from a thread that may not wait.
    ///
    /// # Errors
    /// Why the new version is not taken.
    fn reload(&self, plugin: &str) -> Result<Reloaded, Error>;
    /// Puts a shadow in the place of the strategy it runs beside. Waits as [`Board::reload`] does.
    ///
    /// # Errors
    /// Why it is not taken.
    fn promote(&self, plugin: &str) -> Result<Reloaded, Error>;
    /// The metrics page.
    fn metrics_text(&self) -> String;
    /// A source's window, while the source is there.
    fn live(&self, source: &str) -> Option<Arc<Live>>;
    /// What happens.
    fn events(&self) -> Arc<Events>;
}

/// One engine.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Status {
    /// The deployment's name.
    pub name: String,
    /// The engine's version.
    pub version: &'static str,
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
    /// Alerts since the start.
    pub alerts: AlertStatus,
}

/// How well it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// All sources run (or have ended), no strategy is switched off.
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
    /// `connecting`, `running`, `stalled`, `backoff`, `failed` or `stopped`.
    pub state: &'static str,
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
}

/// One strategy.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StrategyStatus {
    /// Its name.
    pub name: String,
    /// `model`, `motion`, `lua` or `wasm`.
    pub kind: &'static str,
    /// The generation that judges.
    pub generation: u64,
    /// Faults since the start.
    pub faults: u64,
    /// Whether it is switched off after repeated faults.
    pub degraded: bool,
    /// The last fault or rejected reload, with its place.
    pub last_error: Option<String>,
    /// Why the newest contents of its file are not what runs, where they are not.
    pub rejected: Option<String>,
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
    /// Whether it is switched off after repeated faults.
    pub degraded: bool,
    /// The last fault or rejected reload, with its place.
    pub last_error: Option<String>,
}

/// Alerts since the start: raised = accepted + suppressed + refused, accepted = delivered + failed + pending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlertStatus {
    /// Raised by strategies.
    pub raised: u64,
    /// Taken by policy and store.
    pub accepted: u64,
    /// Held back as duplicates.
    pub suppressed: u64,
    /// Refused by the policy or by a full store.
    pub refused: u64,
    /// Every handler has them.
    pub delivered: u64,
    /// At least one handler gave them up.
    pub failed: u64,
    /// Accepted and not settled yet.
    pub pending: u64,
}

impl SourceStatus {
    /// A source's standing out of its metrics.
    pub fn read(id: &SourceId, state: SourceState, error: Option<String>, metrics: &SourceMetrics) -> Self {
        Self {
            id: id.to_string(),
            state: state.as_str(),
            fps: metrics.fps(),
            frames: metrics.frames_decoded(),
            judged: metrics.frames_judged.get(),
            dropped: metrics.drops(),
            last_frame_age_s: metrics.last_frame_age_s(),
            detections: metrics.detections_by_class(),
            reconnects: metrics.reconnects.get(),
            error,
        }
    }
}

impl AlertStatus {
    /// Adds a source's alerts.
    pub fn add(&mut self, metrics: &SourceMetrics) {
        // Read backwards, so that what happens meanwhile cannot make the later outcomes outrun the earlier.
        self.failed += metrics.alerts(AlertOutcome::Failed);
        self.delivered += metrics.alerts(AlertOutcome::Delivered);
        self.refused += metrics.alerts(AlertOutcome::Refused);
        self.suppressed += metrics.alerts(AlertOutcome::Suppressed);
        self.accepted += metrics.alerts(AlertOutcome::Accepted);
        self.raised += metrics.alerts(AlertOutcome::Raised);
        self.pending = self.accepted.saturating_sub(self.delivered + self.failed);
    }
}

impl Status {
    /// A status, with readiness and health judged from the parts.
    pub fn new(
        name: String,
        uptime_s: f64,
        sources: Vec<SourceStatus>,
        strategies: Vec<StrategyStatus>,
        alerts: AlertStatus,
    ) -> Self {
        let running = SourceState::Running.as_str();
        // An ended file is no problem, but it makes nobody ready either.
        let well =
            |s: &&SourceStatus| s.state == running || (s.state == SourceState::Stopped.as_str() && s.error.is_none());
        let ready = sources.iter().any(|s| s.state == running);
        let mut problems: Vec<String> = sources
            .iter()
            .filter(|s| !well(s))
            .map(|s| match &s.error {
                Some(error) => format!("source {} is {}: {error}", s.id, s.state),
                None => format!("source {} is {}", s.id, s.state),
            })
            .collect();
        problems.extend(strategies.iter().filter(|s| s.degraded).map(|s| match &s.last_error {
            Some(error) => format!("strategy {} is switched off: {error}", s.name),
            None => format!("strategy {} is switched off", s.name),
        }));
        problems.extend(strategies.iter().filter_map(|s| {
            let reason = s.rejected.as_ref()?;
            Some(format!("strategy {}: the newest version of its file does not run: {reason}", s.name))
        }));
        if !ready {
            problems.push("no source is running".into());
        }
        let health = match (ready, problems.is_empty()) {
            (false, _) => Health::Unhealthy,
            (true, true) => Health::Healthy,
            (true, false) => Health::Degraded,
        };
        let version = env!("CARGO_PKG_VERSION");
        Self { name, version, uptime_s, ready, health, problems, sources, strategies, alerts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(id: &str, state: SourceState) -> SourceStatus {
        SourceStatus {
            id: id.into(),
            state: state.as_str(),
            fps: 0.0,
            frames: 0,
            judged: 0,
            dropped: BTreeMap::new(),
            last_frame_age_s: None,
            detections: BTreeMap::new(),
            reconnects: 0,
            error: None,
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
            rejected: None,
        };
        Status::new("t".into(), 1.0, sources, vec![strategy], AlertStatus::default())
    }

    #[test]
    fn health_follows_sources_and_strategies() {
        use SourceState::{Backoff, Connecting, Running, Stopped};
        let cases: [(&[SourceState], bool, Health); 7] = [
            (&[Running, Running], false, Health::Healthy),
            (&[Running, Stopped], false, Health::Healthy),
            (&[Running, Backoff { attempt: 1 }], false, Health::Degraded),
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
}
