//! Lists that are longer than what is gathered or merged at once: nothing may be left out.

#![allow(missing_docs)]
#![allow(clippy::expect_used, reason = "a test reports by panicking")]

mod support;

use outpost_core::store::{Filter, List};
use outpost_core::{Direction, EventId};
use outpost_store_sqlite::{SqliteStore, Synchronous};
use support::{apply, every_row, ingest, life, new_destination, new_event, new_tenant, scan_of};

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
