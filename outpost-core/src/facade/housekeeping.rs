//! What the operator does with what is stored: how much it is, erasing it, sealing it anew.

use super::{Destinations, Outpost, Tenants, of_store};
use crate::ports::store::{Expect, Filter, Key, List, Prune, Quota, Row, Scan, Usage, Write};
use crate::runtime::Phase;
use crate::values::error::{Error, ErrorKind, Result};
use crate::values::id::Incarnation;
use crate::values::page::Direction;
use crate::values::time::Timestamp;

/// What one commit of an erasure deletes and looks at, at most.
const ERASE_BATCH: u32 = 200;
const ERASE_EXAMINE: u32 = 1000;
/// How many destinations are sealed anew between two looks at the list.
const RESEAL_PAGE: u32 = 100;

/// What an erasure has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// How many events.
    pub events: u64,
    /// How many attempts.
    pub attempts: u64,
    /// How many events stay because something about them is still to happen.
    pub kept: u64,
}

/// What sealing anew has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// How many destinations were looked at.
    pub seen: u64,
    /// How many of them were sealed anew.
    pub changed: u64,
}

impl Tenants<'_> {
    /// What a tenant has stored, and what it may have.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for the tenant; the store's failures.
    pub async fn usage(&self, id: &str) -> Result<(Usage, Quota)> {
        const OPERATION: &str = "get usage";
        let tenant = self.0.admit(OPERATION, id, crate::domain::actor::Capability::Read).await?;
        let shared = self.0.shared();
        let found = shared.fetch_one(Key::Usage(tenant.incarnation)).await;
        match found.map_err(|error| of_store(OPERATION, error))? {
            Some(Row::Usage(usage)) => Ok((usage, shared.settings.quota)),
            _ => Ok((Usage::default(), shared.settings.quota)),
        }
    }

    /// Deletes what a tenant, live or deleted, has published, with all that hangs on it, whatever its age; only
    /// events of which something is still to be sent stay. Ids of erased events may be used again. Returns when
    /// it is done; repeating it is safe.
    ///
    /// # Errors
    /// [`Forbidden`](ErrorKind::Forbidden) for any actor but the operator; the store's failures, which leave it
    /// half done.
    pub async fn erase_log(&self, incarnation: Incarnation) -> Result<Erased> {
        const OPERATION: &str = "erase log";
        self.0.actor.operator_only(OPERATION)?;
        let shared = self.0.shared();
        let mut erased = Erased::default();
        let mut resume = None;
        loop {
            let (now, tenant, before) = (shared.now(), Some(incarnation), Timestamp::MAX);
            let request = Prune { now, tenant, before, resume, limit: ERASE_BATCH, examine: ERASE_EXAMINE };
            let pruned = shared.store.prune(request).await.map_err(|error| of_store(OPERATION, error))?;
            erased.events += pruned.events;
            erased.attempts += pruned.attempts;
            erased.kept += pruned.kept;
            resume = pruned.resume;
            if resume.is_none() {
                return Ok(erased);
            }
            if shared.phase() != Phase::Running {
                return Err(Error::new(ErrorKind::ShuttingDown, OPERATION, "the engine is shutting down"));
            }
        }
    }
}

impl Destinations<'_> {
    /// Seals again what is not sealed as the sealer would do it now, such as under the key that writes, so that
    /// an old key can be dropped. (Each destination is also sealed anew whenever it changes.) Repeating it is
    /// safe.
    ///
    /// # Errors
    /// [`Forbidden`](ErrorKind::Forbidden) for any actor but the operator; [`Corrupt`](ErrorKind::Corrupt) for a
    /// destination that cannot be opened, once all others are done; the store's failures.
    pub async fn reseal(&self) -> Result<Resealed> {
        const OPERATION: &str = "reseal";
        self.0.actor.operator_only(OPERATION)?;
        self.0.check_key().await?;
        let shared = self.0.shared();
        let mut done = Resealed::default();
        let mut unread = Vec::new();
        let mut after = None;
        loop {
            let scan = Scan {
                list: List::Destinations,
                filter: Filter::default(),
                direction: Direction::Ascending,
                after,
                limit: RESEAL_PAGE,
                examine: RESEAL_PAGE,
            };
            let page = shared.store.scan(scan).await.map_err(|error| of_store(OPERATION, error))?;
            for row in page.rows {
                let Row::Destination(record) = row else { continue };
                done.seen += 1;
                match self.reseal_one(OPERATION, record.incarnation).await {
                    Ok(changed) => done.changed += u64::from(changed),
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        unread.push(format!("{} of {}", record.id, record.tenant_id));
                    }
                    Err(error) => return Err(error),
                }
            }
            after = page.resume;
            if after.is_none() {
                break;
            }
        }
        if unread.is_empty() {
            return Ok(done);
        }
        unread.truncate(10);
        let message = format!("these destinations cannot be opened: {}", unread.join(", "));
        Err(Error::new(ErrorKind::Corrupt, OPERATION, message))
    }

    async fn reseal_one(&self, operation: &'static str, life: Incarnation) -> Result<bool> {
        let shared = self.0.shared();
        for _ in 0..super::tenants::WRITE_TRIES {
            let found = shared.fetch_one(Key::DestinationLife(life)).await;
            let Some(Row::Destination(mut record)) = found.map_err(|error| of_store(operation, error))? else {
                return Ok(false);
            };
            let values = [&record.config, &record.credentials, &record.delivery_metadata];
            if record.deleted_at.is_some() || values.into_iter().all(|value| shared.sealer.is_current(value)) {
                return Ok(false);
            }
            let maps = self.open(operation, &record)?;
            self.seal(operation, &mut record, &maps)?;
            let expect = Expect::Revision(record.revision);
            let write = Write::PutDestination { destination: record, expect, limit: None };
            // Refused: it was changed, and by that sealed anew, or deleted.
            if self.0.write(operation, write).await?.is_ok() {
                return Ok(true);
            }
        }
        Err(Error::new(ErrorKind::NotStored, operation, "a destination is being changed by others; try again"))
    }
}

impl Outpost {
    /// What each tenant may have stored.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.shared().settings.quota
    }
}
