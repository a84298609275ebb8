//! A log of any length, written without sending anything: what benches of reading read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outpost_core::store::{
    Fetch, Ingest, IngestItem, Key, NewDelivery, Quota, Row, Settle, SettleAction, SettleItem, StoreResult,
};
use outpost_core::{
    Attempt, AttemptId, DeliveryKey, Event, EventId, Fingerprint, Incarnation, Lease, LeaseToken, NewDestination,
    Outcome, Outpost, ScriptedReply, ScriptedTransport, Store, Timestamp, TokenSettings, Trigger,
};
use outpost_store_sqlite::{SqliteStore, Synchronous};

/// A result whose error is anything.
pub type Anything<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How many destinations the tenant has.
const DESTINATIONS: i64 = 20;
/// How much time the log covers.
pub const HOURS: i64 = 48;
/// Events of one commit.
const BATCH: usize = 25;

/// A log of so many attempts and an engine over it.
pub struct Log {
    /// The engine.
    pub outpost: Outpost,
    /// When the log ends.
    pub until: Timestamp,
    /// The first destination.
    pub destination: String,
    _folder: tempfile::TempDir,
}

/// Writes a log of so many attempts into a new file, as fast as the store takes it.
///
/// # Errors
/// The store's failures.
pub async fn log(attempts: i64) -> Anything<Log> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("metrics.db");
    let open = || SqliteStore::builder(&path).synchronous(Synchronous::Normal).open();
    let store = open().await?;
    // Disabled ones, so that nothing is sent; the attempts are written by hand.
    let builder = Outpost::builder(open().await?).transport(ScriptedTransport::always(ScriptedReply::ok()));
    let tokens = TokenSettings::new("https://app.example/webhooks", [7; 32]);
    let outpost = builder.max_destinations(100).tokens(tokens).start().await?;
    let tenant = outpost.tenants().put("acme", None).await?.tenant;
    let (mut lanes, mut destination) = (Vec::new(), String::new());
    for _ in 0..DESTINATIONS {
        let made = outpost.destinations().create("acme", NewDestination::webhook("https://x.test/")).await?;
        lanes.push(made.incarnation);
        destination = made.id.to_string();
    }
    let keys = vec![Key::TenantLife(tenant.incarnation)];
    let rows = store.fetch(Fetch { now: tenant.created_at, keys }).await?;
    let Some(Row::Tenant(tenant)) = rows.into_iter().flatten().next() else { return Err("no tenant".into()) };
    let until = tenant.created_at;
    let events: Vec<i64> = (0..attempts / DESTINATIONS).collect();
    for batch in events.chunks(BATCH) {
        write(&store, batch, events.len(), (tenant.incarnation, tenant.subscriptions), &lanes, until).await?;
    }
    store.close().await?;
    Ok(Log { outpost, until, destination, _folder: folder })
}

/// Stores some events, each with one attempt at each destination, spread evenly over the time.
async fn write(
    store: &SqliteStore,
    batch: &[i64],
    of: usize,
    (tenant, subscriptions): (Incarnation, i64),
    lanes: &[Incarnation],
    until: Timestamp,
) -> Anything<()> {
    let lease = Lease { token: LeaseToken(batch.first().copied().unwrap_or(0) + 1), until: Timestamp::MAX };
    let span = HOURS * 3_600_000;
    let (mut items, mut settled) = (Vec::new(), Vec::new());
    for number in batch {
        // A step that shares no factor with the span, so that every hour gets its part.
        let back = (number * 7_919_993) % span;
        let time = Timestamp::from_millis(until.as_millis() - 1 - back);
        let id = EventId::new(format!("evt_{number}")).map_err(|problem| problem.to_string())?;
        let event = Event {
            id: id.clone(),
            tenant,
            topic: Arc::from("order.created"),
            time,
            created_at: time,
            metadata: Arc::default(),
            data: Bytes::from_static(b"{\"a\":1}"),
            eligible_for_retry: true,
            destination_id: None,
            matched: Arc::from([]),
            fingerprint: Fingerprint([0; 32]),
        };
        let deliveries = lanes
            .iter()
            .map(|lane| NewDelivery { destination: *lane, epoch: 0, skipped: false, hand_off: true })
            .collect();
        items.push(IngestItem { event: Arc::new(event), subscriptions, deliveries });
        for (place, lane) in lanes.iter().enumerate() {
            let success = (number / DESTINATIONS + i64::try_from(place)?) % 4 != 0;
            let attempt = Attempt {
                id: AttemptId::new(format!("att_{number}_{place}")).map_err(|problem| problem.to_string())?,
                delivery: DeliveryKey { destination: *lane, event: id.clone() },
                tenant,
                topic: Arc::from("order.created"),
                number: 1,
                trigger: Trigger::Automatic,
                started_at: time,
                time,
                duration: Duration::from_millis(20 + number.unsigned_abs() % 200),
                outcome: Outcome { success, code: if success { "200" } else { "503" }.to_owned() },
                request: None,
                response: None,
                error: None,
                next_attempt_at: None,
            };
            settled.push(SettleItem {
                key: attempt.delivery.clone(),
                token: lease.token,
                action: SettleAction::Attempted { attempt: Arc::new(attempt), next: None },
                lane: None,
                disable: None,
                judge: None,
                alerts: None,
                follow_ups: Vec::new(),
            });
        }
    }
    let written: StoreResult<_> = store.ingest(Ingest { now: until, lease, quota: Quota::default(), items }).await;
    written?;
    store.settle(Settle { now: until, items: settled }).await?;
    if batch.first().is_some_and(|first| first % 5000 == 0) {
        eprintln!("{} of {of} events are stored", batch.first().copied().unwrap_or(0));
    }
    Ok(())
}

/// The 99th percentile.
#[must_use]
pub fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}
