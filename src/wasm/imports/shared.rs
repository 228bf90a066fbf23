//! State of one plugin over all its sources: each function takes effect at once, under the space's lock. Its time is
//! capture time.

use std::collections::BTreeMap;

use serde_json::Number;

use crate::guest::{Entry, Kept, size};
use crate::wasm::bindings::dsengine::plugin::shared_state::Host;
use crate::wasm::bindings::dsengine::plugin::state::Refusal;
use crate::wasm::imports::state::expiry;
use crate::wasm::store_data::StoreData;

impl StoreData {
    /// Stores the value that `make` computes from the current one.
    fn put<T>(
        &mut self,
        key: String,
        ttl_ms: Option<u64>,
        make: impl FnOnce(Option<&Kept>) -> wasmtime::Result<(Kept, T)>,
    ) -> wasmtime::Result<Result<T, Refusal>> {
        self.may_write(ttl_ms)?;
        if !self.is_key(&key) {
            return Ok(Err(Refusal::Key));
        }
        let (most, now_ns) = (self.context.limits.state_bytes, self.call.captured_unix_ns);
        let expires_ns = expiry(now_ns, ttl_ms);
        let mut space = self.context.shared.lock();
        let (value, answer) = make(space.get(&key, now_ns))?;
        if !space.fits(&key, size(&key, &value), most, now_ns) {
            return Ok(Err(Refusal::Full(most as u64)));
        }
        space.commit(&mut BTreeMap::from([(key, Some(Entry { value, expires_ns }))]));
        Ok(Ok(answer))
    }
}

impl Host for StoreData {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.context.shared.lock().get(&key, self.call.captured_unix_ns).map(Kept::to_bytes))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> wasmtime::Result<Result<(), Refusal>> {
        self.put(key, ttl_ms, |_| Ok((Kept::Bytes(value.into()), ())))
    }

    fn add(&mut self, key: String, by: f64, ttl_ms: Option<u64>) -> wasmtime::Result<Result<f64, Refusal>> {
        self.put(key, ttl_ms, |there| {
            let there = match there {
                None => 0.0,
                Some(kept) => kept.number().ok_or_else(|| {
                    wasmtime::format_err!("shared-state.add: what is kept under the key is no number")
                })?,
            };
            let sum = there + by;
            let number = Number::from_f64(sum)
                .ok_or_else(|| wasmtime::format_err!("shared-state.add: the sum {sum} is no number to keep"))?;
            Ok((Kept::Json(number.into()), sum))
        })
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.may_write(None)?;
        self.context.shared.lock().commit(&mut BTreeMap::from([(key, None)]));
        Ok(())
    }

    fn keys(&mut self, prefix: String) -> wasmtime::Result<Vec<String>> {
        Ok(self.context.shared.lock().keys(&prefix, self.call.captured_unix_ns).map(str::to_owned).collect())
    }
}
