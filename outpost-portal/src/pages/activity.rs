//! What happened everywhere: the deliveries of all destinations, and the events that no destination wanted.

use std::collections::HashMap;

use maud::{Markup, html};
use outpost_core::{DeliveryFilter, Destination, Event, OfTenant, PageRequest};

use super::log::{Asked, Place, filters, find, freshness, kept, nothing, table};
use crate::cx::{Answer, Cx, Fault};
use crate::route::Route;
use crate::view::{Nav, Page, empty, pager};

pub(super) async fn page(cx: &Cx<'_>) -> Answer {
    let asked = Asked::read(cx, Place::All);
    let destinations = cx.outpost.destinations().list(cx.tenant()).await?;
    let list =
        if asked.unmatched { unmatched(cx, &asked).await? } else { deliveries(cx, &asked, &destinations).await? };
    let choices: Vec<(String, String)> =
        destinations.iter().map(|found| (found.id.to_string(), cx.name_of(found))).collect();
    let body = html! {
        div.head { h1 { (cx.t("Activity")) } }
        (filters(cx, Place::All, &asked, &choices))
        div #list data-live[asked.live] data-live-text=(cx.t("The list has changed")) { (list) }
        (freshness(cx, Place::All, &asked))
        @if !asked.unmatched { (kept(cx, Place::All, &asked)) }
    };
    Ok(Page::new(cx.t("Activity"), Nav::Activity, body).reload(asked.live.then_some(10)).ok(cx))
}

async fn deliveries(cx: &Cx<'_>, asked: &Asked, destinations: &[Destination]) -> Result<Markup, Fault> {
    let found = find(cx, asked).await?;
    // By life: a destination that was deleted and one that has its id now are two.
    let names: HashMap<_, _> = destinations.iter().map(|found| (found.incarnation, cx.name_of(found))).collect();
    Ok(html! {
        @if found.items.is_empty() { (nothing(cx, Place::All, asked, found.next.is_some())) }
        @else { (table(cx, Place::All, asked, &found.items, &|row| names.get(&row.key.destination).cloned())) }
        (pager(cx, &found, &asked.pages(cx, Place::All)))
    })
}

/// Events without a delivery. Which they are only the deliveries tell, so a page of events is looked through; it may
/// come out short and still go on.
async fn unmatched(cx: &Cx<'_>, asked: &Asked) -> Result<Markup, Fault> {
    let page = PageRequest { limit: 100, ..cx.page_request() };
    let mut found = cx.outpost.events().list(cx.tenant(), &asked.events, &page).await?;
    let ids: Vec<_> = found.items.iter().map(|event| event.id.clone()).collect();
    let mut delivered = std::collections::HashSet::new();
    if !ids.is_empty() {
        let filter = DeliveryFilter { events: ids, ..DeliveryFilter::default() };
        let mut request = PageRequest { limit: outpost_core::MAX_PAGE, ..PageRequest::default() };
        loop {
            let deliveries = cx.outpost.deliveries().list(cx.tenant(), &filter, &request).await?;
            delivered.extend(deliveries.items.iter().map(|delivery| delivery.key.event.clone()));
            match deliveries.next {
                Some(next) => request.cursor = Some(next),
                None => break,
            }
        }
    }
    found.items.retain(|event| !delivered.contains(&event.id));
    Ok(html! {
        @if found.items.is_empty() {
            @if found.next.is_some() { (empty(&cx.t("Nothing found so far"), &cx.t("Older events have not been looked at yet."), html! {})) }
            @else { (empty(&cx.t("Every event had a destination"), &cx.t("Events that no destination wants would appear here."), html! {})) }
        } @else { (events(cx, &found.items)) }
        (pager(cx, &found, &asked.pages(cx, Place::All)))
    })
}

fn events(cx: &Cx<'_>, rows: &[OfTenant<std::sync::Arc<Event>>]) -> Markup {
    html! {
        div.table {
            table.list {
                caption.vh { (cx.t("Events that no destination matched")) }
                thead { tr {
                    th scope="col" { (cx.t("Time")) }
                    th scope="col" { (cx.t("Status")) }
                    th scope="col" { (cx.t("Topic")) }
                    th.c2 scope="col" { (cx.t("Event ID")) }
                } }
                tbody {
                    @for event in rows {
                        tr {
                            th.main scope="row" { a.rowlink href=(cx.href(Route::Event(event.id.as_str()))) { (cx.time_short(event.time)) } }
                            td { span.pill.neutral { (cx.t("No destination matched")) } }
                            td.mono { (event.topic) }
                            td.c2.mono { (event.id) }
                        }
                    }
                }
            }
        }
    }
}
