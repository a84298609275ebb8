//! The home page: all destinations of the tenant and how they fare.

use std::collections::HashMap;

use maud::{Markup, html};
use outpost_core::{
    Capability, Destination, Dimension, Granularity, Incarnation, Measure, MetricValue, MetricsQuery, TimeUnit,
};

use crate::chart;
use crate::cx::{Answer, Cx};
use crate::icon::{Icon, icon};
use crate::route::Route;
use crate::text::grouped;
use crate::view::{FAILING, Nav, Page, button_link, destination_pill, empty};

/// How many bars a small chart has, each three hours.
const BARS: usize = 8;

/// What one row shows beside the destination itself.
#[derive(Clone, Copy, Default)]
struct Day {
    /// Delivered and failed attempts of each bar.
    bars: [(u64, u64); BARS],
}

impl Day {
    fn sums(&self) -> (u64, u64) {
        self.bars.iter().fold((0, 0), |(ok, failed), bar| (ok + bar.0, failed + bar.1))
    }
}

struct Row {
    destination: Destination,
    failures: u32,
}

pub(super) async fn list(cx: &Cx<'_>) -> Answer {
    let all = rows(cx).await?;
    let count = all.len();
    let failing: Vec<(String, String, u32)> = all
        .iter()
        .filter(|row| row.destination.disabled.is_none() && row.failures >= FAILING)
        .map(|row| (cx.name_of(&row.destination), row.destination.id.to_string(), row.failures))
        .collect();
    let asked = Asked::new(cx);
    let mut found: Vec<Row> = all.into_iter().filter(|row| asked.wants(cx, row)).collect();
    asked.sort(cx, &mut found);
    let shown = usize::try_from(cx.prefs.page).unwrap_or(25);
    let (start, total) = (asked.start.min(found.len()), found.len());
    let rows: Vec<Row> = found.into_iter().skip(start).take(shown).collect();
    // A page without its numbers is better than none.
    let days = if rows.is_empty() { Some(HashMap::new()) } else { days(cx).await };
    let limit = usize::try_from(cx.site.offers.max_destinations).unwrap_or(usize::MAX);
    let body = html! {
        div.head {
            h1 { (cx.t("Destinations")) }
            @if cx.may(Capability::Write) {
                div.actions {
                    @if count < limit {
                        a.btn.primary href=(cx.href(Route::New)) { (icon(Icon::Plus)) (cx.t("Add destination")) }
                    } @else {
                        span.muted { (cx.f("You have used {count} of {limit} destinations.", &[("count", &count), ("limit", &limit)])) }
                    }
                }
            }
        }
        @if !failing.is_empty() {
            div.note.fail role="status" {
                (icon(Icon::Warning))
                @for (name, id, failures) in failing.iter().take(3) {
                    p {
                        (cx.f("{name} has failed {count} times in a row.", &[("name", name), ("count", failures)])) " "
                        a href=(cx.href(Route::Overview(id))) { (cx.f("View {name}", &[("name", name)])) }
                    }
                }
                @if failing.len() > 3 {
                    p { a href=(cx.href(Route::Home).with("status", "failing")) { (cx.f("All {count} that fail", &[("count", &failing.len())])) } }
                }
            }
        }
        @if count == 0 {
            (empty(
                &cx.t("No destinations yet"),
                &cx.t("A destination receives your account’s events: a URL of yours that they are sent to."),
                html! { @if cx.may(Capability::Write) { (button_link(&cx.href(Route::New), &cx.t("Add destination"), true)) } },
            ))
        } @else {
            (filters(cx, &asked))
            @if days.is_none() {
                div.note.warn role="status" { (icon(Icon::Info)) p { (cx.t("We could not load the numbers of the last 24 hours. Nothing is lost; deliveries go on.")) } }
            }
            @if rows.is_empty() {
                (empty(
                    &cx.t("No destination matches these filters"),
                    "",
                    button_link(&cx.href(Route::Home), &cx.t("Clear filters"), false),
                ))
            } @else {
                (table(cx, &rows, days.as_ref()))
                (turn(cx, &asked, start, shown, total))
            }
        }
    };
    Ok(Page::new(cx.t("Destinations"), Nav::Destinations, body).ok(cx))
}

async fn rows(cx: &Cx<'_>) -> Result<Vec<Row>, crate::cx::Fault> {
    let destinations = cx.outpost.destinations().list(cx.tenant()).await?;
    let lanes = cx.outpost.destinations().lanes(cx.tenant()).await?;
    let failures: HashMap<Incarnation, u32> =
        lanes.into_iter().map(|lane| (lane.destination, lane.health.failures)).collect();
    Ok(destinations
        .into_iter()
        .map(|destination| {
            let failures = failures.get(&destination.incarnation).copied().unwrap_or(0);
            Row { destination, failures }
        })
        .collect())
}

