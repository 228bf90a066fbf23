//! A plugin's manifest, as a file and as comments of a script.
#![no_main]

use dsengine::guest::Manifest;

libfuzzer_sys::fuzz_target!(|text: &str| {
    drop(Manifest::parse(text, "plugin.toml"));
    drop(Manifest::of_script(text, "rule.lua"));
});
