//! A memory store behind a wrapper that is wrong in one way: how it reads and claims. How it writes is in
//! `writing.rs`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use outpost_core::rollup::{RollupKey, Tally};
use outpost_core::store::{
    Apply, ApplyOutcome, Claim, Claimed, Fetch, Filter, Ingest, IngestOutcome, Key, List, Prune, Pruned, Quota,
    RollupRows, Rollups, Row, Scan, ScanPage, Settle, SettleAction, SettleItem, SettleOutcome, StoreProfile,
    StoreResult, Sweep, Swept, Usage,
};
use outpost_core::{
    Attempt, Delivery, DeliveryKey, DeliveryState, DestinationRecord, Direction, Event, EventId, Health, HealthNews,
    Incarnation, LeaseToken, MemoryStore, Position, Sealed, Store, Timestamp, Trigger,
};

use super::Breakage;

pub(crate) struct Broken {
    pub(super) inner: MemoryStore,
    pub(super) how: Breakage,
    notes: Mutex<Notes>,
}

/// What the wrapper remembers to be wrong with.
#[derive(Default)]
pub(super) struct Notes {
    /// Under which token a delivery was last leased, and until when.
    pub(super) leases: HashMap<DeliveryKey, (LeaseToken, Timestamp)>,
    /// The first life of a tenant's id.
    pub(super) first_lives: HashMap<String, Incarnation>,
    /// Which earlier life a later one inherits.
    pub(super) inherits: HashMap<Incarnation, Incarnation>,
    /// Destinations that a deleted tenant leaves behind.
    pub(super) left_behind: HashMap<Incarnation, DestinationRecord>,
    pub(super) swept: bool,
    /// Rollups that count too much (`true`) or too little.
    pub(super) adjusted: Vec<(RollupKey, Tally, bool)>,
    pub(super) quota: Quota,
    pub(super) tenants: HashSet<Incarnation>,
    /// Events that were ever stored.
    pub(super) ids: HashSet<(Incarnation, EventId)>,
    /// The first destination that had an id, whosever it was.
    pub(super) first_of_id: HashMap<String, Incarnation>,
    /// Health as it was before the destination was enabled, or changed otherwise.
    pub(super) kept: HashMap<Incarnation, Health>,
    pub(super) forgotten: HashMap<Incarnation, Health>,
    /// Failures that should not have counted.
    pub(super) missed: HashMap<Incarnation, u32>,
    pub(super) told: HashMap<Incarnation, Vec<HealthNews>>,
    /// The most that a tenant ever had, and the bodies that it has.
    pub(super) most: HashMap<Incarnation, Usage>,
    pub(super) bodies: HashMap<Incarnation, u64>,
    /// Something was pruned; which events too much, and which attempts are left behind.
    pub(super) pruned: bool,
    pub(super) hidden: HashSet<(Incarnation, EventId)>,
    pub(super) ghosts: Vec<Attempt>,
    /// Attempts that were asked for and not claimed since.
    pub(super) requested: HashSet<DeliveryKey>,
}

/// A time that is later by so many milliseconds.
pub(super) fn shifted(time: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(time.as_millis() + millis)
}

impl Broken {
    pub(super) fn new(inner: MemoryStore, how: Breakage) -> Self {
        Self { inner, how, notes: Mutex::default() }
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("notes")
    }

    pub(super) async fn find(&self, key: Key) -> Option<Row> {
        let fetch = Fetch { now: Timestamp::MIN, keys: vec![key] };
        self.inner.fetch(fetch).await.ok()?.remove(0).pop()
    }

    pub(super) async fn find_destination(&self, life: Incarnation) -> Option<DestinationRecord> {
        match self.find(Key::DestinationLife(life)).await {
            Some(Row::Destination(found)) => Some(*found),
            _ => None,
        }
    }

    pub(super) async fn subscriptions(&self, tenant: Incarnation) -> i64 {
        match self.find(Key::TenantLife(tenant)).await {
            Some(Row::Tenant(found)) => found.subscriptions,
            _ => 0,
        }
    }

    /// An event as this store gives it back.
    fn event(&self, event: Arc<Event>) -> Arc<Event> {
        match self.how {
            Breakage::ReserialisesPayloads => {
                let Ok(value) = serde_json::from_slice::<serde_json::Value>(&event.data) else { return event };
                Arc::new(Event { data: Bytes::from(value.to_string()), ..(*event).clone() })
            }
            Breakage::LosesMetadata => Arc::new(Event { metadata: Arc::default(), ..(*event).clone() }),
            _ => event,
        }
    }

