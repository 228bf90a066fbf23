//! Date and time of day in a time zone, as pure functions of a moment. Nothing else uses `jiff`.
//!
//! The rules of all zones are part of the program, so that the same moment gives the same date on every machine.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::{self, TimeZoneDatabase};

/// A time zone of the IANA database.
#[derive(Clone)]
pub struct TimeZone {
    name: Arc<str>,
    rules: tz::TimeZone,
}

/// Date and time of day in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Year.
    pub year: i16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
    /// Day of the week.
    pub weekday: Weekday,
    /// Day of the year, from 1.
    pub yday: u16,
    /// Minutes that local time is ahead of UTC.
    pub offset_minutes: i32,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Weekday {
    /// Every day, from Monday.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// Its word, `mon`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }

    /// The day of a word; capitals do not matter.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|day| day.as_str().eq_ignore_ascii_case(word))
    }

    /// The day before.
    #[must_use]
    pub fn before(self) -> Self {
        Self::ALL[(self as usize + 6) % 7]
    }
}

impl TimeZone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: tz::TimeZone::UTC }
    }

    /// The zone of a name, `Europe/Vienna`; capitals do not matter. `None` if there is no such zone.
    pub fn of(name: &str) -> Option<Self> {
        let rules = TimeZoneDatabase::bundled().get(name).ok()?;
        Some(Self { name: rules.iana_name().unwrap_or(name).into(), rules })
    }

    /// The names of all zones.
    pub fn names() -> Vec<String> {
        TimeZoneDatabase::bundled().available().map(|name| name.as_str().to_owned()).collect()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Date and time of day at a moment, in nanoseconds since 1970 UTC.
    pub fn at(&self, unix_ns: u64) -> LocalTime {
        // A u64 of nanoseconds ends in the year 2554, long before the end of the calendar.
        let moment = Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
        let offset = self.rules.to_offset(moment);
        let local = offset.to_datetime(moment);
        LocalTime {
            year: local.year(),
            month: local.month().unsigned_abs(),
            day: local.day().unsigned_abs(),
            hour: local.hour().unsigned_abs(),
            minute: local.minute().unsigned_abs(),
            second: local.second().unsigned_abs(),
            weekday: weekday(local.weekday()),
            yday: local.day_of_year().unsigned_abs(),
            offset_minutes: offset.seconds() / 60,
        }
    }
}

fn weekday(day: jiff::civil::Weekday) -> Weekday {
    let index = usize::from(day.to_monday_zero_offset().unsigned_abs());
    Weekday::ALL.get(index).copied().unwrap_or(Weekday::Mon)
}

/// A period of a time zone's clock.
#[derive(Debug, Clone, PartialEq)]
pub enum Period {
    /// An hour.
    Hour(TimeZone),
    /// A day, from midnight.
    Day(TimeZone),
}

impl Period {
    /// The number of the period at a moment, in seconds since 1970 UTC: a later period has a higher one. An hour that
    /// comes twice, when clocks are set back, is one.
    pub fn number(&self, unix_s: u64) -> u64 {
        let day = |at: &LocalTime| {
            let year = u64::try_from(at.year).unwrap_or(0);
            (year * 12 + u64::from(at.month)) * 31 + u64::from(at.day)
        };
        match self {
            Self::Hour(zone) => {
                let at = zone.at(unix_s.saturating_mul(1_000_000_000));
                day(&at) * 24 + u64::from(at.hour)
            }
            Self::Day(zone) => day(&zone.at(unix_s.saturating_mul(1_000_000_000))),
        }
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self::utc()
    }
}

impl PartialEq for TimeZone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rfc3339::tests::at;

    fn shown(zone: &str, moment: &str) -> String {
        let LocalTime { year, month, day, hour, minute, second, weekday, yday, offset_minutes } =
            TimeZone::of(zone).expect("a zone").at(at(moment));
        let weekday = weekday.as_str();
        format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} {weekday} {yday} {offset_minutes}")
    }

    #[test]
    fn a_moment_has_the_date_and_time_of_its_zone() {
        for (zone, moment, local) in [
            ("UTC", "2026-11-28T23:59:59Z", "2026-11-28 23:59:59 sat 332 0"),
            ("Europe/Vienna", "2026-11-28T23:30:00Z", "2026-11-29 00:30:00 sun 333 60"),
            ("Asia/Kathmandu", "2026-01-01T00:00:00Z", "2026-01-01 05:45:00 thu 1 345"),
            ("America/New_York", "2025-01-01T00:00:00Z", "2024-12-31 19:00:00 tue 366 -300"),
            ("Pacific/Kiritimati", "2026-12-31T12:00:00Z", "2027-01-01 02:00:00 fri 1 840"),
        ] {
            assert_eq!(shown(zone, moment), local, "{zone} {moment}");
        }
    }

    #[test]
    fn clocks_jump_in_spring_and_repeat_an_hour_in_autumn() {
        for (moment, local) in [
            ("2026-03-29T00:59:59Z", "2026-03-29 01:59:59 sun 88 60"),
            ("2026-03-29T01:00:00Z", "2026-03-29 03:00:00 sun 88 120"),
            ("2026-10-25T00:30:00Z", "2026-10-25 02:30:00 sun 298 120"),
            ("2026-10-25T01:30:00Z", "2026-10-25 02:30:00 sun 298 60"),
            // Years after the last explicit rule.
            ("2060-07-01T12:00:00Z", "2060-07-01 14:00:00 thu 183 120"),
        ] {
            assert_eq!(shown("Europe/Vienna", moment), local, "{moment}");
        }
    }

    #[test]
    fn a_zone_is_found_by_its_name_in_any_case_and_no_other() {
        assert_eq!(TimeZone::of("europe/vienna").map(|zone| zone.name().to_owned()), Some("Europe/Vienna".into()));
        assert_eq!(TimeZone::of("utc"), Some(TimeZone::utc()));
        assert_eq!((TimeZone::of("Europe/Wien"), TimeZone::of(""), TimeZone::of("../etc")), (None, None, None));
        assert!(TimeZone::names().iter().any(|name| name == "Europe/Vienna"));
        assert_eq!(Weekday::Mon.before(), Weekday::Sun);
        assert_eq!((Weekday::of("Sun"), Weekday::of("sunday")), (Some(Weekday::Sun), None));
    }
}
