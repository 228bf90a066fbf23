//! The state that guests store in the host, so that it survives a reload and a crash.
//!
//! Each (plugin, source) has its own isolated space. A call's writes are collected and committed when it succeeds, so a
//! failed call changes nothing. Values expire on frame time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::GuestKind;
use crate::types::SourceId;

/// A value to write, or `None` to delete.
pub type Write = Option<Entry>;

/// A stored value. Scripts store values, components bytes; each can read the other's, so that a rule ported from one to
/// the other keeps its counts.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// A script's value, or a number from `add`.
    Json(Value),
    /// A component's bytes.
    Bytes(Arc<[u8]>),
}

impl Kept {
    /// As bytes: the text of a string, the JSON of any other value.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Json(Value::String(text)) => text.clone().into_bytes(),
            Self::Json(value) => value.to_string().into_bytes(),
        }
    }

    /// As a number, if it is one or its bytes are the text of one.
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

/// A value with its expiry.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Kept,
    /// The frame time at which it expires; `None` = never.
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

    /// Unexpired keys at `now_ns` that start with `prefix`, in order.
    pub fn keys<'a>(&'a self, prefix: &'a str, now_ns: u64) -> impl Iterator<Item = &'a str> {
        let from = self.entries.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(move |(key, _)| key.starts_with(prefix))
            .filter(move |(_, e)| e.lives(now_ns))
            .map(|(k, _)| &**k)
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes used by `key`.
    pub fn bytes_of(&self, key: &str) -> usize {
        self.entries.get(key).map_or(0, |e| size(key, &e.value))
    }

    /// Applies the writes of a successful call.
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

    /// Whether `more` bytes in place of `key`'s current value fit under `limit`; evicts expired entries if they do not.
    pub fn fits(&mut self, key: &str, more: usize, limit: usize, now_ns: u64) -> bool {
        if self.bytes + more > limit {
            self.sweep(now_ns);
        }
        self.bytes - self.bytes_of(key) + more <= limit
    }

    /// Evicts expired entries.
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

/// The pending writes of a call to a space. Tracks the change in size incrementally, so that each write costs the same
/// regardless of the number before it.
#[derive(Debug, Default)]
pub struct Writes {
    writes: BTreeMap<String, Write>,
    /// Bytes written, less those replaced or deleted.
    growth: i64,
    /// Whether expired entries were evicted during this call.
    swept: bool,
}

impl Writes {
    /// Resets it at the start of a call.
    pub fn clear(&mut self) {
        self.writes.clear();
        (self.growth, self.swept) = (0, false);
    }

    /// Whether there are no pending writes.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The pending write of a key: an entry, or its deletion.
    pub fn get(&self, key: &str) -> Option<&Write> {
        self.writes.get(key)
    }

    /// The keys in `space` that start with `prefix` and have not expired, as if the writes were committed, in order.
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

    /// Records an entry. `false` if `space` would then exceed `limit` bytes, even after evicting expired entries.
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

    /// Records a deletion. A key that `space` does not have is not recorded, so that a loop of deletions cannot exhaust
    /// the host's memory.
    pub fn delete(&mut self, space: &Space, key: String) {
        self.growth -= self.now(space, &key);
        if space.bytes_of(&key) > 0 {
            self.writes.insert(key, None);
        } else {
            self.writes.remove(&key);
        }
    }

    /// Commits all writes to `space` after a successful call.
    pub fn commit(&mut self, space: &mut Space) {
        space.commit(&mut self.writes);
        self.clear();
    }

    /// Bytes that a key uses in `space`, as if the writes were committed.
    fn now(&self, space: &Space, key: &str) -> i64 {
        let bytes = match self.writes.get(key) {
            Some(write) => write.as_ref().map_or(0, |entry| size(key, &entry.value)),
            None => space.bytes_of(key),
        };
        bytes as i64
    }

    /// Evicts expired entries, once per call, since its time is constant.
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

/// The size of a value without its text, its items and its fields, in bytes.
const VALUE_BYTES: usize = size_of::<Value>();
/// The size of a key without its text.
const KEY_BYTES: usize = size_of::<String>();

/// The size of a key and its value in bytes: their text, and what each value and each key takes beside it.
pub fn size(key: &str, value: &Kept) -> usize {
    fn below(value: &Value) -> usize {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(|item| VALUE_BYTES + below(item)).sum(),
            Value::Object(fields) => {
                fields.iter().map(|(name, item)| KEY_BYTES + name.len() + VALUE_BYTES + below(item)).sum()
            }
        }
    }
    let below = match value {
        Kept::Json(value) => below(value),
        Kept::Bytes(bytes) => bytes.len(),
    };
    KEY_BYTES + key.len() + size_of::<Entry>() + below
}

/// The owner of a space: a plugin's name and a source; `None` for a handler.
type Owner = (String, Option<SourceId>);

/// A space, shared by the store and each instance that writes to it.
type Shared = Arc<Mutex<Space>>;

/// The state of all guests. One per engine; outlives the guests.
#[derive(Debug, Default)]
pub struct StateStore {
    spaces: Mutex<HashMap<Owner, Shared>>,
    shared: Mutex<HashMap<(String, GuestKind), Shared>>,
}

impl StateStore {
    /// The space of `plugin` on `source`; the same one on each call.
    pub fn space(&self, plugin: &str, source: Option<&SourceId>) -> Arc<Mutex<Space>> {
        let mut spaces = self.spaces.lock();
        Arc::clone(spaces.entry((plugin.to_owned(), source.cloned())).or_default())
    }

    /// The space of `plugin` shared by all its sources. A strategy and a handler may have the same name.
    pub fn shared(&self, plugin: &str, kind: GuestKind) -> Arc<Mutex<Space>> {
        let mut shared = self.shared.lock();
        Arc::clone(shared.entry((plugin.to_owned(), kind)).or_default())
    }

    /// Removes the state of the removed strategy `name`.
    pub fn forget_strategy(&self, name: &str) {
        let is_its = |plugin: &str, source: &Option<SourceId>| plugin == name && source.is_some();
        self.spaces.lock().retain(|(p, source), _| !is_its(p, source));
        self.shared.lock().remove(&(name.to_owned(), GuestKind::Strategy));
    }

    /// Removes the state of the removed `source`.
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
    fn values_expire_and_their_bytes_are_freed() {
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
        assert_eq!(full - space.bytes(), KEY_BYTES + 3 + size_of::<Entry>() + 4);
        space.commit(&mut BTreeMap::from([("a.2".to_owned(), None), ("b".to_owned(), None)]));
        assert_eq!(space.bytes(), 0);
    }

    #[test]
    fn a_state_is_full_exactly_at_its_limit() {
        let (mut space, mut writes) = (Space::default(), Writes::default());
        let entry = |bytes: usize, expires_ns| Entry { value: Kept::Bytes(vec![0; bytes].into()), expires_ns };
        // With a one-letter key, as large as two of them may be together.
        let one = 1_000 - KEY_BYTES - 1 - size_of::<Entry>();
        let set = |writes: &mut Writes, space: &mut Space, key: &str, expires_ns| {
            writes.set(space, key.to_owned(), entry(one, expires_ns), 2_000, 50)
        };
        assert!(set(&mut writes, &mut space, "a", None) && set(&mut writes, &mut space, "b", Some(10)));
        assert!(!set(&mut writes, &mut space, "c", None));
        writes.commit(&mut space);
        assert_eq!(space.bytes(), 2_000);
        // Replacing itself; again; replacing a deleted entry; and evicting an expired one.
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
        assert_eq!((space.bytes(), space.keys("", 50).collect::<Vec<_>>()), (2_000, vec!["c", "e"]));
    }

    #[test]
    fn a_value_counts_as_what_it_takes() {
        let of = |value: Value| size("k", &Kept::Json(value));
        let empty = of(Value::Null);
        assert!(empty > KEY_BYTES + VALUE_BYTES, "{empty}");
        let (many, text) = (1_000, Value::from("abc"));
        assert_eq!(of(vec![Value::Null; many].into()) - empty, many * VALUE_BYTES);
        let map: serde_json::Map<_, _> = [("key".to_owned(), text)].into_iter().collect();
        assert_eq!(of(map.into()) - empty, KEY_BYTES + 3 + VALUE_BYTES + 3);
        assert!(size("k", &Kept::Bytes(vec![0; 10].into())) >= KEY_BYTES + 1 + 10);
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
