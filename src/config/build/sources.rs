//! Builds sources: kind and URI, ids, zones and restart policies.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Site, blackout, evidence, hardly_reached, merged, overrides, recovery_plan, retry_plan, zones_of};
use crate::config::kinds::sources as kinds;
use crate::config::plan::{ENGINE_SOURCE, Input, PRIORITY_USUAL, SourcePlan};
use crate::config::schema::{Recovery, SourceEntry, SourceType};
use crate::config::source_uri::{self, Parsed};
use crate::types::{SourceId, Zone, count_are, one_line};

pub(super) fn build(
    entries: Vec<SourceEntry>,
    fps: Option<f64>,
    zones: &[Zone],
    (recovery, auto_recovery): (&Recovery, bool),
    limit: usize,
    site: &mut Site<'_>,
) -> Vec<SourcePlan> {
    let timezone = site.timezone.clone();
    let mut out: Vec<SourcePlan> = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let path = format!("sources[{index}]");
        let enabled = entry.enabled.unwrap_or(true);
        let Some(parsed) = input(&entry, &path, site) else {
            ids.extend(entry.id);
            continue;
        };
        let id = entry.id.clone().unwrap_or_else(|| source_uri::generated_id(&parsed, index));
        let id_path = if entry.id.is_some() { format!("{path}.id") } else { path.clone() };
        check_id(&id, &ids, &id_path, site);
        ids.push(id.clone());
        let own = zones_of(&entry.zones, &format!("{path}.zones"), site);
        let alerts = overrides::source(entry.alerts.clone(), &format!("{path}.alerts"), &timezone, site);
        let blackout = blackout::build(&entry.blackout, &format!("{path}.blackout"), site);
        let evidence = evidence::build(&entry, &parsed, &path, site);
        site.inputs.insert(SourceId::from(id.as_str()), parsed.input.clone());
        if !enabled {
            site.idle.push(id);
            continue;
        }
        if let Some(score) = entry.confidence_threshold {
            hardly_reached(&format!("{path}.confidence_threshold"), score, site);
        }
        let Parsed { input, repeat, realtime } = parsed;
        let realtime = entry.realtime.unwrap_or(realtime);
        let retry = retry_plan(recovery, entry.max_retries, entry.retry_delay, entry.timeout);
        let plain = SourcePlan::new(id, input, retry);
        out.push(SourcePlan {
            name: entry.name.filter(|name| !name.trim().is_empty()),
            fps: entry.fps.or(fps),
            priority: entry.priority.unwrap_or(PRIORITY_USUAL),
            zones: merged(zones, own),
            blackout,
            evidence,
            confidence: entry.confidence_threshold.map(|score| score as f32),
            max_objects: entry.max_objects.map(|most| most as usize),
            alerts,
            recovery: recovery_plan(recovery, auto_recovery, entry.retry_count),
            realtime,
            repeat,
            ..plain
        });
    }
    if out.len() > limit {
        let key =
            if site.places.is_set("pipeline.max_sources") { "pipeline.max_sources" } else { "max_concurrent_sources" };
        let message = format!("{} enabled, `{key}` allows {limit}", count_are(out.len(), "source"));
        let at = if site.places.is_set(key) { key } else { "sources" };
        site.wrong(at, message, "raise it, or disable some");
    }
    out
}

/// Checks the name of a source against those before it; `path` is where it is written.
fn check_id(id: &str, ids: &[String], path: &str, site: &mut Site<'_>) {
    if matches!(one_line(id), Cow::Owned(_)) {
        // It is used as a thread name and in log lines.
        site.wrong(path, "a source's name holds a control character", "give it an `id` of printable characters");
    }
    if id == ENGINE_SOURCE {
        let message = format!("no source may be named `{id}`: the engine's own alerts have that name");
        site.wrong(path, message, "give it another `id`");
    }
    if ids.iter().any(|other| other == id) {
        site.wrong(path, format!("two sources are named `{id}`"), "give each an `id` of its own");
    }
}

