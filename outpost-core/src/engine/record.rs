//! What a store keeps of a delivery and of a lane, and how each changes. Every store persists these values
//! and calls these functions, so the rules exist once.

use std::sync::Arc;

use crate::domain::attempt::{Attempt, Outcome};
use crate::domain::delivery::{CancelReason, Delivery, DeliveryKey, DeliveryState, Trigger};
use crate::domain::destination::Disabled;
use crate::domain::health::{Health, Judge, Judgement};
use crate::domain::settings::DeliverySettings;
use crate::domain::tenant::StringMap;
use crate::domain::topic::Topics;
use crate::values::id::{DestinationId, Incarnation, TenantId};
use crate::values::secret::Sealed;
use crate::values::time::Timestamp;

/// Proves that the caller still holds a delivery it claimed. One token serves a whole claim or ingest call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseToken(pub i64);

/// A lease to be given: its token and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Fresh and random for each call.
    pub token: LeaseToken,
    /// From then on the delivery is due again.
    pub until: Timestamp,
}

/// A destination as a store keeps it: what is secret is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRecord {
    /// Unique among the tenant's live destinations.
    pub id: DestinationId,
    /// Which life of this id it is; unique in the store.
    pub incarnation: Incarnation,
    /// The tenant's id.
    pub tenant_id: TenantId,
    /// The tenant's incarnation.
    pub tenant: Incarnation,
    /// The kind, which names the transport.
    pub kind: String,
    /// A name for people.
    pub name: Option<String>,
    /// The topics it wants.
    pub topics: Topics,
    /// Which of the topics' events it wants: a [`DestinationFilter`](crate::DestinationFilter) as its JSON
    /// text, exactly as it was given.
    pub filter: Option<Arc<str>>,
    /// How it is sent to, where that differs from the defaults.
    pub settings: Arc<DeliverySettings>,
    /// The operator made it, and no tenant has pointed it elsewhere since.
    pub by_operator: bool,
    /// The sealed config. Like the other sealed values it is empty once the destination is deleted.
    pub config: Sealed,
    /// The sealed credentials.
    pub credentials: Sealed,
    /// The sealed delivery metadata.
    pub delivery_metadata: Sealed,
    /// Labels.
    pub metadata: StringMap,
    /// What it points at, masked.
    pub target: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Whether and why it is disabled.
    pub disabled: Option<Disabled>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// It was deleted because its tenant was.
    pub deleted_with_tenant: bool,
    /// Rises with every disabling. An open delivery that carries another epoch was there when the
    /// destination was disabled, so it is skipped.
    pub epoch: i64,
    /// When the epoch last rose.
    pub epoch_at: Timestamp,
    /// Rises by one with every change; kept by the store.
    pub revision: i64,
}

impl DestinationRecord {
    /// What an open delivery with `epoch` has in truth become, and when: skipped when the destination was
    /// disabled after it was made, cancelled when the destination or tenant is deleted.
    #[must_use]
    pub fn retires(&self, epoch: i64) -> Option<(DeliveryState, Timestamp)> {
        if epoch != self.epoch {
            return Some((DeliveryState::Skipped, self.epoch_at));
        }
        let at = self.deleted_at?;
        let reason =
            if self.deleted_with_tenant { CancelReason::TenantDeleted } else { CancelReason::DestinationDeleted };
        Some((DeliveryState::Cancelled(reason), at))
    }

    /// Whether new events go to it.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.deleted_at.is_none() && self.disabled.is_none()
    }

    /// Deletes it, alone or because its tenant is: what is secret in it is wiped, what lists and the log show of it
    /// stays. The store raises the revision.
    pub fn delete(&mut self, at: Timestamp, with_tenant: bool) {
        self.deleted_at = Some(at);
        self.deleted_with_tenant = with_tenant;
        self.updated_at = at;
        for sealed in [&mut self.config, &mut self.credentials, &mut self.delivery_metadata] {
            *sealed = Sealed::default();
        }
    }

    /// Disables it: open deliveries become skipped by the new epoch. Does nothing when it is disabled
    /// already. The store raises the revision.
    pub fn disable(&mut self, disabled: Disabled) {
        if self.disabled.is_none() {
            self.epoch += 1;
            self.epoch_at = disabled.at;
            self.updated_at = disabled.at;
            self.disabled = Some(disabled);
        }
    }
}

