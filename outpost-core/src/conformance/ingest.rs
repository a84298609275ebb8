//! Storing events: idempotency, subscriptions, exact bytes, and hand-offs.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::support::{LEASE, World, at, event_id};
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::event::{Event, Fingerprint};
use crate::engine::record::LaneChange;
use crate::ports::store::{IngestItem, IngestOutcome, Key, SettleAction};
use crate::values::id::DestinationId;
use crate::values::time::Timestamp;

fn stored(leased: &[bool]) -> IngestOutcome {
    IngestOutcome::Stored { leased: leased.to_vec() }
}

/// The same item, asking for every delivery to be handed out.
fn handed(mut item: IngestItem) -> IngestItem {
    item.deliveries.iter_mut().for_each(|delivery| delivery.hand_off = true);
    item
}

/// Another event under the same id.
fn other_content(item: &IngestItem) -> IngestItem {
    let event = Event { fingerprint: Fingerprint([7; 32]), ..(*item.event).clone() };
    IngestItem { event: Arc::new(event), ..item.clone() }
}

pub(super) async fn an_event_is_read_back_exactly(w: World) {
    let (tenant, destination) = w.acme().await;
    let event = Event {
        time: Timestamp::from_millis(-1),
        created_at: at(123),
        topic: Arc::from("!~weird/Topic#1"),
        eligible_for_retry: false,
        destination_id: Some(DestinationId::new("des_1").unwrap()),
        fingerprint: Fingerprint(std::array::from_fn(|at| 255 - u8::try_from(at).unwrap())),
        ..w.event(&tenant, "evt:1@x|y~z-_")
    };
    let item = w.item(&tenant, event, &[&destination]).await;
    assert_eq!(item.event.matched.len(), 1);
    assert_eq!(w.ingest_one(item.clone()).await, stored(&[false]), "a new event is stored");
    let found = w.find_event(&tenant, "evt:1@x|y~z-_").await;
    assert_eq!(*found, *item.event, "an event is kept as it was given");
    let claimed = w.claim_all().await.claimed.deliveries.remove(0);
    assert_eq!(*claimed.event, *item.event, "a claim hands it out as it was given");
}

pub(super) async fn payloads_keep_their_exact_bytes(w: World) {
    let (tenant, destination) = w.acme().await;
    let odd = [
        "{ \"b\" : 1,\r\n\t\"a\":2 ,\"a\":3}\n",
        "{\"n\":1e400,\"m\":-0.0,\"k\":9007199254740993,\"f\":1.10}",
        "{\"s\":\"\\u0000\\ud800\\/é\u{2028}\u{1f469}\u{200d}\u{1f680}\"}",
        "{}",
        "{\"\":{\"$serde_json::private::RawValue\":\"'; DROP TABLE events;--\"}}",
    ];
    for (number, data) in odd.iter().enumerate() {
        let id = format!("evt_{number}");
        let event = Event { data: Bytes::from_static(data.as_bytes()), ..w.event(&tenant, &id) };
        let item = w.item(&tenant, event, &[&destination]).await;
        w.ingest_one(item).await;
        assert_eq!(w.find_event(&tenant, &id).await.data, data.as_bytes(), "the payload's bytes are kept exactly");
        w.advance(1);
    }
    for (claimed, data) in w.claim_all().await.claimed.deliveries.iter().zip(odd) {
        assert_eq!(claimed.event.data, data.as_bytes(), "and handed out exactly");
    }
}

pub(super) async fn large_payloads_are_kept(w: World) {
    let tenant = w.tenant("acme").await;
    let data = Bytes::from(format!("{{\"x\":\"{}\"}}", "0123456789abcdef".repeat(64 * 1024)));
    let item = w.item(&tenant, Event { data: data.clone(), ..w.event(&tenant, "evt_1") }, &[]).await;
    w.ingest_one(item).await;
    assert!(w.find_event(&tenant, "evt_1").await.data == data, "a payload of a megabyte is kept");
}

