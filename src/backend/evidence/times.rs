//! Decoding times for a container, from the presentation times alone: RTP states no others.

/// The times of one picture in a clip, nanoseconds from the clip's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it is shown.
    pub pts_ns: u64,
    /// When it is decoded: strictly later than the one before, and never after it is shown.
    pub dts_ns: u64,
}

/// The least distance of two pictures.
const STEP_NS: u64 = 1_000_000;

/// The times of pictures in decoding order, from the times at which they are shown. Decoding times are the sorted
/// presentation times, all moved by what makes none of them later than its picture is shown; in a stream without
/// B-frames both are equal.
pub fn decode_times(shown_ns: &[u64]) -> Vec<Times> {
    let mut sorted = shown_ns.to_vec();
    sorted.sort_unstable();
    let mut next = 0;
    for at in &mut sorted {
        *at = (*at).max(next);
        next = *at + STEP_NS;
    }
    let first = sorted.first().copied().unwrap_or_default();
    let late = sorted.iter().zip(shown_ns).map(|(decoded, shown)| decoded.saturating_sub(*shown)).max();
    let late = late.unwrap_or_default();
    let times = sorted.iter().zip(shown_ns).map(|(decoded, shown)| Times {
        pts_ns: shown.saturating_add(late).saturating_sub(first),
        dts_ns: decoded.saturating_sub(first),
    });
    times.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn times(shown_ms: &[u64]) -> Vec<(u64, u64)> {
        let shown: Vec<u64> = shown_ms.iter().map(|ms| ms * MS).collect();
        decode_times(&shown).into_iter().map(|times| (times.pts_ns / MS, times.dts_ns / MS)).collect()
    }

    #[test]
    fn without_reordering_both_times_are_equal() {
        assert_eq!(times(&[1_000, 1_040, 1_080]), [(0, 0), (40, 40), (80, 80)]);
        assert_eq!(times(&[]), []);
    }

    #[test]
    fn reordered_pictures_are_decoded_before_they_are_shown() {
        // I P B B P B B, as it is sent.
        let shown = [0, 120, 40, 80, 240, 160, 200];
        let times = times(&shown);
        assert!(times.windows(2).all(|pair| pair[0].1 < pair[1].1), "{times:?}");
        assert!(times.iter().all(|(pts, dts)| dts <= pts), "{times:?}");
        let moved: Vec<u64> = times.iter().map(|(pts, _)| pts - times[0].0).collect();
        assert_eq!(moved, shown, "their distances stay");
    }

    #[test]
    fn equal_times_do_not_stand_still() {
        assert!(times(&[5, 5, 5]).windows(2).all(|pair| pair[0].1 < pair[1].1));
    }
}
