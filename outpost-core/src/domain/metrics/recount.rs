//! Reports against a plain recount of the same events and attempts, for any query.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::domain::attempt::{Attempt, Outcome};
use crate::domain::delivery::{DeliveryKey, Trigger};
use crate::domain::event::{Event, Fingerprint};
use crate::domain::rollup::{self, Counted, Histogram, Level, RollupKey, Tally};
use crate::values::id::{AttemptId, EventId};

/// Destinations as tenant, id and kind: two lives of one id, and another tenant's with the same one.
const DESTINATIONS: [(i64, &str, &str); 4] =
    [(1, "a", "webhook"), (1, "b", "queue"), (1, "a", "queue"), (2, "a", "queue")];
const TENANTS: [&str; 2] = ["acme", "other"];
/// The windows of time: a leap day, the epoch, the turn of a year.
const WINDOWS: [&str; 3] = ["2024-02-27T20:00:00Z", "1969-12-30T20:00:00Z", "2025-12-30T20:00:00Z"];
const WINDOW: i64 = 4 * 86_400_000;

fn lives() -> Lives {
    let mut lives = Lives::default();
    for (at, id) in TENANTS.iter().enumerate() {
        lives.put_tenant(Incarnation::from_i64(at as i64 + 1), id);
    }
    for (at, (_, id, kind)) in DESTINATIONS.iter().enumerate() {
        lives.put_destination(Incarnation::from_i64(at as i64 + 1), id, kind);
    }
    lives
}

fn attempt(time: i64, destination: usize, topic: &str, outcome: Outcome) -> Attempt {
    Attempt {
        id: AttemptId::new("att").unwrap(),
        delivery: DeliveryKey {
            destination: Incarnation::from_i64(destination as i64 + 1),
            event: EventId::new("e").unwrap(),
        },
        tenant: Incarnation::from_i64(DESTINATIONS[destination].0),
        topic: Arc::from(topic),
        number: 1,
        trigger: Trigger::Automatic,
        started_at: Timestamp::from_millis(time - 1),
        time: Timestamp::from_millis(time),
        duration: Duration::ZERO,
        outcome,
        request: None,
        response: None,
        error: None,
        next_attempt_at: None,
    }
}

/// An event and the lives of the destinations that it matched.
fn event(time: i64, tenant: i64, topic: &str, matched: &[usize]) -> (Event, Vec<Incarnation>) {
    let event = Event {
        id: EventId::new("e").unwrap(),
        tenant: Incarnation::from_i64(tenant),
        topic: Arc::from(topic),
        time: Timestamp::from_millis(time),
        created_at: Timestamp::from_millis(time),
        metadata: Arc::default(),
        data: bytes::Bytes::new(),
        eligible_for_retry: true,
        destination_id: None,
        matched: Arc::from([]),
        fingerprint: Fingerprint([0; 32]),
    };
    let matched = matched.iter().filter(|at| DESTINATIONS[**at].0 == tenant);
    (event, matched.map(|at| Incarnation::from_i64(*at as i64 + 1)).collect())
}

/// Everything that is counted: time, then the rollup's key, its numbers, and an attempt's number.
struct Log(Vec<(Timestamp, RollupKey, Tally, Option<u32>)>);

impl Log {
    fn of(attempts: &[Attempt], events: &[(Event, Vec<Incarnation>)]) -> Self {
        let attempts = attempts.iter().flat_map(|attempt| {
            let tally = Tally::of_attempt(attempt);
            rollup::of_attempt(attempt).map(move |key| (attempt.time, key, tally.clone(), Some(attempt.number)))
        });
        let events = events.iter().flat_map(|(event, matched)| {
            rollup::of_event(event, matched.iter().copied()).map(|key| (event.time, key, Tally::of_event(), None))
        });
        Self(attempts.chain(events).collect())
    }

