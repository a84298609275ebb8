//! One delivery: how it stands, every attempt at it, and what was sent and answered.

mod actions;
mod curl;
mod exchange;
mod files;
mod neighbours;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use maud::{Markup, html};
use outpost_core::{Attempt, Capability, Delivery, Destination, ErrorKind, Event, Timestamp, Trigger};

pub(super) use self::actions::{cancel, retry};
pub(super) use self::files::{curl, payload, response};
use self::neighbours::Neighbours;
use crate::cx::{Answer, Cx, Fault};
use crate::icon::{Icon, icon};
use crate::reply::Reply;
use crate::route::{Href, Route};
use crate::time::{clock, span};
use crate::view::outcome::{hint, sentence};
use crate::view::{
    Nav, Page, Shown, button_link, code, code_word, copy_button, delivery_pill, ended_why, post_button, trigger_word,
};

/// How long after its creation a delivery that waits to be sent is looked at again and again.
const FRESH: Duration = Duration::from_secs(120);
/// So many attempts are shown at once; what came before them is folded away.
const SHOWN_ATTEMPTS: usize = 20;

/// All that the page is made from.
struct Found {
    destination: Destination,
    delivery: Delivery,
    /// The latest first.
    attempts: Vec<Attempt>,
    /// Gone when it was removed while the page was made.
    event: Option<Arc<Event>>,
    hold_until: Option<Timestamp>,
    neighbours: Option<Neighbours>,
}

pub(super) async fn page(cx: &Cx<'_>, id: &str, event: &str) -> Answer {
    let destination = cx.destination(id).await?;
    let Some(delivery) = present(cx.outpost.deliveries().get(cx.tenant(), id, event).await)? else {
        return Ok(gone(cx, &destination));
    };
    let mut attempts = present(cx.outpost.deliveries().attempts_of(cx.tenant(), id, event).await)?.unwrap_or_default();
    attempts.reverse();
    let found = Found {
        event: present(cx.outpost.events().get(cx.tenant(), event).await)?,
        hold_until: hold(cx, &destination, &delivery).await,
        neighbours: neighbours::of(cx, &destination, &delivery).await,
        destination,
        delivery,
        attempts,
    };
    let wanted = cx.request.query.get("attempt").and_then(|number| number.parse::<u32>().ok());
    let selected = found.attempts.iter().find(|attempt| Some(attempt.number) == wanted).or(found.attempts.first());
    let reload = reload(cx, &found.delivery);
    let body = html! {
        div.split {
            @if let Some(neighbours) = &found.neighbours { div.side { (neighbours.table(cx, &found)) } }
            div.detail data-refresh=[reload] {
                (head(cx, &found))
                (facts(cx, &found))
                section { h2 { (cx.t("Attempts")) } (ladder(cx, &found, selected)) }
                @if let Some(attempt) = selected { (exchange::answer(cx, &found, attempt)) }
                (exchange::request(cx, &found, selected))
                @if let Some(neighbours) = &found.neighbours { (neighbours.turn(cx, &found)) }
            }
        }
    };
    let page = Page::new(
        cx.f("{topic} – {event}", &[("topic", &found.delivery.topic), ("event", &found.delivery.key.event)]),
        Nav::Destinations,
        body,
    )
    .below(crumbs(cx, &found.destination));
    Ok(page.reload(reload).ok(cx))
}

/// Nothing in place of what is not there; other failures stay failures.
fn present<T>(found: outpost_core::Result<T>) -> Result<Option<T>, Fault> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn crumbs(cx: &Cx<'_>, destination: &Destination) -> [(String, Href); 3] {
    let id = destination.id.as_str();
    [
        (cx.t("Destinations").into_owned(), cx.href(Route::Home)),
        (cx.name_of(destination), cx.href(Route::Overview(id))),
        (cx.t("Deliveries").into_owned(), cx.href(Route::Deliveries(id))),
    ]
}

/// How long events are kept, as a sentence about one that is not there. The same whether there ever was one.
pub(super) fn removed(cx: &Cx<'_>) -> String {
    match cx.site.offers.retention {
        Some(kept) => {
            cx.f("There is no such event, or it is over and was removed after {time}.", &[("time", &span(kept))])
        }
        None => cx.t("There is no such event.").into_owned(),
    }
}

fn gone(cx: &Cx<'_>, destination: &Destination) -> Reply {
    let body = html! {
        div.narrow {
            h1 { (cx.t("Nothing here any more")) }
            p { (removed(cx)) }
            div.actions { (button_link(&cx.href(Route::Deliveries(destination.id.as_str())), &cx.t("All deliveries"), true)) }
        }
    };
    let page = Page::new(cx.t("Nothing here any more"), Nav::Destinations, body).below(crumbs(cx, destination));
    page.with_status(cx, StatusCode::NOT_FOUND)
}

