//! Looking things up by key.

use std::sync::Arc;

use outpost_core::store::{Fetch, Key, Row, Usage};
use outpost_core::{DeliveryKey, Incarnation, Timestamp};
use rusqlite::{Connection, params};

use crate::error::Fallible;
use crate::rows::{self, StoredDelivery};
use crate::sql::Sql;

/// The most rows of the keys whose number of rows is not bounded otherwise.
const EVENTS: i64 = 100;
const ATTEMPTS: i64 = 1000;
const RECORDS: usize = 1000;

pub(crate) fn fetch(conn: &Connection, sql: &Sql, request: &Fetch) -> Fallible<Vec<Vec<Row>>> {
    request.keys.iter().map(|key| fetch_key(conn, sql, request, key)).collect()
}

fn fetch_key(conn: &Connection, sql: &Sql, request: &Fetch, key: &Key) -> Fallible<Vec<Row>> {
    let destination = |row: &rusqlite::Row<'_>| Ok(Row::Destination(Box::new(rows::destination(row)?)));
    let event = |row: &rusqlite::Row<'_>| Ok(Row::Event(Arc::new(rows::event(row)?)));
    let attempt = |row: &rusqlite::Row<'_>| Ok(Row::Attempt(Box::new(rows::attempt(row)?)));
    let tenant = |row: &rusqlite::Row<'_>| Ok(Row::Tenant(rows::tenant(row)?));
    match key {
        Key::Tenant(id) => rows::all(conn, &sql.tenant_live, [id.as_str()], tenant),
        Key::TenantLife(life) => rows::all(conn, &sql.tenant, [life.as_i64()], tenant),
        Key::Destination(tenant, id) => {
            rows::all(conn, &sql.destination_live, params![tenant.as_i64(), id.as_str()], destination)
        }
        Key::DestinationLife(life) => rows::all(conn, &sql.destination, [life.as_i64()], destination),
        Key::DestinationsOf(tenant) => rows::all(conn, &sql.destinations_of, [tenant.as_i64()], destination),
        Key::Event(tenant, id) => rows::all(conn, &sql.event_by_key, params![id.as_str(), tenant.as_i64()], event),
        Key::EventEverywhere(id) => rows::all(conn, &sql.events_by_id, params![id.as_str(), EVENTS], event),
        Key::Delivery(key) => Ok(find_delivery(conn, sql, key)?.into_iter().map(|(row, _)| row).collect()),
        Key::DeliveriesOf(tenant, id) => {
            let seq = rows::one(conn, &sql.event_seq, params![id.as_str(), tenant.as_i64()], |row| rows::int(row, 0))?;
            let Some(seq) = seq else { return Ok(Vec::new()) };
            let found = rows::all(conn, &sql.deliveries_of, [seq], rows::delivery)?;
            found.into_iter().map(|stored| shown(conn, sql, &stored)).collect()
        }
        Key::Attempt(id) => rows::all(conn, &sql.attempt_by_id, [id.as_str()], attempt),
        Key::AttemptsOf(key) => match find_delivery(conn, sql, key)? {
            Some((_, seq)) => rows::all(conn, &sql.attempts_of, params![seq, ATTEMPTS], attempt),
            None => Ok(Vec::new()),
        },
        Key::Record(kind, name) => {
            let found = rows::one(conn, &sql.record, params![kind, name], rows::record)?;
            let found = found.filter(|record| record.expires_at.is_none_or(|at| at > request.now));
            Ok(found.map(Row::Record).into_iter().collect())
        }
        Key::Records(kind, prefix) => records(conn, sql, request.now, kind, prefix),
        Key::Usage(tenant) => {
            let key = [tenant.as_i64()];
            let stored = rows::one(conn, &sql.usage, key, |row| Ok((rows::count(row, 0)?, rows::count(row, 1)?)))?;
            let open = rows::one(conn, &sql.usage_open, key, |row| rows::count(row, 0))?.unwrap_or(0);
            let (events, bytes) = stored.unwrap_or((0, 0));
            Ok(vec![Row::Usage(Usage { events, bytes, open })])
        }
        Key::Lane(destination) => {
            rows::all(conn, &sql.lane, [destination.as_i64()], |row| Ok(Row::Lane(rows::lane(row)?)))
        }
    }
}

/// The records whose key starts with `prefix`. They follow each other from the prefix on, so there is no
/// pattern whose wildcards would have to be minded.
fn records(conn: &Connection, sql: &Sql, now: Timestamp, kind: &str, prefix: &str) -> Fallible<Vec<Row>> {
    let mut statement = conn.prepare_cached(&sql.records_from)?;
    let mut rows = statement.query(params![kind, prefix])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let record = rows::record(row)?;
        if !record.key.starts_with(prefix) || found.len() >= RECORDS {
            break;
        }
        if record.expires_at.is_none_or(|at| at > now) {
            found.push(Row::Record(record));
        }
    }
    Ok(found)
}

/// A delivery as it is shown, and where it is stored.
fn find_delivery(conn: &Connection, sql: &Sql, key: &DeliveryKey) -> Fallible<Option<(Row, i64)>> {
    let life = key.destination.as_i64();
    let tenant: Option<Incarnation> =
        rows::one(conn, &sql.destination_state, [life], |row| Ok(rows::destination_state(row)?.tenant))?;
    let Some(tenant) = tenant else { return Ok(None) };
    let place = params![key.event.as_str(), tenant.as_i64(), life];
    let Some(stored) = rows::one(conn, &sql.delivery_by_key, place, rows::delivery)? else { return Ok(None) };
    Ok(Some((shown(conn, sql, &stored)?, stored.seq)))
}

fn shown(conn: &Connection, sql: &Sql, stored: &StoredDelivery) -> Fallible<Row> {
    let life = stored.record.key.destination.as_i64();
    let destination = rows::one(conn, &sql.destination_state, [life], rows::destination_state)?;
    let retired = destination.and_then(|found| found.retires(stored.record.epoch));
    Ok(Row::Delivery(Box::new(stored.record.shown(retired))))
}
