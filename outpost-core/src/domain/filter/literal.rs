//! The values that a filter compares with.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::json::{self, Kind};

/// A value that holds no others. Numbers are `f64`, and never not-a-number.
#[derive(Clone, Debug)]
pub(super) enum Primitive<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
}

impl<'a> Primitive<'a> {
    /// The primitive that `json` is; `None` for a list or an object.
    pub(super) fn read(json: &'a str) -> Option<Self> {
        match json::kind(json) {
            Kind::Null => Some(Self::Null),
            Kind::Bool => Some(Self::Bool(json == "true")),
            Kind::Number => Some(Self::Number(json::number(json))),
            Kind::Text => Some(Self::Text(json::text(json))),
            Kind::List | Kind::Object => None,
        }
    }

    /// The same value, borrowing nothing.
    pub(super) fn into_owned(self) -> Primitive<'static> {
        match self {
            Self::Null => Primitive::Null,
            Self::Bool(value) => Primitive::Bool(value),
            Self::Number(value) => Primitive::Number(value),
            Self::Text(value) => Primitive::Text(Cow::Owned(value.into_owned())),
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Number(_) => Kind::Number,
            Self::Text(_) => Kind::Text,
        }
    }

    /// Whether `json` is this value.
    pub(super) fn is(&self, json: &str) -> bool {
        // The kind first, so that a long text is not decoded to be compared with a number.
        json::kind(json) == self.kind() && Primitive::read(json).is_some_and(|other| self.order(&other).is_eq())
    }

    /// A total order; equal means the same kind and value, and zero has no sign.
    pub(super) fn order(&self, other: &Primitive<'_>) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Primitive::Bool(two)) => one.cmp(two),
            (Self::Number(one), Primitive::Number(two)) => one.partial_cmp(two).unwrap_or(Ordering::Equal),
            (Self::Text(one), Primitive::Text(two)) => one.as_ref().cmp(two.as_ref()),
            _ => self.kind().cmp(&other.kind()),
        }
    }
}

/// Any value, for deep comparison.
#[derive(Clone, Debug)]
pub(super) enum Literal {
    Primitive(Primitive<'static>),
    List(Vec<Literal>),
    Object(BTreeMap<Box<str>, Literal>),
}

impl Literal {
    /// Whether `json` is this value: objects whatever the order of their keys, the last of repeated keys.
    /// Goes no deeper into `json` than this value is nested.
    pub(super) fn is(&self, json: &str) -> bool {
        match self {
            Self::Primitive(value) => value.is(json),
            Self::List(values) => {
                let mut rest = values.iter();
                let mut same = json::kind(json) == Kind::List;
                if same {
                    json::elements(json, |element| {
                        same = rest.next().is_some_and(|value| value.is(element));
                        same
                    });
                }
                same && rest.next().is_none()
            }
            Self::Object(wanted) => {
                if json::kind(json) != Kind::Object {
                    return false;
                }
                let mut found: BTreeMap<&str, &str> = BTreeMap::new();
                let mut same = true;
                let read = json::members(json, |key, value| match wanted.get_key_value(key.as_ref()) {
                    Some((key, _)) => {
                        found.insert(key, value);
                    }
                    None => same = false,
                });
                same && read.is_ok()
                    && wanted.iter().all(|(key, value)| found.get(key.as_ref()).is_some_and(|found| value.is(found)))
            }
        }
    }
}

/// A list of primitives to look for, sorted, so that looking one up costs its logarithm.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(Vec<Primitive<'static>>);

impl Values {
    pub(super) fn new(mut values: Vec<Primitive<'static>>) -> Self {
        values.sort_by(Primitive::order);
        values.dedup_by(|one, two| one.order(two).is_eq());
        Self(values)
    }

    /// Whether `value` is one of them.
    pub(super) fn has(&self, value: &Primitive<'_>) -> bool {
        self.0.binary_search_by(|own| own.order(value)).is_ok()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Primitive<'static>> {
        self.0.iter()
    }
}
