//! Test events: one request at once, and all of what came back.
//!
//! The core does not store them, so what came back is kept for a day under an id that the next page is asked with.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{StatusCode, header};
use maud::{Markup, html};
use outpost_core::{
    Attempt, AttemptError, Capability, Destination, ErrorKind, Outcome, RequestRecord, ResponseRecord, TestEvent,
    Timestamp,
};
use serde::{Deserialize, Serialize};

use super::lifecycle::{destination_to_change, lane};
use crate::cx::{Answer, Cx, Fault};
use crate::icon::{Icon, icon};
use crate::route::Route;
use crate::view::form::{Field, Kind, Wrong, form};
use crate::view::{Nav, Page, Tab, button_link, code, copy_button, destination_head, empty, outcome};

/// The largest payload, in bytes.
const MAX_DATA: usize = 256 << 10;
/// How long a result is kept.
const KEPT: Duration = Duration::from_secs(3600);
/// How much of the answer's body is kept, in bytes.
const BODY: usize = 32 << 10;
/// The most that one record may have, in bytes; a result is made to fit.
const RECORD: usize = 64 << 10;
const EXAMPLE: &str = "{\n  \"message\": \"This is a test event.\",\n  \"test\": true\n}";

/// What is kept of an attempt.
#[derive(Serialize, Deserialize)]
struct Kept {
    started_at: Timestamp,
    millis: u64,
    topic: String,
    outcome: Outcome,
    error: Option<AttemptError>,
    request: Option<RequestRecord>,
    response: Option<ResponseRecord>,
    /// The first bytes of the answer's body, in base64.
    body: String,
    /// How long the body was, as far as it was read.
    length: usize,
    /// Headers were left out, because there were too many of them.
    headers_cut: bool,
}

impl Kept {
    fn new(attempt: Attempt) -> Self {
        let whole = attempt.response.as_ref().map(|response| response.body.clone()).unwrap_or_default();
        let error = attempt.error.map(|error| AttemptError { detail: String::new(), ..error });
        Self {
            started_at: attempt.started_at,
            millis: u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
            topic: attempt.topic.to_string(),
            outcome: attempt.outcome,
            error,
            request: attempt.request,
            response: attempt.response,
            body: STANDARD.encode(first(&whole)),
            length: whole.len(),
            headers_cut: false,
        }
    }

    /// As it is stored, with fewer headers if they are too long.
    fn written(mut self) -> Option<Bytes> {
        loop {
            let bytes = serde_json::to_vec(&self).ok()?;
            if bytes.len() <= RECORD {
                return Some(bytes.into());
            }
            self.headers_cut = true;
            let response = self.response.as_mut().map(|response| &mut response.headers);
            let request = self.request.as_mut().map(|request| &mut request.headers);
            let longest = response.into_iter().chain(request).max_by_key(|headers| headers.len())?;
            longest.pop()?;
            longest.truncate(longest.len().div_ceil(2));
        }
    }

    fn status(&self) -> Option<u16> {
        self.response.as_ref().map(|response| response.status)
    }

    fn duration(&self) -> Duration {
        Duration::from_millis(self.millis)
    }
}

/// The first bytes of a body; a character is not cut in two.
fn first(body: &[u8]) -> &[u8] {
    let Some(cut) = body.get(..BODY) else { return body };
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => cut.get(..error.valid_up_to()).unwrap_or(cut),
        _ => cut,
    }
}

/// A result with the payload that was sent, where that was short enough to be kept.
struct Found {
    kept: Kept,
    data: Option<Bytes>,
}

pub(super) async fn page(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = destination_to_change(cx, id).await?;
    let Some(result) = cx.request.query.get("result") else {
        return Ok(whole(cx, &destination, None, &Wrong::default()).await.ok(cx));
    };
    let Some(found) = find(cx, &destination, result).await? else {
        let body = html! {
            div.narrow {
                h1 { (cx.t("That test result is gone")) }
                (empty(
                    &cx.t("Nothing to show"),
                    &cx.t("The results of test events are kept for an hour."),
                    button_link(&cx.href(Route::Test(id)), &cx.t("Send test event"), true),
                ))
            }
        };
        return Ok(frame(cx, &destination, body).with_status(cx, StatusCode::NOT_FOUND));
    };
    Ok(whole(cx, &destination, Some(&found), &Wrong::default()).await.ok(cx))
}

