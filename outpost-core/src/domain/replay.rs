//! Replays: many deliveries of one destination tried again.

use serde::{Deserialize, Serialize};

use super::delivery::DeliveryState;
use super::topic::check_topic;
use crate::values::error::Problem;
use crate::values::id::{DestinationId, Incarnation, TenantId};
use crate::values::page::Position;
use crate::values::time::Timestamp;

/// The most topics that a replay may name.
pub const MAX_REPLAY_TOPICS: usize = 100;

/// Which deliveries are to be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRequest {
    /// Those that are in one of these states. Default: failed and skipped.
    pub states: Vec<DeliveryState>,
    /// Those of these topics, literally, at most [`MAX_REPLAY_TOPICS`]; empty: of any. Default: any.
    pub topics: Vec<String>,
    /// Those created at or after this time. Default: since ever.
    pub from: Option<Timestamp>,
    /// Those created before this time. Default, and at the latest: when the replay is started.
    pub until: Option<Timestamp>,
    /// Besides, events of that time and those topics that have no delivery to the destination, but match it
    /// now: what was published before it was created or its topics or filter were changed. Default: not.
    pub missing: bool,
}

impl Default for ReplayRequest {
    fn default() -> Self {
        Self {
            states: vec![DeliveryState::Failed, DeliveryState::Skipped],
            topics: Vec::new(),
            from: None,
            until: None,
            missing: false,
        }
    }
}

impl ReplayRequest {
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.states.is_empty() && !self.missing {
            problems.push(Problem::new("states", "must name at least one, or missing must be set"));
        }
        if self.states.len() > DeliveryState::ALL.len() {
            problems.push(Problem::new("states", "must name each at most once"));
        }
        if self.topics.len() > MAX_REPLAY_TOPICS {
            problems.push(Problem::new("topics", format!("must be at most {MAX_REPLAY_TOPICS}")));
        }
        for topic in self.topics.iter().take(MAX_REPLAY_TOPICS) {
            problems.extend(check_topic(topic).err().map(|problem| Problem::new("topics", problem.message)));
        }
        if let (Some(from), Some(until)) = (self.from, self.until)
            && from >= until
        {
            problems.push(Problem::new("from", "must be before until"));
        }
        problems
    }
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// Deliveries are still being asked for.
    Running,
    /// All have been asked for. They are sent at the destination's pace, which shows in the deliveries.
    Done,
    /// Somebody cancelled it. What had been asked for by then is sent.
    Cancelled,
    /// The destination was disabled or deleted.
    Stopped,
}

/// A replay and its progress. It is kept for a week after its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The replay's own id, generated.
    pub id: String,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The destination.
    pub destination_id: DestinationId,
    /// What was asked for, with `until` filled in.
    pub request: ReplayRequest,
    /// How far it has come.
    pub state: ReplayState,
    /// Rows of the log that were found to match so far.
    pub found: u64,
    /// How many of them are tried again; the others were on their way or asked for already. When the
    /// engine ended in the middle of a step, or the store's answer to one was lost, it may be short by what one step had found.
    pub requested: u64,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it last got on.
    pub updated_at: Timestamp,
    pub(crate) tenant: Incarnation,
    pub(crate) destination: Incarnation,
    pub(crate) step: ReplayStep,
}

/// Where a replay goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplayStep {
    Deliveries(Option<Place>),
    Missing(Option<Place>),
}

/// A position as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place(i64, String, i64);

impl From<Position> for Place {
    fn from(at: Position) -> Self {
        Self(at.time.as_millis(), at.id, at.scope)
    }
}

impl From<Place> for Position {
    fn from(Place(millis, id, scope): Place) -> Self {
        Self { time: Timestamp::from_millis(millis), id, scope }
    }
}
