//! Events as they were published.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use super::listing::{self, Scope, not_found};
use super::{Outpost, of_store};
use crate::domain::actor::Capability;
use crate::domain::event::Event;
use crate::ports::store::{Fetch, Filter, Key, List, Row};
use crate::values::error::{Error, ErrorKind, Result};
use crate::values::id::{DestinationId, EventId, Incarnation, TenantId};
use crate::values::page::{Page, PageRequest};
use crate::values::time::Timestamp;

/// A value with the tenant that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfTenant<T> {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The value.
    pub value: T,
}

impl<T> Deref for OfTenant<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Which events a list shows. Empty lists mean any.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// These ids.
    pub ids: Vec<EventId>,
    /// These topics, literally.
    pub topics: Vec<String>,
    /// With a delivery to one of these live destinations of the tenant.
    pub destinations: Vec<DestinationId>,
    /// At or after this event time.
    pub from: Option<Timestamp>,
    /// Before this event time.
    pub until: Option<Timestamp>,
}

/// The events of an [`Outpost`].
#[derive(Clone, Copy)]
pub struct Events<'a>(pub(super) &'a Outpost);

impl Events<'_> {
    /// An event with its data.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for tenant or event; the store's failures.
    pub async fn get(&self, tenant: &str, id: &str) -> Result<Arc<Event>> {
        const OPERATION: &str = "get event";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Read).await?;
        let Ok(id) = EventId::new(id) else { return Err(not_found(OPERATION, "event")) };
        let found = self.0.shared().fetch_one(Key::Event(tenant.incarnation, id)).await;
        match found.map_err(|error| of_store(OPERATION, error))? {
            Some(Row::Event(event)) => Ok(event),
            _ => Err(not_found(OPERATION, "event")),
        }
    }

    /// The event with this id, whichever tenant has it, deleted ones included; for the operator.
    ///
    /// # Errors
    /// [`Forbidden`](ErrorKind::Forbidden) for any actor but the operator;
    /// [`NotFound`](ErrorKind::NotFound); [`Conflict`](ErrorKind::Conflict) when several tenants have one,
    /// which only naming the tenant can tell apart; the store's failures.
    pub async fn find(&self, id: &str) -> Result<OfTenant<Arc<Event>>> {
        const OPERATION: &str = "find event";
        self.0.actor.operator_only(OPERATION)?;
        let Ok(id) = EventId::new(id) else { return Err(not_found(OPERATION, "event")) };
        let shared = self.0.shared();
        let request = Fetch { now: shared.now(), keys: vec![Key::EventEverywhere(id)] };
        let rows = shared.store.fetch(request).await.map_err(|error| of_store(OPERATION, error))?;
        let mut found = rows.into_iter().flatten();
        let Some(Row::Event(event)) = found.next() else { return Err(not_found(OPERATION, "event")) };
        if found.next().is_some() {
            let message = "several tenants have an event with this id; name the tenant";
            return Err(Error::new(ErrorKind::Conflict, OPERATION, message));
        }
        let mut names = Names::default();
        names.learn(self.0, OPERATION, [event.tenant], []).await?;
        names.of_tenant(event.tenant, event.clone()).ok_or_else(|| not_found(OPERATION, "event"))
    }

    /// Events by event time, newest first unless the page says otherwise.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a bad limit, cursor or range; [`NotFound`](ErrorKind::NotFound) for
    /// the tenant; [`Forbidden`](ErrorKind::Forbidden) for a scope that is the operator's; the store's failures.
    pub async fn list(
        &self,
        scope: impl Into<Scope>,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Page<OfTenant<Arc<Event>>>> {
        const OPERATION: &str = "list events";
        let tenant = scope.into().resolve(self.0, OPERATION, Capability::Read).await?;
        let Some(destinations) = self.0.destination_lives(OPERATION, tenant, &filter.destinations).await? else {
            return Ok(listing::nothing());
        };
        let wanted = Filter {
            tenant,
            destinations,
            events: filter.ids.clone(),
            topics: filter.topics.clone(),
            from: filter.from,
            until: filter.until,
            ..Filter::default()
        };
        let found = listing::page(self.0, OPERATION, List::Events, wanted, page).await?;
        let found = listing::pick(found, |row| if let Row::Event(event) = row { Some(event) } else { None });
        let mut names = Names::default();
        names.learn(self.0, OPERATION, found.items.iter().map(|event| event.tenant), []).await?;
        let items = found.items.into_iter().filter_map(|event| names.of_tenant(event.tenant, event)).collect();
        Ok(Page { items, next: found.next, prev: found.prev })
    }
}

/// The ids behind incarnations.
#[derive(Default)]
pub(super) struct Names {
    tenants: HashMap<Incarnation, TenantId>,
    destinations: HashMap<Incarnation, (TenantId, DestinationId)>,
}

impl Names {
    /// Looks up what is not known yet, in one snapshot.
    pub(super) async fn learn(
        &mut self,
        outpost: &Outpost,
        operation: &'static str,
        tenants: impl IntoIterator<Item = Incarnation>,
        destinations: impl IntoIterator<Item = Incarnation>,
    ) -> Result<()> {
        let mut tenants: Vec<_> = tenants.into_iter().collect();
        let mut destinations: Vec<_> = destinations.into_iter().collect();
        for lives in [&mut tenants, &mut destinations] {
            lives.sort_unstable();
            lives.dedup();
        }
        let keys: Vec<Key> = tenants
            .into_iter()
            .map(Key::TenantLife)
            .chain(destinations.into_iter().map(Key::DestinationLife))
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        let shared = outpost.shared();
        let rows = shared.store.fetch(Fetch { now: shared.now(), keys }).await;
        for row in rows.map_err(|error| of_store(operation, error))?.into_iter().flatten() {
            match row {
                Row::Tenant(tenant) => {
                    self.tenants.insert(tenant.incarnation, tenant.id);
                }
                Row::Destination(record) => {
                    self.destinations.insert(record.incarnation, (record.tenant_id, record.id));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn of_tenant<T>(&self, tenant: Incarnation, value: T) -> Option<OfTenant<T>> {
        self.tenants.get(&tenant).map(|id| OfTenant { tenant_id: id.clone(), value })
    }

    pub(super) fn of_destination<T>(
        &self,
        destination: Incarnation,
        value: T,
    ) -> Option<super::deliveries::OfDestination<T>> {
        self.destinations.get(&destination).map(|(tenant, id)| super::deliveries::OfDestination {
            tenant_id: tenant.clone(),
            destination_id: id.clone(),
            value,
        })
    }
}

impl Outpost {
    /// The lives of a tenant's live destinations with these ids; `None` when ids are given and none is live.
    pub(super) async fn destination_lives(
        &self,
        operation: &'static str,
        tenant: Option<Incarnation>,
        ids: &[DestinationId],
    ) -> Result<Option<Vec<Incarnation>>> {
        if ids.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let Some(tenant) = tenant else {
            let problem = crate::Problem::new("destinations", "need a tenant: their ids are unique only within one");
            return Err(Error::invalid(operation, vec![problem]));
        };
        let shared = self.shared();
        let keys = ids.iter().map(|id| Key::Destination(tenant, id.clone())).collect();
        let rows = shared.store.fetch(Fetch { now: shared.now(), keys }).await;
        let rows = rows.map_err(|error| of_store(operation, error))?;
        let lives: Vec<Incarnation> = rows
            .into_iter()
            .flatten()
            .filter_map(|row| if let Row::Destination(record) = row { Some(record.incarnation) } else { None })
            .collect();
        Ok((!lives.is_empty()).then_some(lives))
    }
}
