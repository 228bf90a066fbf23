//! The summary at the end of a run, as text or as JSON.

use std::collections::BTreeMap;

use dsengine::config::{Plan, StrategyKind};
use dsengine::engine::status::HandlerStatus;
use dsengine::engine::{SourceSummary, Summary};
use dsengine::error::Code;
use dsengine::types::{count, one_line};
use serde_json::json;

use super::profile::folded;

/// Reasons for unjudged frames, with their meanings.
const REASONS: &[(&str, &str)] = &[
    ("cut_off", "the file ends in the middle of them"),
    ("inference_error", "the model failed on them"),
    ("late", "the scene had gone on before they were made"),
    ("overload", "a newer frame of a live source took their place before they were judged"),
    ("overrun", "they were decoded faster than they were taken"),
    ("stopping", "they were under way when the engine stopped"),
    ("strategy_fault", "a strategy failed on them, and its on_failure is skip"),
    ("unreadable", "their picture could not be read"),
];
/// The reason of frames that a configured frame rate limit drops.
const CAP: &str = "fps";

/// The strategies that failed on frames, one line each.
pub(crate) fn faults(summary: &Summary) -> impl Iterator<Item = String> {
    summary.strategies.iter().filter(|strategy| strategy.faults > 0).map(|strategy| {
        let last = one_line(strategy.last_error.as_deref().unwrap_or("none since the last reload"));
        format!("strategy {}: {}, the last: {last}", strategy.name, count(strategy.faults, "fault"))
    })
}

/// The summary; `spent` is where the time went, if requested.
pub(crate) fn report(summary: &Summary, plan: &Plan, spent: Option<&BTreeMap<String, f64>>, is_json: bool) -> String {
    if is_json {
        let mut whole = json!(summary);
        if let Some(spent) = spent {
            whole["profile"] = json!({ "spent_seconds": spent, "folded": folded(spent) });
        }
        return format!("{whole:#}\n");
    }
    let mut lines = vec![String::new()];
    for source in &summary.sources {
        lines.push(line_of(source));
        if let Some(broken) = &source.broken {
            lines.push(format!("{}: broken [{}]: {broken}", source.source, Code::SourceBroken.as_str()));
        }
    }
    let removed = summary.removed;
    if removed.sources > 0 {
        let (sources, judged) = (removed.sources, removed.judged);
        let (frames, alerts) = (count(removed.frames, "frame"), count(removed.alerts, "alert"));
        lines.push(format!("removed while it ran: {sources}, with {frames}, {judged} judged, {alerts}"));
    }
    lines.extend(reasons(&summary.sources));
    lines.extend(faults(summary));
    for HandlerStatus { name, delivered, given_up, pending, last_error, .. } in &summary.handlers {
        let last = last_error.as_ref().map(|error| format!("; last error: {}", one_line(error))).unwrap_or_default();
        lines.push(format!(
            "handler {name}: {} delivered, {given_up} given up, {pending} pending{last}",
            count(*delivered, "alert")
        ));
    }
    lines.extend(how_to_alert(summary, plan));
    for (stack, seconds) in spent.into_iter().flatten() {
        lines.push(format!("{:<30} {seconds:>8.2} s", stack.replace(';', " ")));
    }
    lines.extend(spent.map(folded).into_iter().flatten());
    lines.push(format!(
        "total: {} judged in {:.1} s ({:.1} fps), {} delivered by every handler, {} given up by one, {} pending\n",
        count(summary.judged(), "frame"),
        summary.seconds,
        summary.fps(),
        count(summary.delivered, "alert"),
        summary.failed,
        summary.pending
    ));
    lines.join("\n")
}

/// One source's figures. Frames beyond the frame rate limit do not count as dropped.
fn line_of(source: &SourceSummary) -> String {
    let dropped: Vec<String> = dropped(source).map(|(reason, n)| format!("{reason} {n}")).collect();
    let dropped = if dropped.is_empty() { "none".to_owned() } else { dropped.join(", ") };
    let capped = source.dropped.get(CAP).map(|n| format!(", left out by fps: {n}")).unwrap_or_default();
    let refusals = SourceSummary::refusals(std::slice::from_ref(source));
    format!(
        "{}: {}, {} judged, {}, {}{refusals}{capped}, dropped: {dropped}",
        source.source,
        count(source.frames, "frame"),
        source.judged,
        count(source.detections, "detection"),
        count(source.alerts, "alert")
    )
}

fn dropped(source: &SourceSummary) -> impl Iterator<Item = (&str, u64)> {
    source.dropped.iter().filter(|(reason, _)| *reason != CAP).map(|(reason, n)| (reason.as_str(), *n))
}

/// Explains the reasons after `dropped:`, one line each.
fn reasons(sources: &[SourceSummary]) -> impl Iterator<Item = String> {
    let is_there = |word: &str| sources.iter().flat_map(dropped).any(|(reason, _)| reason == word);
    REASONS.iter().filter(move |(word, _)| is_there(word)).map(|(word, why)| format!("  {word}: {why}"))
}

/// How to get alerts, if nothing that ran could raise one.
fn how_to_alert(summary: &Summary, plan: &Plan) -> Option<String> {
    let rules = plan.strategies.iter().filter(|strategy| strategy.kind != StrategyKind::Motion).count();
    let own = summary.strategies.iter().any(|strategy| strategy.kind == "own");
    let detections: u64 = summary.sources.iter().map(|source| source.detections).sum();
    // A rule that raised one may have been removed since.
    let alerts = summary.delivered + summary.failed + summary.pending;
    (rules == 0 && !own && detections > 0 && alerts == 0).then(|| {
        let label = if plan.models.is_empty() { ", labels: [motion]" } else { "" };
        format!(
            "no rule ran, so nothing could raise an alert: add one under detection.strategies, such as \
             {{ name: intrusion, module: scripts/intrusion.lua, config: {{ zone: NAME{label} }} }} with a zone of that \
             name under zones; `dsengine snapshot --source URI --grid -o grid.png` shows coordinates"
        )
    })
}
