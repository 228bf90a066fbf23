//! `sources[].streams` and `sources[].evidence`: only cameras have evidence, and none that has a blackout.

use std::path::PathBuf;
use std::time::Duration;

use super::Site;
use crate::config::kinds::sources as kinds;
use crate::config::plan::{Camera, EvidencePlan, Input};
use crate::config::schema::{SourceEntry, SourceType};
use crate::config::source_uri::{self, Parsed};

/// The address that is analysed, and the path of its key; `None` after a report, or where there is none.
pub(super) fn analysed<'e>(entry: &'e SourceEntry, path: &str, site: &mut Site<'_>) -> Option<(&'e str, String)> {
    let streams = &entry.streams;
    match (&entry.uri, &streams.detect) {
        (Some(_), _) if !streams.is_empty() => {
            let label = "leave `uri` out: `streams.detect` is the stream that is analysed";
            site.wrong_key(&format!("{path}.streams"), format!("`{path}` has both `uri` and `streams`"), label);
            None
        }
        (Some(uri), _) => Some((uri, format!("{path}.uri"))),
        (None, Some(detect)) => Some((detect, format!("{path}.streams.detect"))),
        (None, None) if streams.evidence.is_some() => {
            let label = "`detect` is needed: the address of the stream that is analysed";
            site.wrong(&format!("{path}.streams"), format!("`{path}.streams` has no `detect`"), label);
            None
        }
        (None, None) => None,
    }
}

/// Builds the evidence of a source that is analysed as `parsed`.
pub(super) fn build(entry: &SourceEntry, parsed: &Parsed, path: &str, site: &mut Site<'_>) -> Option<EvidencePlan> {
    let (settings, streams) = (format!("{path}.evidence"), format!("{path}.streams"));
    let (has_streams, has_own) = (entry.streams.detect.is_some(), entry.streams.evidence.is_some());
    let is_kept = has_own || !entry.evidence.is_empty() || site.places.is_set(&settings);
    if !is_kept && !has_streams {
        return None;
    }
    if !matches!(parsed.input, Input::Rtsp(_)) {
        let at = if has_streams { format!("{streams}.detect") } else { settings };
        let label = "write it for rtsp:// and rtsps:// sources, and leave it out elsewhere";
        site.wrong(&at, "only a camera has two streams and evidence", label);
        return None;
    }
    if !is_kept {
        return None;
    }
    let at = if has_own { format!("{streams}.evidence") } else { settings };
    if !entry.blackout.is_empty() {
        let message = format!("evidence is kept as it was encoded, so `{path}.blackout` cannot be painted over in it");
        site.wrong_key(&at, message, "leave out the evidence, or the blackout: mask it in the camera itself");
        return None;
    }
    let stream = match &entry.streams.evidence {
        Some(uri) => Some(camera(uri, entry, &at, site)?),
        None => None,
    };
    let plan = EvidencePlan::new(stream);
    let time = entry.evidence.pre_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let bytes = entry.evidence.max_mb.map(|mb| mb as usize * 1_000_000);
    Some(EvidencePlan { time: time.unwrap_or(plan.time), bytes_max: bytes.unwrap_or(plan.bytes_max), ..plan })
}

/// The camera at the address of the evidence, with the parameters of its source.
fn camera(uri: &str, entry: &SourceEntry, at: &str, site: &mut Site<'_>) -> Option<Box<Camera>> {
    let find = |relative: &str| -> PathBuf { site.find(std::path::Path::new(relative)) };
    let read = match source_uri::kind_of(uri) {
        Ok(SourceType::Rtsp) => kinds::plan(uri, SourceType::Rtsp, &entry.parameters, &find),
        Ok(_) => Err((
            "evidence is kept of a camera's stream".to_owned(),
            "write rtsp://[user:password@]host[:port]/path, or rtsps://".to_owned(),
        )),
        Err(refusal) => Err(refusal),
    };
    match read {
        Ok(Parsed { input: Input::Rtsp(camera), .. }) => Some(camera),
        Ok(_) => None,
        Err((message, label)) => {
            site.wrong(at, message, label);
            None
        }
    }
}