/// The attempts of the last 24 hours by destination; `None` when they cannot be told.
async fn days(cx: &Cx<'_>) -> Option<HashMap<String, Day>> {
    const BUCKET: u64 = 3 * 3600 * 1000;
    let until = cx.now.as_millis().div_euclid(BUCKET.cast_signed()) + 1;
    let (from, until) = (until - BARS as i64, until);
    let at = |bucket: i64| outpost_core::Timestamp::from_millis(bucket.saturating_mul(BUCKET.cast_signed()));
    let mut query = MetricsQuery::new(at(from), at(until));
    query.granularity = Granularity::new(3, TimeUnit::Hour).ok();
    query.measures = vec![Measure::SuccessfulCount, Measure::FailedCount];
    query.dimensions = vec![Dimension::DestinationId];
    let report = match cx.outpost.metrics().attempts(cx.tenant(), &query).await {
        Ok(report) => report,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the numbers of the list could not be read");
            return None;
        }
    };
    let mut days: HashMap<String, Day> = HashMap::new();
    for row in report.rows {
        let Some((_, id)) = row.dimensions.into_iter().next() else { continue };
        let bucket = row.bucket.map_or(from, |at| at.as_millis().div_euclid(BUCKET.cast_signed()));
        let day = days.entry(id).or_default();
        let index = usize::try_from(bucket - from).unwrap_or(0);
        let count = |wanted| {
            row.measures.iter().find_map(|(measure, value)| match value {
                MetricValue::Count(count) if *measure == wanted => Some(*count),
                _ => None,
            })
        };
        if let Some(bar) = day.bars.get_mut(index) {
            *bar = (count(Measure::SuccessfulCount).unwrap_or(0), count(Measure::FailedCount).unwrap_or(0));
        }
    }
    Some(days)
}

/// What the list is to show.
struct Asked {
    text: String,
    status: String,
    kind: String,
    topic: String,
    sort: String,
    start: usize,
}

impl Asked {
    fn new(cx: &Cx<'_>) -> Self {
        let get = |name| cx.request.query.get(name).unwrap_or_default().to_owned();
        let start = cx.request.query.get("start").and_then(|start| start.parse().ok()).unwrap_or(0);
        Self { text: get("q"), status: get("status"), kind: get("type"), topic: get("topic"), sort: get("sort"), start }
    }

    fn wants(&self, cx: &Cx<'_>, row: &Row) -> bool {
        let found = &row.destination;
        let text = self.text.to_lowercase();
        let has = |value: &str| value.to_lowercase().contains(&text);
        let status = match self.status.as_str() {
            "active" => found.disabled.is_none() && row.failures < FAILING,
            "failing" => found.disabled.is_none() && row.failures >= FAILING,
            "disabled" => found.disabled.is_some(),
            _ => true,
        };
        status
            && (self.kind.is_empty() || self.kind == found.kind)
            && (self.topic.is_empty() || found.topics.matches(&self.topic))
            && (text.is_empty() || has(&cx.name_of(found)) || has(&found.target) || has(found.id.as_str()))
    }

    fn sort(&self, cx: &Cx<'_>, rows: &mut [Row]) {
        match self.sort.as_str() {
            "name" => rows.sort_by_key(|row| cx.name_of(&row.destination).to_lowercase()),
            "failing" => rows.sort_by_key(|row| std::cmp::Reverse(row.failures)),
            _ => rows.sort_by_key(|row| std::cmp::Reverse(row.destination.created_at)),
        }
    }

