//! Opening files that are odd, damaged, closed or opened by many at once.

#![allow(missing_docs)]
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test reports by panicking and printing")]

mod support;

use std::path::{Path, PathBuf};

use outpost_core::store::{Fetch, IngestOutcome};
use outpost_core::{Store as _, StoreError, StoreErrorKind};
use outpost_store_sqlite::SqliteStore;
use rusqlite::Connection;
use support::{at, ingest, ingest_of, new_event, prepare};

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
async fn a_host_file_in_wal_mode_is_shared_without_asking() {
    let place = place();
    let conn = Connection::open(&place.path).expect("opens");
    conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER)").expect("makes the host's table");
    let store = SqliteStore::open(&place.path).await.expect("opens");
    prepare(&store).await;
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
        // Root may write to everything: the same test again as a user who may not.
        use std::os::unix::process::CommandExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        allow(folder.path(), 0o755).expect("changes");
        let test = folder.path().join("opening");
        std::fs::copy(std::env::current_exe().expect("a test"), &test).expect("copies");
        allow(&test, 0o755).expect("changes");
        let mut child = std::process::Command::new(&test);
        child
            .args(["--exact", "what_may_not_be_written_is_read_only"])
            .current_dir(folder.path())
            .uid(65_534)
            .gid(65_534);
        let out = child.output().expect("starts as nobody");
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && said.contains("1 passed"), "{said}");
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

#[tokio::test]
async fn many_open_a_new_file_at_once() {
    let place = place();
    let open = || SqliteStore::open(&place.path);
    let (a, b, c, d) = tokio::join!(open(), open(), open(), open());
    for store in [a, b, c, d] {
        store.expect("opens").close().await.expect("closes");
    }
}
