//! Deliveries, the attempts at them, and what people can ask of them.

use std::ops::Deref;

use super::events::Names;
use super::listing::{self, Scope, not_found};
use super::{Outpost, of_store};
use crate::domain::actor::{Actor, Capability};
use crate::domain::attempt::{Attempt, CodeFilter, ErrorClass, Outcome};
use crate::domain::delivery::{Delivery, DeliveryKey, DeliveryState, Trigger};
use crate::engine::record::RequestRefusal;
use crate::ports::store::{Fetch, Filter, Key, List, Refusal, Row, Write};
use crate::values::error::{Error, ErrorKind, Result};
use crate::values::id::{AttemptId, DestinationId, EventId, Incarnation, TenantId};
use crate::values::page::{Page, PageRequest};
use crate::values::time::Timestamp;

/// A value with the tenant and the destination that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfDestination<T> {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The destination, which may be deleted meanwhile.
    pub destination_id: DestinationId,
    /// The value.
    pub value: T,
}

impl<T> Deref for OfDestination<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Which deliveries a list shows. Empty lists mean any.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Of these events.
    pub events: Vec<EventId>,
    /// To these live destinations of the tenant.
    pub destinations: Vec<DestinationId>,
    /// To these lives of destinations, deleted ones included.
    pub destination_lives: Vec<Incarnation>,
    /// Of these topics, literally.
    pub topics: Vec<String>,
    /// In one of these states.
    pub states: Vec<DeliveryState>,
    /// Whose latest attempt ended in one of these ways. Deliveries without an attempt match none.
    pub codes: Vec<CodeFilter>,
    /// Created at or after this time.
    pub from: Option<Timestamp>,
    /// Created before this time.
    pub until: Option<Timestamp>,
}

/// Which attempts a list shows. Empty lists mean any.
#[derive(Clone, Debug, Default)]
pub struct AttemptFilter {
    /// At delivering these events.
    pub events: Vec<EventId>,
    /// To these live destinations of the tenant.
    pub destinations: Vec<DestinationId>,
    /// To these lives of destinations, deleted ones included.
    pub destination_lives: Vec<Incarnation>,
    /// Of these topics, literally.
    pub topics: Vec<String>,
    /// That succeeded, or did not.
    pub success: Option<bool>,
    /// That ended at or after this time.
    pub from: Option<Timestamp>,
    /// That ended before this time.
    pub until: Option<Timestamp>,
}

/// The deliveries of an [`Outpost`].
#[derive(Clone, Copy)]
pub struct Deliveries<'a>(pub(super) &'a Outpost);

