//! The ways to be wrong about health, rollups and quotas.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use outpost_core::rollup::{self, Counted, RollupKey, Tally};
use outpost_core::store::{
    Apply, ApplyOutcome, Expect, Ingest, IngestItem, IngestOutcome, Key, Quota, RollupRows, Rollups, Row, Settle,
    SettleAction, SettleItem, SettleOutcome, StoreResult, Sweep, Usage, Write,
};
use outpost_core::{
    Attempt, DestinationRecord, Health, HealthPolicy, Incarnation, Judge, Judgement, Store, Timestamp, Trigger,
};

use super::Breakage;
use super::broken::{Broken, shifted};

impl Broken {
    async fn health(&self, destination: Incarnation) -> Health {
        match self.find(Key::Lane(destination)).await {
            Some(Row::Lane(lane)) => lane.health,
            _ => Health::default(),
        }
    }

    async fn usage(&self, tenant: Incarnation) -> Usage {
        match self.find(Key::Usage(tenant)).await {
            Some(Row::Usage(usage)) => usage,
            _ => Usage::default(),
        }
    }

    /// Has a rollup show more of something, or less.
    fn adjust(&self, keys: impl Iterator<Item = RollupKey>, tally: &Tally, more: bool) {
        self.notes().adjusted.extend(keys.map(|key| (key, tally.clone(), more)));
    }

    // Ingest.

    pub(super) async fn ingest_counted(&self, mut request: Ingest) -> StoreResult<Vec<IngestOutcome>> {
        let quota = request.quota;
        if quota != Quota::default() {
            self.notes().quota = quota;
        }
        let items = request.items.clone();
        let mut before = Vec::new();
        for item in &items {
            self.notes().tenants.insert(item.event.tenant);
            before.push(self.usage(item.event.tenant).await);
        }
        let exceeded = |item: &IngestItem, usage| quota.is_exceeded(usage, item.event.data.len() as u64, item.open());
        match self.how {
            Breakage::IgnoresQuotas | Breakage::CountsQuotasPerBatch => request.quota = Quota::default(),
            Breakage::ReachesQuotasEarly => request.quota.bytes = quota.bytes.map(|most| most.saturating_sub(1)),
            Breakage::SharesQuotas => return self.ingest_in_turn(request).await,
            _ => {}
        }
        if self.how == Breakage::CountsQuotasPerBatch {
            let wrong = request.items.iter_mut().zip(&before).filter(|(item, usage)| exceeded(item, **usage));
            wrong.for_each(|(item, _)| item.subscriptions = i64::MIN);
        }
        let mut outcomes = self.ingested(request).await?;
        for ((outcome, item), usage) in outcomes.iter_mut().zip(&items).zip(before) {
            let stored = matches!(outcome, IngestOutcome::Stored { .. });
            let skipped = item.deliveries.iter().filter(|new| new.skipped).map(|new| new.destination);
            match self.how {
                Breakage::CountsQuotasPerBatch | Breakage::ChecksQuotasFirst if !stored && exceeded(item, usage) => {
                    *outcome = IngestOutcome::OverQuota { usage };
                }
                Breakage::CountsRepeats if matches!(outcome, IngestOutcome::Duplicate { .. }) => {
                    self.adjust(rollup::of_event(&item.event, item.matched()), &Tally::of_event(), true);
                }
                Breakage::CountsSkippedMatches if stored => {
                    let keys = rollup::of_event(&item.event, skipped).filter(|key| key.destination.is_some());
                    self.adjust(keys, &Tally::of_event(), true);
                }
                Breakage::RemembersPrunedIds
                    if stored && !self.notes().ids.insert((item.event.tenant, item.event.id.clone())) =>
                {
                    *outcome = IngestOutcome::Duplicate { matched: Arc::from([]) };
                }
                _ => {}
            }
        }
        Ok(outcomes)
    }

