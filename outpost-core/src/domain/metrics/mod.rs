//! Metrics: how many events and attempts there were, by time and by what they have in common. The question
//! is here, how it is answered in `plan` (what is to be read) and `aggregate` (what becomes of it).

mod aggregate;
mod granularity;
mod plan;
mod report;

pub(crate) use self::aggregate::{Aggregate, Lives};
pub use self::granularity::{Granularity, TimeUnit};
pub(crate) use self::plan::{Kept, Segment, Source, plan};
pub use self::report::{MetricValue, MetricsReport, MetricsRow};
use crate::values::error::Problem;
use crate::values::id::{DestinationId, Incarnation, TenantId};
use crate::values::time::Timestamp;

/// The most rows of one report, those that only fill gaps included.
pub const MAX_METRIC_ROWS: usize = 100_000;
/// The most values of one filter.
pub const MAX_METRIC_FILTER_VALUES: usize = 100;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricsOf {
    /// Events, by their own time.
    Events,
    /// Attempts, by the time they ended; those of test events are left out.
    Attempts,
}

/// A number to be told of each row. Per second means of the row's bucket, as far as the query covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// `count`: how many.
    Count,
    /// `rate`: how many per second.
    Rate,
    /// `successful_count`: attempts that succeeded.
    SuccessfulCount,
    /// `failed_count`: attempts that failed.
    FailedCount,
    /// `error_rate`: the share of attempts that failed, 0 to 1.
    ErrorRate,
    /// `first_attempt_count`: attempts with number 1 that were made by schedule.
    FirstAttemptCount,
    /// `retry_count`: attempts with a number above 1, those made on request included.
    RetryCount,
    /// `manual_retry_count`: attempts made on request, those of replays included.
    ManualRetryCount,
    /// `avg_attempt_number`: the mean of the attempts' numbers.
    AvgAttemptNumber,
    /// `successful_rate`: attempts that succeeded, per second.
    SuccessfulRate,
    /// `failed_rate`: attempts that failed, per second.
    FailedRate,
    /// `p50_latency`: the milliseconds that half of the attempts took at most, up to a quarter too high.
    P50Latency,
    /// `p95_latency`: the same for 95 of 100 attempts.
    P95Latency,
}

/// What rows are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// `tenant_id`; for the operator. The lives of one id share a row.
    TenantId,
    /// `destination_id`. Destinations with the same id share a row: earlier lives, and those of other
    /// tenants unless rows are told apart by tenant. An event counts once for each enabled destination it
    /// matched.
    DestinationId,
    /// `topic`.
    Topic,
    /// `destination_type`: the kind of destination.
    DestinationType,
    /// `status`: `success` or `failed`.
    Status,
    /// `code`: the answer's status or the kind of failure, its first 32 bytes.
    Code,
    /// `manual`: `true` for attempts made on request, those of replays included.
    Manual,
    /// `attempt_number`. Needs the log, so it is for short ranges.
    AttemptNumber,
}

const EVENT_MEASURES: &[Measure] = &[Measure::Count, Measure::Rate];
const ATTEMPT_MEASURES: &[Measure] = &[
    Measure::Count,
    Measure::SuccessfulCount,
    Measure::FailedCount,
    Measure::ErrorRate,
    Measure::FirstAttemptCount,
    Measure::RetryCount,
    Measure::ManualRetryCount,
    Measure::AvgAttemptNumber,
    Measure::Rate,
    Measure::SuccessfulRate,
    Measure::FailedRate,
    Measure::P50Latency,
    Measure::P95Latency,
];

const EVENT_DIMENSIONS: &[Dimension] = &[Dimension::TenantId, Dimension::Topic, Dimension::DestinationId];
const ATTEMPT_DIMENSIONS: &[Dimension] = &[
    Dimension::TenantId,
    Dimension::Topic,
    Dimension::DestinationId,
    Dimension::DestinationType,
    Dimension::Status,
    Dimension::Code,
    Dimension::Manual,
    Dimension::AttemptNumber,
];

/// The one of `allowed` with this name, or a problem that lists them all.
fn named<T: Copy>(field: &str, text: &str, allowed: &[T], name: impl Fn(T) -> &'static str) -> Result<T, Problem> {
    allowed.iter().copied().find(|one| name(*one) == text).ok_or_else(|| not_one_of(field, allowed, name))
}

