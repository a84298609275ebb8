//! What the tests of this crate share: small requests with sensible contents.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outpost_core::rollup::{Level, RollupKey, Tally};
use outpost_core::store::{
    Apply, ApplyOutcome, Claim, Claimed, Expect, Fetch, Filter, Ingest, IngestItem, IngestOutcome, Key, List,
    NewDelivery, Quota, Rollups, Row, Scan, ScanPage, Settle, SettleAction, SettleItem, SettleOutcome, Usage, Write,
};
use outpost_core::{
    Attempt, AttemptId, DeliveryKey, DestinationId, DestinationRecord, Direction, Event, EventId, Fingerprint,
    Incarnation, Lease, LeaseToken, Outcome, ResponseRecord, Sealed, Store, StringMap, Tenant, TenantId, Timestamp,
    Topics, Trigger,
};

pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

pub fn life(number: i64) -> Incarnation {
    Incarnation::from_i64(number)
}

pub fn lease(token: i64) -> Lease {
    Lease { token: LeaseToken(token), until: at(60_000) }
}

pub fn new_tenant(number: i64) -> Write {
    let tenant = Tenant {
        id: TenantId::new(format!("tenant{number}")).expect("an id"),
        incarnation: life(number),
        metadata: StringMap::new(),
        created_at: at(0),
        updated_at: at(0),
        deleted_at: None,
        revision: 0,
        subscriptions: 0,
    };
    Write::PutTenant { tenant, expect: Expect::Absent }
}

pub fn new_destination(tenant: i64, number: i64) -> Write {
    let destination = DestinationRecord {
        id: DestinationId::new(format!("des{number}")).expect("an id"),
        incarnation: life(number),
        tenant_id: TenantId::new(format!("tenant{tenant}")).expect("an id"),
        tenant: life(tenant),
        kind: "webhook".to_owned(),
        name: None,
        topics: Topics::all(),
        filter: None,
        settings: Arc::default(),
        by_operator: false,
        config: Sealed::new(&b"config"[..]),
        credentials: Sealed::default(),
        delivery_metadata: Sealed::default(),
        metadata: StringMap::new(),
        target: "https://example.test".to_owned(),
        created_at: at(0),
        updated_at: at(0),
        disabled: None,
        deleted_at: None,
        deleted_with_tenant: false,
        epoch: 0,
        epoch_at: at(0),
        revision: 0,
    };
    Write::PutDestination { destination: Box::new(destination), expect: Expect::Absent, limit: None }
}

/// An event of a tenant that has made `subscriptions` destinations, with deliveries to some of them.
pub fn new_event(tenant: i64, id: &str, subscriptions: i64, destinations: &[i64]) -> IngestItem {
    let event = Event {
        id: EventId::new(id).expect("an id"),
        tenant: life(tenant),
        topic: Arc::from("order.created"),
        time: at(1),
        created_at: at(1),
        metadata: Arc::default(),
        data: Bytes::from_static(b"{\"a\":\xc3\xa9}"),
        eligible_for_retry: true,
        destination_id: None,
        matched: Arc::from([]),
        fingerprint: Fingerprint([7; 32]),
    };
    let deliveries = destinations.iter().map(|number| NewDelivery {
        destination: life(*number),
        epoch: 0,
        skipped: false,
        hand_off: false,
    });
    IngestItem { event: Arc::new(event), subscriptions, deliveries: deliveries.collect() }
}

pub async fn apply(store: &dyn Store, writes: Vec<Write>) {
    let outcome = store.apply(Apply { now: at(0), writes, follow_ups: Vec::new() }).await.expect("applies");
    assert!(matches!(outcome, ApplyOutcome::Done(_)), "{outcome:?}");
}

/// A tenant 1 with a destination 2.
pub async fn prepare(store: &dyn Store) {
    apply(store, vec![new_tenant(1), new_destination(1, 2)]).await;
}

pub fn ingest_of(items: Vec<IngestItem>) -> Ingest {
    Ingest { now: at(1), lease: lease(1), quota: Quota::default(), items }
}

pub async fn ingest(store: &dyn Store, items: Vec<IngestItem>) {
    let outcomes = store.ingest(ingest_of(items)).await.expect("ingests");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, IngestOutcome::Stored { .. })), "{outcomes:?}");
}

