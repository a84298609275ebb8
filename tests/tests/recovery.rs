//! A receiver that was down for days is not stormed when it comes back, is asked little while it is down, and
//! delays nobody else.

use std::sync::Arc;
use std::time::Duration;

use outpost_core::{
    BoxFuture, Clock, DeliveryFilter, DeliveryState, ErrorClass, MemoryStore, NewEvent, Outpost, OutpostBuilder,
    PageRequest, RetryPolicy, ScriptedCall, ScriptedCalls, ScriptedReply, ScriptedTransport, SeededEntropy, Store,
    Timestamp, TokioClock,
};
use outpost_tests::{epoch, tenant_with, virtual_builder};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const OUTAGE: Duration = Duration::from_secs(3 * 86_400);
/// What waits.
const EVENTS: usize = 1000;
/// How long the receiver takes to answer once it is up, and how many requests it may get at once.
const LATENCY: Duration = Duration::from_millis(100);
const CONCURRENCY: u32 = 32;
const DOWN: &str = "https://down.test/";

/// A receiver that is down for the first three days, and one that never is.
fn transport(down: ScriptedReply) -> ScriptedTransport {
    let up = epoch().after(OUTAGE);
    ScriptedTransport::new(move |target, message| {
        if target.display() == DOWN && message.now < up { down.clone() } else { ScriptedReply::ok().after(LATENCY) }
    })
}

/// The engine as it is by default, jitter included.
fn engine(store: impl Store, transport: ScriptedTransport, seed: u64) -> OutpostBuilder {
    virtual_builder(store, transport)
        .retry(RetryPolicy::default())
        .entropy(SeededEntropy::new(seed))
        .destination_concurrency(CONCURRENCY)
}

async fn publish_all(outpost: &Outpost) {
    let events = (0..EVENTS).map(|n| NewEvent::new("a.b", "{}").id(format!("e{n}")).to("down")).collect();
    for published in outpost.publish_batch("acme", events).await.unwrap() {
        published.unwrap();
    }
}

/// Lets time pass until `until`, and publishes to the healthy receiver all along.
async fn live_on(outpost: &Outpost, until: Duration, every: Duration) {
    let end = tokio::time::Instant::now() + until;
    while tokio::time::Instant::now() < end {
        outpost.publish("acme", NewEvent::new("a.b", "{}").to("well")).await.unwrap();
        tokio::time::sleep(every).await;
    }
}

/// One clock for several engines.
#[derive(Clone)]
struct OneClock(Arc<TokioClock>);

impl Clock for OneClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }
}

fn to_down(calls: &ScriptedCalls) -> Vec<ScriptedCall> {
    calls.all().into_iter().filter(|call| &*call.target == DOWN).collect()
}

/// When requests to the receiver began, as time since it came up.
fn after_recovery(calls: &ScriptedCalls) -> Vec<Duration> {
    let up = epoch().after(OUTAGE);
    to_down(calls).iter().filter(|call| call.message.now >= up).map(|call| call.message.now.since(up)).collect()
}

/// The most that began within any window of that length.
fn most_within(starts: &[Duration], window: Duration) -> usize {
    let within = |from: &Duration| starts.iter().filter(|start| (*from..*from + window).contains(start)).count();
    starts.iter().map(within).max().unwrap_or(0)
}

async fn assert_all_ended(outpost: &Outpost, state: DeliveryState) {
    let down = outpost_core::DestinationId::new("down").unwrap();
    let filter = DeliveryFilter { destinations: vec![down], ..DeliveryFilter::default() };
    let mut page = PageRequest { limit: 100, ..PageRequest::default() };
    let mut found = 0;
    loop {
        let listed = outpost.deliveries().list("acme", &filter, &page).await.unwrap();
        assert!(listed.items.iter().all(|delivery| delivery.state == state));
        found += listed.items.len();
        page.cursor = listed.next;
        if page.cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, EVENTS);
}

/// Every event for the healthy receiver was sent once, at the time it was published.
fn assert_nobody_else_was_delayed(calls: &ScriptedCalls) {
    let others: Vec<ScriptedCall> = calls.all().into_iter().filter(|call| &*call.target != DOWN).collect();
    assert!(others.len() > 500, "{}", others.len());
    for call in others {
        let late = call.message.now.since(call.message.time);
        assert!(late < Duration::from_millis(50) && call.message.attempt == 1, "{late:?} late");
    }
}

