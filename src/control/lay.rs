//! Converts edits to overlay entries.

use serde_json::{Map, Value as Json};

use super::edit::Edit;
use super::outcome::{Refusal, RefusalKind};
use crate::config::{Overlay, ProfileChoice, id_key, nearest};

/// The configuration that an edit applies to.
pub(super) struct Known<'a> {
    /// The configured sources, from files or edits.
    pub(super) configured: &'a [String],
    /// The sources below the edits: from the files and the command line.
    pub(super) beneath: &'a [String],
    /// The whole configuration.
    pub(super) effective: &'a Json,
    pub(super) profiles: &'a ProfileChoice,
}

impl Known<'_> {
    /// Whether a list already has an item of this name.
    fn has(&self, list: &str, key: &str, name: &str) -> bool {
        let found = list.split('.').try_fold(self.effective, |at, step| at.get(step));
        let items = found.and_then(Json::as_array).into_iter().flatten();
        let is_source = list == "sources" && self.configured.iter().any(|id| id == name);
        // It exists even if no list names it.
        let is_implied = (list, name) == ("detection.strategies", "motion");
        is_source || is_implied || items.filter_map(|item| id_of(item, key)).any(|id| id == name)
    }
}

/// Adds an edit to the overlay.
pub(super) fn lay(edit: &Edit, overlay: &mut Overlay, known: &Known<'_>) -> Result<(), Refusal> {
    match edit {
        Edit::AddSource(entry) => add(entry, overlay, known),
        Edit::ChangeSource { id, to } => {
            exists(id, known)?;
            let Json::Object(keys) = to else { return Err(no_map("a change of a source")) };
            if keys.get("id").is_some_and(|new| new.as_str() != Some(id)) {
                return Err(Refusal::invalid(format!("source {id} cannot change its id"))
                    .hint("add a source of the new id and remove this one"));
            }
            merge(&source(id), keys, overlay, known);
            Ok(())
        }
        Edit::RemoveSource(id) => {
            exists(id, known)?;
            overlay.remove(&source(id));
            if known.beneath.contains(id) {
                overlay.set(&source(id), None);
            }
            Ok(())
        }
        Edit::EnableSource { id, enabled } => {
            exists(id, known)?;
            overlay.set(&format!("{}.enabled", source(id)), Some(Json::Bool(*enabled)));
            Ok(())
        }
        // The configuration does not change.
        Edit::RestartSource(id) => exists(id, known),
        Edit::Profile(name) => {
            selectable(name.as_deref(), known.profiles)?;
            overlay.set("profile", name.clone().map(Json::String));
            Ok(())
        }
        Edit::Set(entries) => {
            entries.iter().for_each(|(path, value)| overlay.set(path, value.clone()));
            Ok(())
        }
        Edit::Document(document) => {
            let Json::Object(keys) = document else { return Err(no_map("a configuration")) };
            merge("", keys, overlay, known);
            Ok(())
        }
    }
}

fn source(id: &str) -> String {
    format!("sources[{id}]")
}

fn exists(id: &str, known: &Known<'_>) -> Result<(), Refusal> {
    if known.configured.iter().any(|source| source == id) {
        return Ok(());
    }
    let all = if known.configured.is_empty() { "there is none".to_owned() } else { known.configured.join(", ") };
    let near = nearest(id, known.configured.iter().map(String::as_str));
    let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let refusal = Refusal::new(RefusalKind::NotFound, format!("there is no source '{id}'"));
    Err(refusal.hint(format!("{near}sources: {all}")))
}

fn selectable(name: Option<&str>, profiles: &ProfileChoice) -> Result<(), Refusal> {
    if let Some((message, hint)) = name.and_then(|name| profiles.unknown(name)) {
        return Err(Refusal::new(RefusalKind::NotFound, message).hint(hint));
    }
    match &profiles.fixed_by {
        Some(by) => Err(Refusal::new(RefusalKind::Conflict, format!("the profile cannot be switched: {by} sets it"))
            .hint(format!("start the engine without {by}"))),
        None => Ok(()),
    }
}

fn no_map(what: &str) -> Refusal {
    Refusal::invalid(format!("{what} is a map of keys")).hint("`dsengine schema` lists every key")
}

