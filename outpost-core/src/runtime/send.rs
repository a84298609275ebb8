//! Sends deliveries: takes what the scheduler gives, calls the transport, and reports the outcome.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use super::directory::Place;
use super::settle::{Ended, Note};
use super::{LEASE_MARGIN, MAX_UNSETTLED, Phase, Shared};
use crate::domain::attempt::ErrorClass;
use crate::domain::delivery::DeliveryState;
use crate::domain::egress::Party;
use crate::engine::outcome::{Timing, conclude};
use crate::engine::record::LaneChange;
use crate::engine::scheduler::Work;
use crate::ports::clock::random_u64;
use crate::ports::store::{ClaimedDelivery, SettleAction, SettleItem};
use crate::ports::transport::{DeliveryError, Message, Receipt, Target, Transport};
use crate::values::id::{AttemptId, Incarnation};

/// The transport keeps the deadline; this much later the engine stops waiting for one that does not.
const TRANSPORT_GRACE: Duration = Duration::from_secs(2);

/// How long a delivery whose destination cannot be read is kept before it is given back: as after this many
/// tries, about a second.
const READ_TRIES: u32 = 4;

/// Starts a task for everything that may be sent now.
pub(crate) fn pump(shared: &Arc<Shared>) {
    while let Some(work) = next(shared) {
        let task = send_on(shared.clone(), work);
        shared.spawn(task);
    }
}

fn next(shared: &Shared) -> Option<Work> {
    let stuck = shared.unsettled.load(Ordering::Acquire) >= MAX_UNSETTLED;
    if stuck || shared.phase() != Phase::Running {
        return None;
    }
    shared.scheduler().next(shared.now())
}

/// A delivery that counts as on its way until this is dropped.
struct OnItsWay<'a> {
    shared: &'a Shared,
    destination: Incarnation,
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.scheduler().finished(self.destination, now);
    }
}

/// Sends one delivery after the other for as long as there is one, which saves starting a task for each.
async fn send_on(shared: Arc<Shared>, first: Work) {
    let mut work = Some(first);
    while let Some(current) = work {
        let destination = current.delivery.key.destination;
        // Also when a port panics under it: its place must not stay taken.
        let on_its_way = OnItsWay { shared: &shared, destination };
        send(&shared, current).await;
        drop(on_its_way);
        let now = shared.now();
        let refill = shared.scheduler().wants_refill(destination, now);
        if refill || shared.next_due.load(Ordering::Acquire) <= now.as_millis() {
            shared.wake.notify_one();
        }
        if shared.phase() != Phase::Running {
            shared.progress.notify_waiters();
        }
        work = next(&shared);
    }
    // A window that has widened may allow more than the one that ended.
    pump(&shared);
}

async fn send(shared: &Arc<Shared>, work: Work) {
    let left = work.until.since(shared.now());
    if left < shared.settings.longest_timeout() + LEASE_MARGIN {
        // It waited too long for the attempt to fit into its lease. A lapsed one is due again already, which
        // nobody else may have noticed.
        if left.is_zero() {
            shared.look_for_work();
        } else {
            shared.end(Ended::released(work));
        }
        return;
    }
    let place = match shared.place(work.delivery.key.destination, work.delivery.destination_revision).await {
        Ok(Some(place)) => place,
        Ok(None) => return retire(shared, work, DeliveryState::Cancelled(crate::CancelReason::DestinationDeleted)),
        Err(error) => {
            // Giving it back at once would only have it claimed again at once.
            let mut tries = READ_TRIES;
            shared.back_off("send", &error.context, &mut tries).await;
            return shared.end(Ended::released(work));
        }
    };
    if !place.record.is_enabled() {
        let ended = place.record.retires(place.record.epoch);
        return retire(shared, work, ended.map_or(DeliveryState::Skipped, |(state, _)| state));
    }
    let (timing, result) = exchange(shared, &place, &work.delivery).await;
    record(shared, work, &place, timing, result);
}

