//! Claiming: what is due, in which order, how much of it, and when to come back.

use std::sync::Arc;
use std::time::Duration;

use super::support::{LEASE, World, at, item, key, put};
use crate::domain::delivery::{DeliveryState, Trigger};
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, Lease};
use crate::ports::store::{Claim, ClaimedDelivery, Expect, SettleAction};
use crate::values::id::Incarnation;

/// Publishes so many events, a millisecond apart; named after `prefix`.
async fn backlog(w: &World, tenant: &Tenant, to: &DestinationRecord, prefix: &str, count: usize) {
    for number in 0..count {
        w.publish(tenant, &format!("{prefix}{number}"), &[to]).await;
        w.advance(1);
    }
}

pub(super) async fn a_claim_tells_all_about_a_delivery(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    w.advance(5);
    w.fail(&w.claim_all().await.only(), Some(at(500))).await;
    w.done(vec![put(&destination, Expect::Any)]).await;
    w.set(600);
    let claim = w.any();
    let until = claim.lease.until;
    let taken = w.claim(claim).await;
    let wanted = ClaimedDelivery {
        key: key(&destination, "evt_1"),
        event: w.find_event(&tenant, "evt_1").await,
        trigger: Trigger::Automatic,
        state: DeliveryState::Retrying,
        attempts: 1,
        automatic_attempts: 1,
        scheduled_at: Some(at(500)),
        destination_revision: w.find_destination(destination.incarnation).await.revision,
    };
    assert_eq!(taken.claimed.deliveries, [wanted], "a claim tells all that is needed to send");
    assert_eq!(
        w.delivery(&destination, "evt_1").await.leased_until,
        Some(until),
        "it is leased until the time asked for"
    );
}

pub(super) async fn the_oldest_due_of_a_lane_comes_first(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 4).await;
    let taken = w.claim_all().await;
    assert_eq!(taken.events(), ["evt_0", "evt_1", "evt_2", "evt_3"], "the oldest comes first");
    for (held, due) in taken.held().iter().zip([300, 100, 400, 200]) {
        w.fail(held, Some(at(due))).await;
    }
    w.set(500);
    assert_eq!(w.claim_all().await.events(), ["evt_1", "evt_3", "evt_0", "evt_2"], "the oldest due comes first");
}

pub(super) async fn requested_ones_of_a_lane_come_first(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 3).await;
    w.request(&destination, "evt_2").await;
    let taken = w.claim_all().await;
    assert_eq!(taken.events(), ["evt_2", "evt_0", "evt_1"], "somebody waits for what was requested");
    let triggers: Vec<Trigger> = taken.claimed.deliveries.iter().map(|found| found.trigger).collect();
    assert_eq!(triggers, [Trigger::Manual, Trigger::Automatic, Trigger::Automatic]);
}

pub(super) async fn what_is_due_exactly_now_is_claimed(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    w.fail(&w.claim_all().await.only(), Some(at(1000))).await;
    w.set(999);
    assert!(w.claim_all().await.events().is_empty(), "a millisecond before it is not due");
    w.set(1000);
    assert_eq!(w.claim_all().await.events(), ["evt_1"], "it is due at its time, not after it");
}

pub(super) async fn equal_due_times_are_all_claimed_once(w: World) {
    let (tenant, destination) = w.acme().await;
    for number in 0..9 {
        w.publish(&tenant, &format!("evt_{number}"), &[&destination]).await;
    }
    let mut found = Vec::new();
    for _ in 0..5 {
        let taken = w.claim(Claim { discover: 2, ..w.any() }).await;
        found.extend(taken.events().iter().map(|&event| event.to_owned()));
    }
    found.sort();
    let wanted: Vec<String> = (0..9).map(|number| format!("evt_{number}")).collect();
    assert_eq!(found, wanted, "deliveries due at the same time are claimed once each");
}

