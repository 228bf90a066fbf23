//! State of one plugin on one source: writes are collected, and committed when the call succeeds.

use crate::guest::{Entry, Kept};
use crate::wasm::bindings::dsengine::plugin::state::{Host, Refusal};
use crate::wasm::store_data::StoreData;

/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

impl StoreData {
    /// Checks that state may be written. Not while loading, so that a version can be built while another runs and be
    /// dropped without a trace; nor while handing over, so that the running version can continue if its successor is
    /// rejected.
    pub(super) fn may_write(&self, ttl_ms: Option<u64>) -> wasmtime::Result<()> {
        let why = if self.call.loading {
            "while a plugin loads, state can only be read; set it from its calls on"
        } else if self.call.suspending {
            "while a plugin hands over, state can only be read; return what its successor needs"
        } else if self.call.timeless && ttl_ms.is_some() {
            "no frame is at hand, so a time to live has nothing to count from; set it from judge on"
        } else {
            return Ok(());
        };
        Err(wasmtime::Error::msg(why))
    }

    /// Whether a key is valid.
    pub(super) fn is_key(&self, key: &str) -> bool {
        !key.is_empty() && key.len() <= self.context.limits.key_bytes
    }
}

/// The time at which a value set at `now_ns` expires.
pub(super) fn expiry(now_ns: u64, ttl_ms: Option<u64>) -> Option<u64> {
    ttl_ms.map(|ms| now_ns.saturating_add(ms.saturating_mul(MS)))
}

impl Host for StoreData {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(match self.writes.get(&key) {
            Some(write) => write.as_ref().map(|entry| entry.value.to_bytes()),
            None => self.context.state.lock().get(&key, self.call.pts_ns).map(Kept::to_bytes),
        })
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> wasmtime::Result<Result<(), Refusal>> {
        self.may_write(ttl_ms)?;
        if !self.is_key(&key) {
            return Ok(Err(Refusal::Key));
        }
        let most = self.context.limits.state_bytes;
        let entry = Entry { value: Kept::Bytes(value.into()), expires_ns: expiry(self.call.pts_ns, ttl_ms) };
        let fits = self.writes.set(&mut self.context.state.lock(), key, entry, most, self.call.pts_ns);
        Ok(if fits { Ok(()) } else { Err(Refusal::Full(most as u64)) })
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.may_write(None)?;
        self.writes.delete(&self.context.state.lock(), key);
        Ok(())
    }

    fn keys(&mut self, prefix: String) -> wasmtime::Result<Vec<String>> {
        Ok(self.writes.keys(&self.context.state.lock(), &prefix, self.call.pts_ns))
    }
}
