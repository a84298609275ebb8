//! A destination's health: how long it has done nothing but fail, when somebody is told, and when it is
//! disabled.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::destination::{Disabled, DisabledBy};
use crate::values::error::Problem;
use crate::values::text::cut;
use crate::values::time::Timestamp;

/// The shares of [`HealthPolicy::consecutive_failures`] at which a warning is given, in percent.
pub const WARNINGS: [u8; 4] = [50, 70, 90, 100];
/// "Nothing but failures" means at least this many: one event a month must not be a trend.
pub const LEAST_FAILURES: u32 = 10;
/// The longest text that is kept of the latest failure, in bytes.
const MAX_ERROR: usize = 256;

/// When failures of a destination are told of, and when they disable it: one policy for all destinations of an
/// engine, given to [`OutpostBuilder::health`](crate::OutpostBuilder::health).
///
/// Every failed attempt counts, first ones and retries, those by hand and of replays too, over all events of the
/// destination; one that succeeds starts the count anew, as enabling the destination does. Tests do not count, nor
/// does what is not the receiver's fault ([`ErrorClass::System`](crate::ErrorClass::System)).
///
/// Warnings reach the [`Observer`](crate::Observer) as [`Signal`](crate::Signal)s and, as events, the
/// [`OperatorDestination`](crate::OperatorDestination); a disabled destination says why in
/// [`Destination::disabled`](crate::Destination::disabled). What waits for it then is skipped and can be
/// [replayed](crate::Replays::start) once it is [enabled](crate::Destinations::enable) again.
///
/// ```
/// use std::time::Duration;
/// use outpost_core::HealthPolicy;
///
/// // Warn at 25, 35, 45 and 50 failures in a row; disable after a day of nothing but failures.
/// let policy = HealthPolicy::default()
///     .consecutive_failures(Some(50))
///     .disable_after(Some(Duration::from_secs(24 * 3600)));
/// # drop(policy);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    pub(crate) failures: Option<u32>,
    pub(crate) disable_at_count: bool,
    pub(crate) disable_after: Option<Duration>,
    pub(crate) exhausted_window: Option<Duration>,
    pub(crate) disable_when_gone: bool,
}

impl Default for HealthPolicy {
    /// Warnings at 50, 70, 90 and 100 failed attempts in a row; a destination is disabled when it has done
    /// nothing but fail for five days, or answers 410 Gone.
    fn default() -> Self {
        Self {
            failures: Some(100),
            disable_at_count: false,
            disable_after: Some(Duration::from_secs(5 * 24 * 3600)),
            exhausted_window: Some(Duration::from_secs(3600)),
            disable_when_gone: true,
        }
    }
}

impl HealthPolicy {
    /// Sets how many failed attempts in a row are 100 %; warnings are given at 50, 70, 90 and 100 % of it,
    /// rounded up. `None`: no warnings and no disabling by count. Default: 100.
    #[must_use]
    pub const fn consecutive_failures(mut self, count: Option<u32>) -> Self {
        self.failures = count;
        self
    }

    /// Sets whether a destination is disabled at 100 % of the count. Many events at once reach it within a second
    /// when a receiver is down for a moment, so the default is not to.
    #[must_use]
    pub const fn disable_at_count(mut self, on: bool) -> Self {
        self.disable_at_count = on;
        self
    }

    /// Sets for how long a destination may do nothing but fail, at least [`LEAST_FAILURES`] times, before
    /// it is disabled, at least a second. It is the next failed attempt after that time that disables it: a
    /// destination that nothing is sent to stays as it is. `None`: for ever. Default: five days.
    #[must_use]
    pub const fn disable_after(mut self, time: Option<Duration>) -> Self {
        self.disable_after = time;
        self
    }

    /// Sets for how long one [`Signal::Exhausted`](crate::Signal::Exhausted), which tells that a delivery has used
    /// up its retries, stands for further ones of the same destination. Zero: each is told. `None`: none is.
    /// Default: an hour.
    #[must_use]
    pub const fn exhausted_window(mut self, window: Option<Duration>) -> Self {
        self.exhausted_window = window;
        self
    }

    /// Sets whether an answer that the receiver is gone for good (410) disables the destination. The event
    /// is not sent again either way. Default: it does.
    #[must_use]
    pub const fn disable_when_gone(mut self, on: bool) -> Self {
        self.disable_when_gone = on;
        self
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.failures == Some(0) {
            problems.push(Problem::new("health.consecutive_failures", "must be at least 1, or none"));
        }
        if self.disable_after.is_some_and(|time| time < Duration::from_secs(1)) {
            problems.push(Problem::new("health.disable_after", "must be at least a second, or none"));
        }
        problems
    }
}