pub(super) async fn the_limit_bounds_the_whole_claim(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    backlog(&w, &tenant, &first, "a", 3).await;
    backlog(&w, &tenant, &second, "b", 3).await;
    let taken = w.claim(Claim { limit: 4, lanes: vec![(first.incarnation, 2)], ..w.any() }).await;
    assert_eq!(taken.events().len(), 4, "the limit counts named and discovered lanes together");
    assert_eq!(w.claim_all().await.events().len(), 2, "the rest is left for the next claim");
}

pub(super) async fn discovery_takes_so_many_from_each_lane(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    backlog(&w, &tenant, &first, "a", 5).await;
    backlog(&w, &tenant, &second, "b", 5).await;
    let taken = w.claim(Claim { discover: 2, ..w.any() }).await;
    assert_eq!(taken.events(), ["a0", "a1", "b0", "b1"], "two of each lane, the lane that was ready first in front");
}

pub(super) async fn named_lanes_come_first_with_limits_of_their_own(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    let third = w.destination(&tenant, "des_3").await;
    backlog(&w, &tenant, &first, "a", 3).await;
    backlog(&w, &tenant, &second, "b", 3).await;
    backlog(&w, &tenant, &third, "c", 3).await;
    let lanes = vec![(third.incarnation, 2), (second.incarnation, 1)];
    let taken = w.claim(Claim { lanes, discover: 3, ..w.any() }).await;
    assert_eq!(taken.events(), ["c0", "c1", "b0", "a0", "a1", "a2"], "a named lane is not discovered once more");
    let visited: Vec<(Incarnation, bool)> =
        taken.claimed.lanes.iter().map(|found| (found.lane.destination, found.more)).collect();
    let wanted = [(third.incarnation, true), (second.incarnation, true), (first.incarnation, false)];
    assert_eq!(visited, wanted, "each visited lane tells whether due work is left");
}

pub(super) async fn without_discovery_only_named_lanes_are_visited(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    backlog(&w, &tenant, &first, "a", 2).await;
    backlog(&w, &tenant, &second, "b", 2).await;
    let taken = w.claim(Claim { lanes: vec![(second.incarnation, 9)], discover: 0, ..w.any() }).await;
    assert_eq!(taken.events(), ["b0", "b1"], "the other lane is left alone");
    let taken = w.claim(Claim { discover: 0, ..w.any() }).await;
    assert!(taken.events().is_empty() && taken.claimed.lanes.is_empty(), "nothing named, nothing visited");
    assert_eq!(taken.claimed.next, Some(at(0)), "but the earliest lane is told, though its time has come");
}

pub(super) async fn lanes_are_discovered_in_the_order_they_became_ready(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    let third = w.destination(&tenant, "des_3").await;
    for (event, to) in [("c", &third), ("a", &first), ("b", &second), ("a2", &first)] {
        w.publish(&tenant, event, &[to]).await;
        w.advance(1);
    }
    assert_eq!(
        w.claim(Claim { discover: 1, ..w.any() }).await.events(),
        ["c", "a", "b"],
        "the longest ready comes first"
    );
}

pub(super) async fn a_lane_with_work_left_rests(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 5).await;
    w.set(100);
    let some = |w: &World| Claim { discover: 2, rest: Duration::from_millis(50), ..w.any() };
    let taken = w.claim(some(&w)).await;
    assert_eq!(taken.events().len(), 2);
    assert_eq!(taken.claimed.lanes[0].lane.rest_until, Some(at(150)), "the lane rests");
    assert_eq!(taken.claimed.next, Some(at(150)), "it is ready when it has rested");
    w.set(149);
    assert!(w.claim(some(&w)).await.events().is_empty(), "discovery passes over it meanwhile");
    w.set(150);
    assert_eq!(w.claim(some(&w)).await.events(), ["evt_2", "evt_3"], "then it is discovered again");
}

pub(super) async fn a_resting_lane_can_be_named(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 3).await;
    w.claim(Claim { discover: 1, rest: Duration::from_secs(1), ..w.any() }).await;
    let taken = w.claim(Claim { lanes: vec![(destination.incarnation, 1)], ..w.any() }).await;
    assert_eq!(taken.events(), ["evt_1"], "its process comes back for it by name");
}

