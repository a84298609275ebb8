//! What one destination has of its own: timeout, concurrency, rate limit, retries, filter.

use std::time::Duration;

use outpost_core::{
    Actor, Capabilities, DeliverySettings, DeliveryState, DestinationId, DestinationPatch, ErrorKind, FaultStore,
    MatchVerdict, MemoryStore, NewDestination, NewEvent, Operation, Outpost, RateLimit, RetryPolicy, Schedule,
    ScriptedCalls, ScriptedReply, ScriptedTransport, TestEvent,
};
use outpost_tests::{epoch, finished, tenant_with, virtual_builder, virtual_outpost, wait_for};

fn event(id: &str) -> NewEvent {
    NewEvent::new("a.b", r#"{"amount": 5, "status": "new"}"#).id(id)
}

async fn with_settings(outpost: &Outpost, settings: DeliverySettings) {
    outpost.tenants().put("acme", None).await.unwrap();
    let new = NewDestination::webhook("https://one.test/").id(DestinationId::new("main").unwrap()).settings(settings);
    outpost.destinations().create("acme", new).await.unwrap();
}

async fn set(outpost: &Outpost, settings: DeliverySettings) {
    let patch = DestinationPatch { settings: Some(settings), ..DestinationPatch::default() };
    outpost.destinations().update("acme", "main", patch).await.unwrap();
}

fn limit(events: u32, seconds: u64) -> DeliverySettings {
    let rate_limit = Some(RateLimit { events, per: Duration::from_secs(seconds) });
    DeliverySettings { rate_limit, ..DeliverySettings::default() }
}

/// When each call came, in whole seconds after the epoch.
fn seconds(calls: &ScriptedCalls) -> Vec<i64> {
    calls.all().iter().map(|call| (call.message.now.as_millis() - epoch().as_millis()) / 1000).collect()
}

#[tokio::test(start_paused = true)]
async fn one_a_minute_is_one_a_minute_costs_no_attempt_and_can_be_lifted() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::ok()).await;
    with_settings(&outpost, limit(1, 60)).await;
    for number in 0..8 {
        outpost.publish("acme", event(&format!("e{number}"))).await.unwrap();
    }
    let fifth = finished(&outpost, "acme", "main", "e4").await;
    assert_eq!((fifth.state, fifth.attempts), (DeliveryState::Delivered, 1), "waiting is no attempt");
    assert_eq!(seconds(&calls), [0, 60, 120, 180, 240]);
    // A person does not wait, but takes from the same allowance.
    outpost.deliveries().retry("acme", "main", "e0").await.unwrap();
    wait_for(&outpost, "acme", "main", "e0", |delivery| delivery.attempts == 2).await;
    assert!(seconds(&calls)[5] < 260, "{:?}", seconds(&calls));
    set(&outpost, DeliverySettings::default()).await;
    for id in ["e5", "e6", "e7"] {
        finished(&outpost, "acme", "main", id).await;
    }
    let last = seconds(&calls)[8];
    assert!(last < 250, "the rest goes at once: {last}");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_rate_limit_costs_the_store_about_a_claim_a_second() {
    let store = FaultStore::new(MemoryStore::new());
    let faults = store.faults();
    let transport = ScriptedTransport::always(ScriptedReply::ok());
    let calls = transport.calls();
    let outpost = virtual_builder(store, transport).start().await.unwrap();
    with_settings(&outpost, limit(60, 600)).await;
    for number in 0..1000 {
        outpost.publish("acme", event(&format!("e{number}"))).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (before, sent) = (faults.calls(Operation::Claim), calls.total());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let claims = faults.calls(Operation::Claim) - before;
    assert!(claims <= 2 * 3600, "{claims} claims in an hour");
    assert_eq!(calls.total() - sent, 360, "six a minute");
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_holds_nobody_else_up() {
    let (outpost, _) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::ok()).await;
    with_settings(&outpost, limit(1, 3600)).await;
    tenant_with(&outpost, "other", &[("main", "https://two.test/")]).await;
    for number in 0..2000 {
        outpost.publish("acme", event(&format!("e{number}"))).await.unwrap();
    }
    let start = tokio::time::Instant::now();
    outpost.publish("other", event("quick")).await.unwrap();
    finished(&outpost, "other", "main", "quick").await;
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn own_concurrency_timeout_and_retries_hold_for_the_one_destination() {
    let script = |target: &outpost_core::Target, message: &outpost_core::Message| {
        let reply = if target.display().contains("one") { ScriptedReply::status(500) } else { ScriptedReply::ok() };
        assert_eq!(message.timeout.as_secs(), if target.display().contains("one") { 30 } else { 20 });
        reply.after(Duration::from_secs(1))
    };
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), script).await;
    let seconds_of = |list: &[u64]| Schedule::Explicit(list.iter().map(|at| Duration::from_secs(*at)).collect());
    let settings = DeliverySettings {
        timeout: Some(Duration::from_secs(30)),
        concurrency: Some(2),
        retry: Some(RetryPolicy::new(seconds_of(&[10])).unwrap().jitter(0.0).unwrap()),
        ..DeliverySettings::default()
    };
    with_settings(&outpost, settings.clone()).await;
    assert_eq!(outpost.destinations().get("acme", "main").await.unwrap().settings, settings);
    let other = NewDestination::webhook("https://two.test/").id(DestinationId::new("other").unwrap());
    outpost.destinations().create("acme", other).await.unwrap();
    for number in 0..6 {
        outpost.publish("acme", event(&format!("e{number}"))).await.unwrap();
    }
    for number in 0..6 {
        let delivery = finished(&outpost, "acme", "main", &format!("e{number}")).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Failed, 2), "its own schedule");
        assert_eq!(finished(&outpost, "acme", "other", &format!("e{number}")).await.state, DeliveryState::Delivered);
    }
    let mut of_main: Vec<i64> = calls
        .all()
        .iter()
        .filter(|call| call.target.contains("one") && call.message.attempt == 1)
        .map(|call| (call.message.now.as_millis() - epoch().as_millis()) / 1000)
        .collect();
    of_main.sort_unstable();
    assert_eq!(of_main, [0, 0, 1, 1, 2, 2], "two at a time");
}

