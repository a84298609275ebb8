//! What an outage costs, and what comes after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outpost_core::{
    DeliveryFilter, DeliveryState, ErrorClass, MemoryStore, NewEvent, Outpost, PageRequest, ScriptedCalls,
    ScriptedReply, ScriptedTransport,
};
use outpost_tests::{epoch, finished, tenant_with, virtual_builder};

const PENDING: usize = 1000;
const DAYS: Duration = Duration::from_secs(3 * 86_400);
/// How many requests go to one destination at once.
const CONCURRENCY: u32 = 8;
/// How long the receiver takes.
const LATENCY: Duration = Duration::from_millis(500);

/// An engine whose destination `main` is down as `down` says, and `other` is well.
async fn outage(down: ScriptedReply) -> (Outpost, ScriptedCalls, Arc<AtomicBool>) {
    let is_down = Arc::new(AtomicBool::new(true));
    let switch = is_down.clone();
    let transport = ScriptedTransport::new(move |target, _| {
        if target.display().contains("main") && switch.load(Ordering::SeqCst) {
            down.clone().after(LATENCY)
        } else {
            ScriptedReply::ok().after(LATENCY)
        }
    })
    .remember(100_000);
    let calls = transport.calls();
    let outpost =
        virtual_builder(MemoryStore::new(), transport).destination_concurrency(CONCURRENCY).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://main.test/"), ("other", "https://other.test/")]).await;
    for number in 0..PENDING {
        outpost.publish("acme", NewEvent::new("a.b", "{}").id(format!("e{number}"))).await.unwrap();
    }
    (outpost, calls, is_down)
}

/// How many requests went to `main` in each second after the epoch.
fn by_second(calls: &ScriptedCalls) -> BTreeMap<i64, usize> {
    let mut seconds = BTreeMap::new();
    for call in calls.all().iter().filter(|call| call.target.contains("main")) {
        *seconds.entry((call.message.now.as_millis() - epoch().as_millis()) / 1000).or_default() += 1;
    }
    seconds
}

async fn count(outpost: &Outpost, state: DeliveryState) -> usize {
    let main = outpost_core::DestinationId::new("main").unwrap();
    let filter = DeliveryFilter { destinations: vec![main], states: vec![state], ..DeliveryFilter::default() };
    let (mut found, mut cursor) = (0, None);
    loop {
        let page = PageRequest { limit: 100, cursor, ..PageRequest::default() };
        let page = outpost.deliveries().list("acme", &filter, &page).await.unwrap();
        found += page.items.len();
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}

/// Waits until nothing is open at `main`.
async fn drained(outpost: &Outpost) {
    for _ in 0..10_000 {
        if outpost.destinations().lane("acme", "main").await.unwrap().open == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    panic!("the backlog never drained");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_says_it_is_down_for_days_is_probed_and_then_served_at_its_pace() {
    let (outpost, calls, is_down) = outage(ScriptedReply::status(503)).await;
    for number in [0, PENDING - 1] {
        let id = format!("e{number}");
        assert_eq!(finished(&outpost, "acme", "other", &id).await.state, DeliveryState::Delivered, "{id}");
    }
    tokio::time::sleep(DAYS).await;
    let during = calls.all().iter().filter(|call| call.target.contains("main")).count();
    // The first requests went out together; after that one probe every five minutes at most.
    let probes = usize::try_from(DAYS.as_secs() / 300).unwrap();
    assert!((probes / 2..=probes + 64).contains(&during), "{during} requests in {DAYS:?}");

    let up_at = i64::try_from(DAYS.as_secs()).unwrap();
    is_down.store(false, Ordering::SeqCst);
    drained(&outpost).await;
    let (delivered, failed) =
        (count(&outpost, DeliveryState::Delivered).await, count(&outpost, DeliveryState::Failed).await);
    assert_eq!((delivered + failed, failed), (PENDING, 0), "a probe uses up one entry of one schedule");
    let after: Vec<(i64, usize)> = by_second(&calls).into_iter().filter(|(second, _)| *second >= up_at).collect();
    // One probe, then a window that widens with each answer: never more than the concurrency allows.
    let each_second = usize::try_from(1000 / LATENCY.as_millis()).unwrap() * CONCURRENCY as usize;
    let starts: Vec<usize> = after.iter().take(2).map(|(_, count)| *count).collect();
    assert!(starts[0] <= 1 + 2 && starts[1] <= 4 + 8, "the start is slow: {starts:?}");
    for (second, count) in &after {
        assert!(*count <= each_second + CONCURRENCY as usize, "{count} requests in second {second}");
    }
    let took = after.last().unwrap().0 - after.first().unwrap().0;
    assert!(took >= i64::try_from(PENDING / each_second).unwrap(), "a thousand in {took} s");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_cannot_be_reached_for_days_gets_its_retries_spread() {
    let (outpost, calls, is_down) = outage(ScriptedReply::error(ErrorClass::Refused)).await;
    tokio::time::sleep(DAYS).await;
    is_down.store(false, Ordering::SeqCst);
    drained(&outpost).await;
    let delivered = count(&outpost, DeliveryState::Delivered).await;
    assert_eq!(delivered, PENDING, "the schedule outlasts three days");
    // Ten attempts each at most, and never more at once than the concurrency allows.
    let requests = by_second(&calls);
    assert!(requests.values().sum::<usize>() <= PENDING * 10);
    let each_second = usize::try_from(1000 / LATENCY.as_millis()).unwrap() * CONCURRENCY as usize;
    for (second, count) in requests {
        assert!(count <= each_second + CONCURRENCY as usize, "{count} requests in second {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_what_failed_together() {
    let transport = ScriptedTransport::always(ScriptedReply::error(ErrorClass::Refused)).remember(100_000);
    let calls = transport.calls();
    let outpost = virtual_builder(MemoryStore::new(), transport)
        .retry(outpost_core::RetryPolicy::default())
        .concurrency(2000)
        .destination_concurrency(2000)
        .start()
        .await
        .unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://main.test/")]).await;
    for number in 0..PENDING {
        outpost.publish("acme", NewEvent::new("a.b", "{}").id(format!("e{number}"))).await.unwrap();
    }
    // The third attempts are due five minutes after the second ones, lengthened by up to a fifth.
    tokio::time::sleep(Duration::from_secs(400)).await;
    let third = calls.all().into_iter().filter(|call| call.message.attempt == 3);
    let mut minutes: BTreeMap<i64, usize> = BTreeMap::new();
    for call in third {
        *minutes.entry((call.message.now.as_millis() - epoch().as_millis()) / 10_000).or_default() += 1;
    }
    assert_eq!(minutes.values().sum::<usize>(), PENDING);
    assert!(minutes.len() >= 6, "{minutes:?}");
    assert!(minutes.values().all(|count| *count < PENDING / 3), "{minutes:?}");
}
