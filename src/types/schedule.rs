//! Hours of the week, on the wall clock of a time zone.

use super::local_time::{LocalTime, TimeZone, Weekday};

/// Minutes of a day.
pub const DAY_MINUTES: u16 = 24 * 60;

/// A span of hours that begins on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// The days on which it begins.
    pub days: Vec<Weekday>,
    /// The first minute of the day, below [`DAY_MINUTES`].
    pub from: u16,
    /// The minute at which it ends, at most [`DAY_MINUTES`]; on the next day if it is before `from`.
    pub to: u16,
}

/// When something holds: while the clock on the wall shows one of these hours.
///
/// The wall clock alone decides. An hour that it skips in spring does not occur, one that it repeats in autumn occurs
/// twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The zone whose clock it is.
    pub zone: TimeZone,
    /// The hours.
    pub hours: Vec<Hours>,
}

impl Hours {
    fn holds(&self, now: &LocalTime) -> bool {
        let minute = u16::from(now.hour) * 60 + u16::from(now.minute);
        let begins = |day: Weekday| self.days.contains(&day);
        if self.from < self.to {
            return begins(now.weekday) && (self.from..self.to).contains(&minute);
        }
        (begins(now.weekday) && minute >= self.from) || (begins(now.weekday.before()) && minute < self.to)
    }
}

impl Schedule {
    /// Whether it holds at a moment, in nanoseconds since 1970 UTC.
    pub fn holds(&self, unix_ns: u64) -> bool {
        let now = self.zone.at(unix_ns);
        self.hours.iter().any(|hours| hours.holds(&now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rfc3339::tests::at;

    fn schedule(zone: &str, days: &[Weekday], from: u16, to: u16) -> Schedule {
        Schedule {
            zone: TimeZone::of(zone).expect("a zone"),
            hours: vec![Hours {
                days: days.to_vec(),
                from: from / 100 * 60 + from % 100,
                to: to / 100 * 60 + to % 100,
            }],
        }
    }

    /// The minutes at which it holds, of those from `from` to `to`.
    fn minutes(schedule: &Schedule, from: &str, to: &str) -> usize {
        (at(from)..at(to)).step_by(60_000_000_000).filter(|moment| schedule.holds(*moment)).count()
    }

    #[test]
    fn hours_of_a_day_begin_with_the_first_minute_and_end_before_the_last() {
        let day = schedule("UTC", &Weekday::ALL, 900, 1700);
        for (moment, holds) in [
            ("2026-11-28T08:59:59Z", false),
            ("2026-11-28T09:00:00Z", true),
            ("2026-11-28T16:59:59.999Z", true),
            ("2026-11-28T17:00:00Z", false),
        ] {
            assert_eq!(day.holds(at(moment)), holds, "{moment}");
        }
        let whole = schedule("UTC", &[Weekday::Sat], 0, 2400);
        assert_eq!(minutes(&whole, "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"), 1440);
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
        // 2026-11-27 is a Friday.
        let night = schedule("UTC", &[Weekday::Fri], 2200, 600);
        for (moment, holds) in [
            ("2026-11-27T05:59:59Z", false),
            ("2026-11-27T21:59:59Z", false),
            ("2026-11-27T22:00:00Z", true),
            ("2026-11-28T05:59:59Z", true),
            ("2026-11-28T06:00:00Z", false),
            ("2026-11-28T22:00:00Z", false),
        ] {
            assert_eq!(night.holds(at(moment)), holds, "{moment}");
        }
        let sunday = schedule("UTC", &[Weekday::Sun], 2200, 600);
        assert!(sunday.holds(at("2026-11-30T01:00:00Z")), "a Monday morning is of Sunday night");
        assert_eq!(minutes(&sunday, "2026-11-23T06:00:00Z", "2026-11-30T06:00:00Z"), 480);
    }

    #[test]
    fn the_wall_clock_decides_when_it_jumps_and_when_it_repeats_an_hour() {
        let zone = "Europe/Vienna";
        let (spring, autumn) =
            (["2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"], ["2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"]);
        let night = schedule(zone, &[Weekday::Sat], 2200, 600);
        assert_eq!(minutes(&night, spring[0], spring[1]), 7 * 60);
        assert_eq!(minutes(&night, autumn[0], autumn[1]), 9 * 60);
        let skipped = schedule(zone, &Weekday::ALL, 200, 300);
        assert_eq!(minutes(&skipped, spring[0], spring[1]), 0);
        assert_eq!(minutes(&skipped, autumn[0], autumn[1]), 2 * 60);
        // It ends in the hour that is skipped: it ends with the jump.
        let into = schedule(zone, &Weekday::ALL, 130, 230);
        assert_eq!(minutes(&into, spring[0], spring[1]), 30);
        let over = schedule(zone, &Weekday::ALL, 230, 330);
        assert_eq!(minutes(&over, spring[0], spring[1]), 30);
    }

    #[test]
    fn the_days_are_those_of_the_zone() {
        let monday = schedule("Pacific/Auckland", &[Weekday::Mon], 0, 2400);
        // 13 hours ahead: Monday there begins at 11:00 on Sunday.
        assert!(!monday.holds(at("2026-11-29T10:59:00Z")) && monday.holds(at("2026-11-29T11:00:00Z")));
    }
}
