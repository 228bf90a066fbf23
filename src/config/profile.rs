//! Profiles: named parts of the file, one of which may be applied over it.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::fit::Fit;
use super::layer;
use super::load::Request;
use super::nearest::nearest;
use super::problem::Problems;
use super::tree::{Key, Node, Value};

/// The key that selects a profile.
const KEY: &str = "profile";
/// The keys that no profile has: they decide which profile applies.
const NO_PART: [&str; 4] = [KEY, "profiles", "profile_schedule", "timezone"];

/// The profiles of a file, and the selected one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileChoice {
    /// Every profile, in the order of the file.
    pub names: Vec<String>,
    /// The selected one.
    pub selected: Option<String>,
    /// The one that the file selects.
    pub of_file: Option<String>,
    /// The flag or variable that selects it, over which no edit prevails.
    pub fixed_by: Option<String>,
}

/// The profiles of a file.
pub(super) struct Profiles {
    choice: ProfileChoice,
    /// The unselected profiles, and the selected one until it is taken.
    bodies: Vec<(Key, Node)>,
}

impl Profiles {
    /// The profiles of a file, and the one selected by the flags, the environment, the overlay or the file.
    pub(super) fn new(
        bodies: Vec<(Key, Node)>,
        request: &Request,
        env: &BTreeMap<String, String>,
        root: &Node,
    ) -> Self {
        let flag = || request.overrides.iter().rev().find(|(key, _)| key == KEY).map(|(_, name)| name.clone());
        let variable = || env.get(&layer::variable(KEY)).filter(|name| !name.is_empty()).cloned();
        let overlay = || request.overlay.get(KEY).map(|name| name.and_then(Json::as_str).map(str::to_owned));
        let file = || match root.get(KEY).map(|node| (&node.value, node.is_nothing())) {
            Some((Value::Scalar { text, .. }, false)) => Some(text.clone()),
            _ => None,
        };
        let fixed = flag().map(|name| (name, format!("--{KEY}")));
        let fixed = fixed.or_else(|| variable().map(|name| (name, layer::variable(KEY))));
        let (selected, fixed_by) = match fixed {
            Some((name, by)) => (Some(name), Some(by)),
            None => (overlay().unwrap_or_else(file), None),
        };
        let names = bodies.iter().map(|(key, _)| key.text.clone()).collect();
        Self { choice: ProfileChoice { names, selected, of_file: file(), fixed_by }, bodies }
    }

    /// The names, and the selected one.
    pub(super) fn choice(&self) -> &ProfileChoice {
        &self.choice
    }

    /// The body of the selected profile.
    pub(super) fn take_selected(&mut self) -> Option<Node> {
        let name = self.choice.selected.as_ref()?;
        let index = self.bodies.iter().position(|(key, _)| key.text == *name)?;
        // A body that is not a map is checked with the unselected ones.
        matches!(self.bodies[index].1.value, Value::Map(_)).then(|| self.bodies.remove(index).1)
    }

    /// Reports a selected profile that does not exist, at the location that selects it. There is none inside a profile.
    pub(super) fn check_name(&self, root: &mut Node, problems: &mut Problems) {
        let (Some(name), Some(node)) = (&self.choice.selected, root.get(KEY)) else { return };
        if let Some((message, label)) = self.choice.unknown(name) {
            problems.at_value(node.place, message, label);
        }
    }

    /// Refuses keys that no profile has, in the selected one and in the others, and takes them out.
    pub(super) fn refuse_parts(&mut self, selected: Option<&mut Node>, problems: &mut Problems) {
        for body in self.bodies.iter_mut().map(|(_, body)| body).chain(selected) {
            let Value::Map(entries) = &mut body.value else { continue };
            for (key, _) in entries.extract_if(.., |(key, _)| NO_PART.contains(&&*key.text)) {
                let label = "write it outside of `profiles`: it decides which profile applies, and when";
                problems.at_key(key.place, format!("`{}` cannot be in a profile", key.text), label);
            }
        }
    }

    /// Checks the unselected profiles, except for values with references.
    pub(super) fn check(mut self, fit: &mut Fit<'_>, schema: &Json) {
        let mut schema = schema.clone();
        if let Some(keys) = schema.get_mut("properties").and_then(Json::as_object_mut) {
            NO_PART.iter().for_each(|key| drop(keys.remove(*key)));
        }
        let gaps = fit.gaps;
        for (key, body) in &mut self.bodies {
            drop_references(body);
            fit.value(body, key.place, &schema, &format!("profiles.{}", key.text));
        }
        fit.gaps = gaps;
    }
}

impl ProfileChoice {
    /// The problem and the remedy if there is no profile of this name.
    pub fn unknown(&self, name: &str) -> Option<(String, String)> {
        if self.names.iter().any(|known| known == name) {
            return None;
        }
        let names = self.names.iter().map(String::as_str);
        let label = match nearest(name, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.names.is_empty() => "the file has no `profiles`".to_owned(),
            None => format!("known are {}", names.collect::<Vec<_>>().join(", ")),
        };
        Some((format!("there is no profile `{name}`"), label))
    }
}

/// Removes values that contain references, since they are not resolved.
fn drop_references(node: &mut Node) {
    let holds_one = |node: &Node| matches!(&node.value, Value::Scalar { text, .. } if text.contains("${"));
    match &mut node.value {
        Value::Map(entries) => {
            entries.retain(|(_, node)| !holds_one(node));
            entries.iter_mut().for_each(|(_, node)| drop_references(node));
        }
        Value::List(items) => {
            items.retain(|node| !holds_one(node));
            items.iter_mut().for_each(drop_references);
        }
        Value::Scalar { .. } => {}
    }
}
