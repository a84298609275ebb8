//! What the library asks of storage: few operations, each atomic and batched.
//!
//! No method reads a clock; `now` comes in the request. Everything a store decides about deliveries and
//! lanes it decides by calling the functions of [`DeliveryRecord`](crate::DeliveryRecord),
//! [`LaneRecord`](crate::LaneRecord) and [`DestinationRecord`](crate::DestinationRecord), so that all stores behave alike; the conformance suite (feature `conformance`)
//! holds them to it.
//!
//! A future that is dropped must not leave an operation half done: it happens as a whole or not at all.

mod read;
mod work;
mod write;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::read::*;
pub use self::work::*;
pub use self::write::*;
use crate::values::time::Timestamp;

/// What went wrong in a store, which decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Somebody else holds the store for longer than we wait; nothing was written.
    Busy,
    /// The store cannot be reached; nothing was written.
    Unavailable,
    /// There is no room; nothing was written.
    Full,
    /// The store may not be written to.
    ReadOnly,
    /// The stored data is damaged.
    Corrupt,
    /// The store was made by another version or is not ours.
    Incompatible,
    /// The commit may or may not have happened.
    Unknown,
    /// A defect.
    Internal,
}

/// An error of a store.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct StoreError {
    /// What kind of failure.
    pub kind: StoreErrorKind,
    /// What was being done and what the engine below says. Holds no secret and no payload.
    pub context: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error of `kind`.
    #[must_use]
    pub fn new(kind: StoreErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }
}

/// The result of a store's operation.
pub type StoreResult<T> = Result<T, StoreError>;

/// What a commit of the store survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it is gone with the process.
    Memory,
    /// The end of the process, but the last commits may be lost with the power.
    Process,
    /// Loss of power.
    Power,
}

/// What a store is and promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreProfile {
    /// Its name, such as `sqlite`.
    pub name: &'static str,
    /// What a commit survives.
    pub durability: Durability,
}

/// Storage for everything the library keeps.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What the store is and promises.
    fn profile(&self) -> StoreProfile;

    /// Writes tenants, destinations, small records and requests about deliveries. The batch is one commit.
    async fn apply(&self, request: Apply) -> StoreResult<ApplyOutcome>;

    /// Looks things up by key in one snapshot: for each key the rows found, in the order of the keys.
    async fn fetch(&self, request: Fetch) -> StoreResult<Vec<Vec<Row>>>;

    /// Reads one page of a list from one snapshot.
    async fn scan(&self, request: Scan) -> StoreResult<ScanPage>;

    /// Stores events with their deliveries. An id taken already, also earlier in the same batch, is a
    /// duplicate or a conflict, by the fingerprint, which is told before outdated subscriptions are. Returns
    /// only when what it stored is durable.
    async fn ingest(&self, request: Ingest) -> StoreResult<Vec<IngestOutcome>>;

    /// Leases due deliveries of enabled destinations to the caller. Its cost depends on what it returns,
    /// not on how many deliveries, lanes, holds or saturated lanes there are.
    async fn claim(&self, request: Claim) -> StoreResult<Claimed>;

    /// Writes down what the caller did with deliveries it holds. Returns only when it is durable.
    async fn settle(&self, request: Settle) -> StoreResult<Vec<SettleOutcome>>;

    /// Writes down, in one bounded batch, what reads show already: open deliveries, and requested attempts at
    /// those that are not open, that their destination's disabling or deletion ended and nobody holds; small
    /// records that have expired. Deletes old rollups.
    async fn sweep(&self, request: Sweep) -> StoreResult<Swept>;

    /// Deletes, in one bounded batch, events that are over, with everything that hangs on them but the
    /// rollups, which outlive the log. Gives the space back where the store can.
    async fn prune(&self, request: Prune) -> StoreResult<Pruned>;

    /// Reads rollups from one snapshot. Every ingest counts what it stores, and every settle the attempts it
    /// writes, in the same commit, by the functions of [`rollup`](crate::rollup). Its cost depends on the
    /// rows it reads, not on how many events and attempts they stand for.
    async fn rollups(&self, request: Rollups) -> StoreResult<RollupRows>;

    /// Waits until somebody else than this handle has changed the store since it answered `since`, and
    /// answers the new version; start with 0. A store that nobody else can reach never answers. It may
    /// answer early, and for changes that matter to nobody; a claim need not count. Closing ends it with an
    /// error.
    async fn changed(&self, since: u64) -> StoreResult<u64>;

    /// How far the store's own clock is ahead of `now`, in milliseconds, when it has one.
    async fn clock_offset(&self, now: Timestamp) -> StoreResult<Option<i64>>;

    /// Ends its work and frees what it holds. Later calls answer
    /// [`Unavailable`](StoreErrorKind::Unavailable).
    async fn close(&self) -> StoreResult<()>;
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    fn profile(&self) -> StoreProfile {
        (**self).profile()
    }
    async fn apply(&self, request: Apply) -> StoreResult<ApplyOutcome> {
        (**self).apply(request).await
    }
    async fn fetch(&self, request: Fetch) -> StoreResult<Vec<Vec<Row>>> {
        (**self).fetch(request).await
    }
    async fn scan(&self, request: Scan) -> StoreResult<ScanPage> {
        (**self).scan(request).await
    }
    async fn ingest(&self, request: Ingest) -> StoreResult<Vec<IngestOutcome>> {
        (**self).ingest(request).await
    }
    async fn claim(&self, request: Claim) -> StoreResult<Claimed> {
        (**self).claim(request).await
    }
    async fn settle(&self, request: Settle) -> StoreResult<Vec<SettleOutcome>> {
        (**self).settle(request).await
    }
    async fn sweep(&self, request: Sweep) -> StoreResult<Swept> {
        (**self).sweep(request).await
    }
    async fn prune(&self, request: Prune) -> StoreResult<Pruned> {
        (**self).prune(request).await
    }
    async fn rollups(&self, request: Rollups) -> StoreResult<RollupRows> {
        (**self).rollups(request).await
    }
    async fn changed(&self, since: u64) -> StoreResult<u64> {
        (**self).changed(since).await
    }
    async fn clock_offset(&self, now: Timestamp) -> StoreResult<Option<i64>> {
        (**self).clock_offset(now).await
    }
    async fn close(&self) -> StoreResult<()> {
        (**self).close().await
    }
}
