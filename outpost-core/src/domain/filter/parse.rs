//! From JSON text to a filter, naming everything that is wrong with it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::de::IgnoredAny;

use super::json::{self, Kind};
use super::literal::{Literal, Primitive, Values};
use super::path::{push_index, push_key};
use super::schema::{Branch, Check, Field, Object, Schema, Sense, Shape, Test};
use super::{MAX_FILTER_CONDITIONS, MAX_FILTER_DEPTH, MAX_FILTER_LEN, MAX_FILTER_VALUES};
use crate::values::error::Problem;
use crate::values::time::Timestamp;

/// The most problems that are reported at once.
const MAX_PROBLEMS: usize = 100;

/// What a part of the filter is asked of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// The event itself.
    Event,
    /// The event's time, where texts are instants.
    Time,
    /// Any other value.
    Value,
}

/// Reads a filter. On success the shape says which members its fields' slots are.
pub(super) fn parse(text: &str) -> Result<(Object, Shape), Vec<Problem>> {
    let refuse = |message: String| Err(vec![Problem::new("filter", message)]);
    if text.len() > MAX_FILTER_LEN {
        return refuse(format!("must be at most {MAX_FILTER_LEN} bytes, but has {}", text.len()));
    }
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return refuse(format!("is not valid JSON at line {} column {}", error.line(), error.column()));
    }
    let text = json::trim(text);
    if json::kind(text) != Kind::Object {
        return refuse("must be a JSON object".to_owned());
    }
    let mut parser = Parser { path: "filter".to_owned(), problems: Vec::new(), conditions: 0 };
    let mut shape = Shape::default();
    let object = parser.object(text, Subject::Event, &mut shape, 0);
    if parser.conditions > MAX_FILTER_CONDITIONS {
        let message = format!("must have at most {MAX_FILTER_CONDITIONS} conditions, but has {}", parser.conditions);
        parser.problems.push(Problem::new("filter", message));
    }
    match object {
        Some(object) if parser.problems.is_empty() => Ok((object, shape)),
        _ => Err(parser.problems),
    }
}

/// Where in the filter the parser is, and what it found. A part that cannot be used is `None`, with a problem.
struct Parser {
    path: String,
    problems: Vec<Problem>,
    conditions: usize,
}

