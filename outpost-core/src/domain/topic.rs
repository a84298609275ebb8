//! Topics: what an event is about, and which topics a destination wants.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::values::error::Problem;

/// The longest topic or pattern, in bytes.
pub const MAX_TOPIC_LEN: usize = 255;

/// The most patterns one destination may have.
pub const MAX_TOPICS: usize = 256;

/// Whether `byte` may stand in a topic: visible ASCII, but not the comma that separates lists nor the
/// star that stands for anything.
const fn is_topic_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b',' && byte != b'*'
}

/// Checks the topic of an event. A published topic is literal, so it holds no `*`.
///
/// # Errors
/// A [`Problem`] with field `topic`.
pub fn check_topic(topic: &str) -> Result<(), Problem> {
    if topic.is_empty() {
        return Err(Problem::new("topic", "is required"));
    }
    if topic.len() > MAX_TOPIC_LEN {
        return Err(Problem::new("topic", format!("must be at most {MAX_TOPIC_LEN} characters")));
    }
    if !topic.bytes().all(is_topic_byte) {
        return Err(Problem::new("topic", "must be visible ASCII without '*' and ','"));
    }
    Ok(())
}

/// The topics a destination subscribes to: everything, or a list of patterns.
///
/// In a pattern `*` stands for any run of characters, separators and none at all included. The list is
/// kept normalised: no duplicates, nothing that a sibling covers, first-seen order.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Topics(Vec<String>);

impl Topics {
    /// A subscription to every topic.
    #[must_use]
    pub fn all() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// Checks and normalises a list of patterns.
    ///
    /// # Errors
    /// A [`Problem`] with field `topics`: an empty list, more than [`MAX_TOPICS`] entries, an entry that
    /// is empty, too long or holds other characters than a topic may, or `*` beside other entries.
    pub fn new<I, S>(patterns: I) -> Result<Self, Problem>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let mut given: Vec<String> = Vec::new();
        for pattern in patterns {
            let pattern = collapse_stars(pattern.into());
            if pattern.is_empty() || pattern.len() > MAX_TOPIC_LEN {
                return Err(Problem::new("topics", format!("entries must have 1 to {MAX_TOPIC_LEN} characters")));
            }
            if !pattern.bytes().all(|byte| is_topic_byte(byte) || byte == b'*') {
                return Err(Problem::new("topics", "entries must be visible ASCII without ','"));
            }
            if given.len() >= MAX_TOPICS {
                return Err(Problem::new("topics", format!("must have at most {MAX_TOPICS} entries")));
            }
            given.push(pattern);
        }
        if given.is_empty() {
            return Err(Problem::new("topics", "must not be empty"));
        }
        if given.len() > 1 && given.iter().any(|pattern| pattern == "*") {
            return Err(Problem::new("topics", "must have '*' alone or not at all"));
        }
        let mut kept: Vec<String> = Vec::with_capacity(given.len());
        for (at, pattern) in given.iter().enumerate() {
            let redundant = given.iter().enumerate().any(|(other_at, other)| {
                if other == pattern { other_at < at } else { matches_pattern(other, pattern) }
            });
            if !redundant {
                kept.push(pattern.clone());
            }
        }
        Ok(Self(kept))
    }

    /// Whether every topic is wanted.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(self.0.as_slice(), [only] if only == "*")
    }

    /// The patterns, `["*"]` for everything.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Whether an event with `topic` is wanted. Takes time linear in the lengths of topic and patterns.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        self.0.iter().any(|pattern| matches_pattern(pattern, topic))
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<Vec<String>> for Topics {
    type Error = Problem;
    fn try_from(patterns: Vec<String>) -> Result<Self, Problem> {
        Self::new(patterns)
    }
}

impl From<Topics> for Vec<String> {
    fn from(topics: Topics) -> Self {
        topics.0
    }
}

fn collapse_stars(pattern: String) -> String {
    if !pattern.contains("**") {
        return pattern;
    }
    let mut collapsed = String::with_capacity(pattern.len());
    for character in pattern.chars() {
        if character != '*' || !collapsed.ends_with('*') {
            collapsed.push(character);
        }
    }
    collapsed
}

/// Matches `text` against a pattern whose only special character is `*`.
///
/// The pieces between stars are looked for from left to right; the first place each fits is always the
/// best one, so nothing is tried twice. A star in `text` is an ordinary character, which makes this the
/// test for "pattern covers pattern" as well.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        let Some(at) = text.find(piece) else {
            return false;
        };
        text = text.split_at(at + piece.len()).1;
    }
    text.ends_with(tail)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The obvious matcher, exponential but plainly right.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
            Some((byte, rest)) => text.split_first().is_some_and(|(first, after)| first == byte && slow(rest, after)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_obvious_matcher(pattern in "[ab.*]{0,8}", text in "[ab.]{0,10}") {
            prop_assert_eq!(matches_pattern(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn normalising_never_changes_what_matches(patterns in prop::collection::vec("[ab.*]{1,5}", 1..5), text in "[ab.]{1,8}") {
            if let Ok(topics) = Topics::new(patterns.clone()) {
                let before = patterns.iter().any(|pattern| slow(pattern.as_bytes(), text.as_bytes()));
                prop_assert_eq!(topics.matches(&text), before);
            }
        }
    }

    #[test]
    fn wildcards_span_separators_and_published_topics_are_literal() {
        let yes = [
            ("*", "x"),
            ("user.*", "user.a.b"),
            ("*.created", "a.created"),
            ("order.*.done", "order.a.b.done"),
            ("us*er", "user"),
        ];
        let no = [("user.*", "user"), ("u.*", "u"), ("User.*", "user.a"), ("a*a", "a")];
        for (pattern, topic) in yes {
            assert!(Topics::new([pattern]).unwrap().matches(topic), "{pattern} {topic}");
        }
        for (pattern, topic) in no {
            assert!(!Topics::new([pattern]).unwrap().matches(topic), "{pattern} {topic}");
        }
        assert!(check_topic("user.*").is_err() && check_topic("*").is_err() && check_topic("").is_err());
        assert!(check_topic("a\0b").is_err() && check_topic("a b").is_err() && check_topic("order.created").is_ok());
    }

    #[test]
    fn lists_are_normalised() {
        let topics = Topics::new(["user.*", "user.created", "order.paid", "order.paid", "**.x"]).unwrap();
        assert_eq!(topics.as_slice(), ["user.*", "order.paid", "*.x"]);
        assert!(Topics::new(["**"]).unwrap().is_all());
        assert!(Topics::new(["*", "x"]).is_err() && Topics::new(Vec::<String>::new()).is_err());
        assert!(Topics::new(vec!["a"; MAX_TOPICS + 1]).is_err());
    }

    #[test]
    fn many_stars_cost_no_more_than_the_text() {
        let pattern = "a*".repeat(10_000);
        let text = "a".repeat(9_999);
        assert!(!matches_pattern(&pattern, &text));
    }
}
