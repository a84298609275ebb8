//! How fast one destination is sent to: its concurrency, holds after "too busy" answers, one probe when a
//! hold ends, and a slow start after that.

use std::time::Duration;

use crate::engine::record::{LaneChange, LaneRecord};
use crate::values::time::Timestamp;

/// The first hold when the receiver does not say how long; it doubles with every further one.
pub const FIRST_HOLD: Duration = Duration::from_secs(5);
/// The longest hold that we choose ourselves. `Retry-After` may ask for more.
pub const LONGEST_HOLD: Duration = Duration::from_secs(300);

/// The pace of one destination in this process.
#[derive(Clone, Debug)]
pub struct Pace {
    limit: u32,
    window: u32,
    hold_until: Option<Timestamp>,
    /// When the latest hold began; answers to requests that were on their way by then tell nothing new.
    held_at: Option<Timestamp>,
    strikes: u32,
}

impl Pace {
    /// A destination that nothing is known of, with at most `limit` requests at a time.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), window: limit.max(1), hold_until: None, held_at: None, strikes: 0 }
    }

    /// Changes the limit. A destination that ran at the old one runs at the new one.
    pub fn set_limit(&mut self, limit: u32) {
        let limit = limit.max(1);
        self.window = if self.window == self.limit { limit } else { self.window.min(limit) };
        self.limit = limit;
    }

    /// How many requests may be on their way at once.
    #[must_use]
    pub const fn window(&self) -> u32 {
        self.window
    }

    /// Until when only urgent attempts are sent, if that is after `now`.
    #[must_use]
    pub fn held_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.hold_until.filter(|until| *until > now)
    }

    /// Whether the next answer decides if the destination has recovered.
    #[must_use]
    pub const fn is_probing(&self) -> bool {
        self.strikes > 0
    }

    /// Takes over what the store knows, which other processes or an earlier run may have found out.
    ///
    /// A hold that the store does not know was ended elsewhere, or is not written yet; either way one more
    /// request, at a window of one, tells.
    pub fn adopt(&mut self, lane: &LaneRecord) {
        if lane.strikes == 0 && lane.hold_until.is_none() && self.strikes > 0 {
            (self.strikes, self.hold_until, self.held_at) = (0, None, None);
        }
        if lane.strikes > self.strikes {
            self.strikes = lane.strikes;
            self.window = 1;
        }
        if lane.hold_until > self.hold_until {
            self.hold_until = lane.hold_until;
        }
    }

    /// A receiver is overloaded: hold it. Requests that were on their way together count once.
    pub fn overloaded(&mut self, started: Timestamp, now: Timestamp, wish: Duration) -> LaneChange {
        let fresh = self.held_at.is_none_or(|held_at| started > held_at) && self.held_until(started).is_none();
        if fresh {
            self.strikes = self.strikes.saturating_add(1);
            self.held_at = Some(now);
        }
        let own = FIRST_HOLD.saturating_mul(1 << self.strikes.saturating_sub(1).min(10)).min(LONGEST_HOLD);
        let until = now.after(own.max(wish));
        let until = if fresh { until } else { self.hold_until.unwrap_or(until).max(now.after(wish)) };
        self.hold_until = Some(self.hold_until.map_or(until, |at| at.max(until)));
        self.window = 1;
        LaneChange::Hold { until, strikes: self.strikes }
    }

    /// A receiver answered without being overloaded: ends the probing and widens the window by one, which
    /// doubles it with every round.
    pub fn answered(&mut self, started: Timestamp) -> Option<LaneChange> {
        if self.held_at.is_some_and(|held_at| started <= held_at) {
            return None;
        }
        self.window = self.window.saturating_add(1).min(self.limit);
        if self.strikes == 0 {
            return None;
        }
        self.strikes = 0;
        self.hold_until = None;
        self.held_at = None;
        Some(LaneChange::Clear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn held_for(change: LaneChange, now: Timestamp) -> u64 {
        match change {
            LaneChange::Hold { until, .. } => until.since(now).as_secs(),
            LaneChange::Clear => 0,
        }
    }

    #[test]
    fn holds_double_to_five_minutes_and_a_wish_lengthens_them() {
        let mut pace = Pace::new(8);
        let mut now = at(0);
        let mut holds = Vec::new();
        for _ in 0..8 {
            let change = pace.overloaded(now, now, Duration::ZERO);
            holds.push(held_for(change, now));
            now = pace.hold_until.unwrap_or(now);
        }
        assert_eq!(holds, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(held_for(pace.overloaded(now, now, Duration::from_secs(900)), now), 900);
    }

    #[test]
    fn requests_on_their_way_together_count_once() {
        let mut pace = Pace::new(8);
        for _ in 0..8 {
            pace.overloaded(at(10), at(11), Duration::ZERO);
        }
        assert_eq!((pace.strikes, pace.held_until(at(11))), (1, Some(at(16))));
        pace.overloaded(at(10), at(12), Duration::from_secs(60));
        assert_eq!(pace.held_until(at(12)), Some(at(72)));
        assert_eq!(pace.answered(at(10)), None, "an answer from before the hold does not end it");
        assert_eq!(pace.answered(at(11)), None, "nor does one to a request of the same moment");
        assert!(pace.is_probing());
    }

    #[test]
    fn recovery_is_one_probe_and_then_a_slow_start() {
        let mut pace = Pace::new(8);
        pace.overloaded(at(0), at(0), Duration::ZERO);
        assert_eq!(pace.window(), 1);
        assert_eq!(pace.answered(at(5)), Some(LaneChange::Clear));
        let mut windows = vec![pace.window()];
        for _ in 0..8 {
            assert_eq!(pace.answered(at(6)), None);
            windows.push(pace.window());
        }
        assert_eq!(windows, [2, 3, 4, 5, 6, 7, 8, 8, 8]);
    }

    #[test]
    fn what_the_store_knows_is_taken_over() {
        let mut pace = Pace::new(8);
        let mut lane = LaneRecord::new(crate::values::id::Incarnation::from_i64(1));
        lane.change(LaneChange::Hold { until: at(9), strikes: 3 });
        pace.adopt(&lane);
        assert_eq!((pace.window(), pace.held_until(at(8)), pace.held_until(at(9))), (1, Some(at(9)), None));
        assert_eq!(held_for(pace.overloaded(at(9), at(9), Duration::ZERO), at(9)), 40);
    }
}
