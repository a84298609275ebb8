//! The lives of tenants, destinations and deliveries: deleting, disabling, requests, and the sweep after.

use super::support::{Held, LEASE, World, at, event_id, item, key};
use crate::domain::delivery::{CancelReason, DeliveryState, Trigger};
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, LaneRecord, RequestRefusal};
use crate::ports::store::{ApplyOutcome, Filter, Key, List, Refusal, SettleAction, SettleOutcome, Write};

fn request(to: &DestinationRecord, event: &str) -> Write {
    Write::RequestAttempt { key: key(to, event), trigger: Trigger::Manual }
}

fn cancel(to: &DestinationRecord, event: &str) -> Write {
    Write::CancelDelivery { key: key(to, event) }
}

/// An event that is delivered, one that failed, one that retries, one that is pending.
async fn four_states(w: &World) -> (Tenant, DestinationRecord) {
    let (tenant, destination) = w.acme().await;
    for event in ["delivered", "failed", "retrying"] {
        w.publish(&tenant, event, &[&destination]).await;
        let held = w.claim_all().await.only();
        match event {
            "delivered" => w.succeed(&held).await,
            "failed" => w.fail(&held, None).await,
            _ => w.fail(&held, Some(at(1_000_000))).await,
        }
        w.advance(1);
    }
    w.publish(&tenant, "pending", &[&destination]).await;
    (tenant, destination)
}

async fn states(w: &World, destination: &DestinationRecord) -> Vec<DeliveryState> {
    let mut states = Vec::new();
    for event in ["delivered", "failed", "retrying", "pending"] {
        states.push(w.delivery(destination, event).await.state);
    }
    states
}

/// Checks that what was open is shown as `ended` at once, that it is so after the sweep, and that nothing
/// is sent.
async fn ends_as(w: &World, destination: &DestinationRecord, ended: DeliveryState) {
    let since = w.now();
    let wanted = [DeliveryState::Delivered, DeliveryState::Failed, ended, ended];
    w.advance(7);
    assert_eq!(states(w, destination).await, wanted, "what was open has ended at once, all else stays");
    let shown = w.delivery(destination, "retrying").await;
    assert_eq!((shown.finished_at, shown.next_attempt_at), (Some(since), None), "it ended then, nothing is to come");
    w.sweep_all(1).await;
    assert_eq!(states(w, destination).await, wanted, "the sweep writes down what was shown before");
    assert_eq!(w.delivery(destination, "retrying").await, shown, "to the last field");
    w.advance(2_000_000);
    assert!(w.claim_all().await.events().is_empty(), "nothing is sent any more");
    assert_eq!(w.lane(destination).await.open, 0, "nothing is open in its lane");
}

pub(super) async fn disabling_skips_what_is_open(w: World) {
    let (_, destination) = four_states(&w).await;
    w.advance(10);
    w.disable(&destination).await;
    ends_as(&w, &destination, DeliveryState::Skipped).await;
}

pub(super) async fn deleting_a_destination_cancels_what_is_open(w: World) {
    let (_, destination) = four_states(&w).await;
    w.advance(10);
    w.delete(&destination).await;
    ends_as(&w, &destination, DeliveryState::Cancelled(CancelReason::DestinationDeleted)).await;
}

pub(super) async fn deleting_a_tenant_cancels_what_is_open(w: World) {
    let (_, destination) = four_states(&w).await;
    w.advance(10);
    w.delete_tenant(&destination_tenant(&w, &destination).await).await;
    ends_as(&w, &destination, DeliveryState::Cancelled(CancelReason::TenantDeleted)).await;
}

async fn destination_tenant(w: &World, destination: &DestinationRecord) -> Tenant {
    w.find_tenant(destination.tenant).await
}

pub(super) async fn enabling_does_not_revive(w: World) {
    let (tenant, destination) = four_states(&w).await;
    w.disable(&destination).await;
    w.enable(&destination).await;
    let wanted = [DeliveryState::Delivered, DeliveryState::Failed, DeliveryState::Skipped, DeliveryState::Skipped];
    assert_eq!(states(&w, &destination).await, wanted, "what was skipped stays skipped");
    w.publish(&tenant, "new", &[&destination]).await;
    assert_eq!(w.claim_all().await.events(), ["new"], "only new events are sent");
    assert_eq!(w.lane(&destination).await.open, 1);
}

