//! The reference store: everything in memory, plain and obviously right. Other stores are compared with it.

mod prune;
mod rows;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use self::state::State;
use crate::ports::store::{
    Apply, ApplyOutcome, Claim, Claimed, Durability, Fetch, Ingest, IngestOutcome, Prune, Pruned, RollupRows, Rollups,
    Row, Scan, ScanPage, Settle, SettleOutcome, Store, StoreError, StoreErrorKind, StoreProfile, StoreResult, Sweep,
    Swept,
};
use crate::values::time::Timestamp;

/// A store in memory. It is gone with the process, so it is for tests and trials.
///
/// Clones share the data and count as the same process; [`MemoryStore::another_process`] shares the data
/// and counts as another.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    own: Arc<Handle>,
}

struct Shared {
    state: Mutex<State>,
    /// How many changes there were, by whichever handle.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Handle {
    /// How many of the changes this handle made.
    changes: Mutex<u64>,
    closed: std::sync::atomic::AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held is a defect, but a reference store that goes on is the better witness.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared { state: Mutex::new(State::default()), changes: watch::Sender::new(0) };
        Self { shared: Arc::new(shared), own: Arc::default() }
    }

    /// A handle on the same data as another process would have it.
    #[must_use]
    pub fn another_process(&self) -> Self {
        Self { shared: self.shared.clone(), own: Arc::default() }
    }

    fn state(&self) -> StoreResult<MutexGuard<'_, State>> {
        if self.own.closed.load(std::sync::atomic::Ordering::Acquire) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "memory: the store is closed"));
        }
        Ok(lock(&self.shared.state))
    }

    fn note_change(&self, changed: bool) {
        if changed {
            *lock(&self.own.changes) += 1;
            self.shared.changes.send_modify(|changes| *changes += 1);
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn profile(&self) -> StoreProfile {
        StoreProfile { name: "memory", durability: Durability::Memory }
    }

    async fn apply(&self, request: Apply) -> StoreResult<ApplyOutcome> {
        let outcome = self.state()?.apply(request);
        self.note_change(matches!(outcome, ApplyOutcome::Done(_)));
        Ok(outcome)
    }

    async fn fetch(&self, request: Fetch) -> StoreResult<Vec<Vec<Row>>> {
        let state = self.state()?;
        Ok(request.keys.iter().map(|key| state.fetch(request.now, key)).collect())
    }

    async fn scan(&self, request: Scan) -> StoreResult<ScanPage> {
        Ok(self.state()?.scan(&request))
    }

    async fn ingest(&self, request: Ingest) -> StoreResult<Vec<IngestOutcome>> {
        let outcomes = self.state()?.ingest(&request);
        self.note_change(outcomes.iter().any(|outcome| matches!(outcome, IngestOutcome::Stored { .. })));
        Ok(outcomes)
    }

    async fn claim(&self, request: Claim) -> StoreResult<Claimed> {
        Ok(self.state()?.claim(&request))
    }

    async fn settle(&self, request: Settle) -> StoreResult<Vec<SettleOutcome>> {
        let outcomes = self.state()?.settle(request);
        self.note_change(outcomes.iter().any(|outcome| matches!(outcome, SettleOutcome::Done { .. })));
        Ok(outcomes)
    }

    async fn sweep(&self, request: Sweep) -> StoreResult<Swept> {
        let swept = self.state()?.sweep(request);
        self.note_change(swept.changed > 0);
        Ok(swept)
    }

    async fn prune(&self, request: Prune) -> StoreResult<Pruned> {
        let pruned = self.state()?.prune(&request);
        self.note_change(pruned.events > 0);
        Ok(pruned)
    }

    async fn rollups(&self, request: Rollups) -> StoreResult<RollupRows> {
        Ok(self.state()?.rollups(&request))
    }

    async fn changed(&self, since: u64) -> StoreResult<u64> {
        let mut changes = self.shared.changes.subscribe();
        loop {
            drop(self.state()?);
            let foreign = (*changes.borrow_and_update()).saturating_sub(*lock(&self.own.changes));
            if foreign > since {
                return Ok(foreign);
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn clock_offset(&self, _now: Timestamp) -> StoreResult<Option<i64>> {
        Ok(None)
    }

    async fn close(&self) -> StoreResult<()> {
        self.own.closed.store(true, std::sync::atomic::Ordering::Release);
        // Wakes whoever waits for changes, so that they learn of the end.
        self.shared.changes.send_modify(|_| ());
        Ok(())
    }
}