pub(super) async fn send(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = destination_to_change(cx, id).await?;
    let (topic, data) = typed(cx);
    let mut wrong = Wrong::default();
    check(cx, &topic, &data, &mut wrong);
    if !wrong.is_empty() {
        return Ok(whole(cx, &destination, None, &wrong).await.unprocessable(cx));
    }
    if !cx.first_time().await? {
        return Ok(cx.go_saying(&cx.href(Route::Test(id)), &cx.t("The form was sent twice; it counted once.")));
    }
    let data = Bytes::from(data);
    let event = TestEvent { topic, data: data.clone(), ..TestEvent::default() };
    let attempt = match cx.outpost.destinations().test(cx.tenant(), id, event).await {
        Ok(attempt) => attempt,
        Err(error) if error.kind() == ErrorKind::RateLimited => {
            // What was typed is worth keeping.
            let wait = error.retry_after().map_or(1, |wait| wait.as_secs() + 1);
            wrong.add(
                "data",
                cx.n(
                    wait,
                    "Too many test events. Try again in a second.",
                    "Too many test events. Try again in {count} seconds.",
                ),
            );
            let page = whole(cx, &destination, None, &wrong).await.wrong(true);
            let mut reply = page.with_status(cx, StatusCode::TOO_MANY_REQUESTS);
            reply.set(header::RETRY_AFTER, &wait.to_string());
            return Ok(reply);
        }
        Err(error) if error.kind() == ErrorKind::Invalid => {
            wrong.take(cx, error.problems(), |_| None);
            return Ok(whole(cx, &destination, None, &wrong).await.unprocessable(cx));
        }
        Err(error) => return Err(error.into()),
    };
    cx.audit("send test event", id);
    let name = attempt.id.to_string();
    let key = key(&destination, &name);
    let bytes = Kept::new(attempt).written().ok_or(Fault::BadRequest)?;
    let ephemeral = cx.outpost.ephemeral();
    if data.len() <= RECORD {
        ephemeral.put(cx.tenant(), "test_data", &key, data, KEPT).await?;
    }
    ephemeral.put(cx.tenant(), "test", &key, bytes, KEPT).await?;
    Ok(cx.go(&cx.href(Route::Test(id)).with("result", name)))
}

/// Under what a result is kept: another destination, or another life of this one, does not find it.
fn key(destination: &Destination, result: &str) -> String {
    format!("{}.{result}", destination.incarnation.as_i64())
}

async fn find(cx: &Cx<'_>, destination: &Destination, result: &str) -> Result<Option<Found>, Fault> {
    // What is no id was never kept.
    if outpost_core::AttemptId::new(result).is_err() {
        return Ok(None);
    }
    let (key, ephemeral) = (key(destination, result), cx.outpost.ephemeral());
    let Some(bytes) = ephemeral.get(cx.tenant(), "test", &key).await? else { return Ok(None) };
    let data = ephemeral.get(cx.tenant(), "test_data", &key).await?;
    Ok(serde_json::from_slice(&bytes).ok().map(|kept| Found { kept, data }))
}

/// What the form says. Browsers send line ends of two characters, and nobody means those.
fn typed(cx: &Cx<'_>) -> (String, String) {
    (cx.request.form.text("topic").trim().to_owned(), cx.request.form.text("data").replace("\r\n", "\n"))
}

fn check(cx: &Cx<'_>, topic: &str, data: &str, wrong: &mut Wrong) {
    match &cx.site.offers.topics {
        Some(topics) if !topics.iter().any(|known| known == topic) => {
            wrong.add("topic", cx.t("Choose one of the topics."))
        }
        None if topic.is_empty() => wrong.add("topic", cx.t("Enter a topic.")),
        None if outpost_core::check_topic(topic).is_err() => {
            wrong.add("topic", cx.t("Use visible ASCII characters, without spaces, commas and asterisks."));
        }
        _ => {}
    }
    let most = MAX_DATA.min(cx.site.offers.max_data);
    if data.len() > most {
        wrong.add("data", cx.f("Use {size} or less.", &[("size", &format!("{} KiB", most >> 10))]));
    } else if let Err(error) = serde_json::from_str::<&serde_json::value::RawValue>(data) {
        let text = error.to_string();
        let why = text.split(" at line ").next().unwrap_or_default();
        let (line, column) = (error.line(), error.column());
        wrong.add(
            "data",
            cx.f(
                "This is not valid JSON: {why}, in line {line}, column {column}.",
                &[("why", &why), ("line", &line), ("column", &column)],
            ),
        );
    } else if !data.trim_start().starts_with('{') {
        wrong.add("data", cx.t("The payload must be a JSON object, such as {\"test\": true}."));
    }
}

fn frame(cx: &Cx<'_>, destination: &Destination, body: Markup) -> Page {
    let crumbs = [
        (cx.t("Destinations").into_owned(), cx.href(Route::Home)),
        (cx.name_of(destination).to_owned(), cx.href(Route::Overview(destination.id.as_str()))),
    ];
    Page::new(cx.f("Test event – {name}", &[("name", &cx.name_of(destination))]), Nav::Destinations, body).below(crumbs)
}

async fn whole(cx: &Cx<'_>, destination: &Destination, found: Option<&Found>, wrong: &Wrong) -> Page {
    let id = destination.id.as_str();
    let failures = lane(cx, id).await.map_or(0, |lane| lane.health.failures);
    let body = html! {
        (destination_head(cx, destination, failures, Tab::None))
        (wrong.summary(cx))
        @if let Some(found) = found { (result(cx, found)) }
        section.card {
            h2 { @if found.is_some() { (cx.t("Send another one")) } @else { (cx.t("Send a test event")) } }
            p { (cx.t("It is sent at once, signed like every event, whatever the destination’s topics, filter and rate limit. It is not retried, and not counted.")) }
            @if destination.disabled.is_some() {
                div.note.info role="note" { (icon(Icon::Info)) p { (cx.t("The destination is disabled. A test event is sent all the same; other events are not.")) } }
            }
            @if !cx.may(Capability::Secrets) {
                p.muted { (cx.t("It goes to the address that is saved. To send it elsewhere you need the right to see secrets.")) }
            }
            (fields(cx, destination, found, wrong))
        }
    };
    frame(cx, destination, body)
}

