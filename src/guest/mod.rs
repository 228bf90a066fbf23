//! What every guest, script or component, strategy or handler, lives by: its limits, what it may reach, what the host
//! keeps for it, and how its faults are counted.
//!
//! A guest's surroundings are its [`GuestContext`]: settings, [`Limits`], [`Grants`], state, metrics, log. Time is held by the
//! [`Watchdog`], repeated faults by the [`Breaker`], the network by [`http`]. Nothing here knows a language; `lua` and
//! `wasm` put their own side to it. Look next at `home.rs`.

mod breaker;
mod context;
mod fault;
mod grants;
pub mod http;
mod inputs;
mod limits;
mod manifest;
mod state;
mod trial;
mod watchdog;

pub use breaker::{Breaker, BreakerState, FAULTS_MAX};
pub use context::{GuestContext, Severity};
pub use fault::{Fault, FaultKind};
pub use grants::{Grants, Needs, hosts, may_read};
pub use inputs::{BuildInputs, Files, unchanged_on_disk};
pub use limits::Limits;
pub use manifest::{API, GuestKind, Manifest};
pub use state::{Entry, Kept, Space, StateStore, Write, Writes, size};
pub use trial::{Doubt, Labels, Trial};
pub use watchdog::{Budget, IDLE_TICK, Interrupt, Overrun, TICK, TimeLimits, Watchdog};
