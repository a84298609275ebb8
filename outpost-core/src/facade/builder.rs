//! Putting an [`Outpost`] together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Outpost;
use crate::adapters::system::{SystemClock, SystemEntropy};
use crate::domain::retry::RetryPolicy;
use crate::domain::topic::check_topic;
use crate::engine::scheduler::Limits;
use crate::ports::clock::{Clock, Entropy};
use crate::ports::observer::Observer;
use crate::ports::seal::{PlainSealer, Sealer};
use crate::ports::store::Store;
use crate::ports::transport::Transport;
use crate::runtime::{LEASE_MARGIN, Parts, Settings, Shared};
use crate::values::error::{Error, ErrorKind, Problem, Result};
use crate::values::id::IdPrefixes;

/// Builds an [`Outpost`]. Every setting has a default but the store and the transports.
pub struct OutpostBuilder {
    store: Arc<dyn Store>,
    transports: Vec<Arc<dyn Transport>>,
    clock: Option<Arc<dyn Clock>>,
    entropy: Option<Arc<dyn Entropy>>,
    sealer: Arc<dyn Sealer>,
    observer: Option<Arc<dyn Observer>>,
    retry: RetryPolicy,
    timeout: Duration,
    concurrency: u32,
    destination_concurrency: u32,
    max_data: usize,
    max_destinations: u32,
    prefixes: IdPrefixes,
    topics: Option<Vec<String>>,
}

const DEFAULT_MAX_DATA: usize = 1 << 20;
const MAX_CONCURRENCY: u32 = 100_000;

impl OutpostBuilder {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            transports: Vec::new(),
            clock: None,
            entropy: None,
            sealer: Arc::new(PlainSealer),
            observer: None,
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(20),
            concurrency: 256,
            destination_concurrency: 32,
            max_data: DEFAULT_MAX_DATA,
            max_destinations: 20,
            prefixes: IdPrefixes::default(),
            topics: None,
        }
    }

    /// Adds the transport of one kind of destination.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transports.push(Arc::new(transport));
        self
    }

    /// Sets the retry policy. Default: [`RetryPolicy::default`].
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets how long one attempt may take in all, 100 ms to 10 minutes. Default: 20 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many requests this process sends at once, 1 to 100,000. Default: 256.
    #[must_use]
    pub fn concurrency(mut self, limit: u32) -> Self {
        self.concurrency = limit;
        self
    }

    /// Sets how many requests this process sends to one destination at once, 1 to 100,000. Default: 32.
    #[must_use]
    pub fn destination_concurrency(mut self, limit: u32) -> Self {
        self.destination_concurrency = limit;
        self
    }

    /// Sets the largest payload in bytes, at least 2. Default: 1 MiB.
    #[must_use]
    pub fn max_data(mut self, bytes: usize) -> Self {
        self.max_data = bytes;
        self
    }

    /// Sets how many destinations a tenant may have, disabled ones included. Default: 20.
    #[must_use]
    pub fn max_destinations(mut self, limit: u32) -> Self {
        self.max_destinations = limit;
        self
    }

    /// Sets the prefixes of generated ids. Default: `evt_`, `des_`, `att_`.
    #[must_use]
    pub fn id_prefixes(mut self, prefixes: IdPrefixes) -> Self {
        self.prefixes = prefixes;
        self
    }

    /// Sets the topics that may be published. Default: any.
    #[must_use]
    pub fn topics<I, S>(mut self, topics: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.topics = Some(topics.into_iter().map(Into::into).collect());
        self
    }

    /// Sets what seals configs and credentials before they are stored, such as a [`KeyRing`](crate::KeyRing),
    /// which encrypts them. Default: nothing, [`PlainSealer`].
    #[must_use]
    pub fn sealer(mut self, sealer: impl Sealer) -> Self {
        self.sealer = Arc::new(sealer);
        self
    }

    /// Sets who is told what happens. Default: nobody.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Sets the clock. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets the source of randomness. Default: the system's.
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Some(Arc::new(entropy));
        self
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.transports.is_empty() {
            problems.push(Problem::new("transport", "is required: add at least one"));
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(600)).contains(&self.timeout) {
            problems.push(Problem::new("timeout", "must be between 100 ms and 10 minutes"));
        }
        for (field, limit) in
            [("concurrency", self.concurrency), ("destination_concurrency", self.destination_concurrency)]
        {
            if !(1..=MAX_CONCURRENCY).contains(&limit) {
                problems.push(Problem::new(field, format!("must be between 1 and {MAX_CONCURRENCY}")));
            }
        }
        if self.max_data < 2 {
            problems.push(Problem::new("max_data", "must be at least 2 bytes"));
        }
        problems.extend(self.prefixes.check().err());
        for topic in self.topics.iter().flatten() {
            if let Err(problem) = check_topic(topic) {
                problems.push(Problem::new("topics", format!("{topic:?} {}", problem.message)));
            }
        }
        let mut kinds: Vec<&str> = self.transports.iter().map(|transport| transport.descriptor().kind).collect();
        kinds.sort_unstable();
        if let Some([twice, _]) = kinds.windows(2).find(|pair| pair.first() == pair.last()) {
            problems.push(Problem::new("transport", format!("of type {twice} is given twice")));
        }
        problems
    }

    /// Starts the engine on the current Tokio runtime, of either flavour, with time enabled.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) listing every setting that is out of bounds;
    /// [`NoRuntime`](ErrorKind::NoRuntime) outside a runtime.
    pub fn start(self) -> Result<Outpost> {
        const OPERATION: &str = "start";
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(Error::invalid(OPERATION, problems));
        }
        let no_runtime = |message| Error::new(ErrorKind::NoRuntime, OPERATION, message);
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| no_runtime("call this inside a Tokio runtime, which the engine's tasks run on"))?;
        // Tokio has no way to ask; without this the first sleep would panic inside a task.
        let timed = std::panic::catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO)));
        timed.map_err(|_| no_runtime("the Tokio runtime must be built with time enabled"))?;
        let concurrency = self.concurrency;
        let destination_concurrency = self.destination_concurrency.min(concurrency);
        let limits = Limits {
            concurrency,
            destination_concurrency,
            queued: concurrency.saturating_mul(32).max(1024),
            destination_queued: destination_concurrency.saturating_mul(32),
            queued_bytes: 256 << 20,
        };
        let transports: HashMap<_, _> =
            self.transports.into_iter().map(|transport| (transport.descriptor().kind.to_owned(), transport)).collect();
        let parts = Parts {
            store: self.store,
            transports,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            entropy: self.entropy.unwrap_or_else(|| Arc::new(SystemEntropy::default())),
            sealer: self.sealer,
            observer: self.observer,
            settings: Settings {
                limits,
                retry: self.retry,
                timeout: self.timeout,
                // Room to wait in memory, and for the attempt and its commit.
                lease: self.timeout.saturating_mul(2) + LEASE_MARGIN.saturating_mul(2),
                max_data: self.max_data,
                max_destinations: self.max_destinations,
                prefixes: self.prefixes,
                topics: self.topics,
            },
        };
        Ok(Outpost::over(Shared::start(parts, runtime)))
    }
}
