//! A filter as it is evaluated.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::literal::{Literal, Primitive, Values};
use crate::values::time::Timestamp;

/// Everything that the filter asks of the members and elements of one value.
///
/// Branches of `$or`, `$and` and `$not` share it, so that an object or a list is read once, however many
/// conditions speak of it.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Where among the members each key is.
    pub(super) slots: BTreeMap<Box<str>, usize>,
    /// What is asked of each member.
    pub(super) inner: Vec<Shape>,
    /// The primitives that are looked for in a list, sorted.
    pub(super) wanted: Vec<Primitive<'static>>,
    /// The lists and objects that are looked for in a list.
    pub(super) nested: Vec<Literal>,
    /// The objects that an element of a list must fit.
    pub(super) objects: Vec<Arc<Object>>,
}

impl Shape {
    /// The place of `key` among the members, made if there is none yet.
    pub(super) fn slot(&mut self, key: &str) -> usize {
        if let Some(slot) = self.slots.get(key) {
            return *slot;
        }
        let slot = self.inner.len();
        self.slots.insert(key.into(), slot);
        self.inner.push(Self::default());
        slot
    }

    /// Has `value` looked for in a list.
    pub(super) fn want(&mut self, value: &Primitive<'static>) {
        if let Err(place) = self.place(value) {
            self.wanted.insert(place, value.clone());
        }
    }

    /// Where among the wanted primitives `value` is, or would be.
    pub(super) fn place(&self, value: &Primitive<'_>) -> Result<usize, usize> {
        self.wanted.binary_search_by(|wanted| wanted.order(value))
    }
}

/// What is asked of one value.
#[derive(Debug)]
pub(super) enum Schema {
    Check(Check),
    Object(Arc<Object>),
}

impl Schema {
    /// Whether it asks for a member of the value itself, so that of a list it asks the elements.
    pub(super) fn looks_inside(&self) -> bool {
        matches!(self, Self::Object(object) if object.looks_inside)
    }
}

/// An object of the filter: all of its parts must hold.
#[derive(Debug, Default)]
pub(super) struct Object {
    /// What stands beside the fields, asked of the value as a whole.
    pub(super) checks: Vec<Check>,
    pub(super) fields: Vec<Field>,
    pub(super) branches: Vec<Branch>,
    /// Whether it, or a branch of it, has fields.
    pub(super) looks_inside: bool,
    /// Its place among the shape's objects, if it may be asked of a list's elements.
    pub(super) place: usize,
    /// As it was written.
    pub(super) json: Box<str>,
}

impl Object {
    pub(super) const fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.fields.is_empty() && self.branches.is_empty()
    }
}

/// A plain key and what is asked of its value.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: Box<str>,
    pub(super) slot: usize,
    pub(super) schema: Schema,
}

/// `$or`, `$and` or `$not`, asked of the same value as the object it stands in.
#[derive(Debug)]
pub(super) enum Branch {
    Any(Vec<Schema>),
    All(Vec<Schema>),
    Not(Box<Schema>),
}

/// One condition.
#[derive(Debug)]
pub(super) struct Check {
    /// As written, or `equals` or `contains` for a bare value.
    pub(super) operator: &'static str,
    /// The operand as it was written.
    pub(super) json: Box<str>,
    pub(super) test: Test,
}

#[derive(Debug)]
pub(super) enum Test {
    /// A bare primitive: the value, or an element of the list.
    Is(Primitive<'static>),
    /// A bare list: each is an element of the list; the others are places among the shape's nested values.
    HasAll(Values, Vec<usize>),
    Equals(Literal),
    Differs(Literal),
    /// Against a number or a text.
    Order(Sense, Primitive<'static>),
    /// One of these.
    In(Values),
    NotIn(Values),
    /// A part of the text, or an element of the list.
    Contains(Primitive<'static>),
    ContainsNot(Primitive<'static>),
    StartsWith(Vec<Box<str>>),
    EndsWith(Vec<Box<str>>),
    Exists(bool),
    /// The event's time against one of several instants.
    When(Sense, Vec<Timestamp>),
    /// The event's time is none of these.
    NotWhen(Vec<Timestamp>),
}

/// Which way a comparison goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sense {
    Greater,
    AtLeast,
    Less,
    AtMost,
    Same,
}

impl Sense {
    pub(super) const fn fits(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Same => order.is_eq(),
        }
    }
}
