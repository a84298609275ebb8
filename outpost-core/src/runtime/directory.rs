//! What this process knows of tenants and destinations, so that publishing and sending need no query.
//!
//! It may be behind the store: publishing names the subscriptions it matched against and the store refuses
//! outdated ones; sending asks anew whenever a delivery names a later revision or another process has
//! changed anything.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::domain::attempt::ErrorClass;
use crate::domain::destination::MASK;
use crate::domain::event::Event;
use crate::domain::filter::DestinationFilter;
use crate::domain::operator::OPERATOR_TENANT;
use crate::domain::tenant::{StringMap, Tenant};
use crate::engine::record::DestinationRecord;
use crate::ports::seal::SealContext;
use crate::ports::store::{Fetch, Key, Row, StoreResult};
use crate::ports::transport::{Target, Transport};
use crate::runtime::Shared;
use crate::values::id::{Incarnation, TenantId};
use crate::values::secret::Sealed;

/// The most tenants, and the most destinations, that are remembered.
const CAPACITY: usize = 50_000;

/// A destination, ready to be sent to.
pub(crate) struct Place {
    pub(crate) record: DestinationRecord,
    /// Its filter. One that cannot be read keeps nothing away: the deliveries tell of it.
    pub(crate) filter: Option<DestinationFilter>,
    /// Its config as it may be shown, secret parts masked.
    pub(crate) masked_config: StringMap,
    /// The way to it, or why there is none.
    pub(crate) way: Result<(Arc<dyn Transport>, Target), NoWay>,
    /// The state of the world in which it was last seen to be current.
    seen: AtomicU64,
}

impl Place {
    /// Whether the destination wants an event, enabled or not.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.record.topics.matches(&event.topic)
            && self.filter.as_ref().is_none_or(|filter| filter.matches(&event.into()))
    }
}

/// Why a destination cannot be sent to.
pub(crate) struct NoWay {
    pub(crate) class: ErrorClass,
    /// For the operator.
    pub(crate) reason: String,
}

/// A live tenant and its live destinations, in one state.
pub(crate) struct TenantView {
    pub(crate) tenant: Tenant,
    pub(crate) places: Vec<Arc<Place>>,
}

/// The memory of tenants and destinations.
#[derive(Default)]
pub(crate) struct Directory {
    tenants: RwLock<HashMap<TenantId, Arc<TenantView>>>,
    places: RwLock<HashMap<Incarnation, Arc<Place>>>,
    /// Rises whenever another process has changed the store.
    world: AtomicU64,
}

/// The three sealed maps of a destination in clear.
#[derive(Default)]
pub(crate) struct Opened {
    pub(crate) config: StringMap,
    pub(crate) credentials: StringMap,
    pub(crate) delivery_metadata: StringMap,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers, and forgets everything when full: rarely, and cheaper than keeping track of use.
fn remember<K: std::hash::Hash + Eq, V>(map: &RwLock<HashMap<K, V>>, key: K, value: V) {
    let mut map = write(map);
    if map.len() >= CAPACITY {
        map.clear();
    }
    map.insert(key, value);
}

impl Directory {
    /// Forgets a tenant, after its destinations or itself have changed.
    pub(crate) fn forget_tenant(&self, id: &TenantId) {
        write(&self.tenants).remove(id);
    }

    /// Forgets a destination.
    pub(crate) fn forget_place(&self, life: Incarnation) {
        write(&self.places).remove(&life);
    }

    /// Says that another process has changed the store.
    pub(crate) fn world_changed(&self) {
        self.world.fetch_add(1, Ordering::AcqRel);
    }
}

impl Shared {
    /// The live tenant with this id, as far as this process knows it.
    pub(crate) async fn tenant_view(&self, id: &TenantId) -> StoreResult<Option<Arc<TenantView>>> {
        if let Some(view) = read(&self.directory.tenants).get(id) {
            return Ok(Some(view.clone()));
        }
        let Some(Row::Tenant(found)) = self.fetch_one(Key::Tenant(id.clone())).await? else { return Ok(None) };
        // Tenant and destinations must be of one snapshot, and the first query did not know which tenant.
        let keys = vec![Key::TenantLife(found.incarnation), Key::DestinationsOf(found.incarnation)];
        let mut rows = self.store.fetch(Fetch { now: self.now(), keys }).await?.into_iter();
        let Some(Row::Tenant(tenant)) = rows.next().and_then(|rows| rows.into_iter().next()) else { return Ok(None) };
        if tenant.deleted_at.is_some() {
            return Ok(None);
        }
        let world = self.directory.world.load(Ordering::Acquire);
        let mut places = Vec::new();
        for row in rows.next().unwrap_or_default() {
            if let Row::Destination(record) = row {
                let place = Arc::new(self.place_of(*record, world));
                remember(&self.directory.places, place.record.incarnation, place.clone());
                places.push(place);
            }
        }
        let view = Arc::new(TenantView { tenant, places });
        remember(&self.directory.tenants, id.clone(), view.clone());
        Ok(Some(view))
    }

