#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::domain::egress::table::{V4, V6, row};

fn public() -> EgressPolicy {
    EgressPolicy::default()
}

fn allowed(policy: &EgressPolicy, address: IpAddr) -> bool {
    policy.check(None, address, 443).is_ok()
}

fn ends(net: IpNet) -> (IpAddr, IpAddr) {
    match net {
        IpNet::V4(net) => (net.network().into(), net.broadcast().into()),
        IpNet::V6(net) => (net.network().into(), net.broadcast().into()),
    }
}

fn neighbours(net: IpNet) -> Vec<IpAddr> {
    match ends(net) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (u32::from(first), u32::from(last));
            [first.checked_sub(1), last.checked_add(1)]
                .into_iter()
                .flatten()
                .map(|n| Ipv4Addr::from(n).into())
                .collect()
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (first, last) = (u128::from(first), u128::from(last));
            [first.checked_sub(1), last.checked_add(1)]
                .into_iter()
                .flatten()
                .map(|n| Ipv6Addr::from(n).into())
                .collect()
        }
        _ => unreachable!(),
    }
}

/// The IPv6 spellings of an IPv4 address that reach it or could.
fn spellings(address: Ipv4Addr) -> Vec<Ipv6Addr> {
    let n = u128::from(u32::from(address));
    vec![
        address.to_ipv6_mapped(),
        Ipv6Addr::from(n),
        Ipv6Addr::from((0x64_ff9b << 96) | n),
        Ipv6Addr::from((0x64_ff9b_0001 << 80) | n),
        Ipv6Addr::from((0x2002 << 112) | (n << 80) | 1),
        Ipv6Addr::from((0x2001 << 112) | (0x0808_0808 << 64) | (n ^ 0xffff_ffff)),
        Ipv6Addr::from((0x2001 << 112) | (n << 64) | 0xf7f7_f7f7),
    ]
}

#[test]
fn every_row_is_refused_from_its_first_to_its_last_address_in_every_spelling() {
    for row in V4.iter().chain(V6) {
        let (first, last) = ends(row.net);
        for address in [first, last] {
            if row.translated {
                continue;
            }
            let refused = public().check(None, address, 443).unwrap_err();
            assert!(!refused.block().is_empty(), "{address} of {row:?}");
            if let IpAddr::V4(v4) = address {
                for spelling in spellings(v4) {
                    assert!(!allowed(&public(), spelling.into()), "{spelling} of {row:?}");
                }
            }
        }
    }
}

#[test]
fn one_outside_each_end_of_a_row_is_public_unless_another_row_has_it() {
    let mut public_neighbours = 0;
    for inside in V4.iter().chain(V6) {
        for address in neighbours(inside.net) {
            // ::ffff:… neighbours are judged as the IPv4 addresses they are.
            let address = address.to_canonical();
            let other = row(address).filter(|row| !row.translated);
            assert!(other.is_none_or(|other| other.net != inside.net));
            let has_bad_inner = matches!(address, IpAddr::V6(v6)
                if table::embedded(v6).any(|inner| row(inner.into()).is_some()));
            assert_eq!(allowed(&public(), address), other.is_none() && !has_bad_inner, "{address} beside {inside:?}");
            public_neighbours += usize::from(other.is_none());
        }
    }
    assert!(public_neighbours > 30, "{public_neighbours}");
}

