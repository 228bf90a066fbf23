//! The contract in `wit/` is valid: bindings for both worlds are generated from it when this file is compiled, and
//! the host's own list of functions agrees with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

mod strategy {
    #![allow(dead_code, reason = "generated; compiling it is the test")]
    wasmtime::component::bindgen!({ path: "wit", world: "detection-strategy" });
}

mod handler {
    #![allow(dead_code, reason = "generated; compiling it is the test")]
    wasmtime::component::bindgen!({ path: "wit", world: "alert-handler" });
}

#[test]
fn levels_and_boxes_are_the_engines_own() {
    use strategy::dsengine::plugin::types::{Bbox, Level};
    let words = [Level::Low, Level::Medium, Level::High, Level::Critical].map(|l| format!("{l:?}").to_lowercase());
    let own = dsengine::types::Level::ALL.map(dsengine::types::Level::as_str);
    assert!(words.iter().zip(own).all(|(w, o)| w.ends_with(o)), "{words:?}");
    let dsengine::types::BBox { x, y, width, height } = dsengine::types::BBox::default();
    let _same_fields = Bbox { x, y, width, height };
}
