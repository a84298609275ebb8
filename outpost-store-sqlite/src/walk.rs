//! Walking the keys of a list in order, bounded on both sides, from one index or merged from several.

use std::collections::{BTreeSet, VecDeque};

use outpost_core::store::Filter;
use outpost_core::{Direction, Position, Timestamp};
use rusqlite::{Connection, params};

use crate::error::Fallible;
use crate::rows;

/// A place in a list: time in milliseconds, id, scope. Not a [`Position`], because the bounds go beyond what
/// can be written as a time.
pub(crate) type Place = (i64, String, i64);

/// How many keys are read from an index at a time, at most.
const PORTION: i64 = 512;
/// How many candidates are gathered by key before it is cheaper to walk an index.
pub(crate) const GATHERED: i64 = 4096;
/// How many destinations' lists are merged at most.
pub(crate) const MERGED: i64 = 4096;

/// Where the rows between two places are looked for; both are left out.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    low: Place,
    high: Place,
    direction: Direction,
}

impl Bounds {
    pub(crate) fn new(filter: &Filter, after: Option<&Position>, direction: Direction) -> Self {
        let edge = |time: i64| (time, String::new(), i64::MIN);
        let mut low = edge(filter.from.unwrap_or(Timestamp::MIN).as_millis());
        let mut high = edge(filter.until.map_or(i64::MAX, Timestamp::as_millis));
        if let Some(after) = after {
            let after = (after.time.as_millis(), after.id.clone(), after.scope);
            match direction {
                Direction::Ascending => low = low.max(after),
                Direction::Descending => high = high.min(after),
            }
        }
        Self { low, high, direction }
    }

    fn holds(&self, place: &Place) -> bool {
        *place > self.low && *place < self.high
    }
}

/// An index whose entries are a list's keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Index {
    /// Table and index, without prefix.
    pub(crate) table: &'static str,
    pub(crate) name: &'static str,
    /// What the index is entered by, if not by time.
    pub(crate) by: Option<&'static str>,
    /// Time, id and scope.
    pub(crate) order: [&'static str; 3],
    /// The integer key of the row.
    pub(crate) key: &'static str,
    /// The condition of a partial index.
    pub(crate) only: Option<&'static str>,
}

impl Index {
    /// Reads keys between two places; `?8` is the value of `by`.
    pub(crate) fn sql(&self, prefix: &str, direction: Direction) -> String {
        let Self { table, name, order: [time, id, scope], key, .. } = self;
        // Time and id are unique within one tenant or destination, so the order needs no more there.
        let last = if self.by.is_some() { String::new() } else { format!(", {scope} {}", way(direction)) };
        let way = way(direction);
        let by = self.by.map_or(String::new(), |by| format!("{by} = ?8 AND "));
        let only = self.only.map_or(String::new(), |only| format!("{only} AND "));
        format!(
            "SELECT {time}, {id}, {scope}, {key} FROM {prefix}{table} INDEXED BY {prefix}{name} \
             WHERE {only}{by}({time}, {id}, {scope}) > (?1, ?2, ?3) AND ({time}, {id}, {scope}) < (?4, ?5, ?6) \
             ORDER BY {time} {way}, {id} {way}{last} LIMIT ?7"
        )
    }
}

const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    }
}

struct Source {
    sql: String,
    by: Option<i64>,
    bounds: Bounds,
    portion: i64,
    buffer: VecDeque<(Place, i64)>,
    /// Nothing follows what is in the buffer.
    done: bool,
}

impl Source {
    fn pop(&mut self, conn: &Connection) -> Fallible<Option<(Place, i64)>> {
        if self.buffer.is_empty() && !self.done {
            self.fill(conn)?;
        }
        Ok(self.buffer.pop_front())
    }

    fn fill(&mut self, conn: &Connection) -> Fallible<()> {
        let Bounds { low, high, direction } = &mut self.bounds;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(((rows::int(row, 0)?, row.get::<_, String>(1)?, rows::int(row, 2)?), rows::int(row, 3)?))
        };
        let found = match self.by {
            Some(by) => {
                let key = params![low.0, low.1, low.2, high.0, high.1, high.2, self.portion, by];
                rows::all(conn, &self.sql, key, read)?
            }
            None => {
                let key = params![low.0, low.1, low.2, high.0, high.1, high.2, self.portion];
                rows::all(conn, &self.sql, key, read)?
            }
        };
        self.done = i64::try_from(found.len()).is_ok_and(|count| count < self.portion);
        if let Some((last, _)) = found.last() {
            match direction {
                Direction::Ascending => low.clone_from(last),
                Direction::Descending => high.clone_from(last),
            }
        }
        self.portion = (self.portion * 2).min(PORTION);
        self.buffer = found.into();
        Ok(())
    }
}

/// Keys in order.
pub(crate) struct Walk {
    direction: Direction,
    sources: Vec<Source>,
    /// The next key of each source that has one.
    heads: BTreeSet<(Place, usize, i64)>,
    started: bool,
}

impl Walk {
    /// Over an index, once for each value it is entered by, merged.
    pub(crate) fn over(bounds: &Bounds, prefix: &str, index: &Index, by: &[i64], limit: u32) -> Self {
        let sql = index.sql(prefix, bounds.direction);
        let each = i64::from(limit) / i64::try_from(by.len().max(1)).unwrap_or(1) + 2;
        let source = |by: Option<i64>| Source {
            sql: sql.clone(),
            by,
            bounds: bounds.clone(),
            portion: each.min(PORTION),
            buffer: VecDeque::new(),
            done: false,
        };
        let sources = match index.by {
            Some(_) => by.iter().map(|by| source(Some(*by))).collect(),
            None => vec![source(None)],
        };
        Self { direction: bounds.direction, sources, heads: BTreeSet::new(), started: false }
    }

    /// Over keys that were found by other means.
    pub(crate) fn through(bounds: &Bounds, gathered: Vec<(Place, i64)>) -> Self {
        let heads = gathered.into_iter().filter(|(place, _)| bounds.holds(place));
        let heads = heads.map(|(place, key)| (place, usize::MAX, key)).collect();
        Self { direction: bounds.direction, sources: Vec::new(), heads, started: true }
    }

    pub(crate) fn next(&mut self, conn: &Connection) -> Fallible<Option<(Place, i64)>> {
        if !self.started {
            self.started = true;
            for at in 0..self.sources.len() {
                self.advance(conn, at)?;
            }
        }
        let head = match self.direction {
            Direction::Ascending => self.heads.pop_first(),
            Direction::Descending => self.heads.pop_last(),
        };
        let Some((place, from, key)) = head else { return Ok(None) };
        self.advance(conn, from)?;
        Ok(Some((place, key)))
    }

    fn advance(&mut self, conn: &Connection, at: usize) -> Fallible<()> {
        if let Some(source) = self.sources.get_mut(at)
            && let Some((place, key)) = source.pop(conn)?
        {
            self.heads.insert((place, at, key));
        }
        Ok(())
    }
}