/// How many requests the receiver got while it was down.
fn while_down(calls: &ScriptedCalls) -> usize {
    to_down(calls).len() - after_recovery(calls).len()
}

/// How many holds begin and end within three days: 5, 10, 20, 40, 80 and 160 s, then 300 s each. What was on
/// its way at first counts for one.
fn probes() -> usize {
    6 + (OUTAGE.as_secs() as usize - 315) / 300
}

/// One probe, then no more at once than have been answered before, and never more than allowed.
fn assert_slow_start(starts: &[Duration]) {
    assert!(starts[1] >= starts[0] + LATENCY, "one probe decides");
    for (sent, start) in starts.iter().enumerate() {
        let answered = starts.iter().filter(|earlier| **earlier + LATENCY <= *start).count();
        let in_flight = sent + 1 - answered;
        assert!(in_flight <= (answered + 1).min(CONCURRENCY as usize), "{in_flight} after {answered} answers");
    }
    let a_second = CONCURRENCY as usize * 1000 / LATENCY.as_millis() as usize;
    assert!(most_within(starts, Duration::from_secs(1)) <= a_second);
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_receiver_is_probed_while_it_is_down_and_started_slowly_when_it_is_up() {
    let transport = transport(ScriptedReply::status(503).after(Duration::from_millis(20)));
    let calls = transport.calls();
    let outpost = engine(MemoryStore::new(), transport, 1).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("down", DOWN), ("well", "https://well.test/")]).await;
    publish_all(&outpost).await;
    live_on(&outpost, OUTAGE - MINUTE, MINUTE * 5).await;
    live_on(&outpost, MINUTE * 7, Duration::from_millis(500)).await;
    let asked = while_down(&calls);
    assert_eq!(asked, CONCURRENCY as usize + probes());
    let starts = after_recovery(&calls);
    assert_slow_start(&starts);
    assert!(starts[0] <= MINUTE * 5 + LATENCY, "no hold is longer");
    assert!(starts[EVENTS - 1] <= starts[0] + Duration::from_secs(5), "and nothing lags behind");
    assert_all_ended(&outpost, DeliveryState::Delivered).await;
    assert_eq!(starts.len(), EVENTS);
    assert_nobody_else_was_delayed(&calls);
}