pub(super) async fn what_is_disabled_twice_is_skipped_once(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "first", &[&destination]).await;
    w.set(10);
    w.disable(&destination).await;
    w.enable(&destination).await;
    w.publish(&tenant, "second", &[&destination]).await;
    w.set(20);
    w.sweep_all(100).await;
    w.disable(&destination).await;
    let second = w.delivery(&destination, "second").await;
    assert_eq!((second.state, second.finished_at), (DeliveryState::Skipped, Some(at(20))));
    let first = w.delivery(&destination, "first").await;
    assert_eq!((first.state, first.finished_at), (DeliveryState::Skipped, Some(at(10))), "it has ended before");
}

pub(super) async fn a_recreated_tenant_sees_nothing_of_its_earlier_life(w: World) {
    let (first, destination) = four_states(&w).await;
    w.delete_tenant(&first).await;
    let second = w.tenant("acme").await;
    assert_eq!(w.fetch(Key::DestinationsOf(second.incarnation)).await, [], "it has no destinations");
    let own = Filter { tenant: Some(second.incarnation), ..Filter::default() };
    for list in [List::Destinations, List::Events, List::Deliveries, List::Attempts] {
        assert!(w.list(list, own.clone()).await.is_empty(), "{list:?}: its log is empty");
    }
    assert!(!w.has_event(&second, "failed").await, "it does not reach the earlier life's events");
    w.destination(&second, destination.id.as_str()).await;
    w.publish(&second, "failed", &[]).await;
    let own = Filter { tenant: Some(first.incarnation), ..Filter::default() };
    assert_eq!(w.list(List::Events, own).await.len(), 4, "the earlier life's log is as it was");
}

pub(super) async fn a_recreated_destination_inherits_nothing(w: World) {
    let (tenant, first) = four_states(&w).await;
    let held = w.claim_all().await.only();
    w.hold(&held, at(5_000_000), 4).await;
    w.delete(&first).await;
    let second = w.destination(&tenant, first.id.as_str()).await;
    assert_eq!(w.lane(&second).await, LaneRecord::new(second.incarnation), "its lane is new: no hold, no work");
    assert_eq!(w.fetch(Key::Delivery(key(&second, "retrying"))).await, [], "no delivery is its own");
    let own = Filter { destinations: vec![second.incarnation], ..Filter::default() };
    for list in [List::Events, List::Deliveries, List::Attempts] {
        assert!(w.list(list, own.clone()).await.is_empty(), "{list:?}: its log is empty");
    }
    w.set(2_000_000);
    assert!(w.claim_all().await.events().is_empty(), "nothing of the earlier life is sent to it");
}

pub(super) async fn a_lease_of_an_earlier_life_does_not_reach_the_new_one(w: World) {
    let (tenant, first) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&first]).await;
    let held = w.claim_all().await.only();
    w.delete_tenant(&tenant).await;
    let tenant = w.tenant("acme").await;
    let second = w.destination(&tenant, "des_1").await;
    w.publish(&tenant, "evt_1", &[&second]).await;
    w.succeed(&held).await;
    assert_eq!(w.delivery(&first, "evt_1").await.state, DeliveryState::Delivered, "the old delivery is settled");
    assert_eq!(w.delivery(&second, "evt_1").await.state, DeliveryState::Pending, "the new one is untouched");
    let new = Held { token: held.token, key: key(&second, "evt_1"), ..held };
    assert_eq!(w.settle(w.attempted(&new, true, None)).await, SettleOutcome::Stale, "the old token is no use there");
    assert_eq!(w.claim_all().await.only().key.destination, second.incarnation, "it is still to be sent");
}

pub(super) async fn a_request_after_enabling_is_attempted(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    w.disable(&destination).await;
    w.enable(&destination).await;
    w.set(30);
    w.request(&destination, "evt_1").await;
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!((found.state, found.requested), (DeliveryState::Skipped, Some(Trigger::Manual)), "it waits to be tried");
    let lane = w.lane(&destination).await;
    assert_eq!((lane.next_urgent, lane.open), (Some(at(30)), 0), "its lane knows of the request");
    let taken = w.claim_all().await;
    assert_eq!(taken.claimed.deliveries[0].scheduled_at, None, "no automatic attempt comes back");
    w.fail(&taken.only(), None).await;
    w.set(2_000_000);
    assert!(w.claim_all().await.events().is_empty(), "the request was for one attempt");
}

pub(super) async fn requests_need_an_enabled_destination(w: World) {
    let (_, destination) = four_states(&w).await;
    let refusal = Refusal::Delivery(RequestRefusal::DestinationDisabled);
    w.disable(&destination).await;
    assert_eq!(w.refused(request(&destination, "failed")).await, refusal, "it is disabled");
    w.enable(&destination).await;
    w.delete(&destination).await;
    assert_eq!(w.refused(request(&destination, "failed")).await, refusal, "it is deleted");
}

