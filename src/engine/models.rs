//! The running models, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lanes::ModelUnit;
use crate::infer::OnDisk;
use crate::types::count;

/// See the module.
pub(super) type Models = BTreeMap<String, Arc<ModelUnit>>;

/// Describes how a model differs from the one that it replaces.
pub(super) fn compare(old: &ModelUnit, new: &ModelUnit) -> String {
    let lost: Vec<&str> = old.labels.iter().filter(|label| !new.labels.contains(label)).map(|l| &**l).take(5).collect();
    let classes = format!("{}, before {}", count(new.labels.len(), "class"), old.labels.len());
    if lost.is_empty() { classes } else { format!("{classes}; gone: {}", lost.join(", ")) }
}

/// The models whose files have changed since they were loaded and are there, with the files as they are now.
pub(super) fn stale<'a>(models: impl Iterator<Item = &'a Arc<ModelUnit>>) -> BTreeMap<String, OnDisk> {
    let changed = models.filter_map(|unit| {
        let now = unit.loaded.now();
        (now != unit.loaded && !now.is_missing()).then(|| (unit.plan.name.clone(), now))
    });
    changed.collect()
}
