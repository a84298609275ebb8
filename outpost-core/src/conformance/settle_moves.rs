//! What each action of settle does to a delivery: its state, when it is due, and its counts.

use super::support::{Held, LEASE, World, at, item};
use crate::domain::attempt::Outcome;
use crate::domain::delivery::{CancelReason, DeliveryState, Trigger};
use crate::domain::health::Judgement;
use crate::domain::tenant::Tenant;
use crate::engine::record::DestinationRecord;
use crate::ports::store::{SettleAction, SettleOutcome, Write};
use crate::values::time::Timestamp;

async fn one_held(w: &World) -> (Tenant, DestinationRecord, Held) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "evt_1", &[&destination]).await;
    let held = w.claim_all().await.only();
    (tenant, destination, held)
}

fn done(state: DeliveryState, due: Option<Timestamp>) -> SettleOutcome {
    SettleOutcome::Done { state, due, judgement: Judgement::default() }
}

pub(super) async fn a_success_delivers(w: World) {
    let (_, destination, held) = one_held(&w).await;
    w.set(30);
    let outcome = w.settle(w.attempted(&held, true, None)).await;
    assert_eq!(outcome, done(DeliveryState::Delivered, None), "the receiver has accepted it");
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!((found.state, found.finished_at), (DeliveryState::Delivered, Some(at(30))));
    assert_eq!((found.next_attempt_at, found.leased_until), (None, None), "nothing is to come, nobody holds it");
    assert_eq!(found.last_outcome, Some(Outcome { success: true, code: "200".to_owned() }));
    w.set(LEASE * 2);
    assert!(w.claim_all().await.events().is_empty(), "it is not sent again");
}

pub(super) async fn a_failure_with_budget_is_retried(w: World) {
    let (_, destination, held) = one_held(&w).await;
    w.set(30);
    let outcome = w.settle(w.attempted(&held, false, Some(at(5_030)))).await;
    assert_eq!(outcome, done(DeliveryState::Retrying, Some(at(5_030))), "it is due when the schedule says");
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!((found.state, found.finished_at), (DeliveryState::Retrying, None));
    assert_eq!((found.next_attempt_at, found.leased_until), (Some(at(5_030)), None));
    w.set(5_029);
    assert!(w.claim_all().await.events().is_empty(), "not before");
    w.set(5_030);
    let taken = w.claim_all().await;
    assert_eq!(
        taken.claimed.deliveries[0].state,
        DeliveryState::Retrying,
        "then it is claimed, long before its lease would have ended"
    );
}

pub(super) async fn a_failure_without_budget_fails(w: World) {
    let (_, destination, held) = one_held(&w).await;
    w.set(30);
    let outcome = w.settle(w.attempted(&held, false, None)).await;
    assert_eq!(outcome, done(DeliveryState::Failed, None), "no automatic attempt is left");
    assert_eq!(w.delivery(&destination, "evt_1").await.finished_at, Some(at(30)));
    w.set(LEASE * 2);
    assert!(w.claim_all().await.events().is_empty(), "it is not tried again");
}

pub(super) async fn attempts_are_counted(w: World) {
    let (_, destination, held) = one_held(&w).await;
    w.fail(&held, Some(at(1_000_000))).await;
    w.request(&destination, "evt_1").await;
    let manual = w.claim_all().await.only();
    assert_eq!(manual.attempts, 1, "a claim tells how many attempts there were");
    w.fail(&manual, None).await;
    w.set(1_000_000);
    let taken = w.claim_all().await;
    let claimed = &taken.claimed.deliveries[0];
    assert_eq!((claimed.attempts, claimed.automatic_attempts), (2, 1), "a requested attempt costs no automatic one");
    w.succeed(&taken.only()).await;
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!((found.attempts, found.automatic_attempts), (3, 2));
    let numbers: Vec<(u32, Trigger)> =
        w.attempts(&destination, "evt_1").await.iter().map(|made| (made.number, made.trigger)).collect();
    assert_eq!(numbers, [(1, Trigger::Automatic), (2, Trigger::Manual), (3, Trigger::Automatic)]);
}

