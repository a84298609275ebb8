//! Whether an event fits a filter: one walk, which also writes the explanation when there is one to write.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use super::explain::Recorder;
use super::json::{self, Kind};
use super::literal::{Literal, Primitive, Values};
use super::schema::{Branch, Check, Field, Object, Schema, Sense, Shape, Test};
use super::{DestinationFilter, FilterInput};
use crate::values::time::Timestamp;

/// Whether `input` fits `filter`; tells `recorder`, if there is one, what was asked and found.
pub(super) fn evaluate(filter: &DestinationFilter, input: &FilterInput<'_>, recorder: Option<&mut Recorder>) -> bool {
    let shape = &filter.inner.shape;
    let texts: Vec<Option<Cow<'_, str>>> = {
        let mut texts = vec![None; shape.inner.len()];
        for (key, slot) in &shape.slots {
            if let Some(text) = texts.get_mut(*slot) {
                *text = part(input, key);
            }
        }
        texts
    };
    let parts: Vec<_> = texts.iter().zip(&shape.inner).map(|(text, shape)| Node::new(text.as_deref(), shape)).collect();
    let event = Node { members: OnceCell::from(parts), ..Node::new(Some("{}"), shape) };
    Walk { time: input.time, recorder }.object(&filter.inner.object, &event) == Some(true)
}

/// A part of the event as JSON text.
fn part<'a>(input: &FilterInput<'a>, key: &str) -> Option<Cow<'a, str>> {
    match key {
        "id" => serde_json::to_string(input.id).ok().map(Cow::Owned),
        "topic" => serde_json::to_string(input.topic).ok().map(Cow::Owned),
        "time" => {
            let whole = input.time.to_string();
            let whole = whole.split_once('.').map_or(whole.as_str(), |(whole, _)| whole);
            Some(Cow::Owned(format!("\"{whole}Z\"")))
        }
        "metadata" => serde_json::to_string(input.metadata).ok().map(Cow::Owned),
        "data" => std::str::from_utf8(input.data).ok().map(json::trim).map(Cow::Borrowed),
        _ => None,
    }
}

/// A value of the event, or the lack of one. What is read from it is read once.
struct Node<'a> {
    json: Option<&'a str>,
    shape: &'a Shape,
    members: OnceCell<Vec<Node<'a>>>,
    text: OnceCell<Cow<'a, str>>,
    elements: OnceCell<Elements>,
    /// Whether it is an element of a list that is being tried.
    in_list: bool,
}

/// Which of the things that the shape looks for a list has.
#[derive(Default)]
struct Elements {
    wanted: Vec<bool>,
    nested: Vec<bool>,
    objects: Vec<bool>,
}

impl<'a> Node<'a> {
    const fn new(json: Option<&'a str>, shape: &'a Shape) -> Self {
        Self { json, shape, members: OnceCell::new(), text: OnceCell::new(), elements: OnceCell::new(), in_list: false }
    }

    fn kind(&self) -> Option<Kind> {
        self.json.map(json::kind)
    }

    /// The members of an object that the filter speaks of, in the order of their slots.
    fn members(&self) -> &[Node<'a>] {
        self.members.get_or_init(|| {
            let mut found = vec![None; self.shape.inner.len()];
            if let Some(json) = self.json {
                let read = json::members(json, |key, value| {
                    let slot = self.shape.slots.get(key.as_ref());
                    // The last of repeated keys stays, as in most readers of JSON.
                    if let Some(place) = slot.and_then(|slot| found.get_mut(*slot)) {
                        *place = Some(value);
                    }
                });
                if read.is_err() {
                    found.fill(None);
                }
            }
            found.into_iter().zip(&self.shape.inner).map(|(json, shape)| Node::new(json, shape)).collect()
        })
    }

    fn primitive(&self) -> Option<Primitive<'_>> {
        let json = self.json?;
        if json::kind(json) == Kind::Text {
            return Some(Primitive::Text(Cow::Borrowed(self.text.get_or_init(|| json::text(json)))));
        }
        Primitive::read(json)
    }
}

