//! Builds the [`Plan`] from the configuration: resolves references, merges twin keys, applies defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::nearest::nearest;
use super::places::Places;
use super::plan::*;
use super::problem::{Origins, Problems};
use super::profile::ProfileChoice;
use super::schema::{
    Alerts, Config, Detection, Durability, Inference, LogFormat, Logging, Outbox, Outline, Overflow, Pictures,
    Pipeline, ProcessingMode, Recovery,
};
use super::warning::{Severity, Warning};
use crate::types::{Point, Polygon, SourceId, TimeZone, Zone};

mod admin;
mod blackout;
mod evidence;
mod handlers;
mod health;
mod hours;
pub(super) mod modules;
mod overrides;
mod pipeline;
mod plugins;
mod sources;
mod strategies;

/// The context of one build.
pub(super) struct Site<'a> {
    pub(super) places: &'a Places,
    pub(super) origins: &'a Origins,
    pub(super) problems: &'a mut Problems,
    pub(super) warnings: &'a mut Vec<Warning>,
    /// Where to look for relative paths, in this order: the config file's folder, the working directory.
    pub(super) folders: Vec<PathBuf>,
    /// Whether the only source comes from the command line: its path is relative to the working directory, as in the
    /// shell.
    pub(super) source_is_flag: bool,
    /// Sources in the configuration that are not in the plan.
    pub(super) idle: Vec<String>,
    /// The profiles of the file.
    pub(super) profiles: ProfileChoice,
    /// Files and folders that determine the plan, to be watched.
    pub(super) watched: Vec<PathBuf>,
    /// Strategies from the plugin folder.
    pub(super) dropped_in: Vec<plugins::DroppedIn>,
    /// The deployment's name, where it has one of its own.
    pub(super) name: Option<String>,
    /// The deployment's time zone.
    pub(super) timezone: TimeZone,
    /// The configured sources, enabled or not, in order of their names.
    pub(super) sources: Vec<SourceId>,
    /// The input of each configured source, enabled or not.
    pub(super) inputs: BTreeMap<SourceId, Input>,
}

impl Site<'_> {
    pub(super) fn wrong(&mut self, path: &str, message: impl Into<String>, label: impl Into<String>) {
        self.problems.at_value(self.places.value(path), message, label);
    }

    pub(super) fn wrong_key(&mut self, path: &str, message: impl Into<String>, label: impl Into<String>) {
        self.problems.at_key(self.places.key(path), message, label);
    }

    pub(super) fn warn(&mut self, path: &str, warning: Warning) {
        let place = self.origins.show(self.places.value(path));
        self.warnings.push(warning.place(place));
    }

    /// Resolves a path to read: relative to the config file if it exists there, else to the working directory.
    pub(super) fn find(&self, path: &Path) -> PathBuf {
        let found = self.folders.iter().map(|folder| folder.join(path)).find(|path| path.exists());
        found.unwrap_or_else(|| self.place_file(path))
    }

    /// Resolves a path to write: relative to the working directory.
    pub(super) fn place_file(&self, path: &Path) -> PathBuf {
        self.folders.last().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }
}

