//! Where a store of one's own starts: every operation answers that it is not written yet. Run it to see how
//! much of the suite passes, fill one operation in, run it again.
//!
//! `cargo run -p outpost-examples --example custom_store`

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use outpost_core::store::{
    Apply, ApplyOutcome, Claim, Claimed, Durability, Fetch, Ingest, IngestOutcome, Prune, Pruned, RollupRows, Rollups,
    Row, Scan, ScanPage, Settle, SettleOutcome, StoreProfile, StoreResult, Sweep, Swept,
};
use outpost_core::{Store, StoreError, StoreErrorKind, Timestamp, conformance};

struct MyStore;

fn not_yet<T>(operation: &str) -> StoreResult<T> {
    Err(StoreError::new(StoreErrorKind::Unavailable, format!("{operation} is not written yet")))
}

#[async_trait]
impl Store for MyStore {
    fn profile(&self) -> StoreProfile {
        StoreProfile { name: "mine", durability: Durability::Memory }
    }
    async fn apply(&self, _: Apply) -> StoreResult<ApplyOutcome> {
        not_yet("apply")
    }
    async fn fetch(&self, _: Fetch) -> StoreResult<Vec<Vec<Row>>> {
        not_yet("fetch")
    }
    async fn scan(&self, _: Scan) -> StoreResult<ScanPage> {
        not_yet("scan")
    }
    async fn ingest(&self, _: Ingest) -> StoreResult<Vec<IngestOutcome>> {
        not_yet("ingest")
    }
    async fn claim(&self, _: Claim) -> StoreResult<Claimed> {
        not_yet("claim")
    }
    async fn settle(&self, _: Settle) -> StoreResult<Vec<SettleOutcome>> {
        not_yet("settle")
    }
    async fn sweep(&self, _: Sweep) -> StoreResult<Swept> {
        not_yet("sweep")
    }
    async fn prune(&self, _: Prune) -> StoreResult<Pruned> {
        not_yet("prune")
    }
    async fn rollups(&self, _: Rollups) -> StoreResult<RollupRows> {
        not_yet("rollups")
    }
    async fn changed(&self, _since: u64) -> StoreResult<u64> {
        std::future::pending().await
    }
    async fn clock_offset(&self, _now: Timestamp) -> StoreResult<Option<i64>> {
        Ok(None)
    }
    async fn close(&self) -> StoreResult<()> {
        Ok(())
    }
}

fn main() {
    // In a test file of the store's crate this is one line: conformance_suite!(|| async { MyStore });
    std::panic::set_hook(Box::new(|_| ()));
    let passed = AtomicUsize::new(0);
    let cases = conformance::cases();
    for case in &cases {
        let ran = std::panic::catch_unwind(|| conformance::run(case.name, || async { MyStore }));
        passed.fetch_add(usize::from(ran.is_ok()), Ordering::Relaxed);
    }
    println!("{} of {} cases pass", passed.into_inner(), cases.len());
}
