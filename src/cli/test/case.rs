//! What a case says: `tests/NAME.yaml`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsengine::backend::trace::{Reader, Record, Seen};
use dsengine::config::{GrantPlan, LimitPlan};
use dsengine::error::{Code, Error};
use dsengine::guest::{Limits, Needs};
use dsengine::types::{Alert, AlertId, Detection, Frame, Level, Point, Polygon, SourceId, Zone};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Frame time between two frames that do not say when they are.
const FRAME_NS: u64 = 40_000_000;
/// Size of a picture that does not say: only a script that asks sees it.
const SIZE: (u32, u32) = (1920, 1080);
/// Largest case read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A case with the file it is from.
pub(super) struct Case {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) script: Script,
}

/// A case as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    /// What is shown of it; its file's name where it has none.
    pub(super) name: Option<String>,
    /// The plugin's settings.
    #[serde(default = "empty")]
    pub(super) config: Value,
    /// The source's zones, corners as `[x, y]`.
    #[serde(default)]
    zones: BTreeMap<String, Vec<[f32; 2]>>,
    /// What it is granted; all that it asks for where the case does not say.
    grants: Option<Granted>,
    #[serde(default)]
    pub(super) limits: LimitPlan,
    /// The table of a script that holds its functions.
    pub(super) class: Option<String>,
    #[serde(default = "source")]
    source: String,
    frames: Option<FileOr<Vec<FrameSpec>>>,
    #[serde(default)]
    pub(super) reload_at: OneOrMany<u64>,
    alert: Option<AlertSpec>,
    alerts: Option<Vec<AlertSpec>>,
    #[serde(default)]
    pub(super) http: Vec<Answer>,
    pub(super) expect: Option<FileOr<Expect>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Granted {
    http: Vec<String>,
    shared_state: bool,
    pixels: bool,
    env: Vec<String>,
    files: Vec<PathBuf>,
    secrets: BTreeMap<String, String>,
}

/// A frame of a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameSpec {
    seq: Option<u64>,
    pts_ns: Option<u64>,
    width: Option<u32>,
    height: Option<u32>,
    #[serde(default)]
    detections: Vec<SeenSpec>,
}

/// A detection of a case: the box is `[x, y, width, height]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenSpec {
    label: String,
    #[serde(default)]
    class_id: u32,
    #[serde(default = "certain")]
    confidence: f32,
    bbox: [f32; 4],
    track_id: Option<u64>,
}

/// An alert of a case; what it leaves out is filled in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AlertSpec {
    id: Option<String>,
    level: Option<Level>,
    rule: Option<String>,
    source: Option<String>,
    key: String,
    time: Option<String>,
    pts_ns: u64,
    seq: u64,
    message: String,
    detections: Vec<SeenSpec>,
    suppressed: u64,
}

/// An answer to a request, made up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// Which method is answered; any where it is not said.
    pub(super) method: Option<String>,
    pub(super) url: String,
    #[serde(default = "ok")]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Text; a list or a map is sent as JSON.
    #[serde(default)]
    pub(super) body: Value,
    /// Instead of an answer: `timeout`, or why the peer cannot be reached.
    pub(super) error: Option<String>,
}

/// What is compared; what is not listed is not.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Expect {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alerts: Option<Vec<AlertWant>>,
    /// By frame: indices of the detections that were kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<BTreeMap<u64, Vec<u32>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) added: Option<BTreeMap<u64, Vec<AddedWant>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) edits: Option<BTreeMap<u64, Vec<EditWant>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) faults: Option<Vec<FaultWant>>,
    /// What the host holds at the end; `null` where there must be nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<BTreeMap<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shared_state: Option<BTreeMap<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests: Option<Vec<RequestWant>>,
    /// Per alert: `delivered`, `skipped`, `retry` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<OneOrMany<Outcome>>,
    /// The plugin does not load, and the reason holds this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AlertWant {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detections: Option<Vec<u32>>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AddedWant {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bbox: Option<[f64; 4]>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct EditWant {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FaultWant {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// A part of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    contains: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RequestWant {
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Headers that have to be among those sent; names in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) headers: Option<BTreeMap<String, String>>,
    /// Text; a list or a map is compared with the JSON that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// The receiver has it.
    Delivered,
    /// Settled without a request.
    Skipped,
    /// To be tried again.
    Retry,
    /// Given up.
    Failed,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

fn source() -> String {
    "test".to_owned()
}

fn certain() -> f32 {
    1.0
}

