//! Sources: their input, rate and restart policy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::camera::Camera;
use super::detections::{DetectionsFrom, DetectionsPlan};
use super::evidence::EvidencePlan;
use super::images::Images;
use super::policy::SourceAlerts;
use super::recovery::RecoveryPlan;
use super::web::Web;
use super::webcam::Webcam;
use super::webrtc::WebrtcPlan;
use crate::types::{Blackout, SourceId, Zone};

/// Most frames of a source of detections that wait for their judgement.
pub const DETECTIONS_WAITING_MAX: usize = 256;
/// The priority of a source that sets none.
pub const PRIORITY_USUAL: u32 = 5;

/// One source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// Its unique name.
    pub id: SourceId,
    /// Its name for people.
    pub name: Option<String>,
    /// Its input.
    pub input: Input,
    /// Maximum frames analysed per second of stream time; `None` = all.
    pub fps: Option<f64>,
    /// Analyse only frames 0, n, 2n … (`record --every`); 1 = all.
    pub every: u32,
    /// How often its frames are analysed while there are more than can be, relative to other sources: 1 to 10.
    pub priority: u32,
    /// Zones of its picture (top-level zones plus its own).
    pub zones: Arc<[Zone]>,
    /// Areas of its picture that are painted black before anything reads it.
    pub blackout: Blackout,
    /// Overrides `detection.confidence_threshold` for this source.
    pub confidence: Option<f32>,
    /// Most detections of a frame; the best by score are kept.
    pub max_objects: Option<usize>,
    /// Pictures beyond this size are scaled down to it once, after they are decoded.
    pub picture_max: Option<PictureMax>,
    /// Most of its decoded frames that wait or are worked on at once, where that is less than the workers allow.
    pub frames_held_max: Option<u32>,
    /// What is kept of its encoded stream.
    pub evidence: Option<EvidencePlan>,
    /// Its alert policy, where that differs from the general one.
    pub alerts: SourceAlerts,
    /// Its restart policy.
    pub retry: RetryPlan,
    /// How it is brought back besides.
    pub recovery: RecoveryPlan,
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
            name: None,
            input,
            fps: None,
            every: 1,
            priority: PRIORITY_USUAL,
            zones: Arc::new([]),
            blackout: Blackout::default(),
            confidence: None,
            max_objects: None,
            picture_max: None,
            frames_held_max: None,
            evidence: None,
            alerts: SourceAlerts::default(),
            retry,
            recovery: RecoveryPlan::default(),
            realtime: false,
            repeat: false,
        }
    }
}

/// The largest picture that is analysed. A smaller one stays as it is, a larger one keeps its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureMax {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// A source's input.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A media file. Finite: no frame is lost, and the end is not a failure.
    File(PathBuf),
    /// Pictures in files. Finite.
    Images(Images),
    /// A camera of this machine. Live.
    Webcam(Webcam),
    /// A chain of GStreamer elements. Live unless it says that it ends.
    Chain {
        /// The chain, as for `gst-launch-1.0`, without a sink.
        chain: String,
        /// Whether it has no end and comes at its own pace.
        live: bool,
    },
    /// A network camera. Live.
    Rtsp(Box<Camera>),
    /// A stream or clip at a web address. Live unless it says that it ends.
    Web(Box<Web>),
    /// A WebRTC publisher. Live.
    Webrtc(Box<WebrtcPlan>),
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
    /// Detections that others make. Live.
    Detections(Box<DetectionsPlan>),
}

impl Input {
    /// The input for display; `redact` masks secrets in an address.
    pub fn address(&self, redact: impl Fn(&str) -> String) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Images(Images { folder, numbered: None, .. }) => format!("{}/", folder.display()),
            Self::Images(Images { folder, numbered: Some(names), .. }) => {
                folder.join(names.to_string()).display().to_string()
            }
            Self::Webcam(webcam) => webcam.device.display().to_string(),
            Self::Chain { chain, .. } => redact(&format!("gst: {chain}")),
            Self::Rtsp(camera) => redact(camera.uri()),
            Self::Web(web) => redact(web.uri()),
            Self::Webrtc(plan) => redact(plan.address()),
            Self::Test { pattern, .. } => format!("test:pattern={pattern}"),
            Self::Scene { name, .. } => format!("scene:{name}"),
            Self::Trace(path) => format!("trace:{}", path.display()),
            Self::Detections(plan) => match &plan.from {
                DetectionsFrom::Post => "detections:".to_owned(),
                DetectionsFrom::Mqtt(subscription) => redact(&subscription.address()),
            },
        }
    }

    /// The local file that is read, if any; a built-in scene has none.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Trace(path) => Some(path),
            Self::Scene { name, .. } if name.ends_with(".yaml") || name.ends_with(".yml") => Some(Path::new(name)),
            Self::Images(_) | Self::Webcam(_) | Self::Chain { .. } | Self::Web(_) | Self::Detections(_) => None,
            Self::Scene { .. } | Self::Rtsp(_) | Self::Webrtc(_) | Self::Test { .. } => None,
        }
    }

    /// Whether it delivers pictures.
    pub fn has_pixels(&self) -> bool {
        match self {
            Self::File(_) | Self::Images(_) | Self::Webcam(_) | Self::Chain { .. } => true,
            Self::Rtsp(_) | Self::Web(_) | Self::Webrtc(_) | Self::Test { .. } => true,
            Self::Scene { pixels, .. } => *pixels,
            Self::Trace(_) | Self::Detections(_) => false,
        }
    }

    /// Whether frames are dropped when the engine is behind (newest wins) and an end is a failure.
    pub fn is_live(&self) -> bool {
        match self {
            Self::File(_) | Self::Images(_) | Self::Trace(_) => false,
            Self::Rtsp(_) | Self::Webcam(_) | Self::Webrtc(_) | Self::Detections(_) => true,
            Self::Chain { live, .. } => *live,
            Self::Web(web) => web.live,
            Self::Test { frames, .. } => frames.is_none(),
            Self::Scene { live, .. } => *live,
        }
    }

    /// Most frames of a live source that wait for their judgement; a newer one then replaces the oldest. Detections are
    /// small and come in batches, of which each frame is judged.
    pub fn waiting_max(&self) -> usize {
        match self {
            Self::Detections(_) => DETECTIONS_WAITING_MAX,
            _ => 1,
        }
    }

    /// The backend that plays it.
    pub fn backend(&self) -> BackendKind {
        match self {
            Self::Scene { .. } => BackendKind::Scene,
            Self::Trace(_) => BackendKind::Trace,
            Self::Detections(_) => BackendKind::Detections,
            Self::File(_) | Self::Images(_) | Self::Webcam(_) | Self::Chain { .. } => BackendKind::Gst,
            Self::Rtsp(_) | Self::Web(_) | Self::Webrtc(_) | Self::Test { .. } => BackendKind::Gst,
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
    /// Detections that others make.
    Detections,
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
    /// Doubling with full jitter (true), or fixed, of which chance takes up to a quarter (false).
    pub exponential: bool,
    /// Timeout for the first frame after a start.
    pub first_frame: Duration,
    /// Timeout between frames while running.
    pub gap: Duration,
}
