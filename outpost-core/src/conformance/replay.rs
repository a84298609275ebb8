//! Replaying: attempts at many deliveries of one destination, and deliveries of events from before.

use super::support::{LEASE, World, at, item, key, put, record};
use crate::domain::delivery::{CancelReason, DeliveryState, Trigger};
use crate::domain::destination::Disabled;
use crate::domain::tenant::Tenant;
use crate::engine::record::{DestinationRecord, LaneChange, RequestRefusal};
use crate::ports::store::{ApplyOutcome, Expect, Filter, Key, List, Refusal, SettleAction, SettleItem, Write};
use crate::values::id::Incarnation;

const FINISHED: [&str; 4] = ["cancelled", "delivered", "failed", "skipped"];

/// Events whose deliveries have ended in four ways.
async fn finished(w: &World) -> (Tenant, DestinationRecord) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "skipped", &[&destination]).await;
    w.disable(&destination).await;
    w.enable(&destination).await;
    for event in ["cancelled", "delivered", "failed"] {
        w.publish(&tenant, event, &[&destination]).await;
        match event {
            "cancelled" => drop(w.done(vec![Write::CancelDelivery { key: key(&destination, event) }]).await),
            "delivered" => w.succeed(&w.claim_all().await.only()).await,
            _ => w.fail(&w.claim_all().await.only(), None).await,
        }
    }
    w.set(50);
    (tenant, destination)
}

pub(super) async fn a_replay_requests_what_has_ended(w: World) {
    let (_, destination) = finished(&w).await;
    let replay = w.replay(&destination, &FINISHED, &[]).await;
    assert_eq!(w.done(vec![replay]).await, [4], "it answers for how many an attempt was requested");
    let states = [
        DeliveryState::Cancelled(CancelReason::User),
        DeliveryState::Delivered,
        DeliveryState::Failed,
        DeliveryState::Skipped,
    ];
    for (event, state) in FINISHED.into_iter().zip(states) {
        let found = w.delivery(&destination, event).await;
        assert_eq!((found.state, found.requested), (state, Some(Trigger::Replay)), "{event}: it waits to be tried");
    }
    let taken = w.claim_all().await;
    let mut events = taken.events();
    events.sort_unstable();
    assert_eq!(events, FINISHED, "each is attempted");
    assert_eq!(w.lane(&destination).await.open, 0, "none of them is open again");
    for held in taken.held() {
        assert_eq!(held.trigger, Trigger::Replay, "the claim tells why");
        w.succeed(&held).await;
    }
    for event in FINISHED {
        let found = w.delivery(&destination, event).await;
        assert_eq!((found.state, found.requested), (DeliveryState::Delivered, None), "{event}: it has arrived");
    }
    assert!(w.claim_all().await.events().is_empty(), "each once");
}

pub(super) async fn a_replay_passes_over_what_does_not_allow_it(w: World) {
    let (tenant, destination) = finished(&w).await;
    let other = w.destination(&tenant, "des_2").await;
    w.publish(&tenant, "leased", &[&destination]).await;
    w.publish(&tenant, "elsewhere", &[&other]).await;
    w.publish(&tenant, "nowhere", &[]).await;
    w.claim_all().await;
    w.request(&destination, "failed").await;
    let wanted = ["leased", "failed", "elsewhere", "nowhere", "unknown", "delivered", "delivered"];
    let replay = w.replay(&destination, &wanted, &[]).await;
    assert_eq!(w.done(vec![replay]).await, [1], "one allows it, and once");
    assert_eq!(w.delivery(&destination, "failed").await.requested, Some(Trigger::Manual), "the first request stands");
    assert_eq!(w.delivery(&destination, "leased").await.requested, None, "it is being sent right now");
    assert_eq!(w.delivery(&other, "elsewhere").await.requested, None, "it goes to another destination");
    assert_eq!(w.fetch(Key::Delivery(key(&destination, "nowhere"))).await, [], "a request makes no delivery");
    assert_eq!(w.claim_all().await.events(), ["failed", "delivered"]);
    let replay = w.replay(&destination, &[], &[]).await;
    assert_eq!(w.done(vec![replay]).await, [0], "to ask for nothing is no mistake");
}

