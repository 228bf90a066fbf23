//! By how much a moment is later in the evidence than a source's frames say.
//!
//! Two streams of one camera are not equally fast: a large picture takes longer to encode and to send. With RTCP sender
//! reports both say when the camera captured a picture by its own clock, and the difference of their delays is exact
//! but for what the camera itself gets wrong. Without them, both are taken to be equally fast: then the offset is the
//! time that the engine needs to decode a frame, which it measures.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// So many of the newest values count: a single late packet changes nothing.
const VALUES_MAX: usize = 15;
/// A camera whose clock is further from ours than this does not say when it captured a picture.
const PLAUSIBLE_NS: u64 = 5_000_000_000;

/// A delay that is measured again and again: the median of the newest values. Locked for a moment only.
#[derive(Debug, Default)]
pub struct Lag(Mutex<VecDeque<i64>>);

impl Lag {
    /// Adds a measured delay, nanoseconds.
    pub fn add(&self, lag_ns: i64) {
        let mut values = self.0.lock();
        if values.len() == VALUES_MAX {
            values.pop_front();
        }
        values.push_back(lag_ns);
    }

    /// Forgets it: another stream begins.
    pub fn forget(&self) {
        self.0.lock().clear();
    }

    /// The delay, nanoseconds.
    pub fn get(&self) -> Option<i64> {
        let mut values: Vec<i64> = self.0.lock().iter().copied().collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    }

    /// The same, if it may be the delay of a camera whose clock is right.
    fn plausible(&self) -> Option<i64> {
        self.get().filter(|lag| lag.unsigned_abs() <= PLAUSIBLE_NS)
    }
}

/// The delays that are measured on a source with evidence.
#[derive(Debug, Default)]
pub struct Lags {
    /// From the arrival of a frame's packets to the time at which the frame says that it was captured: by default when it
    /// was decoded.
    pub decode: Lag,
    /// From the capture of a picture, by the sender's reports, to its arrival: in the stream that is analysed.
    pub detect: Lag,
    /// The same in the evidence's own stream.
    pub evidence: Lag,
}

/// How much later a moment is found in the ring than the frames of the source say; negative if it is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offset {
    /// By the sender reports of both streams, nanoseconds.
    SenderReports(i64),
    /// By the arrival of packets, nanoseconds.
    Arrival(i64),
}

impl Offset {
    /// Nanoseconds.
    pub fn ns(self) -> i64 {
        match self {
            Self::SenderReports(ns) | Self::Arrival(ns) => ns,
        }
    }

    /// Its word in JSON.
    pub fn by(self) -> &'static str {
        match self {
            Self::SenderReports(_) => "sender_reports",
            Self::Arrival(_) => "arrival",
        }
    }

    /// The moment in the ring that a frame's time means.
    pub fn apply(self, at_ns: u64) -> u64 {
        at_ns.saturating_add_signed(self.ns())
    }
}

impl Lags {
    /// The offset that they mean.
    pub fn offset(&self) -> Offset {
        let decode = self.decode.get().unwrap_or_default();
        match (self.detect.plausible(), self.evidence.plausible()) {
            (Some(detect), Some(evidence)) => Offset::SenderReports(evidence - detect - decode),
            _ => Offset::Arrival(-decode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// As many values as count.
    fn measured(lag: &Lag, ms: i64) {
        (0..VALUES_MAX).for_each(|_| lag.add(ms * MS));
    }

    #[test]
    fn the_offset_is_the_difference_of_both_delays() {
        let lags = Lags::default();
        assert_eq!(lags.offset(), Offset::Arrival(0));
        lags.decode.add(30 * MS);
        assert_eq!(lags.offset(), Offset::Arrival(-30 * MS), "one stream is decoded in between");
        measured(&lags.detect, 120);
        assert_eq!(lags.offset(), Offset::Arrival(-30 * MS), "reports of one stream alone say nothing");
        measured(&lags.evidence, 470);
        assert_eq!(lags.offset(), Offset::SenderReports(320 * MS));
        assert_eq!(lags.offset().apply(1_000_000_000), 1_320_000_000);
        measured(&lags.evidence, -6_000);
        assert_eq!(lags.offset(), Offset::Arrival(-30 * MS), "a camera with a wrong clock is not believed");
        lags.evidence.forget();
        assert_eq!((lags.evidence.get(), lags.offset().by()), (None, "arrival"));
    }

    #[test]
    fn single_late_packets_do_not_count_and_a_lasting_change_does() {
        let lag = Lag::default();
        lag.add(900 * MS);
        assert_eq!(lag.get(), Some(900 * MS), "the first one is all that is known");
        measured(&lag, 100);
        (0..7).for_each(|_| lag.add(900 * MS));
        assert_eq!(lag.get(), Some(100 * MS));
        lag.add(900 * MS);
        assert_eq!(lag.get(), Some(900 * MS));
    }
}