fn add(entry: &Json, overlay: &mut Overlay, known: &Known<'_>) -> Result<(), Refusal> {
    let Json::Object(keys) = entry else { return Err(no_map("a source")) };
    let id = match keys.get("id") {
        Some(Json::String(id)) => id.clone(),
        Some(Json::Null) | None => {
            free_id(keys.get("uri").and_then(Json::as_str).unwrap_or_default(), known.configured)
        }
        Some(_) => return Err(Refusal::invalid("a source's id is a text")),
    };
    if known.configured.contains(&id) {
        return Err(Refusal::new(RefusalKind::Conflict, format!("there is a source '{id}' already"))
            .hint("change that one, or give this one another id"));
    }
    let mut keys: Map<String, Json> = keys.clone();
    keys.retain(|_, value| !value.is_null());
    keys.insert("id".to_owned(), id.clone().into());
    overlay.set(&source(&id), Some(Json::Object(keys)));
    Ok(())
}

/// An unused id: the file's name without its extension, else `source`, with a number if that is taken.
fn free_id(uri: &str, taken: &[String]) -> String {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let is_network = uri.contains("://") && !uri.starts_with("file://");
    let name = path.rsplit(['/', ':']).next().filter(|_| !is_network).unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let stem: String = stem.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).take(64).collect();
    let stem = if stem.is_empty() { "source".to_owned() } else { stem };
    let numbered = (2..).map(|number| format!("{stem}{number}"));
    let mut names = std::iter::once(stem.clone()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or(stem)
}

/// Applies a merge patch at a path.
fn merge(at: &str, keys: &Map<String, Json>, overlay: &mut Overlay, known: &Known<'_>) {
    for (key, value) in keys {
        let path = below(at, key);
        match value {
            Json::Null => overlay.set(&path, None),
            Json::Object(keys) => merge(&path, keys, overlay, known),
            Json::Array(items) => match id_key(&list_of(&path)) {
                Some(name) if !items.is_empty() && items.iter().all(|item| id_of(item, name).is_some()) => {
                    items.iter().for_each(|item| merge_thing(&path, name, item, overlay, known));
                }
                _ => overlay.set(&path, Some(value.clone())),
            },
            value => overlay.set(&path, Some(value.clone())),
        }
    }
}

/// Changes an item of a list, or adds it.
fn merge_thing(list: &str, key: &str, item: &Json, overlay: &mut Overlay, known: &Known<'_>) {
    let name = id_of(item, key).unwrap_or_default();
    let path = format!("{list}[{name}]");
    match item {
        Json::Object(keys) if known.has(&list_of(list), key, name) => {
            let mut keys = keys.clone();
            keys.remove(key);
            merge(&path, &keys, overlay, known);
        }
        // A bare word only names an item and changes nothing.
        Json::String(_) if known.has(&list_of(list), key, name) => {}
        item => overlay.set(&path, Some(item.clone())),
    }
}

/// The id of an item: its key's text, or the bare word.
fn id_of<'v>(item: &'v Json, key: &str) -> Option<&'v str> {
    item.get(key).unwrap_or(item).as_str()
}

fn below(at: &str, key: &str) -> String {
    // User-defined names may contain path separators.
    let named = key.is_empty() || key.contains(['.', '[', ']']) || at.ends_with("zones");
    match (at.is_empty(), named) {
        (_, true) => format!("{at}[{key}]"),
        (true, false) => key.to_owned(),
        (false, false) => format!("{at}.{key}"),
    }
}

