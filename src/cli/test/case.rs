//! A loaded case, with its defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsengine::backend::trace::{Reader, Record, Seen};
use dsengine::config::GrantPlan;
use dsengine::error::{Code, Error};
use dsengine::guest::{Limits, Needs};
use dsengine::types::{Alert, AlertId, Detection, Frame, Point, Polygon, SourceId, TimeZone, Zone, since_epoch};

use super::script::{AlertSpec, FileOr, Granted, Script, SeenSpec};

/// Default frame time between two frames.
const FRAME_NS: u64 = 40_000_000;
/// Default size of a picture; only visible to a script that reads it.
const SIZE: (u32, u32) = (1920, 1080);
/// Maximum size of a case.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A case with its file.
pub(super) struct Case {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) script: Script,
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
            dsengine::text::read(path).map_err(|e| Error::new(Code::Io, format!("{shown}: cannot be read: {e}")))?;
        let script: Script = serde_yaml::from_str(&text).map_err(|error| {
            let place = error.location().map_or_else(String::new, |at| format!(":{}:{}", at.line(), at.column()));
            // It repeats the location at its end.
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

    /// The file's name, as given.
    pub(super) fn shown(&self) -> String {
        self.path.strip_prefix(".").unwrap_or(&self.path).display().to_string()
    }

    /// Its display name.
    pub(super) fn name(&self) -> String {
        let stem = || self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.script.name.clone().unwrap_or_else(stem)
    }

    /// A file in the same folder.
    pub(super) fn beside(&self, name: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).join(name)
    }

    /// Its files.
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

    /// Its source.
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

    /// The zone of its local times.
    pub(super) fn timezone(&self) -> Result<TimeZone, Error> {
        let recorded = match &self.script.frames {
            Some(FileOr::File(name)) => Reader::open(&self.beside(name))?.header().timezone.clone(),
            _ => None,
        };
        let Some(name) = self.script.timezone.clone().or(recorded) else { return Ok(TimeZone::utc()) };
        TimeZone::of(&name).ok_or_else(|| {
            Error::new(Code::Config, format!("{}: there is no time zone `{name}`", self.shown()))
                .hint("write a name of the IANA database, such as Europe/Vienna")
        })
    }

    /// When frame time 0 of its written frames is captured.
    fn start_unix_ns(&self) -> Result<u64, Error> {
        let Some(text) = &self.script.start else { return Ok(0) };
        since_epoch(text).and_then(|time| u64::try_from(time.as_nanos()).ok()).ok_or_else(|| {
            Error::new(Code::Config, format!("{}: `start: {text}` is no time", self.shown()))
                .hint("write it as 2026-11-28T22:00:00Z")
        })
    }

    /// Its grants; everything requested if it does not specify any.
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
                let start_unix_ns = self.start_unix_ns()?;
                let frames = frames.iter().enumerate().map(|(index, spec)| {
                    let seq = spec.seq.unwrap_or(index as u64);
                    Record {
                        source: self.source(),
                        seq,
                        pts_ns: spec.pts_ns.unwrap_or(seq * FRAME_NS),
                        captured_unix_ns: None,
                        turns: None,
                        width: spec.width.unwrap_or(SIZE.0),
                        height: spec.height.unwrap_or(SIZE.1),
                        detections: spec.detections.iter().map(SeenSpec::seen).collect(),
                    }
                    .into_frame(start_unix_ns)
                });
                Ok(frames.collect())
            }
        }
    }

    /// The frames of a recording: of its only source, or of the case's source.
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

impl SeenSpec {
    fn seen(&self) -> Seen {
        let Self { label, class_id, confidence, bbox, track_id } = self.clone();
        Seen { label: label.into(), class_id, confidence, bbox, track_id }
    }
}

impl AlertSpec {
    fn alert(&self, index: usize, source: &str) -> Alert {
        let Self {
            id,
            level,
            rule,
            source: own,
            key,
            time,
            pts_ns,
            seq,
            message,
            detections,
            suppressed,
            digest,
            tags,
        } = self.clone();
        let unique = [0, 0, 0, 0, 0, 0, 0, 0, 0, u8::try_from(index).unwrap_or(u8::MAX)];
        let made = AlertId::new(pts_ns, unique);
        // An id is opaque text to everyone else.
        let id = id.and_then(|id| serde_json::from_value(serde_json::Value::String(id)).ok()).unwrap_or(made);
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
            digest,
            tags,
            picture: false,
            evidence: None,
            expires_seconds: None,
        }
    }
}
