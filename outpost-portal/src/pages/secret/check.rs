//! Checking a signature for somebody whose receiver refuses it: what was read, and what differs. Nothing is kept, and
//! the secret never shows.

use std::borrow::Cow;
use std::time::Duration;

use maud::{Markup, html};
use outpost_core::{BodyKey, MASK, ServiceGuide, StandardGuide, Timestamp, Verifier};
use subtle::ConstantTimeEq as _;

use super::{Held, Look, Seen, needs_secrets, whole};
use crate::cx::{Answer, Cx};
use crate::icon::{Icon, icon};
use crate::route::Route;
use crate::view::code;
use crate::view::form::{Field, Kind, Wrong, form};

/// The longest body, in bytes.
const MAX_BODY: usize = 256 << 10;
/// The longest headers, in bytes.
const MAX_HEADERS: usize = 64 << 10;
/// How old a request may be for the receivers that the snippets make.
const TOLERANCE: Duration = Duration::from_secs(300);

/// What was pasted, and what came of it.
#[derive(Default)]
pub(super) struct Checked {
    body: String,
    headers: String,
    results: Vec<Checks>,
}

/// How one signature fared.
struct Checks {
    verdict: Verdict,
    steps: Vec<(bool, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Genuine,
    /// Genuine, but receivers refuse it by now.
    Stale,
    Refused,
}

pub(in crate::pages) async fn check(cx: &Cx<'_>, id: &str) -> Answer {
    let seen = Seen::new(cx, id).await?;
    needs_secrets(cx)?;
    let guide = seen.guide.as_ref().ok_or(crate::cx::Fault::NotFound)?;
    let (body, headers) = (cx.request.form.text("body"), cx.request.form.text("headers"));
    let mut wrong = Wrong::default();
    // Browsers send line ends of two characters.
    if body.len() - body.matches("\r\n").count() > MAX_BODY {
        wrong.add("body", cx.t("Use 256 KiB or less."));
    } else if body.is_empty() {
        wrong.add("body", cx.t("Paste the body of the request."));
    }
    if headers.len() > MAX_HEADERS {
        wrong.add("headers", cx.t("Use 64 KiB or less."));
    } else if headers.trim().is_empty() {
        wrong.add("headers", cx.t("Paste the headers of the request."));
    }
    let mut results = Vec::new();
    if wrong.is_empty() {
        let asked = Asked { cx, seen: &seen, headers: read(headers), readings: readings(body) };
        let standard = guide.standard.as_ref();
        let service = guide.service.as_ref();
        let has = |name: &str| asked.header(name).is_some();
        if let Some(names) =
            standard.filter(|names| service.is_none_or(|other| has(&names.signature) || !has(&other.signature)))
        {
            results.push(asked.standard(names));
        }
        if let Some(names) = service.filter(|names| standard.is_none() || has(&names.signature)) {
            results.push(asked.service(names));
        }
    }
    let fine = wrong.is_empty();
    let checked = Checked { body: without(&seen, body), headers: without(&seen, headers), results };
    let page = whole(cx, &seen, &Look { wrong, checked, ..Look::default() }).await;
    // What was pasted may hold a secret either way.
    Ok(if fine { page.ok(cx) } else { page.unprocessable(cx) }.secret())
}

/// A text without the secrets that somebody may have pasted along with it.
fn without(seen: &Seen, text: &str) -> String {
    let mut text = text.to_owned();
    for held in &seen.secrets {
        let bare = held.text.split_once('_').map_or(held.text.as_str(), |(_, bare)| bare);
        for secret in [held.text.as_str(), bare] {
            // A short one would blot out everything.
            if secret.len() >= 8 && text.contains(secret) {
                text = text.replace(secret, MASK);
            }
        }
    }
    text
}

/// Lines of `name: value`, names in lower case; what is no such line is passed over.
fn read(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim().to_ascii_lowercase();
        (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| (name, value.trim().to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// What the pasted text may have been before a browser and an editor had it, the likeliest first; and whether it is
/// still the same JSON only.
fn readings(pasted: &str) -> Vec<(bool, Cow<'_, str>)> {
    let lines = pasted.replace("\r\n", "\n");
    let trimmed = lines.trim_end_matches('\n').to_owned();
    let dense = dense(&trimmed);
    let mut found: Vec<(bool, Cow<'_, str>)> = Vec::new();
    for (reformatted, text) in [
        (false, Cow::Owned(lines)),
        (false, Cow::Owned(trimmed)),
        (false, Cow::Borrowed(pasted)),
        (true, Cow::Owned(dense)),
    ] {
        if found.iter().all(|(_, known)| *known != text) {
            found.push((reformatted, text));
        }
    }
    found
}

/// JSON without the spaces between its tokens.
fn dense(text: &str) -> String {
    let (mut within, mut escaped) = (false, false);
    text.chars()
        .filter(|c| {
            let keep = within || !matches!(c, ' ' | '\n' | '\t' | '\r');
            match c {
                _ if escaped => escaped = false,
                '\\' if within => escaped = true,
                '"' => within = !within,
                _ => {}
            }
            keep
        })
        .collect()
}

struct Asked<'a> {
    cx: &'a Cx<'a>,
    seen: &'a Seen,
    headers: Vec<(String, String)>,
    readings: Vec<(bool, Cow<'a, str>)>,
}

/// What a matching signature was made with.
struct Match<'a> {
    held: &'a Held,
    current: bool,
    reformatted: bool,
}

impl Asked<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A value of others, short and safe.
    fn short(&self, text: &str) -> String {
        let text = code::one_line(&without(self.seen, text));
        if text.chars().count() <= 80 { text } else { text.chars().take(79).chain(['…']).collect() }
    }

    /// The header's value, or a step that says that it is not there.
    fn need(&self, name: &str, steps: &mut Vec<(bool, String)>) -> &str {
        let found = self.header(name);
        if found.is_none() {
            steps.push((false, self.cx.f("There is no header {name}.", &[("name", &name)])));
        }
        found.unwrap_or_default()
    }

    /// Says how old the request is, and whether that is too old.
    fn age(&self, at: Timestamp, steps: &mut Vec<(bool, String)>) -> bool {
        let cx = self.cx;
        let (past, ahead) = (cx.now.since(at), at.since(cx.now));
        let time = crate::time::full(at, &cx.prefs.zone.1);
        let (fine, said) = if past > TOLERANCE {
            let over = crate::time::span(past - TOLERANCE);
            (
                false,
                cx.f(
                    "It was sent at {time}. That is too old by {over}: receivers take 5 minutes.",
                    &[("time", &time), ("over", &over)],
                ),
            )
        } else if ahead > TOLERANCE {
            let over = crate::time::span(ahead - TOLERANCE);
            (
                false,
                cx.f(
                    "It was sent at {time}. That is too far ahead by {over}: receivers take 5 minutes.",
                    &[("time", &time), ("over", &over)],
                ),
            )
        } else {
            (true, cx.f("It was sent at {time}, which is recent.", &[("time", &time)]))
        };
        steps.push((fine, said));
        fine
    }

    fn find(&self, matches: impl Fn(&str, &[u8]) -> bool) -> Option<Match<'_>> {
        self.readings.iter().find_map(|(reformatted, text)| {
            let (index, held) =
                self.seen.secrets.iter().enumerate().find(|(_, held)| matches(&held.text, text.as_bytes()))?;
            Some(Match { held, current: index == 0, reformatted: *reformatted })
        })
    }

    /// Says what a signature was made with; answers whether it counts.
    fn made_with(&self, found: Option<Match<'_>>, otherwise: String, steps: &mut Vec<(bool, String)>) -> bool {
        let cx = self.cx;
        let Some(found) = found else {
            steps.push((false, otherwise));
            return false;
        };
        let ended = found.held.until.filter(|until| *until <= cx.now);
        steps.push(match ended {
            Some(until) => {
                let ago = cx.until_or_ago(until);
                (false, cx.f("The signature was made with a secret that ended {ago}.", &[("ago", &ago)]))
            }
            None if found.current => (true, cx.t("The signature was made with the current secret.").into_owned()),
            None => (true, cx.t("The signature was made with a previous secret that is still valid.").into_owned()),
        });
        if found.reformatted {
            steps.push((false, cx.t("The body is not as it was sent: it matches once the spaces between its tokens are taken away. Check the raw bytes, before anything parses or prettifies them.").into_owned()));
        }
        ended.is_none() && !found.reformatted
    }

    fn standard(&self, names: &StandardGuide) -> Checks {
        let (cx, mut steps) = (self.cx, Vec::new());
        let id = self.need(&names.id, &mut steps);
        let timestamp = self.need(&names.timestamp, &mut steps);
        let signatures = self.need(&names.signature, &mut steps);
        if !steps.is_empty() {
            return Checks { verdict: Verdict::Refused, steps };
        }
        let fresh = match timestamp.parse::<i64>() {
            Ok(seconds) => self.age(Timestamp::from_millis(seconds.saturating_mul(1000)), &mut steps),
            Err(_) => {
                let said = cx.f(
                    "{name} is not a whole number of seconds: {value}",
                    &[("name", &names.timestamp), ("value", &self.short(timestamp))],
                );
                steps.push((false, said));
                return Checks { verdict: Verdict::Refused, steps };
            }
        };
        // How old it is was told already.
        let found = self.find(|secret, body| {
            let verifier = Verifier::new(secret).map(|verifier| verifier.tolerance(Duration::MAX));
            verifier.is_ok_and(|verifier| verifier.verify(id, timestamp, signatures, body, cx.now).is_ok())
        });
        let otherwise = cx.f(
            "No signature matches. It was looked for over the ID {id}, the time {time} and a body of {size}. One of them was changed, or another secret was used.",
            &[("id", &self.short(id)), ("time", &self.short(timestamp)), ("size", &self.size())],
        );
        let genuine = self.made_with(found, otherwise, &mut steps);
        Checks { verdict: verdict(genuine, fresh), steps }
    }

    fn service(&self, names: &ServiceGuide) -> Checks {
        let (cx, mut steps) = (self.cx, Vec::new());
        let signatures = self.need(&names.signature, &mut steps);
        if !steps.is_empty() {
            return Checks { verdict: Verdict::Refused, steps };
        }
        let mut fresh = true;
        if let Some(name) = &names.timestamp {
            let timestamp = self.need(name, &mut steps);
            fresh = match Timestamp::parse("timestamp", timestamp) {
                Ok(at) => self.age(at, &mut steps),
                Err(_) if timestamp.is_empty() => false,
                Err(_) => {
                    let said = cx.f(
                        "{name} is not a time in RFC 3339: {value}",
                        &[("name", name), ("value", &self.short(timestamp))],
                    );
                    steps.push((false, said));
                    false
                }
            };
        }
        let Some(list) = signatures.strip_prefix("v0=") else {
            steps.push((false, cx.f("{name} does not begin with v0=.", &[("name", &names.signature)])));
            return Checks { verdict: Verdict::Refused, steps };
        };
        let found = self.find(|secret, body| {
            let expected = BodyKey::new(secret).map(|key| key.sign(body));
            let same = |given: &str, expected: &str| bool::from(given.as_bytes().ct_eq(expected.as_bytes()));
            expected.is_ok_and(|expected| list.split(',').take(64).any(|given| same(given.trim(), &expected)))
        });
        let otherwise = cx.f(
            "No signature matches. It was looked for over a body of {size}. The body was changed, or another secret was used.",
            &[("size", &self.size())],
        );
        let genuine = self.made_with(found, otherwise, &mut steps);
        Checks { verdict: verdict(genuine, fresh), steps }
    }

    fn size(&self) -> String {
        code::size(self.readings.first().map_or(0, |(_, text)| text.len()))
    }
}

const fn verdict(genuine: bool, fresh: bool) -> Verdict {
    match (genuine, fresh) {
        (true, true) => Verdict::Genuine,
        (true, false) => Verdict::Stale,
        (false, _) => Verdict::Refused,
    }
}

impl Checked {
    pub(super) fn section(&self, cx: &Cx<'_>, seen: &Seen, wrong: &Wrong) -> Markup {
        let labels = (cx.t("Headers"), cx.t("Body"));
        let headers_hint = cx.t("One name: value a line, as the receiver got them.");
        let body_hint = cx.t("The raw body, at most 256 KiB.");
        html! {
            section.card #check {
                h2 { (cx.t("Check a signature")) }
                p { (cx.t("Paste a request that your receiver got, to see whether its signature is genuine and what differs. Nothing of it is kept.")) }
                @for result in &self.results { (result.show(cx)) }
                (form(cx, &cx.href(Route::CheckSignature(seen.id())).at("check"), html! {
                    (Field::new("headers", &labels.0, &self.headers, Kind::Lines(6)).hint(&headers_hint).show(cx, wrong))
                    (Field::new("body", &labels.1, &self.body, Kind::Lines(8)).hint(&body_hint).show(cx, wrong))
                    div.actions { button.btn type="submit" { (cx.t("Check signature")) } }
                }))
            }
        }
    }
}

impl Checks {
    fn show(&self, cx: &Cx<'_>) -> Markup {
        let (class, sign, said) = match self.verdict {
            Verdict::Genuine => ("note ok", Icon::Check, "The signature is genuine."),
            Verdict::Stale => {
                ("note warn", Icon::Clock, "The signature is genuine, but receivers refuse the request for its time.")
            }
            Verdict::Refused => ("note fail", Icon::Cross, "A receiver refuses this request."),
        };
        html! {
            div class=(class) tabindex="-1" data-focus { (icon(sign)) p { strong { (cx.t(said)) } } }
            ol.ladder { @for (fine, step) in &self.steps { li class=(if *fine { "ok" } else { "fail" }) { (step) } } }
        }
    }
}
