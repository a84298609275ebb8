//! What was sent and what was answered, in one attempt.

use maud::{Markup, html};
use outpost_core::Attempt;

use super::{Found, curl};
use crate::cx::Cx;
use crate::icon::{Icon, icon};
use crate::route::Route;
use crate::view::{code, code_word, copy_button};

/// What the receiver answered.
pub(super) fn answer(cx: &Cx<'_>, found: &Found, attempt: &Attempt) -> Markup {
    let (id, event) = (found.destination.id.as_str(), found.delivery.key.event.as_str());
    let good = attempt.outcome.success;
    let word = code_word(cx, &code::one_line(&attempt.outcome.code));
    html! {
        section.detail id={ "attempt-" (attempt.number) } {
            div.head {
                div.title {
                    h2 { (cx.f("Response to attempt {number}", &[("number", &attempt.number)])) }
                    span class={ "pill " (if good { "ok" } else { "fail" }) } { (icon(if good { Icon::Check } else { Icon::Cross })) (word) }
                }
                @if attempt.response.as_ref().is_some_and(|response| !response.body.is_empty()) {
                    div.actions {
                        a.btn.small href=(cx.href(Route::Response(id, event, attempt.number))) download { (icon(Icon::Download)) (cx.t("Download body")) }
                    }
                }
            }
            // Where the code does not say it all.
            @if attempt.response.is_none() || attempt.error.is_some() { p { (super::told(cx, attempt)) } }
            @if let Some(response) = &attempt.response {
                    @if response.body.is_empty() { p.muted { (cx.t("The answer had no body.")) } }
                    @else { (code::block(cx, "response", &cx.t("Body of the answer"), &response.body)) }
                    @if response.truncated {
                        p.muted { (cx.t("The body is not whole: it was longer than is kept, or broke off.")) }
                    }
                    (headers(cx, &cx.n(u64::try_from(response.headers.len()).unwrap_or(0), "1 response header", "{count} response headers"), &response.headers))
            }
        }
    }
}

/// What was sent.
pub(super) fn request(cx: &Cx<'_>, found: &Found, attempt: Option<&Attempt>) -> Markup {
    let (id, event_id) = (found.destination.id.as_str(), found.delivery.key.event.as_str());
    let record = attempt.and_then(|attempt| attempt.request.as_ref());
    let whole = found.event.as_ref().is_some_and(|event| event.data.len() <= code::SHOWN);
    html! {
        section.detail {
            div.head {
                div.title { h2 { (cx.t("Request")) } }
                @if found.event.is_some() {
                    div.actions {
                        @if whole { (copy_button(cx, "payload", &cx.t("payload"))) }
                        a.btn.small href=(cx.href(Route::Payload(id, event_id))) download { (icon(Icon::Download)) (cx.t("Download JSON")) }
                    }
                }
            }
            @if let Some(record) = record { p.target { (code::one_line(&record.method)) " " (code::one_line(&record.url)) } }
            @match &found.event {
                Some(event) => (code::block(cx, "payload", &cx.t("Payload"), &event.data)),
                None => p.muted { (super::removed(cx)) },
            }
            @if let Some(record) = record {
                (headers(cx, &cx.n(u64::try_from(record.headers.len()).unwrap_or(0), "1 request header", "{count} request headers"), &record.headers))
            } @else if attempt.is_some() {
                p.muted { (cx.t("Nothing was sent in this attempt.")) }
            }
            @if let (Some(attempt), Some(record), Some(event)) = (attempt, record, &found.event) {
                @if let Some(command) = curl::command(cx, record, event) {
                    (curl::block(cx, &command, &cx.href(Route::Curl(id, event_id, attempt.number))))
                }
            }
        }
    }
}

fn headers(cx: &Cx<'_>, summary: &str, list: &[(String, String)]) -> Markup {
    html! {
        @if !list.is_empty() {
            details.more {
                summary { (summary) }
                div.table { table.list {
                    caption.vh { (summary) }
                    thead { tr { th scope="col" { (cx.t("Name")) } th scope="col" { (cx.t("Value")) } } }
                    tbody { @for (name, value) in list { tr { th.mono scope="row" { (code::one_line(name)) } td.mono { (code::one_line(value)) } } } }
                } }
            }
        }
    }
}
