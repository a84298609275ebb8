//! Charts as inline SVG made by the server. Their sizes are attributes and their colours classes, as the content
//! security policy allows no inline styles. Axis labels are HTML around the picture, for text in it would be stretched.

use maud::{Markup, html};

/// The size of the large chart in its own units; the stylesheet stretches it.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 120.0;
const SPARK_WIDTH: f64 = 88.0;
const SPARK_HEIGHT: f64 = 20.0;
/// How much of its share of the width a bar fills.
const FILL: f64 = 0.8;

/// What happened in one stretch of time.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// Deliveries that arrived.
    pub ok: u64,
    /// Deliveries that did not.
    pub failed: u64,
    /// The time, for the hover text and the table, such as "25 Nov 02:00".
    pub label: String,
}

/// What the chart says, in the reader's language.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a> {
    /// The start of the element ids of this chart; no other chart of the page may have it.
    pub id: &'a str,
    /// The heading, such as "Deliveries".
    pub title: &'a str,
    /// A sentence with the totals, the peak and the failures, for those who cannot see the bars.
    pub desc: &'a str,
    /// The word for what arrived.
    pub ok: &'a str,
    /// The word for what did not.
    pub failed: &'a str,
    /// What opens the table, such as "Show as table".
    pub table: &'a str,
    /// The heading of the column of times.
    pub time: &'a str,
}

