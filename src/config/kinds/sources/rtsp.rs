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

    fn plan(self, uri: &str, _: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let mut camera = Camera::read(uri)?;
        camera.transport = match self.protocol {
            None | Some(Protocol::Auto) => Transport::Auto,
            Some(Protocol::Tcp) => Transport::Tcp,
            Some(Protocol::Udp) => Transport::Udp,
        };
        Ok(Parsed::once(Input::Rtsp(Box::new(camera))))
    }
}
