//! A transport's own fields, as its descriptor describes them: drawn, read, and their problems in words.

pub(super) mod delivery;
pub(super) mod filter;
pub(super) mod pairs;

use std::collections::BTreeMap;

use maud::{Markup, html};
use outpost_core::{Capability, Descriptor, Destination, Field as Described, FieldKind, Problem};

use self::pairs::Pairs;
use crate::cx::Cx;
use crate::request::Params;
use crate::site::HEADERS_FIELD;
use crate::text::grouped;
use crate::view::code::one_line;
use crate::view::form::{Field, Kind, Wrong, check, id_of};

/// Changes of a map: a value, or that the entry is to go.
pub(super) type Changes = BTreeMap<String, Option<String>>;

/// The longest name of a destination, in characters.
const MAX_NAME: usize = 128;

/// One field of a type, in the map that it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    /// One of `config` and `credentials`.
    side: &'static str,
    pub(super) field: &'a Described,
}

impl Own<'_> {
    /// The name of the form's field, such as `config.url`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.side, self.field.key)
    }

    pub(super) fn is_config(&self) -> bool {
        self.side == "config"
    }

    /// What a destination has.
    pub(super) fn stored<'d>(&self, destination: &'d Destination) -> Option<&'d str> {
        let map = if self.is_config() { &destination.config } else { destination.credentials.expose() };
        map.get(self.field.key).map(String::as_str)
    }
}

/// The fields of the endpoint that the user may set. Headers and signing secrets have places of their own.
pub(super) fn own<'a>(cx: &Cx<'_>, kind: &'a Descriptor) -> Vec<Own<'a>> {
    let config = kind.config_fields.iter().filter(|field| field.key != HEADERS_FIELD);
    let config = config.map(|field| Own { side: "config", field });
    let secrets = cx.may(Capability::Secrets);
    let credentials = kind.credential_fields.iter().filter(|field| secrets && !is_managed(field));
    config.chain(credentials.map(|field| Own { side: "credentials", field })).collect()
}

/// The field of the headers that users add, where they are offered.
pub(super) fn headers<'a>(cx: &Cx<'_>, kind: &'a Descriptor) -> Option<Own<'a>> {
    let field = kind.config_fields.iter().find(|field| field.key == HEADERS_FIELD)?;
    cx.site.custom_headers.then_some(Own { side: "config", field })
}

/// The signing secret that a user may bring along.
pub(super) fn signing<'a>(cx: &Cx<'_>, kind: &'a Descriptor) -> Option<Own<'a>> {
    let field = kind.credential_fields.iter().find(|field| field.key == "secret" && is_managed(field))?;
    cx.may(Capability::Secrets).then_some(Own { side: "credentials", field })
}

/// Whether the page of the signing secret takes care of it.
fn is_managed(field: &Described) -> bool {
    let name = matches!(field.key, "secret" | "previous_secret" | "previous_secret_invalid_at" | "older_secrets");
    name && !field.required
}

/// Whether somebody without the capability for secrets cannot make a destination of this type.
pub(super) fn needs_secrets(kind: &Descriptor) -> bool {
    kind.credential_fields.iter().any(|field| field.required)
}

