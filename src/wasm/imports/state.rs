//! State of one plugin on one source: writes are collected, and count when the call has succeeded.

use std::collections::BTreeSet;

use crate::guest::{Entry, Kept, size};
use crate::wasm::bindings::dsengine::plugin::state::{Host, Refusal};
use crate::wasm::lock;
use crate::wasm::seat::Seat;

/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

impl Seat {
    /// Loading touches nothing, so that a version can be built beside the running one and dropped without a trace.
    pub(super) fn may_write(&self) -> wasmtime::Result<()> {
        if self.call.loading {
            return Err(wasmtime::format_err!(
                "while a plugin loads, state can only be read; set it from its calls on"
            ));
        }
        Ok(())
    }

    /// Whether a key can be one.
    pub(super) fn is_key(&self, key: &str) -> bool {
        !key.is_empty() && key.len() <= self.home.limits.key_bytes
    }

    /// Frame time at which a value set now is gone.
    pub(super) fn expiry(&self, ttl_ms: Option<u64>) -> Option<u64> {
        ttl_ms.map(|ms| self.call.pts_ns.saturating_add(ms.saturating_mul(MS)))
    }

    fn pending_of(&self, key: &str) -> usize {
        self.writes.get(key).and_then(Option::as_ref).map_or(0, |e| size(key, &e.value))
    }
}

impl Host for Seat {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(match self.writes.get(&key) {
            Some(write) => write.as_ref().map(|entry| entry.value.to_bytes()),
            None => lock(&self.home.state).get(&key, self.call.pts_ns).map(Kept::to_bytes),
        })
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> wasmtime::Result<Result<(), Refusal>> {
        self.may_write()?;
        if !self.is_key(&key) {
            return Ok(Err(Refusal::Key));
        }
        let most = self.home.limits.state_bytes;
        let value = Kept::Bytes(value.into());
        let bytes = size(&key, &value);
        let others = self.pending - self.pending_of(&key);
        if !lock(&self.home.state).fits(&key, others + bytes, most, self.call.pts_ns) {
            return Ok(Err(Refusal::Full(most as u64)));
        }
        self.pending = others + bytes;
        let expires_ns = self.expiry(ttl_ms);
        self.writes.insert(key, Some(Entry { value, expires_ns }));
        Ok(Ok(()))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.may_write()?;
        let known = self.writes.contains_key(&key) || lock(&self.home.state).bytes_of(&key) > 0;
        if known {
            self.pending -= self.pending_of(&key);
            self.writes.insert(key, None);
        }
        Ok(())
    }

    fn keys(&mut self, prefix: String) -> wasmtime::Result<Vec<String>> {
        let mut keys: BTreeSet<String> =
            lock(&self.home.state).keys(&prefix, self.call.pts_ns).map(str::to_owned).collect();
        for (key, write) in self.writes.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            match write {
                Some(_) => drop(keys.insert(key.clone())),
                None => drop(keys.remove(key)),
            }
        }
        Ok(keys.into_iter().collect())
    }
}
