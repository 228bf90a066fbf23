//! State that guests keep in the host, so that it survives their reload and their crash.
//!
//! Each (plugin, source) has its own space; nobody sees another's. A call's writes are collected and committed
//! when it has succeeded, so a failed call leaves no trace. Values age on frame time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::GuestKind;
use crate::types::SourceId;

/// A value to write, or `None` to delete.
pub type Write = Option<Entry>;

/// What a guest keeps. Scripts keep values, components bytes; each can read the other's, so that a rule ported from
/// one to the other goes on counting.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// A script's value, or a number that `add` made.
    Json(Value),
    /// A component's bytes.
    Bytes(Arc<[u8]>),
}

impl Kept {
    /// As bytes: a text's own, any other value's JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Json(Value::String(text)) => text.clone().into_bytes(),
            Self::Json(value) => value.to_string().into_bytes(),
        }
    }

    /// As a number, where it is one or its bytes are the text of one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Json(value) => value.as_f64(),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.trim().parse().ok(),
        }
    }
}

impl From<Value> for Kept {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

/// A value with its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Kept,
    /// Frame time from which it is gone; `None` = it stays.
    pub expires_ns: Option<u64>,
}

/// One guest's state on one source.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Space {
    entries: BTreeMap<String, Entry>,
    bytes: usize,
}

