//! Adding up what was read into the rows of a report.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{
    Dimension, MAX_METRIC_ROWS, Measure, MetricValue, MetricsQuery, MetricsReport, MetricsRow, status, too_broad, truth,
};
use crate::domain::delivery::Trigger;
use crate::domain::rollup::{Counted, Histogram, RollupKey, Tally};
use crate::values::error::Problem;
use crate::values::id::Incarnation;
use crate::values::time::Timestamp;

/// The ids behind incarnations, as far as a query needs them.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    tenants: HashMap<Incarnation, Arc<str>>,
    destinations: HashMap<Incarnation, LifeOfDestination>,
}

#[derive(Debug)]
struct LifeOfDestination {
    id: Arc<str>,
    kind: Arc<str>,
}

impl Lives {
    pub(crate) fn knows_tenant(&self, life: Incarnation) -> bool {
        self.tenants.contains_key(&life)
    }

    pub(crate) fn knows_destination(&self, life: Incarnation) -> bool {
        self.destinations.contains_key(&life)
    }

    pub(crate) fn put_tenant(&mut self, life: Incarnation, id: &str) {
        self.tenants.insert(life, Arc::from(id));
    }

    pub(crate) fn put_destination(&mut self, life: Incarnation, id: &str, kind: &str) {
        self.destinations.insert(life, LifeOfDestination { id: Arc::from(id), kind: Arc::from(kind) });
    }

    /// The id of a destination.
    pub(crate) fn destination(&self, life: Incarnation) -> Option<&str> {
        self.destinations.get(&life).map(|found| &*found.id)
    }
}

