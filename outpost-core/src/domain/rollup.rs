//! Rollups: counts of events and attempts by minute, hour and day, kept in the commits that store those,
//! so that asking for numbers costs the same however many there are.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::Attempt;
use super::delivery::Trigger;
use super::event::Event;
use crate::values::id::Incarnation;
use crate::values::text::cut;
use crate::values::time::Timestamp;

/// How long the time is that one rollup covers. All are in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Level {
    /// Every level, the finest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// The time that one rollup covers, in milliseconds.
    #[must_use]
    pub const fn millis(self) -> i64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    /// A small number for stores, stable for ever.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Minute => 0,
            Self::Hour => 1,
            Self::Day => 2,
        }
    }

    /// The level with this [`Level::code`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The start of the time that `at` falls into.
    #[must_use]
    pub const fn start_of(self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis().div_euclid(self.millis()) * self.millis())
    }
}

/// What a rollup counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counted {
    /// Events, by their own time.
    Events,
    /// Attempts that ended alike, by the time they ended.
    Attempts {
        /// Whether they succeeded.
        success: bool,
        /// Their code, cut to 32 bytes.
        code: Arc<str>,
        /// Why they were made; never [`Trigger::Test`].
        trigger: Trigger,
    },
}

/// Names a rollup.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RollupKey {
    /// How much time it covers.
    pub level: Level,
    /// When that time starts.
    pub start: Timestamp,
    /// Whose.
    pub tenant: Incarnation,
    /// Of which destination. Events are counted once without one, and once for each enabled destination
    /// they matched.
    pub destination: Option<Incarnation>,
    /// Of which topic.
    pub topic: Arc<str>,
    /// What it counts.
    pub counted: Counted,
}

/// A rollup's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The sum of the attempts' numbers.
    pub numbers: u64,
    /// How many were a first attempt, made by schedule.
    pub firsts: u64,
    /// How many had a number above 1.
    pub retries: u64,
    /// How long the attempts took.
    pub latency: Histogram,
}

/// How often an attempt took about how long: four buckets for each doubling, from 1 ms up, so a value is
/// known to within a quarter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<(u8, u64)>);

/// The longest code that a rollup tells apart, in bytes.
const MAX_CODE: usize = 32;

impl Tally {
    /// The tally of one event.
    #[must_use]
    pub fn of_event() -> Self {
        Self { count: 1, ..Self::default() }
    }

    /// The tally of one attempt.
    #[must_use]
    pub fn of_attempt(attempt: &Attempt) -> Self {
        let mut latency = Histogram::default();
        latency.record(attempt.duration);
        Self {
            count: 1,
            numbers: u64::from(attempt.number),
            firsts: u64::from(attempt.number == 1 && attempt.trigger == Trigger::Automatic),
            retries: u64::from(attempt.number > 1),
            latency,
        }
    }

    /// Adds another one's numbers.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.numbers += other.numbers;
        self.firsts += other.firsts;
        self.retries += other.retries;
        self.latency.add(&other.latency);
    }

    /// The bytes that a store keeps; [`Tally::decode`] reads them back.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16);
        for number in [self.count, self.numbers, self.firsts, self.retries] {
            put_number(&mut bytes, number);
        }
        for (bucket, count) in &self.latency.0 {
            bytes.push(*bucket);
            put_number(&mut bytes, *count);
        }
        bytes
    }

    /// Reads what [`Tally::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut numbers = [0; 4];
        for number in &mut numbers {
            *number = take_number(&mut bytes)?;
        }
        let [count, numbers, firsts, retries] = numbers;
        let mut latency = Vec::new();
        while let Some((bucket, rest)) = bytes.split_first() {
            bytes = rest;
            latency.push((*bucket, take_number(&mut bytes)?));
        }
        Some(Self { count, numbers, firsts, retries, latency: Histogram(latency) })
    }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, value: Duration) {
        self.put(bucket_of(value), 1);
    }

    /// Adds another one's counts.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            self.put(*bucket, *count);
        }
    }

    fn put(&mut self, bucket: u8, count: u64) {
        match self.0.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => {
                if let Some((_, found)) = self.0.get_mut(at) {
                    *found += count;
                }
            }
            Err(at) => self.0.insert(at, (bucket, count)),
        }
    }

    /// The value that `share` (0 to 1) of the counted ones do not exceed, as the upper end of its bucket;
    /// `None` when nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.0.iter().map(|(_, count)| count).sum();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let wanted = ((total as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(bucket, count)| {
            seen += count;
            (seen >= wanted).then(|| upper_end(*bucket))
        })
    }
}

