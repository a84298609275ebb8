//! What the random operations are made of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Model, both};
use crate::conformance::flow::Tell;
use crate::conformance::support::{World, at, no_answer, put};
use crate::domain::attempt::{Attempt, CodeFilter};
use crate::domain::delivery::{DeliveryState, Trigger};
use crate::domain::event::{Event, Fingerprint};
use crate::domain::health::{HealthPolicy, Judge};
use crate::domain::tenant::Tenant;
use crate::ports::store::{Expect, Filter, IngestItem, Key, Quota, Row, SmallRecord, Write};
use crate::values::id::{EventId, Incarnation};
use crate::values::time::Timestamp;

impl Model {
    pub(super) fn create_tenant(&mut self) -> [Write; 2] {
        let id = format!("tenant_{}", self.below(3));
        let tenant = self.sides[0].new_tenant(if self.tenants.is_empty() { "operator" } else { &id });
        both(Write::PutTenant { tenant, expect: Expect::Absent })
    }

    /// A tenant, mostly one that lives.
    pub(super) async fn some_tenant(&mut self) -> Tenant {
        let mut from = self.tenants.clone();
        if !self.one_in(10) {
            from.clear();
            for tenant in &self.tenants {
                if self.sides[1].find_tenant(tenant.incarnation).await.deleted_at.is_none() {
                    from.push(tenant.clone());
                }
            }
        }
        self.pick(&from).unwrap()
    }

    pub(super) async fn change_tenant(&mut self) -> Option<[Write; 2]> {
        let tenants = self.tenants.clone();
        let (tenant, delete) = (self.pick(&tenants[1..])?, self.one_in(3));
        let (now, wrong) = (self.now(), i64::from(self.one_in(4)));
        let write = async |side: &World| {
            let revision = side.find_tenant(tenant.incarnation).await.revision + wrong;
            if delete {
                Write::DeleteTenant { tenant: tenant.incarnation, at: now }
            } else {
                let tenant = Tenant { metadata: BTreeMap::new(), updated_at: now, ..tenant.clone() };
                Write::PutTenant { tenant, expect: Expect::Revision(revision) }
            }
        };
        Some([write(&self.sides[0]).await, write(&self.sides[1]).await])
    }

    pub(super) async fn create_destination(&mut self) -> Option<[Write; 2]> {
        let (tenant, id) = (self.some_tenant().await, format!("des_{}", self.below(4)));
        let record = self.sides[0].new_destination(&tenant, &id);
        // Which of two reasons to refuse is told is open, so there is only one at a time.
        let taken = self.sides[1].fetch(Key::Destination(tenant.incarnation, record.id.clone())).await;
        let (destination, limit) = (Box::new(record), taken.is_empty().then_some(3));
        Some(both(Write::PutDestination { destination, expect: Expect::Absent, limit }))
    }

    pub(super) async fn change_destination(&mut self) -> Option<[Write; 2]> {
        let destinations = self.destinations.clone();
        let destination = self.pick(&destinations)?;
        let (now, kind, wrong) = (self.now(), self.below(12), i64::from(self.one_in(4)));
        let write = async |side: &World| {
            let mut found = side.find_destination(destination.incarnation).await;
            let expect = Expect::Revision(found.revision + wrong);
            match kind {
                0 => return Write::DeleteDestination { destination: destination.incarnation, at: now },
                1 | 2 => found.disable(side.disabled()),
                3..=7 => found.disabled = None,
                _ => found.name = Some("renamed".to_owned()),
            }
            put(&found, expect)
        };
        Some([write(&self.sides[0]).await, write(&self.sides[1]).await])
    }

    pub(super) async fn write_record(&mut self) -> Option<[Write; 2]> {
        let (kind, key) = ("kind".to_owned(), format!("key_{}", self.below(3)));
        let expires_at = if self.one_in(2) { Some(self.later()) } else { None };
        let value = Bytes::from(self.next().to_string());
        let record = SmallRecord { kind: kind.clone(), key: key.clone(), value, expires_at, revision: 0 };
        let (choice, wrong) = (self.below(4), i64::from(self.one_in(3)));
        let write = async |side: &World| {
            let expect = match (choice, side.fetch(Key::Record(kind.clone(), key.clone())).await.pop()) {
                (0, _) => return Write::DeleteRecord { kind: kind.clone(), key: key.clone() },
                (1, _) => Expect::Absent,
                (2, Some(Row::Record(found))) => Expect::Revision(found.revision + wrong),
                _ => Expect::Any,
            };
            Write::PutRecord { record: record.clone(), expect }
        };
        Some([write(&self.sides[0]).await, write(&self.sides[1]).await])
    }