#[tokio::test(start_paused = true)]
async fn restarts_in_the_outage_neither_ask_more_nor_forget_the_hold() {
    let transport = transport(ScriptedReply::status(503).after(Duration::from_millis(20)));
    let (calls, store) = (transport.calls(), MemoryStore::new());
    let clock = OneClock(Arc::new(TokioClock::starting_at(epoch())));
    let start = async |seed| {
        let builder = engine(store.another_process(), transport.clone(), seed).clock(clock.clone());
        builder.start().await.unwrap()
    };
    let mut outpost = start(1).await;
    tenant_with(&outpost, "acme", &[("down", DOWN), ("well", "https://well.test/")]).await;
    publish_all(&outpost).await;
    for restart in 0..71 {
        live_on(&outpost, HOUR, MINUTE * 7).await;
        // By turns in good order and as in a crash.
        if restart % 2 == 0 {
            assert!(outpost.shutdown(MINUTE).await);
        }
        drop(outpost);
        outpost = start(restart + 2).await;
    }
    live_on(&outpost, HOUR * 2, MINUTE).await;
    let asked = while_down(&calls);
    assert_eq!(asked, CONCURRENCY as usize + probes());
    let starts = after_recovery(&calls);
    assert_slow_start(&starts);
    assert_all_ended(&outpost, DeliveryState::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn holds_grow_also_when_little_is_due_at_a_time() {
    for latency in [0, 20] {
        let transport = transport(ScriptedReply::status(503).after(Duration::from_millis(latency)));
        let calls = transport.calls();
        let outpost = engine(MemoryStore::new(), transport, 1).start().await.unwrap();
        tenant_with(&outpost, "acme", &[("down", DOWN)]).await;
        // Six hours: 6 + (6 * 3600 - 315) / 300 holds.
        for _ in 0..6 * 60 {
            outpost.publish("acme", NewEvent::new("a.b", "{}").to("down")).await.unwrap();
            tokio::time::sleep(MINUTE).await;
        }
        let asked = to_down(&calls).len();
        assert!((70..=77).contains(&asked), "{asked} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn two_processes_share_the_holds_and_the_slow_start_of_each_is_its_own() {
    let transport = transport(ScriptedReply::status(503).after(Duration::from_millis(20)));
    let (calls, store) = (transport.calls(), MemoryStore::new());
    let clock = OneClock(Arc::new(TokioClock::starting_at(epoch())));
    let start = async |seed| {
        let builder = engine(store.another_process(), transport.clone(), seed).clock(clock.clone());
        builder.start().await.unwrap()
    };
    let (one, two) = (start(1).await, start(2).await);
    tenant_with(&one, "acme", &[("down", DOWN), ("well", "https://well.test/")]).await;
    publish_all(&one).await;
    live_on(&two, OUTAGE - MINUTE, MINUTE * 5).await;
    live_on(&one, MINUTE * 7, Duration::from_millis(500)).await;
    let asked = while_down(&calls);
    assert!(asked <= CONCURRENCY as usize + 2 * probes(), "{asked} requests: each process may probe once a hold");
    let starts = after_recovery(&calls);
    // Window by window, twice what one process does.
    for (round, most) in [2, 4, 8, 16, 32, 64].into_iter().enumerate() {
        let from = starts[0] + LATENCY * round as u32;
        let sent = starts.iter().filter(|start| (from..from + LATENCY).contains(start)).count();
        assert!(sent <= most, "{sent} in round {round}");
    }
    assert!(most_within(&starts, LATENCY) <= 2 * CONCURRENCY as usize);
    assert_all_ended(&one, DeliveryState::Delivered).await;
    assert_nobody_else_was_delayed(&calls);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_refuses_connections_is_asked_by_schedule_and_not_by_all_at_once_when_it_is_up() {
    let transport = transport(ScriptedReply::error(ErrorClass::Refused).after(Duration::from_millis(1)));
    let calls = transport.calls();
    let outpost = engine(MemoryStore::new(), transport, 1).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("down", DOWN), ("well", "https://well.test/")]).await;
    publish_all(&outpost).await;
    live_on(&outpost, OUTAGE, MINUTE * 5).await;
    live_on(&outpost, HOUR * 24, MINUTE).await;
    // Nine entries of the schedule lie within three days, jitter or not; the tenth finds the receiver up.
    assert_eq!(while_down(&calls), 9 * EVENTS);
    let starts = after_recovery(&calls);
    assert_eq!(starts.len(), EVENTS);
    // They fell due together, and 20 hours with a fifth of jitter lie between: four hours to spread over.
    assert!(most_within(&starts, MINUTE) <= 20, "{} in a minute", most_within(&starts, MINUTE));
    assert!(most_within(&starts, Duration::from_secs(1)) <= 5);
    assert_all_ended(&outpost, DeliveryState::Delivered).await;
    assert_nobody_else_was_delayed(&calls);
}

#[tokio::test(start_paused = true)]
async fn what_failed_within_one_second_is_not_tried_again_within_one() {
    const FAILED: usize = 5000;
    let up = epoch().after(Duration::from_secs(30));
    let transport = ScriptedTransport::new(move |_, message| {
        if message.now < up { ScriptedReply::error(ErrorClass::Refused) } else { ScriptedReply::ok().after(LATENCY) }
    });
    let calls = transport.calls();
    let outpost = engine(MemoryStore::new(), transport, 1).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("down", DOWN)]).await;
    for batch in 0..FAILED / 1000 {
        let events = (0..1000).map(|n| NewEvent::new("a.b", "{}").id(format!("e{batch}-{n}"))).collect();
        outpost.publish_batch("acme", events).await.unwrap();
    }
    tokio::time::sleep(HOUR).await;
    let since = |call: &ScriptedCall| call.message.now.since(epoch());
    let of = |number| calls.all().iter().filter(|call| call.message.attempt == number).map(since).collect::<Vec<_>>();
    let (first, second, third) = (of(1), of(2), of(3));
    assert_eq!((first.len(), second.len(), third.len(), calls.total()), (FAILED, FAILED, FAILED, 3 * FAILED as u64));
    assert!(first.iter().all(|at| *at < Duration::from_secs(1)));
    // 5 s and up to 1 s more, then 300 s and up to 60 s more: half as many again as spread evenly is allowed.
    assert!(most_within(&second, Duration::from_millis(100)) <= FAILED / 10 * 3 / 2);
    assert!(most_within(&third, Duration::from_secs(1)) <= FAILED / 60 * 3 / 2);
}