fn ok() -> u16 {
    200
}

/// A file's name, or what would stand in it.
#[derive(Debug, Clone)]
pub(super) enum FileOr<T> {
    File(PathBuf),
    Inline(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FileOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = FileOr<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file's name, or its contents")
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(FileOr::File(name.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                T::deserialize(SeqAccessDeserializer::new(items)).map(FileOr::Inline)
            }
            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(FileOr::Inline)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Which<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Which<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value, or a list of them")
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::U64Deserializer::new(value)).map(|value| OneOrMany(vec![value]))
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::I64Deserializer::new(value)).map(|value| OneOrMany(vec![value]))
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::StrDeserializer::new(value)).map(|value| OneOrMany(vec![value]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(OneOrMany)
            }
        }
        deserializer.deserialize_any(Which(PhantomData))
    }
}

impl Case {
    /// Reads a case.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let shown = path.strip_prefix(".").unwrap_or(path).display();
        let long = std::fs::metadata(path).is_ok_and(|meta| meta.len() > FILE_BYTES_MAX);
        if long {
            return Err(Error::new(Code::Config, format!("{shown}: is larger than {FILE_BYTES_MAX} bytes"))
                .hint("put its frames into a recording beside it: frames: street.jsonl"));
        }
        let text =
            std::fs::read_to_string(path).map_err(|e| Error::new(Code::Io, format!("{shown}: cannot be read: {e}")))?;
        let script: Script = serde_yaml::from_str(&text).map_err(|error| {
            let place = error.location().map_or_else(String::new, |at| format!(":{}:{}", at.line(), at.column()));
            // It says the place once more, at its end.
            let what = error.without_snippet().to_string();
            let what = what.rsplit_once(" at line ").map_or(&*what, |(what, _)| what);
            Error::new(Code::Config, format!("{shown}{place}: {what}"))
                .hint("`dsengine test --help` says what a case holds")
        })?;
        Limits::check(&script.limits).map_err(|what| Error::new(Code::Config, format!("{shown}: {what}")))?;
        let case = Self { path: path.to_owned(), text, script };
        match case.problem() {
            Some(problem) => Err(Error::new(Code::Config, format!("{shown}: {problem}"))),
            None => Ok(case),
        }
    }

    fn problem(&self) -> Option<&'static str> {
        let Script { frames, alert, alerts, http, .. } = &self.script;
        match (frames.is_some(), alert.is_some(), alerts.is_some()) {
            (false, false, false) => {
                Some("the case gives the plugin nothing: write `frames:`, or `alert:` for a handler")
            }
            (true, true, _) | (true, _, true) => Some("the case has frames and alerts; a plugin judges or delivers"),
            (false, true, true) => Some("write `alert:` or `alerts:`, not both"),
            (true, ..) if !http.is_empty() => Some("`http:` answers handlers; a strategy has no network"),
            _ => None,
        }
    }

    /// The file's name, as it was given.
    pub(super) fn shown(&self) -> String {
        self.path.strip_prefix(".").unwrap_or(&self.path).display().to_string()
    }

    /// What is shown of it.
    pub(super) fn name(&self) -> String {
        let stem = || self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.script.name.clone().unwrap_or_else(stem)
    }

    /// A file beside it.
    pub(super) fn beside(&self, name: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).join(name)
    }

    /// The files it is made of.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.path.clone()];
        if let Some(FileOr::File(name)) = &self.script.frames {
            files.push(self.beside(name));
        }
        if let Some(FileOr::File(name)) = &self.script.expect {
            files.push(self.beside(name));
        }
        files
    }

    /// The source it is judged on.
    pub(super) fn source(&self) -> SourceId {
        SourceId::from(self.script.source.as_str())
    }

    pub(super) fn zones(&self) -> Result<Vec<Zone>, Error> {
        let zone = |(name, corners): (&String, &Vec<[f32; 2]>)| {
            let polygon = Polygon::new(corners.iter().map(|[x, y]| Point { x: *x, y: *y }).collect());
            polygon.map(|polygon| Zone { name: name.clone(), polygon }).ok_or_else(|| {
                let what = format!("{}: zone {name} is no area: it takes three corners [x, y] or more", self.shown());
                Error::new(Code::Config, what)
            })
        };
        self.script.zones.iter().map(zone).collect()
    }

    /// What it grants; everything asked for where it does not say.
    pub(super) fn grants(&self, asked: &Needs) -> GrantPlan {
        match self.script.grants.clone() {
            Some(Granted { http, shared_state, pixels, env, files, secrets }) => {
                GrantPlan { http, shared_state, pixels, env, files, secrets }
            }
            None => {
                let Needs { http, shared_state, pixels, env, files } = asked.clone();
                GrantPlan { http, shared_state, pixels, env, files, secrets: BTreeMap::new() }
            }
        }
    }

    /// The frames to judge.
    pub(super) fn frames(&self) -> Result<Vec<Frame>, Error> {
        match &self.script.frames {
            None => Ok(Vec::new()),
            Some(FileOr::File(name)) => self.recorded(&self.beside(name)),
            Some(FileOr::Inline(frames)) => {
                let frames = frames.iter().enumerate().map(|(index, spec)| {
                    let seq = spec.seq.unwrap_or(index as u64);
                    Record {
                        source: self.source(),
                        seq,
                        pts_ns: spec.pts_ns.unwrap_or(seq * FRAME_NS),
                        width: spec.width.unwrap_or(SIZE.0),
                        height: spec.height.unwrap_or(SIZE.1),
                        detections: spec.detections.iter().map(SeenSpec::seen).collect(),
                    }
                    .into_frame(0)
                });
                Ok(frames.collect())
            }
        }
    }

    /// The frames of a recording: of its one source, or of the case's own among several.
    fn recorded(&self, path: &Path) -> Result<Vec<Frame>, Error> {
        let names = Reader::sources(path)?;
        let wanted = match names.as_slice() {
            [only] => only.clone(),
            _ => self.source(),
        };
        if !names.contains(&wanted) {
            let names: Vec<&str> = names.iter().map(SourceId::as_str).collect();
            let what = format!("{}: {} has no frames of the source {wanted}", self.shown(), path.display());
            return Err(Error::new(Code::Trace, what).hint(format!("set `source:` to one of {}", names.join(", "))));
        }
        let mut reader = Reader::open(path)?;
        let start_unix_ns = reader.header().start_unix_ns;
        let mut frames = Vec::new();
        while let Some(record) = reader.next_record()? {
            if record.source == wanted {
                frames.push(Record { source: self.source(), ..record }.into_frame(start_unix_ns));
            }
        }
        Ok(frames)
    }

    /// The alerts to deliver.
    pub(super) fn alerts(&self) -> Vec<Alert> {
        let specs = self.script.alert.iter().chain(self.script.alerts.iter().flatten());
        specs.enumerate().map(|(index, spec)| spec.alert(index, &self.script.source)).collect()
    }
}

