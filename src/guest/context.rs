//! A guest instance's surroundings: what it is told, what it may do, and what the host keeps for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use super::{BuildInputs, Grants, GuestKind, Limits, Space, StateStore, Trial, Watchdog};
use crate::telemetry::Meter;
use crate::types::{SourceId, Zone, one_line};

/// Most CPU time of a call in a trial: a start waits for it.
const TRIAL_CPU_MAX: Duration = Duration::from_millis(250);

/// How loud a guest's log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// For the plugin's author.
    Debug,
    /// For the record.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
}

/// The surroundings of one instance. Cheap to clone; clones share state, metrics and the log's rate.
#[derive(Clone)]
pub struct GuestContext {
    /// The name from the config: of metrics, log lines and state.
    pub plugin: Arc<str>,
    /// The source it judges; `None` for a handler.
    pub source: Option<SourceId>,
    /// The plugin's own settings.
    pub config: Arc<Value>,
    /// What it may use.
    pub limits: Limits,
    /// What it may reach: asked for and granted.
    pub grants: Arc<Grants>,
    /// What the host keeps for it on this source.
    pub state: Arc<Mutex<Space>>,
    /// What the host keeps for it over all sources.
    pub shared: Arc<Mutex<Space>>,
    /// Its own figures.
    pub meter: Meter,
    /// Who stops it.
    pub watchdog: Arc<Watchdog>,
    /// The source's zones as they are when it is loaded; none for a handler. A frame brings its own.
    pub zones: Arc<[Zone]>,
    /// The files it is built from beside its module, shared by all instances of a version.
    pub inputs: Arc<BuildInputs>,
    /// The version its plugin.toml gives it; `None` where there is none.
    pub version: Option<Arc<str>>,
    /// Side effects are off: a self-test or a shadow. State is a copy, log lines and figures go nowhere.
    pub rehearsal: bool,
    /// Who notes what it asks for, where it is tried on generated frames.
    pub trial: Option<Arc<Trial>>,
    log: Arc<Mutex<LogRate>>,
}

/// Lines of the running second, and how many were left out so far.
#[derive(Debug, Default)]
struct LogRate {
    second: u64,
    lines: u32,
    dropped: u64,
}

impl GuestContext {
    /// The surroundings of `plugin` on `source`.
    #[allow(clippy::too_many_arguments, reason = "each is a part of its own, and all are needed")]
    pub fn new(
        plugin: &str,
        source: Option<SourceId>,
        config: Arc<Value>,
        limits: Limits,
        grants: Arc<Grants>,
        store: &StateStore,
        meter: Meter,
        watchdog: Arc<Watchdog>,
    ) -> Self {
        let kind = if source.is_some() { GuestKind::Strategy } else { GuestKind::Handler };
        Self {
            plugin: plugin.into(),
            state: store.space(plugin, source.as_ref()),
            shared: store.shared(plugin, kind),
            source,
            config,
            limits,
            grants,
            meter,
            watchdog,
            zones: Arc::default(),
            inputs: Arc::default(),
            version: None,
            rehearsal: false,
            trial: None,
            log: Arc::default(),
        }
    }

    /// The same place with the source's zones, so that a guest can check the names in its settings when it is loaded.
    #[must_use]
    pub fn with_zones(self, zones: &[Zone]) -> Self {
        Self { zones: zones.into(), ..self }
    }

    /// The same place for the version that is built from the files `beside` its module.
    #[must_use]
    pub fn of_version(self, version: Option<Arc<str>>, inputs: &Arc<BuildInputs>) -> Self {
        Self { version, inputs: Arc::clone(inputs), ..self }
    }

    /// The same place with side effects off: state is a copy that is thrown away.
    #[must_use]
    pub fn rehearsal(&self) -> Self {
        let copy = |space: &Mutex<Space>| Arc::new(Mutex::new(space.lock().clone()));
        Self {
            state: copy(&self.state),
            shared: copy(&self.shared),
            rehearsal: true,
            log: Arc::default(),
            ..self.clone()
        }
    }

    /// The same place for a trial: side effects are off, and nothing is kept from before.
    #[must_use]
    pub fn trial(&self, trial: Arc<Trial>) -> Self {
        let (state, shared) = (Arc::default(), Arc::default());
        let mut limits = self.limits.clone();
        if limits.call.hard_cpu > TRIAL_CPU_MAX {
            limits.call.hard_cpu = TRIAL_CPU_MAX;
            trial.cut();
        }
        Self { state, shared, limits, rehearsal: true, trial: Some(trial), log: Arc::default(), ..self.clone() }
    }

    /// Writes a log line of the guest's, cut to its limit, or counts it where it goes over the rate. `now_ns` is
    /// frame time.
    pub fn log(&self, severity: Severity, text: &str, now_ns: u64) {
        if self.rehearsal {
            return;
        }
        {
            let mut rate = self.log.lock();
            let second = now_ns / 1_000_000_000;
            // A handler hears of all sources, whose times need not be the same: it may not win a new second by going back
            // to another's.
            if second > rate.second || (second < rate.second && self.source.is_some()) {
                (rate.second, rate.lines) = (second, 0);
            }
            if rate.lines >= self.limits.log_lines_per_s {
                rate.dropped += 1;
                return;
            }
            rate.lines += 1;
        }
        let cut = text.len() > self.limits.message_bytes;
        let text = &text[..text.floor_char_boundary(self.limits.message_bytes)];
        let text = one_line(text);
        let more = if cut { "…" } else { "" };
        let (plugin, source) = (&*self.plugin, self.source.as_ref().map_or("", SourceId::as_str));
        match severity {
            Severity::Debug => tracing::debug!(target: "dsengine::guest", plugin, source, "{text}{more}"),
            Severity::Info => tracing::info!(target: "dsengine::guest", plugin, source, "{text}{more}"),
            Severity::Warn => tracing::warn!(target: "dsengine::guest", plugin, source, "{text}{more}"),
            Severity::Error => tracing::error!(target: "dsengine::guest", plugin, source, "{text}{more}"),
        }
    }

    /// Log lines that went over the rate and were left out.
    pub fn log_lines_dropped(&self) -> u64 {
        self.log.lock().dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(source: Option<SourceId>) -> GuestContext {
        let limits = Limits { log_lines_per_s: 1, ..Limits::lua() };
        let (store, watchdog) = (StateStore::default(), Watchdog::start().unwrap());
        GuestContext::new("p", source, Arc::default(), limits, Arc::default(), &store, Meter::none(), watchdog)
    }

    #[test]
    fn a_handler_wins_no_lines_by_alerts_of_sources_whose_times_differ() {
        let talks = |context: &GuestContext| {
            for second in [100, 5, 100, 5, 101] {
                context.log(Severity::Info, "line", second * 1_000_000_000);
            }
            context.log_lines_dropped()
        };
        assert_eq!(talks(&context(None)), 3);
        assert_eq!(talks(&context(Some(SourceId::from("a")))), 0, "a source may begin again");
    }
}
