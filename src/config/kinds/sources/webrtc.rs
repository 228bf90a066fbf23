//! `webrtc`: a publisher that connects to the engine, or a server that is asked.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use crate::config::plan::{IceServers, Input, Sender, WebrtcPlan, Whep};
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

/// The jitter buffer, milliseconds.
const LATENCY_MS: u32 = 100;

/// `buffer_size` has no effect: WebRTC adapts to the network itself.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Webrtc {
    /// The jitter buffer. Default 100. Unit: milliseconds. Range 0–60000. Example: 50.
    #[schemars(range(min = 0, max = 60_000))]
    latency: Option<u32>,
    /// Size of the receive buffer. Unit: KiB. Range 1–1048576.
    #[schemars(range(min = 1, max = 1_048_576))]
    buffer_size: Option<u32>,
    /// webrtc: a STUN server, through which the engine learns its public address. Default none.
    /// Example: "stun://stun.example:3478".
    stun: Option<String>,
    /// webrtc: a TURN server, which relays where no direct connection is possible. Default none.
    /// Example: "turn://user:${TURN_PASSWORD}@turn.example:3478".
    turn: Option<String>,
    /// webrtc: the bearer token that is sent to a WHEP server. Default none. Example: "${WHEP_TOKEN}".
    token: Option<String>,
}

impl Type for Webrtc {
    const OF: SourceType = SourceType::Webrtc;
    const SCHEMES: &'static [&'static str] = &["webrtc", "whep", "wheps"];

    fn claims(uri: &str) -> bool {
        uri == "whip:"
    }

    fn plan(self, uri: &str, _: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let Self { latency, buffer_size: _, stun, turn, token } = self;
        let wrong = |key: &str, label: &str| (format!("`parameters.{key}` cannot be read"), label.to_owned());
        let servers = IceServers {
            stun: stun.map(|text| IceServers::read_stun(&text).map_err(|label| wrong("stun", label))).transpose()?,
            turn: turn.map(|text| IceServers::read_turn(&text).map_err(|label| wrong("turn", label))).transpose()?,
        };
        let from = match uri {
            "whip:" if token.is_some() => {
                let label = "leave it out: publishers send one of monitoring.tokens".to_owned();
                return Err(("`parameters.token` is for a server".to_owned(), label));
            }
            "whip:" => Sender::Publisher,
            _ => Sender::Server(Whep::read(uri, token)?),
        };
        let latency = Duration::from_millis(latency.unwrap_or(LATENCY_MS).into());
        Ok(Parsed::once(Input::Webrtc(Box::new(WebrtcPlan { from, latency, servers }))))
    }
}
