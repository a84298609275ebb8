//! The ways to be wrong in apply, ingest and settle.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outpost_core::store::{
    Apply, ApplyOutcome, Expect, Fetch, Ingest, IngestItem, IngestOutcome, Key, Refusal, Row, Settle, SettleAction,
    SettleItem, SettleOutcome, StoreResult, Write,
};
use outpost_core::{Attempt, Event, EventId, Incarnation, LaneChange, Sealed, Store, Timestamp, Trigger};

use super::Breakage;
use super::broken::{Broken, sorted};

/// A write that changes nothing.
fn idle() -> Write {
    Write::DeleteRecord { kind: "nothing".to_owned(), key: "nothing".to_owned() }
}

impl Broken {
    async fn as_current(&self, items: &mut [IngestItem]) {
        for item in items {
            item.subscriptions = self.subscriptions(item.event.tenant).await;
        }
    }

    pub(super) async fn applied(&self, mut request: Apply) -> StoreResult<ApplyOutcome> {
        match self.how {
            Breakage::DropsFollowUps => request.follow_ups.clear(),
            Breakage::ChecksNoFollowUps => self.as_current(&mut request.follow_ups).await,
            Breakage::KeepsExpiredRecordsTaken => request.now = Timestamp::MIN,
            _ => {}
        }
        let mut writes = Vec::new();
        for write in request.writes {
            if let Some(refused) = self.check_limit(&write).await? {
                return Ok(refused);
            }
            self.broken_writes(write, &mut writes).await;
        }
        request.writes = writes;
        match self.how {
            Breakage::AppliesPartOfABatch | Breakage::AppliesWithPauses => {
                let mut revisions = Vec::new();
                for (index, write) in request.writes.into_iter().enumerate() {
                    let one = Apply { now: request.now, writes: vec![write], follow_ups: Vec::new() };
                    match self.inner.apply(one).await? {
                        ApplyOutcome::Done(done) => revisions.extend(done),
                        ApplyOutcome::Refused { refusal, .. } => return Ok(ApplyOutcome::Refused { index, refusal }),
                        outdated => return Ok(outdated),
                    }
                    if self.how == Breakage::AppliesWithPauses {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(ApplyOutcome::Done(revisions))
            }
            _ => self.inner.apply(request).await,
        }
    }

    /// Counts before it writes, and lets others come between.
    async fn check_limit(&self, write: &Write) -> StoreResult<Option<ApplyOutcome>> {
        let Write::PutDestination { destination, limit: Some(limit), .. } = write else { return Ok(None) };
        if self.how != Breakage::ChecksLimitsBefore {
            return Ok(None);
        }
        let keys = vec![Key::DestinationsOf(destination.tenant)];
        let found = self.inner.fetch(Fetch { now: Timestamp::MIN, keys }).await?.concat().len();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let refusal = Refusal::LimitReached { limit: *limit };
        Ok((found >= *limit as usize).then_some(ApplyOutcome::Refused { index: 0, refusal }))
    }

    async fn broken_writes(&self, mut write: Write, writes: &mut Vec<Write>) {
        match (self.how, &mut write) {
            (Breakage::IgnoresLimits | Breakage::ChecksLimitsBefore, Write::PutDestination { limit, .. }) => {
                *limit = None;
            }
            (Breakage::IgnoresRevisions, Write::PutDestination { expect, .. } | Write::PutTenant { expect, .. })
                if matches!(expect, Expect::Revision(_)) =>
            {
                *expect = Expect::Any;
            }
            (Breakage::OverwritesRecords, Write::PutRecord { expect, .. }) => *expect = Expect::Any,
            (Breakage::IgnoresCancels, Write::CancelDelivery { .. })
            | (Breakage::IgnoresRequests, Write::RequestAttempt { .. }) => write = idle(),
            (Breakage::RevivesOnEnabling, Write::PutDestination { destination, .. }) => {
                let found = self.find_destination(destination.incarnation).await;
                destination.epoch = found.map_or(destination.epoch, |found| found.epoch);
            }
            (Breakage::KeepsSecretsAsText, Write::PutDestination { destination, .. }) => {
                let text = String::from_utf8_lossy(destination.config.as_bytes()).into_owned();
                destination.config = Sealed::new(text);
            }
            (Breakage::KeepsDestinationsOfTheDeleted, Write::DeleteTenant { tenant, .. }) => {
                for found in self.destinations_of(*tenant).await {
                    self.notes().left_behind.insert(found.incarnation, found);
                }
            }
            (Breakage::ForgetsWhyItWasDeleted, Write::DeleteTenant { tenant, at }) => {
                for found in self.destinations_of(*tenant).await {
                    writes.push(Write::DeleteDestination { destination: found.incarnation, at: *at });
                }
            }
            (Breakage::InheritsTheEarlierLife, Write::PutTenant { tenant, .. }) => {
                let mut notes = self.notes();
                let first = *notes.first_lives.entry(tenant.id.to_string()).or_insert(tenant.incarnation);
                notes.inherits.insert(tenant.incarnation, first);
            }
            _ => {}
        }
        writes.push(write);
    }

    async fn destinations_of(&self, tenant: Incarnation) -> Vec<outpost_core::DestinationRecord> {
        let keys = vec![Key::DestinationsOf(tenant)];
        let rows = self.inner.fetch(Fetch { now: Timestamp::MIN, keys }).await.unwrap_or_default().concat();
        let found = rows.into_iter().filter_map(|row| match row {
            Row::Destination(found) => Some(*found),
            _ => None,
        });
        found.collect()
    }

    pub(super) async fn ingested(&self, mut request: Ingest) -> StoreResult<Vec<IngestOutcome>> {
        let now = request.now;
        let wanted = request.items.clone();
        for item in &mut request.items {
            match self.how {
                Breakage::ChecksNoSubscriptions => {
                    item.subscriptions = self.subscriptions(item.event.tenant).await;
                }
                Breakage::SendsToTheDisabled => {
                    item.deliveries.iter_mut().for_each(|delivery| delivery.skipped = false);
                }
                Breakage::HandsOffWithoutLease => {
                    item.deliveries.iter_mut().for_each(|delivery| delivery.hand_off = false);
                }
                Breakage::OrdersByArrival => {
                    item.event = Arc::new(Event { time: now, ..(*item.event).clone() });
                }
                _ => {}
            }
        }
        let mut current = Vec::new();
        for item in &request.items {
            current.push(self.subscriptions(item.event.tenant).await == item.subscriptions);
        }
        let lease = request.lease;
        let mut outcomes = self.inner.ingest(request).await?;
        let mut seen: HashSet<(Incarnation, EventId)> = HashSet::new();
        let mut failed = false;
        for ((outcome, item), current) in outcomes.iter_mut().zip(wanted).zip(current) {
            let repeated = !seen.insert((item.event.tenant, item.event.id.clone()));
            failed |= !matches!(outcome, IngestOutcome::Stored { .. });
            if let IngestOutcome::Stored { leased } = outcome {
                for (delivery, leased) in item.deliveries.iter().zip(leased.iter_mut()) {
                    let wrong = matches!(self.how, Breakage::HandsOffInSpiteOfHolds | Breakage::HandsOffWithoutLease);
                    *leased |= wrong && delivery.hand_off;
                    if *leased {
                        let key = outpost_core::DeliveryKey {
                            destination: delivery.destination,
                            event: item.event.id.clone(),
                        };
                        self.notes().leases.insert(key, (lease.token, lease.until));
                    }
                }
            }
            let duplicate = matches!(outcome, IngestOutcome::Duplicate { .. });
            let stored = IngestOutcome::Stored { leased: vec![false; item.deliveries.len()] };
            match self.how {
                Breakage::StoresRepeats if duplicate => *outcome = stored,
                Breakage::StoresRepeatsInABatch if duplicate && repeated => *outcome = stored,
                Breakage::TakesConflictsForRepeats if *outcome == IngestOutcome::Conflict => {
                    *outcome = IngestOutcome::Duplicate { matched: item.event.matched.clone() };
                }
                Breakage::ChecksSubscriptionsFirst if !current => *outcome = IngestOutcome::Outdated,
                Breakage::FailsBatchesTogether if failed => *outcome = IngestOutcome::Outdated,
                _ => {}
            }
        }
        Ok(outcomes)
    }

    pub(super) async fn settled(&self, request: Settle) -> StoreResult<Vec<SettleOutcome>> {
        let now = request.now;
        let mut items = Vec::new();
        // Where each item's outcome is found; `None` answers that it is done without doing it.
        let mut places = Vec::new();
        for item in request.items {
            places.push(self.broken_items(now, item, &mut items).await);
        }
        if self.how == Breakage::SettlesBackwards {
            items.reverse();
        }
        let total = items.len();
        let mut outcomes = if self.how == Breakage::SettlesWithPauses {
            let mut outcomes = Vec::new();
            for item in items {
                outcomes.extend(self.settle_in_two(now, item).await?);
            }
            outcomes
        } else {
            self.inner.settle(Settle { now, items }).await?
        };
        if self.how == Breakage::SettlesBackwards {
            outcomes.reverse();
        }
        debug_assert_eq!(outcomes.len(), total);
        let state = outpost_core::DeliveryState::Pending;
        let done = SettleOutcome::Done { state, due: None, judgement: outpost_core::Judgement::default() };
        Ok(places.into_iter().map(|place| place.map_or(done.clone(), |place| outcomes[place].clone())).collect())
    }

    /// Makes two commits of one: the lane first, then the delivery.
    async fn settle_in_two(&self, now: Timestamp, mut item: SettleItem) -> StoreResult<Vec<SettleOutcome>> {
        let held = self.notes().leases.get(&item.key).copied();
        if let (Some((_, until)), Some(lane)) = (held, item.lane.take()) {
            let action = SettleAction::Extended { until };
            let first = SettleItem { action, lane: Some(lane), follow_ups: Vec::new(), ..item.clone() };
            self.inner.settle(Settle { now, items: vec![first] }).await?;
            tokio::task::yield_now().await;
        }
        self.inner.settle(Settle { now, items: vec![item] }).await
    }

    async fn broken_items(&self, now: Timestamp, mut item: SettleItem, items: &mut Vec<SettleItem>) -> Option<usize> {
        let held = self.notes().leases.get(&item.key).copied();
        match self.how {
            Breakage::HasNoFence => item.token = held.map_or(item.token, |(token, _)| token),
            Breakage::FencesExpired if held.is_some_and(|(_, until)| until <= now) => item.token.0 ^= 1,
            Breakage::LosesLaneChanges => item.lane = None,
            Breakage::IgnoresStrikes => {
                if let Some(LaneChange::Hold { strikes, .. }) = &mut item.lane {
                    *strikes = 0;
                }
            }
            Breakage::ShortensHolds => {
                if let (Some(LaneChange::Hold { .. }), Some((_, until))) = (item.lane, held) {
                    let action = SettleAction::Extended { until };
                    items.push(SettleItem { action, lane: Some(LaneChange::Clear), ..item.clone() });
                }
            }
            Breakage::LosesDisabling => item.disable = None,
            Breakage::LosesFollowUps => item.follow_ups.clear(),
            Breakage::SettlesOutdated => self.as_current(&mut item.follow_ups).await,
            Breakage::StoresFollowUpsApart => {
                let apart = std::mem::take(&mut item.follow_ups);
                let _ = self.inner.apply(Apply { now, writes: Vec::new(), follow_ups: apart }).await;
            }
            Breakage::SettlesTheFirst if !items.is_empty() => return None,
            _ => {}
        }
        match (self.how, &mut item.action) {
            (Breakage::ForgetsReleases, SettleAction::Released)
            | (Breakage::ForgetsExtensions, SettleAction::Extended { .. })
            | (Breakage::ForgetsRetirement, SettleAction::Retired { .. }) => return None,
            (how, SettleAction::Attempted { attempt, next }) => {
                break_attempt(how, std::sync::Arc::make_mut(attempt), next)
            }
            _ => {}
        }
        items.push(item);
        Some(items.len() - 1)
    }
}

fn break_attempt(how: Breakage, attempt: &mut Attempt, next: &mut Option<Timestamp>) {
    match how {
        Breakage::LosesRetries => *next = None,
        Breakage::ChargesRequests => attempt.trigger = Trigger::Automatic,
        Breakage::RoundsDurations => {
            attempt.duration = Duration::from_millis(u64::try_from(attempt.duration.as_millis()).unwrap_or(0));
        }
        Breakage::LosesErrors => attempt.error = None,
        _ => {}
    }
    if let Some(response) = &mut attempt.response {
        match how {
            Breakage::TruncatesBodies => response.body.truncate(1024),
            Breakage::KeepsBodiesAsText => {
                response.body = Bytes::from(String::from_utf8_lossy(&response.body).into_owned());
            }
            Breakage::SortsHeaders => response.headers = sorted(&response.headers),
            _ => {}
        }
    }
}
