//! Masks secrets in excerpts, messages and the effective configuration.

use super::expand::without_fallbacks;
use super::nearest::distance;
use super::tree::{Node, Value};
use crate::types::without_credentials;

/// The replacement for a secret.
pub(super) const MASK: &str = "***";

/// Words in a key's name that mark its value as a secret.
const SECRET_WORDS: &[&str] =
    &["password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "cookie", "credential"];

/// Whether a key's value is a secret.
pub(crate) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// The list whose entries hold secrets beside other keys.
const TOKENS: &str = "monitoring.tokens";

/// Settings of handlers in scripts and components that are as good as a password: whoever has an ntfy topic reads it,
/// and a user key or a webhook's id says where to write.
pub(super) const SECRET_SETTINGS: &[&str] = &["topic", "user", "user_key", "url", "path", "webhook", "webhook_id"];

/// Whether a path is one of [`SECRET_SETTINGS`], or below it.
pub(super) fn is_secret_setting(path: &str) -> bool {
    // `config` is another way to write `settings`.
    let settings = path.split_once("].settings.").or_else(|| path.split_once("].config."));
    let Some((_, settings)) = settings.filter(|_| path.starts_with("alerts.handlers[")) else { return false };
    let key = settings.split(['.', '[']).next().unwrap_or_default();
    SECRET_SETTINGS.iter().any(|secret| key.eq_ignore_ascii_case(secret))
}

/// Whether the value of a path is a secret: by a name in the path, or since it is a webhook's header, body or address,
/// or a setting that says as much. What is below a secret is one, too.
pub(super) fn is_secret_path(path: &str) -> bool {
    if is_list(path) {
        return false;
    }
    let path = own(path);
    // The keys of a token, of which one is secret.
    let entry = path.strip_prefix(TOKENS).filter(|rest| rest.starts_with('['));
    let keys = entry.and_then(|rest| rest.split_once("].")).map_or(path, |(_, keys)| keys);
    let is_secret = |name: &str| is_secret_key(name) || name == "headers" || name.starts_with("headers[");
    let ends = [".config.url", ".config.body"].iter().any(|end| path.ends_with(end));
    keys.split('.').any(is_secret) || ends || is_secret_setting(path) || path.rsplit('.').next() == Some("webhook_url")
}

/// A path without the profile that it is in.
fn own(path: &str) -> &str {
    path.strip_prefix("profiles.").and_then(|rest| rest.split_once('.')).map_or(path, |(_, own)| own)
}

/// Whether a path is the list of tokens or one of its entries, in which only the token texts are secret.
pub(super) fn is_list(path: &str) -> bool {
    let rest = own(path).strip_prefix(TOKENS);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('[') && rest.find(']') == Some(rest.len() - 1))
}

/// Whether a text is an address without a scheme, or with one that lacks its colon, that names a user and a password,
/// `user:password@host/path`; `./` before it makes it a path.
pub(super) fn is_bare_address(text: &str) -> bool {
    let Some((head, host)) = text.rsplit_once('@') else { return false };
    let Some((user, password)) = head.split_once(':').filter(|(_, rest)| !rest.starts_with("//")) else { return false };
    let user = user.split_once("//").filter(|(scheme, _)| !scheme.contains('/')).map_or(user, |(_, user)| user);
    let user = user.trim_start_matches("\\\\");
    !user.is_empty() && !user.contains(['/', '\\']) && !password.is_empty() && !host.is_empty()
}

/// Whether a path is a map of keys of which some may be secret: a user with a password, or the settings of a script.
fn has_secrets(path: &str) -> bool {
    [".config.auth", "].config", "].settings"].iter().any(|end| path.ends_with(end))
}

/// Whether a value is a secret: by its path, since it is something else where the list of tokens, one of its entries or a
/// map with secrets should be, or since it is an address with a password, or a user with one.
pub(super) fn is_secret(node: &Node, path: &str) -> bool {
    let is_entry = path.ends_with(']');
    match &node.value {
        _ if is_secret_path(path) => true,
        Value::Scalar { text, .. } => {
            let is_user = path.ends_with(".config.auth.username") && text.contains(':');
            is_list(path) || has_secrets(path) || is_bare_address(text) || is_user
        }
        Value::Map(_) => is_list(path) && !is_entry,
        Value::List(_) => is_list(path) && is_entry || has_secrets(path),
    }
}

