//! What the store does with files: its own, the host's, shared, damaged and missing ones.

#![allow(missing_docs)]
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test reports by panicking and printing")]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outpost_core::store::{Durability, Fetch, IngestOutcome};
use outpost_core::{Store as _, StoreError, StoreErrorKind};
use outpost_store_sqlite::{SqliteStore, Synchronous};
use rusqlite::Connection;
use support::{apply, at, claim, event, ingest, ingest_of, new_event, new_tenant, prepare};

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    Place { path: folder.path().join("s.db"), _folder: folder }
}

async fn refused(path: &Path) -> StoreError {
    SqliteStore::open(path).await.expect_err("is refused")
}

/// A closed file with an event in it.
async fn filled(path: &Path) {
    let store = SqliteStore::open(path).await.expect("opens");
    prepare(&store).await;
    ingest(&store, (0..200).map(|number| new_event(1, &format!("e{number}"), 1, &[2])).collect()).await;
    store.close().await.expect("closes");
}

fn text(conn: &Connection, query: &str) -> String {
    conn.query_row(query, [], |row| row.get::<_, rusqlite::types::Value>(0)).map_or_else(
        |error| error.to_string(),
        |value| match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        },
    )
}

#[tokio::test]
async fn what_is_written_is_there_after_opening_again() {
    let place = place();
    filled(&place.path).await;
    let store = SqliteStore::open(&place.path).await.expect("opens again");
    let found = event(&store, 1, "e7").await.expect("is there");
    assert_eq!(&found.data[..], b"{\"a\":\xc3\xa9}");
    assert_eq!(claim(&store, 9, 1000).await.deliveries.len(), 200);
    assert!(!place.path.with_extension("db-journal").exists());
}

#[tokio::test]
async fn a_closed_store_has_left_one_file_and_answers_no_more() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&store).await;
    store.close().await.expect("closes");
    store.close().await.expect("closes twice");
    assert!(!place.path.with_extension("db-wal").exists(), "the log was copied into the file");
    let nothing = Fetch { now: at(0), keys: Vec::new() };
    assert_eq!(store.fetch(nothing).await.expect_err("is closed").kind, StoreErrorKind::Unavailable);
    let late = store.ingest(ingest_of(vec![new_event(1, "late", 1, &[])])).await;
    assert_eq!(late.expect_err("is closed").kind, StoreErrorKind::Unavailable);
    assert_eq!(store.changed(0).await.expect_err("is closed").kind, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_new_file_is_in_wal_mode_and_can_give_space_back() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.expect("opens");
    assert_eq!(store.profile().durability, Durability::Power);
    let conn = Connection::open(&place.path).expect("opens");
    assert_eq!(text(&conn, "PRAGMA journal_mode"), "wal");
    assert_eq!(text(&conn, "PRAGMA auto_vacuum"), "2");
    let normal = SqliteStore::builder(&place.path).synchronous(Synchronous::Normal).open().await.expect("opens");
    assert_eq!(normal.profile().durability, Durability::Process);
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let place = place();
    filled(&place.path).await;
    let conn = Connection::open(&place.path).expect("opens");
    conn.execute("UPDATE outpost_meta SET value = 99 WHERE name = 'format'", []).expect("changes");
    let error = refused(&place.path).await;
    assert_eq!(error.kind, StoreErrorKind::Incompatible);
    assert!(error.context.contains("newer") && error.context.contains("99"), "{error}");
    assert_eq!(text(&conn, "SELECT value FROM outpost_meta WHERE name = 'format'"), "99");
}

