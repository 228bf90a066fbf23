//! A WebRTC source: who sends, and the servers that help to reach it.

use std::fmt;
use std::time::Duration;

use super::User;
use super::camera::host_port;

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
        Ok(format!("stun://{}", super::camera::peer(&at.host, at.port.unwrap_or(PORT))))
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
        let place = super::camera::peer(&at.host, port);
        Ok(format!("{scheme}://{}:{}@{place}{query}", encoded(&user.name), encoded(&user.password)))
    }
}

impl fmt::Debug for WebrtcPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebrtcPlan").field("from", &self.address()).finish_non_exhaustive()
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