fn not_one_of<T: Copy>(field: &str, allowed: &[T], name: impl Fn(T) -> &'static str) -> Problem {
    let names: Vec<&str> = allowed.iter().map(|one| name(*one)).collect();
    Problem::new(field, format!("must be of: {}", names.join(", ")))
}

impl Measure {
    /// The measures that there are of `what`.
    #[must_use]
    pub const fn of(what: MetricsOf) -> &'static [Self] {
        match what {
            MetricsOf::Events => EVENT_MEASURES,
            MetricsOf::Attempts => ATTEMPT_MEASURES,
        }
    }

    /// The measure's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Rate => "rate",
            Self::SuccessfulCount => "successful_count",
            Self::FailedCount => "failed_count",
            Self::ErrorRate => "error_rate",
            Self::FirstAttemptCount => "first_attempt_count",
            Self::RetryCount => "retry_count",
            Self::ManualRetryCount => "manual_retry_count",
            Self::AvgAttemptNumber => "avg_attempt_number",
            Self::SuccessfulRate => "successful_rate",
            Self::FailedRate => "failed_rate",
            Self::P50Latency => "p50_latency",
            Self::P95Latency => "p95_latency",
        }
    }

    /// The measure of `what` with this name.
    ///
    /// # Errors
    /// A [`Problem`] with field `measures` that lists what is allowed.
    pub fn parse(what: MetricsOf, text: &str) -> Result<Self, Problem> {
        named("measures", text, Self::of(what), Self::as_str)
    }
}

impl Dimension {
    /// The dimensions that there are of `what`.
    #[must_use]
    pub const fn of(what: MetricsOf) -> &'static [Self] {
        match what {
            MetricsOf::Events => EVENT_DIMENSIONS,
            MetricsOf::Attempts => ATTEMPT_DIMENSIONS,
        }
    }

    /// The dimension's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenantId => "tenant_id",
            Self::DestinationId => "destination_id",
            Self::Topic => "topic",
            Self::DestinationType => "destination_type",
            Self::Status => "status",
            Self::Code => "code",
            Self::Manual => "manual",
            Self::AttemptNumber => "attempt_number",
        }
    }

    /// The dimension of `what` with this name.
    ///
    /// # Errors
    /// A [`Problem`] with field `dimensions` that lists what is allowed.
    pub fn parse(what: MetricsOf, text: &str) -> Result<Self, Problem> {
        named("dimensions", text, Self::of(what), Self::as_str)
    }
}

/// Which events or attempts are counted. Empty lists mean any; at most [`MAX_METRIC_FILTER_VALUES`] each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsFilter {
    /// Of these live tenants.
    pub tenants: Vec<TenantId>,
    /// To destinations with one of these ids, whichever life; together with `destination_lives`.
    pub destinations: Vec<DestinationId>,
    /// To these lives of destinations, deleted ones included; together with `destinations`.
    pub destination_lives: Vec<Incarnation>,
    /// Of these topics, literally.
    pub topics: Vec<String>,
    /// To destinations of these kinds. For attempts, as is all that follows.
    pub destination_types: Vec<String>,
    /// That succeeded (`true`) or failed.
    pub success: Vec<bool>,
    /// With these codes, of which the first 32 bytes are kept.
    pub codes: Vec<String>,
    /// That were made on request, those of replays included (`true`), or by schedule.
    pub manual: Vec<bool>,
    /// With these numbers. Needs the log, so it is for short ranges.
    pub attempt_numbers: Vec<u32>,
}

impl MetricsFilter {
    /// Adds a value in its text form, as in `status` = `failed`.
    ///
    /// # Errors
    /// A [`Problem`] with field `filters` for a name that is not a dimension of `what`, else with
    /// `filters.` and the name for a value that is none of it.
    pub fn add(&mut self, what: MetricsOf, name: &str, value: &str) -> Result<(), Problem> {
        let field = format!("filters.{name}");
        let of_id = |problem: Problem| Problem::new(field.clone(), problem.message);
        match named("filters", name, Dimension::of(what), Dimension::as_str)? {
            Dimension::TenantId => self.tenants.push(TenantId::new(value).map_err(of_id)?),
            Dimension::DestinationId => self.destinations.push(DestinationId::new(value).map_err(of_id)?),
            Dimension::Topic => self.topics.push(value.to_owned()),
            Dimension::DestinationType => self.destination_types.push(value.to_owned()),
            Dimension::Code => self.codes.push(value.to_owned()),
            Dimension::Status => self.success.push(named(&field, value, &[true, false], status)?),
            Dimension::Manual => self.manual.push(named(&field, value, &[true, false], truth)?),
            Dimension::AttemptNumber => {
                let number = value.parse().map_err(|_| Problem::new(field, "must be a whole number"))?;
                self.attempt_numbers.push(number);
            }
        }
        Ok(())
    }

