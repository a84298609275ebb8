//! Small pieces that several pages use.

use maud::{Markup, html};
use outpost_core::{CancelReason, Delivery, DeliveryState, Destination, DisabledBy, Outcome, Page, Trigger};

use crate::cx::Cx;
use crate::icon::{Icon, icon};
use crate::route::Href;

/// From how many failures in a row a destination is called failing.
pub(crate) const FAILING: u32 = 3;

fn pill(class: &str, sign: Icon, text: &str) -> Markup {
    html! { span class={ "pill " (class) } { (icon(sign)) (text) } }
}

/// The state of a destination.
pub(crate) fn destination_pill(cx: &Cx<'_>, destination: &Destination, failures: u32) -> Markup {
    match (&destination.disabled, failures >= FAILING) {
        (Some(_), _) => pill("neutral", Icon::Pause, &cx.t("Disabled")),
        (None, true) => pill("fail", Icon::Cross, &cx.t("Failing")),
        (None, false) => pill("ok", Icon::Check, &cx.t("Active")),
    }
}

/// Who or what disabled a destination, as a sentence.
pub(crate) fn disabled_by(cx: &Cx<'_>, by: DisabledBy) -> String {
    let text = match by {
        DisabledBy::Tenant => "It was disabled by a user.",
        DisabledBy::Operator => "It was disabled by the operator.",
        DisabledBy::OperatorLock => "It was disabled by the operator; only the operator can enable it.",
        DisabledBy::Gone => "It was disabled because the receiver answered 410 Gone.",
        DisabledBy::Failures => "It was disabled because too many attempts in a row failed.",
        DisabledBy::Failing => "It was disabled because every attempt failed for too long.",
    };
    cx.t(text).into_owned()
}

/// How a delivery stands, as every page shows it. One function decides it, so no two pages can disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Queued,
    Sending,
    Retrying,
    Delivered,
    Failed,
    Skipped,
    Cancelled,
}

impl Shown {
    pub(crate) fn of(delivery: &Delivery, now: outpost_core::Timestamp) -> Self {
        let leased = delivery.leased_until.is_some_and(|until| until > now);
        match delivery.state {
            DeliveryState::Pending | DeliveryState::Retrying if leased => Self::Sending,
            DeliveryState::Pending => Self::Queued,
            DeliveryState::Retrying => Self::Retrying,
            _ if leased => Self::Sending,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Failed => Self::Failed,
            DeliveryState::Skipped => Self::Skipped,
            DeliveryState::Cancelled(_) => Self::Cancelled,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Sending => "Sending",
            Self::Retrying => "Retrying",
            Self::Delivered => "Delivered",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
            Self::Cancelled => "Cancelled",
        }
    }

    const fn look(self) -> (&'static str, Icon) {
        match self {
            Self::Queued | Self::Sending => ("info", Icon::Clock),
            Self::Retrying => ("warn", Icon::Clock),
            Self::Delivered => ("ok", Icon::Check),
            Self::Failed => ("fail", Icon::Cross),
            Self::Skipped | Self::Cancelled => ("neutral", Icon::Pause),
        }
    }
}

/// The state of a delivery.
pub(crate) fn delivery_pill(cx: &Cx<'_>, delivery: &Delivery) -> Markup {
    let shown = Shown::of(delivery, cx.now);
    let (class, sign) = shown.look();
    pill(class, sign, &cx.t(shown.word()))
}

/// Why a delivery that is over was not delivered, as a sentence.
pub(crate) fn ended_why(cx: &Cx<'_>, state: DeliveryState) -> Option<String> {
    let text = match state {
        DeliveryState::Pending | DeliveryState::Retrying | DeliveryState::Delivered => return None,
        DeliveryState::Failed => "It was given up: every attempt failed.",
        DeliveryState::Skipped => "It was skipped: the destination was disabled.",
        DeliveryState::Cancelled(CancelReason::User) => "It was cancelled by a user.",
        DeliveryState::Cancelled(CancelReason::DestinationDeleted) => "It was cancelled: its destination was deleted.",
        DeliveryState::Cancelled(CancelReason::TenantDeleted) => "It was cancelled: the account was deleted.",
    };
    Some(cx.t(text).into_owned())
}

/// A response code or the kind of failure in words.
pub(crate) fn outcome_code(cx: &Cx<'_>, outcome: Option<&Outcome>) -> Markup {
    html! { @match outcome { Some(outcome) => code { (code_word(cx, &outcome.code)) }, None => "–" } }
}

/// `404`, or `timeout` in place of the name of an error's class.
pub(crate) fn code_word(cx: &Cx<'_>, code: &str) -> String {
    let word = match code {
        "dns_error" | "blocked" => "not reachable",
        "connection_refused" => "refused",
        "connection_reset" => "cut off",
        "network_unreachable" => "unreachable",
        "timeout" => "timeout",
        "tls_error" => "TLS error",
        "protocol_error" => "no HTTP",
        "request_error" => "bad request",
        "network_error" => "network error",
        "system_error" => "our fault",
        other => return other.to_owned(),
    };
    cx.t(word).into_owned()
}

/// Why an attempt was made.
pub(crate) fn trigger_word(cx: &Cx<'_>, trigger: Trigger) -> String {
    cx.t(match trigger {
        Trigger::Automatic => "automatic",
        Trigger::Manual => "manual",
        Trigger::Replay => "replay",
        Trigger::Test => "test",
    })
    .into_owned()
}

/// Newer and older. `here` is the list's address with its filters and without a cursor.
pub(crate) fn pager<T>(cx: &Cx<'_>, page: &Page<T>, here: &Href) -> Markup {
    let link = |cursor: &str| here.clone().with("cursor", cursor);
    let count = u64::try_from(page.items.len()).unwrap_or(0);
    html! {
        div.pager {
            span { (cx.n(count, "1 row, newest first", "{count} rows, newest first")) }
            @if let Some(prev) = &page.prev {
                a.btn.small href=(here) { (cx.t("Newest")) }
                a.btn.small rel="prev" href=(link(prev)) { (cx.t("Newer")) }
            }
            @if let Some(next) = &page.next { a.btn.small rel="next" href=(link(next)) { (cx.t("Older")) } }
        }
    }
}

/// A place where something would be, and what to do about it.
pub(crate) fn empty(text: &str, more: &str, actions: Markup) -> Markup {
    html! { div.empty { h2 { (text) } @if !more.is_empty() { p { (more) } } div.actions { (actions) } } }
}

/// A link that looks like a button.
pub(crate) fn button_link(href: &Href, text: &str, primary: bool) -> Markup {
    html! { a class=(if primary { "btn primary" } else { "btn" }) href=(href) { (text) } }
}

/// A button that copies the text of the element with this id.
pub(crate) fn copy_button(cx: &Cx<'_>, id: &str, what: &str) -> Markup {
    html! {
        button.btn.small.jo type="button" data-copy={ "#" (id) } data-done=(cx.t("Copied")) aria-label=(cx.f("Copy {what}", &[("what", &what)])) {
            (cx.t("Copy"))
        }
    }
}

/// A form that is one button. What it does is told apart by `name` for those who cannot see what it stands beside.
pub(crate) fn post_button(cx: &Cx<'_>, to: &Href, text: &str, class: &str) -> Markup {
    html! {
        form method="post" action=(to) {
            input type="hidden" name="form_token" value=(cx.form_token());
            button class={ "btn " (class) } type="submit" { (text) }
        }
    }
}
