//! The state that guests store in the host, so that it survives a reload and a crash.
//!
//! Each (plugin, source) has its own isolated space. A call's writes are collected and committed when it succeeds, so a
//! failed call changes nothing. Values expire on frame time, those over all sources on capture time.

mod store;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

pub use store::{Copies, Former, StateStatus, StateStore};

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
    /// The number of changes.
    revision: u64,
    /// The version of the guest that wrote last.
    version: Arc<str>,
    /// Capture time less frame time, in nanoseconds; `None` before the first frame.
    offset_ns: Option<i64>,
    /// The expiries of values from an earlier process, in Unix nanoseconds, until the first frame.
    restored: BTreeMap<String, u64>,
    /// What the last instance handed over when it ended.
    handed: Vec<u8>,
    /// Whether its last instance has ended and no other has taken over yet.
    is_left: bool,
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
        self.revision += u64::from(!writes.is_empty());
        while let Some((key, write)) = writes.pop_first() {
            self.bytes -= self.bytes_of(&key);
            self.restored.remove(&key);
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

    /// Records which version of the guest wrote last.
    pub fn stamp(&mut self, version: &Arc<str>) {
        if self.version != *version {
            self.version.clone_from(version);
            self.revision += 1;
        }
    }

    /// Records when a frame was captured. Values from an earlier process expire on capture time: their frame time is
    /// known from the first frame on.
    pub fn observe(&mut self, pts_ns: u64, captured_unix_ns: u64) {
        self.offset_ns = Some(captured_unix_ns.cast_signed().wrapping_sub(pts_ns.cast_signed()));
        while let Some((key, until_ns)) = self.restored.pop_first() {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.expires_ns = Some(pts_ns.saturating_add(until_ns.saturating_sub(captured_unix_ns)));
            }
        }
    }

    /// Records that its instance has ended, and what that hands to its successor. Frame time may begin anew: from now
    /// on the values expire on capture time, until the successor's first frame.
    fn leave(&mut self, version: &str, handed: Vec<u8>) {
        let offset_ns = self.offset_ns.take();
        for (key, entry) in &mut self.entries {
            let end_ns = entry.expires_ns.take().zip(offset_ns);
            let until_ns = end_ns.and_then(|(end_ns, offset_ns)| end_ns.checked_add_signed(offset_ns));
            self.restored.extend(until_ns.map(|until_ns| (key.clone(), until_ns)));
        }
        if !handed.is_empty() {
            self.stamp(&version.into());
        }
        if self.handed != handed {
            self.handed = handed;
            self.revision += 1;
        }
        self.is_left = true;
    }

    /// The instance that has ended, for the one that takes over.
    fn take_former(&mut self) -> Option<Former> {
        if !std::mem::take(&mut self.is_left) || self.is_empty() {
            return None;
        }
        let handed = std::mem::take(&mut self.handed);
        // What was handed over is for one successor: it is saved no longer.
        self.revision += u64::from(!handed.is_empty());
        Some(Former { version: Arc::clone(&self.version), handed })
    }

    /// Whether there is nothing to keep.
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.handed.is_empty()
    }

    /// Removes everything; returns the number of values.
    fn clear(&mut self) -> usize {
        let count = self.entries.len();
        *self = Self { revision: self.revision + 1, offset_ns: self.offset_ns, ..Self::default() };
        count
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

#[cfg(test)]
mod tests;
