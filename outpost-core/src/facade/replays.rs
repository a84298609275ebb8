//! Replays: many deliveries of one destination tried again, at its own pace.

use std::time::Duration;

use super::listing::not_found;
use super::{Outpost, of_store};
use crate::domain::actor::Capability;
use crate::domain::replay::{Replay, ReplayRequest, ReplayState, ReplayStep};
use crate::ports::store::{Apply, ApplyOutcome, Expect, Fetch, Key, Row, SmallRecord, Write};
use crate::runtime::replay::{ENDED, RUNNING, deliveries, events, key_of, missing, record_of, writes_of};
use crate::values::error::{Error, ErrorKind, Problem, Result};
use crate::values::page::Position;

/// How many replays of one tenant may run at once.
pub const MAX_REPLAYS: usize = 10;
/// How many pages of the log a preview looks at.
const PREVIEW_PAGES: usize = 25;
/// The kind of the record that every start of a tenant's replay writes, and how long it is kept: longer than any
/// start takes.
const FENCE: &str = "replay_fence";
const FENCE_KEPT: Duration = Duration::from_secs(3600);
/// Each time that others come first there is one place less, so this is more than enough.
const START_TRIES: usize = 2 * MAX_REPLAYS;

/// What a replay would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayPreview {
    /// How many deliveries match.
    pub found: u64,
    /// There are more; counting stopped at a bound.
    pub at_least: bool,
}

/// The replays of an [`Outpost`]: many deliveries of one destination are asked for again, such as what failed or
/// was skipped while its receiver was down.
///
/// ```
/// use outpost_core::{DeliveryState, Outpost, ReplayRequest, ReplayState, Result, Timestamp};
///
/// async fn catch_up(outpost: &Outpost, since: Timestamp) -> Result<()> {
///     outpost.destinations().enable("acme", "crm").await?;
///     let request = ReplayRequest {
///         states: vec![DeliveryState::Failed, DeliveryState::Skipped], // the default
///         from: Some(since),
///         ..ReplayRequest::default()
///     };
///     println!("about {:?}", outpost.replays().preview("acme", "crm", request.clone()).await?);
///     let replay = outpost.replays().start("acme", "crm", request).await?;
///     let now = outpost.replays().get("acme", &replay.id).await?;
///     if now.state == ReplayState::Done {
///         println!("{} found, {} asked for", now.found, now.requested); // what became of them, the deliveries tell
///     }
///     Ok(())
/// }
/// # drop(catch_up);
/// ```
#[derive(Clone, Copy)]
pub struct Replays<'a>(pub(super) &'a Outpost);

