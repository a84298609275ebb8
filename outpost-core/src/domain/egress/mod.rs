//! Which addresses the library may send to. By default only public ones; the operator allows or denies
//! more by network and by host.

mod builder;
mod table;

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

pub use builder::EgressPolicyBuilder;
use table::Row;

/// What a tenant is told, whatever the reason: anything more would map the operator's network for them.
pub const TENANT_MESSAGE: &str = "this address cannot be used";

/// Decides which addresses may be sent to. The default allows only public addresses, any port, and plain
/// HTTP as well as HTTPS.
///
/// Denied networks win over everything. An allowed host or network lifts the ban on addresses that are not
/// public; it does not limit the policy to that host or network.
#[derive(Clone, Debug, Default)]
pub struct EgressPolicy {
    allow_nets: Vec<IpNet>,
    allow_hosts: Vec<HostPattern>,
    deny_nets: Vec<IpNet>,
    /// `None`: any.
    ports: Option<Vec<RangeInclusive<u16>>>,
    https_only: bool,
}

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

    /// Checks one address that `host` resolved to. `host` is `None` for a literal address.
    ///
    /// # Errors
    /// Why it may not be sent to.
    pub fn check(&self, host: Option<&str>, address: IpAddr, port: u16) -> Result<(), Refused> {
        // A socket treats a mapped address as the IPv4 address, so we do too.
        let address = address.to_canonical();
        let refuse = |reason| Err(Refused { address, port, host: host.map(str::to_owned), reason });
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
        if host.is_some_and(|host| self.allows_host(host)) {
            return Ok(());
        }
        for address in all() {
            if self.allow_nets.iter().any(|net| net.contains(&address)) {
                continue;
            }
            if let Some(row) = table::row(address).filter(|row| !row.translated) {
                return refuse(Reason::Special(row));
            }
        }
        Ok(())
    }

    fn allows_host(&self, host: &str) -> bool {
        if self.allow_hosts.is_empty() {
            return false;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.allow_hosts.iter().any(|pattern| pattern.matches(&host))
    }
}

/// That an address may not be sent to, and why. `Display` is for the operator; tenants get
/// [`tenant_message`](Self::tenant_message) and nothing else.
#[derive(Clone, Debug)]
pub struct Refused {
    address: IpAddr,
    port: u16,
    host: Option<String>,
    reason: Reason,
}

#[derive(Clone, Copy, Debug)]
enum Reason {
    Denied(IpNet),
    Port,
    Special(&'static Row),
}

impl Refused {
    /// The address that was refused.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The block it was refused for, such as `private use`; for a denied network or port, that.
    #[must_use]
    pub const fn block(&self) -> &'static str {
        match self.reason {
            Reason::Denied(_) => "denied network",
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
        if let Some(host) = &self.host {
            write!(f, "{host} resolves to ")?;
        }
        let address = self.address;
        match self.reason {
            Reason::Denied(net) => write!(f, "{address}, which the egress policy denies with deny_net({net})"),
            Reason::Port => {
                write!(f, "{address}, and port {} is not among the egress policy's ports", self.port)
            }
            Reason::Special(Row { net, name, source, .. }) => {
                write!(f, "{address}, which belongs to {net} ({name}, {source}); ")?;
                write!(f, "to send there, allow it in the egress policy: allow_net({address})")?;
                if let Some(host) = &self.host {
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
