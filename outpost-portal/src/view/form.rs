//! Forms: fields with labels, hints and errors, and the summary of what is wrong.

use maud::{Markup, html};
use outpost_core::Problem;

use crate::cx::Cx;
use crate::icon::{Icon, icon};

/// What is wrong with a form, by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrong(Vec<(String, String)>);

impl Wrong {
    pub(crate) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push((field.into(), message.into()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first message about a field.
    pub(crate) fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == field).map(|(_, message)| message.as_str())
    }

    /// The core's problems: `say` finds the form's own name of a field and words for it; what it does not know is said
    /// as the core says it.
    pub(crate) fn take(
        &mut self,
        cx: &Cx<'_>,
        problems: &[Problem],
        say: impl Fn(&Problem) -> Option<(String, String)>,
    ) {
        for problem in problems {
            match say(problem) {
                Some((field, message)) => self.add(field, message),
                None => {
                    let known = problem.field.clone();
                    let label = known.rsplit('.').next().unwrap_or(&known).replace('_', " ");
                    let message =
                        cx.f("The field {field} {problem}.", &[("field", &label), ("problem", &problem.message)]);
                    self.add(known, message);
                }
            }
        }
    }

    /// The box at the top of a form, with links to the fields.
    pub(crate) fn summary(&self, cx: &Cx<'_>) -> Markup {
        html! {
            @if !self.0.is_empty() {
                div.errors role="alert" tabindex="-1" data-focus {
                    (icon(Icon::Warning))
                    h2 { (cx.t("Something is not right yet")) }
                    ul { @for (field, message) in &self.0 { li { a href={ "#" (id_of(field)) } { (message) } } } }
                }
            }
        }
    }
}

/// The element id of a field.
pub(crate) fn id_of(field: &str) -> String {
    let plain: String = field.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("f-{plain}")
}

/// What a field is made of.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) label: &'a str,
    pub(crate) hint: &'a str,
    pub(crate) value: &'a str,
    pub(crate) optional: bool,
    pub(crate) kind: Kind<'a>,
}

/// How a field is edited.
pub(crate) enum Kind<'a> {
    /// One line. The text is the `inputmode`, such as `url` or `numeric`; empty for plain text.
    Line(&'a str),
    /// A secret that is never shown again.
    Secret,
    /// Many lines.
    Lines(u32),
    /// One of some, each a value and a label.
    Select(Vec<(String, String)>),
    /// A date and a time.
    Time,
}

impl<'a> Field<'a> {
    pub(crate) const fn new(name: &'a str, label: &'a str, value: &'a str, kind: Kind<'a>) -> Self {
        Self { name, label, hint: "", value, optional: false, kind }
    }

    #[must_use]
    pub(crate) const fn hint(mut self, hint: &'a str) -> Self {
        self.hint = hint;
        self
    }

    #[must_use]
    pub(crate) const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub(crate) fn show(&self, cx: &Cx<'_>, wrong: &Wrong) -> Markup {
        let id = id_of(self.name);
        let error = wrong.of(self.name);
        let (hint_id, error_id) = (format!("{id}-h"), format!("{id}-e"));
        let described = match (self.hint.is_empty(), error.is_some()) {
            (true, false) => None,
            (false, false) => Some(hint_id.clone()),
            (true, true) => Some(error_id.clone()),
            (false, true) => Some(format!("{error_id} {hint_id}")),
        };
        let invalid = error.is_some().then_some("true");
        html! {
            div.field {
                label for=(id) {
                    (self.label)
                    @if self.optional { " " span.muted { (cx.t("(optional)")) } }
                }
                @if !self.hint.is_empty() { span.hint id=(hint_id) { (self.hint) } }
                @if let Some(error) = error { span.error id=(error_id) { (error) } }
                @match &self.kind {
                    Kind::Line(mode) => input type="text" id=(id) name=(self.name) value=(self.value)
                        inputmode=[(!mode.is_empty()).then_some(*mode)] aria-invalid=[invalid] aria-describedby=[described]
                        autocomplete="off" spellcheck="false";,
                    Kind::Secret => input type="password" id=(id) name=(self.name) aria-invalid=[invalid]
                        aria-describedby=[described] autocomplete="new-password";,
                    Kind::Lines(rows) => textarea id=(id) name=(self.name) rows=(rows) aria-invalid=[invalid]
                        aria-describedby=[described] spellcheck="false" { "\n" (self.value) },
                    Kind::Select(options) => select id=(id) name=(self.name) aria-invalid=[invalid] aria-describedby=[described] {
                        @for (value, label) in options { option value=(value) selected[value == self.value] { (label) } }
                    },
                    Kind::Time => input type="datetime-local" id=(id) name=(self.name) value=(self.value)
                        aria-invalid=[invalid] aria-describedby=[described];,
                }
            }
        }
    }
}

/// A form that is checked by us alone, so that its words are ours. `inside` is all of it but the token.
pub(crate) fn form(cx: &Cx<'_>, to: &crate::route::Href, inside: Markup) -> Markup {
    html! {
        form.stack method="post" action=(to) novalidate data-guard {
            input type="hidden" name="form_token" value=(cx.form_token());
            (inside)
        }
    }
}

/// A tick box with its label.
pub(crate) fn check(name: &str, value: &str, label: &str, on: bool) -> Markup {
    html! { label.check { input type="checkbox" name=(name) value=(value) checked[on]; span { (label) } } }
}
