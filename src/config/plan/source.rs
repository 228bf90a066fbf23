//! Sources: their input, rate and restart policy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::camera::Camera;
use super::evidence::EvidencePlan;
use super::policy::SourceAlerts;
use crate::types::{Blackout, SourceId, Zone};

/// One source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// Its unique name.
    pub id: SourceId,
    /// Its input.
    pub input: Input,
    /// Maximum frames analysed per second of stream time; `None` = all.
    pub fps: Option<f64>,
    /// Analyse only frames 0, n, 2n … (`record --every`); 1 = all.
    pub every: u32,
    /// Zones of its picture (top-level zones plus its own).
    pub zones: Arc<[Zone]>,
    /// Areas of its picture that are painted black before anything reads it.
    pub blackout: Blackout,
    /// Overrides `detection.confidence_threshold` for this source.
    pub confidence: Option<f32>,
    /// What is kept of its encoded stream.
    pub evidence: Option<EvidencePlan>,
    /// Its alert policy, where that differs from the general one.
    pub alerts: SourceAlerts,
    /// Its restart policy.
    pub retry: RetryPlan,
    /// Play a file in real time instead of as fast as it can be analysed.
    pub realtime: bool,
    /// Loop a file or scene; frame numbers and times continue.
    pub repeat: bool,
}

impl SourcePlan {
    /// A source whose every frame is analysed, as fast as it comes.
    pub fn new(id: impl Into<SourceId>, input: Input, retry: RetryPlan) -> Self {
        Self {
            id: id.into(),
            input,
            fps: None,
            every: 1,
            zones: Arc::new([]),
            blackout: Blackout::default(),
            confidence: None,
            evidence: None,
            alerts: SourceAlerts::default(),
            retry,
            realtime: false,
            repeat: false,
        }
    }
}

/// A source's input.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A media file. Finite: no frame is lost, and the end is not a failure.
    File(PathBuf),
    /// A network camera. Live.
    Rtsp(Box<Camera>),
    /// GStreamer's test picture. Live unless `frames` bounds it.
    Test {
        /// `videotestsrc pattern`, by nick (`smpte`, `ball`, `black` …).
        pattern: String,
        /// Maximum number of frames; `Some` makes it finite.
        frames: Option<u64>,
        /// Picture width.
        width: u32,
        /// Picture height.
        height: u32,
        /// Frames per second.
        fps: f64,
    },
    /// A scripted scene: a built-in name or a YAML file.
    Scene {
        /// Name or path.
        name: String,
        /// Detections only, without pixels (`scene:NAME?pixels=false`).
        pixels: bool,
        /// Overrides the scene's own seed.
        seed: Option<u64>,
        /// Play in real time and drop late frames, as a camera does; else as fast as it is judged.
        live: bool,
    },
    /// A recorded trace (`record` format).
    Trace(PathBuf),
}

impl Input {
    /// The input for display; `redact` masks secrets in an address.
    pub fn address(&self, redact: impl Fn(&str) -> String) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Rtsp(camera) => redact(camera.uri()),
            Self::Test { pattern, .. } => format!("test:pattern={pattern}"),
            Self::Scene { name, .. } => format!("scene:{name}"),
            Self::Trace(path) => format!("trace:{}", path.display()),
        }
    }

    /// The local file that is read, if any; a built-in scene has none.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Trace(path) => Some(path),
            Self::Scene { name, .. } if name.ends_with(".yaml") || name.ends_with(".yml") => Some(Path::new(name)),
            Self::Scene { .. } | Self::Rtsp(_) | Self::Test { .. } => None,
        }
    }

    /// Whether it delivers pictures.
    pub fn has_pixels(&self) -> bool {
        match self {
            Self::File(_) | Self::Rtsp(_) | Self::Test { .. } => true,
            Self::Scene { pixels, .. } => *pixels,
            Self::Trace(_) => false,
        }
    }

    /// Whether frames are dropped when the engine is behind (newest wins) and an end is a failure.
    pub fn is_live(&self) -> bool {
        match self {
            Self::File(_) | Self::Trace(_) => false,
            Self::Rtsp(_) => true,
            Self::Test { frames, .. } => frames.is_none(),
            Self::Scene { live, .. } => *live,
        }
    }

    /// The backend that plays it.
    pub fn backend(&self) -> BackendKind {
        match self {
            Self::Scene { .. } => BackendKind::Scene,
            Self::Trace(_) => BackendKind::Trace,
            Self::File(_) | Self::Rtsp(_) | Self::Test { .. } => BackendKind::Gst,
        }
    }
}

/// The kind of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackendKind {
    /// Scripted scenes, with or without pixels.
    Scene,
    /// Recorded traces.
    Trace,
    /// GStreamer: files, cameras, test pictures.
    Gst,
}

/// A source's restart policy and its timeouts.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPlan {
    /// Retries before the source is marked failed; a live one is then still retried at the cap.
    pub max_retries: u32,
    /// First delay.
    pub base: Duration,
    /// Maximum delay, including jitter.
    pub cap: Duration,
    /// Doubling (true) or fixed delay (false).
    pub exponential: bool,
    /// Timeout for the first frame after a start.
    pub first_frame: Duration,
    /// Timeout between frames while running.
    pub gap: Duration,
}
