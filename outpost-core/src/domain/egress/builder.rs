//! Building an egress policy, from values and from an operator's text.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net};

use super::{Allowed, EgressPolicy, HostPattern, Whom};
use crate::values::error::Problem;
use crate::values::id::TenantId;

/// Whose destinations an allowance is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Destinations that the operator made.
    Operator,
    /// Destinations of these tenants, by id.
    Tenants(Vec<String>),
}

impl Allowance {
    /// An allowance for the tenants with these ids.
    #[must_use]
    pub fn tenants<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self::Tenants(ids.into_iter().map(Into::into).collect())
    }
}

/// Builds an [`EgressPolicy`]. Texts are comma-separated lists; spaces around entries do not matter. Every
/// problem is kept until [`build`](Self::build).
#[derive(Clone, Debug, Default)]
pub struct EgressPolicyBuilder {
    policy: EgressPolicy,
    problems: Vec<Problem>,
}

impl EgressPolicyBuilder {
    /// Allows networks or single addresses that are not public: `10.0.0.0/8, fd00::/8`, or `loopback` for
    /// `127.0.0.0/8` and `::1`.
    #[must_use]
    pub fn allow_net(mut self, list: &str) -> Self {
        let nets = self.nets("egress.allow_net", list);
        self.policy.everybody.nets.extend(nets);
        self
    }

    /// As [`allow_net`](Self::allow_net), for some destinations only.
    #[must_use]
    pub fn allow_net_for(mut self, whom: Allowance, list: &str) -> Self {
        let nets = self.nets("egress.allow_net_for", list);
        if let Some(allowed) = self.limited("egress.allow_net_for", whom) {
            allowed.nets.extend(nets);
        }
        self
    }

    /// Allows hosts whatever they resolve to: `hooks.internal`, or `*.internal` for every name below it.
    /// Only the name in a destination's URL counts; whoever controls its DNS chooses the addresses.
    #[must_use]
    pub fn allow_host(mut self, list: &str) -> Self {
        let hosts = self.hosts("egress.allow_host", list);
        self.policy.everybody.hosts.extend(hosts);
        self
    }

    /// As [`allow_host`](Self::allow_host), for some destinations only.
    #[must_use]
    pub fn allow_host_for(mut self, whom: Allowance, list: &str) -> Self {
        let hosts = self.hosts("egress.allow_host_for", list);
        if let Some(allowed) = self.limited("egress.allow_host_for", whom) {
            allowed.hosts.extend(hosts);
        }
        self
    }

    /// Denies hosts, whatever else allows them, before their names are resolved: `api.example.com`, or
    /// `*.example.com` for every name below it.
    ///
    /// Name here the hosts under which your own API is reached: a destination that points at the call that
    /// publishes would feed itself for ever. Other names for the same machines are caught only by
    /// [`deny_net`](Self::deny_net) with their addresses.
    #[must_use]
    pub fn deny_host(mut self, list: &str) -> Self {
        let hosts = self.hosts("egress.deny_host", list);
        self.policy.deny_hosts.extend(hosts);
        self
    }

    /// Denies networks or single addresses, whatever else allows them.
    #[must_use]
    pub fn deny_net(mut self, list: &str) -> Self {
        let nets = self.nets("egress.deny_net", list);
        self.policy.deny_nets.extend(nets);
        self
    }

    /// Allows only these ports: `443, 8000-8999`. Calls add up; without a call every port is allowed.
    #[must_use]
    pub fn ports(mut self, list: &str) -> Self {
        let mut ports = self.policy.ports.take().unwrap_or_default();
        for entry in entries(list) {
            match port_range(entry) {
                Some(range) => ports.push(range),
                None => self.refuse("egress.ports", entry, "is neither a port nor a range of ports"),
            }
        }
        self.policy.ports = Some(ports);
        self
    }

    /// Refuses `http` URLs.
    #[must_use]
    pub const fn https_only(mut self, on: bool) -> Self {
        self.policy.https_only = on;
        self
    }

    /// The policy.
    ///
    /// # Errors
    /// Every entry that could not be read.
    pub fn build(self) -> Result<EgressPolicy, Vec<Problem>> {
        if self.problems.is_empty() { Ok(self.policy) } else { Err(self.problems) }
    }

    fn nets(&mut self, field: &str, list: &str) -> Vec<IpNet> {
        let mut nets = Vec::new();
        for entry in entries(list) {
            if entry.eq_ignore_ascii_case("loopback") {
                nets.push(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into());
                nets.push(IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)));
            } else if let Some(net) = network(entry) {
                nets.push(net);
            } else {
                self.refuse(field, entry, "is neither a network such as 10.0.0.0/8 nor an address");
            }
        }
        nets
    }

    fn hosts(&mut self, field: &str, list: &str) -> Vec<HostPattern> {
        let mut hosts = Vec::new();
        for entry in entries(list) {
            match host_pattern(entry) {
                Some(pattern) => hosts.push(pattern),
                None => self.refuse(field, entry, "is neither a host name nor *. and a host name"),
            }
        }
        hosts
    }

    /// What is allowed to `whom` so far.
    fn limited(&mut self, field: &str, whom: Allowance) -> Option<&mut Allowed> {
        let whom = match whom {
            Allowance::Operator => Whom::Operator,
            Allowance::Tenants(ids) => {
                if ids.is_empty() {
                    self.problems.push(Problem::new(field, "names no tenant"));
                }
                let mut tenants = BTreeSet::new();
                for id in ids {
                    match TenantId::new(&id) {
                        Ok(id) => drop(tenants.insert(id)),
                        Err(problem) => self.refuse(field, &id, &format!("is no tenant's id: {}", problem.message)),
                    }
                }
                Whom::Tenants(tenants)
            }
        };
        let limited = &mut self.policy.limited;
        let found = limited.iter().position(|(other, _)| *other == whom);
        let at = found.unwrap_or_else(|| {
            limited.push((whom, Allowed::default()));
            limited.len() - 1
        });
        limited.get_mut(at).map(|(_, allowed)| allowed)
    }

    fn refuse(&mut self, field: &str, entry: &str, message: &str) {
        self.problems.push(Problem::new(field, format!("{entry:?} {message}")));
    }
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// Reads a network or an address. Those of IPv4 in mapped spelling become IPv4, as the check sees them.
fn network(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?.trunc();
    match (net.addr().to_canonical(), net.prefix_len()) {
        (IpAddr::V4(address), length) if net.addr().is_ipv6() => {
            Ipv4Net::new(address, length.checked_sub(96)?).ok().map(IpNet::V4)
        }
        _ => Some(net),
    }
}

fn host_pattern(text: &str) -> Option<HostPattern> {
    let below = text.strip_prefix("*.");
    // The URL parser decides what a host is and gives it the form that URLs will have.
    let url::Host::Domain(name) = url::Host::parse(below.unwrap_or(text)).ok()? else { return None };
    let name = name.trim_end_matches('.');
    if name.is_empty() || name.contains('*') {
        return None;
    }
    Some(match below {
        Some(_) => HostPattern::Below(format!(".{name}")),
        None => HostPattern::Exact(name.to_owned()),
    })
}

fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (0 < first && first <= last).then_some(first..=last)
}
