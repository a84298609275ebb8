//! Publishing over a real file: repeats, conflicts, batches, bad input, other processes.

use std::collections::HashSet;
use std::io::BufRead as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use outpost_core::{
    DeliveryState, ErrorKind, EventFilter, MemoryStore, NewEvent, Outpost, PageRequest, ScriptedReply,
    ScriptedTransport,
};
use outpost_store_sqlite::{SqliteStore, Synchronous};
use outpost_tests::worker::{engine, payload, set_up};
use outpost_tests::{finished, receiver, tenant_with};

async fn over_sqlite(path: &std::path::Path) -> (Outpost, outpost_core::ScriptedCalls) {
    let transport = ScriptedTransport::always(ScriptedReply::ok());
    let calls = transport.calls();
    let store = SqliteStore::open(path).await.expect("opens");
    (Outpost::builder(store).transport(transport).start().await.expect("starts"), calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_publishers_of_one_id_make_one_event_and_one_fan_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let (outpost, calls) = over_sqlite(&folder.path().join("p.db")).await;
    tenant_with(&outpost, "acme", &[("one", "https://one.test/"), ("two", "https://two.test/")]).await;
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let outpost = outpost.clone();
        publishers.spawn(async move { outpost.publish("acme", NewEvent::new("a.b", "{\"n\":1}").id("same")).await });
    }
    let mut first = 0;
    while let Some(published) = publishers.join_next().await {
        let published = published.expect("no panic").expect("published");
        assert_eq!(published.matched.len(), 2, "a repeat answers what the first one matched");
        first += u32::from(!published.duplicate);
    }
    assert_eq!(first, 1);
    finished(&outpost, "acme", "one", "same").await;
    finished(&outpost, "acme", "two", "same").await;
    assert!(outpost.shutdown(Duration::from_secs(5)).await);
    assert_eq!(calls.total(), 2);
}

