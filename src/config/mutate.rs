//! Removes one key from a configuration, for mutation testing: `./dev mutate` builds an engine that ignores the key in
//! `DSENGINE_TEST_MUTATE`, and expects the key's test to fail. No other build contains this.

use super::tree::{Node, Value};

/// Removes the key wherever it is set.
pub(super) fn ignore(root: &mut Node) {
    if let Ok(key) = std::env::var("DSENGINE_TEST_MUTATE") {
        take(root, &key.split('.').collect::<Vec<_>>());
    }
}

/// Removes the node at a path: `a.b`, or `list[].b` in each entry.
fn take(node: &mut Node, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else { return };
    let Value::Map(entries) = &mut node.value else { return };
    let name = first.trim_end_matches("[]");
    if rest.is_empty() {
        entries.retain(|(key, _)| key.text != name);
        return;
    }
    for (_, value) in entries.iter_mut().filter(|(key, _)| key.text == name) {
        match &mut value.value {
            Value::List(entries) => entries.iter_mut().for_each(|entry| take(entry, rest)),
            _ => take(value, rest),
        }
    }
}
