//! Builds the time zone, and the hours of strategies and of quiet.

use super::Site;
use crate::config::nearest::nearest;
use crate::config::plan::{ProfileHours, QuietHours};
use crate::config::schema::{HoursEntry, OneOrMany, ProfileEntry, QuietEntry};
use crate::types::{DAY_MINUTES, Hours, Schedule, TimeZone, Weekday};

/// The zone that `timezone` names.
pub(super) fn zone(name: Option<&str>, site: &mut Site<'_>) -> TimeZone {
    let Some(name) = name else { return TimeZone::utc() };
    TimeZone::of(name).unwrap_or_else(|| {
        let names = TimeZone::names();
        let label = match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "expected a name of the IANA database, such as `Europe/Vienna`".to_owned(),
        };
        site.wrong("timezone", format!("there is no time zone `{name}`"), label);
        TimeZone::utc()
    })
}

/// A strategy's schedule; `None` if it always judges.
pub(super) fn schedule(
    entries: &OneOrMany<HoursEntry>,
    path: &str,
    zone: &TimeZone,
    site: &mut Site<'_>,
) -> Option<Schedule> {
    let hours: Vec<Hours> = each(&entries.0, path, site)
        .filter_map(|(entry, path)| {
            let HoursEntry { days, from, to } = entry;
            hours(days, (from.as_deref(), to.as_deref()), &path, site)
        })
        .collect();
    (!hours.is_empty()).then(|| Schedule { zone: zone.clone(), hours })
}

/// The hours of `quiet_hours`.
pub(super) fn quiet(
    entries: &OneOrMany<QuietEntry>,
    path: &str,
    zone: &TimeZone,
    site: &mut Site<'_>,
) -> Vec<QuietHours> {
    each(&entries.0, path, site)
        .filter_map(|(entry, path)| {
            let QuietEntry { days, from, to, min_level } = entry;
            let hours = hours(days, (from.as_deref(), to.as_deref()), &path, site)?;
            let schedule = Schedule { zone: zone.clone(), hours: vec![hours] };
            Some(QuietHours { schedule, min_level: (*min_level).into() })
        })
        .collect()
}

/// The hours of `profile_schedule`.
pub(super) fn profiles(entries: &OneOrMany<ProfileEntry>, zone: &TimeZone, site: &mut Site<'_>) -> Vec<ProfileHours> {
    each(&entries.0, "profile_schedule", site)
        .filter_map(|(entry, path)| {
            let ProfileEntry { profile, days, from, to } = entry;
            if let Some((message, label)) = site.profiles.unknown(profile) {
                site.wrong(&format!("{path}.profile"), message, label);
            }
            let hours = hours(days, (from.as_deref(), to.as_deref()), &path, site)?;
            let schedule = Schedule { zone: zone.clone(), hours: vec![hours] };
            Some(ProfileHours { profile: profile.clone(), schedule })
        })
        .collect()
}

/// The items of a list with their paths; an only item may stand without the list.
fn each<'e, T>(entries: &'e [T], path: &str, site: &Site<'_>) -> impl Iterator<Item = (&'e T, String)> + use<'e, T> {
    let (path, is_list) = (path.to_owned(), site.places.is_set(&format!("{path}[0]")));
    let at = move |index: usize| if is_list { format!("{path}[{index}]") } else { path.clone() };
    entries.iter().enumerate().map(move |(index, entry)| (entry, at(index)))
}

/// One entry's hours; reports what cannot be read.
fn hours(
    days: &OneOrMany<String>,
    (from, to): (Option<&str>, Option<&str>),
    path: &str,
    site: &mut Site<'_>,
) -> Option<Hours> {
    let days = each_day(days, &format!("{path}.days"), site);
    let mut time = |key: &str, text: Option<&str>, default: u16, most: u16| match text {
        None => Some(default),
        Some(text) => minute(text).filter(|minute| *minute <= most).or_else(|| {
            let label = format!("expected hours and minutes, from `00:00` to `{:02}:{:02}`", most / 60, most % 60);
            site.wrong(&format!("{path}.{key}"), format!("`{path}.{key}` is no time of day"), label);
            None
        }),
    };
    let start = time("from", from, 0, DAY_MINUTES - 1);
    let end = time("to", to, DAY_MINUTES, DAY_MINUTES);
    let (from, to) = (start?, end?);
    if from == to {
        let label = "leave both out for the whole day";
        site.wrong(&format!("{path}.to"), format!("`{path}` begins and ends at the same time"), label);
        return None;
    }
    Some(Hours { days: days?, from, to })
}

/// The days of a list of words and spans; every day without one.
fn each_day(words: &OneOrMany<String>, path: &str, site: &mut Site<'_>) -> Option<Vec<Weekday>> {
    if words.is_empty() && !site.places.is_set(path) {
        return Some(Weekday::ALL.to_vec());
    }
    if words.is_empty() {
        site.wrong(path, format!("`{path}` names no day"), "leave it out for every day");
        return None;
    }
    let is_list = site.places.is_set(&format!("{path}[0]"));
    let mut days = Vec::new();
    for (index, word) in words.0.iter().enumerate() {
        let Some(named) = span(word) else {
            let at = if is_list { format!("{path}[{index}]") } else { path.to_owned() };
            let head: String = word.chars().take(3).collect();
            let label = match Weekday::of(&head).filter(|_| !word.contains('-')) {
                Some(day) => format!("did you mean `{}`?", day.as_str()),
                None => {
                    "expected `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`, or a span such as `mon-fri`".to_owned()
                }
            };
            site.wrong(&at, format!("there is no day `{word}`"), label);
            return None;
        };
        days.extend(named);
    }
    days.sort_unstable();
    days.dedup();
    Some(days)
}

/// `fri` or `fri-mon`, which passes Sunday.
fn span(word: &str) -> Option<Vec<Weekday>> {
    let Some((first, last)) = word.split_once('-') else { return Weekday::of(word.trim()).map(|day| vec![day]) };
    let (first, last) = (Weekday::of(first.trim())?, Weekday::of(last.trim())?);
    let count = (last as usize + 7 - first as usize) % 7 + 1;
    Some(Weekday::ALL.into_iter().cycle().skip(first as usize).take(count).collect())
}

/// `HH:MM` in minutes of the day, up to `24:00`.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits =
        |part: &str, most: usize| !part.is_empty() && part.len() <= most && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(hour, 2) || !digits(minute, 2) || minute.len() != 2 {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (minute < 60 && hour * 60 + minute <= DAY_MINUTES).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_days_may_pass_sunday() {
        let words =
            |word: &str| span(word).map(|days| days.into_iter().map(Weekday::as_str).collect::<Vec<_>>().join(" "));
        for (word, days) in [
            ("sat", Some("sat")),
            ("mon-fri", Some("mon tue wed thu fri")),
            ("Sat-Mon", Some("sat sun mon")),
            ("tue-tue", Some("tue")),
            ("mon - wed", Some("mon tue wed")),
            ("monday", None),
            ("mon-", None),
            ("", None),
        ] {
            assert_eq!(words(word).as_deref(), days, "{word}");
        }
    }

    #[test]
    fn a_time_of_day_has_hours_and_minutes() {
        for (text, wanted) in [
            ("00:00", Some(0)),
            ("6:30", Some(390)),
            ("23:59", Some(1439)),
            ("24:00", Some(1440)),
            ("24:01", None),
            ("12:60", None),
            ("12:5", None),
            ("12", None),
            ("-1:00", None),
            ("12:00:00", None),
            ("", None),
        ] {
            assert_eq!(minute(text), wanted, "{text}");
        }
    }
}
