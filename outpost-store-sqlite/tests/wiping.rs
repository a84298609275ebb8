//! What was secret in a deleted destination is gone from the file, not only from what is read.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

mod support;

use std::path::Path;

use outpost_core::store::{Expect, Fetch, Key, Row, Write};
use outpost_core::{DestinationRecord, Sealed, Store};
use outpost_store_sqlite::SqliteStore;
use support::{apply, at, life, new_destination, new_tenant};

/// A destination whose three sealed values each hold `mark`, on pages of their own and among others.
fn secret(number: i64, mark: &str) -> Write {
    let Write::PutDestination { destination, expect, limit } = new_destination(1, number) else { unreachable!() };
    let destination = DestinationRecord {
        config: Sealed::new(mark.repeat(2000)),
        credentials: Sealed::new(mark.to_owned()),
        delivery_metadata: Sealed::new(mark.repeat(100)),
        ..*destination
    };
    Write::PutDestination { destination: Box::new(destination), expect, limit }
}

/// Whether the file holds the text anywhere, once the log is copied into it.
fn holds(path: &Path, text: &str) -> bool {
    let files = [path.to_owned(), path.with_extension("db-wal")];
    files
        .iter()
        .filter_map(|file| std::fs::read(file).ok())
        .any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

async fn find(store: &SqliteStore, number: i64) -> DestinationRecord {
    let keys = vec![Key::DestinationLife(life(number))];
    match store.fetch(Fetch { now: at(1), keys }).await.unwrap().concat().pop() {
        Some(Row::Destination(found)) => *found,
        other => panic!("a deleted destination is still known, but {other:?}"),
    }
}

#[tokio::test]
async fn nothing_secret_of_what_is_deleted_stays_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::builder(&path).open().await.unwrap();
    let writes = vec![new_tenant(1), secret(11, "alone#"), secret(12, "tenants#"), secret(13, "changed#")];
    apply(&store, writes).await;
    store.close().await.unwrap();
    for mark in ["alone#", "tenants#", "changed#"] {
        assert!(holds(&path, mark), "{mark} is stored, or its loss would prove nothing");
    }
    let store = SqliteStore::builder(&path).open().await.unwrap();
    apply(&store, vec![Write::DeleteDestination { destination: life(11), at: at(1) }]).await;
    let Write::PutDestination { destination, limit, .. } = secret(13, "newer#") else { unreachable!() };
    apply(&store, vec![Write::PutDestination { destination, expect: Expect::Any, limit }]).await;
    assert_eq!(find(&store, 11).await.credentials, Sealed::default());
    assert_eq!(find(&store, 11).await.target, "https://example.test");
    store.close().await.unwrap();
    assert!(!holds(&path, "alone#"), "what was deleted is overwritten");
    assert!(!holds(&path, "changed#"), "what was changed, too");
    assert!(holds(&path, "tenants#") && holds(&path, "newer#"), "others keep theirs");
    let store = SqliteStore::builder(&path).open().await.unwrap();
    apply(&store, vec![Write::DeleteTenant { tenant: life(1), at: at(2) }]).await;
    assert_eq!(find(&store, 12).await.config, Sealed::default());
    store.close().await.unwrap();
    assert!(!holds(&path, "tenants#") && !holds(&path, "newer#"), "they went with their tenant");
}