impl Deliveries<'_> {
    /// The delivery of an event to a live destination.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for tenant, destination or delivery; the store's failures.
    pub async fn get(&self, tenant: &str, destination: &str, event: &str) -> Result<Delivery> {
        const OPERATION: &str = "get delivery";
        let key = self.key(OPERATION, tenant, destination, event, Capability::Read).await?;
        match self.0.shared().fetch_one(Key::Delivery(key)).await.map_err(|error| of_store(OPERATION, error))? {
            Some(Row::Delivery(mut delivery)) => {
                self.blur(delivery.last_outcome.as_mut());
                Ok(*delivery)
            }
            _ => Err(not_found(OPERATION, "delivery")),
        }
    }

    /// Deliveries by time of creation, newest first unless the page says otherwise.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a bad limit, cursor or range; [`NotFound`](ErrorKind::NotFound) for
    /// the tenant; [`Forbidden`](ErrorKind::Forbidden) for a scope that is the operator's; the store's failures.
    pub async fn list(
        &self,
        scope: impl Into<Scope>,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<OfDestination<Delivery>>> {
        const OPERATION: &str = "list deliveries";
        let scope = scope.into();
        let codes = self.codes(&filter.codes);
        if codes.is_empty() && !filter.codes.is_empty() {
            // No codes would mean any.
            return scope.resolve(self.0, OPERATION, Capability::Read).await.map(|_| listing::nothing());
        }
        let wanted = Filter {
            events: filter.events.clone(),
            topics: filter.topics.clone(),
            states: filter.states.clone(),
            codes,
            from: filter.from,
            until: filter.until,
            ..Filter::default()
        };
        let which = (filter.destinations.as_slice(), filter.destination_lives.as_slice());
        let found = self.rows(OPERATION, List::Deliveries, scope, which, wanted, page).await?;
        let found = listing::pick(found, |row| if let Row::Delivery(found) = row { Some(*found) } else { None });
        let mut page = self.named(OPERATION, found, |delivery| delivery.key.destination).await?;
        for delivery in &mut page.items {
            self.blur(delivery.value.last_outcome.as_mut());
        }
        Ok(page)
    }

    /// Attempts by the time they ended, newest first unless the page says otherwise.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn attempts(
        &self,
        scope: impl Into<Scope>,
        filter: &AttemptFilter,
        page: &PageRequest,
    ) -> Result<Page<OfDestination<Attempt>>> {
        const OPERATION: &str = "list attempts";
        let wanted = Filter {
            events: filter.events.clone(),
            topics: filter.topics.clone(),
            success: filter.success,
            from: filter.from,
            until: filter.until,
            ..Filter::default()
        };
        let which = (filter.destinations.as_slice(), filter.destination_lives.as_slice());
        let found = self.rows(OPERATION, List::Attempts, scope.into(), which, wanted, page).await?;
        let found = listing::pick(found, |row| if let Row::Attempt(found) = row { Some(*found) } else { None });
        let mut page = self.named(OPERATION, found, |attempt| attempt.delivery.destination).await?;
        for attempt in &mut page.items {
            self.hide_detail(&mut attempt.value);
        }
        Ok(page)
    }

    /// Every attempt at one delivery, the first one first, at most 1000.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn attempts_of(&self, tenant: &str, destination: &str, event: &str) -> Result<Vec<Attempt>> {
        const OPERATION: &str = "list attempts";
        let key = self.key(OPERATION, tenant, destination, event, Capability::Read).await?;
        let shared = self.0.shared();
        let keys = vec![Key::Delivery(key.clone()), Key::AttemptsOf(key)];
        let rows = shared.store.fetch(Fetch { now: shared.now(), keys }).await;
        let mut rows = rows.map_err(|error| of_store(OPERATION, error))?.into_iter();
        if rows.next().is_none_or(|delivery| delivery.is_empty()) {
            return Err(not_found(OPERATION, "delivery"));
        }
        let attempts = rows.next().unwrap_or_default().into_iter();
        let mut attempts: Vec<Attempt> =
            attempts.filter_map(|row| if let Row::Attempt(found) = row { Some(*found) } else { None }).collect();
        for attempt in &mut attempts {
            self.hide_detail(attempt);
        }
        Ok(attempts)
    }

    /// One attempt of a tenant.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for tenant or attempt; the store's failures.
    pub async fn attempt(&self, tenant: &str, id: &str) -> Result<OfDestination<Attempt>> {
        const OPERATION: &str = "get attempt";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Read).await?;
        let Ok(id) = AttemptId::new(id) else { return Err(not_found(OPERATION, "attempt")) };
        let found = self.0.shared().fetch_one(Key::Attempt(id)).await;
        match found.map_err(|error| of_store(OPERATION, error))? {
            Some(Row::Attempt(found)) if found.tenant == tenant.incarnation => {
                let mut attempt = *found;
                self.hide_detail(&mut attempt);
                let mut names = Names::default();
                names.learn(self.0, OPERATION, [], [attempt.delivery.destination]).await?;
                let destination = attempt.delivery.destination;
                names.of_destination(destination, attempt).ok_or_else(|| not_found(OPERATION, "attempt"))
            }
            _ => Err(not_found(OPERATION, "attempt")),
        }
    }

    /// Asks for an attempt at once, beside what is scheduled: it neither delays nor replaces it, uses up
    /// nothing of the schedule, and works for deliveries in every state. Success ends what was scheduled.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it is being sent right now, when an attempt is requested
    /// already, or when the destination is disabled; [`RateLimited`](ErrorKind::RateLimited) and [`Forbidden`](ErrorKind::Forbidden) without
    /// [`Capability::Retry`]; as [`get`](Self::get).
    pub async fn retry(&self, tenant: &str, destination: &str, event: &str) -> Result<()> {
        const OPERATION: &str = "retry";
        let key = self.key(OPERATION, tenant, destination, event, Capability::Retry).await?;
        if let Actor::Tenant { incarnation, .. } = &*self.0.actor {
            self.0.limit(OPERATION, *incarnation, self.0.shared().settings.tenant_limits.retries)?;
        }
        let write = Write::RequestAttempt { key, trigger: Trigger::Manual };
        let outcome = self.0.write(OPERATION, write).await?;
        outcome.map_err(|refusal| refused(OPERATION, refusal))?;
        self.0.shared().look_for_work();
        Ok(())
    }

    /// Gives a delivery up: nothing more is sent by schedule. An attempt on its way ends and is recorded.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when nothing is to come; [`Forbidden`](ErrorKind::Forbidden) without
    /// [`Capability::Retry`]; as [`get`](Self::get).
    pub async fn cancel(&self, tenant: &str, destination: &str, event: &str) -> Result<()> {
        const OPERATION: &str = "cancel";
        let key = self.key(OPERATION, tenant, destination, event, Capability::Retry).await?;
        let destination = key.destination;
        let outcome = self.0.write(OPERATION, Write::CancelDelivery { key }).await?;
        // It may wait in memory to be sent.
        self.0.shared().give_back(destination);
        outcome.map(drop).map_err(|refusal| refused(OPERATION, refusal))
    }

    async fn key(
        &self,
        operation: &'static str,
        tenant: &str,
        destination: &str,
        event: &str,
        capability: Capability,
    ) -> Result<DeliveryKey> {
        let tenant = self.0.admit(operation, tenant, capability).await?;
        let (Ok(destination), Ok(event)) = (DestinationId::new(destination), EventId::new(event)) else {
            return Err(not_found(operation, "delivery"));
        };
        let found = self.0.shared().fetch_one(Key::Destination(tenant.incarnation, destination)).await;
        match found.map_err(|error| of_store(operation, error))? {
            Some(Row::Destination(record)) => Ok(DeliveryKey { destination: record.incarnation, event }),
            _ => Err(not_found(operation, "destination")),
        }
    }

    async fn rows(
        &self,
        operation: &'static str,
        list: List,
        scope: Scope,
        (ids, lives): (&[DestinationId], &[Incarnation]),
        mut filter: Filter,
        page: &PageRequest,
    ) -> Result<Page<Row>> {
        let tenant = scope.resolve(self.0, operation, Capability::Read).await?;
        let found = self.0.destination_lives(operation, tenant, ids).await?;
        let found = if found.is_none() && !lives.is_empty() { Some(Vec::new()) } else { found };
        let Some(mut destinations) = found else { return Ok(listing::nothing()) };
        destinations.extend_from_slice(lives);
        filter.tenant = tenant;
        filter.destinations = destinations;
        listing::page(self.0, operation, list, filter, page).await
    }

    async fn named<T>(
        &self,
        operation: &'static str,
        page: Page<T>,
        destination: impl Fn(&T) -> Incarnation,
    ) -> Result<Page<OfDestination<T>>> {
        let mut names = Names::default();
        names.learn(self.0, operation, [], page.items.iter().map(&destination)).await?;
        let items =
            page.items.into_iter().filter_map(|value| names.of_destination(destination(&value), value)).collect();
        Ok(Page { items, next: page.next, prev: page.prev })
    }

    /// The codes to look for, by those that the actor is shown: what looks alike is found alike. See
    /// [`blur`](Self::blur).
    fn codes(&self, wanted: &[CodeFilter]) -> Vec<CodeFilter> {
        let mut codes = wanted.to_vec();
        if !self.0.actor.is_operator() {
            let exactly = |class: ErrorClass| CodeFilter::Exact(class.as_str().to_owned());
            codes.retain(|code| *code != exactly(ErrorClass::Blocked));
            if codes.contains(&exactly(ErrorClass::Dns)) {
                codes.push(exactly(ErrorClass::Blocked));
            }
        }
        codes
    }

    /// What only the operator is told stays with the operator.
    pub(super) fn hide_detail(&self, attempt: &mut Attempt) {
        self.blur(Some(&mut attempt.outcome));
        if let Some(error) = attempt.error.as_mut().filter(|_| !self.0.actor.is_operator()) {
            error.detail.clear();
            if error.class == ErrorClass::Blocked {
                error.class = ErrorClass::Dns;
            }
        }
    }

    /// For a tenant an address that may not be reached and a name that does not resolve look alike:
    /// telling them apart would let it map the operator's network.
    fn blur(&self, outcome: Option<&mut Outcome>) {
        if let Some(outcome) = outcome.filter(|_| !self.0.actor.is_operator())
            && outcome.code == ErrorClass::Blocked.as_str()
        {
            ErrorClass::Dns.as_str().clone_into(&mut outcome.code);
        }
    }
}

fn refused(operation: &'static str, refusal: Refusal) -> Error {
    let conflict = |message: &str| Error::new(ErrorKind::Conflict, operation, message);
    match refusal {
        Refusal::Delivery(RequestRefusal::Leased) => conflict("it is being sent right now"),
        Refusal::Delivery(RequestRefusal::AlreadyRequested) => conflict("an attempt is requested already"),
        Refusal::Delivery(RequestRefusal::DestinationDisabled) => conflict("the destination is disabled"),
        Refusal::Delivery(RequestRefusal::NotOpen) => conflict("nothing more is to be sent"),
        _ => not_found(operation, "delivery"),
    }
}