pub(super) async fn metadata_is_kept(w: World) {
    let tenant = w.tenant("acme").await;
    let mut metadata: BTreeMap<String, String> =
        (0..60).map(|number| (format!("key {number}"), "v".repeat(number))).collect();
    metadata.insert("ключ\"'\\".to_owned(), "\u{1f469}".to_owned());
    let event = Event { metadata: Arc::new(metadata.clone()), ..w.event(&tenant, "evt_1") };
    let item = w.item(&tenant, event, &[]).await;
    w.ingest_one(item).await;
    assert_eq!(*w.find_event(&tenant, "evt_1").await.metadata, metadata, "metadata is kept as it was given");
    let event = Event { metadata: Arc::default(), ..w.event(&tenant, "evt_2") };
    let item = w.item(&tenant, event, &[]).await;
    w.ingest_one(item).await;
    assert!(w.find_event(&tenant, "evt_2").await.metadata.is_empty(), "no metadata stays none");
}

pub(super) async fn a_new_delivery_is_pending_and_due(w: World) {
    let (tenant, destination) = w.acme().await;
    w.set(50);
    // The event's own time has nothing to do with when it is sent.
    let event = Event { time: at(1_000_000), ..w.event(&tenant, "evt_1") };
    let item = w.item(&tenant, event, &[&destination]).await;
    w.ingest_one(item).await;
    let wanted = Delivery {
        key: super::support::key(&destination, "evt_1"),
        tenant: tenant.incarnation,
        topic: Arc::from("order.created"),
        state: DeliveryState::Pending,
        created_at: at(50),
        finished_at: None,
        next_attempt_at: Some(at(50)),
        requested: None,
        attempts: 0,
        automatic_attempts: 0,
        last_outcome: None,
        leased_until: None,
    };
    assert_eq!(w.delivery(&destination, "evt_1").await, wanted, "a new delivery is due at once");
    let lane = w.lane(&destination).await;
    assert_eq!((lane.next_due, lane.open), (Some(at(50)), 1), "its lane knows of it");
}

pub(super) async fn an_event_that_matches_nothing_is_stored(w: World) {
    let (tenant, destination) = w.acme().await;
    let item = w.item(&tenant, w.event(&tenant, "evt_1"), &[]).await;
    assert_eq!(w.ingest_one(item.clone()).await, stored(&[]), "it is stored without deliveries");
    assert!(w.has_event(&tenant, "evt_1").await);
    assert_eq!(w.fetch(Key::DeliveriesOf(tenant.incarnation, event_id("evt_1"))).await, []);
    assert_eq!(w.lane(&destination).await.open, 0, "no lane is concerned");
    let again = w.ingest_one(item).await;
    assert_eq!(again, IngestOutcome::Duplicate { matched: Arc::from([]) }, "its id is taken all the same");
}

pub(super) async fn a_repeated_event_is_a_duplicate(w: World) {
    let (tenant, destination) = w.acme().await;
    let first = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    w.ingest_one(first.clone()).await;
    let second = w.destination(&tenant, "des_2").await;
    w.set(10);
    let event = Event { time: at(10), created_at: at(10), ..w.event(&tenant, "evt_1") };
    let repeat = w.item(&tenant, event, &[&destination, &second]).await;
    let outcome = w.ingest_one(handed(repeat)).await;
    let matched = first.event.matched.clone();
    assert_eq!(outcome, IngestOutcome::Duplicate { matched }, "a repeat answers what the first one matched");
    assert_eq!(*w.find_event(&tenant, "evt_1").await, *first.event, "the first one stands");
    let found = w.fetch(Key::DeliveriesOf(tenant.incarnation, event_id("evt_1"))).await;
    assert_eq!(found.len(), 1, "a repeat makes no delivery");
    assert_eq!(w.lane(&destination).await.open, 1, "and counts nowhere");
}

pub(super) async fn another_event_with_the_id_is_a_conflict(w: World) {
    let (tenant, destination) = w.acme().await;
    let first = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    w.ingest_one(first.clone()).await;
    assert_eq!(w.ingest_one(other_content(&first)).await, IngestOutcome::Conflict, "the fingerprints differ");
    assert_eq!(*w.find_event(&tenant, "evt_1").await, *first.event, "the first one stands");
}

pub(super) async fn a_repeat_within_a_batch_is_recognised(w: World) {
    let (tenant, destination) = w.acme().await;
    let first = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    let third = w.item(&tenant, w.event(&tenant, "evt_2"), &[&destination]).await;
    let outcomes = w.ingest(vec![first.clone(), first.clone(), other_content(&first), third]).await;
    let duplicate = IngestOutcome::Duplicate { matched: first.event.matched.clone() };
    let wanted = [stored(&[false]), duplicate, IngestOutcome::Conflict, stored(&[false])];
    assert_eq!(outcomes, wanted, "an id is taken by an earlier item of the same batch");
    assert_eq!(w.claim_all().await.events().len(), 2, "each event is delivered once");
}

