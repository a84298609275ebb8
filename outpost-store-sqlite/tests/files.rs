//! Files: what they may hold, how they break, and who else uses them.

#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outpost_core::store::{
    Apply, ApplyOutcome, Expect, Fetch, Ingest, IngestItem, IngestOutcome, Key, Quota, Row, Sweep, Write,
};
use outpost_core::{
    Event, EventId, Fingerprint, Incarnation, Lease, LeaseToken, Store, StoreErrorKind, StringMap, Tenant, TenantId,
    Timestamp,
};
use outpost_store_sqlite::{SqliteStore, Synchronous};
use rusqlite::Connection;

const NOW: Timestamp = Timestamp::from_millis(1_780_000_000_000);
const LIFE: Incarnation = Incarnation::from_i64(7);

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    (folder, path)
}

async fn put_tenant(store: &SqliteStore) {
    let tenant = Tenant {
        id: TenantId::new("acme").unwrap(),
        incarnation: LIFE,
        metadata: StringMap::new(),
        created_at: NOW,
        updated_at: NOW,
        deleted_at: None,
        revision: 1,
        subscriptions: 0,
    };
    let writes = vec![Write::PutTenant { tenant, expect: Expect::Absent }];
    let outcome = store.apply(Apply { now: NOW, writes, follow_ups: Vec::new() }).await.unwrap();
    assert!(matches!(outcome, ApplyOutcome::Done(_)));
}

fn ingest(id: &str, size: usize) -> Ingest {
    let event = Event {
        id: EventId::new(id).unwrap(),
        tenant: LIFE,
        topic: Arc::from("a.b"),
        time: NOW,
        created_at: NOW,
        metadata: Arc::default(),
        data: Bytes::from(format!("{{\"x\":\"{}\"}}", "y".repeat(size))),
        eligible_for_retry: true,
        destination_id: None,
        matched: Arc::from([]),
        fingerprint: Fingerprint([1; 32]),
    };
    let item = IngestItem { event: Arc::new(event), subscriptions: 0, deliveries: Vec::new() };
    Ingest {
        now: NOW,
        lease: Lease { token: LeaseToken(1), until: NOW.after(Duration::from_secs(60)) },
        quota: Quota::default(),
        items: vec![item],
    }
}

async fn has(store: &SqliteStore, id: &str) -> bool {
    let keys = vec![Key::Event(LIFE, EventId::new(id).unwrap())];
    let rows = store.fetch(Fetch { now: NOW, keys }).await.unwrap();
    matches!(rows[0].as_slice(), [Row::Event(_)])
}

async fn refused(path: &Path) -> (StoreErrorKind, String) {
    let error = SqliteStore::open(path).await.unwrap_err();
    (error.kind, error.context)
}

fn text(conn: &Connection, pragma: &str) -> String {
    conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, rusqlite::types::Value>(0))
        .map(|value| match value {
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        })
        .unwrap()
}

#[tokio::test]
async fn a_fresh_file_is_in_wal_mode_and_can_give_space_back() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.unwrap();
    let conn = Connection::open(&path).unwrap();
    assert_eq!((text(&conn, "journal_mode").as_str(), text(&conn, "auto_vacuum").as_str()), ("wal", "2"));
    drop((conn, store));
}

#[tokio::test]
async fn what_is_stored_is_there_after_reopening_and_a_closed_store_says_so() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.unwrap();
    put_tenant(&store).await;
    store.ingest(ingest("e1", 10)).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.ingest(ingest("e2", 10)).await.unwrap_err().kind, StoreErrorKind::Unavailable);
    assert_eq!(
        store.sweep(Sweep { now: NOW, limit: 1, rollups_before: [Timestamp::MIN; 3] }).await.unwrap_err().kind,
        StoreErrorKind::Unavailable
    );
    let fetch = Fetch { now: NOW, keys: vec![Key::TenantLife(LIFE)] };
    assert_eq!(store.fetch(fetch).await.unwrap_err().kind, StoreErrorKind::Unavailable);
    let again = SqliteStore::open(&path).await.unwrap();
    assert!(has(&again, "e1").await && !has(&again, "e2").await);
    let duplicate = again.ingest(ingest("e1", 10)).await.unwrap();
    assert!(matches!(duplicate[0], IngestOutcome::Duplicate { .. }));
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    SqliteStore::open(&path).await.unwrap().close().await.unwrap();
    let conn = Connection::open(&path).unwrap();
    conn.execute("UPDATE outpost_meta SET value = 99 WHERE name = 'format'", []).unwrap();
    let (kind, context) = refused(&path).await;
    assert_eq!(kind, StoreErrorKind::Incompatible);
    assert!(context.contains("newer version"), "{context}");
    let format: i64 =
        conn.query_row("SELECT value FROM outpost_meta WHERE name = 'format'", [], |row| row.get(0)).unwrap();
    assert_eq!(format, 99);
}

