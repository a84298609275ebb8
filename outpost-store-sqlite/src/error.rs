//! How trouble inside the store becomes a [`StoreError`].

use outpost_core::store::StoreError;
use outpost_core::{Problem, StoreErrorKind};
use rusqlite::ErrorCode;

/// What went wrong, before it is known which operation it happened in. It is made by reference into as
/// many [`StoreError`]s as there were callers in the group.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: StoreErrorKind,
    pub(crate) message: String,
}

pub(crate) type Fallible<T> = Result<T, Fault>;

impl Fault {
    pub(crate) fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Stored data that cannot be read back.
    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Corrupt, message)
    }

    pub(crate) fn error(&self, operation: &str) -> StoreError {
        StoreError::new(self.kind, format!("sqlite: {operation}: {}", self.message))
    }
}

pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// `SQLITE_READONLY_DBMOVED`: the file was renamed or deleted under us, which is no matter of permission.
const READONLY_DBMOVED: i32 = 1032;
/// `SQLITE_IOERR_CORRUPTFS`.
const IOERR_CORRUPTFS: i32 = 8458;

fn kind_of(error: &rusqlite::Error) -> StoreErrorKind {
    use rusqlite::Error as E;
    let failure = match error {
        E::SqliteFailure(failure, _) => failure,
        E::SqlInputError { error, .. } => error,
        // A value that is not what our own code writes.
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::InvalidColumnType(..)
        | E::Utf8Error(..) => {
            return StoreErrorKind::Corrupt;
        }
        _ => return StoreErrorKind::Internal,
    };
    match failure.extended_code {
        READONLY_DBMOVED => return StoreErrorKind::Unavailable,
        IOERR_CORRUPTFS => return StoreErrorKind::Corrupt,
        _ => {}
    }
    match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreErrorKind::Busy,
        ErrorCode::DiskFull => StoreErrorKind::Full,
        ErrorCode::ReadOnly => StoreErrorKind::ReadOnly,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreErrorKind::Corrupt,
        ErrorCode::CannotOpen
        | ErrorCode::SystemIoFailure
        | ErrorCode::PermissionDenied
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::OutOfMemory => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Internal,
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        // The engine's messages name tables and columns, never values.
        Self::new(kind_of(&error), error.to_string())
    }
}

impl From<rusqlite::types::FromSqlError> for Fault {
    fn from(error: rusqlite::types::FromSqlError) -> Self {
        Self::corrupt(error.to_string())
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::corrupt(format!("a stored {} is not valid", problem.field))
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        // The message of a syntax error may quote the text; the place is enough.
        Self::corrupt(format!("stored JSON cannot be read at line {} column {}", error.line(), error.column()))
    }
}
