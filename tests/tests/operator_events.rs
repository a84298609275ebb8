//! Operator events: what they say, that each is delivered once, and that nothing secret is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outpost_core::{
    DestinationPatch, EgressPolicy, Fault, FaultStore, HealthPolicy, MemoryStore, NewDestination, NewEvent,
    OPERATOR_DESTINATION, OPERATOR_TENANT, OPERATOR_TOPICS, Operation, OperatorDestination, Outpost, RetryPolicy,
    Schedule, ScriptedCalls, ScriptedReply, ScriptedTransport, Times, Topics, WebhookTransport,
};
use outpost_tests::stage::{Bed, Stage};
use outpost_tests::{over_every_store, receiver, tenant_with, virtual_builder};
use serde_json::Value;

const HOUR: Duration = Duration::from_secs(3600);

over_every_store!(
    each_is_delivered_once_when_commits_are_repeated,
    what_the_operators_receiver_refused_is_delivered_after_a_restart,
    a_change_of_what_a_tenant_subscribes_to_is_told_and_nothing_else,
);

fn event(id: impl Into<String>) -> NewEvent {
    NewEvent::new("a.b", r#"{"n":1}"#).id(id)
}

fn once() -> RetryPolicy {
    RetryPolicy::new(Schedule::Explicit(Vec::new())).unwrap()
}

/// An operator's destination with these topics, and the calls it gets.
fn sink(topics: &[&str], script: ScriptedTransport) -> (OperatorDestination, ScriptedCalls) {
    let calls = script.calls();
    let topics = Topics::new(topics.iter().copied()).unwrap();
    (OperatorDestination::new(script, NewDestination::webhook("https://operator.test/").topics(topics)), calls)
}

fn payloads(calls: &ScriptedCalls) -> Vec<Value> {
    let payload = |call: &outpost_core::ScriptedCall| {
        let payload: Value = serde_json::from_slice(&call.message.data).unwrap();
        assert_eq!(payload["id"], call.message.id.as_str());
        assert_eq!(payload["topic"], &*call.message.topic);
        payload
    };
    calls.all().iter().map(payload).collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

fn topics_of(payloads: &[Value]) -> Vec<&str> {
    payloads.iter().map(|payload| payload["topic"].as_str().unwrap()).collect()
}

/// Fails what has an `f` in its id.
fn failing_by_name() -> ScriptedTransport {
    ScriptedTransport::new(|_, message| {
        let fails = message.id.as_str().contains('f');
        if fails { ScriptedReply::status(500) } else { ScriptedReply::ok() }.body("canary-answer")
    })
}

/// Makes each kind of operator event happen. What is awaited in between is virtual time.
async fn let_everything_happen(outpost: &Outpost) {
    tenant_with(outpost, "acme", &[("main", "https://one.test/")]).await;
    for id in ["1", "2f", "3", "4f", "5f"] {
        outpost.publish("acme", event(id).metadata("k", "v")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(HOUR).await;
}

fn alarming() -> HealthPolicy {
    HealthPolicy::default().consecutive_failures(Some(2)).disable_at_count(true)
}

#[tokio::test(start_paused = true)]
async fn every_topic_is_delivered_in_its_documented_shape() {
    let (destination, calls) = sink(&["*"], ScriptedTransport::always(ScriptedReply::ok()));
    let builder = virtual_builder(MemoryStore::new(), failing_by_name()).retry(once()).health(alarming());
    let outpost = builder.operator_destination(destination).deployment_id("eu-1").start().await.unwrap();
    let_everything_happen(&outpost).await;
    let told = payloads(&calls);
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    topics_of(&told).into_iter().for_each(|topic| *count.entry(topic).or_default() += 1);
    let wanted = [
        ("alert.attempt.exhausted_retries", 1),
        ("alert.destination.consecutive_failure", 3),
        ("alert.destination.disabled", 1),
        ("alert.destination.recovered", 1),
        ("attempt.failed", 3),
        ("attempt.success", 2),
        ("tenant.subscription.updated", 1),
    ];
    assert_eq!(count, BTreeMap::from(wanted));
    assert_eq!(count.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from(OPERATOR_TOPICS));
    for payload in &told {
        assert_eq!(keys(payload), ["data", "deployment_id", "id", "tenant_id", "time", "topic"].into());
        assert_eq!((&payload["deployment_id"], &payload["tenant_id"]), (&"eu-1".into(), &"acme".into()));
        assert!(payload["time"].as_str().unwrap().ends_with('Z'), "{payload}");
        let (topic, data) = (payload["topic"].as_str().unwrap(), &payload["data"]);
        assert_eq!(data["tenant_id"], "acme");
        if topic == "tenant.subscription.updated" {
            let shape = r#"{"destinations_count":1,"previous_destinations_count":0,"previous_topics":[],"tenant_id":"acme","topics":["*"]}"#;
            assert_eq!(*data, serde_json::from_str::<Value>(shape).unwrap());
            continue;
        }
        check_common(topic, data);
        let common = BTreeSet::from(["attempt", "destination", "event", "tenant_id"]);
        let more: BTreeSet<&str> = keys(data).difference(&common).copied().collect();
        let attempt = &data["attempt"];
        match topic {
            "alert.destination.consecutive_failure" => {
                assert_eq!(more, ["consecutive_failures"].into());
                let counts = &data["consecutive_failures"];
                assert_eq!(keys(counts), ["current", "max", "since", "threshold"].into());
                let current = counts["current"].as_u64().unwrap();
                assert_eq!((counts["max"].as_u64(), counts["threshold"].as_u64()), (Some(2), Some(current * 50)));
            }
            "alert.destination.disabled" => {
                assert_eq!(more, ["detail", "disabled_at", "last_error", "reason"].into());
                assert_eq!(data["reason"], "consecutive_failure");
                assert_eq!(data["last_error"], "the receiver answered 500");
                assert_eq!((&data["disabled_at"], &data["disabled_at"]), (&payload["time"], &attempt["time"]));
                assert_eq!(data["destination"]["disabled_at"], payload["time"]);
                assert_eq!(attempt["event_id"], "5f");
            }
            "alert.destination.recovered" => {
                assert_eq!(more, ["failures", "since"].into());
                assert_eq!((&data["failures"], &attempt["event_id"]), (&1.into(), &"3".into()));
            }
            "alert.attempt.exhausted_retries" => assert_eq!((more.len(), &attempt["event_id"]), (0, &"2f".into())),
            _ => assert!(more.is_empty(), "{topic}: {more:?}"),
        }
    }
}

fn check_common(topic: &str, data: &Value) {
    let destination = &data["destination"];
    let parts = ["config", "created_at", "disabled_at", "id", "tenant_id", "topics", "type"];
    assert_eq!(keys(destination), parts.into());
    assert_eq!((&destination["id"], &destination["type"]), (&"main".into(), &"webhook".into()));
    assert_eq!(destination["config"]["url"], "https://one.test/");
    assert_eq!(destination["topics"], serde_json::json!(["*"]));
    assert_eq!(destination["disabled_at"].is_null(), topic != "alert.destination.disabled");
    let event = &data["event"];
    assert_eq!(keys(event), ["eligible_for_retry", "id", "metadata", "tenant_id", "time", "topic"].into());
    assert_eq!((&event["topic"], &event["metadata"]["k"]), (&"a.b".into(), &"v".into()));
    let attempt = &data["attempt"];
    let parts = [
        "attempt_number",
        "code",
        "destination_id",
        "destination_type",
        "event_id",
        "id",
        "manual",
        "status",
        "tenant_id",
        "time",
    ];
    assert_eq!(keys(attempt), parts.into());
    let failed = attempt["event_id"].as_str().unwrap().contains('f');
    assert_eq!(attempt["status"], if failed { "failed" } else { "success" });
    assert_eq!(attempt["code"], if failed { "500" } else { "200" });
    assert_eq!((&attempt["attempt_number"], &attempt["manual"]), (&1.into(), &false.into()));
    assert_eq!(attempt["event_id"], event["id"]);
    let fails = !matches!(topic, "attempt.success" | "alert.destination.recovered");
    assert_eq!(failed, fails, "{topic}");
}

#[tokio::test]
async fn no_payload_no_secret_and_no_unmasked_url_is_in_them() {
    let (address, inbox) = receiver::start(|_, _| 500).await;
    let egress = EgressPolicy::builder().allow_net("127.0.0.0/8").build().unwrap();
    let transport = WebhookTransport::builder().egress(egress).build().unwrap();
    let (destination, calls) = sink(&["*"], ScriptedTransport::always(ScriptedReply::ok()));
    let builder = Outpost::builder(MemoryStore::new()).transport(transport).retry(once()).health(alarming());
    let outpost = builder.operator_destination(destination).start().await.unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    // One that answers, and one at a closed port, whose error has a text.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (id, at) in [("open", address), ("closed", closed)] {
        let mut new = NewDestination::webhook(format!("http://user:canary-password@{at}/hook?token=canary-token"))
            .id(outpost_core::DestinationId::new(id).unwrap())
            .credential("secret", "whsec_Y2FuYXJ5LXNlY3JldC1jYW5hcnktc2VjcmV0");
        new.delivery_metadata.insert("x-api-key".to_owned(), "canary-header".to_owned());
        new.metadata.insert("note".to_owned(), "canary-label".to_owned());
        outpost.destinations().create("acme", new).await.unwrap();
    }
    for id in ["e1", "e2"] {
        let event = NewEvent::new("a.b", r#"{"card":"canary-data"}"#).id(id);
        outpost.publish("acme", event).await.unwrap();
    }
    // Two subscriptions; per destination two failed attempts, two warnings, one exhaustion, one disabling.
    reached(&calls, 2 + 2 * 6).await;
    assert_eq!(inbox.events(), 2);
    for call in calls.all() {
        let text = std::str::from_utf8(&call.message.data).unwrap();
        assert!(!text.contains("canary") && !text.contains("Y2FuYXJ5"), "{text}");
    }
    let told = payloads(&calls);
    let closed = told.iter().find(|told| told["data"]["attempt"]["destination_id"] == "closed").unwrap();
    assert!(closed["data"]["attempt"]["error"].is_string(), "{closed}");
}

/// Completes when the operator's receiver got that many calls.
async fn reached(calls: &ScriptedCalls, count: u64) {
    let done = tokio::time::timeout(Duration::from_secs(60), calls.reached(count)).await;
    assert!(done.is_ok(), "{} of {count} came: {:?}", calls.total(), topics_of(&payloads(calls)));
}

async fn each_is_delivered_once_when_commits_are_repeated(bed: Bed) {
    let stage = Stage::default();
    let store = FaultStore::new(bed.open().await);
    let faults = store.faults();
    let (destination, calls) = sink(&["*"], ScriptedTransport::always(ScriptedReply::ok()));
    let builder = stage.builder(store, failing_by_name()).retry(once()).health(alarming());
    let outpost = builder.operator_destination(destination).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    // What waits between two tries waits for this clock.
    let clock = stage.clock.clone();
    let ticking = tokio::spawn(async move {
        loop {
            clock.advance(Duration::from_millis(50));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let mut wanted = 1;
    for (id, told) in [("1", 1), ("2f", 3), ("3", 2), ("4f", 2), ("5f", 3)] {
        // Each outcome is written, and its writer is told that this is not known: three times over.
        faults.inject(Operation::Settle, Fault::After, Times::Next(3));
        outpost.publish("acme", event(id)).await.unwrap();
        wanted += told;
        reached(&calls, wanted).await;
    }
    faults.clear(Operation::Settle);
    outpost.destinations().enable("acme", "main").await.unwrap();
    outpost.publish("acme", event("last")).await.unwrap();
    reached(&calls, wanted + 1).await;
    ticking.abort();
    let told = payloads(&calls);
    let ids: BTreeSet<&str> = told.iter().map(|told| told["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), told.len(), "{:?}", topics_of(&told));
    let mut topics = topics_of(&told);
    topics.sort_unstable();
    let per_topic = OPERATOR_TOPICS.map(|topic| topics.iter().filter(|found| **found == topic).count());
    // In the order of the constant: warnings, disabled, recovered, exhausted, success, failed, subscription.
    assert_eq!(per_topic, [3, 1, 1, 1, 3, 3, 1]);
    for n in ["1", "2f", "3", "4f", "5f"] {
        assert_eq!(outpost.deliveries().attempts_of("acme", "main", n).await.unwrap().len(), 1);
    }
}

async fn what_the_operators_receiver_refused_is_delivered_after_a_restart(bed: Bed) {
    let stage = Stage::default();
    let works = Arc::new(AtomicBool::new(false));
    let read = works.clone();
    let receiver =
        ScriptedTransport::new(move |_, _| ScriptedReply::status(if read.load(Ordering::SeqCst) { 200 } else { 500 }));
    let topics = ["attempt.failed", "tenant.subscription.updated"];
    let (destination, calls) = sink(&topics, receiver);
    let start = async || {
        let builder = stage.builder(bed.open().await, failing_by_name());
        builder.operator_destination(destination.clone()).start().await.unwrap()
    };
    let outpost = start().await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    stage.publish(&outpost, "acme", "f", 1).await;
    reached(&calls, 2).await;
    stage.clock.advance(Duration::from_secs(5));
    reached(&calls, 4).await;
    assert!(outpost.shutdown(HOUR).await);
    works.store(true, Ordering::SeqCst);
    let outpost = start().await;
    stage.clock.advance(Duration::from_secs(300));
    reached(&calls, 6).await;
    // Nothing is to come after this one.
    stage.publish(&outpost, "acme", "f-again", 1).await;
    reached(&calls, 7).await;
    let mut attempts: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for call in calls.all() {
        attempts.entry(call.message.id.to_string()).or_default().push(call.message.attempt);
    }
    let mut attempts: Vec<Vec<u32>> = attempts.into_values().collect();
    attempts.sort();
    assert_eq!(attempts, [vec![1], vec![1, 2, 3], vec![1, 2, 3]]);
    let bodies: BTreeSet<_> = calls.all().into_iter().map(|call| call.message.data).collect();
    assert_eq!(bodies.len(), 3, "each says the same every time");
}

#[tokio::test(start_paused = true)]
async fn the_operators_destination_causes_no_events_and_is_never_disabled() {
    for reply in [ScriptedReply::status(500), ScriptedReply::status(410)] {
        let (destination, calls) = sink(&["*"], ScriptedTransport::always(reply));
        let policy = alarming().consecutive_failures(Some(1)).disable_after(Some(Duration::from_secs(1)));
        let builder = virtual_builder(MemoryStore::new(), failing_by_name()).health(policy);
        let outpost = builder.operator_destination(destination).start().await.unwrap();
        for n in 0..20 {
            let tenant = format!("t{n}");
            tenant_with(&outpost, &tenant, &[("main", "https://one.test/")]).await;
            outpost.publish(&tenant, event("f")).await.unwrap();
            tokio::time::sleep(HOUR).await;
        }
        tokio::time::sleep(HOUR * 24 * 10).await;
        let told = payloads(&calls);
        assert!(told.iter().all(|told| told["tenant_id"] != OPERATOR_TENANT), "events about themselves");
        let ids: BTreeSet<&str> = told.iter().map(|told| told["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 20 * 4, "subscription, failed, warning and disabling for each tenant");
        let own = outpost.destinations().get(OPERATOR_TENANT, OPERATOR_DESTINATION).await.unwrap();
        assert!(own.disabled.is_none());
    }
}

async fn a_change_of_what_a_tenant_subscribes_to_is_told_and_nothing_else(bed: Bed) {
    let stage = Stage::default();
    let (destination, calls) = sink(&["tenant.subscription.updated"], ScriptedTransport::always(ScriptedReply::ok()));
    let builder = stage.builder(bed.open().await, failing_by_name());
    let outpost = builder.operator_destination(destination).start().await.unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    let destinations = outpost.destinations();
    let new = |id: &str, topics: &[&str]| {
        NewDestination::webhook("https://one.test/")
            .id(outpost_core::DestinationId::new(id).unwrap())
            .topics(Topics::new(topics.iter().copied()).unwrap())
    };
    let patch = |topics: &[&str]| DestinationPatch {
        topics: Some(Topics::new(topics.iter().copied()).unwrap()),
        ..DestinationPatch::default()
    };
    destinations.create("acme", new("one", &["b", "a"])).await.unwrap();
    destinations.create("acme", new("two", &["b"])).await.unwrap();
    // None of these changes anything about topics or the count.
    destinations.disable("acme", "one", "for a while").await.unwrap();
    destinations.enable("acme", "one").await.unwrap();
    let rename = DestinationPatch { name: Some(Some("n".to_owned())), ..DestinationPatch::default() };
    destinations.update("acme", "one", rename).await.unwrap();
    destinations.update("acme", "two", patch(&["a"])).await.unwrap();
    destinations.rotate_secret("acme", "one", None).await.unwrap();
    destinations.create("acme", new("one", &["x"])).await.unwrap_err();
    // These do.
    destinations.update("acme", "two", patch(&["c"])).await.unwrap();
    destinations.update("acme", "two", patch(&["*"])).await.unwrap();
    destinations.delete("acme", "one").await.unwrap();
    destinations.delete("acme", "two").await.unwrap();
    reached(&calls, 6).await;
    let mut told: Vec<_> = payloads(&calls)
        .into_iter()
        .map(|told| {
            let data = &told["data"];
            let list =
                |key: &str| data[key].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect::<String>();
            let counts = (data["previous_destinations_count"].clone(), data["destinations_count"].clone());
            format!("{}:{}->{}:{}", counts.0, list("previous_topics"), counts.1, list("topics"))
        })
        .collect();
    told.sort();
    let mut wanted = ["0:->1:ab", "1:ab->2:ab", "2:ab->2:abc", "2:abc->2:*", "2:*->1:*", "1:*->0:"];
    wanted.sort_unstable();
    assert_eq!(told, wanted);
}
