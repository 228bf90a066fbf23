//! Answers a server that asks for a user: Basic (RFC 7617) and Digest (RFC 7616).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderMap, WWW_AUTHENTICATE};
use md5::Md5;
use sha2::{Digest as _, Sha256};

/// How a user logs in at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// With name and password as they are.
    Basic,
    /// With a digest of them.
    Digest(Digest),
}

/// The parameters of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    hash: Hash,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// Whether it takes a count and a nonce of the client.
    counts: bool,
    /// Whether it asked again only because its nonce was too old.
    is_stale: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Md5,
    Sha256,
}

/// What is asked for.
pub struct Asked<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query, as in the request line.
    pub path: &'a str,
}

/// A user's credentials.
pub struct As<'a> {
    /// The name.
    pub name: &'a str,
    /// The password.
    pub password: &'a str,
}

impl Challenge {
    /// The best of those that a server offers; `None` if there is none that can be answered.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let offered: Vec<(String, Vec<(String, String)>)> = texts.flat_map(challenges).collect();
        let digests = offered.iter().filter(|(scheme, _)| scheme == "digest");
        if let Some(digest) = digests.filter_map(|(_, fields)| Digest::of(fields)).max_by_key(|digest| digest.hash) {
            return Some(Self::Digest(digest));
        }
        offered.iter().any(|(scheme, _)| scheme == "basic").then_some(Self::Basic)
    }

    /// Whether the last answer was right, and only its nonce too old.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Digest(digest) if digest.is_stale)
    }

    /// The value of `Authorization`. `count` is the number of answers to this challenge, from 1, and `own` a nonce.
    pub fn answer(&self, user: &As<'_>, asked: &Asked<'_>, count: u32, own: &str) -> String {
        match self {
            Self::Basic => format!("Basic {}", STANDARD.encode(format!("{}:{}", user.name, user.password))),
            Self::Digest(digest) => digest.answer(user, asked, count, own),
        }
    }
}

impl Digest {
    fn of(fields: &[(String, String)]) -> Option<Self> {
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let hash = match field("algorithm").map(|name| name.to_ascii_lowercase()).as_deref() {
            None | Some("md5") => Hash::Md5,
            Some("sha-256") => Hash::Sha256,
            _ => return None,
        };
        let quality = field("qop");
        let counts = quality.as_deref().is_some_and(|all| all.split(',').any(|one| one.trim() == "auth"));
        // Only `auth-int` is offered, which needs the body.
        if quality.is_some() && !counts {
            return None;
        }
        Some(Self {
            hash,
            realm: field("realm")?,
            nonce: field("nonce")?,
            opaque: field("opaque"),
            counts,
            is_stale: field("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    fn answer(&self, user: &As<'_>, asked: &Asked<'_>, count: u32, own: &str) -> String {
        let Self { hash, realm, nonce, .. } = self;
        let secret = hash.of(&format!("{}:{realm}:{}", user.name, user.password));
        let request = hash.of(&format!("{}:{}", asked.method, asked.path));
        let response = match self.counts {
            true => hash.of(&format!("{secret}:{nonce}:{count:08x}:{own}:auth:{request}")),
            false => hash.of(&format!("{secret}:{nonce}:{request}")),
        };
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut out = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{response}\", algorithm={}",
            quoted(user.name),
            quoted(realm),
            quoted(nonce),
            asked.path,
            hash.name()
        );
        if self.counts {
            // Writing to a string does not fail.
            let _ = write!(out, ", qop=auth, nc={count:08x}, cnonce=\"{own}\"");
        }
        if let Some(opaque) = &self.opaque {
            let _ = write!(out, ", opaque=\"{}\"", quoted(opaque));
        }
        out
    }
}

impl Hash {
    fn of(self, text: &str) -> String {
        let bytes: Vec<u8> = match self {
            Self::Md5 => Md5::digest(text).to_vec(),
            Self::Sha256 => Sha256::digest(text).to_vec(),
        };
        bytes.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }
}

/// The challenges in a header, each with its scheme and parameters, names in lower case. One header may hold several.
fn challenges(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut out: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let word = word.to_ascii_lowercase();
        match (after.trim_start().strip_prefix('='), out.last_mut()) {
            (Some(value), Some((_, fields))) => {
                let (value, after) = value_of(value.trim_start());
                fields.push((word, value));
                rest = after;
            }
            _ => {
                out.push((word, Vec::new()));
                rest = after;
            }
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
        // It begins no word.
        rest = rest.strip_prefix('=').unwrap_or(rest);
    }
    out
}

/// A value, quoted or not, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(inner) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let (mut value, mut chars) = (String::new(), inner.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &inner[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[&str]) -> Option<Challenge> {
        let headers = headers.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap()));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        Challenge::of(&map)
    }

    const NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    const OPAQUE: &str = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS";
    const OWN: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

    #[test]
    fn a_digest_is_the_one_of_the_standards_example() {
        let user = As { name: "Mufasa", password: "Circle of Life" };
        let asked = Asked { method: "GET", path: "/dir/index.html" };
        for (algorithm, response) in [
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ] {
            let header = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"{NONCE}\", opaque=\"{OPAQUE}\""
            );
            let answer = of(&[&header]).unwrap().answer(&user, &asked, 1, OWN);
            assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
            assert!(answer.contains("nc=00000001") && answer.contains(&format!("opaque=\"{OPAQUE}\"")), "{answer}");
        }
    }

    #[test]
    fn the_best_offer_is_taken_and_what_cannot_be_answered_is_not() {
        let (md5, sha) = ("Digest realm=\"a\", nonce=\"1\"", "Digest algorithm=SHA-256, realm=\"a\", nonce=\"2\"");
        let is_sha = |found: Option<Challenge>| matches!(found, Some(Challenge::Digest(d)) if d.hash == Hash::Sha256);
        assert!(is_sha(of(&[md5, sha])) && is_sha(of(&[&format!("Basic realm=\"x, y\", {md5}, {sha}")])));
        assert_eq!(of(&["Basic realm=\"a \\\"quoted\\\" place\""]), Some(Challenge::Basic));
        assert_eq!(of(&["basic"]), Some(Challenge::Basic));
        assert_eq!(of(&["Bearer", "Negotiate abc==", "Digest realm=\"a\", nonce=\"1\", qop=\"auth-int\""]), None);
        assert_eq!(of(&["= =,=", ""]), None);
        let old = of(&["Digest realm=\"a\", nonce=\"1\", stale=TRUE"]).unwrap();
        assert!(old.is_stale() && !Challenge::Basic.is_stale());
        let plain = old.answer(&As { name: "u\"", password: "p" }, &Asked { method: "GET", path: "/" }, 7, OWN);
        assert!(plain.contains("username=\"u\\\"\"") && !plain.contains("nc="), "{plain}");
    }
}
