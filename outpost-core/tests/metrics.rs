//! Metrics through the whole library: they agree with the log, keep tenants apart, and cost what they cover.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use outpost_core::store::{
    Ingest, IngestItem, IngestOutcome, NewDelivery, Quota, Settle, SettleAction, SettleItem, SettleOutcome,
};
use outpost_core::{
    Actor, Attempt, AttemptFilter, AttemptId, Capabilities, Capability, DeliveryKey, Destination, DestinationId,
    Dimension, Direction, ErrorKind, Event, EventFilter, EventId, Fingerprint, Granularity, Incarnation, Lease,
    LeaseToken, Measure, MemoryStore, MetricValue, MetricsFilter, MetricsOf, MetricsQuery, MetricsReport,
    NewDestination, Outcome, Outpost, PageRequest, Scope, ScriptedReply, ScriptedTransport, SeededEntropy, Store,
    Tenant, TenantId, Timestamp, TokioClock, Trigger,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// When it all happens, 2026-05-28T20:26:40Z; tests count from there.
const START: i64 = 1_780_000_000_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

/// An engine that nothing is due in, and the store below it, which tests fill by hand.
struct World {
    store: MemoryStore,
    outpost: Outpost,
    serial: AtomicI64,
}

/// One attempt to be stored, with an event of its own.
#[derive(Clone, Debug)]
struct Made {
    time: i64,
    topic: &'static str,
    code: &'static str,
    trigger: Trigger,
    number: u32,
}

impl Made {
    fn new(time: i64, code: &'static str) -> Self {
        Self { time, topic: "x", code, trigger: Trigger::Automatic, number: 1 }
    }
}

impl World {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let outpost = Outpost::builder(store.clone())
            .transport(ScriptedTransport::always(ScriptedReply::ok()))
            .transport(ScriptedTransport::always(ScriptedReply::ok()).kind("queue"))
            .clock(TokioClock::starting_at(at(0)))
            .entropy(SeededEntropy::new(1))
            .start()
            .await
            .unwrap();
        Self { store, outpost, serial: AtomicI64::new(1) }
    }

    fn serial(&self) -> i64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    async fn tenant(&self, id: &str) -> Tenant {
        self.outpost.tenants().put(id, None).await.unwrap().tenant
    }

    async fn destination(&self, tenant: &str, id: &str, kind: &str) -> Destination {
        let mut new = NewDestination::webhook("https://one.test/").id(DestinationId::new(id).unwrap());
        kind.clone_into(&mut new.kind);
        self.outpost.destinations().create(tenant, new).await.unwrap()
    }

    /// Stores events at these times with these topics, each of which matched these destinations.
    async fn publish(
        &self,
        tenant: &str,
        events: impl IntoIterator<Item = (i64, String)>,
        matched: &[&Destination],
    ) -> (Lease, Vec<Arc<Event>>) {
        let tenant = self.outpost.tenants().get(tenant).await.unwrap();
        let lease = Lease { token: LeaseToken(self.serial()), until: at(i64::from(u32::MAX)) };
        let items: Vec<IngestItem> = events
            .into_iter()
            .map(|(time, topic)| {
                let event = Event {
                    id: EventId::new(format!("e{}", self.serial())).unwrap(),
                    tenant: tenant.incarnation,
                    topic: Arc::from(topic),
                    time: at(time),
                    created_at: at(0),
                    metadata: Arc::default(),
                    data: Bytes::from_static(b"{}"),
                    eligible_for_retry: true,
                    destination_id: None,
                    matched: matched.iter().map(|destination| destination.id.clone()).collect(),
                    fingerprint: Fingerprint([0; 32]),
                };
                let deliveries = matched.iter().map(|destination| NewDelivery {
                    destination: destination.incarnation,
                    epoch: 0,
                    skipped: false,
                    hand_off: true,
                });
                IngestItem {
                    event: Arc::new(event),
                    subscriptions: tenant.subscriptions,
                    deliveries: deliveries.collect(),
                }
            })
            .collect();
        let events = items.iter().map(|item| item.event.clone()).collect();
        let ingest = Ingest { now: at(0), lease, quota: Quota::default(), items };
        let stored = self.store.ingest(ingest).await.unwrap();
        assert!(stored.iter().all(|one| matches!(one, IngestOutcome::Stored { .. })), "{stored:?}");
        (lease, events)
    }

    /// Stores attempts at one destination; one of code 200 succeeds.
    async fn attempts(&self, destination: &Destination, made: &[Made]) {
        let events = made.iter().map(|made| (made.time, made.topic.to_owned()));
        let (lease, events) = self.publish(destination.tenant_id.as_str(), events, &[destination]).await;
        let items = events.iter().zip(made).map(|(event, made)| {
            let key = DeliveryKey { destination: destination.incarnation, event: event.id.clone() };
            let attempt = Attempt {
                id: AttemptId::new(format!("a{}", self.serial())).unwrap(),
                delivery: key.clone(),
                tenant: event.tenant,
                topic: event.topic.clone(),
                number: made.number,
                trigger: made.trigger,
                started_at: event.time,
                time: event.time,
                duration: Duration::from_millis(u64::from(made.number) * 10),
                outcome: Outcome { success: made.code == "200", code: made.code.to_owned() },
                request: None,
                response: None,
                error: None,
                next_attempt_at: None,
            };
            SettleItem {
                key,
                token: lease.token,
                action: SettleAction::Attempted { attempt: Arc::new(attempt), next: None },
                lane: None,
                disable: None,
                judge: None,
                alerts: None,
                follow_ups: Vec::new(),
            }
        });
        let settled = self.store.settle(Settle { now: at(0), items: items.collect() }).await.unwrap();
        assert!(settled.iter().all(|one| matches!(one, SettleOutcome::Done { .. })), "{settled:?}");
    }

    fn acting_as(&self, tenant: &Tenant, capabilities: Capabilities) -> Outpost {
        let (tenant, incarnation) = (tenant.id.clone(), tenant.incarnation);
        self.outpost.acting_as(Actor::Tenant { tenant, incarnation, capabilities })
    }
}

