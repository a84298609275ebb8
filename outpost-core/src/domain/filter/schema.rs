//! A filter as it is evaluated.

use std::collections::BTreeMap;

use super::literal::{Literal, Primitive, Values};
use crate::values::time::Timestamp;

/// Which members the filter looks into, of one object and of the objects in it.
///
/// Branches of `$or`, `$and` and `$not` share it, so that an object is read once, however many speak of it.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) slots: BTreeMap<Box<str>, usize>,
    pub(super) inner: Vec<Shape>,
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
}

/// What is asked of one value.
#[derive(Debug)]
pub(super) enum Schema {
    Check(Check),
    Object(Object),
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
    /// As it was written.
    pub(super) json: Box<str>,
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
    /// A bare list: each is an element of the list.
    HasAll(Values),
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
