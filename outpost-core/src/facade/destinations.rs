//! Destinations.

use std::sync::Arc;
use std::time::Duration;

use super::listing::not_found;
use super::tenants::WRITE_TRIES;
use super::{Outpost, of_store};
use crate::domain::actor::Capability;
use crate::domain::destination::{
    Credentials, Destination, DestinationPatch, Disabled, DisabledBy, MASK, MapPatch, NewDestination, check_name,
};
use crate::domain::operator::{
    OPERATOR_DESTINATION, OPERATOR_TENANT, SUBSCRIPTION_UPDATED, Subscription, subscription_updated,
};
use crate::domain::settings::DeliverySettings;
use crate::domain::tenant::{StringMap, Tenant, check_header_map, check_map};
use crate::engine::record::{DestinationRecord, LaneRecord};
use crate::ports::clock::random_u64;
use crate::ports::store::{Expect, Fetch, Key, Refusal, Row, Write};
use crate::ports::transport::{Rotation, Target, Transport};
use crate::runtime::directory::Opened;
use crate::runtime::operator::{item, wants};
use crate::values::error::{Error, ErrorKind, Problem, Result};
use crate::values::id::{DestinationId, Incarnation};
use crate::values::page::{Page, PageRequest};

/// A change to a destination that is there.
#[derive(Clone, Copy)]
enum Change<'a> {
    Patch(&'a DestinationPatch),
    Rotate(Option<Duration>),
    Enable,
    Disable(&'a str, DisabledBy),
}

/// How many lanes are looked up at once.
const LANES_AT_ONCE: usize = 500;

/// The destinations of an [`Outpost`].
#[derive(Clone, Copy)]
pub struct Destinations<'a>(pub(super) &'a Outpost);

