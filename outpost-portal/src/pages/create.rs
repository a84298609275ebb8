//! Adding a destination: choosing its type, then one form for everything.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use maud::{Markup, PreEscaped, html};
use outpost_core::{
    Capability, Credentials, DeliverySettings, Descriptor, DestinationId, Error, ErrorKind, NewDestination, Problem,
    StringMap, Topics,
};

use super::fields::pairs::Pairs;
use super::fields::{self, delivery, filter};
use super::topics::{self, Choice};
use crate::cx::{Answer, Cx, Fault};
use crate::icon::{Icon, icon};
use crate::request::Params;
use crate::route::{Href, Route};
use crate::view::form::{Wrong, form as form_of};
use crate::view::{Nav, Page, button_link, empty};

/// The types to choose from; straight on to the form where there is one.
pub(super) async fn types(cx: &Cx<'_>) -> Answer {
    writer(cx)?;
    if let [only] = cx.site.types.as_slice() {
        return Ok(cx.go(&cx.href(Route::NewType(only.kind))));
    }
    if let Some(full) = full(cx, called(cx).await?.len()) {
        return Ok(full.ok(cx));
    }
    let body = html! {
        div.head { h1 { (cx.t("Add a destination")) } }
        p { (cx.t("Where should your account’s events go?")) }
        div.cols {
            @for kind in &cx.site.types {
                section.card {
                    h2 { (drawing(kind.icon)) " " a href=(cx.href(Route::NewType(kind.kind))) { (cx.t(kind.label)) } }
                    p { (cx.t(kind.description)) }
                }
            }
        }
        div.actions { a.btn href=(cx.href(Route::Home)) { (cx.t("Cancel")) } }
    };
    Ok(below(cx, Page::new(cx.t("Add a destination"), Nav::Destinations, body)).ok(cx))
}

/// The empty form.
pub(super) async fn form(cx: &Cx<'_>, kind: &str) -> Answer {
    writer(cx)?;
    let kind = cx.site.kind(kind).ok_or(Fault::NotFound)?;
    if let Some(full) = full(cx, called(cx).await?.len()) {
        return Ok(full.ok(cx));
    }
    Ok(page(cx, kind, None, &Wrong::default()).ok(cx))
}

/// Makes the destination that was described.
pub(super) async fn create(cx: &Cx<'_>, kind: &str) -> Answer {
    writer(cx)?;
    let kind = cx.site.kind(kind).ok_or(Fault::NotFound)?;
    let sent = &cx.request.form;
    let others = called(cx).await?;
    if let Some(full) = full(cx, others.len()) {
        return twice(cx).await.unwrap_or_else(|| Ok(full.with_status(cx, StatusCode::CONFLICT)));
    }
    if sent.has("add_row") {
        return Ok(page(cx, kind, Some(sent), &Wrong::default()).ok(cx).secret());
    }
    let mut wrong = Wrong::default();
    let new = read(cx, kind, &others, &mut wrong);
    wrong.take(cx, &rehearsed(cx, &new).await?, |problem| fields::words(cx, Some(kind), sent, problem));
    if !wrong.is_empty() {
        // The name may be taken by what this very form has made.
        return twice(cx).await.unwrap_or_else(|| Ok(page(cx, kind, Some(sent), &wrong).unprocessable(cx).secret()));
    }
    if !cx.first_time().await? {
        let note = cx.t("This form was sent twice. If the destination is not in the list yet, look again in a moment.");
        return twice(cx).await.unwrap_or_else(|| Ok(cx.go_saying(&cx.href(Route::Home), &note)));
    }
    match cx.outpost.destinations().create(cx.tenant(), new).await {
        Ok(made) => {
            if let Some(nonce) = &cx.form {
                let id = Bytes::copy_from_slice(made.id.as_str().as_bytes());
                // Only a second click needs it.
                if let Err(error) = cx.outpost.ephemeral().put(cx.tenant(), MADE, nonce, id, KEPT).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "what a form has made is not noted");
                }
            }
            cx.audit("create destination", made.id.as_str());
            Ok(cx.go(&overview(cx, made.id.as_str())))
        }
        Err(error) if error.kind() == ErrorKind::Invalid => {
            wrong.take(cx, error.problems(), |problem| fields::words(cx, Some(kind), sent, problem));
            Ok(page(cx, kind, Some(sent), &wrong).unprocessable(cx).secret())
        }
        Err(error) if error.kind() == ErrorKind::LimitReached => {
            Ok(limit(cx, others.len().max(1)).with_status(cx, StatusCode::CONFLICT))
        }
        Err(error) => Err(error.into()),
    }
}

/// Under what the ids of made destinations are noted, and how long.
const MADE: &str = "made";
const KEPT: Duration = Duration::from_secs(24 * 3600);

fn overview(cx: &Cx<'_>, id: &str) -> Href {
    cx.href(Route::Overview(id)).with("created", "1")
}

