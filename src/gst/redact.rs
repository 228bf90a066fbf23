//! Taking credentials out of text that may hold a URI: GStreamer puts them into errors and log lines.

use std::borrow::Cow;

/// The text with user information (`rtsp://user:secret@host`) and query values (`?token=secret`) of every URI in
/// it replaced by `***`.
pub(super) fn redact(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "\"'<>`".contains(c)).unwrap_or(after.len());
        let (uri, tail) = after.split_at(end);
        uri_tail(uri, &mut out);
        rest = tail;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// What follows `scheme://`, redacted.
fn uri_tail(uri: &str, out: &mut String) {
    let (place, query) = uri.split_once('?').map_or((uri, None), |(place, query)| (place, Some(query)));
    // The last `@`: a password may hold one that nobody escaped, and so may hold `/`.
    match place.rsplit_once('@') {
        Some((_, host)) => {
            out.push_str("***@");
            out.push_str(host);
        }
        None => out.push_str(place),
    }
    let Some(query) = query else { return };
    // An unescaped `?` in a password puts the rest of the authority behind it.
    let query = match query.rsplit_once('@') {
        Some((_, host)) => {
            out.push_str("***@");
            host
        }
        None => {
            out.push('?');
            query
        }
    };
    for (index, pair) in query.split('&').enumerate() {
        if index > 0 {
            out.push('&');
        }
        match pair.split_once('=') {
            Some((key, _)) => {
                out.push_str(key);
                out.push_str("=***");
            }
            None => out.push_str(pair),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn credentials_go_and_the_place_stays() {
        assert_eq!(redact("nothing here"), "nothing here");
        assert_eq!(redact("rtsp://cam/1"), "rtsp://cam/1");
        assert_eq!(redact("open \"rtsp://u:p@cam:554/1\" failed"), "open \"rtsp://***@cam:554/1\" failed");
        assert_eq!(redact("rtsp://u:p@ss/w@cam/1 and http://h/?t=x&y"), "rtsp://***@cam/1 and http://h/?t=***&y");
    }

    #[test]
    fn no_spelling_of_a_password_gets_through() {
        for password in ["canary", "can@canary", "a/canary", "a?canary", "a?b=canary@x", "%63anary&canary", "a#canary"]
        {
            let text = format!("cannot open rtsp://user:{password}@cam.example/stream now");
            let shown = redact(&text);
            assert!(!shown.contains("canary"), "{shown}");
            assert!(shown.ends_with(" now") && shown.contains("cam.example"), "{shown}");
        }
    }
}
