//! WASM components as strategies and handlers, against the contract in `wit/`.
//!
//! A [`Host`] compiles components into [`Program`]s; a program makes as many instances as there are sources, each a
//! strategy behind [`crate::strategy::Guarded`], or one handler. [`check`] tells what a component is and whether its
//! version fits this engine before anything of it runs; [`encode`] makes a component of a core module.
//!
//! An instance has its own memory and nothing else: what it may touch of the host is in `imports` (the contract) and
//! `wasi` (what languages' standard libraries need), bounded by its `store_data`. A trap or a limit ends the instance, and
//! the next call makes another; what has to survive is kept by the host. Look next at `guest.rs`.

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
mod rig;
mod store_data;
mod wasi;

pub use cache::cache_folder;
pub use component::{ComponentInfo, World, check};
pub use encode::encode;
pub use guest::WasmGuest;
pub use handler::WasmHandler;
pub use host::Host;
pub use program::Program;
