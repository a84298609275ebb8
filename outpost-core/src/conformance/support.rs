//! What the cases are written with: a small world around the store under test, and builders.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::Fixture;
use crate::domain::attempt::{Attempt, AttemptError, ErrorClass};
use crate::domain::delivery::{Delivery, DeliveryKey, Trigger};
use crate::domain::destination::{Disabled, DisabledBy};
use crate::domain::event::Event;
use crate::domain::settings::DeliverySettings;
use crate::domain::tenant::Tenant;
use crate::domain::topic::Topics;
use crate::engine::record::{DestinationRecord, LaneRecord, Lease, LeaseToken};
use crate::ports::store::{
    Apply, ApplyOutcome, Claimed, ClaimedDelivery, Expect, Fetch, Filter, IngestItem, Key, List, Refusal, Row, Scan,
    ScanPage, SettleAction, SettleItem, SmallRecord, Store, Write,
};
use crate::values::id::{DestinationId, EventId, Incarnation, TenantId};
use crate::values::page::Direction;
use crate::values::secret::Sealed;
use crate::values::time::Timestamp;

/// When the world begins, in milliseconds; cases count from there.
pub(super) const START: i64 = 1_800_000_000_000;
/// How long leases last.
pub(super) const LEASE: i64 = 60_000;

/// So many milliseconds after the beginning.
pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

pub(super) fn event_id(text: &str) -> EventId {
    EventId::new(text).expect("an event id")
}

pub(super) fn key(destination: &DestinationRecord, event: &str) -> DeliveryKey {
    DeliveryKey { destination: destination.incarnation, event: event_id(event) }
}

/// A store under test, its time, and fresh numbers.
pub(super) struct World {
    pub(super) store: Arc<dyn Store>,
    pub(super) other: Option<Arc<dyn Store>>,
    clock: AtomicI64,
    serial: AtomicI64,
    /// The last field, so that it outlives the stores.
    _guard: Option<Box<dyn std::any::Any + Send + Sync>>,
}

/// Deliveries that were claimed, and the lease they are held under.
pub(super) struct Taken {
    pub(super) token: LeaseToken,
    pub(super) claimed: Claimed,
}

/// One delivery that is held.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) token: LeaseToken,
    pub(super) key: DeliveryKey,
    pub(super) tenant: Incarnation,
    pub(super) topic: Arc<str>,
    pub(super) trigger: Trigger,
    pub(super) attempts: u32,
}

impl Taken {
    /// The ids of the events, in the order they were claimed.
    pub(super) fn events(&self) -> Vec<&str> {
        self.claimed.deliveries.iter().map(|delivery| delivery.key.event.as_str()).collect()
    }

    pub(super) fn held(&self) -> Vec<Held> {
        self.claimed.deliveries.iter().map(|delivery| self.hold(delivery)).collect()
    }

    fn hold(&self, delivery: &ClaimedDelivery) -> Held {
        Held {
            token: self.token,
            key: delivery.key.clone(),
            tenant: delivery.event.tenant,
            topic: delivery.event.topic.clone(),
            trigger: delivery.trigger,
            attempts: delivery.attempts,
        }
    }

    /// The only delivery that was claimed.
    pub(super) fn only(&self) -> Held {
        assert_eq!(self.claimed.deliveries.len(), 1, "one delivery is due, so a claim answers exactly that one");
        self.hold(&self.claimed.deliveries[0])
    }
}

impl World {
    pub(super) fn new(fixture: Fixture) -> Self {
        Self {
            store: fixture.store,
            other: fixture.other,
            clock: AtomicI64::new(0),
            serial: AtomicI64::new(1),
            _guard: fixture.guard,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        at(self.clock.load(Ordering::Relaxed))
    }

    /// Sets the time, in milliseconds after the beginning.
    pub(super) fn set(&self, millis: i64) {
        self.clock.store(millis, Ordering::Relaxed);
    }

    pub(super) fn advance(&self, millis: i64) {
        self.clock.fetch_add(millis, Ordering::Relaxed);
    }

    pub(super) fn serial(&self) -> i64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        Incarnation::generate(self.now(), self.serial().unsigned_abs())
    }

