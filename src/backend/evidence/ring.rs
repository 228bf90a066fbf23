//! A ring of encoded pictures that always begins with a key frame.
//!
//! Pictures are kept and dropped by groups: a key frame and what follows it up to the next one, since the rest of a
//! group is worth nothing without its key frame. So the ring holds the configured time and at most one group more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// B-frames arrive less than this before the newest picture: a larger step back means that the clock was set back.
const BEHIND_NS_MAX: u64 = 2_000_000_000;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingLimits {
    /// Time before the newest picture.
    pub time: Duration,
    /// Bytes, which may shorten the time. Never exceeded.
    pub bytes: usize,
}

/// One encoded picture (an access unit). Cloning copies a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// When it is shown, Unix time, nanoseconds. Not monotonic in a stream with B-frames.
    pub at_ns: u64,
    /// Whether a decoder may begin with it.
    pub is_key: bool,
    /// Its bytes.
    pub data: Arc<[u8]>,
}

/// Consecutive pictures of one format, from a key frame on, in decoding order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span<F> {
    /// What a decoder must know.
    pub format: F,
    /// The pictures.
    pub units: Vec<Unit>,
}

/// A key frame and what follows it.
#[derive(Debug)]
struct Group<F> {
    format: F,
    units: Vec<Unit>,
    bytes: usize,
    /// The earliest and the latest time in it.
    first_ns: u64,
    last_ns: u64,
}

/// The ring. `F` is what a decoder must know of the stream; a change of it begins a new part of the ring.
#[derive(Debug)]
pub struct Ring<F> {
    limits: RingLimits,
    groups: VecDeque<Group<F>>,
    bytes: usize,
    /// Whether the newest group may go on: false at the start and after a break.
    open: bool,
    dropped: BTreeMap<&'static str, u64>,
}

impl<F: Clone + PartialEq> Ring<F> {
    /// An empty ring.
    pub fn new(limits: RingLimits) -> Self {
        Self { limits, groups: VecDeque::new(), bytes: 0, open: false, dropped: BTreeMap::new() }
    }

    /// Applies other limits at once.
    pub fn set_limits(&mut self, limits: RingLimits) {
        self.limits = limits;
        self.trim();
    }

    /// Adds the next picture in decoding order. One that no key frame precedes is dropped and counted.
    pub fn push(&mut self, format: &F, unit: Unit) {
        let (at_ns, is_key) = (unit.at_ns, unit.is_key);
        if self.newest_ns().is_some_and(|newest| at_ns.saturating_add(BEHIND_NS_MAX) < newest) {
            // The same time would mean two moments.
            self.drop_all("clock");
        }
        let goes_on = self.open && self.groups.back().is_some_and(|group| group.format == *format);
        if !is_key && !goes_on {
            self.open = false;
            return self.count("no_key_frame", 1);
        }
        let bytes = unit.data.len();
        match self.groups.back_mut().filter(|_| !is_key) {
            Some(group) => {
                group.bytes += bytes;
                (group.first_ns, group.last_ns) = (group.first_ns.min(at_ns), group.last_ns.max(at_ns));
                group.units.push(unit);
            }
            None => self.groups.push_back(Group {
                format: format.clone(),
                units: vec![unit],
                bytes,
                first_ns: at_ns,
                last_ns: at_ns,
            }),
        }
        self.bytes += bytes;
        self.open = true;
        self.trim();
    }

    /// The stream broke off: what comes next is kept from its next key frame on.
    pub fn break_off(&mut self) {
        self.open = false;
    }

    /// Drops what the limits do not allow.
    fn trim(&mut self) {
        let time_ns = u64::try_from(self.limits.time.as_nanos()).unwrap_or(u64::MAX);
        let newest = self.newest_ns().unwrap_or_default();
        // The first group is needed until the second covers the whole time by itself.
        while self.groups.get(1).is_some_and(|second| second.first_ns.saturating_add(time_ns) <= newest) {
            self.drop_first();
        }
        while self.bytes > self.limits.bytes && self.groups.len() > 1 {
            let pictures = self.drop_first();
            self.count("bytes", pictures);
        }
        if self.bytes > self.limits.bytes {
            // One group alone is too large: without its start the rest is of no use.
            self.drop_all("group_too_large");
        }
    }

