//! Where a part of the configuration was written, by the path that names it by id: `sources[yard]`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::overlay::{Path, Step, id_key};
use super::places::Places;
use super::problem::{Location, Origins};

/// Where the parts of a configuration stand.
#[derive(Debug, Clone, Default)]
pub(super) struct PartPlaces {
    places: Places,
    /// Without texts, which may hold secrets.
    origins: Origins,
    /// The number of each thing in its list, by list and id.
    numbers: BTreeMap<(&'static str, String), usize>,
    /// Parts that no file lists, with where they come from.
    elsewhere: BTreeMap<String, String>,
}

/// The lists of things.
const LISTS: &[&str] = &["sources", "detection.strategies", "alerts.handlers", "monitoring.tokens"];

impl PartPlaces {
    /// `config` is the configuration that the places are of; `sources` the ids of its sources, in listed order.
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

    /// A part that no file lists.
    pub(super) fn add(&mut self, part: String, place: String) {
        self.elsewhere.insert(part, place);
    }

    /// The place of a part, `file:line:column`; of its nearest parent, where it was not written itself.
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
