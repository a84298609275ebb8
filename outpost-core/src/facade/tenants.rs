//! Tenants.

use super::listing::{self, Scope};
use super::{Outpost, of_store};
use crate::domain::actor::{Actor, Capability};
use crate::domain::operator::OPERATOR_TENANT;
use crate::domain::tenant::{StringMap, Tenant, check_map};
use crate::ports::clock::random_u64;
use crate::ports::store::{Apply, ApplyOutcome, Expect, Filter, IngestItem, Key, List, Refusal, Row, Write};
use crate::runtime::directory::TenantView;
use crate::values::error::{Error, ErrorKind, Problem, Result};
use crate::values::id::{Incarnation, TenantId};
use crate::values::page::{Page, PageRequest};

/// How often a write is tried again when somebody else's came in between.
pub(super) const WRITE_TRIES: u32 = 8;

/// What came of [`Tenants::put`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutTenant {
    /// The tenant.
    pub tenant: Tenant,
    /// It did not exist before.
    pub created: bool,
}

/// The tenants of an [`Outpost`].
#[derive(Clone, Copy)]
pub struct Tenants<'a>(pub(super) &'a Outpost);

impl Tenants<'_> {
    /// Creates a tenant, or changes its metadata. `None` keeps the metadata that is there.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a bad id or metadata; [`Forbidden`](ErrorKind::Forbidden) for any
    /// actor but the operator; the store's failures.
    pub async fn put(&self, id: &str, metadata: Option<StringMap>) -> Result<PutTenant> {
        const OPERATION: &str = "put tenant";
        self.0.actor.operator_only(OPERATION)?;
        let mut problems = Vec::new();
        let id = super::take(TenantId::new(id), &mut problems);
        if id.as_ref().is_some_and(|id| id.as_str() == OPERATOR_TENANT) {
            problems.push(Problem::new("tenant_id", "is reserved for operator events"));
        }
        check_map("metadata", metadata.as_ref().unwrap_or(&StringMap::new()), &mut problems);
        let Some(id) = id.filter(|_| problems.is_empty()) else { return Err(Error::invalid(OPERATION, problems)) };
        let shared = self.0.shared();
        for _ in 0..WRITE_TRIES {
            let now = shared.now();
            let found = shared.fetch_one(Key::Tenant(id.clone())).await.map_err(|error| of_store(OPERATION, error))?;
            let (mut tenant, expect) = match found {
                Some(Row::Tenant(mut tenant)) => {
                    let Some(metadata) = &metadata else { return Ok(PutTenant { tenant, created: false }) };
                    tenant.metadata = metadata.clone();
                    tenant.updated_at = now;
                    let expect = Expect::Revision(tenant.revision);
                    (tenant, expect)
                }
                _ => {
                    let incarnation = Incarnation::generate(now, random_u64(&*shared.entropy));
                    let tenant = Tenant {
                        id: id.clone(),
                        incarnation,
                        metadata: metadata.clone().unwrap_or_default(),
                        created_at: now,
                        updated_at: now,
                        deleted_at: None,
                        revision: 1,
                        subscriptions: 0,
                    };
                    (tenant, Expect::Absent)
                }
            };
            let write = Write::PutTenant { tenant: tenant.clone(), expect };
            // A refusal means that somebody else's write came in between: look again.
            if let Ok(revision) = self.0.write(OPERATION, write).await? {
                tenant.revision = revision;
                return Ok(PutTenant { tenant, created: expect == Expect::Absent });
            }
        }
        Err(Error::new(ErrorKind::NotStored, OPERATION, "the tenant is being changed by others; try again"))
    }

    /// A live tenant.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is none or it is not the actor's; the store's failures.
    pub async fn get(&self, id: &str) -> Result<Tenant> {
        self.0.admit("get tenant", id, Capability::Read).await
    }

    /// A tenant by its incarnation, deleted or not: the key to the log of a tenant that is gone.
    ///
    /// # Errors
    /// [`Forbidden`](ErrorKind::Forbidden) for any actor but the operator;
    /// [`NotFound`](ErrorKind::NotFound); the store's failures.
    pub async fn get_life(&self, incarnation: Incarnation) -> Result<Tenant> {
        const OPERATION: &str = "get tenant";
        self.0.actor.operator_only(OPERATION)?;
        let found = self.0.shared().fetch_one(Key::TenantLife(incarnation)).await;
        match found.map_err(|error| of_store(OPERATION, error))? {
            Some(Row::Tenant(tenant)) => Ok(tenant),
            _ => Err(Error::new(ErrorKind::NotFound, OPERATION, "tenant not found")),
        }
    }

    /// The live tenants by time of creation; a tenant's user sees its own only.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a bad limit or cursor; the store's failures.
    pub async fn list(&self, page: &PageRequest) -> Result<Page<Tenant>> {
        const OPERATION: &str = "list tenants";
        let scope = match &*self.0.actor {
            Actor::Operator => Scope::All,
            Actor::Tenant { tenant, .. } => Scope::Tenant(tenant.to_string()),
        };
        let tenant = scope.resolve(self.0, OPERATION, Capability::Read).await?;
        let filter = Filter { tenant, ..Filter::default() };
        let found = listing::page(self.0, OPERATION, List::Tenants, filter, page).await?;
        Ok(listing::pick(found, |row| if let Row::Tenant(tenant) = row { Some(tenant) } else { None }))
    }

    /// Deletes a tenant: its destinations go with it, pending deliveries are cancelled. Its log stays
    /// readable to the operator. The id may be used again and inherits nothing.
    ///
    /// # Errors
    /// [`Forbidden`](ErrorKind::Forbidden) for any actor but the operator;
    /// [`NotFound`](ErrorKind::NotFound); the store's failures.
    pub async fn delete(&self, id: &str) -> Result<()> {
        const OPERATION: &str = "delete tenant";
        self.0.actor.operator_only(OPERATION)?;
        if id == OPERATOR_TENANT {
            // Nobody would be told of anything until the next start.
            let problem = Problem::new("tenant_id", "is reserved for operator events");
            return Err(Error::invalid(OPERATION, vec![problem]));
        }
        let tenant = self.0.admit(OPERATION, id, Capability::Write).await?;
        let shared = self.0.shared();
        // Before the tenant is gone nobody else can tell which destinations it had.
        let view = shared.tenant_view(&tenant.id).await.map_err(|error| of_store(OPERATION, error))?;
        let write = Write::DeleteTenant { tenant: tenant.incarnation, at: shared.now() };
        let outcome = self.0.write(OPERATION, write).await?;
        shared.directory.forget_tenant(&tenant.id);
        for place in view.iter().flat_map(|view| &view.places) {
            shared.directory.forget_place(place.record.incarnation);
            shared.give_back(place.record.incarnation);
        }
        shared.sweep_soon();
        outcome.map(drop).map_err(|_| Error::new(ErrorKind::NotFound, OPERATION, "tenant not found"))
    }
}

