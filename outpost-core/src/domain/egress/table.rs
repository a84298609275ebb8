//! Addresses that are not the public internet: the special-purpose registries of IANA
//! (`iana-ipv4-special-registry`, `iana-ipv6-special-registry`, read in 2026), the multicast and reserved
//! blocks around them, and the addresses under which clouds serve their metadata.
//!
//! Rows that IANA calls globally reachable (anycast helpers such as AS112 and AMT) are here too: no webhook
//! receiver can live on them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// One row: a block and why it is not sent to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) net: IpNet,
    pub(crate) name: &'static str,
    pub(crate) source: &'static str,
    /// The block carries IPv4 addresses: what it holds decides, not the block itself.
    pub(crate) translated: bool,
}

const fn v4(octets: [u8; 4], length: u8, name: &'static str, source: &'static str) -> Row {
    let [a, b, c, d] = octets;
    let net = IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length);
    Row { net, name, source, translated: false }
}

const fn v6(segments: [u16; 8], length: u8, name: &'static str, source: &'static str) -> Row {
    let [a, b, c, d, e, f, g, h] = segments;
    let net = IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), length);
    Row { net, name, source, translated: false }
}

const fn translated(mut row: Row) -> Row {
    row.translated = true;
    row
}

/// IPv4. The longest matching row names the reason.
pub(crate) const V4: &[Row] = &[
    v4([0, 0, 0, 0], 8, "this network", "RFC 791"),
    v4([0, 0, 0, 0], 32, "this host on this network", "RFC 1122"),
    v4([10, 0, 0, 0], 8, "private use", "RFC 1918"),
    v4([100, 64, 0, 0], 10, "shared address space", "RFC 6598"),
    v4([100, 100, 100, 200], 32, "cloud metadata", "Alibaba Cloud"),
    v4([127, 0, 0, 0], 8, "loopback", "RFC 1122"),
    // Public, but on Azure it is the host's agent, which hands out credentials.
    v4([168, 63, 129, 16], 32, "cloud metadata", "Azure"),
    v4([169, 254, 0, 0], 16, "link-local", "RFC 3927"),
    v4([169, 254, 169, 254], 32, "cloud metadata", "AWS, Azure, Google Cloud and others"),
    v4([169, 254, 170, 2], 32, "cloud metadata", "AWS task credentials"),
    v4([172, 16, 0, 0], 12, "private use", "RFC 1918"),
    v4([192, 0, 0, 0], 24, "IETF protocol assignments", "RFC 6890"),
    v4([192, 0, 0, 0], 29, "IPv4 service continuity prefix", "RFC 7335"),
    v4([192, 0, 0, 8], 32, "IPv4 dummy address", "RFC 7600"),
    v4([192, 0, 0, 9], 32, "port control protocol anycast", "RFC 7723"),
    v4([192, 0, 0, 10], 32, "TURN anycast", "RFC 8155"),
    v4([192, 0, 0, 170], 32, "NAT64/DNS64 discovery", "RFC 8880"),
    v4([192, 0, 0, 171], 32, "NAT64/DNS64 discovery", "RFC 8880"),
    v4([192, 0, 0, 192], 32, "cloud metadata", "Oracle Cloud"),
    v4([192, 0, 2, 0], 24, "documentation", "RFC 5737"),
    v4([192, 31, 196, 0], 24, "AS112", "RFC 7535"),
    v4([192, 52, 193, 0], 24, "AMT", "RFC 7450"),
    v4([192, 88, 99, 0], 24, "6to4 relay anycast", "RFC 7526"),
    v4([192, 88, 99, 2], 32, "6a44 relay anycast", "RFC 6751"),
    v4([192, 168, 0, 0], 16, "private use", "RFC 1918"),
    v4([192, 175, 48, 0], 24, "direct delegation AS112", "RFC 7534"),
    v4([198, 18, 0, 0], 15, "benchmarking", "RFC 2544"),
    v4([198, 51, 100, 0], 24, "documentation", "RFC 5737"),
    v4([203, 0, 113, 0], 24, "documentation", "RFC 5737"),
    v4([224, 0, 0, 0], 4, "multicast", "RFC 5771"),
    v4([240, 0, 0, 0], 4, "reserved", "RFC 1112"),
    v4([255, 255, 255, 255], 32, "limited broadcast", "RFC 919"),
];

/// IPv6. The longest matching row names the reason; the short ones at the end are everything outside
/// `2000::/3`, the only block from which public addresses are given out.
pub(crate) const V6: &[Row] = &[
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified address", "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback", "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible", "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped", "RFC 4291"),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated", "RFC 2765"),
    // What a resolver on an IPv6-only network answers for a public IPv4 receiver.
    translated(v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "NAT64", "RFC 6052")),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local-use NAT64", "RFC 8215"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard-only", "RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy prefix", "RFC 9780"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "IETF protocol assignments", "RFC 2928"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo", "RFC 4380"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, "port control protocol anycast", "RFC 7723"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, "TURN anycast", "RFC 8155"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, "DNS-SD anycast", "RFC 9665"),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "benchmarking", "RFC 5180"),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, "AMT", "RFC 7450"),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, "AS112", "RFC 7535"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID", "RFC 4843"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2", "RFC 7343"),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, "drone remote id", "RFC 9374"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation", "RFC 3849"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4", "RFC 3056"),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "direct delegation AS112", "RFC 7534"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation", "RFC 9637"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing", "RFC 9602"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local", "RFC 4193"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, "cloud metadata", "AWS"),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, "cloud metadata", "Google Cloud"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local", "RFC 4291"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local", "RFC 3879"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast", "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 3, "outside global unicast", "RFC 4291"),
    v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2, "outside global unicast", "RFC 4291"),
    v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1, "outside global unicast", "RFC 4291"),
];

/// The most specific row that holds `address`, which must not be an IPv4-mapped one.
pub(crate) fn row(address: IpAddr) -> Option<&'static Row> {
    let rows = if address.is_ipv4() { V4 } else { V6 };
    rows.iter().filter(|row| row.net.contains(&address)).max_by_key(|row| row.net.prefix_len())
}

/// The IPv4 addresses that an IPv6 address carries within itself, by the form of its block.
pub(crate) fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    let found = match (s0, s1) {
        // NAT64 under its well-known prefix, and IPv4-compatible addresses.
        (0x64, 0xff9b) if [s2, s3, s4, s5] == [0; 4] => [Some(join(s6, s7)), None],
        // `::` and `::1` are addresses of their own, not 0.0.0.0 and 0.0.0.1.
        (0, 0) if s6 != 0 && ([s2, s3, s4, s5] == [0; 4] || [s2, s3, s4, s5] == [0, 0, 0xffff, 0]) => {
            [Some(join(s6, s7)), None]
        }
        // Local-use NAT64 may hold it at any place its prefix length says; the last 32 bits are usual.
        (0x64, 0xff9b) => [Some(join(s6, s7)), None],
        (0x2002, _) => [Some(join(s1, s2)), None],
        // Teredo: the server in clear, the client's address inverted.
        (0x2001, 0) => [Some(join(s2, s3)), Some(join(!s6, !s7))],
        _ => [None, None],
    };
    found.into_iter().flatten()
}
