//! Removes secrets from text of any origin: our errors, GStreamer's log, a peer's answer.
//!
//! It errs on the safe side: everything between `scheme://` and the last `@` of the same word is masked, because people
//! do write passwords with unescaped `@` and `/`. A secret without any marker cannot be recognised; whole URIs go
//! through [`uri`], which needs no word boundary.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::types::without_credentials;

/// Replaces a secret.
pub const MASK: &str = "***";

/// A pattern, and the number of leading groups to keep in front of the secret. The next group, if any, is the secret's
/// value with its quotes; `tail` follows the mask.
struct Rule {
    pattern: Regex,
    kept: usize,
    tail: &'static str,
}

/// A value: quoted in one of the styles of logs and JSON, or up to the next delimiter.
const VALUE: &str = r#"\\"(?:[^"\\])*\\"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s&,;"'\\)\]}]+"#;

/// Names whose value after `=` or `:` is a secret.
const NAMES: &str = r"[a-z0-9_.-]*(?:secret|password|passwd|passphrase|passcode|passkey|api[-_]?key|access[-_]?key|private[-_]?key|signature)(?:[-_][a-z0-9]+)*";

/// Names that are also ordinary words: secret only before `=` or as a quoted JSON name.
const SHORT_NAMES: &str =
    r"(?:[a-z0-9]+[-_.])*(?:[a-z0-9]*token|credentials?|pwd|pass|pw|auth|sig|jwt|session|sessionid)";

/// The compiled patterns.
#[allow(clippy::expect_used, reason = "the patterns are constants; every test of this file compiles them")]
static RULES: LazyLock<[Rule; 10]> = LazyLock::new(|| {
    [
        // A whole URI in quotes: up to the last @ before the closing quote.
        (r#"(?i)("[a-z][a-z0-9+.-]*://)[^"\r\n]*@"#.to_owned(), 1, "@"),
        (r#"(?i)('[a-z][a-z0-9+.-]*://)[^'\r\n]*@"#.to_owned(), 1, "@"),
        // scheme://user:password@  (greedy: up to the last @ of the word)
        (r#"(?i)\b([a-z][a-z0-9+.-]*://)[^\s"'<>\\]*@"#.to_owned(), 1, "@"),
        // The same, percent-encoded inside another URI's query.
        (r#"(?i)(%3a%2f%2f)[^\s"'<>\\&]*%40"#.to_owned(), 1, "%40"),
        // Authorization: everything up to the end of the line or an outer quote.
        (
            r#"(?i)\b((?:proxy-)?authorization|x-api-key|x-auth-token|(?:set-)?cookie)(\\?"?\s*[:=]\s*(?:\(string\))?\\?"?)(?:[^"\\\r\n]|\\[^"])+"#
                .to_owned(),
            2,
            "",
        ),
        // Bearer xyz, Basic xyz without the header name.
        (r"(?i)\b((?:bearer|basic)\s+)[a-z0-9._~+/-]{6,}=*".to_owned(), 1, ""),
        // Parts of a digest response.
        (r#"(?i)\b((?:nonce|cnonce|response|opaque)=\\?")[^"\\]+"#.to_owned(), 1, ""),
        // name=value, name: value, "name": "value", GStreamer's name=(string)value.
        (format!(r#"(?i)(?-u:\b)({NAMES}\\?["']?\s*[:=]\s*(?:\(string\)|Some\()?)({VALUE})"#), 1, ""),
        (
            format!(
                r#"(?i)(?-u:\b)({SHORT_NAMES}(?:\\?["']?\s*=|\\?["']\s*:)\s*(?:\(string\)|Some\()?)({VALUE})"#
            ),
            1,
            "",
        ),
        // Short names that are secret only in a query.
        (r#"(?i)([?&;](?:key|k|code|tok|hash)=)[^\s&"'\\#]+"#.to_owned(), 1, ""),
    ]
    .map(|(pattern, kept, tail)| Rule { pattern: Regex::new(&pattern).expect("a valid pattern"), kept, tail })
});

/// Masks secrets in the text; borrowed when there are none.
pub fn redact(text: &str) -> Cow<'_, str> {
    // Fast path: most lines contain none of these markers.
    if !text.contains(['@', '=', ':', '%']) && !["earer ", "asic "].iter().any(|w| text.contains(w)) {
        return Cow::Borrowed(text);
    }
    let mut text = Cow::Borrowed(text);
    for Rule { pattern, kept, tail } in &*RULES {
        let masked = pattern.replace_all(&text, |found: &Captures<'_>| {
            let mut out: String = (1..=*kept).filter_map(|i| found.get(i)).map(|m| m.as_str()).collect();
            let quote = found.get(kept + 1).map_or("", |value| quote(value.as_str()));
            out.extend([quote, MASK, quote, tail]);
            out
        });
        if let Cow::Owned(masked) = masked {
            text = Cow::Owned(masked);
        }
    }
    match without_credentials(&text) {
        Cow::Owned(masked) => Cow::Owned(masked),
        Cow::Borrowed(_) => text,
    }
}

/// Masks the credentials and query secrets of a whole URI: everything between `://` and the last `@`, including spaces
/// and quotes.
pub fn uri(uri: &str) -> String {
    match (uri.find("://"), uri.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            redact(&format!("{}{MASK}{}", &uri[..scheme + 3], &uri[at..])).into_owned()
        }
        _ => redact(uri).into_owned(),
    }
}

/// Masks secrets in a JSON document and keeps it valid: each string by itself, and every string under the name of a
/// secret. A document without secrets is returned unchanged; invalid JSON goes through [`redact`].
pub fn json(text: &str) -> Cow<'_, str> {
    let Ok(mut value) = serde_json::from_str(text) else { return redact(text) };
    if mask_json(&mut value) { Cow::Owned(value.to_string()) } else { Cow::Borrowed(text) }
}

/// Whether a text starts like a URI.
fn is_address(text: &str) -> bool {
    let scheme = text.split("://").next().filter(|scheme| scheme.len() < text.len());
    scheme.is_some_and(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b))
    })
}

/// Masks secrets in place; returns whether there were any.
fn mask_json(value: &mut serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::String(text) => {
            // A string that is a URI is masked as a whole.
            let masked = match is_address(text) {
                true => uri(text),
                false => redact(text).into_owned(),
            };
            let changed = *text != masked;
            *text = masked;
            changed
        }
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| mask_json(item) | changed),
        Value::Object(fields) => fields.iter_mut().fold(false, |changed, (name, value)| {
            // The name decides, as for `name: value` in text.
            let secret = value.is_string() && redact(&format!("\"{name}\":\"x\"")).contains(MASK);
            if secret {
                *value = MASK.into();
            }
            mask_json(value) | secret | changed
        }),
        _ => false,
    }
}