#[tokio::test(start_paused = true)]
async fn settings_out_of_bounds_are_named_and_tenants_may_not_set_them_unless_they_are_offered() {
    for offered in [false, true] {
        let builder = virtual_builder(MemoryStore::new(), ScriptedTransport::always(ScriptedReply::ok()));
        let outpost = builder.tenant_delivery_settings(offered).tenant_filters(offered).start().await.unwrap();
        with_settings(&outpost, limit(5, 1)).await;
        let bad = DeliverySettings {
            timeout: Some(Duration::from_secs(31)),
            concurrency: Some(0),
            rate_limit: Some(RateLimit { events: 0, per: Duration::ZERO }),
            ..DeliverySettings::default()
        };
        let patch = DestinationPatch {
            settings: Some(bad),
            filter: Some(Some("{\"data\":{\"a\":{\"$x\":1}}}".into())),
            ..Default::default()
        };
        let error = outpost.destinations().update("acme", "main", patch).await.unwrap_err();
        let fields: Vec<&str> = error.problems().iter().map(|problem| problem.field.as_str()).collect();
        let wanted = [
            "filter.data.a.$x",
            "settings.timeout",
            "settings.concurrency",
            "settings.rate_limit.events",
            "settings.rate_limit.per",
        ];
        assert_eq!(fields, wanted);
        let tenant = outpost.tenants().get("acme").await.unwrap();
        let user = outpost.acting_as(Actor::Tenant {
            tenant: tenant.id,
            incarnation: tenant.incarnation,
            capabilities: Capabilities::ALL,
        });
        let patch = DestinationPatch {
            settings: Some(limit(100, 1)),
            filter: Some(Some("{\"data\":{\"a\":1}}".to_owned())),
            ..Default::default()
        };
        let changed = user.destinations().update("acme", "main", patch).await;
        if offered {
            assert_eq!(changed.unwrap().settings, limit(100, 1));
            continue;
        }
        let error = changed.unwrap_err();
        let fields: Vec<&str> = error.problems().iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!((error.kind(), fields), (ErrorKind::Invalid, vec!["filter", "settings"]));
        // Sending back what is there, or changing something else, is fine and changes neither.
        let patch = DestinationPatch {
            name: Some(Some("mine".to_owned())),
            settings: Some(limit(5, 1)),
            filter: Some(None),
            ..Default::default()
        };
        assert_eq!(user.destinations().update("acme", "main", patch).await.unwrap().settings, limit(5, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_decides_who_receives_and_says_why() {
    let (outpost, calls) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::ok()).await;
    outpost.tenants().put("acme", None).await.unwrap();
    let main = |filter: &str| {
        NewDestination::webhook("https://one.test/").id(DestinationId::new("main").unwrap()).filter(filter)
    };
    let refused = outpost.destinations().create("acme", main(r#"{"data":{"amount":{"$gt":"x","$nope":1}}}"#)).await;
    let error = refused.unwrap_err();
    assert!(error.problems().iter().any(|problem| problem.field == "filter.data.amount.$nope"), "{error}");
    let text = r#"{ "data": {"amount": {"$gt": 10}} }"#;
    let made = outpost.destinations().create("acme", main(text)).await.unwrap();
    assert_eq!(made.filter.as_deref(), Some(text), "kept as it was given");
    let published = outpost.publish("acme", event("small")).await.unwrap();
    assert!(published.matched.is_empty());
    assert_eq!(
        outpost.deliveries().get("acme", "main", "small").await.unwrap_err().kind(),
        ErrorKind::NotFound,
        "what the filter refuses makes no delivery"
    );
    assert_eq!(outpost.events().get("acme", "small").await.unwrap().id.as_str(), "small", "but is kept");
    let would = outpost.would_receive("acme", event("x")).await.unwrap();
    assert_eq!(would[0].verdict, MatchVerdict::Filter);
    let why = would[0].filter.as_ref().unwrap().to_string();
    assert!(why.contains("data.amount") && why.contains("10"), "{why}");
    let big = NewEvent::new("a.b", r#"{"amount": 11}"#).id("big");
    assert_eq!(outpost.would_receive("acme", big.clone()).await.unwrap()[0].verdict, MatchVerdict::Receives);
    outpost.publish("acme", big.clone()).await.unwrap();
    finished(&outpost, "acme", "main", "big").await;
    outpost.destinations().disable("acme", "main", "x").await.unwrap();
    assert_eq!(outpost.would_receive("acme", big).await.unwrap()[0].verdict, MatchVerdict::Disabled);
    outpost.destinations().enable("acme", "main").await.unwrap();
    let patch = DestinationPatch { filter: Some(None), ..DestinationPatch::default() };
    assert_eq!(outpost.destinations().update("acme", "main", patch).await.unwrap().filter, None);
    outpost.publish("acme", event("small2")).await.unwrap();
    finished(&outpost, "acme", "main", "small2").await;
    assert_eq!(calls.total(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_test_event_answers_the_exchange_and_leaves_no_trace() {
    let (outpost, calls) =
        virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::status(418).body("short and stout")).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.destinations().disable("acme", "main", "x").await.unwrap();
    let attempt = outpost.destinations().test("acme", "main", TestEvent::default()).await.unwrap();
    assert_eq!((attempt.outcome.success, attempt.outcome.code.as_str()), (false, "418"));
    assert_eq!(attempt.response.unwrap().body, "short and stout");
    assert_eq!(calls.all()[0].message.topic.as_ref(), "test");
    let attempts = outpost.deliveries().attempts("acme", &Default::default(), &Default::default()).await.unwrap();
    let events = outpost.events().list("acme", &Default::default(), &Default::default()).await.unwrap();
    assert_eq!((attempts.items.len(), events.items.len()), (0, 0));
    let bad = TestEvent { data: "[]".into(), topic: "*".to_owned(), ..TestEvent::default() };
    assert_eq!(outpost.destinations().test("acme", "main", bad).await.unwrap_err().problems().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_s_users_meet_limits_that_the_operator_does_not() {
    let (outpost, _) = virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::ok()).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    let tenant = outpost.tenants().get("acme").await.unwrap();
    let user = outpost.acting_as(Actor::Tenant {
        tenant: tenant.id,
        incarnation: tenant.incarnation,
        capabilities: Capabilities::ALL,
    });
    for _ in 0..20 {
        user.destinations().test("acme", "main", TestEvent::default()).await.unwrap();
    }
    let error = user.destinations().test("acme", "main", TestEvent::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(3))));
    outpost.destinations().test("acme", "main", TestEvent::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    user.destinations().test("acme", "main", TestEvent::default()).await.unwrap();
    for _ in 0..5 {
        user.replays().start("acme", "main", Default::default()).await.unwrap();
    }
    let error = user.replays().start("acme", "main", Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
}
