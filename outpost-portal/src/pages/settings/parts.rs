//! The parts of the settings: what each is called, whether it is offered, and its fields.

use maud::{Markup, html};
use outpost_core::{Destination, FieldKind};

use super::header_names;
use crate::cx::Cx;
use crate::pages::fields::{self, delivery, filter};
use crate::pages::topics::{self, Choice};
use crate::request::Params;
use crate::view::code::one_line;
use crate::view::form::Wrong;

/// A part of the settings that is saved by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    General,
    Topics,
    Endpoint,
    Headers,
    Filter,
    Delivery,
}

impl Part {
    pub(super) const ALL: [Self; 6] =
        [Self::General, Self::Topics, Self::Endpoint, Self::Headers, Self::Filter, Self::Delivery];

    /// Its name in forms and links.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Topics => "topics",
            Self::Endpoint => "endpoint",
            Self::Headers => "headers",
            Self::Filter => "filter",
            Self::Delivery => "delivery",
        }
    }

    pub(super) fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.id() == name)
    }

    pub(super) fn title(self, cx: &Cx<'_>) -> String {
        cx.t(match self {
            Self::General => "General",
            Self::Topics => "Topics of events",
            Self::Endpoint => "Endpoint",
            Self::Headers => "Headers",
            Self::Filter => "Filter",
            Self::Delivery => "Delivery",
        })
        .into_owned()
    }

    /// What the host is told.
    pub(super) const fn action(self) -> &'static str {
        match self {
            Self::General => "change name",
            Self::Topics => "change topics",
            Self::Endpoint => "change endpoint",
            Self::Headers => "change headers",
            Self::Filter => "change filter",
            Self::Delivery => "change delivery settings",
        }
    }

    /// What the next page says.
    pub(super) const fn saved(self) -> &'static str {
        match self {
            Self::General => "The name is saved.",
            Self::Topics => "The topics are saved. They count for events from now on.",
            Self::Endpoint => "The endpoint is saved. Everything that is sent from now on goes there.",
            Self::Headers => "The headers are saved. Everything that is sent from now on has them.",
            Self::Filter => "The filter is saved. It counts for events from now on.",
            Self::Delivery => "The delivery settings are saved.",
        }
    }

    /// Why it cannot be changed here, whoever asks.
    pub(super) fn offered(self, cx: &Cx<'_>, destination: &Destination) -> Result<(), String> {
        let kind = cx.site.kind(&destination.kind);
        let text = match self {
            Self::Endpoint | Self::Headers if kind.is_none() => {
                "Destinations of this type are not offered any more. It cannot be sent to anywhere else."
            }
            Self::Headers if kind.is_none_or(|kind| fields::headers(cx, kind).is_none()) => {
                "Custom headers are not offered here."
            }
            Self::Filter if !cx.site.filters => "Filters are not offered here.",
            Self::Delivery if !cx.site.offers.tenant_delivery_settings => "Delivery settings are not offered here.",
            _ => return Ok(()),
        };
        Err(cx.t(text).into_owned())
    }

    /// Whether the page has it. Of a type that is gone the endpoint is shown, but cannot be changed.
    pub(super) fn is_shown(self, cx: &Cx<'_>, destination: &Destination) -> bool {
        self == Self::Endpoint || self.offered(cx, destination).is_ok()
    }

    /// What it holds, for people; nothing that is secret.
    pub(super) fn facts(self, cx: &Cx<'_>, destination: &Destination) -> Vec<(String, String)> {
        let none = || cx.t("none").into_owned();
        match self {
            Self::General => {
                let name = destination.name.as_deref().map_or_else(none, one_line);
                vec![(cx.t("Name").into_owned(), name)]
            }
            Self::Topics => {
                let topics = &destination.topics;
                let all = topics.is_all().then(|| cx.t("All topics").into_owned());
                vec![(cx.t("Topics").into_owned(), all.unwrap_or_else(|| topics.as_slice().join(", ")))]
            }
            Self::Endpoint => endpoint_facts(cx, destination),
            Self::Headers => {
                let stored = destination.config.get(crate::site::HEADERS_FIELD).map(String::as_str);
                let text = match header_names(stored) {
                    Some(names) if !names.is_empty() => names.join(", "),
                    None if stored.is_some_and(|json| !json.is_empty()) => cx.t("set, not shown").into_owned(),
                    _ => none(),
                };
                vec![(cx.t("Custom headers").into_owned(), text)]
            }
            Self::Filter => vec![(cx.t("Filter").into_owned(), destination.filter.clone().unwrap_or_else(none))],
            Self::Delivery => delivery::facts(cx, &destination.settings),
        }
    }

    /// Its fields and buttons.
    pub(super) fn fields(
        self,
        cx: &Cx<'_>,
        destination: &Destination,
        typed: Option<&Params>,
        wrong: &Wrong,
        tried: Option<&Markup>,
    ) -> Markup {
        let kind = cx.site.kind(&destination.kind);
        let save = |text: &str| html! { button.btn.primary type="submit" { (text) } };
        html! {
            @match self {
                Self::General => {
                    (fields::name(cx, typed.map_or(destination.name.as_deref().unwrap_or_default(), |typed| typed.text("name")), wrong))
                    div.actions { (save(&cx.t("Save name"))) }
                }
                Self::Topics => {
                    (topics::picker(cx, &typed.map_or_else(|| Choice::of(cx, &destination.topics), |typed| Choice::posted(cx, typed)), wrong))
                    div.actions { (save(&cx.t("Save topics"))) }
                }
                Self::Endpoint => {
                    // What the Enter key stands for, where another button comes first.
                    button.vh type="submit" tabindex="-1" aria-hidden="true" {}
                    @for own in kind.map(|kind| fields::own(cx, kind)).unwrap_or_default() {
                        (fields::draw(cx, own, Some(destination), typed, wrong))
                    }
                    div.actions { (save(&cx.t("Save endpoint"))) }
                }
                Self::Headers => {
                    button.vh type="submit" tabindex="-1" aria-hidden="true" {}
                    @if let Some(own) = kind.and_then(|kind| fields::headers(cx, kind)) {
                        (fields::draw(cx, own, Some(destination), typed, wrong))
                    }
                    div.actions { (save(&cx.t("Save headers"))) }
                }
                Self::Filter => {
                    (filter::draw(cx, typed.map_or(destination.filter.as_deref().unwrap_or_default(), |typed| typed.text("filter")), wrong))
                    // First, so that the Enter key tries and does not save.
                    details.more open[typed.is_some_and(|typed| typed.has("try"))] {
                        summary { (cx.t("Try the filter")) }
                        (filter::try_fields(cx, typed, wrong))
                        @if let Some(tried) = tried { (tried) }
                    }
                    div.actions {
                        (save(&cx.t("Save filter")))
                        @if destination.filter.is_some() {
                            button.btn type="submit" name="remove" value="1" { (cx.t("Remove filter")) }
                        }
                    }
                }
                Self::Delivery => {
                    (delivery::draw(cx, &destination.settings, typed, wrong))
                    div.actions { (save(&cx.t("Save delivery settings"))) }
                }
            }
        }
    }
}