impl Script {
    /// Whether the case is for a handler.
    pub(super) fn is_handlers(&self) -> bool {
        self.frames.is_none()
    }

    /// The reason with which the plugin is expected not to load.
    pub(super) fn expect_refusal(&self) -> Option<&str> {
        match &self.expect {
            Some(FileOr::Inline(expect)) => expect.refused.as_deref(),
            _ => None,
        }
    }
}

impl SeenSpec {
    fn seen(&self) -> Seen {
        let Self { label, class_id, confidence, bbox, track_id } = self.clone();
        Seen { label: label.into(), class_id, confidence, bbox, track_id }
    }
}

impl AlertSpec {
    fn alert(&self, index: usize, source: &str) -> Alert {
        let Self { id, level, rule, source: own, key, time, pts_ns, seq, message, detections, suppressed } =
            self.clone();
        let digest = [0, 0, 0, 0, 0, 0, 0, 0, 0, u8::try_from(index).unwrap_or(u8::MAX)];
        let made = AlertId::new(pts_ns, digest);
        // An id is text to everybody but its maker.
        let id = id.and_then(|id| serde_json::from_value(Value::String(id)).ok()).unwrap_or(made);
        let detections = detections.iter().map(|spec| {
            let Seen { label, class_id, confidence, bbox: [x, y, width, height], track_id } = spec.seen();
            let bbox = dsengine::types::BBox { x, y, width, height };
            Detection { track_id, ..Detection::new(Arc::clone(&label), class_id, confidence, bbox) }
        });
        Alert {
            id,
            level: level.unwrap_or_default(),
            rule: rule.unwrap_or_else(|| "test".to_owned()),
            source: own.as_deref().unwrap_or(source).into(),
            key,
            time: time.unwrap_or_else(|| "1970-01-01T00:00:00.000Z".to_owned()),
            pts_ns,
            seq,
            message,
            detections: detections.collect(),
            suppressed,
        }
    }
}
