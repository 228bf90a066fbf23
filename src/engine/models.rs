//! The running models, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lanes::ModelUnit;

/// See the module.
pub(super) type Models = BTreeMap<String, Arc<ModelUnit>>;

/// Describes how a model differs from the one that it replaces.
pub(super) fn compare(old: &ModelUnit, new: &ModelUnit) -> String {
    let lost: Vec<&str> = old.labels.iter().filter(|label| !new.labels.contains(label)).map(|l| &**l).take(5).collect();
    let classes = format!("{} classes, before {}", new.labels.len(), old.labels.len());
    if lost.is_empty() { classes } else { format!("{classes}; gone: {}", lost.join(", ")) }
}
