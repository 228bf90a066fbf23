//! Suppresses repeated lines, and lines beyond a rate per minute. Pure, on the caller's clock.
//!
//! Nothing is dropped silently: suppressed lines are counted and summarised with their text.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tracing::Level;

use crate::telemetry::redact;

/// How often a repeated line is summarised, with its count.
pub(super) const REPEATED_NS: u64 = 10_000_000_000;
/// How often an error is written within that time before it counts as repeated: a user who retries sees it again.
const ERRORS_EACH: u32 = 5;
/// The window of the rate limit.
const MINUTE_NS: u64 = 60_000_000_000;
/// Maximum distinct lines remembered; beyond it only the rate limit applies.
const LINES_MAX: usize = 1_000;
/// Longest text quoted in a summary.
const TEXT_BYTES_MAX: usize = 300;

/// What to suppress.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Suppress repeated lines.
    pub(super) repeats: bool,
    /// Maximum lines per target and level in a minute.
    pub(super) per_minute: u32,
}

/// A line to check.
pub(super) struct Candidate<'a> {
    pub(super) target: &'static str,
    pub(super) level: Level,
    pub(super) text: &'a str,
}

/// A summary of suppressed lines.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Summary {
    pub(super) level: Level,
    pub(super) target: &'static str,
    pub(super) count: u64,
    pub(super) message: String,
}

/// Checks lines, in order.
#[derive(Debug)]
pub(super) struct Hold {
    rules: Rules,
    repeats: HashMap<u64, Repeat>,
    minutes: HashMap<(&'static str, Level), Minute>,
    /// Number of first lines.
    firsts: u64,
}

#[derive(Debug)]
struct Repeat {
    since_ns: u64,
    written: u32,
    count: u64,
    level: Level,
    target: &'static str,
    text: String,
    /// Its place in the order of first lines.
    place: u64,
}

#[derive(Debug)]
struct Minute {
    since_ns: u64,
    passed: u32,
    held: u64,
    /// The first suppressed line, and its place in the order of first lines.
    text: String,
    place: u64,
}

impl Hold {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, repeats: HashMap::new(), minutes: HashMap::new(), firsts: 0 }
    }

    /// Whether a line is written. Debug lines always are.
    pub(super) fn passes(&mut self, line: &Candidate<'_>, now_ns: u64) -> bool {
        let Candidate { target, level, text } = *line;
        if level > Level::INFO {
            return true;
        }
        !self.repeats_itself(line, now_ns) && {
            let minute = Minute { since_ns: now_ns, passed: 0, held: 0, text: String::new(), place: 0 };
            let minute = self.minutes.entry((target, level)).or_insert(minute);
            let passes = minute.passed < self.rules.per_minute;
            if passes {
                minute.passed += 1;
            } else {
                if minute.held == 0 {
                    self.firsts += 1;
                    (minute.text, minute.place) = (cut(text), self.firsts);
                }
                minute.held += 1;
            }
            passes
        }
    }

    fn repeats_itself(&mut self, line: &Candidate<'_>, now_ns: u64) -> bool {
        let Candidate { target, level, text } = *line;
        if !self.rules.repeats {
            return false;
        }
        let mut hasher = DefaultHasher::new();
        (target, level, text).hash(&mut hasher);
        let key = hasher.finish();
        if let Some(known) = self.repeats.get_mut(&key) {
            if level == Level::ERROR && known.written < ERRORS_EACH {
                known.written += 1;
                return false;
            }
            known.count += 1;
            return true;
        }
        if self.repeats.len() < LINES_MAX {
            self.firsts += 1;
            let (text, place) = (cut(text), self.firsts);
            self.repeats.insert(key, Repeat { since_ns: now_ns, written: 1, count: 0, level, target, text, place });
        }
        false
    }

    /// The summaries due by now, in the order in which their first lines came.
    pub(super) fn due(&mut self, now_ns: u64) -> Vec<Summary> {
        self.take(now_ns, |since_ns, length_ns| now_ns.saturating_sub(since_ns) >= length_ns)
    }

    /// All summaries, due or not.
    pub(super) fn drain(&mut self, now_ns: u64) -> Vec<Summary> {
        self.take(now_ns, |_, _| true)
    }

    /// The summaries of the spans that are over, by their start and length.
    fn take(&mut self, now_ns: u64, is_over: impl Fn(u64, u64) -> bool) -> Vec<Summary> {
        let mut summaries = Vec::new();
        self.repeats.retain(|_, repeat| {
            if !is_over(repeat.since_ns, REPEATED_NS) {
                return true;
            }
            let Repeat { count, level, target, ref text, place, .. } = *repeat;
            if count == 0 {
                return false;
            }
            let message = format!("{count} more like this: {text}");
            summaries.push((place, Summary { level, target, count, message }));
            (repeat.since_ns, repeat.count) = (now_ns, 0);
            true
        });
        let limit = self.rules.per_minute;
        self.minutes.retain(|(target, level), minute| {
            if !is_over(minute.since_ns, MINUTE_NS) {
                return true;
            }
            let Minute { held, ref text, place, .. } = *minute;
            if held > 0 {
                let message = format!("{held} lines beyond {limit} a minute are left out, the first of them: {text}");
                summaries.push((place, Summary { level: *level, target, count: held, message }));
            }
            false
        });
        summaries.sort_by_key(|(place, _)| *place);
        summaries.into_iter().map(|(_, summary)| summary).collect()
    }
}