pub(super) async fn a_failed_request_leaves_the_schedule_alone(w: World) {
    let (_, destination, held) = one_held(&w).await;
    w.fail(&held, Some(at(9_000))).await;
    w.request(&destination, "evt_1").await;
    let manual = w.claim_all().await.only();
    let outcome = w.settle(w.attempted(&manual, false, None)).await;
    assert_eq!(outcome, done(DeliveryState::Retrying, Some(at(9_000))), "the scheduled attempt is still to come");
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!((found.next_attempt_at, found.requested), (Some(at(9_000)), None), "the request is used up");
}

pub(super) async fn a_request_that_succeeds_delivers_from_any_state(w: World) {
    let (tenant, destination) = w.acme().await;
    for event in ["failed", "cancelled", "skipped", "delivered"] {
        w.publish(&tenant, event, &[&destination]).await;
        let held = w.claim_all().await.only();
        match event {
            "failed" => w.fail(&held, None).await,
            "delivered" => w.succeed(&held).await,
            "cancelled" => {
                w.settled(item(&held, SettleAction::Released)).await;
                w.done(vec![Write::CancelDelivery { key: held.key }]).await;
            }
            _ => {
                w.settled(item(&held, SettleAction::Released)).await;
                w.disable(&destination).await;
                w.enable(&destination).await;
            }
        }
    }
    for event in ["failed", "cancelled", "skipped", "delivered"] {
        w.request(&destination, event).await;
        let held = w.claim_all().await.only();
        assert_eq!((held.trigger, held.key.event.as_str()), (Trigger::Manual, event), "what is requested is claimed");
        let outcome = w.settle(w.attempted(&held, true, None)).await;
        assert_eq!(outcome, done(DeliveryState::Delivered, None), "{event} becomes delivered");
    }
}

pub(super) async fn a_request_that_fails_fails_what_was_given_up(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "skipped", &[&destination]).await;
    w.disable(&destination).await;
    w.enable(&destination).await;
    w.publish(&tenant, "cancelled", &[&destination]).await;
    w.done(vec![Write::CancelDelivery { key: super::support::key(&destination, "cancelled") }]).await;
    for event in ["skipped", "cancelled"] {
        w.request(&destination, event).await;
        w.fail(&w.claim_all().await.only(), None).await;
        assert_eq!(w.delivery(&destination, event).await.state, DeliveryState::Failed, "{event} becomes failed");
    }
    w.publish(&tenant, "delivered", &[&destination]).await;
    w.succeed(&w.claim_all().await.only()).await;
    w.request(&destination, "delivered").await;
    w.fail(&w.claim_all().await.only(), None).await;
    let found = w.delivery(&destination, "delivered").await;
    assert_eq!(found.state, DeliveryState::Delivered, "what is delivered stays delivered");
    assert_eq!(found.last_outcome, Some(Outcome { success: false, code: "503".to_owned() }), "the attempt is shown");
}

pub(super) async fn what_is_released_is_due_again_as_it_was(w: World) {
    let (_, destination, held) = one_held(&w).await;
    let before = w.delivery(&destination, "evt_1").await;
    w.set(70);
    let outcome = w.settle(item(&held, SettleAction::Released)).await;
    assert_eq!(outcome, done(DeliveryState::Pending, Some(at(0))), "it is due since it was due");
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!((found.leased_until, found.attempts), (None, 0), "nobody holds it, nothing was tried");
    assert_eq!(found.next_attempt_at, before.next_attempt_at);
    assert_eq!(w.claim_all().await.events(), ["evt_1"], "it can be claimed at once");
}

