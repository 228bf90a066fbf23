//! The kinds of sources.

mod detections;
mod file;
mod fingerprint;
mod gstreamer;
mod http;
mod network;
mod option;
mod rtsp;
mod scene;
mod test;
mod trace;
mod webcam;
mod webrtc;

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::shape::{Shape, read, typed_by, union};
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

/// Every kind. If two have a parameter in common, the first describes it.
const KINDS: &[Kind] = &[
    Kind::of::<file::File>(),
    Kind::of::<test::Test>(),
    Kind::of::<scene::Scene>(),
    Kind::of::<rtsp::Rtsp>(),
    Kind::of::<trace::Trace>(),
    Kind::of::<http::Http>(),
    Kind::of::<webrtc::Webrtc>(),
    Kind::of::<network::Network>(),
    Kind::of::<webcam::Webcam>(),
    Kind::of::<gstreamer::Gstreamer>(),
    Kind::of::<detections::Detections>(),
];

/// The parameters of one kind, and how to build its plan with the URI.
trait Type: JsonSchema + Serialize + DeserializeOwned {
    const OF: SourceType;
    /// The URI schemes of this kind, `rtsp` of `rtsp://…`.
    const SCHEMES: &'static [&'static str] = &[];

    /// Whether a URI without `://` is of this kind.
    fn claims(_uri: &str) -> bool {
        false
    }

    /// Builds the input; options in the URI override the parameters. `find` resolves a relative path.
    fn plan(self, uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal>;
}

/// A row of the table.
struct Kind {
    of: SourceType,
    schemes: &'static [&'static str],
    shape: Shape,
    claims: fn(&str) -> bool,
    plan: PlanOf,
}

type PlanOf = fn(&Parameters, &str, &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal>;

impl Kind {
    const fn of<T: Type>() -> Self {
        Self { of: T::OF, schemes: T::SCHEMES, shape: Shape::of::<T>(), claims: T::claims, plan: plan_of::<T> }
    }
}

/// Settings of a source: the keys of any kind, as in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
#[serde(transparent)]
pub(in crate::config) struct Parameters(Map<String, Value>);

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Map::deserialize(deserializer)?;
        if map.is_empty() {
            return Ok(Self::default());
        }
        typed_by(&map, shapes()).map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Parameters {
    fn schema_name() -> Cow<'static, str> {
        "Parameters".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        union(generator, "Settings of one kind of source. Which of them apply depends on the kind.", shapes())
    }
}

/// Builds the input from a URI and its parameters.
pub(in crate::config) fn plan(
    uri: &str,
    kind: SourceType,
    parameters: &Parameters,
    find: &dyn Fn(&str) -> PathBuf,
) -> Result<Parsed, Refusal> {
    match row(kind) {
        Some(row) => (row.plan)(parameters, uri, find),
        None => {
            Err((format!("no source is of type {}", kind.as_str()), "write another type, or leave it out".to_owned()))
        }
    }
}

/// The parameters of a kind.
pub(in crate::config) fn parameters_of(kind: SourceType) -> Vec<String> {
    row(kind).map(|row| row.shape.keys()).unwrap_or_default()
}

/// The kind of a URI without `://` that is not a path.
pub(in crate::config) fn claimed(uri: &str) -> Option<SourceType> {
    KINDS.iter().find(|kind| (kind.claims)(uri)).map(|kind| kind.of)
}

/// The kind of a scheme.
pub(in crate::config) fn of_scheme(scheme: &str) -> Option<SourceType> {
    KINDS.iter().find(|kind| kind.schemes.contains(&scheme)).map(|kind| kind.of)
}

/// The schemes of all kinds.
pub(in crate::config) fn schemes() -> impl Iterator<Item = &'static str> {
    KINDS.iter().flat_map(|kind| kind.schemes).copied()
}

fn row(kind: SourceType) -> Option<&'static Kind> {
    KINDS.iter().find(|row| row.of == kind)
}

fn shapes() -> impl Iterator<Item = Shape> {
    KINDS.iter().map(|kind| kind.shape)
}

fn plan_of<T: Type>(parameters: &Parameters, uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
    let parameters: T = read(&parameters.0)
        .map_err(|error| ("the parameters of the source cannot be read".to_owned(), error.to_string()))?;
    parameters.plan(uri, find)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_row() {
        use SourceType::*;
        for kind in [File, Webcam, Rtsp, Webrtc, Network, Test, Http, Scene, Trace, Detections, Gstreamer] {
            assert_eq!(row(kind).map(|row| row.of), Some(kind));
        }
        assert_eq!(KINDS.len(), 11);
    }

    #[test]
    fn each_kind_takes_the_keys_of_its_struct() {
        assert_eq!(parameters_of(SourceType::File), ["framerate", "loop", "realtime"]);
        assert_eq!(
            parameters_of(SourceType::Test),
            ["framerate", "frames", "height", "num-buffers", "pattern", "width"]
        );
        assert_eq!(parameters_of(SourceType::Trace), [""; 0]);
    }
}