/// One exchange with the receiver, under the destination's deadline.
pub(crate) async fn exchange(
    shared: &Shared,
    place: &Place,
    delivery: &ClaimedDelivery,
) -> (Timing, Result<Receipt, DeliveryError>) {
    let timeout = place.record.settings.timeout.unwrap_or(shared.settings.timeout);
    let started_at = shared.now();
    let start = shared.clock.monotonic();
    let message = Message {
        id: delivery.event.id.clone(),
        topic: delivery.event.topic.clone(),
        time: delivery.event.time,
        metadata: delivery.event.metadata.clone(),
        data: delivery.event.data.clone(),
        attempt: delivery.attempts.saturating_add(1),
        trigger: delivery.trigger,
        now: started_at,
        timeout,
        party: Party { tenant: place.record.tenant_id.clone(), made_by_operator: place.record.by_operator },
    };
    let result = match &place.way {
        Ok((transport, target)) => deliver(shared, transport, target, &message).await,
        Err(no_way) => Err(DeliveryError::unseen(
            no_way.class,
            "the request could not be built from the destination's settings",
            no_way.reason.clone(),
        )),
    };
    let duration = shared.clock.monotonic().saturating_sub(start);
    (Timing { started_at, ended_at: shared.now(), duration }, result)
}

fn retire(shared: &Shared, work: Work, state: DeliveryState) {
    shared.end(Ended::plain(work, SettleAction::Retired { state }));
}

/// Calls the transport; a panic in it or a deadline it forgets is a failed attempt.
async fn deliver(
    shared: &Shared,
    transport: &Arc<dyn Transport>,
    target: &Target,
    message: &Message,
) -> Result<Receipt, DeliveryError> {
    let mut call = transport.deliver(target, message);
    let guarded = std::future::poll_fn(|context| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Err(DeliveryError::unseen(
                ErrorClass::System,
                "the event could not be sent because of a fault on our side",
                "the transport panicked",
            ))),
        }
    });
    tokio::select! {
        biased;
        result = guarded => result,
        () = shared.clock.sleep(message.timeout.saturating_add(TRANSPORT_GRACE)) => {
            let mut error = DeliveryError::unseen(ErrorClass::Timeout, "the time for the attempt ran out", "the transport passed its deadline");
            error.error.maybe_seen = true;
            Err(error)
        }
    }
}

fn record(shared: &Shared, work: Work, place: &Arc<Place>, timing: Timing, result: Result<Receipt, DeliveryError>) {
    let text = shared.new_id(&shared.settings.prefixes.attempt, timing.ended_at);
    let Ok(id) = AttemptId::new(text) else {
        // Prefixes are checked when the engine is built, so generated ids always fit.
        return shared.end(Ended::released(work));
    };
    let random = random_u64(&*shared.entropy);
    let destination = work.delivery.key.destination;
    let health = shared.health_of(work.delivery.event.tenant);
    let (conclusion, drained) = {
        let mut scheduler = shared.scheduler();
        let conclusion = scheduler.with_pace(destination, |pace| {
            let retry = place.record.settings.retry.as_ref().unwrap_or(&shared.settings.retry);
            conclude(&work.delivery, id, timing, result, (retry, health), pace, random)
        });
        // What waits behind a hold waits in the store, where other processes and a restart see it.
        let held = matches!(conclusion.lane, Some(LaneChange::Hold { .. }));
        let drained = if held { scheduler.drain(destination, false, timing.ended_at) } else { Vec::new() };
        (conclusion, drained)
    };
    let note = Note { place: place.clone(), event: work.delivery.event.clone() };
    shared.end(Ended {
        item: SettleItem {
            key: work.delivery.key,
            token: work.token,
            action: SettleAction::Attempted { attempt: conclusion.attempt, next: conclusion.next },
            lane: conclusion.lane,
            disable: conclusion.disable,
            judge: conclusion.judge,
            alerts: None,
            follow_ups: Vec::new(),
        },
        tenant: work.delivery.event.tenant,
        note: Some(note),
    });
    for work in drained {
        shared.end(Ended::released(work));
    }
}
