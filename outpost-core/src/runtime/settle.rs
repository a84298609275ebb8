//! Writes outcomes down in group commits. An outcome is never dropped while the store may still take it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::directory::Place;
use super::{Phase, Shared, send};
use crate::domain::delivery::DeliveryState;
use crate::domain::event::Event;
use crate::domain::health::{HealthNews, Judgement};
use crate::engine::record::LaneChange;
use crate::engine::scheduler::Work;
use crate::ports::observer::Signal;
use crate::ports::store::{Settle, SettleAction, SettleItem, SettleOutcome, StoreError, StoreErrorKind};
use crate::values::id::{DestinationId, Incarnation, TenantId};
use crate::values::time::Timestamp;

/// The most outcomes of one commit.
const MAX_BATCH: usize = 512;
/// How often an outcome that the store alone refuses is tried again before it is stripped, then given up.
const REFUSED_TRIES: u32 = 3;
/// How often operator events are matched anew because the operator's destination changed under them.
const EQUIP_TRIES: u32 = 5;

/// What became of a delivery that this process held.
pub(crate) struct Ended {
    pub(crate) item: SettleItem,
    pub(crate) tenant: Incarnation,
    /// For the observers.
    pub(crate) note: Option<Note>,
}

/// What an attempt was about.
pub(crate) struct Note {
    pub(crate) place: Arc<Place>,
    pub(crate) event: Arc<Event>,
}

impl Note {
    fn names(&self) -> (TenantId, DestinationId) {
        (self.place.record.tenant_id.clone(), self.place.record.id.clone())
    }
}

impl Ended {
    /// It was not tried.
    pub(crate) fn released(work: Work) -> Self {
        Self::plain(work, SettleAction::Released)
    }

    pub(crate) fn plain(work: Work, action: SettleAction) -> Self {
        Self {
            tenant: work.delivery.event.tenant,
            item: SettleItem {
                key: work.delivery.key,
                token: work.token,
                action,
                lane: None,
                disable: None,
                judge: None,
                alerts: None,
                follow_ups: Vec::new(),
            },
            note: None,
        }
    }
}

pub(super) async fn run(shared: Arc<Shared>, mut queue: mpsc::UnboundedReceiver<Ended>) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while queue.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        write(&shared, std::mem::take(&mut batch)).await;
        shared.unsettled.fetch_sub(count, Ordering::AcqRel);
        // Sending may have stopped at the bound.
        send::pump(&shared);
        if shared.phase() != Phase::Running {
            shared.progress.notify_waiters();
        }
    }
}

/// Writes a batch, for as long as it takes. When the store refuses a batch for good, each of its outcomes
/// is written alone, so that one that cannot be stored does not keep the others from it.
async fn write(shared: &Arc<Shared>, mut batch: Vec<Ended>) {
    batch.iter_mut().for_each(|ended| shared.equip(ended));
    for _ in 0..EQUIP_TRIES {
        let Ok(outcomes) = commit(shared, items(&batch), u32::MAX).await else {
            for ended in batch {
                write_alone(shared, ended).await;
            }
            return;
        };
        batch = note_all(shared, batch, outcomes);
        if batch.is_empty() {
            return;
        }
        // The operator's destination has changed meanwhile.
        let mut tries = 0;
        while let Err(error) = shared.refresh_operator().await {
            shared.back_off("settle", &error.context, &mut tries).await;
        }
        batch.iter_mut().for_each(|ended| shared.equip(ended));
    }
    tracing::error!("the operator's destination changes all the time; outcomes are written without telling it");
    for mut ended in batch {
        ended.item.alerts = None;
        ended.item.follow_ups.clear();
        write_alone(shared, ended).await;
    }
}

fn items(batch: &[Ended]) -> Vec<SettleItem> {
    batch.iter().map(|ended| ended.item.clone()).collect()
}

async fn write_alone(shared: &Arc<Shared>, mut ended: Ended) {
    let stages: [fn(&mut SettleItem); 3] = [|_| (), strip, park];
    for stage in stages {
        stage(&mut ended.item);
        let batch = [ended];
        let result = commit(shared, items(&batch), REFUSED_TRIES).await;
        match result {
            Ok(outcomes) => match note_all(shared, batch.into(), outcomes).pop() {
                None => return,
                // Without its operator events it cannot be outdated.
                Some(outdated) => ended = outdated,
            },
            Err(_) => [ended] = batch,
        }
    }
    tracing::error!(event = %ended.item.key.event, "an outcome could not be written; the delivery is tried again");
}

