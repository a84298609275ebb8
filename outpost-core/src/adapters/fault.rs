//! A store that fails when a test wants it to.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::ports::store::{
    Apply, ApplyOutcome, Claim, Claimed, Fetch, Ingest, IngestOutcome, Prune, Pruned, RollupRows, Rollups, Row, Scan,
    ScanPage, Settle, SettleOutcome, Store, StoreError, StoreErrorKind, StoreProfile, StoreResult, Sweep, Swept,
};
use crate::values::time::Timestamp;

/// The operations of a [`Store`] that a [`FaultStore`] can spoil.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Store::apply`].
    Apply,
    /// [`Store::fetch`].
    Fetch,
    /// [`Store::scan`].
    Scan,
    /// [`Store::ingest`].
    Ingest,
    /// [`Store::claim`].
    Claim,
    /// [`Store::settle`].
    Settle,
    /// [`Store::sweep`].
    Sweep,
    /// [`Store::prune`].
    Prune,
    /// [`Store::rollups`].
    Rollups,
    /// [`Store::changed`].
    Changed,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 10] = [
        Self::Apply,
        Self::Fetch,
        Self::Scan,
        Self::Ingest,
        Self::Claim,
        Self::Settle,
        Self::Sweep,
        Self::Prune,
        Self::Rollups,
        Self::Changed,
    ];
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It answers this error, and nothing has happened.
    Before(StoreErrorKind),
    /// It happens, but the caller is told [`StoreErrorKind::Unknown`].
    After,
    /// It waits until [`Faults::release`] lets it go on, then happens as usual.
    Hang,
}

/// How many calls go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The next so many.
    Next(u32),
    /// All of them until [`Faults::clear`].
    UntilCleared,
}

/// Wraps a store and makes its calls fail, get lost or hang as its [`Faults`] say. Without faults it is
/// the store it wraps.
///
/// ```
/// # use outpost_core::{Fault, FaultStore, MemoryStore, Operation, StoreErrorKind, Times};
/// let store = FaultStore::new(MemoryStore::new());
/// let faults = store.faults();
/// faults.inject(Operation::Ingest, Fault::Before(StoreErrorKind::Busy), Times::Next(2));
/// // ... the next two calls of `store.ingest(..)` answer Busy ...
/// assert_eq!(faults.calls(Operation::Ingest), 0);
/// ```
#[derive(Clone, Debug)]
pub struct FaultStore<S> {
    inner: S,
    faults: Faults,
}

impl<S> FaultStore<S> {
    /// Wraps `inner`; nothing fails yet.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner, faults: Faults::new() }
    }

    /// The handle that says what fails.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// The store inside, past all faults.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

/// Says what fails in a [`FaultStore`], and counts its calls. Clones control the same store.
#[derive(Clone, Debug)]
pub struct Faults {
    plans: Arc<Mutex<[Plan; Operation::ALL.len()]>>,
    /// Rises with every release, for each operation; hanging calls wait for it.
    releases: Arc<watch::Sender<[u64; Operation::ALL.len()]>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    fault: Option<(Fault, Times)>,
    calls: u64,
    hanging: u32,
}

impl Faults {
    fn new() -> Self {
        Self { plans: Arc::default(), releases: Arc::new(watch::Sender::new([0; Operation::ALL.len()])) }
    }

    /// Makes calls of `operation` go wrong from now on; replaces what was injected before.
    pub fn inject(&self, operation: Operation, fault: Fault, times: Times) {
        self.with(operation, |plan| plan.fault = Some((fault, times)));
    }

    /// Later calls of `operation` succeed again. Calls that hang already go on hanging.
    pub fn clear(&self, operation: Operation) {
        self.with(operation, |plan| plan.fault = None);
    }

    /// Lets the calls of `operation` that hang go on. Later calls hang again if that is still injected.
    pub fn release(&self, operation: Operation) {
        self.releases.send_modify(|releases| {
            if let Some(count) = releases.get_mut(operation as usize) {
                *count += 1;
            }
        });
    }

    /// How many calls of `operation` were made, those that went wrong included.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.with(operation, |plan| plan.calls)
    }

    /// How many calls of `operation` hang at the moment.
    #[must_use]
    pub fn hanging(&self, operation: Operation) -> u32 {
        self.with(operation, |plan| plan.hanging)
    }

    fn with<T>(&self, operation: Operation, act: impl FnOnce(&mut Plan) -> T) -> T {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spare = Plan::default();
        act(plans.get_mut(operation as usize).unwrap_or(&mut spare))
    }

    /// Counts a call and tells what shall become of it.
    fn arrive(&self, operation: Operation) -> Option<Fault> {
        self.with(operation, |plan| {
            plan.calls += 1;
            let (fault, times) = plan.fault?;
            match times {
                Times::UntilCleared => {}
                Times::Next(0) => {
                    plan.fault = None;
                    return None;
                }
                Times::Next(left) => plan.fault = Some((fault, Times::Next(left - 1))),
            }
            Some(fault)
        })
    }

    async fn hang(&self, operation: Operation) {
        struct Hanging<'a>(&'a Faults, Operation);
        impl Drop for Hanging<'_> {
            fn drop(&mut self) {
                self.0.with(self.1, |plan| plan.hanging -= 1);
            }
        }
        let count = |releases: &[u64; Operation::ALL.len()]| releases.get(operation as usize).copied();
        let mut releases = self.releases.subscribe();
        let before = count(&releases.borrow_and_update());
        self.with(operation, |plan| plan.hanging += 1);
        // Counted down also when the caller drops the call.
        let _hanging = Hanging(self, operation);
        // The sender lives in `self`, so waiting ends by a release alone.
        let _ = releases.wait_for(|releases| count(releases) != before).await;
    }
}

