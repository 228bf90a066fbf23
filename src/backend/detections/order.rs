//! The order of one source's frames: reordered within a window, doubled and late ones found. Pure.
//!
//! A frame that follows the last one is passed on at once: its number is the next one, or as far from the last as that
//! was from the one before (a camera that sends every fifth frame numbers them 0, 5, 10). Any other newer frame is held
//! until those before it have come, [`HELD_NS_MAX`] at most and at most [`HELD_MAX`] at a time; then it is passed on
//! without them. What comes after a newer one was passed on is late, or doubled if it is one of the last
//! [`RECENT_MAX`].
//!
//! A camera that is restarted begins to count anew. Its frames are taken as such once one of them was captured after
//! the last frame, or once [`RESTARTED_AFTER`] late ones have come in rising order.

use std::collections::{BTreeMap, VecDeque};

/// Most frames that are held.
const HELD_MAX: usize = 16;
/// Longest time for which a frame is held.
const HELD_NS_MAX: u64 = 200_000_000;
/// Frames that are recognised when they come again: those of a batch that is sent twice.
const RECENT_MAX: usize = 256;
/// Late frames in rising order that make a restart.
const RESTARTED_AFTER: u32 = 8;

/// What a frame is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    /// Its number.
    pub(super) seq: u64,
    /// Its own time, by whichever clock it states.
    pub(super) own_ns: Option<u64>,
    /// Its capture, nanoseconds since 1970, if it states that.
    pub(super) unix_ns: Option<u64>,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is passed on, now or later.
    Taken,
    /// A newer one was passed on before.
    Late,
    /// It came before.
    Doubled,
}

/// See the module.
pub(super) struct Order<T> {
    /// The last frame that was passed on.
    last: Option<Name>,
    /// How far its number is from that of the frame before.
    step: u64,
    /// What is added to numbers, so that they rise after a restart.
    base: u64,
    held: BTreeMap<u64, Held<T>>,
    recent: VecDeque<(u64, Option<u64>)>,
    /// Late frames in rising order, and the number of the last.
    late: (u32, u64),
}

struct Held<T> {
    name: Name,
    item: T,
    since_ns: u64,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { last: None, step: 1, base: 0, held: BTreeMap::new(), recent: VecDeque::new(), late: (0, 0) }
    }
}

impl<T> Order<T> {
    /// The number of a frame that states none: after all that have come.
    pub(super) fn next_seq(&self) -> u64 {
        let newest = self.held.last_key_value().map(|(seq, _)| *seq).or(self.last.map(|last| last.seq));
        newest.map_or(0, |seq| seq.saturating_add(1))
    }

    /// Places a frame. `pass` gets what is passed on, with numbers that rise.
    pub(super) fn put(&mut self, name: Name, item: T, now_ns: u64, pass: &mut impl FnMut(u64, T)) -> Placed {
        match self.last {
            Some(last) if name.seq <= last.seq => {
                if !self.is_restart(name, last) {
                    return if self.is_recent(name) { Placed::Doubled } else { Placed::Late };
                }
                self.release_all(pass);
                let next = self.last.map_or(0, |last| last.seq.saturating_add(self.base).saturating_add(1));
                *self = Self { base: next.saturating_sub(name.seq), ..Self::default() };
            }
            _ if self.held.contains_key(&name.seq) => return Placed::Doubled,
            _ => {}
        }
        let is_first = self.held.first_key_value().is_none_or(|(first, _)| name.seq < *first);
        if is_first && follows(self.last, self.step, name.seq) {
            self.pass(name, item, pass);
            self.release_following(pass);
        } else {
            self.held.insert(name.seq, Held { name, item, since_ns: now_ns });
            if self.held.len() > HELD_MAX {
                self.release_first(pass);
            }
        }
        Placed::Taken
    }