    /// The report, read as a store that still has what `kept` says would give it.
    fn report(&self, what: MetricsOf, query: &MetricsQuery, kept: &Kept) -> Result<MetricsReport, Problem> {
        let of_what = |key: &RollupKey| (key.counted == Counted::Events) == (what == MetricsOf::Events);
        let mut rollups: BTreeMap<RollupKey, Tally> = BTreeMap::new();
        for (_, key, tally, _) in &self.0 {
            if key.start >= kept.rollups[usize::from(key.level.code())] && of_what(key) {
                rollups.entry(key.clone()).or_default().add(tally);
            }
        }
        let plan = plan(query, kept)?;
        let mut edge = plan.since.unwrap_or(query.from);
        let mut sums = Aggregate::new(query.clone())?;
        let lives = lives();
        for segment in &plan.segments {
            assert_eq!(edge, segment.from, "the pieces lie end to end");
            edge = segment.until;
            let inside = |at: Timestamp| segment.from <= at && at < segment.until;
            match segment.source {
                Source::Rollups(level) => {
                    for (key, tally) in rollups.iter().filter(|(key, _)| key.level == level && inside(key.start)) {
                        sums.add(key, tally, None, &lives)?;
                    }
                }
                Source::Log(_) => {
                    for (time, key, tally, number) in &self.0 {
                        if key.level == Level::Minute && inside(*time) && *time >= kept.log && of_what(key) {
                            sums.add(&RollupKey { start: *time, ..key.clone() }, tally, *number, &lives)?;
                        }
                    }
                }
            }
        }
        assert_eq!(edge, query.until, "the pieces reach the end");
        Ok(sums.report(plan.since, 0, 0))
    }
}

// The recount: written from what the words mean, without anything of the module but its types.

#[derive(Default)]
struct Recount {
    count: u64,
    failed: u64,
    first: u64,
    retries: u64,
    manual: u64,
    numbers: u64,
    latency: Histogram,
}

/// How long a unit is in milliseconds; a month is not of one length.
fn length_of(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1000,
        TimeUnit::Minute => 60_000,
        TimeUnit::Hour => 3_600_000,
        TimeUnit::Day => 86_400_000,
        TimeUnit::Week => 604_800_000,
        TimeUnit::Month => unreachable!(),
    }
}

/// The start of a bucket; of months, by the text of the instant.
fn bucket_of(granularity: Granularity, at: i64) -> i64 {
    let origin = |text| Timestamp::parse("origin", text).unwrap().as_millis();
    let count = i64::from(granularity.count());
    let origin = match granularity.unit() {
        TimeUnit::Second | TimeUnit::Minute | TimeUnit::Hour => origin("0001-01-01"),
        TimeUnit::Day => origin("1970-01-01"),
        TimeUnit::Week => origin("1970-01-04"),
        TimeUnit::Month => {
            let text = Timestamp::from_millis(at).to_string();
            let months = (text[..4].parse::<i64>().unwrap() - 1970) * 12 + text[5..7].parse::<i64>().unwrap() - 1;
            let first = months - months.rem_euclid(count);
            return origin(&format!("{:04}-{:02}-01", 1970 + first.div_euclid(12), first.rem_euclid(12) + 1));
        }
    };
    at - (at - origin).rem_euclid(count * length_of(granularity.unit()))
}

type Rows = BTreeMap<(Option<i64>, Vec<String>), (Recount, f64)>;

