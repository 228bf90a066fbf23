//! This machine's own addresses for ICE.
//!
//! libnice leaves loopback out, so a peer on the same machine could reach nothing where there is no network. Adding one
//! address replaces its own list, so all are added.

use std::net::{IpAddr, Ipv4Addr};

/// The kernel's table of IPv4 routes, with every local address.
const TABLE: &str = "/proc/net/fib_trie";
/// Most addresses used.
const ADDRESSES_MAX: usize = 16;

/// The addresses to use for a peer at `peer`; none where libnice's own list is right.
pub(super) fn local(peer: IpAddr) -> Vec<IpAddr> {
    if !peer.to_canonical().is_loopback() {
        return Vec::new();
    }
    let table = std::fs::read_to_string(TABLE).unwrap_or_default();
    std::iter::once(Ipv4Addr::LOCALHOST).chain(of_table(&table)).take(ADDRESSES_MAX).map(IpAddr::V4).collect()
}

/// The local addresses of the table, except loopback's.
fn of_table(table: &str) -> Vec<Ipv4Addr> {
    let (mut found, mut last) = (Vec::new(), None);
    for line in table.lines() {
        if let Some(address) = line.trim_start().strip_prefix("|-- ") {
            last = address.trim().parse::<Ipv4Addr>().ok();
        } else if line.contains("/32 host LOCAL")
            && let Some(address) = last.filter(|address| !address.is_loopback() && !found.contains(address))
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_addresses_are_read_from_the_kernels_table() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.0.2.0\n\
                     \u{20}       /24 link UNICAST\n     |-- 10.0.2.15\n        /32 host LOCAL\n     |-- 127.0.0.1\n\
                     \u{20}       /32 host LOCAL\n     |-- 10.0.2.255\n        /32 link BROADCAST\nLocal:\n\
                     \u{20}    |-- 10.0.2.15\n        /32 host LOCAL\n";
        assert_eq!(of_table(table), ["10.0.2.15".parse::<Ipv4Addr>().unwrap()]);
        assert_eq!(of_table("nothing"), Vec::<Ipv4Addr>::new());
    }

    #[test]
    fn loopback_is_offered_to_loopback_only() {
        assert_eq!(local("127.0.0.1".parse().unwrap()).first(), Some(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert!(local("192.0.2.1".parse().unwrap()).is_empty());
    }
}
