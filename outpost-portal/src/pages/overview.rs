//! How one destination fares: numbers, a chart, what failed and why.

use std::time::Duration;

use maud::{Markup, html};
use outpost_core::{
    Capability, Destination, DestinationId, Dimension, Granularity, LaneRecord, Measure, MetricValue, MetricsQuery,
    MetricsReport, MetricsRow, TimeUnit, Timestamp,
};

use super::destinations::share;
use crate::chart::{self, Bar, Words};
use crate::cx::{Answer, Cx};
use crate::icon::{Icon, icon};
use crate::route::{Href, Route};
use crate::text::grouped;
use crate::time;
use crate::view::code::one_line;
use crate::view::{Nav, Page, Tab, code_word, destination_head, disabled_by, empty, post_button};

/// A stretch of time that can be looked at.
#[derive(Clone, Copy)]
struct Range {
    word: &'static str,
    label: &'static str,
    span: Duration,
    /// What one bar covers.
    bar: (u32, TimeUnit, Duration),
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

const RANGES: [Range; 4] = [
    Range { word: "1h", label: "1 hour", span: HOUR, bar: (2, TimeUnit::Minute, Duration::from_secs(120)) },
    // By the hour: counts by the minute are many, and a day of them costs 60 times as much to read.
    Range { word: "24h", label: "24 hours", span: DAY, bar: (1, TimeUnit::Hour, HOUR) },
    Range {
        word: "7d",
        label: "7 days",
        span: Duration::from_secs(7 * 24 * 3600),
        bar: (4, TimeUnit::Hour, Duration::from_secs(4 * 3600)),
    },
    Range { word: "30d", label: "30 days", span: Duration::from_secs(30 * 24 * 3600), bar: (1, TimeUnit::Day, DAY) },
];

/// How many rows a breakdown has at most.
const ROWS: usize = 10;

/// What the numbers of a range come to.
struct Numbers {
    ok: u64,
    failed: u64,
    median: f64,
    slowest: f64,
    bars: Vec<Bar>,
    labels: Vec<String>,
    codes: Vec<(String, u64, u64)>,
    topics: Vec<(String, u64, u64)>,
}

pub(super) async fn page(cx: &Cx<'_>, id: &str) -> Answer {
    let destination = cx.destination(id).await?;
    let lane = super::lifecycle::lane(cx, id).await;
    let asked = cx.request.query.get("range");
    let range = RANGES.iter().find(|range| asked == Some(range.word)).copied().unwrap_or(RANGES[1]);
    let numbers = match numbers(cx, &destination, range).await {
        Ok(numbers) => Some(numbers),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the numbers of a destination could not be read");
            None
        }
    };
    let failures = lane.as_ref().map_or(0, |lane| lane.health.failures);
    let created = cx.request.query.get("created").is_some();
    let body = html! {
        (destination_head(cx, &destination, failures, Tab::Overview))
        @if created { (next_steps(cx, &destination)) }
        (notes(cx, &destination, lane.as_ref()))
        nav.ranges aria-label=(cx.t("Range")) {
            @for one in RANGES {
                a.btn.small href=(cx.href(Route::Overview(id)).with("range", one.word)) aria-current=[(one.word == range.word).then_some("true")] { (cx.t(one.label)) }
            }
        }
        @match &numbers {
            None => div.note.warn role="status" { (icon(Icon::Info)) p { (cx.t("We could not load the numbers. Nothing is lost; deliveries go on.")) } },
            Some(numbers) if numbers.ok + numbers.failed == 0 => (quiet(cx, id, range)),
            Some(numbers) => { (tiles(cx, numbers)) (charts(cx, id, range, numbers)) }
        }
        (facts(cx, &destination, lane.as_ref()))
    };
    let name = cx.name_of(&destination);
    let crumbs = [(cx.t("Destinations").into_owned(), cx.href(Route::Home))];
    Ok(Page::new(name, Nav::Destinations, body).below(crumbs).ok(cx))
}

/// What to do with a new destination.
fn next_steps(cx: &Cx<'_>, destination: &Destination) -> Markup {
    let id = destination.id.as_str();
    html! {
        section.card {
            h2 { (cx.t("Your destination is ready. Next steps")) }
            ol.steps {
                @if cx.site.signs(&destination.kind) {
                    li { a href=(cx.href(Route::Secret(id))) { (cx.t("Copy the signing secret")) } " – " (cx.t("your receiver needs it to know that events are from us.")) }
                    li { a href=(cx.href(Route::Secret(id)).at("verify")) { (cx.t("Check signatures in your receiver")) } " – " (cx.t("code to copy is there.")) }
                }
                li { a href=(cx.href(Route::Test(id))) { (cx.t("Send a test event")) } " – " (cx.t("and see what your receiver answers.")) }
            }
        }
    }
}

