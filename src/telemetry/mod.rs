//! Telemetry: metrics (one table of names), logs, and the redaction that logs go through.
//!
//! [`metrics`] provides typed handles that cost an atomic add on the frame path; only the CLI sets up [`log`], the
//! library just emits `tracing` events; [`redact`] removes secrets from any text; [`rotate`] is the rotating file that
//! logs and the file handler share. Read [`metrics::TABLE`] next.

mod evidence;
mod families;
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

pub use evidence::EvidenceFigures;
pub use handles::{HandlerMetrics, ModelMetrics, StrategyMetrics, VersionMetrics};
pub use machine::{Sample, Sampler};
pub use meter::Meter;
pub use metrics::Metrics;
pub use redact::redact;
pub use source::{AlertOutcome, SourceMetrics, Stage};