impl Node<'_> {
    /// The elements of a list, read in one go for all the conditions that speak of them.
    fn elements(&self) -> &Elements {
        self.elements.get_or_init(|| {
            // Lists in lists are not looked into, which also keeps a deep payload from costing stack.
            let objects: &[Arc<Object>] = if self.in_list { &[] } else { &self.shape.objects };
            self.json.map_or_else(Elements::default, |json| Elements::read(json, self.shape, objects))
        })
    }

    /// Whether a list has `value` as an element.
    fn has(&self, value: &Primitive<'_>) -> bool {
        let place = self.shape.place(value).ok();
        place.and_then(|place| self.elements().wanted.get(place)).is_some_and(|found| *found)
    }
}

impl Elements {
    fn read(list: &str, shape: &Shape, objects: &[Arc<Object>]) -> Self {
        let mut found = Self {
            wanted: vec![false; shape.wanted.len()],
            nested: vec![false; shape.nested.len()],
            objects: vec![false; objects.len()],
        };
        let mut missing = shape.wanted.len();
        let mut nested: Vec<(usize, &Literal)> = shape.nested.iter().enumerate().collect();
        let mut objects: Vec<(usize, &Object)> = objects.iter().map(AsRef::as_ref).enumerate().collect();
        json::elements(list, |element| {
            if missing > 0
                && let Some(value) = Primitive::read(element)
                && let Ok(place) = shape.place(&value)
                && let Some(seen) = found.wanted.get_mut(place)
                && !std::mem::replace(seen, true)
            {
                missing -= 1;
            }
            nested.retain(|(place, value)| !(value.is(element) && mark(&mut found.nested, *place)));
            if !objects.is_empty() {
                let node = Node { in_list: true, ..Node::new(Some(element), shape) };
                let mut walk = Walk { time: Timestamp::default(), recorder: None };
                objects.retain(|(place, object)| {
                    let fits = walk.inside(object, &node) == Some(true);
                    !(fits && mark(&mut found.objects, *place))
                });
            }
            missing > 0 || !nested.is_empty() || !objects.is_empty()
        });
        found
    }
}

fn mark(found: &mut [bool], place: usize) -> bool {
    if let Some(found) = found.get_mut(place) {
        *found = true;
    }
    true
}

/// What a condition says about a value that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// The value is of a kind that the operator does not speak of. Counts as no, also for `$nin`.
    Misfit,
}

impl Answer {
    const fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    const fn turned(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Misfit => Self::Misfit,
        }
    }
}

/// Several answers as one: what the first that decides says, else open if one was open.
///
/// An answer is `None`, open, when the value is missing and the question was not whether it is there. `$not`
/// leaves it open; a field takes it for no.
pub(super) struct Fold {
    any: bool,
    verdict: Option<bool>,
    /// For the explanation: where in it each part starts, and what the part said.
    parts: Vec<(usize, Option<bool>)>,
}

impl Fold {
    const fn all() -> Self {
        Self { any: false, verdict: Some(true), parts: Vec::new() }
    }

    const fn any() -> Self {
        Self { any: true, verdict: Some(false), parts: Vec::new() }
    }

    fn add(&mut self, answer: Option<bool>) {
        let deciding = Some(self.any);
        if answer == deciding || self.verdict == deciding {
            self.verdict = deciding;
        } else if answer.is_none() {
            self.verdict = None;
        }
    }

    fn decided(&self) -> bool {
        self.verdict == Some(self.any)
    }

    /// Where in the explanation the parts start that were no reason for the verdict.
    pub(super) fn beside_the_point(&self) -> impl Iterator<Item = (usize, Option<usize>)> + '_ {
        let ends = self.parts.iter().skip(1).map(|(start, _)| Some(*start)).chain([None]);
        // When nothing of `any` holds, every part is to blame.
        let all_count = self.any && self.verdict != Some(true);
        self.parts
            .iter()
            .zip(ends)
            .filter(move |((_, answer), _)| !all_count && *answer != self.verdict)
            .map(|((start, _), end)| (*start, end))
    }
}

