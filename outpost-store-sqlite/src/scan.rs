//! Pages of lists.
//!
//! A list is read from one or several *sources*, each an index that is in the list's order for one tenant,
//! one destination or everybody. Several sources are merged; a tenant's deliveries and attempts come from
//! the indexes of all the destinations it ever had.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use outpost_core::store::{Filter, List, Row, Scan, ScanPage};
use outpost_core::{DestinationRecord, Direction, Position, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use crate::error::Fallible;
use crate::rows;
use crate::sql::{Sql, expand};

/// The most destinations, ever, whose lists are merged for a tenant's.
const MOST_SOURCES: i64 = 10_000;
/// The most events with one id, and the most rows of one event, that are looked at when ids are asked for.
const MOST_OF_EVENT: i64 = 1000;

/// A row's place in its list, and its key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    time: i64,
    id: String,
    scope: i64,
    seq: i64,
}

impl Place {
    fn position(&self) -> Position {
        Position { time: Timestamp::from_millis(self.time), id: self.id.clone(), scope: self.scope }
    }
}

/// One end of the rows wanted.
#[derive(Clone)]
struct Edge {
    time: i64,
    id: String,
    scope: i64,
    included: bool,
}

impl Edge {
    fn at(time: i64, included: bool) -> Self {
        Self { time, id: String::new(), scope: i64::MIN, included }
    }

    fn key(&self) -> (i64, &str, i64) {
        (self.time, &self.id, self.scope)
    }
}

/// The index a source reads.
#[derive(Clone, Copy)]
struct Index {
    table: &'static str,
    name: &'static str,
    /// The column that one value is wanted of, if it is not everybody's list.
    of: Option<&'static str>,
    time: &'static str,
    id: &'static str,
    /// The scope's column. In an index of one destination or tenant it is the same for all rows.
    scope: &'static str,
    scope_is_fixed: bool,
    seq: &'static str,
    /// A partial index holds the live rows only.
    live: bool,
}

struct Source {
    index: Index,
    value: i64,
    ahead: VecDeque<Place>,
    /// Where the rows end that were read ahead.
    low: Edge,
    high: Edge,
    exhausted: bool,
}

pub(crate) fn scan(conn: &Connection, sql: &Sql, scan: &Scan) -> Fallible<ScanPage> {
    let (low, high) = edges(scan);
    let nothing = ScanPage { rows: Vec::new(), resume: None };
    if low.key() >= high.key() {
        return Ok(nothing);
    }
    let mut sources = sources(conn, sql, scan, &low, &high)?;
    let chunk = (scan.limit as usize + 1).clamp(8, 256) / sources.len().clamp(1, 8) + 2;
    let mut picker = Picker { conn, sql, filter: &scan.filter, destinations: HashMap::new() };
    let mut page = nothing;
    let (mut last_row, mut last_seen) = (None, None);
    let mut examined = 0;
    loop {
        for source in &mut sources {
            source.fill(conn, sql, scan.direction, chunk)?;
        }
        let heads = sources.iter_mut().filter(|source| !source.ahead.is_empty());
        let next = match scan.direction {
            Direction::Ascending => heads.min_by(|a, b| a.ahead.front().cmp(&b.ahead.front())),
            Direction::Descending => heads.max_by(|a, b| a.ahead.front().cmp(&b.ahead.front())),
        };
        let Some(place) = next.and_then(|source| source.ahead.pop_front()) else { return Ok(page) };
        let full = page.rows.len() >= scan.limit as usize;
        if examined >= scan.examine {
            page.resume = if full { last_row } else { last_seen };
            return Ok(page);
        }
        examined += 1;
        last_seen = Some(place.position());
        if let Some(row) = picker.pick(scan.list, place.seq)? {
            if full {
                page.resume = last_row;
                return Ok(page);
            }
            page.rows.push(row);
            last_row = Some(place.position());
        }
    }
}