/// A chart of stacked bars with its legend, its axes and the same numbers as a table.
pub(crate) fn bars(words: &Words<'_>, bars: &[Bar], x_labels: &[String]) -> Markup {
    let peak = bars.iter().map(|bar| u128::from(bar.ok) + u128::from(bar.failed)).max().unwrap_or(0);
    let (top, step) = scale(peak);
    let ticks: Vec<u128> = (0..=top / step).rev().map(|n| n * step).collect();
    let (title_id, desc_id) = (format!("{}-title", words.id), format!("{}-desc", words.id));
    let slot = WIDTH / count(bars.len());
    html! {
        figure.chart {
            figcaption { (words.title) }
            ul.legend {
                @for (class, word) in [("f-ok", words.ok), ("f-fail", words.failed)] {
                    li { svg width="10" height="10" aria-hidden="true" { rect class=(class) width="10" height="10" {} } (word) }
                }
            }
            div.plot {
                div.ylabels aria-hidden="true" { @for tick in &ticks { span { (grouped(*tick)) } } }
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                    aria-labelledby={ (title_id) " " (desc_id) } {
                    title id=(title_id) { (words.title) }
                    desc id=(desc_id) { (words.desc) }
                    @for tick in ticks.iter().filter(|tick| **tick > 0) {
                        path.g d={ "M0 " (round(HEIGHT - share(*tick, top) * HEIGHT)) "H" (WIDTH) } vector-effect="non-scaling-stroke" {}
                    }
                    @for (at, bar) in bars.iter().enumerate() {
                        g {
                            title { (bar.label) " – " (words.ok) ": " (grouped(bar.ok.into())) ", " (words.failed) ": " (grouped(bar.failed.into())) }
                            (stack(at, slot, HEIGHT, 3.0, (bar.ok, bar.failed), top))
                        }
                    }
                }
                div.xlabels aria-hidden="true" { @for label in x_labels { span { (label) } } }
            }
            details.more {
                summary { (words.table) }
                div.table {
                    table.list {
                        caption.vh { (words.title) }
                        thead { tr { th scope="col" { (words.time) } th.num scope="col" { (words.ok) } th.num scope="col" { (words.failed) } } }
                        tbody {
                            @for bar in bars {
                                tr {
                                    th scope="row" { (bar.label) }
                                    td.num { (grouped(bar.ok.into())) }
                                    td.num { (grouped(bar.failed.into())) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A chart the size of a word: what arrived and what failed per stretch of time. The label says it in words.
pub(crate) fn spark(bars: &[(u64, u64)], label: &str) -> Markup {
    let peak = bars.iter().map(|(ok, failed)| u128::from(*ok) + u128::from(*failed)).max().unwrap_or(0);
    let slot = SPARK_WIDTH / count(bars.len());
    html! {
        svg.spark viewBox={ "0 0 " (SPARK_WIDTH) " " (SPARK_HEIGHT) } width=(SPARK_WIDTH) height=(SPARK_HEIGHT) role="img" aria-label=(label) {
            @for (at, bar) in bars.iter().enumerate() { (stack(at, slot, SPARK_HEIGHT, 2.0, *bar, peak)) }
        }
    }
}

/// A bar that shows `value` as a part of `max`, for a cell of a table whose number stands beside it. The class is its colour.
pub(crate) fn bar_cell(value: u64, max: u64, class: &str) -> Markup {
    // What is not zero stays visible.
    let width = if value == 0 { 0.0 } else { (share(value.into(), max.into()) * 100.0).max(1.0) };
    html! {
        div.bar-cell {
            svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                @if width > 0.0 { rect class=(class) width=(round(width)) height="8" {} }
            }
        }
    }
}

/// The end of an axis that holds `value` in at most four even steps: 90 gives 100, 0 gives 1.
#[cfg(test)]
fn nice_max(value: u64) -> u64 {
    u64::try_from(scale(value.into()).0).unwrap_or(u64::MAX)
}

/// The end of the axis and the step between its labels: steps of 1, 2 or 5 times a power of ten, four at most.
fn scale(value: u128) -> (u128, u128) {
    let mut power = 1_u128;
    loop {
        for unit in [1, 2, 5] {
            let step = power * unit;
            if value <= step * 4 {
                return (value.div_ceil(step).max(1) * step, step);
            }
        }
        power *= 10;
    }
}

/// One bar at its place: failures on top, never thinner than `least`, a gap between; nothing at all is a thin tick, so
/// that it differs from no chart. No height leaves the picture.
fn stack(at: usize, slot: f64, height: f64, least: f64, (ok, failed): (u64, u64), top: u128) -> Markup {
    let (x, width) = (count_from_zero(at) * slot + slot * (1.0 - FILL) / 2.0, slot * FILL);
    let whole = share(u128::from(ok) + u128::from(failed), top) * height;
    let gap = if ok > 0 && failed > 0 { 1.0 } else { 0.0 };
    let over = if failed == 0 { 0.0 } else { (share(failed.into(), top) * height).clamp(least, height - 2.0 * gap) };
    let under = if ok == 0 { 0.0 } else { (whole - over - gap).max(1.0) };
    let part = |class: &str, below: f64, tall: f64| {
        html! { rect class=(class) x=(round(x)) y=(round(height - below - tall)) width=(round(width)) height=(round(tall)) {} }
    };
    html! {
        @if ok == 0 && failed == 0 { (part("f-none", 0.0, 1.0)) }
        @if ok > 0 { (part("f-ok", 0.0, under)) }
        @if failed > 0 { (part("f-fail", under + gap, over)) }
    }
}

/// `part` of `whole`, 0 to 1; nothing of nothing is 0.
fn share(part: u128, whole: u128) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64).clamp(0.0, 1.0) }
}

/// The number of slots, which is never none.
fn count(len: usize) -> f64 {
    count_from_zero(len.max(1))
}

fn count_from_zero(len: usize) -> f64 {
    len as f64
}

/// A length with two decimals at most, cut rather than rounded up so that sums stay within bounds, and never below zero.
fn round(value: f64) -> f64 {
    (value * 100.0).floor().max(0.0) / 100.0
}

/// The number with its thousands apart.
fn grouped(value: u128) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORDS: Words<'_> = Words {
        id: "c",
        title: "Deliveries",
        desc: "12 deliveries, 2 failed",
        ok: "Delivered",
        failed: "Failed",
        table: "Show as table",
        time: "Time",
    };

    fn bar(ok: u64, failed: u64) -> Bar {
        Bar { ok, failed, label: "25 Nov 02:00".into() }
    }

    struct Rect {
        class: String,
        x: f64,
        y: f64,
        width: f64,
        height: f64,
    }

    /// The rectangles of the picture that starts with `start`.
    fn rects(html: &str, start: &str) -> Vec<Rect> {
        let svg = html.split_once(start).unwrap().1.split_once("</svg>").unwrap().0;
        svg.split("<rect ")
            .skip(1)
            .map(|text| {
                let text = |name: &str| {
                    text.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"')).unwrap().0
                };
                let number = |name: &str| text(name).parse::<f64>().unwrap();
                Rect {
                    class: text("class").into(),
                    x: number(" x"),
                    y: number(" y"),
                    width: number("width"),
                    height: number("height"),
                }
            })
            .collect()
    }

    fn counts() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(1), Just(u64::MAX), 0..200_u64, any::<u64>()]
    }

    fn check(
        rects: &[Rect],
        counts: &[(u64, u64)],
        (width, height, least): (f64, f64, f64),
    ) -> Result<(), TestCaseError> {
        for rect in rects {
            for v in [rect.x, rect.y, rect.width, rect.height] {
                prop_assert!(v.is_finite() && v >= 0.0);
            }
            prop_assert!(rect.x + rect.width <= width && rect.y + rect.height <= height + 1e-9);
            let tall = if rect.class == "f-fail" { least - 0.01 } else { 0.98 };
            prop_assert!(rect.height >= tall);
        }
        for (class, number) in [
            ("f-ok", counts.iter().filter(|c| c.0 > 0).count()),
            ("f-fail", counts.iter().filter(|c| c.1 > 0).count()),
            ("f-none", counts.iter().filter(|c| **c == (0, 0)).count()),
        ] {
            prop_assert_eq!(rects.iter().filter(|r| r.class == class).count(), number, "{}", class);
        }
        for pair in rects.windows(2).filter(|pair| pair[0].x == pair[1].x) {
            let (ok, failed) = (&pair[0], &pair[1]);
            prop_assert!(failed.y + failed.height <= ok.y && ok.class == "f-ok" && failed.class == "f-fail");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn bars_never_leave_the_picture(counts in prop::collection::vec((counts(), counts()), 0..60)) {
            let list: Vec<Bar> = counts.iter().map(|(ok, failed)| bar(*ok, *failed)).collect();
            let html = bars(&WORDS, &list, &[]).into_string();
            prop_assert!(!html.contains("NaN") && !html.contains("inf"));
            check(&rects(&html, "viewBox=\"0 0 480 120\""), &counts, (480.0, 120.0, 3.0))?;
        }

        #[test]
        fn sparks_never_leave_the_picture(counts in prop::collection::vec((counts(), counts()), 0..20)) {
            let html = spark(&counts, "x").into_string();
            prop_assert!(!html.contains("NaN") && !html.contains("inf"));
            check(&rects(&html, "<svg class=\"spark\" viewBox=\"0 0 88 20\" width=\"88\" height=\"20\""), &counts, (88.0, 20.0, 2.0))?;
        }

        #[test]
        fn the_axis_holds_the_value_in_a_few_even_steps(value in counts()) {
            let (top, step) = scale(value.into());
            prop_assert!(top >= value.into() && top % step == 0 && (1..=4).contains(&(top / step)));
            prop_assert!(nice_max(value) >= value);
        }

        #[test]
        fn a_cell_is_never_over_full_and_never_loses_a_value(value in counts(), max in counts()) {
            let html = bar_cell(value, max, "f-ok").into_string();
            let width = html.split_once("width=\"").map(|(_, rest)| rest.split_once('"').unwrap().0.parse::<f64>().unwrap());
            prop_assert_eq!(width.is_some(), value > 0);
            prop_assert!(width.is_none_or(|w| (1.0..=100.0).contains(&w)));
        }
    }

    #[test]
    fn axes_end_on_round_numbers() {
        let ends = [0, 1, 3, 5, 9, 42, 90, 110, 1_234].map(nice_max);
        assert_eq!(ends, [1, 1, 3, 6, 10, 60, 100, 150, 1_500]);
    }

    #[test]
    fn a_bar_is_as_tall_as_its_share_of_the_axis() {
        let html = bars(&WORDS, &[bar(75, 25), bar(50, 0)], &[]).into_string();
        let rects = rects(&html, "viewBox=\"0 0 480 120\"");
        let sizes: Vec<_> = rects.iter().map(|r| (r.class.as_str(), r.y, r.height)).collect();
        assert_eq!(sizes, [("f-ok", 31.0, 89.0), ("f-fail", 0.0, 30.0), ("f-ok", 60.0, 60.0)]);
    }

    #[test]
    fn the_table_the_hover_text_and_the_axes_say_what_the_bars_show() {
        let html = bars(&WORDS, &[bar(1_234, 5)], &["02:00".into(), "03:00".into()]).into_string();
        for text in [
            "<title>25 Nov 02:00 – Delivered: 1,234, Failed: 5</title>",
            "<th scope=\"row\">25 Nov 02:00</th><td class=\"num\">1,234</td><td class=\"num\">5</td>",
            "<span>1,500</span><span>1,000</span><span>500</span><span>0</span>",
            "<span>02:00</span><span>03:00</span>",
            "aria-labelledby=\"c-title c-desc\"><title id=\"c-title\">Deliveries</title><desc id=\"c-desc\">12 deliveries, 2 failed</desc>",
        ] {
            assert!(html.contains(text), "{text}\n{html}");
        }
    }

    #[test]
    fn hostile_labels_stay_text() {
        let evil = "<script>\"'&";
        let words = Words { title: evil, desc: evil, ok: evil, failed: evil, table: evil, time: evil, ..WORDS };
        let list = [Bar { ok: 1, failed: 1, label: evil.into() }];
        let html = bars(&words, &list, &[evil.into()]).into_string() + &spark(&[(1, 1)], evil).into_string();
        assert!(!html.contains("<script>") && !html.contains("style="), "{html}");
    }

    #[test]
    fn a_day_of_bars_weighs_little() {
        let list: Vec<Bar> = (0..48).map(|n| bar(40 + n, n % 3)).collect();
        assert!(bars(&WORDS, &list, &[]).into_string().len() < 16_000);
    }
}