    pub(super) fn request(&mut self) -> Option<[Write; 2]> {
        let deliveries = self.deliveries.clone();
        let key = self.pick(&deliveries)?;
        let trigger = [Trigger::Manual, Trigger::Replay, Trigger::Test][self.below(3)];
        Some(both(Write::RequestAttempt { key, trigger }))
    }

    /// A replay of one delivery or event, which may be there or not. More would be due at the same time.
    pub(super) async fn replay(&mut self) -> Option<[Write; 2]> {
        let (destinations, deliveries, events) =
            (self.destinations.clone(), self.deliveries.clone(), self.events.clone());
        let (destination, wanted) = match self.below(3) {
            0 => self.pick(&deliveries).map(|key| (key.destination, key.event))?,
            _ => (self.pick(&destinations)?.incarnation, self.pick(&events)?.1.id),
        };
        let unknown = EventId::new("unknown").unwrap();
        let [request, create] = [(); 2].map(|()| match self.below(4) {
            0 => Vec::new(),
            1 => vec![unknown.clone()],
            2 => vec![wanted.clone()],
            _ => vec![wanted.clone(), unknown.clone(), wanted.clone()],
        });
        let wrong = i64::from(self.one_in(8));
        let write = async |side: &World| {
            let found = side.find_destination(destination).await;
            // Which of two reasons to refuse is told is open, so there is only one at a time.
            let revision = found.revision + if found.is_enabled() { wrong } else { 0 };
            Write::Replay { destination, revision, request: request.clone(), create: create.clone() }
        };
        Some([write(&self.sides[0]).await, write(&self.sides[1]).await])
    }

    pub(super) fn quota(&mut self) -> Quota {
        let open = if self.one_in(5) { Some(self.below(12) as u64) } else { None };
        let bytes = if self.one_in(5) { Some(self.below(8000) as u64) } else { None };
        Quota { open, bytes }
    }

    /// Limits so low that they are reached.
    pub(super) fn judge(&mut self) -> Judge {
        let policy = HealthPolicy::default()
            .consecutive_failures(if self.one_in(8) { None } else { Some(3) })
            .disable_at_count(self.one_in(6))
            .disable_after(Some(Duration::from_secs(20)))
            .exhausted_window(if self.one_in(4) { None } else { Some(Duration::from_secs(5)) });
        Judge { policy, exhausted: self.one_in(3) }
    }

    /// Tells the operator of a judgement; now and then matched against the wrong number.
    pub(super) fn tell(&mut self) -> Tell {
        let operator = self.tenants[0].clone();
        let event = Arc::new(self.sides[0].event(&operator, "template"));
        // The number is what it is off by; each side adds its own.
        let subscriptions = i64::from(self.one_in(8));
        Tell {
            prefix: format!("op_{}", self.next()),
            item: IngestItem { event, subscriptions, deliveries: Vec::new() },
        }
    }

    pub(super) fn cancel(&mut self) -> Option<[Write; 2]> {
        let deliveries = self.deliveries.clone();
        Some(both(Write::CancelDelivery { key: self.pick(&deliveries)? }))
    }

