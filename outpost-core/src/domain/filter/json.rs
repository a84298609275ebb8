//! Reading JSON text in place: one level at a time, nothing decoded that is not asked for.
//!
//! Every function takes the trimmed text of one JSON value. On text that is not JSON they find nothing
//! rather than panic. Only `serde_json`'s raw values, ignored values and byte strings are used: these mean
//! the same whichever features the application turns on. Nesting costs no stack.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Object,
}

/// The kind of a value, which its first byte tells.
pub(super) fn kind(json: &str) -> Kind {
    match json.as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::List,
        Some(b'"') => Kind::Text,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') | None => Kind::Null,
        Some(_) => Kind::Number,
    }
}

/// `json` without the white space around it.
pub(super) fn trim(json: &str) -> &str {
    json.trim_matches([' ', '\t', '\r', '\n'])
}

/// A number as the nearest `f64`; infinite beyond its range.
///
/// The standard library reads it, because it knows all of JSON's forms, takes time linear in the digits and
/// does not depend on `serde_json`'s features.
pub(super) fn number(json: &str) -> f64 {
    json.parse().unwrap_or(0.0)
}

/// What a string says. Borrowed unless it holds escapes; half of a surrogate pair reads as U+FFFD.
pub(super) fn text(json: &str) -> Cow<'_, str> {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    TextSeed.deserialize(&mut serde_json::Deserializer::from_str(json)).unwrap_or_default()
}

#[cfg(test)]
thread_local! {
    /// How many bytes of objects and lists were gone through on this thread.
    pub(super) static READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn count(_json: &str) {
    #[cfg(test)]
    READ.set(READ.get() + _json.len());
}

/// Calls `each` with every member of an object, in the order of the text, repeated keys included.
///
/// # Errors
/// If the text is not an object.
pub(super) fn members<'a>(json: &'a str, each: impl FnMut(Cow<'a, str>, &'a str)) -> serde_json::Result<()> {
    count(json);
    serde_json::Deserializer::from_str(json).deserialize_map(Members(each))
}

/// Calls `each` with every element of a list until it answers false.
pub(super) fn elements<'a>(json: &'a str, each: impl FnMut(&'a str) -> bool) {
    count(json);
    // Not a list: there are no elements.
    let _ = serde_json::Deserializer::from_str(json).deserialize_seq(Elements(each));
}

struct Members<F>(F);

impl<'de, F: FnMut(Cow<'de, str>, &'de str)> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(TextSeed)? {
            let value: &'de RawValue = map.next_value()?;
            (self.0)(key, value.get());
        }
        Ok(())
    }
}

struct Elements<F>(F);

impl<'de, F: FnMut(&'de str) -> bool> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element::<&'de RawValue>()? {
            if !(self.0)(element.get()) {
                while list.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(())
    }
}

/// Reads a string as bytes, which is the one way that accepts half a surrogate pair.
struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_bytes<E: serde::de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(std::str::from_utf8(bytes).map_or_else(|_| Cow::Owned(readable(bytes)), Cow::Borrowed))
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(readable(bytes)))
    }
}

/// `bytes` as text. Half a surrogate pair arrives as three bytes starting with 0xED and becomes one U+FFFD.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if chunk.invalid().first() == Some(&0xED) {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}
