//! A configuration file of any content: an answer with places, or a plan.
#![no_main]

use dsengine::config::{self, Request};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let file = dsengine_fuzz::file("config.yaml", bytes);
    match config::load(&Request { config: Some(file), ..Request::default() }) {
        Ok(loaded) => drop(config::check(&loaded)),
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
    }
});
