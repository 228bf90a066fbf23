//! Makes text from outside (scripts, components, receivers) safe to print on a terminal.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

use super::since_epoch;

/// Turns a text into one line, with control characters replaced.
pub fn one_line(text: &str) -> Cow<'_, str> {
    cleaned(text, |c| steers(c) || c == '\n' || c == '\t')
}

/// Replaces control characters in a text of one or more lines.
pub fn lines(text: &str) -> Cow<'_, str> {
    cleaned(text, steers)
}

/// Whether a character controls the display: control characters, Unicode line separators, direction overrides.
fn steers(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A number of things in words: `1 alert`, `2 alerts`, `0 matches`.
pub fn count<N: Display + PartialEq + From<u8>>(number: N, thing: &str) -> String {
    if number == N::from(1) {
        return format!("{number} {thing}");
    }
    let stem = thing.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']));
    match stem {
        Some(stem) => format!("{number} {stem}ies"),
        None if ["s", "x", "ch", "sh"].iter().any(|end| thing.ends_with(end)) => format!("{number} {thing}es"),
        None => format!("{number} {thing}s"),
    }
}

/// A number of things with its verb: `1 line is`, `2 lines are`.
pub fn count_are<N: Display + PartialEq + From<u8> + Copy>(number: N, thing: &str) -> String {
    format!("{} {}", count(number, thing), if number == N::from(1) { "is" } else { "are" })
}

/// A time in words, to the millisecond: `0.5 s`, `10 s`.
pub fn seconds(time: Duration) -> String {
    format!("{} s", (time.as_secs_f64() * 1e3).round() / 1e3)
}

/// A moment in Unix milliseconds, written so or in RFC 3339.
pub fn unix_ms(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        return text.parse().ok();
    }
    u64::try_from(since_epoch(text)?.as_millis()).ok()
}

fn cleaned(text: &str, is_unwanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_unwanted) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| match c {
        '\n' if is_unwanted(c) => '⏎',
        c if is_unwanted(c) => ' ',
        c => c,
    };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Masks the user and the password of addresses without a scheme, `user:password@host/path`: `***@host/path`. One with a
/// scheme is left as it is.
pub fn without_credentials(text: &str) -> Cow<'_, str> {
    if !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
    let (mut out, mut done, mut start) = (String::new(), 0, 0);
    for piece in text.split_inclusive(is_end) {
        if let Some((from, to)) = credentials(piece.trim_end_matches(is_end)) {
            out.push_str(&text[done..start + from]);
            out.push_str("***");
            done = start + to;
        }
        start += piece.len();
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// The location of `user:password` in a word.
fn credentials(word: &str) -> Option<(usize, usize)> {
    let at = word.rfind('@')?;
    let (head, host) = (&word[..at], &word[at + 1..]);
    let base = head.rfind("://").map_or(0, |scheme| scheme + 3);
    let colon = base + head[base..].find(':')?;
    let from = head[base..colon].rfind(|c| "=([{,/\\".contains(c)).map_or(base, |sign| base + sign + 1);
    let (user, password) = (&head[from..colon], &head[colon + 1..]);
    let is_host =
        host.starts_with(|c: char| c.is_alphanumeric() || "[$_".contains(c)) && host.contains(['.', '/', ':', '?']);
    (!user.is_empty() && !password.is_empty() && is_host && !is_version(host)).then_some((from, at))
}

/// Whether it is the version of a package of components, as in `wasi:cli/run@0.2.0` or `dsengine:plugin@0.3`: an address
/// has four numbers.
fn is_version(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = (text[..end].trim_end_matches('.'), &text[end..]);
    let has_port = rest.strip_prefix(':').is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()));
    let is_longer = rest.starts_with(|c: char| c.is_alphanumeric() || "/?".contains(c));
    (2..=3).contains(&number.split('.').count()) && !is_longer && !has_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_no_more_digits_than_it_needs() {
        for (time, text) in
            [(10.0, "10 s"), (0.5, "0.5 s"), (f64::from(0.3_f32), "0.3 s"), (0.02, "0.02 s"), (0.0, "0 s")]
        {
            assert_eq!(seconds(Duration::from_secs_f64(time)), text);
        }
    }

    #[test]
    fn a_number_has_its_plural() {
        for (number, thing, text) in [
            (1, "alert", "1 alert"),
            (0, "alert", "0 alerts"),
            (2, "strategy", "2 strategies"),
            (1, "strategy", "1 strategy"),
            (3, "day", "3 days"),
            (2, "match", "2 matches"),
            (2, "more alert", "2 more alerts"),
        ] {
            assert_eq!(count(number, thing), text);
        }
        assert_eq!((count_are(1, "line"), count_are(2, "line")), ("1 line is".into(), "2 lines are".into()));
        assert_eq!((count(1_usize, "line"), count(2_u64, "class")), ("1 line".into(), "2 classes".into()));
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(one_line("a\nERROR b\r\u{1b}[2J\tc\u{202e}\u{9b}d"), "a⏎ERROR b  [2J c  d");
        assert!(matches!(one_line("straße ⏎"), Cow::Borrowed("straße ⏎")));
    }

    #[test]
    fn an_address_without_a_scheme_shows_no_password() {
        for (text, shown) in [
            ("admin:C4n4ry@10.0.0.1/s", "***@10.0.0.1/s"),
            ("a rtsp:/admin:C4n4ry@cam/s b", "a ***@cam/s b"),
            ("'rtsp:\\\\admin:C4n4ry@cam/s'", "'***@cam/s'"),
            ("uri=//admin:C4/n4ry@cam:554", "uri=//***@cam:554"),
            ("[a:C4n4ry@h/1,b:C4n4ry@h/2]", "[***@h/2]"),
            ("admin:C4n4ry@1.2.3:554/s", "***@1.2.3:554/s"),
            ("admin:C4n4ry@10.0.example/s", "***@10.0.example/s"),
            ("admin:C4n4ry@10.0/s", "***@10.0/s"),
        ] {
            let out = without_credentials(text);
            assert_eq!(out, shown);
            assert_eq!(without_credentials(&out), out);
        }
        for same in [
            "car:4@yard",
            "wasi:cli/run@0.2.0",
            "the plugin wants dsengine:plugin@0.3, this engine offers 0.1",
            "dsengine:plugin@0.1.0-rc.1: no such world",
            "ops@example.com: rtsp://***@h:554/s",
            "a:b",
            "git@h.example:x",
        ] {
            assert_eq!(without_credentials(same), same);
        }
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(lines("a\n\tb\r\u{7}\u{1b}[2J\u{2028}c"), "a\n\tb   [2J c");
        assert!(matches!(lines("a\n\tb"), Cow::Borrowed(_)));
    }
}
