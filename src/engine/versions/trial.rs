//! The trial of a version before it judges: it is shown generated frames of each source that it is for.
//!
//! A fault of the contract (`guest::Trial`) refuses the version: it would be one on every frame. Any other may be the
//! generated frame's, and is told only.

use std::sync::Arc;

use super::generated::Generated;
use super::guests::Version;
use crate::error::{Code, Error};
use crate::guest::{Doubt, FAULTS_MAX, Fault, FaultKind, Labels, Trial};
use crate::strategy::{View, apply};
use crate::track::Tracks;
use crate::types::{Clock, SourceId, Zone};

/// What is known of a source before a frame of it comes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::engine) struct Facts {
    /// Its zones.
    pub(in crate::engine) zones: Arc<[Zone]>,
    /// The labels that its detections may have.
    pub(in crate::engine) labels: Labels,
    /// Whether its frames bring pictures.
    pub(in crate::engine) pixels: bool,
}

/// Longest time of a version's trials together, as far as one more frame goes.
const TRIALS_MAX_NS: u64 = 1_000_000_000;

/// How the VM says that there is no such function.
const MISSING: [&str; 2] = ["attempt to call a nil value", "attempt to call missing method"];

/// Shows generated frames to an instance for each of these sources, all that the version is for, where it is to be tried
/// there; those of which the same is known count as one. Returns what the version asks for and may never get.
///
/// # Errors
/// [`Code::Plugin`] where it breaks the contract, with its own place.
pub(in crate::engine) fn try_out<'a>(
    version: &Version,
    clock: &dyn Clock,
    sources: impl IntoIterator<Item = (&'a SourceId, Facts, bool)>,
) -> Result<Vec<Doubt>, Error> {
    let sources: Vec<_> = sources.into_iter().collect();
    let mut anywhere = Labels::default();
    for (_, facts, _) in &sources {
        anywhere.names.extend(facts.labels.names.iter().cloned());
        anywhere.others = anywhere.others.or(facts.labels.others);
    }
    let mut tried: Vec<Facts> = Vec::new();
    let mut doubts = Vec::new();
    let until_ns = clock.monotonic_ns() + TRIALS_MAX_NS;
    for (source, facts, is_asked) in sources {
        if !is_asked || tried.contains(&facts) {
            continue;
        }
        let more = try_on(version, source, &facts, &anywhere, || clock.monotonic_ns() >= until_ns)?;
        doubts.extend(more.into_iter().filter(|doubt| !doubts.contains(doubt)).collect::<Vec<_>>());
        tried.push(facts);
    }
    Ok(doubts)
}

fn try_on(
    version: &Version,
    source: &SourceId,
    facts: &Facts,
    anywhere: &Labels,
    is_over: impl Fn() -> bool,
) -> Result<Vec<Doubt>, Error> {
    let trial = Arc::new(Trial::new(facts.labels.clone(), anywhere.clone()));
    let mut strategy = version.on_trial(source, Arc::clone(&trial))?;
    version.text().comparisons().iter().for_each(|(place, label)| trial.compares(place, label));
    let mut frames = Generated::new(source, facts);
    let mut tracks = Tracks::new(u64::MAX);
    let mut faults: Vec<Fault> = Vec::new();
    while let Some(frame) = frames.next(&trial.asked()) {
        tracks.observe(&frame, &facts.zones);
        trial.broke();
        let mut detections = frame.detections.clone();
        let judged = strategy.judge(&View { frame: &frame, tracks: &tracks, zones: &facts.zones });
        let Err(fault) = judged.and_then(|verdict| apply(verdict, true, &mut detections)) else {
            if is_over() {
                break;
            }
            continue;
        };
        if trial.broke() || MISSING.iter().any(|what| fault.message.contains(what)) {
            return Err(Error::new(Code::Plugin, format!("{fault} (source {source})"))
                .hint("every rule is tried on made-up frames before it judges; this would fail on real ones, too"));
        }
        let is_limit = matches!(fault.kind, FaultKind::Time | FaultKind::Memory);
        // In a trial there is less time: that is told of none that may have more.
        if !(fault.kind == FaultKind::Time && trial.is_cut()) {
            faults.push(fault);
        }
        // One more, and the breaker would have its say.
        if is_limit || is_over() || faults.len() + 1 >= FAULTS_MAX {
            break;
        }
    }
    let failed =
        faults.first().map(|fault| Doubt { what: format!("fails on made-up frames: {fault}"), certain: false });
    Ok(trial.doubts().into_iter().chain(failed).collect())
}
