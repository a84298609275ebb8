//! When a failed delivery is tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::values::error::Problem;

/// The most automatic attempts a schedule may make.
pub const MAX_ATTEMPTS: u32 = 100;
/// The longest delay between two attempts.
pub const MAX_DELAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The delays between automatic attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// One delay for each retry; as many retries as entries.
    Explicit(Vec<Duration>),
    /// `base`, then each delay `factor` times the one before, none longer than `max`.
    Exponential {
        /// The first delay.
        base: Duration,
        /// What each delay is multiplied by for the next; at least 1.
        factor: f64,
        /// The longest delay.
        max: Duration,
        /// How many retries follow the first attempt.
        retries: u32,
    },
}

/// When and how often failed deliveries are tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct RetryPolicy {
    schedule: Schedule,
    jitter: f64,
    retry_after_cap: Duration,
}

/// A policy as it is written; reading one checks it again.
#[derive(Deserialize)]
struct Stored {
    schedule: Schedule,
    jitter: f64,
    retry_after_cap: Duration,
}

impl TryFrom<Stored> for RetryPolicy {
    type Error = Problem;
    fn try_from(stored: Stored) -> Result<Self, Problem> {
        Ok(Self::new(stored.schedule)?.jitter(stored.jitter)?.retry_after_cap(stored.retry_after_cap))
    }
}

impl Default for RetryPolicy {
    /// The example schedule of Standard Webhooks: immediately, then after 5 s, 5 m, 30 m, 2 h, 5 h, 10 h,
    /// 14 h, 20 h and 24 h, with up to 20 % of jitter. `Retry-After` counts up to one hour.
    fn default() -> Self {
        const SECONDS: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
        Self {
            schedule: Schedule::Explicit(SECONDS.map(Duration::from_secs).to_vec()),
            jitter: 0.2,
            retry_after_cap: Duration::from_secs(3600),
        }
    }
}

impl RetryPolicy {
    /// A policy with `schedule`, jitter of up to 20 % and `Retry-After` counting up to one hour.
    ///
    /// # Errors
    /// A [`Problem`] with field `retry.schedule` for more than [`MAX_ATTEMPTS`] retries, a delay over
    /// [`MAX_DELAY`], a factor below 1 or one that is not a number.
    pub fn new(schedule: Schedule) -> Result<Self, Problem> {
        let refuse = |message: String| Err(Problem::new("retry.schedule", message));
        match &schedule {
            Schedule::Explicit(delays) => {
                if delays.len() >= MAX_ATTEMPTS as usize {
                    return refuse(format!("must have fewer than {MAX_ATTEMPTS} entries"));
                }
                if delays.iter().any(|delay| *delay > MAX_DELAY) {
                    return refuse("must have no delay over 30 days".to_owned());
                }
            }
            Schedule::Exponential { factor, max, retries, .. } => {
                if !factor.is_finite() || *factor < 1.0 {
                    return refuse("must have a factor of at least 1".to_owned());
                }
                if *retries >= MAX_ATTEMPTS {
                    return refuse(format!("must have fewer than {MAX_ATTEMPTS} retries"));
                }
                if *max > MAX_DELAY {
                    return refuse("must have no delay over 30 days".to_owned());
                }
            }
        }
        Ok(Self { schedule, ..Self::default() })
    }

    /// Sets the jitter: each delay is lengthened by a random part of it, at most this share (0 to 0.2).
    ///
    /// # Errors
    /// A [`Problem`] with field `retry.jitter` outside those bounds.
    pub fn jitter(mut self, share: f64) -> Result<Self, Problem> {
        if !(0.0..=0.2).contains(&share) {
            return Err(Problem::new("retry.jitter", "must be between 0 and 0.2"));
        }
        self.jitter = share;
        Ok(self)
    }

    /// Sets how far a receiver's `Retry-After` is obeyed; at most 30 days.
    #[must_use]
    pub fn retry_after_cap(mut self, cap: Duration) -> Self {
        self.retry_after_cap = cap.min(MAX_DELAY);
        self
    }

