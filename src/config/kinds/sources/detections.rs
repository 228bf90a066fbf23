//! `detections`: what cameras that detect by themselves send, without pictures.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::plan::{DetectionsFormat, DetectionsFrom, DetectionsPlan, Input, Subscription};
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

/// The address of a source to which detections are posted.
const POSTED: &str = "detections:";

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Detections {
    /// detections: the topic, where the address has none. Default none. Example: site/gate.
    #[schemars(length(min = 1, max = 1000))]
    topic: Option<String>,
    /// detections: how they are written: `trace`, a frame of the trace format per line, or `nvmsgconv`, DeepStream's
    /// minimal schema. Default trace. Example: nvmsgconv.
    format: Option<Format>,
    /// detections: the sensor whose detections are taken, as the messages name it. Default none, all. Example: sensor-0.
    #[schemars(length(min = 1, max = 200))]
    sensor: Option<String>,
    /// Width of the picture.
    #[schemars(range(min = 16, max = 8192))]
    width: Option<u32>,
    /// Height of the picture.
    #[schemars(range(min = 16, max = 8192))]
    height: Option<u32>,
    /// Authorities whose certificates are trusted.
    ca_file: Option<PathBuf>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Format {
    Trace,
    Nvmsgconv,
}

impl Type for Detections {
    const OF: SourceType = SourceType::Detections;
    const SCHEMES: &'static [&'static str] = &["mqtt", "mqtts"];

    fn claims(uri: &str) -> bool {
        uri.starts_with(POSTED)
    }

    fn plan(self, uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let Self { topic, format, sensor, width, height, ca_file } = self;
        let refuse = |what: &str, label: &str| Err((what.to_owned(), label.to_owned()));
        let format = match format.unwrap_or(Format::Trace) {
            Format::Trace => DetectionsFormat::Trace,
            Format::Nvmsgconv => DetectionsFormat::Nvmsgconv,
        };
        if width.is_some() != height.is_some() {
            return refuse("the size of the picture is half set", "set parameters.width and parameters.height");
        }
        let size = width.zip(height);
        if format == DetectionsFormat::Nvmsgconv && size.is_none() {
            let label = "set parameters.width and parameters.height to those of the pictures";
            return refuse("nvmsgconv states boxes in pixels, and no size of the picture", label);
        }
        let from = if uri.starts_with(POSTED) {
            if uri != POSTED {
                return refuse("`detections:` has nothing after it", "write detections:, or mqtt://host/topic");
            }
            if topic.is_some() || ca_file.is_some() {
                let label = "write mqtt://host as its uri, or leave parameters.topic and parameters.ca_file out";
                return refuse("detections that are posted have no broker", label);
            }
            DetectionsFrom::Post
        } else {
            let subscription = Subscription::read(uri, topic)?;
            if ca_file.is_some() && !subscription.broker.tls {
                let label = "write mqtts://, or leave parameters.ca_file out";
                return refuse("an mqtt:// broker shows no certificate", label);
            }
            let ca_file = ca_file.map(|file| find(&file.to_string_lossy()));
            DetectionsFrom::Mqtt(Box::new(Subscription { ca_file, ..subscription }))
        };
        Ok(Parsed::once(Input::Detections(Box::new(DetectionsPlan { from, format, size, sensor, silence: None }))))
    }
}
