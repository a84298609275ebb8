//! The words of a query, its bounds, and the rows of a report.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::domain::delivery::Trigger;
use crate::domain::rollup::{Counted, Level, RollupKey, Tally};

fn at(text: &str) -> Timestamp {
    Timestamp::parse("at", text).unwrap()
}

fn query(from: &str, until: &str, granularity: &str) -> MetricsQuery {
    MetricsQuery {
        granularity: Some(Granularity::parse(granularity).unwrap()),
        ..MetricsQuery::new(at(from), at(until))
    }
}

fn key(start: &str, topic: &str) -> RollupKey {
    RollupKey {
        level: Level::Hour,
        start: at(start),
        tenant: Incarnation::from_i64(1),
        destination: Some(Incarnation::from_i64(2)),
        topic: Arc::from(topic),
        counted: Counted::Attempts { success: true, code: Arc::from("200"), trigger: Trigger::Automatic },
    }
}

fn tally(count: u64) -> Tally {
    Tally { count, ..Tally::default() }
}

#[test]
fn every_word_is_read_back_and_others_are_refused_with_the_list_of_what_is_allowed() {
    for what in [MetricsOf::Events, MetricsOf::Attempts] {
        for measure in Measure::of(what) {
            assert_eq!(Measure::parse(what, measure.as_str()), Ok(*measure));
        }
        for dimension in Dimension::of(what) {
            assert_eq!(Dimension::parse(what, dimension.as_str()), Ok(*dimension));
        }
    }
    let measure = Measure::parse(MetricsOf::Events, "error_rate").unwrap_err();
    assert_eq!(measure.to_string(), "measures must be of: count, rate");
    let dimension = Dimension::parse(MetricsOf::Events, "code").unwrap_err();
    assert_eq!(dimension.to_string(), "dimensions must be of: tenant_id, topic, destination_id");
    assert!(Measure::parse(MetricsOf::Attempts, "Count").unwrap_err().message.contains("avg_attempt_number"));
}

#[test]
fn filters_are_read_from_text_and_name_the_field_that_is_wrong() {
    let mut filter = MetricsFilter::default();
    for (name, value) in [
        ("tenant_id", "acme"),
        ("destination_id", "d1"),
        ("topic", "order.created"),
        ("destination_type", "webhook"),
        ("status", "failed"),
        ("status", "success"),
        ("code", "500"),
        ("manual", "true"),
        ("attempt_number", "3"),
    ] {
        filter.add(MetricsOf::Attempts, name, value).unwrap();
    }
    assert_eq!((filter.success.as_slice(), filter.manual.as_slice()), ([false, true].as_slice(), [true].as_slice()));
    assert_eq!((filter.attempt_numbers.as_slice(), filter.codes.len()), ([3].as_slice(), 1));
    let before = filter.clone();
    for (what, name, value, field) in [
        (MetricsOf::Attempts, "colour", "red", "filters"),
        (MetricsOf::Events, "code", "500", "filters"),
        (MetricsOf::Attempts, "status", "ok", "filters.status"),
        (MetricsOf::Attempts, "manual", "1", "filters.manual"),
        (MetricsOf::Attempts, "attempt_number", "three", "filters.attempt_number"),
        (MetricsOf::Attempts, "attempt_number", "-1", "filters.attempt_number"),
        (MetricsOf::Events, "tenant_id", "a b", "filters.tenant_id"),
        (MetricsOf::Events, "destination_id", "", "filters.destination_id"),
    ] {
        assert_eq!(filter.add(what, name, value).unwrap_err().field, field, "{name}={value}");
    }
    assert_eq!(filter, before, "what is refused changes nothing");
}

#[test]
fn all_that_is_wrong_with_a_query_is_told_at_once() {
    let mut wrong = query("2026-01-01", "2026-01-01", "1d");
    wrong.measures = vec![Measure::ErrorRate];
    wrong.dimensions = vec![Dimension::Code];
    wrong.filter.codes = vec!["500".to_owned(); MAX_METRIC_FILTER_VALUES + 1];
    let fields = |what| wrong.problems(what).into_iter().map(|problem| problem.field).collect::<Vec<_>>();
    assert_eq!(fields(MetricsOf::Events), ["from", "measures", "dimensions", "filters.code", "filters.code"]);
    assert_eq!(fields(MetricsOf::Attempts), ["from", "filters.code"]);
    wrong.measures.clear();
    assert_eq!(wrong.problems(MetricsOf::Attempts)[1].field, "measures");
    let lives = MetricsFilter {
        destination_lives: vec![Incarnation::from_i64(1); MAX_METRIC_FILTER_VALUES + 1],
        ..MetricsFilter::default()
    };
    let many = MetricsQuery { filter: lives, ..query("2026-01-01", "2026-01-02", "1d") };
    assert_eq!(many.problems(MetricsOf::Events)[0].field, "filters.destination_id");
}

