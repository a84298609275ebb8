//! What a metrics query costs as the log grows: the 99th percentile with 500,000 attempts stored, as a ratio to
//! that with 5,000, in one process. Both logs cover the same two days, destinations and answers, so what the
//! rollups hold is the same; only the log is a hundred times as long.
//!
//! The last line on standard output is JSON; everything else goes to standard error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use outpost_core::store::{
    Fetch, Ingest, IngestItem, Key, NewDelivery, Quota, Row, Settle, SettleAction, SettleItem, StoreResult,
};
use outpost_core::{
    Attempt, AttemptId, DeliveryKey, Dimension, Event, EventId, Fingerprint, Granularity, Incarnation, Lease,
    LeaseToken, Measure, MetricsQuery, NewDestination, Outcome, Outpost, ScriptedReply, ScriptedTransport, Store,
    Timestamp, Trigger,
};
use outpost_store_sqlite::{SqliteStore, Synchronous};

type Anything<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const DESTINATIONS: i64 = 20;
const HOURS: i64 = 48;
/// Events of one commit.
const BATCH: usize = 25;

/// A log of so many attempts and an engine over it.
struct Log {
    outpost: Outpost,
    until: Timestamp,
    _folder: tempfile::TempDir,
}

async fn log(attempts: i64) -> Anything<Log> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("metrics.db");
    let open = || SqliteStore::builder(&path).synchronous(Synchronous::Normal).open();
    let store = open().await?;
    // Disabled ones, so that nothing is sent; the attempts are written by hand.
    let builder = Outpost::builder(open().await?).transport(ScriptedTransport::always(ScriptedReply::ok()));
    let outpost = builder.max_destinations(100).start().await?;
    let tenant = outpost.tenants().put("acme", None).await?.tenant;
    let mut lanes = Vec::new();
    for _ in 0..DESTINATIONS {
        lanes
            .push(outpost.destinations().create("acme", NewDestination::webhook("https://x.test/")).await?.incarnation);
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
    Ok(Log { outpost, until, _folder: folder })
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

/// One query: two days by the hour, by destination and answer.
async fn query(log: &Log) -> Anything<(Duration, u64)> {
    let from = log.until.before(Duration::from_millis(u64::try_from(HOURS * 3_600_000)?));
    let start = Timestamp::from_millis(from.as_millis() / 3_600_000 * 3_600_000);
    let mut query = MetricsQuery::new(start, log.until.after(Duration::from_secs(3600)));
    query.granularity = Some(Granularity::parse("1h")?);
    query.measures = vec![Measure::Count, Measure::ErrorRate, Measure::P95Latency];
    query.dimensions = vec![Dimension::DestinationId, Dimension::Code];
    let begin = Instant::now();
    let report = log.outpost.metrics().attempts("acme", &query).await?;
    Ok((begin.elapsed(), report.rollups_read))
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

fn main() -> Anything<()> {
    use lexopt::prelude::*;
    let (mut small, mut large, mut queries) = (5_000, 500_000, 300);
    let mut given = lexopt::Parser::from_env();
    while let Some(flag) = given.next()? {
        match flag {
            Long("small") => small = given.value()?.parse()?,
            Long("large") => large = given.value()?.parse()?,
            Long("queries") => queries = given.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (few, many) = runtime.block_on(async {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((log(small).await?, log(large).await?))
    })?;
    let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
    let mut read = (0, 0);
    for _ in 0..queries {
        // By turns, so that whatever else the machine does meets both.
        let (took, rows) = runtime.block_on(query(&few))?;
        of_few.push(took);
        read.0 = rows;
        let (took, rows) = runtime.block_on(query(&many))?;
        of_many.push(took);
        read.1 = rows;
    }
    let (few, many) = (p99(of_few), p99(of_many));
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    eprintln!("{small} attempts: p99 {few:?}, {} rollups read; {large} attempts: p99 {many:?}, {}", read.0, read.1);
    println!(
        "{{\"p99_ratio\":{ratio:.2},\"p99_small_ms\":{:.2},\"p99_large_ms\":{:.2}}}",
        few.as_secs_f64() * 1e3,
        many.as_secs_f64() * 1e3
    );
    Ok(())
}
