//! The whole engine in virtual time: days pass in milliseconds and every due time is exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outpost_core::{
    DeliveryState, DestinationPatch, ErrorClass, ErrorKind, MapPatch, MemoryStore, NewEvent, PageRequest,
    ScriptedReply, ScriptedTransport, Signal, Trigger,
};
use outpost_tests::{epoch, finished, notes, state, tenant_with, virtual_builder, virtual_outpost, wait_for};

fn event(id: &str) -> NewEvent {
    NewEvent::new("order.created", r#"{"n": 1}"#).id(id)
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_succeeds_is_recorded_with_its_exchange() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::ok().body("thanks")).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/hook")]).await;
    let published = outpost.publish("acme", event("e1")).await.unwrap();
    assert_eq!((published.duplicate, published.matched.len()), (false, 1));
    let delivery = finished(&outpost, "acme", "main", "e1").await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1));
    let attempts = outpost.deliveries().attempts_of("acme", "main", "e1").await.unwrap();
    let attempt = &attempts[0];
    assert!(attempt.outcome.success && attempt.outcome.code == "200" && attempt.trigger == Trigger::Automatic);
    assert_eq!(attempt.response.as_ref().unwrap().body, "thanks");
    assert_eq!(calls.all()[0].message.data, r#"{"n": 1}"#);
}

#[tokio::test(start_paused = true)]
async fn the_full_schedule_of_days_is_exact_and_then_ends() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::status(500)).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    let delivery = finished(&outpost, "acme", "main", "e1").await;
    assert_eq!((delivery.state, delivery.attempts, delivery.automatic_attempts), (DeliveryState::Failed, 10, 10));
    let seconds: Vec<i64> =
        calls.all().iter().map(|call| (call.message.now.as_millis() - epoch().as_millis()) / 1000).collect();
    let gaps: Vec<i64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]);
    let numbers: Vec<u32> = calls.all().iter().map(|call| call.message.attempt).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_secs(100 * 86_400)).await;
    assert_eq!(calls.total(), 10, "nothing follows the last attempt");
}

#[tokio::test(start_paused = true)]
async fn several_failing_destinations_have_schedules_of_their_own() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::error(ErrorClass::Refused)).await;
    let ids = ["a", "b", "c", "d", "e"];
    let destinations: Vec<(&str, &str)> = ids.iter().map(|id| (*id, "https://one.test/")).collect();
    tenant_with(&outpost, "acme", &destinations).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    for id in ids {
        let delivery = finished(&outpost, "acme", id, "e1").await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Failed, 10));
        assert_eq!(delivery.last_outcome.unwrap().code, "connection_refused");
    }
    assert_eq!(calls.total(), 50);
}

#[tokio::test(start_paused = true)]
async fn every_attempt_has_a_fresh_time_and_the_same_id() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |_, message| {
        if message.attempt < 5 { ScriptedReply::status(500) } else { ScriptedReply::ok() }
    })
    .await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    finished(&outpost, "acme", "main", "e1").await;
    let calls = calls.all();
    assert_eq!(calls.len(), 5);
    assert!(calls.iter().all(|call| call.message.id.as_str() == "e1"));
    assert!(calls.windows(2).all(|pair| pair[0].message.now < pair[1].message.now));
}

