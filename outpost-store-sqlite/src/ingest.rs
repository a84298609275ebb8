//! Storing events with their deliveries.

use outpost_core::rollup::{self, Tally};
use outpost_core::store::{Ingest, IngestOutcome, Quota};
use outpost_core::{DeliveryKey, DeliveryRecord, Lease, Timestamp};
use rusqlite::params;

use crate::error::{Fallible, Fault};
use crate::rows::{self, NewEvent};
use crate::tx::Tx;

/// An [`Ingest`] as the writer gets it.
#[derive(Debug)]
pub(crate) struct IngestWork {
    now: Timestamp,
    lease: Lease,
    quota: Quota,
    items: Vec<NewEvent>,
}

impl IngestWork {
    pub(crate) fn new(request: Ingest) -> Fallible<Self> {
        let Ingest { now, lease, quota, items } = request;
        Ok(Self { now, lease, quota, items: NewEvent::all(items)? })
    }

    pub(crate) fn weight(&self) -> usize {
        self.items.len()
    }
}

impl Tx<'_> {
    pub(crate) fn ingest(&mut self, work: &IngestWork) -> Fallible<Vec<IngestOutcome>> {
        work.items.iter().map(|new| self.ingest_one(work.now, Some(work.lease), work.quota, new)).collect()
    }

    pub(crate) fn ingest_one(
        &mut self,
        now: Timestamp,
        lease: Option<Lease>,
        quota: Quota,
        new: &NewEvent,
    ) -> Fallible<IngestOutcome> {
        let event = &new.item.event;
        let current = self.is_current(&new.item)?;
        let over = if current { self.over_quota(quota, &new.item)? } else { None };
        // The insert itself finds a repeat, so the common case needs no look before.
        let stored = if current && over.is_none() { rows::put_event(self.conn, self.sql, new)? } else { None };
        let Some(event_seq) = stored else {
            let key = params![event.id.as_str(), event.tenant.as_i64()];
            let first = rows::one(self.conn, &self.sql.event_first, key, |row| {
                Ok((rows::fingerprint(row, 0)?, rows::matched(row, 1)?))
            })?;
            return match (first, over) {
                (Some((fingerprint, matched)), _) if fingerprint == event.fingerprint => {
                    Ok(IngestOutcome::Duplicate { matched })
                }
                (Some(_), _) => Ok(IngestOutcome::Conflict),
                (None, Some(usage)) => Ok(IngestOutcome::OverQuota { usage }),
                (None, None) if current => Err(Fault::corrupt("an event's id is taken by nothing")),
                (None, None) => Ok(IngestOutcome::Outdated),
            };
        };
        self.add_usage(event.tenant, 1, i64::try_from(event.data.len()).unwrap_or(i64::MAX))?;
        for key in rollup::of_event(event, new.item.matched()) {
            self.add_tally(key, &Tally::of_event())?;
        }
        let mut leased = Vec::with_capacity(new.item.deliveries.len());
        for delivery in &new.item.deliveries {
            let key = DeliveryKey { destination: delivery.destination, event: event.id.clone() };
            let mut record =
                DeliveryRecord::new(key, event.tenant, event.topic.clone(), delivery.epoch, now, delivery.skipped);
            let allowed = delivery.hand_off && self.allows_hand_off(delivery.destination, now)?;
            let hand_off = lease.filter(|_| allowed && !delivery.skipped);
            leased.push(hand_off.is_some_and(|lease| record.take(lease).is_some()));
            self.add_delivery(event_seq, &record)?;
            let retired = self.destination(delivery.destination)?.and_then(|found| found.retires(record.epoch));
            if retired.is_some() {
                self.mark_stale(delivery.destination, true)?;
            }
        }
        Ok(IngestOutcome::Stored { leased })
    }
}