/// What is remembered of a destination's failures. A success ends it, enabling the destination too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Failed attempts since the last success, tests and faults on our side not counted.
    pub failures: u32,
    /// When the first of them ended.
    pub failing_since: Option<Timestamp>,
    /// The latest warning that was given for them, in percent; 0: none.
    pub warned: u8,
    /// How the latest of them ended, as the tenant may see it.
    pub last_error: Option<String>,
    /// When it was last told that a delivery has used up its retries.
    pub exhausted_at: Option<Timestamp>,
}

/// What the engine knows about an attempt's part in its destination's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judge {
    /// The policy that holds.
    pub policy: HealthPolicy,
    /// The attempt was the last one that the schedule allows, and it failed.
    pub exhausted: bool,
}

/// Something about a destination's health that somebody should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum HealthNews {
    /// It has failed so often in a row that another threshold is reached.
    Failing {
        /// The threshold, one of [`WARNINGS`].
        percent: u8,
        /// Failed attempts in a row.
        failures: u32,
        /// How many are 100 %.
        limit: u32,
        /// When the first of them ended.
        since: Timestamp,
    },
    /// A delivery has used up its retries.
    Exhausted,
    /// It works again, after at least one warning.
    Recovered {
        /// How many attempts had failed in a row.
        failures: u32,
        /// When the first of them ended.
        since: Timestamp,
    },
}

/// What a commit found out about a destination's health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What somebody should know.
    pub news: Vec<HealthNews>,
    /// The destination is disabled by this very commit.
    pub disabled: Option<Disabled>,
}

impl Health {
    /// Forgets the failures. When exhaustion was last told is no failure.
    pub(crate) fn start_anew(&mut self) {
        *self = Self { exhausted_at: self.exhausted_at, ..Self::default() };
    }

    /// Takes an attempt into account. The caller sees to it that it counts: it is no test, no fault on our
    /// side, and its destination is enabled.
    pub fn judge(&mut self, attempt: &Attempt, judge: Judge) -> Judgement {
        let mut judgement = Judgement::default();
        if attempt.outcome.success {
            if let Some(since) = self.failing_since.filter(|_| self.warned > 0) {
                judgement.news.push(HealthNews::Recovered { failures: self.failures, since });
            }
            self.start_anew();
            return judgement;
        }
        let policy = judge.policy;
        let at = attempt.time;
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(at);
        let error = said(attempt);
        if let Some(limit) = policy.failures {
            let reached = WARNINGS.into_iter().rev().find(|percent| self.failures >= share(limit, *percent));
            // The highest one counts: with a small limit one failure may reach several.
            if let Some(percent) = reached.filter(|percent| *percent > self.warned) {
                self.warned = percent;
                judgement.news.push(HealthNews::Failing { percent, failures: self.failures, limit, since });
            }
        }
        if judge.exhausted && self.tells_exhaustion(policy, at) {
            self.exhausted_at = Some(at);
            judgement.news.push(HealthNews::Exhausted);
        }
        let disable = |by, reason| Some(Disabled { at, by, reason, last_error: Some(error.clone()) });
        let failures = self.failures;
        if policy.disable_at_count && policy.failures.is_some_and(|limit| failures >= limit) {
            judgement.disabled = disable(DisabledBy::Failures, format!("{failures} attempts in a row failed"));
        } else if failures >= LEAST_FAILURES && policy.disable_after.is_some_and(|time| at.since(since) >= time) {
            let reason = format!("every attempt since {since} failed, {failures} in all");
            judgement.disabled = disable(DisabledBy::Failing, reason);
        }
        self.last_error = Some(error);
        judgement
    }

    fn tells_exhaustion(&self, policy: HealthPolicy, at: Timestamp) -> bool {
        policy.exhausted_window.is_some_and(|window| self.exhausted_at.is_none_or(|last| at >= last.after(window)))
    }
}

/// `percent` of `limit`, rounded up.
fn share(limit: u32, percent: u8) -> u32 {
    let exact = u64::from(limit) * u64::from(percent);
    u32::try_from(exact.div_ceil(100)).unwrap_or(u32::MAX)
}

