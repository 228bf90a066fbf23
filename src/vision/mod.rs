//! Pure functions over pixels and boxes: letterbox and colour, model output decoders, NMS, motion, JPEG.
//!
//! [`preprocess`] converts a picture to a network's input, [`decode`] and [`nms`] convert its output to candidates;
//! [`letterbox`] is the geometry both share. Nothing here depends on the runtime.

pub mod decode;
pub mod draw;
pub mod letterbox;
pub mod merge;
pub mod most;
pub mod nms;
pub mod preprocess;

pub mod jpeg;

pub mod pixels;

pub mod motion;
