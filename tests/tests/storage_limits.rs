//! How much is stored and for how long: quotas, retention, erasing.

use std::time::Duration;

use outpost_core::{
    DeliveryState, ErrorClass, ErrorKind, EventFilter, MemoryStore, NewEvent, Outpost, PageRequest, ScriptedReply,
    ScriptedTransport, Store,
};
use outpost_store_sqlite::{SqliteStore, Synchronous};
use outpost_tests::{finished, tenant_with, virtual_builder, wait_for};

const DAY: Duration = Duration::from_secs(86_400);

fn event(id: &str, size: usize) -> NewEvent {
    NewEvent::new("a.b", format!("{{\"x\":\"{}\"}}", "y".repeat(size))).id(id)
}

async fn ids(outpost: &Outpost, tenant: &str) -> Vec<String> {
    let page = PageRequest { limit: 100, ..PageRequest::default() };
    let page = outpost.events().list(tenant, &EventFilter::default(), &page).await.unwrap();
    let mut ids: Vec<String> = page.items.iter().map(|event| event.id.to_string()).collect();
    ids.sort();
    ids
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_bounded_for_its_tenant_and_takes_more_once_it_is_smaller() {
    let transport = ScriptedTransport::new(|target, message| {
        if target.display().contains("down") && message.attempt == 1 {
            ScriptedReply::error(ErrorClass::Refused)
        } else {
            ScriptedReply::ok()
        }
    });
    let outpost = virtual_builder(MemoryStore::new(), transport).max_backlog(Some(5)).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://down.test/")]).await;
    tenant_with(&outpost, "other", &[("main", "https://up.test/")]).await;
    // At once, so that they meet in one commit.
    let events = (0..20).map(|number| event(&format!("e{number}"), 1)).collect();
    let answers = outpost.publish_batch("acme", events).await.unwrap();
    let (stored, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((stored.len(), refused.len()), (5, 15));
    for error in refused {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitReached);
        assert!(error.to_string().contains("5 open deliveries"), "{error}");
    }
    assert_eq!(ids(&outpost, "acme").await, ["e0", "e1", "e2", "e3", "e4"], "nothing of the others is stored");
    assert_eq!(outpost.tenants().usage("acme").await.unwrap().0.open, 5);
    outpost.publish("other", event("e0", 1)).await.unwrap();
    finished(&outpost, "acme", "main", "e4").await;
    outpost.publish("acme", event("e5", 1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_for_each_tenant_and_erasing_frees_them() {
    let body = "z".repeat(100);
    let transport = ScriptedTransport::new(move |_, _| ScriptedReply::ok().body(body.clone()));
    let outpost = virtual_builder(MemoryStore::new(), transport).max_stored_bytes(Some(1000)).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    // 8 bytes around the text, and a hundred of answer.
    for id in ["e1", "e2"] {
        outpost.publish("acme", event(id, 292)).await.unwrap();
        finished(&outpost, "acme", "main", id).await;
    }
    let (usage, quota) = outpost.tenants().usage("acme").await.unwrap();
    assert_eq!((usage.events, usage.bytes, quota.bytes), (2, 800, Some(1000)));
    assert_eq!(outpost.publish("acme", event("e3", 193)).await.unwrap_err().kind(), ErrorKind::LimitReached);
    let repeat = outpost.publish("acme", event("e1", 292)).await.unwrap();
    assert!(repeat.duplicate, "a repeat stores nothing, so it is answered as ever");
    let life = outpost.tenants().get("acme").await.unwrap().incarnation;
    let erased = outpost.tenants().erase_log(life).await.unwrap();
    assert_eq!((erased.events, erased.attempts, erased.kept), (2, 2, 0));
    assert_eq!(outpost.tenants().usage("acme").await.unwrap().0.bytes, 0);
    outpost.publish("acme", event("e1", 292)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_over_goes_with_age_and_what_is_not_stays() {
    let transport = ScriptedTransport::new(|target, _| {
        if target.display().contains("down") { ScriptedReply::error(ErrorClass::Refused) } else { ScriptedReply::ok() }
    });
    let outpost = virtual_builder(MemoryStore::new(), transport).retention(Some(DAY)).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    tenant_with(&outpost, "slow", &[("main", "https://down.test/")]).await;
    tenant_with(&outpost, "nobody", &[]).await;
    for tenant in ["acme", "slow", "nobody"] {
        outpost.publish(tenant, event("old", 1)).await.unwrap();
    }
    finished(&outpost, "acme", "main", "old").await;
    tokio::time::sleep(DAY - Duration::from_secs(7200)).await;
    outpost.publish("acme", event("new", 1)).await.unwrap();
    assert_eq!(ids(&outpost, "acme").await, ["new", "old"]);
    tokio::time::sleep(Duration::from_secs(3 * 7200)).await;
    assert_eq!(ids(&outpost, "acme").await, ["new"]);
    let attempts = outpost.deliveries().attempts("acme", &Default::default(), &Default::default()).await.unwrap();
    assert!(attempts.items.iter().all(|attempt| attempt.delivery.event.as_str() == "new"), "attempts went with it");
    assert_eq!(outpost.deliveries().get("acme", "main", "old").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(ids(&outpost, "nobody").await.is_empty(), "what matched nothing goes by its own age");
    // Retried for three days: its age counts from the last attempt.
    assert_eq!(ids(&outpost, "slow").await, ["old"]);
    wait_for(&outpost, "slow", "main", "old", |delivery| delivery.state == DeliveryState::Failed).await;
    tokio::time::sleep(DAY - Duration::from_secs(7200)).await;
    assert_eq!(ids(&outpost, "slow").await, ["old"]);
    tokio::time::sleep(Duration::from_secs(3 * 7200)).await;
    assert!(ids(&outpost, "slow").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_retention_shorter_than_the_promise_about_repeats_is_refused() {
    let builder = virtual_builder(MemoryStore::new(), ScriptedTransport::always(ScriptedReply::ok()));
    let error = builder.retention(Some(Duration::from_secs(3600))).start().await.unwrap_err();
    assert_eq!(error.problems()[0].field, "retention");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_does_not_grow_with_what_was_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let store = SqliteStore::builder(&path).synchronous(Synchronous::Normal).open().await.unwrap();
    let outpost =
        Outpost::builder(store).transport(ScriptedTransport::always(ScriptedReply::ok())).start().await.unwrap();
    tenant_with(&outpost, "acme", &[("main", "https://one.test/")]).await;
    let life = outpost.tenants().get("acme").await.unwrap().incarnation;
    let mut sizes = Vec::new();
    for round in 0..6 {
        let events = (0..500).map(|number| event(&format!("r{round}_{number}"), 4000)).collect();
        for answer in outpost.publish_batch("acme", events).await.unwrap() {
            answer.unwrap();
        }
        while outpost.tenants().usage("acme").await.unwrap().0.open > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let erased = outpost.tenants().erase_log(life).await.unwrap();
        assert_eq!((erased.events, erased.kept), (500, 0));
        let pages: i64 = {
            let conn = rusqlite::Connection::open(&path).unwrap();
            conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap()
        };
        sizes.push(pages);
    }
    assert!(sizes[5] <= sizes[1] + sizes[1] / 4, "pages after each round: {sizes:?}");
    assert!(outpost.shutdown(Duration::from_secs(10)).await);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_tenant_s_log_can_be_erased_and_other_tenants_keep_theirs() {
    let store = MemoryStore::new();
    let transport = ScriptedTransport::always(ScriptedReply::ok().after(Duration::from_secs(5)));
    let outpost = virtual_builder(store.clone(), transport).start().await.unwrap();
    for tenant in ["acme", "other"] {
        tenant_with(&outpost, tenant, &[("main", "https://one.test/")]).await;
        for id in ["e1", "e2"] {
            outpost.publish(tenant, event(id, 1)).await.unwrap();
        }
    }
    let life = outpost.tenants().get("acme").await.unwrap().incarnation;
    // Under way at the time of the deletion.
    outpost.tenants().delete("acme").await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let erased = outpost.tenants().erase_log(life).await.unwrap();
    assert_eq!((erased.events, erased.kept), (2, 0));
    let left = outpost.events().list(outpost_core::Scope::Life(life), &Default::default(), &Default::default()).await;
    assert!(left.unwrap().items.is_empty());
    assert_eq!(ids(&outpost, "other").await, ["e1", "e2"]);
    assert_eq!(store.profile().name, "memory");
}
