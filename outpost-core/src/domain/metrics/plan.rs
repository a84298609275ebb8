//! What to read for a query: few long rollups in the middle, short ones at the edges, the log where even
//! the shortest do not fit.

use super::{MetricsQuery, too_broad};
use crate::domain::rollup::Level;
use crate::values::error::Problem;
use crate::values::time::Timestamp;

/// From when on everything is still stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The earliest start of the rollups that each level still has, in the order of [`Level::ALL`].
    pub(crate) rollups: [Timestamp; 3],
    /// From when on the log of events and attempts is complete.
    pub(crate) log: Timestamp,
}

impl Kept {
    /// Nothing was ever deleted.
    #[cfg(test)]
    pub(crate) const EVERYTHING: Self = Self { rollups: [Timestamp::MIN; 3], log: Timestamp::MIN };

    /// The first start of `level` that is there.
    fn first(&self, level: Level) -> i64 {
        let kept = self.rollups.get(usize::from(level.code())).copied().unwrap_or(Timestamp::MAX);
        ceil(kept.as_millis(), level)
    }
}

/// Where the numbers of a time are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From rollups.
    Rollups(Level),
    /// From the log, because of what the text says.
    Log(&'static str),
}

/// One piece of the time that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) source: Source,
    pub(crate) from: Timestamp,
    /// Not included.
    pub(crate) until: Timestamp,
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In order and without gaps.
    pub(crate) segments: Vec<Segment>,
    /// The query begins earlier, but what was before this is deleted.
    pub(crate) since: Option<Timestamp>,
}

/// Plans a query. What is older than everything that is kept counts as nothing; where only some levels are
/// left, the edges and the granularity must fit them.
pub(crate) fn plan(query: &MetricsQuery, kept: &Kept) -> Result<Plan, Problem> {
    let (from, until) = (query.from.as_millis(), query.until.as_millis());
    let log = kept.log.as_millis();
    if query.needs_numbers() {
        let why = "attempt_number is read from the log";
        if from < log {
            let message = format!("must not be before {}: {why}, which begins then", kept.log);
            return Err(Problem::new("from", message));
        }
        let segment = Segment { source: Source::Log(why), from: query.from, until: query.until };
        return Ok(Plan { segments: vec![segment], since: None });
    }
    let oldest = Level::ALL.iter().map(|level| kept.first(*level)).min().unwrap_or(log).min(log);
    let start = from.max(oldest.min(until));
    let fits = |level: &Level| query.granularity.is_none_or(|granularity| granularity.holds(*level));
    let levels = Level::ALL.into_iter().rev().filter(fits).collect();
    let mut planner = Planner { kept, levels, segments: Vec::new() };
    planner.cover(start, until, 0)?;
    Ok(Plan { segments: planner.segments, since: (start > from).then(|| Timestamp::from_millis(start)) })
}

struct Planner<'a> {
    kept: &'a Kept,
    /// The levels that fit the granularity, the coarsest first.
    levels: Vec<Level>,
    segments: Vec<Segment>,
}

impl Planner<'_> {
    /// Covers a time with the levels from `next` on: as much as it can with the first of them, the rest on
    /// both sides with the others.
    fn cover(&mut self, from: i64, until: i64, next: usize) -> Result<(), Problem> {
        if from >= until {
            return Ok(());
        }
        let Some(level) = self.levels.get(next).copied() else { return self.cover_by_log(from, until) };
        let first = ceil(from, level).max(self.kept.first(level));
        let last = floor(until, level);
        if first >= last {
            return self.cover(from, until, next + 1);
        }
        self.cover(from, first, next + 1)?;
        self.push(Source::Rollups(level), first, last);
        self.cover(last, until, next + 1)
    }

    fn cover_by_log(&mut self, from: i64, until: i64) -> Result<(), Problem> {
        if from < self.kept.log.as_millis() {
            return Err(self.misfit(from, until));
        }
        let why = if self.levels.is_empty() {
            "a granularity finer than minutes is read from the log"
        } else if until - from < 2 * Level::Minute.millis() {
            "what is before and after the whole minutes is read from the log"
        } else {
            "the rollups that fit are deleted, so the log is read"
        };
        self.push(Source::Log(why), from, until);
        Ok(())
    }

    fn push(&mut self, source: Source, from: i64, until: i64) {
        let at = Timestamp::from_millis;
        self.segments.push(Segment { source, from: at(from), until: at(until) });
    }

    /// Why a piece cannot be answered: only coarser rollups are left of its time, if any.
    fn misfit(&self, from: i64, until: i64) -> Problem {
        let left = Level::ALL.into_iter().find(|level| self.kept.first(*level) <= floor(from, *level));
        let rule = match left {
            Some(Level::Minute) => "whole minutes",
            Some(Level::Hour) => "whole hours",
            Some(Level::Day) => "whole days",
            None => return too_broad(format!("the numbers before {} are deleted in part", at_text(until))),
        };
        let field = match left {
            Some(level) if !self.levels.contains(&level) => "granularity",
            Some(level) if from == floor(from, level) => "until",
            _ => "from",
        };
        let message = format!("must be made of {rule}, in UTC: nothing finer is kept of {}", at_text(from));
        Problem::new(field, message)
    }
}

fn at_text(millis: i64) -> String {
    Timestamp::from_millis(millis).to_string()
}

fn floor(millis: i64, level: Level) -> i64 {
    millis.div_euclid(level.millis()) * level.millis()
}

