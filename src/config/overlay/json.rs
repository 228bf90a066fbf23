//! Finds and edits parts of a value by path.

use serde_json::{Map, Value as Json};

use super::path::{Path, Step, id_key};

/// The part of `value` at the path `below`; `value` itself is at `at`.
pub(super) fn find<'v>(value: &'v Json, at: &Path, below: &[Step]) -> Option<&'v Json> {
    let [first, rest @ ..] = below else { return Some(value) };
    let child = match value {
        Json::Object(map) => map.get(first.text())?,
        Json::Array(items) => items.get(position(items, at, first)?)?,
        _ => return None,
    };
    find(child, &at.with(first.clone()), rest)
}

/// Sets a part of `whole`; creates missing maps and items on the way.
pub(super) fn put(whole: &mut Json, at: &Path, below: &[Step], value: Json) {
    let [first, rest @ ..] = below else {
        *whole = value;
        return;
    };
    let inner = at.with(first.clone());
    let key = id_key(&list_of(at));
    if let (Json::String(word), Some(key)) = (&*whole, at_thing(at)) {
        // A handler's bare word is short for a map.
        *whole = Json::Object(Map::from_iter([(key.to_owned(), Json::String(word.clone()))]));
    }
    if !matches!(whole, Json::Object(_) | Json::Array(_)) {
        *whole = if key.is_some() { Json::Array(Vec::new()) } else { Json::Object(Map::new()) };
    }
    match whole {
        Json::Object(map) => put(map.entry(first.text()).or_insert(Json::Null), &inner, rest, value),
        Json::Array(items) => {
            let index = position(items, at, first).unwrap_or_else(|| {
                let name = Map::from_iter([(key.unwrap_or("name").to_owned(), Json::String(first.text().to_owned()))]);
                items.push(Json::Object(name));
                items.len() - 1
            });
            put(&mut items[index], &inner, rest, value);
        }
        _ => {}
    }
}

/// Removes a part of `whole`.
pub(super) fn take(whole: &mut Json, at: &Path, below: &[Step]) {
    let [first, rest @ ..] = below else { return };
    match whole {
        Json::Object(map) if rest.is_empty() => {
            map.remove(first.text());
        }
        Json::Object(map) => {
            if let Some(child) = map.get_mut(first.text()) {
                take(child, &at.with(first.clone()), rest);
            }
        }
        Json::Array(items) => match position(items, at, first) {
            Some(index) if rest.is_empty() => {
                items.remove(index);
            }
            Some(index) => take(&mut items[index], &at.with(first.clone()), rest),
            None => {}
        },
        _ => {}
    }
}

/// Visits every string and number with its path.
pub(super) fn leaves(value: &Json, at: &Path, visit: &mut dyn FnMut(&Path, &str)) {
    match value {
        Json::Object(map) => map.iter().for_each(|(key, child)| leaves(child, &at.with(Step::Key(key.clone())), visit)),
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let id = id_key(&list_of(at)).and_then(|key| id_of(item, key));
                leaves(item, &at.with(Step::Id(id.map_or_else(|| index.to_string(), str::to_owned))), visit);
            }
        }
        Json::String(text) => visit(at, text),
        Json::Number(number) => visit(at, &number.to_string()),
        Json::Null | Json::Bool(_) => {}
    }
}

/// The id of an item: its key's text, or the bare word.
pub(super) fn id_of<'v>(item: &'v Json, key: &str) -> Option<&'v str> {
    item.get(key).unwrap_or(item).as_str()
}

/// A path without its ids, as `id_key` expects.
pub(super) fn list_of(path: &Path) -> String {
    let keys = path.steps().iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Id(_) => None,
    });
    keys.collect::<Vec<_>>().join(".")
}

fn position(items: &[Json], at: &Path, step: &Step) -> Option<usize> {
    let key = id_key(&list_of(at))?;
    items.iter().position(|item| id_of(item, key) == Some(step.text()))
}

/// The key with the id, if the path denotes an item of a list.
fn at_thing(path: &Path) -> Option<&'static str> {
    matches!(path.steps().last(), Some(Step::Id(_))).then(|| id_key(&list_of(path)))?
}
