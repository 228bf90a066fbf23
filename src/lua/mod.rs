//! Luau scripts as strategies.
//!
//! Luau and not PUC Lua, because it stops every runaway (an endless loop, also under `pcall` or in a coroutine, a
//! catastrophic pattern) and has a sandbox built in. One VM per (script, source), on the source's lane. A script
//! sees a cursor over a flat copy of the frame (`seat`), through an API that is itself Luau (`prelude.luau`), so
//! that reading a detection is no call into the host. [`load`] makes a [`LuaStrategy`]; the engine swaps a new one
//! in between two frames, and `StateStore` keeps what the script wanted kept. Look next at `strategy.rs`.

mod convert;
mod fault;
mod host;
mod require;
mod script;
mod seat;
mod strategy;
mod vm;

pub use script::Script;
pub use strategy::{LuaStrategy, load};