/// The secrets of a value: itself, or those of its keys that are; a map of any keys is walked no further.
pub(super) fn within<'n>(node: &'n Node, path: &str) -> Vec<&'n Node> {
    match &node.value {
        _ if is_secret(node, path) => vec![node],
        Value::Map(entries) => {
            let keys = entries.iter().filter(|(key, _)| is_secret_path(&format!("{path}.{}", key.text)));
            keys.map(|(_, value)| value).collect()
        }
        Value::Scalar { .. } | Value::List(_) => Vec::new(),
    }
}

/// Whether an unknown key looks like the name of a secret: its value is masked, too.
pub(super) fn nearly_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    is_secret_key(&key) || SECRET_WORDS.iter().any(|word| distance(&key, word, 2).is_some())
}

/// Whether the part of a line before a value ends in a secret's key (`password: "`).
pub(super) fn ends_in_secret_key(before: &str) -> bool {
    let head = before.trim_end_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'');
    let Some(head) = head.strip_suffix(':') else { return false };
    let key = head.rsplit(|c: char| c.is_whitespace() || c == '{' || c == ',').next().unwrap_or_default();
    is_secret_key(key)
}

/// Masks secrets in a text: credentials and queries of URIs, the path of `http` URIs (webhook addresses have their
/// token there), and values after a key that names a secret.
pub(super) fn in_text(text: &str) -> String {
    masked(&without_fallbacks(text))
}

/// The same for a text whose references are left as they are.
pub(super) fn masked(text: &str) -> String {
    pairs(&without_credentials(&uris(text)))
}

/// Maximum length of an address with its credentials, in bytes: bounds the work per address. The rest is masked.
const ADDRESS_BYTES_MAX: usize = 2048;

fn uris(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let scheme = before[..at].rsplit(|c: char| !c.is_ascii_alphanumeric() && !"+.-".contains(c)).next();
        let is_web = scheme.is_some_and(|s| s.eq_ignore_ascii_case("http") || s.eq_ignore_ascii_case("https"));
        out.push_str(before);
        // Up to the last `@`: a password may contain spaces, quotes, commas and slashes.
        let scheme_at = scheme.map_or(at, |scheme| at - scheme.len());
        let Some(end) = end_of_value(before[..scheme_at].chars().next_back(), after) else {
            out.push_str(MASK);
            rest = &after[after.find(['\n', '\r']).unwrap_or(after.len())..];
            continue;
        };
        let user = after[..end].rfind('@').map_or(0, |at| at + 1);
        if user > 0 {
            out.extend([MASK, "@"]);
        }
        let address = &after[user..];
        let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>');
        let address = &address[..address.find(is_end).unwrap_or(address.len())];
        let (place, query) = address.split_at(address.find('?').unwrap_or(address.len()));
        let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        if !may_be_host(host) {
            // An invalid host is the remainder of a password.
            out.push_str(MASK);
            rest = &after[user + address.len()..];
            continue;
        }
        out.push_str(host);
        match is_web && path.trim_end_matches([',', '}', ']']).len() > 1 {
            true => out.push_str(&format!("/{MASK}")),
            false => out.push_str(path),
        }
        if !query.is_empty() {
            out.push_str(&format!("?{MASK}"));
        }
        rest = &after[user + address.len()..];
    }
    out.push_str(rest);
    out
}

/// Whether a text may be a host with its port: a number or a reference follows the colon.
fn may_be_host(text: &str) -> bool {
    let text = text.trim_end_matches([',', '}', ']']);
    let port = text.split_once(':').filter(|_| !text.contains(['[', '$']));
    port.is_none_or(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()))
}