    /// A new event, or now and then one that was there before. Each destination is used once in a call.
    pub(super) async fn event(
        &mut self,
        tenant: &Tenant,
        free: &mut Vec<Incarnation>,
    ) -> (Event, Vec<(Incarnation, bool)>) {
        let events = self.events.clone();
        let repeat = if self.one_in(6) { self.pick(&events) } else { None };
        if let Some((owner, mut event)) = repeat
            && self.sides[1].find_tenant(owner).await.deleted_at.is_none()
        {
            if self.one_in(3) {
                event.fingerprint = Fingerprint([9; 32]);
            }
            return (event, Vec::new());
        }
        let id = format!("evt_{}", self.next());
        let topic = ["order.created", "order.paid", "user.created"][self.below(3)];
        // Several events have the same time.
        let far = if self.one_in(4) { 60_000 * self.below(100) as i64 - 3_000_000 } else { 0 };
        let time = at(1000 * self.below(5) as i64 + far);
        let event = Event { time, topic: Arc::from(topic), ..self.sides[0].event(tenant, &id) };
        let mut to = Vec::new();
        for destination in self.destinations.clone() {
            let place = free.iter().position(|found| *found == destination.incarnation);
            let live = self.sides[1].find_destination(destination.incarnation).await.deleted_at.is_none();
            if let Some(place) = place.filter(|_| live && destination.tenant == tenant.incarnation)
                && self.one_in(2)
            {
                to.push((free.remove(place), self.one_in(3)));
            }
        }
        (event, to)
    }

    /// Gives an attempt an odd answer, or none.
    pub(super) fn vary(&mut self, attempt: &mut Attempt) {
        attempt.duration = Duration::from_micros(self.next() % 30_000_000);
        if self.one_in(4) {
            (attempt.response, attempt.error) = (None, Some(no_answer()));
            if !attempt.outcome.success {
                attempt.outcome.code = "timeout".to_owned();
            }
        } else if let Some(response) = &mut attempt.response {
            let length = self.below(3000);
            response.body = (0..length).map(|_| self.next().to_le_bytes()[0]).collect::<Vec<u8>>().into();
            response.truncated = self.one_in(2);
            let again = response.headers.clone();
            response.headers.insert(0, ("x-first".to_owned(), length.to_string()));
            response.headers.extend(again);
        }
    }

    /// An event of the operator's without deliveries; now and then matched against the wrong number.
    pub(super) fn follow_up(&mut self) -> IngestItem {
        let id = format!("op_{}", self.next());
        let operator = self.tenants[0].clone();
        let event = self.sides[0].event(&operator, &id);
        // The number is what it is off by; each side adds its own.
        let subscriptions = i64::from(self.one_in(3));
        if subscriptions == 0 {
            self.events.push((operator.incarnation, event.clone()));
        }
        IngestItem { event: Arc::new(event), subscriptions, deliveries: Vec::new() }
    }

    /// A time to filter by, as often as not one that events have.
    pub(super) fn edge(&mut self) -> Timestamp {
        if self.one_in(2) { at(1000 * self.below(6) as i64) } else { at(self.below(9000) as i64) }
    }

    pub(super) fn filter(&mut self) -> Filter {
        let (tenants, destinations, events) = (self.tenants.clone(), self.destinations.clone(), self.events.clone());
        let mut filter = Filter::default();
        if self.one_in(2) {
            filter.tenant = self.pick(&tenants).map(|tenant| tenant.incarnation);
        }
        if self.one_in(3) {
            filter.destinations.extend(self.pick(&destinations).map(|found| found.incarnation));
            filter.destinations.extend(self.pick(&destinations).map(|found| found.incarnation));
        }
        if self.one_in(6) {
            let ids: [Option<EventId>; 2] = [(); 2].map(|()| self.pick(&events).map(|(_, event)| event.id));
            filter.events = ids.into_iter().flatten().collect();
        }
        if self.one_in(4) {
            filter.topics = vec!["order.paid".to_owned(), "user.created".to_owned()];
        }
        if self.one_in(3) {
            filter.states = vec![DeliveryState::ALL[self.below(8)], DeliveryState::ALL[self.below(8)]];
        }
        if self.one_in(4) {
            let codes = [
                CodeFilter::Class(2),
                CodeFilter::Class(5),
                CodeFilter::NoResponse,
                CodeFilter::Exact("200".to_owned()),
            ];
            filter.codes = self.pick(&codes).into_iter().collect();
        }
        if self.one_in(4) {
            filter.success = Some(self.one_in(2));
        }
        if self.one_in(4) {
            filter.from = Some(self.edge());
        }
        if self.one_in(4) {
            filter.until = Some(self.edge());
        }
        filter
    }
}
