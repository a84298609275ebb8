//! Short guides: checking signatures, writing filters, and when deliveries are tried again.

use std::time::Duration;

use maud::{Markup, html};
use outpost_core::{ServiceGuide, SigningGuide, StandardGuide};

use super::snippets;
use crate::cx::{Answer, Cx, Fault};
use crate::route::Route;
use crate::time::span;
use crate::view::{Nav, Page, code};

const GUIDES: [(&str, &str); 3] =
    [("verify", "Check signatures"), ("filters", "Write filters"), ("retries", "When deliveries are retried")];

pub(super) async fn page(cx: &Cx<'_>, topic: &str) -> Answer {
    let (_, title) = GUIDES.into_iter().find(|(known, _)| *known == topic).ok_or(Fault::NotFound)?;
    let inside = match topic {
        "verify" => verify(cx),
        "filters" => filters(cx),
        _ => retries(cx),
    };
    let body = html! {
        h1 { (cx.t(title)) }
        nav.tabs aria-label=(cx.t("Guides")) {
            @for (other, title) in GUIDES {
                a href=(cx.href(Route::Help(other))) aria-current=[(other == topic).then_some("page")] { (cx.t(title)) }
            }
        }
        (inside)
    };
    Ok(Page::new(cx.t(title), Nav::None, body).ok(cx))
}

/// The guide of the webhooks that are offered here, or else what Standard Webhooks say.
fn guide(cx: &Cx<'_>) -> SigningGuide {
    cx.site.kind("webhook").and_then(|kind| kind.signing.clone()).unwrap_or_else(|| {
        let name = |own: &str| format!("webhook-{own}");
        let standard = StandardGuide { id: name("id"), timestamp: name("timestamp"), signature: name("signature") };
        SigningGuide { standard: Some(standard), service: None::<ServiceGuide> }
    })
}

fn verify(cx: &Cx<'_>) -> Markup {
    html! {
        section.card {
            h2 { (cx.t("Why")) }
            p { (cx.t("Anybody who knows the URL of a receiver can send to it. The signature shows that a request comes from here and arrived as it was sent.")) }
            ol.steps {
                li { (cx.t("Keep the raw bytes of the body. Parsing them and writing them anew changes them.")) }
                li { (cx.t("Compute the signature with the secret of the destination and compare it in constant time.")) }
                li { (cx.t("Refuse what is older than 5 minutes, so that nobody can send an old request again.")) }
                li { (cx.t("Remember the IDs that you have seen: an event keeps its ID when it is sent again.")) }
            }
            p { (cx.t("Each destination has its own secret, on the page Signing secret. There you can also paste a request and see what differs.")) }
        }
        section.card #verify {
            h2 { (cx.t("How")) }
            (snippets::show(cx, &guide(cx), false))
        }
    }
}

