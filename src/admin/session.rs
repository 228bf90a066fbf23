//! Sessions of the page: it exchanges its token for a cookie, since an `EventSource` cannot send headers.
//!
//! A session has its token's permissions and ends with it. Only the cookie's digest is stored.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::time::Instant;

use super::access::Digest;

/// Maximum sessions per token; the next one ends the oldest. The plan bounds the number of tokens.
const SESSIONS_PER_TOKEN_MAX: usize = 32;
/// Lifetime of a session.
pub(super) const SESSION_AGE_MAX: Duration = Duration::from_secs(12 * 3600);
/// Length of a session id in bytes.
const ID_BYTES: usize = 32;

struct Session {
    id: Digest,
    token: Digest,
    until: Instant,
}

/// The open sessions, oldest first.
#[derive(Default)]
pub(super) struct Sessions(Mutex<VecDeque<Session>>);

impl Sessions {
    fn open_ones(&self, now: Instant) -> MutexGuard<'_, VecDeque<Session>> {
        let mut sessions = self.0.lock();
        sessions.retain(|session| session.until > now);
        sessions
    }

    /// Opens a session for a token; `None` if the system provides no random numbers.
    pub(super) fn open(&self, token: Digest, now: Instant) -> Option<String> {
        let id = random_id()?;
        let mut sessions = self.open_ones(now);
        let mine = sessions.iter().filter(|session| session.token.matches(&token)).count();
        if mine >= SESSIONS_PER_TOKEN_MAX
            && let Some(oldest) = sessions.iter().position(|session| session.token.matches(&token))
        {
            sessions.remove(oldest);
        }
        sessions.push_back(Session { id: Digest::of(id.as_bytes()), token, until: now + SESSION_AGE_MAX });
        Some(id)
    }

    /// The token of a session.
    pub(super) fn find(&self, id: &str, now: Instant) -> Option<Digest> {
        let id = Digest::of(id.as_bytes());
        let sessions = self.open_ones(now);
        sessions.iter().fold(None, |found, s| if s.id.matches(&id) { Some(s.token) } else { found })
    }

    /// Ends a session.
    pub(super) fn close(&self, id: &str, now: Instant) {
        let id = Digest::of(id.as_bytes());
        self.open_ones(now).retain(|session| !session.id.matches(&id));
    }
}

/// System random bytes, as hex digits.
fn random_id() -> Option<String> {
    let mut bytes = [0u8; ID_BYTES];
    // Up to 256 bytes are returned completely or not at all.
    let got = getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
    (got == ID_BYTES).then(|| {
        bytes.iter().fold(String::with_capacity(2 * ID_BYTES), |mut id, byte| {
            // Writing to a String cannot fail.
            let _ = write!(id, "{byte:02x}");
            id
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_maps_to_its_token_until_it_ends() {
        let sessions = Sessions::default();
        let (token, now) = (Digest::of(b"viewer"), Instant::now());
        let id = sessions.open(token, now).unwrap();
        assert!(sessions.find(&id, now).is_some_and(|found| found.matches(&token)));
        assert!(sessions.find("guessed", now).is_none());
        let other = sessions.open(token, now).unwrap();
        assert!(id.len() == 64 && id != other);
        sessions.close(&other, now);
        assert!(sessions.find(&other, now).is_none() && sessions.find(&id, now).is_some());
        assert!(sessions.find(&id, now + SESSION_AGE_MAX).is_none());
    }

    #[test]
    fn a_token_that_logs_in_again_and_again_ends_its_own_oldest_session_only() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let other = sessions.open(Digest::of(b"other"), now).unwrap();
        let mine: Vec<_> =
            (0..=SESSIONS_PER_TOKEN_MAX).filter_map(|_| sessions.open(Digest::of(b"mine"), now)).collect();
        assert!(sessions.find(&mine[0], now).is_none());
        assert!(mine[1..].iter().all(|id| sessions.find(id, now).is_some()) && sessions.find(&other, now).is_some());
    }
}