fn recount(
    what: MetricsOf,
    query: &MetricsQuery,
    since: Timestamp,
    attempts: &[Attempt],
    events: &[(Event, Vec<Incarnation>)],
) -> Rows {
    let filter = &query.filter;
    let any = |empty: bool, found: bool| empty || found;
    let inside = |at: Timestamp| at >= query.from.max(since) && at < query.until;
    let bucket = |at: Timestamp| query.granularity.map(|granularity| bucket_of(granularity, at.as_millis()));
    let destination = |life: Incarnation| DESTINATIONS[life.as_i64() as usize - 1];
    let wanted_destination = |life: Incarnation| {
        any(
            filter.destinations.is_empty() && filter.destination_lives.is_empty(),
            filter.destinations.iter().any(|id| id.as_str() == destination(life).1)
                || filter.destination_lives.contains(&life),
        )
    };
    let mut counted: BTreeMap<(Option<i64>, Vec<String>), Recount> = BTreeMap::new();
    if what == MetricsOf::Attempts {
        for attempt in attempts.iter().filter(|attempt| attempt.trigger != Trigger::Test && inside(attempt.time)) {
            let life = attempt.delivery.destination;
            let manual = matches!(attempt.trigger, Trigger::Manual | Trigger::Replay);
            let wanted = wanted_destination(life)
                && any(filter.topics.is_empty(), filter.topics.iter().any(|topic| **topic == *attempt.topic))
                && any(
                    filter.destination_types.is_empty(),
                    filter.destination_types.iter().any(|kind| kind == destination(life).2),
                )
                && any(filter.success.is_empty(), filter.success.contains(&attempt.outcome.success))
                && any(filter.codes.is_empty(), filter.codes.contains(&attempt.outcome.code))
                && any(filter.manual.is_empty(), filter.manual.contains(&manual))
                && any(filter.attempt_numbers.is_empty(), filter.attempt_numbers.contains(&attempt.number));
            if !wanted {
                continue;
            }
            let dimensions = query.dimensions.iter().map(|dimension| match dimension {
                Dimension::TenantId => TENANTS[attempt.tenant.as_i64() as usize - 1].to_owned(),
                Dimension::DestinationId => destination(life).1.to_owned(),
                Dimension::Topic => attempt.topic.to_string(),
                Dimension::DestinationType => destination(life).2.to_owned(),
                Dimension::Status => if attempt.outcome.success { "success" } else { "failed" }.to_owned(),
                Dimension::Code => attempt.outcome.code.clone(),
                Dimension::Manual => manual.to_string(),
                Dimension::AttemptNumber => attempt.number.to_string(),
            });
            let row = counted.entry((bucket(attempt.time), dimensions.collect())).or_default();
            row.count += 1;
            row.failed += u64::from(!attempt.outcome.success);
            row.first += u64::from(attempt.number == 1 && !manual);
            row.retries += u64::from(attempt.number > 1);
            row.manual += u64::from(manual);
            row.numbers += u64::from(attempt.number);
            row.latency.record(attempt.duration);
        }
    } else {
        let expand = query.dimensions.contains(&Dimension::DestinationId)
            || !(filter.destinations.is_empty() && filter.destination_lives.is_empty());
        for (event, matched) in events.iter().filter(|(event, _)| inside(event.time)) {
            let reached: Vec<Option<Incarnation>> = if expand {
                matched.iter().copied().filter(|life| wanted_destination(*life)).map(Some).collect()
            } else {
                vec![None]
            };
            if !any(filter.topics.is_empty(), filter.topics.iter().any(|topic| **topic == *event.topic)) {
                continue;
            }
            for life in reached {
                let dimensions = query.dimensions.iter().map(|dimension| match dimension {
                    Dimension::TenantId => TENANTS[event.tenant.as_i64() as usize - 1].to_owned(),
                    Dimension::DestinationId => destination(life.unwrap()).1.to_owned(),
                    _ => event.topic.to_string(),
                });
                counted.entry((bucket(event.time), dimensions.collect())).or_default().count += 1;
            }
        }
    }
    let mut combinations: Vec<Vec<String>> = counted.keys().map(|(_, combination)| combination.clone()).collect();
    if query.dimensions.is_empty() {
        combinations.push(Vec::new());
    }
    combinations.sort();
    combinations.dedup();
    let mut buckets = vec![(None, (query.until.as_millis() - query.from.as_millis()) as f64 / 1000.0)];
    if let Some(granularity) = query.granularity {
        buckets.clear();
        let mut at = query.from.as_millis();
        while at < query.until.as_millis() {
            let start = bucket_of(granularity, at);
            // A month's end is looked for, day by day.
            let mut next = match granularity.unit() {
                TimeUnit::Month => at - at.rem_euclid(86_400_000) + 86_400_000,
                unit => start + i64::from(granularity.count()) * length_of(unit),
            };
            while bucket_of(granularity, next) == start && next < query.until.as_millis() {
                next += 86_400_000;
            }
            let next = next.min(query.until.as_millis());
            buckets.push((Some(start), (next - at) as f64 / 1000.0));
            at = next;
        }
    }
    let mut rows = Rows::new();
    for (start, seconds) in buckets {
        for combination in &combinations {
            let key = (start, combination.clone());
            let found = counted.remove(&key).unwrap_or_default();
            rows.insert(key, (found, seconds));
        }
    }
    assert!(counted.is_empty(), "every bucket was found");
    rows
}

fn expected(measure: Measure, row: &Recount, seconds: f64) -> MetricValue {
    let per = |part: u64, whole: f64| MetricValue::Real(if whole == 0.0 { 0.0 } else { part as f64 / whole });
    let succeeded = row.count - row.failed;
    let millis =
        |share| MetricValue::Real(row.latency.quantile(share).map_or(0.0, |found| found.as_secs_f64() * 1000.0));
    match measure {
        Measure::Count => MetricValue::Count(row.count),
        Measure::Rate => per(row.count, seconds),
        Measure::SuccessfulCount => MetricValue::Count(succeeded),
        Measure::FailedCount => MetricValue::Count(row.failed),
        Measure::ErrorRate => per(row.failed, row.count as f64),
        Measure::FirstAttemptCount => MetricValue::Count(row.first),
        Measure::RetryCount => MetricValue::Count(row.retries),
        Measure::ManualRetryCount => MetricValue::Count(row.manual),
        Measure::AvgAttemptNumber => per(row.numbers, row.count as f64),
        Measure::SuccessfulRate => per(succeeded, seconds),
        Measure::FailedRate => per(row.failed, seconds),
        Measure::P50Latency => millis(0.5),
        Measure::P95Latency => millis(0.95),
    }
}

