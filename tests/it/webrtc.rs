//! Sources over WebRTC, with a peer whose code is not GStreamer's (`tests/doubles/webrtc_peer.py`).

mod browser;
pub(crate) mod peer;
mod pull;
mod whep;
mod whip;

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::admin::{Answer, answer, request};
use crate::harness::{Dsengine, Running, get, until, write};

/// Longest wait for a page of a command that starts.
const START: Duration = Duration::from_secs(60);

/// How soon a source that is gone is noticed, on a quiet machine.
const NOTICED: Duration = Duration::from_secs(3);

/// A running engine.
struct Engine {
    running: Running,
    address: String,
    _dir: tempfile::TempDir,
}

impl Engine {
    /// An engine with these sources, and more keys.
    fn start(sources: &str, rest: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "config.yaml", &format!("sources:\n{sources}\n{rest}\n"));
        Self::of(dir, &[])
    }

    /// The same with variables of the environment.
    fn with_tokens(sources: &str, rest: &str, variables: &[(&str, Option<&str>)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "config.yaml", &format!("sources:\n{sources}\n{rest}\n"));
        Self::of(dir, variables)
    }

    /// An engine with the configuration in a folder.
    fn of(dir: tempfile::TempDir, variables: &[(&str, Option<&str>)]) -> Self {
        let config = dir.path().join("config.yaml").display().to_string();
        let command = Dsengine::new(["run", "--config", &config, "--port", "0"]);
        let command =
            variables.iter().fold(command, |command, (name, value)| command.env(name, value.unwrap_or_default()));
        let mut running = command.start();
        let address = running.wait_line(START, |line| line.starts_with("page: "));
        let address = address.trim_start_matches("page: http://").trim_end_matches('/').replace("0.0.0.0", "127.0.0.1");
        Self { running, address, _dir: dir }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn status(&self, source: &str) -> Value {
        let (status, body) = get(&self.address, &format!("/api/v1/sources/{source}"));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["status"].clone()
    }

    #[track_caller]
    fn wait(&self, source: &str, state: &str) {
        until(&format!("{source} is {state}"), || self.status(source)["state"] == state);
    }

    /// Waits for so many more frames.
    #[track_caller]
    fn frames(&self, source: &str, more: u64) {
        let count = || self.status(source)["frames"].as_u64().unwrap();
        let begun = count();
        until(&format!("{more} frames of {source}"), || count() >= begun + more);
    }

    /// Sends an offer.
    fn offer(&self, path: &str, kind: &str, token: Option<&str>, sdp: &str) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("Host", self.address.as_str()), ("Content-Type", kind)];
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        answer(request(TcpStream::connect(&self.address).unwrap(), "POST", path, &headers, sdp))
    }
}

/// Number of threads of a process.
fn threads(pid: u32) -> usize {
    std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")).map_or(0, Iterator::count)
}

/// An offer of a publisher that never sends a packet.
fn silent_offer() -> String {
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
     c=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\n\
     a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\na=fingerprint:sha-256 \
     E6:F0:22:A1:1A:2F:59:85:80:73:B2:8A:CB:EE:F4:C6:55:C9:93:C5:17:CB:38:97:39:ED:A6:7F:72:C5:BD:28\r\n\
     a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
        .to_owned()
}
