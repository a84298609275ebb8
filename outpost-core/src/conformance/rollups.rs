//! What rollups count, and what they do not. How they are read and deleted is in `rollups_read.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::flow::Tell;
use super::health::warning_at;
use super::support::{Held, World, at, item, key};
use crate::domain::attempt::{Attempt, Outcome};
use crate::domain::delivery::{DeliveryState, Trigger};
use crate::domain::event::{Event, Fingerprint};
use crate::domain::rollup::{self, Counted, Level, RollupKey, Tally};
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, LeaseToken};
use crate::ports::store::{IngestItem, IngestOutcome, Quota, SettleAction, SettleItem, SettleOutcome, Write};
use crate::values::id::Incarnation;
use crate::values::time::Timestamp;

pub(super) type Tallies = BTreeMap<RollupKey, Tally>;

/// The rollup of events on the usual topic, in the minute that the world begins with.
pub(super) fn events_of(tenant: &Tenant, destination: Option<&DestinationRecord>) -> RollupKey {
    RollupKey {
        level: Level::Minute,
        start: at(0),
        tenant: tenant.incarnation,
        destination: destination.map(|found| found.incarnation),
        topic: Arc::from("order.created"),
        counted: Counted::Events,
    }
}

/// Counts of events by the rollup's key.
pub(super) async fn events(w: &World) -> Vec<(RollupKey, u64)> {
    let found = w.tallies(Level::Minute, true).await;
    found.into_iter().map(|(key, tally)| (key, tally.count)).collect()
}

fn sorted(mut wanted: Vec<(RollupKey, u64)>) -> Vec<(RollupKey, u64)> {
    wanted.sort();
    wanted
}

/// What the rollups of attempts must be, at every level.
fn counted<'a>(attempts: impl IntoIterator<Item = &'a Attempt>) -> Tallies {
    let mut wanted = Tallies::new();
    for attempt in attempts {
        for key in rollup::of_attempt(attempt) {
            wanted.entry(key).or_default().add(&Tally::of_attempt(attempt));
        }
    }
    wanted
}

/// The rollups of attempts at every level.
async fn attempts(w: &World) -> Tallies {
    let mut found = Tallies::new();
    for level in Level::ALL {
        found.extend(w.tallies(level, false).await);
    }
    found
}

/// Settles an attempt that is changed before; answers it as it was settled.
async fn attempt(w: &World, held: &Held, success: bool, change: impl FnOnce(&mut Attempt)) -> Arc<Attempt> {
    let mut attempt = w.attempt(held, success);
    change(&mut attempt);
    let attempt = Arc::new(attempt);
    w.settled(item(held, SettleAction::Attempted { attempt: attempt.clone(), next: None })).await;
    attempt
}

pub(super) async fn an_event_counts_once_and_once_for_each_match(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    w.publish(&tenant, "evt_1", &[&first, &second]).await;
    w.publish(&tenant, "evt_2", &[&second]).await;
    w.publish(&tenant, "evt_3", &[]).await;
    let (first, second) = (events_of(&tenant, Some(&first)), events_of(&tenant, Some(&second)));
    let wanted = sorted(vec![(events_of(&tenant, None), 3), (first, 1), (second, 2)]);
    assert_eq!(events(&w).await, wanted, "each event counts for itself and for each destination it matched");
    let empty = w.tallies(Level::Minute, false).await;
    assert!(empty.is_empty(), "nothing has been attempted, so {empty:?} counts what has not been");
    for (key, tally) in w.tallies(Level::Minute, true).await {
        assert_eq!(tally, Tally { count: tally.count, ..Tally::default() }, "{key:?}: events have but a count");
    }
}

pub(super) async fn a_disabled_match_counts_no_event(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    w.disable(&first).await;
    w.publish(&tenant, "evt_1", &[&first, &second]).await;
    w.publish(&tenant, "evt_2", &[&first]).await;
    let wanted = sorted(vec![(events_of(&tenant, None), 2), (events_of(&tenant, Some(&second)), 1)]);
    assert_eq!(events(&w).await, wanted, "what is skipped counts as an event and for no destination");
}

