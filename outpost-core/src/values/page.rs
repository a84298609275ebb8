//! Pages and cursors: every list has the total order (time, id, scope), so a cursor is one position in it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::Problem;
use super::time::Timestamp;

/// The largest page that can be asked for.
pub const MAX_PAGE: u32 = 1000;

/// Which end of a list comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Oldest first.
    Ascending,
    /// Newest first, the default.
    #[default]
    Descending,
}

impl Direction {
    /// The other direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// A place in a list, ordered by time, then id, then scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The row's time.
    pub time: Timestamp,
    /// The row's id; for a delivery its event's id.
    pub id: String,
    /// The incarnation that makes the position unique: the destination's for destinations and
    /// deliveries, the tenant's for all else.
    pub scope: i64,
}

/// What the caller asks of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many rows, 1 to [`MAX_PAGE`]; 100 by default.
    pub limit: u32,
    /// Which end comes first.
    pub direction: Direction,
    /// A `next` or `prev` cursor of an earlier page of the same list with the same filters.
    pub cursor: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: 100, direction: Direction::default(), cursor: None }
    }
}

/// One page of a list.
///
/// A page may hold fewer rows than asked for and still have a `next`: the number of rows examined for one
/// page is bounded, whatever the filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the direction asked for.
    pub items: Vec<T>,
    /// The cursor of the page after this one; `None` at the end of the list.
    pub next: Option<String>,
    /// The cursor of the page before this one; `None` at the start of the list.
    pub prev: Option<String>,
}

/// Which way from a position a cursor leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    Next,
    Prev,
}

/// Writes a cursor. `list` is a fingerprint of the list and its filters, so that a cursor cannot be used
/// for another list, tenant or filter.
pub(crate) fn encode_cursor(list: u64, toward: Toward, position: &Position) -> String {
    let mut bytes = Vec::with_capacity(26 + position.id.len());
    bytes.push(1);
    bytes.push(match toward {
        Toward::Next => b'n',
        Toward::Prev => b'p',
    });
    bytes.extend_from_slice(&list.to_be_bytes());
    bytes.extend_from_slice(&position.time.as_millis().to_be_bytes());
    bytes.extend_from_slice(&position.scope.to_be_bytes());
    bytes.extend_from_slice(position.id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor back.
pub(crate) fn decode_cursor(list: u64, text: &str) -> Result<(Toward, Position), Problem> {
    let refuse = || Problem::new("cursor", "is not a cursor of this list");
    if text.len() > 512 {
        return Err(refuse());
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refuse())?;
    let (head, id) = bytes.split_at_checked(26).ok_or_else(refuse)?;
    let number = |from: usize| -> Option<[u8; 8]> { head.get(from..from + 8)?.try_into().ok() };
    let toward = match head {
        [1, b'n', ..] => Toward::Next,
        [1, b'p', ..] => Toward::Prev,
        _ => return Err(refuse()),
    };
    if number(2).map(u64::from_be_bytes) != Some(list) {
        return Err(refuse());
    }
    let time = number(10).map(i64::from_be_bytes).ok_or_else(refuse)?;
    let scope = number(18).map(i64::from_be_bytes).ok_or_else(refuse)?;
    let id = std::str::from_utf8(id).map_err(|_| refuse())?.to_owned();
    Ok((toward, Position { time: Timestamp::from_millis(time), id, scope }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_round_trip_and_never_cross_lists(list: u64, other: u64, time in -62_167_219_200_000_i64..253_402_300_799_999, scope: i64, id in "[a-zA-Z0-9_]{0,255}") {
            let position = Position { time: Timestamp::from_millis(time), id, scope };
            for toward in [Toward::Next, Toward::Prev] {
                let text = encode_cursor(list, toward, &position);
                prop_assert_eq!(decode_cursor(list, &text).unwrap(), (toward, position.clone()));
                if other != list {
                    prop_assert!(decode_cursor(other, &text).is_err());
                }
            }
        }

        #[test]
        fn junk_is_refused_without_a_panic(list: u64, text in "\\PC{0,80}") {
            let _ = decode_cursor(list, &text);
        }
    }
}