/// Builds the plan; adds problems and warnings to `site`.
pub(super) fn plan(config: Config, hash: String, site: &mut Site<'_>) -> Plan {
    // Destructured, so that the compiler reports each new key.
    let Config {
        name,
        version,
        debug,
        environment,
        timezone,
        thread_pool_size,
        max_concurrent_sources,
        graceful_shutdown_timeout,
        pipeline,
        detection,
        alerts,
        monitoring,
        logging,
        recovery,
        inference: Inference { ort_library },
        sources,
        plugins,
        zones,
        // The layers have handled them.
        profiles: _,
        profile,
        profile_schedule,
        extensions,
    } = config;
    let batch_size = batch_size(&pipeline, &detection);
    let limit = most_sources(pipeline.max_sources, max_concurrent_sources, site);
    let batch_timeout = pipeline::batch_timeout(&pipeline, site);
    let workers = workers(monitoring.thread_pool_size, thread_pool_size, site);
    hardly_reached("detection.confidence_threshold", detection.confidence_threshold, site);
    hardly_reached("alerts.min_confidence", alerts.min_confidence, site);
    let timezone = hours::zone(timezone.as_deref(), site);
    site.timezone = timezone.clone();
    let (zones, replaced) = (zones_of(&zones, "zones", site), site.idle.len());
    let sources = sources::build(sources, pipeline.fps, &zones, (&recovery, monitoring.auto_recovery), limit, site);
    let sources = pipeline::bounded(sources, &pipeline);
    let all: Vec<&SourcePlan> = sources.iter().collect();
    let admin = admin::build(&monitoring, &all, site);
    let health = health::build(&monitoring, alerts.source_lost_seconds, site);
    let enabled = detection.enable_tracking;
    let mut listed: Vec<String> = detection.strategies.iter().map(|strategy| strategy.head.name.clone()).collect();
    let (models, mut strategies) = strategies::build(detection, &all, &timezone, site);
    listed.extend(models.iter().map(|model| &model.name).chain(strategies.iter().map(|own| &own.name)).cloned());
    strategies.extend(plugins::build(&plugins, &listed, &all, site));
    site.name_sources(&name, &sources, replaced);
    let mut handlers = handlers::build(&alerts, &all, site);
    modules::hand_out(&mut strategies, &mut handlers, &timezone, extensions);
    let profile_schedule = hours::profiles(&profile_schedule, &timezone, site);
    let quiet_hours = hours::quiet(&alerts.quiet_hours, "alerts.quiet_hours", &timezone, site);
    let rules = overrides::rules(&alerts.rules, "alerts.rules", &timezone, site);
    Plan {
        name,
        version,
        environment: environment.into(),
        profile,
        profile_schedule,
        timezone,
        sources,
        idle: site.idle.iter().map(|id| SourceId::from(id.clone())).collect(),
        models,
        strategies,
        tracking: TrackingPlan { enabled },
        batch_size,
        batch_timeout,
        cpu_affinity: monitoring.cpu_affinity.iter().map(|core| *core as usize).collect(),
        workers,
        alerts: AlertPlan { quiet_hours, rules, ..alert_plan(&alerts) },
        outbox: outbox_plan(&alerts.outbox),
        pictures: pictures_plan(&alerts.pictures),
        handlers,
        admin,
        health,
        logging: log_plan(logging, debug, site),
        graceful_shutdown: Duration::from_secs_f64(graceful_shutdown_timeout),
        ort_library: ort_library.map(|path| site.find(&path)),
        hash,
    }
}

impl Site<'_> {
    /// Notes the deployment's name and its sources, those of `idle` from `replaced` on included.
    fn name_sources(&mut self, name: &str, sources: &[SourcePlan], replaced: usize) {
        self.name = Some(name.to_owned()).filter(|name| *name != Config::default().name);
        self.sources = sources.iter().map(|source| source.id.clone()).collect();
        self.sources.extend(self.idle[replaced..].iter().map(|id| SourceId::from(id.clone())));
        self.sources.sort();
    }
}

/// Frames per batch: one, whichever key says so; other batch settings do not apply then.
fn batch_size(pipeline: &Pipeline, detection: &Detection) -> usize {
    let is_single = pipeline.processing_mode == ProcessingMode::Single || !detection.batch_inference;
    if is_single { 1 } else { pipeline.batch_size as usize }
}

/// The most sources, from whichever key sets it.
fn most_sources(nested: Option<u32>, flat: u32, site: &mut Site<'_>) -> usize {
    if nested.is_some_and(|max| max != flat) && site.places.is_set("max_concurrent_sources") {
        let label = format!("`max_concurrent_sources` says {flat}: set one of the two");
        site.wrong("pipeline.max_sources", "the most sources are set twice", label);
    }
    nested.unwrap_or(flat) as usize
}

