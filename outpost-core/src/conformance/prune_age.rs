//! What is old enough to be pruned: everything about it is over, and has been for long enough.

use super::prune::{left, over};
use super::support::{LEASE, World, at, key};
use crate::domain::delivery::{DeliveryState, Trigger};
use crate::domain::event::Event;
use crate::domain::tenant::Tenant;
use crate::ports::store::{IngestOutcome, Prune, Write};
use crate::values::time::Timestamp;

/// Prunes what was over before this time and answers how many events went and how many were kept.
async fn prune(w: &World, before: Timestamp) -> (u64, u64) {
    let pruned = w.prune_all(w.older(before)).await;
    (pruned.events, pruned.kept)
}

pub(super) async fn what_ended_before_goes_and_what_ended_then_stays(w: World) {
    let (tenant, destination) = w.acme().await;
    let names = ["early", "sharp", "late"];
    for (name, end) in names.into_iter().zip([99, 100, 101]) {
        w.set(0);
        w.publish(&tenant, name, &[&destination]).await;
        let held = w.claim_all().await.only();
        w.set(end);
        w.fail(&held, None).await;
    }
    w.set(5000);
    assert_eq!(prune(&w, at(100)).await, (1, 2), "all were stored long before; when they ended counts");
    assert_eq!(left(&w, &tenant, &names).await, ["sharp", "late"], "before does not mean at");
    assert_eq!(prune(&w, at(101)).await, (1, 1));
    assert_eq!(left(&w, &tenant, &names).await, ["late"]);
    assert_eq!(prune(&w, Timestamp::MIN).await.0, 0);
    assert_eq!(prune(&w, at(102)).await, (1, 0));
}

pub(super) async fn what_was_never_delivered_goes_by_when_it_was_stored(w: World) {
    let tenant = w.tenant("acme").await;
    let publish = async |name: &str, own: Timestamp| {
        let event = Event { time: own, ..w.event(&tenant, name) };
        let outcome = w.ingest_one(w.item(&tenant, event, &[]).await).await;
        assert!(matches!(outcome, IngestOutcome::Stored { .. }));
    };
    let names = ["before", "future", "then", "past"];
    w.set(99);
    publish("before", at(99)).await;
    publish("future", Timestamp::MAX).await;
    w.set(100);
    publish("then", at(100)).await;
    publish("past", Timestamp::MIN).await;
    w.set(5000);
    prune(&w, at(100)).await;
    assert_eq!(left(&w, &tenant, &names).await, ["then", "past"], "the time that an event bears does not count");
    prune(&w, at(101)).await;
    assert_eq!(left(&w, &tenant, &names).await, [""; 0]);
}

pub(super) async fn what_is_not_over_stays_whatever_its_age(w: World) {
    let (tenant, destination) = w.acme().await;
    over(&w, &tenant, &destination, &["done", "requested", "replayed"]).await;
    for name in ["leased", "retrying"] {
        w.publish(&tenant, name, &[&destination]).await;
        let held = w.claim_all().await.only();
        if name == "retrying" {
            w.fail(&held, Some(at(900_000))).await;
        }
    }
    w.publish(&tenant, "pending", &[&destination]).await;
    w.request(&destination, "requested").await;
    w.done(vec![w.replay(&destination, &["replayed"], &[]).await]).await;
    w.set(LEASE / 2);
    let names = ["requested", "replayed", "leased", "retrying", "pending"];
    assert_eq!(prune(&w, at(LEASE / 2)).await, (1, 5), "one is over");
    assert_eq!(left(&w, &tenant, &names).await, names, "something is still to come of the others");
    w.set(LEASE * 100);
    assert_eq!(prune(&w, Timestamp::MAX).await, (0, 5), "however long it takes, and whoever held it is gone");
    let held = w.claim_all().await.held();
    assert_eq!(held.len(), 5, "they are all sent, untouched");
    for held in &held {
        w.succeed(held).await;
    }
    assert_eq!(prune(&w, Timestamp::MAX).await, (5, 0), "then they are over");
}

