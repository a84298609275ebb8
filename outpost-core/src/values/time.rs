//! Time as the whole system sees it: whole milliseconds UTC, cut off at the edge, so that what is
//! stored, shown, filtered and put into cursors is one value.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Problem;

/// An instant in whole milliseconds since 1970-01-01T00:00:00Z.
///
/// It is written as RFC 3339 with milliseconds (`2026-01-31T08:00:00.000Z`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

/// Years 0 to 9999: what RFC 3339 can write.
const MIN: i64 = -62_167_219_200_000;
const MAX: i64 = 253_402_300_799_999;

impl Timestamp {
    /// The earliest instant that can be written, the start of year 0.
    pub const MIN: Self = Self(MIN);
    /// The latest instant that can be written, the end of year 9999.
    pub const MAX: Self = Self(MAX);

    /// The instant `millis` milliseconds after the epoch, clamped to years 0 to 9999.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        if millis < MIN {
            Self(MIN)
        } else if millis > MAX {
            Self(MAX)
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This instant and `duration` more; stops at [`Timestamp::MAX`].
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This instant less `duration`; stops at [`Timestamp::MIN`].
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this instant is; zero when it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339 (`T` or a space, any offset, any fraction, which is cut to milliseconds) or a
    /// bare date, which means its midnight UTC.
    ///
    /// # Errors
    /// A [`Problem`] naming `field` for anything else, a time without an offset included.
    pub fn parse(field: &str, text: &str) -> Result<Self, Problem> {
        let refuse = || Problem::new(field, "must be an RFC 3339 time such as 2026-01-31T08:00:00Z, or a date");
        let text = text.trim();
        if text.len() > 64 {
            return Err(refuse());
        }
        let bare_date = text.len() == 10;
        let pieces = jiff::fmt::temporal::Pieces::parse(text).map_err(|_| refuse())?;
        let offset = match pieces.offset() {
            None if bare_date => jiff::tz::Offset::UTC,
            None => return Err(refuse()),
            // Written as Z: the offset is unknown or zero, which is UTC either way.
            Some(jiff::fmt::temporal::PiecesOffset::Zulu) => jiff::tz::Offset::UTC,
            Some(jiff::fmt::temporal::PiecesOffset::Numeric(numeric)) => numeric.offset(),
            Some(_) => return Err(refuse()),
        };
        let time = match pieces.time() {
            Some(time) => time,
            None if bare_date => jiff::civil::Time::midnight(),
            None => return Err(refuse()),
        };
        let local = pieces.date().to_datetime(time).duration_since(EPOCH);
        let at = local.as_nanos() - i128::from(offset.seconds()) * 1_000_000_000;
        // Fractions round towards the past, also before 1970.
        let millis = i64::try_from(at.div_euclid(1_000_000)).map_err(|_| refuse())?;
        if (MIN..=MAX).contains(&millis) { Ok(Self(millis)) } else { Err(refuse()) }
    }
}

/// 1970-01-01T00:00:00. Calendar time is used rather than the library's own timestamps, which end a day
/// before year 9999 does.
const EPOCH: jiff::civil::DateTime = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match EPOCH.checked_add(jiff::SignedDuration::from_millis(self.0)) {
            Ok(at) => write!(f, "{at:.3}Z"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse("time", &text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_round_trip_and_are_cut_to_milliseconds() {
        let at = Timestamp::parse("time", "2026-01-31T08:00:00.1239+02:00").unwrap();
        assert_eq!(at.to_string(), "2026-01-31T06:00:00.123Z");
        assert_eq!(Timestamp::parse("time", &at.to_string()).unwrap(), at);
        assert_eq!(Timestamp::parse("time", "2026-01-31").unwrap().to_string(), "2026-01-31T00:00:00.000Z");
        assert_eq!(Timestamp::parse("t", "1969-12-31T23:59:59.9999Z").unwrap().as_millis(), -1);
    }

    #[test]
    fn odd_times_are_parsed_or_refused_and_never_panic() {
        for odd in [
            "2026-12-31T23:59:60Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999Z",
            "2026-01-01T00:00:00",
            "9999-12-31T23:59:59-23:59",
            "0000-01-01T00:00:00+23:59",
            "",
            "now",
            "2026-02-30",
            "2026-1-1",
            "\u{661}\u{662}",
            "-000001-01-01T00:00:00Z",
            "2026-01-01T25:00:00Z",
            "99999999999999999999",
        ] {
            if let Ok(at) = Timestamp::parse("time", odd) {
                assert!(at >= Timestamp::MIN && at <= Timestamp::MAX);
                let _ = at.to_string();
            }
        }
        assert_eq!(Timestamp::parse("x", "2026-01-01T00:00:00").unwrap_err().field, "x");
        assert!(Timestamp::parse("x", "0000-01-01T00:00:00Z").is_ok());
        assert!(Timestamp::parse("x", "9999-12-31T23:59:59.999Z").is_ok());
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX.after(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.before(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::MIN.since(Timestamp::MAX), Duration::ZERO);
    }
}
