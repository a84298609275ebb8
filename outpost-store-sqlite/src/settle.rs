//! Writing down what the holders of deliveries did.

use std::convert::Infallible;

use outpost_core::rollup::{self, Tally};
use outpost_core::store::{Quota, Settle, SettleAction, SettleItem, SettleOutcome};
use outpost_core::{Attempt, DestinationRecord, Disabled, Health, Judgement, Timestamp};
use rusqlite::params;
use serde_json::to_string;

use crate::error::Fallible;
use crate::rows::{self, AttemptText, NewEvent, StoredDelivery};
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
        let destination = item.key.destination;
        let record = self.destination(destination)?;
        let (mut judgement, health) = self.judge(item, record.as_deref())?;
        let enabled = record.filter(|found| found.is_enabled());
        judgement.disabled = item.disable.clone().or(judgement.disabled).filter(|_| enabled.is_some());
        let alerts = item.alerts.as_ref().map(|alerts| NewEvent::all(alerts.events(&judgement))).transpose()?;
        let follow_ups = || one.follow_ups.iter().chain(alerts.iter().flatten());
        for follow_up in follow_ups() {
            if !self.is_current(&follow_up.item)? {
                return Ok(SettleOutcome::Outdated);
            }
        }
        for follow_up in follow_ups() {
            self.ingest_one(now, None, Quota::default(), follow_up)?;
        }
        if let Some(health) = health {
            self.change_lane(destination, |lane| lane.health = health)?;
        }
        if let (Some(disabled), Some(found)) = (&judgement.disabled, enabled) {
            self.disable(&found, disabled)?;
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
            Ok::<_, Infallible>(SettleOutcome::Done { state: delivery.state, due: delivery.due, judgement })
        })?;
        if let (SettleAction::Attempted { attempt, .. }, Some(text)) = (&item.action, &one.attempt) {
            self.keep_attempt(&stored, attempt, text)?;
        }
        Ok(outcome)
    }

    /// What an attempt means for its destination's health, and the health when it changes. Nothing is
    /// written yet.
    fn judge(
        &mut self,
        item: &SettleItem,
        record: Option<&DestinationRecord>,
    ) -> Fallible<(Judgement, Option<Health>)> {
        let (SettleAction::Attempted { attempt, .. }, Some(judge), Some(record)) = (&item.action, item.judge, record)
        else {
            return Ok((Judgement::default(), None));
        };
        let Some(before) = self.peek_lane(item.key.destination)? else { return Ok((Judgement::default(), None)) };
        let mut lane = before.clone();
        let judgement = lane.judge(record, attempt, judge);
        let changed = lane.health != before.health;
        Ok((judgement, changed.then_some(lane.health)))
    }

    fn disable(&mut self, found: &DestinationRecord, disabled: &Disabled) -> Fallible<()> {
        let destination = found.incarnation;
        let mut record = found.clone();
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
        self.raise_subscriptions(record.tenant)
    }

    fn keep_attempt(&mut self, of: &StoredDelivery, attempt: &Attempt, text: &AttemptText) -> Fallible<()> {
        rows::put_attempt(self.conn, self.sql, of, attempt, text)?;
        let body = attempt.response.as_ref().map_or(0, |response| response.body.len());
        self.add_usage(attempt.tenant, 0, i64::try_from(body).unwrap_or(i64::MAX))?;
        let tally = Tally::of_attempt(attempt);
        for key in rollup::of_attempt(attempt) {
            self.add_tally(key, &tally)?;
        }
        Ok(())
    }
}
