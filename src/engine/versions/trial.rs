//! The trial of a version before it judges: it judges generated frames of each of its sources.
//!
//! A fault of the contract (`guest::Trial`) rejects the version, since it would occur on every frame. Any other fault
//! may be due to the generated frame, and is only reported.

use std::sync::Arc;

use super::generated::Generated;
use super::guests::Version;
use crate::error::{Code, Error};
use crate::guest::{Doubt, FAULTS_MAX, Fault, FaultKind, Labels, Trial};
use crate::strategy::{View, apply};
use crate::track::Tracks;
use crate::types::{Clock, SourceId, Zone};

/// What is known about a source before its first frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::engine) struct Facts {
    /// Its zones.
    pub(in crate::engine) zones: Arc<[Zone]>,
    /// The labels that its detections may have.
    pub(in crate::engine) labels: Labels,
    /// Whether its frames have pictures.
    pub(in crate::engine) pixels: bool,
}

/// Time limit for all trials of a version together; the frame in progress may exceed it.
pub(super) const TRIALS_MAX_NS: u64 = 1_000_000_000;

/// How the VM reports a missing function.
pub(super) const MISSING: [&str; 2] = ["attempt to call a nil value", "attempt to call missing method"];

/// Tries an instance for each of these sources on generated frames. `sources` are all sources that the version is for,
/// each with its facts and whether to try it there; sources with equal facts count as one. Returns what the version
/// requests and may never get.
///
/// # Errors
/// [`Code::Plugin`] with the location in the guest if it breaks the contract.
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
        let is_limit = fault.kind.is_limit();
        // A trial cuts the time limit, so a timeout is not reported if the real limit is longer.
        if !(fault.kind == FaultKind::Time && trial.is_cut()) {
            faults.push(fault);
        }
        // One more fault would open the breaker.
        if is_limit || is_over() || faults.len() + 1 >= FAULTS_MAX {
            break;
        }
    }
    let failed =
        faults.first().map(|fault| Doubt { what: format!("fails on made-up frames: {fault}"), certain: false });
    Ok(trial.doubts().into_iter().chain(failed).collect())
}
