//! What a user asks to have replayed: read from a form or a link, checked, and said again.

use std::time::Duration;

use maud::{Markup, html};
use outpost_core::{CancelReason, DeliveryState, Problem, ReplayRequest, Timestamp};

use super::texts;
use crate::cx::Cx;
use crate::request::Params;
use crate::time::{day, full, parse_field};
use crate::view::form::Wrong;

/// The most topics that are read from a form; the core takes fewer.
const READ_TOPICS: usize = 1000;

/// Which deliveries, by how they ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Failed,
    Skipped,
    Cancelled,
    All,
}

impl What {
    pub(super) const ALL: [Self; 4] = [Self::Failed, Self::Skipped, Self::Cancelled, Self::All];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::All => "all",
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Failed => "Failed deliveries",
            Self::Skipped => "Failed and skipped deliveries",
            Self::Cancelled => "Failed, skipped and cancelled deliveries",
            Self::All => "Everything, also what was delivered",
        }
    }

    fn states(self) -> Vec<DeliveryState> {
        let all = [
            DeliveryState::Failed,
            DeliveryState::Skipped,
            DeliveryState::Cancelled(CancelReason::User),
            DeliveryState::Delivered,
        ];
        let count = Self::ALL.iter().position(|what| *what == self).map_or(0, |at| at + 1);
        all.into_iter().take(count).collect()
    }

    /// What asked for these states.
    pub(super) fn of(states: &[DeliveryState]) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|what| what.states().last().is_some_and(|last| states.contains(last)))
    }
}

/// The fields as they were given.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) what: Option<What>,
    pub(super) from: String,
    pub(super) until: String,
    pub(super) topics: Vec<String>,
    pub(super) missing: bool,
    /// When the preview was made that a start follows.
    pub(super) as_of: Option<Timestamp>,
}

impl Asked {
    pub(super) fn read(params: &Params) -> Self {
        let what = match params.get("what") {
            Some(name) => What::ALL.into_iter().find(|what| what.name() == name),
            // A form that was sent with none is wrong; a link that names none means the usual.
            None => (!params.has("step")).then_some(What::Skipped),
        };
        let mut topics: Vec<String> = params
            .all("topics")
            .flat_map(|text| text.split(['\n', '\r', ',']))
            .map(|topic| topic.trim().to_owned())
            .filter(|topic| !topic.is_empty())
            .take(READ_TOPICS)
            .collect();
        let mut seen = std::collections::HashSet::new();
        topics.retain(|topic| seen.insert(topic.clone()));
        let as_of = params.get("as_of").and_then(|millis| millis.parse().ok()).map(Timestamp::from_millis);
        let missing = params.get("missing") == Some("1");
        Self { what, from: texts(params, "from"), until: texts(params, "until"), topics, missing, as_of }
    }

    /// The fields again, for a link or for hidden fields.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                pairs.push((name.to_owned(), value.to_owned()));
            }
        };
        add("what", self.what.map_or("", What::name));
        add("from", &self.from);
        add("until", &self.until);
        for topic in &self.topics {
            add("topics", topic);
        }
        add("missing", if self.missing { "1" } else { "" });
        pairs
    }

    /// What the core is asked; nothing when something is wrong.
    pub(super) fn request(&self, cx: &Cx<'_>, wrong: &mut Wrong) -> Option<ReplayRequest> {
        if self.what.is_none() {
            wrong.add("what", cx.t("Choose which deliveries to replay."));
        }
        let from = self.time(cx, "from", &self.from, wrong);
        let until = self.time(cx, "until", &self.until, wrong);
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            wrong.add("from", cx.t("‘From’ must be before ‘until’."));
        }
        if from.is_some_and(|from| from > cx.now) {
            wrong.add("from", cx.t("‘From’ is in the future; nothing has been published then."));
        }
        let as_of = self.as_of.filter(|at| *at <= cx.now).unwrap_or(cx.now).after(Duration::from_millis(1));
        let until = Some(until.map_or(as_of, |until| until.min(as_of)));
        let states = self.what?.states();
        let request = ReplayRequest { states, topics: self.topics.clone(), from, until, missing: self.missing };
        wrong.is_empty().then_some(request)
    }

    fn time(&self, cx: &Cx<'_>, field: &str, text: &str, wrong: &mut Wrong) -> Option<Timestamp> {
        if text.is_empty() {
            return None;
        }
        let zone = &cx.prefs.zone.1;
        let Some(at) = parse_field(text, zone) else {
            wrong.add(field, cx.t("Enter a date and a time, such as 2026-11-25T08:30."));
            return None;
        };
        if let Some(kept) = cx.site.offers.retention {
            let oldest = cx.now.before(kept);
            // The field has no seconds: the very minute is fine.
            if at < oldest.before(Duration::from_secs(60)) {
                wrong.add(field, cx.f("Events before {date} are no longer kept.", &[("date", &day(oldest, zone))]));
                return None;
            }
        }
        Some(at)
    }

    /// What was asked, in words.
    pub(super) fn facts(&self, cx: &Cx<'_>) -> Markup {
        let zone = &cx.prefs.zone.1;
        let time = |text: &str| parse_field(text, zone).map(|at| full(at, zone));
        html! {
            dt { (cx.t("What")) }
            dd { @if let Some(what) = self.what { (cx.t(what.label())) } }
            @if let Some(from) = time(&self.from) { dt { (cx.t("From")) } dd { (from) } }
            @if let Some(until) = time(&self.until) { dt { (cx.t("Until")) } dd { (until) } }
            @if !self.topics.is_empty() { dt { (cx.t("Topics")) } dd.mono { (self.topics.join(", ")) } }
            @if self.missing { dt { (cx.t("Besides")) } dd { (cx.t("Events that were published before it wanted them")) } }
        }
    }
}

/// The core's problems in the form's words.
pub(super) fn say(cx: &Cx<'_>, problem: &Problem) -> Option<(String, String)> {
    let field = problem.field.split('.').next().unwrap_or_default();
    let text = match field {
        "topics" => cx.f("The topics cannot be used: {problem}.", &[("problem", &problem.message)]),
        "from" => cx.t("‘From’ must be before ‘until’.").into_owned(),
        "states" => return Some(("what".to_owned(), cx.t("Choose which deliveries to replay.").into_owned())),
        _ => return None,
    };
    Some((field.to_owned(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_is_known_again_by_its_states() {
        for what in What::ALL {
            assert_eq!(What::of(&what.states()), Some(what));
        }
        assert_eq!(What::of(&[]), None);
        assert_eq!(ReplayRequest::default().states, What::Skipped.states());
    }
}
