//! Pruning: what stays, how much one call does, and that the file gets smaller.

#![allow(missing_docs)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test reports by panicking and printing"
)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use outpost_core::rollup::Level;
use outpost_core::store::{Filter, Ingest, IngestItem, List, Prune, Pruned, Usage, Write};
use outpost_core::{DeliveryKey, EventId, Store, Timestamp, Trigger};
use outpost_store_sqlite::{SqliteStore, Synchronous};
use rusqlite::Connection;
use support::{
    apply, at, claim, counted, event, every_row, ingest, ingest_of, life, new_attempt, new_destination, new_event,
    new_tenant, prepare, scan_of, settle, usage,
};

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    Place { path: folder.path().join("s.db"), _folder: folder }
}

async fn fast(path: &Path) -> SqliteStore {
    SqliteStore::builder(path).synchronous(Synchronous::Normal).open().await.expect("opens")
}

fn prune_of(before: Timestamp) -> Prune {
    Prune { now: at(1_000_000), tenant: None, before, resume: None, limit: 1000, examine: 1000 }
}

/// One pass to its end; everything it did, and in how many calls.
async fn pass(store: &dyn Store, mut request: Prune) -> (Pruned, u32) {
    let (mut all, mut calls) = (Pruned::default(), 0);
    loop {
        let done = store.prune(request.clone()).await.expect("prunes");
        assert!(done.events <= u64::from(request.limit), "{done:?}");
        assert!(done.events + done.kept <= u64::from(request.examine), "{done:?}");
        calls += 1;
        all.events += done.events;
        all.attempts += done.attempts;
        all.bytes += done.bytes;
        all.kept += done.kept;
        match done.resume {
            Some(resume) => request.resume = Some(resume),
            None => return (all, calls),
        }
    }
}

/// An event stored at `millis`, with a payload of about `size` bytes, and a delivery that is over at once.
fn old_event(id: &str, millis: i64, size: usize) -> IngestItem {
    let mut item = new_event(1, id, 1, &[2]);
    let data = Bytes::from(format!("{{\"x\":\"{}\"}}", "y".repeat(size)));
    let event = Arc::make_mut(&mut item.event);
    (event.created_at, event.data) = (at(millis), data);
    item.deliveries[0].skipped = true;
    item
}

async fn fill(store: &dyn Store, count: usize, size: usize) {
    for part in 0..count / 500 {
        let items = (0..500).map(|number| old_event(&format!("e{part}_{number}"), 1, size)).collect();
        ingest(store, items).await;
    }
}

fn pages(path: &Path) -> (i64, i64) {
    let conn = Connection::open(path).expect("opens");
    let number = |pragma| conn.query_row(pragma, [], |row| row.get(0)).expect("reads");
    (number("PRAGMA page_count"), number("PRAGMA freelist_count"))
}

#[tokio::test]
async fn pruning_many_events_is_bounded_per_call_and_shrinks_the_file() {
    let place = place();
    let store = fast(&place.path).await;
    prepare(&store).await;
    fill(&store, 20_000, 600).await;
    let (before, _) = pages(&place.path);
    assert_eq!(usage(&store, 1).await.events, 20_000);
    let request = Prune { limit: 500, examine: 2000, ..prune_of(at(100)) };
    let start = Instant::now();
    let (all, calls) = pass(&store, request).await;
    eprintln!("20000 events pruned in {calls} calls, {:?}", start.elapsed());
    assert_eq!((all.events, all.kept, all.bytes), (20_000, 0, 20_000 * 608));
    assert!(calls >= 40);
    assert_eq!(usage(&store, 1).await, Usage::default());
    assert_eq!(counted(&store, Level::Day).await, (20_000, 0), "rollups outlive the log");
    for list in [List::Events, List::Deliveries, List::Attempts] {
        assert!(every_row(&store, scan_of(list, Filter::default())).await.is_empty());
    }
    let (after, free) = pages(&place.path);
    eprintln!("{before} pages before, {after} after, {free} of them free");
    assert!(after * 10 < before, "{before} pages before, {after} after");
    assert!(free * 2 < after);
    store.close().await.expect("closes");
    let size = std::fs::metadata(&place.path).expect("is there").len();
    assert!(size <= after.unsigned_abs() * 4096, "the file itself has {size} bytes");
    let conn = Connection::open(&place.path).expect("opens");
    let check: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checks");
    assert_eq!(check, "ok");
}

#[tokio::test]
async fn a_hosts_file_that_cannot_give_space_back_is_pruned_all_the_same() {
    let place = place();
    let host = Connection::open(&place.path).expect("opens");
    host.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER PRIMARY KEY)").expect("makes");
    let store = fast(&place.path).await;
    prepare(&store).await;
    fill(&store, 1000, 600).await;
    let (before, _) = pages(&place.path);
    assert_eq!(pass(&store, prune_of(at(100))).await.0.events, 1000);
    let (after, free) = pages(&place.path);
    assert_eq!(before, after);
    assert!(free > 100);
    // The space is used again.
    fill(&store, 1000, 600).await;
    assert!(pages(&place.path).0 <= after + 2);
}

