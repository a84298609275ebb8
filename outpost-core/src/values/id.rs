//! Identifiers: what a caller may choose, what we make ourselves, and the incarnation behind a reused id.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::time::Timestamp;

/// The longest id accepted, in bytes.
pub const MAX_ID_LEN: usize = 255;

/// Checks the grammar `[A-Za-z0-9][A-Za-z0-9_:.@|~-]{0,254}`; `dots` says whether `.` is allowed.
fn check(field: &str, text: &str, dots: bool) -> Result<(), Problem> {
    if text.is_empty() {
        return Err(Problem::new(field, "must not be empty"));
    }
    if text.len() > MAX_ID_LEN {
        return Err(Problem::new(field, format!("must be at most {MAX_ID_LEN} characters")));
    }
    for (at, byte) in text.bytes().enumerate() {
        let fine = byte.is_ascii_alphanumeric()
            || (at > 0 && (matches!(byte, b'_' | b':' | b'@' | b'|' | b'~' | b'-') || (dots && byte == b'.')));
        if !fine {
            let allowed = if dots { "_ : . @ | ~ -" } else { "_ : @ | ~ -" };
            return Err(Problem::new(
                field,
                format!("must start with a letter or digit and continue with letters, digits or {allowed}"),
            ));
        }
    }
    Ok(())
}

macro_rules! id_type {
    ($(#[$meta:meta])* $name:ident, $field:literal, dots: $dots:literal) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the id grammar.
            ///
            /// # Errors
            /// A [`Problem`] that names the field when the text is empty, longer than [`MAX_ID_LEN`]
            /// bytes or holds a character outside the grammar.
            pub fn new(text: impl AsRef<str>) -> Result<Self, Problem> {
                let text = text.as_ref();
                check($field, text, $dots)?;
                Ok(Self(Arc::from(text)))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Problem;
            fn try_from(text: String) -> Result<Self, Problem> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    };
}

id_type!(
    /// The id of a tenant, chosen by the host application.
    TenantId, "tenant_id", dots: true
);
id_type!(
    /// The id of a destination, unique within its tenant; chosen by the caller or generated.
    DestinationId, "destination_id", dots: true
);
id_type!(
    /// The id of an event, unique within its tenant. It never holds a `.`, because Standard Webhooks
    /// signs it with dots around it.
    EventId, "id", dots: false
);
id_type!(
    /// The id of an attempt, always generated.
    AttemptId, "attempt_id", dots: true
);

/// Tells two lives of the same id apart: a tenant or destination that is deleted and created again
/// under its old id gets another incarnation, so nothing of the old life can reach the new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(i64);

impl Incarnation {
    /// Makes an incarnation from the time of creation and 21 random bits. It is always positive and
    /// ordered by time, so stores may use it as an integer key.
    #[must_use]
    pub fn generate(now: Timestamp, random: u64) -> Self {
        let millis = now.as_millis().max(0) & ((1 << 42) - 1);
        let low = i64::try_from(random & ((1 << 21) - 1)).unwrap_or(0);
        Self((millis << 21) | low)
    }

    /// An incarnation read back from a store.
    #[must_use]
    pub const fn from_i64(raw: i64) -> Self {
        Self(raw)
    }

    /// The number a store keeps.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:x}", self.0)
    }
}

/// The prefixes of generated ids. The defaults are `evt_`, `des_` and `att_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPrefixes {
    /// Put before a generated event id.
    pub event: String,
    /// Put before a generated destination id.
    pub destination: String,
    /// Put before an attempt id.
    pub attempt: String,
}

impl Default for IdPrefixes {
    fn default() -> Self {
        Self { event: "evt_".to_owned(), destination: "des_".to_owned(), attempt: "att_".to_owned() }
    }
}

impl IdPrefixes {
    /// Checks that generated ids will be valid ids.
    ///
    /// # Errors
    /// A [`Problem`] naming the prefix that does not fit the grammar.
    pub fn check(&self) -> Result<(), Problem> {
        for (field, prefix) in [
            ("id_prefixes.event", &self.event),
            ("id_prefixes.destination", &self.destination),
            ("id_prefixes.attempt", &self.attempt),
        ] {
            if !prefix.is_empty() {
                check(field, prefix, false)?;
            }
            if prefix.len() > 32 {
                return Err(Problem::new(field, "must be at most 32 characters"));
            }
        }
        Ok(())
    }
}

/// The short text form of a version 7 UUID: 26 characters that sort like the UUID does.
///
/// `random` supplies the 74 bits that are not time; the six version and variant bits are set as
/// RFC 9562 asks.
#[must_use]
pub fn uuid_v7_text(now: Timestamp, random: [u8; 10]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let millis = u128::from(u64::try_from(now.as_millis()).unwrap_or(0) & ((1 << 48) - 1));
    let mut entropy = 0_u128;
    for byte in random {
        entropy = (entropy << 8) | u128::from(byte);
    }
    let rand_a = (entropy >> 68) & 0xfff;
    let rand_b = entropy & ((1 << 62) - 1);
    let value = (millis << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b;
    let mut text = String::with_capacity(26);
    for position in (0..26).rev() {
        let digit = usize::try_from((value >> (position * 5)) & 31).unwrap_or(0);
        text.push(char::from(ALPHABET.get(digit).copied().unwrap_or(b'0')));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn grammar_accepts_what_it_says_and_names_the_field_otherwise() {
        for good in ["a", "0", "user:1", "a.b", "A@b|c~d-e_f", &"x".repeat(255)] {
            assert!(TenantId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "_a", ".a", "a b", "a\0b", "a\nb", "é", "a,b", "a/b", &"x".repeat(256)] {
            let problem = TenantId::new(bad).unwrap_err();
            assert_eq!(problem.field, "tenant_id", "{bad:?}");
        }
        assert!(EventId::new("a.b").is_err());
        assert!(EventId::new("evt_1").is_ok());
    }

    #[test]
    fn generated_text_sorts_by_time_and_fits_the_grammar() {
        let early = uuid_v7_text(Timestamp::from_millis(1_000), [0xff; 10]);
        let late = uuid_v7_text(Timestamp::from_millis(1_001), [0; 10]);
        assert!(early < late);
        assert_eq!(early.len(), 26);
        assert!(EventId::new(format!("evt_{early}")).is_ok());
        assert!(EventId::new(early).is_ok());
    }

    #[test]
    fn incarnations_are_positive_and_ordered_by_time() {
        let first = Incarnation::generate(Timestamp::from_millis(1_700_000_000_000), u64::MAX);
        let second = Incarnation::generate(Timestamp::from_millis(1_700_000_000_001), 0);
        assert!(first.as_i64() > 0 && first < second);
    }
}