pub(super) async fn what_is_not_stored_counts_no_event(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let before = events(&w).await;
    let fresh = w.item(&tenant, w.event(&tenant, "evt_2"), &[&destination]).await;
    let repeat = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    let other = Event { fingerprint: Fingerprint([7; 32]), ..w.event(&tenant, "evt_1") };
    let conflict = w.item(&tenant, other, &[&destination]).await;
    let outdated = IngestItem { subscriptions: fresh.subscriptions + 1, ..fresh.clone() };
    let quota = Quota { open: Some(1), bytes: None };
    let outcomes = w.ingest_within(quota, w.lease(), vec![repeat, conflict, outdated, fresh]).await;
    assert!(matches!(outcomes[0], IngestOutcome::Duplicate { .. }), "{outcomes:?}");
    assert_eq!(outcomes[1..3], [IngestOutcome::Conflict, IngestOutcome::Outdated]);
    assert!(matches!(outcomes[3], IngestOutcome::OverQuota { .. }), "{outcomes:?}");
    assert_eq!(events(&w).await, before, "what was not stored was not there");
}

pub(super) async fn a_replay_counts_no_event(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[]).await;
    let before = events(&w).await;
    w.done(vec![w.replay(&destination, &[], &["evt_1"]).await]).await;
    assert_eq!(events(&w).await, before, "the event was counted when it was published");
    let held = w.claim_all().await.only();
    let made = attempt(&w, &held, false, |_| {}).await;
    assert_eq!(attempts(&w).await, counted([&*made]), "the attempt counts as one of a replay");
}

pub(super) async fn follow_ups_count_as_events(w: World) {
    let (tenant, destination) = w.acme().await;
    let operator = w.tenant("operator").await;
    let listener = w.destination(&operator, "des_op").await;
    let held = w.held(&tenant, &destination, 1).await.remove(0);
    let follow_up = w.follow_up(&operator, "with_writes", &[&listener]).await;
    w.apply_with(Vec::new(), vec![follow_up.clone(), follow_up.clone()]).await;
    let operators =
        |count| sorted(vec![(events_of(&operator, None), count), (events_of(&operator, Some(&listener)), count)]);
    let mut wanted = operators(1);
    wanted.extend([(events_of(&tenant, None), 1), (events_of(&tenant, Some(&destination)), 1)]);
    assert_eq!(events(&w).await, sorted(wanted), "one that comes with writes, and once");
    let judged = SettleItem {
        follow_ups: vec![w.follow_up(&operator, "with_outcome", &[&listener]).await, follow_up.clone()],
        alerts: Tell::of("alert", follow_up),
        ..w.judged(&held, false, warning_at(1))
    };
    w.settled(judged).await;
    let mut wanted = operators(3);
    wanted.extend([(events_of(&tenant, None), 1), (events_of(&tenant, Some(&destination)), 1)]);
    assert_eq!(events(&w).await, sorted(wanted), "those that come with an outcome, and alerts");
}

pub(super) async fn events_count_by_time_topic_and_tenant(w: World) {
    let (first, destination) = w.acme().await;
    let second = w.tenant("other").await;
    let publish = async |tenant: &Tenant, id: &str, topic: &str, millis: i64, to: &[&DestinationRecord]| {
        let event = Event { topic: Arc::from(topic), time: at(millis), ..w.event(tenant, id) };
        let item = w.item(tenant, event, to).await;
        assert!(matches!(w.ingest_one(item).await, IngestOutcome::Stored { .. }));
    };
    // It arrives an hour after the time that it bears.
    w.set(3_600_000);
    publish(&first, "evt_1", "order.created", 59_999, &[&destination]).await;
    publish(&first, "evt_2", "order.created", 60_000, &[&destination]).await;
    publish(&first, "evt_3", "order.größer", 60_001, &[]).await;
    publish(&second, "evt_1", "order.created", 0, &[]).await;
    publish(&second, "evt_2", "order.created", 59_999, &[]).await;
    let later = |key: RollupKey| RollupKey { start: at(60_000), ..key };
    let wanted = vec![
        (events_of(&first, None), 1),
        (events_of(&first, Some(&destination)), 1),
        (later(events_of(&first, None)), 1),
        (later(events_of(&first, Some(&destination))), 1),
        (RollupKey { topic: Arc::from("order.größer"), ..later(events_of(&first, None)) }, 1),
        (events_of(&second, None), 2),
    ];
    assert_eq!(events(&w).await, sorted(wanted), "minute, topic and tenant are told apart, by the event's own time");
}

