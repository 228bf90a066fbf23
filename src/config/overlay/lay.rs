//! Applies one tree over another: an overlay's entries, and a profile's sections.

use serde_json::Value as Json;

use super::Overlay;
use super::json::list_of;
use super::path::{Path, Step, id_key};
use crate::config::expand::{self, Vars};
use crate::config::layer;
use crate::config::problem::{Location, Origin, Origins, Problems};
use crate::config::sources;
use crate::config::tree::{Key, Node, Style, Value};
use crate::config::warning::{Severity, Warning};

/// The built-in strategy that a list need not contain: its keys may be set anyway.
const MOTION: (&str, &str) = ("detection.strategies", "motion");
/// The default handlers.
const DEFAULT_HANDLERS: &[&str] = &["console"];

/// Where applying a layer reports to.
pub(in crate::config) struct Reports<'a> {
    pub(in crate::config) origins: &'a mut Origins,
    pub(in crate::config) problems: &'a mut Problems,
    pub(in crate::config) warnings: &'a mut Vec<Warning>,
}

/// Applies an overlay to the tree, shorter paths first.
pub(in crate::config) fn lay(root: &mut Node, overlay: &Overlay, schema: &Json, vars: &Vars<'_>, to: &mut Reports<'_>) {
    let mut entries: Vec<(Path, &Option<Json>)> =
        overlay.entries.iter().map(|(path, value)| (Path::parse(path), value)).collect();
    entries.sort_by_key(|(path, _)| path.steps().len());
    if entries.iter().any(|(path, _)| path.steps().first().is_some_and(|step| step.text() == "sources")) {
        // Removing an entry must not change the generated ids of later sources.
        sources::keep_generated_ids(root);
    }
    if let Some((path, _)) = entries.iter().find(|(path, _)| Path::parse("alerts.handlers").covers(path)) {
        list_default_handlers(root, place_of(path, to.origins));
    }
    for (path, value) in entries {
        let place = place_of(&path, to.origins);
        let mut node = value.as_ref().map(|value| node_of(value, &path, to.origins));
        if let Some(node) = &mut node {
            expand::expand(node, &path.to_string(), vars, to.problems);
        }
        if let Some((list, step)) = thing(&path)
            && let Some(node) = &mut node
        {
            name_thing(node, list, step.text(), place, to.problems);
        }
        let is_section = path.steps().iter().all(|step| matches!(step, Step::Key(_))) && has_keys(schema, &path);
        let mut set = Vec::new();
        if let Some(node) = &node {
            keys_below(node, &list_of(&path), &mut set);
        }
        let mut laying = Laying { place, is_section, missing: None };
        laying.put(root, &Path::parse(""), path.steps(), node);
        if let Some(missing) = laying.missing {
            let message = format!("the overlay's `{path}` has no effect: there is no `{missing}`");
            to.warnings.push(Warning::new("overlay-unused", Severity::Warning, message).place("overlay"));
        } else {
            layer::remove_twins(root, &set);
        }
    }
}

/// Merges `over` into `base`: maps by key, lists of items by id, anything else is replaced. A `null` removes.
pub(in crate::config) fn merge(base: &mut Node, over: Node) {
    let mut set = Vec::new();
    keys_below(&over, "", &mut set);
    merge_at(base, over, &Path::parse(""));
    layer::remove_twins(base, &set);
}

fn merge_at(base: &mut Node, over: Node, at: &Path) {
    let key = id_key(&list_of(at));
    match (&mut base.value, over.value) {
        (Value::Map(entries), Value::Map(more)) => {
            for (key, node) in more {
                let child = at.with(Step::Key(key.text.clone()));
                match entries.iter().position(|(old, _)| old.text == key.text) {
                    Some(index) if node.is_nothing() => {
                        entries.remove(index);
                    }
                    Some(index) => merge_at(&mut entries[index].1, node, &child),
                    None if node.is_nothing() => {}
                    None => entries.push((key, node)),
                }
            }
        }
        (Value::List(items), Value::List(more)) if key.is_some() => {
            let key = key.unwrap_or_default();
            for node in more {
                let name = sources::id_of(&node, key);
                let same = items.iter_mut().find(|item| name.is_some() && sources::id_of(item, key) == name);
                let child = at.with(Step::Id(name.clone().unwrap_or_default()));
                match same {
                    // A bare word only names an item and changes nothing.
                    Some(_) if matches!(node.value, Value::Scalar { .. }) => {}
                    Some(item) => {
                        word_to_map(item, key);
                        merge_at(item, node, &child);
                    }
                    None => items.push(node),
                }
            }
        }
        (_, value) => *base = Node { value, ..over },
    }
}

