//! Lists of deliveries: what is asked for, as it stands in the address, and the table of what was found. The list of one
//! destination, that of all of them, exports and retrying what is ticked share it.

use std::time::Duration;

use maud::{Markup, html};
use outpost_core::{
    CancelReason, Capability, CodeFilter, Delivery, DeliveryFilter, DeliveryState, DestinationId, EventFilter, EventId,
    OfDestination, Page, Problem, Timestamp, check_topic,
};

use crate::cx::{Cx, Fault};
use crate::icon::{Icon, icon};
use crate::route::{Href, Route};
use crate::view::code::one_line;
use crate::view::{button_link, delivery_pill, empty, outcome_code};

/// The ranges of time that are offered, and what they are called.
pub(super) const RANGES: [(&str, &str, Duration); 4] = [
    ("1h", "Last hour", Duration::from_secs(3600)),
    ("24h", "Last 24 hours", Duration::from_secs(24 * 3600)),
    ("7d", "Last 7 days", Duration::from_secs(7 * 24 * 3600)),
    ("30d", "Last 30 days", Duration::from_secs(30 * 24 * 3600)),
];

/// The states that can be asked for: the word in the address, the label, and what it stands for.
const STATES: [(&str, &str, &[DeliveryState]); 7] = [
    ("open", "Still to come", &[DeliveryState::Pending, DeliveryState::Retrying]),
    ("queued", "Queued", &[DeliveryState::Pending]),
    ("retrying", "Retrying", &[DeliveryState::Retrying]),
    ("delivered", "Delivered", &[DeliveryState::Delivered]),
    ("failed", "Failed", &[DeliveryState::Failed]),
    ("skipped", "Skipped", &[DeliveryState::Skipped]),
    (
        "cancelled",
        "Cancelled",
        &[
            DeliveryState::Cancelled(CancelReason::User),
            DeliveryState::Cancelled(CancelReason::DestinationDeleted),
            DeliveryState::Cancelled(CancelReason::TenantDeleted),
        ],
    ),
];

/// The responses that can be asked for by a list; exact ones can be typed.
const CODES: [(&str, &str); 5] =
    [("2xx", "2xx"), ("3xx", "3xx"), ("4xx", "4xx"), ("5xx", "5xx"), ("none", "No response")];

/// The most topics or destinations that are offered in a list to choose from; of more, one is typed.
const MOST_CHOICES: usize = 200;

/// Where a list stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// One destination's.
    Of(&'a str),
    /// All of the tenant's.
    All,
}

impl Place<'_> {
    pub(super) fn route(&self) -> Route<'_> {
        match self {
            Self::Of(id) => Route::Deliveries(id),
            Self::All => Route::Activity,
        }
    }
}

/// What a list is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The parameters that were understood, as they stand in the address.
    pub(super) pairs: Vec<(&'static str, String)>,
    pub(super) filter: DeliveryFilter,
    /// Parameters that could not be used, in words.
    pub(super) wrong: Vec<String>,
    pub(super) live: bool,
    /// Events that matched nothing, in place of deliveries.
    pub(super) unmatched: bool,
    pub(super) events: EventFilter,
    /// When the list's first page was made.
    at: Timestamp,
}

impl Asked {
    pub(super) fn read(cx: &Cx<'_>, place: Place<'_>) -> Self {
        let get = |name: &str| cx.request.query.get(name);
        let at = get("at").and_then(|at| at.parse().ok()).map(Timestamp::from_millis);
        let mut asked = Self {
            pairs: Vec::new(),
            filter: DeliveryFilter::default(),
            wrong: Vec::new(),
            live: false,
            unmatched: false,
            events: EventFilter::default(),
            at: at.filter(|at| *at < cx.now).unwrap_or(cx.now),
        };
        if let Place::Of(id) = place {
            asked.filter.destinations.extend(DestinationId::new(id));
        }
        if let Some(status) = get("status") {
            let states = STATES.iter().find(|(word, ..)| *word == status);
            match (states, status, place) {
                (Some((_, _, states)), ..) => asked.filter.states = states.to_vec(),
                (None, "unmatched", Place::All) => asked.unmatched = true,
                _ => asked.wrong.push(cx.f("There is no status {status}.", &[("status", &status)])),
            }
            asked.keep("status", status, asked.unmatched || states.is_some());
        }
        if let Some(topic) = get("topic") {
            let fine = asked.take(cx, check_topic(topic));
            if fine.is_some() {
                asked.filter.topics = vec![topic.to_owned()];
            }
            asked.keep("topic", topic, fine.is_some());
        }
        if let Some(code) = get("code") {
            let fine = asked.take(cx, CodeFilter::parse(code));
            asked.keep("code", code, fine.is_some());
            asked.filter.codes.extend(fine);
        }
        if let Some(id) = get("id") {
            let fine = asked.take(cx, EventId::new(id));
            asked.keep("id", id, fine.is_some());
            asked.filter.events.extend(fine);
        }
        if let (Some(id), Place::All) = (get("destination"), place) {
            let fine = asked.take(cx, DestinationId::new(id));
            asked.keep("destination", id, fine.is_some());
            asked.filter.destinations.extend(fine);
        }
        asked.read_time(cx);
        asked.live = get("live") == Some("1");
        let DeliveryFilter { events, topics, destinations, from, until, .. } = asked.filter.clone();
        asked.events = EventFilter { ids: events, topics, destinations, from, until };
        asked
    }

