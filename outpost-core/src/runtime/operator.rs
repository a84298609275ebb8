//! Operator events: made here, stored in the commits that they tell of, delivered like any other.

use std::sync::{Arc, PoisonError, RwLock};

use super::Shared;
use super::directory::{Place, TenantView};
use super::settle::Ended;
use crate::domain::attempt::Attempt;
use crate::domain::event::{Event, Fingerprint};
use crate::domain::health::{HealthPolicy, Judgement};
use crate::domain::operator::{ATTEMPT_FAILED, ATTEMPT_SUCCESS, About, OPERATOR_TENANT, OperatorEvent};
use crate::domain::tenant::{StringMap, Tenant};
use crate::ports::store::{Alerts, IngestItem, Key, NewDelivery, Row, SettleAction};
use crate::ports::transport::Transport;
use crate::values::id::{EventId, Incarnation, TenantId};
use crate::values::time::Timestamp;

/// The operator's own destination, as far as this process has one.
pub(crate) struct Operator {
    /// Sends to it; apart from the tenants' transports, with an egress policy of its own.
    pub(crate) transport: Option<Arc<dyn Transport>>,
    /// Names this deployment in every operator event.
    pub(crate) deployment: Option<String>,
    view: RwLock<Option<Arc<TenantView>>>,
}

impl Operator {
    pub(crate) fn new(transport: Option<Arc<dyn Transport>>, deployment: Option<String>) -> Self {
        Self { transport, deployment, view: RwLock::default() }
    }

    /// The tenant that operator events belong to, matched against its present destinations.
    pub(crate) fn view(&self) -> Option<Arc<TenantView>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a tenant is the operator's.
    pub(crate) fn is(&self, tenant: Incarnation) -> bool {
        self.view().is_some_and(|view| view.tenant.incarnation == tenant)
    }
}

impl Shared {
    /// Reads the operator's tenant anew.
    pub(crate) async fn refresh_operator(&self) -> crate::ports::store::StoreResult<()> {
        let Ok(id) = TenantId::new(OPERATOR_TENANT) else { return Ok(()) };
        self.directory.forget_tenant(&id);
        let view = self.tenant_view(&id).await?;
        let mut known = self.operator.view.write().unwrap_or_else(PoisonError::into_inner);
        // Another task may have read a later state meanwhile.
        let later = known.as_ref().zip(view.as_ref()).is_some_and(|(known, view)| {
            known.tenant.incarnation == view.tenant.incarnation
                && known.tenant.subscriptions > view.tenant.subscriptions
        });
        if !later {
            *known = view;
        }
        Ok(())
    }

    /// Reads the operator's tenant anew if another process has changed it. An outcome that makes no operator
    /// event cannot be refused as outdated, so nothing else would tell that one is wanted by now.
    pub(super) async fn follow_operator(&self) -> crate::ports::store::StoreResult<()> {
        let Ok(id) = TenantId::new(OPERATOR_TENANT) else { return Ok(()) };
        let state = |tenant: &Tenant| (tenant.incarnation, tenant.subscriptions);
        let found = match self.fetch_one(Key::Tenant(id)).await? {
            Some(Row::Tenant(tenant)) => Some(state(&tenant)),
            _ => None,
        };
        if found == self.operator.view().map(|view| state(&view.tenant)) {
            return Ok(());
        }
        self.refresh_operator().await
    }

    /// The policy that a tenant's destinations are judged by. The operator's own is never disabled: nobody
    /// would be told.
    pub(super) fn health_of(&self, tenant: Incarnation) -> HealthPolicy {
        let policy = self.settings.health;
        if self.operator.is(tenant) {
            policy.disable_at_count(false).disable_after(None).disable_when_gone(false)
        } else {
            policy
        }
    }

    /// Gives an outcome the operator events that belong to it, matched against the operator's destination as
    /// it is now.
    pub(super) fn equip(&self, ended: &mut Ended) {
        ended.item.alerts = None;
        ended.item.follow_ups.clear();
        let (SettleAction::Attempted { attempt, .. }, Some(note)) = (&ended.item.action, &ended.note) else { return };
        let Some(view) = self.operator.view() else { return };
        // Events about themselves would never end.
        if view.tenant.incarnation == ended.tenant || view.places.is_empty() {
            return;
        }
        let teller = Teller {
            view,
            place: note.place.clone(),
            event: note.event.clone(),
            attempt: attempt.clone(),
            deployment: self.operator.deployment.clone(),
        };
        let topic = if attempt.outcome.success { ATTEMPT_SUCCESS } else { ATTEMPT_FAILED };
        if wants(&teller.view, topic) {
            let event = teller.about().attempted(teller.deployment.as_deref());
            ended.item.follow_ups.extend(item(&teller.view, event, attempt.time));
        }
        ended.item.alerts = Some(Arc::new(teller));
    }
}

/// Whether an operator event of `topic` may go anywhere; a filter may still keep it away.
pub(crate) fn wants(view: &TenantView, topic: &str) -> bool {
    view.places.iter().any(|place| place.record.topics.matches(topic))
}

/// An operator event to be stored; `None` when nobody wants it.
pub(crate) fn item(view: &TenantView, event: OperatorEvent, now: Timestamp) -> Option<IngestItem> {
    let metadata = StringMap::new();
    let fingerprint = Fingerprint::of(event.topic, &event.data, &metadata, None, true, None);
    let mut event = Event {
        id: EventId::new(&event.id).ok()?,
        tenant: view.tenant.incarnation,
        topic: Arc::from(event.topic),
        time: now,
        created_at: now,
        metadata: Arc::new(metadata),
        data: event.data,
        eligible_for_retry: true,
        destination_id: None,
        matched: [].into(),
        fingerprint,
    };
    let matching: Vec<_> = view.places.iter().filter(|place| place.wants(&event)).collect();
    if matching.is_empty() {
        return None;
    }
    let deliveries = matching
        .iter()
        .map(|place| NewDelivery {
            destination: place.record.incarnation,
            epoch: place.record.epoch,
            skipped: place.record.disabled.is_some(),
            hand_off: false,
        })
        .collect();
    let matched = matching.iter().filter(|place| place.record.disabled.is_none()).map(|place| place.record.id.clone());
    event.matched = matched.collect();
    Some(IngestItem { event: Arc::new(event), subscriptions: view.tenant.subscriptions, deliveries })
}

/// Tells the operator what a commit finds out about a destination.
struct Teller {
    view: Arc<TenantView>,
    place: Arc<Place>,
    event: Arc<Event>,
    attempt: Arc<Attempt>,
    deployment: Option<String>,
}

impl Teller {
    fn about(&self) -> About<'_> {
        let record = &self.place.record;
        About {
            tenant_id: &record.tenant_id,
            destination_id: &record.id,
            kind: &record.kind,
            topics: &record.topics,
            config: &self.place.masked_config,
            created_at: record.created_at,
            disabled_at: record.disabled.as_ref().map(|disabled| disabled.at),
            event: &self.event,
            attempt: &self.attempt,
        }
    }
}

impl Alerts for Teller {
    fn events(&self, judgement: &Judgement) -> Vec<IngestItem> {
        let (about, deployment) = (self.about(), self.deployment.as_deref());
        let news = judgement.news.iter().map(|news| about.news(*news, deployment));
        let disabled = judgement.disabled.iter().map(|disabled| about.disabled(disabled, deployment));
        news.chain(disabled).filter_map(|event| item(&self.view, event, self.attempt.time)).collect()
    }
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Teller").field("attempt", &self.attempt.id).finish_non_exhaustive()
    }
}
