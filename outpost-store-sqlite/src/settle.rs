//! Writing down what the holders of deliveries did.

use std::convert::Infallible;

use outpost_core::Timestamp;
use outpost_core::store::{Settle, SettleAction, SettleItem, SettleOutcome};
use rusqlite::params;
use serde_json::to_string;

use crate::error::Fallible;
use crate::rows::{self, AttemptText, NewEvent};
use crate::tx::Tx;

/// A [`Settle`] as the writer gets it.
#[derive(Debug)]
pub(crate) struct SettleWork {
    now: Timestamp,
    items: Vec<SettleOne>,
}

#[derive(Debug)]
struct SettleOne {
    item: SettleItem,
    attempt: Option<AttemptText>,
    follow_ups: Vec<NewEvent>,
}

impl SettleWork {
    pub(crate) fn new(request: Settle) -> Fallible<Self> {
        let items = request.items.into_iter().map(|mut item| {
            let attempt = match &item.action {
                SettleAction::Attempted { attempt, .. } => Some(AttemptText::of(attempt)?),
                _ => None,
            };
            let follow_ups = NewEvent::all(std::mem::take(&mut item.follow_ups))?;
            Ok(SettleOne { item, attempt, follow_ups })
        });
        Ok(Self { now: request.now, items: items.collect::<Fallible<_>>()? })
    }

    pub(crate) fn weight(&self) -> usize {
        self.items.len()
    }
}

impl Tx<'_> {
    pub(crate) fn settle(&mut self, work: &SettleWork) -> Fallible<Vec<SettleOutcome>> {
        work.items.iter().map(|one| self.settle_one(work.now, one)).collect()
    }

    fn settle_one(&mut self, now: Timestamp, one: &SettleOne) -> Fallible<SettleOutcome> {
        let item = &one.item;
        // Whatever may refuse the item is looked at before anything is written.
        let found = self.find_delivery(&item.key)?.filter(|found| found.record.is_held_by(item.token));
        let Some(mut stored) = found else { return Ok(SettleOutcome::Stale) };
        for follow_up in &one.follow_ups {
            if !self.is_current(&follow_up.item)? {
                return Ok(SettleOutcome::Outdated);
            }
        }
        for follow_up in &one.follow_ups {
            self.ingest_one(now, None, follow_up)?;
        }
        let destination = item.key.destination;
        if let Some(disabled) = &item.disable
            && let Some(found) = self.destination(destination)?.filter(|found| found.is_enabled())
        {
            let mut record = (*found).clone();
            record.disable(disabled.clone());
            let changed = params![
                destination.as_i64(),
                record.epoch,
                record.epoch_at.as_millis(),
                record.updated_at.as_millis(),
                record.disabled.as_ref().map(to_string).transpose()?,
                record.revision + 1,
            ];
            rows::run(self.conn, &self.sql.destination_disable, changed)?;
            self.forget_destination(destination);
            self.refresh_lane(destination, true)?;
            self.raise_subscriptions(record.tenant)?;
        }
        if let Some(change) = item.lane {
            self.change_lane(destination, |lane| lane.change(change))?;
        }
        let retired = self.destination(destination)?.and_then(|found| found.retires(stored.record.epoch));
        let Ok(outcome) = self.change_delivery(&mut stored, |delivery| {
            match &item.action {
                SettleAction::Attempted { attempt, next } => delivery.attempted(attempt, *next, retired),
                SettleAction::Released => delivery.released(now),
                SettleAction::Extended { until } => delivery.extended(*until),
                SettleAction::Retired { state } => delivery.retire(*state, now),
            }
            Ok::<_, Infallible>(SettleOutcome::Done { state: delivery.state, due: delivery.due })
        })?;
        if let (SettleAction::Attempted { attempt, .. }, Some(text)) = (&item.action, &one.attempt) {
            rows::put_attempt(self.conn, self.sql, &stored, attempt, text)?;
        }
        Ok(outcome)
    }
}