fn any_attempt() -> impl Strategy<Value = Attempt> {
    let triggers = select(vec![Trigger::Automatic, Trigger::Manual, Trigger::Replay, Trigger::Test]);
    let times = prop_oneof![0..WINDOW, (0..WINDOW / 60_000).prop_map(|minute| minute * 60_000), 0..600_000_i64];
    (
        times,
        0..DESTINATIONS.len(),
        select(vec!["x", "y"]),
        any::<bool>(),
        select(vec!["200", "500", "timeout"]),
        triggers,
        1_u32..4,
        0_u64..5000,
    )
        .prop_map(|(time, destination, topic, success, code, trigger, number, took)| {
            let outcome = Outcome { success, code: code.to_owned() };
            let duration = Duration::from_millis(took);
            Attempt { trigger, number, duration, ..attempt(time, destination, topic, outcome) }
        })
}

fn any_event() -> impl Strategy<Value = (Event, Vec<Incarnation>)> {
    let times = prop_oneof![0..WINDOW, (0..WINDOW / 60_000).prop_map(|minute| minute * 60_000), 0..600_000_i64];
    // Lives 0 and 2 are of one id, so an event matches at most one of them.
    let matched = select(vec![vec![], vec![0, 1], vec![2, 1], vec![1], vec![3], vec![0]]);
    (times, 1..=2_i64, select(vec!["x", "y"]), matched)
        .prop_map(|(time, tenant, topic, matched)| event(time, tenant, topic, &matched))
}

fn any_granularity() -> impl Strategy<Value = Option<Granularity>> {
    let texts =
        vec!["1s", "7s", "60s", "1m", "7m", "30m", "60m", "1h", "5h", "24h", "1d", "3d", "1w", "4w", "1M", "5M", "12M"];
    prop::option::weighted(0.8, select(texts).prop_map(|text| Granularity::parse(text).unwrap()))
}

/// From when until when: within minutes, hours or days, in steps of milliseconds, minutes, hours or days.
fn any_range() -> impl Strategy<Value = (i64, i64)> {
    let length = prop_oneof![1..600_000_i64, 1..18_000_000_i64, 1..WINDOW];
    (0..WINDOW, length, select(vec![1, 1, 60_000, 3_600_000, 86_400_000]))
        .prop_map(|(from, length, step)| {
            let from = if length <= 600_000 { from % 600_000 } else { from };
            let (from, until) = (from - from.rem_euclid(step), from + length);
            (from, until - until.rem_euclid(step))
        })
        .prop_filter("an empty range", |(from, until)| from < until)
}

