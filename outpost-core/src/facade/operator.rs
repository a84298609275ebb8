//! The operator's own destination, and the check that the sealing key fits.

use std::sync::Arc;

use bytes::Bytes;

use super::{Outpost, of_store};
use crate::domain::destination::{DestinationPatch, MapPatch, NewDestination};
use crate::domain::operator::{OPERATOR_DESTINATION, OPERATOR_TENANT};
use crate::domain::tenant::{StringMap, Tenant};
use crate::ports::clock::random_u64;
use crate::ports::seal::SealContext;
use crate::ports::store::{Expect, Key, Row, SmallRecord, Write};
use crate::ports::transport::Transport;
use crate::values::error::{Error, ErrorKind, Problem, Result};
use crate::values::id::{DestinationId, Incarnation, TenantId};
use crate::values::secret::Sealed;

/// Where operator events are sent: what a [`Signal`](crate::Signal) tells this process, as events for an endpoint
/// of your own. They are stored in the commits they tell of, so none is lost and none is made twice, and delivered
/// by the same engine: retried, and signed like every event of the transport. They never cause operator events
/// themselves, and failures never disable their destination.
///
/// By default all of them are sent, one for every single attempt included; the topic `alert.*` is what most want.
/// Each is `{"id", "topic", "time", "deployment_id", "tenant_id", "data"}` with one of
/// [`OPERATOR_TOPICS`](crate::OPERATOR_TOPICS). What is about an attempt has the tenant, the destination with its
/// secret parts masked, the event without its payload, and the attempt in `data`; warnings add
/// `consecutive_failures`, disabling `reason`, `detail` and `last_error`.
///
/// The endpoint is the one of the last start: it is changed in the store when another one is given, and deleted,
/// with what waits for it, by a start without one. To know the secret for verifying signatures, give it
/// (`NewDestination::credential("secret", …)`), or read the generated one: `destinations().get(OPERATOR_TENANT,
/// OPERATOR_DESTINATION)`.
///
/// ```
/// use outpost_core::{NewDestination, OperatorDestination, Topics, WebhookTransport};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let alerts = NewDestination::webhook("https://ops.example.com/alerts").topics(Topics::new(["alert.*"])?);
/// let operator = OperatorDestination::new(WebhookTransport::builder().build()?, alerts);
/// // Outpost::builder(store).operator_destination(operator)
/// # drop(operator);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct OperatorDestination {
    transport: Arc<dyn Transport>,
    destination: NewDestination,
}

impl OperatorDestination {
    /// A destination that `transport` sends to. The transport is used for nothing else, so its egress policy
    /// may allow internal addresses; id, labels and disabling of `destination` do not count.
    ///
    /// Its topics, and its filter if it has one, choose which operator events are sent; see [`OPERATOR_TOPICS`](crate::OPERATOR_TOPICS). Those
    /// of single attempts are many.
    pub fn new(transport: impl Transport, destination: NewDestination) -> Self {
        Self { transport: Arc::new(transport), destination }
    }

    pub(super) fn transport(&self) -> Arc<dyn Transport> {
        self.transport.clone()
    }
}

impl std::fmt::Debug for OperatorDestination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperatorDestination").field("kind", &self.destination.kind).finish_non_exhaustive()
    }
}

const KIND: &str = "meta";
const KEY_CHECK: &str = "key_check";
const PLAIN: &[u8] = b"outpost";

impl Outpost {
    /// Opens what an earlier start has sealed, so that a wrong key is noticed before anything is done with it.
    pub(super) async fn check_key(&self) -> Result<()> {
        const OPERATION: &str = "start";
        let shared = self.shared();
        let context =
            SealContext { tenant: Incarnation::from_i64(0), destination: Incarnation::from_i64(0), field: KEY_CHECK };
        for _ in 0..super::tenants::WRITE_TRIES {
            let found = shared.fetch_one(Key::Record(KIND.to_owned(), KEY_CHECK.to_owned())).await;
            let expect = match found.map_err(|error| of_store(OPERATION, error))? {
                Some(Row::Record(record)) => {
                    let sealed = Sealed::new(record.value.clone());
                    let opened = shared.sealer.open(&context, &sealed).map_err(|error| {
                        let message = format!("the sealer does not fit this store: {error}");
                        Error::new(ErrorKind::Incompatible, OPERATION, message)
                    })?;
                    if opened != PLAIN {
                        return Err(Error::new(ErrorKind::Corrupt, OPERATION, "the store's key check is damaged"));
                    }
                    if shared.sealer.is_current(&sealed) {
                        return Ok(());
                    }
                    Expect::Revision(record.revision)
                }
                _ => Expect::Absent,
            };
            let sealed = shared
                .sealer
                .seal(&context, PLAIN)
                .map_err(|error| Error::new(ErrorKind::Internal, OPERATION, error.to_string()))?;
            let record = SmallRecord {
                kind: KIND.to_owned(),
                key: KEY_CHECK.to_owned(),
                value: Bytes::copy_from_slice(sealed.as_bytes()),
                expires_at: None,
                revision: 0,
            };
            // Refused: another process came first, so its record is looked at.
            if self.write(OPERATION, Write::PutRecord { record, expect }).await?.is_ok() {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::NotStored, OPERATION, "the key check is being written by others; try again"))
    }

