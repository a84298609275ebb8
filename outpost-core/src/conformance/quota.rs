//! What a tenant has stored, and how much it may.

use std::sync::Arc;

use bytes::Bytes;

use super::sharing::together;
use super::support::{World, at, item};
use crate::domain::attempt::Attempt;
use crate::domain::delivery::DeliveryState;
use crate::domain::event::{Event, Fingerprint};
use crate::domain::tenant::Tenant;
use crate::engine::record::DestinationRecord;
use crate::ports::store::{
    ApplyOutcome, Ingest, IngestItem, IngestOutcome, Quota, SettleAction, SettleItem, SettleOutcome, Usage, Write,
};

fn open(most: u64) -> Quota {
    Quota { open: Some(most), bytes: None }
}

fn bytes(most: u64) -> Quota {
    Quota { open: None, bytes: Some(most) }
}

/// An item with so many bytes of payload.
async fn sized(w: &World, tenant: &Tenant, id: &str, size: usize, to: &[&DestinationRecord]) -> IngestItem {
    w.item(tenant, Event { data: Bytes::from(vec![b'x'; size]), ..w.event(tenant, id) }, to).await
}

async fn ingest(w: &World, quota: Quota, items: Vec<IngestItem>) -> Vec<IngestOutcome> {
    w.ingest_within(quota, w.lease(), items).await
}

fn stored(deliveries: usize) -> IngestOutcome {
    IngestOutcome::Stored { leased: vec![false; deliveries] }
}

fn over(events: u64, bytes: u64, open: u64) -> IngestOutcome {
    IngestOutcome::OverQuota { usage: Usage { events, bytes, open } }
}

pub(super) async fn events_bytes_and_open_deliveries_are_counted(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    let other = w.tenant("other").await;
    assert_eq!(w.usage(&tenant).await, Usage::default(), "a new tenant has stored nothing");
    let items = vec![
        sized(&w, &tenant, "evt_1", 100, &[&first, &second]).await,
        sized(&w, &tenant, "evt_2", 23, &[&second]).await,
        sized(&w, &tenant, "evt_3", 0, &[]).await,
        sized(&w, &tenant, "evt_1", 100, &[&first]).await,
        sized(&w, &other, "evt_1", 7, &[]).await,
    ];
    ingest(&w, Quota::default(), items).await;
    assert_eq!(w.usage(&tenant).await, Usage { events: 3, bytes: 123, open: 3 }, "each once, a repeat not at all");
    assert_eq!(w.usage(&other).await, Usage { events: 1, bytes: 7, open: 0 }, "each tenant for itself");
    let follow_up = sized(&w, &tenant, "evt_4", 1000, &[&first]).await;
    w.apply_with(Vec::new(), vec![follow_up]).await;
    assert_eq!(w.usage(&tenant).await, Usage { events: 4, bytes: 1123, open: 4 }, "follow-ups are stored as well");
}

pub(super) async fn answers_bodies_are_counted(w: World) {
    let (tenant, destination) = w.acme().await;
    w.ingest_one(sized(&w, &tenant, "evt_1", 10, &[&destination]).await).await;
    w.ingest_one(sized(&w, &tenant, "evt_2", 10, &[&destination]).await).await;
    let held = w.claim_all().await.held();
    let mut first = w.attempt(&held[0], false);
    first.response.as_mut().expect("an answer").body = Bytes::from(vec![0xff; 500]);
    let second = Attempt { response: None, ..w.attempt(&held[1], false) };
    let mut items = Vec::new();
    for (held, attempt) in held.iter().zip([first, second]) {
        items.push(item(held, SettleAction::Attempted { attempt: Arc::new(attempt), next: None }));
    }
    let stale = items[0].clone();
    items.push(stale);
    w.settle_all(items).await;
    assert_eq!(w.usage(&tenant).await.bytes, 520, "two payloads and the one body that was kept, once");
}

pub(super) async fn open_falls_as_deliveries_end(w: World) {
    let (tenant, destination) = w.acme().await;
    let held = w.held(&tenant, &destination, 5).await;
    let open = async || w.usage(&tenant).await.open;
    assert_eq!(open().await, 5);
    w.fail(&held[0], Some(at(900))).await;
    assert_eq!(open().await, 5, "what is tried again is open");
    w.succeed(&held[1]).await;
    w.fail(&held[2], None).await;
    assert_eq!(open().await, 3, "what is delivered or given up is not");
    w.settled(item(&held[3], SettleAction::Retired { state: DeliveryState::Failed })).await;
    w.done(vec![Write::CancelDelivery { key: held[4].key.clone() }]).await;
    assert_eq!(open().await, 1, "nor what is retired or cancelled");
    w.set(900);
    w.succeed(&w.claim_all().await.only()).await;
    assert_eq!(open().await, 0);
    w.done(vec![w.replay(&destination, &[held[2].key.event.as_str()], &[]).await]).await;
    assert_eq!(open().await, 0, "a request does not open what has ended");
    w.publish(&tenant, "old", &[]).await;
    w.done(vec![w.replay(&destination, &[], &["old"]).await]).await;
    assert_eq!(open().await, 1, "a delivery that is made for a replay is open");
}

