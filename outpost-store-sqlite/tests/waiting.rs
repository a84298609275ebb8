//! Who waits for whom: callers that give up, writers of two handles, locks that last, disks that fill.

#![allow(missing_docs)]
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test reports by panicking and printing")]

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use outpost_core::{Store as _, StoreErrorKind};
use outpost_store_sqlite::SqliteStore;
use rusqlite::Connection;
use support::{apply, claim, event, ingest, ingest_of, new_event, new_tenant, prepare};

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    Place { path: folder.path().join("s.db"), _folder: folder }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_write_one_file_at_the_same_time() {
    let place = place();
    let one = SqliteStore::open(&place.path).await.expect("opens");
    let two = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&one).await;
    let start = Instant::now();
    let (mut slowest, mut tasks) = (Duration::ZERO, Vec::new());
    for (name, store) in [("one", one), ("two", two)] {
        tasks.push(tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            for number in 0..500 {
                let before = Instant::now();
                ingest(&store, vec![new_event(1, &format!("{name}{number}"), 1, &[2])]).await;
                slowest = slowest.max(before.elapsed());
            }
            (slowest, store)
        }));
    }
    let mut stores = Vec::new();
    for task in tasks {
        let (waited, store) = task.await.expect("ends");
        slowest = slowest.max(waited);
        stores.push(store);
    }
    eprintln!("1000 commits of two stores in {:?}, the slowest {slowest:?}", start.elapsed());
    for store in &stores {
        assert!(event(store, 1, "one499").await.is_some() && event(store, 1, "two499").await.is_some());
    }
    let first = claim(stores.first().expect("one"), 1, 600).await.deliveries;
    let rest = claim(stores.last().expect("two"), 2, 2000).await.deliveries;
    assert_eq!((first.len(), rest.len()), (600, 400), "none is claimed twice");
}

#[tokio::test]
async fn only_other_handles_commits_are_told_of() {
    let place = place();
    let one = SqliteStore::open(&place.path).await.expect("opens");
    let two = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&one).await;
    let own = tokio::time::timeout(Duration::from_millis(1500), one.changed(0)).await;
    assert!(own.is_err(), "its own commits are none");
    let version = two.changed(0).await.expect("is told");
    let next = two.changed(version);
    ingest(&one, vec![new_event(1, "e", 1, &[2])]).await;
    let next = tokio::time::timeout(Duration::from_secs(10), next).await.expect("is told in time").expect("is told");
    assert!(next > version);
}

#[tokio::test]
async fn a_lock_that_lasts_too_long_is_busy_for_every_waiting_job_at_once() {
    let place = place();
    let patience = Duration::from_millis(400);
    let store = SqliteStore::builder(&place.path).busy_timeout(patience).open().await.expect("opens");
    prepare(&store).await;
    let host = Connection::open(&place.path).expect("opens");
    host.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let start = Instant::now();
    let name = |number| format!("e{number}");
    let jobs: Vec<_> = (0..40).map(|number| ingest_of(vec![new_event(1, &name(number), 1, &[2])])).collect();
    let store = std::sync::Arc::new(store);
    let tasks: Vec<_> = jobs
        .into_iter()
        .map(|job| {
            let store = store.clone();
            tokio::spawn(async move { store.ingest(job).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("ends").expect_err("is locked").kind, StoreErrorKind::Busy);
    }
    // One job may have been alone in a group before the others came.
    assert!(start.elapsed() < patience * 4, "each job waited for itself: {:?}", start.elapsed());
    host.execute_batch("ROLLBACK").expect("unlocks");
    assert!(event(&*store, 1, &name(3)).await.is_none());
    ingest(&*store, vec![new_event(1, &name(3), 1, &[2])]).await;
}

#[tokio::test]
async fn a_dropped_call_happens_as_a_whole_or_not_at_all() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&store).await;
    let mut stored = 0;
    for number in 0..60 {
        let pair = [format!("a{number}"), format!("b{number}")];
        let job = ingest_of(pair.iter().map(|id| new_event(1, id, 1, &[2])).collect());
        let call = store.ingest(job);
        // Polled once or a few times, then dropped.
        let wait = Duration::from_micros(number * 40);
        drop(tokio::time::timeout(wait, call).await);
    }
    // Whatever was queued is done before this.
    apply(&store, vec![new_tenant(77)]).await;
    for number in 0..60 {
        let [a, b] = [format!("a{number}"), format!("b{number}")];
        let (a, b) = (event(&store, 1, &a).await.is_some(), event(&store, 1, &b).await.is_some());
        assert_eq!(a, b, "half of a call was done");
        stored += usize::from(a);
    }
    assert!(stored > 0);
    assert_eq!(claim(&store, 5, 1000).await.deliveries.len(), stored * 2);
}

#[tokio::test]
async fn dropping_the_store_ends_its_threads_and_frees_the_file() {
    let place = place();
    for round in 0..20 {
        let store = SqliteStore::open(&place.path).await.expect("opens");
        if round == 0 {
            prepare(&store).await;
        }
        // Left behind unanswered; dropping the store must not lose what was queued.
        let job = ingest_of(vec![new_event(1, &format!("e{round}"), 1, &[2])]);
        drop(tokio::time::timeout(Duration::from_millis(50), store.ingest(job)).await);
    }
    #[cfg(target_os = "linux")]
    {
        let open = || {
            let links = std::fs::read_dir("/proc/self/fd").expect("lists").flatten();
            links.filter(|link| std::fs::read_link(link.path()).is_ok_and(|to| to == place.path)).count()
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while open() > 0 {
            assert!(Instant::now() < deadline, "{} handles are left", open());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
