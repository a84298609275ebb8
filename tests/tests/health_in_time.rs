//! A destination's health in the running engine: who is told what, and when it is disabled.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost_core::{
    DeliveryState, DisabledBy, ErrorClass, HealthPolicy, MemoryStore, NewDestination, NewEvent, Outpost,
    OutpostBuilder, ReplayRequest, ReplayState, RetryPolicy, Schedule, ScriptedReply, ScriptedTransport, Signal, Store,
    TestEvent,
};
use outpost_tests::{finished, notes, state, tenant_with, virtual_builder, wait_for};

fn event(id: &str) -> NewEvent {
    NewEvent::new("a.b", "{}").id(id)
}

/// One attempt and no more.
fn once() -> RetryPolicy {
    RetryPolicy::new(Schedule::Explicit(Vec::new())).unwrap()
}

type Told = Arc<Mutex<Vec<String>>>;

/// A builder whose signals about health are noted as short texts.
fn watched(store: impl Store, transport: ScriptedTransport) -> (OutpostBuilder, Told) {
    let told: Told = notes();
    let seen = told.clone();
    let builder = virtual_builder(store, transport).retry(once()).observer(move |signal: &Signal| {
        let text = match signal {
            Signal::Failing { tenant, destination, percent, failures, limit, .. } => {
                format!("{tenant}/{destination} {percent}% {failures}/{limit}")
            }
            Signal::Disabled { tenant, destination, disabled } => {
                format!("{tenant}/{destination} disabled by {}", disabled.by.as_str())
            }
            Signal::Recovered { tenant, destination, failures, .. } => {
                format!("{tenant}/{destination} recovered after {failures}")
            }
            Signal::Exhausted { tenant, destination, event } => format!("{tenant}/{destination} exhausted {event}"),
            _ => return,
        };
        seen.lock().unwrap().push(text);
    });
    (builder, told)
}

fn told(told: &Told, word: &str) -> Vec<String> {
    told.lock().unwrap().iter().filter(|text| text.contains(word)).cloned().collect()
}

