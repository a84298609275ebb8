//! Buckets of time: which one an instant falls into, and where the next one starts.

use std::fmt;

use crate::domain::rollup::Level;
use crate::values::error::Problem;
use crate::values::time::Timestamp;

/// A unit of [`Granularity`]. All are in UTC, where every day has 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// `s`, at most 60 of them.
    Second,
    /// `m`, at most 60.
    Minute,
    /// `h`, at most 24.
    Hour,
    /// `d`, at most 31.
    Day,
    /// `w`, at most 4; weeks start on Sunday.
    Week,
    /// `M`, at most 12; months of the calendar.
    Month,
}

/// How much time one bucket covers: a number of one unit, written such as `15m` or `1M`.
///
/// Buckets are aligned, not counted from the start of the query: seconds, minutes and hours from the start
/// of year 1, days and months from 1970-01-01, weeks from Sunday 1970-01-04.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Granularity {
    count: u32,
    unit: TimeUnit,
}

const SECOND: i64 = 1000;
const DAY: i64 = 86_400 * SECOND;
/// The start of year 1, in milliseconds.
const YEAR_ONE: i64 = -719_162 * DAY;
/// The first Sunday after the epoch.
const SUNDAY: i64 = 3 * DAY;
/// The first instant that cannot be written any more.
const END: i64 = Timestamp::MAX.as_millis() + 1;

impl TimeUnit {
    const ALL: [Self; 6] = [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month];

    const fn letter(self) -> char {
        match self {
            Self::Second => 's',
            Self::Minute => 'm',
            Self::Hour => 'h',
            Self::Day => 'd',
            Self::Week => 'w',
            Self::Month => 'M',
        }
    }

    const fn most(self) -> u32 {
        match self {
            Self::Second | Self::Minute => 60,
            Self::Hour => 24,
            Self::Day => 31,
            Self::Week => 4,
            Self::Month => 12,
        }
    }
}

impl Granularity {
    /// Buckets of `count` units.
    ///
    /// # Errors
    /// A [`Problem`] with field `granularity` when `count` is 0 or above the unit's bound.
    pub fn new(count: u32, unit: TimeUnit) -> Result<Self, Problem> {
        if (1..=unit.most()).contains(&count) { Ok(Self { count, unit }) } else { Err(refusal()) }
    }

    /// Reads the text form, such as `30s`, `15m`, `1h`, `7d`, `2w` or `1M`.
    ///
    /// # Errors
    /// A [`Problem`] with field `granularity` that says what is allowed.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let unit = TimeUnit::ALL.into_iter().find(|unit| text.ends_with(unit.letter())).ok_or_else(refusal)?;
        let digits = text.strip_suffix(unit.letter()).unwrap_or_default();
        if digits.is_empty() || digits.len() > 2 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refusal());
        }
        Self::new(digits.parse().map_err(|_| refusal())?, unit)
    }

    /// How many units.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// Of which unit.
    #[must_use]
    pub const fn unit(self) -> TimeUnit {
        self.unit
    }

    /// Where buckets are counted from and how long each is, in milliseconds; `None`: months, which differ.
    fn grid(self) -> Option<(i64, i64)> {
        let count = i64::from(self.count);
        match self.unit {
            TimeUnit::Second => Some((YEAR_ONE, count * SECOND)),
            TimeUnit::Minute => Some((YEAR_ONE, count * 60 * SECOND)),
            TimeUnit::Hour => Some((YEAR_ONE, count * 3600 * SECOND)),
            TimeUnit::Day => Some((0, count * DAY)),
            TimeUnit::Week => Some((SUNDAY, count * 7 * DAY)),
            TimeUnit::Month => None,
        }
    }

    /// Whether each rollup of `level` lies in one bucket as a whole.
    pub(super) fn holds(self, level: Level) -> bool {
        // The grids start at midnights, so the length alone decides.
        self.grid().is_none_or(|(_, length)| length % level.millis() == 0)
    }

    /// The start of the bucket that `at` falls into, which may lie before [`Timestamp::MIN`]. All in
    /// milliseconds.
    pub(super) fn start_of(self, at: i64) -> i64 {
        match self.grid() {
            Some((anchor, length)) => (at - anchor).div_euclid(length) * length + anchor,
            None => month_start(self.month_of(at)),
        }
    }

    /// The start of the bucket after the one that starts at `start`.
    pub(super) fn after(self, start: i64) -> i64 {
        match self.grid() {
            Some((_, length)) => start + length,
            None => month_start(self.month_of(start) + i64::from(self.count)),
        }
    }

    /// The first month of the bucket, in months since January 1970.
    fn month_of(self, at: i64) -> i64 {
        let days = i32::try_from(at.div_euclid(DAY)).unwrap_or_default();
        let date = jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(days));
        let months = (i64::from(date.year()) - 1970) * 12 + i64::from(date.month()) - 1;
        let count = i64::from(self.count);
        months.div_euclid(count) * count
    }
}