    /// The state as it would be written down, as long as no sweep came by.
    async fn written(&self, delivery: &Delivery) -> DeliveryState {
        let Some(found) = self.find_destination(delivery.key.destination).await else { return delivery.state };
        let ends = [Some(found.epoch_at), found.deleted_at];
        let ended = delivery.finished_at.is_some() && ends.contains(&delivery.finished_at);
        let by_destination = matches!(delivery.state, DeliveryState::Skipped | DeliveryState::Cancelled(_));
        if ended && by_destination && !self.notes().swept { DeliveryState::Pending } else { delivery.state }
    }

    async fn scan_page(&self, mut scan: Scan) -> StoreResult<ScanPage> {
        let inherited = scan.filter.tenant.and_then(|life| self.notes().inherits.get(&life).copied());
        let unfiltered = Scan { filter: Filter { topics: Vec::new(), ..scan.filter.clone() }, ..scan.clone() };
        let wanted = scan.filter.states.clone();
        let topics = scan.filter.topics.clone();
        let codes = scan.filter.codes.clone();
        match self.how {
            Breakage::ScansAcrossTenants => scan.filter.tenant = None,
            Breakage::InheritsTheEarlierLife => scan.filter.tenant = inherited.or(scan.filter.tenant),
            Breakage::ScansTheWrongWay => scan.direction = scan.direction.reversed(),
            Breakage::ExaminesEverything => scan.examine = u32::MAX,
            Breakage::ResumesByTimeAlone => {
                let (id, scope) = match scan.direction {
                    Direction::Ascending => ("~".repeat(9), i64::MAX),
                    Direction::Descending => (String::new(), i64::MIN),
                };
                scan.after = scan.after.map(|after| Position { id, scope, ..after });
            }
            Breakage::FiltersWrittenStates => scan.filter.states.clear(),
            Breakage::IncludesUntil => scan.filter.until = scan.filter.until.map(|until| shifted(until, 1)),
            Breakage::ExcludesFrom => scan.filter.from = scan.filter.from.map(|from| shifted(from, 1)),
            Breakage::IgnoresTopics | Breakage::TakesTopicsAsPatterns => scan.filter.topics.clear(),
            Breakage::IgnoresDestinations => scan.filter.destinations.clear(),
            Breakage::IgnoresEvents => scan.filter.events.clear(),
            Breakage::IgnoresCodes | Breakage::FiltersAnyCode => scan.filter.codes.clear(),
            Breakage::CountsMatchesAsExamined if !scan.filter.codes.is_empty() => scan.examine = u32::MAX,
            Breakage::IgnoresSuccess => scan.filter.success = None,
            _ => {}
        }
        let (limit, examine) = (scan.limit as usize, scan.examine);
        let mut page = self.inner.scan(scan.clone()).await?;
        match self.how {
            Breakage::AlwaysResumes if page.resume.is_none() => {
                let list = scan.list;
                page.resume = page.rows.last().and_then(|row| place(list, row)).or(scan.after);
            }
            Breakage::NeverResumes => page.resume = None,
            Breakage::EndsAtTheBound if page.rows.len() < limit && examine < 100 => page.resume = None,
            Breakage::LooksAheadWithoutFilter if page.rows.len() == limit && page.resume.is_none() => {
                let after = page.rows.last().and_then(|row| place(scan.list, row));
                let behind = self.inner.scan(Scan { after: after.clone(), ..unfiltered }).await?;
                page.resume = after.filter(|_| !behind.rows.is_empty());
            }
            Breakage::SkipsAtPageEnds if page.resume.is_some() => drop(page.rows.pop()),
            Breakage::RepeatsAtPageEnds if page.resume.is_some() && page.rows.len() > 1 => {
                page.resume = place(scan.list, &page.rows[page.rows.len() - 2]);
            }
            Breakage::FiltersWrittenStates if !wanted.is_empty() => {
                let mut kept = Vec::new();
                for row in page.rows {
                    let Row::Delivery(delivery) = &row else { continue };
                    if wanted.contains(&self.written(delivery).await) {
                        kept.push(row);
                    }
                }
                page.rows = kept;
            }
            Breakage::FiltersAnyCode if !codes.is_empty() => {
                let mut kept = Vec::new();
                for row in page.rows {
                    let Row::Delivery(delivery) = &row else { continue };
                    let keys = vec![Key::AttemptsOf(delivery.key.clone())];
                    let attempts = self.inner.fetch(Fetch { now: Timestamp::MIN, keys }).await?.concat();
                    let hit = |row: &Row| match row {
                        Row::Attempt(attempt) => codes.iter().any(|code| code.matches(&attempt.outcome)),
                        _ => false,
                    };
                    if attempts.iter().any(hit) {
                        kept.push(row);
                    }
                }
                page.rows = kept;
            }
            Breakage::TakesTopicsAsPatterns if !topics.is_empty() => page.rows.retain(|row| match row {
                Row::Event(event) => topics.iter().any(|topic| event.topic.starts_with(topic.trim_end_matches('*'))),
                _ => true,
            }),
            Breakage::FoldsCase => page.rows.sort_by_key(|row| match row {
                Row::Event(event) => (event.time, event.id.as_str().to_lowercase()),
                _ => (Timestamp::MIN, String::new()),
            }),
            _ => {}
        }
        Ok(page)
    }

