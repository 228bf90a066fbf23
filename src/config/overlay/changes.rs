//! Compares two versions of the files and returns the changed overlay paths.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::json::{id_of, list_of};
use super::path::{Path, Step, id_key};

/// The overlay paths at which two versions of the files differ (`Loaded::file_tree`). An added or removed item is one
/// path; changes in the selected profile are also reported as if they were in the file itself.
pub fn changed_paths(old: &Json, new: &Json) -> Vec<String> {
    changed_paths_with(old, new, None)
}

/// As [`changed_paths`], where an edit has selected the profile `switched`.
pub fn changed_paths_with(old: &Json, new: &Json, switched: Option<&str>) -> Vec<String> {
    let mut out = BTreeSet::new();
    compare(Some(old), Some(new), &Path::parse(""), &mut out);
    let of_file = [old, new].into_iter().filter_map(|tree| tree.get("profile")?.as_str());
    let selected: BTreeSet<&str> = of_file.chain(switched).collect();
    for name in selected {
        let at = |tree: &Json| tree.get("profiles").and_then(|profiles| profiles.get(name)).cloned();
        compare(at(old).as_ref(), at(new).as_ref(), &Path::parse(""), &mut out);
    }
    out.remove("");
    out.into_iter().collect()
}

fn compare(old: Option<&Json>, new: Option<&Json>, at: &Path, out: &mut BTreeSet<String>) {
    if old == new {
        return;
    }
    let nothing = Json::Object(Map::new());
    // For an added or removed section, its keys are reported; for an item, the item as a whole.
    let is_thing = matches!(at.steps().last(), Some(Step::Id(_)));
    let (old, new) = match (old, new) {
        (None, Some(new @ Json::Object(_))) if !is_thing => (Some(&nothing), Some(new)),
        (Some(old @ Json::Object(_)), None) if !is_thing => (Some(old), Some(&nothing)),
        pair => pair,
    };
    match (old, new) {
        (Some(Json::Object(old)), Some(Json::Object(new))) if !(old.is_empty() && new.is_empty()) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let step = if is_named_by_users(at) { Step::Id(key.clone()) } else { Step::Key(key.clone()) };
                compare(old.get(key), new.get(key), &at.with(step), out);
            }
        }
        (old, new) => match (id_key(&list_of(at)).filter(|_| !is_thing), items(old), items(new)) {
            (Some(key), Some(old), Some(new)) => things(old, new, key, at, out),
            _ => {
                out.insert(at.to_string());
            }
        },
    }
}

/// Whether this is a map whose keys are user-defined names.
fn is_named_by_users(at: &Path) -> bool {
    match at.steps() {
        [.., Step::Key(section), Step::Key(key)] if section == "alerts" && key == "rules" => true,
        [.., Step::Key(key)] => key == "zones" || key == "profiles",
        _ => false,
    }
}

fn items(value: Option<&Json>) -> Option<&[Json]> {
    match value {
        None | Some(Json::Null) => Some(&[]),
        Some(Json::Array(items)) => Some(items),
        Some(_) => None,
    }
}

fn things(old: &[Json], new: &[Json], key: &str, at: &Path, out: &mut BTreeSet<String>) {
    // A source without an id has its generated one in the tree.
    let id = |item: &Json| id_of(item, key).unwrap_or_default().to_owned();
    let ids: BTreeSet<String> = old.iter().chain(new).map(id).collect();
    for name in ids {
        let of = |items: &[Json]| items.iter().find(|item| id(item) == name).cloned();
        compare(of(old).as_ref(), of(new).as_ref(), &at.with(Step::Id(name.clone())), out);
    }
}