    fn read_time(&mut self, cx: &Cx<'_>) {
        let get = |name: &str| cx.request.query.get(name);
        if let Some(range) = get("range") {
            let known = RANGES.iter().find(|(word, ..)| *word == range);
            self.filter.from = known.map(|(.., span)| self.at.before(*span));
            self.keep("range", range, known.is_some());
        }
        let zone = &cx.prefs.zone.1;
        for name in ["from", "until"] {
            let Some(text) = get(name) else { continue };
            let at = crate::time::parse_field(text, zone).or_else(|| Timestamp::parse(name, text).ok());
            match at {
                // A range and its edges exclude each other; the edges were typed.
                Some(at) if name == "from" => self.filter.from = Some(at),
                Some(at) => self.filter.until = Some(at),
                None => self.wrong.push(cx.f("The time {time} could not be read.", &[("time", &text)])),
            }
            self.keep(name, text, at.is_some());
        }
        if let (Some(from), Some(until)) = (self.filter.from, self.filter.until)
            && from >= until
        {
            self.wrong.push(cx.t("“From” must be before “until”.").into_owned());
            self.filter.until = None;
            self.pairs.retain(|(name, _)| *name != "until");
        }
    }

    fn keep(&mut self, name: &'static str, value: &str, fine: bool) {
        if fine {
            self.pairs.push((name, value.to_owned()));
        }
    }

    fn take<T>(&mut self, cx: &Cx<'_>, value: Result<T, Problem>) -> Option<T> {
        value
            .map_err(|problem| {
                let message =
                    cx.f("The filter {field} {problem}.", &[("field", &problem.field), ("problem", &problem.message)]);
                self.wrong.push(message);
            })
            .ok()
    }

    fn value(&self, name: &str) -> &str {
        self.pairs.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// The list's address with its filters, at its newest end.
    pub(super) fn href(&self, cx: &Cx<'_>, place: Place<'_>) -> Href {
        self.without(cx, place, "")
    }

    /// The same for links to other pages of the list: a range counts from when its first page was made, or each page
    /// would be one of another list.
    pub(super) fn pages(&self, cx: &Cx<'_>, place: Place<'_>) -> Href {
        let here = self.href(cx, place);
        if self.value("range").is_empty() { here } else { here.with("at", self.at.as_millis().to_string()) }
    }

    fn without(&self, cx: &Cx<'_>, place: Place<'_>, left_out: &str) -> Href {
        let pairs = self.pairs.iter().filter(|(name, _)| *name != left_out);
        cx.href(place.route()).with_all(pairs.map(|(name, value)| ((*name).to_owned(), value.clone())))
    }

    /// The parameters for an address of another kind, such as an export's.
    pub(super) fn query(&self) -> impl Iterator<Item = (String, String)> {
        self.pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone()))
    }
}

