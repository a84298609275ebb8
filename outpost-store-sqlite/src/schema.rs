//! The tables and how a file gets them.

use outpost_core::StoreErrorKind;
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::{Fallible, Fault};
use crate::sql::expand;

/// The format this version writes.
pub(crate) const FORMAT: i64 = 1;

/// What leads from each format to the next one; the first makes an empty file ours.
const MIGRATIONS: [&str; 1] = [FIRST];

/// Rows are appended: every table with much traffic has an integer key that only rises, so inserts touch
/// the right edge of their trees. Text is compared as bytes (the default collation), as Rust does.
const FIRST: &str = "
CREATE TABLE $tenants (
    inc INTEGER PRIMARY KEY, id TEXT NOT NULL, metadata TEXT NOT NULL, created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, deleted_at INTEGER, revision INTEGER NOT NULL, subscriptions INTEGER NOT NULL
);
-- The live tenant with an id; there is at most one.
CREATE UNIQUE INDEX $tenants_live ON $tenants (id) WHERE deleted_at IS NULL;
-- The list of tenants.
CREATE INDEX $tenants_time ON $tenants (created_at, id, inc) WHERE deleted_at IS NULL;

-- What the hot path reads comes first, the sealed bytes last. `stale`: there may be open deliveries and
-- requests that the destination's disabling or deletion ended and that are not written down yet. `settings` is NULL when nothing
-- in it differs from the defaults, as is a lane's `health`.
CREATE TABLE $destinations (
    inc INTEGER PRIMARY KEY, id TEXT NOT NULL, tenant INTEGER NOT NULL, tenant_id TEXT NOT NULL,
    epoch INTEGER NOT NULL, epoch_at INTEGER NOT NULL, deleted_at INTEGER, deleted_with_tenant INTEGER NOT NULL,
    disabled TEXT, revision INTEGER NOT NULL, settings TEXT, stale INTEGER NOT NULL, created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT, topics TEXT NOT NULL, filter TEXT,
    by_operator INTEGER NOT NULL, metadata TEXT NOT NULL, target TEXT NOT NULL, config BLOB NOT NULL,
    credentials BLOB NOT NULL, delivery_metadata BLOB NOT NULL
);
-- A tenant's live destination with an id; there is at most one.
CREATE UNIQUE INDEX $destinations_live ON $destinations (tenant, id) WHERE deleted_at IS NULL;
-- A tenant's live destinations, in order and counted.
CREATE INDEX $destinations_of ON $destinations (tenant, created_at, id, inc) WHERE deleted_at IS NULL;
-- All the destinations a tenant ever had: its lists of deliveries and attempts are merged from theirs.
CREATE INDEX $destinations_ever ON $destinations (tenant);
-- The list of everybody's destinations.
CREATE INDEX $destinations_time ON $destinations (created_at, id, inc) WHERE deleted_at IS NULL;
-- What the sweep has to look at.
CREATE INDEX $destinations_stale ON $destinations (inc) WHERE stale = 1;

CREATE TABLE $lanes (
    destination INTEGER PRIMARY KEY, hold_until INTEGER, strikes INTEGER NOT NULL, rest_until INTEGER,
    next_due INTEGER, next_urgent INTEGER, open INTEGER NOT NULL, ready_at INTEGER, health TEXT
);
-- The lanes with work, in the order that a claim visits them.
CREATE INDEX $lanes_ready ON $lanes (ready_at, destination) WHERE ready_at IS NOT NULL;

-- `matched` holds ids separated by commas, which no id contains. The payload comes last, so that reading the
-- other columns does not read it.
CREATE TABLE $events (
    seq INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, id TEXT NOT NULL, topic TEXT NOT NULL, time INTEGER NOT NULL,
    created_at INTEGER NOT NULL, eligible INTEGER NOT NULL, destination_id TEXT, matched TEXT NOT NULL,
    fingerprint BLOB NOT NULL, metadata TEXT, data BLOB NOT NULL
);
-- An event by its id, within a tenant or everywhere; makes a repeat visible.
CREATE UNIQUE INDEX $events_id ON $events (id, tenant);
-- A tenant's events.
CREATE INDEX $events_tenant ON $events (tenant, time, id);
-- Everybody's events.
CREATE INDEX $events_time ON $events (time, id, tenant);