    /// How many values each filter has, by the dimension it is about.
    fn sizes(&self) -> [(Dimension, usize); 8] {
        [
            (Dimension::TenantId, self.tenants.len()),
            (Dimension::DestinationId, self.destinations.len().max(self.destination_lives.len())),
            (Dimension::Topic, self.topics.len()),
            (Dimension::DestinationType, self.destination_types.len()),
            (Dimension::Status, self.success.len()),
            (Dimension::Code, self.codes.len()),
            (Dimension::Manual, self.manual.len()),
            (Dimension::AttemptNumber, self.attempt_numbers.len()),
        ]
    }

    /// Whether destinations matter.
    fn names_destinations(&self) -> bool {
        !self.destinations.is_empty() || !self.destination_lives.is_empty()
    }
}

const fn status(success: bool) -> &'static str {
    if success { "success" } else { "failed" }
}

const fn truth(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// A question for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsQuery {
    /// From this time on.
    pub from: Timestamp,
    /// To before this time.
    pub until: Timestamp,
    /// How much time a row covers; `None`: all of it, in one row for each combination of dimensions.
    pub granularity: Option<Granularity>,
    /// Which numbers to tell, at least one.
    pub measures: Vec<Measure>,
    /// What to tell rows apart by.
    pub dimensions: Vec<Dimension>,
    /// What to count at all.
    pub filter: MetricsFilter,
}

impl MetricsQuery {
    /// The count between two times, to be changed by setting fields.
    #[must_use]
    pub fn new(from: Timestamp, until: Timestamp) -> Self {
        Self {
            from,
            until,
            granularity: None,
            measures: vec![Measure::Count],
            dimensions: Vec::new(),
            filter: MetricsFilter::default(),
        }
    }

    /// Everything that is wrong with it as a question about `what`.
    pub(crate) fn problems(&self, what: MetricsOf) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.from >= self.until {
            problems.push(Problem::new("from", "must be before until"));
        }
        if self.measures.is_empty() {
            problems.push(Problem::new("measures", "is required: name at least one"));
        }
        if self.measures.iter().any(|measure| !Measure::of(what).contains(measure)) {
            problems.push(not_one_of("measures", Measure::of(what), Measure::as_str));
        }
        if self.dimensions.iter().any(|dimension| !Dimension::of(what).contains(dimension)) {
            problems.push(not_one_of("dimensions", Dimension::of(what), Dimension::as_str));
        }
        for (dimension, size) in self.filter.sizes() {
            let field = || format!("filters.{}", dimension.as_str());
            if size > 0 && !Dimension::of(what).contains(&dimension) {
                problems.push(Problem::new(field(), "is for attempts only"));
            }
            if size > MAX_METRIC_FILTER_VALUES {
                problems.push(Problem::new(field(), format!("must have at most {MAX_METRIC_FILTER_VALUES} values")));
            }
        }
        problems
    }

    /// Whether rows or filters need the numbers of attempts, which only the log knows.
    fn needs_numbers(&self) -> bool {
        self.dimensions.contains(&Dimension::AttemptNumber) || !self.filter.attempt_numbers.is_empty()
    }

    /// Whether the ids of tenants are needed.
    pub(crate) fn needs_tenants(&self) -> bool {
        self.dimensions.contains(&Dimension::TenantId)
    }

    /// Whether the ids or kinds of destinations are needed.
    pub(crate) fn needs_destinations(&self) -> bool {
        self.dimensions.contains(&Dimension::DestinationId)
            || self.dimensions.contains(&Dimension::DestinationType)
            || !self.filter.destinations.is_empty()
            || !self.filter.destination_types.is_empty()
    }

    /// Whether events count once for each destination rather than once.
    pub(crate) fn by_destination(&self) -> bool {
        self.dimensions.contains(&Dimension::DestinationId) || self.filter.names_destinations()
    }
}

/// The problem of a question whose answer takes too much.
pub(crate) fn too_broad(why: impl std::fmt::Display) -> Problem {
    Problem::new("query", format!("too broad: {why}"))
}

#[cfg(test)]
mod recount;
#[cfg(test)]
mod tests;
