//! Rollups: tallies that the writer adds to in memory and writes once per transaction, and reading them.

use std::collections::HashMap;
use std::sync::Arc;

use outpost_core::rollup::{Counted, Level, RollupKey, Tally};
use outpost_core::store::{RollupRows, Rollups, Sweep, Swept};
use outpost_core::{Incarnation, Timestamp};
use rusqlite::{Connection, Row, params};

use crate::error::{Fallible, Fault};
use crate::rows;
use crate::sql::Sql;
use crate::tx::Tx;

/// More tallies than this and all are forgotten; they are only read again.
const MOST_KNOWN: usize = 20_000;
/// What stands for no destination: no incarnation is 0.
const NOBODY: i64 = 0;
/// The kinds of rollups, as they are stored.
const EVENTS: i64 = 0;
const ATTEMPTS: i64 = 1;

/// The tallies that were in use lately.
#[derive(Default)]
pub(crate) struct Tallies {
    known: HashMap<RollupKey, Known>,
    /// Tallies that differ from what is stored.
    dirty: Vec<RollupKey>,
}

struct Known {
    tally: Tally,
    dirty: bool,
}

impl Tallies {
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.dirty.clear();
    }

    /// Keeps it from growing without end. Only between transactions: dirty tallies would be lost.
    pub(crate) fn trim(&mut self) {
        if self.known.len() > MOST_KNOWN {
            self.clear();
        }
    }
}

/// A key's columns: tenant, level, kind, start, destination, topic, success, code, cause.
type Place<'a> = (i64, u8, i64, i64, i64, &'a str, bool, &'a str, u8);

fn place(key: &RollupKey) -> Place<'_> {
    let (kind, success, code, cause) = match &key.counted {
        Counted::Events => (EVENTS, false, "", 0),
        Counted::Attempts { success, code, trigger } => (ATTEMPTS, *success, &**code, trigger.code()),
    };
    let destination = key.destination.map_or(NOBODY, Incarnation::as_i64);
    (key.tenant.as_i64(), key.level.code(), kind, key.start.as_millis(), destination, &key.topic, success, code, cause)
}

fn key(row: &Row<'_>) -> Fallible<RollupKey> {
    let level = u8::try_from(rows::int(row, 1)?).ok().and_then(Level::from_code);
    let counted = if rows::int(row, 2)? == EVENTS {
        Counted::Events
    } else {
        let (success, code) = (rows::flag(row, 6)?, Arc::from(rows::text(row, 7)?));
        Counted::Attempts { success, code, trigger: rows::trigger(rows::int(row, 8)?)? }
    };
    Ok(RollupKey {
        level: level.ok_or_else(|| Fault::corrupt("a stored rollup's level is not known"))?,
        start: rows::time(row, 3)?,
        tenant: rows::incarnation(row, 0)?,
        destination: Some(rows::incarnation(row, 4)?).filter(|life| life.as_i64() != NOBODY),
        topic: Arc::from(rows::text(row, 5)?),
        counted,
    })
}

fn tally(row: &Row<'_>, at: usize) -> Fallible<Tally> {
    let found = Tally::decode(row.get_ref(at)?.as_blob()?);
    found.ok_or_else(|| Fault::corrupt("a stored tally cannot be read"))
}

/// Reads rollups from the snapshot that `conn` is in: one range of the table, or of the index for everybody's.
pub(crate) fn rollups(conn: &Connection, sql: &Sql, request: &Rollups) -> Fallible<RollupRows> {
    let kind = if request.events { EVENTS } else { ATTEMPTS };
    let (level, from, until) = (request.level.code(), request.from.as_millis(), request.until.as_millis());
    let limit = i64::from(request.limit) + 1;
    let read = |row: &Row<'_>| Ok((key(row)?, tally(row, 9)?));
    let mut found = match request.tenant {
        Some(tenant) => {
            rows::all(conn, &sql.rollups_of, params![level, kind, from, until, tenant.as_i64(), limit], read)?
        }
        None => rows::all(conn, &sql.rollups_all, params![level, kind, from, until, limit], read)?,
    };
    let more = found.len() > request.limit as usize;
    found.truncate(request.limit as usize);
    Ok(RollupRows { rows: found, more })
}

impl Tx<'_> {
    /// Adds to a rollup.
    pub(crate) fn add_tally(&mut self, key: RollupKey, more: &Tally) -> Fallible<()> {
        if let Some(known) = self.cache.tallies.known.get_mut(&key) {
            known.tally.add(more);
            if !std::mem::replace(&mut known.dirty, true) {
                self.cache.tallies.dirty.push(key);
            }
            return Ok(());
        }
        let stored = rows::one(self.conn, &self.sql.rollup, place(&key), |row| tally(row, 0))?;
        let mut tally = stored.unwrap_or_default();
        tally.add(more);
        self.cache.tallies.dirty.push(key.clone());
        self.cache.tallies.known.insert(key, Known { tally, dirty: true });
        Ok(())
    }

    /// Writes every tally that has changed, each once.
    pub(crate) fn flush_tallies(&mut self) -> Fallible<()> {
        for key in std::mem::take(&mut self.cache.tallies.dirty) {
            if let Some(known) = self.cache.tallies.known.get_mut(&key) {
                known.dirty = false;
                let (tenant, level, kind, start, destination, topic, success, code, cause) = place(&key);
                let tally = known.tally.encode();
                let row = params![tenant, level, kind, start, destination, topic, success, code, cause, tally];
                rows::run(self.conn, &self.sql.rollup_put, row)?;
            }
        }
        Ok(())
    }

    /// Deletes rollups that are old, as far as the limit goes.
    pub(crate) fn sweep_rollups(&mut self, request: &Sweep, swept: &mut Swept) -> Fallible<()> {
        // What earlier jobs of this transaction counted may be old as well.
        self.flush_tallies()?;
        let before = |level: Level| request.rollups_before.get(usize::from(level.code())).copied();
        let mut deleted = false;
        for level in Level::ALL {
            let start = before(level).unwrap_or(Timestamp::MIN).as_millis();
            for kind in [EVENTS, ATTEMPTS] {
                let room = request.limit.saturating_sub(swept.changed);
                let wanted = params![level.code(), kind, start, i64::from(room) + 1];
                let old = rows::all(self.conn, &self.sql.rollups_old, wanted, key)?;
                swept.more |= old.len() > room as usize;
                for key in old.iter().take(room as usize) {
                    rows::run(self.conn, &self.sql.rollup_forget, place(key))?;
                    swept.changed += 1;
                    deleted = true;
                }
            }
        }
        if deleted {
            // All are written, so forgetting one that is still stored does no harm.
            let is_old = |key: &RollupKey| before(key.level).is_some_and(|at| key.start < at);
            self.cache.tallies.known.retain(|key, _| !is_old(key));
        }
        Ok(())
    }
}