    /// Passes on what was held for long enough.
    pub(super) fn release(&mut self, now_ns: u64, pass: &mut impl FnMut(u64, T)) {
        let is_over = |held: &Held<T>| now_ns.saturating_sub(held.since_ns) >= HELD_NS_MAX;
        let Some(until) = self.held.iter().rev().find(|(_, held)| is_over(held)).map(|(seq, _)| *seq) else { return };
        while self.held.first_key_value().is_some_and(|(seq, _)| *seq <= until) {
            self.release_first(pass);
        }
    }

    /// Whether frames are held.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    fn release_all(&mut self, pass: &mut impl FnMut(u64, T)) {
        while self.holds() {
            self.release_first(pass);
        }
    }

    /// Passes on the first held frame and those that follow it.
    fn release_first(&mut self, pass: &mut impl FnMut(u64, T)) {
        if let Some((_, Held { name, item, .. })) = self.held.pop_first() {
            self.pass(name, item, pass);
            self.release_following(pass);
        }
    }

    fn release_following(&mut self, pass: &mut impl FnMut(u64, T)) {
        while let Some(entry) = self.held.first_entry()
            && follows(self.last, self.step, *entry.key())
        {
            let Held { name, item, .. } = entry.remove();
            self.pass(name, item, pass);
        }
    }

    fn pass(&mut self, name: Name, item: T, pass: &mut impl FnMut(u64, T)) {
        self.step = self.last.map_or(1, |last| name.seq - last.seq);
        self.last = Some(name);
        self.late = (0, 0);
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((name.seq, name.own_ns));
        pass(name.seq.saturating_add(self.base), item);
    }

    fn is_recent(&self, name: Name) -> bool {
        self.recent.iter().rev().any(|recent| *recent == (name.seq, name.own_ns))
    }

    /// Whether a frame with a number that was passed belongs to a camera that counts anew.
    fn is_restart(&mut self, name: Name, last: Name) -> bool {
        if self.is_recent(name) {
            return false;
        }
        if name.unix_ns.zip(last.unix_ns).is_some_and(|(captured, last)| captured > last) {
            return true;
        }
        // A clock may have been set back, and a time may be a lie: neither locks a camera out.
        let (count, before) = self.late;
        self.late = (if count > 0 && name.seq > before { count + 1 } else { 1 }, name.seq);
        self.late.0 >= RESTARTED_AFTER
    }
}

