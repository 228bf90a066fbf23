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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::alert::check::alert;
    use crate::alert::policy::tests::plan;
    use crate::alert::sequencer::{Order, Recorded, Ruling, Sequencer, Times};
    use crate::config::AlertPlan;
    use crate::types::Alert;

    #[test]
    fn a_source_keeps_its_share_in_the_replay_of_a_live_run_although_its_recording_ends() {
        for (is_live, sent) in [(true, 2), (false, 3)] {
            let times = |second: u64| {
                let at_ns = second * 1_000_000_000;
                let recorded = Some(Recorded { unix_ns: at_ns, is_live });
                Times { arrival_ns: at_ns, pts_ns: at_ns, unix_ns: at_ns, recorded }
            };
            let mut sequencer = Sequencer::new(&AlertPlan { max_per_minute: 4, ..plan() });
            let (mut out, door, gate) = (Vec::new(), "door".into(), "gate".into());
            let [of_door, of_gate] = [&door, &gate].map(|id| sequencer.join(id, Order::Capture, 0, &mut out));
            sequencer.judged(&gate, of_gate, times(1), &mut out);
            sequencer.leave(&gate, of_gate, 2_000_000_000, &mut out);
            for number in 0..3 {
                let raised = Arc::new(Alert { source: door.clone(), ..(*alert(number, "m")).clone() });
                sequencer.offer(Some(of_door), raised, times(10 + number), &mut out);
                sequencer.judged(&door, of_door, times(10 + number), &mut out);
            }
            sequencer.leave(&door, of_door, 20_000_000_000, &mut out);
            assert_eq!(out.iter().filter(|ruling| matches!(ruling, Ruling::Send(_))).count(), sent, "live: {is_live}");
        }
    }
}
