//! Moments as people write them: `2026-01-31T14:30:00Z`, `-10m` (ago), `14:30` (the last time that a clock showed it).

use dsengine::types::{LocalTime, TimeZone, since_epoch};

const DAY_S: u64 = 86_400;

/// A moment in Unix milliseconds. `now_ms` is the present, `zone` that of a time of day.
pub(crate) fn parse(text: &str, now_ms: u64, zone: &TimeZone) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no moment: write 2026-01-31T14:30:00Z, -10m (ago), 14:30 or now");
    if text == "now" {
        return Ok(now_ms);
    }
    if let Some(ago) = text.strip_prefix('-') {
        let ago = humantime::parse_duration(ago).map_err(|_| wrong())?;
        return Ok(now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)));
    }
    if let Some(second) = second_of_day(text) {
        let LocalTime { hour, minute, second: now_second, .. } = zone.at(now_ms.saturating_mul(1_000_000));
        let now_of_day = u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(now_second);
        // A time later than now is that of yesterday.
        let ago_s = if second <= now_of_day { now_of_day - second } else { now_of_day + DAY_S - second };
        return Ok((now_ms / 1000).saturating_sub(ago_s) * 1000);
    }
    let since = since_epoch(text).ok_or_else(wrong)?;
    Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `14:30` or `14:30:05` as seconds since midnight.
fn second_of_day(text: &str) -> Option<u64> {
    let mut parts = text.split(':');
    let mut part = |most: u64| {
        let part = parts.next()?;
        let is_number = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u64>().ok().filter(|number| is_number && *number <= most)
    };
    let (hour, minute) = (part(23)?, part(59)?);
    let second = if text.matches(':').count() == 2 { part(59)? } else { 0 };
    (text.matches(':').count() <= 2).then_some(hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        // 2026-01-31, 13:00:30 UTC, 14:00:30 in Vienna.
        let now_ms = 1_769_864_430_000;
        let vienna = TimeZone::of("Europe/Vienna").unwrap();
        let at = |text: &str| parse(text, now_ms, &vienna);
        assert_eq!(at("now"), Ok(now_ms));
        assert_eq!(at("-10m"), Ok(now_ms - 600_000));
        assert_eq!(at("-1h 30m"), Ok(now_ms - 5_400_000));
        assert_eq!(at("2026-01-31T13:00:00Z"), Ok(now_ms - 30_000));
        assert_eq!(at("14:00"), Ok(now_ms - 30_000));
        assert_eq!(at("14:00:31"), Ok(now_ms + 1000 - 86_400_000), "yesterday's");
        assert_eq!(parse("13:00", now_ms, &TimeZone::utc()), Ok(now_ms - 30_000));
        for wrong in ["", "-", "25:00", "14:60", "14", "1:2:3:4", "yesterday", "1960-01-01T00:00:00Z"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }
}
