//! The ways to be wrong about pruning, replays, records by the start of their key, and settings.

use std::collections::HashSet;
use std::sync::Arc;

use outpost_core::store::{
    Apply, ApplyOutcome, Claimed, Fetch, Filter, Ingest, IngestItem, Key, List, Prune, Pruned, Quota, Row, Scan,
    StoreResult, Write,
};
use outpost_core::{
    Attempt, Delivery, DeliveryKey, Direction, Event, EventId, Incarnation, Lease, LeaseToken, Store, Timestamp,
    Trigger,
};

use super::Breakage;
use super::broken::{Broken, shifted};

impl Broken {
    async fn whole_list(&self, list: List, tenant: Option<Incarnation>) -> StoreResult<Vec<Row>> {
        let filter = Filter { tenant, ..Filter::default() };
        let (direction, limit, examine) = (Direction::Ascending, 10_000, 100_000);
        Ok(self.inner.scan(Scan { list, filter, direction, after: None, limit, examine }).await?.rows)
    }

    pub(super) async fn prune_broken(&self, mut request: Prune) -> StoreResult<Pruned> {
        let (tenant, before) = (request.tenant, request.before);
        match self.how {
            Breakage::PrunesAtTheBoundary => request.before = shifted(before, 1),
            Breakage::PrunesAcrossTenants => request.tenant = None,
            Breakage::PrunesWithoutLimit => request.limit = u32::MAX,
            Breakage::PrunesWithoutBound => request.examine = u32::MAX,
            _ => {}
        }
        let in_vain = self.requested_in_vain(tenant).await?;
        let attempts = self.whole_list(List::Attempts, tenant).await?;
        let mut pruned = self.inner.prune(request).await?;
        match self.how {
            Breakage::PrunesOnlyOnce => pruned.resume = None,
            Breakage::KeepsRequestsInVain => {
                for (tenant, event) in in_vain {
                    if self.find(Key::Event(tenant, event)).await.is_none() {
                        (pruned.events, pruned.kept) = (pruned.events - 1, pruned.kept + 1);
                    }
                }
            }
            Breakage::KeepsNothingBack => pruned.kept = 0,
            Breakage::LeavesAttemptsBehind => {
                for row in attempts {
                    let Row::Attempt(attempt) = row else { continue };
                    if self.find(Key::Attempt(attempt.id.clone())).await.is_none() {
                        self.notes().ghosts.push(*attempt);
                    }
                }
            }
            _ => {}
        }
        self.notes().pruned |= pruned.events > 0;
        for row in self.whole_list(List::Events, tenant).await? {
            let Row::Event(event) = row else { continue };
            if self.is_pruned_wrongly(&event, before).await? {
                let new = self.notes().hidden.insert((event.tenant, event.id.clone()));
                pruned.events += u64::from(new);
            }
        }
        Ok(pruned)
    }

    /// The events of which this store still holds a request that their destination has ended.
    async fn requested_in_vain(&self, tenant: Option<Incarnation>) -> StoreResult<HashSet<(Incarnation, EventId)>> {
        let rows = self.whole_list(List::Deliveries, tenant).await?;
        let notes = self.notes();
        let found = rows.into_iter().filter_map(|row| match row {
            Row::Delivery(found) if notes.requested.contains(&found.key) => Some((found.tenant, found.key.event)),
            _ => None,
        });
        Ok(found.collect())
    }

    /// Whether this store would delete the event, too.
    async fn is_pruned_wrongly(&self, event: &Event, before: Timestamp) -> StoreResult<bool> {
        let keys = vec![Key::DeliveriesOf(event.tenant, event.id.clone())];
        let rows = self.inner.fetch(Fetch { now: Timestamp::MIN, keys }).await?.concat();
        let deliveries: Vec<Delivery> = rows
            .into_iter()
            .filter_map(|row| match row {
                Row::Delivery(delivery) => Some(*delivery),
                _ => None,
            })
            .collect();
        let old = event.created_at < before;
        let over = |delivery: &Delivery| {
            !delivery.state.is_open() && delivery.requested.is_none() && delivery.leased_until.is_none()
        };
        Ok(match self.how {
            Breakage::PrunesByCreation => old && deliveries.iter().all(over),
            Breakage::PrunesTheOpen => old && deliveries.iter().any(|delivery| delivery.state.is_open()),
            Breakage::PrunesTheRequested => old && deliveries.iter().any(|delivery| delivery.requested.is_some()),
            Breakage::PrunesTheHeld => {
                old && deliveries.iter().any(|found| found.leased_until.is_some() && !found.state.is_open())
            }
            Breakage::PrunesHalfDone => old && deliveries.iter().any(|found| over(found) && deliveries.len() > 1),
            Breakage::PrunesByOwnTime => event.time < before && deliveries.is_empty(),
            Breakage::PrunesTheUnswept => {
                old && deliveries.iter().all(|found| over(found) && found.finished_at.is_some_and(|at| at < before))
            }
            _ => false,
        })
    }

