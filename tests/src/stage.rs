//! What tests need that run over every store: a clock that stands still until it is moved, and the engine's
//! signals as events to wait for. A store with threads of its own leaves Tokio idle while it works, so paused
//! time would run ahead of it; a clock moved by hand cannot.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outpost_core::{
    BoxFuture, Clock, MemoryStore, NewEvent, OPERATOR_TENANT, Outpost, OutpostBuilder, RetryPolicy, ScriptedTransport,
    SeededEntropy, Signal, Store, Timestamp,
};
use outpost_store_sqlite::{SqliteStore, Synchronous};
use tokio::sync::watch;

use crate::epoch;

/// A clock that stands still until a test moves it. Clones are the same clock.
#[derive(Clone)]
pub struct HandClock(watch::Sender<Timestamp>);

impl Default for HandClock {
    fn default() -> Self {
        Self(watch::Sender::new(epoch()))
    }
}

impl HandClock {
    /// Moves it.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.after(by));
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn monotonic(&self) -> Duration {
        self.now().since(epoch())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (until, mut moved) = (self.now().after(duration), self.0.subscribe());
        Box::pin(async move {
            // A clock that nobody can move any more stands still.
            if moved.wait_for(|now| *now >= until).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

/// Data that several processes may have open, in one kind of store.
pub enum Bed {
    /// In memory.
    Memory(MemoryStore),
    /// A file.
    Sqlite(tempfile::TempDir),
}

impl Bed {
    /// Empty, in memory.
    #[must_use]
    pub fn memory() -> Self {
        Self::Memory(MemoryStore::new())
    }

    /// Empty, in a new file.
    #[must_use]
    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a folder"))
    }

    /// The data as a further process opens it.
    pub async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Memory(store) => Arc::new(store.another_process()),
            Self::Sqlite(folder) => {
                let builder = SqliteStore::builder(folder.path().join("o.db")).synchronous(Synchronous::Normal);
                Arc::new(builder.open().await.expect("the file opens"))
            }
        }
    }
}

/// Makes a test over each store of every `async fn(Bed)` that is named.
#[macro_export]
macro_rules! over_every_store {
    ($($name:ident),* $(,)?) => {
        mod over_memory {
            $(#[tokio::test] async fn $name() { super::$name($crate::stage::Bed::memory()).await })*
        }
        mod over_sqlite {
            $(#[tokio::test] async fn $name() { super::$name($crate::stage::Bed::sqlite()).await })*
        }
    };
}

/// The signals that engines gave, in order. Clones are the same list.
#[derive(Clone)]
pub struct Signals(Arc<Mutex<Vec<Signal>>>, watch::Sender<usize>);

impl Default for Signals {
    fn default() -> Self {
        Self(Arc::default(), watch::Sender::new(0))
    }
}

impl Signals {
    /// An observer that adds to the list.
    pub fn observer(&self) -> impl Fn(&Signal) + Send + Sync + 'static {
        let own = self.clone();
        move |signal| {
            own.0.lock().unwrap_or_else(PoisonError::into_inner).push(signal.clone());
            // Attempts at operator events go by themselves.
            if matches!(signal, Signal::Attempted { tenant, .. } if tenant.as_str() != OPERATOR_TENANT) {
                own.1.send_modify(|attempts| *attempts += 1);
            }
        }
    }

    /// Completes when there have been that many attempts at tenants' events.
    ///
    /// # Panics
    /// When that takes a minute.
    pub async fn attempts(&self, count: usize) {
        let mut seen = self.1.subscribe();
        let waiting = seen.wait_for(|attempts| *attempts >= count);
        let done = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(done.is_ok(), "only {} of {count} attempts were made", *self.1.borrow());
    }

    /// How many attempts at tenants' events there were.
    #[must_use]
    pub fn attempted(&self) -> usize {
        *self.1.borrow()
    }

    /// What was told of health, in short: what, about whom, and the numbers.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let signals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        signals.iter().filter_map(short).collect()
    }

    /// Every signal.
    #[must_use]
    pub fn all(&self) -> Vec<Signal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn short(signal: &Signal) -> Option<String> {
    let mut text = String::new();
    let wrote = match signal {
        Signal::Failing { tenant, destination, percent, failures, limit, .. } => {
            write!(text, "{tenant}/{destination} failing {percent}% {failures} of {limit}")
        }
        Signal::Exhausted { tenant, destination, event } => write!(text, "{tenant}/{destination} exhausted {event}"),
        Signal::Recovered { tenant, destination, failures, .. } => {
            write!(text, "{tenant}/{destination} recovered {failures}")
        }
        Signal::Disabled { tenant, destination, disabled } => {
            write!(text, "{tenant}/{destination} disabled {}", disabled.by.as_str())
        }
        _ => return None,
    };
    wrote.ok().map(|()| text)
}

/// Engines under one clock, whose signals go into one list.
#[derive(Default)]
pub struct Stage {
    /// The clock.
    pub clock: HandClock,
    /// What the engines told.
    pub signals: Signals,
    seeds: AtomicU64,
}

impl Stage {
    /// A builder without jitter. Each gets a seed of its own, for two processes never draw the same numbers.
    pub fn builder(&self, store: impl Store, transport: ScriptedTransport) -> OutpostBuilder {
        Outpost::builder(store)
            .transport(transport)
            .clock(self.clock.clone())
            .entropy(SeededEntropy::new(self.seeds.fetch_add(1, Ordering::Relaxed)))
            .observer(self.signals.observer())
            .retry(RetryPolicy::default().jitter(0.0).expect("a fine jitter"))
    }

    /// Publishes events that are not retried, named after `prefix` and their number, and waits until as many
    /// further attempts were made as there are events.
    pub async fn publish(&self, outpost: &Outpost, tenant: &str, prefix: &str, count: usize) {
        let before = self.signals.attempted();
        let event = |n| NewEvent::new("a.b", "{}").id(format!("{prefix}{n}")).eligible_for_retry(false);
        for published in outpost.publish_batch(tenant, (0..count).map(event).collect()).await.expect("published") {
            published.expect("stored");
        }
        self.signals.attempts(before + count).await;
    }
}
