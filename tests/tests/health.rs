//! When failures of a destination are told of, when they disable it, and what starts it anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use outpost_core::{
    DeliveryState, DisabledBy, ErrorClass, HealthPolicy, NewEvent, Outpost, RetryPolicy, Schedule, ScriptedReply,
    ScriptedTransport, Signal, TestEvent,
};
use outpost_tests::stage::{Bed, Stage};
use outpost_tests::{over_every_store, tenant_with};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

over_every_store!(
    each_threshold_is_told_once_also_across_a_restart,
    two_processes_that_fail_together_tell_each_threshold_once,
    of_many_failures_at_once_the_threshold_disables_exactly_once,
    a_threshold_of_one_disables_at_the_first_failure,
    a_success_starts_anew_and_recovery_is_told_once,
    an_enabled_destination_starts_anew,
    a_burst_of_failures_within_a_second_disables_nothing,
    nothing_but_failures_for_the_configured_time_disables,
    gone_ends_the_event_and_disables_unless_told_not_to,
    other_refusals_follow_the_schedule,
    tenants_with_the_same_destination_id_do_not_affect_each_other,
    neither_tests_nor_faults_on_our_side_count,
    exhaustion_is_told_once_a_window,
);

fn by_count(limit: u32) -> HealthPolicy {
    HealthPolicy::default().consecutive_failures(Some(limit))
}

async fn failures(outpost: &Outpost, tenant: &str, destination: &str) -> u32 {
    outpost.destinations().lane(tenant, destination).await.unwrap().health.failures
}

async fn is_enabled(outpost: &Outpost, tenant: &str, destination: &str) -> bool {
    outpost.destinations().get(tenant, destination).await.unwrap().disabled.is_none()
}

/// A transport that answers what the switch says now.
fn switched(status: u16) -> (ScriptedTransport, Arc<AtomicU16>) {
    let switch = Arc::new(AtomicU16::new(status));
    let read = switch.clone();
    (ScriptedTransport::new(move |_, _| ScriptedReply::status(read.load(Ordering::SeqCst))), switch)
}

async fn each_threshold_is_told_once_also_across_a_restart(bed: Bed) {
    let stage = Stage::default();
    let failing = ScriptedTransport::always(ScriptedReply::status(500));
    let first = stage.builder(bed.open().await, failing.clone()).health(by_count(10)).start().await.unwrap();
    tenant_with(&first, "acme", &[("main", "https://one.test/")]).await;
    stage.publish(&first, "acme", "a", 4).await;
    assert!(stage.signals.told().is_empty(), "below half");
    stage.publish(&first, "acme", "b", 4).await;
    assert!(first.shutdown(HOUR).await);
    let second = stage.builder(bed.open().await, failing).health(by_count(10)).start().await.unwrap();
    stage.publish(&second, "acme", "c", 13).await;
    let told = ["50% 5 of 10", "70% 7 of 10", "90% 9 of 10", "100% 10 of 10"];
    assert_eq!(stage.signals.told(), told.map(|told| format!("acme/main failing {told}")));
    assert_eq!(failures(&second, "acme", "main").await, 21);
    assert!(is_enabled(&second, "acme", "main").await, "a count alone only warns");
}

async fn two_processes_that_fail_together_tell_each_threshold_once(bed: Bed) {
    let stage = Stage::default();
    let failing = ScriptedTransport::always(ScriptedReply::status(500).after(Duration::from_millis(2)));
    let policy = by_count(20).disable_at_count(false);
    let one = stage.builder(bed.open().await, failing.clone()).health(policy).start().await.unwrap();
    let two = stage.builder(bed.open().await, failing).health(policy).start().await.unwrap();
    tenant_with(&one, "acme", &[("main", "https://one.test/")]).await;
    let events = |name| (0..25).map(move |n| NewEvent::new("a.b", "{}").id(format!("{name}{n}")));
    let publish = async |outpost: &Outpost, name: &'static str| {
        for event in events(name) {
            outpost.publish("acme", event.eligible_for_retry(false)).await.unwrap();
        }
    };
    tokio::join!(publish(&one, "one-"), publish(&two, "two-"));
    stage.signals.attempts(50).await;
    let mut told = stage.signals.told();
    told.sort();
    let wanted = ["100% 20 of 20", "50% 10 of 20", "70% 14 of 20", "90% 18 of 20"];
    assert_eq!(told, wanted.map(|told| format!("acme/main failing {told}")));
    assert_eq!(failures(&one, "acme", "main").await, 50);
}

