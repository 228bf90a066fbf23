//! Addresses of this machine or its management network, in every notation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Cloud metadata addresses in addition to the link-local 169.254.169.254: Alibaba, Oracle, Azure.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
/// The same in IPv6: Amazon, its containers' credentials, Google.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// Whether an address belongs to this machine or its management network. Private networks are allowed: a site's alert
/// receivers are there, reachable by their granted names.
pub(super) fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            a.is_loopback()
                || a.is_link_local()
                || a.is_unspecified()
                || a.is_multicast()
                || a.is_broadcast()
                || METADATA_V4.contains(&a)
        }
        IpAddr::V6(a) => match embedded(a) {
            Some(embedded) => is_inside(IpAddr::V4(embedded)),
            None => {
                a.is_loopback()
                    || a.is_unspecified()
                    || a.is_multicast()
                    // fe80::/10
                    || a.segments()[0] & 0xffc0 == 0xfe80
                    || METADATA_V6.contains(&a)
            }
        },
    }
}

/// The IPv4 address embedded in an IPv6 one: `::ffff:a.b.c.d`, or NAT64's `64:ff9b::a.b.c.d`.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let nat64 = address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    address.to_ipv4_mapped().or_else(|| nat64.then(|| Ipv4Addr::from(address.to_bits() as u32)))
}