/// A delivery as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Which event and destination.
    pub key: DeliveryKey,
    /// The tenant's incarnation.
    pub tenant: Incarnation,
    /// The event's topic.
    pub topic: Arc<str>,
    /// Where it stands, as written; see [`DestinationRecord::retires`].
    pub state: DeliveryState,
    /// The destination's epoch when the delivery was made or last requested.
    pub epoch: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it left the open states.
    pub finished_at: Option<Timestamp>,
    /// The automatic attempt that is scheduled.
    pub scheduled_at: Option<Timestamp>,
    /// The attempt somebody asked for.
    pub requested: Option<Trigger>,
    /// When it is next to be claimed: the end of the lease while there is one, else when the requested or
    /// scheduled attempt is due. `None`: nothing is to be done.
    pub due: Option<Timestamp>,
    /// Who holds it.
    pub lease: Option<LeaseToken>,
    /// Attempts made, of every trigger.
    pub attempts: u32,
    /// Automatic attempts made.
    pub automatic_attempts: u32,
    /// How the latest attempt ended.
    pub last_outcome: Option<Outcome>,
}

/// Whether an attempt is one of the schedule: it was made by it, or it is the first at a delivery that a
/// replay has made, whose schedule begins with it.
#[must_use]
pub fn stands_for_schedule(trigger: Trigger, number: u32, state: DeliveryState) -> bool {
    trigger == Trigger::Automatic || (trigger == Trigger::Replay && number == 1 && state.is_open())
}

/// Why a request about a delivery is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRefusal {
    /// It is being sent right now.
    Leased,
    /// An attempt is requested already.
    AlreadyRequested,
    /// The destination is disabled or deleted.
    DestinationDisabled,
    /// There is nothing left to cancel.
    NotOpen,
}

impl DeliveryRecord {
    /// A new delivery, due at once, or skipped when its destination is disabled.
    #[must_use]
    pub fn new(
        key: DeliveryKey,
        tenant: Incarnation,
        topic: Arc<str>,
        epoch: i64,
        now: Timestamp,
        skipped: bool,
    ) -> Self {
        Self {
            key,
            tenant,
            topic,
            state: if skipped { DeliveryState::Skipped } else { DeliveryState::Pending },
            epoch,
            created_at: now,
            finished_at: skipped.then_some(now),
            scheduled_at: (!skipped).then_some(now),
            requested: None,
            due: (!skipped).then_some(now),
            lease: None,
            attempts: 0,
            automatic_attempts: 0,
            last_outcome: None,
        }
    }

    /// A new delivery of an event that was published before, for a replay.
    #[must_use]
    pub fn replayed(
        key: DeliveryKey,
        tenant: Incarnation,
        topic: Arc<str>,
        destination: &DestinationRecord,
        now: Timestamp,
    ) -> Self {
        let mut delivery = Self::new(key, tenant, topic, destination.epoch, now, false);
        delivery.requested = Some(Trigger::Replay);
        delivery
    }