    /// What was pruned too much, and what is left behind.
    pub(super) fn break_answer(&self, key: &Key, rows: &mut Vec<Row>) {
        let notes = self.notes();
        rows.retain(|row| match row {
            Row::Event(event) => !notes.hidden.contains(&(event.tenant, event.id.clone())),
            _ => true,
        });
        let is_wanted = |ghost: &&Attempt| match key {
            Key::Attempt(id) => ghost.id == *id,
            Key::AttemptsOf(delivery) => ghost.delivery == *delivery,
            _ => false,
        };
        rows.extend(notes.ghosts.iter().filter(is_wanted).map(|ghost| Row::Attempt(Box::new(ghost.clone()))));
        if let (Breakage::ReversesRecords, Key::Records(..)) = (self.how, key) {
            rows.reverse();
        }
        for row in rows {
            let Row::Destination(found) = row else { continue };
            match self.how {
                Breakage::ReserialisesFilters => {
                    let value = found.filter.as_deref().map(serde_json::from_str::<serde_json::Value>);
                    if let Some(Ok(value)) = value {
                        found.filter = Some(Arc::from(value.to_string()));
                    }
                }
                Breakage::ForgetsTheMaker => found.by_operator = true,
                _ => {}
            }
        }
    }

    /// Records whose key is like a pattern, as SQL understands it.
    pub(super) async fn records_like(&self, now: Timestamp, kind: &str, prefix: &str) -> StoreResult<Vec<Row>> {
        let now = if self.how == Breakage::FindsExpiredRecords { Timestamp::MIN } else { now };
        let start = if self.how == Breakage::TakesKeysAsPatterns { "" } else { prefix };
        let keys = vec![Key::Records(kind.to_owned(), start.to_owned())];
        let mut rows = self.inner.fetch(Fetch { now, keys }).await?.concat();
        let pattern: Vec<char> = format!("{prefix}%").chars().collect();
        rows.retain(|row| match row {
            Row::Record(record) if self.how == Breakage::TakesKeysAsPatterns => {
                is_like(&pattern, &record.key.chars().collect::<Vec<char>>())
            }
            _ => true,
        });
        Ok(rows)
    }

    pub(super) fn break_settings(&self, claimed: &mut Claimed) {
        if self.how == Breakage::ClaimsWithoutSettings {
            claimed.lanes.iter_mut().for_each(|found| found.settings = Arc::default());
        }
    }

    // Replays.

    pub(super) async fn replaying(&self, mut request: Apply) -> StoreResult<ApplyOutcome> {
        let now = request.now;
        let mut asked = Vec::new();
        let mut writes = Vec::new();
        for write in request.writes {
            match &write {
                Write::RequestAttempt { key, .. } => drop(self.notes().requested.insert(key.clone())),
                Write::Replay { destination, request, .. } => {
                    let keys =
                        request.iter().map(|event| DeliveryKey { destination: *destination, event: event.clone() });
                    self.notes().requested.extend(keys);
                }
                _ => {}
            }
            asked.push(match &write {
                Write::Replay { request, create, .. } => Some((request.len() + create.len()) as i64),
                _ => None,
            });
            self.break_replay(now, write, &mut writes).await?;
        }
        if self.how == Breakage::ReplaysApart {
            let mut numbers = Vec::new();
            for (index, write) in writes.into_iter().enumerate() {
                let one = Apply { now, writes: vec![write], follow_ups: Vec::new() };
                match self.inner.apply(one).await? {
                    ApplyOutcome::Done(done) => numbers.extend(done),
                    ApplyOutcome::Refused { refusal, .. } => return Ok(ApplyOutcome::Refused { index, refusal }),
                    outdated => return Ok(outdated),
                }
            }
            return Ok(ApplyOutcome::Done(numbers));
        }
        request.writes = writes;
        let mut outcome = self.applied(request).await?;
        if let (Breakage::CountsRefusedReplays, ApplyOutcome::Done(numbers)) = (self.how, &mut outcome) {
            for (number, asked) in numbers.iter_mut().zip(asked) {
                *number = asked.unwrap_or(*number);
            }
        }
        Ok(outcome)
    }

    async fn break_replay(&self, now: Timestamp, mut write: Write, writes: &mut Vec<Write>) -> StoreResult<()> {
        if let Write::Replay { destination, revision, request, create } = &mut write
            && let Some(found) = self.find_destination(*destination).await
        {
            match self.how {
                Breakage::ReplaysAtAnyRevision => *revision = found.revision,
                Breakage::ReplaysToTheDisabled if !found.is_enabled() => {
                    write = Write::DeleteRecord { kind: "nothing".to_owned(), key: "nothing".to_owned() };
                }
                Breakage::CreatesNoReplays => create.clear(),
                Breakage::ReplaysUrgently => {
                    for event in std::mem::take(request) {
                        let key = DeliveryKey { destination: *destination, event };
                        let trigger = Trigger::Manual;
                        writes.push(Write::RequestAttempt { key, trigger });
                    }
                }
                Breakage::ReplaysForStrangers => {
                    for id in create.iter() {
                        let Some(Row::Event(event)) = self.find(Key::EventEverywhere(id.clone())).await else {
                            continue;
                        };
                        let event = Arc::new(Event { tenant: found.tenant, ..(*event).clone() });
                        let subscriptions = self.subscriptions(found.tenant).await;
                        let items = vec![IngestItem { event, subscriptions, deliveries: Vec::new() }];
                        let lease = Lease { token: LeaseToken(1), until: now };
                        self.inner.ingest(Ingest { now, lease, quota: Quota::default(), items }).await?;
                    }
                }
                _ => {}
            }
        }
        writes.push(write);
        Ok(())
    }
}

fn is_like(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|at| is_like(rest, &text[at..])),
        Some(('_', rest)) => !text.is_empty() && is_like(rest, &text[1..]),
        Some((letter, rest)) => {
            text.first().is_some_and(|found| found.eq_ignore_ascii_case(letter)) && is_like(rest, &text[1..])
        }
    }
}