/// Draws a field: as it was sent, else as it is stored, else empty. What is secret is never shown again.
pub(super) fn draw(
    cx: &Cx<'_>,
    own: Own<'_>,
    stored: Option<&Destination>,
    form: Option<&Params>,
    wrong: &Wrong,
) -> Markup {
    let (path, field) = (own.path(), own.field);
    let has = stored.and_then(|destination| own.stored(destination)).filter(|value| !value.is_empty());
    let value = match form {
        Some(form) => form.text(&path).to_owned(),
        None => has.unwrap_or_default().to_owned(),
    };
    let (label, hint) = (cx.t(field.label), cx.t(field.description));
    if matches!(field.kind, FieldKind::KeyValueMap) {
        let kept = has.filter(|_| field.sensitive);
        let pairs = form.map_or_else(|| Pairs::stored(has, field.sensitive), |form| Pairs::posted(form, &path, kept));
        return pairs.draw(cx, &path, &label, &hint, has.is_some_and(Pairs::is_hidden), wrong);
    }
    if matches!(field.kind, FieldKind::Checkbox) {
        return html! {
            div.field {
                @if let Some(error) = wrong.of(&path) { span.error id=(id_of(&path)) { (error) } }
                (check(&path, "true", &label, value == "true"))
                @if !hint.is_empty() { span.hint { (hint) } }
            }
        };
    }
    let keep = cx.t("Leave this empty to keep what is set.");
    let kept = field.sensitive && has.is_some();
    let how = match &field.kind {
        _ if field.sensitive => Kind::Secret,
        FieldKind::Number { .. } => Kind::Line("numeric"),
        FieldKind::Select { options } => {
            let options = options.iter().map(|(value, label)| ((*value).to_owned(), cx.t(label).into_owned()));
            let none = (!field.required || value.is_empty()).then(|| (String::new(), "–".to_owned()));
            Kind::Select(none.into_iter().chain(options).collect())
        }
        _ if field.key == "url" => Kind::Line("url"),
        _ => Kind::Line(""),
    };
    let shown = if field.sensitive { "" } else { value.as_str() };
    let mut drawn = Field::new(&path, &label, shown, how).hint(if kept { &keep } else { &hint });
    if !field.required {
        drawn = drawn.optional();
    }
    html! {
        (drawn.show(cx, wrong))
        @if kept {
            (check("replace", &path, &cx.f("Replace or remove: {field}", &[("field", &label)]), form.is_some_and(|form| replaces(form, &path))))
        }
    }
}

fn replaces(form: &Params, path: &str) -> bool {
    form.all("replace").any(|replaced| replaced == path)
}

/// What was sent for a field, as a change: `None` leaves it as it is. A new destination has nothing to keep.
pub(super) fn read(
    cx: &Cx<'_>,
    own: Own<'_>,
    stored: Option<&Destination>,
    form: &Params,
    wrong: &mut Wrong,
) -> Option<Option<String>> {
    let path = own.path();
    let has = stored.and_then(|destination| own.stored(destination));
    if matches!(own.field.kind, FieldKind::KeyValueMap) {
        let replaced = replaces(form, &path);
        return Pairs::posted(form, &path, None).read(cx, &path, has, own.field.sensitive, replaced, wrong);
    }
    let (given, typed) = (form.has(&path), form.text(&path));
    if matches!(own.field.kind, FieldKind::Checkbox) {
        // A box that is not ticked is not sent.
        return match (given, has) {
            (true, _) => Some(Some("true".to_owned())),
            (false, Some(_)) => Some(Some("false".to_owned())),
            (false, None) => own.field.required.then(|| Some("false".to_owned())),
        };
    }
    if own.field.sensitive {
        return match (typed.is_empty(), replaces(form, &path)) {
            (false, _) => Some(Some(typed.to_owned())),
            (true, true) => has.map(|_| None),
            (true, false) => None,
        };
    }
    match typed.trim() {
        "" if given => has.map(|_| None),
        "" => None,
        text => Some(Some(text.to_owned())),
    }
}

/// A name that is fine, or what is wrong with it. `others`: what the tenant's other destinations are called.
pub(super) fn read_name(cx: &Cx<'_>, form: &Params, others: &[String], wrong: &mut Wrong) -> Option<String> {
    let name = form.text("name").trim();
    if name.is_empty() {
        return None;
    }
    if name.chars().count() > MAX_NAME {
        wrong.add("name", cx.f("Use {count} characters or fewer.", &[("count", &MAX_NAME)]));
    } else if name.chars().any(char::is_control) {
        wrong.add("name", cx.t("Use letters, digits and signs on one line."));
    } else if let Some(other) = others.iter().find(|other| other.to_lowercase() == name.to_lowercase()) {
        let message = cx.f("You already have a destination called ‘{name}’.", &[("name", &one_line(other))]);
        wrong.add("name", message);
    }
    Some(name.to_owned())
}

