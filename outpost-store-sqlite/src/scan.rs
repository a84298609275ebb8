//! Reading one page of a list.
//!
//! Keys come from one index that is in the list's order, or merged from several: a tenant's deliveries and
//! attempts come from the indexes of all the destinations it ever had. Where an index would have to be read
//! too often, everybody's is walked instead and the rows are picked; nothing is ever left out.

use std::collections::HashMap;
use std::sync::Arc;

use outpost_core::store::{Filter, List, Row, Scan, ScanPage};
use outpost_core::{DestinationRecord, Incarnation, Position, Timestamp};
use rusqlite::{Connection, params};

use crate::error::Fallible;
use crate::rows;
use crate::sql::Sql;
use crate::walk::{Bounds, GATHERED, Index, MERGED, Place, Walk};

const LIVE: Option<&str> = Some("deleted_at IS NULL");
const CREATED: [&str; 3] = ["created_at", "id", "inc"];
const OCCURRED: [&str; 3] = ["time", "id", "tenant"];
const DELIVERED: [&str; 3] = ["created_at", "event", "destination"];

const TENANTS: Index =
    Index { table: "tenants", name: "tenants_time", by: None, order: CREATED, key: "inc", only: LIVE };
const DESTINATIONS: Index =
    Index { table: "destinations", name: "destinations_time", by: None, order: CREATED, key: "inc", only: LIVE };
const DESTINATIONS_OF: Index = Index { name: "destinations_of", by: Some("tenant"), ..DESTINATIONS };
const EVENTS: Index = Index { table: "events", name: "events_time", by: None, order: OCCURRED, key: "seq", only: None };
const EVENTS_OF: Index = Index { name: "events_tenant", by: Some("tenant"), ..EVENTS };
const DELIVERIES: Index =
    Index { table: "deliveries", name: "deliveries_time", by: None, order: DELIVERED, key: "seq", only: None };
const DELIVERIES_OF: Index = Index { name: "deliveries_destination", by: Some("destination"), ..DELIVERIES };
const ATTEMPTS: Index = Index { table: "attempts", name: "attempts_time", ..EVENTS };
const ATTEMPTS_OF: Index = Index { name: "attempts_destination", by: Some("destination"), ..ATTEMPTS };

/// Every index that pages are read from.
#[cfg(test)]
pub(crate) const INDEXES: [Index; 9] =
    [TENANTS, DESTINATIONS, DESTINATIONS_OF, EVENTS, EVENTS_OF, DELIVERIES, DELIVERIES_OF, ATTEMPTS, ATTEMPTS_OF];

/// Reads one page from the snapshot that `conn` is in.
pub(crate) fn scan(conn: &Connection, sql: &Sql, scan: &Scan) -> Fallible<ScanPage> {
    let mut reader = Reader { conn, sql, destinations: HashMap::new() };
    let bounds = Bounds::new(&scan.filter, scan.after.as_ref(), scan.direction);
    let mut walk = reader.walk(scan, &bounds)?;
    let mut found = Vec::new();
    let (mut last_row, mut last_seen): (Option<Position>, Option<Position>) = (None, None);
    let mut examined = 0;
    while let Some((place, key)) = walk.next(conn)? {
        let full = found.len() >= scan.limit as usize;
        if examined >= scan.examine {
            return Ok(ScanPage { rows: found, resume: if full { last_row } else { last_seen } });
        }
        examined += 1;
        let position = Position { time: Timestamp::from_millis(place.0), id: place.1, scope: place.2 };
        last_seen = Some(position.clone());
        if let Some(row) = reader.pick(scan.list, &scan.filter, key)? {
            if full {
                // One row more tells that the page is not the last one.
                return Ok(ScanPage { rows: found, resume: last_row });
            }
            found.push(row);
            last_row = Some(position);
        }
    }
    Ok(ScanPage { rows: found, resume: None })
}

/// What reads the rows of one page.
struct Reader<'a> {
    conn: &'a Connection,
    sql: &'a Sql,
    destinations: HashMap<i64, Option<Arc<DestinationRecord>>>,
}

