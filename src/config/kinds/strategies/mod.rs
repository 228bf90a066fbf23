//! The kinds of strategies.

mod model;
mod module;
mod motion;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::shape::Shape;
use crate::config::build::Site;
use crate::config::plan::{ModelPlan, StrategyPlan};
use crate::config::schema::{Detection, StrategyEntry};
use crate::config::tree::{Node, Value};
use crate::types::SourceId;

pub(in crate::config) use model::{Model, ModelSettings, default_model};
pub(in crate::config) use module::Module;
pub(in crate::config) use motion::by_default as motion_by_default;

/// Every kind.
const KINDS: &[&Kind] = &[&model::KIND, &module::KIND, &motion::KIND];

/// What a strategy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum StrategyType {
    Model,
    Module,
    Motion,
}

/// A row of the table.
struct Kind {
    of: StrategyType,
    word: &'static str,
    /// The key whose presence identifies the kind.
    key: Option<&'static str>,
    /// The keys that only this kind has.
    shapes: &'static [Shape],
    /// For messages: the kind, and what to do about one of those keys on a strategy of another kind.
    applies: (&'static str, &'static str),
    /// The schema of its `config`, if it has one.
    config: Option<fn() -> Json>,
    plan: fn(&Listed<'_>, &mut Site<'_>) -> Option<Planned>,
}

/// One entry of the list.
pub(in crate::config) struct Listed<'a> {
    pub(in crate::config) entry: &'a StrategyEntry,
    pub(in crate::config) path: &'a str,
    /// The sources that it is limited to; empty = all.
    pub(in crate::config) only: Vec<SourceId>,
    pub(in crate::config) detection: &'a Detection,
}

impl Listed<'_> {
    fn name(&self) -> &str {
        &self.entry.head.name
    }

    /// Whether it runs: not if all the sources that it is limited to are disabled.
    fn is_active(&self) -> bool {
        let head = &self.entry.head;
        head.enabled && (head.sources.is_empty() || !self.only.is_empty())
    }
}

/// The plan of an entry.
pub(in crate::config) enum Planned {
    /// A neural network.
    Model(Box<ModelPlan>),
    /// A strategy on the lane.
    Lane(Box<StrategyPlan>),
}

/// The plan of one entry, `None` if it does not run or cannot be built; the reason has then been reported.
pub(in crate::config) fn plan(listed: &Listed<'_>, site: &mut Site<'_>) -> Option<Planned> {
    let kind = kind_of(listed, site)?;
    for other in KINDS.iter().filter(|other| other.of != kind.of) {
        refuse_keys(other, listed, site);
    }
    (kind.plan)(listed, site)
}

/// Whether an entry is the built-in motion detector.
pub(in crate::config) fn is_motion(entry: &StrategyEntry) -> bool {
    let has = (entry.model.model_path.is_some(), entry.module.module.is_some());
    entry.head.kind.or_else(|| implied(has.0, has.1, Some(&entry.head.name))) == Some(StrategyType::Motion)
}

/// The schema of an entry's `config`: a model and `motion` have their own keys, a script's is free.
pub(in crate::config) fn config_schema(entry: &Node) -> Option<Json> {
    let text = |key: &str| match &entry.get(key)?.value {
        Value::Scalar { text, .. } => Some(text.as_str()),
        _ => None,
    };
    let has = |key: &str| entry.get(key).is_some();
    let declared = text("type").and_then(|word| KINDS.iter().find(|kind| kind.word == word)).map(|kind| kind.of);
    let kind = declared.or_else(|| implied(has("model_path"), has("module"), text("name")))?;
    let config = KINDS.iter().find(|row| row.of == kind)?.config?;
    Some(config())
}

/// The keys of all kinds.
pub(in crate::config) fn shapes() -> impl Iterator<Item = Shape> {
    KINDS.iter().flat_map(|kind| kind.shapes).copied()
}

