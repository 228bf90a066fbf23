//! Runs neural networks: load a model, feed pictures, get detections.
//!
//! [`Runtime::open`] finds ONNX Runtime (or falls back to the built-in one) once; [`Model::load`] validates a file and
//! determines how to feed and read it; [`Model::worker`] gives each inference thread its own [`Worker`] with a
//! single-threaded session: on a CPU, workers × one thread is faster than one session × many threads.
//!
//! Pre- and post-processing is in [`crate::vision`].

mod disk;
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

pub use disk::OnDisk;
pub use model::Model;
pub use runtime::{Choice, Runtime, TELEMETRY_OFF, finding};
pub use search::Search;
pub use watch::{Seen, Watch};
pub use worker::Worker;
