//! The locations of parts of the configuration, by their paths with ids: `sources[yard]`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::overlay::{Path, Step, id_key};
use super::places::Places;
use super::problem::{Location, Origins};

/// The locations of a configuration's parts.
#[derive(Debug, Clone, Default)]
pub(super) struct PartPlaces {
    places: Places,
    /// Without texts, which may contain secrets.
    origins: Origins,
    /// The index of each item in its list, by list and id.
    numbers: BTreeMap<(&'static str, String), usize>,
    /// Parts that no file lists, with their origin.
    elsewhere: BTreeMap<String, String>,
}

/// The lists of items with ids.
const LISTS: &[&str] = &["sources", "detection.strategies", "alerts.handlers", "monitoring.tokens"];

impl PartPlaces {
    /// `config` is the configuration of these `places`; `sources` has the ids of its sources, in order.
    pub(super) fn new(places: Places, origins: &Origins, config: &Json, sources: &[String]) -> Self {
        let mut numbers = BTreeMap::new();
        for list in LISTS {
            let items = config.pointer(&format!("/{}", list.replace('.', "/"))).and_then(Json::as_array);
            for (number, item) in items.into_iter().flatten().enumerate() {
                let own = id_key(list).and_then(|key| item.get(key)).and_then(Json::as_str).map(str::to_owned);
                let generated = if *list == "sources" { sources.get(number).cloned() } else { None };
                if let Some(id) = own.or(generated) {
                    numbers.insert((*list, id), number);
                }
            }
        }
        Self { places, origins: origins.without_texts(), numbers, elsewhere: BTreeMap::new() }
    }

    /// Adds a part that no file lists.
    pub(super) fn add(&mut self, part: String, place: String) {
        self.elsewhere.insert(part, place);
    }

    /// The location of a part, `file:line:column`; of its nearest parent if it was not written itself.
    pub(super) fn find(&self, part: &str) -> Option<String> {
        if let Some((_, place)) = self.elsewhere.iter().find(|(own, _)| part.starts_with(own.as_str())) {
            return Some(place.clone());
        }
        let mut path = String::new();
        let mut list = String::new();
        for step in Path::parse(part).steps() {
            match step {
                Step::Id(id) if id_key(&list).is_some() => {
                    let known = LISTS.iter().find(|known| **known == list)?;
                    let number = self.numbers.get(&(*known, id.clone()))?;
                    path.push_str(&format!("[{number}]"));
                }
                Step::Key(text) | Step::Id(text) => {
                    path = super::fit::join(&path, text);
                    list = super::fit::join(&list, text);
                }
            }
        }
        let place = self.places.value(&path);
        (place.origin != Location::nowhere().origin).then(|| self.origins.show(place))
    }
}