    /// How many automatic attempts are made at most, the first one included.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        match &self.schedule {
            Schedule::Explicit(delays) => u32::try_from(delays.len()).unwrap_or(u32::MAX).saturating_add(1),
            Schedule::Exponential { retries, .. } => retries.saturating_add(1),
        }
    }

    /// The delay after the `made`th automatic attempt failed; `None` when there is no further one.
    ///
    /// `random` picks the jitter. `retry_after` is the receiver's wish: it only lengthens the delay, and
    /// only up to the cap.
    #[must_use]
    pub fn delay_after(&self, made: u32, random: u64, retry_after: Option<Duration>) -> Option<Duration> {
        let index = made.checked_sub(1)?;
        let planned = match &self.schedule {
            Schedule::Explicit(delays) => delays.get(usize::try_from(index).ok()?).copied()?,
            Schedule::Exponential { base, factor, max, retries } => {
                if index >= *retries {
                    return None;
                }
                let seconds = base.as_secs_f64() * factor.powi(i32::try_from(index).unwrap_or(i32::MAX));
                Duration::try_from_secs_f64(seconds).unwrap_or(*max).min(*max)
            }
        };
        // 53 random bits make an even fraction of 1.
        #[allow(clippy::cast_precision_loss)]
        let fraction = (random >> 11) as f64 / (1_u64 << 53) as f64;
        let jittered = planned.mul_f64(1.0 + self.jitter * fraction);
        let floor = self.cap_retry_after(retry_after.unwrap_or(Duration::ZERO));
        Some(jittered.max(floor))
    }

    /// A receiver's wish, cut to the cap.
    #[must_use]
    pub fn cap_retry_after(&self, wish: Duration) -> Duration {
        wish.min(self.retry_after_cap)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_is_ten_attempts_over_75_hours() {
        let policy = RetryPolicy::default().jitter(0.0).unwrap();
        assert_eq!(policy.max_attempts(), 10);
        let total: Duration = (1..10).map(|made| policy.delay_after(made, 0, None).unwrap()).sum();
        assert_eq!(total.as_secs(), 75 * 3600 + 35 * 60 + 5);
        assert_eq!(policy.delay_after(10, 0, None), None);
        assert_eq!(policy.delay_after(0, 0, None), None);
    }

    #[test]
    fn exponential_delays_double_up_to_their_limit() {
        let schedule = Schedule::Exponential {
            base: Duration::from_secs(30),
            factor: 2.0,
            max: Duration::from_secs(100),
            retries: 4,
        };
        let policy = RetryPolicy::new(schedule).unwrap().jitter(0.0).unwrap();
        let delays: Vec<_> = (1..=5).map(|made| policy.delay_after(made, 0, None).map(|d| d.as_secs())).collect();
        assert_eq!(delays, [Some(30), Some(60), Some(100), Some(100), None]);
    }

    #[test]
    fn a_wish_is_a_floor_with_a_cap() {
        let policy = RetryPolicy::default().jitter(0.0).unwrap();
        let after = |seconds| policy.delay_after(1, 0, Some(Duration::from_secs(seconds))).unwrap().as_secs();
        assert_eq!((after(1), after(60), after(1_000_000)), (5, 60, 3600));
    }

    proptest! {
        #[test]
        fn jitter_only_lengthens_and_by_a_fifth_at_most(made in 1_u32..10, random: u64) {
            let plain = RetryPolicy::default().jitter(0.0).unwrap().delay_after(made, random, None).unwrap();
            let jittered = RetryPolicy::default().delay_after(made, random, None).unwrap();
            prop_assert!(jittered >= plain && jittered <= plain.mul_f64(1.2));
        }

        #[test]
        fn no_policy_panics(base: u64, factor in -1.0_f64..1e300, max: u32, retries: u32, made: u32, random: u64) {
            let schedule = Schedule::Exponential {
                base: Duration::from_secs(base), factor, max: Duration::from_secs(u64::from(max)), retries,
            };
            if let Ok(policy) = RetryPolicy::new(schedule) {
                let _ = policy.delay_after(made, random, Some(Duration::MAX));
            }
        }
    }
}
