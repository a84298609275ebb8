//! What the network and the operator's settings allow a destination to be.

use std::sync::Arc;
use std::time::Duration;

use super::Destinations;
use crate::domain::egress::Party;
use crate::domain::filter::DestinationFilter;
use crate::domain::settings::DeliverySettings;
use crate::domain::tenant::StringMap;
use crate::engine::record::DestinationRecord;
use crate::ports::transport::{Target, Transport, VetError};
use crate::values::error::{Error, Problem, Result};

/// How long a write waits for a transport to tell whether a destination may be sent to. The webhook transport
/// answers sooner, so that a name which does not resolve in time ends like one that does not resolve.
const VET_TIMEOUT: Duration = Duration::from_secs(7);

impl Destinations<'_> {
    /// Refuses a target that may not be sent to. Tenants are told one and the same for every reason, the
    /// operator is told which it is. The operator may save a name that does not resolve yet; were a tenant to
    /// be, it would tell such a name from a refused one.
    pub(super) async fn vet(
        &self,
        operation: &'static str,
        transport: &dyn Transport,
        target: &Target,
        record: &DestinationRecord,
    ) -> Result<()> {
        let tenant = &record.tenant_id;
        let party = Party { tenant: tenant.clone(), made_by_operator: record.by_operator };
        let verdict = tokio::select! {
            verdict = transport.vet(target, &party) => verdict,
            () = self.0.shared().clock.sleep(VET_TIMEOUT) => {
                Err(VetError::unresolved("config", format!("could not be checked within {VET_TIMEOUT:?}")))
            }
        };
        let Err(error) = verdict else { return Ok(()) };
        let detail = error.details.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ");
        if !self.0.actor.is_operator() {
            tracing::info!(%tenant, target = target.display(), detail, "refused a destination");
            return Err(Error::invalid(operation, error.problems));
        }
        if error.unresolved {
            tracing::warn!(%tenant, target = target.display(), detail, "saving a destination that cannot be reached yet");
            return Ok(());
        }
        Err(Error::invalid(operation, error.details))
    }

    /// Checks a filter and gives it the form that is kept; one that asks for nothing is none.
    pub(super) fn check_filter(
        &self,
        text: Option<&str>,
        before: Option<&Arc<str>>,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<str>> {
        let filter = text.and_then(|text| super::take_all(DestinationFilter::parse(text), problems));
        let filter: Option<Arc<str>> =
            filter.filter(|filter| !filter.is_empty()).map(|filter| Arc::from(filter.as_json()));
        if filter.as_ref() != before && !self.0.actor.is_operator() && !self.0.shared().settings.tenant_filters {
            problems.push(Problem::new("filter", "is not offered here; only the operator can change it"));
        }
        filter
    }

    /// Checks how a destination wants to be sent to.
    pub(super) fn check_settings(
        &self,
        settings: &DeliverySettings,
        before: &DeliverySettings,
        problems: &mut Vec<Problem>,
    ) {
        let offered = &self.0.shared().settings;
        settings.check(offered.max_timeout, problems);
        if settings != before && !self.0.actor.is_operator() && !offered.tenant_delivery_settings {
            problems.push(Problem::new("settings", "is not offered here; only the operator can change it"));
        }
    }

    /// Refuses a tenant's change of fields that are not offered.
    pub(super) fn check_hidden(
        &self,
        transport: &dyn Transport,
        before: &StringMap,
        after: &StringMap,
        problems: &mut Vec<Problem>,
    ) {
        if self.0.actor.is_operator() {
            return;
        }
        let value = |map: &StringMap, key: &str| map.get(key).filter(|text| !text.is_empty()).cloned();
        for field in &transport.descriptor().hidden_config_fields {
            if value(before, field.key) != value(after, field.key) {
                let path = format!("config.{}", field.key);
                problems.push(Problem::new(path, "is not offered here; only the operator can change it"));
            }
        }
    }
}
