//! Row 5: what keeps running. The only part of the core that starts tasks.
//!
//! | task | file | sleeps until |
//! | --- | --- | --- |
//! | ingest: group commit of published events | `ingest` | an event is published |
//! | claim: fetches due work the publishers did not hand over | `claim` | the next due time, or a wake-up |
//! | send: one for each request on its way | `send` | the receiver answers |
//! | settle: group commit of outcomes | `settle` | an attempt ends |
//! | watch: other processes' changes | `upkeep` | the store tells of one |
//! | sweep: writes down what disabling and deleting ended | `upkeep` | something was disabled or deleted |
//! | prune: deletes what is old | `upkeep` | an hour has passed |
//! | replay: asks for many attempts | `replay` | a replay is started |

pub mod claim;
pub mod directory;
pub mod ingest;
pub mod operator;
pub mod replay;
pub mod send;
pub mod settle;
pub mod upkeep;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use self::directory::Directory;
use self::ingest::Submission;
use self::operator::Operator;
use self::settle::Ended;
use crate::domain::health::HealthPolicy;
use crate::domain::retry::RetryPolicy;
use crate::domain::settings::TenantLimits;
use crate::engine::rate::Bucket;
use crate::engine::record::{Lease, LeaseToken};
use crate::engine::scheduler::{Limits, Scheduler};
use crate::ports::clock::{Clock, Entropy, random_u64};
use crate::ports::observer::{Observer, Signal};
use crate::ports::seal::Sealer;
use crate::ports::store::{Quota, Store};
use crate::ports::transport::Transport;
use crate::values::id::{IdPrefixes, Incarnation, uuid_v7_text};
use crate::values::time::Timestamp;

/// What the builder has settled.
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) retry: RetryPolicy,
    /// For one attempt, from dialling to the last byte.
    pub(crate) timeout: Duration,
    /// The longest that a destination may have of its own.
    pub(crate) max_timeout: Duration,
    /// How long a claimed delivery is ours.
    pub(crate) lease: Duration,
    pub(crate) max_data: usize,
    pub(crate) max_destinations: u32,
    /// What each tenant may have stored.
    pub(crate) quota: Quota,
    pub(crate) health: HealthPolicy,
    /// How long events are kept after their end.
    pub(crate) retention: Option<Duration>,
    pub(crate) tenant_limits: TenantLimits,
    /// Whether tenants' users may set filters, and how they are sent to.
    pub(crate) tenant_filters: bool,
    pub(crate) tenant_delivery_settings: bool,
    pub(crate) prefixes: IdPrefixes,
    /// The topics that may be published; `None`: any.
    pub(crate) topics: Option<Vec<String>>,
}

impl Settings {
    /// What every lease must have room for.
    pub(crate) fn longest_timeout(&self) -> Duration {
        self.timeout.max(self.max_timeout)
    }
}

/// A lease must outlast the attempt by this much when the attempt starts, for the outcome to be written.
pub(crate) const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// A lane that was left with due work is not discovered again before this has passed.
const REST: Duration = Duration::from_secs(1);
/// Outcomes that wait to be written. When the store stands still, sending stops at this many.
const MAX_UNSETTLED: u32 = 4096;
/// Test events on their way at once; they do not count into the concurrency.
const MAX_TESTS: usize = 32;
/// The operations that are tried again until they succeed, so that it is known when they work again.
const MAIN_OPERATIONS: [&str; 3] = ["publish", "settle", "claim"];
/// Published events that wait for the store; further publishers wait for a place.
const INGEST_QUEUE: usize = 4096;

/// How far the life of the engine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    /// Nothing new is accepted or started.
    Draining,
    Stopped,
}