fn any_filter() -> impl Strategy<Value = MetricsFilter> {
    let some =
        |texts: &[&'static str]| prop_oneof![3 => Just(Vec::new()), 1 => subsequence(texts.to_vec(), 1..=texts.len())];
    let texts = |found: Vec<&str>| found.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let truths = || prop_oneof![3 => Just(Vec::new()), 1 => subsequence(vec![true, false], 1..=2)];
    let numbers = prop_oneof![5 => Just(Vec::new()), 1 => subsequence(vec![1, 2, 9], 1..=2)];
    let lives = prop_oneof![4 => Just(Vec::new()), 1 => subsequence(vec![1, 3, 4], 1..=2)];
    (
        some(&["a", "b", "none"]),
        lives,
        some(&["x", "z"]),
        some(&["webhook", "queue"]),
        truths(),
        some(&["200", "timeout"]),
        truths(),
        numbers,
    )
        .prop_map(move |(ids, lives, topics, kinds, success, codes, manual, attempt_numbers)| MetricsFilter {
            tenants: Vec::new(),
            destinations: ids.into_iter().map(|id| DestinationId::new(id).unwrap()).collect(),
            destination_lives: lives.into_iter().map(Incarnation::from_i64).collect(),
            topics: texts(topics),
            destination_types: texts(kinds),
            success,
            codes: texts(codes),
            manual,
            attempt_numbers,
        })
}

fn any_query(what: MetricsOf) -> impl Strategy<Value = MetricsQuery> {
    let dimensions = prop_oneof![
        2 => Just(Vec::new()),
        3 => subsequence(Dimension::of(what).to_vec(), 0..=Dimension::of(what).len()).prop_shuffle(),
    ];
    (any_range(), any_granularity(), dimensions, any_filter()).prop_map(
        move |((from, until), granularity, dimensions, mut filter)| {
            if what == MetricsOf::Events {
                filter = MetricsFilter {
                    destinations: filter.destinations,
                    destination_lives: filter.destination_lives,
                    topics: filter.topics,
                    ..MetricsFilter::default()
                };
            }
            // Not more buckets than can be compared quickly.
            let most = granularity.map_or(i64::MAX, |granularity| match granularity.unit() {
                TimeUnit::Second => 300_000,
                TimeUnit::Minute => 18_000_000,
                _ => i64::MAX,
            });
            let until = until.min(from.saturating_add(most));
            MetricsQuery {
                from: Timestamp::from_millis(from),
                until: Timestamp::from_millis(until),
                granularity,
                measures: Measure::of(what).to_vec(),
                dimensions,
                filter,
            }
        },
    )
}

/// What a store still has: everything, or each kind of rollup and the log from some time on.
fn any_kept() -> impl Strategy<Value = Kept> {
    let edge = || prop_oneof![Just(i64::MIN), 0..WINDOW];
    let swept = ([edge(), edge(), edge()], edge()).prop_map(|(rollups, log)| Kept {
        rollups: rollups.map(Timestamp::from_millis),
        log: Timestamp::from_millis(log),
    });
    prop_oneof![2 => Just(Kept::EVERYTHING), 1 => swept]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_report_is_what_a_recount_finds(
        window in select(WINDOWS.to_vec()),
        mut attempts in prop::collection::vec(any_attempt(), 0..60),
        mut events in prop::collection::vec(any_event(), 0..60),
        (what, mut query) in prop_oneof![
            any_query(MetricsOf::Attempts).prop_map(|query| (MetricsOf::Attempts, query)),
            any_query(MetricsOf::Events).prop_map(|query| (MetricsOf::Events, query)),
        ],
        mut kept in any_kept(),
    ) {
        // Everything was made up for a window that starts at the epoch.
        let start = Timestamp::parse("window", window).unwrap().as_millis() / 86_400_000 * 86_400_000;
        let shift = |at: &mut Timestamp| if *at > Timestamp::MIN { *at = Timestamp::from_millis(at.as_millis() + start) };
        attempts.iter_mut().for_each(|attempt| shift(&mut attempt.time));
        events.iter_mut().for_each(|(event, _)| shift(&mut event.time));
        [&mut query.from, &mut query.until, &mut kept.log].into_iter().chain(&mut kept.rollups).for_each(shift);

        let found = Log::of(&attempts, &events).report(what, &query, &kept);
        let since = found.as_ref().ok().and_then(|report| report.since).unwrap_or(Timestamp::MIN);
        let rows = recount(what, &query, since, &attempts, &events);
        match found {
            Err(problem) => {
                prop_assert!(kept != Kept::EVERYTHING, "{problem}");
            }
            Ok(report) => {
                prop_assert!(kept != Kept::EVERYTHING || report.since.is_none());
                prop_assert_eq!(report.rows.len(), rows.len());
                prop_assert!(report.rows.is_sorted_by_key(|row| row.bucket));
                for row in &report.rows {
                    let names: Vec<Dimension> = row.dimensions.iter().map(|(name, _)| *name).collect();
                    prop_assert_eq!(&names, &query.dimensions);
                    let values = row.dimensions.iter().map(|(_, value)| value.clone()).collect();
                    let (sums, seconds) = &rows[&(row.bucket.map(Timestamp::as_millis), values)];
                    for (measure, value) in &row.measures {
                        match (*value, expected(*measure, sums, *seconds)) {
                            (MetricValue::Count(found), MetricValue::Count(right)) => prop_assert_eq!(found, right, "{:?}", measure),
                            (MetricValue::Real(found), MetricValue::Real(right)) => {
                                prop_assert!((found - right).abs() <= 1e-9 * right.abs(), "{measure:?}: {found} for {right}");
                            }
                            (found, right) => prop_assert!(false, "{measure:?}: {found:?} for {right:?}"),
                        }
                    }
                }
            }
        }
    }
}
