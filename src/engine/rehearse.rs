//! The self-test of a new version: an instance without side effects judges again what each lane remembers.

use super::LANE_WAIT;
use super::control::{Control, Look};
use super::guests::Version;
use super::running::Seat;
use crate::error::{Code, Error};
use crate::guest::Fault;
use crate::strategy::{View, apply};

/// What each lane remembers; `None` where it has ended.
pub(super) fn looks(seats: &[Seat]) -> impl Iterator<Item = (&Seat, Option<Look>)> {
    let waits: Vec<_> = seats
        .iter()
        .map(|seat| {
            let (answer, wait) = crossbeam_channel::bounded(1);
            seat.route.inbox.control(Control::Look { rule: seat.rule, answer });
            wait
        })
        .collect();
    seats.iter().zip(waits).map(|(seat, wait)| (seat, wait.recv_timeout(LANE_WAIT).ok()))
}

/// Lets an instance without side effects take over and judge the remembered frames. The first fault refuses it.
pub(super) fn rehearse(version: &Version, seat: &Seat, look: Option<&Look>) -> Result<usize, Error> {
    let Some(Look { version: from, state, frames, zones }) = look else { return Ok(0) };
    let mut strategy = version.rehearsal(&seat.source)?;
    let refused = |when: String, fault: &Fault| {
        Error::new(Code::Plugin, format!("self-test on {}, {when}: {fault}", seat.source))
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