#[tokio::test(start_paused = true)]
async fn gone_stops_the_delivery_and_disables_the_destination_with_a_reason() {
    let signals = notes::<String>();
    let seen = signals.clone();
    let transport = ScriptedTransport::always(ScriptedReply::status(410));
    let calls = transport.calls();
    let observer = move |signal: &Signal| {
        if let Signal::Disabled { destination, .. } = signal {
            seen.lock().unwrap().push(destination.to_string());
        }
    };
    let outpost = virtual_builder(MemoryStore::new(), transport).observer(observer).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    assert_eq!(finished(&outpost, "acme", "main", "e1").await.state, DeliveryState::Failed);
    let destination = outpost.destinations().get("acme", "main").await.unwrap();
    assert!(destination.disabled.unwrap().reason.contains("410"));
    assert_eq!(*signals.lock().unwrap(), ["main"]);
    let published = outpost.publish("acme", event("e2")).await.unwrap();
    assert!(published.matched.is_empty());
    assert_eq!(state(&outpost, "acme", "main", "e2").await, DeliveryState::Skipped);
    assert_eq!(calls.total(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_destination_rests_then_is_probed_once_then_starts_slowly() {
    let until = epoch().after(Duration::from_secs(60));
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), move |_, message| {
        if message.now < until { ScriptedReply::status(503) } else { ScriptedReply::ok() }
            .after(Duration::from_millis(100))
    })
    .await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    let events = (0..200).map(|n| event(&format!("e{n}"))).collect();
    for answer in outpost.publish_batch("acme", events).await.unwrap() {
        answer.unwrap();
    }
    for n in 0..200 {
        assert_eq!(finished(&outpost, "acme", "main", &format!("e{n}")).await.state, DeliveryState::Delivered);
    }
    let refused = calls.all().iter().filter(|call| call.message.now < until).count();
    assert!(refused <= 32 + 10, "a window at first and one probe for each hold, but {refused} requests");
    let lane = outpost.destinations().lane("acme", "main").await.unwrap();
    assert_eq!((lane.strikes, lane.hold_until, lane.open), (0, None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_be_left_alone_is_a_floor_with_a_cap() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |_, message| match message.attempt {
        1 => ScriptedReply::status(429).retry_after(Duration::from_secs(90)),
        2 => ScriptedReply::status(500).retry_after(Duration::from_secs(1_000_000)),
        _ => ScriptedReply::ok(),
    })
    .await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    finished(&outpost, "acme", "main", "e1").await;
    let at: Vec<i64> =
        calls.all().iter().map(|call| (call.message.now.as_millis() - epoch().as_millis()) / 1000).collect();
    assert_eq!(at, [0, 90, 90 + 3600]);
}

#[tokio::test(start_paused = true)]
async fn manual_attempts_neither_delay_nor_replace_the_schedule() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::status(500)).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    wait_for(&outpost, "acme", "main", "e1", |delivery| delivery.attempts == 2).await;
    let before = outpost.deliveries().get("acme", "main", "e1").await.unwrap();
    outpost.deliveries().retry("acme", "main", "e1").await.unwrap();
    let after = wait_for(&outpost, "acme", "main", "e1", |delivery| delivery.attempts == 3).await;
    assert_eq!(after.next_attempt_at, before.next_attempt_at);
    assert_eq!((after.automatic_attempts, after.state), (2, DeliveryState::Retrying));
    let end = finished(&outpost, "acme", "main", "e1").await;
    assert_eq!((end.attempts, end.automatic_attempts), (11, 10), "the budget counts automatic attempts only");
    let manual: Vec<u32> =
        calls.all().iter().filter(|c| c.message.trigger == Trigger::Manual).map(|c| c.message.attempt).collect();
    assert_eq!(manual, [3]);
    // It works past exhaustion, and for what was delivered.
    outpost.deliveries().retry("acme", "main", "e1").await.unwrap();
    wait_for(&outpost, "acme", "main", "e1", |delivery| delivery.attempts == 12).await;
}

#[tokio::test(start_paused = true)]
async fn each_accepted_manual_retry_is_one_attempt_and_a_concurrent_one_a_conflict() {
    let (outpost, calls) =
        virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::ok().after(Duration::from_secs(5))).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    calls.reached(1).await;
    let refused = outpost.deliveries().retry("acme", "main", "e1").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    finished(&outpost, "acme", "main", "e1").await;
    let all = (0..5).map(|_| outpost.deliveries()).collect::<Vec<_>>();
    let mut accepted = 0;
    for deliveries in all {
        accepted += u32::from(deliveries.retry("acme", "main", "e1").await.is_ok());
    }
    assert_eq!(accepted, 1);
    wait_for(&outpost, "acme", "main", "e1", |delivery| delivery.attempts == 2).await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(calls.total(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_manual_success_ends_what_was_scheduled() {
    let fine = Arc::new(AtomicU32::new(0));
    let switch = fine.clone();
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), move |_, _| {
        if switch.load(Ordering::SeqCst) == 1 { ScriptedReply::ok() } else { ScriptedReply::status(503) }
    })
    .await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    wait_for(&outpost, "acme", "main", "e1", |delivery| delivery.attempts == 1).await;
    fine.store(1, Ordering::SeqCst);
    // The destination is held after its 503; a manual attempt passes that.
    outpost.deliveries().retry("acme", "main", "e1").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(state(&outpost, "acme", "main", "e1").await, DeliveryState::Delivered);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(calls.total(), 2);
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_the_schedule() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::status(500)).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    wait_for(&outpost, "acme", "main", "e1", |delivery| delivery.attempts == 1).await;
    outpost.deliveries().cancel("acme", "main", "e1").await.unwrap();
    assert_eq!(state(&outpost, "acme", "main", "e1").await.as_str(), "cancelled_user");
    assert_eq!(outpost.deliveries().cancel("acme", "main", "e1").await.unwrap_err().kind(), ErrorKind::Conflict);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(calls.total(), 1);
}