pub(super) async fn a_replay_takes_what_is_open_as_well(w: World) {
    let (tenant, destination) = w.acme().await;
    w.publish(&tenant, "waiting", &[&destination]).await;
    w.fail(&w.claim_all().await.only(), Some(at(90_000))).await;
    let replay = w.replay(&destination, &["waiting"], &[]).await;
    assert_eq!(w.done(vec![replay]).await, [1]);
    let held = w.claim_all().await.only();
    assert_eq!((held.trigger, held.attempts), (Trigger::Replay, 1), "it need not wait for its next attempt");
    w.fail(&held, None).await;
    let found = w.delivery(&destination, "waiting").await;
    assert_eq!(
        (found.state, found.next_attempt_at),
        (DeliveryState::Retrying, Some(at(90_000))),
        "which stays as it was"
    );
}

pub(super) async fn a_replay_creates_what_is_missing(w: World) {
    let (tenant, destination) = w.acme().await;
    let other = w.destination(&tenant, "des_2").await;
    w.publish(&tenant, "old", &[&other]).await;
    w.publish(&tenant, "older", &[]).await;
    w.publish(&tenant, "known", &[&destination]).await;
    w.succeed(&w.claim_all().await.held().into_iter().find(|held| held.key.event.as_str() == "known").unwrap()).await;
    w.set(70);
    let revision = w.find_destination(destination.incarnation).await.revision;
    let replay = w.replay(&destination, &["old"], &["old", "older", "old", "known", "unknown"]).await;
    assert_eq!(w.done(vec![replay]).await, [2], "two have no delivery yet; each is made once");
    for event in ["old", "older"] {
        let found = w.delivery(&destination, event).await;
        assert_eq!((found.state, found.requested), (DeliveryState::Pending, Some(Trigger::Replay)), "{event}");
        assert_eq!((found.created_at, found.attempts, found.tenant), (at(70), 0, tenant.incarnation), "{event} is new");
        assert_eq!(*found.topic, *"order.created");
        assert!(!w.fetch(Key::DeliveriesOf(tenant.incarnation, found.key.event)).await.is_empty());
    }
    assert_eq!(w.delivery(&destination, "known").await.requested, None, "it has a delivery by now");
    let own = Filter { destinations: vec![destination.incarnation], ..Filter::default() };
    assert_eq!(w.list(List::Events, own.clone()).await.len(), 3, "the events are found by it");
    assert_eq!(w.list(List::Deliveries, own).await.len(), 3, "and the deliveries are listed");
    assert_eq!(w.lane(&destination).await.open, 2);
    let lanes = vec![(destination.incarnation, 9)];
    let taken = w.claim(crate::store::Claim { lanes, discover: 0, ..w.any() }).await;
    assert_eq!(taken.events(), ["old", "older"], "in the order that they were named");
    for (held, claimed) in taken.held().iter().zip(&taken.claimed.deliveries) {
        assert_eq!(*claimed.event, *w.find_event(&tenant, held.key.event.as_str()).await, "a claim tells the event");
        assert_eq!((held.trigger, claimed.destination_revision), (Trigger::Replay, revision));
        w.succeed(held).await;
    }
    assert_eq!(w.lane(&destination).await.open, 0, "they have arrived");
    w.set(1_000_000);
    let later = w.claim_all().await;
    assert!(later.held().iter().all(|held| held.key.destination == other.incarnation), "and are sent once");
}

