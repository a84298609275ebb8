//! Rate limits: how many may start now, and when the next one may.

use crate::domain::settings::RateLimit;
use crate::values::time::Timestamp;

/// A token bucket that holds one period's worth and starts full.
#[derive(Clone, Debug)]
pub struct Bucket {
    limit: RateLimit,
    /// When the bucket will be full again, in microseconds.
    full_at: i64,
}

impl Bucket {
    /// A full bucket. A limit of nothing counts as one of 1, and a period of nothing as one of 1 ms.
    #[must_use]
    pub fn new(limit: RateLimit) -> Self {
        Self { limit, full_at: i64::MIN }
    }

    /// The limit it keeps.
    #[must_use]
    pub const fn limit(&self) -> RateLimit {
        self.limit
    }

    /// The time that one token takes, in microseconds.
    fn interval(&self) -> i64 {
        let per = i64::try_from(self.limit.per.as_micros()).unwrap_or(i64::MAX).max(1000);
        (per / i64::from(self.limit.events.max(1))).max(1)
    }

    fn size(&self) -> i64 {
        i64::from(self.limit.events.max(1))
    }

    /// How many may start now.
    #[must_use]
    pub fn available(&self, now: Timestamp) -> u32 {
        let missing = self.full_at.saturating_sub(micros(now)).max(0);
        let taken = missing.saturating_add(self.interval() - 1) / self.interval();
        u32::try_from(self.size().saturating_sub(taken).max(0)).unwrap_or(u32::MAX)
    }

    /// Takes one token, also one that is not there yet.
    pub fn take(&mut self, now: Timestamp) {
        self.full_at = self.full_at.max(micros(now)).saturating_add(self.interval());
    }

    /// When one may start; at the earliest now.
    #[must_use]
    pub fn next_at(&self, now: Timestamp) -> Timestamp {
        let at = self.full_at.saturating_sub((self.size() - 1).saturating_mul(self.interval()));
        // Rounded up, so that it has come when the clock says so.
        now.max(Timestamp::from_millis(at.saturating_add(999).div_euclid(1000)))
    }

    /// Whether nothing was taken lately, so that a new one is the same.
    #[must_use]
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.full_at <= micros(now)
    }
}

const fn micros(at: Timestamp) -> i64 {
    at.as_millis().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + millis)
    }

    #[test]
    fn one_a_minute_is_one_a_minute() {
        let mut bucket = Bucket::new(RateLimit { events: 1, per: Duration::from_secs(60) });
        let mut now = at(0);
        for minute in 0..5 {
            assert_eq!((bucket.available(now), now), (1, at(minute * 60_000)));
            bucket.take(now);
            assert_eq!(bucket.available(now), 0);
            now = bucket.next_at(now);
        }
        assert!(bucket.is_full(now));
    }

    proptest! {
        #[test]
        fn a_period_never_sees_more_than_twice_its_events(
            events in 1_u32..20, per in 1_u64..5000, steps in prop::collection::vec(0_i64..400, 1..200),
        ) {
            let mut bucket = Bucket::new(RateLimit { events, per: Duration::from_millis(per) });
            let (mut now, mut taken) = (0, Vec::new());
            for step in steps {
                now += step;
                while bucket.available(at(now)) > 0 {
                    bucket.take(at(now));
                    taken.push(now);
                }
                let next = bucket.next_at(at(now));
                prop_assert!(bucket.available(next) >= 1);
                prop_assert!(next == at(now) || bucket.available(Timestamp::from_millis(next.as_millis() - 2)) == 0);
            }
            for start in &taken {
                let period = i64::try_from(per).unwrap_or(i64::MAX);
                let within = taken.iter().filter(|at| (*start..start + period).contains(at)).count();
                // Whole microseconds per token: a little more over very short ones.
                prop_assert!(within <= (events * 2 + 1) as usize, "{within}");
            }
        }
    }
}
