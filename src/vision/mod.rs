//! Pure functions over pixels and boxes: letterbox and colour, model output decoders, NMS, motion, JPEG.
//!
//! A picture goes in at [`preprocess`], a network's numbers come back through [`decode`] and [`nms`]; [`letterbox`]
//! is the geometry both ends share. Nothing here knows which runtime ran the network.

pub mod decode;
pub mod draw;
pub mod letterbox;
pub mod merge;
pub mod nms;
pub mod preprocess;

pub mod jpeg;

pub mod pixels;

pub mod motion;