pub(super) async fn a_request_waits_its_turn(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let held = w.claim_all().await.only();
    let refusal = Refusal::Delivery(RequestRefusal::Leased);
    assert_eq!(w.refused(request(&destination, "evt_1")).await, refusal, "it is being sent right now");
    w.set(LEASE);
    w.request(&destination, "evt_1").await;
    let refusal = Refusal::Delivery(RequestRefusal::AlreadyRequested);
    assert_eq!(w.refused(request(&destination, "evt_1")).await, refusal, "an attempt is requested already");
    assert_eq!(w.settle(w.attempted(&held, true, None)).await, SettleOutcome::Stale, "the lapsed lease is over");
}

pub(super) async fn a_refused_request_undoes_its_batch(w: World) {
    let (_, destination) = four_states(&w).await;
    let batch =
        vec![request(&destination, "failed"), cancel(&destination, "pending"), cancel(&destination, "delivered")];
    let refusal = Refusal::Delivery(RequestRefusal::NotOpen);
    assert_eq!(w.apply(batch).await, ApplyOutcome::Refused { index: 2, refusal }, "the last one is not open");
    assert_eq!(w.delivery(&destination, "failed").await.requested, None, "nothing is requested");
    assert_eq!(w.delivery(&destination, "pending").await.state, DeliveryState::Pending, "nothing is cancelled");
    assert_eq!(w.claim_all().await.events(), ["pending"], "the lane is as it was");
}

pub(super) async fn what_is_cancelled_is_not_sent(w: World) {
    let (_, destination) = four_states(&w).await;
    w.set(40);
    w.done(vec![cancel(&destination, "retrying"), cancel(&destination, "pending")]).await;
    for event in ["retrying", "pending"] {
        let found = w.delivery(&destination, event).await;
        assert_eq!(found.state, DeliveryState::Cancelled(CancelReason::User), "somebody has cancelled it");
        assert_eq!((found.finished_at, found.next_attempt_at), (Some(at(40)), None));
    }
    assert_eq!(w.lane(&destination).await.open, 0, "nothing is open");
    w.set(2_000_000);
    let taken = w.claim_all().await;
    assert!(taken.events().is_empty() && taken.claimed.next.is_none(), "nothing is to be sent");
}

pub(super) async fn cancelling_drops_a_request(w: World) {
    let (_, destination) = four_states(&w).await;
    w.done(vec![cancel(&destination, "pending")]).await;
    w.request(&destination, "failed").await;
    w.done(vec![cancel(&destination, "failed")]).await;
    let found = w.delivery(&destination, "failed").await;
    assert_eq!((found.state, found.requested), (DeliveryState::Failed, None), "only the request is dropped");
    assert!(w.claim_all().await.events().is_empty(), "nothing is to be sent");
}

pub(super) async fn what_has_ended_cannot_be_cancelled(w: World) {
    let (_, destination) = four_states(&w).await;
    let refusal = Refusal::Delivery(RequestRefusal::NotOpen);
    for event in ["delivered", "failed"] {
        assert_eq!(w.refused(cancel(&destination, event)).await, refusal, "{event}: nothing is to come");
    }
    w.disable(&destination).await;
    assert_eq!(w.refused(cancel(&destination, "pending")).await, refusal, "the disabling has skipped it");
}

pub(super) async fn cancelling_under_a_lease_waits_for_the_holder(w: World) {
    let (tenant, destination) = w.acme().await;
    for event in ["evt_0", "evt_1", "evt_2"] {
        w.publish(&tenant, event, &[&destination]).await;
        w.advance(1);
    }
    let held = w.claim_all().await.held();
    for event in ["evt_0", "evt_1", "evt_2"] {
        w.done(vec![cancel(&destination, event)]).await;
        let found = w.delivery(&destination, event).await;
        assert_eq!(found.state, DeliveryState::Cancelled(CancelReason::User), "it is shown as cancelled at once");
        assert!(found.leased_until.is_some(), "its attempt is still on its way");
    }
    w.succeed(&held[0]).await;
    assert_eq!(w.delivery(&destination, "evt_0").await.state, DeliveryState::Delivered, "the receiver accepted it");
    w.fail(&held[1], Some(at(500))).await;
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!(found.state, DeliveryState::Cancelled(CancelReason::User), "a failure changes nothing");
    assert_eq!(w.attempts(&destination, "evt_1").await.len(), 1, "the attempt is recorded");
    w.set(LEASE * 2);
    assert!(w.claim_all().await.events().is_empty(), "nothing is tried again, whatever became of its lease");
    assert_eq!(w.claim_all().await.claimed.next, None, "and nothing is to come");
}

