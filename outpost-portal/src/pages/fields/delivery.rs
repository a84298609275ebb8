//! How a destination is sent to: its timeout, rate and concurrency.

use std::time::Duration;

use maud::{Markup, html};
use outpost_core::{DeliverySettings, MAX_RATE, Problem, RateLimit};

use crate::cx::Cx;
use crate::request::Params;
use crate::text::grouped;
use crate::time::span;
use crate::view::form::{Field, Kind, Wrong};

/// The periods of a rate that are offered, in milliseconds.
const PERIODS: [(u64, &str); 3] = [(1_000, "a second"), (60_000, "a minute"), (3_600_000, "an hour")];

/// What the fields hold.
struct Typed {
    timeout: String,
    rate: String,
    per: String,
    concurrency: String,
}

impl Typed {
    fn of(settings: &DeliverySettings) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            timeout: settings.timeout.map(|time| time.as_secs_f64().to_string()).unwrap_or_default(),
            rate: settings.rate_limit.map(|limit| limit.events.to_string()).unwrap_or_default(),
            per: settings.rate_limit.map_or(1_000, |limit| millis(limit.per)).to_string(),
            concurrency: settings.concurrency.map(|count| count.to_string()).unwrap_or_default(),
        }
    }

    fn posted(form: &Params) -> Self {
        let get = |name| form.text(name).trim().to_owned();
        Self { timeout: get("timeout"), rate: get("rate"), per: get("rate_per"), concurrency: get("concurrency") }
    }
}

/// Whether something was typed.
pub(in crate::pages) fn is_typed(form: &Params) -> bool {
    ["timeout", "rate", "concurrency"].iter().any(|name| form.get(name).is_some())
}

/// The fields: as they were sent, else as they are stored.
pub(in crate::pages) fn draw(cx: &Cx<'_>, stored: &DeliverySettings, form: Option<&Params>, wrong: &Wrong) -> Markup {
    let typed = form.map_or_else(|| Typed::of(stored), Typed::posted);
    let usual = cx.f("Empty: {time}, as for others.", &[("time", &span(cx.site.offers.timeout))]);
    let mut periods: Vec<(String, String)> =
        PERIODS.iter().map(|(millis, word)| (millis.to_string(), cx.t(word).into_owned())).collect();
    // A period that an API call has set.
    if let Some(limit) = stored.rate_limit
        && !periods.iter().any(|(millis, _)| *millis == limit.per.as_millis().to_string())
    {
        periods.push((limit.per.as_millis().to_string(), cx.f("in {time}", &[("time", &span(limit.per))])));
    }
    html! {
        (Field::new("timeout", &cx.t("Timeout in seconds"), &typed.timeout, Kind::Line("decimal")).hint(&usual).optional().show(cx, wrong))
        div.row {
            (Field::new("rate", &cx.t("At most this many events"), &typed.rate, Kind::Line("numeric")).optional().show(cx, wrong))
            (Field::new("rate_per", &cx.t("Within"), &typed.per, Kind::Select(periods)).show(cx, wrong))
        }
        (Field::new("concurrency", &cx.t("Requests at once"), &typed.concurrency, Kind::Line("numeric"))
            .hint(&cx.t("How many may be on their way at the same time. Empty: as for others.")).optional().show(cx, wrong))
    }
}

/// The settings as typed over those there were; what the form does not have stays.
pub(in crate::pages) fn read(
    cx: &Cx<'_>,
    before: &DeliverySettings,
    form: &Params,
    wrong: &mut Wrong,
) -> DeliverySettings {
    let typed = Typed::posted(form);
    let mut made = before.clone();
    if form.has("timeout") {
        made.timeout = match typed.timeout.as_str() {
            "" => None,
            text => match seconds(text).filter(|time| *time <= cx.site.offers.max_timeout) {
                Some(time) => Some(time),
                None => {
                    wrong.add("timeout", timeout_words(cx));
                    before.timeout
                }
            },
        };
    }
    if form.has("rate") {
        let per = typed.per.parse().map(Duration::from_millis).unwrap_or(Duration::from_secs(1));
        made.rate_limit = match typed.rate.as_str() {
            "" => None,
            text => match text.parse().ok().filter(|events| (1..=MAX_RATE).contains(events)) {
                Some(events) => Some(RateLimit { events, per }),
                None => {
                    wrong.add("rate", rate_words(cx));
                    before.rate_limit
                }
            },
        };
    }
    if form.has("concurrency") {
        made.concurrency = match typed.concurrency.as_str() {
            "" => None,
            text => match text.parse().ok().filter(|count| *count > 0) {
                Some(count) => Some(count),
                None => {
                    wrong.add("concurrency", cx.t("Enter a whole number from 1 upwards, or leave it empty."));
                    before.concurrency
                }
            },
        };
    }
    made
}

/// A time of at least a tenth of a second, to the millisecond.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.replace(',', ".").parse().ok()?;
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    let time = Duration::from_millis(u64::try_from(time.as_millis()).ok()?);
    (time >= outpost_core::MIN_TIMEOUT).then_some(time)
}

fn timeout_words(cx: &Cx<'_>) -> String {
    let most = cx.site.offers.max_timeout.as_secs_f64();
    cx.f("Enter a number of seconds from 0.1 to {most}, or leave it empty.", &[("most", &most)])
}

fn rate_words(cx: &Cx<'_>) -> String {
    let most = grouped(u64::from(MAX_RATE));
    cx.f("Enter a whole number from 1 to {most}, or leave it empty.", &[("most", &most)])
}

/// The form's field and our words for what the core finds wrong.
pub(super) fn words(cx: &Cx<'_>, problem: &Problem) -> (String, String) {
    let (field, say) = match problem.field.as_str() {
        "settings.timeout" => ("timeout", timeout_words(cx)),
        "settings.rate_limit.events" => ("rate", rate_words(cx)),
        "settings.rate_limit.per" => ("rate_per", cx.t("Choose one of these times.").into_owned()),
        "settings.concurrency" => {
            ("concurrency", cx.t("Enter a whole number from 1 upwards, or leave it empty.").into_owned())
        }
        _ => ("timeout", cx.t("Delivery settings are not offered here.").into_owned()),
    };
    (field.to_owned(), say)
}

/// The settings as label and text.
pub(in crate::pages) fn facts(cx: &Cx<'_>, settings: &DeliverySettings) -> Vec<(String, String)> {
    let usual = || cx.t("as for others").into_owned();
    let rate = settings.rate_limit.map(|limit| {
        let events = grouped(u64::from(limit.events));
        cx.f("{count} events in {time}", &[("count", &events), ("time", &span(limit.per))])
    });
    vec![
        (cx.t("Timeout").into_owned(), settings.timeout.map_or_else(usual, span)),
        (cx.t("Rate limit").into_owned(), rate.unwrap_or_else(|| cx.t("none").into_owned())),
        (
            cx.t("Requests at once").into_owned(),
            settings.concurrency.map_or_else(usual, |count| grouped(u64::from(count))),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_with_a_point_or_a_comma_and_odd_ones_refused() {
        assert_eq!(seconds("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(seconds("2,25"), Some(Duration::from_millis(2250)));
        assert_eq!(seconds("10"), Some(Duration::from_secs(10)));
        for odd in ["", "0", "0.05", "-1", "x", "nan", "inf", "1e40"] {
            assert_eq!(seconds(odd), None, "{odd}");
        }
    }
}
