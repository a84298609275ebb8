//! Stores published events in group commits and hands their deliveries straight to the senders.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{Shared, directory::Place, send};
use crate::domain::delivery::{DeliveryKey, DeliveryState, Trigger};
use crate::engine::record::Lease;
use crate::engine::scheduler::{Scheduler, Work};
use crate::ports::observer::Signal;
use crate::ports::store::{
    ClaimedDelivery, Ingest, IngestItem, IngestOutcome, StoreError, StoreErrorKind, StoreResult,
};
use crate::values::id::TenantId;
use crate::values::time::Timestamp;

/// The most events, and about the most bytes of payload, of one commit.
const MAX_BATCH: usize = 512;
const MAX_BATCH_BYTES: usize = 16 << 20;
/// How often a commit with an unknown end is tried again before its publishers are told.
const UNKNOWN_TRIES: u32 = 3;

/// An event on its way into the store.
pub(crate) struct Submission {
    pub(crate) tenant: TenantId,
    pub(crate) item: IngestItem,
    /// The destinations of the item's deliveries, in their order.
    pub(crate) places: Vec<Arc<Place>>,
    pub(crate) reply: oneshot::Sender<StoreResult<IngestOutcome>>,
}

pub(super) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Submission>) {
    let mut waiting: Vec<Submission> = Vec::with_capacity(MAX_BATCH);
    loop {
        if waiting.is_empty() && queue.recv_many(&mut waiting, MAX_BATCH).await == 0 {
            return;
        }
        let mut bytes = 0;
        let fitting = waiting
            .iter()
            .take_while(|submission| {
                let first = bytes == 0;
                bytes += submission.item.event.data.len();
                first || bytes <= MAX_BATCH_BYTES
            })
            .count();
        let batch: Vec<Submission> = waiting.drain(..fitting.max(1)).collect();
        let _open = shared.hold_open();
        store_batch(&shared, batch).await;
    }
}

async fn store_batch(shared: &Arc<Shared>, mut batch: Vec<Submission>) {
    let now = shared.now();
    {
        let mut scheduler = shared.scheduler();
        for submission in &mut batch {
            let tenant = submission.item.event.tenant;
            for (delivery, place) in submission.item.deliveries.iter_mut().zip(&submission.places) {
                let settings = &place.record.settings;
                delivery.hand_off = !delivery.skipped && scheduler.reserve(delivery.destination, tenant, settings, now);
            }
        }
    }
    let lease = shared.new_lease(now);
    let items: Vec<IngestItem> = batch.iter().map(|submission| submission.item.clone()).collect();
    let (outcomes, uncertain) = commit(shared, Ingest { now, lease, quota: shared.settings.quota, items }).await;
    match outcomes {
        Ok(outcomes) => hand_over(shared, batch, outcomes, lease, now, uncertain),
        Err(error) => {
            if error.kind == StoreErrorKind::Unknown {
                // Deliveries may be stored that are leased to us and that we know nothing of.
                shared.due_at(lease.until);
            }
            let mut scheduler = shared.scheduler();
            for submission in &batch {
                unreserve(&mut scheduler, submission, now);
            }
            drop(scheduler);
            // The room that was promised is free again.
            shared.wake.notify_one();
            for submission in batch {
                let _ = submission.reply.send(Err(StoreError::new(error.kind, error.context.clone())));
            }
        }
    }
    send::pump(shared);
}

/// Commits a batch. When the end of a try is unknown it is repeated, which is safe: what the first try
/// stored shows up as a duplicate then. The flag says that this may have happened.
async fn commit(shared: &Shared, request: Ingest) -> (StoreResult<Vec<IngestOutcome>>, bool) {
    let mut tries = 0;
    loop {
        match shared.store.ingest(request.clone()).await {
            Ok(outcomes) => {
                shared.store_works("publish");
                return (Ok(outcomes), tries > 0);
            }
            Err(error) if error.kind == StoreErrorKind::Unknown && tries < UNKNOWN_TRIES => {
                shared.back_off("publish", &error.context, &mut tries).await;
            }
            Err(error) => return (Err(error), false),
        }
    }
}

fn unreserve(scheduler: &mut Scheduler, submission: &Submission, now: Timestamp) {
    for delivery in submission.item.deliveries.iter().filter(|delivery| delivery.hand_off) {
        scheduler.unreserve(delivery.destination, now);
    }
}

fn hand_over(
    shared: &Arc<Shared>,
    batch: Vec<Submission>,
    outcomes: Vec<IngestOutcome>,
    lease: Lease,
    now: Timestamp,
    uncertain: bool,
) {
    let mut left_in_store = false;
    let mut given_back = Vec::new();
    let mut scheduler = shared.scheduler();
    let mut replies = Vec::with_capacity(batch.len());
    for (submission, outcome) in batch.into_iter().zip(outcomes) {
        unreserve(&mut scheduler, &submission, now);
        let event = &submission.item.event;
        let outcome = match outcome {
            // Our own first try stored it; nobody told us whether its deliveries are leased to us, so they
            // come back through a claim.
            IngestOutcome::Duplicate { matched } if uncertain && *matched == *event.matched => {
                IngestOutcome::Stored { leased: vec![false; submission.item.deliveries.len()] }
            }
            other => other,
        };
        if let IngestOutcome::Stored { leased } = &outcome {
            for ((delivery, place), leased) in submission.item.deliveries.iter().zip(&submission.places).zip(leased) {
                if *leased {
                    let work = Work {
                        delivery: ClaimedDelivery {
                            key: DeliveryKey { destination: delivery.destination, event: event.id.clone() },
                            event: event.clone(),
                            trigger: Trigger::Automatic,
                            state: DeliveryState::Pending,
                            attempts: 0,
                            automatic_attempts: 0,
                            scheduled_at: Some(now),
                            destination_revision: place.record.revision,
                        },
                        token: lease.token,
                        until: lease.until,
                    };
                    given_back.extend(scheduler.offer(work, &place.record.settings, now));
                } else if !delivery.skipped {
                    scheduler.note_backlog(delivery.destination, event.tenant);
                    left_in_store = true;
                }
            }
        }
        replies.push((submission, outcome));
    }
    drop(scheduler);
    for work in given_back {
        shared.end(super::settle::Ended::released(work));
    }
    for (submission, outcome) in replies {
        if let IngestOutcome::Stored { leased } = &outcome {
            shared.tell(|| Signal::Published {
                tenant: submission.tenant.clone(),
                event: submission.item.event.id.clone(),
                topic: submission.item.event.topic.clone(),
                deliveries: leased.len(),
            });
        }
        // The publisher may have gone; the event is stored all the same.
        let _ = submission.reply.send(Ok(outcome));
    }
    if left_in_store {
        shared.due_at(now);
    }
}
