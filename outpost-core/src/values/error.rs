//! The error a caller of the library meets. Its kind says what to do next.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing wrong with the input, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field} {message}")]
pub struct Problem {
    /// The path of the field, such as `config.url`.
    pub field: String,
    /// What is wrong, as the rest of a sentence that starts with the field.
    pub message: String,
}

impl Problem {
    /// A problem with `field`.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// What kind of failure it is, which decides what the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is wrong; [`Error::problems`] lists every problem found. Repeating does not help.
    Invalid,
    /// There is no such tenant, destination, event, delivery or attempt, or it is not the actor's.
    NotFound,
    /// A thing with this id exists already, or the event id was used for a different event.
    Conflict,
    /// The thing was changed since the revision the caller named.
    Stale,
    /// A limit set by the operator is reached.
    LimitReached,
    /// The actor does this too often; [`Error::retry_after`] says when it may again.
    RateLimited,
    /// The actor lacks the capability for this call.
    Forbidden,
    /// The token is not valid: forged, expired, used, ended, of another kind, or of a tenant that is gone. Which of
    /// these is not told.
    Unauthenticated,
    /// Nothing was written; the same call may be repeated at once or later.
    NotStored,
    /// Whether it was written is not known; repeat with the same id, which is safe.
    Unknown,
    /// The store cannot be reached or is out of space; nothing was written.
    Unavailable,
    /// The stored data cannot be read.
    Corrupt,
    /// The store was written by another version, or a port does not fit.
    Incompatible,
    /// The library is shutting down; nothing was written.
    ShuttingDown,
    /// The call needs a Tokio runtime and there is none.
    NoRuntime,
    /// A defect of the library or of a port.
    Internal,
}

impl ErrorKind {
    /// Whether the same call can succeed later without a change.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::NotStored | Self::RateLimited | Self::Unknown | Self::Unavailable | Self::ShuttingDown)
    }
}

/// An error of the library: what was being done, what went wrong, and what kind of failure it is.
///
/// No secret, payload or foreign type is ever part of it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    message: String,
    problems: Vec<Problem>,
    retry_after: Option<std::time::Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of a call of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` met during `operation`.
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self { kind, operation, message: message.into(), problems: Vec::new(), retry_after: None, source: None }
    }

    /// The error for input with `problems`.
    #[must_use]
    pub fn invalid(operation: &'static str, problems: Vec<Problem>) -> Self {
        let message = problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ");
        Self { kind: ErrorKind::Invalid, operation, message, problems, retry_after: None, source: None }
    }

    /// Says when the call may be repeated.
    #[must_use]
    pub const fn with_retry_after(mut self, wait: std::time::Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// How long to wait before repeating the call, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<std::time::Duration> {
        self.retry_after
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was being done, such as `publish`.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        self.operation
    }

    /// What went wrong, without the operation.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Every problem with the input; empty unless the kind is [`ErrorKind::Invalid`].
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether the same call can succeed later without a change.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        self.kind.is_transient()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}