fn query(from: i64, until: i64, dimensions: &[Dimension]) -> MetricsQuery {
    MetricsQuery { dimensions: dimensions.to_vec(), ..MetricsQuery::new(at(from), at(until)) }
}

/// The rows' counts by their dimensions, those of nothing left out.
fn counts(report: &MetricsReport) -> BTreeMap<Vec<String>, u64> {
    let mut counts = BTreeMap::new();
    for row in &report.rows {
        let mut values: Vec<String> = row.bucket.iter().map(Timestamp::to_string).collect();
        values.extend(row.dimensions.iter().map(|(_, value)| value.clone()));
        let MetricValue::Count(count) = row.measures[0].1 else { panic!("counts are asked for first") };
        assert!(counts.insert(values, count).is_none(), "each combination has one row in each bucket");
    }
    counts.retain(|_, count| *count > 0);
    counts
}

fn only(report: &MetricsReport) -> u64 {
    assert_eq!(report.rows.len(), 1);
    counts(report).into_values().next().unwrap_or(0)
}

const HOUR: i64 = 3_600_000;
/// From the start of an hour on.
const WHOLE: i64 = HOUR - START % HOUR;

fn any_made() -> impl Strategy<Value = (usize, Made)> {
    let time = prop_oneof![0..50 * HOUR, 0..3 * 60_000_i64];
    let triggers = select(vec![Trigger::Automatic, Trigger::Manual, Trigger::Replay, Trigger::Test]);
    (0..4_usize, time, select(vec!["x", "y"]), select(vec!["200", "500"]), triggers, 1..4_u32)
        .prop_map(|(place, time, topic, code, trigger, number)| (place, Made { time, topic, code, trigger, number }))
}

