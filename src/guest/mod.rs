//! The environment of every guest, whether script or component, strategy or handler: its limits, its capabilities, its
//! state, and the handling of its faults.
//!
//! A guest's environment is its [`GuestContext`]: settings, [`Limits`], [`Grants`], state, metrics, log. The
//! [`Watchdog`] enforces time limits, the [`Breaker`] handles repeated faults, [`http`] is the network client. This
//! module is independent of the language; `lua` and `wasm` add their own side. See `context.rs` next.

mod breaker;
mod context;
mod fault;
mod grants;
pub mod http;
mod inputs;
mod limits;
mod manifest;
mod settings;
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
pub use settings::{Setting, Settings};
pub use state::{Copies, Entry, Former, Kept, Space, StateStatus, StateStore, Write, Writes, size};
pub use trial::{Doubt, Labels, Trial};
pub use watchdog::{Budget, IDLE_TICK, Interrupt, Overrun, TICK, TimeLimits, Watchdog};