    /// A destination by its life, at `revision` or later; `None` when the store does not know it.
    pub(crate) async fn place(&self, life: Incarnation, revision: i64) -> StoreResult<Option<Arc<Place>>> {
        let world = self.directory.world.load(Ordering::Acquire);
        let known = read(&self.directory.places).get(&life).cloned();
        let known = known.filter(|place| place.record.revision >= revision);
        if let Some(place) = &known
            && place.seen.load(Ordering::Acquire) >= world
        {
            return Ok(known);
        }
        let Some(Row::Destination(record)) = self.fetch_one(Key::DestinationLife(life)).await? else { return Ok(None) };
        if let Some(place) = known.filter(|place| place.record.revision == record.revision) {
            place.seen.fetch_max(world, Ordering::AcqRel);
            return Ok(Some(place));
        }
        let place = Arc::new(self.place_of(*record, world));
        remember(&self.directory.places, life, place.clone());
        Ok(Some(place))
    }

    pub(crate) async fn fetch_one(&self, key: Key) -> StoreResult<Option<Row>> {
        let rows = self.store.fetch(Fetch { now: self.now(), keys: vec![key] }).await?;
        Ok(rows.into_iter().next().and_then(|rows| rows.into_iter().next()))
    }

    /// A destination as it is stored now, ready to be sent to, without remembering it.
    pub(crate) fn new_place(&self, record: DestinationRecord) -> Place {
        self.place_of(record, 0)
    }

    fn place_of(&self, record: DestinationRecord, world: u64) -> Place {
        let opened = self.open(&record);
        let mut way = self.way_to(&record, opened.as_ref());
        let filter = match record.filter.as_deref().map(DestinationFilter::parse).transpose() {
            Ok(filter) => filter,
            Err(_) => {
                let reason = "the destination's filter cannot be read".to_owned();
                way = Err(NoWay { class: ErrorClass::Request, reason });
                None
            }
        };
        let mut masked_config = opened.map(|opened| opened.config).unwrap_or_default();
        self.mask_config(&record, &mut masked_config);
        Place { record, filter, masked_config, way, seen: AtomicU64::new(world) }
    }

    /// The transport of a destination; the operator's own has one of its own.
    pub(crate) fn transport_of(&self, tenant: &TenantId, kind: &str) -> Option<&Arc<dyn Transport>> {
        if tenant.as_str() == OPERATOR_TENANT {
            return self.operator.transport.as_ref().filter(|transport| transport.descriptor().kind == kind);
        }
        self.transports.get(kind)
    }

    /// Masks the fields of a config that the type marks as sensitive; a URL that holds secrets is shown as the
    /// target is.
    pub(crate) fn mask_config(&self, record: &DestinationRecord, config: &mut StringMap) {
        let descriptor = self.transport_of(&record.tenant_id, &record.kind).map(|transport| transport.descriptor());
        for field in descriptor.iter().flat_map(|descriptor| descriptor.known_config_fields()) {
            if let Some(value) = config.get_mut(field.key) {
                if field.sensitive {
                    MASK.clone_into(value);
                } else if field.key == "url" {
                    value.clone_from(&record.target);
                }
            }
        }
    }

    fn way_to(
        &self,
        record: &DestinationRecord,
        opened: Result<&Opened, &String>,
    ) -> Result<(Arc<dyn Transport>, Target), NoWay> {
        // Neither a missing transport nor a missing key is the receiver's fault.
        let ours = |reason: String| NoWay { class: ErrorClass::System, reason };
        let transport = self
            .transport_of(&record.tenant_id, &record.kind)
            .ok_or_else(|| ours(format!("there is no transport for destinations of type {}", record.kind)))?;
        let opened = opened.map_err(|error| ours(format!("the destination's settings cannot be read: {error}")))?;
        // Sending goes through here, where a panic would end the task with the delivery in its hands.
        let prepare = || transport.prepare(&opened.config, &opened.credentials, &opened.delivery_metadata);
        let target = std::panic::catch_unwind(std::panic::AssertUnwindSafe(prepare))
            .map_err(|_| ours("the transport panicked while it read the settings".to_owned()))?
            .map_err(|problems| {
                let reason = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                NoWay { class: ErrorClass::Request, reason }
            })?;
        Ok((transport.clone(), target))
    }

    /// Opens a destination's sealed maps. Those of a deleted one are empty: they were wiped with it.
    pub(crate) fn open(&self, record: &DestinationRecord) -> Result<Opened, String> {
        if record.deleted_at.is_some() {
            return Ok(Opened::default());
        }
        let open = |field, sealed: &Sealed| -> Result<StringMap, String> {
            let context = SealContext { tenant: record.tenant, destination: record.incarnation, field };
            let plain = self.sealer.open(&context, sealed).map_err(|error| error.to_string())?;
            serde_json::from_slice(&plain).map_err(|_| format!("{field} is damaged"))
        };
        Ok(Opened {
            config: open("config", &record.config)?,
            credentials: open("credentials", &record.credentials)?,
            delivery_metadata: open("delivery_metadata", &record.delivery_metadata)?,
        })
    }

    /// Seals one map of a destination.
    pub(crate) fn seal(
        &self,
        tenant: Incarnation,
        destination: Incarnation,
        field: &'static str,
        map: &StringMap,
    ) -> Result<Sealed, String> {
        let plain = serde_json::to_vec(map).map_err(|error| error.to_string())?;
        let context = SealContext { tenant, destination, field };
        self.sealer.seal(&context, &plain).map_err(|error| error.to_string())
    }
}