fn fields(cx: &Cx<'_>, destination: &Destination, found: Option<&Found>, wrong: &Wrong) -> Markup {
    let topics = cx.site.offers.topics.as_deref();
    let (topic, data) = match found {
        _ if cx.request.is_post() => typed(cx),
        Some(found) => {
            let data = found.data.as_deref().map(String::from_utf8_lossy);
            (found.kept.topic.clone(), data.map_or_else(|| EXAMPLE.to_owned(), std::borrow::Cow::into_owned))
        }
        None => {
            let wanted = topics.and_then(|topics| topics.iter().find(|topic| destination.topics.matches(topic)));
            (wanted.map_or("test", String::as_str).to_owned(), EXAMPLE.to_owned())
        }
    };
    let kind = match topics {
        Some(topics) => Kind::Select(topics.iter().map(|topic| (topic.clone(), topic.clone())).collect()),
        None => Kind::Line(""),
    };
    let labels = (cx.t("Topic"), cx.t("Payload"));
    let hint = cx.t("A JSON object, at most 256 KiB.");
    html! {
        (form(cx, &cx.href(Route::Test(destination.id.as_str())), html! {
            (Field::new("topic", &labels.0, &topic, kind).show(cx, wrong))
            (Field::new("data", &labels.1, &data, Kind::Lines(10)).hint(&hint).show(cx, wrong))
            div.actions { button.btn.primary type="submit" { (cx.t("Send test event")) } }
        }))
    }
}

fn result(cx: &Cx<'_>, found: &Found) -> Markup {
    let Found { kept, data } = found;
    let (status, error) = (kept.status(), kept.error.as_ref());
    let said = outcome::sentence(cx, &kept.outcome, error, status, kept.duration());
    let hint = outcome::hint(cx, &kept.outcome, error, status);
    let (class, sign) = if kept.outcome.success { ("note ok", Icon::Check) } else { ("note fail", Icon::Cross) };
    html! {
        section.card #result {
            h2 { (cx.t("Result")) }
            div class=(class) role="status" { (icon(sign)) p { strong { (said) } } @if let Some(hint) = hint { p { (hint) } } }
            dl.facts {
                dt { (cx.t("Sent")) } dd { (cx.time(kept.started_at)) }
                dt { (cx.t("Topic")) } dd { code { (code::one_line(&kept.topic)) } }
                dt { (cx.t("Duration")) } dd { (crate::time::span(kept.duration())) }
                @if let Some(status) = status { dt { (cx.t("Status")) } dd { code { (status) } } }
            }
        }
        @if let Some(response) = &kept.response { (answer(cx, kept, response)) }
        @if let Some(request) = &kept.request {
            section.card {
                h2 { (cx.t("Request")) }
                p.mono { (code::one_line(&request.method)) " " (code::one_line(&request.url)) }
                (headers(cx, &request.headers))
                @match data {
                    Some(data) => {
                        h3 { (cx.t("Payload")) }
                        div.actions { (copy_button(cx, "sent", &cx.t("payload"))) }
                        (code::block(cx, "sent", &cx.t("Payload that was sent"), data))
                    },
                    None => p.muted { (cx.t("The payload was too long to be kept.")) },
                }
            }
        }
    }
}

fn answer(cx: &Cx<'_>, kept: &Kept, response: &ResponseRecord) -> Markup {
    let body = STANDARD.decode(&kept.body).unwrap_or_default();
    html! {
        section.card {
            h2 { (cx.t("Response")) }
            (headers(cx, &response.headers))
            @if kept.headers_cut { p.muted { (cx.t("There were too many headers; the last ones are left out.")) } }
            h3 { (cx.t("Body")) }
            @if body.is_empty() {
                p.muted { (cx.t("Empty.")) }
            } @else {
                (code::block(cx, "answer", &cx.t("Body of the response"), &body))
                @if body.len() < kept.length {
                    p.muted { (cx.f("The first 32 KiB of {size} are shown.", &[("size", &code::size(kept.length))])) }
                }
            }
            @if response.truncated { p.muted { (cx.t("The body was longer than is kept, or broke off.")) } }
        }
    }
}

fn headers(cx: &Cx<'_>, headers: &[(String, String)]) -> Markup {
    html! {
        h3 { (cx.t("Headers")) }
        @if headers.is_empty() { p.muted { (cx.t("None.")) } }
        @else {
            dl.facts { @for (name, value) in headers { dt { code { (code::one_line(name)) } } dd { code { (code::one_line(value)) } } } }
        }
    }
}
