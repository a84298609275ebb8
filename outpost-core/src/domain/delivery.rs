//! Deliveries: one event on its way to one destination, its states and the legal moves between them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::attempt::Outcome;
use crate::values::error::Problem;
use crate::values::id::{EventId, Incarnation};
use crate::values::time::Timestamp;

/// Names a delivery: its event within the tenant, and the life of the destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// The life of the destination it goes to.
    pub destination: Incarnation,
    /// The event's id; unique within the destination's tenant.
    pub event: EventId,
}

/// Why a delivery was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// Somebody cancelled it.
    User,
    /// Its destination was deleted.
    DestinationDeleted,
    /// Its tenant was deleted.
    TenantDeleted,
}

/// Where a delivery stands.
///
/// The legal moves, each made by one commit of the store:
///
/// | from | to | by |
/// | --- | --- | --- |
/// | (new) | pending | publish, to an enabled destination |
/// | (new) | skipped | publish, to a disabled destination that matches |
/// | pending, retrying | delivered | an attempt that succeeded |
/// | pending, retrying | retrying | a failed automatic attempt with budget left |
/// | pending, retrying | failed | a failed automatic attempt without budget, or a receiver that is gone |
/// | pending, retrying | skipped | disabling the destination |
/// | pending, retrying | cancelled | cancel, deleting the destination or the tenant |
/// | failed, skipped, cancelled | delivered | a requested attempt that succeeded |
/// | skipped, cancelled | failed | a requested attempt that failed |
///
/// A delivery that is delivered stays delivered. A failed *requested* attempt leaves a pending or retrying
/// delivery where it is, with its scheduled attempt untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DeliveryState {
    /// Not tried yet.
    Pending,
    /// Tried and failed; another automatic attempt is scheduled.
    Retrying,
    /// The receiver accepted it.
    Delivered,
    /// No more automatic attempts are left.
    Failed,
    /// The destination was disabled, so nothing is sent.
    Skipped,
    /// Given up on purpose.
    Cancelled(CancelReason),
}

impl DeliveryState {
    /// Every state, in the order of the list above.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Retrying,
        Self::Delivered,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled(CancelReason::User),
        Self::Cancelled(CancelReason::DestinationDeleted),
        Self::Cancelled(CancelReason::TenantDeleted),
    ];

    /// Whether automatic attempts are still to come.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Retrying)
    }

    /// The state's name, such as `cancelled_user`; [`DeliveryState::parse`] reads it back.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled(CancelReason::User) => "cancelled_user",
            Self::Cancelled(CancelReason::DestinationDeleted) => "cancelled_destination_deleted",
            Self::Cancelled(CancelReason::TenantDeleted) => "cancelled_tenant_deleted",
        }
    }

    /// A small number for stores, stable for ever.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Retrying => 1,
            Self::Delivered => 2,
            Self::Failed => 3,
            Self::Skipped => 4,
            Self::Cancelled(CancelReason::User) => 5,
            Self::Cancelled(CancelReason::DestinationDeleted) => 6,
            Self::Cancelled(CancelReason::TenantDeleted) => 7,
        }
    }

    /// The state with this [`DeliveryState::code`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Reads a state's name; `cancelled` alone is not one.
    ///
    /// # Errors
    /// A [`Problem`] with field `status`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Problem::new("status", "is not the name of a delivery state"))
    }

    /// Whether the table above allows the move from this state to `to`.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        match (self, to) {
            (Self::Pending | Self::Retrying, Self::Pending) => matches!(self, Self::Pending),
            (Self::Pending | Self::Retrying, _) => true,
            (Self::Delivered, Self::Delivered) | (Self::Failed, Self::Failed | Self::Delivered) => true,
            (Self::Skipped, Self::Skipped | Self::Failed | Self::Delivered) => true,
            (Self::Cancelled(_), Self::Cancelled(_) | Self::Failed | Self::Delivered) => true,
            _ => false,
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// By schedule.
    Automatic,
    /// Somebody asked for this one delivery to be tried again.
    Manual,
    /// Part of a replay of many.
    Replay,
    /// A test event; it counts nowhere.
    Test,
}

impl Trigger {
    /// The trigger's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Manual => "manual",
            Self::Replay => "replay",
            Self::Test => "test",
        }
    }

    /// Whether the attempt is made at once, past a hold and a rate limit: somebody waits for it.
    #[must_use]
    pub const fn is_urgent(self) -> bool {
        matches!(self, Self::Manual | Self::Test)
    }

    /// A small number for stores, stable for ever.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Automatic => 0,
            Self::Manual => 1,
            Self::Replay => 2,
            Self::Test => 3,
        }
    }

    /// The trigger with this [`Trigger::code`].
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Automatic),
            1 => Some(Self::Manual),
            2 => Some(Self::Replay),
            3 => Some(Self::Test),
            _ => None,
        }
    }
}

/// One event on its way to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which event and which destination.
    pub key: DeliveryKey,
    /// The tenant's incarnation.
    pub tenant: Incarnation,
    /// The event's topic.
    pub topic: std::sync::Arc<str>,
    /// Where it stands. A store shows an open delivery of a disabled or deleted destination as skipped or
    /// cancelled at once, whether that is written down already or not.
    pub state: DeliveryState,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it reached a state that is not open.
    pub finished_at: Option<Timestamp>,
    /// When the next automatic attempt is scheduled.
    pub next_attempt_at: Option<Timestamp>,
    /// A requested attempt that has not been made yet, and why it is made.
    pub requested: Option<Trigger>,
    /// How many attempts were made, of every trigger.
    pub attempts: u32,
    /// How many of them were automatic; these use up the schedule.
    pub automatic_attempts: u32,
    /// How the latest attempt ended.
    pub last_outcome: Option<Outcome>,
    /// Somebody is sending it until this time at the latest.
    pub leased_until: Option<Timestamp>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_round_trip() {
        for state in DeliveryState::ALL {
            assert_eq!(DeliveryState::from_code(state.code()), Some(state));
            assert_eq!(DeliveryState::parse(state.as_str()), Ok(state));
        }
        assert!(DeliveryState::parse("cancelled").is_err());
        for trigger in [Trigger::Automatic, Trigger::Manual, Trigger::Replay, Trigger::Test] {
            assert_eq!(Trigger::from_code(trigger.code()), Some(trigger));
        }
    }

    #[test]
    fn nothing_leaves_delivered_and_nothing_reopens() {
        for to in DeliveryState::ALL {
            assert_eq!(DeliveryState::Delivered.may_become(to), to == DeliveryState::Delivered);
        }
        for from in DeliveryState::ALL.into_iter().filter(|state| !state.is_open()) {
            for to in DeliveryState::ALL.into_iter().filter(|state| state.is_open()) {
                assert!(!from.may_become(to));
            }
        }
        assert!(!DeliveryState::Retrying.may_become(DeliveryState::Pending));
    }
}
