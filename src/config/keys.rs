//! The table of keys: what each does, on which backend, and which test shows it. `configs/KEYS.md` is printed from it.
//!
//! Each file beside this one holds the rows of a part of the configuration.
//!
//! A key whose capability is not built yet says here what it will do; a configuration that sets it is warned by name.

mod alerts;
mod detection;
mod general;
mod handlers;
mod monitoring;
mod pipeline;
mod sources;

/// Where a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    /// On every backend.
    All,
    /// On the portable backend.
    Portable,
    /// On DeepStream.
    DeepStream,
}

/// Whether a key does something yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Built; the test that shows the effect.
    Built(&'static str),
    /// Not built: the effect is what it will do.
    NotBuilt,
}

/// One key.
#[derive(Debug, Clone, Copy)]
struct Row {
    key: &'static str,
    backend: Backend,
    effect: &'static str,
    state: State,
}

const fn proved(key: &'static str, effect: &'static str, test: &'static str) -> Row {
    Row { key, backend: Backend::All, effect, state: State::Built(test) }
}

const fn portable(key: &'static str, effect: &'static str, test: &'static str) -> Row {
    Row { key, backend: Backend::Portable, effect, state: State::Built(test) }
}

const fn planned(key: &'static str, effect: &'static str) -> Row {
    Row { key, backend: Backend::All, effect, state: State::NotBuilt }
}

const fn deepstream(key: &'static str, effect: &'static str) -> Row {
    Row { key, backend: Backend::DeepStream, effect, state: State::NotBuilt }
}

/// All keys, in the order of `configs/KEYS.md`.
fn rows() -> impl Iterator<Item = &'static Row> {
    let sections =
        [general::ROWS, pipeline::ROWS, detection::ROWS, alerts::ROWS, handlers::ROWS, monitoring::ROWS, sources::ROWS];
    sections.into_iter().flatten()
}

/// What a key will do once it is built; `None` for a key that is built, or is no key.
pub(super) fn not_built(key: &str) -> Option<&'static str> {
    rows().find(|row| row.key == key && row.state == State::NotBuilt).map(|row| row.effect)
}

/// Every key of the table, with the test that proves it; `None` for a key that is not built.
pub(super) fn table() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    rows().map(|row| match row.state {
        State::Built(test) => (row.key, Some(test)),
        State::NotBuilt => (row.key, None),
    })
}

/// Keys that take effect after a restart only, each with the setting of `diff` that holds it back.
const RESTART: &[(&str, &str)] = &[
    ("alerts.outbox.durability", "alerts.outbox"),
    ("alerts.outbox.keep_days", "alerts.outbox"),
    ("alerts.outbox.keep_alerts", "alerts.outbox"),
    ("inference.ort_library", "inference.ort_library"),
    ("monitoring.enabled", "monitoring.enabled"),
    ("monitoring.listen", "monitoring.listen"),
    ("monitoring.prometheus.port", "monitoring.prometheus.port"),
    ("monitoring.prometheus_port", "monitoring.prometheus.port"),
    ("monitoring.cpu_affinity", "monitoring.cpu_affinity"),
    ("thread_pool_size", "thread_pool_size"),
    ("monitoring.thread_pool_size", "thread_pool_size"),
    ("logging.format", "logging.format"),
    ("logging.json_output", "logging.format"),
    ("logging.log_file", "logging.log_file"),
    ("logging.max_file_size_mb", "logging.max_file_size_mb"),
    ("logging.backup_count", "logging.backup_count"),
    ("logging.console_output", "logging.console_output"),
    ("logging.include_metrics", "logging.include_metrics"),
    ("logging.real_time_streaming", "logging.streaming_port"),
    ("logging.streaming_port", "logging.streaming_port"),
    ("logging.filter_spam", "logging.filter_spam"),
    ("logging.rate_limit_per_minute", "logging.rate_limit_per_minute"),
];

/// The table as Markdown.
pub fn keys_markdown() -> String {
    let all = rows().count();
    let missing = rows().filter(|row| row.state == State::NotBuilt).count();
    let mut out = format!(
        "# Every configuration key\n\nPrinted from `src/config/keys/`; what a key means, its range and default: \
         `dsengine schema`.\n\n{all} keys: {} built, each with the test that sees its effect from outside, and \
         {missing} not built yet. Live: whether a change takes effect while the engine runs (yes) or with its \
         restart.\n\n| key | backend | live | effect | proof |\n|---|---|---|---|---|\n",
        all - missing
    );
    for row in rows() {
        let backend = match row.backend {
            Backend::All => "all",
            Backend::Portable => "portable",
            Backend::DeepStream => "deepstream",
        };
        let live = match row.state {
            State::NotBuilt => "–",
            State::Built(_) if RESTART.iter().any(|(key, _)| *key == row.key) => "restart",
            State::Built(_) => "yes",
        };
        let proof = match row.state {
            State::Built(test) => format!("`{test}`"),
            State::NotBuilt => "**not built**".to_owned(),
        };
        out.push_str(&format!("| `{}` | {backend} | {live} | {} | {proof} |\n", row.key, row.effect));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::diff::restart_settings;

    #[test]
    fn what_the_table_says_needs_a_restart_is_what_is_held_back() {
        let table: BTreeSet<&str> = RESTART.iter().map(|(_, setting)| *setting).collect();
        let held_back: BTreeSet<&str> = restart_settings().collect();
        assert_eq!(table, held_back);
        for (key, _) in RESTART {
            assert!(rows().any(|row| row.key == *key && row.state != State::NotBuilt), "{key}");
        }
    }
}
