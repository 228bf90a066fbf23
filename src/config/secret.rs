//! Masks secrets in excerpts, messages and the effective configuration.

use super::nearest::distance;

/// The replacement for a secret.
pub(super) const MASK: &str = "***";

/// Words in a key's name that mark its value as a secret.
const SECRET_WORDS: &[&str] =
    &["password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "cookie", "credential"];

/// Whether a key's value is a secret.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Whether the value of a path is a secret: by its name, or since it is a header or a webhook's address.
pub(super) fn is_secret_path(path: &str) -> bool {
    if is_list(path) {
        return false;
    }
    let key = path.rsplit('.').next().unwrap_or(path);
    is_secret_key(key)
        || path.contains(".headers.")
        || path.contains(".secrets.")
        || path.ends_with(".config.url")
        || key == "webhook_url"
}

/// Whether a path is the list of tokens or one of its entries, in which only the token texts are secret.
pub(super) fn is_list(path: &str) -> bool {
    let rest = path.strip_prefix("monitoring.tokens");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('[') && rest.ends_with(']'))
}

/// Whether a text is a single reference without a fallback.
pub(super) fn is_lone_reference(text: &str) -> bool {
    let is_reference = text.starts_with("${env:") || text.starts_with("${file:");
    is_reference && text.find('}') == Some(text.len() - 1) && !text.contains(":-")
}

/// The original text of a substituted value, for display. A lone reference is shown without its fallback; other text is
/// masked as any text is.
pub(super) fn in_template(template: &str) -> String {
    let lone = template.starts_with("${") && template.find('}') == Some(template.len() - 1);
    match (lone, template.find(":-")) {
        (true, Some(at)) => format!("{}{MASK}}}", &template[..at + 2]),
        (true, None) => template.to_owned(),
        (false, _) => in_text(template),
    }
}

/// Whether a value is a literal secret: a secret by its path that is not a lone reference, or an address with a user, a
/// password or a query.
pub(super) fn is_written_out(path: &str, value: &str) -> bool {
    if is_lone_reference(value) || value.is_empty() {
        return false;
    }
    if is_secret_path(path) {
        return true;
    }
    let mut bare = value.to_owned();
    while let Some((start, end)) = reference(&bare) {
        bare.replace_range(start..end, "");
    }
    let mut bare = bare.replace("://:@", "://").replace("://@", "://");
    // A user's name alone is no secret where the password is a reference.
    if bare != value
        && let Some((from, to)) = user_without_password(&bare)
    {
        bare.replace_range(from..to, "");
    }
    let is_web = bare.starts_with("http://") || bare.starts_with("https://");
    // `in_text` masks the path of a web address, too.
    let may_be_seen = is_web && !bare.contains(['@', '?']);
    !may_be_seen && in_text(&bare) != bare
}

/// The location of `name:@` in an address.
fn user_without_password(address: &str) -> Option<(usize, usize)> {
    let from = address.find("://")? + 3;
    let to = from + address[from..].find(":@")?;
    let is_name = address[from..to].chars().all(|c| c.is_alphanumeric() || "._-".contains(c));
    is_name.then_some((from, to + 2))
}

/// Whether a value may be a reference or contain one: it names a secret by its path, or the references are for user,
/// password or query of an address.
pub(super) fn may_refer(path: &str, value: &str) -> bool {
    let value = value.replace("$${", "");
    let Some(last) = value.rfind("${") else { return true };
    if is_secret_path(path) {
        return true;
    }
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let last = last.saturating_sub(scheme.len() + 3);
    let (first, at) = (rest.find("${").unwrap_or(0), rest.rfind('@'));
    let in_user = at.is_some_and(|at| last < at) && !rest[..first].contains(['/', '?', '#']);
    let in_query = rest.find('?').is_some_and(|query| query < first);
    !scheme.contains("${") && (in_user || in_query)
}

/// The location of a reference without a fallback.
fn reference(text: &str) -> Option<(usize, usize)> {
    let starts = text.match_indices("${").map(|(start, _)| start);
    let found = starts.filter_map(|start| Some((start, start + text[start..].find('}')? + 1)));
    found.into_iter().find(|(start, end)| !text[*start..*end].contains(":-"))
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
    pairs(&uris(text))
}

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
        let value = &after[..end_of_value(before[..scheme_at].chars().next_back(), after)];
        let user = value.rfind('@').map_or(0, |at| at + 1);
        let word = &after[..user + after[user..].find(char::is_whitespace).unwrap_or(after.len() - user)];
        if user > 0 {
            out.push_str(MASK);
            out.push('@');
        }
        let address = &word[user..];
        let address = &address[..address.find(['"', '\'', '<', '>']).unwrap_or(address.len())];
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
/// Credentials without an `@` so far continue.
fn end_of_value(quote: Option<char>, after: &str) -> usize {
    let line = &after[..after.find(['\n', '\r']).unwrap_or(after.len())];
    let word = line.find(char::is_whitespace).unwrap_or(line.len());
    if let Some(quote) = quote.filter(|quote| matches!(quote, '"' | '\'')) {
        return closing(line, quote).unwrap_or(line.len()).max(word);
    }
    let mut ends = line.match_indices(char::is_whitespace).map(|(at, _)| at);
    let is_end = |at: &usize| {
        let (value, next) = (&line[..*at], line[*at..].trim_start());
        let key = next.trim_start_matches(['[', '{', '"', '\'']);
        let name = key.find(|c: char| !c.is_alphanumeric() && !"_-.".contains(c)).unwrap_or(key.len());
        let is_key = value.ends_with([',', '}', ']'])
            && name > 0
            && key[name..].trim_start_matches(['"', '\'']).starts_with(':');
        let is_address = key[name..].starts_with("://");
        // A host may have a port after a colon, a user a password.
        let is_port = |rest: &str| {
            let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            after.len() < rest.len() && after.starts_with(['/', '?', ',', '}', ']'])
        };
        let is_whole = value.contains('@') || value.match_indices(':').all(|(colon, _)| is_port(&value[colon + 1..]));
        (next.starts_with('#') || is_key || is_address) && is_whole
    };
    ends.find(is_end).unwrap_or(line.len()).max(word)
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
    while let Some(found) = SECRET_WORDS.iter().filter_map(|w| Some((done + lower[done..].find(w)?, w.len()))).min() {
        let end = found.0 + found.1;
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
        assert_eq!(in_template("${env:PASSWORD}"), "${env:PASSWORD}");
        assert_eq!(in_template("${env:PASSWORD:-hunter2}"), "${env:PASSWORD:-***}");
        assert_eq!(in_template("rtsp://${env:USER}:hunter2@h/s"), "rtsp://***@h/s");
        assert!(ends_in_secret_key("  password: \""));
        assert!(!ends_in_secret_key("  port: "));
    }
}