impl<S: Store> FaultStore<S> {
    async fn call<T>(&self, operation: Operation, call: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        match self.faults.arrive(operation) {
            None => call.await,
            Some(Fault::Before(kind)) => Err(StoreError::new(kind, format!("{operation:?}: an injected fault"))),
            Some(Fault::After) => {
                call.await?;
                Err(StoreError::new(StoreErrorKind::Unknown, format!("{operation:?}: an injected loss of the answer")))
            }
            Some(Fault::Hang) => {
                self.faults.hang(operation).await;
                call.await
            }
        }
    }
}

#[async_trait]
impl<S: Store> Store for FaultStore<S> {
    fn profile(&self) -> StoreProfile {
        self.inner.profile()
    }
    async fn apply(&self, request: Apply) -> StoreResult<ApplyOutcome> {
        self.call(Operation::Apply, self.inner.apply(request)).await
    }
    async fn fetch(&self, request: Fetch) -> StoreResult<Vec<Vec<Row>>> {
        self.call(Operation::Fetch, self.inner.fetch(request)).await
    }
    async fn scan(&self, request: Scan) -> StoreResult<ScanPage> {
        self.call(Operation::Scan, self.inner.scan(request)).await
    }
    async fn ingest(&self, request: Ingest) -> StoreResult<Vec<IngestOutcome>> {
        self.call(Operation::Ingest, self.inner.ingest(request)).await
    }
    async fn claim(&self, request: Claim) -> StoreResult<Claimed> {
        self.call(Operation::Claim, self.inner.claim(request)).await
    }
    async fn settle(&self, request: Settle) -> StoreResult<Vec<SettleOutcome>> {
        self.call(Operation::Settle, self.inner.settle(request)).await
    }
    async fn sweep(&self, request: Sweep) -> StoreResult<Swept> {
        self.call(Operation::Sweep, self.inner.sweep(request)).await
    }

    async fn prune(&self, request: Prune) -> StoreResult<Pruned> {
        self.call(Operation::Prune, self.inner.prune(request)).await
    }

    async fn rollups(&self, request: Rollups) -> StoreResult<RollupRows> {
        self.call(Operation::Rollups, self.inner.rollups(request)).await
    }
    async fn changed(&self, since: u64) -> StoreResult<u64> {
        self.call(Operation::Changed, self.inner.changed(since)).await
    }
    async fn clock_offset(&self, now: Timestamp) -> StoreResult<Option<i64>> {
        self.inner.clock_offset(now).await
    }
    async fn close(&self) -> StoreResult<()> {
        self.inner.close().await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    fn sweep() -> Sweep {
        Sweep { now: Timestamp::from_millis(0), limit: 1, rollups_before: [Timestamp::MIN; 3] }
    }

    fn store() -> (FaultStore<MemoryStore>, Faults) {
        let store = FaultStore::new(MemoryStore::new());
        let faults = store.faults();
        (store, faults)
    }

    #[tokio::test]
    async fn so_many_calls_fail_and_all_are_counted() {
        let (store, faults) = store();
        faults.inject(Operation::Sweep, Fault::Before(StoreErrorKind::Busy), Times::Next(2));
        for _ in 0..2 {
            assert_eq!(store.sweep(sweep()).await.unwrap_err().kind, StoreErrorKind::Busy);
        }
        assert!(store.sweep(sweep()).await.is_ok());
        assert_eq!(faults.calls(Operation::Sweep), 3);
        assert_eq!(faults.calls(Operation::Fetch), 0);
    }

    #[tokio::test]
    async fn a_lost_answer_is_of_a_call_that_happened() {
        let (store, faults) = store();
        let mut foreign = std::pin::pin!(store.inner().another_process());
        let put = || Apply {
            now: Timestamp::from_millis(0),
            writes: vec![crate::store::Write::PutRecord {
                record: crate::store::SmallRecord {
                    kind: "k".into(),
                    key: "k".into(),
                    value: bytes::Bytes::new(),
                    expires_at: None,
                    revision: 0,
                },
                expect: crate::store::Expect::Absent,
            }],
            follow_ups: Vec::new(),
        };
        faults.inject(Operation::Apply, Fault::After, Times::UntilCleared);
        assert_eq!(store.apply(put()).await.unwrap_err().kind, StoreErrorKind::Unknown);
        faults.clear(Operation::Apply);
        assert!(matches!(store.apply(put()).await.unwrap(), ApplyOutcome::Refused { index: 0, .. }));
        assert!(foreign.as_mut().changed(0).await.is_ok());
    }

    #[tokio::test]
    async fn a_call_hangs_until_it_is_released() {
        let (store, faults) = store();
        faults.inject(Operation::Sweep, Fault::Hang, Times::Next(1));
        let call = tokio::spawn({
            let store = store.clone();
            async move { store.sweep(sweep()).await }
        });
        while faults.hanging(Operation::Sweep) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(store.sweep(sweep()).await.is_ok(), "only one call hangs");
        assert!(!call.is_finished());
        faults.release(Operation::Sweep);
        assert!(call.await.unwrap().is_ok());
        assert_eq!(faults.hanging(Operation::Sweep), 0);
    }
}
