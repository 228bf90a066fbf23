//! The portable backend: GStreamer pipelines, one supervised pipeline per source.
//!
//! Each source has one thread (`source`) that builds a fresh pipeline per attempt (`feed`), pulls decoded
//! frames from it and hands them to the sink. Pulling, instead of being called back, keeps everything about a
//! source on one thread: a frame that waits for a slow engine waits in our hands, so the silence watchdog
//! (`watchdog`) cannot mistake it for a dead camera, and no GStreamer thread ever runs our code for long.
//! An error stays on its own pipeline's bus. What is decided without GStreamer (how long to wait before the next
//! attempt, which frames to analyse, when silence is a fault) is pure and takes time as an argument.
//! Look next at `source`.

mod backend;
mod backoff;
mod close;
mod doctor;
mod encode;
mod feed;
mod log;
mod picture;
mod source;
mod stop;
mod turn;
mod watchdog;

pub use backend::GstBackend;
pub use doctor::doctor;
pub use encode::Mp4Writer;
pub use log::log_to_tracing;