    /// A fresh lease of the usual length.
    pub(super) fn lease(&self) -> Lease {
        // Tokens are random in earnest, so they use all 64 bits here too.
        let token = LeaseToken(self.serial().wrapping_mul(-0x61c8_8646_80b5_83eb));
        Lease { token, until: self.now().after(Duration::from_millis(LEASE.unsigned_abs())) }
    }

    // Tenants, destinations, records.

    /// A tenant that is not stored yet.
    pub(super) fn new_tenant(&self, id: &str) -> Tenant {
        Tenant {
            id: TenantId::new(id).expect("a tenant id"),
            incarnation: self.incarnation(),
            metadata: BTreeMap::from([("plan".to_owned(), "größer".to_owned())]),
            created_at: self.now(),
            updated_at: self.now(),
            deleted_at: None,
            revision: 0,
            subscriptions: 0,
        }
    }

    pub(super) async fn tenant(&self, id: &str) -> Tenant {
        let tenant = self.new_tenant(id);
        let life = tenant.incarnation;
        self.done(vec![Write::PutTenant { tenant, expect: Expect::Absent }]).await;
        self.find_tenant(life).await
    }

    /// A destination that is not stored yet.
    pub(super) fn new_destination(&self, tenant: &Tenant, id: &str) -> DestinationRecord {
        DestinationRecord {
            id: DestinationId::new(id).expect("a destination id"),
            incarnation: self.incarnation(),
            tenant_id: tenant.id.clone(),
            tenant: tenant.incarnation,
            kind: "webhook".to_owned(),
            name: Some("Bücher ✓".to_owned()),
            topics: Topics::new(["order.*", "user.created"]).expect("topics"),
            filter: Some(Arc::from("{ \"data\": {\"größe\": 1.0} }")),
            settings: Arc::new(DeliverySettings { concurrency: Some(3), ..DeliverySettings::default() }),
            by_operator: true,
            config: Sealed::new(&b"\x00config\xff"[..]),
            credentials: Sealed::new(&b"\x01secret\xfe"[..]),
            delivery_metadata: Sealed::new(&b""[..]),
            metadata: BTreeMap::from([("team".to_owned(), String::new())]),
            target: "https://example.com/…".to_owned(),
            created_at: self.now(),
            updated_at: self.now(),
            disabled: None,
            deleted_at: None,
            deleted_with_tenant: false,
            epoch: 0,
            epoch_at: self.now(),
            revision: 0,
        }
    }

    pub(super) async fn destination(&self, tenant: &Tenant, id: &str) -> DestinationRecord {
        let destination = self.new_destination(tenant, id);
        self.create(&destination).await;
        self.find_destination(destination.incarnation).await
    }

    pub(super) async fn create(&self, destination: &DestinationRecord) {
        self.done(vec![put(destination, Expect::Absent)]).await;
    }

    /// A tenant with one destination, which most cases begin with.
    pub(super) async fn acme(&self) -> (Tenant, DestinationRecord) {
        let tenant = self.tenant("acme").await;
        let destination = self.destination(&tenant, "des_1").await;
        (tenant, destination)
    }

    pub(super) async fn disable(&self, destination: &DestinationRecord) {
        let mut found = self.find_destination(destination.incarnation).await;
        found.disable(self.disabled());
        self.done(vec![put(&found, Expect::Any)]).await;
    }

    pub(super) fn disabled(&self) -> Disabled {
        Disabled {
            at: self.now(),
            by: DisabledBy::Gone,
            reason: "410".to_owned(),
            last_error: Some("“kaputt”".to_owned()),
        }
    }

