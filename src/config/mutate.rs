//! A configuration without one key, for the proof of proofs: `./dev mutate` builds the engine so that it ignores the key
//! that `DSENGINE_TEST_MUTATE` names, and expects the key's test to fail. No other build has this.

use super::tree::{Node, Value};

/// Takes the key out wherever it is set, as if nobody had.
pub(super) fn ignore(root: &mut Node) {
    if let Ok(key) = std::env::var("DSENGINE_TEST_MUTATE") {
        take(root, &key.split('.').collect::<Vec<_>>());
    }
}

/// Takes what the path leads to out of the node: `a.b`, or `list[].b` in each of its entries.
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
