//! A deleted destination has no settings any more; what it did can still be read.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use outpost_core::store::{Fetch, Key, Row};
use outpost_core::{
    AttemptFilter, DeliveryFilter, DeliveryState, Destination, DestinationId, EventFilter, MemoryStore, MetricsFilter,
    MetricsQuery, NewDestination, NewEvent, Outpost, PageRequest, Scope, ScriptedReply, ScriptedTransport, Sealed,
    SeededEntropy, Store, Timestamp, TokioClock,
};

const START: Timestamp = Timestamp::from_millis(1_780_000_000_000);

/// An engine whose receiver takes its time, and a destination.
async fn world() -> (Outpost, MemoryStore, Destination) {
    let store = MemoryStore::new();
    let outpost = Outpost::builder(store.clone())
        .transport(ScriptedTransport::always(ScriptedReply::ok().after(Duration::from_secs(5))))
        .clock(TokioClock::starting_at(START))
        .entropy(SeededEntropy::new(1))
        .start()
        .await
        .unwrap();
    outpost.tenants().put("acme", None).await.unwrap();
    let new = NewDestination::webhook("https://one.test/").id(DestinationId::new("des").unwrap());
    let destination = outpost.destinations().create("acme", new).await.unwrap();
    (outpost, store, destination)
}

async fn publish(outpost: &Outpost, id: &str) {
    outpost.publish("acme", NewEvent::new("order.created", "{}").id(id)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_operator_reads_the_log_of_what_has_no_settings_any_more() {
    let (outpost, store, destination) = world().await;
    publish(&outpost, "done").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    publish(&outpost, "on_its_way").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    outpost.destinations().delete("acme", "des").await.unwrap();
    let keys = vec![Key::DestinationLife(destination.incarnation)];
    let rows = store.fetch(Fetch { now: START, keys }).await.unwrap().concat();
    let Some(Row::Destination(record)) = rows.first() else { panic!("its life is known: {rows:?}") };
    let sealed = [&record.config, &record.credentials, &record.delivery_metadata];
    assert_eq!(sealed, [&Sealed::default(); 3], "its settings are gone");
    assert_eq!((record.target.as_str(), record.id.as_str()), ("https://one.test/", "des"));
    // The attempt that was on its way ends, and is recorded.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let page = PageRequest::default();
    let lives = vec![destination.incarnation];
    let filter = DeliveryFilter { destination_lives: lives.clone(), ..DeliveryFilter::default() };
    for scope in [Scope::All, Scope::Tenant("acme".to_owned())] {
        let found = outpost.deliveries().list(scope.clone(), &filter, &page).await.unwrap().items;
        let shown: Vec<_> = found.iter().map(|row| (row.destination_id.as_str(), row.state)).collect();
        assert_eq!(shown, [("des", DeliveryState::Delivered); 2]);
        let filter = AttemptFilter { destination_lives: lives.clone(), ..AttemptFilter::default() };
        let found = outpost.deliveries().attempts(scope.clone(), &filter, &page).await.unwrap().items;
        assert!(found.len() == 2 && found.iter().all(|row| row.outcome.success), "{found:?}");
        assert_eq!(outpost.events().list(scope, &EventFilter::default(), &page).await.unwrap().items.len(), 2);
    }
    let asked = MetricsQuery {
        filter: MetricsFilter { destination_lives: lives, ..MetricsFilter::default() },
        ..MetricsQuery::new(START, START.after(Duration::from_secs(3600)))
    };
    outpost.metrics().attempts("acme", &asked).await.unwrap();
    assert_eq!(outpost.destinations().reseal().await.unwrap().seen, 0, "nothing of it is left to be sealed anew");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_deleted_destination_is_cancelled_without_an_attempt() {
    let (outpost, _, destination) = world().await;
    for number in 0..40 {
        publish(&outpost, &format!("e{number}")).await;
    }
    outpost.destinations().delete("acme", "des").await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let lives = vec![destination.incarnation];
    let filter = AttemptFilter { destination_lives: lives.clone(), ..AttemptFilter::default() };
    let page = PageRequest { limit: 100, ..PageRequest::default() };
    let attempts = outpost.deliveries().attempts("acme", &filter, &page).await.unwrap().items;
    assert!(attempts.iter().all(|attempt| attempt.outcome.success), "nothing was tried without its settings");
    let filter = DeliveryFilter { destination_lives: lives, ..DeliveryFilter::default() };
    let found = outpost.deliveries().list("acme", &filter, &page).await.unwrap().items;
    let cancelled = DeliveryState::Cancelled(outpost_core::CancelReason::DestinationDeleted);
    assert_eq!(found.len(), 40);
    assert_eq!(found.iter().filter(|row| row.state == cancelled).count(), 40 - attempts.len());
    assert!(attempts.len() < 40, "some were still waiting");
}
