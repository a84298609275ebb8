//! Times and durations as people read them.

use std::time::Duration;

use jiff::tz::TimeZone;
use outpost_core::Timestamp;

/// The time in a zone; nothing for the last day of the year 9999, which the calendar does not reach.
fn zoned(at: Timestamp, zone: &TimeZone) -> Option<jiff::ZonedDateTime> {
    jiff::Timestamp::from_millisecond(at.as_millis()).ok().map(|at| at.to_zoned_datetime(zone.clone()))
}

fn write(at: Timestamp, zone: &TimeZone, format: &str) -> String {
    zoned(at, zone).map_or_else(|| at.to_string(), |at| at.strftime(format).to_string())
}

/// `25 Nov 2026 02:25:00 UTC`.
pub(crate) fn full(at: Timestamp, zone: &TimeZone) -> String {
    write(at, zone, "%-d %b %Y %H:%M:%S %Z")
}

/// `25 Nov 02:25:00`.
pub(crate) fn short(at: Timestamp, zone: &TimeZone) -> String {
    write(at, zone, "%-d %b %H:%M:%S")
}

/// `02:25`, for the axis of a chart.
pub(crate) fn clock(at: Timestamp, zone: &TimeZone) -> String {
    write(at, zone, "%H:%M")
}

/// `25 Nov`.
pub(crate) fn day(at: Timestamp, zone: &TimeZone) -> String {
    write(at, zone, "%-d %b")
}

/// `2026-11-25T02:25`, as the browser's field for times has it.
pub(crate) fn field(at: Timestamp, zone: &TimeZone) -> String {
    write(at, zone, "%Y-%m-%dT%H:%M")
}

/// Reads what the browser's field for times gives, in the zone; seconds may be there.
pub(crate) fn parse_field(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() > 32 {
        return None;
    }
    let at: jiff::civil::DateTime = text.parse().ok()?;
    let at = at.to_zoned_datetime(zone.clone()).ok()?;
    Some(Timestamp::from_millis(at.timestamp().as_millisecond()))
}

/// `231 ms`, `1.5 s`, `12 min`, `3 h`, `2 days`: at most two digits of precision, never less than it says.
pub(crate) fn span(time: Duration) -> String {
    let millis = time.as_millis();
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..10_000 if millis % 1_000 >= 50 => format!("{:.1} s", time.as_secs_f64()),
        1_000..120_000 => format!("{} s", millis / 1_000),
        120_000..7_200_000 => format!("{} min", millis / 60_000),
        7_200_000..172_800_000 => format!("{} h", millis / 3_600_000),
        _ => format!("{} days", millis / 86_400_000),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_the_zone_and_read_back() {
        let at = Timestamp::parse("t", "2026-11-25T02:25:07Z").unwrap();
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(full(at, &TimeZone::UTC), "25 Nov 2026 02:25:07 UTC");
        assert_eq!(full(at, &berlin), "25 Nov 2026 03:25:07 CET");
        assert_eq!(field(at, &berlin), "2026-11-25T03:25");
        assert_eq!(parse_field("2026-11-25T03:25:07", &berlin), Some(at));
        assert_eq!(parse_field("yesterday", &berlin), None);
        let _ = (full(Timestamp::MAX, &berlin), full(Timestamp::MIN, &berlin));
    }

    #[test]
    fn durations_are_short() {
        for (millis, shown) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_500, "1.5 s"),
            (11_400, "11 s"),
            (119_000, "119 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), shown);
        }
    }
}