impl Space {
    /// The value of `key` at frame time `now_ns`.
    pub fn get(&self, key: &str, now_ns: u64) -> Option<&Kept> {
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

    /// Whether `more` bytes fit under `limit` in place of what `key` holds; frees what has expired where they do not.
    pub fn fits(&mut self, key: &str, more: usize, limit: usize, now_ns: u64) -> bool {
        if self.bytes + more > limit {
            self.sweep(now_ns);
        }
        self.bytes - self.bytes_of(key) + more <= limit
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

/// What a call has written so far, over the space that it will be committed to. It knows by how many bytes the space
/// would change, so that a write costs the same however many came before it.
#[derive(Debug, Default)]
pub struct Writes {
    writes: BTreeMap<String, Write>,
    /// Bytes of what is written, less those of what it replaces or deletes.
    growth: i64,
    /// What has expired by the time of this call was freed.
    swept: bool,
}

impl Writes {
    /// A call starts.
    pub fn clear(&mut self) {
        self.writes.clear();
        (self.growth, self.swept) = (0, false);
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// What was written under a key: an entry, or its deletion.
    pub fn get(&self, key: &str) -> Option<&Write> {
        self.writes.get(key)
    }

    /// The keys that live in `space` and start with `prefix`, as if this were committed, in order.
    pub fn keys(&self, space: &Space, prefix: &str, now_ns: u64) -> Vec<String> {
        let mut keys: BTreeSet<String> = space.keys(prefix, now_ns).map(str::to_owned).collect();
        for (key, write) in self.writes.iter().filter(|(key, _)| key.starts_with(prefix)) {
            match write {
                Some(_) => drop(keys.insert(key.clone())),
                None => drop(keys.remove(key)),
            }
        }
        keys.into_iter().collect()
    }

    /// Notes an entry. `false` where `space` would hold more than `limit` bytes with it; frees what has expired first.
    pub fn set(&mut self, space: &mut Space, key: String, entry: Entry, limit: usize, now_ns: u64) -> bool {
        let bytes = size(&key, &entry.value) as i64;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let fits = |all: &Self, space: &Space| {
            let growth = all.growth + bytes - all.now(space, &key);
            (space.bytes as i64 + growth <= limit).then_some(growth)
        };
        let growth = match fits(self, space) {
            Some(growth) => growth,
            None if self.swept => return false,
            None => {
                self.sweep(space, now_ns);
                let Some(growth) = fits(self, space) else { return false };
                growth
            }
        };
        self.growth = growth;
        self.writes.insert(key, Some(entry));
        true
    }

    /// Notes a deletion. What `space` does not have needs no note, or a loop of deletions would fill the host.
    pub fn delete(&mut self, space: &Space, key: String) {
        self.growth -= self.now(space, &key);
        if space.bytes_of(&key) > 0 {
            self.writes.insert(key, None);
        } else {
            self.writes.remove(&key);
        }
    }

    /// Takes all of it into `space`: the call succeeded.
    pub fn commit(&mut self, space: &mut Space) {
        space.commit(&mut self.writes);
        self.clear();
    }

    /// Bytes that a key has in `space` as if this were committed.
    fn now(&self, space: &Space, key: &str) -> i64 {
        let bytes = match self.writes.get(key) {
            Some(write) => write.as_ref().map_or(0, |entry| size(key, &entry.value)),
            None => space.bytes_of(key),
        };
        bytes as i64
    }

    /// Frees what has expired, once in a call: its time stands still.
    fn sweep(&mut self, space: &mut Space, now_ns: u64) {
        space.sweep(now_ns);
        self.swept = true;
        let grows = |(key, write): (&String, &Write)| {
            write.as_ref().map_or(0, |entry| size(key, &entry.value) as i64) - space.bytes_of(key) as i64
        };
        self.growth = self.writes.iter().map(grows).sum();
    }
}

impl Entry {
    fn lives(&self, now_ns: u64) -> bool {
        self.expires_ns.is_none_or(|end| now_ns < end)
    }
}

/// What a key and its value count for, in bytes: their text and a word per value.
pub fn size(key: &str, value: &Kept) -> usize {
    fn of(value: &Value) -> usize {
        8 + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(of).sum(),
            Value::Object(fields) => fields.iter().map(|(k, v)| k.len() + of(v)).sum(),
        }
    }
    key.len()
        + match value {
            Kept::Json(value) => of(value),
            Kept::Bytes(bytes) => 8 + bytes.len(),
        }
}

/// Whose state it is: a plugin's name, on a source; `None` where a handler keeps it.
type Owner = (String, Option<SourceId>);

/// A space, held by the store and by each instance that writes to it.
type Shared = Arc<Mutex<Space>>;

/// Every guest's state. One per engine; outlives the guests.
#[derive(Debug, Default)]
pub struct StateStore {
    spaces: Mutex<HashMap<Owner, Shared>>,
    shared: Mutex<HashMap<(String, GuestKind), Shared>>,
}

impl StateStore {
    /// The space of `plugin` on `source`, the same one each time.
    pub fn space(&self, plugin: &str, source: Option<&SourceId>) -> Arc<Mutex<Space>> {
        let mut spaces = self.spaces.lock();
        Arc::clone(spaces.entry((plugin.to_owned(), source.cloned())).or_default())
    }

    /// The space that `plugin` has for all its sources. A strategy and a handler may have the same name.
    pub fn shared(&self, plugin: &str, kind: GuestKind) -> Arc<Mutex<Space>> {
        let mut shared = self.shared.lock();
        Arc::clone(shared.entry((plugin.to_owned(), kind)).or_default())
    }

    /// Forgets everything kept for the strategy `name`, which was taken away.
    pub fn forget_strategy(&self, name: &str) {
        let is_its = |plugin: &str, source: &Option<SourceId>| plugin == name && source.is_some();
        self.spaces.lock().retain(|(p, source), _| !is_its(p, source));
        self.shared.lock().remove(&(name.to_owned(), GuestKind::Strategy));
    }

    /// Forgets everything kept for `source`, which was taken away.
    pub fn forget(&self, source: &SourceId) {
        self.spaces.lock().retain(|(_, s), _| s.as_ref() != Some(source));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: impl Into<Value>, expires_ns: Option<u64>) -> Write {
        Some(Entry { value: Kept::Json(value.into()), expires_ns })
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
        assert_eq!(space.get("a.1", 9), Some(&Kept::Json(Value::from("text"))));
        assert_eq!(space.get("a.1", 10), None);
        assert_eq!(space.keys("a.", 10).collect::<Vec<_>>(), ["a.2"]);
        let full = space.bytes();
        space.sweep(10);
        assert_eq!(full - space.bytes(), 3 + 8 + 4);
        space.commit(&mut BTreeMap::from([("a.2".to_owned(), None), ("b".to_owned(), None)]));
        assert_eq!(space.bytes(), 0);
    }

    #[test]
    fn a_state_is_full_when_it_would_hold_too_much_and_not_before() {
        let (mut space, mut writes) = (Space::default(), Writes::default());
        let entry = |bytes: usize, expires_ns| Entry { value: Kept::Bytes(vec![0; bytes].into()), expires_ns };
        // A key of one letter and 91 bytes count for 100.
        let set = |writes: &mut Writes, space: &mut Space, key: &str, expires_ns| {
            writes.set(space, key.to_owned(), entry(91, expires_ns), 200, 50)
        };
        assert!(set(&mut writes, &mut space, "a", None) && set(&mut writes, &mut space, "b", Some(10)));
        assert!(!set(&mut writes, &mut space, "c", None));
        writes.commit(&mut space);
        assert_eq!(space.bytes(), 200);
        // In place of itself; again; in place of what was deleted; and what has expired gives way.
        assert!(set(&mut writes, &mut space, "a", None) && set(&mut writes, &mut space, "a", None));
        writes.delete(&space, "a".to_owned());
        writes.delete(&space, "unknown".to_owned());
        assert!(set(&mut writes, &mut space, "c", None));
        assert!(set(&mut writes, &mut space, "d", None), "b has expired");
        assert!(!set(&mut writes, &mut space, "e", None));
        writes.delete(&space, "d".to_owned());
        assert!(set(&mut writes, &mut space, "e", None));
        assert_eq!(writes.keys(&space, "", 50), ["c", "e"]);
        writes.commit(&mut space);
        assert_eq!((space.bytes(), space.keys("", 50).collect::<Vec<_>>()), (200, vec!["c", "e"]));
    }

    #[test]
    fn spaces_belong_to_one_plugin_on_one_source() {
        let store = StateStore::default();
        let (a, b) = (SourceId::from("a"), SourceId::from("b"));
        let (a, b) = (Some(&a), Some(&b));
        store.space("p", a).lock().commit(&mut BTreeMap::from([("k".to_owned(), entry(1, None))]));
        assert!(store.space("p", a).lock().get("k", 0).is_some());
        assert!(store.space("p", b).lock().get("k", 0).is_none());
        assert!(store.space("q", a).lock().get("k", 0).is_none());
        let (strategy, handler) = (store.shared("p", GuestKind::Strategy), store.shared("p", GuestKind::Handler));
        assert!(strategy.lock().get("k", 0).is_none());
        strategy.lock().commit(&mut BTreeMap::from([("k".to_owned(), entry(1, None))]));
        assert!(handler.lock().get("k", 0).is_none());
        a.into_iter().for_each(|a| store.forget(a));
        assert!(store.space("p", a).lock().get("k", 0).is_none());
    }
}
