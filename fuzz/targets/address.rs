//! An address of a source, as it is typed: a secret in it is in no message.
#![no_main]

use dsengine::config::{self, Request};

const SECRET: &str = "5ecr3t";

libfuzzer_sys::fuzz_target!(|text: &str| {
    let plain = Request { source_uri: Some(text.to_owned()), ..Request::default() };
    if let Ok(loaded) = config::load(&plain) {
        drop(config::check(&loaded));
    }
    if text.contains(SECRET) || text.contains(['\n', '\r', '\0']) {
        return;
    }
    let with = Request { source_uri: Some(format!("rtsp://admin:{SECRET}@{text}")), ..Request::default() };
    let said = match config::load(&with) {
        Ok(loaded) => config::check(&loaded).iter().map(ToString::to_string).collect(),
        Err(error) => error.to_string(),
    };
    assert!(!said.contains(SECRET), "a password is shown: {said}");
});
