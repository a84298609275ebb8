//! How events come and go in the cases' small world: publishing, claiming, settling, and what is counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::support::{Held, Taken, World, event_id, item};
use crate::domain::attempt::{Attempt, Outcome, RequestRecord, ResponseRecord};
use crate::domain::event::{Event, Fingerprint};
use crate::domain::health::{HealthNews, HealthPolicy, Judge, Judgement};
use crate::domain::rollup::{Level, RollupKey, Tally};
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, LaneChange, Lease};
use crate::ports::store::{
    Alerts, Claim, Ingest, IngestItem, IngestOutcome, Key, NewDelivery, Prune, Pruned, Quota, Rollups, Row, Settle,
    SettleAction, SettleItem, SettleOutcome, Sweep, Swept, Usage, Write,
};
use crate::values::id::{AttemptId, EventId};
use crate::values::time::Timestamp;

impl World {
    // Events.

    /// An event of `tenant` that is not stored yet.
    pub(super) fn event(&self, tenant: &Tenant, id: &str) -> Event {
        let metadata = BTreeMap::from([("source".to_owned(), "bücher".to_owned()), ("a".to_owned(), String::new())]);
        Event {
            id: event_id(id),
            tenant: tenant.incarnation,
            topic: Arc::from("order.created"),
            time: self.now(),
            created_at: self.now(),
            data: Bytes::from(format!("{{\"id\": \"{id}\"}}")),
            eligible_for_retry: true,
            destination_id: None,
            matched: Arc::from([]),
            fingerprint: Fingerprint::of("order.created", id.as_bytes(), &metadata, None, true, None),
            metadata: Arc::new(metadata),
        }
    }

    /// An event to be stored with deliveries, matched against the present.
    pub(super) async fn item(&self, tenant: &Tenant, mut event: Event, to: &[&DestinationRecord]) -> IngestItem {
        let mut deliveries = Vec::new();
        let mut matched = Vec::new();
        for destination in to {
            let found = self.find_destination(destination.incarnation).await;
            let skipped = found.disabled.is_some();
            if !skipped {
                matched.push(found.id.clone());
            }
            let destination = found.incarnation;
            deliveries.push(NewDelivery { destination, epoch: found.epoch, skipped, hand_off: false });
        }
        event.matched = Arc::from(matched);
        let subscriptions = self.find_tenant(tenant.incarnation).await.subscriptions;
        IngestItem { event: Arc::new(event), subscriptions, deliveries }
    }

    pub(super) async fn ingest_within(&self, quota: Quota, lease: Lease, items: Vec<IngestItem>) -> Vec<IngestOutcome> {
        let wanted = items.len();
        let outcomes = self.store.ingest(Ingest { now: self.now(), lease, quota, items }).await.expect("ingest");
        assert_eq!(outcomes.len(), wanted, "ingest answers once for each item");
        outcomes
    }

    pub(super) async fn ingest_under(&self, lease: Lease, items: Vec<IngestItem>) -> Vec<IngestOutcome> {
        self.ingest_within(Quota::default(), lease, items).await
    }

    pub(super) async fn ingest(&self, items: Vec<IngestItem>) -> Vec<IngestOutcome> {
        self.ingest_under(self.lease(), items).await
    }

    pub(super) async fn ingest_one(&self, item: IngestItem) -> IngestOutcome {
        self.ingest(vec![item]).await.remove(0)
    }

    /// Stores an event with deliveries, none of them handed off.
    pub(super) async fn publish(&self, tenant: &Tenant, event: &str, to: &[&DestinationRecord]) {
        let item = self.item(tenant, self.event(tenant, event), to).await;
        let outcome = self.ingest_one(item).await;
        assert!(matches!(outcome, IngestOutcome::Stored { .. }), "a new event is stored, but it is {outcome:?}");
    }

    /// Stores an event on a topic, with deliveries.
    pub(super) async fn publish_on(&self, tenant: &Tenant, event: &str, topic: &str, to: &[&DestinationRecord]) {
        let event = Event { topic: Arc::from(topic), ..self.event(tenant, event) };
        let item = self.item(tenant, event, to).await;
        let outcome = self.ingest_one(item).await;
        assert!(matches!(outcome, IngestOutcome::Stored { .. }), "a new event is stored, but it is {outcome:?}");
    }

    /// An event of an operator's tenant, to be stored along with another write.
    pub(super) async fn follow_up(&self, tenant: &Tenant, id: &str, to: &[&DestinationRecord]) -> IngestItem {
        self.item(tenant, self.event(tenant, id), to).await
    }

    // Claiming and settling.

    /// A claim that takes everything that is due, lets nothing rest, under a fresh lease.
    pub(super) fn any(&self) -> Claim {
        Claim {
            now: self.now(),
            lease: self.lease(),
            limit: 1000,
            lanes: Vec::new(),
            discover: 1000,
            saturated: Vec::new(),
            urgent_only: Vec::new(),
            rest: Duration::ZERO,
        }
    }

