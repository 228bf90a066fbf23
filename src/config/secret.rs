//! Keeping secrets out of what people read: excerpts, messages and the effective configuration.

use regex::Regex;

/// What stands where a secret stood.
pub(super) const MASK: &str = "***";

/// Words in a key's name that make its value a secret.
const SECRET_WORDS: &[&str] =
    &["password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "cookie", "credential"];

/// Whether a key's value must never be shown.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Whether a line's part before a value ends in a key (`password: "`) whose value must not be shown.
pub(super) fn ends_in_secret_key(before: &str) -> bool {
    let head = before.trim_end_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'');
    let Some(head) = head.strip_suffix(':') else { return false };
    let key = head.rsplit(|c: char| c.is_whitespace() || c == '{' || c == ',').next().unwrap_or_default();
    is_secret_key(key)
}

/// Any text with the secrets in it masked: credentials and queries of URIs, the path of `http` ones (webhook
/// addresses carry their token there), and what follows a key that names a secret.
pub(super) fn in_text(text: &str) -> String {
    let Some(uri) = pattern(r#"([A-Za-z][A-Za-z0-9+.-]*)://([^\s"'<>,}]+)"#) else { return MASK.to_owned() };
    let text = uri.replace_all(text, |found: &regex::Captures<'_>| in_uri_parts(&found[1], &found[2]));
    let words = SECRET_WORDS.join("|").replace('_', "[_-]?");
    let Some(pair) = pattern(&format!(r#"(?i)([\w-]*(?:{words})[\w-]*["']?\s*[:=]\s*)([^\s,}}][^,}}]*)"#)) else {
        return MASK.to_owned();
    };
    pair.replace_all(&text, format!("${{1}}{MASK}")).into_owned()
}

/// A URI with its secrets masked.
pub(super) fn in_uri(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme, rest)) => in_uri_parts(scheme, rest),
        None => uri.to_owned(),
    }
}

fn in_uri_parts(scheme: &str, rest: &str) -> String {
    let (rest, query) = match rest.split_once('?') {
        Some((rest, _)) => (rest, format!("?{MASK}")),
        None => (rest, String::new()),
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => authority.to_owned(),
    };
    let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let path = if is_web && path.len() > 1 { format!("/{MASK}") } else { path.to_owned() };
    format!("{scheme}://{authority}{path}{query}")
}

/// The patterns are constants, so `None` cannot happen; callers then mask everything rather than trust that.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_survive_in_text() {
        for (text, hidden) in [
            ("uri: rtsp://admin:hunter2@10.0.0.7/s1", "hunter2"),
            ("uri: 'rtsp://cam/s?token=hunter2'", "hunter2"),
            ("url: https://hooks.example.com/services/hunter2", "hunter2"),
            ("smtp: {username: a, password: hunter2, port: 25}", "hunter2"),
            ("Authorization: Bearer hunter2", "hunter2"),
            ("uri: rtsp://admin:p@hunter2@10.0.0.7/s1", "hunter2"),
        ] {
            let shown = in_text(text);
            assert!(!shown.contains(hidden), "{text} is shown as {shown}");
            assert!(shown.contains(MASK));
        }
        assert_eq!(in_text("uri: rtsp://10.0.0.7/s1"), "uri: rtsp://10.0.0.7/s1");
        assert!(ends_in_secret_key("  password: \""));
        assert!(!ends_in_secret_key("  port: "));
    }
}
