//! Replays: bounded, resumable, at the destination's pace, and nobody else's business.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use outpost_core::{
    Actor, Capabilities, Capability, DeliveryState, DestinationPatch, ErrorKind, MemoryStore, NewEvent, Outpost,
    Replay, ReplayRequest, ReplayState, RetryPolicy, Schedule, ScriptedCalls, ScriptedReply, ScriptedTransport, Store,
    Timestamp, Topics, Trigger,
};
use outpost_tests::{epoch, finished, tenant_with, virtual_builder, wait_for};

fn event(id: &str) -> NewEvent {
    NewEvent::new("a.b", "{}").id(id)
}

fn once() -> RetryPolicy {
    RetryPolicy::new(Schedule::Explicit(Vec::new())).unwrap()
}

/// An engine whose receivers refuse while `down`, taking a while for each answer.
async fn engine(store: impl Store, down: &Arc<AtomicBool>, latency: Duration) -> (Outpost, ScriptedCalls) {
    let switch = down.clone();
    let transport = ScriptedTransport::new(move |_, _| {
        let reply = if switch.load(Ordering::SeqCst) { ScriptedReply::status(500) } else { ScriptedReply::ok() };
        reply.after(latency)
    });
    let calls = transport.calls();
    let outpost = virtual_builder(store, transport).retry(once()).destination_concurrency(8).start().await.unwrap();
    (outpost, calls)
}

async fn publish(outpost: &Outpost, tenant: &str, count: usize) {
    for first in (0..count).step_by(500) {
        let events = (first..count.min(first + 500)).map(|number| event(&format!("e{number}"))).collect();
        for answer in outpost.publish_batch(tenant, events).await.unwrap() {
            answer.unwrap();
        }
    }
}

async fn ended(outpost: &Outpost, replay: &Replay) -> Replay {
    for _ in 0..10_000 {
        let found = outpost.replays().get(replay.tenant_id.as_str(), &replay.id).await.unwrap();
        if found.state != ReplayState::Running {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the replay never ended");
}

/// How often each event was sent by a replay.
fn replayed(calls: &[&ScriptedCalls]) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for call in calls.iter().flat_map(|calls| calls.all()).filter(|call| call.message.trigger == Trigger::Replay) {
        *counts.entry(call.message.id.to_string()).or_default() += 1;
    }
    counts
}

/// A thousand failed deliveries at `main`.
async fn a_thousand_failed(store: impl Store, down: &Arc<AtomicBool>) -> (Outpost, ScriptedCalls) {
    let (outpost, calls) = engine(store, down, Duration::from_millis(10)).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    publish(&outpost, "acme", 1000).await;
    for number in 0..1000 {
        finished(&outpost, "acme", "main", &format!("e{number}")).await;
    }
    (outpost, calls)
}

#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_after_the_process_that_started_it_has_died() {
    let (store, down) = (MemoryStore::new(), Arc::new(AtomicBool::new(true)));
    let (first, calls) = a_thousand_failed(store.clone(), &down).await;
    down.store(false, Ordering::SeqCst);
    let replay = first.replays().start("acme", "main", ReplayRequest::default()).await.unwrap();
    // A few steps, and then as after a crash.
    for _ in 0..6 {
        tokio::task::yield_now().await;
    }
    drop(first);
    let (second, more) = engine(store.another_process(), &down, Duration::from_millis(10)).await;
    let replay = ended(&second, &replay).await;
    assert_eq!((replay.state, replay.found), (ReplayState::Done, 1000));
    for number in 0..1000 {
        let id = format!("e{number}");
        wait_for(&second, "acme", "main", &id, |delivery| delivery.state == DeliveryState::Delivered).await;
    }
    let counts = replayed(&[&calls, &more]);
    assert_eq!(counts.len(), 1000);
    let twice = counts.values().filter(|count| **count > 1).count();
    assert!(twice <= 8, "only what was on its way may be repeated, but {twice} were");
}

