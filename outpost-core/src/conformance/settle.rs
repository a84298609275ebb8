//! Settling: the fence, and what an outcome does to its lane, its destination and other events. What it does
//! to the delivery itself is in `settle_moves.rs`.

use super::support::{Held, LEASE, World, at, item, key};
use crate::domain::delivery::DeliveryState;
use crate::domain::destination::{Disabled, DisabledBy};
use crate::domain::health::Judgement;
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, LaneChange, LeaseToken};
use crate::ports::store::{SettleAction, SettleItem, SettleOutcome};

/// A tenant, its destination and one delivery that is held.
async fn one_held(w: &World) -> (Tenant, DestinationRecord, Held) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let held = w.claim_all().await.only();
    (tenant, destination, held)
}

pub(super) async fn a_foreign_token_is_stale(w: World) {
    let (tenant, destination, held) = one_held(&w).await;
    let before = w.delivery(&destination, "evt_1").await;
    let subscriptions = w.find_tenant(tenant.incarnation).await.subscriptions;
    let foreign = Held { token: LeaseToken(held.token.0 ^ 1), ..held.clone() };
    let attempted = SettleItem {
        lane: Some(LaneChange::Hold { until: at(1000), strikes: 1 }),
        disable: Some(w.disabled()),
        ..w.attempted(&foreign, true, None)
    };
    let extended = item(&foreign, SettleAction::Extended { until: at(1_000_000) });
    let retired = item(&foreign, SettleAction::Retired { state: DeliveryState::Failed });
    for wrong in [attempted, item(&foreign, SettleAction::Released), extended, retired] {
        assert_eq!(w.settle(wrong).await, SettleOutcome::Stale, "another token holds the delivery");
    }
    assert_eq!(w.delivery(&destination, "evt_1").await, before, "nothing is written of the delivery");
    assert!(w.attempts(&destination, "evt_1").await.is_empty(), "nor an attempt");
    assert_eq!(w.lane(&destination).await.hold_until, None, "nor of the lane");
    assert_eq!(w.find_destination(destination.incarnation).await.disabled, None, "nor of the destination");
    assert_eq!(w.find_tenant(tenant.incarnation).await.subscriptions, subscriptions, "nor of the subscriptions");
    w.succeed(&held).await;
}

pub(super) async fn what_is_settled_is_held_no_longer(w: World) {
    let (_, destination, held) = one_held(&w).await;
    let first = w.attempted(&held, false, Some(at(100)));
    assert!(matches!(w.settle(first.clone()).await, SettleOutcome::Done { .. }));
    assert_eq!(w.settle(first).await, SettleOutcome::Stale, "the same item once more");
    let second = w.attempted(&held, true, None);
    assert_eq!(w.settle(second).await, SettleOutcome::Stale, "its lease ended with its first outcome");
    assert_eq!(w.attempts(&destination, "evt_1").await.len(), 1, "one attempt is recorded");
}

pub(super) async fn an_expired_lease_that_nobody_took_still_settles(w: World) {
    let (_, destination, held) = one_held(&w).await;
    w.advance(LEASE * 3);
    w.succeed(&held).await;
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!(found.state, DeliveryState::Delivered, "work that ran long is recorded rather than repeated");
}

pub(super) async fn a_lease_that_somebody_took_over_is_stale(w: World) {
    let (_, destination, first) = one_held(&w).await;
    w.advance(LEASE);
    let second = w.claim_all().await.only();
    assert_eq!(w.settle(w.attempted(&first, true, None)).await, SettleOutcome::Stale, "somebody else holds it now");
    w.fail(&second, Some(at(LEASE * 9))).await;
    assert_eq!(w.delivery(&destination, "evt_1").await.state, DeliveryState::Retrying, "only the new holder counts");
    assert_eq!(w.attempts(&destination, "evt_1").await.len(), 1);
}

pub(super) async fn an_unknown_or_free_delivery_is_stale(w: World) {
    let (tenant, destination, held) = one_held(&w).await;
    let unknown = Held { key: key(&destination, "evt_9"), ..held.clone() };
    assert_eq!(w.settle(w.attempted(&unknown, true, None)).await, SettleOutcome::Stale, "there is no such delivery");
    w.publish(&tenant, "evt_2", &[&destination]).await;
    let free = Held { key: key(&destination, "evt_2"), ..held };
    assert_eq!(w.settle(w.attempted(&free, true, None)).await, SettleOutcome::Stale, "nobody holds it");
}

pub(super) async fn a_hold_is_written_with_the_outcome(w: World) {
    let (_, destination, held) = one_held(&w).await;
    w.hold(&held, at(1000), 2).await;
    let lane = w.lane(&destination).await;
    assert_eq!((lane.hold_until, lane.strikes), (Some(at(1000)), 2), "the lane is held");
}

pub(super) async fn an_earlier_hold_does_not_shorten_a_later_one(w: World) {
    let (tenant, destination, first) = one_held(&w).await;
    w.publish(&tenant, "evt_2", &[&destination]).await;
    let second = w.claim_all().await.only();
    w.hold(&first, at(1000), 3).await;
    w.hold(&second, at(500), 1).await;
    let lane = w.lane(&destination).await;
    assert_eq!((lane.hold_until, lane.strikes), (Some(at(1000)), 3), "the later hold and the higher count stand");
}