fn ceil(millis: i64, level: Level) -> i64 {
    -floor(-millis, level)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Granularity;
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse("at", text).unwrap()
    }

    fn query(from: &str, until: &str, granularity: Option<&str>) -> MetricsQuery {
        let granularity = granularity.map(|text| Granularity::parse(text).unwrap());
        MetricsQuery { granularity, ..MetricsQuery::new(at(from), at(until)) }
    }

    /// Each piece as its source's first letter, and from when on.
    fn shape(plan: &Plan) -> String {
        let pieces = plan.segments.iter().map(|segment| {
            let source = match segment.source {
                Source::Rollups(Level::Day) => 'D',
                Source::Rollups(Level::Hour) => 'H',
                Source::Rollups(Level::Minute) => 'M',
                Source::Log(_) => 'L',
            };
            format!("{source} {}", &segment.from.to_string()[5..19])
        });
        pieces.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_middle_is_read_by_days_and_the_edges_by_ever_less() {
        let found = plan(&query("2026-01-30T22:58:30Z", "2026-02-03T01:02:03.004Z", None), &Kept::EVERYTHING).unwrap();
        assert_eq!(
            shape(&found),
            "L 01-30T22:58:30, M 01-30T22:59:00, H 01-30T23:00:00, D 01-31T00:00:00, H 02-03T00:00:00, \
             M 02-03T01:00:00, L 02-03T01:02:00"
        );
        assert_eq!(found.since, None);
        let short = plan(&query("2026-01-30T22:58:30Z", "2026-01-30T22:58:40Z", None), &Kept::EVERYTHING).unwrap();
        assert_eq!(shape(&short), "L 01-30T22:58:30");
    }

    #[test]
    fn a_rollup_is_read_only_when_its_bucket_holds_it_whole() {
        for (granularity, shape_of_it) in [
            ("59s", "L 01-30T00:00:00"),
            ("60s", "M 01-30T00:00:00"),
            ("7m", "M 01-30T00:00:00"),
            ("60m", "H 01-30T00:00:00"),
            ("5h", "H 01-30T00:00:00"),
            ("24h", "D 01-30T00:00:00"),
            ("1w", "D 01-30T00:00:00"),
            ("1M", "D 01-30T00:00:00"),
        ] {
            let found = plan(&query("2026-01-30", "2026-02-01", Some(granularity)), &Kept::EVERYTHING).unwrap();
            assert_eq!(shape(&found), shape_of_it, "{granularity}");
        }
    }

    fn kept() -> Kept {
        Kept { rollups: [at("2026-03-10"), at("2026-02-01"), at("2025-01-01")], log: at("2026-03-01") }
    }

    #[test]
    fn old_times_are_read_from_what_is_left_of_them() {
        let found = plan(&query("2025-12-01", "2026-03-20T10:30:00Z", None), &kept()).unwrap();
        assert_eq!(shape(&found), "D 12-01T00:00:00, H 03-20T00:00:00, M 03-20T10:00:00");
        let hours = plan(&query("2026-02-03T05:00:00Z", "2026-02-03T07:00:00Z", Some("1h")), &kept()).unwrap();
        assert_eq!(shape(&hours), "H 02-03T05:00:00");
        let log = plan(&query("2026-03-02T05:00:10Z", "2026-03-02T07:00:00Z", None), &kept()).unwrap();
        assert_eq!(shape(&log), "L 03-02T05:00:10, H 03-02T06:00:00");
    }

    #[test]
    fn what_does_not_fit_what_is_left_is_refused_by_the_field_to_change() {
        for (from, until, granularity, field, rule) in [
            ("2026-01-05T01:00:00Z", "2026-01-09", None, "from", "whole days"),
            ("2026-01-05", "2026-01-09T01:00:00Z", None, "until", "whole days"),
            ("2026-01-05", "2026-01-05T01:00:00Z", None, "until", "whole days"),
            ("2026-01-31T23:30:00Z", "2026-02-09", None, "from", "whole days"),
            ("2026-02-05T01:30:00Z", "2026-02-09", None, "from", "whole hours"),
            ("2026-01-05", "2026-01-09", Some("1h"), "granularity", "whole days"),
            ("2026-02-05", "2026-02-06", Some("30m"), "granularity", "whole hours"),
            ("2026-02-05", "2026-02-06", Some("30s"), "granularity", "whole hours"),
        ] {
            let problem = plan(&query(from, until, granularity), &kept()).unwrap_err();
            assert_eq!(problem.field, field, "{from} {until} {granularity:?}: {problem}");
            assert!(problem.message.contains(rule), "{problem}");
        }
        let mut numbers = query("2026-02-28", "2026-03-02", None);
        numbers.filter.attempt_numbers = vec![1];
        assert_eq!(plan(&numbers, &kept()).unwrap_err().field, "from");
        numbers.from = at("2026-03-01");
        assert_eq!(shape(&plan(&numbers, &kept()).unwrap()), "L 03-01T00:00:00");
    }

    #[test]
    fn what_is_older_than_everything_counts_as_nothing_and_is_told() {
        let found = plan(&query("2020-01-01T01:02:03Z", "2025-02-01", Some("1M")), &kept()).unwrap();
        assert_eq!((shape(&found).as_str(), found.since), ("D 01-01T00:00:00", Some(at("2025-01-01"))));
        let nothing = plan(&query("2020-01-01", "2021-01-01", None), &kept()).unwrap();
        assert_eq!((nothing.segments.len(), nothing.since), (0, Some(at("2021-01-01"))));
    }

    #[test]
    fn the_ends_of_time_can_be_asked_for() {
        let all = MetricsQuery::new(Timestamp::MIN, Timestamp::MAX);
        let found = plan(&all, &Kept::EVERYTHING).unwrap();
        assert_eq!(found.segments.first().unwrap().from, Timestamp::MIN);
        assert_eq!(found.segments.last().unwrap().until, Timestamp::MAX);
    }
}
