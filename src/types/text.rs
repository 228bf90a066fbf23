//! Makes text from outside (scripts, components, receivers) safe to print on a terminal.

use std::borrow::Cow;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(one_line("a\nERROR b\r\u{1b}[2J\tc\u{202e}\u{9b}d"), "a⏎ERROR b  [2J c  d");
        assert!(matches!(one_line("straße ⏎"), Cow::Borrowed("straße ⏎")));
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(lines("a\n\tb\r\u{7}\u{1b}[2J\u{2028}c"), "a\n\tb   [2J c");
        assert!(matches!(lines("a\n\tb"), Cow::Borrowed(_)));
    }
}
