//! WASM components as strategies and handlers, against the contract in `wit/`.
//!
//! A [`Host`] compiles components into [`Program`]s; a program creates one instance per source, each a strategy in
//! [`crate::strategy::Guarded`], or one handler. [`check`] determines a component's kind and whether its version fits
//! this engine, before it runs; [`encode`] converts a core module into a component.
//!
//! An instance has its own memory and nothing else: `imports` (the contract) and `wasi` (for languages' standard
//! libraries) are its access to the host, bounded by its `store_data`. A trap or a limit ends the instance, and the
//! next call creates another; the host keeps whatever must survive. See `guest.rs` next.

mod bindings;
mod cache;
mod compiler;
mod component;
mod convert;
mod encode;
mod engine;
mod fault;
mod guest;
mod handler;
mod host;
mod imports;
mod program;
mod sandbox;
mod store_data;
mod wasi;

pub use cache::cache_folder;
pub use component::{ComponentInfo, World, check};
pub use encode::encode;
pub use guest::WasmGuest;
pub use handler::WasmHandler;
pub use host::Host;
pub use program::Program;
