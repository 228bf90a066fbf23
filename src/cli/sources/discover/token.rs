//! The login of ONVIF: a token of WS-Security with a digest of the password.
//!
//! Source: OASIS "Web Services Security UsernameToken Profile 1.0". It uses SHA-1, so the password is only as safe as
//! the network.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gstreamer::glib::{Checksum, ChecksumType};

/// The header of WS-Security for a user: `nonce` is random, `created` the time at the camera.
pub(super) fn header(user: &str, password: &str, nonce: &[u8], created: &str) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_comes_out() {
        // ONVIF "Application Programmer's Guide" 1.0, 6.1.1.3.
        let nonce = STANDARD.decode("LKqI6G/AikKCQrN0zqZFlg==").unwrap();
        let token = header("user", "userpassword", &nonce, "2010-09-16T07:50:45Z").unwrap();
        assert!(token.contains(">tuOSpGlFlIXsozq4HFNeeGeFLEI=<"), "{token}");
    }
}
