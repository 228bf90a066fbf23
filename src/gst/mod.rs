//! The portable backend: GStreamer pipelines, one supervised pipeline per source.
//!
//! `backend::supervise` runs one thread per source; this module builds a fresh pipeline per attempt (`playback`,
//! `feed`) and turns decoded samples into pictures without copying (`picture`). Frames are pulled: a source's work
//! happens on its own thread, and callbacks on GStreamer's threads return quickly. Errors stay on their own pipeline's
//! bus. Read `playback` next.

mod backend;
mod camera;
mod chain;
mod close;
mod codecs;
mod colour;
mod decode;
mod decoders;
mod doctor;
mod encode;
mod encoded;
mod evidence;
mod extent;
mod failure;
mod feed;
mod images;
mod inputs;
mod knock;
mod local;
mod log;
mod mp4;
mod observed;
mod picture;
mod playback;
mod probe;
mod redirect;
mod scale;
mod sink;
mod tls;
mod turn;
mod undecoded;
mod web;
mod webcam;
mod webrtc;

pub use backend::GstBackend;
pub use doctor::doctor;
pub use encode::Mp4Writer;
pub use log::log_to_tracing;
