//! Luau scripts as strategies and handlers.
//!
//! Luau and not PUC Lua, because it stops every runaway (an endless loop, also under `pcall` or in a coroutine, a
//! catastrophic pattern) and has a sandbox built in. One VM per (script, source), on the source's lane; one per handler.
//! A strategy sees a cursor over a flat copy of the frame (`call_state`), through an API that is itself Luau (`frame.luau`),
//! so that reading a detection is no call into the host. [`load`] makes a [`LuaStrategy`]; the engine swaps a new one
//! in between two frames, and `StateStore` keeps what the script wanted kept. [`handler()`] makes a [`LuaHandler`].
//! Look next at `strategy.rs`, then `vm.rs`.

mod ambient;
mod call_state;
mod convert;
mod fault;
mod files;
mod furnish;
mod habits;
mod handler;
mod host;
mod http;
mod pixels;
mod require;
mod script;
mod script_host;
mod strategy;
mod vm;

pub use handler::{LuaHandler, handler};
pub use script::Script;
pub use strategy::{LuaGuest, LuaStrategy, load};