/// The form that narrows the list down, and what it is narrowed down by.
///
/// `destinations`: their ids and names, to choose from where the list is that of all of them.
pub(super) fn filters(cx: &Cx<'_>, place: Place<'_>, asked: &Asked, destinations: &[(String, String)]) -> Markup {
    let option =
        |value: &str, label: &str, chosen: &str| html! { option value=(value) selected[value == chosen] { (label) } };
    let status = asked.value("status");
    let destination = asked.value("destination");
    let by_name = (1..=MOST_CHOICES).contains(&destinations.len())
        && (destination.is_empty() || destinations.iter().any(|(id, _)| id == destination));
    let code = asked.value("code");
    let exact = !code.is_empty() && CODES.iter().all(|(known, _)| *known != code);
    html! {
        form.filters method="get" action=(cx.href(place.route())) data-auto {
            div.field {
                label for="status" { (cx.t("Status")) }
                select id="status" name="status" {
                    (option("", &cx.t("Any"), status))
                    @for (word, label, _) in STATES { (option(word, &cx.t(label), status)) }
                    @if matches!(place, Place::All) { (option("unmatched", &cx.t("No destination matched"), status)) }
                }
            }
            @if by_name {
                div.field {
                    label for="destination" { (cx.t("Destination")) }
                    select id="destination" name="destination" {
                        (option("", &cx.t("Any"), destination))
                        @for (id, name) in destinations { (option(id, name, destination)) }
                    }
                }
            }
            div.field {
                label for="code" { (cx.t("Response")) }
                select id="code" name="code" {
                    (option("", &cx.t("Any"), code))
                    @for (word, label) in CODES { (option(word, &cx.t(label), code)) }
                    @if exact { (option(code, code, code)) }
                }
            }
            div.field {
                label for="topic" { (cx.t("Topic")) }
                @match cx.site.offers.topics.as_ref().filter(|topics| topics.len() <= MOST_CHOICES) {
                    Some(topics) => select id="topic" name="topic" {
                        (option("", &cx.t("Any"), asked.value("topic")))
                        @for topic in topics { (option(topic, topic, asked.value("topic"))) }
                    },
                    None => input type="search" id="topic" name="topic" value=(asked.value("topic")) maxlength="128" spellcheck="false";,
                }
            }
            div.field {
                label for="range" { (cx.t("Time")) }
                select id="range" name="range" {
                    (option("", &cx.t("All"), asked.value("range")))
                    @for (word, label, _) in RANGES { (option(word, &cx.t(label), asked.value("range"))) }
                }
            }
            details.more.filter-more open[!asked.value("from").is_empty() || !asked.value("until").is_empty() || !asked.value("id").is_empty()] {
                summary { (cx.t("More filters")) }
                div.row {
                    div.field { label for="from" { (cx.t("From")) } input type="datetime-local" id="from" name="from" value=(asked.value("from")); }
                    div.field { label for="until" { (cx.t("Until")) } input type="datetime-local" id="until" name="until" value=(asked.value("until")); }
                    div.field { label for="id" { (cx.t("Event ID")) } input type="search" id="id" name="id" value=(asked.value("id")) maxlength="255" spellcheck="false"; }
                    @if matches!(place, Place::All) && !by_name {
                        div.field {
                            label for="destination" { (cx.t("Destination ID")) }
                            input type="search" id="destination" name="destination" value=(destination) maxlength="255" spellcheck="false";
                        }
                    }
                    button.btn type="submit" { (cx.t("Apply")) }
                }
            }
            button.btn.apply type="submit" { (cx.t("Apply")) }
        }
        @if !asked.wrong.is_empty() {
            div.note.warn role="status" { (icon(Icon::Warning)) @for wrong in &asked.wrong { p { (wrong) } } }
        }
        @if !asked.pairs.is_empty() {
            ul.chips aria-label=(cx.t("Active filters")) {
                @for (name, value) in &asked.pairs {
                    li { a.chip href=(asked.without(cx, place, name)) aria-label=(cx.f("Remove the filter {filter}", &[("filter", &chip(cx, name, value))])) {
                        (chip(cx, name, value)) (icon(Icon::Cross))
                    } }
                }
                @if asked.pairs.len() > 1 { li { a href=(cx.href(place.route())) { (cx.t("Clear filters")) } } }
            }
        }
    }
}

fn chip(cx: &Cx<'_>, name: &str, value: &str) -> String {
    let value = &one_line(value);
    let say = |label: &'static str| format!("{}: {}", cx.t(label), value);
    match name {
        "status" => {
            let label =
                STATES.iter().find(|(word, ..)| *word == value).map_or("No destination matched", |(_, label, _)| label);
            cx.t(label).into_owned()
        }
        "range" => RANGES
            .iter()
            .find(|(word, ..)| *word == value)
            .map_or_else(String::new, |(_, label, _)| cx.t(label).into_owned()),
        "code" => say("Response"),
        "topic" => say("Topic"),
        "id" => say("Event ID"),
        "destination" => say("Destination ID"),
        "from" => say("From"),
        _ => say("Until"),
    }
}

/// The table of deliveries, inside a form that retries what is ticked.
pub(super) fn table(
    cx: &Cx<'_>,
    place: Place<'_>,
    asked: &Asked,
    rows: &[OfDestination<Delivery>],
    names: &dyn Fn(&OfDestination<Delivery>) -> Option<String>,
) -> Markup {
    let may = cx.may(Capability::Retry);
    let all = matches!(place, Place::All);
    let to = match place {
        Place::Of(id) => cx.href(Route::RetryDeliveries(id)),
        Place::All => cx.href(Route::RetryActivity),
    };
    html! {
        form.stack method="post" action=(to) {
            input type="hidden" name="form_token" value=(cx.form_token());
            input type="hidden" name="return_to" value=(asked.href(cx, place));
            div.table {
                table.list #rows {
                    caption.vh { (cx.t("Deliveries")) }
                    thead { tr {
                        @if may {
                            th.pick scope="col" {
                                span.vh { (cx.t("Select")) }
                                input.jo type="checkbox" data-all="#rows" aria-label=(cx.t("Select all on this page"));
                            }
                        }
                        th scope="col" { (cx.t("Time")) }
                        th scope="col" { (cx.t("Status")) }
                        th.c3 scope="col" { (cx.t("Response")) }
                        th.c3 scope="col" { (cx.t("Topic")) }
                        @if all { th.c2 scope="col" { (cx.t("Destination")) } }
                        th.c2 scope="col" { (cx.t("Event ID")) }
                        th.num.c2 scope="col" { (cx.t("Tries")) }
                    } }
                    tbody { @for row in rows { (self::row(cx, place, row, may, names(row))) } }
                }
            }
            @if may && !rows.is_empty() {
                div.actions { button.btn.small type="submit" { (icon(Icon::Retry)) (cx.t("Retry selected")) } }
            }
        }
    }
}

