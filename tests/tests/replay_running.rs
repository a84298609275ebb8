//! Replays while they run: bounded steps, restarts, other processes, changes under way, and pace.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outpost_core::{
    DeliverySettings, DestinationPatch, ErrorKind, Fault, FaultStore, Faults, MAX_REPLAYS, MemoryStore, NewEvent,
    Operation, Outpost, RateLimit, Replay, ReplayRequest, ReplayState, ScriptedCalls, ScriptedReply, ScriptedTransport,
    SeededEntropy, Store, StoreErrorKind, Times, TokioClock, Trigger,
};
use outpost_store_sqlite::SqliteStore;
use outpost_tests::{epoch, finished, tenant_with, virtual_builder};

type Switch = Arc<AtomicBool>;

/// A transport that fails until the switch is turned, after `delay` each time.
fn transport(fine: &Switch, delay: Duration) -> ScriptedTransport {
    let fine = fine.clone();
    ScriptedTransport::new(move |_, _| {
        if fine.load(Ordering::SeqCst) { ScriptedReply::ok() } else { ScriptedReply::status(500) }.after(delay)
    })
}

/// An engine, with what spoils its store, over data that others may share.
async fn engine(store: impl Store, transport: ScriptedTransport, start: tokio::time::Instant) -> (Outpost, Faults) {
    let store = FaultStore::new(store);
    let faults = store.faults();
    let seed = start.elapsed().as_millis() as u64 + 2;
    let builder = virtual_builder(store, transport)
        .entropy(SeededEntropy::new(seed))
        .clock(TokioClock::starting_at(epoch().after(start.elapsed())));
    (builder.start().await.unwrap(), faults)
}

/// Publishes `count` events to `acme/main` that are tried once and fail.
async fn fail_many(outpost: &Outpost, count: usize) {
    let ids: Vec<String> = (0..count).map(|n| format!("e{n:05}")).collect();
    for ids in ids.chunks(1000) {
        let events = ids.iter().map(|id| NewEvent::new("a", "{}").id(id.as_str()).eligible_for_retry(false)).collect();
        for answer in outpost.publish_batch("acme", events).await.unwrap() {
            answer.unwrap();
        }
    }
    for id in &ids {
        finished(outpost, "acme", "main", id).await;
    }
}

