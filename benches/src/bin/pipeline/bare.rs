//! The bare pipeline: what one would write by hand for exactly this work and nothing else. A bounded
//! channel, one thread that writes in group commits, 64 senders.
//!
//! FROZEN: it is the yardstick, so it must not change any more. It keeps the rows that Outpost keeps, under
//! the indexes that Outpost's tables have, and makes one commit of whatever has queued up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};

use crate::raw::{Anything, client, send};
use crate::{PUBLISHERS, Round, SENDERS, payload};

const SCHEMA: &str = "
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -65536;
CREATE TABLE events (seq INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, id TEXT NOT NULL, topic TEXT NOT NULL,
    time INTEGER NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX events_id ON events (id, tenant);
CREATE INDEX events_tenant ON events (tenant, time, id);
CREATE INDEX events_time ON events (time, id, tenant);
CREATE TABLE deliveries (seq INTEGER PRIMARY KEY, event_seq INTEGER NOT NULL, destination INTEGER NOT NULL,
    event TEXT NOT NULL, state INTEGER NOT NULL, created_at INTEGER NOT NULL, due INTEGER, requested INTEGER,
    epoch INTEGER NOT NULL);
CREATE UNIQUE INDEX deliveries_event ON deliveries (event_seq, destination);
CREATE INDEX deliveries_destination ON deliveries (destination, created_at, event);
CREATE INDEX deliveries_time ON deliveries (created_at, event, destination);
CREATE INDEX deliveries_due ON deliveries (destination, epoch, due) WHERE due IS NOT NULL AND requested IS NULL;
CREATE INDEX deliveries_requested ON deliveries (destination, epoch, due)
    WHERE due IS NOT NULL AND requested IS NOT NULL;
CREATE TABLE attempts (seq INTEGER PRIMARY KEY, delivery INTEGER NOT NULL, destination INTEGER NOT NULL,
    tenant INTEGER NOT NULL, time INTEGER NOT NULL, id TEXT NOT NULL, code TEXT NOT NULL, duration INTEGER NOT NULL);
CREATE INDEX attempts_id ON attempts (id);
CREATE INDEX attempts_delivery ON attempts (delivery);
CREATE INDEX attempts_destination ON attempts (destination, time, id);
CREATE INDEX attempts_time ON attempts (time, id, tenant);
";

enum Job {
    Publish { id: String, data: Bytes, time: i64, stored: oneshot::Sender<i64> },
    Complete { delivery: i64, id: String, time: i64, code: u16, duration: i64, recorded: oneshot::Sender<()> },
}

/// How many jobs wait and go into one commit at most.
const QUEUE: usize = 4096;
const BATCH: usize = 512;

fn write(conn: &Connection, mut jobs: mpsc::Receiver<Job>, commits: &AtomicU64) -> rusqlite::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(first) = jobs.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH {
            let Ok(job) = jobs.try_recv() else { break };
            batch.push(job);
        }
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut answers: Vec<Box<dyn FnOnce() + Send>> = Vec::with_capacity(batch.len());
        for job in batch.drain(..) {
            match job {
                Job::Publish { id, data, time, stored } => {
                    conn.prepare_cached(
                        "INSERT INTO events (tenant, id, topic, time, data) VALUES (1, ?1, 'order.created', ?2, ?3)",
                    )?
                    .execute(params![id, time, &data[..]])?;
                    let seq = conn.last_insert_rowid();
                    conn.prepare_cached(
                        "INSERT INTO deliveries (event_seq, destination, event, state, created_at, due, epoch)
                         VALUES (?1, 1, ?2, 0, ?3, ?4, 0)",
                    )?
                    .execute(params![seq, id, time, time + 60_000])?;
                    let delivery = conn.last_insert_rowid();
                    answers.push(Box::new(move || {
                        let _ = stored.send(delivery);
                    }));
                }
                Job::Complete { delivery, id, time, code, duration, recorded } => {
                    conn.prepare_cached("UPDATE deliveries SET state = 2, due = NULL WHERE seq = ?1")?
                        .execute([delivery])?;
                    conn.prepare_cached(
                        "INSERT INTO attempts (delivery, destination, tenant, time, id, code, duration)
                         VALUES (?1, 1, 1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![delivery, time, id, code.to_string(), duration])?;
                    answers.push(Box::new(move || {
                        let _ = recorded.send(());
                    }));
                }
            }
        }
        conn.prepare_cached("COMMIT")?.execute([])?;
        commits.fetch_add(1, Ordering::Relaxed);
        answers.into_iter().for_each(|answer| answer());
    }
    Ok(())
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(0)
}

pub(crate) async fn round(address: SocketAddr, events: u64) -> Anything<Round> {
    let folder = tempfile::tempdir()?;
    let conn = Connection::open(folder.path().join("bare.db"))?;
    conn.execute_batch(SCHEMA)?;
    let commits = Arc::new(AtomicU64::new(0));
    let (jobs, queue) = mpsc::channel(QUEUE);
    let counted = commits.clone();
    let writer = std::thread::spawn(move || write(&conn, queue, &counted));

    let (ready, work) = mpsc::channel::<(i64, String, Bytes)>(QUEUE);
    let work = Arc::new(tokio::sync::Mutex::new(work));
    let http = client();
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let next = Arc::new(AtomicU64::new(0));
    for _ in 0..PUBLISHERS {
        let (jobs, ready, next) = (jobs.clone(), ready.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return Ok::<_, Box<dyn std::error::Error + Send + Sync>>(());
                }
                let (stored, answer) = oneshot::channel();
                let (id, data) = (format!("evt_{number:026}"), payload(number));
                jobs.send(Job::Publish { id: id.clone(), data: data.clone(), time: now(), stored }).await?;
                ready.send((answer.await?, id, data)).await?;
            }
        });
    }
    drop(ready);
    let (recorded, mut done) = mpsc::channel::<oneshot::Receiver<()>>(QUEUE);
    for _ in 0..SENDERS {
        let (jobs, work, http, recorded) = (jobs.clone(), work.clone(), http.clone(), recorded.clone());
        tasks.spawn(async move {
            loop {
                let next = work.lock().await.recv().await;
                let Some((delivery, id, data)) = next else { return Ok(()) };
                let began = Instant::now();
                let code = send(&http, address, &id, data).await?;
                let duration = i64::try_from(began.elapsed().as_micros())?;
                let (settled, answer) = oneshot::channel();
                let attempt = format!("att_{}", id.trim_start_matches("evt_"));
                jobs.send(Job::Complete { delivery, id: attempt, time: now(), code, duration, recorded: settled })
                    .await?;
                recorded.send(answer).await?;
            }
        });
    }
    drop((jobs, recorded));
    let mut counted = 0;
    while let Some(answer) = done.recv().await {
        answer.await?;
        counted += 1;
    }
    let took = start.elapsed();
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    writer.join().map_err(|_| "the writer panicked")??;
    assert_eq!(counted, events);
    Ok(Round { events, took, commits: commits.load(Ordering::Relaxed) })
}
