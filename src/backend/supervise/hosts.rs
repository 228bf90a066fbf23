//! Limits how many sources connect to one host at the same time: a recorder with forty cameras is not asked forty times
//! at once after a power cut. Pure: time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// Maximum connection attempts at one host at the same time.
pub const HOST_CONNECTING_MAX: usize = 4;
/// How long an attempt counts as connecting at most: dead channels of a recorder must not hold up the others.
pub const HOST_CONNECTING_FOR: Duration = Duration::from_secs(2);

/// The hosts of all sources of a backend.
#[derive(Debug, Default)]
pub struct Hosts(Mutex<BTreeMap<String, Host>>);

#[derive(Debug, Default)]
struct Host {
    /// The turns that wait, in order.
    waiting: VecDeque<u64>,
    /// The turns that connect, each with the time of its begin.
    connecting: Vec<(u64, u64)>,
    next: u64,
}

/// A source's turn to connect. Dropping it gives the turn to the next one.
#[derive(Debug)]
pub struct Turn {
    hosts: Arc<Hosts>,
    host: String,
    number: u64,
}

impl Hosts {
    /// Queues for a connection attempt at `host`.
    pub fn queue(self: &Arc<Self>, host: &str) -> Turn {
        let mut hosts = self.0.lock();
        let entry = hosts.entry(host.to_owned()).or_default();
        let number = entry.next;
        entry.next += 1;
        entry.waiting.push_back(number);
        Turn { hosts: Arc::clone(self), host: host.to_owned(), number }
    }
}

impl Turn {
    /// Whether the attempt may begin, which it does then.
    pub fn begin(&self, now_ns: u64) -> bool {
        let mut hosts = self.hosts.0.lock();
        let Some(host) = hosts.get_mut(&self.host) else { return true };
        let Some(place) = host.waiting.iter().position(|number| *number == self.number) else { return true };
        let for_ns = HOST_CONNECTING_FOR.as_nanos() as u64;
        host.connecting.retain(|(_, begun_ns)| now_ns.saturating_sub(*begun_ns) < for_ns);
        if place >= HOST_CONNECTING_MAX.saturating_sub(host.connecting.len()) {
            return false;
        }
        host.waiting.remove(place);
        host.connecting.push((self.number, now_ns));
        true
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut hosts = self.hosts.0.lock();
        let Some(host) = hosts.get_mut(&self.host) else { return };
        host.waiting.retain(|number| *number != self.number);
        host.connecting.retain(|(number, _)| *number != self.number);
        if host.waiting.is_empty() && host.connecting.is_empty() {
            hosts.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn so_many_connect_at_once_in_the_order_of_their_queueing() {
        let hosts = Arc::<Hosts>::default();
        let mut turns: Vec<Turn> = (0..7).map(|_| hosts.queue("nvr")).collect();
        let begun = |turns: &[Turn], at: u64| turns.iter().map(|turn| turn.begin(at * MS)).collect::<Vec<_>>();
        assert!(!turns[4].begin(0), "those before it have not begun yet");
        assert_eq!(begun(&turns, 0), [true, true, true, true, false, false, false]);
        assert!(hosts.queue("door").begin(0), "another host has its own limit");
        drop(turns.remove(1));
        assert!(!turns[4].begin(1) && turns[3].begin(1), "the one that was first");
        assert_eq!(begun(&turns, 1_999), [true, true, true, true, false, false]);
        assert_eq!(begun(&turns, 2_000), [true; 6], "those that take long do not count any more");
        turns.clear();
        assert!(hosts.0.lock().is_empty(), "nothing is left of it");
    }

    #[test]
    fn one_that_is_removed_while_it_waits_holds_up_nobody() {
        let hosts = Arc::<Hosts>::default();
        let mut turns: Vec<Turn> = (0..6).map(|_| hosts.queue("nvr")).collect();
        assert!(turns.iter().take(4).all(|turn| turn.begin(0)));
        drop(turns.remove(4));
        drop(turns.remove(0));
        assert!(turns[3].begin(1));
    }
}