struct Walk<'r> {
    time: Timestamp,
    recorder: Option<&'r mut Recorder>,
}

impl Walk<'_> {
    fn schema(&mut self, schema: &Schema, node: &Node<'_>) -> Option<bool> {
        match schema {
            Schema::Check(check) => self.check(check, node),
            Schema::Object(object) => self.object(object, node),
        }
    }

    /// Asks one part, unless nothing it says can matter: with an explanation everything is asked.
    fn step(&mut self, fold: &mut Fold, ask: impl FnOnce(&mut Self) -> Option<bool>) {
        let start = self.recorder.as_ref().map(|recorder| recorder.mark());
        if start.is_none() && fold.decided() {
            return;
        }
        let answer = ask(self);
        fold.add(answer);
        fold.parts.extend(start.map(|start| (start, answer)));
    }

    fn end(&mut self, fold: &Fold) -> Option<bool> {
        if let Some(recorder) = &mut self.recorder {
            recorder.settle(fold);
        }
        fold.verdict
    }

    fn each<T>(&mut self, mut fold: Fold, parts: &[T], ask: impl Fn(&mut Self, &T) -> Option<bool>) -> Option<bool> {
        for part in parts {
            self.step(&mut fold, |walk| ask(walk, part));
        }
        self.end(&fold)
    }

    fn object(&mut self, object: &Object, node: &Node<'_>) -> Option<bool> {
        let mut fold = Fold::all();
        self.step(&mut fold, |walk| walk.each(Fold::all(), &object.checks, |walk, check| walk.check(check, node)));
        if object.looks_inside && !node.in_list && node.kind() == Some(Kind::List) {
            self.step(&mut fold, |walk| {
                let found = node.elements().objects.get(object.place).is_some_and(|found| *found);
                walk.note_fields(object, node, Some(found));
                Some(found)
            });
        } else {
            self.step(&mut fold, |walk| walk.inside(object, node));
        }
        self.end(&fold)
    }

    /// What an object asks besides its own checks.
    fn inside(&mut self, object: &Object, node: &Node<'_>) -> Option<bool> {
        let mut fold = Fold::all();
        if !object.fields.is_empty() && node.kind() != Some(Kind::Object) {
            let answer = node.json.map(|_| false);
            self.step(&mut fold, |walk| {
                walk.note_fields(object, node, answer);
                answer
            });
        } else {
            self.step(&mut fold, |walk| walk.each(Fold::all(), &object.fields, |walk, field| walk.field(field, node)));
        }
        self.step(&mut fold, |walk| walk.each(Fold::all(), &object.branches, |walk, branch| walk.branch(branch, node)));
        self.end(&fold)
    }

    fn field(&mut self, field: &Field, node: &Node<'_>) -> Option<bool> {
        let member = node.members().get(field.slot)?;
        let outer = self.recorder.as_mut().map(|recorder| recorder.enter(&field.key));
        let answer = self.schema(&field.schema, member);
        if let (Some(recorder), Some(outer)) = (&mut self.recorder, outer) {
            recorder.leave(outer);
        }
        Some(answer == Some(true))
    }

    fn branch(&mut self, branch: &Branch, node: &Node<'_>) -> Option<bool> {
        match branch {
            Branch::Any(all) => self.each(Fold::any(), all, |walk, schema| walk.schema(schema, node)),
            Branch::All(all) => self.each(Fold::all(), all, |walk, schema| walk.schema(schema, node)),
            Branch::Not(schema) => self.schema(schema, node).map(|holds| !holds),
        }
    }

    fn check(&mut self, check: &Check, node: &Node<'_>) -> Option<bool> {
        let answer = node.json.map(|json| ask(&check.test, json, node, self.time));
        let holds = match (answer, &check.test) {
            (Some(answer), _) => Some(answer == Answer::Yes),
            (None, Test::Exists(wanted)) => Some(!wanted),
            (None, _) => None,
        };
        if let Some(recorder) = &mut self.recorder {
            let instant = matches!(check.test, Test::When(..) | Test::NotWhen(_));
            let found = match node.json {
                // Instants are compared with their milliseconds, so these are shown.
                Some(_) if instant => Some(Cow::Owned(format!("\"{}\"", self.time))),
                found => found.map(Cow::Borrowed),
            };
            recorder.check(check, found.as_deref(), answer, holds);
        }
        holds
    }

    fn note_fields(&mut self, object: &Object, node: &Node<'_>, answer: Option<bool>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.fields(&object.json, node.json, answer);
        }
    }
}

