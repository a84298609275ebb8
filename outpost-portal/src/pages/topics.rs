//! Choosing topics: the picker that creating a destination and its settings share.

use std::collections::{HashMap, HashSet};

use maud::{Markup, html};
use outpost_core::{MAX_TOPICS, Topics};

use crate::cx::Cx;
use crate::request::Params;
use crate::view::code::one_line;
use crate::view::form::{Field, Kind, Wrong, check, id_of};

/// Up to how many topics every group is open from the start.
const OPEN: usize = 40;
/// From how many topics there is a field to filter them by.
const MANY: usize = 12;

/// What is chosen: stored, or typed and perhaps wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    all: bool,
    /// The boxes that are ticked: topics, and patterns of whole groups.
    ticked: Vec<String>,
    /// The patterns that were typed; where any topic may be published, the topics as well.
    text: String,
}

impl Choice {
    /// What a destination has.
    pub(super) fn of(cx: &Cx<'_>, topics: &Topics) -> Self {
        if topics.is_all() {
            return Self { all: true, ..Self::default() };
        }
        let Some(offered) = &cx.site.offers.topics else {
            return Self { text: topics.as_slice().join("\n"), ..Self::default() };
        };
        let whole: HashSet<String> = groups(offered).into_iter().map(|group| group.pattern()).collect();
        let (ticked, typed): (Vec<String>, Vec<String>) =
            topics.as_slice().iter().cloned().partition(|pattern| !pattern.contains('*') || whole.contains(pattern));
        Self { all: false, ticked, text: typed.join(", ") }
    }

    /// What was sent.
    pub(super) fn posted(cx: &Cx<'_>, form: &Params) -> Self {
        let all = form.has("all_topics");
        if cx.site.offers.topics.is_none() {
            return Self { all, ticked: Vec::new(), text: form.text("topics").to_owned() };
        }
        let ticked = form.all("topics").filter(|topic| !topic.is_empty()).map(str::to_owned).collect();
        Self { all, ticked, text: form.text("pattern").to_owned() }
    }

    /// The topics, or what is wrong with them. What a destination has `before` it may keep, although it is no topic
    /// any more.
    pub(super) fn read(&self, cx: &Cx<'_>, before: Option<&Topics>, wrong: &mut Wrong) -> Option<Topics> {
        if self.all {
            return Some(Topics::all());
        }
        let typed = if cx.site.offers.topics.is_some() { "pattern" } else { "topics" };
        let written = self.text.split([',', ' ', '\n', '\r', '\t']).filter(|pattern| !pattern.is_empty());
        let mut fine = true;
        let mut patterns: Vec<&str> = Vec::new();
        let given = self.ticked.iter().map(|topic| ("topics", topic.as_str()));
        for (field, pattern) in given.chain(written.map(|pattern| (typed, pattern))) {
            let message = if Topics::new([pattern]).is_err() {
                "‘{topic}’ cannot be a topic. Use letters, digits and signs but no commas; * stands for anything."
            } else if self.is_unknown(cx, pattern, before) {
                "‘{topic}’ is not a topic here. Remove it."
            } else {
                patterns.push(pattern);
                continue;
            };
            fine = false;
            wrong.add(field, cx.f(message, &[("topic", &shown(pattern))]));
        }
        if patterns.contains(&"*") {
            return fine.then(Topics::all);
        }
        // What a pattern covers does not count.
        let stars: Vec<&str> = patterns.iter().copied().filter(|pattern| pattern.contains('*')).collect();
        if let Ok(stars) = Topics::new(stars) {
            patterns.retain(|pattern| pattern.contains('*') || !stars.matches(pattern));
        }
        patterns.sort_unstable();
        patterns.dedup();
        // What stays keeps its order, so that saving without a change is none.
        let had = before.map_or(&[][..], Topics::as_slice);
        patterns.sort_by_key(|pattern| had.iter().position(|had| had == pattern).unwrap_or(usize::MAX));
        match patterns.len() {
            0 if fine => {
                wrong.add("topics", cx.t("Choose at least one topic, or choose all topics."));
                None
            }
            1..=MAX_TOPICS if fine => Topics::new(patterns).ok(),
            0..=MAX_TOPICS => None,
            _ => {
                let message = "Choose at most {count} topics, or take many at once with a pattern such as order.*";
                wrong.add("topics", cx.f(message, &[("count", &MAX_TOPICS)]));
                None
            }
        }
    }

    fn is_unknown(&self, cx: &Cx<'_>, topic: &str, before: Option<&Topics>) -> bool {
        let had = |topics: &Topics| topics.as_slice().iter().any(|had| had == topic);
        let offered = |topics: &Vec<String>| topics.iter().any(|known| known == topic);
        !topic.contains('*') && !cx.site.offers.topics.as_ref().is_none_or(offered) && !before.is_some_and(had)
    }
}

/// A topic within a message.
fn shown(topic: &str) -> String {
    one_line(&topic.chars().take(64).collect::<String>())
}

