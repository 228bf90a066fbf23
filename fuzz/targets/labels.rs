//! A label file, and the names in a model's metadata.
#![no_main]

use dsengine::infer::labels;

libfuzzer_sys::fuzz_target!(|text: &str| {
    for classes in [1, 2, 80] {
        drop(labels::in_file(text, classes));
    }
    drop(labels::in_metadata(text));
});