pub(super) async fn an_emptied_lane_does_not_rest(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 2).await;
    let rest = Duration::from_secs(1);
    w.claim(Claim { discover: 1, rest, ..w.any() }).await;
    let lanes = vec![(destination.incarnation, 9)];
    let taken = w.claim(Claim { lanes, discover: 0, rest, ..w.any() }).await;
    assert!(!taken.claimed.lanes[0].more, "nothing due is left");
    w.publish(&tenant, "new", &[&destination]).await;
    assert_eq!(w.claim_all().await.events(), ["new"], "only a lane that was left with due work rests");
}

pub(super) async fn saturated_lanes_are_passed_over_and_rest(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    backlog(&w, &tenant, &first, "a", 2).await;
    backlog(&w, &tenant, &second, "b", 2).await;
    let rest = Duration::from_millis(500);
    let saturated = vec![first.incarnation];
    let taken = w.claim(Claim { saturated, rest, ..w.any() }).await;
    assert_eq!(taken.events(), ["b0", "b1"], "nothing is taken from a lane without room");
    assert_eq!(taken.claimed.lanes.len(), 1, "it does not count as visited");
    assert_eq!(w.lane(&first).await.rest_until, Some(w.now().after(rest)), "it rests");
    assert!(w.claim_all().await.events().is_empty(), "so nobody discovers it meanwhile");
    w.advance(500);
    assert_eq!(w.claim_all().await.events(), ["a0", "a1"], "then it is discovered again");
}

pub(super) async fn a_lane_for_urgent_work_only_gives_nothing_else(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "a", 3).await;
    w.request(&destination, "a2").await;
    let (rest, urgent_only) = (Duration::from_millis(500), vec![destination.incarnation]);
    let taken = w.claim(Claim { urgent_only: urgent_only.clone(), rest, ..w.any() }).await;
    assert_eq!(taken.events(), ["a2"], "what somebody waits for is taken");
    assert!(taken.claimed.lanes[0].more, "what is due besides is left behind");
    assert_eq!(w.lane(&destination).await.rest_until, Some(w.now().after(rest)), "and lets the lane rest");
    let lanes = vec![(destination.incarnation, 9)];
    assert!(w.claim(Claim { urgent_only, lanes, ..w.any() }).await.events().is_empty(), "also when it is named");
    let lanes = vec![(destination.incarnation, 9)];
    assert_eq!(w.claim(Claim { lanes, ..w.any() }).await.events(), ["a0", "a1"], "nothing was lost");
}

pub(super) async fn a_held_lane_gives_nothing_until_the_hold_ends(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 2).await;
    let held = w.claim(Claim { limit: 1, ..w.any() }).await.only();
    w.hold(&held, at(1000), 0).await;
    w.set(999);
    let named = |w: &World| Claim { lanes: vec![(destination.incarnation, 9)], ..w.any() };
    let taken = w.claim(named(&w)).await;
    assert!(taken.events().is_empty(), "a hold stands, also for a claim that names the lane");
    assert!(taken.claimed.lanes.iter().all(|found| !found.more), "what is held may not be claimed");
    assert_eq!(taken.claimed.next, Some(at(1000)), "it is ready when the hold ends");
    w.set(1000);
    assert_eq!(w.claim_all().await.events(), ["evt_1", "evt_0"], "at its end the hold is over");
}

pub(super) async fn a_requested_attempt_passes_a_hold(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 2).await;
    let held = w.claim(Claim { limit: 1, ..w.any() }).await.only();
    w.hold(&held, at(1000), 2).await;
    w.request(&destination, "evt_1").await;
    assert_eq!(w.lane(&destination).await.ready_at(), Some(w.now()), "the lane is ready for the request");
    let taken = w.claim_all().await;
    assert_eq!(taken.events(), ["evt_1"], "a requested attempt is claimed in spite of the hold, nothing else is");
    assert_eq!(taken.only().trigger, Trigger::Manual);
}