async fn of_many_failures_at_once_the_threshold_disables_exactly_once(bed: Bed) {
    let stage = Stage::default();
    let together = ScriptedTransport::always(ScriptedReply::status(500).after(Duration::from_millis(100)));
    let calls = together.calls();
    let policy = by_count(20).disable_at_count(true);
    let outpost = stage.builder(bed.open().await, together).health(policy).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    let events = (0..30).map(|n| NewEvent::new("a.b", "{}").id(format!("e{n}"))).collect();
    outpost.publish_batch("acme", events).await.unwrap();
    calls.reached(30).await;
    assert_eq!(stage.signals.attempted(), 0, "all thirty are on their way");
    stage.signals.attempts(30).await;
    let told = stage.signals.told();
    let disabled: Vec<&String> = told.iter().filter(|told| told.contains("disabled")).collect();
    assert_eq!(disabled, ["acme/main disabled consecutive_failure"]);
    assert_eq!(told.iter().filter(|told| told.contains("failing 100% 20 of 20")).count(), 1);
    let found = outpost.destinations().get("acme", "main").await.unwrap();
    let reason = found.disabled.clone().unwrap();
    assert_eq!((reason.by, reason.reason.as_str()), (DisabledBy::Failures, "20 attempts in a row failed"));
    assert_eq!(reason.at, outpost_tests::epoch());
    assert_eq!(failures(&outpost, "acme", "main").await, 20, "what was still on its way does not count");
    for n in 0..30 {
        let id = format!("e{n}");
        let delivery = outpost.deliveries().get("acme", "main", &id).await.unwrap();
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Skipped, 1), "{id}");
    }
    outpost.destinations().enable("acme", "main").await.unwrap();
    stage.publish(&outpost, "acme", "later", 1).await;
    assert_eq!(failures(&outpost, "acme", "main").await, 1);
    assert!(is_enabled(&outpost, "acme", "main").await);
}

async fn a_threshold_of_one_disables_at_the_first_failure(bed: Bed) {
    let stage = Stage::default();
    let failing = ScriptedTransport::always(ScriptedReply::error(ErrorClass::Refused));
    let policy = by_count(1).disable_at_count(true);
    let outpost = stage.builder(bed.open().await, failing).health(policy).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    stage.publish(&outpost, "acme", "e", 1).await;
    let told = ["acme/main failing 100% 1 of 1", "acme/main disabled consecutive_failure"];
    assert_eq!(stage.signals.told(), told, "the highest threshold only");
    let found = outpost.destinations().get("acme", "main").await.unwrap().disabled.unwrap();
    assert_eq!(found.last_error.as_deref(), Some("scripted connection_refused"));
}

async fn a_success_starts_anew_and_recovery_is_told_once(bed: Bed) {
    let stage = Stage::default();
    let (transport, switch) = switched(500);
    let outpost = stage.builder(bed.open().await, transport).health(by_count(10)).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    let since = outpost_tests::epoch();
    for (round, (status, count)) in [(500, 4), (200, 1), (500, 6), (200, 3), (500, 5)].into_iter().enumerate() {
        switch.store(status, Ordering::SeqCst);
        stage.publish(&outpost, "acme", &format!("r{round}-"), count).await;
        stage.clock.advance(Duration::from_secs(60));
    }
    let told = ["failing 50% 5 of 10", "recovered 6", "failing 50% 5 of 10"];
    assert_eq!(stage.signals.told(), told.map(|told| format!("acme/main {told}")));
    let recovered = stage.signals.all().into_iter().find_map(|signal| match signal {
        Signal::Recovered { since, .. } => Some(since),
        _ => None,
    });
    assert_eq!(recovered, Some(since.after(Duration::from_secs(120))), "since the first failure of the run");
}

