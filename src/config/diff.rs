//! The difference between two plans: by id, never by position. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::plan::{EvidencePlan, HandlerPlan, ModelPlan, Plan, SourcePlan, StrategyPlan};
use crate::types::SourceId;

/// Differences among items of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes<K> {
    /// In the new plan only, in its order.
    pub added: Vec<K>,
    /// In the old plan only, in its order.
    pub removed: Vec<K>,
    /// In both, with differences.
    pub changed: Vec<K>,
}

impl<K: Ord + Clone> Changes<K> {
    fn between<T: PartialEq>(old: &[T], new: &[T], key: impl Fn(&T) -> K) -> Self {
        let by_key = |things| -> BTreeMap<K, &T> { Iterator::map(things, |thing| (key(thing), thing)).collect() };
        let (before, after) = (by_key(old.iter()), by_key(new.iter()));
        Self {
            added: new.iter().map(&key).filter(|k| !before.contains_key(k)).collect(),
            removed: old.iter().map(&key).filter(|k| !after.contains_key(k)).collect(),
            changed: new.iter().map(&key).filter(|k| before.get(k).is_some_and(|was| *was != after[k])).collect(),
        }
    }

    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    fn flip(self) -> Self {
        Self { added: self.removed, removed: self.added, changed: self.changed }
    }
}

/// The difference between two plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// Sources.
    pub sources: Changes<SourceId>,
    /// Those of the added and removed sources that both configurations have: they are enabled, or disabled.
    pub switched: BTreeSet<SourceId>,
    /// Models.
    pub models: Changes<String>,
    /// Strategies on the lane.
    pub strategies: Changes<String>,
    /// Handlers.
    pub handlers: Changes<Arc<str>>,
    /// Whether the order of strategies or models differs.
    pub order: bool,
    /// Other settings that differ, by key.
    pub settings: Vec<&'static str>,
}

impl Diff {
    /// The difference from `old` to `new`.
    pub fn between(old: &Plan, new: &Plan) -> Self {
        let names = |plan: &Plan| -> Vec<String> {
            plan.models.iter().map(|m| m.name.clone()).chain(plan.strategies.iter().map(|s| s.name.clone())).collect()
        };
        let kept = |of: &Plan, other: &Plan| -> Vec<String> {
            let other = names(other);
            names(of).into_iter().filter(|name| other.contains(name)).collect()
        };
        let sources = Changes::between(&old.sources, &new.sources, |source: &SourcePlan| source.id.clone());
        let enabled = sources.added.iter().filter(|id| old.idle.contains(id));
        let disabled = sources.removed.iter().filter(|id| new.idle.contains(id));
        let switched = enabled.chain(disabled).cloned().collect();
        Self {
            sources,
            switched,
            models: Changes::between(&old.models, &new.models, |model: &ModelPlan| model.name.clone()),
            strategies: Changes::between(&old.strategies, &new.strategies, |s: &StrategyPlan| s.name.clone()),
            handlers: Changes::between(&old.handlers, &new.handlers, |handler: &HandlerPlan| Arc::clone(&handler.name)),
            order: kept(old, new) != kept(new, old),
            settings: SETTINGS.iter().filter(|s| (s.differs)(old, new)).map(|s| s.key).collect(),
        }
    }

    /// The reverse difference.
    #[must_use]
    pub fn flip(self) -> Self {
        Self {
            sources: self.sources.flip(),
            models: self.models.flip(),
            strategies: self.strategies.flip(),
            handlers: self.handlers.flip(),
            ..self
        }
    }

    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        let Self { sources, switched: _, models, strategies, handlers, order, settings } = self;
        sources.is_empty()
            && models.is_empty()
            && strategies.is_empty()
            && handlers.is_empty()
            && !order
            && settings.is_empty()
    }

    /// Describes the difference, one sentence each.
    pub fn describe(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut list = |what: &str, names: Vec<String>, verb: &str| {
            out.extend(names.into_iter().map(|name| format!("{what} {name} {verb}")));
        };
        fn words<K: ToString>(keys: &[K]) -> Vec<String> {
            keys.iter().map(ToString::to_string).collect()
        }
        let sources = |ids: &[SourceId], is_switched: bool| -> Vec<String> {
            let ids = ids.iter().filter(|id| self.switched.contains(id) == is_switched);
            ids.map(ToString::to_string).collect()
        };
        let Changes { added, removed, changed } = &self.sources;
        list("source", sources(added, false), "added");
        list("source", sources(added, true), "enabled");
        list("source", sources(removed, false), "removed");
        list("source", sources(removed, true), "disabled");
        list("source", words(changed), "changed");
        for (what, changes) in [
            ("model", [words(&self.models.added), words(&self.models.removed), words(&self.models.changed)]),
            (
                "strategy",
                [words(&self.strategies.added), words(&self.strategies.removed), words(&self.strategies.changed)],
            ),
            ("handler", [words(&self.handlers.added), words(&self.handlers.removed), words(&self.handlers.changed)]),
        ] {
            for (names, verb) in changes.into_iter().zip(["added", "removed", "changed"]) {
                list(what, names, verb);
            }
        }
        if self.order {
            out.push("strategies reordered".to_owned());
        }
        out.extend(self.settings.iter().map(|key| format!("{key} changed")));
        out
    }
}