#[test]
fn gaps_are_filled_for_what_was_seen_and_only_for_that() {
    let mut by_topic = query("2026-01-01T00:00:00Z", "2026-01-01T03:00:00Z", "1h");
    by_topic.dimensions = vec![Dimension::Topic, Dimension::Status, Dimension::Topic];
    by_topic.measures = vec![Measure::Count, Measure::ErrorRate, Measure::AvgAttemptNumber, Measure::P95Latency];
    let mut sums = Aggregate::new(by_topic.clone()).unwrap();
    sums.add(&key("2026-01-01T01:00:00Z", "b"), &tally(2), None, &Lives::default()).unwrap();
    sums.add(&key("2026-01-01T00:00:00Z", "a"), &tally(1), None, &Lives::default()).unwrap();
    sums.add(&key("2026-01-01T00:00:00Z", "a"), &tally(4), None, &Lives::default()).unwrap();
    let report = sums.report(None, 3, 0);
    let shown: Vec<_> = report
        .rows
        .iter()
        .map(|row| {
            assert_eq!(row.dimensions.len(), 2, "a dimension named twice is told once");
            assert!(row.measures.iter().skip(1).all(|(_, value)| *value == MetricValue::Real(0.0)), "{row:?}");
            let bucket = row.bucket.unwrap().to_string();
            format!("{} {} {:?}", &bucket[11..13], row.dimensions[0].1, row.measures[0].1)
        })
        .collect();
    assert_eq!(
        shown,
        ["00 a Count(5)", "00 b Count(0)", "01 a Count(0)", "01 b Count(2)", "02 a Count(0)", "02 b Count(0)"]
    );
    assert_eq!(Aggregate::new(by_topic.clone()).unwrap().report(None, 0, 0).rows.len(), 0, "nothing was seen");
    by_topic.dimensions.clear();
    assert_eq!(Aggregate::new(by_topic).unwrap().report(None, 0, 0).rows.len(), 3, "each bucket has a row");
}

#[test]
fn rates_are_of_the_part_of_a_bucket_that_is_asked_for() {
    let mut partial = query("2026-01-01T00:59:50Z", "2026-01-01T02:00:20Z", "1h");
    partial.measures = vec![Measure::Rate];
    let mut sums = Aggregate::new(partial).unwrap();
    for (start, count) in [("2026-01-01T00:59:50Z", 20), ("2026-01-01T01:00:00Z", 7200), ("2026-01-01T02:00:00Z", 10)] {
        sums.add(&key(start, "a"), &tally(count), None, &Lives::default()).unwrap();
    }
    let rates: Vec<_> = sums.report(None, 0, 0).rows.iter().map(|row| row.measures[0].1).collect();
    assert_eq!(rates, [MetricValue::Real(2.0), MetricValue::Real(2.0), MetricValue::Real(0.5)]);
}

#[test]
fn a_report_has_at_most_as_many_rows_as_it_says() {
    let buckets = |minutes: usize| {
        let from = at("2026-01-01");
        let until = Timestamp::from_millis(from.as_millis() + minutes as i64 * 60_000);
        MetricsQuery { granularity: Some(Granularity::parse("1m").unwrap()), ..MetricsQuery::new(from, until) }
    };
    assert_eq!(Aggregate::new(buckets(MAX_METRIC_ROWS)).unwrap().report(None, 0, 0).rows.len(), MAX_METRIC_ROWS);
    let refused = Aggregate::new(buckets(MAX_METRIC_ROWS + 1)).unwrap_err().to_string();
    assert!(refused.starts_with("query too broad: more than 100000 buckets of 1m"), "{refused}");

    let mut half = buckets(MAX_METRIC_ROWS / 2);
    half.dimensions = vec![Dimension::Topic];
    let mut sums = Aggregate::new(half).unwrap();
    for topic in ["a", "b", "a"] {
        sums.add(&key("2026-01-01", topic), &tally(1), None, &Lives::default()).unwrap();
    }
    let refused = sums.add(&key("2026-01-01", "c"), &tally(1), None, &Lives::default()).unwrap_err().to_string();
    assert!(refused.starts_with("query too broad: more than 100000 rows"), "{refused}");
    let all = MetricsQuery {
        granularity: Some(Granularity::parse("1s").unwrap()),
        ..MetricsQuery::new(Timestamp::MIN, Timestamp::MAX)
    };
    assert!(Aggregate::new(all).is_err(), "and finds out without counting them all");
}
