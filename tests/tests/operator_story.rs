//! What the operator is told, delivered by the engine itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost_core::{
    DestinationPatch, ErrorKind, EventFilter, Fault, FaultStore, HealthPolicy, MemoryStore, MetricValue, MetricsQuery,
    NewDestination, NewEvent, OPERATOR_DESTINATION, OPERATOR_TENANT, OPERATOR_TOPICS, Operation, OperatorDestination,
    Outpost, RetryPolicy, Schedule, Scope, ScriptedReply, ScriptedTransport, Store, Times, Topics,
};
use outpost_tests::{finished, notes, tenant_with, virtual_builder};
use serde_json::Value;

/// What the operator's receiver has accepted.
type Heard = Arc<Mutex<Vec<Value>>>;

fn event(id: &str) -> NewEvent {
    NewEvent::new("a.b", r#"{"card":"canary"}"#).id(id).metadata("trace", "t1")
}

/// The operator's destination for `topics`; its receiver refuses while `deaf`.
fn operator(topics: &[&str], heard: &Heard, deaf: &Arc<AtomicBool>) -> OperatorDestination {
    let (heard, deaf) = (heard.clone(), deaf.clone());
    let transport = ScriptedTransport::new(move |_, message| {
        if deaf.load(Ordering::SeqCst) {
            return ScriptedReply::status(500);
        }
        let value: Value = serde_json::from_slice(&message.data).unwrap();
        assert_eq!(value["topic"], *message.topic);
        assert_eq!(value["id"], message.id.as_str());
        heard.lock().unwrap().push(value);
        ScriptedReply::ok()
    });
    let topics = Topics::new(topics.iter().copied()).unwrap();
    OperatorDestination::new(transport, NewDestination::webhook("https://ops.test/").topics(topics))
}

async fn start(store: impl Store, operator: Option<OperatorDestination>, down: &Arc<AtomicBool>) -> Outpost {
    let down = down.clone();
    let transport = ScriptedTransport::new(move |_, _| {
        if down.load(Ordering::SeqCst) { ScriptedReply::status(500) } else { ScriptedReply::ok() }
    });
    let policy = HealthPolicy::default().consecutive_failures(Some(2)).disable_at_count(true);
    let mut builder = virtual_builder(store, transport)
        .retry(RetryPolicy::new(Schedule::Explicit(Vec::new())).unwrap())
        .health(policy)
        .deployment_id("dep_1");
    if let Some(operator) = operator {
        builder = builder.operator_destination(operator);
    }
    builder.start().await.unwrap()
}

fn topics(heard: &Heard) -> Vec<String> {
    let mut topics: Vec<String> =
        heard.lock().unwrap().iter().map(|value| value["topic"].as_str().unwrap().to_owned()).collect();
    topics.sort();
    topics
}

fn flag(on: bool) -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(on))
}

