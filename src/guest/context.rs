//! A guest instance's context: its inputs, its permissions, and the state that the host keeps for it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use super::{BuildInputs, Grants, GuestKind, Limits, Space, StateStore, Trial, Watchdog};
use crate::config::is_secret_key;
use crate::telemetry::Meter;
use crate::telemetry::redact::MASK;
use crate::types::{SourceId, TimeZone, Zone, one_line};

/// CPU time limit of a call in a trial, since a start waits for it.
const TRIAL_CPU_MAX: Duration = Duration::from_millis(250);

/// The fewest characters of a secret that is masked in a guest's texts: a shorter one is part of too many words.
const SECRET_CHARS_MIN: usize = 6;

/// The severity of a guest's log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// For the plugin's author.
    Debug,
    /// Information.
    Info,
    /// A condition that needs attention.
    Warn,
    /// A failure.
    Error,
}

/// The context of one instance. Cheap to clone; clones share state, metrics and the log's rate limit.
#[derive(Clone)]
pub struct GuestContext {
    /// The name from the configuration, used for metrics, log lines and state.
    pub plugin: Arc<str>,
    /// The source it judges; `None` for a handler.
    pub source: Option<SourceId>,
    /// The plugin's own settings.
    pub config: Arc<Value>,
    /// The configuration's `extensions`, the same for all plugins.
    pub extensions: Arc<Value>,
    /// Its resource limits.
    pub limits: Limits,
    /// Its capabilities: requested and granted.
    pub grants: Arc<Grants>,
    /// Its state on this source.
    pub state: Arc<Mutex<Space>>,
    /// Its state over all sources; its time is capture time.
    pub shared: Arc<Mutex<Space>>,
    /// Its own metrics.
    pub meter: Meter,
    /// The watchdog that enforces its time limits.
    pub watchdog: Arc<Watchdog>,
    /// The source's zones at load time; empty for a handler. A frame has its own.
    pub zones: Arc<[Zone]>,
    /// The zone of the local time that it asks for.
    pub timezone: TimeZone,
    /// The input files besides its module, shared by all instances of a version.
    pub inputs: Arc<BuildInputs>,
    /// The version from its plugin.toml; `None` without one.
    pub version: Option<Arc<str>>,
    /// Whether side effects are off, for a self-test or a shadow: state is a copy; log lines and metrics are discarded.
    pub rehearsal: bool,
    /// Records its requests when it is tried on generated frames.
    pub trial: Option<Arc<Trial>>,
    log: Arc<Mutex<LogRate>>,
    /// The values in `config` under the names of secrets, the longest first.
    secrets: Arc<[String]>,
}

/// The number of lines in the current second, and the total number of dropped lines.
#[derive(Debug, Default)]
struct LogRate {
    second: u64,
    lines: u32,
    dropped: u64,
}

impl GuestContext {
    /// The context of the strategy `plugin` on `source`, or of the handler `plugin` where there is none: without settings,
    /// grants and metrics.
    pub fn new(
        plugin: &str,
        source: Option<SourceId>,
        limits: Limits,
        store: &StateStore,
        watchdog: Arc<Watchdog>,
    ) -> Self {
        let kind = if source.is_some() { GuestKind::Strategy } else { GuestKind::Handler };
        Self {
            plugin: plugin.into(),
            state: store.space(plugin, source.as_ref()),
            shared: store.shared(plugin, kind),
            source,
            config: Arc::default(),
            extensions: Arc::default(),
            limits,
            grants: Arc::default(),
            meter: Meter::none(),
            watchdog,
            zones: Arc::default(),
            timezone: TimeZone::default(),
            inputs: Arc::default(),
            version: None,
            rehearsal: false,
            trial: None,
            log: Arc::default(),
            secrets: Arc::default(),
        }
    }

    /// The same context with the guest's settings.
    #[must_use]
    pub fn with_config(self, config: Arc<Value>) -> Self {
        let mut secrets = Vec::new();
        find_secrets(&config, false, &mut secrets);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { config, secrets: secrets.into(), ..self }
    }

    /// The same context with the capabilities that are granted.
    #[must_use]
    pub fn with_grants(self, grants: Arc<Grants>) -> Self {
        Self { grants, ..self }
    }

    /// The same context with metrics of the guest's own.
    #[must_use]
    pub fn with_meter(self, meter: Meter) -> Self {
        Self { meter, ..self }
    }

    /// The same context with the source's zones, so that a guest can check the names in its settings when it is loaded.
    #[must_use]
    pub fn with_zones(self, zones: &[Zone]) -> Self {
        Self { zones: zones.into(), ..self }
    }

