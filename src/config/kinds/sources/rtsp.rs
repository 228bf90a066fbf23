//! `rtsp`: a camera's stream.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use super::fingerprint::sha256;
use crate::config::plan::{Camera, Input, Transport};
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Rtsp {
    /// rtsp: how long a late packet is waited for. Default 200. Unit: milliseconds. Range 0–60000. Example: 100.
    #[schemars(range(min = 0, max = 60_000))]
    pub(super) latency: Option<u32>,
    /// rtsp: how packets come: tcp, udp, or auto: over TCP, and over UDP where the camera takes no TCP. Default auto.
    /// Example: tcp.
    pub(super) protocol: Option<Protocol>,
    /// rtsp, http, detections: authorities whose certificates are trusted beside the machine's, PEM, for rtsps://,
    /// https:// and mqtts://. Default none. Example: certs/ca.pem.
    pub(super) ca_file: Option<PathBuf>,
    /// rtsp, http: the SHA-256 of the certificate that an rtsps:// camera or https:// server shows, trusted whoever
    /// signed it, and no other. Default none. Example: "3f:0a:…".
    pub(super) fingerprint: Option<String>,
    /// rtsp: size of the receive buffer, over UDP; http: what may wait for the decoder. Default 1024.
    /// Unit: KiB. Range 1–1048576. Example: 4096.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub(super) buffer_size: Option<u32>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    Tcp,
    Udp,
    Auto,
}

impl Type for Rtsp {
    const OF: SourceType = SourceType::Rtsp;
    const SCHEMES: &'static [&'static str] = &["rtsp", "rtsps"];

    fn plan(self, uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let Self { latency, protocol, ca_file, fingerprint, buffer_size } = self;
        let mut camera = Camera::read(uri)?;
        camera.transport = match protocol {
            None | Some(Protocol::Auto) => Transport::Auto,
            Some(Protocol::Tcp) => Transport::Tcp,
            Some(Protocol::Udp) => Transport::Udp,
        };
        camera.latency = latency.map_or(Camera::LATENCY, |ms| Duration::from_millis(ms.into()));
        camera.buffer_bytes = buffer_size.map_or(Camera::BUFFER_BYTES, |kib| kib.saturating_mul(1024));
        if !camera.tls && (ca_file.is_some() || fingerprint.is_some()) {
            let label = "write rtsps://, or leave parameters.ca_file and parameters.fingerprint out";
            return Err(("an rtsp:// camera shows no certificate".to_owned(), label.to_owned()));
        }
        camera.ca_file = ca_file.map(|file| find(&file.to_string_lossy()));
        camera.fingerprint = fingerprint.as_deref().map(sha256).transpose()?;
        Ok(Parsed::once(Input::Rtsp(Box::new(camera))))
    }
}
