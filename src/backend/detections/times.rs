//! The times of one source's frames, by the camera's clock as far as it can be believed. Pure.
//!
//! A capture time is believed from [`BEHIND_NS_MAX`] before the arrival to [`AHEAD_NS_MAX`] after it. A time that only
//! counts since some start is believed within [`AHEAD_NS_MAX`] of what it was against the engine's clock before. Any
//! other time, and none at all, is replaced by that of the arrival. Frame times never decrease.

/// How far ahead of its arrival a frame may have been captured: clocks differ.
const AHEAD_NS_MAX: i128 = 5_000_000_000;
/// How far behind: what a camera has kept while it was cut off.
const BEHIND_NS_MAX: i128 = 600_000_000_000;

/// The times that a message states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stated {
    /// Since some start, nanoseconds.
    pub(super) pts_ns: Option<u64>,
    /// Since 1970, nanoseconds.
    pub(super) unix_ns: Option<u64>,
}

/// A moment by the engine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) monotonic_ns: u64,
    pub(super) unix_ns: u64,
}

/// The time of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) pts_ns: u64,
    pub(super) captured_unix_ns: u64,
    /// Whether it stated a time that was not believed.
    pub(super) is_retimed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// A stated time since some start, and the engine's time of the same moment.
    anchor: Option<(u64, u64)>,
    last_ns: u64,
}

impl Times {
    /// The time of the next frame, which arrived at `now`.
    pub(super) fn place(&mut self, stated: Stated, now: Now) -> Moment {
        let (offset_ns, is_believed) = self.offset(stated, now);
        let pts_ns = shifted(now.monotonic_ns, offset_ns).max(self.last_ns);
        self.last_ns = pts_ns;
        Moment { pts_ns, captured_unix_ns: shifted(now.unix_ns, offset_ns), is_retimed: !is_believed }
    }

    /// How far from its arrival a frame was captured, and whether that is what it states.
    fn offset(&mut self, stated: Stated, now: Now) -> (i128, bool) {
        if let Some(unix_ns) = stated.unix_ns {
            let offset_ns = i128::from(unix_ns) - i128::from(now.unix_ns);
            let is_believed = (-BEHIND_NS_MAX..=AHEAD_NS_MAX).contains(&offset_ns);
            return (if is_believed { offset_ns } else { 0 }, is_believed);
        }
        let Some(pts_ns) = stated.pts_ns else { return (0, true) };
        let known = self.anchor.map(|(stated_ns, ours_ns)| {
            i128::from(ours_ns) + i128::from(pts_ns) - i128::from(stated_ns) - i128::from(now.monotonic_ns)
        });
        match known {
            Some(offset_ns) if (-AHEAD_NS_MAX..=AHEAD_NS_MAX).contains(&offset_ns) => (offset_ns, true),
            known => {
                self.anchor = Some((pts_ns, now.monotonic_ns));
                (0, known.is_none())
            }
        }
    }
}

/// A time that lies so far from another.
fn shifted(ns: u64, offset_ns: i128) -> u64 {
    u64::try_from((i128::from(ns) + offset_ns).max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn now(s: u64) -> Now {
        Now { monotonic_ns: s * S, unix_ns: (1_000_000 + s) * S }
    }

    fn pts(s: u64) -> Stated {
        Stated { pts_ns: Some(s * S), unix_ns: None }
    }

    fn captured(s: u64) -> Stated {
        Stated { pts_ns: Some(7), unix_ns: Some((1_000_000 + s) * S) }
    }

    #[test]
    fn frames_that_come_together_keep_their_distances() {
        let mut times = Times::default();
        let placed: Vec<_> =
            [pts(100), pts(101), pts(103)].map(|stated| times.place(stated, now(50)).pts_ns / S).into();
        assert_eq!(placed, [50, 51, 53]);
        let mut times = Times::default();
        let placed = [captured(700), captured(800), captured(900)].map(|stated| times.place(stated, now(1_000)));
        assert_eq!(placed.map(|moment| moment.pts_ns / S), [700, 800, 900], "what was kept while it was cut off");
        assert_eq!(placed.map(|moment| moment.captured_unix_ns / S), [1_000_700, 1_000_800, 1_000_900]);
        assert!(placed.iter().all(|moment| !moment.is_retimed));
    }

    #[test]
    fn a_time_that_cannot_be_is_that_of_the_arrival() {
        let mut times = Times::default();
        assert!(!times.place(pts(100), now(50)).is_retimed);
        for (stated, at) in [
            (Stated { pts_ns: Some(u64::MAX), unix_ns: None }, 51),
            (pts(0), 52),
            (captured(58), 52),
            (Stated { pts_ns: None, unix_ns: Some(0) }, 53),
            (Stated { pts_ns: None, unix_ns: Some(u64::MAX) }, 54),
        ] {
            let moment = times.place(stated, now(at));
            let expected = Moment { pts_ns: at * S, captured_unix_ns: now(at).unix_ns, is_retimed: true };
            assert_eq!(moment, expected, "{stated:?}");
        }
        assert_eq!(times.place(Stated::default(), now(60)).pts_ns, 60 * S);
    }

    #[test]
    fn whatever_is_stated_times_never_decrease_and_stay_near_the_arrival() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..200 {
            let (mut times, mut last_ns, mut at) = (Times::default(), 0, 1_000);
            for _ in 0..200 {
                at += rng.u64(..3);
                let mut any = || match rng.u8(..4) {
                    0 => None,
                    1 => Some(rng.u64(..)),
                    2 => Some(rng.u64(..4_000) * S),
                    _ => Some((1_000_000 + at) * S + rng.u64(..10 * S)),
                };
                let moment = times.place(Stated { pts_ns: any(), unix_ns: any() }, now(at));
                assert!(moment.pts_ns >= last_ns && moment.pts_ns <= (at + 5) * S);
                assert!(moment.captured_unix_ns >= (1_000_000 + at - 600) * S);
                last_ns = moment.pts_ns;
            }
        }
    }
}