/// On to the destination that this very form has made already, if it has.
async fn twice(cx: &Cx<'_>) -> Option<Answer> {
    let made = cx.outpost.ephemeral().get(cx.tenant(), MADE, cx.form.as_deref()?).await.ok()??;
    let id = std::str::from_utf8(&made).ok()?.to_owned();
    Some(Ok(cx.go_saying(&overview(cx, &id), &cx.t("This form was sent twice; one destination was added."))))
}

/// Refuses whoever may only look.
fn writer(cx: &Cx<'_>) -> Result<(), Fault> {
    if cx.may(Capability::Write) {
        return Ok(());
    }
    Err(Fault::Core(Error::new(ErrorKind::Forbidden, "add destination", "this needs the capability \"write\"")))
}

/// What the tenant's destinations are called.
async fn called(cx: &Cx<'_>) -> Result<Vec<String>, Fault> {
    let all = cx.outpost.destinations().list(cx.tenant()).await?;
    Ok(all.into_iter().map(|found| found.name.unwrap_or_else(|| found.id.to_string())).collect())
}

/// The page in place of the form when no more may be added.
fn full(cx: &Cx<'_>, count: usize) -> Option<Page> {
    let most = usize::try_from(cx.site.offers.max_destinations).unwrap_or(usize::MAX);
    (count >= most).then(|| limit(cx, count))
}

fn limit(cx: &Cx<'_>, count: usize) -> Page {
    let used = [("count", &count as &dyn std::fmt::Display), ("limit", &cx.site.offers.max_destinations)];
    let body = html! {
        div.head { h1 { (cx.t("Add a destination")) } }
        (empty(
            &cx.f("You have used {count} of {limit} destinations.", &used),
            &cx.t("Delete one that you do not need any more to add another."),
            button_link(&cx.href(Route::Home), &cx.t("All destinations"), false),
        ))
    };
    below(cx, Page::new(cx.t("Add a destination"), Nav::Destinations, body))
}

fn below(cx: &Cx<'_>, page: Page) -> Page {
    page.below([(cx.t("Destinations").into_owned(), cx.href(Route::Home))])
}

/// The destination as described; what is wrong with it goes into `wrong`.
fn read(cx: &Cx<'_>, kind: &Descriptor, others: &[String], wrong: &mut Wrong) -> NewDestination {
    let sent = &cx.request.form;
    let name = fields::read_name(cx, sent, others, wrong);
    let (mut config, mut credentials) = (StringMap::new(), StringMap::new());
    for own in fields::own(cx, kind).into_iter().chain(fields::headers(cx, kind)) {
        if let Some(Some(value)) = fields::read(cx, own, None, sent, wrong) {
            let map = if own.is_config() { &mut config } else { &mut credentials };
            map.insert(own.field.key.to_owned(), value);
        }
    }
    // Whoever may not bring a secret along is refused by the core.
    if let Some(secret) = sent.get("credentials.secret") {
        credentials.insert("secret".to_owned(), secret.to_owned());
    }
    let topics = Choice::posted(cx, sent).read(cx, None, wrong);
    // What is not offered and was sent all the same is refused, not dropped in silence.
    if fields::headers(cx, kind).is_none() && !Pairs::posted(sent, "config.custom_headers", None).is_empty() {
        wrong.add("header_name", cx.t("Custom headers are not offered here."));
    }
    let filter = sent.get("filter").map(str::to_owned);
    if filter.is_some() && !cx.site.filters {
        wrong.add("filter", cx.t("Filters are not offered here."));
    }
    let mut settings = DeliverySettings::default();
    if cx.site.offers.tenant_delivery_settings {
        settings = delivery::read(cx, &settings, sent, wrong);
    } else if delivery::is_typed(sent) {
        wrong.add("timeout", cx.t("Delivery settings are not offered here."));
    }
    NewDestination {
        id: None,
        kind: kind.kind.to_owned(),
        name,
        topics: topics.unwrap_or_else(Topics::all),
        filter: filter.filter(|_| cx.site.filters),
        settings,
        config,
        credentials: Credentials::new(credentials),
        metadata: StringMap::new(),
        delivery_metadata: StringMap::new(),
        disabled: None,
    }
}