/// A setting that belongs to no item.
struct Setting {
    key: &'static str,
    differs: fn(&Plan, &Plan) -> bool,
    /// Copies the old plan's value into the new one, for settings that take effect only after a restart.
    hold_back: Option<fn(&Plan, &mut Plan)>,
}

/// Creates a row of [`SETTINGS`].
macro_rules! setting {
    ($key:literal, $($field:ident).+) => {
        Setting { key: $key, differs: |old, new| old.$($field).+ != new.$($field).+, hold_back: None }
    };
    ($key:literal, $($field:ident).+, restart) => {
        Setting {
            key: $key,
            differs: |old, new| old.$($field).+ != new.$($field).+,
            hold_back: Some(|old, new| new.$($field).+ = old.$($field).+.clone()),
        }
    };
}

const SETTINGS: &[Setting] = &[
    setting!("name", name),
    setting!("version", version),
    setting!("environment", environment),
    setting!("profile", profile),
    setting!("profile_schedule", profile_schedule),
    setting!("timezone", timezone),
    setting!("detection.enable_tracking", tracking),
    setting!("pipeline.batch_size", batch_size),
    setting!("pipeline.batch_timeout_ms", batch_timeout),
    setting!("alerts", alerts),
    setting!("alerts.source_lost_seconds", health.source_lost),
    setting!("graceful_shutdown_timeout", graceful_shutdown),
    setting!("logging.level", logging.level),
    setting!("monitoring.metrics_interval", health.sample_every),
    setting!("monitoring.health_check_interval", health.check_every),
    setting!("monitoring.log_metrics", health.log_metrics),
    setting!("monitoring.profiling_enabled", health.profile),
    setting!("monitoring.degradation", health.degradation),
    setting!("monitoring.thresholds", health.thresholds),
    setting!("monitoring.metrics_enabled", admin.metrics),
    setting!("monitoring.prometheus.path", admin.metrics_path),
    setting!("monitoring.tokens", admin.tokens),
    setting!("monitoring.allowed_hosts", admin.allowed_hosts),
    setting!("monitoring.public", admin.public),
    setting!("alerts.pictures", pictures),
    setting!("alerts.outbox", outbox, restart),
    setting!("inference.ort_library", ort_library, restart),
    setting!("monitoring.enabled", admin.enabled, restart),
    setting!("monitoring.listen", admin.listen, restart),
    setting!("monitoring.prometheus.port", admin.port, restart),
    setting!("monitoring.cpu_affinity", cpu_affinity, restart),
    setting!("thread_pool_size", workers, restart),
    setting!("logging.format", logging.json, restart),
    setting!("logging.format", logging.color, restart),
    setting!("logging.log_file", logging.file, restart),
    setting!("logging.max_file_size_mb", logging.file_max_bytes, restart),
    setting!("logging.backup_count", logging.file_backups, restart),
    setting!("logging.console_output", logging.console, restart),
    setting!("logging.include_metrics", logging.figures, restart),
    setting!("logging.streaming_port", logging.stream_port, restart),
    setting!("logging.filter_spam", logging.hold_repeats, restart),
    setting!("logging.rate_limit_per_minute", logging.per_minute, restart),
];

/// The keys of settings that need a restart.
#[cfg(test)]
pub(super) fn restart_settings() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter(|setting| setting.hold_back.is_some()).map(|setting| setting.key)
}

/// Keeps the values of `old` in `new` for settings that need a restart. Returns their keys.
pub fn hold_back(old: &Plan, new: &mut Plan) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for setting in SETTINGS {
        let Some(hold_back) = setting.hold_back else { continue };
        if (setting.differs)(old, new) {
            hold_back(old, new);
            keys.push(setting.key.to_owned());
        }
    }
    keys.dedup();
    keys
}

impl SourcePlan {
    /// Whether a source that runs with `self` can switch to `other` without restarting its pipeline.
    pub fn same_input(&self, other: &Self) -> bool {
        let Self {
            id,
            input,
            realtime,
            repeat,
            picture_max,
            frames_held_max,
            name: _,
            max_objects: _,
            fps: _,
            every: _,
            priority: _,
            zones: _,
            blackout: _,
            evidence,
            confidence: _,
            alerts: _,
            retry: _,
            recovery: _,
        } = self;
        // Evidence of the stream that is analysed is taken inside its pipeline, which also measures the delay between
        // both streams where evidence has its own; the address of that one may change.
        let is_inside = |evidence: &Option<EvidencePlan>| evidence.as_ref().map(|plan| plan.stream.is_none());
        (id, input, realtime, repeat) == (&other.id, &other.input, &other.realtime, &other.repeat)
            && (picture_max, frames_held_max) == (&other.picture_max, &other.frames_held_max)
            && is_inside(evidence) == is_inside(&other.evidence)
    }

