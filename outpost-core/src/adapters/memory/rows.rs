//! What the memory store reads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::state::State;
use crate::ports::store::{Filter, Key, List, Row, Scan, ScanPage};
use crate::values::id::Incarnation;
use crate::values::page::{Direction, Position};
use crate::values::time::Timestamp;

/// How many rows one key of a fetch may return at most where the number is not bounded otherwise.
const FETCH_EVENTS: usize = 100;
const FETCH_ATTEMPTS: usize = 1000;
const FETCH_RECORDS: usize = 1000;

impl State {
    pub(super) fn fetch(&self, now: Timestamp, key: &Key) -> Vec<Row> {
        match key {
            Key::Tenant(id) => {
                let life = self.live_tenants.get(id);
                life.and_then(|life| self.tenants.get(life)).cloned().map(Row::Tenant).into_iter().collect()
            }
            Key::TenantLife(life) => self.tenants.get(life).cloned().map(Row::Tenant).into_iter().collect(),
            Key::Destination(tenant, id) => {
                let life = self.live_destinations.get(&(*tenant, id.clone()));
                life.map(|life| self.destination(*life)).unwrap_or_default()
            }
            Key::DestinationLife(life) => self.destination(*life),
            Key::DestinationsOf(tenant) => {
                let mut found: Vec<_> = self.live_destinations_of(*tenant).cloned().collect();
                found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
                found.into_iter().map(|record| Row::Destination(Box::new(record))).collect()
            }
            Key::Event(tenant, id) => {
                self.events.get(&(*tenant, id.clone())).cloned().map(Row::Event).into_iter().collect()
            }
            Key::EventEverywhere(id) => self
                .tenants
                .keys()
                .filter_map(|tenant| self.events.get(&(*tenant, id.clone())).cloned())
                .take(FETCH_EVENTS)
                .map(Row::Event)
                .collect(),
            Key::Delivery(key) => self.delivery(key).into_iter().collect(),
            Key::DeliveriesOf(tenant, id) => {
                let fan_out = self.fan_out.get(&(*tenant, id.clone()));
                fan_out
                    .into_iter()
                    .flatten()
                    .filter_map(|destination| {
                        self.delivery(&crate::domain::delivery::DeliveryKey {
                            destination: *destination,
                            event: id.clone(),
                        })
                    })
                    .collect()
            }
            Key::Attempt(id) => {
                let found = self.attempt_ids.get(id);
                found.map(|found| Row::Attempt(Box::new((**found).clone()))).into_iter().collect()
            }
            Key::AttemptsOf(key) => {
                let found = self.attempts_of.get(key).into_iter().flatten();
                found.take(FETCH_ATTEMPTS).map(|found| Row::Attempt(Box::new((**found).clone()))).collect()
            }
            Key::Record(kind, key) => self
                .records
                .get(&(kind.clone(), key.clone()))
                .filter(|record| record.expires_at.is_none_or(|at| at > now))
                .cloned()
                .map(Row::Record)
                .into_iter()
                .collect(),
            Key::Records(kind, prefix) => self
                .records
                .range((kind.clone(), prefix.clone())..)
                .take_while(|((found, key), _)| found == kind && key.starts_with(prefix.as_str()))
                .filter(|(_, record)| record.expires_at.is_none_or(|at| at > now))
                .take(FETCH_RECORDS)
                .map(|(_, record)| Row::Record(record.clone()))
                .collect(),
            Key::Usage(tenant) => vec![Row::Usage(self.usage(*tenant))],
            Key::Lane(destination) => self.lanes.get(destination).cloned().map(Row::Lane).into_iter().collect(),
        }
    }

    fn destination(&self, life: Incarnation) -> Vec<Row> {
        let found = self.destinations.get(&life).cloned();
        found.map(|record| Row::Destination(Box::new(record))).into_iter().collect()
    }

    fn delivery(&self, key: &crate::domain::delivery::DeliveryKey) -> Option<Row> {
        let (_, delivery) = self.deliveries.get(key)?;
        Some(Row::Delivery(Box::new(delivery.shown(self.retires(delivery)))))
    }