pub(super) async fn attempts_count_by_how_they_ended(w: World) {
    let (first, one) = w.acme().await;
    let two = w.destination(&first, "des_2").await;
    let second = w.tenant("other").await;
    let three = w.destination(&second, "des_1").await;
    let mut made = Vec::new();
    let codes = [(true, "200"), (false, "503"), (false, "timeout"), (false, "200"), (false, "503"), (false, "")];
    for (tenant, to, count) in [(&first, &one, 6), (&first, &two, 2), (&second, &three, 3)] {
        for (held, (success, code)) in w.held(tenant, to, count).await.iter().zip(codes) {
            let outcome = Outcome { success, code: code.to_owned() };
            made.push(attempt(&w, held, success, |attempt| attempt.outcome = outcome).await);
        }
    }
    w.publish_on(&first, "evt_topic", "order.größer", &[&one]).await;
    made.push(attempt(&w, &w.claim_all().await.only(), true, |_| {}).await);
    for trigger in [Trigger::Manual, Trigger::Replay] {
        w.done(vec![Write::RequestAttempt { key: key(&one, "evt_topic"), trigger }]).await;
        made.push(attempt(&w, &w.claim_all().await.only(), true, |_| {}).await);
    }
    let found = attempts(&w).await;
    assert_eq!(found, counted(made.iter().map(|made| &**made)), "each attempt counts where it belongs");
    let failed = |(key, _): &(&RollupKey, &Tally)| {
        let Counted::Attempts { success, code, .. } = &key.counted else { return false };
        key.level == Level::Day && !success && **code == *"503" && key.tenant == first.incarnation
    };
    let counts: Vec<u64> = found.iter().filter(failed).map(|(_, tally)| tally.count).collect();
    assert_eq!(counts, [2, 1], "two attempts at one destination and one at the other ended like this");
}

pub(super) async fn the_numbers_of_attempts_add_up(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    // One event is tried by schedule, again, and by hand; another by schedule.
    for (number, millis) in (1..=3).zip([1, 20, 300]) {
        let held = w.claim_all().await.only();
        assert_eq!(held.attempts + 1, number);
        attempt(&w, &held, false, |attempt| attempt.duration = Duration::from_millis(millis)).await;
        w.done(vec![Write::RequestAttempt { key: key(&destination, "evt_1"), trigger: Trigger::Manual }]).await;
    }
    w.publish(&tenant, "evt_2", &[&destination]).await;
    for held in w.claim_all().await.held() {
        attempt(&w, &held, false, |attempt| attempt.duration = Duration::ZERO).await;
    }
    let found = w.tallies(Level::Hour, false).await;
    let of = |wanted: Trigger| {
        let (_, tally) = found
            .iter()
            .find(|(key, _)| matches!(key.counted, Counted::Attempts { trigger, .. } if trigger == wanted))
            .expect("such attempts were made");
        (tally.count, tally.numbers, tally.firsts, tally.retries)
    };
    assert_eq!(found.len(), 2, "by schedule and by hand");
    assert_eq!(of(Trigger::Automatic), (2, 2, 2, 0), "two first attempts by schedule");
    assert_eq!(of(Trigger::Manual), (3, 9, 0, 3), "the second, third and fourth attempt at one event, by hand");
    let mut latency = rollup::Histogram::default();
    found.values().for_each(|tally| latency.add(&tally.latency));
    let most = |share: f64| latency.quantile(share).expect("something was counted").as_millis();
    assert!((300..=375).contains(&most(1.0)), "the slowest took 300 ms, told within a quarter: {}", most(1.0));
    assert!((1..=2).contains(&most(0.5)), "three of five took no more than a millisecond: {}", most(0.5));
}

pub(super) async fn tests_count_no_attempt(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let made = attempt(&w, &w.claim_all().await.only(), false, |_| {}).await;
    w.done(vec![Write::RequestAttempt { key: key(&destination, "evt_1"), trigger: Trigger::Test }]).await;
    let test = attempt(&w, &w.claim_all().await.only(), true, |_| {}).await;
    assert_eq!(test.trigger, Trigger::Test);
    assert_eq!(w.attempts(&destination, "evt_1").await.len(), 2, "the test is recorded");
    assert_eq!(attempts(&w).await, counted([&*made]), "and counts nowhere");
}

pub(super) async fn what_writes_no_attempt_counts_none(w: World) {
    let (tenant, destination) = w.acme().await;
    let held = w.held(&tenant, &destination, 5).await;
    let foreign = Held { token: LeaseToken(held[0].token.0 ^ 1), ..held[0].clone() };
    assert_eq!(w.settle(w.attempted(&foreign, true, None)).await, SettleOutcome::Stale);
    w.settled(item(&held[1], SettleAction::Extended { until: at(90_000) })).await;
    w.settled(item(&held[2], SettleAction::Retired { state: DeliveryState::Failed })).await;
    w.settled(item(&held[3], SettleAction::Released)).await;
    let mut outdated = w.follow_up(&tenant, "late", &[]).await;
    outdated.subscriptions += 1;
    let outdated = SettleItem { follow_ups: vec![outdated], ..w.attempted(&held[4], true, None) };
    assert_eq!(w.settle(outdated).await, SettleOutcome::Outdated);
    let found = attempts(&w).await;
    assert!(found.is_empty(), "no attempt was recorded, so none is counted: {found:?}");
}

