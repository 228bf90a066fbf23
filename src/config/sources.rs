//! The ids of sources in a tree: written, or generated from the URI.

use super::problem::Problems;
use super::source_uri;
use super::tree::{Key, Node, Style, Value};

/// The ids of a tree's sources, including generated ones.
pub(super) fn ids(root: &Node) -> Vec<String> {
    let Some(Value::List(entries)) = root.get("sources").map(|sources| &sources.value) else { return Vec::new() };
    let name = |(index, entry)| id_of(entry, "id").unwrap_or_else(|| format!("source{index}"));
    entries.iter().enumerate().map(name).collect()
}

/// The id of a list's item: the text under `key`, the bare word, or for a source the one generated from its URI.
pub(super) fn id_of(entry: &Node, key: &str) -> Option<String> {
    let text = |node: &Node| match &node.value {
        Value::Scalar { text, .. } if !node.is_nothing() => Some(text.clone()),
        _ => None,
    };
    if let Some(id) = text(entry).or_else(|| entry.get(key).and_then(text)) {
        return Some(id);
    }
    if key != "id" {
        return None;
    }
    let uri = entry.get("uri").and_then(text)?;
    let kind = source_uri::kind_of(&uri).ok()?;
    let parsed = super::kinds::sources::plan(&uri, kind, &Default::default(), &|path| path.into()).ok()?;
    source_uri::stem(&parsed)
}

/// Writes generated ids into the tree, so that they remain when entries are removed.
pub(super) fn keep_generated_ids(root: &mut Node) {
    let ids = ids(root);
    let Some(Value::List(entries)) = root.get_mut("sources").map(|sources| &mut sources.value) else { return };
    for (entry, id) in entries.iter_mut().zip(ids) {
        let place = entry.place;
        if let Value::Map(keys) = &mut entry.value
            && !keys.iter().any(|(key, node)| key.text == "id" && !node.is_nothing())
        {
            keys.push((Key { text: "id".to_owned(), place }, Node::scalar(id, Style::Quoted, place)));
        }
    }
}

/// Moves `sources` and `zones` from a sources file into the tree; reports anything else.
pub(super) fn from_file(root: &mut Node, node: Node, problems: &mut Problems) {
    let place = super::problem::Location { width: 1, ..node.place };
    let Value::Map(entries) = node.value else {
        problems.at_value(place, "a sources file is a map", "expected `sources:` and, if wanted, `zones:`");
        return;
    };
    if !entries.iter().any(|(key, _)| key.text == "sources") {
        problems.at_value(place, "a sources file has `sources`", "expected `sources:` with a list");
    }
    for (key, value) in entries {
        match key.text.as_str() {
            "sources" => root.replace(key, value),
            "zones" => match (root.get("zones").map(|zones| &zones.value), value) {
                (Some(Value::Map(old)), Node { place, value: Value::Map(new), template }) => {
                    let mut all: Vec<_> = new;
                    let names: Vec<String> = all.iter().map(|(key, _)| key.text.clone()).collect();
                    all.extend(old.iter().filter(|(key, _)| !names.contains(&key.text)).cloned());
                    root.replace(key, Node { place, value: Value::Map(all), template });
                }
                (_, value) => root.replace(key, value),
            },
            other => {
                let label = match super::nearest::nearest(other, ["sources", "zones"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "a sources file holds `sources` and `zones`; the rest belongs into --config".to_owned(),
                };
                problems.at_key(key.place, format!("unknown key `{other}` in a sources file"), label);
            }
        }
    }
}
