//! The self-test of a new version: an instance without side effects judges each lane's recent frames again.

use std::sync::Arc;

use crossbeam_channel::RecvTimeoutError;

use super::guests::Version;
use crate::engine::lanes::{Control, Route, SharedTimeout, Snapshot, busy};
use crate::error::{Code, Error};
use crate::guest::Fault;
use crate::strategy::{View, apply};
use crate::types::{SourceId, Zone};

/// The snapshot of each lane for `rule`, except for lanes that have ended.
///
/// # Errors
/// When a lane is busy for too long: no version is installed untested.
pub(super) fn snapshots<'a>(
    rule: &Arc<str>,
    lanes: impl Iterator<Item = (&'a SourceId, &'a Arc<Route>)>,
) -> Result<Vec<(&'a SourceId, Snapshot)>, Error> {
    let waits: Vec<_> = lanes
        .map(|(source, route)| {
            let (answer, wait) = crossbeam_channel::bounded(1);
            route.inbox.control(Control::Snapshot { rule: Arc::clone(rule), answer });
            (source, wait)
        })
        .collect();
    let mut timeout = SharedTimeout::start();
    let mut snapshots = Vec::with_capacity(waits.len());
    for (source, wait) in waits {
        match timeout.recv(&wait) {
            Ok(snapshot) => snapshots.push((source, snapshot)),
            Err(RecvTimeoutError::Timeout) => return Err(busy(source)),
            Err(RecvTimeoutError::Disconnected) => {}
        }
    }
    Ok(snapshots)
}

/// Lets an instance without side effects take over and judge the snapshot's frames with `zones`, the zones that will
/// apply. The first fault rejects the version.
pub(super) fn rehearse(
    version: &Version,
    source: &SourceId,
    snapshot: &Snapshot,
    zones: &[Zone],
) -> Result<usize, Error> {
    let Snapshot { version: from, state, frames } = snapshot;
    let mut strategy = version.rehearsal(source)?;
    let refused = |when: String, fault: &Fault| {
        Error::new(Code::Plugin, format!("self-test on {source}, {when}: {fault}"))
            .hint("the running version goes on; the self-test judges the last frames again, without effects")
    };
    strategy.resume(from, state).map_err(|fault| refused("taking over".into(), &fault))?;
    for remembered in frames {
        let frame = &remembered.frame;
        let verdict = strategy.judge(&View { frame, tracks: &remembered.tracks, zones });
        let mut detections = frame.detections.clone();
        verdict
            .and_then(|verdict| apply(verdict, true, &mut detections))
            .map_err(|fault| refused(format!("frame {}", frame.seq), &fault))?;
    }
    Ok(frames.len())
}