    /// Whether it waits on the side of its lane that no hold stops.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.requested.is_some_and(Trigger::is_urgent)
    }

    /// Whether an attempt is still to come as it is written, by schedule or because somebody asked for it. When
    /// [`DestinationRecord::retires`] has ended it, a sweep has to write that down.
    #[must_use]
    pub const fn expects_attempt(&self) -> bool {
        self.state.is_open() || self.requested.is_some()
    }

    /// Whether nothing more will happen to it by itself: it may be pruned once it is old enough.
    #[must_use]
    pub fn is_settled(&self, now: Timestamp) -> bool {
        // A lease that has lapsed on something cancelled leaves a due time behind that nobody comes for.
        !self.expects_attempt() && !self.is_leased(now)
    }

    /// Whether somebody may be sending it.
    #[must_use]
    pub fn is_leased(&self, now: Timestamp) -> bool {
        self.lease.is_some() && self.due.is_some_and(|until| until > now)
    }

    /// Whether it may be claimed: due, which an expired lease is too.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Gives it to a caller and tells why an attempt is to be made: the requested one comes first. `None`
    /// when there is nothing to be done after all (it was cancelled under a lease that has lapsed); it is
    /// not due any more then.
    pub fn take(&mut self, lease: Lease) -> Option<Trigger> {
        let trigger = self.requested.or_else(|| self.scheduled_at.map(|_| Trigger::Automatic));
        self.lease = trigger.map(|_| lease.token);
        self.due = trigger.map(|_| lease.until);
        trigger
    }

    /// Whether `token` still holds it. An expired lease that nobody else took still counts, so work that
    /// ran a little long is recorded rather than repeated.
    #[must_use]
    pub fn is_held_by(&self, token: LeaseToken) -> bool {
        self.lease == Some(token)
    }

    /// Records an attempt. `next` is when the next automatic attempt is due if there is one; `retired` is
    /// what [`DestinationRecord::retires`] says of this delivery.
    pub fn attempted(
        &mut self,
        attempt: &Attempt,
        next: Option<Timestamp>,
        retired: Option<(DeliveryState, Timestamp)>,
    ) {
        let requested = !stands_for_schedule(attempt.trigger, attempt.number, self.state);
        self.attempts = attempt.number;
        if attempt.trigger != Trigger::Automatic {
            self.requested = None;
        }
        if !requested {
            self.automatic_attempts += 1;
            self.scheduled_at = next;
        }
        self.last_outcome = Some(attempt.outcome.clone());
        self.state = match (self.state, retired) {
            _ if attempt.outcome.success => DeliveryState::Delivered,
            // It would stay open, but its destination has ended it meanwhile.
            (state, Some((retired, _))) if state.is_open() && (requested || next.is_some()) => retired,
            // A failed request leaves the schedule alone.
            (state, _) if state.is_open() && requested => state,
            (state, _) if state.is_open() && next.is_some() => DeliveryState::Retrying,
            (state, _) if state.is_open() => DeliveryState::Failed,
            (DeliveryState::Skipped | DeliveryState::Cancelled(_), _) if requested => DeliveryState::Failed,
            (state, _) => state,
        };
        if self.state.is_open() {
            self.finished_at = None;
        } else {
            self.scheduled_at = None;
            self.finished_at = Some(self.finished_at.map_or(attempt.time, |at| at.max(attempt.time)));
        }
        self.free(attempt.time);
    }

    /// Gives it back untried: due again as it was.
    pub fn released(&mut self, now: Timestamp) {
        self.free(now);
    }

    /// Lengthens the lease.
    pub fn extended(&mut self, until: Timestamp) {
        self.due = Some(until);
    }

    /// Writes down what its destination made of it; requests are dropped as well.
    pub fn retire(&mut self, state: DeliveryState, at: Timestamp) {
        if self.state.is_open() {
            self.state = state;
            self.finished_at = Some(at);
        }
        self.scheduled_at = None;
        self.requested = None;
        self.lease = None;
        self.due = None;
    }

    /// Asks for an attempt now, beside the scheduled one.
    ///
    /// # Errors
    /// The reason it is refused; nothing has changed then.
    pub fn request(
        &mut self,
        trigger: Trigger,
        now: Timestamp,
        destination: &DestinationRecord,
    ) -> Result<(), RequestRefusal> {
        if !destination.is_enabled() {
            return Err(RequestRefusal::DestinationDisabled);
        }
        if self.is_leased(now) {
            return Err(RequestRefusal::Leased);
        }
        if let Some((state, at)) = destination.retires(self.epoch) {
            self.retire(state, at);
            self.epoch = destination.epoch;
        }
        if self.requested.is_some() {
            return Err(RequestRefusal::AlreadyRequested);
        }
        self.requested = Some(trigger);
        self.free(now);
        Ok(())
    }

    /// Stops what is still to come. An attempt on its way ends and is recorded.
    ///
    /// # Errors
    /// [`RequestRefusal::NotOpen`] when nothing is to come; nothing has changed then.
    pub fn cancel(
        &mut self,
        now: Timestamp,
        retired: Option<(DeliveryState, Timestamp)>,
    ) -> Result<(), RequestRefusal> {
        if retired.is_some() || !self.expects_attempt() {
            return Err(RequestRefusal::NotOpen);
        }
        let lease = self.lease.filter(|_| self.is_leased(now)).zip(self.due);
        self.retire(DeliveryState::Cancelled(CancelReason::User), now);
        // The holder may still settle, and nobody else may send it meanwhile.
        if let Some((token, until)) = lease {
            self.lease = Some(token);
            self.due = Some(until);
        }
        Ok(())
    }

    /// Whether it counts into its lane's [`LaneRecord::open`], given the destination's epoch.
    #[must_use]
    pub const fn is_open_at(&self, epoch: i64) -> bool {
        self.state.is_open() && self.epoch == epoch
    }

    /// The delivery as it is shown, given what its destination made of it.
    #[must_use]
    pub fn shown(&self, retired: Option<(DeliveryState, Timestamp)>) -> Delivery {
        // A request ends with its destination as well, also when the delivery itself had ended before.
        let requested = self.requested.filter(|_| retired.is_none());
        let retired = retired.filter(|_| self.state.is_open());
        let hidden = retired.is_some();
        Delivery {
            key: self.key.clone(),
            tenant: self.tenant,
            topic: self.topic.clone(),
            state: retired.map_or(self.state, |(state, _)| state),
            created_at: self.created_at,
            finished_at: retired.map_or(self.finished_at, |(_, at)| Some(at)),
            next_attempt_at: self.scheduled_at.filter(|_| !hidden),
            requested,
            attempts: self.attempts,
            automatic_attempts: self.automatic_attempts,
            last_outcome: self.last_outcome.clone(),
            leased_until: self.lease.and(self.due),
        }
    }

    fn free(&mut self, now: Timestamp) {
        self.lease = None;
        self.due = if self.requested.is_some() { Some(now) } else { self.scheduled_at };
    }
}

