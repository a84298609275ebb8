//! Why a filter fits an event or does not, for people.

use std::fmt;

use serde::Serialize;

use super::matching::{Answer, Fold};
use super::path::push_key;
use super::schema::{Check, Sense, Test};
use crate::values::text::cut;

/// The most bytes of a value that an explanation shows.
pub const MAX_EXPLAINED_VALUE: usize = 200;

/// The most reasons that the text of an explanation names.
const MAX_REASONS: usize = 5;

/// Why a [`DestinationFilter`](super::DestinationFilter) fits an event or does not.
///
/// Its text is one line with the verdict and up to five reasons, such as
/// `does not match: data.amount is 5, which is not greater than 10`. It shows parts of the event's payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The verdict; always what [`matches`](super::DestinationFilter::matches) says.
    pub matches: bool,
    /// Every condition that was asked. An object that is asked of a list is one condition, as are the fields
    /// asked of a value that has none.
    pub conditions: Vec<ExplainedCondition>,
}

/// One condition of a filter and what it found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedCondition {
    /// The value that was looked at, such as `data.amount`. Long keys are cut.
    pub path: String,
    /// The operator as written; `equals` and `contains` for a bare value and a bare list, `fields` for an
    /// object of fields.
    pub operator: &'static str,
    /// The operand as JSON text, cut to [`MAX_EXPLAINED_VALUE`] bytes and an ellipsis.
    pub expected: String,
    /// The value as JSON text as it was published, cut likewise; `None` if it is missing.
    pub found: Option<String>,
    /// Whether the condition held by itself.
    pub held: bool,
    /// Whether it is a reason for the verdict. Under `$not` a condition that held is the reason for a no.
    pub decisive: bool,
    /// The same as part of a sentence, such as `data.amount is 5, which is not greater than 10`.
    pub text: String,
}

impl fmt::Display for ExplainedCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.matches { "matches" } else { "does not match" })?;
        let reasons = || self.conditions.iter().filter(|condition| condition.decisive);
        for (index, reason) in reasons().take(MAX_REASONS).enumerate() {
            write!(f, "{} {reason}", if index == 0 { ":" } else { ";" })?;
        }
        match reasons().count().saturating_sub(MAX_REASONS) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Takes down what the walk asks and finds.
#[derive(Default)]
pub(super) struct Recorder {
    path: String,
    conditions: Vec<ExplainedCondition>,
}

impl Recorder {
    pub(super) fn finish(self, matches: bool) -> Explanation {
        Explanation { matches, conditions: self.conditions }
    }

    /// Goes into a member; the answer leads back out with [`Recorder::leave`].
    pub(super) fn enter(&mut self, key: &str) -> usize {
        let outer = self.path.len();
        push_key(&mut self.path, key);
        outer
    }

    pub(super) fn leave(&mut self, outer: usize) {
        self.path.truncate(outer);
    }

    /// Where the next condition will be.
    pub(super) const fn mark(&self) -> usize {
        self.conditions.len()
    }

    /// Clears the conditions of those parts that were no reason for the verdict.
    pub(super) fn settle(&mut self, fold: &Fold) {
        for (start, end) in fold.beside_the_point() {
            let end = end.unwrap_or(self.conditions.len());
            let part = self.conditions.get_mut(start..end).unwrap_or_default();
            part.iter_mut().for_each(|condition| condition.decisive = false);
        }
    }

    pub(super) fn check(&mut self, check: &Check, found: Option<&str>, answer: Option<Answer>, holds: Option<bool>) {
        let predicate = match (&check.test, answer) {
            (Test::Exists(_), Some(_)) => "is there".to_owned(),
            (_, None) => "is missing".to_owned(),
            (test, Some(answer)) => {
                let found = found.unwrap_or_default();
                format!("is {}, which {} {}", shown(found), phrase(test, found, answer), shown(&check.json))
            }
        };
        self.note(check.operator, &check.json, found, holds, &predicate);
    }