#[tokio::test(start_paused = true)]
async fn disabling_and_deleting_end_pending_work_and_a_new_life_inherits_nothing() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |target, _| {
        if target.display().contains("old") { ScriptedReply::status(500) } else { ScriptedReply::ok() }
    })
    .await;
    tenant_with(&outpost, "acme", &[("one", "https://old.test/1"), ("two", "https://old.test/2")]).await;
    for n in 0..50 {
        outpost.publish("acme", event(&format!("e{n}"))).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = calls.total();
    outpost.destinations().disable("acme", "one", "maintenance").await.unwrap();
    outpost.destinations().delete("acme", "two").await.unwrap();
    for n in 0..50 {
        assert_eq!(state(&outpost, "acme", "one", &format!("e{n}")).await, DeliveryState::Skipped);
    }
    tenant_with(&outpost, "acme", &[("two", "https://new.test/2")]).await;
    outpost.destinations().enable("acme", "one").await.unwrap();
    tokio::time::sleep(Duration::from_secs(10 * 86_400)).await;
    assert_eq!(calls.total(), before, "no old work goes anywhere");
    let missing = outpost.deliveries().get("acme", "two", "e0").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    outpost.deliveries().retry("acme", "one", "e0").await.unwrap();
    wait_for(&outpost, "acme", "one", "e0", |delivery| delivery.state == DeliveryState::Failed).await;
    outpost.tenants().delete("acme").await.unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    assert!(outpost.destinations().list("acme").await.unwrap().is_empty());
    assert!(
        outpost.events().list("acme", &Default::default(), &PageRequest::default()).await.unwrap().items.is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_changed_destination_is_honoured_by_the_next_attempt_and_the_next_event() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |target, _| {
        if target.display().contains("new") { ScriptedReply::ok() } else { ScriptedReply::status(500) }
    })
    .await;
    tenant_with(&outpost, "acme", &[("main", "https://old.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    wait_for(&outpost, "acme", "main", "e1", |delivery| delivery.attempts == 1).await;
    let patch = DestinationPatch { config: MapPatch::set("url", "https://new.test/"), ..DestinationPatch::default() };
    outpost.destinations().update("acme", "main", patch).await.unwrap();
    outpost.publish("acme", event("e2")).await.unwrap();
    assert_eq!(finished(&outpost, "acme", "main", "e1").await.attempts, 2);
    assert_eq!(finished(&outpost, "acme", "main", "e2").await.attempts, 1);
    assert_eq!(calls.total(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_transport_is_a_failed_attempt() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let (outpost, _) = virtual_outpost(MemoryStore::new(), |_, message| {
        assert!(message.attempt > 1, "a fault");
        ScriptedReply::ok()
    })
    .await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    assert_eq!(finished(&outpost, "acme", "main", "e1").await.state, DeliveryState::Delivered);
    std::panic::set_hook(hook);
    let attempts = outpost.deliveries().attempts_of("acme", "main", "e1").await.unwrap();
    assert_eq!(attempts[0].error.as_ref().unwrap().class, ErrorClass::System);
}

#[tokio::test(start_paused = true)]
async fn events_that_ask_for_no_retry_get_one_attempt() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::status(500)).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.publish("acme", event("e1").eligible_for_retry(false)).await.unwrap();
    assert_eq!(finished(&outpost, "acme", "main", "e1").await.state, DeliveryState::Failed);
    tokio::time::sleep(Duration::from_secs(10 * 86_400)).await;
    assert_eq!(calls.total(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_comes_later_finishes_what_an_earlier_one_left() {
    let store = MemoryStore::new();
    {
        let (outpost, calls) =
            virtual_outpost(store.clone(), |_, _| ScriptedReply::ok().after(Duration::from_secs(15))).await;
        tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
        for n in 0..500 {
            outpost.publish("acme", event(&format!("e{n}"))).await.unwrap();
        }
        calls.reached(10).await;
        // Dropped as in a crash: leases stay behind.
    }
    let (outpost, calls) = virtual_outpost(store.another_process(), |_, _| ScriptedReply::ok()).await;
    for n in 0..500 {
        assert_eq!(finished(&outpost, "acme", "main", &format!("e{n}")).await.state, DeliveryState::Delivered);
    }
    assert_eq!(calls.total(), 500);
}

#[tokio::test(start_paused = true)]
async fn two_processes_on_one_store_send_each_delivery_once_and_see_each_others_changes() {
    let store = MemoryStore::new();
    let (one, calls_one) =
        virtual_outpost(store.clone(), |_, _| ScriptedReply::ok().after(Duration::from_millis(50))).await;
    let (two, calls_two) = virtual_outpost(store.another_process(), |_, _| ScriptedReply::ok()).await;
    tenant_with(&one, "acme", &[("main", "https://one.test/")]).await;
    for n in 0..300 {
        let outpost = if n % 2 == 0 { &one } else { &two };
        outpost.publish("acme", event(&format!("e{n}"))).await.unwrap();
    }
    for n in 0..300 {
        finished(&one, "acme", "main", &format!("e{n}")).await;
    }
    assert_eq!(calls_one.total() + calls_two.total(), 300);
    one.destinations().disable("acme", "main", "stop").await.unwrap();
    assert!(two.publish("acme", event("late")).await.unwrap().matched.is_empty(), "never behind at publish");
}

#[tokio::test(start_paused = true)]
async fn one_tenants_stalled_destinations_do_not_move_anothers_latency() {
    const STALLED: usize = 20;
    const BACKLOG: usize = 10_000;
    let (mut slow, mut quick) = (Vec::new(), Vec::new());
    for stalled in [false, true] {
        let transport = ScriptedTransport::new(|target, _| {
            let delay = if target.display().contains("stalled") { 1000 } else { 0 };
            ScriptedReply::ok().after(Duration::from_millis(20) + Duration::from_secs(delay))
        })
        .remember(0);
        let latencies = notes::<Duration>();
        let noted = latencies.clone();
        let observer = move |signal: &Signal| {
            if let Signal::Attempted { tenant, event, .. } = signal
                && tenant.as_str() == "good"
            {
                let at: i64 = event.as_str().trim_start_matches('e').parse().unwrap();
                let now = tokio::time::Instant::now();
                noted.lock().unwrap().push(now.duration_since(start()) - Duration::from_millis(at.unsigned_abs()));
            }
        };
        begin();
        let outpost =
            virtual_builder(MemoryStore::new(), transport).concurrency(64).observer(observer).start().await.unwrap();
        tenant_with(&outpost, "good", &[("main", "https://fast.test/")]).await;
        if stalled {
            let ids: Vec<String> = (0..STALLED).map(|n| format!("d{n}")).collect();
            let destinations: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "https://stalled.test/")).collect();
            tenant_with(&outpost, "bad", &destinations).await;
            for batch in 0..BACKLOG / 1000 {
                let events = (0..1000).map(|n| event(&format!("b{batch}-{n}"))).collect();
                for answer in outpost.publish_batch("bad", events).await.unwrap() {
                    answer.unwrap();
                }
            }
        }
        for _ in 0..1000 {
            let at = tokio::time::Instant::now().duration_since(start()).as_millis();
            outpost.publish("good", event(&format!("e{at}"))).await.unwrap();
            tokio::time::sleep(Duration::from_millis(97)).await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mut found = latencies.lock().unwrap().clone();
        assert_eq!(found.len(), 1000);
        found.sort();
        if stalled { slow = found } else { quick = found }
    }
    let p99 = |sorted: &[Duration]| sorted[sorted.len() * 99 / 100];
    assert!(p99(&slow) <= p99(&quick) + Duration::from_millis(5), "{:?} against {:?}", p99(&slow), p99(&quick));
}

thread_local! {
    static START: std::cell::Cell<Option<tokio::time::Instant>> = const { std::cell::Cell::new(None) };
}

fn begin() {
    START.set(Some(tokio::time::Instant::now()));
}

fn start() -> tokio::time::Instant {
    START.get().expect("begun")
}

#[tokio::test(start_paused = true)]
async fn a_tenant_cannot_tell_a_blocked_address_from_a_name_that_does_not_resolve() {
    use outpost_core::{Actor, Capabilities};
    let (outpost, _) = virtual_outpost(MemoryStore::new(), |target, _| {
        let class = if target.display().contains("inside") { ErrorClass::Blocked } else { ErrorClass::Dns };
        let mut reply = ScriptedReply::error(class);
        if let Err(failure) = &mut reply.result {
            failure.error.message = "this address cannot be used".to_owned();
        }
        reply
    })
    .await;
    tenant_with(&outpost, "acme", &[("one", "https://inside.test/"), ("two", "https://nowhere.test/")]).await;
    outpost.publish("acme", event("e1")).await.unwrap();
    for id in ["one", "two"] {
        wait_for(&outpost, "acme", id, "e1", |delivery| delivery.attempts == 1).await;
    }
    let tenant = outpost.tenants().get("acme").await.unwrap();
    let actor = Actor::Tenant { tenant: tenant.id, incarnation: tenant.incarnation, capabilities: Capabilities::ALL };
    let seen = outpost.acting_as(actor);
    let mut shown = Vec::new();
    for id in ["one", "two"] {
        let delivery = seen.deliveries().get("acme", id, "e1").await.unwrap();
        let attempt = seen.deliveries().attempts_of("acme", id, "e1").await.unwrap().remove(0);
        let error = attempt.error.unwrap();
        shown.push((delivery.last_outcome, attempt.outcome, error.class, error.message, error.detail));
    }
    assert_eq!(shown[0], shown[1]);
    let operator = outpost.deliveries().attempts_of("acme", "one", "e1").await.unwrap().remove(0);
    assert_eq!(operator.outcome.code, "blocked");
}

#[tokio::test(start_paused = true)]
async fn a_hold_found_by_one_process_stops_and_frees_the_other_as_well() {
    let store = MemoryStore::new();
    let until = epoch().after(Duration::from_secs(30));
    let (one, _) = virtual_outpost(store.clone(), move |_, message| {
        if message.now < until { ScriptedReply::status(503) } else { ScriptedReply::ok() }
    })
    .await;
    let (two, calls) = virtual_outpost(store.another_process(), move |_, message| {
        if message.now < until {
            ScriptedReply::error(ErrorClass::Timeout).after(Duration::from_secs(2))
        } else {
            ScriptedReply::ok()
        }
    })
    .await;
    tenant_with(&one, "acme", &[("main", "https://one.test/")]).await;
    for n in 0..400 {
        let outpost = if n % 2 == 0 { &one } else { &two };
        outpost.publish("acme", event(&format!("e{n}"))).await.unwrap();
    }
    for n in 0..400 {
        let end = finished(&two, "acme", "main", &format!("e{n}")).await;
        assert_eq!(end.state, DeliveryState::Delivered);
    }
    assert!(calls.total() < 2_000, "no spinning: {} requests", calls.total());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_delivery_that_waits_in_memory_is_not_sent() {
    let (outpost, calls) =
        virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::ok().after(Duration::from_secs(5))).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    for n in 0..60 {
        outpost.publish("acme", event(&format!("e{n}"))).await.unwrap();
    }
    calls.reached(32).await;
    outpost.deliveries().cancel("acme", "main", "e59").await.unwrap();
    for n in 0..59 {
        finished(&outpost, "acme", "main", &format!("e{n}")).await;
    }
    assert_eq!(state(&outpost, "acme", "main", "e59").await.as_str(), "cancelled_user");
    assert_eq!(calls.total(), 59);
}