    /// Counts what all tenants have together.
    async fn ingest_in_turn(&self, request: Ingest) -> StoreResult<Vec<IngestOutcome>> {
        let mut outcomes = Vec::new();
        for item in request.items {
            let mut all = Usage::default();
            let tenants: Vec<Incarnation> = self.notes().tenants.iter().copied().collect();
            for tenant in tenants {
                let usage = self.usage(tenant).await;
                (all.bytes, all.open) = (all.bytes + usage.bytes, all.open + usage.open);
            }
            if request.quota.is_exceeded(all, item.event.data.len() as u64, item.open()) {
                outcomes.push(IngestOutcome::OverQuota { usage: self.usage(item.event.tenant).await });
            } else {
                let one = Ingest { quota: Quota::default(), items: vec![item], ..request };
                outcomes.extend(self.inner.ingest(one).await?);
            }
        }
        Ok(outcomes)
    }

    /// Drops follow-ups that the latest quota has no room for, if that is what is wrong.
    async fn limit_follow_ups(&self, follow_ups: &mut Vec<IngestItem>) {
        if self.how != Breakage::LimitsFollowUps {
            return;
        }
        let quota = self.notes().quota;
        for item in std::mem::take(follow_ups) {
            let usage = self.usage(item.event.tenant).await;
            if !quota.is_exceeded(usage, item.event.data.len() as u64, item.open()) {
                follow_ups.push(item);
            }
        }
    }

    /// Those that are not stored yet.
    async fn new_ones(&self, follow_ups: &[IngestItem]) -> Vec<IngestItem> {
        let mut seen = HashSet::new();
        let mut new = Vec::new();
        for item in follow_ups {
            let key = Key::Event(item.event.tenant, item.event.id.clone());
            if self.find(key).await.is_none() && seen.insert((item.event.tenant, item.event.id.clone())) {
                new.push(item.clone());
            }
        }
        new
    }

    fn uncount(&self, items: &[IngestItem]) {
        for item in items {
            self.adjust(rollup::of_event(&item.event, item.matched()), &Tally::of_event(), false);
        }
    }

    // Apply.

    pub(super) async fn apply_counted(&self, mut request: Apply) -> StoreResult<ApplyOutcome> {
        let mut changes: Vec<(DestinationRecord, Option<DestinationRecord>, Health)> = Vec::new();
        for write in &request.writes {
            let Write::PutDestination { destination, expect, .. } = write else { continue };
            if *expect == Expect::Absent {
                let mut notes = self.notes();
                notes.first_of_id.entry(destination.id.to_string()).or_insert(destination.incarnation);
            }
            let life = destination.incarnation;
            changes.push(((**destination).clone(), self.find_destination(life).await, self.health(life).await));
        }
        self.limit_follow_ups(&mut request.follow_ups).await;
        let new = self.new_ones(&request.follow_ups).await;
        let outcome = self.replaying(request).await?;
        if matches!(outcome, ApplyOutcome::Done(_)) {
            if self.how == Breakage::CountsNoFollowUps {
                self.uncount(&new);
            }
            let mut notes = self.notes();
            for (after, before, health) in changes {
                let Some(before) = before else { continue };
                if before.disabled.is_some() && after.disabled.is_none() {
                    notes.kept.insert(after.incarnation, health);
                } else if before.disabled.is_none() {
                    notes.forgotten.insert(after.incarnation, health);
                }
            }
        }
        Ok(outcome)
    }

    // Settle.

