//! Metrics: counts, rates and latencies of events and attempts.

use super::listing::Scope;
use super::{Outpost, of_store};
use crate::domain::actor::Capability;
use crate::domain::attempt::{Attempt, ErrorClass};
use crate::domain::event::Event;
use crate::domain::metrics::{
    Aggregate, Kept, Lives, MetricsOf, MetricsQuery, MetricsReport, Segment, Source, plan, too_broad,
};
use crate::domain::rollup::{self, Counted, Level, RollupKey, Tally};
use crate::ports::store::{Fetch, Filter, Key, List, Rollups, Row, Scan};
use crate::runtime::Shared;
use crate::values::error::{Error, Problem, Result};
use crate::values::id::{Incarnation, TenantId};
use crate::values::page::{Direction, Position};
use crate::values::time::Timestamp;

/// The most rollups that are read for one query.
const MAX_ROLLUPS: u32 = 1_000_000;
/// The most rows of the log that are examined for one query.
const MAX_LOG_ROWS: u32 = 50_000;
/// How many rollups are asked for at once.
const ROLLUP_PAGE: u32 = 10_000;
/// How many rows of the log are asked for at once: few, because they come with bodies.
const LOG_PAGE: u32 = 200;
/// How many keys are looked up at once.
const FETCH_PAGE: usize = 1000;

/// The metrics of an [`Outpost`].
///
/// They are read from counts by minute, hour and day, kept as events and attempts are stored, so what a query
/// costs depends on how many of those it covers and not on how much happened. Only a query that is finer
/// reads the log: by seconds, from or until within a minute, or by the numbers of attempts. It is refused
/// when it needs more than 50,000 rows of the log, or 1,000,000 counts.
#[derive(Clone, Copy)]
pub struct Metrics<'a>(pub(super) &'a Outpost);

impl Metrics<'_> {
    /// How many events there were, by their own time. Those that went to certain destinations, or told apart
    /// by destination, count once for each enabled destination that they matched.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) listing what is wrong with the query, or what made it too broad;
    /// [`NotFound`](crate::ErrorKind::NotFound) for the tenant, or a tenant in the filter that is not the
    /// actor's; [`Forbidden`](crate::ErrorKind::Forbidden) for a scope or dimension that is the operator's; the
    /// store's failures.
    pub async fn events(&self, scope: impl Into<Scope>, query: &MetricsQuery) -> Result<MetricsReport> {
        self.report("event metrics", MetricsOf::Events, scope.into(), query).await
    }

    /// How many attempts there were and how they went, by the time they ended. Attempts at sending test
    /// events are left out.
    ///
    /// # Errors
    /// As [`events`](Self::events).
    pub async fn attempts(&self, scope: impl Into<Scope>, query: &MetricsQuery) -> Result<MetricsReport> {
        self.report("attempt metrics", MetricsOf::Attempts, scope.into(), query).await
    }

    async fn report(
        &self,
        operation: &'static str,
        what: MetricsOf,
        scope: Scope,
        query: &MetricsQuery,
    ) -> Result<MetricsReport> {
        let tenant = scope.resolve(self.0, operation, Capability::Read).await?;
        if query.needs_tenants() {
            self.0.actor.operator_only(operation)?;
        }
        let problems = query.problems(what);
        if !problems.is_empty() {
            return Err(Error::invalid(operation, problems));
        }
        let refuse = |problem| Error::invalid(operation, vec![problem]);
        let tenants = self.tenants(operation, tenant, &query.filter.tenants).await?;
        let plan = plan(query, &kept(self.0.shared())).map_err(refuse)?;
        let sums = Aggregate::new(query.clone()).map_err(refuse)?;
        let (lives, hidden) = (Lives::default(), None);
        let mut reading = Reading { outpost: self.0, operation, what, sums, lives, hidden, rollups: 0, log_rows: 0 };
        for segment in plan.segments {
            for tenant in &tenants {
                // Everybody's numbers leave the operator's own out, as lists do.
                let operator = self.0.shared().operator.view().map(|view| view.tenant.incarnation);
                reading.hidden = operator.filter(|_| tenant.is_none());
                match segment.source {
                    Source::Rollups(level) => reading.read_rollups(level, segment, *tenant).await?,
                    Source::Log(why) => reading.read_log(why, segment, *tenant).await?,
                }
            }
        }
        Ok(reading.sums.report(plan.since, u64::from(reading.rollups), u64::from(reading.log_rows)))
    }

    /// Whose numbers to read, each in its turn; `None` stands for everybody's.
    async fn tenants(
        &self,
        operation: &'static str,
        scope: Option<Incarnation>,
        wanted: &[TenantId],
    ) -> Result<Vec<Option<Incarnation>>> {
        if wanted.is_empty() {
            return Ok(vec![scope]);
        }
        for id in wanted {
            self.0.actor.admit(operation, id, Capability::Read)?;
        }
        let shared = self.0.shared();
        let keys = wanted.iter().map(|id| Key::Tenant(id.clone())).collect();
        let rows = shared.store.fetch(Fetch { now: shared.now(), keys }).await;
        let mut lives = Vec::new();
        for row in rows.map_err(|error| of_store(operation, error))?.into_iter().flatten() {
            if let Row::Tenant(tenant) = row
                && scope.is_none_or(|scope| scope == tenant.incarnation)
                && !lives.contains(&Some(tenant.incarnation))
            {
                lives.push(Some(tenant.incarnation));
            }
        }
        Ok(lives)
    }
}

