#![doc = include_str!("../README.md")]

mod apply;
mod claim;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod costs;
mod error;
mod fetch;
mod ingest;
mod open;
mod prune;
mod readers;
mod rollups;
mod rows;
mod scan;
mod schema;
mod settle;
mod sql;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
#[allow(unreachable_pub)]
mod support;
mod sweep;
mod tx;
mod usage;
mod walk;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use outpost_core::store::{
    Apply, ApplyOutcome, Claim, Claimed, Durability, Fetch, Ingest, IngestOutcome, Prune, Pruned, RollupRows, Rollups,
    Row, Scan, ScanPage, Settle, SettleOutcome, StoreProfile, StoreResult, Sweep, Swept,
};
use outpost_core::{Store, StoreError, StoreErrorKind, Timestamp};

use crate::apply::ApplyWork;
use crate::ingest::IngestWork;
use crate::open::Settings;
use crate::readers::Readers;
use crate::settle::SettleWork;
use crate::writer::Writer;

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// Until the disk has it: survives loss of power. The default.
    Full,
    /// Until the operating system has it: survives the end of the process; the last commits may be lost
    /// with the power, which breaks the promise that publishing is durable.
    Normal,
}

/// What is done with a file that holds other tables and is not in WAL mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForeignJournal {
    Refuse,
    Keep,
    SwitchToWal,
}

/// Settings of a [`SqliteStore`].
#[derive(Clone, Debug)]
pub struct SqliteStoreBuilder {
    settings: Settings,
}

impl SqliteStoreBuilder {
    /// Sets what a commit waits for. Default: [`Synchronous::Full`].
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.settings.synchronous = synchronous;
        self
    }

    /// Sets how many threads read, 1 to 64. Default: 2.
    #[must_use]
    pub fn readers(mut self, threads: usize) -> Self {
        self.settings.readers = threads.clamp(1, 64);
        self
    }

    /// Sets how long is waited for other processes that hold the file, at most an hour. Default: 30 s.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.settings.busy_timeout = timeout.min(Duration::from_secs(3600));
        self
    }

    /// Sets what the names of our tables start with: a letter, then letters, digits and `_`, at most 32.
    /// Default: `outpost_`.
    #[must_use]
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// Allows a file that holds the host's tables to be switched to WAL mode. Default: it is refused.
    #[must_use]
    pub fn allow_wal_switch(mut self) -> Self {
        self.settings.foreign_journal = ForeignJournal::SwitchToWal;
        self
    }

    /// Leaves the journal mode of a file that holds the host's tables as it is; readers and the writer
    /// then wait for each other. Default: a file that is not in WAL mode is refused.
    #[must_use]
    pub fn keep_journal_mode(mut self) -> Self {
        self.settings.foreign_journal = ForeignJournal::Keep;
        self
    }

    /// Opens the file, creating it or our tables in it when they are missing. The work is done on the
    /// store's own threads.
    ///
    /// # Errors
    /// [`Incompatible`](StoreErrorKind::Incompatible) for a file of a newer version, one whose journal mode
    /// does not fit, an SQLite library that is too old, or a bad prefix; [`Corrupt`](StoreErrorKind::Corrupt),
    /// [`ReadOnly`](StoreErrorKind::ReadOnly), [`Full`](StoreErrorKind::Full), [`Busy`](StoreErrorKind::Busy)
    /// and [`Unavailable`](StoreErrorKind::Unavailable) as their names say.
    pub async fn open(self) -> StoreResult<SqliteStore> {
        let (writer, sql) = Writer::start(self.settings.clone()).await?;
        let readers = Readers::start(&self.settings, Arc::new(sql)).await?;
        Ok(SqliteStore { synchronous: self.settings.synchronous, writer, readers })
    }
}

/// Everything in one SQLite file.
///
/// One thread writes, in group commits: whatever has queued up while the last commit ran goes into the next
/// one. Other threads read, each from one snapshot. Dropping the store lets them finish and end.
pub struct SqliteStore {
    synchronous: Synchronous,
    writer: Writer,
    readers: Readers,
}

impl SqliteStore {
    /// Opens the file at `path` with the default settings.
    ///
    /// # Errors
    /// As [`SqliteStoreBuilder::open`].
    pub async fn open(path: impl AsRef<Path>) -> StoreResult<Self> {
        Self::builder(path).open().await
    }

    /// How many transactions this handle has committed since it was opened: with
    /// [`Synchronous::Full`] about the number of times the disk was waited for.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Starts from the default settings.
    #[must_use]
    pub fn builder(path: impl AsRef<Path>) -> SqliteStoreBuilder {
        let path: PathBuf = path.as_ref().to_owned();
        SqliteStoreBuilder { settings: Settings::new(path) }
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("synchronous", &self.synchronous).finish_non_exhaustive()
    }
}

fn closed(operation: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, format!("sqlite: {operation}: the store is closed"))
}

#[async_trait]
impl Store for SqliteStore {
    fn profile(&self) -> StoreProfile {
        let durability = match self.synchronous {
            Synchronous::Full => Durability::Power,
            Synchronous::Normal => Durability::Process,
        };
        StoreProfile { name: "sqlite", durability }
    }

    async fn apply(&self, request: Apply) -> StoreResult<ApplyOutcome> {
        let work = ApplyWork::new(request).map_err(|fault| fault.error("apply"))?;
        self.writer.call("apply", |reply| writer::Job::Apply(work, reply)).await
    }

    async fn fetch(&self, request: Fetch) -> StoreResult<Vec<Vec<Row>>> {
        self.readers.call("fetch", |reply| readers::Read::Fetch(request, reply)).await
    }

    async fn scan(&self, request: Scan) -> StoreResult<ScanPage> {
        self.readers.call("scan", |reply| readers::Read::Scan(request, reply)).await
    }

    async fn ingest(&self, request: Ingest) -> StoreResult<Vec<IngestOutcome>> {
        let work = IngestWork::new(request).map_err(|fault| fault.error("ingest"))?;
        self.writer.call("ingest", |reply| writer::Job::Ingest(work, reply)).await
    }

    async fn claim(&self, request: Claim) -> StoreResult<Claimed> {
        self.writer.call("claim", |reply| writer::Job::Claim(request, reply)).await
    }

    async fn settle(&self, request: Settle) -> StoreResult<Vec<SettleOutcome>> {
        let work = SettleWork::new(request).map_err(|fault| fault.error("settle"))?;
        self.writer.call("settle", |reply| writer::Job::Settle(work, reply)).await
    }

    async fn sweep(&self, request: Sweep) -> StoreResult<Swept> {
        self.writer.call("sweep", |reply| writer::Job::Sweep(request, reply)).await
    }

    async fn prune(&self, request: Prune) -> StoreResult<Pruned> {
        self.writer.call("prune", |reply| writer::Job::Prune(request, reply)).await
    }

    async fn rollups(&self, request: Rollups) -> StoreResult<RollupRows> {
        self.readers.call("rollups", |reply| readers::Read::Rollups(request, reply)).await
    }

    async fn changed(&self, since: u64) -> StoreResult<u64> {
        self.writer.changed(since).await
    }

    async fn clock_offset(&self, _now: Timestamp) -> StoreResult<Option<i64>> {
        // The file has no clock of its own; its processes share the machine's.
        Ok(None)
    }

    async fn close(&self) -> StoreResult<()> {
        self.readers.close().await;
        self.writer.close().await
    }
}