fn row(cx: &Cx<'_>, place: Place<'_>, row: &OfDestination<Delivery>, may: bool, name: Option<String>) -> Markup {
    let (destination, event) = (row.destination_id.as_str(), row.key.event.as_str());
    let live = name.is_some();
    // What a deleted destination was sent is found with its event.
    let to = if live { cx.href(Route::Delivery(destination, event)) } else { cx.href(Route::Event(event)) };
    let value = if matches!(place, Place::All) { format!("{destination}/{event}") } else { event.to_owned() };
    html! {
        tr {
            @if may {
                td.pick { @if live { input type="checkbox" name="pick" value=(value) aria-label=(cx.f("Select event {event}", &[("event", &event)])); } }
            }
            th.main scope="row" {
                a.rowlink href=(to) { (cx.time_short(row.created_at)) }
                // On a phone there is no room for columns of their own.
                span.sub.phone { (row.topic) @if let (Place::All, Some(name)) = (place, &name) { " · " (name) } }
            }
            td { (delivery_pill(cx, row)) }
            td.c3 { (outcome_code(cx, row.last_outcome.as_ref())) }
            td.c3.mono { (row.topic) }
            @if matches!(place, Place::All) {
                td.c2 { (name.unwrap_or_else(|| cx.f("{id} (deleted)", &[("id", &destination)]))) }
            }
            td.c2.mono { (event) }
            td.num.c2 { (row.attempts) }
        }
    }
}

/// What stands in the place of a table that has no rows.
pub(super) fn nothing(cx: &Cx<'_>, place: Place<'_>, asked: &Asked, more: bool) -> Markup {
    if more {
        // The bound on rows that are looked at was reached before anything was found.
        return empty(&cx.t("Nothing found so far"), &cx.t("Older deliveries have not been looked at yet."), html! {});
    }
    if asked.pairs.is_empty() {
        let actions = match place {
            Place::Of(id) if cx.may(Capability::Write) => {
                button_link(&cx.href(Route::Test(id)), &cx.t("Send test event"), false)
            }
            _ => html! {},
        };
        return empty(
            &cx.t("No deliveries yet"),
            &cx.t("Every event that is sent to a destination appears here at once."),
            actions,
        );
    }
    empty(
        &cx.t("No delivery matches these filters"),
        "",
        button_link(&cx.href(place.route()), &cx.t("Clear filters"), false),
    )
}

/// When the list was made, and how to see newer ones.
pub(super) fn freshness(cx: &Cx<'_>, place: Place<'_>, asked: &Asked) -> Markup {
    let here = asked.href(cx, place);
    html! {
        p.muted {
            (cx.f("Updated {time}", &[("time", &crate::time::short(cx.now, &cx.prefs.zone.1))])) " · "
            @if asked.live { a href=(here) { (cx.t("Stop live updates")) } }
            @else { a href=(here) { (cx.t("Refresh")) } " · " a href=(here.clone().with("live", "1")) { (cx.t("Live")) } }
        }
    }
}

/// How long deliveries are kept, and where to take them along.
pub(super) fn kept(cx: &Cx<'_>, place: Place<'_>, asked: &Asked) -> Markup {
    let to = |format| {
        let route = match place {
            Place::Of(id) => Route::Export(id, format),
            Place::All => Route::ExportActivity(format),
        };
        cx.href(route).with_all(asked.query())
    };
    html! {
        p.muted {
            @if let Some(time) = cx.site.offers.retention {
                (cx.f("Kept for {time} after the last attempt.", &[("time", &crate::time::span(time))])) " "
            }
            (cx.t("Export what these filters show, 100,000 rows at most:")) " "
            a href=(to(crate::route::Format::Csv)) { "CSV" } ", "
            a href=(to(crate::route::Format::Ndjson)) { "NDJSON" }
        }
    }
}

/// A page of deliveries.
pub(super) async fn find(cx: &Cx<'_>, asked: &Asked) -> Result<Page<OfDestination<Delivery>>, Fault> {
    Ok(cx.outpost.deliveries().list(cx.tenant(), &asked.filter, &cx.page_request()).await?)
}