async fn an_enabled_destination_starts_anew(bed: Bed) {
    let stage = Stage::default();
    let failing = ScriptedTransport::always(ScriptedReply::status(500));
    let policy = by_count(12).disable_at_count(true).disable_after(Some(DAY));
    let outpost = stage.builder(bed.open().await, failing).health(policy).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    stage.publish(&outpost, "acme", "a", 12).await;
    assert!(!is_enabled(&outpost, "acme", "main").await);
    outpost.destinations().enable("acme", "main").await.unwrap();
    assert_eq!(failures(&outpost, "acme", "main").await, 0);
    stage.clock.advance(DAY * 2);
    stage.publish(&outpost, "acme", "b", 1).await;
    assert!(is_enabled(&outpost, "acme", "main").await, "neither rule remembers what was before");
    stage.publish(&outpost, "acme", "c", 10).await;
    assert!(is_enabled(&outpost, "acme", "main").await, "one short");
    stage.publish(&outpost, "acme", "d", 1).await;
    let disabled = outpost.destinations().get("acme", "main").await.unwrap().disabled.unwrap();
    assert_eq!(disabled.by, DisabledBy::Failures);
    let count = stage.signals.told().iter().filter(|told| told.ends_with("failing 100% 12 of 12")).count();
    assert_eq!(count, 2, "once for each run of failures");
}

async fn a_burst_of_failures_within_a_second_disables_nothing(bed: Bed) {
    let stage = Stage::default();
    let failing = ScriptedTransport::always(ScriptedReply::status(500));
    let outpost = stage.builder(bed.open().await, failing).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("hundred", "https://1.test/")]).await;
    tenant_with(&outpost, "other", &[("more", "https://2.test/")]).await;
    stage.publish(&outpost, "acme", "a", 100).await;
    stage.publish(&outpost, "other", "b", 500).await;
    stage.clock.advance(Duration::from_secs(1));
    stage.publish(&outpost, "acme", "c", 1).await;
    stage.publish(&outpost, "other", "d", 1).await;
    for (tenant, id, count) in [("acme", "hundred", 101), ("other", "more", 501)] {
        assert!(is_enabled(&outpost, tenant, id).await);
        assert_eq!(failures(&outpost, tenant, id).await, count);
        let told: Vec<String> = stage.signals.told().into_iter().filter(|told| told.starts_with(tenant)).collect();
        let wanted = [50, 70, 90, 100].map(|n| format!("{tenant}/{id} failing {n}% {n} of 100"));
        assert_eq!(told.iter().filter(|told| told.contains("failing")).collect::<Vec<_>>(), wanted.each_ref());
    }
}

