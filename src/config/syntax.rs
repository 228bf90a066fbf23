//! What may be shown of a line in which the YAML ends: nothing is known of its values, so all that may be secret go.

use super::problem::{LoadError, Origin, Origins, Problems};
use super::secret::{SECRET_SETTINGS, nearly_secret_key};
use super::tree;

/// Keys with an address, or with what is secret as a whole.
const HIDDEN: &[&str] =
    &["uris", "address", "headers", "header", "auth", "body", "secrets", "proxy", "detect", "evidence"];

/// What is wrong with a text that is no YAML: where, and its line without secrets. `None` if it is YAML.
pub fn syntax_error(name: &str, text: &str) -> Option<LoadError> {
    let (mut origins, mut problems) = (Origins::default(), Problems::default());
    let origin = origins.add(Origin::File { name: name.to_owned(), text: text.to_owned() });
    tree::parse(text, origin, &mut problems);
    (!problems.is_empty()).then(|| problems.into_error(&origins))
}

/// How many characters at the start of a line (counted from 1) may be shown: up to the value of the first key that may
/// have a secret, or to an address. Of a line without a key, or below such a key, none: it can be the rest of one.
pub(super) fn shown(text: &str, number: usize) -> usize {
    let lines: Vec<&str> = text.lines().take(number).collect();
    let Some((line, above)) = lines.split_last() else { return 0 };
    let indent = line.chars().take_while(|c| c.is_whitespace()).count();
    let bytes = match is_below_hidden(above, depth(line)) {
        true => line.find(|c: char| !c.is_whitespace()).unwrap_or(line.len()),
        false => visible(line),
    };
    line[..bytes].chars().count().max(indent.min(line.chars().count()))
}

/// The number of bytes of a line that may be shown, as far as the line itself tells.
fn visible(line: &str) -> usize {
    let start = line.find(|c: char| !c.is_whitespace()).unwrap_or(line.len());
    if line[start..].starts_with('#') {
        return start;
    }
    let mut keys = line.match_indices(':').map(|(at, _)| (at, key_before(&line[..at]))).peekable();
    if keys.peek().is_none() {
        return if line.contains(char::is_alphanumeric) { start } else { line.len() };
    }
    for (at, key) in keys {
        if line[at..].starts_with("://") {
            // The address without its key: a bare entry of a list.
            return at - key.len();
        }
        if may_hide(key) {
            return at + 1;
        }
    }
    line.len()
}

/// The word before a colon, without quotes.
fn key_before(before: &str) -> &str {
    let before = before.trim_end().trim_end_matches(['"', '\'']);
    before.rsplit(|c: char| c.is_whitespace() || "{[,\"'".contains(c)).next().unwrap_or_default()
}

/// Whether a key's value may be secret; a word with a dash is a header's name, or is taken for one.
fn may_hide(key: &str) -> bool {
    let is_hidden = HIDDEN.iter().chain(SECRET_SETTINGS).any(|hidden| key.eq_ignore_ascii_case(hidden));
    let key = key.to_ascii_lowercase();
    is_hidden || key.ends_with("url") || key.ends_with("uri") || nearly_secret_key(&key) || key.contains('-')
}

/// The indentation of a line, the dash of a list's entry included.
fn depth(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace() || *c == '-').count()
}

/// Whether a line at this depth is below a key that hides what it has.
fn is_below_hidden(above: &[&str], mut depth_now: usize) -> bool {
    for line in above.iter().rev() {
        let line_depth = depth(line);
        let rest = line.trim_start_matches(|c: char| c.is_whitespace() || c == '-');
        if rest.is_empty() || rest.starts_with('#') || line_depth >= depth_now {
            continue;
        }
        depth_now = line_depth;
        let key = rest.split(':').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        if may_hide(key) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        let last = text.lines().last().unwrap();
        last.chars().take(shown(text, text.lines().count())).collect()
    }

    #[test]
    fn a_line_ends_before_what_may_be_secret() {
        for (text, left) in [
            ("name: \"x", "name: \"x"),
            ("{ password: \"p\", name: \"x }", "{ password:"),
            ("{ name: \"x, password: \"p\" }", "{ name: \"x, password:"),
            ("  pasword: @p", "  pasword:"),
            ("  topic: %p", "  topic:"),
            ("  \"token\": *p", "  \"token\":"),
            ("a: [ rtsp://u:p@h/s, {", "a: [ "),
            ("  X-Site: @p", "  X-Site:"),
            ("config:\n  headers:\n    Site: @p", "    "),
            ("config:\n  headers:\n    Site: x\n  timeout: @p", "  timeout: @p"),
            ("password: |\n  a\n  b: \"p", "  "),
            ("password: \"a\np\" b", ""),
            ("# password: p", ""),
            ("---", "---"),
        ] {
            assert_eq!(line(text), left, "{text}");
        }
    }

    #[test]
    fn what_is_no_yaml_is_shown_without_secrets() {
        let error = syntax_error("c.yaml", "sources:\n  - { password: \"C4n4ry\", name: \"x }\n").unwrap().to_string();
        assert!(error.contains("c.yaml:") && !error.contains("C4n4ry"), "{error}");
        assert!(syntax_error("c.yaml", "name: x\n").is_none());
    }
}