    pub(super) fn scan(&self, scan: &Scan) -> ScanPage {
        let filter = &scan.filter;
        match scan.list {
            List::Tenants => {
                let rows: BTreeMap<_, _> = self
                    .live_tenants
                    .values()
                    .filter_map(|life| self.tenants.get(life))
                    .map(|tenant| {
                        let place = Position {
                            time: tenant.created_at,
                            id: tenant.id.to_string(),
                            scope: tenant.incarnation.as_i64(),
                        };
                        ((filter.tenant, place), tenant)
                    })
                    .collect();
                page(scan, &rows, |tenant| {
                    let wanted = filter.tenant.is_none_or(|wanted| wanted == tenant.incarnation);
                    wanted.then(|| Row::Tenant((*tenant).clone()))
                })
            }
            List::Destinations => {
                let rows: BTreeMap<_, _> = self
                    .live_destinations
                    .values()
                    .filter_map(|life| self.destinations.get(life))
                    .map(|found| {
                        let place = Position {
                            time: found.created_at,
                            id: found.id.to_string(),
                            scope: found.incarnation.as_i64(),
                        };
                        ((filter.tenant, place), found)
                    })
                    .collect();
                page(scan, &rows, |found| {
                    let wanted = filter.tenant.is_none_or(|wanted| wanted == found.tenant)
                        && allows(&filter.destinations, &found.incarnation);
                    wanted.then(|| Row::Destination(Box::new((*found).clone())))
                })
            }
            List::Events => page(scan, &self.event_order, |id| {
                let event = self.events.get(id)?;
                let reaches =
                    |wanted: &Incarnation| self.fan_out.get(id).is_some_and(|fan_out| fan_out.contains(wanted));
                let wanted = allows(&filter.events, &event.id)
                    && allows_text(&filter.topics, &event.topic)
                    && (filter.destinations.is_empty() || filter.destinations.iter().any(reaches));
                wanted.then(|| Row::Event(event.clone()))
            }),
            List::Deliveries => page(scan, &self.delivery_order, |key| {
                let (_, record) = self.deliveries.get(key)?;
                let shown = record.shown(self.retires(record));
                let wanted = allows(&filter.events, &key.event)
                    && allows(&filter.destinations, &key.destination)
                    && allows_text(&filter.topics, &record.topic)
                    && filter.wants_outcome(record.last_outcome.as_ref())
                    && allows(&filter.states, &shown.state);
                wanted.then(|| Row::Delivery(Box::new(shown)))
            }),
            List::Attempts => page(scan, &self.attempts, |attempt| {
                let wanted = allows(&filter.events, &attempt.delivery.event)
                    && allows(&filter.destinations, &attempt.delivery.destination)
                    && allows_text(&filter.topics, &attempt.topic)
                    && filter.success.is_none_or(|wanted| wanted == attempt.outcome.success);
                wanted.then(|| Row::Attempt(Box::new((**attempt).clone())))
            }),
        }
    }
}

fn allows<T: PartialEq>(wanted: &[T], value: &T) -> bool {
    wanted.is_empty() || wanted.contains(value)
}

fn allows_text(wanted: &[String], value: &Arc<str>) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| **wanted == **value)
}

/// Walks an ordered map from `scan.after` on, in the direction and time range asked for.
fn page<V>(
    scan: &Scan,
    rows: &BTreeMap<(Option<Incarnation>, Position), V>,
    pick: impl Fn(&V) -> Option<Row>,
) -> ScanPage {
    let Filter { tenant, from, until, .. } = scan.filter;
    let edge = |time| Position { time, id: String::new(), scope: i64::MIN };
    let mut low = Bound::Included((tenant, edge(from.unwrap_or(Timestamp::MIN))));
    let mut high = match until {
        Some(until) => Bound::Excluded((tenant, edge(until))),
        None => {
            Bound::Included((tenant, Position { time: Timestamp::MAX, id: "\u{10ffff}".to_owned(), scope: i64::MAX }))
        }
    };
    if let Some(after) = &scan.after {
        let after = (tenant, after.clone());
        match scan.direction {
            Direction::Ascending if !matches!(&low, Bound::Included(low) if *low > after) => {
                low = Bound::Excluded(after)
            }
            Direction::Descending if !matches!(&high, Bound::Included(high) | Bound::Excluded(high) if *high < after) =>
            {
                high = Bound::Excluded(after);
            }
            _ => {}
        }
    }
    let nothing = ScanPage { rows: Vec::new(), resume: None };
    let (Bound::Included(first) | Bound::Excluded(first), Bound::Included(last) | Bound::Excluded(last)) =
        (&low, &high)
    else {
        return nothing;
    };
    if first >= last {
        return nothing;
    }
    let range = rows.range((low, high));
    let walk: Box<dyn Iterator<Item = _>> = match scan.direction {
        Direction::Ascending => Box::new(range),
        Direction::Descending => Box::new(range.rev()),
    };
    let mut found = Vec::new();
    let mut last_row: Option<Position> = None;
    let mut last_seen: Option<Position> = None;
    for (examined, ((_, place), value)) in walk.enumerate() {
        if examined >= scan.examine as usize {
            let full = found.len() >= scan.limit as usize;
            return ScanPage { rows: found, resume: if full { last_row } else { last_seen } };
        }
        last_seen = Some(place.clone());
        if let Some(row) = pick(value) {
            if found.len() >= scan.limit as usize {
                return ScanPage { rows: found, resume: last_row };
            }
            found.push(row);
            last_row = Some(place.clone());
        }
    }
    ScanPage { rows: found, resume: None }
}
