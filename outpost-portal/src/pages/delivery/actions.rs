//! What can be done to a delivery: try it again at once, or give it up.

use http::StatusCode;
use maud::html;
use outpost_core::{Capability, Delivery, DeliveryState, Destination, Error, ErrorKind};

use super::crumbs;
use crate::cx::{Answer, Cx, Fault};
use crate::reply::Reply;
use crate::route::Route;
use crate::view::{Nav, Page, Shown, button_link, disabled_by};

/// For a form that comes twice: what came of the first one, only the page tells.
const BEFORE: &str = "This form was sent before. Below is how it stands.";

pub(in crate::pages) async fn retry(cx: &Cx<'_>, id: &str, event: &str) -> Answer {
    let (destination, delivery) = allowed(cx, id, event).await?;
    let here = cx.href(Route::Delivery(id, event));
    if destination.disabled.is_some() {
        return Ok(enable_first(cx, &destination));
    }
    if let Some(waits) = on_its_way(cx, &delivery) {
        return Ok(cx.go_saying(&here, &waits));
    }
    if delivery.state == DeliveryState::Delivered && cx.request.form.get("confirm") != Some("1") {
        return Ok(confirm(cx, &destination, &delivery));
    }
    let queued = cx.t("Retry queued. It usually runs within a few seconds.");
    if !cx.first_time().await? {
        return Ok(cx.go_saying(&here, &cx.t(BEFORE)));
    }
    match cx.outpost.deliveries().retry(cx.tenant(), id, event).await {
        Ok(()) => {
            cx.audit("retry delivery", event);
            Ok(cx.go_saying(&here, &queued))
        }
        // Somebody else was quicker, or it has just begun to be sent, or the destination was disabled.
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let (destination, delivery) = allowed(cx, id, event).await?;
            match on_its_way(cx, &delivery) {
                _ if destination.disabled.is_some() => Ok(enable_first(cx, &destination)),
                Some(waits) => Ok(cx.go_saying(&here, &waits)),
                None => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

pub(in crate::pages) async fn cancel(cx: &Cx<'_>, id: &str, event: &str) -> Answer {
    allowed(cx, id, event).await?;
    let here = cx.href(Route::Delivery(id, event));
    let done = cx.t("Cancelled: nothing more is sent by schedule.");
    if !cx.first_time().await? {
        return Ok(cx.go_saying(&here, &cx.t(BEFORE)));
    }
    match cx.outpost.deliveries().cancel(cx.tenant(), id, event).await {
        Ok(()) => {
            cx.audit("cancel delivery", event);
            Ok(cx.go_saying(&here, &done))
        }
        Err(error) if error.kind() == ErrorKind::Conflict => {
            Ok(cx.go_saying(&here, &cx.t("There was nothing to cancel: no more attempts were to come.")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The delivery of one who may act on it. The core asks again; this is so that nothing is written before it does.
async fn allowed(cx: &Cx<'_>, id: &str, event: &str) -> Result<(Destination, Delivery), Fault> {
    let destination = cx.destination(id).await?;
    let delivery = cx.outpost.deliveries().get(cx.tenant(), id, event).await?;
    if !cx.may(Capability::Retry) {
        return Err(Fault::Core(Error::new(ErrorKind::Forbidden, "retry", "the session may not retry")));
    }
    Ok((destination, delivery))
}

fn on_its_way(cx: &Cx<'_>, delivery: &Delivery) -> Option<String> {
    let text = if delivery.requested.is_some() {
        "An attempt was asked for already. It usually runs within a few seconds."
    } else if Shown::of(delivery, cx.now) == Shown::Sending {
        "It is being sent right now."
    } else {
        return None;
    };
    Some(cx.t(text).into_owned())
}

fn enable_first(cx: &Cx<'_>, destination: &Destination) -> Reply {
    let id = destination.id.as_str();
    let body = html! {
        div.narrow {
            h1 { (cx.t("Enable the destination first")) }
            @if let Some(disabled) = &destination.disabled { p { (disabled_by(cx, disabled.by)) } }
            p { (cx.t("Nothing is sent to a disabled destination, so nothing was retried.")) }
            div.actions {
                @if cx.may(Capability::Write) { (button_link(&cx.href(Route::Enable(id)), &cx.t("Enable the destination"), true)) }
                (button_link(&cx.href(Route::Deliveries(id)), &cx.t("All deliveries"), false))
            }
        }
    };
    let page = Page::new(cx.t("Enable the destination first"), Nav::Destinations, body);
    page.below(crumbs(cx, destination)).with_status(cx, StatusCode::CONFLICT)
}

fn confirm(cx: &Cx<'_>, destination: &Destination, delivery: &Delivery) -> Reply {
    let (id, event) = (destination.id.as_str(), delivery.key.event.as_str());
    let at = crate::time::full(delivery.finished_at.unwrap_or(delivery.created_at), &cx.prefs.zone.1);
    let body = html! {
        div.narrow {
            h1 { (cx.t("Send it again?")) }
            p { (cx.f("It was delivered at {time}; send it again?", &[("time", &at)])) }
            p { (cx.t("The receiver gets it with the same webhook-id, by which it can tell that it has it already.")) }
            form method="post" action=(cx.href(Route::Retry(id, event))) data-guard {
                input type="hidden" name="form_token" value=(cx.form_token());
                input type="hidden" name="confirm" value="1";
                div.actions {
                    button.btn.primary type="submit" { (cx.t("Send it again")) }
                    (button_link(&cx.href(Route::Delivery(id, event)), &cx.t("Keep it as it is"), false))
                }
            }
        }
    };
    let title = cx.t("Send it again?");
    Page::new(title, Nav::Destinations, body).below(crumbs(cx, destination)).ok(cx)
}