/// A destination that fails twice, is disabled, enabled, fails once and succeeds.
async fn story(outpost: &Outpost, down: &Arc<AtomicBool>) {
    tenant_with(outpost, "acme", &[("main", "https://one.test/")]).await;
    for id in ["e1", "e2"] {
        outpost.publish("acme", event(id)).await.unwrap();
        finished(outpost, "acme", "main", id).await;
    }
    outpost.destinations().enable("acme", "main").await.unwrap();
    outpost.publish("acme", event("e3")).await.unwrap();
    finished(outpost, "acme", "main", "e3").await;
    down.store(false, Ordering::SeqCst);
    outpost.publish("acme", event("e4")).await.unwrap();
    finished(outpost, "acme", "main", "e4").await;
    outpost.destinations().delete("acme", "main").await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn every_topic_is_told_once_with_what_it_is_about() {
    let (heard, down): (Heard, _) = (notes(), flag(true));
    let outpost = start(MemoryStore::new(), Some(operator(&["*"], &heard, &flag(false))), &down).await;
    story(&outpost, &down).await;
    let wanted = [
        "alert.attempt.exhausted_retries",
        "alert.destination.consecutive_failure",
        "alert.destination.consecutive_failure",
        "alert.destination.consecutive_failure",
        "alert.destination.disabled",
        "alert.destination.recovered",
        "attempt.failed",
        "attempt.failed",
        "attempt.failed",
        "attempt.success",
        "tenant.subscription.updated",
        "tenant.subscription.updated",
    ];
    assert_eq!(topics(&heard), wanted);
    for value in heard.lock().unwrap().iter() {
        assert!(OPERATOR_TOPICS.contains(&value["topic"].as_str().unwrap()));
        assert_eq!((&value["deployment_id"], &value["tenant_id"]), (&"dep_1".into(), &"acme".into()));
        assert!(!value.to_string().contains("canary"), "no payload, no secret: {value}");
        let data = &value["data"];
        assert_eq!(data["tenant_id"], "acme");
        if value["topic"] == "tenant.subscription.updated" {
            let counts = (&data["previous_destinations_count"], &data["destinations_count"]);
            let topics = (data["previous_topics"].to_string(), data["topics"].to_string());
            match counts.1.as_u64() {
                Some(1) => assert_eq!((counts.0.as_u64(), topics), (Some(0), ("[]".into(), r#"["*"]"#.into()))),
                _ => assert_eq!((counts.0.as_u64(), topics), (Some(1), (r#"["*"]"#.into(), "[]".into()))),
            }
            continue;
        }
        assert_eq!((&data["destination"]["id"], &data["destination"]["type"]), (&"main".into(), &"webhook".into()));
        assert_eq!(data["attempt"]["event_id"], data["event"]["id"]);
        assert_eq!(data["event"]["metadata"]["trace"], "t1");
        match value["topic"].as_str().unwrap() {
            "alert.destination.disabled" => {
                assert_eq!(
                    (&data["reason"], &data["last_error"]),
                    (&"consecutive_failure".into(), &"the receiver answered 500".into())
                );
                assert_eq!(data["destination"]["disabled_at"], data["disabled_at"]);
            }
            "alert.destination.consecutive_failure" => {
                let counts = &data["consecutive_failures"];
                assert_eq!(counts["max"], 2);
                assert!(
                    [(1, 50), (2, 100)]
                        .contains(&(counts["current"].as_u64().unwrap(), counts["threshold"].as_u64().unwrap()))
                );
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_repeated_tells_nothing_twice_and_a_deaf_operator_is_told_later() {
    let (heard, down, deaf): (Heard, _, _) = (notes(), flag(true), flag(true));
    let store = FaultStore::new(MemoryStore::new());
    let faults = store.faults();
    let told = operator(&["alert.*"], &heard, &deaf);
    let outpost = start(store, Some(told), &down).await;
    // The commit happens, but nobody hears of it: it is repeated.
    faults.inject(Operation::Settle, Fault::After, Times::Next(3));
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    for id in ["e1", "e2"] {
        outpost.publish("acme", event(id)).await.unwrap();
        finished(&outpost, "acme", "main", id).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(heard.lock().unwrap().is_empty());
    let page = outpost.events().list(OPERATOR_TENANT, &EventFilter::default(), &Default::default()).await.unwrap();
    assert_eq!(page.items.len(), 4, "two thresholds, one disabling, one exhaustion, each once");
    // Its own retries are those of everybody.
    let id = outpost.destinations().lane(OPERATOR_TENANT, OPERATOR_DESTINATION).await.unwrap();
    assert_eq!((id.open, id.health.failures), (0, 4), "and it is never disabled");
    deaf.store(false, Ordering::SeqCst);
    for event in page.items {
        outpost.deliveries().retry(OPERATOR_TENANT, OPERATOR_DESTINATION, event.id.as_str()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(heard.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn operator_events_are_nobody_else_s_and_their_tenant_cannot_be_claimed() {
    let (heard, down): (Heard, _) = (notes(), flag(true));
    let outpost = start(MemoryStore::new(), Some(operator(&["*"], &heard, &flag(false))), &down).await;
    story(&outpost, &down).await;
    let tenants = outpost.tenants().list(&Default::default()).await.unwrap();
    assert_eq!(tenants.items.iter().map(|tenant| tenant.id.as_str()).collect::<Vec<_>>(), ["acme"]);
    let events = outpost.events().list(Scope::All, &EventFilter::default(), &Default::default()).await.unwrap();
    assert_eq!(events.items.len(), 4);
    assert!(events.items.iter().all(|event| event.tenant_id.as_str() == "acme"));
    let attempts = outpost.deliveries().attempts(Scope::All, &Default::default(), &Default::default()).await.unwrap();
    assert!(attempts.items.iter().all(|attempt| attempt.tenant_id.as_str() == "acme"));
    let from = outpost_tests::epoch();
    let query = MetricsQuery::new(from, from.after(Duration::from_secs(3600)));
    let report = outpost.metrics().events(Scope::All, &query).await.unwrap();
    assert_eq!(report.rows[0].measures[0].1, MetricValue::Count(4), "{report:?}");
    assert_eq!(outpost.tenants().put(OPERATOR_TENANT, None).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(outpost.tenants().delete(OPERATOR_TENANT).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(outpost.publish(OPERATOR_TENANT, event("x")).await.unwrap_err().kind(), ErrorKind::Invalid);
    let new = NewDestination::webhook("https://other.test/");
    assert_eq!(outpost.destinations().create(OPERATOR_TENANT, new).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn the_next_start_changes_or_removes_the_operator_s_destination() {
    let store = MemoryStore::new();
    let (heard, down): (Heard, _) = (notes(), flag(true));
    let first = start(store.clone(), Some(operator(&["attempt.failed"], &heard, &flag(false))), &down).await;
    let secret = first.destinations().get(OPERATOR_TENANT, OPERATOR_DESTINATION).await.unwrap().incarnation;
    // Another process changes the topics while the first one runs: the first notices when it writes.
    let other = operator(&["alert.destination.disabled"], &heard, &flag(false));
    let second = start(store.another_process(), Some(other), &down).await;
    tenant_with(&first, "acme", &[("main", "https://one.test/")]).await;
    for id in ["e1", "e2"] {
        first.publish("acme", event(id)).await.unwrap();
        finished(&first, "acme", "main", id).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(topics(&heard), ["alert.destination.disabled"]);
    let kept = second.destinations().get(OPERATOR_TENANT, OPERATOR_DESTINATION).await.unwrap();
    assert_eq!(kept.incarnation, secret, "it was changed, not made anew");
    first.shutdown(Duration::from_secs(5)).await;
    second.shutdown(Duration::from_secs(5)).await;
    let third = start(store.another_process(), None, &down).await;
    let gone = third.destinations().get(OPERATOR_TENANT, OPERATOR_DESTINATION).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    third.destinations().enable("acme", "main").await.unwrap();
    third.publish("acme", event("e3")).await.unwrap();
    finished(&third, "acme", "main", "e3").await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_told_when_it_changes_and_only_then() {
    let (heard, down): (Heard, _) = (notes(), flag(false));
    let told = operator(&["tenant.subscription.updated"], &heard, &flag(false));
    let outpost = start(MemoryStore::new(), Some(told), &down).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.destinations().disable("acme", "main", "x").await.unwrap();
    outpost.destinations().enable("acme", "main").await.unwrap();
    let patch = DestinationPatch { name: Some(Some("new".to_owned())), ..DestinationPatch::default() };
    outpost.destinations().update("acme", "main", patch).await.unwrap();
    let topics = Some(Topics::new(["b.*", "a.b"]).unwrap());
    let patch = DestinationPatch { topics, ..DestinationPatch::default() };
    outpost.destinations().update("acme", "main", patch).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[1]["data"]["topics"].to_string(), r#"["a.b","b.*"]"#);
    assert_eq!(heard[1]["data"]["previous_topics"].to_string(), r#"["*"]"#);
}
