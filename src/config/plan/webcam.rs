//! A camera of this machine.

use std::path::PathBuf;

/// A camera at a device of this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Webcam {
    /// Its device, `/dev/video0`.
    pub device: PathBuf,
    /// The width that it is set to; `None` leaves it to the camera.
    pub width: Option<u32>,
    /// The height that it is set to.
    pub height: Option<u32>,
    /// The frames per second that it is set to.
    pub fps: Option<f64>,
}