#[tokio::test]
async fn an_id_belongs_to_one_event_of_one_tenant() {
    let folder = tempfile::tempdir().expect("a folder");
    let (outpost, _) = over_sqlite(&folder.path().join("p.db")).await;
    tenant_with(&outpost, "acme", &[]).await;
    tenant_with(&outpost, "other", &[]).await;
    let event = |data: &'static str| NewEvent::new("a.b", data).id("x");
    assert!(!outpost.publish("acme", event("{\"n\":1}")).await.unwrap().duplicate);
    assert!(
        !outpost.publish("other", event("{\"n\":2}")).await.unwrap().duplicate,
        "another tenant's is another event"
    );
    assert!(outpost.publish("acme", event("{\"n\":1}")).await.unwrap().duplicate);
    for different in [event("{\"n\": 1}"), event("{\"n\":1}").metadata("k", "v"), event("{\"n\":1}").to("d")] {
        assert_eq!(outpost.publish("acme", different).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert_eq!(outpost.events().get("acme", "x").await.unwrap().data, "{\"n\":1}");
    assert_eq!(outpost.events().find("x").await.unwrap_err().kind(), ErrorKind::Conflict, "two tenants have it");
}

#[tokio::test]
async fn in_a_batch_each_event_is_answered_for_itself() {
    let (outpost, _) = outpost_tests::virtual_outpost(MemoryStore::new(), |_, _| ScriptedReply::ok()).await;
    tenant_with(&outpost, "acme", &[]).await;
    let event = |id: &str| NewEvent::new("a.b", "{}").id(id);
    let batch = vec![event("a"), NewEvent::new("a.b", "[]").id("bad"), event("a"), event("b")];
    let answers = outpost.publish_batch("acme", batch).await.unwrap();
    assert!(!answers[0].as_ref().unwrap().duplicate);
    assert_eq!(answers[1].as_ref().unwrap_err().problems()[0].field, "data");
    assert!(answers[2].as_ref().unwrap().duplicate, "a repeat inside the batch");
    assert!(!answers[3].as_ref().unwrap().duplicate);
    let many = (0..1001).map(|n| event(&format!("m{n}"))).collect();
    assert_eq!(outpost.publish_batch("acme", many).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn bad_input_is_answered_with_every_problem_and_stores_nothing() {
    let transport = ScriptedTransport::always(ScriptedReply::ok());
    let outpost =
        Outpost::builder(MemoryStore::new()).transport(transport).topics(["a.b"]).max_data(100).start().await.unwrap();
    tenant_with(&outpost, "acme", &[]).await;
    let bad = NewEvent::new("c.d", "{\"x\":}")
        .id("has.dot")
        .metadata("bad key", "v")
        .metadata("k", "line\r\nbreak")
        .to("no spaces");
    let error = outpost.publish("acme", bad).await.unwrap_err();
    let fields: HashSet<&str> = error.problems().iter().map(|problem| problem.field.as_str()).collect();
    for field in ["id", "topic", "data", "metadata", "destination_id"] {
        assert!(fields.iter().any(|found| found.starts_with(field)), "{field} is not among {fields:?}");
    }
    let text = error.to_string();
    assert!(!text.contains("line\r\n"), "input is not echoed raw: {text}");
    for (topic, data) in [("", "{}"), ("*", "{}"), ("a.b", "null"), ("a.b", "\"x\""), ("a.b", "")] {
        assert_eq!(outpost.publish("acme", NewEvent::new(topic, data)).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    let long = format!("{{\"x\":\"{}\"}}", "y".repeat(100));
    let error = outpost.publish("acme", NewEvent::new("a.b", long)).await.unwrap_err();
    assert!(error.to_string().contains("at most 100 bytes"), "{error}");
    assert_eq!(outpost.publish("nobody", NewEvent::new("a.b", "{}")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let all = outpost.events().list("acme", &EventFilter::default(), &PageRequest::default()).await.unwrap();
    assert!(all.items.is_empty());
}

#[tokio::test]
async fn what_reaches_nobody_is_stored_and_visible_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (outpost, _) = over_sqlite(&folder.path().join("p.db")).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    outpost.destinations().disable("acme", "main", "for a test").await.unwrap();
    let published = outpost.publish("acme", NewEvent::new("a.b", "{}").id("skipped")).await.unwrap();
    assert!(published.matched.is_empty());
    let delivery = outpost.deliveries().get("acme", "main", "skipped").await.unwrap();
    assert_eq!(delivery.state, DeliveryState::Skipped);
    outpost.publish("acme", NewEvent::new("a.b", "{}").id("nowhere").to("missing")).await.unwrap();
    let event = outpost.events().get("acme", "nowhere").await.unwrap();
    assert!(event.metadata.is_empty() && event.matched.is_empty());
}

#[tokio::test]
async fn a_publisher_that_goes_away_does_not_half_publish() {
    let folder = tempfile::tempdir().expect("a folder");
    let (outpost, _) = over_sqlite(&folder.path().join("p.db")).await;
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    for n in 0..200 {
        let publish = outpost.publish("acme", NewEvent::new("a.b", "{}").id(format!("e{n}")));
        let _ = tokio::time::timeout(Duration::from_micros(n * 7), publish).await;
    }
    assert!(outpost.shutdown(Duration::from_secs(10)).await);
    let (outpost, _) = over_sqlite(&folder.path().join("p.db")).await;
    for n in 0..200 {
        let id = format!("e{n}");
        if outpost.events().get("acme", &id).await.is_ok() {
            outpost.deliveries().get("acme", "main", &id).await.expect("an event comes with its delivery");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_publishers_and_a_second_process_share_a_file_without_a_busy_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shared.db");
    let (address, inbox) = receiver::start(|_, _| 200).await;
    let url = format!("http://{address}/");
    let outpost = engine(&file, Synchronous::Full).await;
    set_up(&outpost, &url).await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_crash-worker"))
        .args(["publish", file.to_str().expect("text"), &url, "child-", "1500", "FULL", "16"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let out = child.stdout.take().expect("piped");
    let lines =
        std::thread::spawn(move || std::io::BufReader::new(out).lines().map_while(Result::ok).collect::<Vec<_>>());
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..16 {
        let outpost = outpost.clone();
        publishers.spawn(async move {
            for n in 0..100 {
                let id = format!("parent-{publisher}-{n}");
                outpost.publish("acme", NewEvent::new("a.b", payload(&id)).id(&id)).await.expect("never busy");
            }
        });
    }
    while let Some(done) = publishers.join_next().await {
        done.expect("no panic");
    }
    let lines = tokio::task::spawn_blocking(move || lines.join().expect("lines")).await.expect("waited");
    assert!(child.wait().expect("ended").success());
    let errors: Vec<&String> = lines.iter().filter(|line| line.starts_with("error")).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("acked")).count(), 1500);
    for _ in 0..600 {
        if inbox.events() == 3100 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(inbox.events(), 3100, "everything is delivered");
    let repeats = inbox.all().values().filter(|got| got.len() > 1).count();
    assert_eq!(repeats, 0, "and nothing twice");
}