pub(super) async fn what_is_held_after_its_end_stays(w: World) {
    let (tenant, destination) = w.acme().await;
    over(&w, &tenant, &destination, &["again"]).await;
    w.publish(&tenant, "cancelled", &[&destination]).await;
    w.request(&destination, "again").await;
    let held = w.claim_all().await.held();
    w.done(vec![Write::CancelDelivery { key: key(&destination, "cancelled") }]).await;
    w.set(1000);
    assert_eq!(prune(&w, at(1000)).await, (0, 2), "an attempt at each is on its way");
    for held in &held {
        w.succeed(held).await;
    }
    w.set(1001);
    assert_eq!(prune(&w, at(1001)).await, (2, 0), "it has ended");
}

pub(super) async fn a_later_attempt_makes_an_event_younger(w: World) {
    let (tenant, destination) = w.acme().await;
    over(&w, &tenant, &destination, &["left", "failed", "succeeded"]).await;
    w.set(700);
    for (name, success) in [("failed", false), ("succeeded", true)] {
        w.request(&destination, name).await;
        let held = w.claim_all().await.only();
        if success { w.succeed(&held).await } else { w.fail(&held, None).await }
    }
    let names = ["left", "failed", "succeeded"];
    w.set(5000);
    assert_eq!(prune(&w, at(700)).await, (1, 2));
    assert_eq!(left(&w, &tenant, &names).await, ["failed", "succeeded"], "somebody has tried them again");
    assert_eq!(w.attempts(&destination, "failed").await.len(), 3, "all that was tried is there");
    assert_eq!(prune(&w, at(701)).await, (2, 0));
}

pub(super) async fn a_replayed_event_is_as_young_as_its_replay(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    over(&w, &tenant, &first, &["evt_1"]).await;
    w.set(700);
    w.done(vec![w.replay(&second, &[], &["evt_1"]).await]).await;
    assert_eq!(prune(&w, at(800)).await, (0, 1), "its new delivery is open");
    w.succeed(&w.claim_all().await.only()).await;
    assert_eq!(prune(&w, at(700)).await, (0, 1), "it has only just ended");
    assert_eq!(prune(&w, at(701)).await, (1, 0));
}

pub(super) async fn every_delivery_of_an_event_must_be_over(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    w.publish(&tenant, "evt_1", &[&first, &second]).await;
    let held = w.claim_all().await.held();
    w.succeed(&held[0]).await;
    w.set(300);
    assert_eq!(prune(&w, at(300)).await, (0, 1), "one is still on its way");
    w.fail(&held[1], None).await;
    w.set(5000);
    assert_eq!(prune(&w, at(300)).await, (0, 1), "one has ended later");
    for destination in [&first, &second] {
        assert_eq!(w.attempts(destination, "evt_1").await.len(), 1, "nothing of it has gone before");
    }
    assert_eq!(prune(&w, at(301)).await, (1, 0));
}

pub(super) async fn what_a_disabling_ended_stays_until_it_is_swept(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "skipped", &[&destination]).await;
    w.publish(&tenant, "held", &[&destination]).await;
    w.set(10);
    let lanes = vec![(destination.incarnation, 2)];
    let held = w.claim(crate::store::Claim { lanes, discover: 0, ..w.any() }).await.held();
    w.settled(super::support::item(&held[0], crate::store::SettleAction::Released)).await;
    w.disable(&destination).await;
    assert_eq!(w.delivery(&destination, "skipped").await.state, DeliveryState::Skipped, "it is shown as ended");
    w.set(1000);
    assert_eq!(prune(&w, at(1000)).await, (0, 2), "it is written as open");
    w.sweep_all(10).await;
    assert_eq!(prune(&w, at(10)).await, (0, 2), "it ended with the disabling, not when it was stored");
    assert_eq!(prune(&w, at(11)).await, (1, 1), "what is swept is over; the other one is leased");
    w.set(LEASE * 2);
    w.sweep_all(10).await;
    assert_eq!(prune(&w, at(11)).await, (1, 0), "nobody holds it any more");
    assert_eq!(left(&w, &tenant, &["skipped", "held"]).await, [""; 0]);
}