/// The state of applying one entry.
struct Laying {
    place: Location,
    is_section: bool,
    /// The missing item that the entry refers to.
    missing: Option<Path>,
}

impl Laying {
    fn put(&mut self, node: &mut Node, at: &Path, steps: &[Step], value: Option<Node>) {
        let [first, rest @ ..] = steps else {
            match value {
                Some(value) if self.is_section && matches!(node.value, Value::Map(_)) => merge_at(node, value, at),
                Some(value) => *node = value,
                None => {}
            }
            return;
        };
        let inner = at.with(first.clone());
        if node.is_nothing() {
            if value.is_none() {
                return;
            }
            node.value = Value::Map(Vec::new());
        }
        let index = match self.child(node, at, first, rest.is_empty(), value.is_some()) {
            Child::At(index) => index,
            Child::Nothing => return,
            Child::Missing => {
                self.missing = Some(inner);
                return;
            }
        };
        match (&mut node.value, value) {
            (Value::Map(entries), None) if rest.is_empty() => {
                entries.remove(index);
            }
            (Value::List(items), None) if rest.is_empty() => {
                items.remove(index);
            }
            (Value::Map(entries), value) => self.put(&mut entries[index].1, &inner, rest, value),
            (Value::List(items), value) => {
                if !rest.is_empty() {
                    word_to_map(&mut items[index], id_key(&list_of(at)).unwrap_or("name"));
                }
                self.put(&mut items[index], &inner, rest, value);
            }
            (Value::Scalar { .. }, _) => {}
        }
    }

    /// Finds the child for the next step; creates it if missing and a value is to be set.
    fn child(&self, node: &mut Node, at: &Path, step: &Step, is_last: bool, sets: bool) -> Child {
        let place = self.place;
        match &mut node.value {
            Value::Map(entries) => {
                if let Some(index) = entries.iter().position(|(key, _)| key.text == step.text()) {
                    return Child::At(index);
                }
                if !sets {
                    return Child::Nothing;
                }
                let is_list = matches!(step, Step::Key(_)) && id_key(&list_of(&at.with(step.clone()))).is_some();
                let made = match is_list {
                    true => Node { value: Value::List(Vec::new()), ..Node::map(place) },
                    false => Node::map(place),
                };
                entries.push((Key { text: step.text().to_owned(), place }, made));
                Child::At(entries.len() - 1)
            }
            Value::List(items) => {
                let list = list_of(at);
                let Some(key) = id_key(&list) else { return Child::Missing };
                if let Some(index) =
                    items.iter().position(|item| sources::id_of(item, key).as_deref() == Some(step.text()))
                {
                    return Child::At(index);
                }
                match (sets, is_last || (list.as_str(), step.text()) == MOTION) {
                    (false, _) => Child::Nothing,
                    (true, true) => {
                        items.push(named(key, step.text(), place));
                        Child::At(items.len() - 1)
                    }
                    (true, false) => Child::Missing,
                }
            }
            Value::Scalar { .. } => Child::Nothing,
        }
    }
}

enum Child {
    At(usize),
    /// It does not exist, and there is nothing to do.
    Nothing,
    /// The item does not exist, and only a part of it is to be set.
    Missing,
}

