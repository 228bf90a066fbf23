//! The portable backend: GStreamer pipelines, one supervised pipeline per source.
//!
//! `backend::supervise` runs one thread per source; here is how it builds a fresh pipeline per attempt (`playback`,
//! `feed`), and how a decoded sample becomes a picture without being copied (`picture`). Frames are pulled: everything
//! about a source happens on one thread, and no GStreamer thread ever runs our code for long. An error stays on its own
//! pipeline's bus. Look next at `playback`.

mod backend;
mod camera;
mod close;
mod colour;
mod decode;
mod doctor;
mod encode;
mod failure;
mod feed;
mod log;
mod mp4;
mod picture;
mod playback;
mod probe;
mod tls;
mod told;
mod turn;
mod undecoded;

pub use backend::GstBackend;
pub use doctor::doctor;
pub use encode::Mp4Writer;
pub use log::log_to_tracing;