    fn pairs(&self) -> Vec<(String, String)> {
        [
            ("q", &self.text),
            ("status", &self.status),
            ("type", &self.kind),
            ("topic", &self.topic),
            ("sort", &self.sort),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect()
    }
}

fn filters(cx: &Cx<'_>, asked: &Asked) -> Markup {
    let option =
        |value: &str, label: &str, chosen: &str| html! { option value=(value) selected[value == chosen] { (label) } };
    html! {
        form.filters method="get" action=(cx.href(Route::Home)) data-auto {
            div.field {
                label for="q" { (cx.t("Search")) }
                input type="search" id="q" name="q" value=(asked.text) placeholder=(cx.t("Name, target or ID")) maxlength="255";
            }
            div.field {
                label for="status" { (cx.t("Status")) }
                select id="status" name="status" {
                    (option("", &cx.t("Any"), &asked.status))
                    (option("active", &cx.t("Active"), &asked.status))
                    (option("failing", &cx.t("Failing"), &asked.status))
                    (option("disabled", &cx.t("Disabled"), &asked.status))
                }
            }
            @if cx.site.types.len() > 1 {
                div.field {
                    label for="type" { (cx.t("Type")) }
                    select id="type" name="type" {
                        (option("", &cx.t("Any"), &asked.kind))
                        @for kind in &cx.site.types { (option(kind.kind, &cx.t(kind.label), &asked.kind)) }
                    }
                }
            }
            @if let Some(topics) = cx.site.offers.topics.as_ref().filter(|topics| topics.len() <= 200) {
                div.field {
                    label for="topic" { (cx.t("Topic")) }
                    select id="topic" name="topic" {
                        (option("", &cx.t("Any"), &asked.topic))
                        @for topic in topics { (option(topic, topic, &asked.topic)) }
                    }
                }
            }
            div.field {
                label for="sort" { (cx.t("Sort by")) }
                select id="sort" name="sort" {
                    (option("", &cx.t("Newest"), &asked.sort))
                    (option("name", &cx.t("Name"), &asked.sort))
                    (option("failing", &cx.t("Failures"), &asked.sort))
                }
            }
            button.btn.apply type="submit" { (cx.t("Apply")) }
        }
    }
}

fn table(cx: &Cx<'_>, rows: &[Row], days: Option<&HashMap<String, Day>>) -> Markup {
    html! {
        div.table {
            table.list {
                caption.vh { (cx.t("Destinations")) }
                thead { tr {
                    th scope="col" { (cx.t("Destination")) }
                    th.c2 scope="col" { (cx.t("Type")) }
                    th.c2 scope="col" { (cx.t("Topics")) }
                    th scope="col" { (cx.t("Status")) }
                    th.c3 scope="col" { (cx.t("Last 24 h")) }
                    th.num.c3 scope="col" { (cx.t("Failed")) }
                } }
                tbody {
                    @for row in rows {
                        @let found = &row.destination;
                        @let id = found.id.as_str();
                        tr {
                            th.main scope="row" {
                                a.rowlink href=(cx.href(Route::Overview(id))) { (cx.name_of(found)) }
                                span.sub.mono title=(found.target) { (middle(&found.target)) }
                            }
                            td.c2 { (cx.kind_word(&found.kind)) }
                            td.c2 { a href=(cx.href(Route::Settings(id)).at("topics")) { (topics(cx, found)) } }
                            td { (destination_pill(cx, found, row.failures)) }
                            @match days.map(|days| days.get(id).copied().unwrap_or_default()) {
                                None => { td.c3 { "–" } td.num.c3 { "–" } }
                                Some(day) => {
                                    @let (ok, failed) = day.sums();
                                    td.c3 {
                                        (chart::spark(&day.bars, &cx.f("{count} attempts, {failed} failed", &[("count", &grouped(ok + failed)), ("failed", &grouped(failed))])))
                                        (grouped(ok + failed))
                                    }
                                    td.num.c3 { (share(failed, ok + failed)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn topics(cx: &Cx<'_>, destination: &Destination) -> String {
    let topics = &destination.topics;
    if topics.is_all() {
        return cx.t("All topics").into_owned();
    }
    let count = u64::try_from(topics.as_slice().len()).unwrap_or(0);
    cx.n(count, "1 topic", "{count} topics")
}

/// `3.1 %`; a dash where there was nothing.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let tenths = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// A long target with its middle left out: host and last part stay.
fn middle(target: &str) -> String {
    const MOST: usize = 44;
    let letters: Vec<char> = target.chars().collect();
    match (letters.get(..28), letters.len().checked_sub(14).and_then(|at| letters.get(at..))) {
        (Some(start), Some(end)) if letters.len() > MOST => start.iter().chain(&['…']).chain(end).collect(),
        _ => target.to_owned(),
    }
}

fn turn(cx: &Cx<'_>, asked: &Asked, start: usize, shown: usize, total: usize) -> Markup {
    let here = cx.href(Route::Home).with_all(asked.pairs());
    let end = (start + shown).min(total);
    html! {
        div.pager {
            span {
                @if total <= shown { (cx.n(u64::try_from(total).unwrap_or(0), "1 destination", "{count} destinations")) }
                @else { (cx.f("{first}–{last} of {total} destinations", &[("first", &(start + 1)), ("last", &end), ("total", &total)])) }
            }
            @if start > 0 { a.btn.small rel="prev" href=(here.clone().with("start", start.saturating_sub(shown).to_string())) { (cx.t("Previous")) } }
            @if end < total { a.btn.small rel="next" href=(here.with("start", end.to_string())) { (cx.t("Next")) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_targets_are_short() {
        assert_eq!(share(0, 0), "–");
        assert_eq!(share(31, 1000), "3.1 %");
        assert_eq!(share(u64::MAX, u64::MAX), "100.0 %");
        assert_eq!(middle("https://a.example/hooks"), "https://a.example/hooks");
        let long = format!("https://api.example.com/{}/orders", "x".repeat(60));
        assert_eq!(middle(&long).chars().count(), 43);
        assert!(middle(&long).ends_with("/orders"));
    }
}