pub(super) async fn a_request_that_its_destination_ended_keeps_nothing(w: World) {
    let (tenant, disabled) = w.acme().await;
    let again = w.destination(&tenant, "des_2").await;
    let deleted = w.destination(&tenant, "des_3").await;
    let other = w.tenant("other").await;
    let with_tenant = w.destination(&other, "des_1").await;
    over(&w, &tenant, &disabled, &["manual", "replayed"]).await;
    over(&w, &tenant, &again, &["again"]).await;
    over(&w, &tenant, &deleted, &["deleted"]).await;
    over(&w, &other, &with_tenant, &["with_tenant"]).await;
    w.set(100);
    w.done(vec![w.replay(&disabled, &["replayed"], &[]).await]).await;
    let requested = [(&disabled, "manual"), (&again, "again"), (&deleted, "deleted"), (&with_tenant, "with_tenant")];
    for (destination, name) in requested {
        w.request(destination, name).await;
    }
    w.set(200);
    w.disable(&disabled).await;
    w.disable(&again).await;
    w.enable(&again).await;
    w.delete(&deleted).await;
    w.delete_tenant(&other).await;
    w.set(300);
    w.sweep_all(2).await;
    for (destination, name) in [&requested[..], &[(&disabled, "replayed")]].concat() {
        let found = w.delivery(destination, name).await;
        let shown = (found.state, found.requested, found.attempts);
        assert_eq!(shown, (DeliveryState::Delivered, None, 2), "{name}: nothing is to come, and it stays what it was");
    }
    let taken = w.claim_all().await;
    assert!(taken.events().is_empty() && taken.claimed.next.is_none(), "nothing is left to be done");
    assert_eq!(prune(&w, at(1)).await, (5, 0), "they were over long before, and nobody waits for anything");
    assert!(!w.sweep(10).await.more);
}

pub(super) async fn a_held_request_that_its_destination_ended_stays_with_its_holder(w: World) {
    let (tenant, destination) = w.acme().await;
    over(&w, &tenant, &destination, &["returned", "released", "lost"]).await;
    for name in ["returned", "released", "lost"] {
        w.request(&destination, name).await;
    }
    let held = w.claim_all().await.held();
    let of = |name: &str| held.iter().find(|held| held.key.event.as_str() == name).expect("it is held");
    w.disable(&destination).await;
    w.set(1000);
    assert_eq!(w.sweep(10).await.changed, 0, "somebody is sending them");
    assert_eq!(prune(&w, at(1000)).await, (0, 3));
    w.succeed(of("returned")).await;
    w.settled(super::support::item(of("released"), crate::store::SettleAction::Released)).await;
    w.sweep_all(10).await;
    assert_eq!(w.attempts(&destination, "returned").await.len(), 3, "what was on its way counts");
    w.set(LEASE * 2);
    w.sweep_all(10).await;
    let names = ["returned", "released", "lost"];
    assert_eq!(prune(&w, at(1000)).await, (2, 1));
    assert_eq!(left(&w, &tenant, &names).await, ["returned"], "it was tried again later");
    assert_eq!(prune(&w, at(1001)).await, (1, 0));
}

pub(super) async fn what_is_skipped_from_the_start_is_over(w: World) {
    let (tenant, destination) = w.acme().await;
    w.disable(&destination).await;
    w.set(40);
    w.publish(&tenant, "evt_1", &[&destination]).await;
    assert_eq!(prune(&w, at(40)).await.0, 0, "it was stored then");
    assert_eq!(prune(&w, at(41)).await, (1, 0), "and nothing is to come of it");
}

pub(super) async fn a_test_of_a_delivery_makes_it_younger_too(w: World) {
    let (tenant, destination): (Tenant, _) = w.acme().await;
    over(&w, &tenant, &destination, &["evt_1"]).await;
    w.set(700);
    w.done(vec![Write::RequestAttempt { key: key(&destination, "evt_1"), trigger: Trigger::Test }]).await;
    w.succeed(&w.claim_all().await.only()).await;
    let own = |before| Prune { tenant: Some(tenant.incarnation), ..w.older(before) };
    assert_eq!(w.prune_all(own(at(700))).await.events, 0, "its attempts stay together");
    assert_eq!(w.prune_all(own(at(701))).await.attempts, 3);
}
