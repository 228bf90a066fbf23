//! The two digests with which ONVIF cameras let users in: that of WS-Security, and that of HTTP.
//!
//! Sources: OASIS "Web Services Security UsernameToken Profile 1.0"; RFC 7616. Cameras still use SHA-1 and MD5 there, so
//! the password is only as safe as the network.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gstreamer::glib::{Checksum, ChecksumType};

/// The header of WS-Security for a user: `nonce` is random, `created` the time at the camera.
pub(super) fn token(user: &str, password: &str, nonce: &[u8], created: &str) -> Option<String> {
    let mut sum = Checksum::new(ChecksumType::Sha1)?;
    for part in [nonce, created.as_bytes(), password.as_bytes()] {
        sum.update(part);
    }
    let (digest, nonce) = (STANDARD.encode(sum.digest()), STANDARD.encode(nonce));
    let user = super::xml::escaped(user);
    let of = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss";
    Some(format!(
        "<w:Security s:mustUnderstand=\"1\" xmlns:w=\"{of}-wssecurity-secext-1.0.xsd\" \
         xmlns:u=\"{of}-wssecurity-utility-1.0.xsd\"><w:UsernameToken><w:Username>{user}</w:Username>\
         <w:Password Type=\"{of}-username-token-profile-1.0#PasswordDigest\">{digest}</w:Password>\
         <w:Nonce EncodingType=\"{of}-soap-message-security-1.0#Base64Binary\">{nonce}</w:Nonce>\
         <u:Created>{created}</u:Created></w:UsernameToken></w:Security>"
    ))
}

/// The `Authorization` header that answers a challenge of HTTP digest; `None` for another kind of challenge.
pub(super) fn authorization(
    challenge: &str,
    (user, password): (&str, &str),
    (method, path): (&str, &str),
    cnonce: &str,
) -> Option<String> {
    let fields = challenge.strip_prefix("Digest ").or_else(|| challenge.strip_prefix("digest "))?;
    let (realm, nonce) = (field(fields, "realm").unwrap_or_default(), field(fields, "nonce")?);
    let algorithm = field(fields, "algorithm");
    let kind = match algorithm.as_deref() {
        None | Some("MD5") => ChecksumType::Md5,
        Some("SHA-256") => ChecksumType::Sha256,
        Some(_) => return None,
    };
    let hash = |text: String| {
        let mut sum = Checksum::new(kind)?;
        sum.update(text.as_bytes());
        sum.string()
    };
    let (who, what) = (hash(format!("{user}:{realm}:{password}"))?, hash(format!("{method}:{path}"))?);
    let with_quality = field(fields, "qop").is_some_and(|qualities| qualities.split(',').any(|q| q.trim() == "auth"));
    let response = match with_quality {
        true => hash(format!("{who}:{nonce}:00000001:{cnonce}:auth:{what}"))?,
        false => hash(format!("{who}:{nonce}:{what}"))?,
    };
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let (user, realm) = (quoted(user), quoted(&realm));
    let mut header = format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{path}\", response=\"{response}\""
    );
    if let Some(algorithm) = algorithm {
        header += &format!(", algorithm={algorithm}");
    }
    if let Some(opaque) = field(fields, "opaque") {
        header += &format!(", opaque=\"{opaque}\"");
    }
    if with_quality {
        header += &format!(", qop=auth, nc=00000001, cnonce=\"{cnonce}\"");
    }
    Some(header)
}

/// A field of a challenge, quoted or not.
fn field(fields: &str, name: &str) -> Option<String> {
    let mut rest = fields;
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_once(',').unwrap_or((value, "")),
        };
        if key.trim().trim_start_matches(',').trim().eq_ignore_ascii_case(name) {
            return Some(value.trim().to_owned());
        }
        rest = after.trim_start_matches([',', ' ']);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standards_come_out() {
        // ONVIF "Application Programmer's Guide" 1.0, 6.1.1.3.
        let nonce = STANDARD.decode("LKqI6G/AikKCQrN0zqZFlg==").unwrap();
        let token = token("user", "userpassword", &nonce, "2010-09-16T07:50:45Z").unwrap();
        assert!(token.contains(">tuOSpGlFlIXsozq4HFNeeGeFLEI=<"), "{token}");
        // RFC 7616, 3.9.1, in both of its algorithms.
        let challenge = |algorithm: &str| {
            format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            )
        };
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let header = authorization(
                &challenge(algorithm),
                ("Mufasa", "Circle of Life"),
                ("GET", "/dir/index.html"),
                "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            );
            assert!(header.unwrap().contains(response), "{algorithm}");
        }
        assert_eq!(authorization("Basic realm=\"x\"", ("a", "b"), ("GET", "/"), "c"), None);
        assert_eq!(authorization("Digest nonce=\"x\", algorithm=SHA-512", ("a", "b"), ("GET", "/"), "c"), None);
    }
}
