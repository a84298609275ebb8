//! Fetches due work from the store: retries, what found no room when it was published, what an earlier or
//! another process left behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Phase, REST, Shared, send, settle::Ended};
use crate::engine::scheduler::Work;
use crate::ports::store::{Claim, StoreResult};
use crate::values::time::Timestamp;

/// The longest sleep between two looks at the clock, so that a machine that was suspended catches up. It
/// costs no query.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut tries = 0;
    loop {
        if shared.phase() != Phase::Running {
            return;
        }
        // Claiming goes on while there is room for more and more is due.
        match claim_once(&shared).await {
            Ok(true) => {
                tries = 0;
                continue;
            }
            Ok(false) => tries = 0,
            Err(error) => {
                shared.back_off("claim", &error.context, &mut tries).await;
                continue;
            }
        }
        let now = shared.now();
        let due = shared.next_due.load(Ordering::Acquire);
        let sleep = if due == i64::MAX || due <= now.as_millis() {
            // Nothing is to come, or there is no room now: a wake-up tells.
            None
        } else {
            Some(Timestamp::from_millis(due).since(now).min(LONGEST_SLEEP))
        };
        tokio::select! {
            () = shared.wake.notified() => {}
            () = async { match sleep {
                Some(sleep) => shared.clock.sleep(sleep).await,
                None => std::future::pending().await,
            } } => {}
        }
    }
}

/// Claims once if anything is due and there is room. Answers whether to try again at once.
async fn claim_once(shared: &Arc<Shared>) -> StoreResult<bool> {
    let now = shared.now();
    let plan = shared.scheduler().plan(now);
    let due = shared.next_due.load(Ordering::Acquire) <= now.as_millis();
    if plan.limit == 0 || (plan.lanes.is_empty() && !due) {
        return Ok(false);
    }
    // What becomes due while the claim runs must not be lost: it lowers this again.
    shared.next_due.store(i64::MAX, Ordering::Release);
    let lease = shared.new_lease(now);
    let named: Vec<_> = plan.lanes.iter().map(|(lane, _)| *lane).collect();
    let request = Claim {
        now,
        lease,
        limit: plan.limit,
        lanes: plan.lanes,
        discover: if due { shared.settings.limits.destination_concurrency.saturating_mul(2) } else { 0 },
        saturated: plan.saturated,
        rest: REST,
    };
    let claimed = match shared.store.claim(request).await {
        Ok(claimed) => claimed,
        Err(error) => {
            shared.due_at(now);
            return Err(error);
        }
    };
    shared.store_works();
    if let Some(next) = claimed.next {
        shared.next_due.fetch_min(next.as_millis(), Ordering::AcqRel);
    }
    let found = claimed.deliveries.len();
    let mut given_back = Vec::new();
    {
        let mut scheduler = shared.scheduler();
        for delivery in claimed.deliveries {
            let work = Work { delivery, token: lease.token, until: lease.until };
            given_back.extend(scheduler.offer(work, now));
        }
        for lane in named.into_iter().filter(|lane| claimed.lanes.iter().all(|found| found.lane.destination != *lane)) {
            scheduler.not_visited(lane);
        }
        for lane in &claimed.lanes {
            scheduler.visited(&lane.lane, lane.more);
        }
    }
    for work in given_back {
        shared.end(Ended::released(work));
    }
    send::pump(shared);
    Ok(found > 0)
}