fn endpoint_facts(cx: &Cx<'_>, destination: &Destination) -> Vec<(String, String)> {
    let Some(kind) = cx.site.kind(&destination.kind) else {
        return vec![
            (cx.t("Type").into_owned(), one_line(&destination.kind)),
            (cx.t("Target").into_owned(), one_line(&destination.target)),
        ];
    };
    let own = fields::own(cx, kind);
    let fact = |own: &fields::Own<'_>| {
        let value = own.stored(destination).filter(|value| !value.is_empty());
        let text = match (&own.field.kind, value) {
            (_, None) => cx.t("none").into_owned(),
            (_, Some(_)) if own.field.sensitive => cx.t("set, not shown").into_owned(),
            (FieldKind::Select { options }, Some(value)) => {
                let label = options.iter().find(|(option, _)| *option == value).map(|(_, label)| cx.t(label));
                label.map_or_else(|| one_line(value), std::borrow::Cow::into_owned)
            }
            (FieldKind::Checkbox, Some("true")) => cx.t("yes").into_owned(),
            (FieldKind::Checkbox, Some(_)) => cx.t("no").into_owned(),
            // A URL may have a password in it; its target is the same without.
            (_, Some(_)) if own.field.key == "url" && !cx.may(outpost_core::Capability::Write) => {
                one_line(&destination.target)
            }
            (_, Some(value)) => one_line(value),
        };
        (cx.t(own.field.label).into_owned(), text)
    };
    own.iter().map(fact).collect()
}