/// The field for a destination's name.
pub(super) fn name(cx: &Cx<'_>, value: &str, wrong: &Wrong) -> Markup {
    Field::new("name", &cx.t("Name"), value, Kind::Line(""))
        .hint(&cx.t("What this portal calls it."))
        .optional()
        .show(cx, wrong)
}

/// The form's own field and our words for a problem that the core found.
pub(super) fn words(
    cx: &Cx<'_>,
    kind: Option<&Descriptor>,
    form: &Params,
    problem: &Problem,
) -> Option<(String, String)> {
    let (field, message) = (problem.field.as_str(), problem.message.as_str());
    if field == "filter" || field.starts_with("filter.") || field.starts_with("filter[") {
        return Some(("filter".to_owned(), filter::words(cx, form.text("filter"), problem)));
    }
    if field == "settings" || field.starts_with("settings.") {
        return Some(delivery::words(cx, problem));
    }
    let kind = kind?;
    if let Some(own) = headers(cx, kind)
        && let Some(rest) = field.strip_prefix(&own.path())
    {
        let name = rest.strip_prefix('.').unwrap_or_default();
        return Some(Pairs::posted(form, &own.path(), None).header_words(cx, &own.path(), name, message));
    }
    if field == "credentials.secret" {
        return Some((field.to_owned(), cx.f("The signing secret {problem}.", &[("problem", &message)])));
    }
    let all = kind.known_config_fields().map(|field| Own { side: "config", field });
    let all = all.chain(kind.credential_fields.iter().map(|field| Own { side: "credentials", field }));
    let own = all.into_iter().find(|own| field == own.path())?;
    let label = cx.t(own.field.label);
    let say = match (own.field.key, message) {
        (_, "is not offered here; only the operator can change it") => {
            return Some((field.to_owned(), cx.f("“{field}” is not offered here.", &[("field", &label)])));
        }
        ("url", _) => return Some((field.to_owned(), url_words(cx, message))),
        (_, "is required") => "Fill in “{field}”.",
        _ => {
            return Some((field.to_owned(), cx.f("“{field}” {problem}.", &[("field", &label), ("problem", &message)])));
        }
    };
    Some((field.to_owned(), cx.f(say, &[("field", &label)])))
}

fn url_words(cx: &Cx<'_>, message: &str) -> String {
    let say = match message {
        "is required" => "Enter the URL that should receive events.",
        "must start with https:// or http://" => "Enter a URL that starts with https:// or http://.",
        "must start with https://" => "Enter a URL that starts with https://.",
        "must not hold spaces or control characters" => "Remove the spaces from the URL.",
        "must have a host" | "must have a host after ://" => {
            "Enter a URL with the name of a host, such as https://example.com/hooks."
        }
        "must be ASCII after the host; percent-encode other characters" => {
            "Behind the host, percent-encode every character that is not plain ASCII."
        }
        _ if message.starts_with("must be at most") => {
            return cx.f("Use a URL of {count} characters or fewer.", &[("count", &grouped(2048))]);
        }
        _ if message.starts_with("is not a URL") => "This is not a URL. Check its spelling.",
        _ if message == unreachable() => {
            "We cannot send to this address: its name was not found, or it does not lead to the public internet."
        }
        _ => return cx.f("The URL {problem}.", &[("problem", &message)]),
    };
    cx.t(say).into_owned()
}

/// What the core says to tenants of every address that it refuses.
fn unreachable() -> String {
    let refused = outpost_core::VetError::refused("", "");
    refused.problems.into_iter().next().map(|problem| problem.message).unwrap_or_default()
}

/// The field for a signing secret of the user's own.
pub(super) fn signing_field(cx: &Cx<'_>, wrong: &Wrong) -> Markup {
    Field::new("credentials.secret", &cx.t("Signing secret"), "", Kind::Secret)
        .hint(&cx.t("Leave it empty: one is made."))
        .optional()
        .show(cx, wrong)
}