#[tokio::test]
async fn what_is_not_over_stays_with_everything_that_hangs_on_it() {
    let place = place();
    let store = fast(&place.path).await;
    prepare(&store).await;
    let names = ["done", "open", "leased", "late", "asked", "young"];
    ingest(&store, names.iter().map(|id| new_event(1, id, 1, &[2])).collect()).await;
    let mut young = old_event("young2", 500, 10);
    Arc::make_mut(&mut young.event).time = at(0);
    ingest(&store, vec![young]).await;
    let held = claim(&store, 9, 5).await.deliveries;
    assert_eq!(held.iter().map(|found| found.key.event.as_str()).collect::<Vec<_>>(), names[..5]);
    settle(
        &store,
        vec![
            new_attempt(2, "done", 9, true, 15),
            new_attempt(2, "late", 9, true, 700),
            new_attempt(2, "asked", 9, false, 15),
        ],
    )
    .await;
    let mut open = new_attempt(2, "open", 9, true, 15);
    open.action = outpost_core::store::SettleAction::Released;
    settle(&store, vec![open]).await;
    let key = DeliveryKey { destination: life(2), event: EventId::new("asked").expect("an id") };
    apply(&store, vec![Write::RequestAttempt { key, trigger: Trigger::Manual }]).await;

    for tenant in [None, Some(life(1))] {
        let (pruned, _) = pass(&store, Prune { tenant, ..prune_of(at(500)) }).await;
        let (events, kept) = if tenant.is_none() { (1, 6) } else { (0, 6) };
        assert_eq!((pruned.events, pruned.attempts, pruned.kept), (events, events, kept));
        assert_eq!(pruned.bytes, events * 10);
    }
    assert!(event(&store, 1, "done").await.is_none());
    for id in &names[1..] {
        assert!(event(&store, 1, id).await.is_some(), "{id}");
    }
    assert_eq!(every_row(&store, scan_of(List::Attempts, Filter::default())).await.len(), 2);
    assert_eq!(every_row(&store, scan_of(List::Deliveries, Filter::default())).await.len(), 6);
    let used = usage(&store, 1).await;
    assert_eq!((used.events, used.open), (6, 3));
    // The id of what was forgotten is free.
    ingest(&store, vec![new_event(1, "done", 1, &[2])]).await;
    assert_eq!(usage(&store, 1).await.events, 7);
}

#[tokio::test]
async fn a_tenants_pass_leaves_others_alone_and_goes_on_where_it_stopped() {
    let place = place();
    let store = fast(&place.path).await;
    apply(&store, vec![new_tenant(1), new_tenant(3), new_destination(1, 2)]).await;
    fill(&store, 500, 10).await;
    ingest(&store, (0..100).map(|number| new_event(3, &format!("e{number}"), 0, &[])).collect()).await;
    let request = Prune { tenant: Some(life(3)), limit: 7, examine: 30, ..prune_of(at(100)) };
    let (pruned, calls) = pass(&store, request.clone()).await;
    assert_eq!((pruned.events, pruned.kept, calls), (100, 0, 15));
    assert_eq!(usage(&store, 3).await.events, 0);
    assert_eq!(usage(&store, 1).await.events, 500);
    // Kept events use the examined ones up.
    let request = Prune { before: at(0), tenant: None, examine: 30, ..request };
    let first = store.prune(request.clone()).await.expect("prunes");
    assert_eq!((first.events, first.kept, first.resume.is_some()), (0, 30, true));
    let second = store.prune(Prune { resume: first.resume.clone(), ..request }).await.expect("prunes");
    assert_ne!(first.resume, second.resume);
}

#[tokio::test]
async fn a_pass_ends_where_only_young_events_follow_and_not_at_a_clock_that_was_set_back() {
    let place = place();
    let store = fast(&place.path).await;
    prepare(&store).await;
    let batch = |name: &'static str, count: usize, millis: i64| {
        (0..count).map(|number| old_event(&format!("{name}{number}"), millis, 10)).collect::<Vec<_>>()
    };
    ingest(&store, batch("a", 50, 1)).await;
    // Stored while the clock was years ahead.
    ingest(&store, batch("ahead", 900, 9_000_000)).await;
    ingest(&store, batch("b", 1000, 2)).await;
    ingest(&store, batch("young", 2000, 500)).await;
    ingest(&store, batch("young_too", 2000, 600)).await;
    let request = Prune { limit: 100, examine: 100, ..prune_of(at(100)) };
    let (pruned, _) = pass(&store, request.clone()).await;
    assert_eq!(pruned.events, 1050);
    assert!(pruned.kept < 900 + 300, "it read {} that it kept", pruned.kept);
    let (again, _) = pass(&store, request.clone()).await;
    assert!(again.events == 0 && again.kept < 900 + 300, "{again:?}");
    let (rest, _) = pass(&store, Prune { before: at(1000), ..request }).await;
    assert_eq!(rest.events, 4000);
    assert_eq!(usage(&store, 1).await.events, 900);
}

#[tokio::test]
async fn publishing_goes_on_beside_pruning() {
    let place = place();
    let store = Arc::new(fast(&place.path).await);
    prepare(&*store).await;
    fill(&*store, 5000, 600).await;
    let publisher = tokio::spawn({
        let store = store.clone();
        async move {
            let mut slowest = Duration::ZERO;
            for number in 0..200 {
                let start = Instant::now();
                let mut item = old_event(&format!("new{number}"), 500, 600);
                item.deliveries[0].skipped = false;
                let request = Ingest { now: at(500), ..ingest_of(vec![item]) };
                store.ingest(request).await.expect("ingests");
                slowest = slowest.max(start.elapsed());
            }
            slowest
        }
    });
    let (pruned, _) = pass(&*store, Prune { limit: 200, examine: 200, ..prune_of(at(100)) }).await;
    let slowest = publisher.await.expect("ends");
    eprintln!("the slowest of 200 commits beside pruning took {slowest:?}");
    assert_eq!(pruned.events, 5000);
    let used = usage(&*store, 1).await;
    assert_eq!((used.events, used.open), (200, 200));
}