pub(super) async fn an_attempt_counts_whatever_became_of_its_destination(w: World) {
    let (tenant, destination) = w.acme().await;
    let held = w.held(&tenant, &destination, 2).await;
    w.disable(&destination).await;
    let first = attempt(&w, &held[0], true, |_| {}).await;
    w.delete(&destination).await;
    let second = attempt(&w, &held[1], false, |_| {}).await;
    assert_eq!(attempts(&w).await, counted([&*first, &*second]), "what is recorded is counted");
}

pub(super) async fn a_batch_adds_up(w: World) {
    let (tenant, destination) = w.acme().await;
    let mut items = Vec::new();
    for number in 0..6 {
        items.push(w.item(&tenant, w.event(&tenant, &format!("evt_{number}")), &[&destination]).await);
    }
    let repeat = items[0].clone();
    items.push(repeat);
    w.ingest(items).await;
    let wanted = vec![(events_of(&tenant, None), 6), (events_of(&tenant, Some(&destination)), 6)];
    assert_eq!(events(&w).await, sorted(wanted), "six events of one call");
    let held = w.claim_all().await.held();
    let mut made = Vec::new();
    let mut items = Vec::new();
    for (number, held) in (1..).zip(&held) {
        let attempt = Attempt { duration: Duration::from_millis(number * 100), ..w.attempt(held, number > 2) };
        made.push(Arc::new(attempt));
        items.push(item(held, SettleAction::Attempted { attempt: made[made.len() - 1].clone(), next: None }));
    }
    let repeat = items[0].clone();
    items.push(repeat);
    w.settle_all(items).await;
    assert_eq!(attempts(&w).await, counted(made.iter().map(|made| &**made)), "six attempts of one call");
    w.publish(&tenant, "evt_more", &[]).await;
    assert_eq!(events(&w).await.iter().map(|(_, count)| count).max(), Some(&7), "later ones are added to them");
}

pub(super) async fn odd_times_and_codes_count_where_they_belong(w: World) {
    let (tenant, destination) = w.acme().await;
    let minute = |millis| Timestamp::from_millis(millis);
    let times = [
        (minute(-1), minute(-60_000)),
        (minute(-60_000), minute(-60_000)),
        (minute(0), minute(0)),
        (Timestamp::MIN, Timestamp::MIN),
        (Timestamp::MAX, minute(Timestamp::MAX.as_millis() - 59_999)),
    ];
    let mut starts = Vec::new();
    let mut made = Vec::new();
    for (held, (time, start)) in w.held(&tenant, &destination, 5).await.iter().zip(times) {
        made.push(attempt(&w, held, true, |attempt| attempt.time = time).await);
        starts.push(start);
    }
    starts.sort();
    starts.dedup();
    let found: Vec<Timestamp> = w.tallies(Level::Minute, false).await.into_keys().map(|key| key.start).collect();
    assert_eq!(found, starts, "also before 1970 and at the ends of time a minute starts before what is in it");
    let held = w.held(&tenant, &destination, 2).await;
    for (held, code) in held.iter().zip(["x".repeat(40), "ü".repeat(20)]) {
        made.push(attempt(&w, held, false, |attempt| attempt.outcome.code = code).await);
    }
    assert_eq!(attempts(&w).await, counted(made.iter().map(|made| &**made)), "long codes are cut");
    let codes = w.tallies(Level::Day, false).await.into_keys().filter_map(|key| match key.counted {
        Counted::Attempts { code, success: false, .. } => Some(code),
        _ => None,
    });
    assert_eq!(codes.collect::<Vec<_>>(), [Arc::from("x".repeat(32)), Arc::from("ü".repeat(16))]);
}

/// Publishes one event a minute, to nobody; answers when each minute starts.
pub(super) async fn one_a_minute(w: &World, tenant: &Tenant, count: i64) -> Vec<Timestamp> {
    let mut starts = Vec::new();
    for number in 0..count {
        let event = Event { time: at(number * 60_000 + 59_999), ..w.event(tenant, &format!("evt_{number}")) };
        w.ingest_one(w.item(tenant, event, &[]).await).await;
        starts.push(at(number * 60_000));
    }
    starts
}

/// The starts of the rollups, each named once for each tenant.
pub(super) fn starts(rows: &[(RollupKey, Tally)]) -> Vec<(Timestamp, Incarnation)> {
    rows.iter().map(|(key, _)| (key.start, key.tenant)).collect()
}