/// What `test` says about `json`, the value of `node`.
fn ask(test: &Test, json: &str, node: &Node<'_>, time: Timestamp) -> Answer {
    let list = json::kind(json) == Kind::List;
    match test {
        Test::Is(value) if list => Answer::of(node.has(value)),
        Test::Is(value) => {
            let same = value.kind() == json::kind(json);
            Answer::of(same && node.primitive().is_some_and(|found| found.order(value).is_eq()))
        }
        Test::HasAll(values, nested) if list => {
            let has = |place: &usize| node.elements().nested.get(*place).is_some_and(|found| *found);
            Answer::of(values.iter().all(|value| node.has(value)) && nested.iter().all(has))
        }
        Test::HasAll(..) => Answer::Misfit,
        Test::Equals(value) => Answer::of(value.is(json)),
        Test::Differs(value) => Answer::of(!value.is(json)),
        Test::Order(sense, bound) => order(*sense, bound, json, node),
        Test::In(values) => one_of(values, json, node),
        Test::NotIn(values) => one_of(values, json, node).turned(),
        Test::Contains(value) => contains(value, json, node),
        Test::ContainsNot(value) => contains(value, json, node).turned(),
        Test::StartsWith(texts) => affix(node, texts, |found, text| found.starts_with(text)),
        Test::EndsWith(texts) => affix(node, texts, |found, text| found.ends_with(text)),
        Test::Exists(wanted) => Answer::of(*wanted),
        Test::When(sense, times) => Answer::of(times.iter().any(|other| sense.fits(time.cmp(other)))),
        Test::NotWhen(times) => Answer::of(!times.contains(&time)),
    }
}

fn order(sense: Sense, bound: &Primitive<'_>, json: &str, node: &Node<'_>) -> Answer {
    if json::kind(json) != bound.kind() {
        return Answer::Misfit;
    }
    node.primitive().map_or(Answer::Misfit, |found| Answer::of(sense.fits(found.order(bound))))
}

fn one_of(values: &Values, json: &str, node: &Node<'_>) -> Answer {
    match json::kind(json) {
        Kind::Object => Answer::Misfit,
        Kind::List => Answer::of(values.iter().any(|value| node.has(value))),
        _ => Answer::of(node.primitive().is_some_and(|found| values.has(&found))),
    }
}

fn contains(value: &Primitive<'_>, json: &str, node: &Node<'_>) -> Answer {
    if json::kind(json) == Kind::List {
        return Answer::of(node.has(value));
    }
    match (value, node.primitive()) {
        // The standard library's search takes linear time, whatever the two texts are.
        (Primitive::Text(part), Some(Primitive::Text(found))) => Answer::of(found.contains(part.as_ref())),
        _ => Answer::Misfit,
    }
}

fn affix(node: &Node<'_>, texts: &[Box<str>], fits: impl Fn(&str, &str) -> bool) -> Answer {
    match node.primitive() {
        Some(Primitive::Text(found)) => Answer::of(texts.iter().any(|text| fits(&found, text))),
        _ => Answer::Misfit,
    }
}
