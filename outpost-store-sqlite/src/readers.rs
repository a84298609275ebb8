//! The threads that read. Each request sees one snapshot.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use outpost_core::store::{Fetch, RollupRows, Rollups, Row, Scan, ScanPage, StoreResult};
use outpost_core::{StoreError, StoreErrorKind};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::error::Fallible;
use crate::open::{self, Settings};
use crate::sql::Sql;
use crate::{fetch, rollups, scan};

type Reply<T> = oneshot::Sender<StoreResult<T>>;

/// One request to read. Whoever asks waits, so the queue is no longer than there are callers.
pub(crate) enum Read {
    Fetch(Fetch, Reply<Vec<Vec<Row>>>),
    Scan(Scan, Reply<ScanPage>),
    Rollups(Rollups, Reply<RollupRows>),
}

pub(crate) struct Readers {
    queue: Mutex<Option<Sender<Read>>>,
    closed: AtomicBool,
    /// Each thread holds a sender until its connection is closed.
    ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl Readers {
    pub(crate) async fn start(settings: &Settings, sql: Arc<Sql>) -> StoreResult<Self> {
        let (queue, requests) = channel();
        let requests = Arc::new(Mutex::new(requests));
        let (alive, ended) = mpsc::channel(1);
        for number in 0..settings.readers {
            let (ready, opened) = oneshot::channel();
            let (settings, sql, requests, alive) = (settings.clone(), sql.clone(), requests.clone(), alive.clone());
            let spawned = std::thread::Builder::new().name(format!("outpost-read-{number}")).spawn(move || {
                match open::reader(&settings) {
                    Ok(conn) => {
                        let _ = ready.send(Ok(()));
                        run(&conn, &sql, &requests);
                        drop(conn);
                        drop(alive);
                    }
                    Err(fault) => {
                        let _ = ready.send(Err(fault.error("open")));
                    }
                }
            });
            spawned.map_err(|error| StoreError::new(StoreErrorKind::Unavailable, format!("sqlite: open: {error}")))?;
            opened.await.map_err(|_| StoreError::new(StoreErrorKind::Internal, "sqlite: open: a reader ended"))??;
        }
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            closed: AtomicBool::new(false),
            ended: tokio::sync::Mutex::new(ended),
        })
    }

    pub(crate) async fn call<T>(&self, operation: &str, job: impl FnOnce(Reply<T>) -> Read) -> StoreResult<T> {
        let (reply, answer) = oneshot::channel();
        let sent = {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.as_ref().is_some_and(|queue| queue.send(job(reply)).is_ok())
        };
        if !sent || self.closed.load(Ordering::Acquire) {
            return Err(crate::closed(operation));
        }
        answer
            .await
            .map_err(|_| StoreError::new(StoreErrorKind::Internal, format!("sqlite: {operation}: it panicked")))?
    }

    /// Has the threads finish what is waiting and end.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.ended.lock().await.recv().await;
    }
}

fn run(conn: &Connection, sql: &Sql, requests: &Mutex<Receiver<Read>>) {
    loop {
        let next = requests.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(request) = next else { return };
        // A panic answers the one caller, by dropping its reply, and the thread goes on.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match request {
            // Nobody waits for it any more, so it is not worth the reading.
            Read::Fetch(_, reply) if reply.is_closed() => {}
            Read::Scan(_, reply) if reply.is_closed() => {}
            Read::Rollups(_, reply) if reply.is_closed() => {}
            Read::Fetch(request, reply) => {
                let rows = snapshot(conn, || fetch::fetch(conn, sql, &request));
                let _ = reply.send(rows.map_err(|fault| fault.error("fetch")));
            }
            Read::Scan(request, reply) => {
                let page = snapshot(conn, || scan::scan(conn, sql, &request));
                let _ = reply.send(page.map_err(|fault| fault.error("scan")));
            }
            Read::Rollups(request, reply) => {
                let rows = snapshot(conn, || rollups::rollups(conn, sql, &request));
                let _ = reply.send(rows.map_err(|fault| fault.error("rollups")));
            }
        }));
        if done.is_err() {
            tracing::error!("reading panicked");
        }
    }
}

fn snapshot<T>(conn: &Connection, read: impl FnOnce() -> Fallible<T>) -> Fallible<T> {
    if !conn.is_autocommit() {
        // A panic left the last one open.
        conn.execute_batch("ROLLBACK")?;
    }
    conn.prepare_cached("BEGIN")?.execute([])?;
    let result = read();
    let ended = conn.prepare_cached("COMMIT").and_then(|mut statement| statement.execute([]));
    let value = result?;
    ended?;
    Ok(value)
}