/// Everything the tasks and the facade share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) transports: HashMap<String, Arc<dyn Transport>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) sealer: Arc<dyn Sealer>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) operator: Operator,
    pub(crate) settings: Settings,
    pub(crate) directory: Directory,
    pub(crate) publishing: mpsc::Sender<Submission>,
    scheduler: Mutex<Scheduler>,
    ended: mpsc::UnboundedSender<Ended>,
    unsettled: AtomicU32,
    /// Wakes the claim task.
    wake: Notify,
    /// When the store next has due work, in milliseconds; `i64::MAX` when it has none.
    next_due: AtomicI64,
    /// Wakes the sweep task.
    sweep: Notify,
    /// Wakes the replay task.
    pub(crate) replays: Notify,
    /// How often each tenant's users do what is limited.
    pub(crate) rates: Mutex<HashMap<(Incarnation, &'static str), Bucket>>,
    /// Test events on their way at once.
    pub(crate) tests: tokio::sync::Semaphore,
    /// Wakes whoever waits for the engine to run empty.
    progress: Notify,
    phase: watch::Sender<Phase>,
    runtime: tokio::runtime::Handle,
    tasks: Mutex<JoinSet<()>>,
    /// Operations of the store whose latest try failed.
    failing: Mutex<Vec<&'static str>>,
}

/// The receiving ends that the tasks take.
pub(crate) struct Queues {
    submissions: mpsc::Receiver<Submission>,
    outcomes: mpsc::UnboundedReceiver<Ended>,
}