#[tokio::test]
async fn a_host_file_keeps_its_tables_and_its_journal_mode() {
    let place = place();
    let conn = Connection::open(&place.path).expect("opens");
    conn.execute_batch(
        "PRAGMA user_version = 5; CREATE TABLE orders (id INTEGER PRIMARY KEY, x TEXT);
        INSERT INTO orders (x) VALUES ('theirs')",
    )
    .expect("makes the host's table");
    let error = refused(&place.path).await;
    assert_eq!(error.kind, StoreErrorKind::Incompatible);
    for word in ["allow_wal_switch", "keep_journal_mode"] {
        assert!(error.context.contains(word), "{error}");
    }
    assert_eq!(text(&conn, "PRAGMA journal_mode"), "delete");
    assert_eq!(text(&conn, "SELECT count(*) FROM sqlite_schema"), "1", "nothing was made");

    let kept = SqliteStore::builder(&place.path).keep_journal_mode().open().await.expect("opens");
    prepare(&kept).await;
    ingest(&kept, vec![new_event(1, "kept", 1, &[2])]).await;
    assert!(event(&kept, 1, "kept").await.is_some());
    kept.close().await.expect("closes");
    assert_eq!(text(&conn, "PRAGMA journal_mode"), "delete");
    drop(conn);

    let switched = SqliteStore::builder(&place.path).allow_wal_switch().open().await.expect("opens");
    assert!(event(&switched, 1, "kept").await.is_some());
    let conn = Connection::open(&place.path).expect("opens");
    assert_eq!(text(&conn, "PRAGMA journal_mode"), "wal");
    assert_eq!(text(&conn, "SELECT x FROM orders"), "theirs");
    assert_eq!(text(&conn, "PRAGMA user_version"), "5");
}

#[tokio::test]
async fn a_host_file_in_wal_mode_is_shared_without_asking() {
    let place = place();
    let conn = Connection::open(&place.path).expect("opens");
    conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER)").expect("makes the host's table");
    let store = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&store).await;
}