    pub(super) async fn claim(&self, claim: Claim) -> Taken {
        let token = claim.lease.token;
        let limit = claim.limit as usize;
        let claimed = self.store.claim(claim).await.expect("claim");
        assert!(claimed.deliveries.len() <= limit, "a claim takes at most as many deliveries as its limit");
        Taken { token, claimed }
    }

    pub(super) async fn claim_all(&self) -> Taken {
        self.claim(self.any()).await
    }

    /// An attempt at a held delivery, made now, with an HTTP answer.
    pub(super) fn attempt(&self, held: &Held, success: bool) -> Attempt {
        let status = if success { 200 } else { 503 };
        Attempt {
            id: AttemptId::new(format!("att_{:06}", self.serial())).expect("an attempt id"),
            delivery: held.key.clone(),
            tenant: held.tenant,
            topic: held.topic.clone(),
            number: held.attempts + 1,
            trigger: held.trigger,
            started_at: self.now().before(Duration::from_millis(12)),
            time: self.now(),
            duration: Duration::from_micros(12_345),
            outcome: Outcome { success, code: status.to_string() },
            request: Some(RequestRecord {
                method: "POST".to_owned(),
                url: "https://example.com/hook?x=***".to_owned(),
                headers: vec![("webhook-id".to_owned(), held.key.event.to_string())],
            }),
            response: Some(ResponseRecord {
                status,
                headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
                body: Bytes::from_static(b"answer"),
                truncated: false,
            }),
            error: None,
            next_attempt_at: None,
        }
    }

    pub(super) fn attempted(&self, held: &Held, success: bool, next: Option<Timestamp>) -> SettleItem {
        let attempt = Attempt { next_attempt_at: next, ..self.attempt(held, success) };
        item(held, SettleAction::Attempted { attempt: attempt.into(), next })
    }

    pub(super) async fn settle_all(&self, items: Vec<SettleItem>) -> Vec<SettleOutcome> {
        let wanted = items.len();
        let outcomes = self.store.settle(Settle { now: self.now(), items }).await.expect("settle");
        assert_eq!(outcomes.len(), wanted, "settle answers once for each item");
        outcomes
    }

    pub(super) async fn settle(&self, item: SettleItem) -> SettleOutcome {
        self.settle_all(vec![item]).await.remove(0)
    }

    /// Settles something the caller holds.
    pub(super) async fn settled(&self, item: SettleItem) {
        let outcome = self.settle(item).await;
        assert!(matches!(outcome, SettleOutcome::Done { .. }), "its holder may settle it, but it is {outcome:?}");
    }

    pub(super) async fn succeed(&self, held: &Held) {
        self.settled(self.attempted(held, true, None)).await;
    }

    pub(super) async fn fail(&self, held: &Held, next: Option<Timestamp>) {
        self.settled(self.attempted(held, false, next)).await;
    }

    /// Fails one delivery so that its lane is held.
    pub(super) async fn hold(&self, held: &Held, until: Timestamp, strikes: u32) {
        let mut failed = self.attempted(held, false, Some(until));
        failed.lane = Some(LaneChange::Hold { until, strikes });
        self.settled(failed).await;
    }

    /// Publishes so many events to one destination and claims them.
    pub(super) async fn held(&self, tenant: &Tenant, destination: &DestinationRecord, count: u32) -> Vec<Held> {
        for _ in 0..count {
            self.publish(tenant, &format!("evt_{}", self.serial()), &[destination]).await;
        }
        let lanes = vec![(destination.incarnation, count)];
        let held = self.claim(Claim { lanes, discover: 0, ..self.any() }).await.held();
        assert_eq!(held.len(), count as usize, "what is published to an enabled destination can be claimed");
        held
    }

    /// An attempt that counts into the destination's health, and is the last one when it fails.
    pub(super) fn judged(&self, held: &Held, success: bool, policy: HealthPolicy) -> SettleItem {
        SettleItem { judge: Some(Judge { policy, exhausted: false }), ..self.attempted(held, success, None) }
    }

    /// Settles something the caller holds; answers what that found out about the destination's health.
    pub(super) async fn judgement(&self, item: SettleItem) -> Judgement {
        match self.settle(item).await {
            SettleOutcome::Done { judgement, .. } => judgement,
            other => panic!("its holder may settle it, but it is {other:?}"),
        }
    }

    /// Asks for attempts at these events' deliveries, and for deliveries of those, as one part of a replay.
    pub(super) async fn replay(&self, to: &DestinationRecord, request: &[&str], create: &[&str]) -> Write {
        let ids = |texts: &[&str]| texts.iter().map(|text| event_id(text)).collect::<Vec<EventId>>();
        let revision = self.find_destination(to.incarnation).await.revision;
        Write::Replay { destination: to.incarnation, revision, request: ids(request), create: ids(create) }
    }

