//! Addresses that must not be reached, and the ways to write one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// First and last address of every block that must not be reached, and one outside each end. Kept apart from
/// the library's own table, so that a row lost there is missed here.
const EDGES: &[(&str, &str)] = &[
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("168.63.129.16", "168.63.129.16"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.31.196.0", "192.31.196.255"),
    ("192.52.193.0", "192.52.193.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("192.175.48.0", "192.175.48.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "239.255.255.255"),
    ("240.0.0.0", "255.255.255.255"),
    ("::", "::ffff:ffff:ffff"),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    ("100::", "100::ffff:ffff:ffff:ffff"),
    ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff"),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

fn beside(address: IpAddr, step: i8) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).wrapping_add_signed(step.into())).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).wrapping_add_signed(step.into())).into(),
    }
}

/// The forms in which an IPv6 address can carry an IPv4 one.
pub fn carriers(address: Ipv4Addr) -> Vec<Ipv6Addr> {
    let n = u128::from(u32::from(address));
    [
        address.to_ipv6_mapped().into(),
        n,
        (0xffff << 48) | n,
        (0xffff_0000 << 32) | n,
        (0x64_ff9b << 96) | n,
        (0x64_ff9b_0001 << 80) | n,
        (0x2002 << 112) | (n << 80),
        (0x2002 << 112) | (n << 80) | 1,
        (0x2001 << 112) | (0x0808_0808 << 64) | (n ^ 0xffff_ffff),
        (0x2001 << 112) | (n << 64) | 0xf7f7_f7f7,
    ]
    .map(Ipv6Addr::from)
    .into()
}

/// The spellings of an address as a URL's host.
pub fn literals(address: IpAddr) -> Vec<String> {
    match address {
        IpAddr::V4(address) => {
            let n = u32::from(address);
            let [a, b, c, d] = address.octets();
            let text = address.to_string();
            let wide = |text: &str, zero: u32| -> String {
                text.chars()
                    .map(|c| c.to_digit(10).and_then(|digit| char::from_u32(zero + digit)).unwrap_or(c))
                    .collect()
            };
            let mut all = vec![
                text.clone(),
                format!("{text}."),
                n.to_string(),
                format!("0x{n:x}"),
                format!("0X{n:X}"),
                format!("0{n:o}"),
                format!("{a}.{}", n & 0xff_ffff),
                format!("{a}.{b}.{}", n & 0xffff),
                format!("0x{a:x}.0x{b:X}.0{c:o}.{d}"),
                format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
                format!("00{a:o}.0x00{b:x}.{c}.{d}"),
                wide(&text, 0xff10),
                wide(&text, 0x1d7d8),
                text.replace('.', "。"),
                text.replace('.', "%2e"),
                text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
                format!("user@{text}"),
                format!("93.184.216.34:80@{text}"),
                format!("a%40x.example@{text}"),
                format!("{text}:8080"),
                format!("{text}:80"),
                format!("[::ffff:{text}]"),
                format!("[::FFFF:{:x}:{:x}]", n >> 16, n & 0xffff),
                format!("[0:0:0:0:0:ffff:{text}]"),
                format!("[0000::0:{text}]"),
                format!("[64:ff9b::{text}]"),
            ];
            all.extend(carriers(address).iter().map(|address| format!("[{address}]")));
            all
        }
        IpAddr::V6(address) => {
            let full: Vec<String> = address.segments().iter().map(|part| format!("{part:04X}")).collect();
            vec![
                format!("[{address}]"),
                format!("[{}]", full.join(":")),
                format!("x@[{address}]:81"),
                format!("[{address}%25eth0]"),
                format!("[{address}%eth0]"),
                format!("%5B{address}%5D"),
            ]
        }
    }
}

/// The blocks' edges, with what lies one outside each, and whether an address is inside.
pub fn edges() -> Vec<(IpAddr, bool)> {
    let mut all = Vec::new();
    for (first, last) in EDGES {
        let (first, last): (IpAddr, IpAddr) = (first.parse().unwrap(), last.parse().unwrap());
        all.extend([(first, true), (last, true), (beside(first, -1), false), (beside(last, 1), false)]);
    }
    all
}