#[tokio::test]
async fn tables_of_two_prefixes_live_side_by_side() {
    let place = place();
    let one = SqliteStore::open(&place.path).await.expect("opens");
    let two = SqliteStore::builder(&place.path).table_prefix("Two_2").open().await.expect("opens");
    prepare(&one).await;
    prepare(&two).await;
    ingest(&two, vec![new_event(1, "two", 1, &[2])]).await;
    assert!(event(&one, 1, "two").await.is_none());
    for bad in ["", "1a", "a-b", "a b", "sqlite_x", "x; DROP TABLE y", &"x".repeat(33), "\u{e9}"] {
        let error = SqliteStore::builder(&place.path).table_prefix(bad).open().await.expect_err("is refused");
        assert_eq!(error.kind, StoreErrorKind::Incompatible, "{bad}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_refused() {
    for path in ["", ":memory:"] {
        assert_eq!(refused(Path::new(path)).await.kind, StoreErrorKind::Incompatible, "{path}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(refused(folder.path()).await.kind, StoreErrorKind::Unavailable);
    assert_eq!(refused(&folder.path().join("no/such/folder.db")).await.kind, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn what_is_no_database_is_corrupt_and_left_alone() {
    let place = place();
    let junk = b"this is a text and no database at all, however long it may be. ".repeat(200);
    std::fs::write(&place.path, &junk).expect("writes");
    assert_eq!(refused(&place.path).await.kind, StoreErrorKind::Corrupt);
    assert_eq!(std::fs::read(&place.path).expect("reads"), junk);
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_corrupt() {
    let place = place();
    filled(&place.path).await;
    let whole = std::fs::read(&place.path).expect("reads");
    for keep in [whole.len() / 2, 8192, 5000, 4096, 100, 50] {
        std::fs::write(&place.path, whole.get(..keep).expect("is shorter")).expect("writes");
        assert_eq!(refused(&place.path).await.kind, StoreErrorKind::Corrupt, "{keep} of {}", whole.len());
    }
}

#[tokio::test]
async fn damaged_pages_are_corrupt_when_opening_or_when_met() {
    let place = place();
    filled(&place.path).await;
    let mut damaged = std::fs::read(&place.path).expect("reads");
    for byte in damaged.iter_mut().skip(4096) {
        *byte = 0x5a;
    }
    std::fs::write(&place.path, &damaged).expect("writes");
    assert_eq!(refused(&place.path).await.kind, StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn a_value_that_is_not_ours_is_corrupt_and_fails_alone() {
    let place = place();
    filled(&place.path).await;
    let store = SqliteStore::open(&place.path).await.expect("opens");
    let conn = Connection::open(&place.path).expect("opens");
    conn.execute("UPDATE outpost_events SET fingerprint = x'00' WHERE id = 'e1'", []).expect("damages");
    let (bad, good) = tokio::join!(
        store.ingest(ingest_of(vec![new_event(1, "e1", 1, &[2])])),
        store.ingest(ingest_of(vec![new_event(1, "fine", 1, &[2])])),
    );
    assert_eq!(bad.expect_err("is damaged").kind, StoreErrorKind::Corrupt);
    assert!(matches!(good.expect("is not").first(), Some(IngestOutcome::Stored { .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn what_may_not_be_written_is_read_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = place();
    filled(&place.path).await;
    let allow = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    allow(&place.path, 0o444).expect("changes");
    if std::fs::OpenOptions::new().append(true).open(&place.path).is_ok() {
        eprintln!("this user may write to everything: nothing to see here");
        return;
    }
    assert_eq!(refused(&place.path).await.kind, StoreErrorKind::ReadOnly);
    allow(&place.path, 0o644).expect("changes");
    let folder = place.path.parent().expect("a folder");
    allow(folder, 0o555).expect("changes");
    let error = refused(&place.path).await;
    let fresh = refused(&folder.join("new.db")).await;
    allow(folder, 0o755).expect("changes");
    assert_eq!((error.kind, fresh.kind), (StoreErrorKind::ReadOnly, StoreErrorKind::ReadOnly));
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_vanished_is_not_made_anew_and_nothing_is_acknowledged() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&store).await;
    std::fs::remove_file(&place.path).expect("removes");
    let lost = store.ingest(ingest_of(vec![new_event(1, "lost", 1, &[2])])).await;
    assert_eq!(lost.expect_err("has no file").kind, StoreErrorKind::Unavailable);
    assert!(!place.path.exists());
    // Another file in its place is not ours either.
    std::fs::write(&place.path, b"").expect("writes");
    let lost = store.ingest(ingest_of(vec![new_event(1, "lost", 1, &[2])])).await;
    assert_eq!(lost.expect_err("has another file").kind, StoreErrorKind::Unavailable);
    assert_eq!(std::fs::metadata(&place.path).expect("is there").len(), 0);
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

/// Needs a small file system that it may fill, such as a tmpfs of 4 MiB: its path in `OUTPOST_SMALL_DISK`.
#[tokio::test]
#[ignore = "needs a small file system"]
async fn a_full_disk_says_so_keeps_what_was_acknowledged_and_recovers() {
    let disk = PathBuf::from(std::env::var_os("OUTPOST_SMALL_DISK").expect("the path of a small file system"));
    let path = disk.join("full.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    prepare(&store).await;
    let batch = |number: i64| (0..50).map(|item| new_event(1, &format!("e{number}x{item}"), 1, &[2])).collect();
    let mut number = 0;
    let error = loop {
        match store.ingest(ingest_of(batch(number))).await {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    eprintln!("full after {number} batches: {error}");
    assert_eq!(error.kind, StoreErrorKind::Full);
    assert!(event(&store, 1, &format!("e{number}x0")).await.is_none(), "nothing of the failed batch is there");
    drop(store);
    let blocked = SqliteStore::open(&path).await;
    if let Ok(store) = blocked {
        assert!(event(&store, 1, &format!("e{}x49", number - 1)).await.is_some());
        assert!(event(&store, 1, &format!("e{number}x0")).await.is_none(), "it does not come back either");
    }
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

#[tokio::test]
async fn many_open_a_new_file_at_once() {
    let place = place();
    let open = || SqliteStore::open(&place.path);
    let (a, b, c, d) = tokio::join!(open(), open(), open(), open());
    for store in [a, b, c, d] {
        store.expect("opens").close().await.expect("closes");
    }
}