pub(super) async fn an_extension_lengthens_the_lease(w: World) {
    let (_, destination, held) = one_held(&w).await;
    let until = at(LEASE * 2);
    let outcome = w.settle(item(&held, SettleAction::Extended { until })).await;
    assert_eq!(outcome, done(DeliveryState::Pending, Some(until)), "it is kept until then");
    assert_eq!(w.delivery(&destination, "evt_1").await.leased_until, Some(until));
    w.set(LEASE * 2 - 1);
    assert!(w.claim_all().await.events().is_empty(), "nobody else gets it before the new end");
    w.set(LEASE * 2);
    assert_eq!(w.claim_all().await.events(), ["evt_1"], "from then on it is due again");
}

pub(super) async fn what_is_extended_can_be_settled(w: World) {
    let (_, _, held) = one_held(&w).await;
    for until in [at(LEASE + 5), at(LEASE + 10)] {
        w.settled(item(&held, SettleAction::Extended { until })).await;
    }
    w.set(LEASE + 9);
    w.succeed(&held).await;
}

pub(super) async fn what_is_retired_has_ended(w: World) {
    let (tenant, destination, held) = one_held(&w).await;
    w.set(44);
    let outcome = w.settle(item(&held, SettleAction::Retired { state: DeliveryState::Failed })).await;
    assert_eq!(outcome, done(DeliveryState::Failed, None), "it cannot be sent any more");
    let found = w.delivery(&destination, "evt_1").await;
    assert_eq!((found.finished_at, found.leased_until, found.attempts), (Some(at(44)), None, 0), "without an attempt");
    let reason = DeliveryState::Cancelled(CancelReason::User);
    w.publish(&tenant, "evt_2", &[&destination]).await;
    let held = w.claim_all().await.only();
    assert_eq!(w.settle(item(&held, SettleAction::Retired { state: reason })).await, done(reason, None));
    w.set(LEASE * 2);
    assert!(w.claim_all().await.events().is_empty(), "nothing is to come");
    assert_eq!(w.lane(&destination).await.open, 0, "nothing is open");
}

pub(super) async fn an_attempt_during_the_disabling_is_recorded(w: World) {
    let (tenant, destination) = w.acme().await;
    for event in ["evt_0", "evt_1", "evt_2"] {
        w.publish(&tenant, event, &[&destination]).await;
        w.advance(1);
    }
    let held = w.claim_all().await.held();
    w.set(50);
    w.disable(&destination).await;
    w.set(60);
    w.succeed(&held[0]).await;
    w.fail(&held[1], Some(at(9_000))).await;
    w.fail(&held[2], None).await;
    let mut states = Vec::new();
    for event in ["evt_0", "evt_1", "evt_2"] {
        assert_eq!(w.attempts(&destination, event).await.len(), 1, "the attempt is recorded");
        let found = w.delivery(&destination, event).await;
        assert_eq!((found.finished_at, found.next_attempt_at), (Some(at(60)), None), "it ended with the attempt");
        states.push(found.state);
    }
    let wanted = [DeliveryState::Delivered, DeliveryState::Skipped, DeliveryState::Failed];
    assert_eq!(states, wanted, "what was accepted is delivered, what would be retried is skipped, the last one failed");
}

pub(super) async fn an_attempt_during_the_deletion_is_recorded(w: World) {
    let (tenant, destination, held) = one_held(&w).await;
    w.publish(&tenant, "evt_2", &[&destination]).await;
    let second = w.claim_all().await.only();
    w.delete_tenant(&tenant).await;
    w.succeed(&held).await;
    w.fail(&second, Some(at(9_000))).await;
    assert_eq!(w.delivery(&destination, "evt_1").await.state, DeliveryState::Delivered, "the receiver accepted it");
    let cancelled = DeliveryState::Cancelled(CancelReason::TenantDeleted);
    assert_eq!(w.delivery(&destination, "evt_2").await.state, cancelled, "the retry is cancelled");
    assert_eq!(w.attempts(&destination, "evt_2").await.len(), 1, "the attempts are recorded");
    w.set(9_000);
    assert!(w.claim_all().await.events().is_empty(), "nothing is sent for a deleted tenant");
}
