//! The filter of a destination: which events it wants, by what is in them. What holds when is described at
//! [`DestinationFilter`].

mod explain;
mod json;
mod literal;
mod matching;
mod parse;
mod path;
mod schema;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::explain::{ExplainedCondition, Explanation, MAX_EXPLAINED_VALUE};
use self::schema::{Object, Shape};
use super::event::Event;
use super::tenant::StringMap;
use crate::values::error::Problem;
use crate::values::time::Timestamp;

/// The longest filter, in bytes of JSON text.
pub const MAX_FILTER_LEN: usize = 16 * 1024;
/// How many lists and objects may be nested within the filter's own object.
pub const MAX_FILTER_DEPTH: usize = 16;
/// The most conditions in one filter: bare values and comparisons.
pub const MAX_FILTER_CONDITIONS: usize = 256;
/// The most entries in one list of a filter.
pub const MAX_FILTER_VALUES: usize = 256;

/// Which events a destination wants, by what is in them.
///
/// A filter is a JSON object that is asked of the event as `{id, topic, time, metadata, data}`: to ask about the
/// payload's `amount`, write `{"data": {"amount": …}}`. Other keys at the top are allowed, and missing from every
/// event, so a filter that wants a value there fits nothing.
///
/// ```json
/// {"topic": {"$startsWith": "order."}, "data": {"amount": {"$gte": 100}, "tags": ["new", "eu"]}}
/// ```
///
/// # What holds when
///
/// - **Objects** ask all of their parts: fields (plain keys), comparisons and branches. Sibling keys beside an
///   operator count as well. A key that starts with `$` is always an operator, so a field with such a name
///   can only be reached within `$eq`.
/// - **A bare primitive** holds for the same value of the same type, and for a list with such an element.
///   Nothing is converted: `"5"` is not `5`, and `null` is only `null`.
/// - **A bare list** holds for a list that contains every one of its values, compared as by `$eq`.
/// - **`$eq`, `$neq`** compare deeply; the order of keys does not matter.
/// - **`$gt`, `$gte`, `$lt`, `$lte`** compare two numbers, or two texts by code points.
/// - **`$in`, `$nin`** with a list of primitives: the value is one of them, or is a list with one of them. With
///   one primitive: the value is a list that contains it, or both are texts and it is a part.
/// - **`$startsWith`, `$endsWith`** take a text or a list of texts, one of which must do.
/// - **`$exist`** asks whether the key is there; `null` is. `{}` in the place of a value asks the same.
/// - **`$or`, `$and`** (lists) and **`$not`** are asked of the value of the object they stand in, whatever it is.
/// - **A value of another type** than the operator speaks of fits no operator but `$neq`, so `$nin` fails too;
///   `$not` turns that around.
/// - **A missing value** fits nothing but `{"$exist": false}`, so `$neq` and `$nin` fail. Within the field
///   `$not` does not turn that around: `{"status": {"$not": {"$in": ["a"]}}}` wants a status. Around the field
///   it does: `{"$not": {"status": "a"}}` holds without one.
/// - **An object with fields asked of a list** holds if one element fits all its fields and branches; the
///   comparisons beside them are asked of the list itself. This is also so if the fields stand in branches:
///   `{"items": {"$not": {"sku": "a"}}}` wants an item that is not `a`, and `{"$not": {"items": {"sku": "a"}}}`
///   wants none that is. Lists in lists are not looked into.
/// - **Of repeated keys** in a payload the last counts.
/// - **Numbers** are compared as `f64`: 9007199254740993 equals 9007199254740992, and what is beyond the range,
///   such as 1e400, is infinite. A filter must not hold such a number.
/// - **Half a surrogate pair** (`\ud800`), in a payload or a filter, reads as U+FFFD. Other texts, `\u0000`
///   included, are what they are.
/// - **`time`** is compared as an instant in milliseconds by every comparison that has a time, or a list of
///   times, as its operand; these must be RFC 3339 or a date. `$startsWith`, `$endsWith` and `$in` with a text
///   see it in UTC and whole seconds, as in `2026-01-31T08:00:00Z`.
///
/// # What it costs
///
/// The payload is read where it lies, and each object and list that the filter looks into is read once,
/// however many conditions speak of it. So finding the values takes time linear in the payload's length times
/// the filter's depth. What is done with them then:
///
/// - comparing or searching a text takes time linear in that text, for each condition on it;
/// - an element of a list takes the logarithm of the number of primitives that are looked for, and each object
///   or list that is looked for, or asked of the elements, once.
///
/// The worst is therefore the payload's length times the number of conditions on one text or list.
/// Memory is a few words for each field and listed value of the filter, and the text of a string that is
/// compared and holds escapes. Neither memory nor stack depends on how deep the payload is nested.
///
/// # As a value
///
/// Cloning shares one parsed filter. Two filters are equal if their texts are. Serialised, a filter is its
/// text as a string.
///
/// ```
/// use outpost_core::DestinationFilter;
///
/// # fn main() -> Result<(), Vec<outpost_core::Problem>> {
/// let filter = DestinationFilter::parse(r#"{"data": {"status": {"$not": {"$in": ["draft", "void"]}}}}"#)?;
/// # drop(filter);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DestinationFilter {
    inner: Arc<Inner>,
}