/// How an attempt failed, in words that the tenant may see.
pub(crate) fn said(attempt: &Attempt) -> String {
    match &attempt.error {
        Some(error) => cut(&error.message, MAX_ERROR).to_owned(),
        None => format!("the receiver answered {}", cut(&attempt.outcome.code, MAX_ERROR)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::attempt::Outcome;
    use crate::domain::delivery::{DeliveryKey, Trigger};
    use crate::values::id::{AttemptId, EventId, Incarnation};

    fn attempt(success: bool, seconds: i64) -> Attempt {
        let time = Timestamp::from_millis(seconds * 1000);
        Attempt {
            id: AttemptId::new("att_1").unwrap(),
            delivery: DeliveryKey { destination: Incarnation::from_i64(1), event: EventId::new("e").unwrap() },
            tenant: Incarnation::from_i64(2),
            topic: Arc::from("t"),
            number: 1,
            trigger: Trigger::Automatic,
            started_at: time,
            time,
            duration: Duration::ZERO,
            outcome: Outcome { success, code: if success { "200" } else { "500" }.to_owned() },
            request: None,
            response: None,
            error: None,
            next_attempt_at: None,
        }
    }

    fn judge(policy: HealthPolicy) -> Judge {
        Judge { policy, exhausted: false }
    }

    fn percents(judgement: &Judgement) -> Vec<u8> {
        let failing = |news: &HealthNews| match news {
            HealthNews::Failing { percent, .. } => Some(*percent),
            _ => None,
        };
        judgement.news.iter().filter_map(failing).collect()
    }

    #[test]
    fn each_threshold_is_told_once_at_its_count_rounded_up() {
        for (limit, wanted) in [
            (100, vec![(50, 50), (70, 70), (90, 90), (100, 100)]),
            (5, vec![(3, 50), (4, 70), (5, 100)]),
            (1, vec![(1, 100)]),
            (3, vec![(2, 50), (3, 100)]),
        ] {
            let mut health = Health::default();
            let policy = HealthPolicy::default().consecutive_failures(Some(limit));
            let mut told = Vec::new();
            for count in 1..=limit * 3 {
                let judgement = health.judge(&attempt(false, i64::from(count)), judge(policy));
                assert!(judgement.disabled.is_none(), "a count alone does not disable");
                told.extend(percents(&judgement).into_iter().map(|percent| (count, percent)));
            }
            assert_eq!(told, wanted, "limit {limit}");
        }
    }

    #[test]
    fn a_success_starts_the_count_anew_and_is_told_only_after_a_warning() {
        let mut health = Health::default();
        let policy = HealthPolicy::default().consecutive_failures(Some(10));
        for _ in 0..4 {
            health.judge(&attempt(false, 1), judge(policy));
        }
        assert!(health.judge(&attempt(true, 2), judge(policy)).news.is_empty());
        assert_eq!(health, Health::default());
        for _ in 0..5 {
            health.judge(&attempt(false, 3), judge(policy));
        }
        let since = Timestamp::from_millis(3000);
        let recovered = health.judge(&attempt(true, 4), judge(policy)).news;
        assert_eq!(recovered, [HealthNews::Recovered { failures: 5, since }]);
        assert!(health.judge(&attempt(true, 5), judge(policy)).news.is_empty());
    }

    #[test]
    fn the_count_disables_only_where_it_is_asked_to() {
        let mut health = Health::default();
        let policy = HealthPolicy::default().consecutive_failures(Some(20)).disable_at_count(true);
        for _ in 1..20 {
            assert!(health.judge(&attempt(false, 1), judge(policy)).disabled.is_none());
        }
        let disabled = health.judge(&attempt(false, 9), judge(policy)).disabled.unwrap();
        assert_eq!((disabled.by, disabled.at), (DisabledBy::Failures, Timestamp::from_millis(9000)));
        assert_eq!(disabled.last_error.as_deref(), Some("the receiver answered 500"));
    }

    #[test]
    fn a_burst_does_not_disable_and_failing_for_days_does() {
        let policy = HealthPolicy::default().consecutive_failures(Some(10_000));
        let mut health = Health::default();
        for _ in 0..1000 {
            assert!(health.judge(&attempt(false, 0), judge(policy)).disabled.is_none());
        }
        let days = 5 * 24 * 3600;
        assert!(health.judge(&attempt(false, days - 1), judge(policy)).disabled.is_none());
        assert_eq!(health.judge(&attempt(false, days), judge(policy)).disabled.unwrap().by, DisabledBy::Failing);
        // Few failures are no trend, however far apart.
        let mut rare = Health::default();
        for count in 1..LEAST_FAILURES {
            assert!(rare.judge(&attempt(false, i64::from(count) * days), judge(policy)).disabled.is_none());
        }
        assert!(rare.judge(&attempt(false, 100 * days), judge(policy)).disabled.is_some());
    }

    #[test]
    fn exhaustion_is_told_once_a_window() {
        let told = |window: Option<u64>| {
            let policy = HealthPolicy::default().exhausted_window(window.map(Duration::from_secs));
            let mut health = Health::default();
            let at = [0, 1, 9, 10, 11, 30];
            at.into_iter()
                .filter(|at| {
                    let judge = Judge { policy, exhausted: true };
                    health.judge(&attempt(false, *at), judge).news.contains(&HealthNews::Exhausted)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(told(Some(10)), [0, 10, 30]);
        assert_eq!(told(Some(0)), [0, 1, 9, 10, 11, 30]);
        assert!(told(None).is_empty());
    }
}
