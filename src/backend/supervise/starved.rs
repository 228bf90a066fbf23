//! Whether this process was kept from working: a machine with too much to do makes a source slow, and a slow source is not
//! silent. Pure: what threads have waited for is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

/// How often it is looked at while a silence lasts: the system's figures of every thread are read for it.
const LOOK_NS: u64 = 250_000_000;
/// A thread that waited for less than this share of the time was not kept from its work: sharing a processor is usual.
const STARVED_SHARE: f64 = 0.66;

/// What threads had waited for at the last look in this silence.
#[derive(Debug, Default)]
pub struct Starved {
    last: Option<(BTreeMap<u64, u64>, u64)>,
}

impl Starved {
    /// A frame came: the silence is over.
    pub fn over(&mut self) {
        self.last = None;
    }

    /// Whether it is time for a look.
    pub fn due(&self, now_ns: u64) -> bool {
        self.last.as_ref().is_none_or(|(_, last_ns)| now_ns.saturating_sub(*last_ns) >= LOOK_NS)
    }

    /// How much of the time since the last look counts for nothing, where the threads of this process have by now waited
    /// for a processor for `waited_ns`, each.
    pub fn look(&mut self, waited_ns: BTreeMap<u64, u64>, now_ns: u64) -> Duration {
        let longest = |last: &BTreeMap<u64, u64>| {
            let waits = waited_ns.iter().filter_map(|(thread, now)| Some(now.saturating_sub(*last.get(thread)?)));
            waits.max().unwrap_or_default()
        };
        let passed = self.last.as_ref().map(|(last, last_ns)| (longest(last), now_ns.saturating_sub(*last_ns)));
        self.last = Some((waited_ns, now_ns));
        match passed {
            Some((waited, passed)) if waited as f64 >= passed as f64 * STARVED_SHARE => Duration::from_nanos(passed),
            _ => Duration::ZERO,
        }
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
        assert_eq!(starved.look(waited([7 * S + S / 2, S]), 3 * S), Duration::ZERO, "sharing a processor is usual");
        let one = BTreeMap::from([(3, 9 * S)]);
        assert_eq!(starved.look(one, 4 * S), Duration::ZERO, "a thread that is new has not waited since");
        starved.over();
        assert_eq!(starved.look(waited([8 * S, 8 * S]), 5 * S), Duration::ZERO);
        assert_eq!(starved.look(BTreeMap::new(), 6 * S), Duration::ZERO, "nothing is known");
    }
}
