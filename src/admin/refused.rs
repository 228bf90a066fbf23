//! Refused tokens: counted, and logged with the peer's address, one line per peer and minute. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Least time between two lines about one peer.
const LOGGED_EVERY: Duration = Duration::from_secs(60);
/// Maximum peers remembered; others share one line.
const PEERS_MAX: usize = 256;

/// The peers that sent a wrong token; `None` is all those beyond the maximum.
#[derive(Default)]
pub(super) struct Refused(Mutex<BTreeMap<Option<IpAddr>, Peer>>);

struct Peer {
    logged: Instant,
    /// Refusals since then.
    since: u64,
}

impl Refused {
    /// Counts a refusal. Returns the number to log, with the peer if it is remembered; `None` if nothing is to be
    /// logged.
    pub(super) fn note(&self, peer: IpAddr, now: Instant) -> Option<(Option<IpAddr>, u64)> {
        let mut peers = self.0.lock();
        let is_over = |peer: &Peer| now.saturating_duration_since(peer.logged) >= LOGGED_EVERY;
        if peers.len() > PEERS_MAX {
            peers.retain(|_, peer| !is_over(peer));
        }
        let peer = Some(peer.to_canonical());
        let peer = if peers.len() > PEERS_MAX && !peers.contains_key(&peer) { None } else { peer };
        let Some(known) = peers.get_mut(&peer) else {
            peers.insert(peer, Peer { logged: now, since: 0 });
            return Some((peer, 1));
        };
        known.since += 1;
        if !is_over(known) {
            return None;
        }
        known.logged = now;
        Some((peer, std::mem::take(&mut known.since)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn peer(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn a_peer_is_logged_at_once_and_then_once_a_minute_with_its_number() {
        let (refused, start) = (Refused::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(refused.note(peer(1), start), Some((Some(peer(1)), 1)));
        assert!((1..60).all(|second| refused.note(peer(1), at(second)).is_none()));
        assert_eq!(refused.note(peer(2), at(5)), Some((Some(peer(2)), 1)), "another one has its own line");
        assert_eq!(refused.note(peer(1), at(60)), Some((Some(peer(1)), 60)));
        assert_eq!(refused.note(peer(1), at(61)), None);
    }

    #[test]
    fn many_peers_share_a_line_and_the_memory_is_bounded() {
        let (refused, start) = (Refused::default(), Instant::now());
        let lines: Vec<_> = (0..5_000).filter_map(|number| refused.note(peer(number), start)).collect();
        assert_eq!(lines.iter().filter(|(peer, _)| peer.is_none()).count(), 1);
        assert!(lines.len() <= PEERS_MAX + 2 && refused.0.lock().len() <= PEERS_MAX + 2);
        let later = start + LOGGED_EVERY;
        let (peer_of, count) = refused.note(peer(9_999), later).unwrap();
        assert_eq!((peer_of, count), (Some(peer(9_999)), 1), "peers that are quiet are forgotten");
    }
}
