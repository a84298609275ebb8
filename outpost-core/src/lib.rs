#![doc = include_str!("../README.md")]

mod adapters;
#[cfg(feature = "conformance")]
pub mod conformance;
mod domain;
mod engine;
mod facade;
mod ports;
mod runtime;
mod values;

pub use async_trait::async_trait;

pub use adapters::fault::{Fault, FaultStore, Faults, Operation, Times};
pub use adapters::keyring::{KeyRing, SealingKey};
pub use adapters::memory::MemoryStore;
pub use adapters::scripted::{ScriptedCall, ScriptedCalls, ScriptedReply, ScriptedTransport};
pub use adapters::system::{SeededEntropy, SystemClock, SystemEntropy, TokioClock};
#[cfg(feature = "webhook")]
pub use adapters::system::{SystemResolver, TcpDialer};
#[cfg(feature = "webhook")]
pub use adapters::webhook::{HeaderChoice, ServiceHeaders, Signing, WebhookTransport, WebhookTransportBuilder};
pub use domain::actor::{Actor, Capabilities, Capability};
pub use domain::attempt::{
    Attempt, AttemptError, CodeFilter, ErrorClass, HeaderList, Outcome, RequestRecord, ResponseRecord,
};
pub use domain::delivery::{CancelReason, Delivery, DeliveryKey, DeliveryState, Trigger};
pub use domain::descriptor::{Descriptor, Field, FieldKind, ServiceGuide, SigningGuide, StandardGuide};
pub use domain::destination::{
    Credentials, DEFAULT_ROTATION_OVERLAP, Destination, DestinationPatch, Disabled, DisabledBy, MASK, MapPatch,
    NewDestination,
};
pub use domain::egress::{Allowance, EgressPolicy, EgressPolicyBuilder, Party, Refused};
pub use domain::event::{Event, Fingerprint, MAX_NESTING};
pub use domain::filter::{
    DestinationFilter, ExplainedCondition, Explanation, FilterInput, MAX_EXPLAINED_VALUE, MAX_FILTER_CONDITIONS,
    MAX_FILTER_DEPTH, MAX_FILTER_LEN, MAX_FILTER_VALUES,
};
pub use domain::health::{Health, HealthNews, HealthPolicy, Judge, Judgement, LEAST_FAILURES, WARNINGS};
pub use domain::metrics::{
    Dimension, Granularity, MAX_METRIC_FILTER_VALUES, MAX_METRIC_ROWS, Measure, MetricValue, MetricsFilter, MetricsOf,
    MetricsQuery, MetricsReport, MetricsRow, TimeUnit,
};
pub use domain::operator::{OPERATOR_DESTINATION, OPERATOR_TENANT, OPERATOR_TOPICS};
pub use domain::replay::{MAX_REPLAY_TOPICS, Replay, ReplayRequest, ReplayState};
pub use domain::retry::{MAX_ATTEMPTS, MAX_DELAY, RetryPolicy, Schedule};
pub use domain::rollup;
pub use domain::settings::{DeliverySettings, MAX_RATE, MAX_RATE_PERIOD, MIN_TIMEOUT, RateLimit, TenantLimits};
pub use domain::signing::{BodyKey, KeyError, Scheme, SigningKey};
pub use domain::tenant::{StringMap, Tenant};
#[cfg(feature = "tokens")]
pub use domain::token::{Theme, check_return_to};
pub use domain::topic::{MAX_TOPIC_LEN, MAX_TOPICS, Topics, check_topic};
pub use domain::verify::{Verifier, VerifyError};
pub use engine::record::{
    DeliveryRecord, DestinationRecord, LaneChange, LaneRecord, Lease, LeaseToken, RequestRefusal, stands_for_schedule,
};
pub use facade::{
    AttemptFilter, Deliveries, DeliveryFilter, Destinations, Ephemeral, Erased, EventFilter, Events, MAX_PUBLISH_BATCH,
    MAX_REPLAYS, MatchVerdict, Metrics, NewEvent, OfDestination, OfTenant, Offers, OperatorDestination, Outpost,
    OutpostBuilder, Published, PutTenant, ReplayPreview, Replays, Resealed, Scope, Tenants, TestEvent, WouldReceive,
};
#[cfg(feature = "tokens")]
pub use facade::{EntryToken, PortalLink, Session, TokenSettings, Tokens};
pub use ports::clock::{BoxFuture, Clock, Entropy};
pub use ports::net::{Dialer, Io, Resolver};
pub use ports::observer::{Observer, Signal};
pub use ports::seal::{PlainSealer, SealContext, SealError, Sealer};
pub use ports::store;
pub use ports::store::{Store, StoreError, StoreErrorKind};
pub use ports::transport::{DeliveryError, Message, Receipt, Rotation, Target, Transport, Verdict, VetError};
pub use values::error::{Error, ErrorKind, Problem, Result};
pub use values::id::{AttemptId, DestinationId, EventId, IdPrefixes, Incarnation, MAX_ID_LEN, TenantId, uuid_v7_text};
pub use values::page::{Direction, MAX_PAGE, Page, PageRequest, Position};
pub use values::secret::{Sealed, Secret};
pub use values::time::Timestamp;
