//! Luau scripts as strategies and handlers.
//!
//! Luau instead of PUC Lua, because it can interrupt every runaway (an endless loop, also under `pcall` or in a
//! coroutine, a catastrophic pattern) and has a built-in sandbox. One VM per (script, source), on the source's lane;
//! one per handler. A strategy sees a cursor over a flat copy of the frame (`call_state`), through an API that is
//! itself Luau (`frame.luau`), so that reading a detection does not call the host. [`load`] creates a [`LuaStrategy`];
//! the engine swaps a new one in between two frames, and `StateStore` keeps the script's state. [`handler()`] creates a
//! [`LuaHandler`]. See `strategy.rs` next, then `vm.rs`.

mod ambient;
mod attributes;
mod call_state;
mod convert;
mod fault;
mod files;
mod furnish;
mod habits;
mod handler;
mod host;
mod http;
mod picture;
mod pixels;
mod require;
mod script;
mod script_host;
mod strategy;
mod strict;
mod vm;

pub use handler::{LuaHandler, handler};
pub use script::Script;
pub use strategy::{LuaGuest, LuaStrategy, load};