/// The number of workers, from whichever key sets it.
fn workers(nested: Option<u32>, flat: Option<u32>, site: &mut Site<'_>) -> Option<usize> {
    match (nested, flat) {
        (Some(a), Some(b)) if a != b => {
            let label = format!("`thread_pool_size` says {b}: set one of the two");
            site.wrong("monitoring.thread_pool_size", "the number of workers is set twice", label);
            None
        }
        (a, b) => a.or(b).map(|n| n as usize),
    }
}

fn alert_plan(alerts: &Alerts) -> AlertPlan {
    AlertPlan {
        enabled: alerts.enabled,
        throttle: Duration::from_secs_f64(alerts.throttle_seconds),
        repeat: Duration::from_secs_f64(alerts.repeat_seconds),
        burst_threshold: alerts.burst_threshold,
        burst_window: Duration::from_secs_f64(alerts.burst_window_seconds),
        max_per_minute: alerts.max_alerts_per_minute,
        max_critical_per_minute: alerts.max_critical_per_minute,
        min_confidence: alerts.min_confidence as f32,
        default_level: alerts.level.into(),
        attempts: alerts.retry_attempts,
        retry_delay: Duration::from_secs_f64(alerts.retry_delay),
        max_retry_delay: Duration::from_secs_f64(alerts.max_retry_delay),
        max_age: Duration::from_secs_f64(alerts.max_age_seconds),
        outbox_max: alerts.max_queued as usize,
        when_full: match alerts.when_full {
            Overflow::DropLowestLevel => WhenFull::DropLowestLevel,
            Overflow::DropOldest => WhenFull::DropOldest,
            Overflow::Block => WhenFull::Block,
        },
        quiet_hours: Vec::new(),
        rules: BTreeMap::new(),
        source_max_per_minute: None,
    }
}

fn outbox_plan(outbox: &Outbox) -> OutboxPlan {
    OutboxPlan {
        durable: outbox.durability != Some(Durability::Memory),
        required: outbox.durability == Some(Durability::Sync),
        keep: Duration::from_secs_f64(outbox.keep_days * 86_400.0),
        keep_alerts: outbox.keep_alerts.into(),
    }
}

fn pictures_plan(pictures: &Pictures) -> PicturesPlan {
    let Pictures { enabled, keep_days, max_mb, quality, max_width, clean } = *pictures;
    let keep = Duration::from_secs(u64::from(keep_days) * 86_400);
    PicturesPlan { enabled, keep, bytes_max: u64::from(max_mb) * 1_000_000, quality, max_width, clean }
}

fn log_plan(logging: Logging, debug: bool, site: &mut Site<'_>) -> LogPlan {
    let level = match (debug, site.places.is_set("logging.level")) {
        (true, false) => "debug",
        _ => logging.level.as_str(),
    };
    LogPlan {
        level: level.to_owned(),
        json: logging.json_output || logging.format == LogFormat::Json,
        color: logging.format == LogFormat::Colored,
        file: logging.log_file.map(|path| site.place_file(&path)),
        file_max_bytes: u64::from(logging.max_file_size_mb) * 1_000_000,
        file_backups: logging.backup_count,
        console: logging.console_output,
        figures: logging.include_metrics,
        stream_port: logging.real_time_streaming.then_some(logging.streaming_port),
        hold_repeats: logging.filter_spam,
        per_minute: logging.rate_limit_per_minute,
    }
}

/// The restart policy of a source: defaults, the recovery section, then the source's own keys.
fn retry_plan(
    recovery: &Recovery,
    max_retries: Option<u32>,
    retry_delay: Option<f64>,
    timeout: Option<f64>,
) -> RetryPlan {
    let base = Duration::from_secs_f64(retry_delay.unwrap_or(recovery.retry_delay));
    let silence = timeout.or(recovery.source_timeout_seconds).map(Duration::from_secs_f64);
    RetryPlan {
        max_retries: max_retries.unwrap_or(recovery.max_retries),
        base,
        // A first delay longer than the cap raises the cap.
        cap: Duration::from_secs_f64(recovery.max_retry_delay).max(base),
        exponential: recovery.exponential_backoff,
        first_frame: silence.unwrap_or(Duration::from_secs(8)),
        gap: silence.unwrap_or(Duration::from_secs(3)),
    }
}