/// Leaves out what was sent and received, in case that is what cannot be stored.
fn strip(item: &mut SettleItem) {
    item.alerts = None;
    item.follow_ups.clear();
    if let SettleAction::Attempted { attempt, .. } = &mut item.action {
        let attempt = Arc::make_mut(attempt);
        attempt.request = None;
        attempt.response = None;
    }
}

/// Ends a delivery whose attempts cannot be recorded, rather than sending it for ever.
fn park(item: &mut SettleItem) {
    item.action = SettleAction::Retired { state: DeliveryState::Failed };
    item.disable = None;
    item.judge = None;
}

/// Tries until the store takes it, while its failures may pass; others at most `refused_tries` times, or
/// not again at all when that is `u32::MAX`.
async fn commit(shared: &Shared, items: Vec<SettleItem>, refused_tries: u32) -> Result<Vec<SettleOutcome>, StoreError> {
    let (mut tries, mut refused) = (0, 0);
    loop {
        let request = Settle { now: shared.now(), items: items.clone() };
        let error = match shared.store.settle(request).await {
            Ok(outcomes) => {
                shared.store_works("settle");
                return Ok(outcomes);
            }
            Err(error) => error,
        };
        let lasting = matches!(error.kind, StoreErrorKind::Internal | StoreErrorKind::Corrupt);
        refused += u32::from(lasting);
        if lasting && (refused_tries == u32::MAX || refused >= refused_tries) {
            return Err(error);
        }
        // A commit with an unknown end may be repeated: what it wrote has ended the lease, so the
        // repetition is stale.
        shared.back_off("settle", &error.context, &mut tries).await;
    }
}

/// Tells of what was written; gives back what was not because its operator events were outdated.
fn note_all(shared: &Arc<Shared>, batch: Vec<Ended>, outcomes: Vec<SettleOutcome>) -> Vec<Ended> {
    let mut outdated = Vec::new();
    for (ended, outcome) in batch.into_iter().zip(outcomes) {
        match outcome {
            SettleOutcome::Done { state, due, judgement } => note(shared, &ended, state, due, &judgement),
            SettleOutcome::Outdated => outdated.push(ended),
            SettleOutcome::Stale => {
                // The lease had lapsed, or a commit was repeated that had happened after all. Either way only
                // the store knows when the delivery is due next.
                tracing::debug!(event = %ended.item.key.event, "an outcome is in the store already or came too late");
                shared.look_for_work();
            }
        }
    }
    outdated
}

fn note(shared: &Arc<Shared>, ended: &Ended, state: DeliveryState, due: Option<Timestamp>, judgement: &Judgement) {
    let destination = ended.item.key.destination;
    if let Some(at) = due {
        shared.due_at(at);
        if at <= shared.now() {
            shared.scheduler().note_backlog(destination, ended.tenant);
        }
    }
    let told = !ended.item.follow_ups.is_empty() || !judgement.news.is_empty() || judgement.disabled.is_some();
    if told && ended.item.alerts.is_some() {
        // Their deliveries wait in the store.
        shared.look_for_work();
    }
    if judgement.disabled.is_some() {
        shared.directory.forget_place(destination);
        shared.give_back(destination);
        shared.sweep_soon();
    }
    let Some(note) = &ended.note else { return };
    if judgement.disabled.is_some() {
        shared.directory.forget_tenant(&note.place.record.tenant_id);
    }
    if let SettleAction::Attempted { attempt, .. } = &ended.item.action {
        shared.tell(|| {
            let (tenant, destination) = note.names();
            Signal::Attempted {
                tenant,
                destination,
                event: attempt.delivery.event.clone(),
                number: attempt.number,
                trigger: attempt.trigger,
                outcome: attempt.outcome.clone(),
                duration: attempt.duration,
                state,
                next_attempt_at: attempt.next_attempt_at.filter(|_| state.is_open()),
            }
        });
        for news in &judgement.news {
            shared.tell(|| {
                let (tenant, destination) = note.names();
                let event = attempt.delivery.event.clone();
                match *news {
                    HealthNews::Failing { percent, failures, limit, since } => {
                        Signal::Failing { tenant, destination, percent, failures, limit, since }
                    }
                    HealthNews::Exhausted => Signal::Exhausted { tenant, destination, event },
                    HealthNews::Recovered { failures, since } => {
                        Signal::Recovered { tenant, destination, failures, since }
                    }
                }
            });
        }
    }
    if let Some(disabled) = &judgement.disabled {
        shared.tell(|| {
            let (tenant, destination) = note.names();
            Signal::Disabled { tenant, destination, disabled: disabled.clone() }
        });
    }
    if let Some(LaneChange::Hold { until, .. }) = ended.item.lane {
        shared.tell(|| {
            let (tenant, destination) = note.names();
            Signal::Held { tenant, destination, until }
        });
    }
}