    pub(super) async fn enable(&self, destination: &DestinationRecord) {
        let mut found = self.find_destination(destination.incarnation).await;
        found.disabled = None;
        self.done(vec![put(&found, Expect::Any)]).await;
    }

    pub(super) async fn delete(&self, destination: &DestinationRecord) {
        self.done(vec![Write::DeleteDestination { destination: destination.incarnation, at: self.now() }]).await;
    }

    pub(super) async fn delete_tenant(&self, tenant: &Tenant) {
        self.done(vec![Write::DeleteTenant { tenant: tenant.incarnation, at: self.now() }]).await;
    }

    pub(super) async fn apply_with(&self, writes: Vec<Write>, follow_ups: Vec<IngestItem>) -> ApplyOutcome {
        self.store.apply(Apply { now: self.now(), writes, follow_ups }).await.expect("apply")
    }

    pub(super) async fn apply(&self, writes: Vec<Write>) -> ApplyOutcome {
        self.apply_with(writes, Vec::new()).await
    }

    /// Writes that must all happen; answers their revisions.
    pub(super) async fn done(&self, writes: Vec<Write>) -> Vec<i64> {
        match self.apply(writes).await {
            ApplyOutcome::Done(revisions) => revisions,
            other => panic!("nothing speaks against these writes, but the store answered {other:?}"),
        }
    }

    /// One write that must be refused.
    pub(super) async fn refused(&self, write: Write) -> Refusal {
        match self.apply(vec![write]).await {
            ApplyOutcome::Refused { index: 0, refusal } => refusal,
            other => panic!("the write must be refused, but the store answered {other:?}"),
        }
    }

    pub(super) async fn request(&self, destination: &DestinationRecord, event: &str) {
        self.done(vec![Write::RequestAttempt { key: key(destination, event), trigger: Trigger::Manual }]).await;
    }

    // Reading.

    pub(super) async fn fetch_all(&self, keys: Vec<Key>) -> Vec<Vec<Row>> {
        let wanted = keys.len();
        let found = self.store.fetch(Fetch { now: self.now(), keys }).await.expect("fetch");
        assert_eq!(found.len(), wanted, "a fetch answers once for each key");
        found
    }

    pub(super) async fn fetch(&self, key: Key) -> Vec<Row> {
        self.fetch_all(vec![key]).await.remove(0)
    }

    async fn fetch_one(&self, key: Key) -> Row {
        let mut found = self.fetch(key.clone()).await;
        assert_eq!(found.len(), 1, "{key:?} names one row that exists");
        found.remove(0)
    }

    pub(super) async fn find_tenant(&self, life: Incarnation) -> Tenant {
        match self.fetch_one(Key::TenantLife(life)).await {
            Row::Tenant(tenant) => tenant,
            other => panic!("a tenant's key answers a tenant, not {other:?}"),
        }
    }

    pub(super) async fn find_destination(&self, life: Incarnation) -> DestinationRecord {
        match self.fetch_one(Key::DestinationLife(life)).await {
            Row::Destination(destination) => *destination,
            other => panic!("a destination's key answers a destination, not {other:?}"),
        }
    }

    pub(super) async fn find_event(&self, tenant: &Tenant, event: &str) -> Arc<Event> {
        match self.fetch_one(Key::Event(tenant.incarnation, event_id(event))).await {
            Row::Event(event) => event,
            other => panic!("an event's key answers an event, not {other:?}"),
        }
    }

    pub(super) async fn has_event(&self, tenant: &Tenant, event: &str) -> bool {
        !self.fetch(Key::Event(tenant.incarnation, event_id(event))).await.is_empty()
    }

    pub(super) async fn delivery(&self, destination: &DestinationRecord, event: &str) -> Delivery {
        match self.fetch_one(Key::Delivery(key(destination, event))).await {
            Row::Delivery(delivery) => *delivery,
            other => panic!("a delivery's key answers a delivery, not {other:?}"),
        }
    }