pub async fn claim(store: &dyn Store, token: i64, limit: u32) -> Claimed {
    let claim = Claim {
        now: at(10),
        lease: lease(token),
        limit,
        lanes: Vec::new(),
        discover: limit,
        saturated: Vec::new(),
        urgent_only: Vec::new(),
        rest: Duration::ZERO,
    };
    store.claim(claim).await.expect("claims")
}

pub async fn event(store: &dyn Store, tenant: i64, id: &str) -> Option<Arc<Event>> {
    let keys = vec![Key::Event(life(tenant), EventId::new(id).expect("an id"))];
    let rows = store.fetch(Fetch { now: at(0), keys }).await.expect("fetches");
    rows.into_iter().flatten().find_map(|row| if let Row::Event(event) = row { Some(event) } else { None })
}

pub fn scan_of(list: List, filter: Filter) -> Scan {
    Scan { list, filter, direction: Direction::Ascending, after: None, limit: 1000, examine: 10_000 }
}

/// Every page of a list, as rows.
pub async fn every_row(store: &dyn Store, mut scan: Scan) -> Vec<Row> {
    let mut rows = Vec::new();
    loop {
        let ScanPage { rows: more, resume } = store.scan(scan.clone()).await.expect("scans");
        rows.extend(more);
        match resume {
            Some(position) => scan.after = Some(position),
            None => return rows,
        }
    }
}

/// What came of a first attempt at a delivery of tenant 1.
pub fn new_attempt(destination: i64, event: &str, token: i64, success: bool, millis: i64) -> SettleItem {
    let key = DeliveryKey { destination: life(destination), event: EventId::new(event).expect("an id") };
    let response = ResponseRecord { status: 200, body: Bytes::from_static(b"ok"), ..ResponseRecord::default() };
    let attempt = Attempt {
        id: AttemptId::new(format!("att_{event}_{destination}_{millis}")).expect("an id"),
        delivery: key.clone(),
        tenant: life(1),
        topic: Arc::from("order.created"),
        number: 1,
        trigger: Trigger::Automatic,
        started_at: at(millis),
        time: at(millis),
        duration: Duration::from_millis(7),
        outcome: Outcome { success, code: if success { "200" } else { "500" }.to_owned() },
        request: None,
        response: Some(response),
        error: None,
        next_attempt_at: None,
    };
    SettleItem {
        key,
        token: LeaseToken(token),
        action: SettleAction::Attempted { attempt: Arc::new(attempt), next: None },
        lane: None,
        disable: None,
        judge: None,
        alerts: None,
        follow_ups: Vec::new(),
    }
}

pub async fn settle(store: &dyn Store, items: Vec<SettleItem>) {
    let outcomes = store.settle(Settle { now: at(20), items }).await.expect("settles");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, SettleOutcome::Done { .. })), "{outcomes:?}");
}

/// Every rollup of one level, of events and of attempts.
pub async fn every_rollup(store: &dyn Store, level: Level, tenant: Option<i64>) -> Vec<(RollupKey, Tally)> {
    let mut found = Vec::new();
    for events in [true, false] {
        let tenant = tenant.map(life);
        let request = Rollups { level, events, tenant, from: Timestamp::MIN, until: Timestamp::MAX, limit: 100_000 };
        let page = store.rollups(request).await.expect("reads");
        assert!(!page.more);
        found.extend(page.rows);
    }
    found
}

/// How much all rollups of one level count: events without a destination, and attempts.
pub async fn counted(store: &dyn Store, level: Level) -> (u64, u64) {
    let rows = every_rollup(store, level, None).await;
    let sum = |events: bool| {
        let kept = rows.iter().filter(|(key, _)| {
            (key.counted == outpost_core::rollup::Counted::Events) == events && (!events || key.destination.is_none())
        });
        kept.map(|(_, tally)| tally.count).sum()
    };
    (sum(true), sum(false))
}

pub async fn usage(store: &dyn Store, tenant: i64) -> Usage {
    let rows = store.fetch(Fetch { now: at(0), keys: vec![Key::Usage(life(tenant))] }).await.expect("fetches");
    match rows.first().map(Vec::as_slice) {
        Some([Row::Usage(usage)]) => *usage,
        other => panic!("{other:?}"),
    }
}
