//! A fingerprint of the files without their values, stored with saved edits, so that a later change of the files is
//! detected even if no engine was running.

use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use crate::config::id_key;

/// Bytes of a value's digest: enough to detect a change, too few to reveal the value.
const DIGEST_BYTES: usize = 4;

/// The files' tree with a digest for each value. Names of items are kept to identify them.
pub(super) fn fingerprint(file_tree: &Json) -> Json {
    let mut print = of(file_tree, "");
    if let (Some(profile), Json::Object(print)) = (file_tree.get("profile"), &mut print) {
        print.insert("profile".to_owned(), profile.clone());
    }
    print
}

/// `list` is the path of the value without ids.
fn of(value: &Json, list: &str) -> Json {
    match value {
        Json::Object(keys) => {
            let child = |(key, value): (&String, &Json)| {
                let path = if list.is_empty() { key.clone() } else { format!("{list}.{key}") };
                (key.clone(), of(value, &path))
            };
            keys.iter().map(child).collect::<Map<_, _>>().into()
        }
        Json::Array(items) => items.iter().map(|item| thing(item, list)).collect(),
        value => digest(value),
    }
}

fn thing(item: &Json, list: &str) -> Json {
    let Some(key) = id_key(list) else { return of(item, list) };
    match item {
        Json::String(_) => item.clone(),
        item => {
            let mut print = of(item, list);
            if let (Some(name), Json::Object(print)) = (item.get(key), &mut print) {
                print.insert(key.to_owned(), name.clone());
            }
            print
        }
    }
}

fn digest(value: &Json) -> Json {
    let digest = Sha256::digest(value.to_string());
    digest[..DIGEST_BYTES].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::changed_paths;

    #[test]
    fn a_fingerprint_shows_changed_paths_and_contains_no_value() {
        let tree = |fps: u32, secret: &str| {
            json!({
                "sources": [{ "id": "a", "fps": fps, "uri": "x" }, { "id": "b" }],
                "alerts": { "handlers": ["console", { "name": "hook", "config": { "url": secret } }] },
                "profile": "night",
            })
        };
        let (old, new) = (fingerprint(&tree(3, "geheim")), fingerprint(&tree(4, "geheim")));
        assert_eq!(changed_paths(&old, &new), ["sources[a].fps"]);
        assert_eq!(changed_paths(&old, &fingerprint(&tree(3, "other"))), ["alerts.handlers[hook].config.url"]);
        let text = old.to_string();
        assert!(text.contains("hook") && text.contains("night") && !text.contains("geheim"), "{text}");
    }
}
