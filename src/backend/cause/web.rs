//! Causes of a web address's failure.

use super::{Patience, TRIES};

/// Why a web address cannot be played, for the causes that cameras do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebCause {
    /// The peer does not speak HTTP.
    NotHttp,
    /// The port of an `https://` address does not speak TLS.
    NoTls,
    /// The proxy on the way fails; what to do.
    Proxy(String),
    /// The peer sends something else than video; its content type.
    NotVideo(String),
    /// What the peer sends has an end, and a live stream is expected.
    Ends,
    /// What the peer sends has no end, and a clip is expected.
    NoEnd,
    /// A playlist cannot be played, and why.
    Playlist(&'static str),
    /// A playlist or redirect names an address that may not be read; which, without its path.
    Elsewhere(String),
}

impl WebCause {
    pub(super) fn patience(&self) -> Patience {
        match self {
            Self::Proxy(_) => Patience::Outage,
            _ => Patience::Setting(TRIES),
        }
    }

    pub(super) fn describe(&self, peer: &str) -> (String, &'static str) {
        match self {
            Self::NotHttp => (
                format!("{peer} does not speak HTTP"),
                "write the port of its web server (80 as a rule), https:// where it speaks TLS",
            ),
            Self::NoTls => (
                format!("{peer} speaks no TLS on this port"),
                "write http://, or the port of its https (443 as a rule)",
            ),
            Self::Proxy(why) => (why.clone(), ""),
            Self::NotVideo(kind) => (
                format!("{peer} sends {kind}, which is not video"),
                "write the address of the stream itself; parameters.form says what stands there",
            ),
            Self::Ends => (
                format!("what {peer} sends has an end, as a clip has"),
                "write parameters.live: false, so that none of its frames is dropped",
            ),
            Self::NoEnd => (format!("what {peer} sends has no end"), "write parameters.live: true, as for a camera"),
            Self::Playlist(why) => (
                format!("the playlist of {peer} cannot be played ({why})"),
                "compare the uri with the one that its player uses",
            ),
            Self::Elsewhere(target) => (
                format!("{peer} sends it on to {target}, which is not asked"),
                "write that address as uri, or its host into parameters.hosts if it can be trusted",
            ),
        }
    }
}