impl Parser {
    fn problem<T>(&mut self, message: impl Into<String>) -> Option<T> {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem::new(self.path.clone(), message));
        }
        None
    }

    fn at_key<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        push_key(&mut self.path, key);
        let made = read(self);
        self.path.truncate(before);
        made
    }

    /// Whether a list or object at `depth` may be read.
    fn fits(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_FILTER_DEPTH {
            return self.problem(format!("is nested more than {MAX_FILTER_DEPTH} levels deep"));
        }
        Some(())
    }

    /// The members of an object, each key once.
    fn members<'a>(&mut self, text: &'a str, depth: usize) -> Option<Vec<(Cow<'a, str>, &'a str)>> {
        self.fits(depth)?;
        let mut members = Vec::new();
        // Cannot fail: the whole text was checked.
        let _ = json::members(text, |key, value| members.push((key, value)));
        let mut seen = BTreeSet::new();
        for (key, _) in &members {
            if !seen.insert(key.as_ref()) {
                self.at_key(key, |parser| parser.problem::<()>("is given more than once"));
            }
        }
        Some(members)
    }

    /// The elements of a list, each read by `read` at its place in the path.
    fn list<'a, T>(
        &mut self,
        text: &'a str,
        depth: usize,
        mut read: impl FnMut(&mut Self, &'a str) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.fits(depth)?;
        let mut elements = Vec::new();
        json::elements(text, |element| {
            elements.push(element);
            true
        });
        if elements.len() > MAX_FILTER_VALUES {
            return self.problem(format!("must have at most {MAX_FILTER_VALUES} values, but has {}", elements.len()));
        }
        let before = self.path.len();
        let made: Vec<Option<T>> = elements
            .into_iter()
            .enumerate()
            .map(|(index, element)| {
                push_index(&mut self.path, index);
                let made = read(self, element);
                self.path.truncate(before);
                made
            })
            .collect();
        made.into_iter().collect()
    }

    /// What stands in the place of a value: a bare value or an object of conditions.
    fn schema(&mut self, text: &str, subject: Subject, shape: &mut Shape, depth: usize) -> Option<Schema> {
        let kind = json::kind(text);
        if kind == Kind::Object {
            let object = self.object(text, subject, shape, depth)?;
            if subject != Subject::Event && object.is_empty() {
                return Some(Schema::Check(self.check("$exist", text, Test::Exists(true))));
            }
            return Some(Schema::Object(Arc::new(object)));
        }
        let (operator, test) = match (subject, kind) {
            (Subject::Event, _) => return self.problem("must be an object with fields such as data"),
            (Subject::Time, _) => ("equals", Test::When(Sense::Same, vec![self.time(text)?])),
            (Subject::Value, Kind::List) => {
                let values = self.list(text, depth, |parser, element| {
                    parser.no_operators(element);
                    parser.literal(element, depth + 1)
                })?;
                let mut plain = Vec::new();
                let mut nested = Vec::new();
                for value in values {
                    match value {
                        Literal::Primitive(value) => {
                            shape.want(&value);
                            plain.push(value);
                        }
                        value => {
                            nested.push(shape.nested.len());
                            shape.nested.push(value);
                        }
                    }
                }
                ("contains", Test::HasAll(Values::new(plain), nested))
            }
            (Subject::Value, _) => {
                let value = self.primitive(text)?;
                shape.want(&value);
                ("equals", Test::Is(value))
            }
        };
        Some(Schema::Check(self.check(operator, text, test)))
    }

    fn check(&mut self, operator: &'static str, json: &str, test: Test) -> Check {
        self.conditions += 1;
        Check { operator, json: json.into(), test }
    }

    fn object(&mut self, text: &str, subject: Subject, shape: &mut Shape, depth: usize) -> Option<Object> {
        let mut object = Object { json: text.into(), ..Object::default() };
        let before = self.problems.len();
        for (key, value) in self.members(text, depth)? {
            self.at_key(&key, |parser| {
                if key.starts_with('$') {
                    parser.operator(&mut object, &key, value, subject, shape, depth + 1);
                    return;
                }
                let subject = match subject {
                    Subject::Event if key == "time" => Subject::Time,
                    _ => Subject::Value,
                };
                let slot = shape.slot(&key);
                let Some(inner) = shape.inner.get_mut(slot) else { return };
                if let Some(mut schema) = parser.schema(value, subject, inner, depth + 1) {
                    // Only what a field asks can meet a list whole: within branches, the outermost object that
                    // looks inside has gone to the elements already.
                    if let Schema::Object(asked) = &mut schema
                        && let Some(object) = Arc::get_mut(asked)
                        && object.looks_inside
                    {
                        object.place = inner.objects.len();
                        inner.objects.push(Arc::clone(asked));
                    }
                    object.fields.push(Field { key: key.as_ref().into(), slot, schema });
                }
            });
        }
        object.looks_inside = !object.fields.is_empty()
            || object.branches.iter().any(|branch| match branch {
                Branch::Any(schemas) | Branch::All(schemas) => schemas.iter().any(Schema::looks_inside),
                Branch::Not(schema) => schema.looks_inside(),
            });
        (self.problems.len() == before).then_some(object)
    }

    /// Adds what the key `name` and its operand ask to `object`.
    fn operator(
        &mut self,
        object: &mut Object,
        name: &str,
        operand: &str,
        subject: Subject,
        shape: &mut Shape,
        depth: usize,
    ) -> Option<()> {
        match name {
            "$or" => {
                let branches = self.branches(operand, subject, shape, depth)?;
                object.branches.push(Branch::Any(branches));
                return Some(());
            }
            "$and" => {
                let branches = self.branches(operand, subject, shape, depth)?;
                object.branches.push(Branch::All(branches));
                return Some(());
            }
            "$not" => {
                let inner = self.schema(operand, subject, shape, depth)?;
                object.branches.push(Branch::Not(Box::new(inner)));
                return Some(());
            }
            _ => {}
        }
        let Some(operator) = OPERATORS.into_iter().find(|known| *known == name) else {
            return self.problem(format!("is not an operator; there are {}, $or, $and and $not", OPERATORS.join(", ")));
        };
        if subject == Subject::Event {
            return self.problem("compares a value, so it must stand inside a field such as data");
        }
        let test = match subject {
            Subject::Time => self.time_test(operator, operand, depth)?,
            _ => None,
        };
        let test = match test {
            Some(test) => test,
            None => self.test(operator, operand, shape, depth)?,
        };
        let check = self.check(operator, operand, test);
        object.checks.push(check);
        Some(())
    }

    fn branches(&mut self, text: &str, subject: Subject, shape: &mut Shape, depth: usize) -> Option<Vec<Schema>> {
        if json::kind(text) != Kind::List {
            return self.problem("must be a list of filters");
        }
        let branches = self.list(text, depth, |parser, branch| parser.schema(branch, subject, shape, depth + 1))?;
        self.not_empty(branches)
    }

    /// An empty list would match nothing or everything, which nobody writes down on purpose.
    fn not_empty<T>(&mut self, list: Vec<T>) -> Option<Vec<T>> {
        if list.is_empty() { self.problem("must not be an empty list") } else { Some(list) }
    }

    /// The test of an operator on a value.
    fn test(&mut self, operator: &str, operand: &str, shape: &mut Shape, depth: usize) -> Option<Test> {
        let kind = json::kind(operand);
        match operator {
            "$eq" => Some(Test::Equals(self.literal(operand, depth)?)),
            "$neq" => Some(Test::Differs(self.literal(operand, depth)?)),
            "$in" | "$nin" => self.membership(operator == "$in", operand, shape, depth),
            "$startsWith" => Some(Test::StartsWith(self.texts(operand, depth)?)),
            "$endsWith" => Some(Test::EndsWith(self.texts(operand, depth)?)),
            "$exist" => match kind {
                Kind::Bool => Some(Test::Exists(operand == "true")),
                _ => self.problem("must be true or false"),
            },
            _ => match (sense(operator), kind) {
                (Some(sense), Kind::Number | Kind::Text) => Some(Test::Order(sense, self.primitive(operand)?)),
                _ => self.problem("must be a number or a text"),
            },
        }
    }

    fn membership(&mut self, within: bool, operand: &str, shape: &mut Shape, depth: usize) -> Option<Test> {
        match json::kind(operand) {
            Kind::List => {
                let values = self.list(operand, depth, |parser, element| match json::kind(element) {
                    Kind::List | Kind::Object => parser.problem("must be a text, a number, true, false or null"),
                    _ => parser.primitive(element),
                })?;
                let values = Values::new(self.not_empty(values)?);
                values.iter().for_each(|value| shape.want(value));
                Some(if within { Test::In(values) } else { Test::NotIn(values) })
            }
            Kind::Object => self.problem("must be a list of values, or one value to look for"),
            _ => {
                let value = self.primitive(operand)?;
                shape.want(&value);
                Some(if within { Test::Contains(value) } else { Test::ContainsNot(value) })
            }
        }
    }

    fn texts(&mut self, operand: &str, depth: usize) -> Option<Vec<Box<str>>> {
        match json::kind(operand) {
            Kind::Text => Some(vec![json::text(operand).as_ref().into()]),
            Kind::List => {
                let texts = self.list(operand, depth, |parser, element| match json::kind(element) {
                    Kind::Text => Some(json::text(element).as_ref().into()),
                    _ => parser.problem("must be a text"),
                })?;
                self.not_empty(texts)
            }
            _ => self.problem("must be a text or a list of texts"),
        }
    }

    /// The test of an operator on the event's time, if it compares instants rather than texts.
    fn time_test(&mut self, operator: &str, operand: &str, depth: usize) -> Option<Option<Test>> {
        let list = json::kind(operand) == Kind::List;
        Some(match operator {
            "$eq" => Some(Test::When(Sense::Same, vec![self.time(operand)?])),
            "$neq" => Some(Test::NotWhen(vec![self.time(operand)?])),
            "$in" | "$nin" if list => {
                let times = self.list(operand, depth, Self::time)?;
                let times = self.not_empty(times)?;
                Some(if operator == "$in" { Test::When(Sense::Same, times) } else { Test::NotWhen(times) })
            }
            _ => match sense(operator) {
                Some(sense) => Some(Test::When(sense, vec![self.time(operand)?])),
                None => None,
            },
        })
    }

    fn time(&mut self, text: &str) -> Option<Timestamp> {
        if json::kind(text) == Kind::Text
            && let Ok(time) = Timestamp::parse("time", &json::text(text))
        {
            return Some(time);
        }
        self.problem("must be an RFC 3339 time such as 2026-01-31T08:00:00Z, or a date")
    }

    /// A primitive; `text` must not be a list or an object.
    fn primitive(&mut self, text: &str) -> Option<Primitive<'static>> {
        let value = Primitive::read(text)?.into_owned();
        match value {
            Primitive::Number(number) if !number.is_finite() => self.problem("is too large a number to compare with"),
            value => Some(value),
        }
    }

    fn literal(&mut self, text: &str, depth: usize) -> Option<Literal> {
        match json::kind(text) {
            Kind::List => {
                let values = self.list(text, depth, |parser, element| parser.literal(element, depth + 1))?;
                Some(Literal::List(values))
            }
            Kind::Object => {
                let before = self.problems.len();
                let members = self.members(text, depth)?;
                let values = members
                    .into_iter()
                    .filter_map(|(key, value)| {
                        let value = self.at_key(&key, |parser| parser.literal(value, depth + 1))?;
                        Some((key.as_ref().into(), value))
                    })
                    .collect();
                (self.problems.len() == before).then_some(Literal::Object(values))
            }
            _ => Some(Literal::Primitive(self.primitive(text)?)),
        }
    }

    /// Refuses operators in an element of a bare list: there they would be taken for data, silently.
    fn no_operators(&mut self, element: &str) {
        if json::kind(element) == Kind::Object {
            let _ = json::members(element, |key, _| {
                if key.starts_with('$') {
                    self.at_key(&key, |parser| parser.problem::<()>("cannot stand in a list of values; use $or"));
                }
            });
        }
    }
}

/// The operators that compare, in the order in which they are listed for people.
const OPERATORS: [&str; 11] =
    ["$eq", "$neq", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$startsWith", "$endsWith", "$exist"];

fn sense(operator: &str) -> Option<Sense> {
    match operator {
        "$gt" => Some(Sense::Greater),
        "$gte" => Some(Sense::AtLeast),
        "$lt" => Some(Sense::Less),
        "$lte" => Some(Sense::AtMost),
        _ => None,
    }
}
