//! The order of arrival, for recordings.

use super::{Mode, Sequencer};

impl Sequencer {
    /// Whether alerts are decided on in order of arrival.
    pub(in crate::alert) fn is_live(&self) -> bool {
        self.mode == Mode::Live
    }

    /// When the next alert comes, as a recording has it: after each one before it.
    pub(in crate::alert) fn turn(&mut self, arrival_ns: u64) -> u64 {
        self.arrived_ns = arrival_ns.max(self.arrived_ns + 1);
        self.arrived_ns
    }
}
