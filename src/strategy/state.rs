//! State that guests keep in the host, so that it survives their reload and their crash.
//!
//! Each (plugin, source) has its own space; nobody sees another's. A call's writes are collected and committed
//! when it has succeeded, so a failed call leaves no trace. Values age on frame time.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::types::SourceId;

/// A value to write, or `None` to delete.
pub type Write = Option<Entry>;

/// A value with its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// Frame time from which it is gone; `None` = it stays.
    pub expires_ns: Option<u64>,
}

/// One guest's state on one source.
#[derive(Debug, Default)]
pub struct Space {
    entries: BTreeMap<String, Entry>,
    bytes: usize,
}

impl Space {
    /// The value of `key` at frame time `now_ns`.
    pub fn get(&self, key: &str, now_ns: u64) -> Option<&Value> {
        self.entries.get(key).filter(|e| e.lives(now_ns)).map(|e| &e.value)
    }

    /// Keys that start with `prefix` and live at `now_ns`, in order.
    pub fn keys<'a>(&'a self, prefix: &'a str, now_ns: u64) -> impl Iterator<Item = &'a str> {
        let from = self.entries.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(move |(key, _)| key.starts_with(prefix))
            .filter(move |(_, e)| e.lives(now_ns))
            .map(|(k, _)| &**k)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that `key` holds.
    pub fn bytes_of(&self, key: &str) -> usize {
        self.entries.get(key).map_or(0, |e| size(key, &e.value))
    }

    /// Takes in the writes of a call that succeeded.
    pub fn commit(&mut self, writes: &mut BTreeMap<String, Write>) {
        while let Some((key, write)) = writes.pop_first() {
            self.bytes -= self.bytes_of(&key);
            match write {
                Some(entry) => {
                    self.bytes += size(&key, &entry.value);
                    self.entries.insert(key, entry);
                }
                None => drop(self.entries.remove(&key)),
            }
        }
    }

    /// Frees what has expired.
    pub fn sweep(&mut self, now_ns: u64) {
        let bytes = &mut self.bytes;
        self.entries.retain(|key, entry| {
            let lives = entry.lives(now_ns);
            if !lives {
                *bytes -= size(key, &entry.value);
            }
            lives
        });
    }
}

impl Entry {
    fn lives(&self, now_ns: u64) -> bool {
        self.expires_ns.is_none_or(|end| now_ns < end)
    }
}

/// What a key and its value count for, in bytes: their text and a word per value.
pub fn size(key: &str, value: &Value) -> usize {
    fn of(value: &Value) -> usize {
        8 + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(of).sum(),
            Value::Object(fields) => fields.iter().map(|(k, v)| k.len() + of(v)).sum(),
        }
    }
    key.len() + of(value)
}

/// Whose state it is: a plugin's name, on a source.
type Owner = (String, SourceId);

/// Every guest's state. One per engine; outlives the guests.
#[derive(Debug, Default)]
pub struct StateStore {
    spaces: Mutex<HashMap<Owner, Arc<Mutex<Space>>>>,
}

impl StateStore {
    /// The space of `plugin` on `source`, the same one each time.
    pub fn space(&self, plugin: &str, source: &SourceId) -> Arc<Mutex<Space>> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(spaces.entry((plugin.to_owned(), source.clone())).or_default())
    }

    /// Forgets everything kept for `source`, which was taken away.
    pub fn forget(&self, source: &SourceId) {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, s), _| s != source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: impl Into<Value>, expires_ns: Option<u64>) -> Write {
        Some(Entry { value: value.into(), expires_ns })
    }

    #[test]
    fn values_live_until_they_expire_and_their_bytes_come_back() {
        let mut space = Space::default();
        let mut writes = BTreeMap::from([
            ("a.1".to_owned(), entry("text", Some(10))),
            ("a.2".to_owned(), entry(7, None)),
            ("b".to_owned(), entry(true, None)),
        ]);
        space.commit(&mut writes);
        assert_eq!(space.get("a.1", 9), Some(&Value::from("text")));
        assert_eq!(space.get("a.1", 10), None);
        assert_eq!(space.keys("a.", 10).collect::<Vec<_>>(), ["a.2"]);
        let full = space.bytes();
        space.sweep(10);
        assert_eq!(full - space.bytes(), 3 + 8 + 4);
        space.commit(&mut BTreeMap::from([("a.2".to_owned(), None), ("b".to_owned(), None)]));
        assert_eq!(space.bytes(), 0);
    }

    #[test]
    fn spaces_belong_to_one_plugin_on_one_source() {
        let store = StateStore::default();
        let (a, b) = (SourceId::from("a"), SourceId::from("b"));
        store.space("p", &a).lock().unwrap().commit(&mut BTreeMap::from([("k".to_owned(), entry(1, None))]));
        assert!(store.space("p", &a).lock().unwrap().get("k", 0).is_some());
        assert!(store.space("p", &b).lock().unwrap().get("k", 0).is_none());
        assert!(store.space("q", &a).lock().unwrap().get("k", 0).is_none());
        store.forget(&a);
        assert!(store.space("p", &a).lock().unwrap().get("k", 0).is_none());
    }
}