/// From when on what a query reads is still there.
fn kept(shared: &Shared) -> Kept {
    let log = shared.settings.retention.map_or(Timestamp::MIN, |kept| shared.now().before(kept));
    Kept { rollups: shared.rollups_kept(), log }
}

/// One query being answered.
struct Reading<'a> {
    outpost: &'a Outpost,
    operation: &'static str,
    what: MetricsOf,
    sums: Aggregate,
    lives: Lives,
    /// A tenant whose rows do not count.
    hidden: Option<Incarnation>,
    rollups: u32,
    log_rows: u32,
}

impl Reading<'_> {
    fn refuse(&self, problem: Problem) -> Error {
        Error::invalid(self.operation, vec![problem])
    }

    async fn read_rollups(&mut self, level: Level, segment: Segment, tenant: Option<Incarnation>) -> Result<()> {
        let (mut from, mut limit) = (segment.from, ROLLUP_PAGE);
        let events = self.what == MetricsOf::Events;
        loop {
            let request = Rollups { level, events, tenant, from, until: segment.until, limit };
            let found = self.outpost.shared().store.rollups(request).await;
            let mut found = found.map_err(|error| of_store(self.operation, error))?;
            let last = found.rows.last().map(|(key, _)| key.start).filter(|_| found.more);
            if let Some(last) = last {
                // The next page begins with this start: only its order by start can be relied on.
                found.rows.truncate(found.rows.partition_point(|(key, _)| key.start < last));
            }
            self.rollups = self.rollups.saturating_add(u32::try_from(found.rows.len()).unwrap_or(u32::MAX));
            let stuck = last.is_some() && found.rows.is_empty();
            if self.rollups > MAX_ROLLUPS || (stuck && limit > MAX_ROLLUPS) {
                return Err(self.refuse(too_broad(format!(
                    "it covers more than {MAX_ROLLUPS} counts; choose a shorter range or name a tenant"
                ))));
            }
            limit = if stuck { limit.saturating_mul(4) } else { ROLLUP_PAGE };
            self.count(found.rows.into_iter().map(|(key, tally)| (key, tally, None)).collect()).await?;
            match last {
                Some(last) => from = last,
                None => return Ok(()),
            }
        }
    }

    async fn read_log(&mut self, why: &'static str, segment: Segment, tenant: Option<Incarnation>) -> Result<()> {
        let wanted = &self.sums.query().filter;
        let list = if self.what == MetricsOf::Events { List::Events } else { List::Attempts };
        let filter = Filter {
            tenant,
            topics: wanted.topics.clone(),
            from: Some(segment.from),
            until: Some(segment.until),
            ..Filter::default()
        };
        let mut after: Option<Position> = None;
        loop {
            let limit = LOG_PAGE.min(MAX_LOG_ROWS - self.log_rows);
            if limit == 0 {
                return Err(self.refuse(too_broad(format!(
                    "{why}, and this needs more than {MAX_LOG_ROWS} rows of it; choose a shorter range or whole \
                     minutes, or name a tenant"
                ))));
            }
            let scan = Scan {
                list,
                filter: filter.clone(),
                direction: Direction::Ascending,
                after: after.take(),
                limit,
                examine: limit,
            };
            let found = self.outpost.shared().store.scan(scan).await;
            let found = found.map_err(|error| of_store(self.operation, error))?;
            // A page that goes on may have used up what it was allowed to examine.
            let rows = u32::try_from(found.rows.len()).unwrap_or(u32::MAX);
            self.log_rows += if found.resume.is_some() { limit } else { rows.min(limit) };
            let counted = match self.what {
                MetricsOf::Events => self.of_events(found.rows).await?,
                MetricsOf::Attempts => found.rows.into_iter().filter_map(of_attempt).collect(),
            };
            self.count(counted).await?;
            after = found.resume;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Events as the rollups that they count into.
    async fn of_events(&mut self, rows: Vec<Row>) -> Result<Vec<Counting>> {
        let events: Vec<_> =
            rows.into_iter().filter_map(|row| if let Row::Event(event) = row { Some(event) } else { None }).collect();
        let mut deliveries = vec![Vec::new(); events.len()];
        if self.sums.query().by_destination() && !events.is_empty() {
            let keys = events.iter().map(|event| Key::DeliveriesOf(event.tenant, event.id.clone())).collect();
            for (rows, found) in self.fetch(keys).await?.into_iter().zip(&mut deliveries) {
                for row in rows {
                    if let Row::Delivery(delivery) = row {
                        found.push((delivery.created_at, delivery.key.destination));
                    }
                }
            }
            let destinations: Vec<_> = deliveries.iter().flatten().map(|(_, destination)| *destination).collect();
            self.learn(&[], &destinations, true).await?;
        }
        let rollups = events.iter().zip(&deliveries).flat_map(|(event, deliveries)| {
            let matched = self.matched(event, deliveries);
            rollup::of_event(event, matched.into_iter())
                .filter(|key| key.level == Level::Minute)
                .map(|key| (RollupKey { start: event.time, ..key }, Tally::of_event(), None))
                .collect::<Vec<_>>()
        });
        Ok(rollups.collect())
    }

    /// The lives of the destinations that an event matched, of those it has deliveries to. It may be replayed
    /// to others later, to another life of the same id as well.
    fn matched(&self, event: &Event, deliveries: &[(Timestamp, Incarnation)]) -> Vec<Incarnation> {
        let first = |id: &str| {
            deliveries.iter().filter(|(_, life)| self.lives.destination(*life) == Some(id)).min().map(|(_, life)| *life)
        };
        event.matched.iter().filter_map(|id| first(id.as_str())).collect()
    }

    async fn count(&mut self, mut rows: Vec<Counting>) -> Result<()> {
        rows.retain(|(key, _, _)| Some(key.tenant) != self.hidden);
        if !self.outpost.actor.is_operator() {
            rows.iter_mut().for_each(|(key, _, _)| blur(key));
        }
        let tenants: Vec<_> = rows.iter().map(|(key, _, _)| key.tenant).collect();
        let destinations: Vec<_> = rows.iter().filter_map(|(key, _, _)| key.destination).collect();
        self.learn(&tenants, &destinations, false).await?;
        for (key, tally, number) in &rows {
            self.sums.add(key, tally, *number, &self.lives).map_err(|problem| self.refuse(problem))?;
        }
        Ok(())
    }

    /// Looks up the ids that the query needs and that are not known yet; `all`: needed or not.
    async fn learn(&mut self, tenants: &[Incarnation], destinations: &[Incarnation], all: bool) -> Result<()> {
        let query = self.sums.query();
        let unique = |lives: &[Incarnation], wanted: bool, known: &dyn Fn(Incarnation) -> bool| {
            let mut lives: Vec<_> = lives.iter().copied().filter(|life| wanted && !known(*life)).collect();
            lives.sort_unstable();
            lives.dedup();
            lives
        };
        let tenants = unique(tenants, query.needs_tenants(), &|life| self.lives.knows_tenant(life));
        let destinations =
            unique(destinations, all || query.needs_destinations(), &|life| self.lives.knows_destination(life));
        // What is not found any more is still counted, under a name that is no id.
        for life in &tenants {
            self.lives.put_tenant(*life, &format!("{life:?}"));
        }
        for life in &destinations {
            self.lives.put_destination(*life, &format!("{life:?}"), "");
        }
        let keys: Vec<Key> = tenants
            .into_iter()
            .map(Key::TenantLife)
            .chain(destinations.into_iter().map(Key::DestinationLife))
            .collect();
        for keys in keys.chunks(FETCH_PAGE) {
            for row in self.fetch(keys.to_vec()).await?.into_iter().flatten() {
                match row {
                    Row::Tenant(tenant) => self.lives.put_tenant(tenant.incarnation, tenant.id.as_str()),
                    Row::Destination(found) => {
                        self.lives.put_destination(found.incarnation, found.id.as_str(), &found.kind);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn fetch(&self, keys: Vec<Key>) -> Result<Vec<Vec<Row>>> {
        let shared = self.outpost.shared();
        let rows = shared.store.fetch(Fetch { now: shared.now(), keys }).await;
        rows.map_err(|error| of_store(self.operation, error))
    }
}

/// A rollup, or a row of the log made into one, and an attempt's number if that is known.
type Counting = (RollupKey, Tally, Option<u32>);

/// An attempt as the rollup that it counts into; nothing for one that counts nowhere.
fn of_attempt(row: Row) -> Option<Counting> {
    let Row::Attempt(attempt) = row else { return None };
    let attempt: Attempt = *attempt;
    let key = rollup::of_attempt(&attempt).next()?;
    Some((RollupKey { start: attempt.time, ..key }, Tally::of_attempt(&attempt), Some(attempt.number)))
}

/// For a tenant an address that may not be reached and a name that does not resolve look alike, as in the
/// log: telling them apart would let it map the operator's network.
fn blur(key: &mut RollupKey) {
    if let Counted::Attempts { code, .. } = &mut key.counted
        && **code == *ErrorClass::Blocked.as_str()
    {
        *code = ErrorClass::Dns.as_str().into();
    }
}
