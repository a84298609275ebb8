//! From what the transport reports to what is written down.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::attempt::ErrorClass;
use crate::domain::attempt::{Attempt, Outcome};
use crate::domain::delivery::Trigger;
use crate::domain::destination::{Disabled, DisabledBy};
use crate::domain::health::{HealthPolicy, Judge};
use crate::domain::retry::RetryPolicy;
use crate::engine::pace::Pace;
use crate::engine::record::{LaneChange, stands_for_schedule};
use crate::ports::store::ClaimedDelivery;
use crate::ports::transport::{DeliveryError, Receipt, Verdict};
use crate::values::id::AttemptId;
use crate::values::time::Timestamp;

/// When an attempt ran.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How long the exchange took.
    pub duration: Duration,
}

/// What is written down after an attempt.
#[derive(Debug)]
pub struct Conclusion {
    /// The attempt.
    pub attempt: Arc<Attempt>,
    /// When the next automatic attempt is due.
    pub next: Option<Timestamp>,
    /// What it does to the lane.
    pub lane: Option<LaneChange>,
    /// Whether the destination is to be disabled.
    pub disable: Option<Disabled>,
    /// How it counts into the destination's health; a test and a fault on our side do not.
    pub judge: Option<Judge>,
}

/// Decides what an attempt's result means.
///
/// `random` picks the jitter. A requested attempt never moves the schedule; an automatic one uses up one
/// entry of it.
pub fn conclude(
    delivery: &ClaimedDelivery,
    id: AttemptId,
    timing: Timing,
    result: Result<Receipt, DeliveryError>,
    (policy, health): (&RetryPolicy, HealthPolicy),
    pace: &mut Pace,
    random: u64,
) -> Conclusion {
    let (verdict, code, retry_after, request, response, error) = match result {
        Ok(receipt) => {
            (Some(receipt.verdict), receipt.code, receipt.retry_after, Some(receipt.request), receipt.response, None)
        }
        Err(failure) => {
            let code = failure.error.class.as_str().to_owned();
            (None, code, None, failure.request, failure.response, Some(failure.error))
        }
    };
    let success = verdict == Some(Verdict::Accepted);
    let wish = policy.cap_retry_after(retry_after.unwrap_or(Duration::ZERO));
    let lane = match verdict {
        Some(Verdict::Overloaded) => Some(pace.overloaded(timing.started_at, timing.ended_at, wish)),
        Some(_) => pace.answered(timing.started_at),
        None => None,
    };
    let gone = verdict == Some(Verdict::Gone);
    let number = delivery.attempts.saturating_add(1);
    let scheduled = stands_for_schedule(delivery.trigger, number, delivery.state);
    let next = if success || gone {
        None
    } else if !scheduled {
        delivery.scheduled_at
    } else if delivery.event.eligible_for_retry {
        let made = delivery.automatic_attempts.saturating_add(1);
        policy.delay_after(made, random, retry_after).map(|delay| timing.ended_at.after(delay))
    } else {
        None
    };
    let disable = (gone && health.disable_when_gone).then(|| Disabled {
        at: timing.ended_at,
        by: DisabledBy::Gone,
        reason: "the receiver answered 410 Gone, which asks for no more events".to_owned(),
        last_error: None,
    });
    let ours = error.as_ref().is_some_and(|error| error.class == ErrorClass::System);
    let exhausted = !success && !gone && next.is_none() && scheduled && delivery.event.eligible_for_retry;
    let counts = !ours && delivery.trigger != Trigger::Test;
    let judge = counts.then_some(Judge { policy: health, exhausted });
    let attempt = Attempt {
        id,
        delivery: delivery.key.clone(),
        tenant: delivery.event.tenant,
        topic: delivery.event.topic.clone(),
        number,
        trigger: delivery.trigger,
        started_at: timing.started_at,
        time: timing.ended_at,
        duration: timing.duration,
        outcome: Outcome { success, code },
        request,
        response,
        error,
        next_attempt_at: next,
    };
    Conclusion { attempt: Arc::new(attempt), next, lane, disable, judge }
}
