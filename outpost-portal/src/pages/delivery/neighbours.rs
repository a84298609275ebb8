//! The deliveries around one: the list beside it, and the way to the next older and newer.

use maud::{Markup, html};
use outpost_core::{Delivery, DeliveryFilter, Destination, Direction, PageRequest};

use super::Found;
use crate::cx::Cx;
use crate::route::Route;
use crate::time::{clock, day};
use crate::view::{delivery_pill, outcome_code};

/// How many rows the list has, and how many of them are newer where there are enough.
const ROWS: usize = 15;
const NEWER: usize = 7;

pub(super) struct Neighbours {
    /// The newest first, the delivery itself among them.
    rows: Vec<Delivery>,
    newer: Option<String>,
    older: Option<String>,
}

/// Two short pages of the log, one each way. Without them the page is a page all the same.
pub(super) async fn of(cx: &Cx<'_>, destination: &Destination, delivery: &Delivery) -> Option<Neighbours> {
    let at = delivery.created_at;
    let filter = DeliveryFilter { destinations: vec![destination.id.clone()], ..DeliveryFilter::default() };
    let up_to = DeliveryFilter { until: Some(at.after(std::time::Duration::from_millis(1))), ..filter.clone() };
    let since = DeliveryFilter { from: Some(at), ..filter };
    let page = |direction| PageRequest { limit: ROWS as u32 + 1, direction, cursor: None };
    let (upward, downward) = (page(Direction::Ascending), page(Direction::Descending));
    let deliveries = cx.outpost.deliveries();
    let (newer, older) =
        tokio::join!(deliveries.list(cx.tenant(), &since, &upward), deliveries.list(cx.tenant(), &up_to, &downward));
    match (newer, older) {
        (Ok(newer), Ok(older)) => {
            let rows = newer.items.into_iter().chain(older.items).map(|row| row.value);
            Some(around(rows.collect(), delivery))
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the deliveries around one could not be read");
            None
        }
    }
}

fn around(mut rows: Vec<Delivery>, delivery: &Delivery) -> Neighbours {
    // When very many were made in the same millisecond it may be in neither page.
    rows.push(delivery.clone());
    rows.sort_by(|a, b| (b.created_at, &b.key.event).cmp(&(a.created_at, &a.key.event)));
    rows.dedup_by(|a, b| a.key == b.key);
    let at = rows.iter().position(|row| row.key == delivery.key).unwrap_or(0);
    let event = |at: Option<usize>| at.and_then(|at| rows.get(at)).map(|row| row.key.event.to_string());
    let (newer, older) = (event(at.checked_sub(1)), event(at.checked_add(1)));
    let first = at.saturating_sub(NEWER).min(rows.len().saturating_sub(ROWS));
    let rows = rows.into_iter().skip(first).take(ROWS).collect();
    Neighbours { rows, newer, older }
}

impl Neighbours {
    pub(super) fn table(&self, cx: &Cx<'_>, found: &Found) -> Markup {
        let (id, zone) = (found.destination.id.as_str(), &cx.prefs.zone.1);
        html! {
            div.table { table.list {
                caption.vh { (cx.t("Deliveries around this one")) }
                thead { tr {
                    th scope="col" { (cx.t("Time")) }
                    th scope="col" { (cx.t("Status")) }
                    th scope="col" { (cx.t("Code")) }
                    th.c3 scope="col" { (cx.t("Topic")) }
                } }
                tbody {
                    @for row in &self.rows {
                        @let here = row.key == found.delivery.key;
                        @let at = format!("{} {}", day(row.created_at, zone), clock(row.created_at, zone));
                        tr.sel[here] {
                            th scope="row" {
                                a.rowlink href=(cx.href(Route::Delivery(id, row.key.event.as_str()))) aria-current=[here.then_some("page")]
                                    aria-label=(cx.f("{time}, {topic}, event {event}", &[("time", &at), ("topic", &row.topic), ("event", &row.key.event)])) {
                                    // Without the seconds, for which there is no room.
                                    time datetime=(row.created_at) title=(crate::time::full(row.created_at, zone)) { (day(row.created_at, zone)) " " (clock(row.created_at, zone)) }
                                }
                            }
                            td { (delivery_pill(cx, row)) }
                            td { (outcome_code(cx, row.last_outcome.as_ref())) }
                            td.c3.mono { (row.topic) }
                        }
                    }
                }
            } }
            div.pager {
                span { a href=(cx.href(Route::Deliveries(id))) { (cx.t("All deliveries")) } }
            }
        }
    }

    /// Newer and older.
    pub(super) fn turn(&self, cx: &Cx<'_>, found: &Found) -> Markup {
        let id = found.destination.id.as_str();
        html! {
            @if self.newer.is_some() || self.older.is_some() {
                nav.pager aria-label=(cx.t("Neighbouring deliveries")) {
                    span {}
                    @if let Some(event) = &self.newer { a.btn.small rel="prev" href=(cx.href(Route::Delivery(id, event))) { (cx.t("Newer")) } }
                    @if let Some(event) = &self.older { a.btn.small rel="next" href=(cx.href(Route::Delivery(id, event))) { (cx.t("Older")) } }
                }
            }
        }
    }
}
