//! WebRTC peers of a source: one that publishes its pictures, and some that watch them.

use std::net::IpAddr;

use crate::error::{Code, Error};
use crate::types::SourceId;

/// A peer's offer.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Its session description (SDP).
    pub sdp: String,
    /// The address that the offer came from. The answer to an offer from loopback names a loopback address.
    pub from: IpAddr,
}

/// The answer to an offer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The session description, with every address at which this side can be reached.
    pub sdp: String,
    /// The session's name; it is enough to end the session.
    pub session: String,
}

/// Why an offer was refused. The texts contain no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// The offer is invalid, or nothing in it can be used.
    Invalid(String),
    /// Another peer is there, or too many are. A later offer may be accepted.
    Occupied(String),
    /// The source does not do this.
    Unsupported(String),
    /// It failed on this side: an element is not installed, or a time limit was exceeded.
    Failed(String),
}

/// The WebRTC side of one source. Its calls wait for the network, a few seconds at most: do not make them on an async
/// thread.
pub trait Peers: Send + Sync {
    /// Accepts a publisher of the source's pictures; one at a time.
    ///
    /// # Errors
    /// Why it was refused.
    fn publish(&self, offer: &Offer) -> Result<Answer, Unanswered>;

    /// Accepts a viewer, which gets the source's stream as it is.
    ///
    /// # Errors
    /// Why it was refused.
    fn watch(&self, offer: &Offer) -> Result<Answer, Unanswered>;

    /// Ends a session. Returns whether there was one of this name.
    fn hang_up(&self, session: &str) -> bool;

    /// Whether there is a session of this name.
    fn is_open(&self, session: &str) -> bool;
}

/// The error for a source without peers.
pub fn no_peers(source: &SourceId) -> Error {
    Error::new(Code::Source, format!("source {source} takes no WebRTC session"))
        .hint("cameras, files and sources of `type: webrtc` take one")
}