#[test]
fn known_addresses_are_judged_as_people_expect() {
    for text in [
        "8.8.8.8",
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "64:ff9b::8.8.8.8",
        "::ffff:8.8.8.8",
        "2001:200::1",
        "2003::",
    ] {
        assert!(allowed(&public(), text.parse().unwrap()), "{text}");
    }
    for (text, block) in [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("0.0.0.0", "this host on this network"),
        ("10.1.2.3", "private use"),
        ("169.254.169.254", "cloud metadata"),
        ("168.63.129.16", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("fd00:ec2::254", "cloud metadata"),
        ("64:ff9b::169.254.169.254", "cloud metadata"),
        ("64:ff9b:1::8.8.8.8", "local-use NAT64"),
        ("2002:0808:0808::1", "6to4"),
        ("2001:0:808:808::1", "Teredo"),
        ("::8.8.8.8", "IPv4-compatible"),
        ("fe80::1", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("4000::1", "outside global unicast"),
        ("a000::1", "outside global unicast"),
        ("255.255.255.255", "limited broadcast"),
        ("3fff:fff::1", "documentation"),
    ] {
        let refused = public().check(None, text.parse().unwrap(), 80).unwrap_err();
        assert_eq!(refused.block(), block, "{text}");
    }
}

#[test]
fn operators_learn_the_address_the_row_and_the_setting_and_tenants_nothing() {
    let refused = public().check(Some("db.corp"), "10.1.2.3".parse().unwrap(), 443).unwrap_err();
    let text = refused.to_string();
    for part in ["db.corp", "10.1.2.3", "10.0.0.0/8", "private use", "RFC 1918", "allow_net", "allow_host(db.corp)"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(refused.tenant_message(), "this address cannot be used");
    assert_eq!(refused.address(), "10.1.2.3".parse().ok());
}

#[test]
fn networks_and_hosts_are_allowed_and_denied_with_deny_winning() {
    let policy = EgressPolicy::builder()
        .allow_net(" 10.0.0.0/8 ,fd00::1/64, loopback , ")
        .allow_host("Hooks.Internal. , *.Corp.example,münchen.example")
        .deny_net("10.9.0.0/16, 8.8.8.8, ::ffff:9.9.9.0/120")
        .build()
        .unwrap();
    let check = |host, address: &str| policy.check(host, address.parse().unwrap(), 443).is_ok();
    for address in ["10.1.1.1", "::ffff:10.1.1.1", "fd00::42", "127.8.8.8", "::1", "64:ff9b::10.1.1.1"] {
        assert!(check(None, address), "{address}");
    }
    for address in ["10.9.1.1", "::ffff:10.9.1.1", "64:ff9b::10.9.1.1", "8.8.8.8", "9.9.9.9", "192.168.0.1", "fd01::1"]
    {
        assert!(!check(None, address), "{address}");
    }
    for host in ["hooks.internal", "HOOKS.INTERNAL.", "a.corp.example", "a.b.corp.example", "xn--mnchen-3ya.example"] {
        assert!(check(Some(host), "192.168.0.1"), "{host}");
        assert!(!check(Some(host), "10.9.1.1"), "{host}");
    }
    for host in ["x.hooks.internal", "corp.example", "evilcorp.example", ".corp.example"] {
        assert!(!check(Some(host), "192.168.0.1"), "{host}");
    }
}

#[test]
fn allowing_a_transition_block_still_checks_what_it_carries() {
    let policy = EgressPolicy::builder().allow_net("2002::/16").build().unwrap();
    assert!(allowed(&policy, "2002:808:808::1".parse().unwrap()));
    assert!(!allowed(&policy, "2002:7f00:1::1".parse().unwrap()));
}

fn party(tenant: &str, made_by_operator: bool) -> Party {
    Party { tenant: TenantId::new(tenant).unwrap(), made_by_operator }
}

#[test]
fn limited_allowances_count_for_those_they_name_and_denials_win_over_them() {
    let policy = EgressPolicy::builder()
        .allow_net("172.16.0.0/12")
        .allow_net_for(Allowance::tenants(["acme", "beta"]), "10.1.0.0/16")
        .allow_host_for(Allowance::tenants(["beta", "acme"]), "db.internal")
        .allow_net_for(Allowance::tenants(["acme"]), "10.2.0.0/16")
        .allow_host_for(Allowance::Operator, "*.ops.internal")
        .allow_net_for(Allowance::Operator, "loopback")
        .deny_net("10.1.9.0/24")
        .deny_host("bad.ops.internal")
        .build()
        .unwrap();
    // Host, address, and who may: acme, beta, another tenant, the operator for another tenant, and for acme.
    for (host, address, who) in [
        (None, "172.16.1.1", [true; 5]),
        (None, "8.8.8.8", [true; 5]),
        (None, "10.1.2.3", [true, true, false, false, true]),
        (None, "::ffff:10.1.2.3", [true, true, false, false, true]),
        (None, "10.1.9.3", [false; 5]),
        (None, "10.2.2.3", [true, false, false, false, true]),
        (None, "10.3.2.3", [false; 5]),
        (None, "127.0.0.1", [false, false, false, true, true]),
        (Some("db.internal"), "192.168.0.1", [true, true, false, false, true]),
        (Some("a.ops.internal"), "192.168.0.1", [false, false, false, true, true]),
        (Some("bad.ops.internal"), "192.168.0.1", [false; 5]),
        (Some("bad.ops.internal"), "8.8.8.8", [false; 5]),
    ] {
        let parties = [
            party("acme", false),
            party("beta", false),
            party("other", false),
            party("other", true),
            party("acme", true),
        ];
        let address = address.parse().unwrap();
        assert_eq!(
            parties.map(|party| policy.check_for(&party, host, address, 443).is_ok()),
            who,
            "{host:?} {address}"
        );
        // Nobody in particular has what everybody has.
        assert_eq!(policy.check(host, address, 443).is_ok(), who[2], "{host:?} {address}");
    }
    // Lists of the same tenants are one allowance, so that those tenants share connections.
    assert_eq!(policy.grant(&party("beta", false)).0.len(), 1);
    assert_eq!(policy.grant(&party("acme", false)).0.len(), 2);
    assert_eq!(policy.grant(&party("other", false)), Grant::default());
}

#[test]
fn denied_hosts_are_refused_by_name_in_every_spelling() {
    let policy =
        EgressPolicy::builder().deny_host("API.example.com, *.hooks.example, münchen.example").build().unwrap();
    for host in
        ["api.example.com", "API.EXAMPLE.COM.", "a.hooks.example", "a.b.hooks.example.", "xn--mnchen-3ya.example"]
    {
        let refused = policy.check_host(host).unwrap_err();
        assert_eq!(
            (refused.address(), refused.block(), refused.tenant_message()),
            (None, "denied host", TENANT_MESSAGE)
        );
        assert!(refused.to_string().contains("deny_host("), "{refused}");
        assert!(policy.check(Some(host), "8.8.8.8".parse().unwrap(), 443).is_err());
    }
    for host in ["x.api.example.com", "example.com", "hooks.example", "evilhooks.example", "api.example.com.evil"] {
        assert!(policy.check_host(host).is_ok(), "{host}");
    }
}

#[test]
fn ports_are_limited_only_when_asked() {
    let address = "8.8.8.8".parse().unwrap();
    let policy = EgressPolicy::builder().ports("443, 8000 - 8002").ports("80").https_only(true).build().unwrap();
    let open: Vec<u16> = [80, 81, 443, 7999, 8000, 8001, 8002, 8003]
        .into_iter()
        .filter(|port| policy.check(None, address, *port).is_ok())
        .collect();
    assert_eq!(open, [80, 443, 8000, 8001, 8002]);
    assert!(policy.is_https_only() && !public().is_https_only());
    assert!(public().check(None, address, 1).is_ok());
    assert!(policy.check(None, address, 22).unwrap_err().to_string().contains("port 22"));
}

#[test]
fn every_bad_entry_is_reported() {
    let problems = EgressPolicy::builder()
        .allow_net("10.0.0.0/33, 10.0.0")
        .allow_host("a b, *, *.*, 127.1, http://x")
        .deny_net("nonsense")
        .deny_host("10.0.0.1, [::1]")
        .allow_net_for(Allowance::tenants(["a b", "ok"]), "10.0.0.0/8, x")
        .allow_host_for(Allowance::Tenants(Vec::new()), "*")
        .ports("0, 9-8, x")
        .build()
        .unwrap_err();
    let of = |field: &str| problems.iter().filter(|problem| problem.field == format!("egress.{field}")).count();
    let fields = ["allow_net", "allow_host", "deny_net", "deny_host", "allow_net_for", "allow_host_for", "ports"];
    assert_eq!(fields.map(of), [2, 5, 1, 2, 2, 2, 3], "{problems:?}");
}