-- `seq` rises with every insert, so it breaks ties between deliveries that are due at the same time.
CREATE TABLE $deliveries (
    seq INTEGER PRIMARY KEY, event_seq INTEGER NOT NULL, destination INTEGER NOT NULL, event TEXT NOT NULL,
    tenant INTEGER NOT NULL, topic TEXT NOT NULL, state INTEGER NOT NULL, epoch INTEGER NOT NULL,
    created_at INTEGER NOT NULL, finished_at INTEGER, scheduled_at INTEGER, requested INTEGER,
    urgent INTEGER NOT NULL, due INTEGER, lease INTEGER, attempts INTEGER NOT NULL, automatic INTEGER NOT NULL, success INTEGER, code TEXT
);
-- A delivery by its key (through the event's seq, which keeps the text out of this index), and an event's
-- deliveries in order.
CREATE UNIQUE INDEX $deliveries_event ON $deliveries (event_seq, destination);
-- A destination's deliveries. A tenant's list is merged from those of its destinations: an index for it
-- would cost every insert a page far from the edge.
CREATE INDEX $deliveries_destination ON $deliveries (destination, created_at, event);
-- Everybody's deliveries; grows at its edge.
CREATE INDEX $deliveries_time ON $deliveries (created_at, event, destination);
-- What waits or is leased, by the two sides of each lane. Finished deliveries are not in it, and those of an
-- earlier epoch are never met by a claim.
CREATE INDEX $deliveries_due ON $deliveries (destination, epoch, urgent, due) WHERE due IS NOT NULL;

-- Event and topic are the delivery's; `topic` is set only where it differs.
CREATE TABLE $attempts (
    seq INTEGER PRIMARY KEY, delivery INTEGER NOT NULL, destination INTEGER NOT NULL, tenant INTEGER NOT NULL,
    time INTEGER NOT NULL, id TEXT NOT NULL, topic TEXT, number INTEGER NOT NULL, cause INTEGER NOT NULL,
    started_at INTEGER NOT NULL, duration INTEGER NOT NULL, success INTEGER NOT NULL, code TEXT NOT NULL,
    next_at INTEGER, request TEXT, response TEXT, error TEXT, body BLOB
);
-- An attempt by its id.
CREATE INDEX $attempts_id ON $attempts (id);
-- A delivery's attempts in the order they were made.
CREATE INDEX $attempts_delivery ON $attempts (delivery);
-- A destination's attempts; a tenant's are merged from them.
CREATE INDEX $attempts_destination ON $attempts (destination, time, id);
-- Everybody's attempts; grows at its edge.
CREATE INDEX $attempts_time ON $attempts (time, id, tenant);

CREATE TABLE $records (
    kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, expires_at INTEGER, revision INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
-- Records that expire, for the sweep.
CREATE INDEX $records_expiry ON $records (expires_at) WHERE expires_at IS NOT NULL;

-- What each tenant has stored; a tenant without a row has nothing. Open deliveries are counted in the lanes.
CREATE TABLE $usage (tenant INTEGER PRIMARY KEY, events INTEGER NOT NULL, bytes INTEGER NOT NULL);

-- Counts of events (kind 0) and attempts (kind 1), one row for each key in each level. The table itself is in
-- the order of a tenant's queries. A destination of 0, which no incarnation is, stands for none; events leave
-- the columns that tell attempts apart at 0 and ''.
CREATE TABLE $rollups (
    tenant INTEGER NOT NULL, level INTEGER NOT NULL, kind INTEGER NOT NULL, start INTEGER NOT NULL,
    destination INTEGER NOT NULL, topic TEXT NOT NULL, success INTEGER NOT NULL, code TEXT NOT NULL,
    cause INTEGER NOT NULL, tally BLOB NOT NULL,
    PRIMARY KEY (tenant, level, kind, start, destination, topic, success, code, cause)
) WITHOUT ROWID;
-- Everybody's rollups, and which ones are old. A tally that grows does not touch it.
CREATE INDEX $rollups_time ON $rollups (level, kind, start, tenant);
";

/// The names of our tables, without prefix.
pub(crate) const TABLES: [&str; 10] =
    ["meta", "tenants", "destinations", "lanes", "events", "deliveries", "attempts", "records", "usage", "rollups"];

/// Whether the file holds tables, views or triggers that are not ours.
pub(crate) fn has_foreign(conn: &Connection, prefix: &str) -> Fallible<bool> {
    let mut statement =
        conn.prepare("SELECT tbl_name FROM main.sqlite_schema WHERE tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        // The case of names does not matter to SQLite.
        if !TABLES.iter().any(|table| name.eq_ignore_ascii_case(&format!("{prefix}{table}"))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether nothing was ever made in the file.
pub(crate) fn is_empty(conn: &Connection) -> Fallible<bool> {
    Ok(conn.query_row("SELECT count(*) FROM main.sqlite_schema", [], |row| row.get::<_, i64>(0))? == 0)
}

/// The format the file is in; 0 when it has none of our tables.
fn format(conn: &Connection, prefix: &str) -> Fallible<i64> {
    let meta = format!("{prefix}meta");
    let present: i64 = conn.query_row(
        "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE",
        [&meta],
        |row| row.get(0),
    )?;
    if present == 0 {
        return Ok(0);
    }
    let found: Option<i64> = conn
        .query_row(&format!("SELECT value FROM main.{meta} WHERE name = 'format'"), [], |row| row.get(0))
        .optional()
        .map_err(|error| Fault::new(StoreErrorKind::Incompatible, format!("{meta} is not ours: {error}")))?;
    let found =
        found.ok_or_else(|| Fault::new(StoreErrorKind::Incompatible, format!("{meta} does not name its format")))?;
    if found > FORMAT {
        return Err(Fault::new(
            StoreErrorKind::Incompatible,
            format!(
                "the file has format {found}, this version knows up to {FORMAT}: it was written by a newer version"
            ),
        ));
    }
    Ok(found)
}

/// Brings our tables up to [`FORMAT`]; touches nothing else. `begin` opens the write transaction.
pub(crate) fn migrate(
    conn: &Connection,
    prefix: &str,
    begin: impl FnOnce(&Connection) -> Fallible<()>,
) -> Fallible<()> {
    if format(conn, prefix)? == FORMAT {
        return Ok(());
    }
    begin(conn)?;
    let done = migrate_inside(conn, prefix).and_then(|()| Ok(conn.execute_batch("COMMIT")?));
    if done.is_err() && !conn.is_autocommit() {
        // The first error is the one to report.
        drop(conn.execute_batch("ROLLBACK"));
    }
    done
}

fn migrate_inside(conn: &Connection, prefix: &str) -> Fallible<()> {
    // Another process may have come first.
    let mut at = format(conn, prefix)?;
    if at == 0 {
        conn.execute_batch(&expand("CREATE TABLE $meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID", prefix))?;
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(at).unwrap_or(0)) {
        conn.execute_batch(&expand(migration, prefix))?;
        at += 1;
    }
    conn.execute(&expand("INSERT OR REPLACE INTO $meta (name, value) VALUES ('format', ?1)", prefix), [at])?;
    Ok(())
}