/// What the builder hands over.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) transports: HashMap<String, Arc<dyn Transport>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) sealer: Arc<dyn Sealer>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) operator: Operator,
    pub(crate) settings: Settings,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The sections under these locks do not panic; should one, going on is better than failing every call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Everything in its place, and what its tasks will read from; they run on `runtime` once
    /// [`run`](Self::run) starts them.
    pub(crate) fn new(parts: Parts, runtime: tokio::runtime::Handle) -> (Arc<Self>, Queues) {
        let (publishing, submissions) = mpsc::channel(INGEST_QUEUE);
        let (ended, outcomes) = mpsc::unbounded_channel();
        let queues = Queues { submissions, outcomes };
        let shared = Arc::new(Self {
            scheduler: Mutex::new(Scheduler::new(parts.settings.limits)),
            store: parts.store,
            transports: parts.transports,
            clock: parts.clock,
            entropy: parts.entropy,
            sealer: parts.sealer,
            observer: parts.observer,
            operator: parts.operator,
            settings: parts.settings,
            directory: Directory::default(),
            publishing,
            ended,
            unsettled: AtomicU32::new(0),
            wake: Notify::new(),
            // At the start everything may be due: what an earlier run left, too.
            next_due: AtomicI64::new(0),
            sweep: Notify::new(),
            replays: Notify::new(),
            rates: Mutex::default(),
            tests: tokio::sync::Semaphore::new(MAX_TESTS),
            progress: Notify::new(),
            phase: watch::Sender::new(Phase::Running),
            runtime,
            tasks: Mutex::new(JoinSet::new()),
            failing: Mutex::default(),
        });
        (shared, queues)
    }

    /// Starts the tasks.
    pub(crate) fn run(self: &Arc<Self>, queues: Queues) {
        self.spawn(ingest::run(self.clone(), queues.submissions));
        self.spawn(settle::run(self.clone(), queues.outcomes));
        self.spawn(claim::run(self.clone()));
        self.spawn(upkeep::watch(self.clone()));
        self.spawn(upkeep::sweep(self.clone()));
        self.spawn(upkeep::prune(self.clone()));
        self.spawn(replay::run(self.clone()));
        self.sweep.notify_one();
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }

    pub(crate) fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        lock(&self.scheduler)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn new_lease(&self, now: Timestamp) -> Lease {
        let token = LeaseToken(random_u64(&*self.entropy).cast_signed());
        Lease { token, until: now.after(self.settings.lease) }
    }

    /// A generated id: the prefix and a version 7 UUID in short text form.
    pub(crate) fn new_id(&self, prefix: &str, now: Timestamp) -> String {
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        let mut id = String::with_capacity(prefix.len() + 26);
        id.push_str(prefix);
        id.push_str(&uuid_v7_text(now, random));
        id
    }

    pub(crate) fn tell(&self, signal: impl FnOnce() -> Signal) {
        if let Some(observer) = &self.observer {
            let signal = signal();
            // The host's code runs on our tasks; a fault in it must not end them.
            if std::panic::catch_unwind(AssertUnwindSafe(|| observer.observe(&signal))).is_err() {
                tracing::error!("the observer panicked");
            }
        }
    }

    /// Takes note that the store has work due at `at`.
    pub(crate) fn due_at(&self, at: Timestamp) {
        if self.next_due.fetch_min(at.as_millis(), Ordering::AcqRel) > at.as_millis() {
            self.wake.notify_one();
        }
    }

    /// Takes note that due work may have appeared in the store by other hands than ours.
    pub(crate) fn look_for_work(&self) {
        self.due_at(Timestamp::from_millis(0));
        self.wake.notify_one();
    }

    /// Wakes the sweep task.
    pub(crate) fn sweep_soon(&self) {
        self.sweep.notify_one();
    }

    /// Gives back what is queued for a destination whose settings or state have changed, so that it is
    /// read anew.
    pub(crate) fn give_back(&self, destination: Incarnation) {
        let drained = self.scheduler().drain(destination, true, self.now());
        for work in drained {
            self.end(Ended::released(work));
        }
    }

    /// Hands an outcome to the settle task.
    pub(crate) fn end(&self, ended: Ended) {
        self.unsettled.fetch_add(1, Ordering::AcqRel);
        if self.ended.send(ended).is_err() {
            // The settle task is gone: the engine has stopped, and the lease will lapse.
            self.unsettled.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Counts one thing as unfinished for as long as the answer lives.
    fn hold_open(&self) -> HeldOpen<'_> {
        self.unsettled.fetch_add(1, Ordering::AcqRel);
        HeldOpen(self)
    }

    /// Tells the observer of a failing store, and waits before the next try: longer each time.
    async fn back_off(&self, operation: &'static str, message: &str, tries: &mut u32) {
        let delay = Duration::from_millis(50 << (*tries).min(9)).min(Duration::from_secs(15));
        *tries = tries.saturating_add(1);
        tracing::warn!(operation, error = message, retry_in = ?delay, "the store fails");
        {
            let mut failing = lock(&self.failing);
            if MAIN_OPERATIONS.contains(&operation) && !failing.contains(&operation) {
                failing.push(operation);
            }
        }
        self.tell(|| Signal::StoreFailing { operation, message: message.to_owned(), retry_in: delay });
        self.clock.sleep(delay).await;
    }

    /// Whether the store fails or has failed and outcomes still wait to be written.
    fn is_behind(&self) -> bool {
        !lock(&self.failing).is_empty() && self.unsettled.load(Ordering::Acquire) > 0
    }

    /// Says that an operation of the store succeeded. The store has recovered when everything works again.
    fn store_works(&self, operation: &'static str) {
        let recovered = {
            let mut failing = lock(&self.failing);
            let before = failing.len();
            failing.retain(|failed| *failed != operation);
            before > 0 && failing.is_empty()
        };
        if recovered {
            self.tell(|| Signal::StoreRecovered);
        }
    }

    /// Stops in good order; see [`Outpost::shutdown`](crate::Outpost::shutdown). Returns whether everything
    /// was finished in time.
    pub(crate) async fn shut_down(&self, deadline: Duration) -> bool {
        self.phase.send_modify(|phase| *phase = (*phase).max(Phase::Draining));
        let drain = async {
            loop {
                let progress = self.progress.notified();
                let drained = self.scheduler().drain_all(self.now());
                for work in drained {
                    self.end(Ended::released(work));
                }
                if self.is_empty() {
                    break;
                }
                progress.await;
            }
            if let Err(error) = self.store.close().await {
                tracing::warn!(error = %error, "the store did not close cleanly");
            }
        };
        let finished = tokio::select! {
            () = drain => true,
            () = self.clock.sleep(deadline) => false,
        };
        self.stop();
        finished
    }

    fn is_empty(&self) -> bool {
        let scheduler = self.scheduler();
        scheduler.in_flight() == 0
            && scheduler.queued() == 0
            && self.unsettled.load(Ordering::Acquire) == 0
            && self.publishing.capacity() == self.publishing.max_capacity()
    }

    /// Ends every task at once. What was on its way is sent again after its lease.
    pub(crate) fn stop(&self) {
        self.phase.send_modify(|phase| *phase = Phase::Stopped);
        lock(&self.tasks).abort_all();
    }
}

/// Something unfinished, which a shutdown waits for.
struct HeldOpen<'a>(&'a Shared);

impl Drop for HeldOpen<'_> {
    fn drop(&mut self) {
        self.0.unsettled.fetch_sub(1, Ordering::AcqRel);
        if self.0.phase() != Phase::Running {
            self.0.progress.notify_waiters();
        }
    }
}