/// Writes the default handlers into the tree, so that one can be added or removed.
fn list_default_handlers(root: &mut Node, place: Location) {
    if root.get("alerts").and_then(|alerts| alerts.get("handlers")).is_some() {
        return;
    }
    let words = DEFAULT_HANDLERS.iter().map(|word| Node::scalar(*word, Style::Quoted, Location::nowhere()));
    let list = Node { value: Value::List(words.collect()), ..Node::map(Location::nowhere()) };
    let handlers = vec![(Key { text: "handlers".to_owned(), place }, list)];
    merge_at(
        root,
        Node {
            value: Value::Map(vec![(
                Key { text: "alerts".to_owned(), place },
                Node { value: Value::Map(handlers), ..Node::map(place) },
            )]),
            ..Node::map(place)
        },
        &Path::parse(""),
    );
}

/// An item that consists of its name only.
fn named(key: &str, name: &str, place: Location) -> Node {
    let entry = (Key { text: key.to_owned(), place }, Node::scalar(name, Style::Quoted, place));
    Node { place, value: Value::Map(vec![entry]), template: None }
}

/// A handler's bare word is short for a map.
fn word_to_map(node: &mut Node, key: &str) {
    if let Value::Scalar { text, .. } = &node.value {
        *node = named(key, &text.clone(), node.place);
    }
}

/// The id key and the step of a path that denotes an item of a list.
fn thing(path: &Path) -> Option<(&'static str, &Step)> {
    let step = path.steps().last().filter(|step| matches!(step, Step::Id(_)))?;
    Some((id_key(&list_of(path))?, step))
}

/// Sets an item's name to the one in the overlay.
fn name_thing(node: &mut Node, key: &str, name: &str, place: Location, problems: &mut Problems) {
    match sources::id_of(node, key) {
        Some(own) if own == name => {}
        Some(own) if node.get(key).is_some() => {
            let label = format!("it says `{key}: {own}`");
            problems.at_value(place, format!("the overlay's `{name}` has another name"), label);
        }
        _ => {
            if let Value::Map(entries) = &mut node.value {
                entries.insert(0, (Key { text: key.to_owned(), place }, Node::scalar(name, Style::Quoted, place)));
            }
        }
    }
}

fn has_keys(schema: &Json, path: &Path) -> bool {
    let parts: Vec<&str> = path.steps().iter().map(Step::text).collect();
    layer::at(schema, &parts).is_some_and(|(_, schema)| schema.get("properties").is_some())
}

/// The dotted keys of everything that is not a map.
fn keys_below(node: &Node, at: &str, out: &mut Vec<String>) {
    match &node.value {
        Value::Map(entries) => {
            entries.iter().for_each(|(key, node)| keys_below(node, &crate::config::fit::join(at, &key.text), out));
        }
        _ => out.push(at.to_owned()),
    }
}

/// The location of an overlay path, which is its own origin and excerpt.
fn place_of(path: &Path, origins: &mut Origins) -> Location {
    let text = path.to_string();
    let width = path.steps().last().map_or(1, |step| match step {
        Step::Key(key) => key.chars().count(),
        Step::Id(id) => id.chars().count() + 2,
    });
    let column = text.chars().count().saturating_sub(width) + 1;
    Location { origin: origins.add(Origin::Overlay(text)), line: 1, column, width: width.max(1) }
}

/// A value as a tree, with the location of every part.
fn node_of(value: &Json, at: &Path, origins: &mut Origins) -> Node {
    let place = place_of(at, origins);
    match value {
        Json::Null => Node::scalar("", Style::Plain, place),
        Json::Bool(_) | Json::Number(_) => Node::scalar(value.to_string(), Style::Plain, place),
        Json::String(text) => Node::scalar(text, Style::Quoted, place),
        Json::Array(items) => {
            let item = |(index, item): (usize, &Json)| node_of(item, &at.with(Step::Id(index.to_string())), origins);
            Node { place, value: Value::List(items.iter().enumerate().map(item).collect()), template: None }
        }
        Json::Object(map) => {
            let entry = |(key, value): (&String, &Json)| {
                let node = node_of(value, &at.with(Step::Key(key.clone())), origins);
                (Key { text: key.clone(), place: node.place }, node)
            };
            Node { place, value: Value::Map(map.iter().map(entry).collect()), template: None }
        }
    }
}
