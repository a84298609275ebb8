//! What runs in the background: other processes' changes, and writing down what has ended.

use std::sync::Arc;
use std::time::Duration;

use super::{Phase, Shared};
use crate::ports::store::{Prune, Sweep};
use crate::values::time::Timestamp;

/// How many rows one sweep changes at most, so that it never holds up a commit for long.
const SWEEP_BATCH: u32 = 500;
/// Records that expire are looked for this often; nothing is written when there are none.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// When the first pruning starts, how often it is done, how much one commit deletes and looks at, and how
/// long it pauses between two.
const PRUNE_FIRST: Duration = Duration::from_secs(60);
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
const PRUNE_BATCH: u32 = 200;
const PRUNE_EXAMINE: u32 = 1000;
const PRUNE_PAUSE: Duration = Duration::from_millis(20);
/// How long rollups of a minute, an hour and a day are kept.
const ROLLUPS_KEPT: [Duration; 3] =
    [Duration::from_secs(3 * 86_400), Duration::from_secs(90 * 86_400), Duration::from_secs(3 * 366 * 86_400)];

impl Shared {
    /// From when on there are rollups of each level.
    pub(crate) fn rollups_kept(&self) -> [Timestamp; 3] {
        ROLLUPS_KEPT.map(|kept| self.now().before(kept))
    }
}

/// Follows what other processes change.
pub(super) async fn watch(shared: Arc<Shared>) {
    let (mut version, mut tries) = (0, 0);
    while shared.phase() == Phase::Running {
        match shared.store.changed(version).await {
            Ok(now_at) => {
                shared.directory.world_changed();
                shared.look_for_work();
                match shared.follow_operator().await {
                    Ok(()) => (version, tries) = (now_at, 0),
                    // The change is told again.
                    Err(error) => shared.back_off("changed", &error.context, &mut tries).await,
                }
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
                .sweep(Sweep { now: shared.now(), limit: SWEEP_BATCH, rollups_before: shared.rollups_kept() })
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

/// Deletes what has been over for longer than the retention, in small batches.
pub(super) async fn prune(shared: Arc<Shared>) {
    let Some(retention) = shared.settings.retention else { return };
    // Not at once: a process that only starts and stops need not.
    let mut wait = PRUNE_FIRST;
    let mut tries = 0;
    while shared.phase() == Phase::Running {
        shared.clock.sleep(wait).await;
        let mut resume = None;
        loop {
            let now = shared.now();
            let before = now.before(retention);
            let request = Prune { now, tenant: None, before, resume, limit: PRUNE_BATCH, examine: PRUNE_EXAMINE };
            match shared.store.prune(request).await {
                Ok(pruned) => {
                    tries = 0;
                    if pruned.events > 0 {
                        tracing::debug!(events = pruned.events, attempts = pruned.attempts, "pruned");
                    }
                    let Some(next) = pruned.resume else { break };
                    resume = Some(next);
                    // Publishing and settling come between two batches.
                    shared.clock.sleep(PRUNE_PAUSE).await;
                }
                Err(error) => {
                    shared.back_off("prune", &error.context, &mut tries).await;
                    resume = None;
                }
            }
            if shared.phase() != Phase::Running {
                return;
            }
        }
        wait = PRUNE_EVERY;
    }
}