/// Until when the destination is left alone, if this delivery waits for that.
async fn hold(cx: &Cx<'_>, destination: &Destination, delivery: &Delivery) -> Option<Timestamp> {
    if !delivery.state.is_open() && delivery.requested.is_none() {
        return None;
    }
    match cx.outpost.destinations().lane(cx.tenant(), destination.id.as_str()).await {
        Ok(lane) => lane.hold_until.filter(|until| *until > cx.now),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "whether a destination is held could not be read");
            None
        }
    }
}

/// After how many seconds the page is worth another look.
fn reload(cx: &Cx<'_>, delivery: &Delivery) -> Option<u32> {
    let soon = match Shown::of(delivery, cx.now) {
        Shown::Sending => true,
        Shown::Queued => cx.now.since(delivery.created_at) < FRESH,
        _ => false,
    };
    // What somebody asked for by hand waits for nothing.
    (soon || delivery.requested == Some(Trigger::Manual)).then_some(5)
}

fn head(cx: &Cx<'_>, found: &Found) -> Markup {
    let (id, event) = (found.destination.id.as_str(), found.delivery.key.event.as_str());
    let enabled = found.destination.disabled.is_none();
    let waits = found.delivery.requested.is_some() || Shown::of(&found.delivery, cx.now) == Shown::Sending;
    html! {
        div.head {
            div.title { h1.mono { (code::one_line(&found.delivery.topic)) } (delivery_pill(cx, &found.delivery)) }
            @if cx.may(Capability::Retry) {
                div.actions {
                    @if found.delivery.state.is_open() {
                        (post_button(cx, &cx.href(Route::Cancel(id, event)), &cx.t("Cancel retries"), ""))
                    }
                    @if enabled && !waits {
                        form method="post" action=(cx.href(Route::Retry(id, event))) data-guard {
                            input type="hidden" name="form_token" value=(cx.form_token());
                            button.btn.primary type="submit" data-key="r" { (icon(Icon::Retry)) (cx.t("Retry now")) }
                        }
                    }
                }
            }
        }
        @if !enabled && !matches!(Shown::of(&found.delivery, cx.now), Shown::Delivered) {
            div.note.warn role="note" {
                (icon(Icon::Info))
                p {
                    (cx.t("The destination is disabled. Enable it to retry this delivery.")) " "
                    @if cx.may(Capability::Write) { a href=(cx.href(Route::Enable(id))) { (cx.t("Enable the destination")) } }
                }
            }
        }
    }
}

fn facts(cx: &Cx<'_>, found: &Found) -> Markup {
    let Found { delivery, destination, event, .. } = found;
    let id = delivery.key.event.as_str();
    html! {
        dl.facts {
            dt { (cx.t("Event ID")) }
            dd {
                code id="event-id" { (id) } " " (copy_button(cx, "event-id", &cx.t("event ID"))) " "
                a href=(cx.href(Route::Event(id))) { (cx.t("All its deliveries")) }
            }
            dt { (cx.t("Received")) }
            dd { (cx.time(event.as_ref().map_or(delivery.created_at, |event| event.created_at))) }
            @if let Some(event) = event.as_ref().filter(|event| event.time != event.created_at) {
                dt { (cx.t("Time of the event")) }
                dd { (cx.time(event.time)) }
            }
            dt { (cx.t("Destination")) }
            dd { a href=(cx.href(Route::Overview(destination.id.as_str()))) { (cx.name_of(destination)) } }
            @if let Some(event) = event {
                dt { (cx.t("Size")) }
                dd { (code::size(event.data.len())) }
            }
            @if let Some(why) = ended_why(cx, delivery.state) {
                dt { (cx.t("Reason")) }
                dd {
                    (why)
                    @if let Some(at) = delivery.finished_at { " " span.muted { (cx.time(at)) } }
                }
            }
            @if let Some(next) = next(cx, found) {
                dt { (cx.t("Next attempt")) }
                dd { (next) }
            }
            @if let Some(trigger) = delivery.requested {
                dt { (cx.t("Requested")) }
                dd { (requested(cx, trigger)) }
            }
            @if event.as_ref().is_some_and(|event| !event.eligible_for_retry) {
                dt { (cx.t("Retries")) }
                dd { (cx.t("None by schedule: it was published that way.")) }
            }
        }
    }
}