pub(super) async fn tenants_do_not_share_event_ids(w: World) {
    let (one, two) = (w.tenant("one").await, w.tenant("two").await);
    let first = w.item(&one, w.event(&one, "evt_1"), &[]).await;
    let second = other_content(&w.item(&two, w.event(&two, "evt_1"), &[]).await);
    assert_eq!(w.ingest_one(first).await, stored(&[]), "the first tenant's event is stored");
    assert_eq!(w.ingest_one(second).await, stored(&[]), "the second tenant's event has nothing to do with it");
    assert_eq!(w.fetch(Key::EventEverywhere(event_id("evt_1"))).await.len(), 2);
}

pub(super) async fn outdated_subscriptions_store_nothing(w: World) {
    let (tenant, destination) = w.acme().await;
    let item = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    w.destination(&tenant, "des_2").await;
    assert_eq!(w.ingest_one(item).await, IngestOutcome::Outdated, "a destination was created after the matching");
    assert!(!w.has_event(&tenant, "evt_1").await, "nothing is written");
    let mut item = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    item.subscriptions += 1;
    assert_eq!(w.ingest_one(item.clone()).await, IngestOutcome::Outdated, "a number never reached does not count");
    item.subscriptions -= 1;
    assert_eq!(w.ingest_one(item).await, stored(&[false]), "matched again it is stored; the refusal left no trace");
}

pub(super) async fn a_repeat_is_a_duplicate_whatever_the_subscriptions(w: World) {
    let (tenant, destination) = w.acme().await;
    let item = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    w.ingest_one(item.clone()).await;
    w.destination(&tenant, "des_2").await;
    let outcome = w.ingest_one(item.clone()).await;
    let matched = item.event.matched.clone();
    assert_eq!(outcome, IngestOutcome::Duplicate { matched }, "an id that is taken is told before anything else");
    assert_eq!(w.ingest_one(other_content(&item)).await, IngestOutcome::Conflict, "a conflict as well");
}

pub(super) async fn events_of_a_missing_tenant_are_outdated(w: World) {
    let nobody = w.new_tenant("nobody");
    let event = Arc::new(w.event(&nobody, "evt_1"));
    let item = IngestItem { event, subscriptions: 0, deliveries: Vec::new() };
    assert_eq!(w.ingest_one(item).await, IngestOutcome::Outdated, "there is no such tenant");
    let (tenant, _) = w.acme().await;
    w.delete_tenant(&tenant).await;
    // With the deleted tenant's very numbers.
    let item = w.item(&tenant, w.event(&tenant, "evt_1"), &[]).await;
    assert_eq!(w.ingest_one(item).await, IngestOutcome::Outdated, "the tenant is gone");
    assert_eq!(w.fetch(Key::EventEverywhere(event_id("evt_1"))).await, [], "nothing is written");
}

pub(super) async fn one_bad_item_fails_alone(w: World) {
    let (tenant, destination) = w.acme().await;
    let taken = w.item(&tenant, w.event(&tenant, "evt_0"), &[&destination]).await;
    w.ingest_one(taken.clone()).await;
    let mut outdated = w.item(&tenant, w.event(&tenant, "evt_2"), &[&destination]).await;
    outdated.subscriptions += 1;
    let good = [
        w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await,
        w.item(&tenant, w.event(&tenant, "evt_3"), &[&destination]).await,
    ];
    let [first, last] = good;
    let outcomes = w.ingest(vec![other_content(&taken), first, outdated, last]).await;
    let wanted = [IngestOutcome::Conflict, stored(&[false]), IngestOutcome::Outdated, stored(&[false])];
    assert_eq!(outcomes, wanted, "each item is answered for itself");
    assert_eq!(w.lane(&destination).await.open, 3, "the good ones are stored");
}

pub(super) async fn a_disabled_match_is_stored_as_skipped(w: World) {
    let (tenant, destination) = w.acme().await;
    w.disable(&destination).await;
    w.set(20);
    let item = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    assert!(item.deliveries[0].skipped);
    assert_eq!(w.ingest_one(handed(item)).await, stored(&[false]), "a skipped delivery is not handed out");
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!(found.state, DeliveryState::Skipped, "it is stored as skipped");
    assert_eq!((found.finished_at, found.next_attempt_at), (Some(at(20)), None), "it is finished");
    w.enable(&destination).await;
    assert!(w.claim_all().await.events().is_empty(), "it stays skipped when the destination is enabled");
    assert_eq!(w.lane(&destination).await.open, 0, "it is not open");
}