    /// Whether both are the same in what a backend changes while a source runs.
    pub fn same_live_settings(&self, other: &Self) -> bool {
        let live = |plan: &Self| {
            let (retry, recovery) = (plan.retry.clone(), plan.recovery.clone());
            (plan.fps, plan.every, retry, recovery, plan.blackout.clone(), plan.evidence.clone())
        };
        live(self) == live(other)
    }
}

impl StrategyPlan {
    /// Whether both are the same version of a strategy, regardless of sources, filtering, schedule, tags, whether it is
    /// optional and whether its state survives a restart.
    pub fn same_version(&self, other: &Self) -> bool {
        let (sources, schedule) = (other.sources.clone(), other.schedule.clone());
        let (filters, persist_state) = (other.filters, other.persist_state);
        let (tags, optional) = (other.tags.clone(), other.optional);
        let placed = Self { sources, filters, schedule, tags, persist_state, optional, ..self.clone() };
        placed == *other
    }

    /// Whether it judges a source.
    pub fn judges(&self, source: &SourceId) -> bool {
        self.sources.is_empty() || self.sources.contains(source)
    }
}

impl ModelPlan {
    /// Whether both are the same model, regardless of sources, minimum score, schedule and whether it is optional.
    pub fn same_model(&self, other: &Self) -> bool {
        let (sources, schedule) = (other.sources.clone(), other.schedule.clone());
        let (confidence, optional) = (other.confidence, other.optional);
        let placed = Self { sources, confidence, schedule, optional, ..self.clone() };
        placed == *other
    }

    /// Whether it judges a source.
    pub fn judges(&self, source: &SourceId) -> bool {
        self.sources.is_empty() || self.sources.contains(source)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, load};
    use super::*;

    /// The plan of a configuration with fixed paths.
    fn plan(text: &str) -> Plan {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.yaml");
        std::fs::write(&file, text.replace("module: ", "module: /nowhere/")).unwrap();
        let request = Request { config: Some(file), working_dir: "/nowhere".into(), ..Request::default() };
        load(&request).unwrap().plan
    }

    const BASE: &str = "sources: [{id: a, uri: 'scene:street'}, {id: b, uri: 'test:'}]\n\
                        detection: {strategies: [{name: x, module: x.lua}, {name: y, module: y.lua}]}\n";

    #[test]
    fn a_plan_differs_from_itself_in_nothing() {
        assert!(Diff::between(&plan(BASE), &plan(BASE)).is_empty());
    }

    #[test]
    fn differences_are_described_by_id_and_flip_is_the_reverse() {
        let next = BASE.replace("{id: a, ", "{id: a, fps: 3, ").replace("id: b", "id: c");
        let next = next.replace("name: x, module: x.lua", "name: z, module: z.lua") + "alerts: {handlers: [console]}\n";
        let diff = Diff::between(&plan(BASE), &plan(&next));
        let expected =
            ["source c added", "source b removed", "source a changed", "strategy z added", "strategy x removed"];
        assert_eq!(diff.describe()[..5], expected);
        assert_eq!(Diff::between(&plan(&next), &plan(BASE)), diff.flip());
    }

    #[test]
    fn a_source_that_both_configurations_have_is_enabled_or_disabled() {
        let next = BASE.replace("{id: a, ", "{id: a, enabled: false, ").replace("id: b", "id: c");
        let diff = Diff::between(&plan(BASE), &plan(&next));
        assert_eq!(diff.describe(), ["source c added", "source b removed", "source a disabled"]);
        let back = ["source b added", "source a enabled", "source c removed"];
        assert_eq!(Diff::between(&plan(&next), &plan(BASE)).describe(), back);
        assert_eq!(diff.flip().describe(), back);
    }

    #[test]
    fn reordering_strategies_changes_no_strategy() {
        let next = BASE.replace("x.lua", "_").replace("y.lua", "x.lua").replace('_', "y.lua");
        let next = next.replace("name: x", "name: _").replace("name: y", "name: x").replace("name: _", "name: y");
        let diff = Diff::between(&plan(BASE), &plan(&next));
        assert_eq!((diff.describe(), diff.strategies.is_empty()), (vec!["strategies reordered".to_owned()], true));
    }

    #[test]
    fn settings_that_need_a_restart_are_held_back_and_listed_and_others_apply() {
        let next = plan(&format!("{BASE}monitoring: {{prometheus: {{port: 9}}}}\nthread_pool_size: 3\nname: other\n"));
        let (old, mut held) = (plan(BASE), next.clone());
        assert_eq!(hold_back(&old, &mut held), ["monitoring.prometheus.port", "thread_pool_size"]);
        assert_eq!((held.admin.port, held.workers, held.name.as_str()), (old.admin.port, old.workers, "other"));
        assert_eq!(Diff::between(&old, &held).settings, ["name"]);
    }
}