/// Topics that begin alike.
struct Group<'a> {
    /// With its separator; empty for those that have no like.
    prefix: &'a str,
    topics: Vec<&'a str>,
}

impl Group<'_> {
    /// The pattern that stands for all of it and for what may come.
    fn pattern(&self) -> String {
        format!("{}*", self.prefix)
    }
}

/// The topics in groups, in the order of the first of each; those without a like at the end.
fn groups(topics: &[String]) -> Vec<Group<'_>> {
    let mut found: Vec<Group<'_>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for topic in topics {
        let end = topic.find(['.', '/', '-']).map_or(0, |at| at + 1);
        let prefix = topic.get(..end).unwrap_or_default();
        let place = *places.entry(prefix).or_insert(found.len());
        match found.get_mut(place) {
            Some(group) => group.topics.push(topic),
            None => found.push(Group { prefix, topics: vec![topic] }),
        }
    }
    let (mut alike, single): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|group| !group.prefix.is_empty() && group.topics.len() > 1);
    let topics: Vec<&str> = single.into_iter().flat_map(|group| group.topics).collect();
    if !topics.is_empty() {
        alike.push(Group { prefix: "", topics });
    }
    alike
}

/// The field set in which topics are chosen.
pub(super) fn picker(cx: &Cx<'_>, choice: &Choice, wrong: &Wrong) -> Markup {
    let error = wrong.of("topics");
    html! {
        fieldset.choices id=(id_of("topics")) aria-describedby=[error.map(|_| "topics-error")] {
            legend { (cx.t("Topics")) }
            @if let Some(error) = error { span.error #topics-error { (error) } }
            (check("all_topics", "1", &cx.t("All topics, also those that come later"), choice.all))
            @match &cx.site.offers.topics {
                Some(offered) => (boxes(cx, offered, choice, wrong)),
                None => (Field::new("topics", &cx.t("Or only these"), &choice.text, Kind::Lines(6))
                    .hint(&cx.t("One topic in a line. * stands for anything: order.* takes all topics that start with order."))
                    // The error stands above already.
                    .show(cx, &Wrong::default())),
            }
        }
    }
}

fn boxes(cx: &Cx<'_>, offered: &[String], choice: &Choice, wrong: &Wrong) -> Markup {
    let ticked: HashSet<&str> = choice.ticked.iter().map(String::as_str).collect();
    let known: HashSet<&str> = offered.iter().map(String::as_str).collect();
    let groups = groups(offered);
    let whole: HashSet<String> = groups.iter().map(Group::pattern).collect();
    let gone = choice.ticked.iter().filter(|topic| !known.contains(topic.as_str()) && !whole.contains(*topic));
    let gone: Vec<&String> = gone.collect();
    html! {
        @if offered.len() > MANY {
            div.field.jo {
                label for="topic-filter" { (cx.t("Find topics")) }
                input type="search" id="topic-filter" data-filter="#topic-list" autocomplete="off" spellcheck="false";
            }
        }
        div.topics #topic-list role="group" aria-label=(cx.t("Only these topics")) tabindex="0" {
            @for topic in &gone {
                label.check {
                    input type="checkbox" name="topics" value=(topic) checked;
                    span { (shown(topic)) " " span.tag { (cx.t("not a topic any more")) } }
                }
            }
            @for group in &groups {
                @let pattern = group.pattern();
                @let chosen = group.topics.iter().filter(|topic| ticked.contains(**topic)).count();
                @let all = !group.prefix.is_empty() && ticked.contains(pattern.as_str());
                @let count = u64::try_from(group.topics.len()).unwrap_or(0);
                details.group open[offered.len() <= OPEN || chosen > 0 || all] {
                    summary {
                        @if group.prefix.is_empty() { (cx.t("Others")) } @else { (group.prefix.trim_end_matches(['.', '/', '-'])) }
                        " " span.muted { (cx.n(count, "(1 topic)", "({count} topics)")) }
                    }
                    @if !group.prefix.is_empty() {
                        (check("topics", &pattern, &cx.f("{pattern}: all of these, also those that come later", &[("pattern", &pattern)]), all))
                    }
                    @for topic in &group.topics { (check("topics", topic, topic, ticked.contains(topic))) }
                }
            }
        }
        (Field::new("pattern", &cx.t("Patterns"), &choice.text, Kind::Line(""))
            .hint(&cx.t("For more than boxes can say: *.created takes every topic that ends so. Separate patterns by commas."))
            .optional().show(cx, wrong))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_grouped_by_how_they_begin() {
        let topics: Vec<String> = ["order.created", "ping", "order.paid", "user/a", "user/b", "user.c", "a-b", "a-c"]
            .map(str::to_owned)
            .to_vec();
        let found: Vec<(String, usize)> =
            groups(&topics).iter().map(|group| (group.prefix.to_owned(), group.topics.len())).collect();
        let expected = [("order.", 2), ("user/", 2), ("a-", 2), ("", 2)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(found, expected);
        assert!(groups(&[]).is_empty());
    }
}