#[tokio::test]
async fn the_hosts_tables_and_journal_mode_are_its_own() {
    for choice in ["refuse", "keep", "switch"] {
        let (_folder, path) = folder();
        let host = Connection::open(&path).unwrap();
        host.execute_batch(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT); INSERT INTO orders VALUES (1, 'x')",
        )
        .unwrap();
        let builder = SqliteStore::builder(&path);
        let opened = match choice {
            "keep" => builder.keep_journal_mode().open().await,
            "switch" => builder.allow_wal_switch().open().await,
            _ => builder.open().await,
        };
        match opened {
            Err(error) => {
                assert_eq!((choice, error.kind), ("refuse", StoreErrorKind::Incompatible));
                assert!(error.context.contains("allow_wal_switch") && error.context.contains("keep_journal_mode"));
                let tables: i64 = host.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
                assert_eq!(tables, 1, "nothing was made");
            }
            Ok(store) => {
                put_tenant(&store).await;
                for n in 0..20 {
                    store.ingest(ingest(&format!("e{n}"), 10)).await.unwrap();
                    assert!(has(&store, &format!("e{n}")).await);
                }
                host.execute("INSERT INTO orders (note) VALUES ('y')", []).unwrap();
                store.ingest(ingest("after", 10)).await.unwrap();
            }
        }
        let mode = if choice == "switch" { "wal" } else { "delete" };
        assert_eq!(text(&host, "journal_mode"), mode, "{choice}");
        let notes: i64 = host.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
        assert_eq!(notes, if choice == "refuse" { 1 } else { 2 });
    }
}

#[tokio::test]
async fn prefixes_keep_stores_apart_in_one_file_and_bad_ones_are_refused() {
    let (_folder, path) = folder();
    let one = SqliteStore::open(&path).await.unwrap();
    let two = SqliteStore::builder(&path).table_prefix("hooks_").open().await.unwrap();
    put_tenant(&one).await;
    put_tenant(&two).await;
    one.ingest(ingest("e1", 10)).await.unwrap();
    assert!(has(&one, "e1").await && !has(&two, "e1").await);
    for bad in ["", "1x", "a b", "a\"; DROP TABLE x; --", "sqlite_x", &"x".repeat(33)] {
        let error = SqliteStore::builder(&path).table_prefix(bad).open().await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Incompatible, "{bad:?}");
    }
    for bad in ["", ":memory:"] {
        assert_eq!(refused(Path::new(bad)).await.0, StoreErrorKind::Incompatible, "{bad:?}");
    }
}

#[tokio::test]
async fn what_is_no_database_or_damaged_is_said_to_be_and_nothing_panics() {
    let (_folder, path) = folder();
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    assert_eq!(refused(&path).await.0, StoreErrorKind::Corrupt);
    assert_eq!(std::fs::read(&path).unwrap(), vec![b'x'; 8192], "it is left as it was");

    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.unwrap();
    put_tenant(&store).await;
    for n in 0..200 {
        store.ingest(ingest(&format!("e{n}"), 500)).await.unwrap();
    }
    store.close().await.unwrap();
    let whole = std::fs::read(&path).unwrap();
    for damage in ["cut", "garbage"] {
        let mut bytes = whole.clone();
        match damage {
            "cut" => bytes.truncate(whole.len() / 2),
            _ => bytes[4096..].fill(0xa5),
        }
        std::fs::write(&path, &bytes).unwrap();
        // It may open; then using what is damaged must fail, with the right kind.
        let kind = match SqliteStore::open(&path).await {
            Err(error) => error.kind,
            Ok(store) => {
                let keys = (0..200).map(|n| Key::Event(LIFE, EventId::new(format!("e{n}")).unwrap())).collect();
                store.fetch(Fetch { now: NOW, keys }).await.unwrap_err().kind
            }
        };
        assert_eq!(kind, StoreErrorKind::Corrupt, "{damage}");
    }
}