/// The rows between the time range's ends, and after the position.
fn edges(scan: &Scan) -> (Edge, Edge) {
    let mut low = Edge::at(scan.filter.from.map_or(i64::MIN, Timestamp::as_millis), true);
    let mut high = Edge::at(scan.filter.until.map_or(i64::MAX, Timestamp::as_millis), false);
    if let Some(after) = &scan.after {
        let after = Edge { time: after.time.as_millis(), id: after.id.clone(), scope: after.scope, included: false };
        match scan.direction {
            Direction::Ascending if after.key() >= low.key() => low = after,
            Direction::Descending if after.key() < high.key() => high = after,
            _ => {}
        }
    }
    (low, high)
}

const TENANTS: Index = Index {
    table: "tenants",
    name: "tenants_time",
    of: None,
    time: "created_at",
    id: "id",
    scope: "inc",
    scope_is_fixed: false,
    seq: "inc",
    live: true,
};
const TENANT: Index = Index { of: Some("inc"), name: "", ..TENANTS };
const DESTINATIONS: Index = Index { table: "destinations", name: "destinations_time", ..TENANTS };
const TENANT_DESTINATIONS: Index = Index { name: "destinations_of", of: Some("tenant"), ..DESTINATIONS };
const EVENTS: Index = Index {
    table: "events",
    name: "events_time",
    of: None,
    time: "time",
    id: "id",
    scope: "tenant",
    scope_is_fixed: false,
    seq: "seq",
    live: false,
};
const TENANT_EVENTS: Index = Index { name: "events_tenant", of: Some("tenant"), scope_is_fixed: true, ..EVENTS };
const DELIVERIES: Index = Index {
    table: "deliveries",
    name: "deliveries_time",
    time: "created_at",
    id: "event",
    scope: "destination",
    ..EVENTS
};
const DESTINATION_DELIVERIES: Index =
    Index { name: "deliveries_destination", of: Some("destination"), scope_is_fixed: true, ..DELIVERIES };
const ATTEMPTS: Index = Index { table: "attempts", name: "attempts_time", ..EVENTS };
// All attempts of a destination are of its tenant.
const DESTINATION_ATTEMPTS: Index =
    Index { name: "attempts_destination", of: Some("destination"), scope_is_fixed: true, ..ATTEMPTS };

fn sources(conn: &Connection, sql: &Sql, scan: &Scan, low: &Edge, high: &Edge) -> Fallible<Vec<Source>> {
    let filter = &scan.filter;
    let source = |index: Index, value: i64| Source {
        index,
        value,
        ahead: VecDeque::new(),
        low: low.clone(),
        high: high.clone(),
        exhausted: false,
    };
    let tenant = filter.tenant.map(|tenant| tenant.as_i64());
    if matches!(scan.list, List::Events | List::Deliveries | List::Attempts) && !filter.events.is_empty() {
        // Few rows and no index in the list's order: they are read and put in order here.
        let mut places = places_of_events(conn, sql, scan)?;
        places.retain(|place| {
            let key = (place.time, place.id.as_str(), place.scope);
            let above = if low.included { key >= low.key() } else { key > low.key() };
            above && key < high.key()
        });
        places.sort();
        places.dedup();
        if scan.direction == Direction::Descending {
            places.reverse();
        }
        let mut only = source(EVENTS, 0);
        (only.ahead, only.exhausted) = (places.into(), true);
        return Ok(vec![only]);
    }
    let of_destinations = |index: Index, everybody: Index| -> Fallible<Vec<Source>> {
        let mut lives: Vec<i64> = filter.destinations.iter().map(|life| life.as_i64()).collect();
        if lives.is_empty() {
            let Some(tenant) = tenant else { return Ok(vec![source(everybody, 0)]) };
            lives = rows::all(conn, &sql.destinations_ever_of, params![tenant, MOST_SOURCES], |row| rows::int(row, 0))?;
        }
        lives.sort_unstable();
        lives.dedup();
        Ok(lives.into_iter().map(|life| source(index, life)).collect())
    };
    Ok(match (scan.list, tenant) {
        (List::Tenants, None) => vec![source(TENANTS, 0)],
        (List::Tenants, Some(tenant)) => vec![source(TENANT, tenant)],
        (List::Destinations, None) => vec![source(DESTINATIONS, 0)],
        (List::Destinations, Some(tenant)) => vec![source(TENANT_DESTINATIONS, tenant)],
        (List::Events, None) => vec![source(EVENTS, 0)],
        (List::Events, Some(tenant)) => vec![source(TENANT_EVENTS, tenant)],
        (List::Deliveries, _) => of_destinations(DESTINATION_DELIVERIES, DELIVERIES)?,
        (List::Attempts, _) => of_destinations(DESTINATION_ATTEMPTS, ATTEMPTS)?,
    })
}

