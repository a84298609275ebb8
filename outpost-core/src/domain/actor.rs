//! Who makes a call, and what they may do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::values::error::{Error, ErrorKind};
use crate::values::id::{Incarnation, TenantId};

/// One thing a tenant's user may do. The operator may do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Look at destinations, events, deliveries and attempts.
    Read,
    /// Create, change, enable, disable and delete destinations.
    Write,
    /// See and rotate signing secrets and credentials.
    Secrets,
    /// Retry and cancel deliveries.
    Retry,
}

impl Capability {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Secrets, Self::Retry];

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Secrets => 4,
            Self::Retry => 8,
        }
    }

    /// The capability's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Secrets => "secrets",
            Self::Retry => "retry",
        }
    }

    /// The capability with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == name)
    }
}

/// A set of [`Capability`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Every capability.
    pub const ALL: Self = Self(15);
    /// None at all.
    pub const NONE: Self = Self(0);

    /// This set and `capability`.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.bit())
    }

    /// This set without `capability`.
    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Self(self.0 & !capability.bit())
    }

    /// Whether `capability` is in the set.
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// The capabilities in the set.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.has(*capability))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Capability::as_str)).finish()
    }
}

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The host application itself: every tenant, every capability.
    Operator,
    /// A user of one tenant.
    Tenant {
        /// The tenant; everything else does not exist for this actor.
        tenant: TenantId,
        /// The life of the tenant the actor was admitted to; another life is closed to it.
        incarnation: Incarnation,
        /// What the actor may do.
        capabilities: Capabilities,
    },
}

impl Actor {
    /// Whether this is the host application itself.
    #[must_use]
    pub const fn is_operator(&self) -> bool {
        matches!(self, Self::Operator)
    }

    /// Whether the actor has `capability` in its own tenant.
    #[must_use]
    pub const fn has(&self, capability: Capability) -> bool {
        match self {
            Self::Operator => true,
            Self::Tenant { capabilities, .. } => capabilities.has(capability),
        }
    }

    /// Lets the call on to `tenant` pass or refuses it.
    pub(crate) fn admit(
        &self,
        operation: &'static str,
        tenant: &TenantId,
        capability: Capability,
    ) -> Result<(), Error> {
        match self {
            Self::Operator => Ok(()),
            // Another tenant's things are not forbidden, they do not exist.
            Self::Tenant { tenant: own, .. } if own != tenant => {
                Err(Error::new(ErrorKind::NotFound, operation, "tenant not found"))
            }
            Self::Tenant { capabilities, .. } if !capabilities.has(capability) => Err(Error::new(
                ErrorKind::Forbidden,
                operation,
                format!("this needs the capability {:?}", capability.as_str()),
            )),
            Self::Tenant { .. } => Ok(()),
        }
    }

    /// Refuses everybody but the operator.
    pub(crate) fn operator_only(&self, operation: &'static str) -> Result<(), Error> {
        if self.is_operator() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Forbidden, operation, "only the operator may do this"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn another_tenant_does_not_exist_and_a_missing_capability_is_named() {
        let actor = Actor::Tenant {
            tenant: TenantId::new("acme").unwrap(),
            incarnation: Incarnation::from_i64(1),
            capabilities: Capabilities::NONE.with(Capability::Read),
        };
        let own = TenantId::new("acme").unwrap();
        let other = TenantId::new("other").unwrap();
        assert!(actor.admit("list", &own, Capability::Read).is_ok());
        assert_eq!(actor.admit("list", &other, Capability::Read).unwrap_err().kind(), ErrorKind::NotFound);
        let refused = actor.admit("retry", &own, Capability::Retry).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Forbidden);
        assert!(refused.message().contains("retry"));
        assert!(actor.operator_only("publish").is_err());
    }
}