async fn publish(outpost: &Outpost, tenant: &str, from: u32, count: u32) {
    for number in from..from + count {
        outpost.publish(tenant, event(&format!("e{number}"))).await.unwrap();
        finished(outpost, tenant, "main", &format!("e{number}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn warnings_come_once_each_at_their_count_also_across_restarts_and_processes() {
    let store = MemoryStore::new();
    let policy = HealthPolicy::default().consecutive_failures(Some(10)).exhausted_window(None);
    let failing = || ScriptedTransport::always(ScriptedReply::status(500));
    let (builder, first) = watched(store.clone(), failing());
    let one = builder.health(policy).start().await.unwrap();
    tenant_with(&one, "acme", &[("main", "https://one.test/")]).await;
    publish(&one, "acme", 0, 6).await;
    assert_eq!(*first.lock().unwrap(), ["acme/main 50% 5/10"]);
    one.shutdown(Duration::from_secs(5)).await;

    let (builder, second) = watched(store.another_process(), failing());
    let two = builder.health(policy).start().await.unwrap();
    let (builder, third) = watched(store.another_process(), failing());
    let three = builder.health(policy).start().await.unwrap();
    // Both at once: the count is kept in the store.
    tokio::join!(publish(&two, "acme", 6, 10), publish(&three, "acme", 16, 10));
    let mut all: Vec<String> = second.lock().unwrap().iter().chain(third.lock().unwrap().iter()).cloned().collect();
    all.sort();
    assert_eq!(all, ["acme/main 100% 10/10", "acme/main 70% 7/10", "acme/main 90% 9/10"]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_failures_disable_at_the_count_and_what_is_left_is_skipped() {
    let policy = HealthPolicy::default().consecutive_failures(Some(20)).disable_at_count(true);
    let slow = ScriptedReply::status(500).after(Duration::from_secs(1));
    let (builder, signals) = watched(MemoryStore::new(), ScriptedTransport::always(slow));
    let outpost = builder.health(policy).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    for number in 0..100 {
        outpost.publish("acme", event(&format!("e{number}"))).await.unwrap();
    }
    for number in 0..100 {
        finished(&outpost, "acme", "main", &format!("e{number}")).await;
    }
    assert_eq!(told(&signals, "disabled"), ["acme/main disabled by consecutive_failure"], "once");
    let destination = outpost.destinations().get("acme", "main").await.unwrap();
    let disabled = destination.disabled.unwrap();
    assert_eq!((disabled.by, disabled.reason.as_str()), (DisabledBy::Failures, "20 attempts in a row failed"));
    assert_eq!(disabled.last_error.as_deref(), Some("the receiver answered 500"));
    // Thirty-two were on their way; those after the twentieth tell nothing new.
    assert_eq!(outpost.destinations().lane("acme", "main").await.unwrap().health.failures, 20);
    assert_eq!(state(&outpost, "acme", "main", "e99").await, DeliveryState::Skipped);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_failures_does_not_disable_but_days_of_nothing_else_do() {
    let policy = HealthPolicy::default().disable_after(Some(Duration::from_secs(3 * 86_400)));
    let (builder, signals) =
        watched(MemoryStore::new(), ScriptedTransport::always(ScriptedReply::error(ErrorClass::Refused)));
    let outpost = builder.health(policy).concurrency(500).destination_concurrency(500).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    for number in 0..500 {
        outpost.publish("acme", event(&format!("b{number}"))).await.unwrap();
    }
    finished(&outpost, "acme", "main", "b499").await;
    assert!(outpost.destinations().get("acme", "main").await.unwrap().disabled.is_none(), "a burst is no trend");
    assert_eq!(told(&signals, "100%").len(), 1, "but it is told");
    tokio::time::sleep(Duration::from_secs(3 * 86_400 - 60)).await;
    publish(&outpost, "acme", 0, 1).await;
    assert!(outpost.destinations().get("acme", "main").await.unwrap().disabled.is_none());
    tokio::time::sleep(Duration::from_secs(60)).await;
    publish(&outpost, "acme", 1, 1).await;
    let disabled = outpost.destinations().get("acme", "main").await.unwrap().disabled.unwrap();
    assert_eq!(disabled.by, DisabledBy::Failing);
    assert!(disabled.reason.contains("every attempt since"), "{}", disabled.reason);
}

#[tokio::test(start_paused = true)]
async fn a_success_and_enabling_start_anew() {
    let down = Arc::new(AtomicBool::new(true));
    let switch = down.clone();
    let transport = ScriptedTransport::new(move |_, _| {
        if switch.load(Ordering::SeqCst) { ScriptedReply::status(500) } else { ScriptedReply::ok() }
    });
    let policy = HealthPolicy::default().consecutive_failures(Some(4)).disable_at_count(true).exhausted_window(None);
    let (builder, signals) = watched(MemoryStore::new(), transport);
    let outpost = builder.health(policy).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    publish(&outpost, "acme", 0, 3).await;
    down.store(false, Ordering::SeqCst);
    publish(&outpost, "acme", 3, 1).await;
    assert_eq!(*signals.lock().unwrap(), ["acme/main 50% 2/4", "acme/main 70% 3/4", "acme/main recovered after 3"]);
    down.store(true, Ordering::SeqCst);
    publish(&outpost, "acme", 4, 4).await;
    assert!(outpost.destinations().get("acme", "main").await.unwrap().disabled.is_some());
    outpost.destinations().enable("acme", "main").await.unwrap();
    publish(&outpost, "acme", 8, 1).await;
    assert!(outpost.destinations().get("acme", "main").await.unwrap().disabled.is_none(), "one failure is one");
    assert_eq!(outpost.destinations().lane("acme", "main").await.unwrap().health.failures, 1);
}

#[tokio::test(start_paused = true)]
async fn tests_faults_of_ours_and_other_tenants_do_not_count() {
    let transport = ScriptedTransport::new(|target, message| {
        if target.display().contains("ours") && message.topic.as_ref() != "test" {
            ScriptedReply::error(ErrorClass::System)
        } else {
            ScriptedReply::status(500)
        }
    });
    let (builder, signals) = watched(MemoryStore::new(), transport);
    let policy = HealthPolicy::default().consecutive_failures(Some(3)).disable_at_count(true).exhausted_window(None);
    let outpost = builder.health(policy).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://ours.test/")]).await;
    tenant_with(&outpost, "other", &[("main", "https://theirs.test/")]).await;
    publish(&outpost, "acme", 0, 10).await;
    for _ in 0..10 {
        let attempt = outpost.destinations().test("acme", "main", TestEvent::default()).await.unwrap();
        assert_eq!(attempt.outcome.code, "500");
    }
    assert!(signals.lock().unwrap().is_empty());
    assert_eq!(outpost.destinations().lane("acme", "main").await.unwrap().health, Default::default());
    publish(&outpost, "other", 0, 5).await;
    assert_eq!(told(&signals, "disabled"), ["other/main disabled by consecutive_failure"]);
    assert!(outpost.destinations().get("acme", "main").await.unwrap().disabled.is_none());
}

#[tokio::test(start_paused = true)]
async fn gone_disables_unless_that_is_switched_off() {
    for (on, wanted) in [(true, Some(DisabledBy::Gone)), (false, None)] {
        let transport = ScriptedTransport::always(ScriptedReply::status(410));
        let (builder, _) = watched(MemoryStore::new(), transport);
        let policy = HealthPolicy::default().disable_when_gone(on);
        let outpost = builder.retry(RetryPolicy::default()).health(policy).start().await.unwrap();
        tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
        outpost.publish("acme", event("e1")).await.unwrap();
        let delivery = finished(&outpost, "acme", "main", "e1").await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Failed, 1), "it is not sent again");
        let destination = outpost.destinations().get("acme", "main").await.unwrap();
        assert_eq!(destination.disabled.map(|disabled| disabled.by), wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn used_up_retries_are_told_once_a_while() {
    let (builder, signals) = watched(MemoryStore::new(), ScriptedTransport::always(ScriptedReply::status(500)));
    let outpost = builder.start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    publish(&outpost, "acme", 0, 3).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    publish(&outpost, "acme", 3, 2).await;
    assert_eq!(told(&signals, "exhausted"), ["acme/main exhausted e0", "acme/main exhausted e3"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_while_disabled_is_replayed_after_enabling() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = attempts.clone();
    let transport = ScriptedTransport::new(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        ScriptedReply::ok()
    });
    let (builder, _) = watched(MemoryStore::new(), transport);
    let outpost = builder.start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.destinations().disable("acme", "main", "maintenance").await.unwrap();
    for number in 0..450 {
        outpost.publish("acme", event(&format!("e{number}"))).await.unwrap();
    }
    assert_eq!(state(&outpost, "acme", "main", "e7").await, DeliveryState::Skipped);
    let refused = outpost.replays().start("acme", "main", ReplayRequest::default()).await.unwrap_err();
    assert_eq!(refused.kind(), outpost_core::ErrorKind::Conflict);
    outpost.destinations().enable("acme", "main").await.unwrap();
    let preview = outpost.replays().preview("acme", "main", ReplayRequest::default()).await.unwrap();
    assert_eq!((preview.found, preview.at_least), (450, false));
    let replay = outpost.replays().start("acme", "main", ReplayRequest::default()).await.unwrap();
    for number in 0..450 {
        let id = format!("e{number}");
        wait_for(&outpost, "acme", "main", &id, |delivery| delivery.state == DeliveryState::Delivered).await;
    }
    let replay = outpost.replays().get("acme", &replay.id).await.unwrap();
    assert_eq!((replay.state, replay.found, replay.requested), (ReplayState::Done, 450, 450));
    assert_eq!(attempts.load(Ordering::SeqCst), 450, "each once");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_destination_s_work_ends_and_its_id_starts_anew() {
    let (builder, _) = watched(MemoryStore::new(), ScriptedTransport::always(ScriptedReply::status(500)));
    let outpost = builder.retry(RetryPolicy::default()).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    for number in 0..20 {
        outpost.publish("acme", event(&format!("e{number}"))).await.unwrap();
    }
    for number in 0..20 {
        wait_for(&outpost, "acme", "main", &format!("e{number}"), |delivery| delivery.attempts == 2).await;
    }
    let old = outpost.destinations().get("acme", "main").await.unwrap().incarnation;
    outpost.destinations().delete("acme", "main").await.unwrap();
    let id = outpost_core::DestinationId::new("main").unwrap();
    outpost.destinations().create("acme", NewDestination::webhook("https://two.test/").id(id)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10 * 86_400)).await;
    let filter = outpost_core::DeliveryFilter { destination_lives: vec![old], ..Default::default() };
    let page = outpost.deliveries().list("acme", &filter, &Default::default()).await.unwrap();
    assert_eq!(page.items.len(), 20);
    for delivery in page.items {
        assert_eq!(delivery.state.as_str(), "cancelled_destination_deleted");
        assert_eq!(delivery.attempts, 2, "nothing was sent after the deletion");
    }
    let lane = outpost.destinations().lane("acme", "main").await.unwrap();
    assert_eq!((lane.open, lane.health), (0, Default::default()), "the new life has inherited nothing");
}