/// Redacts the text and truncates it.
fn cut(text: &str) -> String {
    let mut text = redact(text).into_owned();
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rfind(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn hold(repeats: bool, per_minute: u32) -> Hold {
        Hold::new(Rules { repeats, per_minute })
    }

    fn line(level: Level, text: &str) -> Candidate<'_> {
        Candidate { target: "dsengine::x", level, text }
    }

    #[test]
    fn a_line_that_repeats_is_written_once_and_counted_once_in_ten_seconds() {
        let mut hold = hold(true, 1_000);
        let passed = (0..76_558).filter(|_| hold.passes(&line(Level::WARN, "alert not accepted"), S)).count();
        assert_eq!((passed, hold.due(10 * S)), (1, vec![]));
        let summaries = hold.due(11 * S);
        assert_eq!((summaries.len(), summaries[0].count, summaries[0].level), (1, 76_557, Level::WARN));
        assert_eq!(summaries[0].message, "76557 more like this: alert not accepted");
        // The line continues: counted again. It stops: written again when it returns.
        assert!(!hold.passes(&line(Level::WARN, "alert not accepted"), 12 * S));
        assert_eq!(hold.due(21 * S)[0].count, 1);
        assert_eq!(hold.due(31 * S), []);
        assert!(hold.passes(&line(Level::WARN, "alert not accepted"), 32 * S));
        let errors = (0..100).filter(|_| hold.passes(&line(Level::ERROR, "no such plugin"), 32 * S)).count();
        assert_eq!((errors, hold.due(42 * S)[0].count), (ERRORS_EACH as usize, 95));
        // Another text, target or level is another line.
        for (target, level, text) in
            [("a", Level::WARN, "x"), ("b", Level::WARN, "x"), ("a", Level::INFO, "x"), ("a", Level::WARN, "y")]
        {
            assert!(hold.passes(&Candidate { target, level, text }, 32 * S));
        }
    }

    #[test]
    fn lines_beyond_the_limit_are_counted_and_summarised_once_a_minute_errors_too() {
        let mut hold = hold(true, 10);
        for level in [Level::ERROR, Level::INFO] {
            let passed = (0..50).filter(|n| hold.passes(&line(level, &format!("line {n}")), S)).count();
            assert_eq!(passed, 10, "{level}");
        }
        assert_eq!(hold.due(60 * S), []);
        let summaries = hold.due(61 * S);
        let counts: Vec<_> = summaries.iter().map(|summary| (summary.level, summary.count)).collect();
        assert_eq!(counts, [(Level::ERROR, 40), (Level::INFO, 40)]);
        assert_eq!(summaries[0].message, "40 lines beyond 10 a minute are left out, the first of them: line 10");
        assert!(hold.passes(&line(Level::ERROR, "line 99"), 62 * S), "a new minute");
    }

    #[test]
    fn summaries_come_in_the_order_of_their_first_lines() {
        let mut hold = hold(true, 20);
        let texts: Vec<String> = (0..20).map(|n| format!("line {}", n * 7 % 20)).collect();
        for text in texts.iter().chain(&texts) {
            hold.passes(&line(Level::WARN, text), S);
        }
        hold.passes(&line(Level::WARN, "one too many"), S);
        let told: Vec<String> = hold.drain(2 * S).into_iter().map(|summary| summary.message).collect();
        let wanted: Vec<String> = texts.iter().map(|text| format!("1 more like this: {text}")).collect();
        assert_eq!(told[..20], wanted);
        assert!(told.len() == 21 && told[20].ends_with("one too many"), "{told:?}");
    }

    #[test]
    fn what_is_switched_off_and_what_is_for_debugging_is_written() {
        let mut off = hold(false, 1_000_000);
        assert!((0..100).all(|_| off.passes(&line(Level::WARN, "x"), S)));
        let mut on = hold(true, 10);
        assert!((0..100).all(|_| on.passes(&line(Level::DEBUG, "x"), S)));
    }

    #[test]
    fn at_the_end_everything_is_summarised_without_secrets_and_memory_is_bounded() {
        let mut hold = hold(true, 1_000_000);
        let long = format!("rtsp://admin:C4n4ry@cam/{}", "x".repeat(1_000));
        hold.passes(&line(Level::WARN, &long), S);
        hold.passes(&line(Level::WARN, &long), S);
        let summaries = hold.drain(S);
        let message = &summaries[0].message;
        assert!(message.len() < 400 && !message.contains("C4n4ry"), "{message}");
        for n in 0..3 * LINES_MAX {
            assert!(hold.passes(&line(Level::WARN, &format!("line {n}")), S));
        }
        assert_eq!(hold.repeats.len(), LINES_MAX);
    }
}