/// The kind implied by an entry's other keys.
fn implied(has_model: bool, has_module: bool, name: Option<&str>) -> Option<StrategyType> {
    match (has_model, has_module) {
        (true, _) => Some(StrategyType::Model),
        (false, true) => Some(StrategyType::Module),
        (false, false) => (name == Some(motion::NAME)).then_some(StrategyType::Motion),
    }
}

/// The kind on which `type` and the other keys agree.
fn kind_of(listed: &Listed<'_>, site: &mut Site<'_>) -> Option<&'static Kind> {
    let Listed { entry, path, .. } = listed;
    let has = (entry.model.model_path.is_some(), entry.module.module.is_some());
    if has == (true, true) {
        let label = "a strategy is a model or a module";
        site.wrong_key(&format!("{path}.module"), format!("`{path}` has a model and a module"), label);
        return None;
    }
    let row = |of: StrategyType| KINDS.iter().copied().find(|kind| kind.of == of);
    let declared = entry.head.kind.and_then(row);
    let implied = implied(has.0, has.1, Some(listed.name())).and_then(row);
    match (declared, implied) {
        (Some(declared), Some(Kind { of, word, key: Some(key), .. })) if declared.of != *of => {
            let message = format!("`{path}.type` is {}, but there is a `{key}`", declared.word);
            site.wrong(&format!("{path}.type"), message, format!("write {word} or leave `type` out"));
            None
        }
        (Some(Kind { key: None, .. }), _) => declared,
        (Some(Kind { key: Some(key), .. }), _) if site.places.is_set(&format!("{path}.{key}")) => declared,
        (Some(Kind { key: Some(key), word, .. }), _) => {
            let message = format!("strategy `{}` is a {word} and has no `{key}`", listed.name());
            site.wrong(path, message, format!("`{key}` is needed"));
            None
        }
        (None, Some(implied)) => Some(implied),
        (None, None) => {
            // A key that exists and does not fit has been reported.
            let keys = KINDS.iter().filter_map(|kind| kind.key);
            if !keys.into_iter().any(|key| site.places.is_set(&format!("{path}.{key}"))) {
                let label = "`model_path` or `module` is needed";
                site.wrong(path, format!("strategy `{}` says neither model nor module", listed.name()), label);
            }
            None
        }
    }
}

/// Reports keys that only another kind has and that would have no effect.
fn refuse_keys(other: &Kind, listed: &Listed<'_>, site: &mut Site<'_>) {
    let (to, label) = other.applies;
    let keys = other.shapes.iter().flat_map(|shape| shape.keys());
    // The key that identifies the kind was checked with `type`.
    for key in keys.filter(|key| other.key != Some(key.as_str())) {
        let at = format!("{}.{key}", listed.path);
        if site.places.is_set(&at) {
            let message = format!("`{key}` applies to {to}, and strategy `{}` is none", listed.name());
            site.wrong_key(&at, message, label);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_schema() {
        for kind in KINDS {
            assert_eq!(serde_json::to_value(kind.of).ok(), Some(kind.word.into()));
        }
    }

    #[test]
    fn each_kind_has_the_keys_of_its_structs() {
        let keys = |kind: &Kind| kind.shapes.iter().flat_map(|shape| shape.keys()).collect::<Vec<_>>();
        let module_keys = ["class", "grants", "limits", "mode", "module", "on_failure", "persist_state", "shadow_of"];
        assert_eq!(keys(&module::KIND), module_keys);
        assert_eq!(keys(&model::KIND).len(), 10);
        assert!(keys(&motion::KIND).is_empty());
    }

    #[test]
    fn the_keys_imply_the_kind() {
        assert_eq!(implied(true, false, Some("motion")), Some(StrategyType::Model));
        assert_eq!(implied(false, true, Some("motion")), Some(StrategyType::Module));
        assert_eq!(implied(false, false, Some("motion")), Some(StrategyType::Motion));
        assert_eq!(implied(false, false, Some("street")), None);
    }
}
