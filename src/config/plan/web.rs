//! A stream or file at a web address.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::address::{Address, Schemes, User, peer};

const HTTP: Schemes =
    Schemes { plain: "http", tls: "https", ports: (80, 443), usual: "web servers listen at 80, and at 443 for https" };

/// Endings of files that are played from their beginning to their end.
const CLIPS: &[&str] =
    &["mp4", "m4v", "mov", "mkv", "webm", "avi", "flv", "wmv", "asf", "mpg", "mpeg", "3gp", "ogv", "mts", "m2ts", "ts"];

/// A stream or file at a web address. `Debug` does not show user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Web {
    uri: String,
    /// The address without user and password, for requests.
    pub location: Url,
    /// The credentials, for the address's own host only.
    pub user: Option<User>,
    /// The server's name or IP address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection uses TLS: `https://`.
    pub tls: bool,
    /// What stands there.
    pub form: Form,
    /// Whether it has no end and comes at its own pace.
    pub live: bool,
    /// More hosts that a playlist or a redirect may name, as `host` or `host:port`.
    pub hosts: Vec<String>,
    /// A CA file that is trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The SHA-256 of its certificate; only that certificate is trusted then, whoever signed it.
    pub fingerprint: Option<[u8; 32]>,
    /// Bytes that may wait between the network and the decoder.
    pub buffer_bytes: u32,
}

/// What stands at a web address. A file's content never decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// A playlist if the path ends with `.m3u8`, else what the server's content type says.
    #[default]
    Auto,
    /// A clip or an endless stream in a container.
    Stream,
    /// JPEG pictures, one after the other.
    Mjpeg,
    /// A playlist of segments.
    Hls,
}

impl Web {
    /// The usual number of bytes that may wait.
    pub const BUFFER_BYTES: u32 = 1024 * 1024;

    /// Parses `http://[user[:password]@]host[:port]/path`. User and password end at the last `@` before the host, may
    /// contain any character, and are percent-decoded if encoded.
    ///
    /// # Errors
    /// What is wrong, and what to write. Neither contains a part of the address.
    pub fn read(uri: &str) -> Result<Self, (String, String)> {
        let Address { location, user, host, port, tls } = Address::read(uri, &HTTP)?;
        let location = Url::parse(&location).map_err(|error| {
            ("the stream's address cannot be read".to_owned(), format!("write http://host[:port]/path ({error})"))
        })?;
        let live = !CLIPS.iter().any(|ending| has_ending(&location, ending));
        Ok(Self {
            uri: uri.to_owned(),
            location,
            user,
            host,
            port,
            tls,
            form: Form::Auto,
            live,
            hosts: Vec::new(),
            ca_file: None,
            fingerprint: None,
            buffer_bytes: Self::BUFFER_BYTES,
        })
    }

    /// Whether its path is that of a playlist.
    pub fn is_playlist(&self) -> bool {
        has_ending(&self.location, "m3u8")
    }

    /// The name of the clip at its path, where it is one.
    pub(in crate::config) fn stem(&self) -> Option<String> {
        let stem = Path::new(self.location.path()).file_stem()?.to_string_lossy().into_owned();
        (!self.live && !stem.contains('%')).then_some(stem)
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

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("peer", &self.peer()).field("form", &self.form).finish_non_exhaustive()
    }
}

/// Whether a path has this ending, in whatever case.
fn has_ending(url: &Url, ending: &str) -> bool {
    Path::new(url.path()).extension().is_some_and(|own| own.eq_ignore_ascii_case(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_any_password_and_says_whether_it_ends() {
        for (uri, user, location, peer, live) in [
            ("http://cam/live", None, "http://cam/live", "cam:80", true),
            ("HTTPS://cam:8443/a.M3U8?x=1", None, "https://cam:8443/a.M3U8?x=1", "cam:8443", true),
            ("https://u:p:ss/w?#@cam/clip.mp4", Some(("u", "p:ss/w?#")), "https://cam/clip.mp4", "cam:443", false),
            ("http://a%40b:%3A@[::1]:81/x.MKV", Some(("a@b", ":")), "http://[::1]:81/x.MKV", "[::1]:81", false),
        ] {
            let web = Web::read(uri).unwrap_or_else(|why| panic!("{uri}: {why:?}"));
            let named = web.user.as_ref().map(|user| (&*user.name, &*user.password));
            assert_eq!((named, web.location.as_str(), &*web.peer(), web.live), (user, location, peer, live), "{uri}");
        }
        assert_eq!(Web::read("http://h/a/gate.mp4").unwrap().stem().as_deref(), Some("gate"));
        assert_eq!(Web::read("http://h/a/gate.m3u8").unwrap().stem(), None);
        for uri in ["http://", "http://u:canary@/x", "http://h:0/x", "ftp://u:canary@h/x", "http://u:can\u{1}ary@h/"] {
            let (what, label) = Web::read(uri).unwrap_err();
            assert!(!what.contains("canary") && !label.contains("canary"), "{uri}: {what}: {label}");
        }
        let shown = format!("{:?}", Web::read("http://viewer:canary@cam/s").unwrap());
        assert!(shown.contains("cam:80") && !shown.contains("viewer") && !shown.contains("canary"), "{shown}");
    }
}