    /// The same context with the zone of the local time that the guest asks for.
    #[must_use]
    pub fn in_timezone(self, timezone: &TimeZone) -> Self {
        Self { timezone: timezone.clone(), ..self }
    }

    /// The same context with the configuration's `extensions`.
    #[must_use]
    pub fn with_extensions(self, extensions: &Arc<Value>) -> Self {
        Self { extensions: Arc::clone(extensions), ..self }
    }

    /// The same context for the version that is built from these `inputs`.
    #[must_use]
    pub fn of_version(self, version: Option<Arc<str>>, inputs: &Arc<BuildInputs>) -> Self {
        Self { version, inputs: Arc::clone(inputs), ..self }
    }

    /// The same context without side effects: its state is a temporary copy.
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

    /// The same context for a trial: no side effects, and empty state.
    #[must_use]
    pub fn trial(&self, trial: Arc<Trial>) -> Self {
        let (state, shared) = (Arc::default(), Arc::default());
        let mut limits = self.limits.clone();
        for time in [&mut limits.call, &mut limits.delivery] {
            if time.hard_cpu > TRIAL_CPU_MAX {
                time.hard_cpu = TRIAL_CPU_MAX;
                trial.cut();
            }
        }
        Self { state, shared, limits, rehearsal: true, trial: Some(trial), log: Arc::default(), ..self.clone() }
    }

    /// Records when the frame of a call was captured, for values that expire: those over all sources by capture time,
    /// since the frame times of two sources have nothing in common.
    pub fn observe(&self, pts_ns: u64, captured_unix_ns: u64) {
        self.state.lock().observe(pts_ns, captured_unix_ns);
        if self.grants.has.shared_state {
            self.shared.lock().observe(captured_unix_ns, captured_unix_ns);
        }
    }

    /// Masks the secrets of the guest's own settings in a text of its own.
    pub fn mask(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.masked(text) {
            *text = masked;
        }
    }

    fn masked<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.secrets.iter().fold(Cow::Borrowed(text), |text, secret| match text.contains(secret) {
            true => Cow::Owned(text.replace(secret, MASK)),
            false => text,
        })
    }

    /// Writes a log line of the guest, truncated to its limit; drops and counts lines over the rate limit. `now_ns` is
    /// frame time.
    pub fn log(&self, severity: Severity, text: &str, now_ns: u64) {
        if self.rehearsal {
            return;
        }
        {
            let mut rate = self.log.lock();
            let second = now_ns / 1_000_000_000;
            // A handler gets alerts of all sources, whose frame times may differ: a step back to another source's time
            // must not start a new second.
            if second > rate.second || (second < rate.second && self.source.is_some()) {
                (rate.second, rate.lines) = (second, 0);
            }
            if rate.lines >= self.limits.log_lines_per_s {
                rate.dropped += 1;
                return;
            }
            rate.lines += 1;
        }
        let text = self.masked(text);
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

    /// The number of log lines dropped by the rate limit.
    pub fn log_lines_dropped(&self) -> u64 {
        self.log.lock().dropped
    }
}

/// The texts and numbers in a value under the names of secrets.
fn find_secrets(value: &Value, is_secret: bool, found: &mut Vec<String>) {
    let text = match value {
        Value::Object(keys) => {
            return keys.iter().for_each(|(key, value)| find_secrets(value, is_secret || is_secret_key(key), found));
        }
        Value::Array(items) => return items.iter().for_each(|item| find_secrets(item, is_secret, found)),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) => return,
    };
    if is_secret && text.chars().count() >= SECRET_CHARS_MIN {
        found.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(source: Option<SourceId>) -> GuestContext {
        let keys = ["C4n4ry-2", "123456"];
        let config = serde_json::json!({ "password": "C4n4ry", "api_key": keys, "token": "short", "zone": "garden" });
        let limits = Limits { log_lines_per_s: 1, ..Limits::lua() };
        let (store, watchdog) = (StateStore::default(), Watchdog::start().unwrap());
        GuestContext::new("p", source, limits, &store, watchdog).with_config(Arc::new(config))
    }

    #[test]
    fn the_secrets_of_its_settings_are_masked_in_a_guests_texts() {
        let mut text = "C4n4ry-2 C4n4ry=123456 short garden".to_owned();
        context(None).mask(&mut text);
        assert_eq!(text, "*** ***=*** short garden");
    }

    #[test]
    fn a_handler_gets_no_extra_lines_from_sources_with_different_times() {
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
