//! What happens, told to the host as it happens.

use std::time::Duration;

use crate::domain::attempt::Outcome;
use crate::domain::delivery::{DeliveryState, Trigger};
use crate::domain::destination::Disabled;
use crate::values::id::{DestinationId, EventId, TenantId};
use crate::values::time::Timestamp;

/// Something that happened. Told after the commit that made it so.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Signal {
    /// An event was stored.
    Published {
        /// The tenant.
        tenant: TenantId,
        /// The event.
        event: EventId,
        /// Its topic.
        topic: std::sync::Arc<str>,
        /// How many deliveries were made of it, skipped ones included.
        deliveries: usize,
    },
    /// An attempt was recorded.
    Attempted {
        /// The tenant.
        tenant: TenantId,
        /// The destination.
        destination: DestinationId,
        /// The event.
        event: EventId,
        /// The attempt's number.
        number: u32,
        /// Why it was made.
        trigger: Trigger,
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        duration: Duration,
        /// Where the delivery stands now.
        state: DeliveryState,
        /// When the next automatic attempt is due.
        next_attempt_at: Option<Timestamp>,
    },
    /// A destination asked for rest and gets it.
    Held {
        /// The tenant.
        tenant: TenantId,
        /// The destination.
        destination: DestinationId,
        /// Until when nothing but requested attempts is sent.
        until: Timestamp,
    },
    /// A destination has failed so often in a row that a threshold is reached. Each is told once, until an
    /// attempt succeeds or the destination is enabled anew.
    Failing {
        /// The tenant.
        tenant: TenantId,
        /// The destination.
        destination: DestinationId,
        /// The threshold in percent, one of [`WARNINGS`](crate::WARNINGS).
        percent: u8,
        /// Failed attempts in a row.
        failures: u32,
        /// How many are 100 %.
        limit: u32,
        /// When the first of them ended.
        since: Timestamp,
    },
    /// A delivery has used up its retries; told once a while for each destination.
    Exhausted {
        /// The tenant.
        tenant: TenantId,
        /// The destination.
        destination: DestinationId,
        /// The event.
        event: EventId,
    },
    /// A destination that was told to be failing works again.
    Recovered {
        /// The tenant.
        tenant: TenantId,
        /// The destination.
        destination: DestinationId,
        /// How many attempts had failed in a row.
        failures: u32,
        /// When the first of them ended.
        since: Timestamp,
    },
    /// The engine disabled a destination.
    Disabled {
        /// The tenant.
        tenant: TenantId,
        /// The destination.
        destination: DestinationId,
        /// Since when and why.
        disabled: Disabled,
    },
    /// The store fails; delivery goes on by itself once it works again.
    StoreFailing {
        /// What was being done.
        operation: &'static str,
        /// What the store says.
        message: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The store works again.
    StoreRecovered,
}

/// Is told what happens. It is called on the engine's own tasks, so it must be quick and must not block.
pub trait Observer: Send + Sync + 'static {
    /// Takes note of `signal`.
    fn observe(&self, signal: &Signal);
}

impl<F: Fn(&Signal) + Send + Sync + 'static> Observer for F {
    fn observe(&self, signal: &Signal) {
        self(signal);
    }
}