impl Destinations<'_> {
    /// Creates a destination.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) listing every problem with the input;
    /// [`Conflict`](ErrorKind::Conflict) when the id is taken; [`LimitReached`](ErrorKind::LimitReached) at
    /// the tenant's limit; [`NotFound`](ErrorKind::NotFound) for the tenant;
    /// [`Forbidden`](ErrorKind::Forbidden) without [`Capability::Write`], or with credentials in it without
    /// [`Capability::Secrets`]; the store's failures.
    pub async fn create(&self, tenant: &str, new: NewDestination) -> Result<Destination> {
        const OPERATION: &str = "create destination";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Write).await?;
        if !new.credentials.expose().is_empty() {
            self.need_secrets(OPERATION)?;
        }
        let shared = self.0.shared();
        let mut problems = Vec::new();
        check_name(new.name.as_deref(), &mut problems);
        check_map("metadata", &new.metadata, &mut problems);
        check_header_map("delivery_metadata", &new.delivery_metadata, &mut problems);
        let operators = tenant.id.as_str() == OPERATOR_TENANT;
        if operators && new.id.as_ref().is_none_or(|id| id.as_str() != OPERATOR_DESTINATION) {
            problems.push(Problem::new("tenant_id", "is reserved for operator events"));
        }
        if new.id.as_ref().is_some_and(|id| id.as_str() == "new") {
            problems.push(Problem::new("destination_id", "must not be the word new"));
        }
        let filter = self.check_filter(new.filter.as_deref(), None, &mut problems);
        let settings = Arc::new(new.settings);
        self.check_settings(&settings, &DeliverySettings::default(), &mut problems);
        let mut maps = Opened {
            config: new.config,
            credentials: new.credentials.expose().clone(),
            delivery_metadata: new.delivery_metadata,
        };
        let transport = shared.transport_of(&tenant.id, &new.kind).cloned();
        let target = match &transport {
            None => {
                problems.push(Problem::new("type", format!("{:?} is not a type of destination here", new.kind)));
                None
            }
            Some(transport) => {
                transport.provision(&mut maps.credentials, &*shared.entropy);
                self.check_hidden(&**transport, &StringMap::new(), &maps.config, &mut problems);
                super::take_all(prepare(&**transport, &maps), &mut problems)
            }
        };
        let (Some(transport), Some(target), true) = (transport, target, problems.is_empty()) else {
            return Err(Error::invalid(OPERATION, problems));
        };
        let now = shared.now();
        let mut vetted = false;
        for _ in 0..WRITE_TRIES {
            let incarnation = Incarnation::generate(now, random_u64(&*shared.entropy));
            let id = match &new.id {
                Some(id) => id.clone(),
                None => DestinationId::new(shared.new_id(&shared.settings.prefixes.destination, now))
                    .map_err(|problem| Error::invalid(OPERATION, vec![problem]))?,
            };
            let by = if self.0.actor.is_operator() { DisabledBy::Operator } else { DisabledBy::Tenant };
            let disabled = new.disabled.clone().map(|reason| Disabled { at: now, by, reason, last_error: None });
            let mut record = DestinationRecord {
                id,
                incarnation,
                tenant_id: tenant.id.clone(),
                tenant: tenant.incarnation,
                kind: new.kind.clone(),
                name: new.name.clone(),
                topics: new.topics.clone(),
                filter: filter.clone(),
                settings: settings.clone(),
                by_operator: self.0.actor.is_operator(),
                config: Default::default(),
                credentials: Default::default(),
                delivery_metadata: Default::default(),
                metadata: new.metadata.clone(),
                target: target.display().to_owned(),
                created_at: now,
                updated_at: now,
                disabled,
                deleted_at: None,
                deleted_with_tenant: false,
                epoch: 0,
                epoch_at: now,
                revision: 1,
            };
            if !vetted {
                self.vet(OPERATION, &*transport, &target, &record).await?;
                vetted = true;
            }
            self.seal(OPERATION, &mut record, &maps)?;
            let limit = Some(shared.settings.max_destinations);
            let write = Write::PutDestination { destination: Box::new(record.clone()), expect: Expect::Absent, limit };
            match self.write(OPERATION, write, &tenant, Some(&record)).await? {
                Ok(revision) => {
                    record.revision = revision;
                    shared.directory.forget_tenant(&tenant.id);
                    return Ok(self.shown(record, maps));
                }
                // The id is taken, unless the incarnation met its double.
                Err(Refusal::Exists) if new.id.is_some() => {
                    if self.record(OPERATION, &tenant, record.id.as_str()).await.is_err() {
                        continue;
                    }
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        OPERATION,
                        "a destination with this id exists already",
                    ));
                }
                // A generated id or incarnation met its double: draw again.
                Err(Refusal::Exists) => {}
                Err(refusal) => return Err(refused(OPERATION, refusal)),
            }
        }
        Err(Error::new(ErrorKind::NotStored, OPERATION, "no free id was found; try again"))
    }

    /// A live destination.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for tenant or destination; the store's failures.
    pub async fn get(&self, tenant: &str, id: &str) -> Result<Destination> {
        const OPERATION: &str = "get destination";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Read).await?;
        let record = self.record(OPERATION, &tenant, id).await?;
        let maps = self.open(OPERATION, &record)?;
        Ok(self.shown(record, maps))
    }

    /// All of a tenant's live destinations, oldest first.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for the tenant; the store's failures.
    pub async fn list(&self, tenant: &str) -> Result<Vec<Destination>> {
        const OPERATION: &str = "list destinations";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Read).await?;
        let shared = self.0.shared();
        let request = Fetch { now: shared.now(), keys: vec![Key::DestinationsOf(tenant.incarnation)] };
        let rows = shared.store.fetch(request).await.map_err(|error| of_store(OPERATION, error))?;
        let mut found = Vec::new();
        for row in rows.into_iter().flatten() {
            if let Row::Destination(record) = row {
                found.push(self.shown_anyway(*record));
            }
        }
        Ok(found)
    }

    /// Every tenant's live destinations by time of creation, for the operator.
    ///
    /// # Errors
    /// [`Forbidden`](ErrorKind::Forbidden) for any actor but the operator; [`Invalid`](ErrorKind::Invalid) for
    /// a bad limit or cursor; the store's failures.
    pub async fn list_all(&self, page: &PageRequest) -> Result<Page<Destination>> {
        use super::listing;
        const OPERATION: &str = "list destinations";
        self.0.actor.operator_only(OPERATION)?;
        let list = crate::ports::store::List::Destinations;
        let found = listing::page(self.0, OPERATION, list, Default::default(), page).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for row in found.items {
            if let Row::Destination(record) = row {
                items.push(self.shown_anyway(*record));
            }
        }
        Ok(Page { items, next: found.next, prev: found.prev })
    }

    /// A destination's queue: until when it is held, what is due, how much waits.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for tenant or destination; the store's failures.
    pub async fn lane(&self, tenant: &str, id: &str) -> Result<LaneRecord> {
        const OPERATION: &str = "get lane";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Read).await?;
        let record = self.record(OPERATION, &tenant, id).await?;
        let found = self.0.shared().fetch_one(Key::Lane(record.incarnation)).await;
        match found.map_err(|error| of_store(OPERATION, error))? {
            Some(Row::Lane(lane)) => Ok(lane),
            _ => Err(not_found(OPERATION, "destination")),
        }
    }

    /// The queues of all of a tenant's live destinations, in the order of [`list`](Self::list).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for the tenant; the store's failures.
    pub async fn lanes(&self, tenant: &str) -> Result<Vec<LaneRecord>> {
        const OPERATION: &str = "list lanes";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Read).await?;
        let shared = self.0.shared();
        let fetch = async |keys| {
            let rows = shared.store.fetch(Fetch { now: shared.now(), keys }).await;
            rows.map_err(|error| of_store(OPERATION, error))
        };
        let lane = |row| if let Row::Destination(record) = row { Some(Key::Lane(record.incarnation)) } else { None };
        let destinations = fetch(vec![Key::DestinationsOf(tenant.incarnation)]).await?;
        let keys: Vec<Key> = destinations.into_iter().flatten().filter_map(lane).collect();
        let mut lanes = Vec::with_capacity(keys.len());
        for keys in keys.chunks(LANES_AT_ONCE) {
            let rows = fetch(keys.to_vec()).await?.into_iter().flatten();
            lanes.extend(rows.filter_map(|row| if let Row::Lane(lane) = row { Some(lane) } else { None }));
        }
        Ok(lanes)
    }

    /// Changes a destination. Maps are changed by merge-patch; a credential that equals [`MASK`] keeps its
    /// value.
    ///
    /// # Errors
    /// As [`create`](Self::create); [`Stale`](ErrorKind::Stale) when
    /// [`if_revision`](DestinationPatch::if_revision) names another revision;
    /// [`Forbidden`](ErrorKind::Forbidden) for an actor without [`Capability::Secrets`] that changes
    /// credentials or where they are sent.
    pub async fn update(&self, tenant: &str, id: &str, patch: DestinationPatch) -> Result<Destination> {
        const OPERATION: &str = "update destination";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Write).await?;
        self.change(OPERATION, &tenant, id, patch.if_revision, Change::Patch(&patch)).await
    }

    /// Makes a new signing secret. The old one stays valid for `overlap` (24 h by default), and requests are
    /// signed with both meanwhile; earlier ones end with it at the latest, so no overlap voids them all.
    ///
    /// # Errors
    /// [`Forbidden`](ErrorKind::Forbidden) without [`Capability::Secrets`]; [`Invalid`](ErrorKind::Invalid)
    /// when this type has no secret to rotate; as [`get`](Self::get).
    pub async fn rotate_secret(&self, tenant: &str, id: &str, overlap: Option<Duration>) -> Result<Destination> {
        const OPERATION: &str = "rotate secret";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Secrets).await?;
        self.change(OPERATION, &tenant, id, None, Change::Rotate(overlap)).await
    }

    /// Enables a destination; new events go to it from now on. Does nothing when it is enabled.
    ///
    /// # Errors
    /// [`Forbidden`](ErrorKind::Forbidden) for a tenant's user when the operator has locked it;
    /// [`Invalid`](ErrorKind::Invalid) when its address may not be sent to; as [`get`](Self::get).
    pub async fn enable(&self, tenant: &str, id: &str) -> Result<Destination> {
        const OPERATION: &str = "enable destination";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Write).await?;
        self.change(OPERATION, &tenant, id, None, Change::Enable).await
    }

    /// Disables a destination: what waits for it and what is published meanwhile is skipped. Does nothing
    /// when it is disabled.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`Forbidden`](ErrorKind::Forbidden) without [`Capability::Write`].
    pub async fn disable(&self, tenant: &str, id: &str, reason: &str) -> Result<Destination> {
        let by = if self.0.actor.is_operator() { DisabledBy::Operator } else { DisabledBy::Tenant };
        self.disable_by("disable destination", tenant, id, reason, by).await
    }

    /// Disables a destination so that only the operator can enable it again.
    ///
    /// # Errors
    /// [`Forbidden`](ErrorKind::Forbidden) for any actor but the operator; as [`get`](Self::get).
    pub async fn lock(&self, tenant: &str, id: &str, reason: &str) -> Result<Destination> {
        const OPERATION: &str = "lock destination";
        self.0.actor.operator_only(OPERATION)?;
        self.disable_by(OPERATION, tenant, id, reason, DisabledBy::OperatorLock).await
    }

    async fn disable_by(
        &self,
        operation: &'static str,
        tenant: &str,
        id: &str,
        reason: &str,
        by: DisabledBy,
    ) -> Result<Destination> {
        let tenant = self.0.admit(operation, tenant, Capability::Write).await?;
        if reason.len() > 1024 || reason.chars().any(char::is_control) {
            let problem = Problem::new("reason", "must have at most 1024 bytes and no control characters");
            return Err(Error::invalid(operation, vec![problem]));
        }
        self.change(operation, &tenant, id, None, Change::Disable(reason, by)).await
    }

    /// Deletes a destination: pending deliveries are cancelled, its log stays readable. The id may be used
    /// again and inherits nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`Forbidden`](ErrorKind::Forbidden) without [`Capability::Write`].
    pub async fn delete(&self, tenant: &str, id: &str) -> Result<()> {
        const OPERATION: &str = "delete destination";
        let tenant = self.0.admit(OPERATION, tenant, Capability::Write).await?;
        let record = self.record(OPERATION, &tenant, id).await?;
        let write = Write::DeleteDestination { destination: record.incarnation, at: self.0.shared().now() };
        let outcome = self.write(OPERATION, write, &tenant, None).await?;
        self.changed(&tenant, record.incarnation);
        outcome.map(drop).map_err(|refusal| refused(OPERATION, refusal))
    }

    /// Reads, makes the change, and writes under the revision that was read; again when somebody else's write
    /// came in between, unless the caller named the revision.
    async fn change(
        &self,
        operation: &'static str,
        tenant: &Tenant,
        id: &str,
        if_revision: Option<i64>,
        change: Change<'_>,
    ) -> Result<Destination> {
        for _ in 0..WRITE_TRIES {
            let mut record = self.record(operation, tenant, id).await?;
            let found = record.revision;
            if if_revision.is_some_and(|wanted| wanted != found) {
                return Err(refused(operation, Refusal::Stale { found }));
            }
            let seen_at = record.updated_at;
            record.updated_at = self.0.shared().now();
            if !self.make(operation, change, &mut record).await? {
                record.updated_at = seen_at;
                let maps = self.open(operation, &record)?;
                return Ok(self.shown(record, maps));
            }
            let destination = Box::new(record.clone());
            let write = Write::PutDestination { destination, expect: Expect::Revision(found), limit: None };
            match self.write(operation, write, tenant, Some(&record)).await? {
                Ok(revision) => {
                    record.revision = revision;
                    self.0.shared().scheduler().changed(record.incarnation, &record.settings);
                    self.changed(tenant, record.incarnation);
                    self.0.shared().look_for_work();
                    let maps = self.open(operation, &record)?;
                    return Ok(self.shown(record, maps));
                }
                Err(Refusal::Stale { .. }) if if_revision.is_none() => {}
                Err(refusal) => return Err(refused(operation, refusal)),
            }
        }
        Err(Error::new(ErrorKind::NotStored, operation, "the destination is being changed by others; try again"))
    }

    /// Makes the change in `record` and answers whether that is to be written. (Closures in place of [`Change`]
    /// would make futures that no host can spawn.)
    async fn make(&self, operation: &'static str, change: Change<'_>, record: &mut DestinationRecord) -> Result<bool> {
        match change {
            Change::Patch(patch) => self.patch(operation, patch, record).await,
            Change::Rotate(overlap) => self.rotate(operation, overlap, record),
            Change::Enable => self.lift(operation, record).await,
            Change::Disable(reason, by) => Ok(self.bar(reason, by, record)),
        }
    }

    async fn patch(
        &self,
        operation: &'static str,
        patch: &DestinationPatch,
        record: &mut DestinationRecord,
    ) -> Result<bool> {
        let shared = self.0.shared();
        let mut problems = Vec::new();
        if patch.kind.as_ref().is_some_and(|kind| *kind != record.kind) {
            problems.push(Problem::new("type", "cannot be updated"));
        }
        if let Some(name) = &patch.name {
            check_name(name.as_deref(), &mut problems);
            record.name.clone_from(name);
        }
        if let Some(topics) = &patch.topics {
            record.topics = topics.clone();
        }
        if let Some(filter) = &patch.filter {
            record.filter = self.check_filter(filter.as_deref(), record.filter.as_ref(), &mut problems);
        }
        if let Some(settings) = &patch.settings {
            self.check_settings(settings, &record.settings, &mut problems);
            record.settings = Arc::new(settings.clone());
        }
        let before = self.open(operation, record)?;
        // What is shown in place of a secret means "keep" when it is sent back.
        let unmasked = self.unmasked(record, &before.config, &patch.config);
        let maps = Opened {
            config: unmasked.apply(&before.config, None),
            credentials: patch.credentials.apply(&before.credentials, Some(MASK)),
            delivery_metadata: patch.delivery_metadata.apply(&before.delivery_metadata, None),
        };
        record.metadata = patch.metadata.apply(&record.metadata, None);
        check_map("metadata", &record.metadata, &mut problems);
        check_header_map("delivery_metadata", &maps.delivery_metadata, &mut problems);
        if maps.credentials != before.credentials {
            self.need_secrets(operation)?;
        }
        let touched = !matches!(
            (&patch.config, &patch.credentials, &patch.delivery_metadata),
            (MapPatch::Keep, MapPatch::Keep, MapPatch::Keep)
        );
        let mut maps = maps;
        let mut target = None;
        if touched {
            let transport = shared.transport_of(&record.tenant_id, &record.kind).cloned();
            let Some(transport) = transport else {
                problems.push(Problem::new("type", format!("{:?} is not a type of destination here", record.kind)));
                return Err(Error::invalid(operation, problems));
            };
            self.check_hidden(&*transport, &before.config, &maps.config, &mut problems);
            if maps.credentials.is_empty() {
                transport.provision(&mut maps.credentials, &*shared.entropy);
            }
            target = super::take_all(prepare(&*transport, &maps), &mut problems).map(|target| (transport, target));
        }
        if !problems.is_empty() {
            return Err(Error::invalid(operation, problems));
        }
        if let Some((transport, target)) = target {
            if origin(&record.target) != origin(target.display()) {
                self.need_secrets(operation)?;
            }
            // What the operator may reach is not for a tenant to choose.
            record.by_operator &= self.0.actor.is_operator() || record.target == target.display();
            self.vet(operation, &*transport, &target, record).await?;
            record.target = target.display().to_owned();
            self.seal(operation, record, &maps)?;
        }
        Ok(true)
    }

    fn rotate(
        &self,
        operation: &'static str,
        overlap: Option<Duration>,
        record: &mut DestinationRecord,
    ) -> Result<bool> {
        let shared = self.0.shared();
        let mut maps = self.open(operation, record)?;
        let transport = shared.transport_of(&record.tenant_id, &record.kind);
        let transport = transport.ok_or_else(|| not_found(operation, "transport"))?;
        let overlap = overlap.unwrap_or(crate::domain::destination::DEFAULT_ROTATION_OVERLAP);
        let rotation = Rotation { now: shared.now(), overlap };
        maps.credentials = transport
            .rotate(&maps.credentials, rotation, &*shared.entropy)
            .map_err(|problems| Error::invalid(operation, problems))?;
        prepare(&**transport, &maps).map_err(|problems| Error::invalid(operation, problems))?;
        self.seal(operation, record, &maps)?;
        Ok(true)
    }

    async fn lift(&self, operation: &'static str, record: &mut DestinationRecord) -> Result<bool> {
        let Some(disabled) = &record.disabled else { return Ok(false) };
        if disabled.by == DisabledBy::OperatorLock && !self.0.actor.is_operator() {
            return Err(Error::new(ErrorKind::Forbidden, operation, "the operator has locked this destination"));
        }
        let maps = self.open(operation, record)?;
        if let Some(transport) = self.0.shared().transport_of(&record.tenant_id, &record.kind) {
            let target = prepare(&**transport, &maps).map_err(|problems| Error::invalid(operation, problems))?;
            self.vet(operation, &**transport, &target, record).await?;
        }
        record.disabled = None;
        Ok(true)
    }

    fn bar(&self, reason: &str, by: DisabledBy, record: &mut DestinationRecord) -> bool {
        match &mut record.disabled {
            // A lock strengthens what is there.
            Some(disabled) if by == DisabledBy::OperatorLock && disabled.by != by => {
                disabled.by = by;
                reason.clone_into(&mut disabled.reason);
                true
            }
            Some(_) => false,
            None => {
                let at = self.0.shared().now();
                record.disable(Disabled { at, by, reason: reason.to_owned(), last_error: None });
                true
            }
        }
    }

    /// Makes this process notice a change at once.
    fn changed(&self, tenant: &Tenant, destination: Incarnation) {
        let shared = self.0.shared();
        shared.directory.forget_tenant(&tenant.id);
        shared.directory.forget_place(destination);
        shared.give_back(destination);
        shared.sweep_soon();
    }

    pub(super) async fn record(&self, operation: &'static str, tenant: &Tenant, id: &str) -> Result<DestinationRecord> {
        let Ok(id) = DestinationId::new(id) else { return Err(not_found(operation, "destination")) };
        let found = self.0.shared().fetch_one(Key::Destination(tenant.incarnation, id)).await;
        match found.map_err(|error| of_store(operation, error))? {
            Some(Row::Destination(record)) => Ok(*record),
            _ => Err(not_found(operation, "destination")),
        }
    }

    fn need_secrets(&self, operation: &'static str) -> Result<()> {
        if self.0.actor.has(Capability::Secrets) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Forbidden, operation, "this needs the capability \"secrets\""))
    }

    pub(super) fn seal(&self, operation: &'static str, record: &mut DestinationRecord, maps: &Opened) -> Result<()> {
        let shared = self.0.shared();
        let failed = |message: String| Error::new(ErrorKind::Internal, operation, message);
        let (tenant, life) = (record.tenant, record.incarnation);
        record.config = shared.seal(tenant, life, "config", &maps.config).map_err(failed)?;
        record.credentials = shared.seal(tenant, life, "credentials", &maps.credentials).map_err(failed)?;
        record.delivery_metadata =
            shared.seal(tenant, life, "delivery_metadata", &maps.delivery_metadata).map_err(failed)?;
        Ok(())
    }

    pub(super) fn open(&self, operation: &'static str, record: &DestinationRecord) -> Result<Opened> {
        self.0.shared().open(record).map_err(|message| Error::new(ErrorKind::Corrupt, operation, message))
    }

    /// The destination as the actor may see it; without its settings when they cannot be opened, since one such
    /// destination must not hide the others.
    fn shown_anyway(&self, record: DestinationRecord) -> Destination {
        let maps = self.0.shared().open(&record).unwrap_or_else(|error| {
            tracing::error!(tenant = %record.tenant_id, destination = %record.id, error, "settings cannot be read");
            Opened::default()
        });
        self.shown(record, maps)
    }

    /// Writes a destination, and tells the operator when that changes what the tenant subscribes to. `after` is
    /// the destination as it will be; `None`: deleted.
    async fn write(
        &self,
        operation: &'static str,
        write: Write,
        tenant: &Tenant,
        after: Option<&DestinationRecord>,
    ) -> Result<std::result::Result<i64, Refusal>> {
        let shared = self.0.shared();
        let view = shared.operator.view().filter(|view| view.tenant.incarnation != tenant.incarnation);
        if !view.is_some_and(|view| wants(&view, SUBSCRIPTION_UPDATED)) {
            return self.0.write(operation, write).await;
        }
        let request = Fetch { now: shared.now(), keys: vec![Key::DestinationsOf(tenant.incarnation)] };
        let rows = shared.store.fetch(request).await.map_err(|error| of_store(operation, error))?;
        let live: Vec<DestinationRecord> = rows
            .into_iter()
            .flatten()
            .filter_map(|row| if let Row::Destination(record) = row { Some(*record) } else { None })
            .collect();
        let gone = match &write {
            Write::DeleteDestination { destination, .. } => Some(*destination),
            _ => after.map(|record| record.incarnation),
        };
        let kept = live.iter().filter(|record| Some(record.incarnation) != gone);
        let before = Subscription::of(live.iter().map(|record| &record.topics));
        let after = Subscription::of(kept.chain(after).map(|record| &record.topics));
        if before == after {
            return self.0.write(operation, write).await;
        }
        let now = shared.now();
        let id = shared.new_id("op_", now);
        self.0
            .write_with(operation, write, |view| {
                let deployment = shared.operator.deployment.as_deref();
                let event = subscription_updated(id.clone(), now, &tenant.id, (&before, &after), deployment);
                item(view, event, now)
            })
            .await
    }

    /// The destination as the actor may see it.
    fn shown(&self, record: DestinationRecord, maps: Opened) -> Destination {
        let credentials = Credentials::new(maps.credentials);
        let (credentials, config) = if self.0.actor.has(Capability::Secrets) {
            (credentials, maps.config)
        } else {
            (credentials.masked(), self.without_secrets(&record, maps.config))
        };
        Destination {
            id: record.id,
            tenant_id: record.tenant_id,
            incarnation: record.incarnation,
            kind: record.kind,
            name: record.name,
            topics: record.topics,
            filter: record.filter.map(|filter| filter.to_string()),
            settings: (*record.settings).clone(),
            config,
            credentials,
            metadata: record.metadata,
            delivery_metadata: maps.delivery_metadata,
            target: record.target,
            created_at: record.created_at,
            updated_at: record.updated_at,
            disabled: record.disabled,
            revision: record.revision,
        }
    }

    /// A change of the config without those entries that only repeat what the actor is shown.
    fn unmasked(&self, record: &DestinationRecord, before: &StringMap, patch: &MapPatch) -> MapPatch {
        let MapPatch::Merge(changes) = patch else { return patch.clone() };
        if self.0.actor.has(Capability::Secrets) {
            return patch.clone();
        }
        let shown = self.without_secrets(record, before.clone());
        let real = changes.iter().filter(|(key, value)| value.is_none() || shown.get(*key) != value.as_ref());
        MapPatch::Merge(real.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// The config as an actor without secrets sees it.
    fn without_secrets(&self, record: &DestinationRecord, mut config: StringMap) -> StringMap {
        self.0.shared().mask_config(record, &mut config);
        config
    }
}

/// Both checks of the settings: what the fields say, and what only the transport knows.
fn prepare(transport: &dyn Transport, maps: &Opened) -> std::result::Result<Target, Vec<Problem>> {
    let problems = transport.descriptor().problems(&maps.config, &maps.credentials);
    if !problems.is_empty() {
        return Err(problems);
    }
    transport.prepare(&maps.config, &maps.credentials, &maps.delivery_metadata)
}

/// Scheme, host and port of a URL; another address as a whole.
fn origin(target: &str) -> String {
    url::Url::parse(target).map_or_else(|_| target.to_owned(), |url| url.origin().ascii_serialization())
}

fn refused(operation: &'static str, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Missing => not_found(operation, "destination"),
        Refusal::Exists => Error::new(ErrorKind::Conflict, operation, "it exists already"),
        Refusal::Stale { found } => {
            Error::new(ErrorKind::Stale, operation, format!("the destination has changed; it is at revision {found}"))
        }
        Refusal::LimitReached { limit } => {
            Error::new(ErrorKind::LimitReached, operation, format!("the tenant has its most of {limit} destinations"))
        }
        Refusal::Delivery(_) => Error::new(ErrorKind::Conflict, operation, "the delivery does not allow it"),
    }
}