    pub(super) async fn settle_judged(&self, mut request: Settle) -> StoreResult<Vec<SettleOutcome>> {
        let now = request.now;
        let mut enabled = Vec::new();
        let mut new = Vec::new();
        for item in &mut request.items {
            let found = self.find_destination(item.key.destination).await;
            enabled.push(found.is_some_and(|found| found.is_enabled()));
            self.limit_follow_ups(&mut item.follow_ups).await;
            new.push(self.new_ones(&item.follow_ups).await);
        }
        let items = request.items.clone();
        request.items.iter_mut().for_each(|item| self.break_judge(item));
        let mut outcomes = self.settled(request).await?;
        for (((outcome, item), new), enabled) in outcomes.iter_mut().zip(&items).zip(new).zip(enabled) {
            let attempt = match &item.action {
                SettleAction::Attempted { attempt, .. } => Some(attempt),
                _ => None,
            };
            match outcome {
                SettleOutcome::Done { judgement, .. } => {
                    self.break_judgement(item, judgement);
                    let told: Vec<IngestItem> =
                        item.alerts.iter().flat_map(|alerts| alerts.events(judgement)).collect();
                    match (self.how, attempt) {
                        (Breakage::CountsNoFollowUps, _) => self.uncount(&[new, told].concat()),
                        (Breakage::StoresAlertsApart, _) => {
                            let apart = Apply { now, writes: Vec::new(), follow_ups: told };
                            let _ = self.inner.apply(apart).await;
                        }
                        (Breakage::CountsTests, Some(attempt)) if attempt.trigger == Trigger::Test => {
                            let manual = Attempt { trigger: Trigger::Manual, ..(**attempt).clone() };
                            self.adjust(rollup::of_attempt(&manual), &Tally::of_attempt(&manual), true);
                        }
                        (Breakage::JudgesTheDisabled, Some(attempt)) if !enabled && !attempt.outcome.success => {
                            *self.notes().missed.entry(item.key.destination).or_default() += 1;
                        }
                        (Breakage::CountsNoBodies, Some(attempt)) => {
                            let body = attempt.response.as_ref().map_or(0, |response| response.body.len() as u64);
                            *self.notes().bodies.entry(attempt.tenant).or_default() += body;
                        }
                        _ => {}
                    }
                }
                _ => match (self.how, attempt) {
                    (Breakage::CountsStaleAttempts, Some(attempt)) => {
                        self.adjust(rollup::of_attempt(attempt), &Tally::of_attempt(attempt), true);
                    }
                    (Breakage::JudgesTheStale, Some(_)) => {
                        *self.notes().missed.entry(item.key.destination).or_default() += 1;
                    }
                    _ => {}
                },
            }
        }
        Ok(outcomes)
    }

    fn break_judge(&self, item: &mut SettleItem) {
        match (self.how, &mut item.judge) {
            (Breakage::DropsAlerts | Breakage::StoresAlertsApart, _) => item.alerts = None,
            (Breakage::LosesJudgedDisabling, Some(judge)) => {
                judge.policy = judge.policy.disable_at_count(false).disable_after(None);
            }
            (Breakage::JudgesUnasked, judge @ None) => {
                *judge = Some(Judge { policy: HealthPolicy::default(), exhausted: false });
            }
            (Breakage::JudgesBeforeTheItem, Some(_)) => item.disable = None,
            _ => {}
        }
    }

    fn break_judgement(&self, item: &SettleItem, judgement: &mut Judgement) {
        match self.how {
            Breakage::WarnsNever => judgement.news.clear(),
            Breakage::WarnsTwice => {
                let told = self.notes().told.insert(item.key.destination, judgement.news.clone());
                if judgement.news.is_empty() {
                    judgement.news = told.unwrap_or_default();
                }
            }
            Breakage::DisablesAgain if item.disable.is_some() => judgement.disabled.clone_from(&item.disable),
            _ => {}
        }
    }

    // Reading.

