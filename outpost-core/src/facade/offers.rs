//! What this engine was built to allow: what forms and pages tell their users.

use std::time::Duration;

use super::Outpost;
use crate::domain::retry::RetryPolicy;
use crate::values::time::Timestamp;

/// What an engine allows, as its [`OutpostBuilder`](crate::OutpostBuilder) was told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Offers {
    /// The topics that may be published; `None`: any.
    pub topics: Option<Vec<String>>,
    /// How many destinations a tenant may have.
    pub max_destinations: u32,
    /// Whether tenants' users may set filters.
    pub tenant_filters: bool,
    /// Whether tenants' users may set how their destinations are sent to.
    pub tenant_delivery_settings: bool,
    /// How long events are kept after their end; `None`: for ever.
    pub retention: Option<Duration>,
    /// The largest payload in bytes.
    pub max_data: usize,
    /// How long one attempt may take where a destination has no timeout of its own.
    pub timeout: Duration,
    /// The longest timeout that a destination may have of its own.
    pub max_timeout: Duration,
    /// When failed deliveries are tried again where a destination has no schedule of its own.
    pub retry: RetryPolicy,
}

impl Outpost {
    /// What this engine allows.
    #[must_use]
    pub fn offers(&self) -> Offers {
        let settings = &self.shared().settings;
        Offers {
            topics: settings.topics.clone(),
            max_destinations: settings.max_destinations,
            tenant_filters: settings.tenant_filters,
            tenant_delivery_settings: settings.tenant_delivery_settings,
            retention: settings.retention,
            max_data: settings.max_data,
            timeout: settings.timeout,
            max_timeout: settings.max_timeout,
            retry: settings.retry.clone(),
        }
    }

    /// The time by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared().now()
    }
}