/// A path without its ids.
fn list_of(path: &str) -> String {
    let mut out = String::new();
    let mut depth = 0_usize;
    for c in path.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn laid(edit: &Edit, overlay: &mut Overlay) -> Result<Vec<(String, Option<Json>)>, RefusalKind> {
        let (configured, beneath) = (names(&["gate", "yard"]), names(&["gate"]));
        let effective = json!({ "alerts": { "handlers": ["console", { "name": "hook" }] } });
        let profiles = ProfileChoice { names: names(&["home", "away"]), ..ProfileChoice::default() };
        let known = Known { configured: &configured, beneath: &beneath, effective: &effective, profiles: &profiles };
        lay(edit, overlay, &known).map_err(|refusal| refusal.kind)?;
        Ok(overlay.entries.clone().into_iter().collect())
    }

    #[test]
    fn an_added_source_is_one_entry_and_has_an_id() {
        let add = |entry: Json| laid(&Edit::AddSource(entry), &mut Overlay::default());
        let entry = |id: &str, uri: &str| vec![(format!("sources[{id}]"), Some(json!({ "uri": uri, "id": id })))];
        assert_eq!(add(json!({ "id": "dock", "uri": "test:" })), Ok(entry("dock", "test:")));
        assert_eq!(add(json!({ "uri": "/media/hall.mp4", "fps": null })), Ok(entry("hall", "/media/hall.mp4")));
        assert_eq!(add(json!({ "uri": "/media/gate.mp4" })), Ok(entry("gate2", "/media/gate.mp4")));
        assert_eq!(add(json!({ "uri": "rtsp://10.0.0.7/live" })), Ok(entry("source", "rtsp://10.0.0.7/live")));
        assert_eq!(add(json!({ "id": "yard", "uri": "test:" })), Err(RefusalKind::Conflict));
        assert_eq!(add(json!([])), Err(RefusalKind::Invalid));
    }

    #[test]
    fn removing_a_source_of_the_file_adds_an_entry_and_one_of_an_edit_drops_its_entry() {
        let mut overlay = Overlay::default();
        overlay.set("sources[yard]", Some(json!({ "id": "yard", "uri": "test:" })));
        assert_eq!(laid(&Edit::RemoveSource("yard".into()), &mut overlay), Ok(vec![]));
        overlay.set("sources[gate].fps", Some(json!(3)));
        let gone = vec![("sources[gate]".to_owned(), None)];
        assert_eq!(laid(&Edit::RemoveSource("gate".into()), &mut overlay), Ok(gone));
        assert_eq!(laid(&Edit::RemoveSource("none".into()), &mut overlay), Err(RefusalKind::NotFound));
    }

    #[test]
    fn a_change_of_a_source_is_an_entry_for_each_key() {
        let to = json!({ "fps": 5, "timeout": null, "parameters": { "latency": 9 }, "zones": { "a.b": [[0, 0]] } });
        let edit = Edit::ChangeSource { id: "gate".into(), to };
        let entries = laid(&edit, &mut Overlay::default()).unwrap();
        let wanted = [
            ("sources[gate].fps", Some(json!(5))),
            ("sources[gate].parameters.latency", Some(json!(9))),
            ("sources[gate].timeout", None),
            ("sources[gate].zones[a.b]", Some(json!([[0, 0]]))),
        ];
        assert_eq!(entries, wanted.map(|(path, value)| (path.to_owned(), value)));
        let renamed = Edit::ChangeSource { id: "gate".into(), to: json!({ "id": "x" }) };
        assert_eq!(laid(&renamed, &mut Overlay::default()), Err(RefusalKind::Invalid));
    }

    #[test]
    fn a_switch_of_the_profile_is_one_entry_and_only_of_one_that_exists() {
        let switch = |name: Option<&str>| laid(&Edit::Profile(name.map(str::to_owned)), &mut Overlay::default());
        assert_eq!(switch(Some("away")), Ok(vec![("profile".to_owned(), Some(json!("away")))]));
        assert_eq!(switch(None), Ok(vec![("profile".to_owned(), None)]));
        assert_eq!(switch(Some("awya")), Err(RefusalKind::NotFound));
        let fixed =
            ProfileChoice { names: names(&["away"]), fixed_by: Some("--profile".into()), ..ProfileChoice::default() };
        let refusal = selectable(Some("away"), &fixed).map_err(|refusal| (refusal.kind, refusal.hint));
        assert_eq!(refusal, Err((RefusalKind::Conflict, Some("start the engine without --profile".into()))));
    }

    #[test]
    fn a_key_without_a_name_is_a_key_and_not_everything() {
        let entries = laid(&Edit::Document(json!({ "": { "": 1 } })), &mut Overlay::default()).unwrap();
        assert_eq!(entries, [("[][]".to_owned(), Some(json!(1)))]);
    }

    #[test]
    fn a_document_merges_lists_of_named_items_and_replaces_others() {
        let document = json!({
            "alerts": {
                "throttle_seconds": 4,
                "handlers": ["console", "file", { "name": "hook", "config": { "timeout": 3 } }, { "name": "new", "x": {} }],
            },
            "sources": [{ "id": "gate", "fps": 2 }, { "id": "dock", "uri": "test:" }],
            "monitoring": { "cpu_affinity": [0, 1] },
            "name": null,
        });
        let entries = laid(&Edit::Document(document), &mut Overlay::default()).unwrap();
        let wanted = [
            ("alerts.handlers[file]", Some(json!("file"))),
            ("alerts.handlers[hook].config.timeout", Some(json!(3))),
            ("alerts.handlers[new]", Some(json!({ "name": "new", "x": {} }))),
            ("alerts.throttle_seconds", Some(json!(4))),
            ("monitoring.cpu_affinity", Some(json!([0, 1]))),
            ("name", None),
            ("sources[dock]", Some(json!({ "id": "dock", "uri": "test:" }))),
            ("sources[gate].fps", Some(json!(2))),
        ];
        assert_eq!(entries, wanted.map(|(path, value)| (path.to_owned(), value)));
    }
}
