//! The SQLite store, held to the contract of every store.

#![allow(missing_docs)]

use outpost_core::conformance::Fixture;
use outpost_store_sqlite::SqliteStore;

outpost_core::conformance_suite!(|| async {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    let other = SqliteStore::open(&path).await.expect("opens again");
    Fixture::new(store).with_other(other).with_guard(folder)
});
