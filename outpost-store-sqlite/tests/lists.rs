//! Lists that are longer than what is gathered or merged at once: nothing may be left out.

#![allow(missing_docs)]
#![allow(clippy::expect_used, reason = "a test reports by panicking")]

mod support;

use bytes::Bytes;
use outpost_core::store::{Expect, Fetch, Filter, Key, List, Row, SmallRecord, Write};
use outpost_core::{Direction, EventId, Store as _};
use outpost_store_sqlite::{SqliteStore, Synchronous};
use support::{apply, at, every_row, ingest, life, new_destination, new_event, new_tenant, scan_of};

async fn fresh(folder: &tempfile::TempDir) -> SqliteStore {
    let builder = SqliteStore::builder(folder.path().join("s.db")).synchronous(Synchronous::Normal);
    builder.open().await.expect("opens")
}

#[tokio::test]
async fn an_event_id_that_thousands_of_tenants_use_is_listed_for_all_of_them() {
    const TENANTS: i64 = 5000;
    let folder = tempfile::tempdir().expect("a folder");
    let store = fresh(&folder).await;
    apply(&store, (1..=TENANTS).map(new_tenant).collect()).await;
    ingest(&store, (1..=TENANTS).map(|tenant| new_event(tenant, "same", 0, &[])).collect()).await;
    let filter = Filter { events: vec![EventId::new("same").expect("an id")], ..Filter::default() };
    for direction in [Direction::Ascending, Direction::Descending] {
        let mut scan = scan_of(List::Events, filter.clone());
        scan.direction = direction;
        assert_eq!(every_row(&store, scan).await.len(), 5000);
    }
}

#[tokio::test]
async fn every_delivery_of_one_event_is_listed() {
    const DESTINATIONS: i64 = 5000;
    let folder = tempfile::tempdir().expect("a folder");
    let store = fresh(&folder).await;
    apply(&store, vec![new_tenant(1)]).await;
    let numbers: Vec<i64> = (10..10 + DESTINATIONS).collect();
    apply(&store, numbers.iter().map(|number| new_destination(1, *number)).collect()).await;
    ingest(&store, vec![new_event(1, "wide", DESTINATIONS, &numbers)]).await;
    let by_event = Filter { events: vec![EventId::new("wide").expect("an id")], ..Filter::default() };
    let by_both = Filter { tenant: Some(life(1)), ..by_event.clone() };
    let by_tenant = Filter { tenant: Some(life(1)), ..Filter::default() };
    for filter in [by_event, by_both, by_tenant] {
        assert_eq!(every_row(&store, scan_of(List::Deliveries, filter)).await.len(), 5000);
    }
}

#[tokio::test]
async fn a_tenant_that_had_very_many_destinations_still_sees_all_its_deliveries() {
    const DESTINATIONS: i64 = 10_050;
    let folder = tempfile::tempdir().expect("a folder");
    let store = fresh(&folder).await;
    apply(&store, vec![new_tenant(1), new_tenant(2), new_destination(2, 9)]).await;
    let numbers: Vec<i64> = (10..10 + DESTINATIONS).collect();
    apply(&store, numbers.iter().map(|number| new_destination(1, *number)).collect()).await;
    let last = *numbers.last().expect("some");
    ingest(&store, vec![new_event(1, "first", DESTINATIONS, &[10]), new_event(1, "last", DESTINATIONS, &[last])]).await;
    ingest(&store, vec![new_event(2, "other", 1, &[9])]).await;
    let filter = Filter { tenant: Some(life(1)), ..Filter::default() };
    assert_eq!(every_row(&store, scan_of(List::Deliveries, filter)).await.len(), 2);
}

#[tokio::test]
async fn records_are_found_by_the_start_of_their_key_and_nothing_in_it_is_a_wildcard() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = fresh(&folder).await;
    let record = |kind: &str, key: &str, expires: Option<i64>| {
        let (kind, key, expires_at) = (kind.to_owned(), key.to_owned(), expires.map(at));
        let record = SmallRecord { kind, key, value: Bytes::from_static(b"v"), expires_at, revision: 0 };
        Write::PutRecord { record, expect: Expect::Absent }
    };
    let keys = ["a%1", "a%2", "a%", "ab", "a", "A%3", "b", "a\u{10ffff}", "a_", "é1", "é2", "f"];
    let mut writes: Vec<Write> = keys.iter().map(|key| record("job", key, None)).collect();
    writes.extend([record("job", "a%0", Some(5)), record("job", "a%9", Some(50)), record("other", "a%1", None)]);
    // More than are answered at once, with some between them that have expired.
    writes.extend((0..1100).map(|number| record("many", &format!("k{number:04}"), (number % 50 == 0).then_some(5))));
    apply(&store, writes).await;
    let found = async |kind: &str, prefix: &str| -> Vec<String> {
        let keys = vec![Key::Records(kind.to_owned(), prefix.to_owned())];
        let rows = store.fetch(Fetch { now: at(10), keys }).await.expect("fetches");
        let name = |row: Row| if let Row::Record(record) = row { Some(record.key) } else { None };
        rows.into_iter().flatten().filter_map(name).collect()
    };
    assert_eq!(found("job", "a%").await, ["a%", "a%1", "a%2", "a%9"]);
    assert_eq!(found("job", "a_").await, ["a_"]);
    assert_eq!(found("job", "é").await, ["é1", "é2"]);
    assert_eq!(found("job", "a\u{10ffff}").await, ["a\u{10ffff}"]);
    assert_eq!(found("job", "").await.len(), keys.len() + 1);
    assert!(found("job", "zz").await.is_empty() && found("none", "").await.is_empty());
    let many = found("many", "k").await;
    assert_eq!((many.len(), many.first().map(String::as_str)), (1000, Some("k0001")));
    assert!(many.is_sorted());
}