/// A condition, an example of it, and what it asks.
const OPERATORS: [(&str, &str, &str); 11] = [
    (
        "=",
        r#"{"data": {"status": "paid"}}"#,
        "The value is this one, or a list that contains it. Nothing is converted: \"5\" is not 5.",
    ),
    (
        "$eq, $neq",
        r#"{"data": {"status": {"$neq": "draft"}}}"#,
        "Equal, or not equal, at any depth. A missing value fits neither.",
    ),
    ("$gt, $gte, $lt, $lte", r#"{"data": {"amount": {"$gte": 100}}}"#, "Two numbers or two texts, compared."),
    (
        "$in",
        r#"{"data": {"country": {"$in": ["DE", "FR"]}}}"#,
        "The value is one of the list. With a text in place of the list: it is a part of the value.",
    ),
    ("$nin", r#"{"data": {"country": {"$nin": ["US"]}}}"#, "The value is there and is none of the list."),
    ("$startsWith", r#"{"topic": {"$startsWith": "order."}}"#, "The text begins with this one, or with one of a list."),
    (
        "$endsWith",
        r#"{"data": {"email": {"$endsWith": "@example.com"}}}"#,
        "The text ends with this one, or with one of a list.",
    ),
    (
        "$exist",
        r#"{"data": {"coupon": {"$exist": true}}}"#,
        "The key is there, whatever its value; or with false: it is not there.",
    ),
    ("$or", r#"{"data": {"$or": [{"vip": true}, {"amount": {"$gt": 1000}}]}}"#, "At least one of them holds."),
    ("$and", r#"{"data": {"$and": [{"tags": "new"}, {"tags": "eu"}]}}"#, "All of them hold."),
    ("$not", r#"{"data": {"$not": {"status": "draft"}}}"#, "It does not hold."),
];

fn filters(cx: &Cx<'_>) -> Markup {
    let example = r#"{"topic": {"$startsWith": "order."}, "data": {"amount": {"$gte": 100}, "tags": ["new", "eu"]}}"#;
    html! {
        section.card {
            h2 { (cx.t("What a filter is")) }
            p { (cx.t("A destination gets the events of its topics. With a filter it gets only those of them that fit. A filter is a JSON object, and all that it says must hold.")) }
            p { (cx.t("It is asked of the event’s id, topic, time, metadata and data. This one wants orders from 100 on whose tags have both words:")) }
            (code::block(cx, "example", &cx.t("A filter"), example.as_bytes()))
        }
        section.card {
            h2 { (cx.t("Conditions")) }
            div.table tabindex="0" role="region" aria-label=(cx.t("Table")) {
                table.list {
                    caption.vh { (cx.t("Conditions")) }
                    thead { tr { th scope="col" { (cx.t("Condition")) } th scope="col" { (cx.t("Meaning")) } th scope="col" { (cx.t("Example")) } } }
                    tbody {
                        @for (name, example, meaning) in OPERATORS {
                            tr { th scope="row" { code { (name) } } td { (cx.t(meaning)) } td { code { (example) } } }
                        }
                    }
                }
            }
        }
        section.card {
            h2 { (cx.t("Good to know")) }
            ul {
                li { (cx.t("Several conditions in one object must all hold.")) }
                li { (cx.t("A list in a filter wants a list that has all of its values.")) }
                li { (cx.t("Conditions on the fields of a list’s objects hold if one object fits them all.")) }
                li { (cx.t("A value of another type than the condition speaks of does not fit, except $neq.")) }
                li { (cx.t("A time may be compared with a time or a date, such as 2026-01-31T08:00:00Z.")) }
                li { (cx.t("Events that do not fit are not sent, and are not kept for the destination.")) }
            }
        }
    }
}

fn retries(cx: &Cx<'_>) -> Markup {
    let offers = &cx.site.offers;
    let most = offers.retry.max_attempts();
    // The shortest delays: what jitter adds differs each time.
    let delays: Vec<Duration> = (1..most).map_while(|made| offers.retry.delay_after(made, 0, None)).collect();
    let total: Duration = delays.iter().sum();
    let longest = offers.retry.cap_retry_after(Duration::MAX);
    let rows = delays.iter().scan(Duration::ZERO, |sum, delay| {
        *sum += *delay;
        Some((*delay, *sum))
    });
    html! {
        section.card {
            h2 { (cx.t("What counts as delivered")) }
            p { (cx.f("The receiver answers with a status from 200 to 299 within {time}. Anything else is a failure, a redirect too: it is not followed.", &[("time", &span(offers.timeout))])) }
            p { (cx.t("Answer at once and do the work afterwards. An event may arrive more than once, and not in order; its ID stays the same.")) }
        }
        section.card {
            h2 { (cx.t("When it is tried again")) }
            @if delays.is_empty() {
                p { (cx.t("A failed delivery is not tried again by itself. You can retry it by hand.")) }
            } @else {
                p { (cx.n(u64::from(most), "There is one attempt.", "There are {count} attempts.")) " " (cx.f("The last one comes about {time} after the first. Then the delivery has failed, and you can retry it by hand.", &[("time", &span(total))])) }
                div.table tabindex="0" role="region" aria-label=(cx.t("Table")) {
                    table.list {
                        caption.vh { (cx.t("The schedule of attempts")) }
                        thead { tr {
                            th.num scope="col" { (cx.t("Attempt")) }
                            th.num scope="col" { (cx.t("After the one before")) }
                            th.num scope="col" { (cx.t("After the first")) }
                        } }
                        tbody {
                            tr { th.num scope="row" { "1" } td.num { (cx.t("at once")) } td.num { "–" } }
                            @for (index, (delay, sum)) in rows.enumerate() {
                                tr { th.num scope="row" { (index + 2) } td.num { (span(delay)) } td.num { (span(sum)) } }
                            }
                        }
                    }
                }
                p.muted { (cx.t("Delays are a little longer, by chance, so that not everything comes at the same moment. A destination may have a schedule of its own.")) }
            }
        }
        section.card {
            h2 { (cx.t("When the receiver asks to slow down")) }
            ul {
                li { (cx.t("After 429, 502, 503 or 504 the whole destination is held for a while, and then asked with one event before the others follow.")) }
                li { (cx.f("Retry-After is obeyed, up to {time}.", &[("time", &span(longest))])) }
                li { (cx.t("After 410 Gone the delivery is not tried again, and the destination may be disabled.")) }
            }
        }
        section.card {
            h2 { (cx.t("When a destination is disabled")) }
            p { (cx.t("A destination that has done nothing but fail for a long time may be disabled. Its page says so and why. What waited for it is skipped; once it is enabled again, you can replay what was missed.")) }
        }
    }
}