/// What the core finds wrong, without anything being made: it never takes the id `new`, and says so along with
/// everything else. So a form's problems are all told at once, and a form is used up only by what can be made.
async fn rehearsed(cx: &Cx<'_>, new: &NewDestination) -> Result<Vec<Problem>, Fault> {
    let Ok(id) = DestinationId::new("new") else { return Ok(Vec::new()) };
    // The name has been checked in our own words.
    let probe = NewDestination { id: Some(id), name: None, ..new.clone() };
    match cx.outpost.destinations().create(cx.tenant(), probe).await {
        Err(error) if error.kind() == ErrorKind::Invalid => {
            Ok(error.problems().iter().filter(|problem| problem.field != "destination_id").cloned().collect())
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(Vec::new()),
    }
}

fn page(cx: &Cx<'_>, kind: &Descriptor, sent: Option<&Params>, wrong: &Wrong) -> Page {
    let title = cx.f("Add a destination: {type}", &[("type", &cx.t(kind.label))]);
    let body = html! {
        div.head { h1 { (title) } }
        p { (cx.t(kind.description)) }
        (wrong.summary(cx))
        @if fields::needs_secrets(kind) && !cx.may(Capability::Secrets) {
            div.note.warn { (icon(Icon::Info)) p { (cx.t("This type of destination has credentials, and you may not enter any. Ask somebody who may.")) } }
        } @else {
            div.cols {
                (form_of(cx, &cx.href(Route::NewType(kind.kind)), inside(cx, kind, sent, wrong)))
                @if !kind.instructions.trim().is_empty() {
                    div { details.more open { summary { (cx.t("Setup guide")) } (guide(&cx.t(kind.instructions))) } }
                }
            }
        }
    };
    below(cx, Page::new(title, Nav::Destinations, body))
}

fn inside(cx: &Cx<'_>, kind: &Descriptor, sent: Option<&Params>, wrong: &Wrong) -> Markup {
    let choice = sent.map_or_else(Choice::default, |sent| Choice::posted(cx, sent));
    let text = |name| sent.map(|sent| sent.text(name)).unwrap_or_default();
    let headers = fields::headers(cx, kind);
    let signing = fields::signing(cx, kind);
    let settings = cx.site.offers.tenant_delivery_settings;
    let options = headers.is_some() || signing.is_some() || settings || cx.site.filters;
    // Closed, what was typed there could not be seen.
    let typed = sent.is_some_and(|sent| {
        !Pairs::posted(sent, "config.custom_headers", None).is_empty()
            || sent.has("add_row")
            || sent.get("filter").is_some()
            || delivery::is_typed(sent)
    });
    html! {
        // What the Enter key stands for; the next button would add a row.
        button.vh type="submit" tabindex="-1" aria-hidden="true" {}
        section.card {
            h2 { (cx.t("Where")) }
            (fields::name(cx, text("name"), wrong))
            @for own in fields::own(cx, kind) { (fields::draw(cx, own, None, sent, wrong)) }
        }
        section.card {
            h2 { (cx.t("What")) }
            (topics::picker(cx, &choice, wrong))
        }
        @if options {
            details.more open[typed || wrong.of("credentials.secret").is_some()] {
                summary { (cx.t("Options")) }
                @if let Some(own) = headers { (fields::draw(cx, own, None, sent, wrong)) }
                @if cx.site.filters { (filter::draw(cx, text("filter"), wrong)) }
                @if settings { (delivery::draw(cx, &DeliverySettings::default(), sent, wrong)) }
                @if signing.is_some() { (fields::signing_field(cx, wrong)) }
            }
        }
        div.actions {
            button.btn.primary type="submit" { (cx.t("Add destination")) }
            a.btn href=(cx.href(Route::Home)) { (cx.t("Cancel")) }
        }
    }
}

/// A type's drawing, which is part of the program, at the size of a letter. A size of its own comes too late to count.
fn drawing(svg: &'static str) -> Markup {
    let sized =
        svg.strip_prefix("<svg ").map(|rest| format!(r#"<svg width="20" height="20" aria-hidden="true" {rest}"#));
    PreEscaped(sized.unwrap_or_default())
}

/// A guide in Markdown, as far as that goes: paragraphs, list entries as paragraphs, and code within a line.
fn guide(text: &str) -> Markup {
    let entry = |line: &str| {
        let line = line.trim_start();
        let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
        line.starts_with("- ") || line.starts_with("* ") || (number.len() < line.len() && number.starts_with(". "))
    };
    let mut paragraphs: Vec<String> = vec![String::new()];
    for line in text.lines() {
        match paragraphs.last_mut() {
            Some(last) if !last.is_empty() && !line.trim().is_empty() && !entry(line) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            Some(last) if last.is_empty() => last.push_str(line.trim()),
            _ => paragraphs.push(line.trim().to_owned()),
        }
    }
    html! {
        @for paragraph in paragraphs.iter().filter(|paragraph| !paragraph.is_empty()) {
            p {
                @let parts: Vec<&str> = paragraph.split('`').collect();
                @if parts.len().is_multiple_of(2) { (paragraph) } @else {
                    @for (index, part) in parts.iter().enumerate() {
                        @if index % 2 == 1 { code { (part) } } @else { (part) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guide_is_paragraphs_and_code_and_nothing_else() {
        let text = "Make a `POST`\nendpoint.\n\n1. One <b>\n2. Two `a` `b`\n- odd ` tick\n\n\n**as it is**";
        let expected = "<p>Make a <code>POST</code> endpoint.</p><p>1. One &lt;b&gt;</p>\
                        <p>2. Two <code>a</code> <code>b</code></p><p>- odd ` tick</p><p>**as it is**</p>";
        assert_eq!(guide(text).into_string(), expected);
        assert_eq!(guide("").into_string(), "");
    }

    #[test]
    fn a_drawing_gets_a_size_and_what_is_none_is_left_out() {
        assert!(drawing("<svg viewBox=\"0 0 1 1\"/>").into_string().starts_with("<svg width=\"20\" height=\"20\""));
        assert_eq!(drawing("https://x.test/icon.png").into_string(), "");
    }
}