pub(super) async fn a_hand_off_is_leased(w: World) {
    let (tenant, destination) = w.acme().await;
    let lease = w.lease();
    let item = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    let outcomes = w.ingest_under(lease, vec![handed(item)]).await;
    assert_eq!(outcomes, [stored(&[true])], "the lane allows it, so the delivery is handed out");
    assert_eq!(w.delivery(&destination, "evt_1").await.leased_until, Some(lease.until), "under the lease");
    assert!(w.claim_all().await.events().is_empty(), "nobody else gets it");
    assert_eq!(w.lane(&destination).await.next_due, Some(lease.until), "the lane is due when the lease ends");
    w.set(LEASE);
    assert_eq!(w.claim_all().await.events(), ["evt_1"], "it is due again when the lease has run out");
}

pub(super) async fn what_is_handed_off_can_be_settled(w: World) {
    let (tenant, destination) = w.acme().await;
    let lease = w.lease();
    let item = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    w.ingest_under(lease, vec![handed(item.clone())]).await;
    let held = super::support::Held {
        token: lease.token,
        key: super::support::key(&destination, "evt_1"),
        tenant: tenant.incarnation,
        topic: item.event.topic.clone(),
        trigger: crate::domain::delivery::Trigger::Automatic,
        attempts: 0,
    };
    w.succeed(&held).await;
    assert_eq!(w.delivery(&destination, "evt_1").await.state, DeliveryState::Delivered, "its holder has settled it");
}

pub(super) async fn hand_offs_are_answered_for_each_delivery(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    let third = w.destination(&tenant, "des_3").await;
    w.disable(&second).await;
    let mut item = w.item(&tenant, w.event(&tenant, "evt_1"), &[&first, &second, &third]).await;
    item.deliveries[1].hand_off = true;
    item.deliveries[2].hand_off = true;
    assert_eq!(w.ingest_one(item).await, stored(&[false, false, true]), "in the order of the item's deliveries");
    let taken = w.claim_all().await;
    assert_eq!(taken.claimed.deliveries.len(), 1, "the others wait in the store");
    assert_eq!(taken.only().key.destination, first.incarnation, "what was not asked for is not leased");
}

pub(super) async fn a_held_lane_hands_nothing_off(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    w.hold(&w.claim_all().await.only(), at(100), 0).await;
    w.set(99);
    let item = w.item(&tenant, w.event(&tenant, "evt_2"), &[&destination]).await;
    assert_eq!(w.ingest_one(handed(item)).await, stored(&[false]), "a hold keeps new deliveries in the store");
    w.set(100);
    let item = w.item(&tenant, w.event(&tenant, "evt_3"), &[&destination]).await;
    assert_eq!(w.ingest_one(handed(item)).await, stored(&[true]), "until it ends");
}

pub(super) async fn a_lane_with_strikes_hands_nothing_off(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    w.hold(&w.claim_all().await.only(), at(100), 1).await;
    w.set(200);
    let item = w.item(&tenant, w.event(&tenant, "evt_2"), &[&destination]).await;
    assert_eq!(w.ingest_one(handed(item)).await, stored(&[false]), "the hold is over, but a probe comes first");
    let held = w.claim_all().await.only();
    let mut good = w.attempted(&held, true, None);
    good.lane = Some(LaneChange::Clear);
    w.settled(good).await;
    let item = w.item(&tenant, w.event(&tenant, "evt_3"), &[&destination]).await;
    assert_eq!(w.ingest_one(handed(item)).await, stored(&[true]), "after a success everything is as before");
}

pub(super) async fn a_released_hand_off_is_due_at_once(w: World) {
    let (tenant, destination) = w.acme().await;
    let lease = w.lease();
    let item = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    w.ingest_under(lease, vec![handed(item)]).await;
    let mut released = super::support::item(
        &super::support::Held {
            token: lease.token,
            key: super::support::key(&destination, "evt_1"),
            tenant: tenant.incarnation,
            topic: Arc::from("order.created"),
            trigger: crate::domain::delivery::Trigger::Automatic,
            attempts: 0,
        },
        SettleAction::Released,
    );
    released.lane = None;
    w.settled(released).await;
    assert_eq!(w.claim_all().await.events(), ["evt_1"], "what was dropped untried is claimed by whoever comes");
}
