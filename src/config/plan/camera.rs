//! A network camera's parsed address.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::address::{Address, Schemes, User, peer};

const RTSP: Schemes = Schemes { plain: "rtsp", tls: "rtsps", ports: (554, 322), usual: "cameras listen at 554" };

/// A camera's address. `Debug` does not show user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Camera {
    uri: String,
    /// The address without user and password, for requests.
    pub location: String,
    /// The credentials.
    pub user: Option<User>,
    /// The camera's name or IP address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection uses TLS: `rtsps://`.
    pub tls: bool,
    /// The transport of its packets.
    pub transport: Transport,
    /// How long the jitter buffer waits for a late packet.
    pub latency: Duration,
    /// Size of the socket's receive buffer, over UDP.
    pub buffer_bytes: u32,
    /// A CA file that is trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The SHA-256 of its certificate; only that certificate is trusted then, whoever signed it.
    pub fingerprint: Option<[u8; 32]>,
}

/// The transport of a camera's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// TCP, or UDP if the camera does not support TCP.
    #[default]
    Auto,
    /// TCP only.
    Tcp,
    /// UDP only.
    Udp,
}

impl Camera {
    /// The usual jitter buffer.
    pub const LATENCY: Duration = Duration::from_millis(200);
    /// The usual size of the receive buffer.
    pub const BUFFER_BYTES: u32 = 1024 * 1024;

    /// Parses `rtsp://[user[:password]@]host[:port]/path`. User and password end at the last `@` before the host, may
    /// contain any character, and are percent-decoded if encoded.
    ///
    /// # Errors
    /// What is wrong, and what to write. Neither contains a part of the address.
    pub fn read(uri: &str) -> Result<Self, (String, String)> {
        let Address { location, user, host, port, tls } = Address::read(uri, &RTSP)?;
        Ok(Self {
            uri: uri.to_owned(),
            location,
            user,
            host,
            port,
            tls,
            transport: Transport::Auto,
            latency: Self::LATENCY,
            buffer_bytes: Self::BUFFER_BYTES,
            ca_file: None,
            fingerprint: None,
        })
    }

    /// The address as written, with its secrets: print it only through `telemetry::redact`.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// `host:port`, for display.
    pub fn peer(&self) -> String {
        peer(&self.host, self.port)
    }
}

impl fmt::Debug for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Camera").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> (Option<(String, String)>, String, u16) {
        let camera = Camera::read(uri).unwrap_or_else(|why| panic!("{uri}: {why:?}"));
        (camera.user.map(|user| (user.name, user.password)), camera.location, camera.port)
    }

    #[test]
    fn user_and_password_are_everything_before_the_host() {
        for (written, password) in [
            ("p@ss", "p@ss"),
            ("100%sure", "100%sure"),
            ("100%25sure", "100%sure"),
            ("p@ss:w/rd#1", "p@ss:w/rd#1"),
            ("p%40ss%3Aw%2Frd%231", "p@ss:w/rd#1"),
            ("pa ss", "pa ss"),
            ("a/b", "a/b"),
            ("?", "?"),
            ("#1", "#1"),
            ("a&b=c+d", "a&b=c+d"),
            ("'\"<\\", "'\"<\\"),
            ("[::1]", "[::1]"),
            ("pässwörd", "pässwörd"),
            ("%", "%"),
            ("%ff", "%ff"),
            ("", ""),
            ("a?", "a?"),
        ] {
            let uri = format!("rtsp://admin:{written}@10.0.0.7:8554/live?channel=1");
            let user = Some(("admin".to_owned(), password.to_owned()));
            assert_eq!(read(&uri), (user, "rtsp://10.0.0.7:8554/live?channel=1".into(), 8554), "{uri}");
        }
        assert_eq!(read("rtsp://admin@cam/s").0, Some(("admin".into(), String::new())));
        assert_eq!(read("rtsp://a%40b.c:x@cam/s").0, Some(("a@b.c".into(), "x".into())));
        assert_eq!(read("rtsp://cam/s"), (None, "rtsp://cam/s".into(), 554));
        assert_eq!(read("RTSPS://cam"), (None, "rtsps://cam".into(), 322));
        assert_eq!(read("rtsp://u:p@[fe80::1]:555/s").1, "rtsp://[fe80::1]:555/s");
        assert_eq!(read("rtsp://my_cam/a b").1, "rtsp://my_cam/a%20b");
    }

    #[test]
    fn an_at_sign_in_a_path_is_not_a_password() {
        for path in ["s@2", "@home", "s?user=a@b.example", "rtsp://u:p@10.0.0.7/s"] {
            let camera = Camera::read(&format!("rtsp://proxy:8554/{path}")).unwrap();
            assert_eq!((&*camera.host, camera.user), ("proxy", None), "{path}");
        }
    }

    #[test]
    fn an_unreadable_address_is_refused_with_advice_and_without_its_secrets() {
        for uri in [
            "rtsp://admin:canary:x/y",
            "rtsp://admin:canary/1@2:3:4/y",
            "rtsp://admin:1/canary@10.0.0.7/s",
            "rtsp://admin:canary@ca m/s",
        ] {
            let (what, label) = Camera::read(uri).unwrap_err();
            assert!(
                !what.contains("canary") && label.contains("@ is %40") && !label.contains("canary"),
                "{uri}: {what}"
            );
        }
        for (uri, part) in [
            ("rtsp://", "no host"),
            ("rtsp://:554/s", "no host"),
            ("rtsp://admin:canary@cam:99999/s", "1 to 65535"),
            ("rtsp://cam:0/s", "1 to 65535"),
            ("rtsp:///s", "no host"),
            ("ftp://u:canary@h/", "cannot be read"),
            ("rtsp//u:canary@h/", "cannot be read"),
            ("rtsp://u:can%00ary@h/", "cannot be read"),
        ] {
            let (what, label) = Camera::read(uri).unwrap_err();
            assert!(what.contains(part) && !label.contains("canary"), "{uri}: {what} {label}");
        }
        let shown = format!("{:?}", Camera::read("rtsp://viewer:canary@cam/s").unwrap());
        assert!(shown.contains("cam:554") && !shown.contains("viewer") && !shown.contains("canary"), "{shown}");
    }
}
