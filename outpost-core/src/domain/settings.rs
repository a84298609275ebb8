//! How one destination is sent to, where that differs from the defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::retry::RetryPolicy;
use crate::values::error::Problem;

/// The shortest timeout of a destination.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(100);
/// The most events per period of a [`RateLimit`].
pub const MAX_RATE: u32 = 1_000_000;
/// The longest period of a [`RateLimit`].
pub const MAX_RATE_PERIOD: Duration = Duration::from_secs(24 * 3600);

/// So many events in such a time, at most. Unused allowance adds up to one period's worth: after a pause they may
/// come at once, and go on at the steady rate, so that the time of one period can see up to twice as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RateLimit {
    /// How many, 1 to [`MAX_RATE`].
    pub events: u32,
    /// In what time, 1 ms to [`MAX_RATE_PERIOD`].
    pub per: Duration,
}

impl RateLimit {
    fn check(&self, field: &str, problems: &mut Vec<Problem>) {
        if !(1..=MAX_RATE).contains(&self.events) {
            problems.push(Problem::new(format!("{field}.events"), format!("must be 1 to {MAX_RATE}")));
        }
        if !(Duration::from_millis(1)..=MAX_RATE_PERIOD).contains(&self.per) {
            problems.push(Problem::new(format!("{field}.per"), "must be 1 ms to 24 hours"));
        }
    }
}

/// How one destination is sent to, where that differs from what the
/// [`OutpostBuilder`](crate::OutpostBuilder) says; `None`: as there. The operator always may set it, tenants' users
/// where [`tenant_delivery_settings`](crate::OutpostBuilder::tenant_delivery_settings) offers it.
///
/// A [`DestinationPatch`](crate::DestinationPatch) replaces all of it: what it leaves at `None` is the default
/// again. A change counts for what is sent from then on; a delivery that already waits for a retry waits as long as
/// it was told to.
///
/// ```
/// use std::time::Duration;
/// use outpost_core::{DeliverySettings, RateLimit, RetryPolicy, Schedule};
///
/// # fn main() -> Result<(), outpost_core::Problem> {
/// let gently = DeliverySettings {
///     timeout: Some(Duration::from_secs(5)),
///     concurrency: Some(2),
///     rate_limit: Some(RateLimit { events: 10, per: Duration::from_secs(1) }),
///     retry: Some(RetryPolicy::new(Schedule::Explicit(vec![Duration::from_secs(60); 3]))?),
/// };
/// # drop(gently);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeliverySettings {
    /// How long one attempt may take, from [`MIN_TIMEOUT`] to the longest that the engine was built for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How many requests one process sends to it at once, at least 1, in place of
    /// [`destination_concurrency`](crate::OutpostBuilder::destination_concurrency); the engine's
    /// [`concurrency`](crate::OutpostBuilder::concurrency) over all destinations holds besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// How fast one process sends to it. What is over the limit waits, and waiting is no attempt.
    /// Attempts that somebody asked for by hand do not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// When its failed deliveries are tried again, and how often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
}

// Jitter and factor are never NaN: the policy's constructor refuses them.
impl Eq for DeliverySettings {}

impl DeliverySettings {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the bounds; every problem is reported.
    pub(crate) fn check(&self, longest_timeout: Duration, problems: &mut Vec<Problem>) {
        if self.timeout.is_some_and(|timeout| !(MIN_TIMEOUT..=longest_timeout).contains(&timeout)) {
            let message = format!("must be between {MIN_TIMEOUT:?} and {longest_timeout:?}");
            problems.push(Problem::new("settings.timeout", message));
        }
        if self.concurrency == Some(0) {
            problems.push(Problem::new("settings.concurrency", "must be at least 1"));
        }
        if let Some(limit) = self.rate_limit {
            limit.check("settings.rate_limit", problems);
        }
    }
}

/// How often one tenant's users, all together, may do what makes requests at once. Counted by each process for
/// itself, and only for handles that [act as a tenant's user](crate::Outpost::acting_as): the operator's own calls
/// have no limit. What is too often is an error of kind [`RateLimited`](crate::ErrorKind::RateLimited), which says
/// when it may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantLimits {
    /// Test events: [`Destinations::test`](crate::Destinations::test).
    pub tests: RateLimit,
    /// Deliveries retried by hand: [`Deliveries::retry`](crate::Deliveries::retry).
    pub retries: RateLimit,
    /// Replays started: [`Replays::start`](crate::Replays::start). What a replay sends is not counted here.
    pub replays: RateLimit,
}

impl Default for TenantLimits {
    /// 20 tests, 200 retries and 5 replays a minute.
    fn default() -> Self {
        let a_minute = |events| RateLimit { events, per: Duration::from_secs(60) };
        Self { tests: a_minute(20), retries: a_minute(200), replays: a_minute(5) }
    }
}

impl TenantLimits {
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (field, limit) in [("tests", self.tests), ("retries", self.retries), ("replays", self.replays)] {
            limit.check(&format!("tenant_limits.{field}"), &mut problems);
        }
        problems
    }
}
