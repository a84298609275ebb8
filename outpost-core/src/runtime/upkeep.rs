//! What runs in the background: other processes' changes, and writing down what has ended.

use std::sync::Arc;
use std::time::Duration;

use super::{Phase, Shared};
use crate::ports::store::Sweep;

/// How many rows one sweep changes at most, so that it never holds up a commit for long.
const SWEEP_BATCH: u32 = 500;
/// Records that expire are looked for this often; nothing is written when there are none.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Follows what other processes change.
pub(super) async fn watch(shared: Arc<Shared>) {
    let (mut version, mut tries) = (0, 0);
    while shared.phase() == Phase::Running {
        match shared.store.changed(version).await {
            Ok(now_at) => {
                (version, tries) = (now_at, 0);
                shared.directory.world_changed();
                shared.look_for_work();
            }
            // The shutdown closes the store under the wait.
            Err(_) if shared.phase() != Phase::Running => return,
            Err(error) => shared.back_off("changed", &error.context, &mut tries).await,
        }
    }
}

/// Sweeps when told to, and once in a while.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let mut tries = 0;
    while shared.phase() == Phase::Running {
        tokio::select! {
            () = shared.sweep.notified() => {}
            () = shared.clock.sleep(SWEEP_EVERY) => {}
        }
        loop {
            match shared
                .store
                .sweep(Sweep { now: shared.now(), limit: SWEEP_BATCH, rollups_before: [crate::Timestamp::MIN; 3] })
                .await
            {
                Ok(swept) if swept.more && swept.changed > 0 => tries = 0,
                Ok(_) => {
                    tries = 0;
                    break;
                }
                Err(error) => shared.back_off("sweep", &error.context, &mut tries).await,
            }
        }
    }
}