#[tokio::test(start_paused = true)]
async fn two_processes_replay_nothing_twice() {
    let (store, down) = (MemoryStore::new(), Arc::new(AtomicBool::new(true)));
    let (one, calls) = a_thousand_failed(store.clone(), &down).await;
    let (two, more) = engine(store.another_process(), &down, Duration::from_millis(10)).await;
    down.store(false, Ordering::SeqCst);
    let first = one.replays().start("acme", "main", ReplayRequest::default()).await.unwrap();
    // Another one of the same deliveries finds them asked for, or delivered, already.
    let second = two.replays().start("acme", "main", ReplayRequest::default()).await.unwrap();
    let (first, second) = (ended(&one, &first).await, ended(&two, &second).await);
    assert!(first.requested + second.requested >= 1000, "{first:?} {second:?}");
    for number in 0..1000 {
        let id = format!("e{number}");
        wait_for(&one, "acme", "main", &id, |delivery| delivery.state == DeliveryState::Delivered).await;
    }
    assert_eq!(replayed(&[&calls, &more]).values().filter(|count| **count > 1).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_no_storm_and_keeps_to_holds() {
    let down = Arc::new(AtomicBool::new(true));
    let (most, now) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (switch, high, flying) = (down.clone(), most.clone(), now.clone());
    let busy_once = Arc::new(AtomicBool::new(true));
    let transport = ScriptedTransport::new(move |_, message| {
        if switch.load(Ordering::SeqCst) {
            return ScriptedReply::status(500);
        }
        if message.trigger == Trigger::Replay && busy_once.swap(false, Ordering::SeqCst) {
            return ScriptedReply::status(503).retry_after(Duration::from_secs(600));
        }
        let count = flying.fetch_add(1, Ordering::SeqCst) + 1;
        high.fetch_max(count, Ordering::SeqCst);
        let flying = flying.clone();
        tokio::spawn(async move {
            // A little less than the answer takes, so that those that end and begin at once count once.
            tokio::time::sleep(Duration::from_millis(499)).await;
            flying.fetch_sub(1, Ordering::SeqCst);
        });
        ScriptedReply::ok().after(Duration::from_millis(500))
    });
    let calls = transport.calls();
    let outpost =
        virtual_builder(MemoryStore::new(), transport).retry(once()).destination_concurrency(4).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    tenant_with(&outpost, "other", &[("main", "https://two.test/")]).await;
    publish(&outpost, "acme", 500).await;
    for number in 0..500 {
        finished(&outpost, "acme", "main", &format!("e{number}")).await;
    }
    down.store(false, Ordering::SeqCst);
    let started = outpost.replays().start("acme", "main", ReplayRequest::default()).await.unwrap().created_at;
    outpost.publish("other", event("quick")).await.unwrap();
    let quick = finished(&outpost, "other", "main", "quick").await;
    assert!(quick.finished_at.unwrap().since(started) < Duration::from_secs(2), "others are not delayed");
    let delivered = |outpost: Outpost| async move {
        for number in 0..500 {
            let id = format!("e{number}");
            wait_for(&outpost, "acme", "main", &id, |delivery| {
                delivery.state == DeliveryState::Delivered || delivery.attempts == 2
            })
            .await;
        }
    };
    delivered(outpost.clone()).await;
    assert!(most.load(Ordering::SeqCst) <= 5, "four at a time, and one of the other: {most:?}");
    let times: Vec<Timestamp> = calls
        .all()
        .iter()
        .filter(|call| call.message.trigger == Trigger::Replay)
        .map(|call| call.message.now)
        .collect();
    let gap = times.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap();
    assert!(gap >= Duration::from_secs(598), "the hold of ten minutes was kept: {gap:?}");
}

#[tokio::test(start_paused = true)]
async fn missing_deliveries_are_made_for_what_matches_now() {
    let down = Arc::new(AtomicBool::new(false));
    let (outpost, calls) = engine(MemoryStore::new(), &down, Duration::ZERO).await;
    outpost.tenants().put("acme", None).await.unwrap();
    // Before there was any destination.
    publish(&outpost, "acme", 250).await;
    outpost.publish("acme", NewEvent::new("c.d", "{}").id("other_topic")).await.unwrap();
    outpost.publish("acme", event("named").to("somebody_else")).await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    let topics = Some(Topics::new(["a.*"]).unwrap());
    let patch = DestinationPatch { topics, ..DestinationPatch::default() };
    outpost.destinations().update("acme", "main", patch).await.unwrap();
    publish(&outpost, "acme", 0).await;
    let request = ReplayRequest { missing: true, ..ReplayRequest::default() };
    let preview = outpost.replays().preview("acme", "main", request.clone()).await.unwrap();
    assert_eq!(preview.found, 250);
    let replay = outpost.replays().start("acme", "main", request.clone()).await.unwrap();
    let replay = ended(&outpost, &replay).await;
    assert_eq!((replay.found, replay.requested), (250, 250));
    for number in 0..250 {
        let delivery = finished(&outpost, "acme", "main", &format!("e{number}")).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1));
    }
    for id in ["other_topic", "named"] {
        let found = outpost.deliveries().get("acme", "main", id).await;
        assert_eq!(found.unwrap_err().kind(), ErrorKind::NotFound, "{id}");
    }
    let again = outpost.replays().start("acme", "main", request).await.unwrap();
    assert_eq!(ended(&outpost, &again).await.found, 0);
    assert_eq!(calls.total(), 250);
}