pub(super) async fn open_falls_with_disabling_and_deletion(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    let third = w.destination(&tenant, "des_3").await;
    for event in ["evt_1", "evt_2"] {
        w.publish(&tenant, event, &[&first, &second, &third]).await;
    }
    let before = w.usage(&tenant).await;
    assert_eq!(before.open, 6);
    w.disable(&first).await;
    assert_eq!(w.usage(&tenant).await.open, 4, "what is skipped is open no longer, before any sweep");
    w.enable(&first).await;
    assert_eq!(w.usage(&tenant).await.open, 4, "and stays so");
    w.delete(&second).await;
    assert_eq!(w.usage(&tenant).await.open, 2, "nor is what is cancelled with its destination");
    w.sweep_all(100).await;
    assert_eq!(w.usage(&tenant).await.open, 2, "a sweep counts nothing twice");
    w.delete_tenant(&tenant).await;
    assert_eq!(w.usage(&tenant).await, Usage { open: 0, ..before }, "a deleted tenant's log is stored still");
}

pub(super) async fn too_many_open_deliveries_are_over_quota(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    let both = sized(&w, &tenant, "evt_1", 1, &[&first, &second]).await;
    assert_eq!(ingest(&w, open(1), vec![both.clone()]).await, [over(0, 0, 0)], "it has two, one is allowed");
    assert!(!w.has_event(&tenant, "evt_1").await, "nothing is stored");
    assert_eq!(w.claim_all().await.claimed.next, None, "nor is a delivery");
    assert_eq!(ingest(&w, open(2), vec![both]).await, [stored(2)], "as many as are allowed");
    let one = sized(&w, &tenant, "evt_2", 1, &[&first]).await;
    assert_eq!(ingest(&w, open(2), vec![one.clone()]).await, [over(1, 1, 2)], "what is open already counts");
    w.succeed(&w.claim_all().await.held()[0]).await;
    assert_eq!(ingest(&w, open(2), vec![one]).await, [stored(1)], "what has ended makes room");
}

pub(super) async fn what_opens_nothing_passes_the_open_quota(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    w.disable(&second).await;
    w.publish(&tenant, "evt_1", &[&first]).await;
    let items = vec![sized(&w, &tenant, "evt_2", 1, &[]).await, sized(&w, &tenant, "evt_3", 1, &[&second]).await];
    assert_eq!(ingest(&w, open(0), items).await, [stored(0), stored(1)], "they make nothing worse");
}

pub(super) async fn too_many_bytes_are_over_quota(w: World) {
    let tenant = w.tenant("acme").await;
    let first = sized(&w, &tenant, "evt_1", 100, &[]).await;
    assert_eq!(ingest(&w, bytes(99), vec![first.clone()]).await, [over(0, 0, 0)], "it is too long");
    assert!(!w.has_event(&tenant, "evt_1").await, "nothing is stored");
    assert_eq!(ingest(&w, bytes(100), vec![first]).await, [stored(0)], "as many as are allowed");
    let second = sized(&w, &tenant, "evt_2", 1, &[]).await;
    assert_eq!(ingest(&w, bytes(100), vec![second.clone()]).await, [over(1, 100, 0)], "what is stored counts");
    let empty = sized(&w, &tenant, "evt_3", 0, &[]).await;
    assert_eq!(ingest(&w, bytes(100), vec![empty]).await, [stored(0)], "what takes no room has room");
    assert_eq!(ingest(&w, Quota::default(), vec![second]).await, [stored(0)], "without a quota all is stored");
}

pub(super) async fn earlier_items_of_a_batch_count_into_the_quota(w: World) {
    let (tenant, destination) = w.acme().await;
    let quota = Quota { open: Some(3), bytes: Some(100) };
    let items = vec![
        sized(&w, &tenant, "evt_1", 40, &[&destination]).await,
        sized(&w, &tenant, "evt_2", 61, &[&destination]).await,
        sized(&w, &tenant, "evt_3", 40, &[&destination]).await,
        sized(&w, &tenant, "evt_4", 5, &[&destination]).await,
        sized(&w, &tenant, "evt_5", 5, &[&destination]).await,
        sized(&w, &tenant, "evt_6", 15, &[]).await,
    ];
    let wanted = [stored(1), over(1, 40, 1), stored(1), stored(1), over(3, 85, 3), stored(0)];
    assert_eq!(ingest(&w, quota, items).await, wanted, "each item sees those before it that were stored");
    assert_eq!(w.usage(&tenant).await, Usage { events: 4, bytes: 100, open: 3 });
}