pub(super) async fn a_replay_creates_nothing_for_strangers(w: World) {
    let (tenant, destination) = w.acme().await;
    let other = w.tenant("other").await;
    let theirs = w.destination(&other, "des_1").await;
    w.publish(&other, "secret", &[&theirs]).await;
    let replay = w.replay(&destination, &["secret"], &["secret", "unknown"]).await;
    assert_eq!(w.done(vec![replay]).await, [0], "neither is an event of the destination's tenant");
    for event in ["secret", "unknown"] {
        assert_eq!(w.fetch(Key::Delivery(key(&destination, event))).await, [], "{event}: nothing is made of it");
        assert!(!w.has_event(&tenant, event).await, "{event}");
    }
    let found = w.delivery(&theirs, "secret").await;
    assert_eq!((found.requested, found.attempts), (None, 0), "the owner's delivery is untouched");
    assert_eq!(w.claim_all().await.only().key, key(&theirs, "secret"), "it goes where it was to go");
}

pub(super) async fn a_replay_at_another_revision_is_stale(w: World) {
    let (_, destination) = finished(&w).await;
    let late = w.replay(&destination, &["failed"], &[]).await;
    let mut changed = w.find_destination(destination.incarnation).await;
    changed.name = None;
    w.done(vec![put(&changed, Expect::Any)]).await;
    let found = w.find_destination(destination.incarnation).await.revision;
    assert_eq!(w.refused(late).await, Refusal::Stale { found }, "it was matched against another filter, perhaps");
    assert_eq!(w.delivery(&destination, "failed").await.requested, None, "nothing is requested");
    let current = w.replay(&destination, &["failed"], &[]).await;
    assert_eq!(w.done(vec![current]).await, [1], "matched again, it is");
    let next = w.replay(&destination, &["delivered"], &[]).await;
    assert_eq!(w.done(vec![next]).await, [1], "a replay changes no revision");
}

pub(super) async fn a_replay_needs_an_enabled_destination(w: World) {
    let (tenant, destination) = finished(&w).await;
    w.publish(&tenant, "old", &[]).await;
    let refusal = Refusal::Delivery(RequestRefusal::DestinationDisabled);
    w.disable(&destination).await;
    assert_eq!(w.refused(w.replay(&destination, &["failed"], &["old"]).await).await, refusal, "it is disabled");
    w.enable(&destination).await;
    w.delete(&destination).await;
    assert_eq!(w.refused(w.replay(&destination, &["failed"], &["old"]).await).await, refusal, "it is deleted");
    assert_eq!(w.delivery(&destination, "failed").await.requested, None, "nothing is requested");
    assert_eq!(w.fetch(Key::Delivery(key(&destination, "old"))).await, [], "and nothing is made");
    let (destination, revision) = (Incarnation::from_i64(1), 1);
    let nowhere = Write::Replay { destination, revision, request: Vec::new(), create: Vec::new() };
    assert_eq!(w.refused(nowhere).await, Refusal::Missing, "there is no such destination");
}

pub(super) async fn a_replay_waits_behind_a_hold(w: World) {
    let (tenant, destination) = finished(&w).await;
    w.publish(&tenant, "old", &[]).await;
    w.publish(&tenant, "fresh", &[&destination]).await;
    w.hold(&w.claim_all().await.only(), at(9000), 0).await;
    w.done(vec![w.replay(&destination, &["failed"], &["old"]).await]).await;
    let lane = w.lane(&destination).await;
    assert_eq!((lane.next_due, lane.next_urgent), (Some(at(50)), None), "nobody waits for a replay");
    let taken = w.claim_all().await;
    assert_eq!(taken.events(), [""; 0], "so it is stopped by a hold");
    assert_eq!(taken.claimed.next, Some(at(9000)));
    w.request(&destination, "delivered").await;
    assert_eq!(w.claim_all().await.events(), ["delivered"], "what somebody asks for by hand is not");
    w.set(9000);
    let mut events = w.claim_all().await.events().into_iter().map(str::to_owned).collect::<Vec<_>>();
    events.sort_unstable();
    assert_eq!(events, ["failed", "fresh", "old"], "when the hold ends, the replay goes on");
}