/// The quotes around a value.
fn quote(value: &str) -> &'static str {
    ["\\\"", "\"", "'"].into_iter().find(|q| value.starts_with(q)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "C4n4ry";

    #[test]
    fn secrets_go_wherever_they_stand() {
        let lines = [
            "rtsp://admin:C4n4ry@10.0.0.7:554/live",
            "rtsp://C4n4ry@10.0.0.7/live",
            "rtsp://admin:p@C4n4ry/x@10.0.0.7/live",
            "rtsp://admin:1/C4n4ry?#x@10.0.0.7/live",
            "0:00:00.1 42 0x7f ERROR rtspsrc gstrtspsrc.c:8217:gst_rtspsrc_open:<src> failed to connect to 'rtsp://a:C4n4ry@h/x' (4)",
            "uri = \"rtsp://a:C4n4ry@h/x\", latency = 200",
            "location=(string)rtsp://a:C4n4ry@h/x, is-live=(boolean)true",
            "rtspsrc user-id=admin user-pw=C4n4ry latency=0",
            "user-pw=(string)C4n4ry",
            "https://h/hook?token=C4n4ry&x=1",
            "https://h/hook?x=1&key=C4n4ry",
            "https://h/hook?access_token=C4n4ry",
            "https://h/s?X-Amz-Signature=C4n4ry&X-Amz-Credential=C4n4ry&sig=C4n4ry",
            "https://proxy/?next=rtsp%3A%2F%2Fa%3AC4n4ry%40h%2Fx",
            "Authorization: Bearer C4n4ry0123",
            "authorization: Digest username=\"admin\", nonce=\"C4n4ry\", response=\"C4n4ry\"",
            "{\"authorization\":\"Basic C4n4ry\",\"x\":1}",
            "{\"message\":\"Authorization: Digest username=\\\"a\\\", response=\\\"C4n4ry\\\"\",\"x\":1}",
            "sent Bearer C4n4ry0123 to h",
            "{\"password\":\"C4n4ry\",\"x\":1}",
            "Config { password: Some(\"C4n4ry\"), api_key: \"C4n4ry\" }",
            "smtp_password: C4n4ry",
            "client-secret='C4n4ry x'",
            "Cookie: session=C4n4ry; a=C4n4ry",
            "apiKey=C4n4ry accessToken=C4n4ry",
            "no file admin:C4n4ry@10.0.0.1/s",
            "address=rtsp:/admin:C4n4ry@cam/s",
            "{\"address\":\"//admin:C4n4ry@cam/s\"}",
        ];
        for line in lines {
            let out = redact(line);
            assert!(!out.contains(CANARY), "{line}\n  became {out}");
            assert!(out.contains(MASK), "{out}");
            assert_eq!(redact(&out), out, "a second time changes nothing");
        }
        assert_eq!(uri("rtsp://admin:a \"C4n4ry'@h/x?token=C4n4ry"), "rtsp://***@h/x?token=***");
    }

    #[test]
    fn what_is_no_secret_stays() {
        let lines = [
            "source gate is running at 30.0 fps",
            "rtsp://10.0.0.7:554/live?channel=1&subtype=0",
            "mail to ops@example.com about http://h/x",
            "key=track-4 rule=loitering level=high time=2026-01-01T00:00:00Z",
            "caps = video/x-raw, format=(string)I420, width=(int)1920",
            "unexpected token: ','  passed=3 compass=north",
            "authority of the basic idea",
            "the import dsengine:plugin/log@0.1.0 is not there",
            "scripts/loitering.lua:12: attempt to index nil",
        ];
        for line in lines {
            assert_eq!(redact(line), line);
        }
    }

    #[test]
    fn the_rest_of_the_line_survives() {
        assert_eq!(redact("open rtsp://a:b@h:554/x?y=1 now"), "open rtsp://***@h:554/x?y=1 now");
        assert_eq!(redact("{\"password\":\"b\",\"x\":1}"), "{\"password\":\"***\",\"x\":1}");
        assert_eq!(redact("u?token=b&x=1#f"), "u?token=***&x=1#f");
    }

    #[test]
    fn any_password_of_any_characters_is_taken_out_of_a_uri() {
        fastrand::seed(7);
        for _ in 0..5_000 {
            let noise: String = (0..fastrand::usize(0..12)).map(|_| fastrand::char('!'..'~')).collect();
            let noise = noise.replace(['"', '\'', '<', '>', '\\'], "+");
            let line = format!("x rtsp://u{}:{noise}{CANARY}{noise}@host/a y", fastrand::u8(..));
            let out = redact(&line);
            assert!(!out.contains(CANARY), "{line} became {out}");
            assert!(out.starts_with("x rtsp://") && out.ends_with("host/a y"), "{line} became {out}");
            assert!(!uri(&line[2..line.len() - 2]).contains(CANARY));
        }
    }

    #[test]
    fn json_is_masked_by_name_and_by_value() {
        assert_eq!(
            json(r#"{"a":1,"password":"C4n4ry","n":[{"uri":"rtsp://C4n4ry@h"}],"m":"Authorization: \"C4n4ry\""}"#),
            r#"{"a":1,"m":"Authorization: \"***\"","n":[{"uri":"rtsp://***@h"}],"password":"***"}"#
        );
        let plain = r#"{"z":"first","a":"second"}"#;
        assert_eq!(json(plain), plain, "the order of a line without secrets stays");
    }

    #[test]
    fn no_text_of_any_kind_breaks_it_and_json_stays_json() {
        fastrand::seed(11);
        let words =
            ["rtsp://", "@", "token", "=", "\"", ":", "password", " ", "Authorization", "\\", "é", "&", "\n", "x"];
        for _ in 0..5_000 {
            let text: String = (0..fastrand::usize(0..20)).map(|_| words[fastrand::usize(..words.len())]).collect();
            let line = serde_json::json!({ "message": text, "level": "INFO" }).to_string();
            redact(&text);
            let out = json(&line);
            assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{line}\n became {out}");
        }
    }
}