impl Source {
    /// Reads ahead when nothing is left of what was read before.
    fn fill(&mut self, conn: &Connection, sql: &Sql, direction: Direction, chunk: usize) -> Fallible<()> {
        if self.exhausted || !self.ahead.is_empty() {
            return Ok(());
        }
        let Index { table, name, of, time, id, scope, scope_is_fixed, seq, live } = self.index;
        let order = match direction {
            Direction::Ascending => "",
            Direction::Descending => " DESC",
        };
        let by = |included| if included { "=" } else { "" };
        let mut values: Vec<Value> = Vec::new();
        let mut conditions: Vec<String> = Vec::new();
        if live {
            conditions.push("deleted_at IS NULL".to_owned());
        }
        if let Some(of) = of {
            conditions.push(format!("{of} = ?"));
            values.push(self.value.into());
        }
        // The fixed scope of an index whose rows it does not tell apart decides by itself on which side of an
        // edge the row with the same time and id is.
        let fixed = scope_is_fixed.then(|| if of == Some(scope) { Some(self.value) } else { None });
        for (edge, sign) in [(&self.low, ">"), (&self.high, "<")] {
            values.extend([edge.time.into(), edge.id.clone().into()]);
            match fixed {
                Some(own) => {
                    let beyond = own.is_some_and(|own| if sign == ">" { own > edge.scope } else { own < edge.scope });
                    conditions.push(format!("({time}, {id}) {sign}{} (?, ?)", by(edge.included || beyond)));
                }
                None => {
                    conditions.push(format!("({time}, {id}, {scope}) {sign}{} (?, ?, ?)", by(edge.included)));
                    values.push(edge.scope.into());
                }
            }
        }
        values.push(i64::try_from(chunk).unwrap_or(i64::MAX).into());
        let indexed = if name.is_empty() { String::new() } else { format!("INDEXED BY ${name}") };
        let last = if scope_is_fixed { String::new() } else { format!(", {scope}{order}") };
        let text = format!(
            "SELECT {time}, {id}, {scope}, {seq} FROM ${table} {indexed} WHERE {} ORDER BY {time}{order}, {id}{order}{last} LIMIT ?",
            conditions.join(" AND "),
        );
        let places = rows::all(conn, &expand(&text, &sql.prefix), params_from_iter(values), place)?;
        self.exhausted = places.len() < chunk;
        if let Some(last) = places.last() {
            let edge = Edge { time: last.time, id: last.id.clone(), scope: last.scope, included: false };
            match direction {
                Direction::Ascending => self.low = edge,
                Direction::Descending => self.high = edge,
            }
        }
        self.ahead = places.into();
        Ok(())
    }
}

fn place(row: &rusqlite::Row<'_>) -> Fallible<Place> {
    Ok(Place { time: rows::int(row, 0)?, id: row.get(1)?, scope: rows::int(row, 2)?, seq: rows::int(row, 3)? })
}

/// The places of the rows of certain events.
fn places_of_events(conn: &Connection, sql: &Sql, scan: &Scan) -> Fallible<Vec<Place>> {
    let mut places = Vec::new();
    for id in &scan.filter.events {
        let seq = |row: &rusqlite::Row<'_>| rows::int(row, 0);
        let events = match scan.filter.tenant {
            Some(tenant) => rows::all(conn, &sql.event_seq, params![id.as_str(), tenant.as_i64()], seq)?,
            None => rows::all(conn, &sql.event_seqs, params![id.as_str(), MOST_OF_EVENT], seq)?,
        };
        for event in events {
            if scan.list == List::Events {
                places.extend(rows::one(conn, &sql.event_place, [event], |row| {
                    Ok(Place { time: rows::int(row, 0)?, id: row.get(1)?, scope: rows::int(row, 2)?, seq: event })
                })?);
                continue;
            }
            let deliveries = rows::all(conn, &sql.delivery_places, params![event, MOST_OF_EVENT], place)?;
            if scan.list == List::Deliveries {
                places.extend(deliveries);
                continue;
            }
            for delivery in deliveries {
                places.extend(rows::all(conn, &sql.attempt_places, params![delivery.seq, MOST_OF_EVENT], place)?);
            }
        }
    }
    Ok(places)
}

