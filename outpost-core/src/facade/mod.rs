//! Row 6: what a host application calls.

mod builder;
mod deliveries;
mod destinations;
mod ephemeral;
mod events;
mod housekeeping;
mod limits;
mod listing;
mod metrics;
mod offers;
mod operator;
mod publish;
mod replays;
mod tenants;
mod testing;
#[cfg(feature = "tokens")]
mod tokens;
mod vetting;

use std::sync::Arc;
use std::time::Duration;

pub use self::builder::OutpostBuilder;
pub use self::deliveries::{AttemptFilter, Deliveries, DeliveryFilter, OfDestination};
pub use self::destinations::Destinations;
pub use self::ephemeral::Ephemeral;
pub use self::events::{EventFilter, Events, OfTenant};
pub use self::housekeeping::{Erased, Resealed};
pub use self::listing::Scope;
pub use self::metrics::Metrics;
pub use self::offers::Offers;
pub use self::operator::OperatorDestination;
pub use self::publish::{MAX_PUBLISH_BATCH, MatchVerdict, NewEvent, Published, WouldReceive};
pub use self::replays::{MAX_REPLAYS, ReplayPreview, Replays};
pub use self::tenants::{PutTenant, Tenants};
pub use self::testing::TestEvent;
#[cfg(feature = "tokens")]
pub use self::tokens::{EntryToken, PortalLink, Session, TokenSettings, Tokens};
use crate::domain::actor::{Actor, Capability};
use crate::domain::descriptor::Descriptor;
use crate::domain::tenant::Tenant;
use crate::ports::store::{Key, Row, Store, StoreError, StoreErrorKind};
use crate::runtime::Shared;
use crate::values::error::{Error, ErrorKind, Problem, Result};
use crate::values::id::TenantId;

/// Event destinations for the tenants of a host application: the whole library behind one handle.
///
/// Clones are cheap and share everything. A handle acts as the operator, who may do everything, until
/// [`acting_as`](Self::acting_as) makes one that acts as a tenant's user. When the last handle is dropped the
/// engine stops at once, as after a crash: nothing is lost, what was on its way is sent again at the next
/// start. [`shutdown`](Self::shutdown) ends it in good order.
#[derive(Clone)]
pub struct Outpost {
    guard: Arc<Guard>,
    actor: Arc<Actor>,
}

/// What all handles share. Stops the engine when the last one goes.
struct Guard {
    shared: Arc<Shared>,
    #[cfg(feature = "tokens")]
    tokens: Option<tokens::Issuer>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Outpost {
    /// Starts building on `store`.
    pub fn builder(store: impl Store) -> OutpostBuilder {
        OutpostBuilder::new(Arc::new(store))
    }

    fn over(guard: Guard) -> Self {
        Self { guard: Arc::new(guard), actor: Arc::new(Actor::Operator) }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.guard.shared
    }

    /// A handle on which every call is made by `actor`.
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { guard: self.guard.clone(), actor: Arc::new(actor) }
    }

    /// Who makes this handle's calls.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Tenants.
    #[must_use]
    pub const fn tenants(&self) -> Tenants<'_> {
        Tenants(self)
    }

    /// Destinations.
    #[must_use]
    pub const fn destinations(&self) -> Destinations<'_> {
        Destinations(self)
    }

    /// Events.
    #[must_use]
    pub const fn events(&self) -> Events<'_> {
        Events(self)
    }

    /// Deliveries and the attempts at them.
    #[must_use]
    pub const fn deliveries(&self) -> Deliveries<'_> {
        Deliveries(self)
    }

    /// Counts, rates and latencies.
    #[must_use]
    pub const fn metrics(&self) -> Metrics<'_> {
        Metrics(self)
    }

    /// Replays.
    #[must_use]
    pub const fn replays(&self) -> Replays<'_> {
        Replays(self)
    }

    /// Small records that expire.
    #[must_use]
    pub const fn ephemeral(&self) -> Ephemeral<'_> {
        Ephemeral(self)
    }

    /// Tokens.
    #[cfg(feature = "tokens")]
    #[must_use]
    pub const fn tokens(&self) -> Tokens<'_> {
        Tokens(self)
    }

    /// The kinds of destination there are, ordered by name.
    #[must_use]
    pub fn destination_types(&self) -> Vec<Descriptor> {
        let mut types: Vec<Descriptor> =
            self.shared().transports.values().map(|transport| transport.descriptor().clone()).collect();
        types.sort_by_key(|descriptor| descriptor.kind);
        types
    }

    /// Stops in good order: accepts and starts nothing new, waits for what is on its way to end and be
    /// written down, gives back what waited in memory, and closes the store.
    ///
    /// Returns after `deadline` at the latest, also when the store stands still, and tells whether everything
    /// was finished. What was not is sent again at the next start. Needs the runtime it was started on.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.shared().shut_down(deadline).await
    }

    /// The live tenant `id`, if the actor may do this there.
    async fn admit(&self, operation: &'static str, id: &str, capability: Capability) -> Result<Tenant> {
        let id = TenantId::new(id).map_err(|problem| Error::invalid(operation, vec![problem]))?;
        self.actor.admit(operation, &id, capability)?;
        let missing = || Error::new(ErrorKind::NotFound, operation, "tenant not found");
        match self.shared().fetch_one(Key::Tenant(id)).await.map_err(|error| of_store(operation, error))? {
            Some(Row::Tenant(tenant)) => match &*self.actor {
                // An actor of an earlier life of the tenant meets closed doors.
                Actor::Tenant { incarnation, .. } if *incarnation != tenant.incarnation => Err(missing()),
                _ => Ok(tenant),
            },
            _ => Err(missing()),
        }
    }
}

impl std::fmt::Debug for Outpost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outpost").field("actor", &self.actor).finish_non_exhaustive()
    }
}

/// A store's error as the caller of the library meets it.
fn of_store(operation: &'static str, error: StoreError) -> Error {
    let kind = match error.kind {
        StoreErrorKind::Busy => ErrorKind::NotStored,
        StoreErrorKind::Unavailable | StoreErrorKind::Full | StoreErrorKind::ReadOnly => ErrorKind::Unavailable,
        StoreErrorKind::Corrupt => ErrorKind::Corrupt,
        StoreErrorKind::Incompatible => ErrorKind::Incompatible,
        StoreErrorKind::Unknown => ErrorKind::Unknown,
        StoreErrorKind::Internal => ErrorKind::Internal,
    };
    let message = match kind {
        ErrorKind::Unknown => "whether it was stored is not known; repeat it with the same id, which is safe",
        ErrorKind::NotStored => "the store is busy and nothing was stored; repeat it",
        ErrorKind::Unavailable => "the store cannot be used at the moment and nothing was stored",
        ErrorKind::Corrupt => "the stored data is damaged",
        ErrorKind::Incompatible => "the store does not fit this version",
        _ => "the store failed",
    };
    Error::new(kind, operation, message).with_source(error)
}

/// Collects a value or its problem.
fn take<T>(result: std::result::Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

/// Collects a value or its problems.
fn take_all<T>(result: std::result::Result<T, Vec<Problem>>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|found| problems.extend(found)).ok()
}
