//! `network`: a stream of the network, whose kind its scheme names.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Type;
use super::http::{Form, Http};
use super::rtsp::{Protocol, Rtsp};
use crate::config::schema::SourceType;
use crate::config::source_uri::{Parsed, Refusal};

/// The parameters of both kinds; each is refused where its kind has none of that name.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Network {
    /// The jitter buffer of an rtsp:// stream. Unit: milliseconds. Range 0–60000.
    #[schemars(range(min = 0, max = 60_000))]
    latency: Option<u32>,
    /// How the packets of an rtsp:// stream come.
    protocol: Option<Protocol>,
    /// What stands at an http:// address.
    form: Option<Form>,
    /// Whether an http:// address has no end.
    live: Option<bool>,
    /// More hosts that a playlist or a redirect may name.
    #[schemars(length(max = 32))]
    hosts: Option<Vec<String>>,
    /// Authorities whose certificates are trusted beside the machine's.
    ca_file: Option<PathBuf>,
    /// The SHA-256 of the certificate that is trusted.
    fingerprint: Option<String>,
    /// Size of the receive buffer. Unit: KiB. Range 1–1048576.
    #[schemars(range(min = 1, max = 1_048_576))]
    buffer_size: Option<u32>,
}

impl Type for Network {
    const OF: SourceType = SourceType::Network;

    fn plan(self, uri: &str, find: &dyn Fn(&str) -> PathBuf) -> Result<Parsed, Refusal> {
        let Self { latency, protocol, form, live, hosts, ca_file, fingerprint, buffer_size } = self;
        let scheme = uri.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
        let misplaced = |key: &str| {
            let message = format!("`parameters.{key}` is not a parameter of a {scheme}:// stream");
            Err((message, "leave it out".to_owned()))
        };
        match &*scheme {
            "rtsp" | "rtsps" => match (form, live, hosts) {
                (None, None, None) => Rtsp { latency, protocol, ca_file, fingerprint, buffer_size }.plan(uri, find),
                (Some(_), ..) => misplaced("form"),
                (_, Some(_), _) => misplaced("live"),
                (.., Some(_)) => misplaced("hosts"),
            },
            "http" | "https" => match (latency, protocol) {
                (None, None) => Http { form, live, hosts, ca_file, fingerprint, buffer_size }.plan(uri, find),
                (Some(_), _) => misplaced("latency"),
                (_, Some(_)) => misplaced("protocol"),
            },
            _ => Err((
                "a network source has an address of rtsp://, rtsps://, http:// or https://".to_owned(),
                "a server that speaks another protocol can be read through one that makes RTSP of it".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::Input;

    #[test]
    fn the_scheme_chooses_the_kind_and_its_parameters() {
        let plan = |uri: &str, parameters: &str| {
            serde_json::from_str::<Network>(parameters).unwrap().plan(uri, &|path| path.into())
        };
        let rtsp = plan("rtsp://cam/s", r#"{"protocol": "udp", "latency": 50}"#);
        assert!(matches!(rtsp, Ok(Parsed { input: Input::Rtsp(_), .. })), "{rtsp:?}");
        let http = plan("HTTPS://cam/s.m3u8", r#"{"hosts": ["cdn.example"]}"#);
        assert!(matches!(http, Ok(Parsed { input: Input::Web(_), .. })), "{http:?}");
        for (uri, parameters, said) in [
            ("rtsp://cam/s", r#"{"hosts": []}"#, "`parameters.hosts` is not a parameter of a rtsp:// stream"),
            ("http://cam/s", r#"{"latency": 5}"#, "`parameters.latency` is not a parameter of a http:// stream"),
            ("clip.mp4", "{}", "has an address of"),
            ("srt://cam", "{}", "has an address of"),
        ] {
            let (what, _) = plan(uri, parameters).unwrap_err();
            assert!(what.contains(said), "{uri}: {what}");
        }
    }
}
