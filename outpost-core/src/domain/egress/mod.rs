//! Which addresses the library may send to. By default only public ones; the operator allows or denies
//! more by network and by host.

mod builder;
mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

pub use builder::{Allowance, EgressPolicyBuilder};
use table::Row;

use crate::values::id::TenantId;

/// What a tenant is told, whatever the reason: anything more would map the operator's network for them.
pub const TENANT_MESSAGE: &str = "this address cannot be used";

/// Decides which addresses may be sent to. The default allows only public addresses, any port, and plain
/// HTTP as well as HTTPS.
///
/// Denied networks and hosts win over everything. An allowed host or network lifts the ban on addresses that
/// are not public; it does not limit the policy to that host or network.
#[derive(Clone, Debug, Default)]
pub struct EgressPolicy {
    everybody: Allowed,
    limited: Vec<(Whom, Allowed)>,
    deny_nets: Vec<IpNet>,
    deny_hosts: Vec<HostPattern>,
    /// `None`: any.
    ports: Option<Vec<RangeInclusive<u16>>>,
    https_only: bool,
}

/// What the ban is lifted for.
#[derive(Clone, Debug, Default)]
struct Allowed {
    nets: Vec<IpNet>,
    hosts: Vec<HostPattern>,
}

/// Whose destinations an allowance is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whom {
    Operator,
    Tenants(BTreeSet<TenantId>),
}

/// Whose destination it is, as far as a policy tells destinations apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Party {
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The operator made it, and nobody else has said where it leads.
    pub made_by_operator: bool,
}

/// Which limited allowances somebody has. Who has the same may share connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Grant(Vec<usize>);

/// `example.com` itself, or `*.example.com`: every name below it, but not itself.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Exact(String),
    Below(String),
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host == name,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl EgressPolicy {
    /// Starts from the default.
    #[must_use]
    pub fn builder() -> EgressPolicyBuilder {
        EgressPolicyBuilder::default()
    }

    /// Whether only `https` URLs are allowed.
    #[must_use]
    pub const fn is_https_only(&self) -> bool {
        self.https_only
    }

    /// Checks a host's name before it is resolved.
    ///
    /// # Errors
    /// That it is a denied one.
    pub fn check_host(&self, host: &str) -> Result<(), Refused> {
        match self.deny_hosts.iter().find(|pattern| pattern.matches(&plain(host))) {
            Some(pattern) => Err(Refused {
                address: None,
                port: 0,
                host: Some(host.to_owned()),
                reason: Reason::DeniedHost(pattern.clone()),
            }),
            None => Ok(()),
        }
    }

    /// Checks one address that `host` resolved to, by what everybody may send to. `host` is `None` for a
    /// literal address.
    ///
    /// # Errors
    /// Why it may not be sent to.
    pub fn check(&self, host: Option<&str>, address: IpAddr, port: u16) -> Result<(), Refused> {
        self.check_granted(&Grant::default(), host, address, port)
    }

    /// As [`check`](Self::check), with what is allowed to `party` besides.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_for(&self, party: &Party, host: Option<&str>, address: IpAddr, port: u16) -> Result<(), Refused> {
        self.check_granted(&self.grant(party), host, address, port)
    }

    /// The limited allowances of `party`.
    pub(crate) fn grant(&self, party: &Party) -> Grant {
        let is_for = |whom: &Whom| match whom {
            Whom::Operator => party.made_by_operator,
            Whom::Tenants(tenants) => tenants.contains(&party.tenant),
        };
        Grant(self.limited.iter().enumerate().filter(|(_, (whom, _))| is_for(whom)).map(|(at, _)| at).collect())
    }

    pub(crate) fn check_granted(
        &self,
        grant: &Grant,
        host: Option<&str>,
        address: IpAddr,
        port: u16,
    ) -> Result<(), Refused> {
        if let Some(host) = host {
            self.check_host(host)?;
        }
        // A socket treats a mapped address as the IPv4 address, so we do too.
        let address = address.to_canonical();
        let refuse = |reason| Err(Refused { address: Some(address), port, host: host.map(str::to_owned), reason });
        let inner: Vec<IpAddr> = match address {
            IpAddr::V4(_) => Vec::new(),
            IpAddr::V6(address) => table::embedded(address).map(IpAddr::V4).collect(),
        };
        let all = || std::iter::once(address).chain(inner.iter().copied());
        if let Some(net) = self.deny_nets.iter().find(|net| all().any(|address| net.contains(&address))) {
            return refuse(Reason::Denied(*net));
        }
        if let Some(ports) = &self.ports
            && !ports.iter().any(|range| range.contains(&port))
        {
            return refuse(Reason::Port);
        }
        let limited = grant.0.iter().filter_map(|at| self.limited.get(*at)).map(|(_, allowed)| allowed);
        let allowed: Vec<&Allowed> = std::iter::once(&self.everybody).chain(limited).collect();
        if let Some(host) = host.map(plain)
            && allowed.iter().flat_map(|allowed| &allowed.hosts).any(|pattern| pattern.matches(&host))
        {
            return Ok(());
        }
        for address in all() {
            if allowed.iter().flat_map(|allowed| &allowed.nets).any(|net| net.contains(&address)) {
                continue;
            }
            if let Some(row) = table::row(address).filter(|row| !row.translated) {
                return refuse(Reason::Special(row));
            }
        }
        Ok(())
    }
}

/// A host as patterns know it.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// That an address may not be sent to, and why. `Display` is for the operator; tenants get
/// [`tenant_message`](Self::tenant_message) and nothing else.
#[derive(Clone, Debug)]
pub struct Refused {
    /// `None`: the name was refused before it was resolved.
    address: Option<IpAddr>,
    port: u16,
    host: Option<String>,
    reason: Reason,
}

#[derive(Clone, Debug)]
enum Reason {
    Denied(IpNet),
    DeniedHost(HostPattern),
    Port,
    Special(&'static Row),
}

impl Refused {
    /// The address that was refused; `None` when the host's name was, before it was resolved.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The block it was refused for, such as `private use`; for a denied network, host or port, that.
    #[must_use]
    pub const fn block(&self) -> &'static str {
        match self.reason {
            Reason::Denied(_) => "denied network",
            Reason::DeniedHost(_) => "denied host",
            Reason::Port => "port",
            Reason::Special(row) => row.name,
        }
    }

    /// What a tenant may be told.
    #[must_use]
    pub const fn tenant_message(&self) -> &'static str {
        TENANT_MESSAGE
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref();
        match (host, self.address) {
            (Some(host), Some(address)) => write!(f, "{host} resolves to {address}")?,
            (Some(host), None) => f.write_str(host)?,
            (None, Some(address)) => write!(f, "{address}")?,
            (None, None) => f.write_str("the address")?,
        }
        match &self.reason {
            Reason::Denied(net) => write!(f, ", which the egress policy denies with deny_net({net})"),
            Reason::DeniedHost(pattern) => write!(f, ", which the egress policy denies with deny_host({pattern})"),
            Reason::Port => write!(f, ", and port {} is not among the egress policy's ports", self.port),
            Reason::Special(Row { net, name, source, .. }) => {
                write!(f, ", which belongs to {net} ({name}, {source}); to send there, allow it in the egress policy")?;
                if let Some(address) = self.address {
                    write!(f, ": allow_net({address})")?;
                }
                if let Some(host) = host {
                    write!(f, " or allow_host({host})")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests;