/// When it is tried again by schedule.
fn next(cx: &Cx<'_>, found: &Found) -> Option<String> {
    let delivery = &found.delivery;
    let at = delivery.next_attempt_at.filter(|_| delivery.state.is_open())?;
    if let Some(until) = found.hold_until.filter(|until| *until > at) {
        let time = clock(until, &cx.prefs.zone.1);
        return Some(cx.f("Waiting until {time}: the receiver asked for a pause", &[("time", &time)]));
    }
    let policy = found.destination.settings.retry.as_ref().unwrap_or(&cx.site.offers.retry);
    let (number, most) = (delivery.automatic_attempts.saturating_add(1), policy.max_attempts());
    let when = if at > cx.now { cx.until_or_ago(at) } else { cx.t("now").into_owned() };
    Some(if number > most {
        when
    } else {
        cx.f("{when} (try {number} of {most})", &[("when", &when), ("number", &number), ("most", &most)])
    })
}

fn requested(cx: &Cx<'_>, trigger: Trigger) -> String {
    let text = match trigger {
        Trigger::Replay => "An attempt of a replay waits its turn",
        _ => "An attempt asked for by hand is about to be made",
    };
    cx.t(text).into_owned()
}

/// What came of it so far, the latest first.
fn ladder(cx: &Cx<'_>, found: &Found, selected: Option<&Attempt>) -> Markup {
    let delivery = &found.delivery;
    let sending = Shown::of(delivery, cx.now) == Shown::Sending;
    let recent = found.attempts.get(..SHOWN_ATTEMPTS).unwrap_or(&found.attempts);
    let earlier = found.attempts.get(SHOWN_ATTEMPTS..).unwrap_or_default();
    let folded = selected.is_none_or(|selected| !earlier.iter().any(|attempt| attempt.number == selected.number));
    let count = u64::try_from(earlier.len()).unwrap_or(0);
    let received = html! {
        li.plain { strong { (cx.t("Received")) } div.sub { (cx.time(delivery.created_at)) } }
    };
    html! {
        ol.ladder {
            @if sending { li.wait { strong { (cx.t("Being sent now")) } } }
            @else {
                @if let Some(trigger) = delivery.requested { li.wait { strong { (cx.t("Requested")) } div.sub { (requested(cx, trigger)) } } }
                @if let Some(next) = next(cx, found) {
                    li.wait {
                        strong { (cx.t("Next")) }
                        div.sub { (next) @if let Some(at) = delivery.next_attempt_at { " · " (cx.time(at)) } }
                    }
                }
            }
            @for attempt in recent { (rung(cx, found, attempt, selected)) }
            @if earlier.is_empty() { (received) }
        }
        @if !earlier.is_empty() {
            details.more open[!folded] {
                summary { (cx.n(count, "1 earlier attempt", "{count} earlier attempts")) }
                ol.ladder {
                    @for attempt in earlier { (rung(cx, found, attempt, selected)) }
                    (received)
                }
            }
        }
    }
}

fn rung(cx: &Cx<'_>, found: &Found, attempt: &Attempt, selected: Option<&Attempt>) -> Markup {
    let number = attempt.number;
    let (id, event) = (found.destination.id.as_str(), found.delivery.key.event.as_str());
    let details =
        cx.href(Route::Delivery(id, event)).with("attempt", number.to_string()).at(format!("attempt-{number}"));
    let here = selected.is_some_and(|selected| selected.number == number);
    let how = [
        ("code", &code_word(cx, &code::one_line(&attempt.outcome.code)) as &dyn std::fmt::Display),
        ("time", &span(attempt.duration)),
        ("trigger", &trigger_word(cx, attempt.trigger)),
    ];
    html! {
        li class=(if attempt.outcome.success { "ok" } else { "fail" }) {
            strong { (cx.f("Attempt {number}", &[("number", &number)])) } " – "
            (cx.f("{code} in {time}, {trigger}", &how)) " "
            a href=(details) aria-current=[here.then_some("true")] aria-label=(cx.f("details of attempt {number}", &[("number", &number)])) {
                (cx.t("details"))
            }
            @if !attempt.outcome.success {
                div { (told(cx, attempt)) }
                @if let Some(hint) = advice(cx, attempt) { div.hint { (hint) } }
            }
            div.sub { (cx.time(attempt.started_at)) }
        }
    }
}

fn told(cx: &Cx<'_>, attempt: &Attempt) -> String {
    let status = attempt.response.as_ref().map(|response| response.status);
    sentence(cx, &attempt.outcome, attempt.error.as_ref(), status, attempt.duration)
}

fn advice(cx: &Cx<'_>, attempt: &Attempt) -> Option<String> {
    let status = attempt.response.as_ref().map(|response| response.status);
    hint(cx, &attempt.outcome, attempt.error.as_ref(), status)
}
