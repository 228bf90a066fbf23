//! Running a neural network: load a model, feed pictures, get detections.
//!
//! [`Runtime::open`] finds ONNX Runtime (or falls back to the one built in) once; [`Model::load`] checks a file and
//! finds out how to feed and read it; [`Model::worker`] gives each inference thread a [`Worker`] of its own, with one
//! thread inside: on a CPU, workers × one thread is faster than one session × many threads.
//!
//! What a picture needs on its way in and what comes back out is in [`crate::vision`]; here it meets a session.

mod framing;
mod input;
#[doc(hidden)]
pub mod labels;
mod model;
mod onnx;
mod rten;
mod runtime;
mod search;
mod session;
mod stray;
mod watch;
mod worker;

pub use model::Model;
pub use runtime::{Choice, Runtime, TELEMETRY_OFF, finding};
pub use search::Search;
pub use watch::{Seen, Watch};
pub use worker::Worker;
