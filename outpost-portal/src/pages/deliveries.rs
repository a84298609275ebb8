//! The deliveries of one destination, and retrying several at once.

use maud::html;
use outpost_core::ErrorKind;

use super::entry::is_inside;
use super::log::{Asked, Place, filters, find, freshness, kept, nothing, table};
use crate::cx::{Answer, Cx, Fault};
use crate::reply::Reply;
use crate::route::Route;
use crate::view::{Nav, Page, Tab, destination_head, pager};

/// The most deliveries that are retried at once; the rest is for a replay.
const MOST_PICKED: usize = 100;

pub(super) async fn page(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = cx.destination(id).await?;
    let place = Place::Of(id);
    let asked = Asked::read(cx, place);
    let found = find(cx, &asked).await?;
    let failures = super::lifecycle::lane(cx, id).await.map_or(0, |lane| lane.health.failures);
    let name = cx.name_of(&destination);
    let body = html! {
        (destination_head(cx, &destination, failures, Tab::Deliveries))
        (filters(cx, place, &asked, &[]))
        div #list data-live[asked.live] data-live-text=(cx.t("The list has changed")) {
            @if found.items.is_empty() { (nothing(cx, place, &asked, found.next.is_some())) }
            @else { (table(cx, place, &asked, &found.items, &|_| Some(name.clone()))) }
            (pager(cx, &found, &asked.pages(cx, place)))
        }
        (freshness(cx, place, &asked))
        (kept(cx, place, &asked))
    };
    let title = cx.f("Deliveries of {name}", &[("name", &name)]);
    let crumbs =
        [(cx.t("Destinations").into_owned(), cx.href(Route::Home)), (name.clone(), cx.href(Route::Overview(id)))];
    Ok(Page::new(title, Nav::Destinations, body).below(crumbs).reload(asked.live.then_some(10)).ok(cx))
}

/// Retries what was ticked. `id`: of one destination, else each value names its own.
pub(super) async fn retry(cx: &Cx<'_>, id: Option<&str>) -> Answer {
    if let Some(id) = id {
        cx.destination(id).await?;
    }
    let home = || cx.href(id.map_or(Route::Activity, Route::Deliveries));
    let back = |note: &str| {
        let to = cx.request.form.get("return_to").and_then(|path| path.strip_prefix(cx.site.mount.as_str()));
        let reply = cx.go_saying(&home(), note);
        match to.filter(|path| is_inside(&format!("/{path}"))) {
            Some(path) => {
                let mut reply: Reply = reply;
                reply.set(http::header::LOCATION, &format!("{}{path}", cx.site.mount.as_str()));
                reply
            }
            None => reply,
        }
    };
    let picked: Vec<&str> = cx.request.form.all("pick").take(MOST_PICKED + 1).collect();
    if picked.is_empty() {
        return Ok(back(&cx.t("Nothing was selected.")));
    }
    if picked.len() > MOST_PICKED {
        return Ok(back(&cx.t("At most 100 deliveries can be retried at once. Replay them instead.")));
    }
    if !cx.first_time().await? {
        return Ok(back(&cx.t("That was sent already.")));
    }
    let (mut queued, mut refused) = (0, 0);
    let mut slower = None;
    for value in picked {
        let (destination, event) = match id {
            Some(id) => (id, value),
            None => value.split_once('/').ok_or(Fault::BadRequest)?,
        };
        match cx.outpost.deliveries().retry(cx.tenant(), destination, event).await {
            Ok(()) => {
                queued += 1;
                cx.audit("retry", event);
            }
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => refused += 1,
            Err(error) if error.kind() == ErrorKind::RateLimited => {
                slower = Some(error);
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut note = cx.n(queued, "1 retry queued.", "{count} retries queued.");
    if refused > 0 {
        let more = cx.n(
            refused,
            "1 could not be: it is being sent, or its destination is disabled.",
            "{count} could not be: they are being sent, or their destination is disabled.",
        );
        note = format!("{note} {more}");
    }
    if slower.is_some() {
        note = format!("{note} {}", cx.t("The rest was too much at once; try it again in a minute."));
    }
    Ok(back(&note))
}