pub(super) async fn requests_about_unknown_deliveries_are_missing(w: World) {
    let (_, destination) = w.acme().await;
    let nowhere = DestinationRecord { incarnation: crate::Incarnation::from_i64(1), ..destination.clone() };
    for write in [
        request(&destination, "evt_1"),
        cancel(&destination, "evt_1"),
        request(&nowhere, "evt_1"),
        cancel(&nowhere, "evt_1"),
    ] {
        assert_eq!(w.refused(write).await, Refusal::Missing, "there is no such delivery");
    }
}

pub(super) async fn a_sweep_is_bounded_and_comes_to_an_end(w: World) {
    let (tenant, destination) = w.acme().await;
    let template = w.item(&tenant, w.event(&tenant, "evt_0"), &[&destination]).await;
    let items = (0..25).map(|number| {
        let event = w.event(&tenant, &format!("evt_{number}"));
        crate::store::IngestItem { event: std::sync::Arc::new(event), ..template.clone() }
    });
    w.ingest(items.collect()).await;
    w.disable(&destination).await;
    assert_eq!(w.sweep(0).await.changed, 0, "a sweep of nothing changes nothing");
    let mut changed = 0;
    for _ in 0..10 {
        let swept = w.sweep(10).await;
        changed += swept.changed;
        assert_eq!(swept.more, changed < 25, "it tells whether there is more to do");
        if !swept.more {
            break;
        }
    }
    assert_eq!(changed, 25, "every open delivery is written down once");
    let swept = w.sweep(10).await;
    assert_eq!((swept.changed, swept.more), (0, false), "then there is nothing left");
}

pub(super) async fn a_sweep_leaves_leased_deliveries_to_their_holder(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    w.publish(&tenant, "evt_2", &[&destination]).await;
    let held = w.claim_all().await.held();
    w.disable(&destination).await;
    assert_eq!(w.sweep(10).await.changed, 0, "somebody holds them");
    w.succeed(&held[0]).await;
    w.set(LEASE);
    let swept = w.sweep(10).await;
    assert_eq!((swept.changed, swept.more), (1, false), "nobody holds the other one any more");
    assert_eq!(w.settle(w.attempted(&held[1], true, None)).await, SettleOutcome::Stale, "its holder is too late");
    assert_eq!(w.delivery(&destination, "evt_1").await.leased_until, None);
}

pub(super) async fn a_sweep_leaves_everything_else_alone(w: World) {
    let (tenant, destination) = four_states(&w).await;
    w.request(&destination, "failed").await;
    let before = w.fetch(Key::DeliveriesOf(tenant.incarnation, event_id("failed"))).await;
    let swept = w.sweep(10).await;
    assert_eq!((swept.changed, swept.more), (0, false), "there is nothing to write down");
    assert_eq!(w.fetch(Key::DeliveriesOf(tenant.incarnation, event_id("failed"))).await, before);
    let wanted = [DeliveryState::Delivered, DeliveryState::Failed, DeliveryState::Retrying, DeliveryState::Pending];
    assert_eq!(states(&w, &destination).await, wanted);
}

pub(super) async fn releasing_what_its_destination_has_ended_revives_nothing(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let held = w.claim_all().await.only();
    w.set(9);
    w.disable(&destination).await;
    w.enable(&destination).await;
    w.settled(item(&held, SettleAction::Released)).await;
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!((found.state, found.finished_at), (DeliveryState::Skipped, Some(at(9))), "it was skipped meanwhile");
    assert!(w.claim_all().await.events().is_empty(), "it is not sent");
}

pub(super) async fn a_request_ends_with_the_disabling(w: World) {
    let (_, destination) = four_states(&w).await;
    w.done(vec![cancel(&destination, "pending")]).await;
    w.request(&destination, "failed").await;
    w.disable(&destination).await;
    assert!(w.claim_all().await.events().is_empty(), "nothing is sent to a disabled destination");
    assert_eq!(
        w.delivery(&destination, "failed").await.requested,
        None,
        "what will not be tried is not shown as requested"
    );
    w.enable(&destination).await;
    assert!(w.claim_all().await.events().is_empty(), "the old request does not come back");
    w.request(&destination, "failed").await;
    assert_eq!(w.claim_all().await.events(), ["failed"], "a new one counts");
}