    pub(super) async fn break_row(&self, key: &Key, row: &mut Row) {
        match row {
            Row::Lane(lane) => {
                let life = lane.destination;
                let health = &mut lane.health;
                if self.how == Breakage::SharesHealth
                    && let Some(found) = self.find_destination(life).await
                {
                    let first = self.notes().first_of_id.get(found.id.as_str()).copied();
                    *health = self.health(first.unwrap_or(life)).await;
                }
                let notes = self.notes();
                match self.how {
                    Breakage::KeepsHealthOnEnabling if *health == Health::default() => {
                        *health = notes.kept.get(&life).cloned().unwrap_or_default();
                    }
                    Breakage::HealsWithAnyChange if notes.forgotten.get(&life) == Some(health) => {
                        *health = Health::default();
                    }
                    Breakage::JudgesTheStale | Breakage::JudgesTheDisabled => {
                        health.failures += notes.missed.get(&life).copied().unwrap_or(0);
                    }
                    Breakage::CutsErrors => {
                        if let Some(error) = &mut health.last_error {
                            error.retain(|letter| letter.is_ascii());
                        }
                    }
                    _ => {}
                }
            }
            Row::Usage(usage) => {
                let Key::Usage(tenant) = key else { return };
                let mut notes = self.notes();
                let most = notes.most.entry(*tenant).or_default();
                *most = Usage {
                    events: most.events.max(usage.events),
                    bytes: most.bytes.max(usage.bytes),
                    open: most.open.max(usage.open),
                };
                match self.how {
                    Breakage::NeverGivesBack => *usage = *most,
                    Breakage::CountsEndedAsOpen => usage.open = most.open,
                    Breakage::CountsNoBodies => usage.bytes -= notes.bodies.get(tenant).copied().unwrap_or(0),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    pub(super) async fn rolled_up(&self, mut request: Rollups) -> StoreResult<RollupRows> {
        let wanted = request.clone();
        match self.how {
            Breakage::RollupsCrossTenants => request.tenant = None,
            Breakage::RollupsIncludeUntil => request.until = shifted(request.until, 1),
            Breakage::RollupsExcludeFrom => request.from = shifted(request.from, 1),
            _ => {}
        }
        let found = self.inner.rollups(request).await?;
        let mut rows: BTreeMap<RollupKey, Tally> = found.rows.into_iter().collect();
        let notes = self.notes();
        for (key, tally, more) in &notes.adjusted {
            let of_events = key.counted == Counted::Events;
            if key.level != wanted.level
                || of_events != wanted.events
                || !(wanted.from..wanted.until).contains(&key.start)
            {
                continue;
            }
            let row = rows.entry(key.clone()).or_default();
            if *more {
                row.add(tally);
            } else {
                row.count = row.count.saturating_sub(tally.count);
            }
        }
        rows.retain(|_, tally| tally.count > 0);
        let mut rows: Vec<(RollupKey, Tally)> = rows.into_iter().collect();
        match self.how {
            Breakage::CountsNoEvents if wanted.events => rows.clear(),
            Breakage::CountsNoAttempts if !wanted.events => rows.clear(),
            Breakage::ForgetsRollupsToo if notes.pruned => rows.clear(),
            Breakage::LosesLatency => {
                rows.iter_mut().for_each(|(_, tally)| tally.latency = rollup::Histogram::default())
            }
            Breakage::OrdersRollupsByTenant => rows.sort_by_key(|(key, _)| (key.tenant, key.start)),
            Breakage::RoundsTowardsTheEpoch => {
                let early = rows.iter_mut().filter(|(key, _)| key.start.as_millis() < 0);
                early.for_each(|(key, _)| key.start = shifted(key.start, key.level.millis()));
            }
            Breakage::MixesUpCodes => {
                for (key, _) in &mut rows {
                    if let Counted::Attempts { code, .. } = &mut key.counted {
                        *code = Arc::from("");
                    }
                }
            }
            _ => {}
        }
        Ok(RollupRows { rows, more: found.more && self.how != Breakage::RollupsForgetMore })
    }

    pub(super) fn break_sweep(&self, request: &mut Sweep) {
        let latest = request.rollups_before.into_iter().max().unwrap_or(Timestamp::MIN);
        match self.how {
            Breakage::SweepsNoRollups => request.rollups_before = [Timestamp::MIN; 3],
            Breakage::SweepsLevelsAlike => request.rollups_before = [latest; 3],
            _ => {}
        }
    }
}