pub(super) async fn a_replay_waits_its_turn(w: World) {
    let (tenant, destination) = finished(&w).await;
    w.publish(&tenant, "earlier", &[&destination]).await;
    w.advance(1);
    w.done(vec![w.replay(&destination, &["failed"], &[]).await]).await;
    w.advance(1);
    w.publish(&tenant, "later", &[&destination]).await;
    w.request(&destination, "delivered").await;
    let taken = w.claim_all().await;
    assert_eq!(
        taken.events(),
        ["delivered", "earlier", "failed", "later"],
        "urgent ones first, then by their due time"
    );
    w.set(LEASE * 2);
    let taken = w.claim_all().await;
    assert_eq!(taken.events().len(), 4, "the leases have lapsed");
    for held in taken.held().iter().filter(|held| held.key.event.as_str() == "failed") {
        assert_eq!(held.trigger, Trigger::Replay, "a replay outlives the lease");
        let hold = Some(LaneChange::Hold { until: at(LEASE * 3), strikes: 1 });
        w.settled(SettleItem { lane: hold, ..item(held, SettleAction::Released) }).await;
    }
    assert_eq!(w.lane(&destination).await.next_urgent, Some(at(LEASE * 3)), "only the lease of the urgent one counts");
}

pub(super) async fn a_replay_and_its_progress_are_one_commit(w: World) {
    let (tenant, destination) = finished(&w).await;
    w.publish(&tenant, "old", &[]).await;
    let progress = |expect| Write::PutRecord { record: record("job", "replay", b"1"), expect };
    let replay = w.replay(&destination, &["failed"], &["old"]).await;
    let refusal = Refusal::Missing;
    let outcome = w.apply(vec![replay.clone(), progress(Expect::Revision(7))]).await;
    assert_eq!(outcome, ApplyOutcome::Refused { index: 1, refusal }, "somebody else has the job");
    assert_eq!(w.delivery(&destination, "failed").await.requested, None, "then nothing is requested");
    assert_eq!(w.fetch(Key::Delivery(key(&destination, "old"))).await, [], "and nothing is made");
    assert_eq!(w.claim_all().await.claimed.next, None, "the lane is as it was");
    let Write::Replay { destination: life, revision, request, create } = replay.clone() else { unreachable!() };
    let stale = Write::Replay { destination: life, revision: revision + 1, request, create };
    let outcome = w.apply(vec![progress(Expect::Absent), stale]).await;
    let refusal = Refusal::Stale { found: revision };
    assert_eq!(outcome, ApplyOutcome::Refused { index: 1, refusal }, "the destination has changed, so it seems");
    let job = Key::Record("job".to_owned(), "replay".to_owned());
    assert_eq!(w.fetch(job.clone()).await, [], "then no progress is written");
    assert_eq!(w.done(vec![progress(Expect::Absent), replay]).await[1], 2, "both happen");
    assert_eq!(w.fetch(job).await.len(), 1);
    assert_eq!(w.claim_all().await.events(), ["failed", "old"]);
}

pub(super) async fn a_disabling_ends_a_replay(w: World) {
    let (tenant, destination) = finished(&w).await;
    w.publish(&tenant, "old", &[]).await;
    w.done(vec![w.replay(&destination, &["failed"], &["old"]).await]).await;
    let mut found = w.find_destination(destination.incarnation).await;
    found.disable(Disabled { at: at(60), ..w.disabled() });
    w.done(vec![put(&found, Expect::Any)]).await;
    let old = w.delivery(&destination, "old").await;
    assert_eq!((old.state, old.requested), (DeliveryState::Skipped, None), "what was still to come is skipped");
    assert_eq!(w.delivery(&destination, "failed").await.requested, None, "and nothing is shown as requested");
    w.enable(&destination).await;
    assert_eq!(w.claim_all().await.events(), [""; 0], "nor does it come back");
    let replay = w.replay(&destination, &["failed", "old"], &[]).await;
    assert_eq!(w.done(vec![replay]).await, [2], "a new one counts");
    assert_eq!(w.claim_all().await.events().len(), 2);
}