/// Bucket 0 is below 1 ms; then four of equal width for each doubling.
fn bucket_of(value: Duration) -> u8 {
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    if micros < 1000 {
        return 0;
    }
    let octave = (micros / 1000).ilog2();
    let low = 1000_u64 << octave;
    let part = (micros - low).saturating_mul(4) / low;
    u8::try_from(1 + u64::from(octave) * 4 + part).unwrap_or(u8::MAX)
}

fn upper_end(bucket: u8) -> Duration {
    let Some(number) = bucket.checked_sub(1) else { return Duration::from_millis(1) };
    let low = 1000_u64.checked_shl(u32::from(number / 4)).unwrap_or(u64::MAX);
    Duration::from_micros(low.saturating_add((low / 4).saturating_mul(u64::from(number % 4) + 1)))
}

/// Seven bits a byte, the low ones first; the high bit says that more follow.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The rollups that an event counts into: in each level once for itself, and once for each of `matched`,
/// the enabled destinations it matched.
pub fn of_event(event: &Event, matched: impl Iterator<Item = Incarnation> + Clone) -> impl Iterator<Item = RollupKey> {
    Level::ALL.into_iter().flat_map(move |level| {
        std::iter::once(None).chain(matched.clone().map(Some)).map(move |destination| RollupKey {
            level,
            start: level.start_of(event.time),
            tenant: event.tenant,
            destination,
            topic: event.topic.clone(),
            counted: Counted::Events,
        })
    })
}

/// The rollups that an attempt counts into, one in each level; none for a test.
pub fn of_attempt(attempt: &Attempt) -> impl Iterator<Item = RollupKey> {
    let levels = if attempt.trigger == Trigger::Test { &[][..] } else { &Level::ALL[..] };
    let code: Arc<str> = Arc::from(cut(&attempt.outcome.code, MAX_CODE));
    levels.iter().map(move |level| RollupKey {
        level: *level,
        start: level.start_of(attempt.time),
        tenant: attempt.tenant,
        destination: Some(attempt.delivery.destination),
        topic: attempt.topic.clone(),
        counted: Counted::Attempts { success: attempt.outcome.success, code: code.clone(), trigger: attempt.trigger },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_before_the_epoch_start_where_they_belong() {
        let at = Timestamp::from_millis(-1);
        assert_eq!(Level::Minute.start_of(at).as_millis(), -60_000);
        assert_eq!(Level::Day.start_of(at).as_millis(), -86_400_000);
        assert_eq!(Level::Hour.start_of(Timestamp::from_millis(3_600_000)).as_millis(), 3_600_000);
    }

    #[test]
    fn quantiles_are_right_to_within_a_quarter() {
        let mut histogram = Histogram::default();
        for millis in 1..=1000 {
            histogram.record(Duration::from_millis(millis));
        }
        for (share, exact) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.quantile(share).unwrap().as_secs_f64() * 1000.0;
            assert!(found >= exact && found <= exact * 1.25, "{share}: {found} for {exact}");
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn a_value_lies_below_its_bucket_s_end_and_not_far(micros in 0_u64..40_000_000_000) {
            let value = Duration::from_micros(micros);
            let end = upper_end(bucket_of(value));
            prop_assert!(value <= end);
            prop_assert!(micros < 1000 || end.as_secs_f64() <= value.as_secs_f64() * 1.2501);
        }

        #[test]
        fn tallies_round_trip(numbers: [u64; 4], values in prop::collection::vec(0_u64..1_000_000_000, 0..20)) {
            let [count, sum, firsts, retries] = numbers;
            let mut tally = Tally { count, numbers: sum, firsts, retries, latency: Histogram::default() };
            for value in values {
                tally.latency.record(Duration::from_micros(value));
            }
            prop_assert_eq!(Tally::decode(&tally.encode()), Some(tally));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes: Vec<u8>) {
            let _ = Tally::decode(&bytes);
        }
    }
}
