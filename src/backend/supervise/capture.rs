//! Capture times of a live source's frames. Pure: the times are arguments.
//!
//! A camera states its own wall clock in RTCP sender reports (RFC 3550, 6.4.1). That is the time of capture, as far as
//! the camera's clock is right; the time of arrival is later by the network and the decoder, but it is our own clock's.

/// How far the sender's time may be from the arrival; otherwise the sender's clock is wrong.
const TRUST_NS: u64 = 5_000_000_000;
/// From 1900, where NTP begins, to 1970.
const NTP_TO_UNIX_NS: u64 = 2_208_988_800 * 1_000_000_000;
/// NTP seconds have 32 bits: they begin again in February 2036.
const ERA_NS: u64 = (1 << 32) * 1_000_000_000;

/// A source's capture times, across all attempts: they never decrease, unless our own clock is set back.
#[derive(Debug, Default)]
pub(super) struct CaptureTimes {
    last_unix_ns: u64,
}

impl CaptureTimes {
    /// The capture time of a frame that arrived at `arrived_unix_ns`, given the sender's time in NTP nanoseconds, of any
    /// era, where it states one.
    pub(super) fn frame(&mut self, sender_ntp_ns: Option<u64>, arrived_unix_ns: u64) -> u64 {
        let sent = sender_ntp_ns.map(|ntp_ns| nearest(ntp_ns, arrived_unix_ns));
        let captured = sent.filter(|sent| sent.abs_diff(arrived_unix_ns) <= TRUST_NS).unwrap_or(arrived_unix_ns);
        let is_set_back = self.last_unix_ns > arrived_unix_ns.saturating_add(TRUST_NS);
        self.last_unix_ns = if is_set_back { captured } else { captured.max(self.last_unix_ns) };
        self.last_unix_ns
    }
}

/// The Unix time of an NTP time, in the era that is nearest to `unix_ns`.
fn nearest(ntp_ns: u64, unix_ns: u64) -> u64 {
    let ntp_now = unix_ns.saturating_add(NTP_TO_UNIX_NS);
    let in_era = ntp_ns % ERA_NS;
    let eras = (ntp_now / ERA_NS).saturating_sub(1)..=ntp_now / ERA_NS + 1;
    let times = eras.map(|era| era.saturating_mul(ERA_NS).saturating_add(in_era));
    times.min_by_key(|time| time.abs_diff(ntp_now)).unwrap_or(ntp_ns).saturating_sub(NTP_TO_UNIX_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    /// In 2026.
    const NOW: u64 = 1_790_000_000 * S;

    fn ntp(unix_ns: u64) -> Option<u64> {
        Some(unix_ns + NTP_TO_UNIX_NS)
    }

    #[test]
    fn the_senders_time_counts_within_five_seconds_of_the_arrival() {
        let of = |sent: Option<u64>| CaptureTimes::default().frame(sent, NOW);
        assert_eq!(of(None), NOW);
        for (sent, captured) in [
            (NOW - S / 10, NOW - S / 10),
            (NOW - 5 * S, NOW - 5 * S),
            (NOW + 5 * S, NOW + 5 * S),
            (NOW - 5 * S - 1, NOW),
            (NOW + 3_600 * S, NOW),
            (0, NOW),
        ] {
            assert_eq!(of(ntp(sent)), captured, "{sent}");
        }
        assert_eq!((of(Some(0)), of(Some(u64::MAX))), (NOW, NOW), "a clock that was never set");
    }

    #[test]
    fn the_seconds_may_begin_again() {
        let wrap = ERA_NS - NTP_TO_UNIX_NS;
        for arrived in [wrap - S, wrap, wrap + S, wrap + 10 * S] {
            let sent = arrived - S / 5;
            let stated = (sent + NTP_TO_UNIX_NS) % ERA_NS;
            assert_eq!(CaptureTimes::default().frame(Some(stated), arrived), sent, "{arrived}");
            assert_eq!(CaptureTimes::default().frame(ntp(sent), arrived), sent, "with its era");
        }
    }

    #[test]
    fn a_senders_clock_that_jumps_does_not_turn_time_back() {
        let mut times = CaptureTimes::default();
        let jumps = [(0, -1), (1, -4), (2, 4), (3, -3_600), (4, 0), (9, -1)];
        let captured = jumps.map(|(at, off): (u64, i64)| {
            let arrived = NOW + at * S;
            times.frame(ntp(arrived.saturating_add_signed(off * S as i64)), arrived) - (NOW - S)
        });
        assert_eq!(captured.map(|ns| ns / S), [0, 0, 7, 7, 7, 9]);
    }

    #[test]
    fn our_own_clock_may_be_set_back() {
        let mut times = CaptureTimes::default();
        assert_eq!(times.frame(None, NOW), NOW);
        assert_eq!(times.frame(None, NOW - S), NOW, "a little is smoothed out");
        assert_eq!(times.frame(None, NOW - 3_600 * S), NOW - 3_600 * S);
    }

    #[test]
    fn whatever_the_sender_states_the_time_stays_near_the_arrival_and_goes_forward() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..2_000 {
            let (mut times, mut arrived, mut last) = (CaptureTimes::default(), NOW, 0);
            for _ in 0..50 {
                arrived += rng.u64(..2 * S);
                let sent = match rng.u8(..4) {
                    0 => None,
                    1 => Some(rng.u64(..)),
                    2 => ntp(arrived + rng.u64(..10 * S) - 5 * S),
                    _ => ntp(arrived - S / 10),
                };
                let captured = times.frame(sent, arrived);
                assert!(captured >= last && captured.abs_diff(arrived) <= TRUST_NS, "{sent:?}: {captured}");
                last = captured;
            }
        }
    }
}