/// What is out of the ordinary.
fn notes(cx: &Cx<'_>, destination: &Destination, lane: Option<&LaneRecord>) -> Markup {
    let id = destination.id.as_str();
    let hold = lane.and_then(|lane| lane.hold_until).filter(|until| *until > cx.now);
    let health = lane.map(|lane| &lane.health);
    html! {
        @if let Some(disabled) = &destination.disabled {
            div.note.warn {
                (icon(Icon::Pause))
                h2 { (cx.t("This destination is disabled")) }
                p { (disabled_by(cx, disabled.by)) " " (cx.t("That was:")) " " (cx.time(disabled.at)) ". " (cx.t("New events are kept as skipped and can be replayed once it is enabled.")) }
                @if !disabled.reason.is_empty() { p { (cx.f("Reason: {reason}", &[("reason", &one_line(&disabled.reason))])) } }
                @if let Some(error) = &disabled.last_error { p { (cx.f("Last error: {error}", &[("error", &one_line(error))])) } }
                @if cx.may(Capability::Write) && disabled.by != outpost_core::DisabledBy::OperatorLock {
                    div.actions { (post_button(cx, &cx.href(Route::Enable(id)), &cx.t("Enable"), "primary")) }
                }
            }
        } @else if let Some(health) = health.filter(|health| health.failures >= crate::view::FAILING) {
            div.note.fail {
                (icon(Icon::Warning))
                h2 { (cx.n(u64::from(health.failures), "1 attempt failed", "{count} attempts in a row failed")) }
                @if let Some(since) = health.failing_since { p { (cx.t("Since:")) " " (cx.time(since)) } }
                @if let Some(error) = &health.last_error { p { (cx.f("Last error: {error}", &[("error", &one_line(error))])) } }
                p { a href=(cx.href(Route::Deliveries(id)).with("status", "failed")) { (cx.t("See what failed")) } }
            }
        }
        @if let Some(until) = hold {
            div.note.info {
                (icon(Icon::Clock))
                p { (cx.f("Waiting until {time}: the receiver was too busy. Then it is tried again, one event first.", &[("time", &time::full(until, &cx.prefs.zone.1))])) }
            }
        }
    }
}

fn quiet(cx: &Cx<'_>, id: &str, range: Range) -> Markup {
    let title = cx.f("No deliveries in the last {range}", &[("range", &cx.t(range.label))]);
    empty(
        &title,
        "",
        html! {
            @if cx.may(Capability::Write) { a.btn.primary href=(cx.href(Route::Test(id))) { (cx.t("Send test event")) } }
            @if range.word != "30d" { a.btn href=(cx.href(Route::Overview(id)).with("range", "30d")) { (cx.t("Look at 30 days")) } }
        },
    )
}

fn tiles(cx: &Cx<'_>, numbers: &Numbers) -> Markup {
    let milliseconds = |time: f64| time::span(Duration::from_secs_f64((time / 1000.0).clamp(0.0, 1e6)));
    let all = numbers.ok + numbers.failed;
    html! {
        div.tiles {
            div.tile { strong { (grouped(numbers.ok)) } span { (cx.t("Delivered")) } }
            div.tile { strong { (grouped(numbers.failed)) } span { (cx.t("Failed attempts")) } }
            div.tile { strong { (share(numbers.ok, all)) } span { (cx.t("Success rate")) } }
            div.tile { strong { (milliseconds(numbers.median)) } span { (cx.t("Median response")) } }
            div.tile { strong { (milliseconds(numbers.slowest)) } span { (cx.t("95 of 100 within")) } }
        }
    }
}