async fn nothing_but_failures_for_the_configured_time_disables(bed: Bed) {
    let stage = Stage::default();
    let (transport, switch) = switched(500);
    let policy = by_count(100).disable_after(Some(HOUR));
    let outpost = stage.builder(bed.open().await, transport).health(policy).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    stage.publish(&outpost, "acme", "a", 20).await;
    stage.clock.advance(HOUR / 2);
    switch.store(200, Ordering::SeqCst);
    stage.publish(&outpost, "acme", "fine", 1).await;
    switch.store(500, Ordering::SeqCst);
    stage.clock.advance(Duration::from_secs(1));
    let since = outpost_tests::epoch().after(HOUR / 2 + Duration::from_secs(1));
    stage.publish(&outpost, "acme", "b", 1).await;
    switch.store(404, Ordering::SeqCst);
    stage.clock.advance(HOUR - Duration::from_millis(1));
    stage.publish(&outpost, "acme", "c", 10).await;
    assert!(is_enabled(&outpost, "acme", "main").await, "a millisecond short, and a success in the hour before");
    stage.clock.advance(Duration::from_millis(1));
    stage.publish(&outpost, "acme", "d", 1).await;
    let disabled = outpost.destinations().get("acme", "main").await.unwrap().disabled.unwrap();
    assert_eq!((disabled.by, disabled.at), (DisabledBy::Failing, since.after(HOUR)));
    assert_eq!(disabled.reason, format!("every attempt since {since} failed, 12 in all"));
    assert_eq!(disabled.last_error.as_deref(), Some("the receiver answered 404"));
    let told = stage.signals.all().into_iter().find_map(|signal| match signal {
        Signal::Disabled { tenant, destination, disabled } => Some((tenant, destination, disabled)),
        _ => None,
    });
    let (tenant, destination, told) = told.unwrap();
    assert_eq!((tenant.as_str(), destination.as_str(), told), ("acme", "main", disabled));
}

async fn gone_ends_the_event_and_disables_unless_told_not_to(bed: Bed) {
    for disables in [true, false] {
        let tenant = if disables { "strict" } else { "lenient" };
        let stage = Stage::default();
        let (transport, switch) = switched(410);
        let policy = HealthPolicy::default().disable_when_gone(disables);
        let outpost = stage.builder(bed.open().await, transport).health(policy).start().await.unwrap();
        tenant_with(&outpost, tenant, &[("main", "https://one.test/")]).await;
        outpost.publish(tenant, NewEvent::new("a.b", "{}").id("e1")).await.unwrap();
        stage.signals.attempts(1).await;
        let delivery = outpost.deliveries().get(tenant, "main", "e1").await.unwrap();
        assert_eq!((delivery.state, delivery.next_attempt_at), (DeliveryState::Failed, None));
        let disabled = outpost.destinations().get(tenant, "main").await.unwrap().disabled;
        assert_eq!(disabled.as_ref().map(|disabled| disabled.by), disables.then_some(DisabledBy::Gone));
        assert!(disabled.is_none_or(|disabled| disabled.reason.contains("410 Gone")));
        assert_eq!(stage.signals.told().len(), usize::from(disables), "stopped is not exhausted");
        if !disables {
            switch.store(200, Ordering::SeqCst);
            stage.publish(&outpost, tenant, "next", 1).await;
            assert_eq!(failures(&outpost, tenant, "main").await, 0);
        }
        assert!(outpost.shutdown(HOUR).await);
    }
}

async fn other_refusals_follow_the_schedule(bed: Bed) {
    let stage = Stage::default();
    let (transport, switch) = switched(0);
    let outpost = stage.builder(bed.open().await, transport).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    for (made, status) in [400, 401, 403, 404, 409, 422, 451].into_iter().enumerate() {
        switch.store(status, Ordering::SeqCst);
        let id = format!("e{status}");
        outpost.publish("acme", NewEvent::new("a.b", "{}").id(&id)).await.unwrap();
        stage.signals.attempts(made + 1).await;
        let delivery = outpost.deliveries().get("acme", "main", &id).await.unwrap();
        assert_eq!(delivery.state, DeliveryState::Retrying, "{status}");
        assert_eq!(delivery.next_attempt_at, Some(outpost_tests::epoch().after(Duration::from_secs(5))));
    }
    assert!(is_enabled(&outpost, "acme", "main").await);
    switch.store(200, Ordering::SeqCst);
    stage.clock.advance(Duration::from_secs(5));
    stage.signals.attempts(14).await;
    assert_eq!(failures(&outpost, "acme", "main").await, 0);
}