pub(super) async fn a_cleared_lane_is_free(w: World) {
    let (tenant, destination, first) = one_held(&w).await;
    w.publish(&tenant, "evt_2", &[&destination]).await;
    let second = w.claim_all().await.only();
    w.publish(&tenant, "evt_3", &[&destination]).await;
    w.hold(&first, at(1000), 3).await;
    let mut good = w.attempted(&second, true, None);
    good.lane = Some(LaneChange::Clear);
    w.settled(good).await;
    let lane = w.lane(&destination).await;
    assert_eq!((lane.hold_until, lane.strikes), (None, 0), "a success ends the hold and forgets the strikes");
    assert_eq!(w.claim_all().await.events(), ["evt_3"], "what waits is due at once");
}

pub(super) async fn a_lane_change_comes_with_any_action(w: World) {
    let (_, destination, held) = one_held(&w).await;
    let mut released = item(&held, SettleAction::Released);
    released.lane = Some(LaneChange::Hold { until: at(80), strikes: 0 });
    w.settled(released).await;
    assert_eq!(w.lane(&destination).await.ready_at(), Some(at(80)), "the lane is held though nothing was tried");
}

pub(super) async fn disabling_comes_with_the_outcome(w: World) {
    let (tenant, destination, held) = one_held(&w).await;
    w.publish(&tenant, "evt_2", &[&destination]).await;
    let before = w.find_destination(destination.incarnation).await;
    let subscriptions = w.find_tenant(tenant.incarnation).await.subscriptions;
    w.set(40);
    let mut gone = w.attempted(&held, false, None);
    gone.disable = Some(w.disabled());
    w.settled(gone).await;
    let mut wanted = before.clone();
    wanted.disable(w.disabled());
    wanted.revision += 1;
    assert_eq!(w.find_destination(destination.incarnation).await, wanted, "the destination is disabled");
    let found = w.find_tenant(tenant.incarnation).await;
    assert_eq!(found.subscriptions, subscriptions + 1, "the tenant's subscriptions have changed");
    assert_eq!(w.delivery(&destination, "evt_1").await.state, DeliveryState::Failed, "the attempt ends its delivery");
    let other = w.delivery(&destination, "evt_2").await;
    assert_eq!((other.state, other.finished_at), (DeliveryState::Skipped, Some(at(40))), "the others are skipped");
}

pub(super) async fn disabling_what_is_disabled_changes_nothing(w: World) {
    let (tenant, destination, held) = one_held(&w).await;
    w.disable(&destination).await;
    let (before, owner) = (w.find_destination(destination.incarnation).await, w.find_tenant(tenant.incarnation).await);
    w.set(40);
    let mut gone = w.attempted(&held, false, None);
    gone.disable = Some(Disabled { at: at(40), by: DisabledBy::Operator, reason: "late".to_owned(), last_error: None });
    w.settled(gone).await;
    assert_eq!(w.find_destination(destination.incarnation).await, before, "who disabled it first stands");
    assert_eq!(w.find_tenant(tenant.incarnation).await, owner, "the subscriptions have not changed");
}

pub(super) async fn disabling_what_is_deleted_changes_nothing(w: World) {
    let (_, destination, held) = one_held(&w).await;
    w.delete(&destination).await;
    let before = w.find_destination(destination.incarnation).await;
    let mut gone = w.attempted(&held, false, None);
    gone.disable = Some(w.disabled());
    w.settled(gone).await;
    assert_eq!(w.find_destination(destination.incarnation).await, before, "a deleted destination is left as it is");
}

pub(super) async fn follow_ups_are_stored_with_the_outcome(w: World) {
    let (_, _, held) = one_held(&w).await;
    let operator = w.tenant("operator").await;
    let listener = w.destination(&operator, "des_op").await;
    let mut follow_up = w.follow_up(&operator, "evt_op", &[&listener]).await;
    follow_up.deliveries[0].hand_off = true;
    let mut done = w.attempted(&held, true, None);
    done.follow_ups = vec![follow_up.clone()];
    w.settled(done).await;
    assert_eq!(*w.find_event(&operator, "evt_op").await, *follow_up.event, "the event is stored");
    assert_eq!(w.claim_all().await.events(), ["evt_op"], "its delivery waits for a claim: settle hands nothing out");
}