#[tokio::test]
async fn a_file_that_is_deleted_or_replaced_while_open_takes_no_more_writes() {
    for replaced in [false, true] {
        let (_folder, path) = folder();
        let store = SqliteStore::open(&path).await.unwrap();
        put_tenant(&store).await;
        store.ingest(ingest("e1", 10)).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        if replaced {
            std::fs::write(&path, b"").unwrap();
        }
        let error = store.ingest(ingest("e2", 10)).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Unavailable, "{}", error.context);
        assert!(error.context.contains("moved, deleted or replaced"), "{}", error.context);
        let left = std::fs::metadata(&path).map(|found| found.len()).ok();
        assert_eq!(left, replaced.then_some(0), "nothing was made in its place");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_handles_write_at_once_without_being_busy() {
    let (_folder, path) = folder();
    let one = Arc::new(SqliteStore::open(&path).await.unwrap());
    let two = Arc::new(SqliteStore::open(&path).await.unwrap());
    put_tenant(&one).await;
    let mut writers = tokio::task::JoinSet::new();
    for (name, store) in [("a", &one), ("b", &two)] {
        for writer in 0..4 {
            let store = store.clone();
            writers.spawn(async move {
                for n in 0..100 {
                    store.ingest(ingest(&format!("{name}{writer}-{n}"), 100)).await.expect("never busy");
                }
            });
        }
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    for store in [&one, &two] {
        for (name, writer, n) in [("a", 0, 0), ("b", 3, 99), ("a", 3, 99)] {
            assert!(has(store, &format!("{name}{writer}-{n}")).await);
        }
    }
    assert!(two.changed(0).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_queued_together_are_committed_together() {
    let (_folder, path) = folder();
    let store = Arc::new(SqliteStore::builder(&path).synchronous(Synchronous::Full).open().await.unwrap());
    put_tenant(&store).await;
    let before = store.commits();
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..500 {
        let store = store.clone();
        callers.spawn(async move { store.ingest(ingest(&format!("e{n}"), 100)).await.unwrap() });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    let commits = store.commits() - before;
    assert!(commits < 250, "500 calls took {commits} commits");
}

/// The child of the next test: publishes until the disk is full, then says what was acknowledged.
#[test]
fn full_disk_child() {
    let Some(path) = std::env::var_os("OUTPOST_FULL_DISK") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(PathBuf::from(path)).await.unwrap();
        put_tenant(&store).await;
        let mut failed = 0;
        for n in 0..400 {
            match store.ingest(ingest(&format!("e{n}"), 8000)).await {
                Ok(_) => println!("acked e{n}"),
                Err(error) => {
                    let kinds = [StoreErrorKind::Full, StoreErrorKind::Unavailable, StoreErrorKind::Unknown];
                    assert!(kinds.contains(&error.kind), "{:?} {}", error.kind, error.context);
                    failed += 1;
                }
            }
        }
        println!("failed {failed}");
    });
}

#[tokio::test]
async fn a_full_disk_fails_publishing_and_loses_nothing_acknowledged() {
    let (_folder, path) = folder();
    // A limit on file size stands for a full disk; the signal that comes with it is ignored, so that
    // writing fails instead.
    let script = "trap '' XFSZ; ulimit -f 3000; exec \"$0\" --exact full_disk_child --nocapture --test-threads=1";
    let out = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("OUTPOST_FULL_DISK", &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    let acked: BTreeSet<String> =
        said.lines().filter_map(|line| line.split("acked ").nth(1)).map(str::to_owned).collect();
    assert!(acked.len() > 5, "{said}");
    let failed = said.lines().filter_map(|line| line.strip_prefix("failed ")).next().unwrap();
    assert!(failed.parse::<u32>().unwrap() > 5, "{said}");
    let store = SqliteStore::open(&path).await.unwrap();
    for id in &acked {
        assert!(has(&store, id).await, "{id} is lost");
    }
    store.ingest(ingest("after", 8000)).await.unwrap();
}
