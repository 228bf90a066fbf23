//! Pure functions over pixels and boxes: letterbox and colour, model output decoders, NMS, motion, JPEG.

pub mod motion;
