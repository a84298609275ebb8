//! Names and values, such as headers: a map of texts as rows of a form.

use std::collections::BTreeMap;

use maud::{Markup, html};
use outpost_core::{MASK, StringMap};

use crate::cx::Cx;
use crate::request::Params;
use crate::view::code::one_line;
use crate::view::form::{Wrong, check, id_of};

/// The most rows of a form; more than any map may have.
const MOST: usize = 80;

/// The rows of a form.
pub(in crate::pages) struct Pairs {
    rows: Vec<Row>,
    /// Whether the form was sent: an empty row is there because somebody wanted it.
    sent: bool,
}

#[derive(Default)]
struct Row {
    name: String,
    value: String,
    /// It has a value that is not shown.
    kept: bool,
}

/// What the inputs of a map's rows are called.
fn names(path: &str) -> (String, String) {
    match path {
        "config.custom_headers" => ("header_name".to_owned(), "header_value".to_owned()),
        _ => (format!("{path}.name"), format!("{path}.value")),
    }
}

/// The map that a value holds.
fn map(json: Option<&str>) -> StringMap {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

impl Pairs {
    /// Whether even the names may not be seen.
    pub(in crate::pages) fn is_hidden(value: &str) -> bool {
        value == MASK
    }

    /// The names that a value holds, for people.
    pub(in crate::pages) fn names_of(json: &str) -> Vec<String> {
        map(Some(json)).into_keys().map(|name| one_line(&name)).collect()
    }

    /// What is stored; secret values stay where they are.
    pub(in crate::pages) fn stored(json: Option<&str>, secret: bool) -> Self {
        let row = |(name, value)| Row { name, value: if secret { String::new() } else { value }, kept: secret };
        Self { rows: map(json).into_iter().map(row).collect(), sent: false }
    }

    /// What was sent. `kept`: the stored map whose values are not shown.
    pub(in crate::pages) fn posted(form: &Params, path: &str, kept: Option<&str>) -> Self {
        let (name, value) = names(path);
        let kept = map(kept);
        let mut values = form.all(&value);
        let rows = form.all(&name).take(MOST);
        let rows = rows.map(|name| {
            let (name, value) = (name.trim().to_owned(), values.next().unwrap_or_default().trim().to_owned());
            Row { kept: value.is_empty() && kept.contains_key(&name), name, value }
        });
        Self { rows: rows.collect(), sent: true }
    }

    /// Whether nothing was typed.
    pub(in crate::pages) fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.name.is_empty() && row.value.is_empty())
    }

    /// The rows, with an empty one at the end; one more when that was asked for. Values that somebody has just typed
    /// are shown to them again, because they could not add a row otherwise; stored ones never are.
    pub(in crate::pages) fn draw(
        &self,
        cx: &Cx<'_>,
        path: &str,
        legend: &str,
        hint: &str,
        hidden: bool,
        wrong: &Wrong,
    ) -> Markup {
        let (name, value) = names(path);
        let spare = self.rows.last().is_none_or(|row| !row.name.is_empty() || !row.value.is_empty())
            || (self.sent && matches!(cx.request.form.text("add_row"), added if added == path || added == "1"));
        let blank = Row::default();
        let rows: Vec<&Row> = self.rows.iter().chain(spare.then_some(&blank)).collect();
        let list = format!("{}-rows", id_of(&name));
        let keep = cx.t("kept as it is");
        html! {
            fieldset.choices id=(id_of(&name)) {
                legend { (legend) }
                @if let Some(error) = wrong.of(&name) { span.error { (error) } }
                @if !hint.is_empty() { p.hint { (hint) } }
                @if hidden {
                    p { (cx.t("Some are set. You may not see them, but you may put others in the place of all of them.")) }
                    (check("replace", path, &cx.f("Replace all: {field}", &[("field", &legend)]), cx.request.form.all("replace").any(|replaced| replaced == path)))
                } @else if self.rows.iter().any(|row| row.kept) {
                    p.hint { (cx.t("Values are not shown. Leave one empty to keep it; empty its name to remove it.")) }
                }
                input type="hidden" name={ (name) ".rows" } value="1";
                div.field id=(list) {
                    @for (index, row) in rows.iter().enumerate() {
                        @let number = index + 1;
                        @let at = format!("{name}.{index}");
                        div.row {
                            div.field {
                                label for=(id_of(&at)) { (cx.f("Name {number}", &[("number", &number)])) }
                                @if let Some(error) = wrong.of(&at) { span.error id={ (id_of(&at)) "-e" } { (error) } }
                                input type="text" id=(id_of(&at)) name=(name) value=(row.name) autocomplete="off" spellcheck="false"
                                    aria-invalid=[wrong.of(&at).map(|_| "true")] aria-describedby=[wrong.of(&at).map(|_| format!("{}-e", id_of(&at)))];
                            }
                            div.field {
                                label for={ (id_of(&value)) "-" (index) } { (cx.f("Value {number}", &[("number", &number)])) }
                                input type="text" id={ (id_of(&value)) "-" (index) } name=(value) value=(row.value) autocomplete="off" spellcheck="false"
                                    placeholder=[row.kept.then_some(&keep)];
                            }
                            button.btn.jo type="button" data-remove aria-label=(cx.f("Remove row {number}", &[("number", &number)])) { (cx.t("Remove")) }
                        }
                    }
                }
                @if rows.len() < MOST {
                    button.btn.small type="submit" name="add_row" value=(path) data-add={ "#" (list) } { (cx.t("Add row")) }
                }
            }
        }
    }

    /// The change that the rows ask for: the map's text, or that there is to be none. A row without a value keeps the
    /// one that is stored under its name.
    pub(in crate::pages) fn read(
        &self,
        cx: &Cx<'_>,
        path: &str,
        stored: Option<&str>,
        secret: bool,
        replaced: bool,
        wrong: &mut Wrong,
    ) -> Option<Option<String>> {
        let (name, _) = names(path);
        // A form without the rows says nothing about them.
        if self.rows.is_empty() && !cx.request.form.has(&format!("{name}.rows")) {
            return None;
        }
        if stored.is_some_and(Self::is_hidden) && !replaced {
            if !self.is_empty() {
                wrong.add(name, cx.t("Tick “Replace all” to save these: they take the place of all that are set."));
            }
            return None;
        }
        let had = map(stored);
        let mut made = StringMap::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (index, row) in self.rows.iter().enumerate() {
            let at = format!("{name}.{index}");
            let shown = one_line(&row.name.chars().take(64).collect::<String>());
            match (row.name.is_empty(), row.value.is_empty()) {
                (true, true) => continue,
                (true, false) => wrong.add(at, cx.t("Enter a name for this value, or remove the value.")),
                (false, _) if seen.insert(row.name.to_lowercase(), index).is_some() => {
                    wrong.add(at, cx.f("‘{name}’ is listed twice.", &[("name", &shown)]));
                }
                (false, false) => {
                    made.insert(row.name.clone(), row.value.clone());
                }
                (false, true) => match had.get(&row.name).filter(|_| secret) {
                    Some(value) => {
                        made.insert(row.name.clone(), value.clone());
                    }
                    None => wrong.add(at, cx.f("Enter a value for ‘{name}’.", &[("name", &shown)])),
                },
            }
        }
        if made == had && !stored.is_some_and(Self::is_hidden) {
            return None;
        }
        if made.is_empty() { Some(None) } else { serde_json::to_string(&made).ok().map(Some) }
    }

    /// The field and the words for what the core finds wrong with the header `name`; an empty name: with all.
    pub(in crate::pages) fn header_words(
        &self,
        cx: &Cx<'_>,
        path: &str,
        name: &str,
        message: &str,
    ) -> (String, String) {
        let (field, _) = names(path);
        let at = self.rows.iter().position(|row| {
            let start: String = row.name.chars().take(64).collect();
            row.name.eq_ignore_ascii_case(name) || (start == name && !name.is_empty())
        });
        let field = at.map_or_else(|| field.clone(), |index| format!("{field}.{index}"));
        let say = match message {
            "is set by the library and cannot be changed" => "‘{name}’ is set by us and cannot be changed.",
            "is required" => "Enter a value for ‘{name}’.",
            "is given twice, in different spelling" => "‘{name}’ is listed twice.",
            "is not offered here; only the operator can change it" => "Custom headers are not offered here.",
            "must be visible ASCII with spaces only inside" => {
                "The value of ‘{name}’ must be one line of plain ASCII characters."
            }
            "cannot be used together with a user name in the URL" => {
                "‘{name}’ is set already by the user name in the URL. Remove one of them."
            }
            _ if message.starts_with("must have a name of") => {
                "‘{name}’ is not a valid header name. Use letters, digits, - and _."
            }
            _ if name.is_empty() => {
                return (field, cx.f("The headers {problem}.", &[("problem", &message)]));
            }
            _ => {
                let name = one_line(name);
                return (field, cx.f("The value of ‘{name}’ {problem}.", &[("name", &name), ("problem", &message)]));
            }
        };
        (field, cx.f(say, &[("name", &one_line(name))]))
    }
}
