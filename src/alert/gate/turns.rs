//! When a frame's alerts are decided on, among those of all sources: noted for a recording, and followed in its replay.

use std::sync::Arc;

use super::Gate;
use crate::alert::sequencer::{Recorded, Times};
use crate::types::{Alert, Frame, Turns};

impl Gate {
    /// Begins a frame, with the turns that were recorded with it.
    pub fn open(&mut self, frame: &Frame) {
        self.followed.clone_from(&frame.turns);
        self.decided.clear();
        self.noted = None;
    }

    /// When the alerts of the judged frame were decided on, if those of all sources are in order of arrival.
    pub fn turns(&self) -> Option<&Turns> {
        self.noted.as_ref()
    }

    /// The recorded time of the frame's next alert. A digest has none of its own: what it stands for does.
    pub(super) fn recorded(&self) -> Option<Recorded> {
        let turns = self.followed.as_deref()?;
        let unix_ns = turns.alerts_unix_ns.get(self.decided.len()).copied().unwrap_or(turns.judged_unix_ns);
        Some(Recorded { unix_ns, is_live: turns.live })
    }

    /// The times of a judged frame.
    pub(super) fn judged_times(&self) -> Times {
        let recorded = |turns: &Arc<Turns>| Recorded { unix_ns: turns.judged_unix_ns, is_live: turns.live };
        Times { recorded: self.followed.as_ref().map(recorded), ..self.last }
    }

    /// Notes that an alert of the frame was decided on.
    pub(super) fn note_decided(&mut self, alert: &Alert, unix_ns: u64) {
        // A gate without a place among the sources has no frames.
        if alert.digest.is_none() && self.token.is_some() {
            self.decided.push(unix_ns);
        }
    }

    /// Notes that all of the frame's alerts were.
    pub(super) fn note_judged(&mut self, is_live: bool) {
        if is_live {
            let now_ns = self.outbox.site().unix_ns(self.clock.monotonic_ns());
            let judged_unix_ns = self.decided.last().copied().unwrap_or_default().max(now_ns);
            self.noted = Some(Turns { judged_unix_ns, alerts_unix_ns: std::mem::take(&mut self.decided), live: true });
        }
    }
}
