//! What the engine says about itself: metrics (one table of names), logs, and the redaction both go through.
//!
//! [`metrics`] hands out typed handles that cost an atomic add on the frame path; [`log`] is set up by the CLI only,
//! the library just emits `tracing` events; [`redact`] takes secrets out of any text; [`rotate`] is the growing file
//! that logs and the file handler share. Look next at [`metrics::TABLE`].

mod handles;
pub mod log;
mod machine;
mod meter;
pub mod metrics;
mod process;
mod rate;
pub mod redact;
pub mod rotate;
mod source;

pub use handles::{HandlerMetrics, ModelMetrics, StrategyMetrics, VersionMetrics};
pub use machine::{Sample, Sampler};
pub use meter::Meter;
pub use metrics::Metrics;
pub use redact::redact;
pub use source::{AlertOutcome, SourceMetrics, Stage};