pub(super) async fn repeats_and_the_outdated_are_told_before_the_quota(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let repeat = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    let other = Event { fingerprint: Fingerprint([7; 32]), ..w.event(&tenant, "evt_1") };
    let conflict = w.item(&tenant, other, &[&destination]).await;
    let fresh = w.item(&tenant, w.event(&tenant, "evt_2"), &[&destination]).await;
    let outdated = IngestItem { subscriptions: fresh.subscriptions + 1, ..fresh.clone() };
    let quota = Quota { open: Some(0), bytes: Some(0) };
    let outcomes = ingest(&w, quota, vec![repeat, conflict, outdated, fresh]).await;
    assert!(matches!(outcomes[0], IngestOutcome::Duplicate { .. }), "it is stored already, but {:?}", outcomes[0]);
    assert_eq!(outcomes[1..3], [IngestOutcome::Conflict, IngestOutcome::Outdated], "it could not be stored anyway");
    assert!(matches!(outcomes[3], IngestOutcome::OverQuota { .. }), "it could, but {:?}", outcomes[3]);
}

pub(super) async fn follow_ups_are_stored_over_quota(w: World) {
    let (tenant, destination) = w.acme().await;
    let held = w.held(&tenant, &destination, 1).await.remove(0);
    let fresh = w.item(&tenant, w.event(&tenant, "evt_1"), &[&destination]).await;
    let none = Quota { open: Some(0), bytes: Some(0) };
    let outcomes = ingest(&w, none, vec![fresh]).await;
    assert!(matches!(outcomes[0], IngestOutcome::OverQuota { .. }), "the tenant has too much, but {outcomes:?}");
    let follow_up = w.follow_up(&tenant, "with_writes", &[&destination]).await;
    assert_eq!(w.apply_with(Vec::new(), vec![follow_up]).await, ApplyOutcome::Done(Vec::new()));
    let follow_ups = vec![w.follow_up(&tenant, "with_outcome", &[&destination]).await];
    let outcome = w.settle(SettleItem { follow_ups, ..w.attempted(&held, true, None) }).await;
    assert!(matches!(outcome, SettleOutcome::Done { .. }), "{outcome:?}");
    for event in ["with_writes", "with_outcome"] {
        assert!(w.has_event(&tenant, event).await, "{event}: what the library itself has to say is always stored");
        assert_eq!(w.delivery(&destination, event).await.state, DeliveryState::Pending);
    }
}

pub(super) async fn a_quota_is_each_tenants_own(w: World) {
    let (first, one) = w.acme().await;
    let second = w.tenant("other").await;
    let two = w.destination(&second, "des_1").await;
    let quota = Quota { open: Some(1), bytes: Some(10) };
    let items = vec![
        sized(&w, &first, "evt_1", 10, &[&one]).await,
        sized(&w, &second, "evt_1", 10, &[&two]).await,
        sized(&w, &first, "evt_2", 0, &[&one]).await,
        sized(&w, &second, "evt_2", 1, &[]).await,
    ];
    let wanted = [stored(1), stored(1), over(1, 10, 1), over(1, 10, 1)];
    assert_eq!(ingest(&w, quota, items).await, wanted, "what one tenant has stored is no matter of another's");
    w.delete_tenant(&first).await;
    let again = w.tenant("acme").await;
    let item = sized(&w, &again, "evt_1", 10, &[]).await;
    assert_eq!(ingest(&w, quota, vec![item]).await, [stored(0)], "nor is what its earlier life has");
}

pub(super) async fn parallel_publishes_keep_the_quota(w: World) {
    let (tenant, destination) = w.acme().await;
    let template = w.item(&tenant, w.event(&tenant, "evt"), &[&destination]).await;
    let calls = (0..20).map(|number| {
        let (store, now, lease) = (w.store.clone(), w.now(), w.lease());
        let event = Arc::new(w.event(&tenant, &format!("evt_{number}")));
        let items = vec![IngestItem { event, ..template.clone() }];
        async move { store.ingest(Ingest { now, lease, quota: open(5), items }).await.expect("ingest").remove(0) }
    });
    let outcomes = together(calls.collect()).await;
    let stored = outcomes.iter().filter(|outcome| matches!(outcome, IngestOutcome::Stored { .. })).count();
    let over = outcomes.iter().filter(|outcome| matches!(outcome, IngestOutcome::OverQuota { .. })).count();
    assert_eq!((stored, over), (5, 15), "however many come at once, no more are stored than are allowed");
    assert_eq!(w.usage(&tenant).await.open, 5);
    assert_eq!(w.lane(&destination).await.open, 5);
}
