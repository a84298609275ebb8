//! From an id to its page.

use maud::html;
use outpost_core::{Attempt, ErrorKind, OfDestination};

use crate::cx::{Answer, Cx, Fault};
use crate::route::{Href, Route};
use crate::view::{Nav, Page, button_link, code, empty};

/// No id is longer, in bytes.
const LONGEST: usize = 255;

pub(super) async fn find(cx: &Cx<'_>) -> Answer {
    let asked = cx.request.query.get("q").unwrap_or_default();
    if !asked.is_empty()
        && asked.len() <= LONGEST
        && let Some(found) = look_up(cx, asked).await?
    {
        return Ok(cx.go(&found));
    }
    // What is cut off was too long to be an id anyhow.
    let shown: String = code::one_line(asked).chars().take(LONGEST).collect();
    let title = if asked.is_empty() { cx.t("Find by ID") } else { cx.t("Nothing with this ID") };
    let body = html! {
        div.narrow {
            h1 { (title) }
            @if asked.is_empty() {
                p { (cx.t("Enter the whole ID of an event, a destination, an attempt or a replay.")) }
            } @else {
                p { (cx.f("Nothing of yours has the ID {id}.", &[("id", &shown)])) }
            }
            form.filters role="search" aria-label=(cx.t("Find by ID, again")) action=(cx.href(Route::Find)) {
                div.field {
                    label for="find" { (cx.t("ID")) }
                    input type="search" id="find" name="q" value=(shown) maxlength=(LONGEST) autocomplete="off" spellcheck="false";
                }
                button.btn type="submit" { (cx.t("Find")) }
            }
            @if !asked.is_empty() && asked.len() <= LONGEST {
                (empty(
                    &cx.t("Only whole IDs are found here"),
                    &cx.t("The activity can be searched as well. Events that are over are removed after a while."),
                    button_link(&cx.href(Route::Activity).with("id", asked), &cx.t("Search the activity"), false),
                ))
            }
        }
    };
    Ok(Page::new(title, Nav::None, body).ok(cx))
}

/// The page of what has exactly this id.
async fn look_up(cx: &Cx<'_>, id: &str) -> Result<Option<Href>, Fault> {
    let (tenant, outpost) = (cx.tenant(), &cx.outpost);
    if there(outpost.destinations().get(tenant, id).await)?.is_some() {
        return Ok(Some(cx.href(Route::Overview(id))));
    }
    if there(outpost.events().get(tenant, id).await)?.is_some() {
        return Ok(Some(cx.href(Route::Event(id))));
    }
    if let Some(attempt) = there(outpost.deliveries().attempt(tenant, id).await)? {
        return Ok(Some(of_attempt(cx, &attempt).await?));
    }
    Ok(there(outpost.replays().get(tenant, id).await)?.map(|_| cx.href(Route::ReplayJob(id))))
}

async fn of_attempt(cx: &Cx<'_>, attempt: &OfDestination<Attempt>) -> Result<Href, Fault> {
    let (destination, event) = (attempt.destination_id.as_str(), attempt.delivery.event.as_str());
    let delivery = there(cx.outpost.deliveries().get(cx.tenant(), destination, event).await)?;
    Ok(match delivery.filter(|delivery| delivery.key == attempt.delivery) {
        Some(_) => {
            let number = attempt.number;
            cx.href(Route::Delivery(destination, event))
                .with("attempt", number.to_string())
                .at(format!("attempt-{number}"))
        }
        // The destination was deleted; the event tells of it still.
        None => cx.href(Route::Event(event)),
    })
}

fn there<T>(found: outpost_core::Result<T>) -> Result<Option<T>, Fault> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