impl Outpost {
    /// One write; the inner result is the store's refusal.
    pub(super) async fn write(
        &self,
        operation: &'static str,
        write: Write,
    ) -> Result<std::result::Result<i64, Refusal>> {
        self.write_with(operation, write, |_| None).await
    }

    /// One write and the operator event that tells of it, which is made anew when the operator's destination
    /// has changed.
    pub(super) async fn write_with(
        &self,
        operation: &'static str,
        write: Write,
        event: impl Fn(&TenantView) -> Option<IngestItem> + Send + Sync,
    ) -> Result<std::result::Result<i64, Refusal>> {
        let shared = self.shared();
        if shared.phase() != crate::runtime::Phase::Running {
            return Err(Error::new(ErrorKind::ShuttingDown, operation, "the engine is shutting down"));
        }
        for _ in 0..WRITE_TRIES {
            let follow_ups: Vec<IngestItem> =
                shared.operator.view().and_then(|view| event(&view)).into_iter().collect();
            let told = !follow_ups.is_empty();
            let request = Apply { now: shared.now(), writes: vec![write.clone()], follow_ups };
            match shared.store.apply(request).await.map_err(|error| of_store(operation, error))? {
                ApplyOutcome::Done(revisions) => {
                    if told {
                        shared.look_for_work();
                    }
                    return Ok(Ok(revisions.first().copied().unwrap_or(0)));
                }
                ApplyOutcome::Refused { refusal, .. } => return Ok(Err(refusal)),
                ApplyOutcome::Outdated => {
                    shared.refresh_operator().await.map_err(|error| of_store(operation, error))?;
                }
            }
        }
        Err(Error::new(ErrorKind::NotStored, operation, "the operator's destination changes all the time; try again"))
    }
}
