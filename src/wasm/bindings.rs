//! Generated Rust types and traits of the contract in `wit/`; both worlds share one set of types.
#![allow(missing_docs, unreachable_pub, reason = "generated; the documentation is in wit/")]

wasmtime::component::bindgen!({
    inline: "
        package dsengine:host;
        world guests {
            include dsengine:plugin/detection-strategy@0.1.0;
            include dsengine:plugin/alert-handler@0.1.0;
        }
    ",
    path: "wit",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { default: trappable },
    with: { "dsengine:plugin/pixels.image": super::imports::Image },
});
