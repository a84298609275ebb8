//! What the memory store forgets, and the rollups that outlive it.

use std::ops::Bound;

use bytes::Bytes;

use super::state::{State, body_of};
use crate::domain::delivery::DeliveryKey;
use crate::domain::rollup::Counted;
use crate::ports::store::{Prune, Pruned, RollupRows, Rollups};
use crate::values::id::{EventId, Incarnation};
use crate::values::page::Position;
use crate::values::time::Timestamp;

impl State {
    pub(super) fn prune(&mut self, request: &Prune) -> Pruned {
        let scope = request.tenant;
        let from = match request.resume.as_deref().and_then(read_position) {
            Some(after) => Bound::Excluded((scope, after)),
            None => Bound::Included((scope, Position { time: Timestamp::MIN, id: String::new(), scope: i64::MIN })),
        };
        let mut pruned = Pruned::default();
        let places = self.event_order.range((from, Bound::Unbounded)).take_while(|((found, _), _)| *found == scope);
        let examined: Vec<_> = places
            .map(|((_, place), (tenant, event))| (place.clone(), *tenant, event.clone()))
            .take(request.examine.saturating_add(1) as usize)
            .collect();
        let mut last = None;
        for (seen, (place, tenant, event)) in examined.into_iter().enumerate() {
            if seen >= request.examine as usize || pruned.events >= u64::from(request.limit) {
                pruned.resume = last;
                break;
            }
            last = Some(write_position(&place));
            if self.is_over(tenant, &event, (request.now, request.before)) {
                self.forget_event(place, tenant, &event, &mut pruned);
            } else {
                pruned.kept += 1;
            }
        }
        pruned
    }

    fn is_over(&self, tenant: Incarnation, event: &EventId, (now, before): (Timestamp, Timestamp)) -> bool {
        let id = (tenant, event.clone());
        let stored = self.events.get(&id).is_some_and(|event| event.created_at < before);
        let deliveries = self.fan_out.get(&id).into_iter().flatten();
        let mut records = deliveries.filter_map(|destination| {
            self.deliveries.get(&DeliveryKey { destination: *destination, event: event.clone() })
        });
        stored && records.all(|(_, found)| found.is_settled(now) && found.finished_at.is_some_and(|at| at < before))
    }

    fn forget_event(&mut self, place: Position, tenant: Incarnation, event: &EventId, pruned: &mut Pruned) {
        let id = (tenant, event.clone());
        pruned.events += 1;
        let mut bytes = self.events.remove(&id).map_or(0, |event| event.data.len() as u64);
        self.event_order.remove(&(None, place.clone()));
        self.event_order.remove(&(Some(tenant), place));
        for destination in self.fan_out.remove(&id).unwrap_or_default() {
            let key = DeliveryKey { destination, event: event.clone() };
            if let Some((age, delivery)) = self.deliveries.remove(&key) {
                self.unplace(age, &delivery);
                self.refresh_lane(destination);
                let place = Position { time: delivery.created_at, id: event.to_string(), scope: destination.as_i64() };
                self.delivery_order.remove(&(None, place.clone()));
                self.delivery_order.remove(&(Some(tenant), place));
            }
            for attempt in self.attempts_of.remove(&key).unwrap_or_default() {
                pruned.attempts += 1;
                bytes += body_of(&attempt);
                let place = Position { time: attempt.time, id: attempt.id.to_string(), scope: attempt.tenant.as_i64() };
                self.attempts.remove(&(None, place.clone()));
                self.attempts.remove(&(Some(tenant), place));
                self.attempt_ids.remove(&attempt.id);
            }
        }
        pruned.bytes += bytes;
        if let Some(stored) = self.stored.get_mut(&tenant) {
            stored.events = stored.events.saturating_sub(1);
            stored.bytes = stored.bytes.saturating_sub(bytes);
        }
    }

    pub(super) fn rollups(&self, request: &Rollups) -> RollupRows {
        let mut rows: Vec<_> = self
            .rollups
            .iter()
            .filter(|(key, _)| {
                key.level == request.level
                    && (key.counted == Counted::Events) == request.events
                    && request.tenant.is_none_or(|tenant| tenant == key.tenant)
                    && (request.from..request.until).contains(&key.start)
            })
            .map(|(key, tally)| (key.clone(), tally.clone()))
            .take(request.limit.saturating_add(1) as usize)
            .collect();
        let more = rows.len() > request.limit as usize;
        rows.truncate(request.limit as usize);
        RollupRows { rows, more }
    }
}

fn write_position(place: &Position) -> Bytes {
    let mut bytes = Vec::with_capacity(16 + place.id.len());
    bytes.extend(place.time.as_millis().to_be_bytes());
    bytes.extend(place.scope.to_be_bytes());
    bytes.extend(place.id.as_bytes());
    Bytes::from(bytes)
}

fn read_position(bytes: &[u8]) -> Option<Position> {
    let (time, rest) = bytes.split_first_chunk()?;
    let (scope, id) = rest.split_first_chunk()?;
    Some(Position {
        time: Timestamp::from_millis(i64::from_be_bytes(*time)),
        id: String::from_utf8(id.to_vec()).ok()?,
        scope: i64::from_be_bytes(*scope),
    })
}