pub(super) async fn a_lane_with_strikes_gives_one_probe(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 4).await;
    let held = w.claim(Claim { limit: 1, ..w.any() }).await.only();
    w.hold(&held, at(100), 3).await;
    w.set(100);
    assert_eq!(w.claim_all().await.events(), ["evt_1"], "after a hold one delivery is claimed, to probe");
}

pub(super) async fn leased_deliveries_are_not_claimed_again(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 3).await;
    assert_eq!(w.claim_all().await.events().len(), 3);
    w.advance(LEASE - 100);
    let taken = w.claim(Claim { lanes: vec![(destination.incarnation, 9)], ..w.any() }).await;
    assert!(taken.events().is_empty(), "somebody holds them");
}

pub(super) async fn an_expired_lease_is_claimed_again(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let lease = Lease { until: at(5_000), ..w.lease() };
    w.claim(Claim { lease, ..w.any() }).await;
    w.set(4_999);
    assert!(w.claim_all().await.events().is_empty(), "the lease lasts until its end");
    w.set(5_000);
    let taken = w.claim_all().await;
    assert_eq!(taken.events(), ["evt_1"], "at the end of the lease it is due again");
    assert_eq!(taken.claimed.deliveries[0].attempts, 0, "no attempt is known of");
    assert_eq!(taken.claimed.deliveries[0].scheduled_at, Some(at(0)), "it is scheduled as it was");
}

pub(super) async fn next_tells_when_to_come_back(w: World) {
    let (tenant, first) = w.acme().await;
    let second = w.destination(&tenant, "des_2").await;
    assert_eq!(w.claim_all().await.claimed.next, None, "there is nothing to come back for");
    w.publish(&tenant, "evt_1", &[&first, &second]).await;
    let lease = Lease { until: at(10_000), ..w.lease() };
    let taken = w.claim(Claim { lease, ..w.any() }).await;
    assert_eq!(taken.claimed.next, Some(at(10_000)), "the leases end then");
    let held = taken.held();
    w.fail(&held[0], Some(at(3_000))).await;
    assert_eq!(w.claim_all().await.claimed.next, Some(at(3_000)), "a retry is due before");
    w.succeed(&held[1]).await;
    w.set(3_000);
    let held = w.claim_all().await.only();
    w.succeed(&held).await;
    assert_eq!(w.claim_all().await.claimed.next, None, "all is done");
}

pub(super) async fn the_end_of_a_hold_is_told(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 2).await;
    let held = w.claim(Claim { limit: 1, ..w.any() }).await.only();
    w.hold(&held, at(700), 1).await;
    assert_eq!(w.claim_all().await.claimed.next, Some(at(700)), "the lane is ready when its hold ends");
    assert_eq!(w.lane(&destination).await.next_due, Some(at(1)), "though its work is due already");
}

pub(super) async fn disabled_destinations_give_nothing(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 2).await;
    w.disable(&destination).await;
    let taken = w.claim(Claim { lanes: vec![(destination.incarnation, 9)], ..w.any() }).await;
    assert!(taken.events().is_empty() && taken.claimed.lanes.is_empty(), "nothing is sent to it");
    assert_eq!(taken.claimed.next, None, "and nothing is to come");
    assert_eq!(w.lane(&destination).await.open, 0, "none of its deliveries is open");
}

pub(super) async fn deleted_destinations_give_nothing(w: World) {
    let (tenant, first) = w.acme().await;
    backlog(&w, &tenant, &first, "a", 2).await;
    w.delete(&first).await;
    let second = w.destination(&tenant, "des_2").await;
    backlog(&w, &tenant, &second, "b", 2).await;
    let lanes = vec![(first.incarnation, 9), (second.incarnation, 0)];
    assert_eq!(w.claim(Claim { lanes, discover: 0, ..w.any() }).await.events(), [""; 0], "it is deleted");
    w.delete_tenant(&tenant).await;
    let taken = w.claim_all().await;
    assert!(taken.events().is_empty() && taken.claimed.next.is_none(), "its tenant is deleted");
}

