//! WASM components as strategies: loaded and checked.
