//! The filter of a destination: its field, its problems in words, and trying it out.

use maud::{Markup, html};
use outpost_core::{DestinationFilter, ErrorKind, Explanation, FilterInput, Problem, StringMap};
use serde::de::IgnoredAny;

use crate::cx::{Cx, Fault};
use crate::icon::{Icon, icon};
use crate::request::Params;
use crate::route::Route;
use crate::view::code::one_line;
use crate::view::form::{Field, Kind, Wrong};

/// The most conditions of an explanation that are listed.
const LISTED: usize = 50;

/// The field of the filter.
pub(in crate::pages) fn draw(cx: &Cx<'_>, value: &str, wrong: &Wrong) -> Markup {
    let hint = r#"A JSON object. Only events that fit are sent: {"data": {"amount": {"$gte": 100}}}"#;
    html! {
        (Field::new("filter", &cx.t("Filter"), value, Kind::Lines(6)).hint(&cx.t(hint)).optional().show(cx, wrong))
        p { a href=(cx.href(Route::Help("filters"))) { (cx.t("How filters work")) } }
    }
}

/// Our words for what the core finds wrong with a filter.
pub(super) fn words(cx: &Cx<'_>, text: &str, problem: &Problem) -> String {
    let message = problem.message.as_str();
    let path = problem.field.strip_prefix("filter").unwrap_or(&problem.field);
    let path = one_line(path.strip_prefix('.').unwrap_or(path));
    if path.is_empty() {
        return match message {
            "must be a JSON object" => {
                cx.t(r#"A filter is a JSON object, for example {"data": {"status": "paid"}}."#).into_owned()
            }
            "is not offered here; only the operator can change it" => {
                cx.t("Filters are not offered here.").into_owned()
            }
            _ => syntax(cx, text).unwrap_or_else(|| cx.f("The filter {problem}.", &[("problem", &message)])),
        };
    }
    if let Some(rest) = message.strip_prefix("is not an operator; there are ") {
        let given = path.rsplit('.').next().unwrap_or_default();
        let known = rest.split([' ', ',']).filter(|word| word.starts_with('$'));
        let near = known.map(|word| (distance(given, word), word)).min().filter(|(steps, _)| *steps <= 2);
        return match near {
            Some((_, near)) => {
                cx.f("Unknown operator {given}. Did you mean {near}?", &[("given", &given), ("near", &near)])
            }
            None => cx.f("Unknown operator {given}. There are {known}.", &[("given", &given), ("known", &rest)]),
        };
    }
    cx.f("{path} {problem}.", &[("path", &path), ("problem", &message)])
}

/// Where and why a text is not JSON; `None` when it is.
fn syntax(cx: &Cx<'_>, text: &str) -> Option<String> {
    let error = serde_json::from_str::<IgnoredAny>(text).err()?;
    let said = error.to_string();
    let said = match said.split(" at line ").next().unwrap_or_default() {
        said if said.starts_with("EOF") => cx.t("the text ends too soon"),
        "expected value" => cx.t("a value is expected here"),
        "expected `,` or `}`" => cx.t("expected a comma or }"),
        "expected `,` or `]`" => cx.t("expected a comma or ]"),
        "expected `:`" => cx.t("expected a colon"),
        "trailing comma" => cx.t("there is a comma too many"),
        "key must be a string" => cx.t("expected a name in double quotes"),
        "trailing characters" => cx.t("there is more after the end"),
        said => said.to_owned().into(),
    };
    let (line, column) = (error.line(), error.column());
    Some(cx.f("Line {line}, column {column}: {problem}.", &[("line", &line), ("column", &column), ("problem", &said)]))
}

/// How many letters must change to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().take(64).enumerate() {
        let mut next = vec![index + 1];
        for (steps, known) in row.windows(2).zip(&other) {
            let (&[diagonal, above], Some(&left)) = (steps, next.last()) else { break };
            next.push((diagonal + usize::from(letter != *known)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// The fields to try a filter with.
pub(in crate::pages) fn try_fields(cx: &Cx<'_>, form: Option<&Params>, wrong: &Wrong) -> Markup {
    let text = |name| form.map(|form| form.text(name)).unwrap_or_default();
    html! {
        (Field::new("event_id", &cx.t("ID of an event"), text("event_id"), Kind::Line("")).optional().show(cx, wrong))
        (Field::new("sample_topic", &cx.t("Or a topic"), text("sample_topic"), Kind::Line("")).optional().show(cx, wrong))
        (Field::new("sample", &cx.t("And the data of an event"), text("sample"), Kind::Lines(5)).hint(&cx.t("A JSON object.")).optional().show(cx, wrong))
        button.btn type="submit" name="try" value="1" { (cx.t("Try it")) }
    }
}

/// Asks the filter as typed of the event that was chosen. Nothing is saved.
pub(in crate::pages) async fn try_it(cx: &Cx<'_>, form: &Params, wrong: &mut Wrong) -> Result<Option<Markup>, Fault> {
    let text = form.get("filter").unwrap_or("{}");
    let filter = match DestinationFilter::parse(text) {
        Ok(filter) => Some(filter),
        Err(problems) => {
            problems.iter().for_each(|problem| wrong.add("filter", words(cx, text, problem)));
            None
        }
    };
    let explained = if let Some(id) = form.get("event_id") {
        match cx.outpost.events().get(cx.tenant(), id).await {
            Ok(event) => filter.map(|filter| filter.explain(&FilterInput::from(&*event))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                wrong.add("event_id", cx.t("There is no event with this ID."));
                None
            }
            Err(error) => return Err(error.into()),
        }
    } else if let Some(sample) = form.get("sample") {
        if let Some(message) = syntax(cx, sample) {
            wrong.add("sample", message);
        } else if !sample.starts_with('{') {
            wrong.add("sample", cx.t("The data of an event is a JSON object."));
        }
        let metadata = StringMap::new();
        let topic = form.get("sample_topic").unwrap_or_default();
        let input = FilterInput { id: "", topic, time: cx.now, metadata: &metadata, data: sample.as_bytes() };
        filter.map(|filter| filter.explain(&input))
    } else {
        wrong.add("sample", cx.t("Give the ID of an event, or paste an event’s data."));
        None
    };
    Ok(explained.filter(|_| wrong.is_empty()).map(|explained| verdict(cx, &explained)))
}

fn verdict(cx: &Cx<'_>, explained: &Explanation) -> Markup {
    let (class, sign, text) = if explained.matches {
        ("note ok", Icon::Check, "This event fits the filter: it would be sent.")
    } else {
        ("note fail", Icon::Cross, "This event does not fit the filter: it would not be sent.")
    };
    let more = explained.conditions.len().saturating_sub(LISTED);
    html! {
        div #tried class=(class) role="status" { (icon(sign)) p { (cx.t(text)) } }
        ol.ladder {
            @for condition in explained.conditions.iter().take(LISTED) {
                li.ok[condition.held].fail[!condition.held] {
                    @if condition.decisive { strong { (one_line(&condition.text)) } } @else { (one_line(&condition.text)) }
                }
            }
        }
        @if more > 0 { p.muted { (cx.n(u64::try_from(more).unwrap_or(0), "One more condition is not listed.", "{count} more conditions are not listed.")) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_operator_is_found_by_letters() {
        assert_eq!(distance("$gtt", "$gt"), 1);
        assert_eq!(distance("$startswith", "$startsWith"), 1);
        assert_eq!(distance("", "$or"), 3);
        assert_eq!(distance("$or", "$or"), 0);
    }
}
