//! Random numbers of guests.

use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::random::WasiRandomCtx;

use crate::wasm::store_data::StoreData;

/// Maximum random bytes per request.
const BYTES_MAX: u64 = 64 << 10;

/// The source of a guest's random numbers.
pub(in crate::wasm) enum RandomSource {
    /// Seeded, for a strategy.
    Seeded(fastrand::Rng),
    /// The system's, for a handler.
    Real(WasiRandomCtx),
}

impl RandomSource {
    /// The same seed for the same plugin on the same source.
    pub(in crate::wasm) fn seeded(plugin: &str, source: &str) -> Self {
        let bytes = plugin.bytes().chain([0]).chain(source.bytes());
        // FNV-1a.
        let seed =
            bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self::Seeded(fastrand::Rng::with_seed(seed))
    }

    fn bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        if len > BYTES_MAX {
            return Err(wasmtime::format_err!("asks for {len} random bytes at once, the limit is {BYTES_MAX}"));
        }
        match self {
            Self::Seeded(rng) => Ok((0..len).map(|_| rng.u8(..)).collect()),
            Self::Real(rng) => random::Host::get_random_bytes(rng, len),
        }
    }

    fn number(&mut self) -> wasmtime::Result<u64> {
        match self {
            Self::Seeded(rng) => Ok(rng.u64(..)),
            Self::Real(rng) => random::Host::get_random_u64(rng),
        }
    }
}

impl random::Host for StoreData {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_source.bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_source.number()
    }
}

impl insecure::Host for StoreData {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_source.bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_source.number()
    }
}

impl insecure_seed::Host for StoreData {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.random_source.number()?, self.random_source.number()?))
    }
}