    pub(super) async fn lane(&self, destination: &DestinationRecord) -> LaneRecord {
        match self.fetch_one(Key::Lane(destination.incarnation)).await {
            Row::Lane(lane) => lane,
            other => panic!("a lane's key answers a lane, not {other:?}"),
        }
    }

    pub(super) async fn attempts(&self, destination: &DestinationRecord, event: &str) -> Vec<Attempt> {
        let rows = self.fetch(Key::AttemptsOf(key(destination, event))).await;
        rows.into_iter()
            .map(|row| match row {
                Row::Attempt(attempt) => *attempt,
                other => panic!("attempts are attempts, not {other:?}"),
            })
            .collect()
    }

    pub(super) async fn scan(&self, scan: Scan) -> ScanPage {
        self.store.scan(scan).await.expect("scan")
    }

    /// Walks a list to its end in pages; answers each row's [`label`].
    pub(super) async fn walk(&self, list: List, filter: Filter, direction: Direction, limit: u32) -> Vec<String> {
        let mut scan = Scan { list, filter, direction, after: None, limit, examine: 10_000 };
        let mut labels = Vec::new();
        for _ in 0..1000 {
            let page = self.scan(scan.clone()).await;
            assert!(page.rows.len() <= limit as usize, "a page holds at most as many rows as asked for");
            labels.extend(page.rows.iter().map(label));
            match page.resume {
                Some(resume) => scan.after = Some(resume),
                None => return labels,
            }
        }
        panic!("a walk through a short list of {list:?} comes to an end");
    }

    /// The labels of a whole list, oldest first.
    pub(super) async fn list(&self, list: List, filter: Filter) -> Vec<String> {
        self.walk(list, filter, Direction::Ascending, 1000).await
    }
}

/// Settles `held` with an action and nothing besides.
pub(super) fn item(held: &Held, action: SettleAction) -> SettleItem {
    SettleItem {
        key: held.key.clone(),
        token: held.token,
        action,
        lane: None,
        disable: None,
        judge: None,
        alerts: None,
        follow_ups: Vec::new(),
    }
}

pub(super) fn put(destination: &DestinationRecord, expect: Expect) -> Write {
    Write::PutDestination { destination: Box::new(destination.clone()), expect, limit: None }
}

pub(super) fn record(kind: &str, key: &str, value: &'static [u8]) -> SmallRecord {
    let value = Bytes::from_static(value);
    SmallRecord { kind: kind.to_owned(), key: key.to_owned(), value, expires_at: None, revision: 0 }
}

/// The error of an attempt that got no answer.
pub(super) fn no_answer() -> AttemptError {
    AttemptError {
        class: ErrorClass::Timeout,
        message: "no answer in time".to_owned(),
        detail: "10.0.0.1:443 fiel aus".to_owned(),
        maybe_seen: true,
    }
}

/// A short name of a row: an id, and for deliveries and attempts the destination's incarnation with it.
pub(super) fn label(row: &Row) -> String {
    let pair = |key: &DeliveryKey| format!("{} to {:?}", key.event, key.destination);
    match row {
        Row::Tenant(tenant) => format!("{} {:?}", tenant.id, tenant.incarnation),
        Row::Destination(destination) => format!("{} {:?}", destination.id, destination.incarnation),
        Row::Event(event) => format!("{} of {:?}", event.id, event.tenant),
        Row::Delivery(delivery) => pair(&delivery.key),
        Row::Attempt(attempt) => format!("{} {}", attempt.id, pair(&attempt.delivery)),
        Row::Record(record) => format!("{} {}", record.kind, record.key),
        Row::Lane(lane) => format!("{:?}", lane.destination),
        Row::Usage(usage) => format!("{usage:?}"),
    }
}

pub(super) fn labels(rows: &[Row]) -> Vec<String> {
    rows.iter().map(label).collect()
}
