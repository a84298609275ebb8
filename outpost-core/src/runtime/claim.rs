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
/// How long claiming waits for outcomes to be written after an outage, before it looks again.
const BEHIND: Duration = Duration::from_millis(100);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut tries = 0;
    loop {
        if shared.phase() != Phase::Running {
            return;
        }
        // The time that the claim saw: what becomes due while it runs is after it.
        let seen_at = shared.now();
        // Claiming goes on while there is room for more and more is due.
        match claim_once(&shared, seen_at).await {
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
        let due = shared.next_due.load(Ordering::Acquire);
        let sleep = if due == i64::MAX || due <= seen_at.as_millis() {
            // Nothing is to come, or there is no room for what has come: a wake-up tells.
            None
        } else {
            // Not at all when it has become due meanwhile.
            Some(Timestamp::from_millis(due).since(shared.now()).min(LONGEST_SLEEP))
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
async fn claim_once(shared: &Arc<Shared>, now: Timestamp) -> StoreResult<bool> {
    if shared.is_behind() {
        // After an outage outcomes come first: claiming before they are written would send them again.
        shared.clock.sleep(BEHIND).await;
        return Ok(true);
    }
    let plan = shared.scheduler().plan(now);
    let wake_at = plan.wake_at;
    let due = shared.next_due.load(Ordering::Acquire) <= now.as_millis();
    if plan.limit == 0 || (plan.lanes.is_empty() && !due) {
        wake_at.into_iter().for_each(|at| shared.due_at(at));
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
    for next in claimed.next.into_iter().chain(wake_at) {
        shared.next_due.fetch_min(next.as_millis(), Ordering::AcqRel);
    }
    let found = claimed.deliveries.len();
    let mut given_back = Vec::new();
    {
        let mut scheduler = shared.scheduler();
        for lane in named.into_iter().filter(|lane| claimed.lanes.iter().all(|found| found.lane.destination != *lane)) {
            scheduler.not_visited(lane, now);
        }
        for lane in &claimed.lanes {
            given_back.extend(scheduler.visited(&lane.lane, lane.more, now));
        }
        for delivery in claimed.deliveries {
            let (destination, tenant) = (delivery.key.destination, delivery.event.tenant);
            let work = Work { delivery, token: lease.token, until: lease.until };
            let visited = claimed.lanes.iter().find(|lane| lane.lane.destination == destination);
            let settings = visited.map(|lane| lane.settings.clone()).unwrap_or_default();
            if let Some(visited) = visited {
                scheduler.resume(&visited.lane, tenant);
            }
            given_back.extend(scheduler.offer(work, &settings, now));
            if visited.is_some_and(|lane| lane.more) {
                scheduler.note_backlog(destination, tenant);
            }
        }
    }
    for work in given_back {
        shared.end(Ended::released(work));
    }
    send::pump(shared);
    Ok(found > 0)
}