struct Inner {
    json: Box<str>,
    object: Object,
    shape: Shape,
}

/// The parts of an event that a filter is asked of.
#[derive(Clone, Copy)]
pub struct FilterInput<'a> {
    /// The event's id.
    pub id: &'a str,
    /// The event's topic.
    pub topic: &'a str,
    /// When it happened.
    pub time: Timestamp,
    /// The publisher's labels.
    pub metadata: &'a StringMap,
    /// The payload, a JSON object. Of anything else no field is found.
    pub data: &'a [u8],
}

impl<'a> From<&'a Event> for FilterInput<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            id: event.id.as_str(),
            topic: &event.topic,
            time: event.time,
            metadata: &event.metadata,
            data: &event.data,
        }
    }
}

impl fmt::Debug for FilterInput<'_> {
    /// Without metadata and payload, which do not belong into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterInput")
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("time", &self.time)
            .field("data_len", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl DestinationFilter {
    /// Reads a filter from JSON text, which is kept exactly as given.
    ///
    /// # Errors
    /// Every problem found, up to a hundred, each with its path, such as `filter.data.amount.$gt`: text that is not a JSON
    /// object or longer than [`MAX_FILTER_LEN`], nesting beyond [`MAX_FILTER_DEPTH`], more than
    /// [`MAX_FILTER_CONDITIONS`] conditions or [`MAX_FILTER_VALUES`] entries in a list, an unknown operator, an
    /// operand that its operator cannot use (an empty list included), a key given twice in one object.
    pub fn parse(json: &str) -> Result<Self, Vec<Problem>> {
        let (object, shape) = parse::parse(json)?;
        Ok(Self { inner: Arc::new(Inner { json: json.into(), object, shape }) })
    }

    /// The filter as it was given.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.inner.json
    }

    /// Whether it is `{}`, which every event fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.object.is_empty()
    }

    /// Whether the event fits.
    ///
    /// Takes time linear in the payload's length times the filter's depth, and for each condition on a text or
    /// a list linear in that. Never fails: what cannot be read is missing.
    #[must_use]
    pub fn matches(&self, input: &FilterInput<'_>) -> bool {
        matching::evaluate(self, input, None)
    }

    /// Whether the event fits, and why. Costs as much as [`matches`](Self::matches) with every condition asked.
    #[must_use]
    pub fn explain(&self, input: &FilterInput<'_>) -> Explanation {
        let mut recorder = explain::Recorder::default();
        let matches = matching::evaluate(self, input, Some(&mut recorder));
        recorder.finish(matches)
    }
}

impl PartialEq for DestinationFilter {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || self.inner.json == other.inner.json
    }
}

impl Eq for DestinationFilter {}

impl fmt::Debug for DestinationFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.json)
    }
}

impl Serialize for DestinationFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.inner.json)
    }
}

impl<'de> Deserialize<'de> for DestinationFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = String::deserialize(deserializer)?;
        Self::parse(&json).map_err(|problems| {
            serde::de::Error::custom(problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "))
        })
    }
}
