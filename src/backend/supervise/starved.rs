//! Detects CPU starvation of this process: on an overloaded machine a source is slow, not silent. Pure: the threads'
//! waiting times are an argument.

use std::collections::BTreeMap;
use std::time::Duration;

/// How often it is checked during a silence: a check reads the system's counters of every thread.
const LOOK_NS: u64 = 250_000_000;
/// Below this share of waiting time a thread does not count as starved: sharing a CPU is normal.
const STARVED_SHARE: f64 = 0.66;

/// The threads' waiting times at the first check of the current silence.
#[derive(Debug, Default)]
pub struct Starved {
    first: Option<(BTreeMap<u64, u64>, u64)>,
    looked_ns: u64,
    /// Time since then already found to be starvation.
    found_ns: u64,
}

impl Starved {
    /// A frame came: the silence is over.
    pub fn over(&mut self) {
        self.first = None;
    }

    /// Whether a check is due.
    pub fn due(&self, now_ns: u64) -> bool {
        self.first.is_none() || now_ns.saturating_sub(self.looked_ns) >= LOOK_NS
    }

    /// How much additional time since the first check was starvation, given how long each thread of this process has
    /// waited for a CPU in total (`waited_ns`). The system accounts a wait only once it is over, so the whole time is
    /// evaluated at once.
    pub fn look(&mut self, waited_ns: BTreeMap<u64, u64>, now_ns: u64) -> Duration {
        self.looked_ns = now_ns;
        let Some((first, first_ns)) = &self.first else {
            (self.first, self.found_ns) = (Some((waited_ns, now_ns)), 0);
            return Duration::ZERO;
        };
        let waits = waited_ns.iter().filter_map(|(thread, now)| Some(now.saturating_sub(*first.get(thread)?)));
        let (waited, passed) = (waits.max().unwrap_or_default(), now_ns.saturating_sub(*first_ns));
        if (waited as f64) < passed as f64 * STARVED_SHARE {
            return Duration::ZERO;
        }
        Duration::from_nanos(passed.saturating_sub(std::mem::replace(&mut self.found_ns, passed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn time_in_which_a_thread_waited_for_a_processor_counts_for_nothing() {
        let mut starved = Starved::default();
        let waited = |ns: [u64; 2]| BTreeMap::from([(1, ns[0]), (2, ns[1])]);
        assert!(starved.due(S));
        assert_eq!(starved.look(waited([7 * S, 0]), S), Duration::ZERO, "what was before is not known");
        assert!(!starved.due(S + 1) && starved.due(2 * S));
        assert_eq!(starved.look(waited([7 * S, 9 * S / 10]), 2 * S), Duration::from_secs(1));
        // A wait that is not over is not accounted yet.
        assert_eq!(starved.look(waited([7 * S, S]), 3 * S), Duration::ZERO);
        assert_eq!(starved.look(waited([7 * S, 28 * S / 10]), 4 * S), Duration::from_secs(2));
        assert_eq!(starved.look(waited([9 * S, 28 * S / 10]), 6 * S), Duration::ZERO, "sharing a processor is usual");
        let one = BTreeMap::from([(3, 9 * S)]);
        assert_eq!(starved.look(one, 7 * S), Duration::ZERO, "a thread that is new has not waited since");
        starved.over();
        assert_eq!(starved.look(waited([8 * S, 8 * S]), 5 * S), Duration::ZERO);
        assert_eq!(starved.look(BTreeMap::new(), 6 * S), Duration::ZERO, "nothing is known");
    }
}
