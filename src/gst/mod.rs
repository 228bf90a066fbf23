//! The portable backend: GStreamer pipelines, one supervised pipeline per source.
//!
//! `backend::supervise` runs one thread per source; this module builds a fresh pipeline per attempt (`playback`,
//! `feed`) and turns decoded samples into pictures without copying (`picture`). Frames are pulled: a source's work
//! happens on its own thread, and callbacks on GStreamer's threads return quickly. Errors stay on their own pipeline's
//! bus. Read `playback` next.

mod backend;
mod camera;
mod close;
mod colour;
mod decode;
mod doctor;
mod encode;
mod evidence;
mod extent;
mod failure;
mod feed;
mod log;
mod mp4;
mod observed;
mod picture;
mod playback;
mod probe;
mod redirect;
mod tls;
mod turn;
mod undecoded;

pub use backend::GstBackend;
pub use doctor::doctor;
pub use encode::Mp4Writer;
pub use log::log_to_tracing;