    async fn claimed(&self, mut claim: Claim) -> StoreResult<Claimed> {
        let lease = claim.lease;
        match self.how {
            Breakage::ClaimsLate => claim.now = shifted(claim.now, -1),
            Breakage::ClaimsForEver => claim.lease.until = Timestamp::MAX,
            Breakage::IgnoresLaneLimits => {
                claim.discover = if claim.discover > 0 { u32::MAX } else { 0 };
                claim.lanes.iter_mut().for_each(|lane| lane.1 = u32::MAX);
            }
            Breakage::StarvesOtherLanes => claim.discover = claim.discover.max(claim.limit),
            Breakage::IgnoresNames => claim.lanes.clear(),
            Breakage::ClaimsSaturated => claim.saturated.clear(),
            Breakage::ClaimsOverTheLimit => claim.urgent_only.clear(),
            Breakage::ForgetsRest => claim.rest = Duration::ZERO,
            _ => {}
        }
        let now = claim.now;
        let mut claimed = self.inner.claim(claim).await?;
        let found = &mut claimed.deliveries;
        for delivery in found.iter_mut() {
            self.notes().leases.insert(delivery.key.clone(), (lease.token, lease.until));
            self.notes().requested.remove(&delivery.key);
            delivery.event = self.event(delivery.event.clone());
        }
        match self.how {
            Breakage::ClaimsWithoutLease => {
                let token = lease.token;
                let free = |key: DeliveryKey| SettleItem {
                    key,
                    token,
                    action: SettleAction::Released,
                    lane: None,
                    disable: None,
                    judge: None,
                    alerts: None,
                    follow_ups: Vec::new(),
                };
                let items = found.iter().map(|delivery| free(delivery.key.clone())).collect();
                self.inner.settle(Settle { now, items }).await?;
            }
            Breakage::HoldsRequests => {
                let held = |life: Incarnation| {
                    claimed.lanes.iter().any(|found| found.lane.destination == life && found.lane.is_held(now))
                };
                found.retain(|delivery| delivery.trigger == Trigger::Automatic || !held(delivery.key.destination));
            }
            Breakage::ReversesLanes => found.reverse(),
            Breakage::ServesRequestsLast => found.sort_by_key(|delivery| delivery.trigger != Trigger::Automatic),
            Breakage::ForgetsNext => claimed.next = None,
            Breakage::ForgetsMore => claimed.lanes.iter_mut().for_each(|lane| lane.more = false),
            _ => {}
        }
        self.break_settings(&mut claimed);
        Ok(claimed)
    }
}

/// Where a row stands in its list.
fn place(list: List, row: &Row) -> Option<Position> {
    let (time, id, scope) = match row {
        Row::Tenant(found) => (found.created_at, found.id.to_string(), found.incarnation),
        Row::Destination(found) => (found.created_at, found.id.to_string(), found.incarnation),
        Row::Event(found) if list == List::Events => (found.time, found.id.to_string(), found.tenant),
        Row::Delivery(found) => (found.created_at, found.key.event.to_string(), found.key.destination),
        Row::Attempt(found) => (found.time, found.id.to_string(), found.tenant),
        _ => return None,
    };
    Some(Position { time, id, scope: scope.as_i64() })
}