/// The end of the value that continues with `after`, where `quote` is the character before its scheme: the closing
/// quote; for an unquoted value the start of a comment, another key or another address, or the end of the line.
/// Credentials without an `@` so far continue. `None` if the line is longer than an address and has no such end in it.
fn end_of_value(quote: Option<char>, after: &str) -> Option<usize> {
    let near = &after[..after.floor_char_boundary(ADDRESS_BYTES_MAX)];
    let line = &near[..near.find(['\n', '\r']).unwrap_or(near.len())];
    let is_cut = line.len() == near.len() && near.len() < after.len();
    let end_of_line = (!is_cut).then_some(line.len());
    let word = line.find(char::is_whitespace).or(end_of_line)?;
    if let Some(quote) = quote.filter(|quote| matches!(quote, '"' | '\'')) {
        return closing(line, quote).or(end_of_line).map(|end| end.max(word));
    }
    // What is known of the value up to the last end that was tried.
    let (mut tried, mut has_user, mut has_ports) = (0, false, true);
    for (at, _) in line.match_indices(char::is_whitespace) {
        let part = &line[tried..at];
        if part.is_empty() {
            tried = at + line[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        // A host may have a port after a colon, a user a password.
        let is_port = |rest: &str| {
            let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            after.len() < rest.len() && after.starts_with(['/', '?', ',', '}', ']'])
        };
        has_user |= part.contains('@');
        has_ports = has_ports && part.match_indices(':').all(|(colon, _)| is_port(&part[colon + 1..]));
        let next = line[at..].trim_start();
        let key = next.trim_start_matches(['[', '{', '"', '\'']);
        let name = key.find(|c: char| !c.is_alphanumeric() && !"_-.".contains(c)).unwrap_or(key.len());
        let is_key =
            part.ends_with([',', '}', ']']) && name > 0 && key[name..].trim_start_matches(['"', '\'']).starts_with(':');
        let is_address = key[name..].starts_with("://");
        if (next.starts_with('#') || is_key || is_address) && (has_user || has_ports) {
            return Some(at.max(word));
        }
        tried = at + line[at..].chars().next().map_or(1, char::len_utf8);
    }
    end_of_line
}

/// The end of a quoted value, skipping escapes: `\"` in double quotes, `''` in single quotes.
fn closing(line: &str, quote: char) -> Option<usize> {
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => drop(chars.next()),
            c if c == quote => match chars.peek() {
                Some((_, '\'')) if quote == '\'' => drop(chars.next()),
                _ => return Some(at),
            },
            _ => {}
        }
    }
    None
}

