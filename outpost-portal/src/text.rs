//! The words of the portal. English text is its own key; a [`Language`] puts other words in its place.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// The words, and how they are written. Every text that the portal shows is looked up here by its English form, so
/// a host can change a single one or all of them; [`every`](Self::every) can note which texts there are.
///
/// ```
/// use outpost_portal::Language;
///
/// let ours = Language::english().text("Destinations", "Endpoints");
/// let hebrew = Language::new("he", true).text("Activity", "פעילות");
/// # drop((ours, hebrew));
/// ```
#[derive(Clone)]
pub struct Language {
    tag: String,
    right_to_left: bool,
    texts: HashMap<String, String>,
    plural: fn(u64) -> bool,
    every: Option<fn(&str) -> String>,
}

impl Language {
    /// English as shipped.
    #[must_use]
    pub fn english() -> Self {
        Self::new("en", false)
    }

    /// A language by its BCP 47 tag, such as `de` or `ar`. What has no text of its own stays English.
    #[must_use]
    pub fn new(tag: impl Into<String>, right_to_left: bool) -> Self {
        Self { tag: tag.into(), right_to_left, texts: HashMap::new(), plural: |count| count != 1, every: None }
    }

    /// Puts `text` in the place of `english`. Words in braces, such as `{count}`, are filled in in both.
    #[must_use]
    pub fn text(mut self, english: impl Into<String>, text: impl Into<String>) -> Self {
        self.texts.insert(english.into(), text.into());
        self
    }

    /// Sets which numbers take the form for many. Default: all but 1.
    #[must_use]
    pub fn plural(mut self, many: fn(u64) -> bool) -> Self {
        self.plural = many;
        self
    }

    /// Passes every text without one of its own through `change`; for trying out how a translation would look.
    #[must_use]
    pub fn every(mut self, change: fn(&str) -> String) -> Self {
        self.every = Some(change);
        self
    }

    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    pub(crate) const fn direction(&self) -> &'static str {
        if self.right_to_left { "rtl" } else { "ltr" }
    }

    pub(crate) fn say<'a>(&'a self, english: &'a str) -> Cow<'a, str> {
        match (self.texts.get(english), self.every) {
            (Some(text), _) => Cow::Borrowed(text),
            (None, Some(change)) => Cow::Owned(change(english)),
            (None, None) => Cow::Borrowed(english),
        }
    }

    /// Fills in the words in braces. Each is filled once: values are never read for braces again.
    pub(crate) fn fill(&self, english: &str, values: &[(&str, &dyn fmt::Display)]) -> String {
        let text = self.say(english);
        let mut filled = String::with_capacity(text.len() + 16);
        let mut rest: &str = &text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let known = after.split_once('}').and_then(|(name, after)| {
                values.iter().find(|(known, _)| *known == name).map(|(_, value)| (value, after))
            });
            match known {
                Some((value, after)) => {
                    filled.push_str(&value.to_string());
                    rest = after;
                }
                None => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    /// The form for one or for many, with `{count}` filled in.
    pub(crate) fn count(&self, count: u64, one: &str, many: &str) -> String {
        let form = if (self.plural)(count) { many } else { one };
        self.fill(form, &[("count", &grouped(count))])
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Language").field("tag", &self.tag).field("texts", &self.texts.len()).finish_non_exhaustive()
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_braces_are_filled_once() {
        let english = Language::english();
        assert_eq!(english.fill("{a} and {b}, not {c}", &[("a", &"{b}"), ("b", &2)]), "{b} and 2, not {c}");
        assert_eq!(english.fill("open { only", &[]), "open { only");
    }

    #[test]
    fn a_host_changes_one_text_and_keeps_the_others() {
        let ours = Language::english().text("Topics", "Kinds").text("{count} tries", "{count} Versuche");
        assert_eq!(ours.say("Topics"), "Kinds");
        assert_eq!(ours.say("Status"), "Status");
        assert_eq!(ours.count(1200, "1 try", "{count} tries"), "1,200 Versuche");
        assert_eq!(ours.count(1, "1 try", "{count} tries"), "1 try");
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), shown);
        }
    }
}
