//! A WebRTC source: who sends, and the servers that help to reach it.

use std::fmt;
use std::time::Duration;

use url::Url;

use super::User;
use super::address::host_port;

/// A source whose pictures come over WebRTC. `Debug` does not show its secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct WebrtcPlan {
    /// Who sends.
    pub from: Sender,
    /// The jitter buffer.
    pub latency: Duration,
    /// The servers for connections between networks.
    pub servers: IceServers,
}

/// Who sends the pictures.
#[derive(Clone, PartialEq, Eq)]
pub enum Sender {
    /// A publisher that connects to the listener (WHIP).
    Publisher,
    /// A server that is asked (WHEP).
    Server(Whep),
}

/// A WebRTC server.
#[derive(Clone, PartialEq, Eq)]
pub struct Whep {
    /// The address of requests, `http://…` or `https://…`.
    pub url: Url,
    /// The bearer token that is sent to it.
    pub token: Option<String>,
}

impl Whep {
    /// Reads `whep://host[:port]/path` (HTTP), `wheps://…` (HTTPS), or an address of these two.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn read(uri: &str, token: Option<String>) -> Result<Self, (String, String)> {
        let wrong = |label: &str| ("the server's address cannot be read".to_owned(), label.to_owned());
        let expected = "write whep://host[:port]/path, wheps:// for TLS";
        let (scheme, rest) = uri.split_once("://").ok_or_else(|| wrong(expected))?;
        let http = match scheme.to_ascii_lowercase().as_str() {
            "whep" | "webrtc" | "http" => "http",
            "wheps" | "https" => "https",
            _ => return Err(wrong(expected)),
        };
        let url = Url::parse(&format!("{http}://{rest}")).map_err(|_| wrong(expected))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("leave user and password out: parameters.token is sent to it"));
        }
        Ok(Self { url, token })
    }

    /// `host:port`, for display.
    pub fn peer(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("{host}:{}", self.url.port_or_known_default().unwrap_or_default())
    }
}

/// STUN and TURN servers, as GStreamer takes them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct IceServers {
    /// `stun://host:port`.
    pub stun: Option<String>,
    /// `turn://user:password@host:port`, percent-encoded.
    pub turn: Option<String>,
}

/// The port of STUN and TURN servers.
const PORT: u16 = 3478;
/// The port of TURN servers over TLS.
const TLS_PORT: u16 = 5349;

impl WebrtcPlan {
    /// The address for display.
    pub fn address(&self) -> &str {
        match &self.from {
            Sender::Publisher => "whip:",
            Sender::Server(server) => server.url.as_str(),
        }
    }
}

impl IceServers {
    /// Reads `stun:host[:port]` or `stun://host[:port]`.
    ///
    /// # Errors
    /// What to write.
    pub fn read_stun(text: &str) -> Result<String, &'static str> {
        let expected = "expected stun://host[:port]";
        let rest = text.strip_prefix("stun:").ok_or(expected)?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let at = host_port(rest).filter(|_| !rest.contains(['@', '/', '?', '#'])).ok_or(expected)?;
        Ok(format!("stun://{}", super::address::peer(&at.host, at.port.unwrap_or(PORT))))
    }

    /// Reads `turn://user:password@host[:port]`, `turns://…` for TLS.
    ///
    /// # Errors
    /// What to write; without the text.
    pub fn read_turn(text: &str) -> Result<String, &'static str> {
        let expected = "expected turn://user:password@host[:port]";
        let (scheme, rest) = text.split_once("://").ok_or(expected)?;
        let tls = match scheme {
            "turn" => false,
            "turns" => true,
            _ => return Err(expected),
        };
        let (user, rest) = rest.rsplit_once('@').ok_or(expected)?;
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let query = match query {
            None => "",
            Some("transport=udp") => "?transport=udp",
            Some("transport=tcp") => "?transport=tcp",
            Some(_) => return Err("expected ?transport=udp or ?transport=tcp"),
        };
        let at = host_port(rest).filter(|_| !rest.contains(['/', '#'])).ok_or(expected)?;
        let user = User::read(user);
        if user.name.is_empty() || user.password.is_empty() {
            return Err(expected);
        }
        let encoded =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let port = at.port.unwrap_or(if tls { TLS_PORT } else { PORT });
        let place = super::address::peer(&at.host, port);
        Ok(format!("{scheme}://{}:{}@{place}{query}", encoded(&user.name), encoded(&user.password)))
    }
}

impl fmt::Debug for WebrtcPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = match &self.from {
            Sender::Publisher => "a publisher".to_owned(),
            Sender::Server(server) => server.peer(),
        };
        f.debug_struct("WebrtcPlan").field("from", &from).finish_non_exhaustive()
    }
}

impl fmt::Debug for Whep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Whep").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

impl fmt::Debug for IceServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServers").field("stun", &self.stun).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_address_is_read_and_shown_without_its_secrets() {
        let read = |uri: &str| Whep::read(uri, Some("C4n4ry".into())).map(|server| server.url.to_string());
        assert_eq!(read("whep://cam:8889/yard"), Ok("http://cam:8889/yard".into()));
        assert_eq!(read("wheps://cam/yard?x=1"), Ok("https://cam/yard?x=1".into()));
        assert_eq!(read("https://cam/yard"), Ok("https://cam/yard".into()));
        for wrong in ["whep://", "whep:cam", "rtsp://cam/s", "whep://u:C4n4ry@cam/yard"] {
            let (what, label) = read(wrong).unwrap_err();
            assert!(!format!("{what}{label}").contains("C4n4ry"), "{wrong}: {what}: {label}");
        }
        let server = Whep::read("whep://cam/C4n4ry", Some("C4n4ry".into())).unwrap();
        let plan = WebrtcPlan { from: Sender::Server(server), latency: Duration::ZERO, servers: IceServers::default() };
        assert_eq!(format!("{plan:?}"), "WebrtcPlan { from: \"cam:80\", .. }");
    }

    #[test]
    fn servers_are_read_with_any_password_and_shown_without_it() {
        assert_eq!(IceServers::read_stun("stun:stun.example"), Ok("stun://stun.example:3478".into()));
        assert_eq!(IceServers::read_stun("stun://[::1]:5"), Ok("stun://[::1]:5".into()));
        for wrong in ["stun.example", "stun://u:p@h", "http://h", "stun:", "stun://h:0"] {
            assert!(IceServers::read_stun(wrong).is_err(), "{wrong}");
        }
        let turn = IceServers::read_turn("turn://u:C4n@ry/1@turn.example?transport=tcp").unwrap();
        assert_eq!(turn, "turn://u:C4n%40ry%2F1@turn.example:3478?transport=tcp");
        assert_eq!(IceServers::read_turn("turns://u:p@h"), Ok("turns://u:p@h:5349".into()));
        for wrong in ["turn://h", "turn:u:p@h", "turn://u@h", "turn://u:p@h?transport=sctp", "turn://u:p@h/x"] {
            assert!(IceServers::read_turn(wrong).is_err(), "{wrong}");
        }
        let servers = IceServers { stun: None, turn: Some(turn) };
        let plan = WebrtcPlan { from: Sender::Publisher, latency: Duration::ZERO, servers };
        assert!(!format!("{plan:?} {:?}", plan.servers).contains("C4n"));
    }
}