/// The queue of one destination as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneRecord {
    /// The destination's incarnation.
    pub destination: Incarnation,
    /// Nothing but urgent attempts is claimed before this time.
    pub hold_until: Option<Timestamp>,
    /// How many holds came one after the other without a success between them. While it is not zero, one
    /// delivery at a time is claimed, to probe.
    pub strikes: u32,
    /// A claim left due work behind; until then only a claim that names the lane comes back for it.
    pub rest_until: Option<Timestamp>,
    /// The earliest due time among deliveries of the destination's epoch that are not urgent.
    pub next_due: Option<Timestamp>,
    /// The earliest due time among those that are: [`DeliveryRecord::is_urgent`].
    pub next_urgent: Option<Timestamp>,
    /// How many deliveries of the destination's epoch are open.
    pub open: i64,
    /// How the destination fares.
    pub health: Health,
}

/// What an outcome does to its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneChange {
    /// Hold it.
    Hold {
        /// Until when; a later hold that stands already is kept.
        until: Timestamp,
        /// The count of holds in a row.
        strikes: u32,
    },
    /// End the hold and forget the strikes.
    Clear,
}

impl LaneRecord {
    /// The lane of a new destination.
    #[must_use]
    pub fn new(destination: Incarnation) -> Self {
        Self {
            destination,
            hold_until: None,
            strikes: 0,
            rest_until: None,
            next_due: None,
            next_urgent: None,
            open: 0,
            health: Health::default(),
        }
    }

    /// When a claim that discovers work should come by; `None`: there is none.
    #[must_use]
    pub fn ready_at(&self) -> Option<Timestamp> {
        let scheduled =
            self.next_due.map(|due| due.max(self.hold_until.unwrap_or(due)).max(self.rest_until.unwrap_or(due)));
        match (scheduled, self.next_urgent) {
            (Some(scheduled), Some(urgent)) => Some(scheduled.min(urgent)),
            (scheduled, urgent) => scheduled.or(urgent),
        }
    }

    /// Whether only urgent attempts may be claimed at `now`.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.hold_until.is_some_and(|until| until > now)
    }

    /// Whether a new delivery may be handed straight to the publisher's process.
    #[must_use]
    pub fn allows_hand_off(&self, now: Timestamp) -> bool {
        self.strikes == 0 && !self.is_held(now)
    }

    /// How many scheduled deliveries a claim may take when it wants `wanted`.
    #[must_use]
    pub fn allowance(&self, now: Timestamp, wanted: u32) -> u32 {
        if self.is_held(now) {
            0
        } else if self.strikes > 0 {
            wanted.min(1)
        } else {
            wanted
        }
    }

    /// Takes an attempt into account in the destination's health, unless the destination is disabled or
    /// deleted already: what was still on its way then tells nothing new.
    #[must_use]
    pub fn judge(&mut self, destination: &DestinationRecord, attempt: &Attempt, judge: Judge) -> Judgement {
        if destination.is_enabled() { self.health.judge(attempt, judge) } else { Judgement::default() }
    }

    /// Follows a write of the destination: enabling it starts its health anew.
    pub fn rewritten(&mut self, before: &DestinationRecord, after: &DestinationRecord) {
        if before.disabled.is_some() && after.disabled.is_none() {
            self.health.start_anew();
        }
    }

    /// Applies what an outcome does.
    pub fn change(&mut self, change: LaneChange) {
        match change {
            LaneChange::Hold { until, strikes } => {
                self.hold_until = Some(self.hold_until.map_or(until, |at| at.max(until)));
                self.strikes = self.strikes.max(strikes);
            }
            LaneChange::Clear => {
                self.hold_until = None;
                self.strikes = 0;
            }
        }
    }
}