/// Everything that is in a list.
macro_rules! everything {
    ($handle:expr, $list:ident, $filter:expr) => {{
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = PageRequest { limit: 1000, direction: Direction::Ascending, cursor };
            let found = $handle.$list(Scope::All, &$filter, &page).await.unwrap();
            all.extend(found.items);
            cursor = found.next;
            if cursor.is_none() {
                break all;
            }
        }
    }};
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn metrics_agree_with_the_log(
        made in prop::collection::vec(any_made(), 1..60),
        ranges in prop::collection::vec((0..50 * HOUR, 1..30 * HOUR, select(vec![1, 60_000, HOUR])), 4),
        dimensions in subsequence(Dimension::of(MetricsOf::Attempts).to_vec(), 0..=8),
        granularity in select(vec![None, Some("1h"), Some("15m"), Some("1d")]),
        only_of in subsequence(vec!["a", "b"], 0..=1),
        statuses in subsequence(vec![true, false], 0..=1),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            for tenant in ["acme", "other"] {
                world.tenant(tenant).await;
            }
            let mut places = vec![world.destination("acme", "a", "webhook").await];
            world.attempts(&places[0], &of(&made, 0)).await;
            // Another life of the same id and of another kind.
            world.outpost.destinations().delete("acme", "a").await.unwrap();
            places.push(world.destination("acme", "a", "queue").await);
            places.push(world.destination("acme", "b", "webhook").await);
            places.push(world.destination("other", "b", "queue").await);
            for (place, destination) in places.iter().enumerate().skip(1) {
                world.attempts(destination, &of(&made, place)).await;
            }
            // One more event for two destinations and one for none.
            world.publish("acme", [(HOUR, "y".to_owned())], &[&places[1], &places[2]]).await;
            world.publish("other", [(HOUR, "y".to_owned())], &[]).await;
            let kinds: BTreeMap<Incarnation, &str> =
                places.iter().map(|place| (place.incarnation, place.kind.as_str())).collect();
            let attempts = everything!(world.outpost.deliveries(), attempts, AttemptFilter::default());
            let events = everything!(world.outpost.events(), list, EventFilter::default());
            let granularity = granularity.map(|text| Granularity::parse(text).unwrap());
            let bucket = |time: Timestamp| granularity.map(|granularity| {
                let (length, millis) = (match granularity.to_string().as_str() {
                    "1d" => 24 * HOUR, "1h" => HOUR, _ => HOUR / 4,
                }, time.as_millis());
                Timestamp::from_millis(millis - millis % length).to_string()
            });
            for (from, length, step) in &ranges {
                let whole = |time: i64| time - (START + time) % step;
                let (from, until) = (whole(*from), whole(from + length) + step);
                let inside = |time: Timestamp| at(from) <= time && time < at(until);
                let mut asked = MetricsQuery { granularity, ..query(from, until, &dimensions) };
                asked.filter.destinations = only_of.iter().map(|id| DestinationId::new(id).unwrap()).collect();
                asked.filter.success.clone_from(&statuses);

                let mut right: BTreeMap<Vec<String>, u64> = BTreeMap::new();
                for attempt in attempts.iter().filter(|attempt| inside(attempt.time)) {
                    if attempt.trigger == Trigger::Test
                        || !(only_of.is_empty() || only_of.contains(&attempt.destination_id.as_str()))
                        || !(statuses.is_empty() || statuses.contains(&attempt.outcome.success))
                    {
                        continue;
                    }
                    let values = dimensions.iter().map(|dimension| match dimension {
                        Dimension::TenantId => attempt.tenant_id.to_string(),
                        Dimension::DestinationId => attempt.destination_id.to_string(),
                        Dimension::Topic => attempt.topic.to_string(),
                        Dimension::DestinationType => kinds[&attempt.delivery.destination].to_owned(),
                        Dimension::Status => if attempt.outcome.success { "success" } else { "failed" }.to_owned(),
                        Dimension::Code => attempt.outcome.code.clone(),
                        Dimension::Manual => (attempt.trigger != Trigger::Automatic).to_string(),
                        Dimension::AttemptNumber => attempt.number.to_string(),
                    });
                    *right.entry(bucket(attempt.time).into_iter().chain(values).collect()).or_default() += 1;
                }
                let report = world.outpost.metrics().attempts(Scope::All, &asked).await.unwrap();
                assert_eq!(counts(&report), right, "{asked:?}");
                if *step > 1 && !dimensions.contains(&Dimension::AttemptNumber) {
                    assert_eq!(report.log_rows_read, 0, "whole minutes need no log: {asked:?}");
                }

                asked.filter = MetricsFilter { destinations: asked.filter.destinations, ..MetricsFilter::default() };
                asked.dimensions.retain(|dimension| Dimension::of(MetricsOf::Events).contains(dimension));
                let mut right: BTreeMap<Vec<String>, u64> = BTreeMap::new();
                for event in events.iter().filter(|event| inside(event.time)) {
                    let expand = !only_of.is_empty() || asked.dimensions.contains(&Dimension::DestinationId);
                    let matched = event.matched.iter().map(DestinationId::as_str);
                    let places: Vec<&str> = if expand {
                        matched.filter(|id| only_of.is_empty() || only_of.contains(id)).collect()
                    } else {
                        vec![""]
                    };
                    for place in places {
                        let values = asked.dimensions.iter().map(|dimension| match dimension {
                            Dimension::TenantId => event.tenant_id.to_string(),
                            Dimension::DestinationId => place.to_owned(),
                            _ => event.topic.to_string(),
                        });
                        *right.entry(bucket(event.time).into_iter().chain(values).collect()).or_default() += 1;
                    }
                }
                let report = world.outpost.metrics().events(Scope::All, &asked).await.unwrap();
                assert_eq!(counts(&report), right, "{asked:?}");
            }
        });
    }
}

