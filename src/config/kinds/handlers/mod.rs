//! The kinds of handlers.

mod console;
mod email;
mod file;
mod module;
mod mqtt;
mod slack;
mod webhook;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::shape::{Shape, read, typed_by, union};
use crate::config::build::{Site, not_built};
use crate::config::nearest::nearest;
use crate::config::plan::HandlerKind;
use crate::config::schema::Handler;

pub(in crate::config) use module::Module;

/// Every kind that is named by a word. A module is recognised by its `module` key.
const KINDS: &[Kind] = &[
    Kind::of::<console::Console>(),
    Kind::of::<file::File>(),
    Kind::of::<webhook::Webhook>(),
    Kind::of::<mqtt::Mqtt>(),
    Kind::of::<email::Email>(),
    Kind::of::<slack::Slack>(),
];

/// The settings of one kind, and how to build its plan.
trait Type: JsonSchema + Serialize + DeserializeOwned {
    const WORD: &'static str;

    /// `None` if the handler cannot be built; the reason has then been reported.
    fn plan(self, handler: &Handler, path: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
        if handler.head.enabled {
            let message = format!("the handler `{}` is not built yet", Self::WORD);
            site.warn(path, not_built("handler-not-built", message, "the others are"));
        }
        None
    }
}

/// A row of the table.
struct Kind {
    word: &'static str,
    shape: Shape,
    plan: fn(&Handler, &str, &mut Site<'_>) -> Option<HandlerKind>,
}

impl Kind {
    const fn of<T: Type>() -> Self {
        Self { word: T::WORD, shape: Shape::of::<T>(), plan: plan_of::<T> }
    }
}

/// Settings of a handler: the keys of any kind, as in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[serde(transparent)]
pub(in crate::config) struct HandlerSettings(Map<String, Value>);

impl<'de> Deserialize<'de> for HandlerSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Map::deserialize(deserializer)?;
        typed_by(&map, shapes()).map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for HandlerSettings {
    fn schema_name() -> Cow<'static, str> {
        "HandlerSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        union(generator, "Settings of a handler. Which of them apply depends on its kind.", shapes())
    }
}

/// The words of all kinds.
pub(in crate::config) fn words() -> impl Iterator<Item = &'static str> + Clone {
    KINDS.iter().map(|kind| kind.word)
}

/// Builds the plan of a handler, `None` if that is not possible.
pub(in crate::config) fn plan(handler: &Handler, path: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
    if let Some(file) = &handler.module.module {
        return handler.module.plan(file, handler, path, site);
    }
    module::refuse_keys(handler, path, site);
    if handler.head.kind.is_none() && site.places.is_set(&format!("{path}.type")) {
        // It is none, which has been reported there.
        return None;
    }
    let word = handler.head.kind.as_deref().unwrap_or(&handler.head.name);
    let Some(kind) = KINDS.iter().find(|kind| kind.word == word) else {
        let label = match nearest(word, words()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its kind is missing: type: {}", words().collect::<Vec<_>>().join(", ")),
        };
        site.wrong(&format!("{path}.name"), format!("there is no handler `{word}`"), label);
        return None;
    };
    refuse_settings(kind, path, site);
    (kind.plan)(handler, path, site)
}

/// Reports settings that only other kinds have.
fn refuse_settings(kind: &Kind, path: &str, site: &mut Site<'_>) {
    let takes = kind.shape.keys();
    let prefix = format!("{path}.config.");
    let is_other = |key: &&str| !key.contains(['.', '[']) && takes.iter().all(|own| own != key);
    let others: Vec<String> = site.places.below(&prefix).filter(is_other).map(str::to_owned).collect();
    for key in others {
        let label =
            if takes.is_empty() { "it takes no settings".to_owned() } else { format!("it takes {}", takes.join(", ")) };
        site.wrong_key(&format!("{prefix}{key}"), format!("`{key}` is no setting of a {} handler", kind.word), label);
    }
}

fn plan_of<T: Type>(handler: &Handler, path: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
    match read::<T>(&handler.head.config.0) {
        Ok(settings) => settings.plan(handler, path, site),
        Err(error) => {
            // Their types were checked when the file was read; this is a fallback.
            let message = format!("the settings of handler `{}` cannot be read", handler.head.name);
            site.wrong(&format!("{path}.config"), message, error.to_string());
            None
        }
    }
}

fn shapes() -> impl Iterator<Item = Shape> {
    KINDS.iter().map(|kind| kind.shape)
}
