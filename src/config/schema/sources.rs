//! `sources`: what to watch.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Outline;
use super::evidence::{Evidence, Streams};
use super::overrides::SourceAlerts;
use crate::config::kinds::sources::Parameters;

/// One camera, file, stream or scene.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct SourceEntry {
    /// Its unique name. Default: a file's name without ending, else source0, source1 … Example: gate.
    #[schemars(length(min = 1, max = 100))]
    pub(in crate::config) id: Option<String>,
    /// A name for people, shown beside the id. Default none. Example: "North gate".
    pub(in crate::config) name: Option<String>,
    /// What it is. Default: told from the uri. Example: rtsp.
    #[serde(rename = "type")]
    pub(in crate::config) kind: Option<SourceType>,
    /// Where it is: a path, a folder of pictures, file://, rtsp://, http://, a webcam's number, test,
    /// test:pattern=ball, scene:NAME, trace:PATH, gst:ELEMENTS, mqtt://HOST/TOPIC, detections:. Default none.
    /// Example: "rtsp://10.0.0.7/stream".
    #[schemars(extend("type" = ["string", "integer", "null"]))]
    pub(in crate::config) uri: Option<String>,
    /// Two streams of one camera, in place of `uri`. Default none.
    /// Example: {detect: "rtsp://10.0.0.7/sub", evidence: "rtsp://10.0.0.7/main"}.
    #[serde(skip_serializing_if = "Streams::is_empty")]
    pub(in crate::config) streams: Streams,
    /// What is kept of a camera's encoded stream, in memory. Not together with `blackout`. Default: nothing, or ten
    /// seconds of `streams.evidence`. Example: {pre_seconds: 30}.
    #[serde(skip_serializing_if = "Evidence::is_empty")]
    pub(in crate::config) evidence: Evidence,
    /// Whether it is watched. Default true. Example: false.
    #[schemars(extend("type" = "boolean", "default" = true))]
    pub(in crate::config) enabled: Option<bool>,
    /// Most frames analysed per second. Default `pipeline.fps`. Range 0.01–240. Example: 5.
    #[schemars(range(min = 0.01, max = 240))]
    pub(in crate::config) fps: Option<f64>,
    /// How often its frames are analysed while there are more than can be: with 10, ten times as often as with 1.
    /// Default 5. Range 1–10. Example: 8.
    #[schemars(range(min = 1, max = 10))]
    pub(in crate::config) priority: Option<u32>,
    /// Play a file at its own pace instead of as fast as it can be analysed. Default false. Example: true.
    pub(in crate::config) realtime: Option<bool>,
    /// Areas by name, of this source alone; one named as under the top-level `zones` replaces it. Default none.
    /// Example: {door: [[0.4, 0.2], [0.6, 0.2], [0.6, 0.9]]}.
    pub(in crate::config) zones: BTreeMap<String, Outline>,
    /// Areas of its picture that nobody may see: painted black before anything is detected, judged, encoded, stored or
    /// shown. Default none. Example: [[[0.6, 0], [1, 0], [1, 0.4], [0.6, 0.4]]].
    #[schemars(length(max = 100))]
    pub(in crate::config) blackout: Vec<Outline>,
    /// Lowest score kept on this source. Default `detection.confidence_threshold`. Range 0–1. Example: 0.4.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in crate::config) confidence_threshold: Option<f64>,
    /// Most detections per frame of this source. Default `detection.max_objects`. Range 1–10000. Example: 50.
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) max_objects: Option<u32>,
    /// Which of its alerts are sent, where that differs from `alerts`. Default: see its keys.
    /// Example: {min_confidence: 0.8, rules: {loitering: {level: high}}}.
    #[serde(skip_serializing_if = "SourceAlerts::is_empty")]
    pub(in crate::config) alerts: SourceAlerts,
    /// Retries before it is marked failed. Default `recovery.max_retries`. Range 0–1000. Example: 10.
    #[schemars(range(min = 0, max = 1000))]
    pub(in crate::config) max_retries: Option<u32>,
    /// First delay. Default `recovery.retry_delay`. Unit: seconds. Range 0.1–300. Example: 2.
    #[schemars(range(min = 0.1, max = 300))]
    pub(in crate::config) retry_delay: Option<f64>,
    /// Longest wait for the first frame, whatever takes it, and for the next one, unless the stream's own pace is slower.
    /// Default `recovery.source_timeout_seconds`; none for detections, which a camera may send only while it sees
    /// something. Unit: seconds. Range 0.5–3600. Example: 30.
    #[schemars(range(min = 0.5, max = 3600))]
    pub(in crate::config) timeout: Option<f64>,
    /// Retries that were made before the start, as the old system wrote them into its files: they count towards `max_retries`
    /// and the delay until the source has run stably. Default 0. Range 0–1000000. Example: 0.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) retry_count: Option<u32>,
    /// Settings of its kind. Default: see its keys. Example: {pattern: ball}.
    pub(in crate::config) parameters: Parameters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum SourceType {
    File,
    Webcam,
    Rtsp,
    Webrtc,
    Network,
    Test,
    Http,
    Scene,
    Trace,
    Gstreamer,
    Detections,
}

impl SourceType {
    pub(in crate::config) fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Webcam => "webcam",
            Self::Rtsp => "rtsp",
            Self::Webrtc => "webrtc",
            Self::Network => "network",
            Self::Test => "test",
            Self::Http => "http",
            Self::Scene => "scene",
            Self::Trace => "trace",
            Self::Gstreamer => "gstreamer",
            Self::Detections => "detections",
        }
    }
}