    /// Brings the operator's destination in the store in line with `wanted`.
    pub(super) async fn install_operator(&self, wanted: Option<OperatorDestination>) -> Result<()> {
        const OPERATION: &str = "start";
        let id = TenantId::new(OPERATOR_TENANT).map_err(|problem| Error::invalid(OPERATION, vec![problem]))?;
        let shared = self.shared();
        let found = shared.fetch_one(Key::Tenant(id.clone())).await.map_err(|error| of_store(OPERATION, error))?;
        if found.is_none() {
            if wanted.is_none() {
                return Ok(());
            }
            let now = shared.now();
            let tenant = Tenant {
                id,
                incarnation: Incarnation::generate(now, random_u64(&*shared.entropy)),
                metadata: StringMap::new(),
                created_at: now,
                updated_at: now,
                deleted_at: None,
                revision: 1,
                subscriptions: 0,
            };
            // Refused: another process came first.
            let _ = self.write(OPERATION, Write::PutTenant { tenant, expect: Expect::Absent }).await?;
        }
        let done = match wanted {
            Some(wanted) => self.put_operator_destination(wanted.destination).await,
            None => match self.destinations().delete(OPERATOR_TENANT, OPERATOR_DESTINATION).await {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                done => done,
            },
        };
        done.map_err(|error| {
            let problem = |problem: &Problem| {
                Problem::new(format!("operator_destination.{}", problem.field), problem.message.clone())
            };
            match error.kind() {
                ErrorKind::Invalid => Error::invalid(OPERATION, error.problems().iter().map(problem).collect()),
                kind => Error::new(kind, OPERATION, "the operator's destination cannot be set up").with_source(error),
            }
        })?;
        shared.refresh_operator().await.map_err(|error| of_store(OPERATION, error))
    }

    async fn put_operator_destination(&self, mut wanted: NewDestination) -> Result<()> {
        wanted.id =
            Some(DestinationId::new(OPERATOR_DESTINATION).map_err(|problem| Error::invalid("start", vec![problem]))?);
        wanted.disabled = None;
        let destinations = self.destinations();
        let found = match destinations.get(OPERATOR_TENANT, OPERATOR_DESTINATION).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return match destinations.create(OPERATOR_TENANT, wanted).await {
                    // Another process came first, with the same settings, one hopes.
                    Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
                    created => created.map(drop),
                };
            }
            found => found?,
        };
        if found.kind != wanted.kind {
            destinations.delete(OPERATOR_TENANT, OPERATOR_DESTINATION).await?;
            return destinations.create(OPERATOR_TENANT, wanted).await.map(drop);
        }
        // A secret that is not given is the one that was generated.
        let secrets = wanted.credentials.expose();
        let new_secrets = secrets.iter().any(|(key, value)| found.credentials.expose().get(key) != Some(value));
        let same = found.topics == wanted.topics
            && found.filter == wanted.filter
            && found.settings == wanted.settings
            && found.config == wanted.config
            && found.delivery_metadata == wanted.delivery_metadata
            && !new_secrets;
        if same {
            return Ok(());
        }
        let patch = DestinationPatch {
            topics: Some(wanted.topics),
            filter: Some(wanted.filter),
            settings: Some(wanted.settings),
            config: replace(&found.config, &wanted.config),
            delivery_metadata: replace(&found.delivery_metadata, &wanted.delivery_metadata),
            credentials: if new_secrets { replace(found.credentials.expose(), secrets) } else { MapPatch::Keep },
            ..DestinationPatch::default()
        };
        destinations.update(OPERATOR_TENANT, OPERATOR_DESTINATION, patch).await.map(drop)
    }
}

/// The patch that makes `wanted` of `found`.
fn replace(found: &StringMap, wanted: &StringMap) -> MapPatch {
    let gone = found.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), None));
    let set = wanted.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    MapPatch::Merge(gone.chain(set).collect())
}
