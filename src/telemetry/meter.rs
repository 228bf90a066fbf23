//! Plugins' own metrics: `dsengine_plugin_<name>`, by plugin and source, bounded in number per plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry};

use super::families::remove;

/// Maximum distinct names per plugin; the limit is separate for each.
const NAMES_MAX: usize = 256;
/// Longest name.
const NAME_BYTES_MAX: usize = 100;
/// From a thousandth to ten million, because the unit is unknown.
const BUCKETS: &[f64] = &[1e-3, 1e-2, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7];
/// Suffixes of a histogram's series: another metric whose name ends in one would collide.
const PARTS: [&str; 3] = ["_bucket", "_count", "_sum"];
const LABELS: &[&str] = &["plugin", "source"];

enum Family {
    Counter(CounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

/// All plugins' metric families in one engine.
pub(super) struct PluginFamilies {
    registry: Registry,
    families: Mutex<BTreeMap<String, Family>>,
    /// The names used by each plugin.
    names: Mutex<BTreeMap<Arc<str>, BTreeSet<String>>>,
}

impl PluginFamilies {
    pub(super) fn new(registry: Registry) -> Arc<Self> {
        Arc::new(Self { registry, families: Mutex::default(), names: Mutex::default() })
    }

    /// Removes the series whose label `name` has this `value`.
    pub(super) fn remove(&self, name: &str, value: &str) {
        if name == "plugin" {
            self.names.lock().remove(value);
        }
        for family in self.families.lock().values() {
            match family {
                Family::Counter(family) => remove(family, &[(name, value)]),
                Family::Gauge(family) => remove(family, &[(name, value)]),
                Family::Histogram(family) => remove(family, &[(name, value)]),
            }
        }
    }
}

impl PluginFamilies {
    /// Whether a plugin may use this name: it already does, or is below its limit.
    fn has_room(&self, plugin: &str, name: &str) -> bool {
        let names = self.names.lock();
        names.get(plugin).is_none_or(|names| names.len() < NAMES_MAX || names.contains(name))
    }

    /// Records that a plugin uses this name.
    fn record(&self, plugin: &Arc<str>, name: &str) {
        let mut names = self.names.lock();
        let names = names.entry(Arc::clone(plugin)).or_default();
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
    }
}

/// Whether a name collides with a series of an existing histogram.
fn is_part(families: &BTreeMap<String, Family>, name: &str) -> bool {
    let mut whole = PARTS.iter().filter_map(|part| name.strip_suffix(part));
    whole.any(|whole| matches!(families.get(whole), Some(Family::Histogram(_))))
}

/// A plugin's access to its own metrics, on one source.
#[derive(Clone)]
pub struct Meter {
    families: Option<Arc<PluginFamilies>>,
    plugin: Arc<str>,
    source: Arc<str>,
}

impl Meter {
    pub(super) fn new(families: Arc<PluginFamilies>, plugin: &str, source: &str) -> Self {
        Self { families: Some(families), plugin: plugin.into(), source: source.into() }
    }

    /// A meter that discards its values: for rehearsals and tests.
    pub fn none() -> Self {
        Self { families: None, plugin: "".into(), source: "".into() }
    }

    /// Adds to a counter. `false` if it was dropped: an invalid name or one too many, a name of another kind or of a
    /// histogram's series (`x_count`, `x_sum`, `x_bucket`), or a value that is negative or not finite.
    pub fn add(&self, name: &str, by: f64) -> bool {
        by.is_finite()
            && by >= 0.0
            && self.with(
                name,
                |o| CounterVec::new(o, LABELS).ok().map(Family::Counter),
                |family, labels| {
                    let Family::Counter(counter) = family else { return false };
                    counter.with_label_values(labels).inc_by(by);
                    true
                },
            )
    }

    /// Sets a gauge. `false` if it was dropped.
    pub fn set(&self, name: &str, value: f64) -> bool {
        value.is_finite()
            && self.with(
                name,
                |o| GaugeVec::new(o, LABELS).ok().map(Family::Gauge),
                |family, labels| {
                    let Family::Gauge(gauge) = family else { return false };
                    gauge.with_label_values(labels).set(value);
                    true
                },
            )
    }

    /// Adds a value to a histogram. `false` if it was dropped.
    pub fn observe(&self, name: &str, value: f64) -> bool {
        value.is_finite()
            && self.with(
                name,
                |o| {
                    HistogramVec::new(HistogramOpts::from(o).buckets(BUCKETS.to_vec()), LABELS)
                        .ok()
                        .map(Family::Histogram)
                },
                |family, labels| {
                    let Family::Histogram(histogram) = family else { return false };
                    histogram.with_label_values(labels).observe(value);
                    true
                },
            )
    }

    /// Why a figure of this name may have been dropped, for the plugin's log.
    pub fn rules(&self, name: &str) -> String {
        let rules = "names are lower-case letters, digits and underscores, of one kind each, and not too many; values are \
                     finite, and what is added is not negative";
        let families = self.families.as_ref().map(|all| all.families.lock());
        let kind = families.as_ref().and_then(|families| families.get(name)).map(|family| match family {
            Family::Counter(_) => "counter",
            Family::Gauge(_) => "gauge",
            Family::Histogram(_) => "histogram",
        });
        match kind {
            Some(kind) => format!("{name} is a {kind} in this engine, for every plugin; {rules}"),
            None => rules.to_owned(),
        }
    }

    fn with(
        &self,
        name: &str,
        make: impl FnOnce(Opts) -> Option<Family>,
        put: impl FnOnce(&Family, &[&str]) -> bool,
    ) -> bool {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
            return false;
        }
        let Some(all) = &self.families else { return true };
        if !all.has_room(&self.plugin, name) {
            return false;
        }
        let labels = [&*self.plugin, &*self.source];
        let mut families = all.families.lock();
        if let Some(family) = families.get(name) {
            let taken = put(family, &labels);
            if taken {
                all.record(&self.plugin, name);
            }
            return taken;
        }
        if is_part(&families, name) {
            return false;
        }
        let full = format!("dsengine_plugin_{name}");
        let Some(family) = make(Opts::new(full, "A plugin's own figure.")) else { return false };
        if matches!(family, Family::Histogram(_))
            && PARTS.iter().any(|part| families.contains_key(&format!("{name}{part}")))
        {
            return false;
        }
        let registered = match &family {
            Family::Counter(f) => all.registry.register(Box::new(f.clone())),
            Family::Gauge(f) => all.registry.register(Box::new(f.clone())),
            Family::Histogram(f) => all.registry.register(Box::new(f.clone())),
        };
        if registered.is_err() {
            return false;
        }
        let taken = put(&family, &labels);
        families.insert(name.to_owned(), family);
        all.record(&self.plugin, name);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_has_all_its_names_leaves_the_others_theirs() {
        let families = PluginFamilies::new(Registry::new());
        let [greedy, modest] = ["greedy", "modest"].map(|name| Meter::new(Arc::clone(&families), name, "gate"));
        let taken = (0..300).filter(|n| greedy.add(&format!("a_{n}"), 1.0)).count();
        assert_eq!(taken, NAMES_MAX);
        assert!(modest.add("b", 1.0) && modest.add("a_0", 1.0), "its own, and one of the same name");
        assert!(greedy.add("a_0", 1.0) && !greedy.add("b", 1.0), "what it has goes on");
        families.remove("plugin", "greedy");
        assert!(greedy.add("b", 1.0), "what has gone begins anew");
    }

    #[test]
    fn a_name_that_another_plugin_has_in_another_kind_is_told() {
        let families = PluginFamilies::new(Registry::new());
        let [first, second] = ["first", "second"].map(|name| Meter::new(Arc::clone(&families), name, "gate"));
        assert!(first.add("size", 1.0) && second.add("size", 1.0) && !second.set("size", 1.0));
        assert!(second.rules("size").starts_with("size is a counter in this engine, for every plugin"));
        assert!(second.rules("Size").starts_with("names are lower-case"));
    }

    #[test]
    fn a_figure_never_has_the_name_of_a_histograms_series() {
        let registry = Registry::new();
        let families = PluginFamilies::new(registry.clone());
        let meter = Meter::new(families, "rule", "gate");
        assert!(meter.observe("size", 3.0));
        for part in ["size_count", "size_sum", "size_bucket"] {
            assert!(!meter.add(part, 1.0) && !meter.set(part, 1.0) && !meter.observe(part, 1.0), "{part}");
        }
        // The other way round, and names that only look similar.
        assert!(meter.add("items_count", 1.0) && meter.set("items", 1.0) && meter.add("items_sum", 1.0));
        assert!(meter.add("calls_count", 1.0) && !meter.observe("calls", 1.0));
        let mut names: Vec<_> = registry.gather().iter().map(|family| family.name().to_owned()).collect();
        names.sort();
        assert_eq!(
            names,
            ["calls_count", "items", "items_count", "items_sum", "size"].map(|n| format!("dsengine_plugin_{n}"))
        );
    }
}