/// Masks the value of every `key: value` or `key=value` whose key names a secret.
fn pairs(text: &str) -> String {
    let lower = text.to_ascii_lowercase().replace('-', "_");
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    // Where each word is found next, so that none is searched for twice in the same text.
    let mut places: Vec<Option<usize>> = SECRET_WORDS.iter().map(|word| lower.find(word)).collect();
    loop {
        for (place, word) in places.iter_mut().zip(SECRET_WORDS) {
            if place.is_some_and(|at| at < done) {
                *place = lower[done..].find(word).map(|at| done + at);
            }
        }
        let found = places.iter().zip(SECRET_WORDS).filter_map(|(place, word)| Some(((*place)?, word.len())));
        let Some((at, length)) = found.min() else { break };
        let end = at + length;
        let name = text[end..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        let after = end + name.unwrap_or(text.len() - end);
        let sign = text[after..].trim_start_matches(['"', '\'']).trim_start();
        let value = sign.strip_prefix([':', '=']).map(str::trim_start).filter(|value| !value.is_empty());
        let Some(value) = value else {
            out.push_str(&text[done..after]);
            done = after;
            continue;
        };
        let start = text.len() - value.len();
        let length = match value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            Some(quote) => value[1..].find(quote).map_or(value.len(), |at| at + 2),
            None => value.find([',', '}']).unwrap_or(value.len()),
        };
        out.push_str(&text[done..start]);
        out.push_str(MASK);
        done = start + length;
    }
    out.push_str(&text[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::super::problem::Location;
    use super::super::tree::Style;
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
            ("mqtt: mqtts://alerts:hunter2@broker:8883", "hunter2"),
            ("uri: \"rtsp://admin:p,hunter2/'x@10.0.0.7/s1\"", "hunter2"),
            ("sources: [{id: a, uri: \"rtsp://admin:not hunter2@127.0.0.1:9/s1\", fpss: 5}]", "hunter2"),
            ("uri: rtsp://admin:not hunter2@10.0.0.7/s1", "hunter2"),
            ("uri: 'rtsp://admin:a, hunter2 b@10.0.0.7/s1'", "hunter2"),
            ("[{uri: rtsp://admin:a, hunter2: b@10.0.0.7/s1, fps: 5}]", "hunter2"),
            ("uri: rtsp://ad min:p@ss hunter2@10.0.0.7/s1", "hunter2"),
            ("rtsp://admin:12 hunter2 #1@10.0.0.7/s1", "hunter2"),
            ("uri: \"rtsp://admin:\\\"a hunter2@10.0.0.7/s1\"", "hunter2"),
            ("uri: 'rtsp://admin:it''s hunter2@10.0.0.7/s1'", "hunter2"),
            ("uri: rtsp://admin:p@ss:hunter2/s1", "hunter2"),
            ("uri: rtsp://admin:p@ss:w/hunter2", "hunter2"),
            ("uri: 'rtsp://admin:hunter2/s1'", "hunter2"),
            ("uri: \"admin:hunter2@10.0.0.1/s\", fpss: 5", "hunter2"),
        ] {
            let shown = in_text(text);
            assert!(!shown.contains(hidden), "{text} is shown as {shown}");
            assert!(shown.contains(MASK));
        }
        for same in ["uri: rtsp://10.0.0.7/s1", "a: http://h/", "no secret here", "the token", "ü: ä"] {
            assert_eq!(in_text(same), same);
        }
        let both = in_text("a: rtsp://u:x@h/s, url: \"https://h.example/x\", api-key: \"a,b\", fps: 5");
        assert_eq!(both, "a: rtsp://***@h/s, url: \"https://h.example/***\", api-key: ***, fps: 5");
        for (text, shown) in [
            ("[{uri: \"rtsp://admin:not x@h:9/s1\", fpss: 5}]", "[{uri: \"rtsp://***@h:9/s1\", fpss: 5}]"),
            ("uri: rtsp://u:a b@h/s # ask me@home", "uri: rtsp://***@h/s # ask me@home"),
            ("uri: rtsp://h:554/s, contact: me@home", "uri: rtsp://h:554/s, contact: me@home"),
            ("a: rtsp://u:x y@h/s, b: rtsp://v:x y@i/s", "a: rtsp://***@h/s, b: rtsp://***@i/s"),
        ] {
            assert_eq!(in_text(text), shown);
        }
        assert!(ends_in_secret_key("  password: \""));
        assert!(!ends_in_secret_key("  port: "));
    }

    #[test]
    fn what_is_below_a_secret_is_one() {
        for path in [
            "monitoring.tokens[0].token",
            "profiles.x.monitoring.tokens.admin",
            "alerts.handlers[0].config.headers[0]",
            "alerts.handlers[0].config.headers.X-Key",
            "alerts.handlers[0].config.body",
            "alerts.handlers[0].config.auth.password",
            "alerts.handlers[0].config.signing_secret",
            "alerts.handlers[0].grants.secrets.hook",
            "alerts.handlers[0].settings.topic",
            "alerts.handlers[phone].settings.user",
            "alerts.handlers[0].config.topic",
            "profiles.away.alerts.handlers[0].settings.webhook.id",
            "a.password.b[1]",
        ] {
            assert!(is_secret_path(path), "{path}");
        }
        for path in [
            "monitoring.tokens",
            "profiles.token.monitoring.tokens[0]",
            "monitoring.tokens[0].name",
            "alerts.handlers[0].settings.server",
            "alerts.handlers[0].config.topic_prefix",
            "detection.strategies[0].settings.user",
        ] {
            assert!(!is_secret_path(path), "{path}");
        }
    }

    #[test]
    fn what_stands_in_place_of_a_map_with_a_secret_is_one() {
        let text = |text: &str| Node::scalar(text, Style::Plain, Location::default());
        let list = || Node { value: Value::List(vec![text("hunter2")]), ..text("") };
        for path in ["alerts.handlers[0].config.auth", "alerts.handlers[0].settings", "detection.strategies[0].config"]
        {
            assert!(is_secret(&text("hunter2"), path) && is_secret(&list(), path), "{path}");
            assert!(!is_secret(&Node { value: Value::Map(Vec::new()), ..text("") }, path), "{path}");
        }
        let name = "alerts.handlers[0].config.auth.username";
        assert!(is_secret(&text("desk:hunter2"), name) && !is_secret(&text("desk"), name));
    }

    #[test]
    fn an_address_without_a_scheme_is_recognised() {
        for text in ["admin:a b@h/s", "rtsp:/u:p@h", "rtsp:\\\\u:p@h", "//u:p@h/s", "rtsp//u:p@h/s", "u:p/w@h"] {
            assert!(is_bare_address(text), "{text}");
        }
        for text in ["rtsp://u:p@h/s", "./a:b@c.mp4", "clips/a:b@c.mp4", "/a:b@c", "a@b", "clip.mp4", "a:@b", ":p@h"] {
            assert!(!is_bare_address(text), "{text}");
        }
    }

    #[test]
    fn an_address_without_an_end_is_masked_to_the_end_of_its_line() {
        let long = "u:x rtsp://".repeat(1 << 16);
        assert_eq!(in_text(&format!("a: rtsp://{long}\nb: 1")), format!("a: rtsp://{MASK}\nb: 1"));
        let unclosed = format!("a: \"rtsp://{}", "u:hunter2,".repeat(1 << 16));
        assert_eq!(in_text(&unclosed), format!("a: \"rtsp://{MASK}"));
        // Each of these has its end, and is looked at once.
        for one in [
            "rtsp://u:hunter2@h/ ",
            "\"rtsp://u:hunter2@h\",",
            "token: hunter2, ",
            "rtsp://u:p@h:1}, token=hunter2, a:b@c.d ",
        ] {
            assert!(!in_text(&one.repeat(1 << 15)).contains("hunter2"), "{one}");
        }
    }
}