fn charts(cx: &Cx<'_>, id: &str, range: Range, numbers: &Numbers) -> Markup {
    let peak = numbers.bars.iter().max_by_key(|bar| bar.ok + bar.failed);
    let peak = peak.map_or_else(String::new, |bar| bar.label.clone());
    let desc = cx.f(
        "{ok} delivered and {failed} failed attempts in the last {range}; most at {peak}.",
        &[
            ("ok", &grouped(numbers.ok)),
            ("failed", &grouped(numbers.failed)),
            ("range", &cx.t(range.label)),
            ("peak", &peak),
        ],
    );
    let words = Words {
        id: "attempts",
        title: &cx.t("Attempts"),
        desc: &desc,
        ok: &cx.t("Delivered"),
        failed: &cx.t("Failed"),
        table: &cx.t("Show as table"),
        time: &cx.t("Time"),
    };
    let list = cx.href(Route::Deliveries(id)).with("range", range.word);
    html! {
        section.card { (chart::bars(&words, &numbers.bars, &numbers.labels)) }
        div.cols {
            (breakdown(cx, &cx.t("Attempts by response"), &cx.t("Response"), &numbers.codes, &|code| (code_word(cx, code), list.clone().with("code", code))))
            (breakdown(cx, &cx.t("Attempts by topic"), &cx.t("Topic"), &numbers.topics, &|topic| (topic.to_owned(), list.clone().with("topic", topic))))
        }
    }
}

fn breakdown(
    cx: &Cx<'_>,
    caption: &str,
    heading: &str,
    rows: &[(String, u64, u64)],
    link: &dyn Fn(&str) -> (String, Href),
) -> Markup {
    let most = rows.iter().map(|(_, ok, failed)| ok + failed).max().unwrap_or(0);
    html! {
        div.table {
            table.list {
                caption.vh { (caption) }
                thead { tr { th scope="col" { (heading) } th scope="col" { span.vh { (cx.t("Share")) } } th.num scope="col" { (cx.t("Attempts")) } th.num scope="col" { (cx.t("Failed")) } } }
                tbody {
                    @for (key, ok, failed) in rows.iter().take(ROWS) {
                        @let (word, href) = link(key);
                        tr {
                            th.mono scope="row" { a.rowlink href=(href) { (word) } }
                            td { (chart::bar_cell(ok + failed, most, if failed > ok { "f-fail" } else { "f-ok" })) }
                            td.num { (grouped(ok + failed)) }
                            td.num { (share(*failed, ok + failed)) }
                        }
                    }
                }
            }
        }
    }
}