fn input(entry: &SourceEntry, path: &str, site: &mut Site<'_>) -> Option<Parsed> {
    let is_set = |key: &str| site.places.is_set(&format!("{path}.{key}"));
    let is_reported = is_set("uri") || is_set("streams");
    let (uri, at) = match (evidence::analysed(entry, path, site), entry.kind) {
        (Some(found), _) => found,
        (None, Some(SourceType::Test)) if !is_reported => ("test", format!("{path}.uri")),
        (None, Some(SourceType::Detections)) if !is_reported => ("detections:", format!("{path}.uri")),
        (None, _) if is_reported => return None,
        (None, _) => {
            site.wrong(path, format!("`{path}` has no `uri`"), "`uri` is needed: a path, rtsp://…, test, scene:NAME");
            return None;
        }
    };
    let implied = match source_uri::kind_of(uri) {
        Ok(implied) => implied,
        Err((message, label)) => {
            site.wrong(&at, message, label);
            return None;
        }
    };
    let kind = agreed(entry.kind, implied, uri, path, site)?;
    refuse_unknown_parameters(kind, path, site);
    if kind == SourceType::Trace && entry.realtime == Some(true) {
        let label = "leave it out: a trace plays as fast as it is judged";
        site.wrong_key(&format!("{path}.realtime"), "a trace has no pace of its own", label);
    }
    let find = |relative: &str| -> PathBuf {
        let path = Path::new(relative);
        if site.source_is_flag { site.place_file(path) } else { site.find(path) }
    };
    match kinds::plan(uri, kind, &entry.parameters, &find) {
        Ok(Parsed { input: Input::Detections(mut plan), repeat, realtime }) => {
            // Whether silence is a failure depends on the site: the user sets it.
            plan.silence = entry.timeout.map(Duration::from_secs_f64);
            Some(Parsed { input: Input::Detections(plan), repeat, realtime })
        }
        Ok(parsed) => Some(parsed),
        Err((message, label)) => {
            site.wrong(&at, message, label);
            None
        }
    }
}

/// The kind on which `type` and the URI agree. A bare word may be a scene's name or a trace's path.
fn agreed(
    declared: Option<SourceType>,
    implied: SourceType,
    uri: &str,
    path: &str,
    site: &mut Site<'_>,
) -> Option<SourceType> {
    let Some(declared) = declared else { return Some(implied) };
    let bare = implied == SourceType::File && !uri.contains("://");
    let fits = declared == implied
        || (bare && matches!(declared, SourceType::Scene | SourceType::Trace))
        || (declared == SourceType::Network)
        || (declared == SourceType::Webrtc && implied == SourceType::Http)
        || (declared == SourceType::Gstreamer && implied == SourceType::Test)
        || (matches!(declared, SourceType::Webcam | SourceType::Gstreamer) && bare);
    if fits {
        return Some(declared);
    }
    let message = format!("`{path}.type` is {}, but the uri says {}", declared.as_str(), implied.as_str());
    site.wrong(&format!("{path}.type"), message, format!("write {} or leave `type` out", implied.as_str()));
    None
}

/// Reports parameters that belong to another kind.
fn refuse_unknown_parameters(kind: SourceType, path: &str, site: &mut Site<'_>) {
    let takes = kinds::parameters_of(kind);
    let prefix = format!("{path}.parameters.");
    // An entry of a list belongs to the list.
    let is_known = |key: &str| takes.iter().any(|own| own == key.split('[').next().unwrap_or_default());
    let wrong: Vec<String> = site.places.below(&prefix).filter(|key| !is_known(key)).map(str::to_owned).collect();
    for key in wrong {
        let message = format!("`{key}` is not a parameter of a {} source", kind.as_str());
        let known = if takes.is_empty() { "none".to_owned() } else { takes.join(", ") };
        site.wrong_key(&format!("{prefix}{key}"), message, format!("it takes {known}"));
    }
}
