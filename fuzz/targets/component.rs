//! A component of any content: what it says of itself, and what a core module becomes.
#![no_main]

use dsengine::wasm;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(wasm::check(bytes));
    drop(wasm::encode(bytes));
});
