//! What is kept of the frames that raise alerts.

use std::time::Duration;

/// What is kept of the frames that raise alerts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PicturesPlan {
    /// Whether pictures are kept, where there is a folder for them.
    pub enabled: bool,
    /// How long a picture is kept.
    pub keep: Duration,
    /// Maximum bytes of all pictures.
    pub bytes_max: u64,
    /// JPEG quality, 1..=100.
    pub quality: u8,
    /// Widest picture in pixels.
    pub max_width: u32,
    /// Whether the picture without boxes is kept, too.
    pub clean: bool,
}
