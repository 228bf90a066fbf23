//! `pipeline`: how frames are decoded and batched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How frames are decoded and batched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Pipeline {
    /// Frames per inference batch, applied where the model allows it. Default 4. Range 1–256. Example: 8.
    #[schemars(range(min = 1, max = 256))]
    pub(in crate::config) batch_size: u32,
    /// How long a batch waits to fill. Default 40. Unit: milliseconds. Range 1–1000. Example: 20.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) batch_timeout_ms: Option<f64>,
    /// The same in microseconds; set one of the two. Default 40000. Unit: microseconds. Range 1000–1000000.
    /// Example: 33333.
    #[schemars(range(min = 1000, max = 1_000_000))]
    pub(in crate::config) batch_timeout_us: Option<u32>,
    /// Most frames analysed per second of each source. Default none, all. Range 0.01–240. Example: 15.
    #[schemars(range(min = 0.01, max = 240))]
    pub(in crate::config) fps: Option<f64>,
    /// Width of the muxed picture. Default 1920. Unit: pixels. Range 320–7680. Example: 1280.
    #[schemars(range(min = 320, max = 7680))]
    pub(in crate::config) width: u32,
    /// Height of the muxed picture. Default 1080. Unit: pixels. Range 240–4320. Example: 720.
    #[schemars(range(min = 240, max = 4320))]
    pub(in crate::config) height: u32,
    /// Widest picture that is analysed and shown: a wider one is scaled down once, after it is decoded, and keeps its
    /// shape. Default none, as wide as it comes. Unit: pixels. Range 32–7680. Example: 1280.
    #[schemars(range(min = 32, max = 7680))]
    pub(in crate::config) processing_width: Option<u32>,
    /// Highest picture that is analysed and shown, likewise. Default none, as high as it comes. Unit: pixels.
    /// Range 32–4320. Example: 720.
    #[schemars(range(min = 32, max = 4320))]
    pub(in crate::config) processing_height: Option<u32>,
    /// Most decoded pictures of one source that wait or are worked on at once: fewer take less memory, and keep fewer
    /// workers busy with one file. Default none, two more than there are workers. Range 5–1024. Example: 20.
    #[schemars(range(min = 5, max = 1024))]
    pub(in crate::config) buffer_pool_size: Option<u32>,
    /// The GPU to use. Default 0. Range 0–63. Example: 1.
    #[schemars(range(min = 0, max = 63))]
    pub(in crate::config) gpu_id: u32,
    /// Infer on the GPU where there is one. Default true. Example: false.
    pub(in crate::config) enable_gpu_inference: bool,
    /// Where the GPU keeps pictures. Default device. Example: unified.
    pub(in crate::config) memory_type: MemoryType,
    /// Surfaces of each hardware decoder. Default 16. Range 4–64. Example: 24.
    #[schemars(range(min = 4, max = 64))]
    pub(in crate::config) num_decode_surfaces: u32,
    /// Infer frames of several sources together, `batch_size` at a time, or each alone. Default batch. Example: single.
    pub(in crate::config) processing_mode: ProcessingMode,
    /// Most sources, an older name of `max_concurrent_sources`. Default none. Range 1–1024. Example: 16.
    #[schemars(range(min = 1, max = 1024))]
    pub(in crate::config) max_sources: Option<u32>,
}

impl Default for Pipeline {
    fn default() -> Self {
        Self {
            batch_size: 4,
            batch_timeout_ms: None,
            batch_timeout_us: None,
            fps: None,
            width: 1920,
            height: 1080,
            processing_width: None,
            processing_height: None,
            buffer_pool_size: None,
            gpu_id: 0,
            enable_gpu_inference: true,
            memory_type: MemoryType::Device,
            num_decode_surfaces: 16,
            processing_mode: ProcessingMode::Batch,
            max_sources: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum MemoryType {
    Device,
    Unified,
    Pinned,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum ProcessingMode {
    Batch,
    Single,
}