fn facts(cx: &Cx<'_>, destination: &Destination, lane: Option<&LaneRecord>) -> Markup {
    let topics = &destination.topics;
    let retry = destination.settings.retry.as_ref().unwrap_or(&cx.site.offers.retry);
    let timeout = destination.settings.timeout.unwrap_or(cx.site.offers.timeout);
    html! {
        section.card {
            h2 { (cx.t("Details")) }
            dl.facts {
                dt { (cx.t("ID")) } dd { code #destination-id { (destination.id) } " " (crate::view::copy_button(cx, "destination-id", &cx.t("the destination’s ID"))) }
                dt { (cx.t("Type")) } dd { (cx.kind_word(&destination.kind)) }
                dt { (cx.t("Topics")) }
                dd {
                    @if topics.is_all() { (cx.t("All topics")) }
                    @else {
                        @for (index, topic) in topics.as_slice().iter().take(20).enumerate() { @if index > 0 { ", " } code { (topic) } }
                        @if topics.as_slice().len() > 20 { " " (cx.f("and {count} more", &[("count", &(topics.as_slice().len() - 20))])) }
                    }
                }
                @if cx.site.filters { dt { (cx.t("Filter")) } dd { @match &destination.filter { Some(filter) => code { (one_line(&filter.chars().take(200).collect::<String>())) }, None => (cx.t("None: every event of these topics")) } } }
                dt { (cx.t("Created")) } dd { (cx.time(destination.created_at)) }
                dt { (cx.t("Changed")) } dd { (cx.time(destination.updated_at)) }
                @if let Some(lane) = lane { dt { (cx.t("Still to come")) } dd { (cx.n(u64::try_from(lane.open).unwrap_or(0), "1 delivery", "{count} deliveries")) } }
                dt { (cx.t("Tries")) } dd { (cx.f("{count} at most, {timeout} each", &[("count", &retry.max_attempts()), ("timeout", &time::span(timeout))])) " · " a href=(cx.href(Route::Help("retries"))) { (cx.t("When")) } }
                @if let Some(limit) = destination.settings.rate_limit { dt { (cx.t("Rate limit")) } dd { (cx.f("{events} in {time}", &[("events", &limit.events), ("time", &time::span(limit.per))])) } }
            }
        }
    }
}

async fn numbers(cx: &Cx<'_>, destination: &Destination, range: Range) -> outpost_core::Result<Numbers> {
    let zone = &cx.prefs.zone.1;
    let (count, unit, bar) = range.bar;
    // Whole bars, the one that is not over yet included.
    let width = i64::try_from(bar.as_millis()).unwrap_or(i64::MAX);
    let until = Timestamp::from_millis((cx.now.as_millis().div_euclid(width) + 1).saturating_mul(width));
    let from = until.before(range.span);
    let ask = async |measures: Vec<Measure>, dimensions: Vec<Dimension>, granularity: Option<Granularity>| {
        let mut query = MetricsQuery::new(from, until);
        query.measures = measures;
        query.dimensions = dimensions;
        query.granularity = granularity;
        query.filter.destinations = DestinationId::new(destination.id.as_str()).into_iter().collect();
        cx.outpost.metrics().attempts(cx.tenant(), &query).await
    };
    let counts = vec![Measure::SuccessfulCount, Measure::FailedCount];
    let counted = ask(counts, vec![Dimension::Code, Dimension::Topic], Granularity::new(count, unit).ok()).await?;
    let latency = ask(vec![Measure::P50Latency, Measure::P95Latency], Vec::new(), None).await?;
    let short = range.span <= DAY;
    let say = |at: Timestamp| if short { time::clock(at, zone) } else { time::day(at, zone) };
    let label = |at: Timestamp| match range.word {
        "1h" => time::clock(at, zone),
        _ => format!("{} {}", time::day(at, zone), time::clock(at, zone)),
    };
    let bars = range.span.as_millis() / bar.as_millis().max(1);
    let starts = (0..u32::try_from(bars).unwrap_or(0)).map(|index| from.after(bar * index));
    let mut bars: Vec<Bar> = starts.map(|at| Bar { ok: 0, failed: 0, label: label(at) }).collect();
    for row in &counted.rows {
        let index = row.bucket.map_or(0, |at| at.since(from).as_millis() / bar.as_millis().max(1));
        if let Some(bar) = usize::try_from(index).ok().and_then(|index| bars.get_mut(index)) {
            bar.ok += count_of(row, Measure::SuccessfulCount);
            bar.failed += count_of(row, Measure::FailedCount);
        }
    }
    let quarter = range.span / 4;
    let labels = (0..=4).map(|part| say(from.after(quarter * part))).collect();
    let real = |measure| latency.rows.first().map_or(0.0, |row| real(row, measure));
    Ok(Numbers {
        ok: bars.iter().map(|bar| bar.ok).sum(),
        failed: bars.iter().map(|bar| bar.failed).sum(),
        median: real(Measure::P50Latency),
        slowest: real(Measure::P95Latency),
        labels,
        codes: sums(&counted, Dimension::Code),
        topics: sums(&counted, Dimension::Topic),
        bars,
    })
}

fn count_of(row: &MetricsRow, wanted: Measure) -> u64 {
    let found = row.measures.iter().find(|(measure, _)| *measure == wanted);
    if let Some((_, MetricValue::Count(count))) = found { *count } else { 0 }
}

fn real(row: &MetricsRow, wanted: Measure) -> f64 {
    let found = row.measures.iter().find(|(measure, _)| *measure == wanted);
    match found {
        Some((_, MetricValue::Real(value))) => *value,
        Some((_, MetricValue::Count(count))) => u32::try_from(*count).map_or(f64::from(u32::MAX), f64::from),
        None => 0.0,
    }
}

/// The counts by one of the report's dimensions, most first.
fn sums(report: &MetricsReport, wanted: Dimension) -> Vec<(String, u64, u64)> {
    let mut sums: Vec<(String, u64, u64)> = Vec::new();
    for row in &report.rows {
        let Some((_, key)) = row.dimensions.iter().find(|(dimension, _)| *dimension == wanted) else { continue };
        let (ok, failed) = (count_of(row, Measure::SuccessfulCount), count_of(row, Measure::FailedCount));
        match sums.iter_mut().find(|(known, ..)| known == key) {
            Some(sum) => {
                sum.1 += ok;
                sum.2 += failed;
            }
            None => sums.push((key.clone(), ok, failed)),
        }
    }
    sums.sort_by_key(|(_, ok, failed)| std::cmp::Reverse(ok + failed));
    sums
}
