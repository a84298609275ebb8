//! Putting an [`Outpost`] together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::operator::OperatorDestination;
#[cfg(feature = "tokens")]
use super::tokens::{Issuer, TokenSettings};
use super::{Guard, Outpost};
use crate::adapters::system::{SystemClock, SystemEntropy};
use crate::domain::health::HealthPolicy;
use crate::domain::retry::RetryPolicy;
use crate::domain::settings::{MIN_TIMEOUT, TenantLimits};
use crate::domain::topic::check_topic;
use crate::engine::scheduler::Limits;
use crate::ports::clock::{Clock, Entropy};
use crate::ports::observer::Observer;
use crate::ports::seal::{PlainSealer, Sealer};
use crate::ports::store::{Quota, Store};
use crate::ports::transport::Transport;
use crate::runtime::operator::Operator;
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
    max_timeout: Duration,
    health: HealthPolicy,
    quota: Quota,
    retention: Option<Duration>,
    idempotency_window: Duration,
    tenant_limits: TenantLimits,
    tenant_filters: bool,
    tenant_delivery_settings: bool,
    operator: Option<OperatorDestination>,
    deployment: Option<String>,
    #[cfg(feature = "tokens")]
    tokens: Option<TokenSettings>,
}

const DEFAULT_MAX_DATA: usize = 1 << 20;
const MAX_CONCURRENCY: u32 = 100_000;
const DEFAULT_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
const DEFAULT_IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(24 * 3600);
const MAX_IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(365 * 24 * 3600);

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
            max_timeout: Duration::from_secs(30),
            health: HealthPolicy::default(),
            quota: Quota::default(),
            retention: Some(DEFAULT_RETENTION),
            idempotency_window: DEFAULT_IDEMPOTENCY_WINDOW,
            tenant_limits: TenantLimits::default(),
            tenant_filters: false,
            tenant_delivery_settings: false,
            operator: None,
            deployment: None,
            #[cfg(feature = "tokens")]
            tokens: None,
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

    /// Sets the longest timeout that a destination may have of its own, 100 ms to 10 minutes. A crash delays
    /// what was on its way by about this, twice the timeout and 20 s at most. Default: 30 s.
    #[must_use]
    pub fn max_timeout(mut self, timeout: Duration) -> Self {
        self.max_timeout = timeout;
        self
    }

    /// Sets when failures of a destination are told of and when they disable it. Default:
    /// [`HealthPolicy::default`].
    #[must_use]
    pub fn health(mut self, policy: HealthPolicy) -> Self {
        self.health = policy;
        self
    }

    /// Sets how many open deliveries a tenant may have for a further event to be accepted; `None`: any
    /// number, the default.
    #[must_use]
    pub fn max_backlog(mut self, deliveries: Option<u64>) -> Self {
        self.quota.open = deliveries;
        self
    }

    /// Sets how many bytes of payloads and of answers' bodies a tenant may have stored for a further event to
    /// be accepted; `None`: any number, the default.
    #[must_use]
    pub fn max_stored_bytes(mut self, bytes: Option<u64>) -> Self {
        self.quota.bytes = bytes;
        self
    }

    /// Sets how long events are kept after everything about them has ended. What is still to be delivered is
    /// kept, however old. `None`: for ever. Must be at least the idempotency window. Default: 30 days.
    #[must_use]
    pub fn retention(mut self, time: Option<Duration>) -> Self {
        self.retention = time;
        self
    }

    /// Sets for how long a repeated publish with the same id is sure to be recognised; after that until the
    /// event is pruned. Default: 24 hours.
    #[must_use]
    pub fn idempotency_window(mut self, window: Duration) -> Self {
        self.idempotency_window = window;
        self
    }

    /// Sets how often a tenant's users may test, retry and replay. The operator may as often as it likes.
    /// Default: [`TenantLimits::default`].
    #[must_use]
    pub fn tenant_limits(mut self, limits: TenantLimits) -> Self {
        self.tenant_limits = limits;
        self
    }

    /// Lets tenants' users set the filter of their destinations; the operator always may. Matching runs where
    /// the event is published: what a filter may cost there is bounded, but for a payload of a megabyte that is
    /// one long list the worst filter takes about as long as parsing it 250 times. Default: not.
    #[must_use]
    pub fn tenant_filters(mut self, on: bool) -> Self {
        self.tenant_filters = on;
        self
    }

    /// Lets tenants' users set their destinations' timeout, concurrency, rate limit and retries; the operator
    /// always may. Default: not.
    #[must_use]
    pub fn tenant_delivery_settings(mut self, on: bool) -> Self {
        self.tenant_delivery_settings = on;
        self
    }

    /// Sets where operator events are sent. Default: nowhere; the observer is told all the same.
    #[must_use]
    pub fn operator_destination(mut self, destination: OperatorDestination) -> Self {
        self.operator = Some(destination);
        self
    }

    /// Sets the text that names this deployment in operator events. Default: none.
    #[must_use]
    pub fn deployment_id(mut self, id: impl Into<String>) -> Self {
        self.deployment = Some(id.into());
        self
    }

    /// Sets how tokens are made: portal links, sessions, tenants' API tokens. Default: there are none.
    #[cfg(feature = "tokens")]
    #[must_use]
    pub fn tokens(mut self, settings: TokenSettings) -> Self {
        self.tokens = Some(settings);
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
        for (field, timeout) in [("timeout", self.timeout), ("max_timeout", self.max_timeout)] {
            if !(MIN_TIMEOUT..=Duration::from_secs(600)).contains(&timeout) {
                problems.push(Problem::new(field, "must be between 100 ms and 10 minutes"));
            }
        }
        problems.extend(self.health.problems());
        if self.idempotency_window > MAX_IDEMPOTENCY_WINDOW {
            problems.push(Problem::new("idempotency_window", "must be at most 365 days"));
        }
        if self.retention.is_some_and(|time| time < self.idempotency_window) {
            let message = "must be at least the idempotency window, or ids would be forgotten before its end";
            problems.push(Problem::new("retention", message));
        }
        problems.extend(self.tenant_limits.problems());
        #[cfg(feature = "tokens")]
        problems.extend(self.tokens.iter().flat_map(TokenSettings::problems));
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
    /// [`NoRuntime`](ErrorKind::NoRuntime) outside a runtime; [`Incompatible`](ErrorKind::Incompatible) when
    /// the sealer cannot open what the store holds; the store's failures.
    pub async fn start(self) -> Result<Outpost> {
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
        #[cfg(feature = "tokens")]
        let tokens = self.tokens.map(Issuer::new).transpose()?;
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
            operator: Operator::new(self.operator.as_ref().map(OperatorDestination::transport), self.deployment),
            settings: Settings {
                limits,
                retry: self.retry,
                timeout: self.timeout,
                max_timeout: self.max_timeout,
                // Room to wait in memory, and for the attempt and its commit.
                lease: self.timeout + self.timeout.max(self.max_timeout) + LEASE_MARGIN.saturating_mul(2),
                quota: self.quota,
                health: self.health,
                retention: self.retention,
                tenant_limits: self.tenant_limits,
                tenant_filters: self.tenant_filters,
                tenant_delivery_settings: self.tenant_delivery_settings,
                max_data: self.max_data,
                max_destinations: self.max_destinations,
                prefixes: self.prefixes,
                topics: self.topics,
            },
        };
        let (shared, queues) = Shared::new(parts, runtime);
        let outpost = Outpost::over(Guard {
            shared,
            #[cfg(feature = "tokens")]
            tokens,
        });
        // Before anything is sent: with the wrong key every delivery would fail.
        outpost.check_key().await?;
        outpost.install_operator(self.operator).await?;
        outpost.shared().run(queues);
        Ok(outpost)
    }
}