    // What is counted, and what is forgotten.

    pub(super) async fn usage(&self, tenant: &Tenant) -> Usage {
        match self.fetch(Key::Usage(tenant.incarnation)).await.as_slice() {
            [Row::Usage(usage)] => *usage,
            other => panic!("a tenant has one usage, not {other:?}"),
        }
    }

    /// All rollups of events or attempts.
    pub(super) fn rollups_of(&self, level: Level, events: bool) -> Rollups {
        let (from, until) = (Timestamp::MIN, Timestamp::MAX);
        Rollups { level, events, tenant: None, from, until, limit: 100_000 }
    }

    /// Rows of rollups, in their order.
    pub(super) async fn rollup_rows(&self, request: Rollups) -> Vec<(RollupKey, Tally)> {
        let found = self.store.rollups(request).await.expect("rollups");
        assert!(!found.more, "there are fewer rollups than the limit");
        assert!(found.rows.windows(2).all(|pair| pair[0].0.start <= pair[1].0.start), "rollups are ordered by start");
        found.rows
    }

    pub(super) async fn tallies(&self, level: Level, events: bool) -> BTreeMap<RollupKey, Tally> {
        let rows = self.rollup_rows(self.rollups_of(level, events)).await;
        let total = rows.len();
        let tallies: BTreeMap<_, _> = rows.into_iter().collect();
        assert_eq!(tallies.len(), total, "each rollup is answered once");
        tallies
    }

    pub(super) async fn sweep_with(&self, limit: u32, rollups_before: [Timestamp; 3]) -> Swept {
        let swept = self.store.sweep(Sweep { now: self.now(), limit, rollups_before }).await.expect("sweep");
        assert!(swept.changed <= limit, "a sweep changes at most as many rows as its limit");
        swept
    }

    pub(super) async fn sweep(&self, limit: u32) -> Swept {
        self.sweep_with(limit, [Timestamp::MIN; 3]).await
    }

    /// Sweeps in batches until nothing is left.
    pub(super) async fn sweep_all_with(&self, limit: u32, rollups_before: [Timestamp; 3]) {
        for _ in 0..1000 {
            if !self.sweep_with(limit, rollups_before).await.more {
                return;
            }
        }
        panic!("sweeping a small store comes to an end");
    }

    pub(super) async fn sweep_all(&self, limit: u32) {
        self.sweep_all_with(limit, [Timestamp::MIN; 3]).await;
    }

    /// Asks to forget everything that was over before this time.
    pub(super) fn older(&self, before: Timestamp) -> Prune {
        Prune { now: self.now(), tenant: None, before, resume: None, limit: 1000, examine: 10_000 }
    }

    pub(super) async fn prune(&self, request: Prune) -> Pruned {
        let limit = u64::from(request.limit);
        let pruned = self.store.prune(request).await.expect("prune");
        assert!(pruned.events <= limit, "a prune deletes at most as many events as its limit");
        pruned
    }

    /// Prunes until the end is reached; answers the sums.
    pub(super) async fn prune_all(&self, request: Prune) -> Pruned {
        let mut next = request;
        let mut sum = Pruned::default();
        for _ in 0..10_000 {
            let pruned = self.prune(next.clone()).await;
            sum.events += pruned.events;
            sum.attempts += pruned.attempts;
            sum.bytes += pruned.bytes;
            sum.kept += pruned.kept;
            next.resume = pruned.resume;
            if next.resume.is_none() {
                return sum;
            }
        }
        panic!("pruning a small store comes to an end");
    }
}

/// Tells of everything that was judged: an event for each piece of news and one for a disabling, with all
/// that the store said of it in the data.
#[derive(Clone, Debug)]
pub(super) struct Tell {
    /// What the ids begin with.
    pub(super) prefix: String,
    /// What the events are made of.
    pub(super) item: IngestItem,
}

impl Tell {
    pub(super) fn of(prefix: &str, item: IngestItem) -> Option<Arc<dyn Alerts>> {
        Some(Arc::new(Self { prefix: prefix.to_owned(), item }))
    }
}

impl Alerts for Tell {
    fn events(&self, judgement: &Judgement) -> Vec<IngestItem> {
        let names = judgement.news.iter().map(|news| match news {
            HealthNews::Failing { percent, .. } => format!("failing_{percent}"),
            HealthNews::Exhausted => "exhausted".to_owned(),
            HealthNews::Recovered { .. } => "recovered".to_owned(),
        });
        let disabled = judgement.disabled.iter().map(|_| "disabled".to_owned());
        let events = names.chain(disabled).map(|name| {
            let (id, data) = (event_id(&format!("{}_{name}", self.prefix)), Bytes::from(format!("{judgement:?}")));
            IngestItem { event: Arc::new(Event { id, data, ..(*self.item.event).clone() }), ..self.item.clone() }
        });
        events.collect()
    }
}
