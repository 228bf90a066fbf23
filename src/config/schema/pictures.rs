//! `alerts.pictures`: what is kept of the frames that raise alerts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is kept of the frames that raise alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Pictures {
    /// Keep a picture of each alert's frame in the state folder, where alerts are kept too; a digest has the one of its
    /// best alert. Default true. Example: false.
    pub(in crate::config) enabled: bool,
    /// Days for which a picture is kept. Default 30. Unit: days. Range 1–3650. Example: 7.
    #[schemars(range(min = 1, max = 3650))]
    pub(in crate::config) keep_days: u32,
    /// Most megabytes of pictures; the oldest are removed first. Default 1000. Unit: MB. Range 1–1000000. Example: 200.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) max_mb: u32,
    /// JPEG quality. Default 80. Range 1–100. Example: 60.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) quality: u8,
    /// Widest picture; a wider frame is reduced. Default 1280. Unit: pixels. Range 64–8192. Example: 640.
    #[schemars(range(min = 64, max = 8192))]
    pub(in crate::config) max_width: u32,
    /// Also keep the picture without boxes and zones. Default true. Example: false.
    pub(in crate::config) clean: bool,
}

impl Default for Pictures {
    fn default() -> Self {
        Self { enabled: true, keep_days: 30, max_mb: 1000, quality: 80, max_width: 1280, clean: true }
    }
}