pub(super) async fn an_outdated_follow_up_writes_nothing(w: World) {
    let (_, destination, held) = one_held(&w).await;
    let operator = w.tenant("operator").await;
    let good = w.follow_up(&operator, "evt_good", &[]).await;
    let mut late = w.follow_up(&operator, "evt_late", &[]).await;
    late.subscriptions += 1;
    let before = w.delivery(&destination, "evt_1").await;
    let mut done = w.attempted(&held, true, None);
    done.lane = Some(LaneChange::Hold { until: at(1000), strikes: 1 });
    done.disable = Some(w.disabled());
    done.follow_ups = vec![good, late];
    assert_eq!(w.settle(done.clone()).await, SettleOutcome::Outdated, "a follow-up was matched against the past");
    assert_eq!(w.delivery(&destination, "evt_1").await, before, "then nothing is written of the delivery");
    assert!(w.attempts(&destination, "evt_1").await.is_empty(), "nor an attempt");
    assert_eq!(w.lane(&destination).await.strikes, 0, "nor of the lane");
    assert_eq!(w.find_destination(destination.incarnation).await.disabled, None, "nor of the destination");
    assert!(!w.has_event(&operator, "evt_good").await, "nor another follow-up");
    done.follow_ups.pop();
    w.settled(done).await;
    assert!(w.has_event(&operator, "evt_good").await, "matched again it all happens");
}

pub(super) async fn a_stale_item_stores_no_follow_up(w: World) {
    let (_, _, held) = one_held(&w).await;
    let operator = w.tenant("operator").await;
    let foreign = Held { token: LeaseToken(held.token.0 ^ 2), ..held };
    let mut wrong = w.attempted(&foreign, true, None);
    wrong.follow_ups = vec![w.follow_up(&operator, "evt_op", &[]).await];
    assert_eq!(w.settle(wrong).await, SettleOutcome::Stale);
    assert!(!w.has_event(&operator, "evt_op").await, "what a former holder did not do has no consequences");
}

pub(super) async fn a_repeated_follow_up_is_stored_once(w: World) {
    let (tenant, destination, first) = one_held(&w).await;
    w.publish(&tenant, "evt_2", &[&destination]).await;
    let second = w.claim_all().await.only();
    let operator = w.tenant("operator").await;
    let listener = w.destination(&operator, "des_op").await;
    let follow_up = w.follow_up(&operator, "evt_op", &[&listener]).await;
    let mut items = vec![w.attempted(&first, true, None), w.attempted(&second, true, None)];
    items.iter_mut().for_each(|item| item.follow_ups = vec![follow_up.clone()]);
    for outcome in w.settle_all(items).await {
        assert!(matches!(outcome, SettleOutcome::Done { .. }), "a repeat is no obstacle, but it was {outcome:?}");
    }
    assert_eq!(w.claim_all().await.events(), ["evt_op"], "the event exists once");
}

pub(super) async fn one_stale_item_fails_alone(w: World) {
    let (tenant, destination, first) = one_held(&w).await;
    w.publish(&tenant, "evt_2", &[&destination]).await;
    let second = w.claim_all().await.only();
    let foreign = Held { token: LeaseToken(0), ..second.clone() };
    let items =
        vec![w.attempted(&foreign, true, None), w.attempted(&first, true, None), w.attempted(&second, true, None)];
    let done = SettleOutcome::Done { state: DeliveryState::Delivered, due: None, judgement: Judgement::default() };
    let outcomes = w.settle_all(items).await;
    assert_eq!(outcomes, [SettleOutcome::Stale, done.clone(), done], "each item is answered for itself");
    assert_eq!(w.delivery(&destination, "evt_1").await.state, DeliveryState::Delivered, "the good ones are written");
    assert_eq!(w.delivery(&destination, "evt_2").await.state, DeliveryState::Delivered);
}

pub(super) async fn items_are_settled_in_their_order(w: World) {
    let (tenant, destination, first) = one_held(&w).await;
    w.publish(&tenant, "evt_2", &[&destination]).await;
    let second = w.claim_all().await.only();
    let next = Some(at(1000));
    let mut gone = w.attempted(&second, false, None);
    gone.disable = Some(w.disabled());
    // The first is settled before the disabling, the third item comes too late for its lease.
    let items = vec![w.attempted(&first, false, next), gone, item(&first, SettleAction::Released)];
    let outcomes = w.settle_all(items).await;
    let retrying = SettleOutcome::Done { state: DeliveryState::Retrying, due: next, judgement: Judgement::default() };
    assert_eq!(outcomes[0], retrying, "the destination is still enabled then");
    assert_eq!(outcomes[2], SettleOutcome::Stale, "its lease has ended with the first item");
    assert_eq!(w.delivery(&destination, "evt_1").await.state, DeliveryState::Skipped, "and it is skipped at the end");
}

pub(super) async fn settling_keeps_the_lane_in_step(w: World) {
    let (tenant, destination) = w.acme().await;
    for event in ["evt_0", "evt_1", "evt_2", "evt_3"] {
        w.publish(&tenant, event, &[&destination]).await;
        w.advance(1);
    }
    let held = w.claim_all().await.held();
    w.succeed(&held[0]).await;
    w.fail(&held[1], Some(at(900))).await;
    w.fail(&held[2], None).await;
    let lane = w.lane(&destination).await;
    assert_eq!((lane.open, lane.next_due), (2, Some(at(900))), "one retries and one is leased");
    w.succeed(&held[3]).await;
    w.set(900);
    w.succeed(&w.claim_all().await.only()).await;
    let lane = w.lane(&destination).await;
    assert_eq!((lane.open, lane.next_due, lane.next_urgent), (0, None, None), "all is done");
}