fn of(made: &[(usize, Made)], place: usize) -> Vec<Made> {
    made.iter().filter(|(at, _)| *at == place).map(|(_, made)| made.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tenant_sees_its_own_numbers_and_no_way_around_the_wall() {
    let world = World::new().await;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    for (tenant, made) in [("acme", 2), ("other", 3)] {
        let destination = world.destination(tenant, "d", "webhook").await;
        world.attempts(&destination, &vec![Made::new(WHOLE, "200"); made]).await;
    }
    let user = world.acting_as(&acme, Capabilities::NONE.with(Capability::Read));
    // By rollups and by the log.
    for all in [query(WHOLE, WHOLE + HOUR, &[]), query(WHOLE - 500, WHOLE + 500, &[])] {
        for report in [user.metrics().attempts("acme", &all).await, user.metrics().events("acme", &all).await] {
            assert_eq!(only(&report.unwrap()), 2);
        }
        assert_eq!(only(&world.outpost.metrics().attempts(Scope::All, &all).await.unwrap()), 5);
        assert_eq!(only(&world.outpost.metrics().attempts("other", &all).await.unwrap()), 3);

        let filtered = |ids: &[&str]| {
            let tenants = ids.iter().map(|id| TenantId::new(id).unwrap()).collect();
            MetricsQuery { filter: MetricsFilter { tenants, ..MetricsFilter::default() }, ..all.clone() }
        };
        assert_eq!(only(&user.metrics().attempts("acme", &filtered(&["acme"])).await.unwrap()), 2);
        for ids in [["other", "acme"], ["acme", "nobody"]] {
            let refused = user.metrics().attempts("acme", &filtered(&ids)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::NotFound);
        }
        let operator = world.outpost.metrics();
        assert_eq!(only(&operator.attempts(Scope::All, &filtered(&["other", "nobody", "other"])).await.unwrap()), 3);
        assert_eq!(only(&operator.attempts(Scope::All, &filtered(&["other", "acme"])).await.unwrap()), 5);
        assert_eq!(only(&operator.attempts(Scope::All, &filtered(&["nobody"])).await.unwrap()), 0);
        assert_eq!(only(&operator.attempts("acme", &filtered(&["other"])).await.unwrap()), 0);

        // Another tenant's destination, by its life.
        let life = world.outpost.destinations().get("other", "d").await.unwrap().incarnation;
        let filter = MetricsFilter { destination_lives: vec![life], ..MetricsFilter::default() };
        let foreign = MetricsQuery { filter, ..all.clone() };
        assert_eq!(only(&user.metrics().attempts("acme", &foreign).await.unwrap()), 0);
        assert_eq!(only(&operator.attempts(Scope::All, &foreign).await.unwrap()), 3);
    }
    let all = query(WHOLE, WHOLE + HOUR, &[]);
    let by_tenant = query(WHOLE, WHOLE + HOUR, &[Dimension::TenantId]);
    for (refused, kind) in [
        (user.metrics().attempts(Scope::All, &all).await, ErrorKind::Forbidden),
        (user.metrics().attempts(acme.incarnation, &all).await, ErrorKind::Forbidden),
        (user.metrics().events(other.incarnation, &all).await, ErrorKind::Forbidden),
        (user.metrics().attempts("acme", &by_tenant).await, ErrorKind::Forbidden),
        (user.metrics().events("acme", &by_tenant).await, ErrorKind::Forbidden),
        (user.metrics().attempts("other", &all).await, ErrorKind::NotFound),
        (user.metrics().attempts("nobody", &all).await, ErrorKind::NotFound),
        (world.acting_as(&acme, Capabilities::NONE).metrics().attempts("acme", &all).await, ErrorKind::Forbidden),
        (user.metrics().attempts("acme", &query(5, 5, &[])).await, ErrorKind::Invalid),
    ] {
        assert_eq!(refused.unwrap_err().kind(), kind);
    }
    world.outpost.tenants().delete("acme").await.unwrap();
    world.tenant("acme").await;
    assert_eq!(user.metrics().attempts("acme", &all).await.unwrap_err().kind(), ErrorKind::NotFound, "an earlier life");
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_is_still_counted_under_its_name() {
    let world = World::new().await;
    let first = world.tenant("acme").await;
    let destination = world.destination("acme", "d", "webhook").await;
    world.attempts(&destination, &[Made::new(WHOLE, "200"), Made::new(WHOLE + 1, "500")]).await;
    world.outpost.tenants().delete("acme").await.unwrap();
    world.tenant("acme").await;
    let again = world.destination("acme", "d", "queue").await;
    world.attempts(&again, &[Made::new(WHOLE + 2, "200")]).await;
    let names = [Dimension::TenantId, Dimension::DestinationId];
    let asked = query(WHOLE, WHOLE + HOUR, &names);
    let metrics = world.outpost.metrics();
    let merged = BTreeMap::from([(vec!["acme".to_owned(), "d".to_owned()], 3)]);
    assert_eq!(counts(&metrics.attempts(Scope::All, &asked).await.unwrap()), merged, "the lives of an id share a row");
    assert_eq!(counts(&metrics.events(Scope::All, &asked).await.unwrap()), merged);
    let totals = query(WHOLE, WHOLE + HOUR, &[]);
    assert_eq!(only(&metrics.attempts("acme", &totals).await.unwrap()), 1, "a live tenant's numbers are its own");
    assert_eq!(only(&metrics.attempts(first.incarnation, &totals).await.unwrap()), 2);
    let mut filtered = totals.clone();
    filtered.filter.destination_lives = vec![destination.incarnation];
    assert_eq!(only(&metrics.attempts(Scope::All, &filtered).await.unwrap()), 2);
    filtered.filter = MetricsFilter { destination_types: vec!["queue".to_owned()], ..MetricsFilter::default() };
    assert_eq!(only(&metrics.attempts(Scope::All, &filtered).await.unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_counts_for_the_life_it_matched_even_when_a_later_one_got_it_too() {
    let world = World::new().await;
    world.tenant("acme").await;
    let first = world.destination("acme", "d", "webhook").await;
    let made = Made::new(WHOLE + 30_000, "200");
    world.attempts(&first, &[made]).await;
    world.outpost.destinations().delete("acme", "d").await.unwrap();
    let again = world.destination("acme", "d", "webhook").await;
    let events = everything!(world.outpost.events(), list, EventFilter::default());
    let replay = outpost_core::store::Write::Replay {
        destination: again.incarnation,
        revision: again.revision,
        request: Vec::new(),
        create: vec![events[0].id.clone()],
    };
    let apply = outpost_core::store::Apply { now: at(1), writes: vec![replay], follow_ups: Vec::new() };
    let done = world.store.apply(apply).await.unwrap();
    assert_eq!(done, outpost_core::store::ApplyOutcome::Done(vec![1]), "it is replayed to the later life");
    // By rollups and by the log.
    for (from, until) in [(WHOLE, WHOLE + HOUR), (WHOLE + 29_000, WHOLE + 31_000)] {
        for (life, count) in [(first.incarnation, 1), (again.incarnation, 0)] {
            let filter = MetricsFilter { destination_lives: vec![life], ..MetricsFilter::default() };
            let asked = MetricsQuery { filter, ..query(from, until, &[]) };
            assert_eq!(only(&world.outpost.metrics().events("acme", &asked).await.unwrap()), count);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_cannot_tell_a_blocked_address_from_a_name_that_does_not_resolve() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let destination = world.destination("acme", "d", "webhook").await;
    world.attempts(&destination, &[Made::new(WHOLE, "blocked"), Made::new(WHOLE + 1, "dns_error")]).await;
    let user = world.acting_as(&acme, Capabilities::ALL);
    for (from, until) in [(WHOLE, WHOLE + HOUR), (WHOLE - 500, WHOLE + 500)] {
        let mut asked = query(from, until, &[Dimension::Code]);
        let shown = counts(&user.metrics().attempts("acme", &asked).await.unwrap());
        assert_eq!(shown, BTreeMap::from([(vec!["dns_error".to_owned()], 2)]));
        assert_eq!(counts(&world.outpost.metrics().attempts("acme", &asked).await.unwrap()).len(), 2);
        asked.filter.codes = vec!["blocked".to_owned()];
        assert_eq!(user.metrics().attempts("acme", &asked).await.unwrap().rows.len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_query_reads_does_not_grow_with_the_attempts() {
    let mut read = Vec::new();
    for each in [1, 40] {
        let world = World::new().await;
        world.tenant("acme").await;
        let destination = world.destination("acme", "d", "webhook").await;
        let hours = (0..72).flat_map(|hour| {
            (0..each).flat_map(move |nth| ["200", "500"].map(|code| Made::new(WHOLE + hour * HOUR + nth * 1000, code)))
        });
        world.attempts(&destination, &hours.collect::<Vec<_>>()).await;
        let mut asked = query(WHOLE, WHOLE + 72 * HOUR, &[Dimension::Status]);
        asked.measures = Measure::of(MetricsOf::Attempts).to_vec();
        let totals = world.outpost.metrics().attempts("acme", &asked).await.unwrap();
        asked.granularity = Some(Granularity::parse("1h").unwrap());
        let by_hour = world.outpost.metrics().attempts("acme", &asked).await.unwrap();
        assert_eq!(counts(&totals).into_values().sum::<u64>(), 144 * each as u64);
        assert_eq!((totals.log_rows_read, by_hour.log_rows_read, by_hour.rows.len()), (0, 0, 144));
        read.push((totals.rollups_read, by_hour.rollups_read));
    }
    // Two codes. Two whole days, and from 21:00 on and until 21:00 by the hour: 24 hours in all.
    assert_eq!(read, [(2 * (2 + 24), 144); 2]);
}

#[tokio::test(start_paused = true)]
async fn more_rollups_than_a_page_are_all_counted_once() {
    let world = World::new().await;
    world.tenant("acme").await;
    // One minute alone has more than a page, and the pages' ends fall into the others.
    let events = [(60_000, 10_500), (120_000, 4000), (180_000, 4000), (240_000, 4000)]
        .into_iter()
        .flat_map(|(time, topics)| (0..topics).map(move |topic| (WHOLE + time, format!("t{topic}"))));
    world.publish("acme", events, &[]).await;
    let asked = query(WHOLE + 60_000, WHOLE + 300_000, &[]);
    let report = world.outpost.metrics().events("acme", &asked).await.unwrap();
    assert_eq!((only(&report), report.rollups_read, report.log_rows_read), (22_500, 22_500, 0));
    let minutes = MetricsQuery { granularity: Some(Granularity::parse("1m").unwrap()), ..asked.clone() };
    let report = world.outpost.metrics().events(Scope::All, &minutes).await.unwrap();
    assert_eq!(counts(&report).into_values().collect::<Vec<_>>(), [10_500, 4000, 4000, 4000]);
    let by_topic = MetricsQuery { granularity: minutes.granularity, ..query(WHOLE, WHOLE + HOUR, &[Dimension::Topic]) };
    let refused = world.outpost.metrics().events("acme", &by_topic).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().contains("query too broad: more than 100000 rows"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_query_that_needs_too_much_of_the_log_is_refused_with_the_reason() {
    let world = World::new().await;
    world.tenant("acme").await;
    let destination = world.destination("acme", "d", "webhook").await;
    world.attempts(&destination, &vec![Made::new(WHOLE, "200"); 1000]).await;
    let events = (0..50_000).map(|nth| (WHOLE + nth % 7000, "x".to_owned()));
    world.publish("acme", events, &[]).await;
    let mut asked = query(WHOLE, WHOLE + 1500, &[]);
    let report = world.outpost.metrics().events("acme", &asked).await.unwrap();
    // Seven rounds of 7000, and 1000 of the eighth.
    assert_eq!(only(&report), 1000 + 7 * 1500 + 1000);
    asked.until = at(WHOLE + 30_000);
    let refused = world.outpost.metrics().events("acme", &asked).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().contains("too broad: what is before and after the whole minutes"), "{refused}");
    asked.granularity = Some(Granularity::parse("30s").unwrap());
    let refused = world.outpost.metrics().events("acme", &asked).await.unwrap_err();
    assert!(refused.message().contains("too broad: a granularity finer than minutes"), "{refused}");
    // Attempts are a log of their own, short enough.
    let numbers = query(WHOLE, WHOLE + HOUR, &[Dimension::AttemptNumber]);
    let report = world.outpost.metrics().attempts("acme", &numbers).await.unwrap();
    assert_eq!((counts(&report).into_values().sum::<u64>(), report.log_rows_read), (1000, 1000));
}
