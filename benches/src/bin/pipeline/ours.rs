//! The same work through Outpost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outpost_core::{EgressPolicy, NewDestination, NewEvent, Outpost, Signal, WebhookTransport};
use outpost_store_sqlite::SqliteStore;
use tokio::sync::Notify;

use crate::raw::Anything;
use crate::{PUBLISHERS, Round, SENDERS, payload};

pub(crate) async fn round(address: SocketAddr, events: u64) -> Anything<Round> {
    let folder = tempfile::tempdir()?;
    let store = Arc::new(SqliteStore::open(folder.path().join("ours.db")).await?);
    let egress =
        EgressPolicy::builder().allow_net("127.0.0.0/8").build().map_err(|problems| format!("{problems:?}"))?;
    // Counted where it is told after the commit that recorded it.
    let recorded = Arc::new(AtomicU64::new(0));
    let all = Arc::new(Notify::new());
    let (counting, finished) = (recorded.clone(), all.clone());
    let outpost = Outpost::builder(store.clone())
        .transport(WebhookTransport::builder().egress(egress).build()?)
        .concurrency(u32::try_from(SENDERS * 2)?)
        .destination_concurrency(u32::try_from(SENDERS)?)
        .observer(move |signal: &Signal| {
            if matches!(signal, Signal::Attempted { outcome, .. } if outcome.success)
                && counting.fetch_add(1, Ordering::AcqRel) + 1 == events
            {
                finished.notify_one();
            }
        })
        .start()
        .await?;
    outpost.tenants().put("acme", None).await?;
    outpost.destinations().create("acme", NewDestination::webhook(format!("http://{address}/hooks"))).await?;
    let before = store.commits();
    let start = Instant::now();
    let mut publishers = tokio::task::JoinSet::new();
    let next = Arc::new(AtomicU64::new(0));
    for _ in 0..PUBLISHERS {
        let (outpost, next) = (outpost.clone(), next.clone());
        publishers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return Ok::<_, outpost_core::Error>(());
                }
                outpost.publish("acme", NewEvent::new("order.created", payload(number))).await?;
            }
        });
    }
    while let Some(done) = publishers.join_next().await {
        done??;
    }
    all.notified().await;
    let took = start.elapsed();
    let commits = store.commits() - before;
    outpost.shutdown(Duration::from_secs(10)).await;
    Ok(Round { events, took, commits })
}