impl Reader<'_> {
    /// The shortest way through the rows that may match.
    fn walk(&self, scan: &Scan, bounds: &Bounds) -> Fallible<Walk> {
        let filter = &scan.filter;
        let prefix = &self.sql.prefix;
        let over = |index: &Index, by: &[i64]| Walk::over(bounds, prefix, index, by, scan.limit);
        let mut destinations: Vec<i64> = filter.destinations.iter().map(|wanted| wanted.as_i64()).collect();
        destinations.sort_unstable();
        destinations.dedup();
        let tenant: Vec<i64> = filter.tenant.iter().map(|wanted| wanted.as_i64()).collect();
        match scan.list {
            List::Tenants if filter.tenant.is_some() => Ok(Walk::through(bounds, self.tenant_places(&tenant)?)),
            List::Tenants => Ok(over(&TENANTS, &[])),
            List::Destinations if !destinations.is_empty() => {
                Ok(Walk::through(bounds, self.destination_places(&destinations)?))
            }
            List::Destinations if filter.tenant.is_some() => Ok(over(&DESTINATIONS_OF, &tenant)),
            List::Destinations => Ok(over(&DESTINATIONS, &[])),
            List::Events | List::Deliveries | List::Attempts => {
                if let Some(gathered) = self.by_event(scan)? {
                    return Ok(Walk::through(bounds, gathered));
                }
                let (of, everybody) = match scan.list {
                    List::Deliveries => (&DELIVERIES_OF, &DELIVERIES),
                    List::Attempts => (&ATTEMPTS_OF, &ATTEMPTS),
                    _ if filter.tenant.is_some() => return Ok(over(&EVENTS_OF, &tenant)),
                    _ => return Ok(over(&EVENTS, &[])),
                };
                if let (true, Some(tenant)) = (destinations.is_empty(), tenant.first()) {
                    let key = params![tenant, MERGED + 1];
                    destinations = rows::all(self.conn, &self.sql.destinations_ever_of, key, |row| rows::int(row, 0))?;
                }
                let many = i64::try_from(destinations.len()).unwrap_or(i64::MAX) > MERGED;
                let named = filter.tenant.is_some() || !destinations.is_empty();
                Ok(if named && !many { over(of, &destinations) } else { over(everybody, &[]) })
            }
        }
    }

    fn tenant_places(&self, tenants: &[i64]) -> Fallible<Vec<(Place, i64)>> {
        let mut places = Vec::new();
        for key in tenants {
            let found = rows::one(self.conn, &self.sql.tenant, [key], rows::tenant)?;
            if let Some(found) = found.filter(|found| found.deleted_at.is_none()) {
                places.push(((found.created_at.as_millis(), found.id.to_string(), *key), *key));
            }
        }
        Ok(places)
    }

    fn destination_places(&self, destinations: &[i64]) -> Fallible<Vec<(Place, i64)>> {
        let mut places = Vec::new();
        for key in destinations {
            let found = rows::one(self.conn, &self.sql.destination, [key], rows::destination)?;
            if let Some(found) = found.filter(|found| found.deleted_at.is_none()) {
                places.push(((found.created_at.as_millis(), found.id.to_string(), *key), *key));
            }
        }
        Ok(places)
    }

    /// The rows of the events that the filter names; `None`: it names none, or they are so many that an index
    /// had better be walked.
    fn by_event(&self, scan: &Scan) -> Fallible<Option<Vec<(Place, i64)>>> {
        let filter = &scan.filter;
        if filter.events.is_empty() {
            return Ok(None);
        }
        let (conn, sql) = (self.conn, self.sql);
        let too_many = |count: usize| i64::try_from(count).unwrap_or(i64::MAX) > GATHERED;
        let place = |row: &rusqlite::Row<'_>| {
            Ok(((rows::int(row, 0)?, row.get::<_, String>(1)?, rows::int(row, 2)?), rows::int(row, 3)?))
        };
        let mut wanted: Vec<_> = filter.events.iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut events: Vec<i64> = Vec::new();
        for id in wanted {
            match filter.tenant {
                Some(tenant) => {
                    let key = params![id.as_str(), tenant.as_i64()];
                    events.extend(rows::one(conn, &sql.event_seq, key, |row| rows::int(row, 0))?);
                }
                None => {
                    let key = params![id.as_str(), GATHERED + 1];
                    events.extend(rows::all(conn, &sql.event_seqs, key, |row| rows::int(row, 0))?);
                }
            }
            if too_many(events.len()) {
                return Ok(None);
            }
        }
        let mut places = Vec::new();
        for event in events {
            if scan.list == List::Events {
                places.extend(rows::one(conn, &sql.event_place, [event], |row| {
                    Ok(((rows::int(row, 0)?, row.get::<_, String>(1)?, rows::int(row, 2)?), event))
                })?);
                continue;
            }
            let deliveries = rows::all(conn, &sql.delivery_places, params![event, GATHERED + 1], place)?;
            if scan.list == List::Deliveries {
                places.extend(deliveries);
            } else {
                for (_, delivery) in deliveries {
                    places.extend(rows::all(conn, &sql.attempt_places, params![delivery, GATHERED + 1], place)?);
                    if too_many(places.len()) {
                        return Ok(None);
                    }
                }
            }
            if too_many(places.len()) {
                return Ok(None);
            }
        }
        Ok(Some(places))
    }

    /// The row, if it is wanted.
    fn pick(&mut self, list: List, filter: &Filter, key: i64) -> Fallible<Option<Row>> {
        let (conn, sql) = (self.conn, self.sql);
        match list {
            List::Tenants => Ok(rows::one(conn, &sql.tenant, [key], rows::tenant)?.map(Row::Tenant)),
            List::Destinations => {
                let found = rows::one(conn, &sql.destination, [key], rows::destination)?
                    .filter(|found| filter.tenant.is_none_or(|wanted| wanted == found.tenant));
                Ok(found.map(|found| Row::Destination(Box::new(found))))
            }
            List::Events => {
                if !self.wants_event(filter, key)? {
                    return Ok(None);
                }
                Ok(rows::one(conn, &sql.event, [key], rows::event)?.map(|found| Row::Event(Arc::new(found))))
            }
            List::Deliveries => {
                let Some(found) = rows::one(conn, &sql.delivery, [key], rows::delivery)? else { return Ok(None) };
                let record = &found.record;
                let wanted = filter.tenant.is_none_or(|tenant| tenant == record.tenant)
                    && allows(&filter.events, &record.key.event)
                    && allows(&filter.destinations, &record.key.destination)
                    && allows_text(&filter.topics, &record.topic)
                    && filter.wants_outcome(record.last_outcome.as_ref());
                if !wanted {
                    return Ok(None);
                }
                let destination = self.destination(record.key.destination)?;
                let shown = record.shown(destination.and_then(|found| found.retires(record.epoch)));
                Ok(allows(&filter.states, &shown.state).then(|| Row::Delivery(Box::new(shown))))
            }
            List::Attempts => {
                if !self.wants_attempt(filter, key)? {
                    return Ok(None);
                }
                Ok(rows::one(conn, &sql.attempt, [key], rows::attempt)?.map(|found| Row::Attempt(Box::new(found))))
            }
        }
    }

    /// What decides about a destination's deliveries, deleted or not.
    fn destination(&mut self, destination: Incarnation) -> Fallible<Option<Arc<DestinationRecord>>> {
        let key = destination.as_i64();
        if let Some(known) = self.destinations.get(&key) {
            return Ok(known.clone());
        }
        let found = rows::one(self.conn, &self.sql.destination_state, [key], rows::destination_state)?.map(Arc::new);
        self.destinations.insert(key, found.clone());
        Ok(found)
    }

    /// Looks at an event without reading its payload.
    fn wants_event(&self, filter: &Filter, key: i64) -> Fallible<bool> {
        if !filter.topics.is_empty() || !filter.events.is_empty() {
            let wanted = rows::one(self.conn, &self.sql.event_place, [key], |row| {
                Ok(allows_text(&filter.topics, row.get_ref(3)?.as_str()?)
                    && allows_str(&filter.events, row.get_ref(1)?.as_str()?))
            })?;
            if wanted != Some(true) {
                return Ok(false);
            }
        }
        if filter.destinations.is_empty() {
            return Ok(true);
        }
        for destination in &filter.destinations {
            let pair = params![key, destination.as_i64()];
            if rows::one(self.conn, &self.sql.delivery_exists, pair, |_| Ok(()))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks at an attempt without reading what was sent and what came back.
    fn wants_attempt(&self, filter: &Filter, key: i64) -> Fallible<bool> {
        let Filter { tenant, destinations, events, topics, success, .. } = filter;
        if tenant.is_none() && success.is_none() && destinations.is_empty() && events.is_empty() && topics.is_empty() {
            return Ok(true);
        }
        let wanted = rows::one(self.conn, &self.sql.attempt_traits, [key], |row| {
            let tenant = Incarnation::from_i64(rows::int(row, 2)?);
            Ok(allows(&filter.destinations, &Incarnation::from_i64(rows::int(row, 0)?))
                && allows_str(&filter.events, row.get_ref(1)?.as_str()?)
                && filter.tenant.is_none_or(|wanted| wanted == tenant)
                && allows_text(&filter.topics, row.get_ref(3)?.as_str()?)
                && filter.success.is_none_or(|wanted| row.get::<_, bool>(4).is_ok_and(|success| success == wanted)))
        })?;
        Ok(wanted == Some(true))
    }
}

fn allows<T: PartialEq>(wanted: &[T], value: &T) -> bool {
    wanted.is_empty() || wanted.contains(value)
}

fn allows_text(wanted: &[String], value: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == value)
}

fn allows_str<T: AsRef<str>>(wanted: &[T], value: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_ref() == value)
}