/// How a source is brought back besides; `auto_recovery` is the key of `monitoring`.
fn recovery_plan(recovery: &Recovery, auto_recovery: bool, retry_count: Option<u32>) -> RecoveryPlan {
    let timeout = Duration::from_secs_f64(recovery.circuit_breaker_timeout);
    RecoveryPlan {
        after_failing: if auto_recovery { AfterFailing::Retry } else { AfterFailing::StayDown },
        breaker: recovery
            .circuit_breaker_enabled
            .then_some(BreakerPlan { threshold: recovery.circuit_breaker_threshold, timeout }),
        damaged_max: recovery.pipeline_restart_threshold,
        retries_made: retry_count.unwrap_or(0),
    }
}

fn zones_of(zones: &BTreeMap<String, Outline>, path: &str, site: &mut Site<'_>) -> Vec<Zone> {
    let mut out = Vec::new();
    for (name, outline) in zones {
        let points = outline.0.iter().map(|corner| Point { x: corner.0[0] as f32, y: corner.0[1] as f32 }).collect();
        match Polygon::new(points) {
            Some(polygon) if !polygon.has_area() => site.wrong(
                &format!("{path}.{name}"),
                format!("`{path}.{name}` encloses no area"),
                "its corners are one point or lie on one line: name those of the area between them",
            ),
            Some(polygon) => {
                if polygon.crosses_itself() {
                    let message = format!("the outline of zone `{name}` crosses itself: parts of it are outside");
                    let hint = "list its corners in the order in which one walks round it";
                    let warning = Warning::new("zone-crosses-itself", Severity::Warning, message).hint(hint);
                    site.warn(&format!("{path}.{name}"), warning);
                }
                out.push(Zone { name: name.clone(), polygon });
            }
            None => site.wrong(
                &format!("{path}.{name}"),
                format!("`{path}.{name}` is no area"),
                "expected at least three points",
            ),
        }
    }
    out
}

/// Warns about a lowest score that all but no detection reaches.
pub(super) fn hardly_reached(path: &str, score: f64, site: &mut Site<'_>) {
    if score >= 1.0 {
        let message = format!("`{path}` is {score}: all but no detection has that score");
        let hint = "write the lowest score to keep, such as 0.5";
        site.warn(path, Warning::new("score-out-of-reach", Severity::Warning, message).hint(hint));
    }
}

/// Resolves the ids that a strategy is limited to; reports unknown ones.
fn known_sources(names: &[String], path: &str, known: &[&SourcePlan], site: &mut Site<'_>) -> Vec<SourceId> {
    let mut out = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if is_known_source(name, &format!("{path}[{index}]"), known, site) {
            out.push(SourceId::from(name.as_str()));
        }
    }
    out
}

/// Whether there is an enabled source of this id; reports one that does not exist.
fn is_known_source(name: &str, path: &str, known: &[&SourcePlan], site: &mut Site<'_>) -> bool {
    if known.iter().any(|source| source.id.as_str() == name) {
        return true;
    }
    // A disabled or unsupported source remains a valid name.
    if site.idle.iter().all(|idle| idle != name) {
        let ids: Vec<&str> = known.iter().map(|source| source.id.as_str()).collect();
        let label = match nearest(name, ids.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if ids.is_empty() => "no source is enabled".to_owned(),
            None => format!("known are {}", ids.join(", ")),
        };
        site.wrong(path, format!("there is no source `{name}`"), label);
    }
    false
}

/// Merges zones by name: a source's own zone replaces the shared one.
fn merged(base: &[Zone], own: Vec<Zone>) -> Arc<[Zone]> {
    let kept = base.iter().filter(|zone| own.iter().all(|other| other.name != zone.name)).cloned();
    let mut zones: Vec<Zone> = kept.collect();
    zones.extend(own);
    zones.into()
}

pub(super) fn not_built(name: &'static str, message: String, hint: &str) -> Warning {
    Warning::new(name, Severity::Refusal, message).hint(hint.to_owned())
}
