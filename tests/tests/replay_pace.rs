//! A replay is no storm: thousands of deliveries at the destination's own pace, and nobody else waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outpost_core::{
    MemoryStore, NewEvent, Outpost, ReplayRequest, ReplayState, ScriptedCalls, ScriptedReply, ScriptedTransport,
    Trigger,
};
use outpost_tests::{epoch, finished, tenant_with, virtual_builder};

const DELIVERIES: usize = 2000;
const CONCURRENCY: u32 = 8;
/// How long the receiver takes.
const TAKES: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Receiver {
    /// 0: fails; 1: fine; 2: the next request is answered 503, with 120 seconds to wait.
    mood: AtomicU32,
    /// When the 503 was answered, in milliseconds after the epoch of the test.
    overloaded_at: AtomicU32,
}

/// An engine with many failed deliveries of `acme/main`, and another tenant.
async fn prepared() -> (Outpost, ScriptedCalls, Arc<Receiver>) {
    let receiver = Arc::new(Receiver::default());
    let answering = receiver.clone();
    let transport = ScriptedTransport::new(move |target, message| {
        if target.display() == "other" {
            return ScriptedReply::ok();
        }
        let reply = match answering.mood.load(Ordering::SeqCst) {
            0 => return ScriptedReply::status(500),
            2 => {
                answering.mood.store(1, Ordering::SeqCst);
                let now = message.now.as_millis() - epoch().as_millis();
                answering.overloaded_at.store(u32::try_from(now).unwrap(), Ordering::SeqCst);
                ScriptedReply::status(503).retry_after(Duration::from_secs(120))
            }
            _ => ScriptedReply::ok(),
        };
        reply.after(TAKES)
    });
    let calls = transport.calls();
    let outpost = virtual_builder(MemoryStore::new(), transport)
        .concurrency(64)
        .destination_concurrency(CONCURRENCY)
        .start()
        .await
        .unwrap();
    tenant_with(&outpost, "acme", &[("main", "main")]).await;
    tenant_with(&outpost, "other", &[("main", "other")]).await;
    let ids: Vec<String> = (0..DELIVERIES).map(|n| format!("e{n}")).collect();
    for ids in ids.chunks(1000) {
        let events = ids.iter().map(|id| NewEvent::new("a", "{}").id(id.as_str()).eligible_for_retry(false)).collect();
        for answer in outpost.publish_batch("acme", events).await.unwrap() {
            answer.unwrap();
        }
    }
    for id in &ids {
        finished(&outpost, "acme", "main", id).await;
    }
    receiver.mood.store(1, Ordering::SeqCst);
    (outpost, calls, receiver)
}

/// When each replayed attempt was sent, in milliseconds after the epoch of the test.
fn sent(calls: &ScriptedCalls) -> Vec<i64> {
    let calls = calls.all();
    let again = calls.iter().filter(|call| call.message.trigger == Trigger::Replay);
    let mut at: Vec<i64> = again.map(|call| call.message.now.as_millis() - epoch().as_millis()).collect();
    at.sort_unstable();
    at
}

#[tokio::test(start_paused = true)]
async fn two_thousand_deliveries_keep_to_the_concurrency_and_a_hold() {
    let (outpost, calls, receiver) = prepared().await;
    let replay = outpost.replays().start("acme", "main", ReplayRequest::default()).await.unwrap();
    while sent(&calls).len() < 500 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    receiver.mood.store(2, Ordering::SeqCst);
    while sent(&calls).len() < DELIVERIES {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let at = sent(&calls);
    assert_eq!(at.len(), DELIVERIES, "each once, the refused one included");
    let takes = i64::try_from(TAKES.as_millis()).unwrap();
    let most = at.iter().map(|now| at.iter().filter(|at| (now - takes + 1..=*now).contains(*at)).count()).max();
    assert_eq!(most, Some(CONCURRENCY as usize), "the concurrency is used and never passed");
    let refused = i64::from(receiver.overloaded_at.load(Ordering::SeqCst)) + takes;
    let held = at.iter().filter(|at| (refused + 1..refused + 120_000).contains(*at)).count();
    assert_eq!(held, 0, "nothing is sent while the destination is held");
    assert!(at.iter().any(|at| *at >= refused + 120_000), "it goes on afterwards");
    let done = outpost.replays().get("acme", &replay.id).await.unwrap();
    assert_eq!((done.state, done.found, done.requested), (ReplayState::Done, 2000, 2000));
}

#[tokio::test(start_paused = true)]
async fn another_tenant_s_events_are_sent_at_once_all_the_while() {
    let (outpost, calls, _) = prepared().await;
    outpost.replays().start("acme", "main", ReplayRequest::default()).await.unwrap();
    let mut published = Vec::new();
    while sent(&calls).len() < DELIVERIES {
        let id = format!("o{}", published.len());
        outpost.publish("other", NewEvent::new("a", "{}").id(id.as_str())).await.unwrap();
        published.push((id, tokio::time::Instant::now()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(published.len() > 50, "it ran alongside");
    let calls = calls.all();
    for (id, at) in published {
        let call = calls.iter().find(|call| call.message.id.as_str() == id).expect("sent");
        assert!(call.at - at < Duration::from_millis(50), "{id} waited for {:?}", call.at - at);
    }
}