    /// The fields of an object, asked of a list's elements or of a value that has none.
    pub(super) fn fields(&mut self, object: &str, found: Option<&str>, answer: Option<bool>) {
        let predicate = match found {
            None => "is missing".to_owned(),
            Some(list) if list.starts_with('[') => {
                let one = if answer == Some(true) { "an element fits" } else { "no element fits" };
                format!("is {}, of which {one} {}", shown(list), shown(object))
            }
            Some(value) => format!("is {}, which has no fields to fit {}", shown(value), shown(object)),
        };
        self.note("fields", object, found, answer, &predicate);
    }

    fn note(
        &mut self,
        operator: &'static str,
        expected: &str,
        found: Option<&str>,
        holds: Option<bool>,
        predicate: &str,
    ) {
        self.conditions.push(ExplainedCondition {
            path: self.path.clone(),
            operator,
            expected: shown(expected),
            found: found.map(shown),
            held: holds == Some(true),
            decisive: true,
            text: format!("{} {predicate}", self.path),
        });
    }
}

/// A value, cut between characters if it is long.
fn shown(json: &str) -> String {
    let short = cut(json, MAX_EXPLAINED_VALUE);
    if short.len() == json.len() { json.to_owned() } else { format!("{short}…") }
}

/// How `answer` is said about a value that is there, before the operand.
fn phrase(test: &Test, found: &str, answer: Answer) -> &'static str {
    let yes = match answer {
        Answer::Misfit => return "cannot be compared with",
        Answer::Yes => true,
        Answer::No => false,
    };
    let list = found.starts_with('[');
    let either = |held: &'static str, not: &'static str| if yes { held } else { not };
    let turned = |held: &'static str, not: &'static str| if yes { not } else { held };
    match test {
        Test::Is(_) if list => either("contains", "does not contain"),
        Test::Is(_) | Test::Equals(_) => either("equals", "does not equal"),
        Test::HasAll(..) => either("contains all of", "does not contain all of"),
        Test::Differs(_) => either("differs from", "does not differ from"),
        Test::Order(sense, _) => order(*sense, yes),
        Test::In(_) if list => either("contains one of", "contains none of"),
        Test::In(_) => either("is one of", "is not one of"),
        Test::NotIn(_) if list => turned("contains one of", "contains none of"),
        Test::NotIn(_) => turned("is one of", "is not one of"),
        Test::Contains(_) => either("contains", "does not contain"),
        Test::ContainsNot(_) => turned("contains", "does not contain"),
        Test::StartsWith(texts) if texts.len() > 1 => either("starts with one of", "starts with none of"),
        Test::StartsWith(_) => either("starts with", "does not start with"),
        Test::EndsWith(texts) if texts.len() > 1 => either("ends with one of", "ends with none of"),
        Test::EndsWith(_) => either("ends with", "does not end with"),
        Test::Exists(_) => either("is there as asked by", "is there despite"),
        Test::When(_, times) if times.len() > 1 => either("is one of", "is not one of"),
        Test::When(sense, _) => order(*sense, yes),
        Test::NotWhen(times) if times.len() > 1 => turned("is one of", "is not one of"),
        Test::NotWhen(_) => turned("equals", "does not equal"),
    }
}

const fn order(sense: Sense, yes: bool) -> &'static str {
    match (sense, yes) {
        (Sense::Greater, true) => "is greater than",
        (Sense::Greater, false) => "is not greater than",
        (Sense::AtLeast, true) => "is at least",
        (Sense::AtLeast, false) => "is not at least",
        (Sense::Less, true) => "is less than",
        (Sense::Less, false) => "is not less than",
        (Sense::AtMost, true) => "is at most",
        (Sense::AtMost, false) => "is not at most",
        (Sense::Same, true) => "equals",
        (Sense::Same, false) => "does not equal",
    }
}