impl Replays<'_> {
    /// Starts a replay. It runs in the background and goes on after a restart; its attempts respect the
    /// destination's concurrency, rate limit and holds.
    ///
    /// Each delivery gets one attempt. A skipped or failed one for which that fails is failed and not tried again by
    /// itself; only one that the replay made (see [`missing`](ReplayRequest::missing)) is retried by schedule, like
    /// every new one.
    /// What is being sent at that moment is passed over.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a bad request; [`NotFound`](ErrorKind::NotFound) for tenant or
    /// destination; [`Conflict`](ErrorKind::Conflict) when the destination is disabled;
    /// [`LimitReached`](ErrorKind::LimitReached) with [`MAX_REPLAYS`] running;
    /// [`RateLimited`](ErrorKind::RateLimited) and [`Forbidden`](ErrorKind::Forbidden) without
    /// [`Capability::Retry`] for a tenant's user; the store's failures.
    pub async fn start(&self, tenant: &str, destination: &str, request: ReplayRequest) -> Result<Replay> {
        const OPERATION: &str = "start replay";
        let (replay, enabled) = self.plan(OPERATION, tenant, destination, request, Capability::Retry).await?;
        if !enabled {
            return Err(Error::new(ErrorKind::Conflict, OPERATION, "the destination is disabled"));
        }
        let shared = self.0.shared();
        self.0.limit(OPERATION, replay.tenant, shared.settings.tenant_limits.replays)?;
        let fence_key = key_of(replay.tenant, "");
        for _ in 0..START_TRIES {
            // Whoever starts one in between has written the fence as well, so the count still holds in the commit.
            let now = shared.now();
            let keys = vec![
                Key::Record(FENCE.to_owned(), fence_key.clone()),
                Key::Records(RUNNING.to_owned(), fence_key.clone()),
            ];
            let rows = shared.store.fetch(Fetch { now, keys }).await.map_err(|error| of_store(OPERATION, error))?;
            if rows.get(1).is_some_and(|running| running.len() >= MAX_REPLAYS) {
                let message = format!("{MAX_REPLAYS} replays of this tenant are running");
                return Err(Error::new(ErrorKind::LimitReached, OPERATION, message));
            }
            let expect = match rows.first().and_then(|rows| rows.first()) {
                Some(Row::Record(fence)) => Expect::Revision(fence.revision),
                _ => Expect::Absent,
            };
            let fence = SmallRecord {
                kind: FENCE.to_owned(),
                key: fence_key.clone(),
                value: Default::default(),
                expires_at: Some(now.after(FENCE_KEPT)),
                revision: 0,
            };
            let writes = vec![
                Write::PutRecord { record: fence, expect },
                Write::PutRecord { record: record_of(&replay), expect: Expect::Absent },
            ];
            let request = Apply { now, writes, follow_ups: Vec::new() };
            match shared.store.apply(request).await.map_err(|error| of_store(OPERATION, error))? {
                ApplyOutcome::Done(_) => {
                    shared.replays.notify_one();
                    return Ok(replay);
                }
                ApplyOutcome::Refused { index: 0, .. } => {}
                _ => break,
            }
        }
        Err(Error::new(ErrorKind::NotStored, OPERATION, "the replay could not be stored; try again"))
    }

    /// How many deliveries a replay would find, counted up to a bound.
    ///
    /// # Errors
    /// As [`start`](Self::start), needing only [`Capability::Read`].
    pub async fn preview(&self, tenant: &str, destination: &str, request: ReplayRequest) -> Result<ReplayPreview> {
        const OPERATION: &str = "preview replay";
        let (replay, _) = self.plan(OPERATION, tenant, destination, request, Capability::Read).await?;
        let shared = self.0.shared();
        let (mut found, mut pages) = (0, 0);
        let of = |error| of_store(OPERATION, error);
        let mut after: Option<Position> = None;
        loop {
            let page = deliveries(shared, &replay, after.clone()).await.map_err(of)?;
            found += page.rows.len() as u64;
            pages += 1;
            after = page.resume;
            if after.is_none() {
                break;
            }
            if pages >= PREVIEW_PAGES {
                return Ok(ReplayPreview { found, at_least: true });
            }
        }
        let place = shared.place(replay.destination, 0).await.map_err(of)?;
        if let Some(place) = place.filter(|_| replay.request.missing) {
            let mut after = None;
            loop {
                let page = events(shared, &replay, after).await.map_err(of)?;
                found += missing(shared, &replay, &place, page.rows).await.map_err(of)?.len() as u64;
                pages += 1;
                after = page.resume;
                if after.is_none() {
                    break;
                }
                if pages >= PREVIEW_PAGES {
                    return Ok(ReplayPreview { found, at_least: true });
                }
            }
        }
        Ok(ReplayPreview { found, at_least: false })
    }

    /// A replay and how far it has come.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for tenant or replay; the store's failures.
    pub async fn get(&self, tenant: &str, id: &str) -> Result<Replay> {
        const OPERATION: &str = "get replay";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Read).await?;
        self.find(OPERATION, tenant.incarnation, id).await.map(|(replay, _)| replay)
    }

    /// A tenant's replays, those that run and those that ended within a week, the latest first, at most 1000
    /// of each.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for the tenant; the store's failures.
    pub async fn list(&self, tenant: &str) -> Result<Vec<Replay>> {
        const OPERATION: &str = "list replays";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Read).await?;
        let prefix = key_of(tenant.incarnation, "");
        let keys = [RUNNING, ENDED].map(|kind| Key::Records(kind.to_owned(), prefix.clone()));
        let mut found: Vec<Replay> =
            self.fetch(OPERATION, keys.to_vec()).await?.into_iter().map(|(replay, _)| replay).collect();
        found.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(found)
    }

    /// Stops a replay. What it has asked for already is sent.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it has ended; [`Forbidden`](ErrorKind::Forbidden) without
    /// [`Capability::Retry`]; as [`get`](Self::get).
    pub async fn cancel(&self, tenant: &str, id: &str) -> Result<Replay> {
        const OPERATION: &str = "cancel replay";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Retry).await?;
        let shared = self.0.shared();
        for _ in 0..super::tenants::WRITE_TRIES {
            let (mut replay, revision) = self.find(OPERATION, tenant.incarnation, id).await?;
            if replay.state != ReplayState::Running {
                return Err(Error::new(ErrorKind::Conflict, OPERATION, "the replay has ended"));
            }
            replay.state = ReplayState::Cancelled;
            replay.updated_at = shared.now();
            let writes = writes_of(&replay, revision);
            let request = Apply { now: replay.updated_at, writes, follow_ups: Vec::new() };
            let outcome = shared.store.apply(request).await.map_err(|error| of_store(OPERATION, error))?;
            if matches!(outcome, ApplyOutcome::Done(_)) {
                return Ok(replay);
            }
        }
        Err(Error::new(ErrorKind::NotStored, OPERATION, "the replay is getting on all the time; try again"))
    }

    /// A replay that is not stored yet, and whether its destination is enabled.
    async fn plan(
        &self,
        operation: &'static str,
        tenant: &str,
        destination: &str,
        mut request: ReplayRequest,
        capability: Capability,
    ) -> Result<(Replay, bool)> {
        let tenant = self.0.admit(operation, tenant, capability).await?;
        let record = self.0.destinations().record(operation, &tenant, destination).await?;
        let shared = self.0.shared();
        let now = shared.now();
        // What is published from now on is not its business. A range ends before its end.
        let latest = now.after(Duration::from_millis(1));
        request.until = Some(request.until.map_or(latest, |until| until.min(latest)));
        let problems: Vec<Problem> = request.problems();
        if !problems.is_empty() {
            return Err(Error::invalid(operation, problems));
        }
        let replay = Replay {
            id: shared.new_id("rpl_", now),
            tenant_id: tenant.id,
            destination_id: record.id.clone(),
            request,
            state: ReplayState::Running,
            found: 0,
            requested: 0,
            created_at: now,
            updated_at: now,
            tenant: tenant.incarnation,
            destination: record.incarnation,
            step: ReplayStep::Deliveries(None),
        };
        Ok((replay, record.is_enabled()))
    }

    async fn find(
        &self,
        operation: &'static str,
        tenant: crate::values::id::Incarnation,
        id: &str,
    ) -> Result<(Replay, i64)> {
        if id.len() > crate::values::id::MAX_ID_LEN {
            return Err(not_found(operation, "replay"));
        }
        let keys = [RUNNING, ENDED].map(|kind| Key::Record(kind.to_owned(), key_of(tenant, id)));
        let found = self.fetch(operation, keys.to_vec()).await?.into_iter().next();
        found.ok_or_else(|| not_found(operation, "replay"))
    }

    async fn fetch(&self, operation: &'static str, keys: Vec<Key>) -> Result<Vec<(Replay, i64)>> {
        let shared = self.0.shared();
        let rows = shared.store.fetch(Fetch { now: shared.now(), keys }).await;
        let mut found = Vec::new();
        for row in rows.map_err(|error| of_store(operation, error))?.into_iter().flatten() {
            if let Row::Record(record) = row {
                let replay = serde_json::from_slice(&record.value)
                    .map_err(|_| Error::new(ErrorKind::Corrupt, operation, "a stored replay cannot be read"))?;
                found.push((replay, record.revision));
            }
        }
        Ok(found)
    }
}
