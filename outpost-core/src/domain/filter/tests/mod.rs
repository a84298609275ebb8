#![allow(clippy::unwrap_used)]

mod errors;
mod explaining;
mod hostile;
mod operators;
mod random;

use super::{DestinationFilter, FilterInput};
use crate::domain::tenant::StringMap;
use crate::values::time::Timestamp;

/// An event to ask filters of.
struct Sample {
    id: String,
    topic: String,
    time: Timestamp,
    metadata: StringMap,
    data: Vec<u8>,
}

impl Sample {
    fn of(data: impl Into<Vec<u8>>) -> Self {
        Self {
            id: "evt_1".to_owned(),
            topic: "order.created".to_owned(),
            time: Timestamp::parse("time", "2026-01-31T08:00:00.250Z").unwrap(),
            metadata: StringMap::from([("region".to_owned(), "eu".to_owned())]),
            data: data.into(),
        }
    }

    fn input(&self) -> FilterInput<'_> {
        FilterInput { id: &self.id, topic: &self.topic, time: self.time, metadata: &self.metadata, data: &self.data }
    }
}

fn filter(json: &str) -> DestinationFilter {
    DestinationFilter::parse(json).unwrap_or_else(|problems| panic!("{json}: {problems:?}"))
}

/// Whether an event with `data` fits the filter; the explanation must agree.
fn fits(json: &str, data: &str) -> bool {
    let sample = Sample::of(data);
    let filter = filter(json);
    let matches = filter.matches(&sample.input());
    assert_eq!(filter.explain(&sample.input()).matches, matches, "{json} {data}");
    matches
}

/// Whether `value` as the payload's `v` fits `schema`; no value means that there is no `v`.
fn v_fits(schema: &str, value: &str) -> bool {
    let data = if value.is_empty() { "{}".to_owned() } else { format!("{{\"v\":{value}}}") };
    fits(&format!("{{\"data\":{{\"v\":{schema}}}}}"), &data)
}

/// Checks a schema against values that fit it and values that do not.
fn check(schema: &str, yes: &[&str], no: &[&str]) {
    for value in yes {
        assert!(v_fits(schema, value), "{schema} must fit {value:?}");
    }
    for value in no {
        assert!(!v_fits(schema, value), "{schema} must not fit {value:?}");
    }
}