fn follows(last: Option<Name>, step: u64, seq: u64) -> bool {
    last.is_none_or(|last| seq - last.seq == 1 || seq - last.seq == step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn named(seq: u64) -> Name {
        Name { seq, own_ns: Some(seq * 100), unix_ns: None }
    }

    /// An order with what it passed on.
    #[derive(Default)]
    struct Run {
        order: Order<u64>,
        passed: Vec<u64>,
        numbers: Vec<u64>,
    }

    impl Run {
        fn put(&mut self, name: Name, now_ns: u64) -> Placed {
            let (passed, numbers) = (&mut self.passed, &mut self.numbers);
            self.order.put(name, name.seq, now_ns, &mut |number, seq| {
                passed.push(seq);
                numbers.push(number);
            })
        }

        fn all(&mut self, seqs: impl IntoIterator<Item = u64>) -> Vec<Placed> {
            seqs.into_iter().map(|seq| self.put(named(seq), 0)).collect()
        }

        fn release(&mut self, now_ns: u64) {
            let passed = &mut self.passed;
            self.order.release(now_ns, &mut |_, seq| passed.push(seq));
        }
    }

    #[test]
    fn frames_out_of_order_are_passed_on_in_order_and_late_ones_are_not() {
        let mut run = Run::default();
        assert_eq!(run.all([7, 8, 10, 11, 9]), [Placed::Taken; 5]);
        assert_eq!(run.passed, [7, 8, 9, 10, 11]);
        assert_eq!(run.all([3, 9, 9]), [Placed::Late, Placed::Doubled, Placed::Doubled]);
        let other = Name { own_ns: Some(1), ..named(9) };
        assert_eq!(run.put(other, 0), Placed::Late, "another frame with a number that was passed");
    }

    #[test]
    fn a_missing_frame_is_waited_for_as_long_as_the_window_says_and_no_longer() {
        let mut run = Run::default();
        run.all([0, 1]);
        run.put(named(3), 10 * MS);
        run.put(named(5), 150 * MS);
        assert_eq!(run.put(named(5), 150 * MS), Placed::Doubled);
        run.release(209 * MS);
        assert_eq!(run.passed, [0, 1]);
        run.release(210 * MS);
        assert_eq!(run.passed, [0, 1, 3, 5], "5 is as far from 3 as 3 from 1");
        assert_eq!(run.put(named(2), 220 * MS), Placed::Late);
        assert!(!run.order.holds());
    }

    #[test]
    fn no_more_are_held_than_the_bound_says() {
        let mut run = Run::default();
        run.all([0]);
        // No two steps are equal.
        run.all((1..39).map(|n| 3_u64.pow(n)));
        assert!(run.order.held.len() <= HELD_MAX);
        assert_eq!(run.passed.len(), 1 + 38 - HELD_MAX);
    }

    #[test]
    fn a_camera_that_leaves_numbers_out_is_not_waited_for() {
        let mut run = Run::default();
        run.all([0, 5]);
        run.release(HELD_NS_MAX);
        run.all([10, 15, 20]);
        assert_eq!(run.passed, [0, 5, 10, 15, 20]);
        assert!(!run.order.holds());
    }

    #[test]
    fn a_camera_that_counts_anew_is_followed_and_a_batch_that_comes_twice_is_not_judged_twice() {
        let mut run = Run::default();
        run.all(1000..1100);
        assert!(run.all(1000..1100).iter().all(|placed| *placed == Placed::Doubled));
        let placed = run.all(0..10);
        assert!(placed[..7].iter().all(|placed| *placed == Placed::Late), "{placed:?}");
        assert!(placed[7..].iter().all(|placed| *placed == Placed::Taken), "{placed:?}");
        assert_eq!(run.numbers[98..], [1098, 1099, 1100, 1101, 1102]);
        let captured = |seq, unix_ns| Name { seq, own_ns: Some(unix_ns), unix_ns: Some(unix_ns) };
        let mut run = Run::default();
        run.put(captured(50, 5_000), 0);
        assert_eq!(run.put(captured(40, 4_000), 0), Placed::Late);
        assert_eq!(run.put(captured(0, 6_000), 0), Placed::Taken, "it was captured later");
        assert_eq!(run.numbers, [50, 51]);
    }

    #[test]
    fn whatever_comes_the_numbers_rise_and_the_bounds_hold() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..200 {
            let (mut run, mut taken, mut now_ns) = (Run::default(), 0, 0);
            for _ in 0..300 {
                let seq = if rng.u8(..) < 20 { rng.u64(..1 << 53) } else { rng.u64(..60) };
                let time = rng.bool().then(|| rng.u64(..100));
                let name = Name { seq, own_ns: time, unix_ns: time.filter(|_| rng.bool()) };
                now_ns += rng.u64(..50 * MS);
                taken += usize::from(run.put(name, now_ns) == Placed::Taken);
                if rng.bool() {
                    let (passed, numbers) = (&mut run.passed, &mut run.numbers);
                    run.order.release(now_ns, &mut |number, seq| {
                        passed.push(seq);
                        numbers.push(number);
                    });
                }
                assert!(run.order.held.len() <= HELD_MAX && run.order.recent.len() <= RECENT_MAX);
                assert_eq!(run.passed.len() + run.order.held.len(), taken, "none is lost");
            }
            assert!(run.numbers.windows(2).all(|two| two[0] < two[1]), "{:?}", run.numbers);
        }
    }
}