async fn tenants_with_the_same_destination_id_do_not_affect_each_other(bed: Bed) {
    let stage = Stage::default();
    let transport = ScriptedTransport::new(|target, _| match target.display() {
        "https://bad.test/" => ScriptedReply::status(500),
        _ => ScriptedReply::ok(),
    });
    let policy = by_count(4).disable_at_count(true);
    let outpost = stage.builder(bed.open().await, transport).health(policy).start().await.unwrap();
    tenant_with(&outpost, "bad", &[("main", "https://bad.test/"), ("side", "https://good.test/")]).await;
    tenant_with(&outpost, "good", &[("main", "https://good.test/")]).await;
    for round in 0..4 {
        // Successes elsewhere do not help, failures elsewhere do not harm.
        let before = stage.signals.attempted();
        let event = NewEvent::new("a.b", "{}").id(format!("e{round}")).eligible_for_retry(false);
        outpost.publish("bad", event).await.unwrap();
        stage.signals.attempts(before + 2).await;
        stage.publish(&outpost, "good", &format!("r{round}-"), 1).await;
    }
    assert!(!is_enabled(&outpost, "bad", "main").await);
    assert!(is_enabled(&outpost, "bad", "side").await && is_enabled(&outpost, "good", "main").await);
    assert!(stage.signals.told().iter().all(|told| told.starts_with("bad/main ")));
    assert_eq!(failures(&outpost, "good", "main").await, 0);
}

async fn neither_tests_nor_faults_on_our_side_count(bed: Bed) {
    let stage = Stage::default();
    let transport = ScriptedTransport::new(|_, message| match message.id.as_str() {
        "ours0" | "ours1" => ScriptedReply::error(ErrorClass::System),
        _ => ScriptedReply::status(500),
    });
    let policy = by_count(1).disable_at_count(true);
    let outpost = stage.builder(bed.open().await, transport).health(policy).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    for _ in 0..3 {
        let attempt = outpost.destinations().test("acme", "main", TestEvent::default()).await.unwrap();
        assert_eq!(attempt.outcome.code, "500");
    }
    stage.publish(&outpost, "acme", "ours", 2).await;
    assert_eq!(failures(&outpost, "acme", "main").await, 0);
    assert!(is_enabled(&outpost, "acme", "main").await && stage.signals.told().is_empty());
    stage.publish(&outpost, "acme", "theirs", 1).await;
    assert!(!is_enabled(&outpost, "acme", "main").await, "a failure of the receiver does");
}

async fn exhaustion_is_told_once_a_window(bed: Bed) {
    let stage = Stage::default();
    let failing = ScriptedTransport::always(ScriptedReply::status(500));
    let once = RetryPolicy::new(Schedule::Explicit(Vec::new())).unwrap();
    let policy = HealthPolicy::default().exhausted_window(Some(HOUR));
    let builder = stage.builder(bed.open().await, failing.clone()).retry(once.clone());
    let outpost = builder.health(policy).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    tenant_with(&outpost, "other", &[("main", "https://one.test/")]).await;
    let mut made = 0;
    let mut exhaust = async |outpost: &Outpost, tenant: &str, id: &str| {
        outpost.publish(tenant, NewEvent::new("a.b", "{}").id(id)).await.unwrap();
        made += 1;
        stage.signals.attempts(made).await;
    };
    exhaust(&outpost, "acme", "e1").await;
    exhaust(&outpost, "acme", "e2").await;
    exhaust(&outpost, "other", "e3").await;
    assert!(outpost.shutdown(HOUR).await);
    let builder = stage.builder(bed.open().await, failing).retry(once);
    let outpost = builder.health(policy).start().await.unwrap();
    stage.clock.advance(HOUR - Duration::from_millis(1));
    exhaust(&outpost, "acme", "e4").await;
    stage.clock.advance(Duration::from_millis(1));
    exhaust(&outpost, "acme", "e5").await;
    let told = ["acme/main exhausted e1", "other/main exhausted e3", "acme/main exhausted e5"];
    assert_eq!(stage.signals.told(), told);
}
