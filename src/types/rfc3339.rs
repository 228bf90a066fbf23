//! Moments as RFC 3339 writes them, in UTC: `2026-01-31T14:30:00.000Z`.

use std::time::{Duration, UNIX_EPOCH};

/// The last millisecond of the year 9999: later ones, as a damaged file may have, cannot be written.
const LAST_MS: u64 = 253_402_300_799_999;

/// A moment as text, to the millisecond.
pub fn rfc3339(unix_ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(unix_ms.min(LAST_MS))).to_string()
}

/// The time from 1970 to a moment; `None` for one before, and for any other text.
pub fn since_epoch(text: &str) -> Option<Duration> {
    humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A moment in nanoseconds.
    pub(in crate::types) fn at(text: &str) -> u64 {
        u64::try_from(since_epoch(text).expect("a time").as_nanos()).expect("before 2554")
    }

    #[test]
    fn a_moment_is_read_as_it_is_written() {
        for unix_ms in [0, 1_700_000_000_123, LAST_MS] {
            assert_eq!(since_epoch(&rfc3339(unix_ms)), Some(Duration::from_millis(unix_ms)));
        }
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(since_epoch("1969-12-31T23:59:59Z"), None);
        assert_eq!(since_epoch("yesterday"), None);
    }
}