pub(super) async fn an_unknown_lane_is_passed_over(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let lanes = vec![(Incarnation::from_i64(1), 5), (destination.incarnation, 5)];
    assert_eq!(w.claim(Claim { lanes, ..w.any() }).await.events(), ["evt_1"], "there is no such lane");
}

pub(super) async fn a_backlog_does_not_starve_other_lanes(w: World) {
    let (tenant, first) = w.acme().await;
    let mut items = Vec::new();
    for number in 0..200 {
        items.push(w.item(&tenant, w.event(&tenant, &format!("evt_{number}")), &[&first]).await);
    }
    w.ingest(items).await;
    w.set(10);
    let other = w.tenant("other").await;
    let second = w.destination(&other, "des_1").await;
    w.publish(&other, "urgent", &[&second]).await;
    let claim = Claim { limit: 16, discover: 8, rest: Duration::from_millis(100), ..w.any() };
    let taken = w.claim(claim).await;
    assert_eq!(taken.events().len(), 9, "eight of the backlog and the other tenant's one");
    assert_eq!(taken.events()[8], "urgent", "every ready lane has its turn");
}

pub(super) async fn a_visited_lane_is_told_as_it_is_stored(w: World) {
    let (tenant, destination) = w.acme().await;
    backlog(&w, &tenant, &destination, "evt_", 3).await;
    let taken = w.claim(Claim { discover: 2, rest: Duration::from_millis(9), ..w.any() }).await;
    let visited = &taken.claimed.lanes[0];
    assert_eq!(visited.lane, w.lane(&destination).await, "the lane after the claim");
    assert!(visited.more, "one is left");
    assert_eq!((visited.lane.open, visited.lane.next_due), (3, Some(at(2))), "leased ones are open still");
}

pub(super) async fn a_request_lost_with_its_holder_is_claimed_again(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    w.succeed(&w.claim_all().await.only()).await;
    w.request(&destination, "evt_1").await;
    assert_eq!(w.claim_all().await.only().trigger, Trigger::Manual);
    assert!(w.claim_all().await.events().is_empty(), "somebody holds it");
    w.advance(LEASE);
    let held = w.claim_all().await.only();
    assert_eq!(held.trigger, Trigger::Manual, "the request outlives the lease");
    w.settled(item(&held, SettleAction::Released)).await;
    assert_eq!(w.claim_all().await.only().trigger, Trigger::Manual, "and a release");
}

pub(super) async fn a_visited_lane_carries_its_destinations_settings(w: World) {
    let (tenant, destination) = w.acme().await;
    let plain = w.destination(&tenant, "des_2").await;
    let settings = async |life: Incarnation| {
        let lanes = vec![(destination.incarnation, 0), (plain.incarnation, 1)];
        let visited = w.claim(Claim { lanes, discover: 0, ..w.any() }).await.claimed.lanes;
        visited.into_iter().find(|found| found.lane.destination == life).expect("it was visited").settings
    };
    assert_eq!(settings(destination.incarnation).await, destination.settings, "what is its own");
    let mut changed = w.find_destination(destination.incarnation).await;
    changed.settings = super::apply::every_setting();
    w.done(vec![put(&changed, Expect::Any)]).await;
    assert_eq!(settings(destination.incarnation).await, changed.settings, "as it stands now");
    assert_eq!(settings(plain.incarnation).await, plain.settings, "each destination's own");
    changed.settings = Arc::default();
    w.done(vec![put(&changed, Expect::Any)]).await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let taken = w.claim_all().await;
    let visited = taken.claimed.lanes.iter().find(|found| found.lane.destination == destination.incarnation);
    assert_eq!(visited.expect("it was discovered").settings, changed.settings, "nothing is its own any more");
}
