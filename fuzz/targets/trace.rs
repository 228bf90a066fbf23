//! A recording of any content: records until its end, or an error.
#![no_main]

use dsengine::backend::trace::Reader;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let file = dsengine_fuzz::file("trace.jsonl", bytes);
    let Ok(mut reader) = Reader::open(&file) else { return };
    while let Ok(Some(record)) = reader.next_record() {
        drop(record.into_frame(0));
    }
    drop(Reader::sources(&file));
});