#[async_trait]
impl Store for Broken {
    fn profile(&self) -> StoreProfile {
        self.inner.profile()
    }

    async fn apply(&self, request: Apply) -> StoreResult<ApplyOutcome> {
        self.apply_counted(request).await
    }

    async fn fetch(&self, mut request: Fetch) -> StoreResult<Vec<Vec<Row>>> {
        let (now, keys) = (request.now, request.keys.clone());
        match self.how {
            Breakage::ReadsExpiredRecords => request.now = Timestamp::MIN,
            Breakage::FetchesAcrossTenants => {
                for key in &mut request.keys {
                    if let Key::Event(_, id) = key {
                        *key = Key::EventEverywhere(id.clone());
                    }
                }
            }
            _ => {}
        }
        let mut answers = self.inner.fetch(request).await?;
        for (rows, key) in answers.iter_mut().zip(keys) {
            if let Key::Records(kind, prefix) = &key {
                *rows = self.records_like(now, kind, prefix).await?;
            }
            self.break_answer(&key, rows);
            if let (Breakage::ReversesAttempts, Key::AttemptsOf(_)) = (self.how, &key) {
                rows.reverse();
            }
            for row in rows.iter_mut() {
                self.break_row(&key, row).await;
                match row {
                    Row::Event(event) => *event = self.event(event.clone()),
                    Row::Destination(found) => {
                        if let Some(old) = self.notes().left_behind.get(&found.incarnation) {
                            **found = old.clone();
                        }
                        match self.how {
                            Breakage::KeepsSecretsOfTheDeleted if found.deleted_at.is_some() => {
                                found.credentials = Sealed::new(&b"secret"[..]);
                            }
                            Breakage::WipesTheLog if found.deleted_at.is_some() => found.target.clear(),
                            _ => {}
                        }
                    }
                    Row::Delivery(found) if self.how == Breakage::ShowsWhatIsWritten => {
                        found.state = self.written(found).await;
                    }
                    _ => {}
                }
            }
        }
        if self.how == Breakage::MixesUpAnswers {
            answers.reverse();
        }
        Ok(answers)
    }

    async fn scan(&self, request: Scan) -> StoreResult<ScanPage> {
        self.scan_page(request).await
    }

    async fn ingest(&self, request: Ingest) -> StoreResult<Vec<IngestOutcome>> {
        self.ingest_counted(request).await
    }

    async fn claim(&self, request: Claim) -> StoreResult<Claimed> {
        self.claimed(request).await
    }

    async fn settle(&self, request: Settle) -> StoreResult<Vec<SettleOutcome>> {
        self.settle_judged(request).await
    }

    async fn prune(&self, request: Prune) -> StoreResult<Pruned> {
        self.prune_broken(request).await
    }

    async fn rollups(&self, request: Rollups) -> StoreResult<RollupRows> {
        self.rolled_up(request).await
    }

    async fn sweep(&self, mut request: Sweep) -> StoreResult<Swept> {
        self.notes().swept = true;
        match self.how {
            Breakage::SweepsNothing => return Ok(Swept { changed: 0, more: false }),
            Breakage::SweepsLeased => request.now = Timestamp::MAX,
            Breakage::SweepsWithoutBound => request.limit = u32::MAX,
            _ => {}
        }
        self.break_sweep(&mut request);
        let swept = self.inner.sweep(request).await?;
        Ok(Swept { more: swept.more || self.how == Breakage::SweepsForEver, ..swept })
    }

    async fn changed(&self, since: u64) -> StoreResult<u64> {
        match self.how {
            Breakage::HearsNothing => std::future::pending().await,
            Breakage::HearsItself => Ok(since + 1),
            _ => self.inner.changed(since).await,
        }
    }

    async fn clock_offset(&self, now: Timestamp) -> StoreResult<Option<i64>> {
        self.inner.clock_offset(now).await
    }

    async fn close(&self) -> StoreResult<()> {
        if self.how == Breakage::StaysOpen { Ok(()) } else { self.inner.close().await }
    }
}

/// Headers as a map would keep them.
pub(super) fn sorted(headers: &[(String, String)]) -> Vec<(String, String)> {
    headers.iter().cloned().collect::<BTreeMap<_, _>>().into_iter().collect()
}