/// The value of a dimension. Numbers are ordered as numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(Arc<str>),
    Word(&'static str),
    Number(u32),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.to_string(),
            Self::Word(word) => (*word).to_owned(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// What was counted into one row.
#[derive(Clone, Debug, Default)]
struct Sums {
    count: u64,
    successes: u64,
    manual: u64,
    numbers: u64,
    firsts: u64,
    retries: u64,
    latency: Histogram,
}

/// Adds up what was read for one query.
#[derive(Debug)]
pub(crate) struct Aggregate {
    query: MetricsQuery,
    /// Start and end of each bucket in milliseconds, in order; the ends within the query's.
    buckets: Vec<(i64, i64)>,
    wants_latency: bool,
    /// For each combination of dimensions, the sums by the start of their bucket.
    sums: BTreeMap<Vec<Value>, BTreeMap<i64, Sums>>,
}

impl Aggregate {
    /// An empty one. Refuses a query that has more buckets than a report may have rows.
    pub(crate) fn new(mut query: MetricsQuery) -> Result<Self, Problem> {
        keep_first(&mut query.measures);
        keep_first(&mut query.dimensions);
        let (from, until) = (query.from.as_millis(), query.until.as_millis());
        let mut buckets = Vec::new();
        match query.granularity {
            None => buckets.push((from, until)),
            Some(granularity) => {
                let mut start = granularity.start_of(from);
                while start < until {
                    if buckets.len() == MAX_METRIC_ROWS {
                        return Err(too_broad(format!(
                            "more than {MAX_METRIC_ROWS} buckets of {granularity}; choose a coarser granularity or a \
                             shorter range"
                        )));
                    }
                    let next = granularity.after(start);
                    buckets.push((start, next.min(until)));
                    start = next;
                }
            }
        }
        let mut sums = BTreeMap::new();
        if query.dimensions.is_empty() {
            sums.insert(Vec::new(), BTreeMap::new());
        }
        let wants_latency = query.measures.iter().any(|one| matches!(one, Measure::P50Latency | Measure::P95Latency));
        Ok(Self { query, buckets, wants_latency, sums })
    }

    pub(crate) const fn query(&self) -> &MetricsQuery {
        &self.query
    }

    /// Counts a rollup, or one row of the log made into one; then `key.start` is the row's own time and
    /// `number` an attempt's number. Refuses what would make more rows than a report may have.
    pub(crate) fn add(
        &mut self,
        key: &RollupKey,
        tally: &Tally,
        number: Option<u32>,
        lives: &Lives,
    ) -> Result<(), Problem> {
        if !self.wants(key, number, lives) {
            return Ok(());
        }
        let values: Vec<Value> =
            self.query.dimensions.iter().map(|dimension| value(*dimension, key, number, lives)).collect();
        let bucket = self.query.granularity.map_or(0, |granularity| granularity.start_of(key.start.as_millis()));
        if !self.sums.contains_key(&values) && (self.sums.len() + 1) * self.buckets.len() > MAX_METRIC_ROWS {
            return Err(too_broad(format!(
                "more than {MAX_METRIC_ROWS} rows; choose a coarser granularity, a shorter range, fewer dimensions or \
                 more filters"
            )));
        }
        let sums = self.sums.entry(values).or_default().entry(bucket).or_default();
        sums.count += tally.count;
        if let Counted::Attempts { success, trigger, .. } = &key.counted {
            sums.successes += if *success { tally.count } else { 0 };
            sums.manual += if is_manual(*trigger) { tally.count } else { 0 };
            sums.numbers += tally.numbers;
            sums.firsts += tally.firsts;
            sums.retries += tally.retries;
            if self.wants_latency {
                sums.latency.add(&tally.latency);
            }
        }
        Ok(())
    }

    fn wants(&self, key: &RollupKey, number: Option<u32>, lives: &Lives) -> bool {
        let filter = &self.query.filter;
        // An event is counted without a destination, and once more for each that it matched.
        if key.counted == Counted::Events && key.destination.is_some() != self.query.by_destination() {
            return false;
        }
        let of_destination = !filter.names_destinations()
            || key.destination.is_some_and(|life| {
                filter.destination_lives.contains(&life)
                    || lives
                        .destination(life)
                        .is_some_and(|id| filter.destinations.iter().any(|wanted| wanted.as_str() == id))
            });
        let kind = || key.destination.and_then(|life| lives.destinations.get(&life)).map(|found| &*found.kind);
        let of_kind = filter.destination_types.is_empty()
            || kind().is_some_and(|kind| filter.destination_types.iter().any(|wanted| wanted == kind));
        let of_topic = filter.topics.is_empty() || filter.topics.iter().any(|wanted| **wanted == *key.topic);
        let of_attempt = match &key.counted {
            Counted::Events => true,
            Counted::Attempts { success, code, trigger } => {
                (filter.success.is_empty() || filter.success.contains(success))
                    && (filter.codes.is_empty() || filter.codes.iter().any(|wanted| **wanted == **code))
                    && (filter.manual.is_empty() || filter.manual.contains(&is_manual(*trigger)))
                    && (filter.attempt_numbers.is_empty()
                        || number.is_some_and(|number| filter.attempt_numbers.contains(&number)))
            }
        };
        of_destination && of_kind && of_topic && of_attempt
    }

    /// The report. Fills in a row of nothing where a combination was not seen.
    pub(crate) fn report(self, since: Option<Timestamp>, rollups_read: u64, log_rows_read: u64) -> MetricsReport {
        let mut rows = Vec::with_capacity(self.sums.len() * self.buckets.len());
        let nothing = Sums::default();
        for (start, end) in &self.buckets {
            // The first bucket may begin before the query does, and without a granularity there is but one.
            let seconds = (end - start.max(&self.query.from.as_millis())) as f64 / 1000.0;
            let bucket = self.query.granularity.map(|_| *start);
            for (values, by_bucket) in &self.sums {
                let sums = by_bucket.get(&bucket.unwrap_or(0)).unwrap_or(&nothing);
                let dimensions = self.query.dimensions.iter().copied().zip(values.iter().map(Value::text)).collect();
                let measures = self.query.measures.iter().map(|one| (*one, sums.measure(*one, seconds))).collect();
                rows.push(MetricsRow { bucket: bucket.map(Timestamp::from_millis), dimensions, measures });
            }
        }
        MetricsReport { granularity: self.query.granularity, rows, since, rollups_read, log_rows_read }
    }
}

impl Sums {
    fn measure(&self, measure: Measure, seconds: f64) -> MetricValue {
        let failures = self.count - self.successes;
        let share = |part: u64| if self.count == 0 { 0.0 } else { part as f64 / self.count as f64 };
        let rate = |part: u64| if seconds > 0.0 { part as f64 / seconds } else { 0.0 };
        let latency = |share| self.latency.quantile(share).map_or(0.0, |found| found.as_secs_f64() * 1000.0);
        match measure {
            Measure::Count => MetricValue::Count(self.count),
            Measure::SuccessfulCount => MetricValue::Count(self.successes),
            Measure::FailedCount => MetricValue::Count(failures),
            Measure::FirstAttemptCount => MetricValue::Count(self.firsts),
            Measure::RetryCount => MetricValue::Count(self.retries),
            Measure::ManualRetryCount => MetricValue::Count(self.manual),
            Measure::ErrorRate => MetricValue::Real(share(failures)),
            Measure::AvgAttemptNumber => MetricValue::Real(share(self.numbers)),
            Measure::Rate => MetricValue::Real(rate(self.count)),
            Measure::SuccessfulRate => MetricValue::Real(rate(self.successes)),
            Measure::FailedRate => MetricValue::Real(rate(failures)),
            Measure::P50Latency => MetricValue::Real(latency(0.5)),
            Measure::P95Latency => MetricValue::Real(latency(0.95)),
        }
    }
}

/// Somebody asked for it: for this one, or for a replay of many.
fn is_manual(trigger: Trigger) -> bool {
    trigger != Trigger::Automatic
}

fn value(dimension: Dimension, key: &RollupKey, number: Option<u32>, lives: &Lives) -> Value {
    let destination = key.destination.and_then(|life| lives.destinations.get(&life));
    let text = |found: Option<&Arc<str>>| found.map_or(Value::Word(""), |text| Value::Text(text.clone()));
    match (dimension, &key.counted) {
        (Dimension::TenantId, _) => text(lives.tenants.get(&key.tenant)),
        (Dimension::DestinationId, _) => text(destination.map(|found| &found.id)),
        (Dimension::DestinationType, _) => text(destination.map(|found| &found.kind)),
        (Dimension::Topic, _) => Value::Text(key.topic.clone()),
        (Dimension::Status, Counted::Attempts { success, .. }) => Value::Word(status(*success)),
        (Dimension::Code, Counted::Attempts { code, .. }) => Value::Text(code.clone()),
        (Dimension::Manual, Counted::Attempts { trigger, .. }) => Value::Word(truth(is_manual(*trigger))),
        (Dimension::AttemptNumber, Counted::Attempts { .. }) => Value::Number(number.unwrap_or_default()),
        // A query about events is refused before it comes to this.
        (Dimension::Status | Dimension::Code | Dimension::Manual | Dimension::AttemptNumber, Counted::Events) => {
            Value::Word("")
        }
    }
}

/// Keeps the first of equal ones.
fn keep_first<T: Copy + PartialEq>(list: &mut Vec<T>) {
    let mut seen = Vec::new();
    list.retain(|one| {
        let new = !seen.contains(one);
        seen.push(*one);
        new
    });
}