/// When a month starts that is `months` after January 1970.
fn month_start(months: i64) -> i64 {
    let year = i16::try_from(1970 + months.div_euclid(12)).ok();
    let month = i8::try_from(months.rem_euclid(12) + 1).ok();
    let date = year.zip(month).and_then(|(year, month)| jiff::civil::Date::new(year, month, 1).ok());
    // Only the month after year 9999 has no date.
    date.map_or(END, |date| date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() * 3600 * SECOND)
}

fn refusal() -> Problem {
    let units = TimeUnit::ALL.map(|unit| format!("{} (1 to {})", unit.letter(), unit.most())).join(", ");
    Problem::new("granularity", format!("must be a number and a unit, such as 15m or 1d; units are {units}"))
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.letter())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bucket(granularity: &str, at: &str) -> (String, String) {
        let granularity = Granularity::parse(granularity).unwrap();
        let start = granularity.start_of(Timestamp::parse("at", at).unwrap().as_millis());
        let show = |millis| Timestamp::from_millis(millis).to_string().replace(":00.000Z", "").replace("T00:00", "");
        (show(start), show(granularity.after(start)))
    }

    #[test]
    fn buckets_start_where_the_calendar_says() {
        for (granularity, at, start, next) in [
            ("30s", "2026-03-29T01:59:59.999Z", "2026-03-29T01:59:30.000Z", "2026-03-29T02:00"),
            ("15m", "2026-03-29T01:59:59.999Z", "2026-03-29T01:45", "2026-03-29T02:00"),
            ("60m", "2026-03-29T01:59:59.999Z", "2026-03-29T01:00", "2026-03-29T02:00"),
            ("6h", "2026-10-25T03:00:00Z", "2026-10-25", "2026-10-25T06:00"),
            ("24h", "2026-10-25T23:59:59.999Z", "2026-10-25", "2026-10-26"),
            // Not a divisor of a day, so it shows that the count starts with year 1.
            ("7m", "2026-01-31T08:03:00Z", "2026-01-31T07:59", "2026-01-31T08:06"),
            ("1d", "2024-02-29T12:00:00Z", "2024-02-29", "2024-03-01"),
            ("7d", "1970-01-07T23:59:59Z", "1970-01-01", "1970-01-08"),
            ("7d", "1969-12-31T23:59:59Z", "1969-12-25", "1970-01-01"),
            ("1w", "1970-01-03T23:59:59Z", "1969-12-28", "1970-01-04"),
            ("1w", "2026-01-31T00:00:00Z", "2026-01-25", "2026-02-01"),
            ("2w", "1970-01-17T00:00:00Z", "1970-01-04", "1970-01-18"),
            ("1M", "2024-02-29T23:59:59.999Z", "2024-02-01", "2024-03-01"),
            ("1M", "2100-02-28T23:59:59.999Z", "2100-02-01", "2100-03-01"),
            ("1M", "1969-12-31T23:59:59.999Z", "1969-12-01", "1970-01-01"),
            ("3M", "2026-12-31T00:00:00Z", "2026-10-01", "2027-01-01"),
            ("5M", "1969-12-31T00:00:00Z", "1969-08-01", "1970-01-01"),
            ("12M", "2024-12-31T23:00:00Z", "2024-01-01", "2025-01-01"),
        ] {
            let found = bucket(granularity, at);
            assert_eq!((found.0.as_str(), found.1.as_str()), (start, next), "{granularity} at {at}");
        }
    }

    #[test]
    fn the_ends_of_time_have_buckets_too() {
        for text in ["60s", "7m", "7h", "31d", "4w", "1M", "7M", "12M"] {
            let granularity = Granularity::parse(text).unwrap();
            for at in [Timestamp::MIN, Timestamp::MAX] {
                let start = granularity.start_of(at.as_millis());
                let next = granularity.after(start);
                assert!(start <= at.as_millis() && at.as_millis() < next, "{text} at {at}: {start} to {next}");
            }
        }
    }

    #[test]
    fn granularities_round_trip_within_their_bounds_and_nothing_else_does() {
        for good in ["1s", "60s", "1m", "60m", "24h", "31d", "4w", "12M"] {
            assert_eq!(Granularity::parse(good).unwrap().to_string(), good);
        }
        for bad in
            ["", "s", "0s", "61s", "61m", "25h", "32d", "5w", "13M", "1", "1y", "-1d", "+1d", "1 d", "1H", "1.5h", "1é"]
        {
            let problem = Granularity::parse(bad).unwrap_err();
            assert_eq!(problem.field, "granularity", "{bad:?}");
            assert!(problem.message.contains("M (1 to 12)"), "{}", problem.message);
        }
    }
}
