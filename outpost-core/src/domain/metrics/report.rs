//! The answer to a query for metrics.

use super::{Dimension, Granularity, MAX_METRIC_ROWS, Measure};
use crate::values::time::Timestamp;

/// A number of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    /// How many.
    Count(u64),
    /// A rate, a share, a mean or milliseconds. 0 where nothing was counted.
    Real(f64),
}

/// One row: a bucket of time and a combination of dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsRow {
    /// When the bucket starts, which may be before the query does; `None` without a granularity.
    pub bucket: Option<Timestamp>,
    /// What the row's events or attempts have in common, in the order of the query.
    pub dimensions: Vec<(Dimension, String)>,
    /// The numbers, in the order of the query.
    pub measures: Vec<(Measure, MetricValue)>,
}

/// What came of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsReport {
    /// The query's granularity.
    pub granularity: Option<Granularity>,
    /// The rows, by bucket and then by dimensions. Every combination that was seen has a row for every
    /// bucket; without dimensions there is one combination, seen or not.
    pub rows: Vec<MetricsRow>,
    /// The query begins earlier than this, but the numbers of then are deleted and counted as nothing.
    pub since: Option<Timestamp>,
    /// How many rollups were read for it.
    pub rollups_read: u64,
    /// How many events or attempts of the log were read for it; 0 unless the query is finer than rollups.
    pub log_rows_read: u64,
}

impl MetricsReport {
    /// How many rows a report may have. One that would have more is refused, so none is ever cut off.
    #[must_use]
    pub const fn row_limit(&self) -> usize {
        MAX_METRIC_ROWS
    }
}