async fn reached(faults: &Faults, operation: Operation) {
    for _ in 0..10_000 {
        if faults.hanging(operation) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{operation:?} was never called");
}

async fn ended(outpost: &Outpost, id: &str) -> Replay {
    for _ in 0..10_000 {
        let replay = outpost.replays().get("acme", id).await.unwrap();
        if replay.state != ReplayState::Running {
            return replay;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the replay never ended");
}

async fn settled(calls: &ScriptedCalls) {
    let mut before = u64::MAX;
    while before != calls.total() {
        before = calls.total();
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
}

/// How often each event was sent because of a replay.
fn again(calls: &ScriptedCalls) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for call in calls.all().iter().filter(|call| call.message.trigger == Trigger::Replay) {
        *counts.entry(call.message.id.to_string()).or_default() += 1;
    }
    counts
}

/// An engine with `count` failed deliveries, whose receiver is fine from now on.
async fn prepared(count: usize) -> (Outpost, Faults, ScriptedCalls, MemoryStore, tokio::time::Instant) {
    let (start, fine, store) = (tokio::time::Instant::now(), Switch::default(), MemoryStore::new());
    let transport = transport(&fine, Duration::ZERO);
    let calls = transport.calls();
    let (outpost, faults) = engine(store.clone(), transport, start).await;
    tenant_with(&outpost, "acme", &[("main", "m")]).await;
    fail_many(&outpost, count).await;
    fine.store(true, Ordering::SeqCst);
    (outpost, faults, calls, store, start)
}

async fn start(outpost: &Outpost) -> Replay {
    outpost.replays().start("acme", "main", ReplayRequest::default()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn steps_are_bounded_and_progress_grows_until_it_is_done() {
    let (outpost, faults, calls, _, _) = prepared(700).await;
    faults.inject(Operation::Scan, Fault::Hang, Times::UntilCleared);
    let replay = start(&outpost).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        reached(&faults, Operation::Scan).await;
        let now = outpost.replays().get("acme", &replay.id).await.unwrap();
        assert_eq!(now.state, ReplayState::Running);
        assert_eq!(now.requested, now.found, "what was asked for is counted with the step");
        seen.push(now.found);
        faults.release(Operation::Scan);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(seen, [0, 200, 400, 600]);
    let done = ended(&outpost, &replay.id).await;
    assert_eq!((done.state, done.found, done.requested), (ReplayState::Done, 700, 700));
    settled(&calls).await;
    assert!(again(&calls).len() == 700 && again(&calls).values().all(|count| *count == 1));
    let listed = outpost.replays().list("acme").await.unwrap();
    assert_eq!(listed, [done]);
    tokio::time::sleep(Duration::from_secs(8 * 86_400)).await;
    assert!(outpost.replays().list("acme").await.unwrap().is_empty(), "kept for a week");
}

#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_where_a_stopped_engine_left_it() {
    let (outpost, faults, calls, store, began) = prepared(700).await;
    faults.inject(Operation::Scan, Fault::Hang, Times::UntilCleared);
    let replay = start(&outpost).await;
    for _ in 0..2 {
        reached(&faults, Operation::Scan).await;
        faults.release(Operation::Scan);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    reached(&faults, Operation::Scan).await;
    drop(outpost);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let so_far = again(&calls).len();
    assert!((1..=400).contains(&so_far), "{so_far}");
    let transport = transport(&Arc::new(AtomicBool::new(true)), Duration::ZERO);
    let calls_after = transport.calls();
    let (outpost, _) = engine(store.another_process(), transport, began).await;
    let done = ended(&outpost, &replay.id).await;
    assert_eq!((done.state, done.found, done.requested), (ReplayState::Done, 700, 700));
    settled(&calls_after).await;
    let mut all = again(&calls);
    for (id, count) in again(&calls_after) {
        *all.entry(id).or_default() += count;
    }
    assert!(all.len() == 700 && all.values().all(|count| *count == 1), "each once");
}

#[tokio::test(start_paused = true)]
async fn two_engines_on_one_store_ask_for_each_delivery_once() {
    let (outpost, faults, calls, store, began) = prepared(700).await;
    faults.inject(Operation::Scan, Fault::Hang, Times::UntilCleared);
    let replay = start(&outpost).await;
    reached(&faults, Operation::Scan).await;
    faults.release(Operation::Scan);
    tokio::time::sleep(Duration::from_millis(5)).await;
    reached(&faults, Operation::Scan).await;
    // The first engine stands in the middle of its second step; another one finds the replay.
    let second = transport(&Arc::new(AtomicBool::new(true)), Duration::ZERO);
    let calls_second = second.calls();
    let (other, other_faults) = engine(store.another_process(), second, began).await;
    let scans = async || {
        for _ in 0..100 {
            if other_faults.calls(Operation::Scan) > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    scans().await;
    faults.clear(Operation::Scan);
    faults.release(Operation::Scan);
    let done = ended(&outpost, &replay.id).await;
    assert_eq!((done.state, done.found, done.requested), (ReplayState::Done, 700, 700), "both have counted");
    assert!(other_faults.calls(Operation::Scan) > 0, "the other one took part");
    settled(&calls).await;
    settled(&calls_second).await;
    drop(other);
    let mut all = again(&calls);
    for (id, count) in again(&calls_second) {
        *all.entry(id).or_default() += count;
    }
    assert!(all.len() == 700 && all.values().all(|count| *count == 1), "each once");
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_neither_doubles_nor_loses_a_step() {
    let (outpost, faults, calls, _, _) = prepared(700).await;
    faults.inject(Operation::Scan, Fault::Before(StoreErrorKind::Busy), Times::Next(3));
    let replay = start(&outpost).await;
    for fault in [Fault::Before(StoreErrorKind::Unavailable), Fault::After, Fault::Before(StoreErrorKind::Busy)] {
        faults.inject(Operation::Apply, fault, Times::Next(2));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    faults.clear(Operation::Apply);
    let done = ended(&outpost, &replay.id).await;
    assert_eq!((done.state, done.found), (ReplayState::Done, 700));
    settled(&calls).await;
    assert!(again(&calls).len() == 700 && again(&calls).values().all(|count| *count == 1));
}

#[tokio::test(start_paused = true)]
async fn changing_the_destination_under_way_costs_no_count() {
    let (outpost, faults, calls, _, _) = prepared(700).await;
    faults.inject(Operation::Scan, Fault::Hang, Times::UntilCleared);
    let replay = start(&outpost).await;
    for n in 0..4 {
        reached(&faults, Operation::Scan).await;
        if n % 2 == 1 {
            // After a step that was done, and between reading the next page and asking for its attempts.
            let patch = DestinationPatch { name: Some(Some(format!("n{n}"))), ..DestinationPatch::default() };
            outpost.destinations().update("acme", "main", patch).await.unwrap();
        }
        faults.release(Operation::Scan);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    faults.clear(Operation::Scan);
    faults.release(Operation::Scan);
    let done = ended(&outpost, &replay.id).await;
    assert_eq!((done.state, done.found, done.requested), (ReplayState::Done, 700, 700));
    settled(&calls).await;
    assert_eq!(again(&calls).len(), 700);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_replay_sends_what_it_had_asked_for_and_no_more() {
    let (outpost, faults, calls, _, _) = prepared(700).await;
    faults.inject(Operation::Scan, Fault::Hang, Times::UntilCleared);
    let replay = start(&outpost).await;
    reached(&faults, Operation::Scan).await;
    faults.release(Operation::Scan);
    tokio::time::sleep(Duration::from_millis(5)).await;
    reached(&faults, Operation::Scan).await;
    let cancelled = outpost.replays().cancel("acme", &replay.id).await.unwrap();
    assert_eq!((cancelled.state, cancelled.found), (ReplayState::Cancelled, 200));
    faults.clear(Operation::Scan);
    faults.release(Operation::Scan);
    settled(&calls).await;
    assert_eq!(again(&calls).len(), 200);
    let after = outpost.replays().get("acme", &replay.id).await.unwrap();
    assert_eq!((after.state, after.found, after.requested), (ReplayState::Cancelled, 200, 200));
    assert_eq!(outpost.replays().cancel("acme", &replay.id).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn disabling_or_deleting_the_destination_stops_it() {
    for delete in [false, true] {
        let (outpost, faults, calls, _, _) = prepared(300).await;
        faults.inject(Operation::Scan, Fault::Hang, Times::UntilCleared);
        let replay = start(&outpost).await;
        reached(&faults, Operation::Scan).await;
        if delete {
            outpost.destinations().delete("acme", "main").await.unwrap();
        } else {
            outpost.destinations().disable("acme", "main", "enough").await.unwrap();
        }
        faults.clear(Operation::Scan);
        faults.release(Operation::Scan);
        let stopped = ended(&outpost, &replay.id).await;
        assert_eq!((stopped.state, stopped.found, stopped.requested), (ReplayState::Stopped, 0, 0));
        settled(&calls).await;
        assert!(again(&calls).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_another_process_has_just_enabled_is_not_taken_for_disabled() {
    let (outpost, faults, _, store, began) = prepared(3).await;
    // This process learns of others' changes late, and has seen the destination disabled.
    faults.inject(Operation::Changed, Fault::Hang, Times::UntilCleared);
    let (other, _) = engine(store.another_process(), ScriptedTransport::always(ScriptedReply::ok()), began).await;
    other.tenants().put("new", None).await.unwrap();
    reached(&faults, Operation::Changed).await;
    outpost.destinations().disable("acme", "main", "maintenance").await.unwrap();
    outpost.publish("acme", NewEvent::new("a", "{}")).await.unwrap();
    other.destinations().enable("acme", "main").await.unwrap();
    let replay = start(&outpost).await;
    assert_eq!(ended(&outpost, &replay.id).await.state, ReplayState::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_starts_do_not_pass_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let store = FaultStore::new(SqliteStore::open(folder.path().join("r.db")).await.unwrap());
    let faults = store.faults();
    faults.inject(Operation::Scan, Fault::Hang, Times::UntilCleared);
    let transport = ScriptedTransport::always(ScriptedReply::ok());
    let outpost = Outpost::builder(store).transport(transport).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "m")]).await;
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let outpost = outpost.clone();
        starting.spawn(async move { outpost.replays().start("acme", "main", ReplayRequest::default()).await });
    }
    let mut started = Vec::new();
    while let Some(result) = starting.join_next().await {
        match result.unwrap() {
            Ok(replay) => started.push(replay),
            Err(error) => assert_eq!(error.kind(), ErrorKind::LimitReached, "{error}"),
        }
    }
    assert_eq!(started.len(), MAX_REPLAYS);
    outpost.replays().cancel("acme", &started[0].id).await.unwrap();
    outpost.replays().start("acme", "main", ReplayRequest::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replay_keeps_to_the_rate_limit() {
    let (outpost, _, calls, _, _) = prepared(100).await;
    let rate_limit = Some(RateLimit { events: 10, per: Duration::from_secs(60) });
    let settings = DeliverySettings { rate_limit, ..DeliverySettings::default() };
    let patch = DestinationPatch { settings: Some(settings), ..DestinationPatch::default() };
    outpost.destinations().update("acme", "main", patch).await.unwrap();
    let replay = start(&outpost).await;
    assert_eq!(ended(&outpost, &replay.id).await.requested, 100);
    tokio::time::sleep(Duration::from_secs(601)).await;
    let mut at: Vec<i64> = calls
        .all()
        .iter()
        .filter(|call| call.message.trigger == Trigger::Replay)
        .map(|call| call.message.now.as_millis())
        .collect();
    at.sort_unstable();
    assert_eq!(at.len(), 100, "all within the time that the limit allows");
    let most = at.iter().map(|from| at.iter().filter(|at| (*from..from + 60_000).contains(*at)).count()).max();
    assert!(most <= Some(20), "a burst and a minute's worth at most, but {most:?}");
}