/// Reads rows and keeps those that the filter wants.
struct Picker<'a> {
    conn: &'a Connection,
    sql: &'a Sql,
    filter: &'a Filter,
    destinations: HashMap<i64, Option<Arc<DestinationRecord>>>,
}

fn allows<T: PartialEq>(wanted: &[T], value: &T) -> bool {
    wanted.is_empty() || wanted.contains(value)
}

fn allows_topic(wanted: &[String], topic: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == topic)
}

impl Picker<'_> {
    fn pick(&mut self, list: List, seq: i64) -> Fallible<Option<Row>> {
        let (conn, sql, filter) = (self.conn, self.sql, self.filter);
        let of_tenant = |tenant| filter.tenant.is_none_or(|wanted| wanted == tenant);
        Ok(match list {
            List::Tenants => rows::one(conn, &sql.tenant, [seq], rows::tenant)?
                .filter(|tenant| of_tenant(tenant.incarnation))
                .map(Row::Tenant),
            List::Destinations => rows::one(conn, &sql.destination, [seq], rows::destination)?
                .filter(|found| of_tenant(found.tenant) && allows(&filter.destinations, &found.incarnation))
                .map(|found| Row::Destination(Box::new(found))),
            List::Events => {
                let event = rows::one(conn, &sql.event, [seq], rows::event)?.filter(|event| {
                    of_tenant(event.tenant)
                        && allows(&filter.events, &event.id)
                        && allows_topic(&filter.topics, &event.topic)
                });
                match event {
                    Some(event) if self.reaches(seq)? => Some(Row::Event(Arc::new(event))),
                    _ => None,
                }
            }
            List::Deliveries => {
                let stored = rows::one(conn, &sql.delivery, [seq], rows::delivery)?.filter(|stored| {
                    of_tenant(stored.record.tenant)
                        && allows(&filter.destinations, &stored.record.key.destination)
                        && allows(&filter.events, &stored.record.key.event)
                        && allows_topic(&filter.topics, &stored.record.topic)
                });
                let Some(stored) = stored else { return Ok(None) };
                let destination = self.destination(stored.record.key.destination.as_i64())?;
                let shown = stored.record.shown(destination.and_then(|found| found.retires(stored.record.epoch)));
                allows(&filter.states, &shown.state).then(|| Row::Delivery(Box::new(shown)))
            }
            List::Attempts => rows::one(conn, &sql.attempt, [seq], rows::attempt)?
                .filter(|attempt| {
                    of_tenant(attempt.tenant)
                        && allows(&filter.destinations, &attempt.delivery.destination)
                        && allows(&filter.events, &attempt.delivery.event)
                        && allows_topic(&filter.topics, &attempt.topic)
                        && filter.success.is_none_or(|wanted| wanted == attempt.outcome.success)
                })
                .map(|attempt| Row::Attempt(Box::new(attempt))),
        })
    }

    /// Whether an event has a delivery to one of the destinations asked for.
    fn reaches(&self, event: i64) -> Fallible<bool> {
        for life in &self.filter.destinations {
            let key = params![event, life.as_i64()];
            if rows::one(self.conn, &self.sql.delivery_exists, key, |_| Ok(()))?.is_some() {
                return Ok(true);
            }
        }
        Ok(self.filter.destinations.is_empty())
    }

    fn destination(&mut self, life: i64) -> Fallible<Option<Arc<DestinationRecord>>> {
        if let Some(known) = self.destinations.get(&life) {
            return Ok(known.clone());
        }
        let found = rows::one(self.conn, &self.sql.destination_state, [life], rows::destination_state)?.map(Arc::new);
        self.destinations.insert(life, found.clone());
        Ok(found)
    }
}
