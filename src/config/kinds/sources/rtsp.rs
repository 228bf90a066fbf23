//! `rtsp`: a camera's stream.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::plan::{Camera, Input, Transport};
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

/// `latency` and `buffer_size` have no effect yet: the table of keys says so.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Rtsp {
    /// rtsp: the jitter buffer. Default 200. Unit: milliseconds. Range 0–60000. Example: 100.
    #[schemars(range(min = 0, max = 60_000))]
    latency: Option<u32>,
    /// rtsp: how packets come: tcp, udp, or auto: over TCP, and over UDP where the camera takes no TCP. Default auto.
    /// Example: tcp.
    protocol: Option<Protocol>,
    /// rtsp, detections: authorities whose certificates are trusted beside the machine's, PEM, for rtsps:// and mqtts://.
    /// Default none.
    /// Example: certs/ca.pem.
    ca_file: Option<PathBuf>,
    /// rtsp: the SHA-256 of the certificate that an rtsps:// camera shows, trusted whoever signed it, and no other.
    /// Default none. Example: "3f:0a:…".
    fingerprint: Option<String>,
    /// rtsp: size of the receive buffer. Default 1024. Unit: KiB. Range 1–1048576. Example: 4096.
    #[schemars(range(min = 1, max = 1_048_576))]
    buffer_size: Option<u32>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    Tcp,
    Udp,
    Auto,
}

impl Type for Rtsp {
    const OF: SourceType = SourceType::Rtsp;
    const SCHEMES: &'static [&'static str] = &["rtsp", "rtsps"];

    fn plan(self, uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let Self { latency: _, protocol, ca_file, fingerprint, buffer_size: _ } = self;
        let mut camera = Camera::read(uri)?;
        camera.transport = match protocol {
            None | Some(Protocol::Auto) => Transport::Auto,
            Some(Protocol::Tcp) => Transport::Tcp,
            Some(Protocol::Udp) => Transport::Udp,
        };
        if !camera.tls && (ca_file.is_some() || fingerprint.is_some()) {
            let label = "write rtsps://, or leave parameters.ca_file and parameters.fingerprint out";
            return Err(("an rtsp:// camera shows no certificate".to_owned(), label.to_owned()));
        }
        camera.ca_file = ca_file.map(|file| find(&file.to_string_lossy()));
        camera.fingerprint = fingerprint.as_deref().map(sha256).transpose()?;
        Ok(Parsed::once(Input::Rtsp(Box::new(camera))))
    }
}

/// Parses a fingerprint as tools print it: 64 hexadecimal digits, with or without colons.
fn sha256(text: &str) -> Result<[u8; 32], Refusal> {
    let digits = text.trim().to_ascii_lowercase().replace(':', "");
    let digits = digits.strip_prefix("sha256").unwrap_or(&digits).trim_start_matches(['=', ' ']);
    let mut out = [0; 32];
    let is_hex = digits.len() == 2 * out.len() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok();
    for (at, slot) in out.iter_mut().enumerate() {
        let Some(byte) = byte(at).filter(|_| is_hex) else {
            let label = "expected the 64 digits that `openssl x509 -noout -fingerprint -sha256` prints";
            return Err(("`parameters.fingerprint` is no SHA-256".to_owned(), label.to_owned()));
        };
        *slot = byte;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_tools_print_it() {
        let (plain, colons) = ("0A".repeat(32), ["0a"; 32].join(":"));
        for text in [&plain, &colons, &format!("sha256:{plain}"), &format!("SHA256={colons}"), &format!(" {plain}\n")] {
            assert_eq!(sha256(text), Ok([10; 32]), "{text}");
        }
        for text in ["", "0a", &"0g".repeat(32), &"0a".repeat(33), &"0ä".repeat(32)] {
            assert!(sha256(text).is_err(), "{text}");
        }
    }
}
