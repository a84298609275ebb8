//! One event and what became of it at every destination.

use std::collections::HashMap;

use http::StatusCode;
use maud::{Markup, html};
use outpost_core::{
    Delivery, DeliveryFilter, Destination, ErrorKind, Event, Incarnation, MAX_PAGE, OfDestination, PageRequest,
};

use super::delivery::removed;
use crate::cx::{Answer, Cx};
use crate::icon::{Icon, icon};
use crate::reply::Reply;
use crate::route::Route;
use crate::view::{Nav, Page, button_link, code, copy_button, delivery_pill, outcome_code};

pub(super) async fn page(cx: &Cx<'_>, id: &str) -> Answer {
    let event = match cx.outpost.events().get(cx.tenant(), id).await {
        Ok(event) => event,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(gone(cx)),
        Err(error) => return Err(error.into()),
    };
    let filter = DeliveryFilter { events: vec![event.id.clone()], ..DeliveryFilter::default() };
    let page = PageRequest { limit: MAX_PAGE, ..PageRequest::default() };
    let found = cx.outpost.deliveries().list(cx.tenant(), &filter, &page).await?;
    let destinations = cx.outpost.destinations().list(cx.tenant()).await?;
    let live: HashMap<Incarnation, Destination> =
        destinations.into_iter().map(|destination| (destination.incarnation, destination)).collect();
    let topic = code::one_line(&event.topic);
    let body = html! {
        div.head { div.title { h1.mono { (topic) } } }
        (facts(cx, &event))
        section.detail {
            h2 { (cx.t("Deliveries")) }
            @if found.items.is_empty() {
                p { (cx.t("No destination matched when it was published.")) }
            } @else {
                (table(cx, &found.items, &live))
                @if found.next.is_some() { p.muted { (cx.t("There are more deliveries than are shown here.")) } }
            }
        }
        (payload(cx, &event, &found.items, &live))
    };
    let crumbs = [(cx.t("Activity").into_owned(), cx.href(Route::Activity))];
    let title = cx.f("Event {id}", &[("id", &id)]);
    Ok(Page::new(title, Nav::Activity, body).below(crumbs).ok(cx))
}

fn gone(cx: &Cx<'_>) -> Reply {
    let body = html! {
        div.narrow {
            h1 { (cx.t("Nothing here any more")) }
            p { (removed(cx)) }
            div.actions { (button_link(&cx.href(Route::Activity), &cx.t("All activity"), true)) }
        }
    };
    Page::new(cx.t("Nothing here any more"), Nav::Activity, body).with_status(cx, StatusCode::NOT_FOUND)
}

fn facts(cx: &Cx<'_>, event: &Event) -> Markup {
    html! {
        dl.facts {
            dt { (cx.t("Event ID")) }
            dd { code id="event-id" { (event.id) } " " (copy_button(cx, "event-id", &cx.t("event ID"))) }
            dt { (cx.t("Received")) }
            dd { (cx.time(event.created_at)) }
            @if event.time != event.created_at {
                dt { (cx.t("Time of the event")) }
                dd { (cx.time(event.time)) }
            }
            dt { (cx.t("Size")) }
            dd { (code::size(event.data.len())) }
            @if let Some(destination) = &event.destination_id {
                dt { (cx.t("Published to")) }
                dd { code { (destination) } }
            }
            @if !event.eligible_for_retry {
                dt { (cx.t("Retries")) }
                dd { (cx.t("None by schedule: it was published that way.")) }
            }
        }
        @if !event.metadata.is_empty() {
            section.detail {
                h2 { (cx.t("Metadata")) }
                dl.facts {
                    @for (name, value) in event.metadata.iter() {
                        dt.mono { (code::one_line(name)) }
                        dd.mono { (code::one_line(value)) }
                    }
                }
            }
        }
    }
}

fn table(cx: &Cx<'_>, rows: &[OfDestination<Delivery>], live: &HashMap<Incarnation, Destination>) -> Markup {
    html! {
        div.table { table.list {
            caption.vh { (cx.t("Deliveries of this event")) }
            thead { tr {
                th scope="col" { (cx.t("Destination")) }
                th scope="col" { (cx.t("Status")) }
                th scope="col" { (cx.t("Code")) }
                th.num scope="col" { (cx.t("Tries")) }
                th.c2 scope="col" { (cx.t("Created")) }
            } }
            tbody {
                @for row in rows {
                    tr {
                        th.main scope="row" {
                            @match live.get(&row.key.destination) {
                                Some(found) => {
                                    a.rowlink href=(cx.href(Route::Delivery(found.id.as_str(), row.key.event.as_str()))) { (cx.name_of(found)) }
                                    span.sub.mono { (found.target) }
                                }
                                None => {
                                    code { (row.destination_id) } " " span.tag { (cx.t("deleted")) }
                                }
                            }
                        }
                        td { (delivery_pill(cx, row)) }
                        td { (outcome_code(cx, row.last_outcome.as_ref())) }
                        td.num { (row.attempts) }
                        td.c2 { (cx.time_short(row.created_at)) }
                    }
                }
            }
        } }
    }
}

fn payload(
    cx: &Cx<'_>,
    event: &Event,
    rows: &[OfDestination<Delivery>],
    live: &HashMap<Incarnation, Destination>,
) -> Markup {
    // The file hangs on a delivery; any of them has the same.
    let file = rows.iter().find_map(|row| live.get(&row.key.destination));
    html! {
        section.detail {
            div.head {
                div.title { h2 { (cx.t("Payload")) } }
                div.actions {
                    @if event.data.len() <= code::SHOWN { (copy_button(cx, "payload", &cx.t("payload"))) }
                    @if let Some(destination) = file {
                        a.btn.small href=(cx.href(Route::Payload(destination.id.as_str(), event.id.as_str()))) download { (icon(Icon::Download)) (cx.t("Download JSON")) }
                    }
                }
            }
            (code::block(cx, "payload", &cx.t("Payload"), &event.data))
        }
    }
}