#[tokio::test(start_paused = true)]
async fn a_range_topics_and_states_choose_what_is_replayed() {
    let down = Arc::new(AtomicBool::new(true));
    let (outpost, _) = engine(MemoryStore::new(), &down, Duration::ZERO).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/"), ("side", "https://two.test/")]).await;
    for (id, topic) in [("early", "a.b"), ("right", "a.b"), ("topic", "c.d"), ("late", "a.b")] {
        outpost.publish("acme", NewEvent::new(topic, "{}").id(id)).await.unwrap();
        finished(&outpost, "acme", "main", id).await;
        finished(&outpost, "acme", "side", id).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
    }
    down.store(false, Ordering::SeqCst);
    let request = ReplayRequest {
        topics: vec!["a.b".to_owned()],
        from: Some(epoch().after(Duration::from_secs(50))),
        until: Some(epoch().after(Duration::from_secs(290))),
        ..ReplayRequest::default()
    };
    let replay = outpost.replays().start("acme", "main", request).await.unwrap();
    assert_eq!(ended(&outpost, &replay).await.requested, 1);
    wait_for(&outpost, "acme", "main", "right", |delivery| delivery.state == DeliveryState::Delivered).await;
    for (destination, id) in [("main", "early"), ("main", "topic"), ("main", "late"), ("side", "right")] {
        let delivery = outpost.deliveries().get("acme", destination, id).await.unwrap();
        assert_eq!(delivery.state, DeliveryState::Failed, "{destination} {id}");
    }
    let bad = ReplayRequest { states: Vec::new(), topics: vec!["*".to_owned()], ..ReplayRequest::default() };
    let error = outpost.replays().start("acme", "main", bad).await.unwrap_err();
    let fields: Vec<&str> = error.problems().iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["states", "topics"]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_ends_with_its_destination_or_when_it_is_cancelled() {
    let (store, down) = (MemoryStore::new(), Arc::new(AtomicBool::new(true)));
    let (outpost, _) = a_thousand_failed(store, &down).await;
    let replay = outpost.replays().start("acme", "main", ReplayRequest::default()).await.unwrap();
    outpost.destinations().disable("acme", "main", "again").await.unwrap();
    assert_eq!(ended(&outpost, &replay).await.state, ReplayState::Stopped);
    outpost.destinations().enable("acme", "main").await.unwrap();
    let replay = outpost.replays().start("acme", "main", ReplayRequest::default()).await.unwrap();
    let cancelled = outpost.replays().cancel("acme", &replay.id).await.unwrap();
    assert_eq!(cancelled.state, ReplayState::Cancelled);
    assert_eq!(outpost.replays().cancel("acme", &replay.id).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(outpost.replays().list("acme").await.unwrap().len(), 2);
    tokio::time::sleep(Duration::from_secs(8 * 86_400)).await;
    assert!(outpost.replays().list("acme").await.unwrap().is_empty(), "kept for a week");
}

#[tokio::test(start_paused = true)]
async fn replays_of_another_tenant_do_not_exist_and_the_capability_is_needed() {
    let down = Arc::new(AtomicBool::new(false));
    let (outpost, _) = engine(MemoryStore::new(), &down, Duration::ZERO).await;
    for tenant in ["acme", "other"] {
        tenant_with(&outpost, tenant, &[("main", "https://one.test/")]).await;
    }
    let theirs = outpost.replays().start("other", "main", ReplayRequest::default()).await.unwrap();
    let tenant = outpost.tenants().get("acme").await.unwrap();
    let as_user = |capabilities| {
        let (tenant, incarnation) = (tenant.id.clone(), tenant.incarnation);
        outpost.acting_as(Actor::Tenant { tenant, incarnation, capabilities })
    };
    let user = as_user(Capabilities::ALL);
    for error in [
        user.replays().get("acme", &theirs.id).await.unwrap_err(),
        user.replays().get("other", &theirs.id).await.unwrap_err(),
        user.replays().cancel("acme", &theirs.id).await.unwrap_err(),
        user.replays().list("other").await.unwrap_err(),
        user.replays().start("other", "main", ReplayRequest::default()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert!(user.replays().list("acme").await.unwrap().is_empty());
    let reader = as_user(Capabilities::ALL.without(Capability::Retry));
    let error = reader.replays().start("acme", "main", ReplayRequest::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert_eq!(reader.replays().preview("acme", "main", ReplayRequest::default()).await.unwrap().found, 0);
}