    fn drop_first(&mut self) -> u64 {
        let Some(group) = self.groups.pop_front() else { return 0 };
        self.bytes -= group.bytes;
        group.units.len() as u64
    }

    fn drop_all(&mut self, reason: &'static str) {
        let pictures = self.pictures() as u64;
        self.groups.clear();
        (self.bytes, self.open) = (0, false);
        self.count(reason, pictures);
    }

    fn count(&mut self, reason: &'static str, pictures: u64) {
        *self.dropped.entry(reason).or_default() += pictures;
    }

    fn newest_ns(&self) -> Option<u64> {
        self.groups.back().map(|group| group.last_ns)
    }

    /// The first and the last moment that is kept.
    pub fn held_ns(&self) -> Option<(u64, u64)> {
        Some((self.groups.front()?.first_ns, self.newest_ns()?))
    }

    /// The bytes of the kept pictures.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of kept pictures.
    pub fn pictures(&self) -> usize {
        self.groups.iter().map(|group| group.units.len()).sum()
    }

    /// The format of the newest picture.
    pub fn format(&self) -> Option<&F> {
        self.groups.back().map(|group| &group.format)
    }

    /// Pictures that were dropped for another reason than their age.
    pub fn dropped(&self) -> &BTreeMap<&'static str, u64> {
        &self.dropped
    }

    /// The pictures from the key frame at or before `from_ns`, or from the first one kept, to `to_ns`. Of several
    /// formats the last one is taken. `None` if nothing of that time is kept.
    pub fn span(&self, from_ns: u64, to_ns: u64) -> Option<Span<F>> {
        let (first, last) = self.held_ns()?;
        if from_ns > to_ns || from_ns > last || to_ns < first {
            return None;
        }
        // Empty only if `to_ns` lies between two groups.
        let end = self.groups.iter().rposition(|group| group.first_ns <= to_ns)?;
        let format = &self.groups[end].format;
        let mut start = end;
        while start > 0 && self.groups[start].first_ns > from_ns && self.groups[start - 1].format == *format {
            start -= 1;
        }
        let mut units: Vec<Unit> = self.groups.range(start..=end).flat_map(|group| group.units.clone()).collect();
        let wanted = units.iter().rposition(|unit| unit.at_ns <= to_ns)?;
        units.truncate(wanted + 1);
        Some(Span { format: format.clone(), units })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;

    fn ring(seconds: u64, bytes: usize) -> Ring<&'static str> {
        Ring::new(RingLimits { time: Duration::from_secs(seconds), bytes })
    }

    fn unit(at_ns: u64, is_key: bool, bytes: usize) -> Unit {
        Unit { at_ns, is_key, data: vec![7; bytes].into() }
    }

    /// Pictures of 100 bytes, 25 a second from second 100 on, a key frame each second.
    fn feed(ring: &mut Ring<&'static str>, format: &'static str, pictures: std::ops::Range<u64>) {
        for n in pictures {
            ring.push(&format, unit(100 * SECOND + n * 40 * MS, n % 25 == 0, 100));
        }
    }

    #[test]
    fn it_holds_its_time_and_at_most_one_group_more_and_begins_with_a_key_frame() {
        let mut ring = ring(3, 1 << 20);
        for n in 0..1_000 {
            feed(&mut ring, "a", n..n + 1);
            let (first, last) = ring.held_ns().unwrap();
            assert_eq!((first - 100 * SECOND) % SECOND, 0, "it begins with a key frame");
            let held = last - first;
            assert!(n < 75 || (3 * SECOND..4 * SECOND).contains(&held), "picture {n}: {held}");
            assert_eq!(ring.bytes(), ring.pictures() * 100);
        }
        assert!(ring.dropped().is_empty(), "pictures that are too old are not counted as dropped");
        ring.set_limits(RingLimits { time: Duration::from_secs(1), bytes: 1 << 20 });
        assert_eq!(ring.pictures(), 50, "other limits hold at once");
    }

    #[test]
    fn its_bytes_are_never_exceeded() {
        let mut ring = ring(3_600, 6_000);
        for n in 0..1_000 {
            feed(&mut ring, "a", n..n + 1);
            assert!(ring.bytes() <= 6_000);
        }
        assert_eq!(ring.pictures(), 50);
        assert_eq!(ring.dropped()["bytes"], 950);
        ring.set_limits(RingLimits { time: Duration::from_secs(3_600), bytes: 1_500 });
        assert_eq!((ring.pictures(), ring.bytes()), (0, 0), "a group that does not fit is of no use");
        feed(&mut ring, "a", 1_000..1_016);
        assert_eq!((ring.pictures(), ring.bytes()), (0, 0));
        feed(&mut ring, "a", 1_016..1_026);
        assert_eq!(ring.pictures(), 1, "it goes on at the next key frame");
    }

    #[test]
    fn after_a_break_it_goes_on_at_a_key_frame_and_keeps_what_was_before() {
        let mut ring = ring(60, 1 << 20);
        feed(&mut ring, "a", 3..30);
        assert_eq!((ring.pictures(), ring.dropped()["no_key_frame"]), (5, 22), "it cannot begin in a group");
        ring.break_off();
        feed(&mut ring, "a", 40..51);
        assert_eq!((ring.pictures(), ring.dropped()["no_key_frame"]), (6, 32));
        let span = ring.span(100 * SECOND, 200 * SECOND).unwrap();
        assert_eq!(span.units.len(), 6, "a clip goes over the gap");
    }

    #[test]
    fn a_clip_begins_with_the_key_frame_before_what_is_asked_for_and_has_one_format() {
        let mut ring = ring(60, 1 << 20);
        feed(&mut ring, "a", 0..100);
        let at = |ms: u64| 100 * SECOND + ms * MS;
        let shown = |ring: &Ring<&'static str>, from, to| {
            let span = ring.span(at(from), at(to))?;
            let ms = |unit: &Unit| (unit.at_ns - 100 * SECOND) / MS;
            Some((span.format, ms(span.units.first()?), ms(span.units.last()?), span.units.len()))
        };
        assert_eq!(shown(&ring, 1_500, 2_100), Some(("a", 1_000, 2_080, 28)));
        assert_eq!(shown(&ring, 1_000, 1_000), Some(("a", 1_000, 1_000, 1)));
        assert_eq!(shown(&ring, 0, 60_000), Some(("a", 0, 3_960, 100)));
        assert_eq!(ring.span(0, 99 * SECOND), None, "before the first");
        assert_eq!(shown(&ring, 3_961, 9_000), None, "after the last");
        assert_eq!(shown(&ring, 2_000, 1_000), None);
        feed(&mut ring, "b", 100..150);
        assert_eq!(shown(&ring, 3_500, 5_000), Some(("b", 4_000, 5_000, 26)));
        assert_eq!(shown(&ring, 2_500, 3_500), Some(("a", 2_000, 3_480, 38)));
    }

    #[test]
    fn a_change_of_format_without_a_key_frame_and_a_clock_that_is_set_back_drop_what_would_mislead() {
        let mut ring = ring(60, 1 << 20);
        feed(&mut ring, "a", 0..30);
        feed(&mut ring, "b", 30..60);
        assert_eq!((ring.pictures(), ring.dropped()["no_key_frame"]), (40, 20));
        ring.push(&"b", unit(90 * SECOND, true, 10));
        assert_eq!((ring.pictures(), ring.dropped()["clock"]), (1, 40));
    }

    #[test]
    fn reordered_pictures_stay_in_their_group() {
        let mut ring = ring(60, 1 << 20);
        for (n, at) in [0, 120, 40, 80, 240, 160, 200].into_iter().enumerate() {
            ring.push(&"a", unit(SECOND + at * MS, n == 0, 10));
        }
        assert_eq!(ring.held_ns(), Some((SECOND, SECOND + 240 * MS)));
        let span = ring.span(0, SECOND + 100 * MS).unwrap();
        assert_eq!(span.units.len(), 4, "up to the last one that is shown by then, and what it needs");
    }
}
