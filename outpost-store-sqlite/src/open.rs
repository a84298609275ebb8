//! Opening the file: what it is, whether it fits, and how it is used.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outpost_core::StoreErrorKind;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Fallible, Fault, is_busy};
use crate::schema;
use crate::{ForeignJournal, Synchronous};

/// From this version on the write-ahead log of a file with several connections is safe against a reset
/// that corrupted it.
const OLDEST_SQLITE: i32 = 3_051_003;
/// Pages of the log after which it is copied into the file: fewer, larger copies than by default.
const CHECKPOINT_PAGES: i64 = 4000;
/// Memory for pages, in KiB, negative as SQLite wants it: the right edges of all trees fit in.
const WRITER_CACHE_KIB: i64 = -65_536;
/// Statements that stay prepared; more than there are.
const STATEMENTS: usize = 256;
/// How long to wait before trying again while somebody else holds the file, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// How the store is set up.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    pub(crate) synchronous: Synchronous,
    pub(crate) readers: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) prefix: String,
    pub(crate) foreign_journal: ForeignJournal,
}

impl Settings {
    pub(crate) fn new(path: PathBuf) -> Self {
        // SQLite takes some relative names for addresses, and a relative one leads elsewhere when the process
        // changes its folder.
        let path = if is_file(&path) { std::path::absolute(&path).unwrap_or(path) } else { path };
        Self {
            path,
            synchronous: Synchronous::Full,
            readers: 2,
            busy_timeout: Duration::from_secs(30),
            prefix: "outpost_".to_owned(),
            foreign_journal: ForeignJournal::Refuse,
        }
    }

    fn check(&self) -> Fallible<()> {
        let incompatible = |text: &str| Err(Fault::new(StoreErrorKind::Incompatible, text));
        let mut letters = self.prefix.bytes();
        let fine = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && self.prefix.len() <= 32
            && !self.prefix.to_ascii_lowercase().starts_with("sqlite_");
        if !fine {
            return incompatible("the table prefix must be a letter and up to 31 letters, digits and '_'");
        }
        if !is_file(&self.path) {
            return incompatible("the store needs a file; for one in memory use MemoryStore");
        }
        if rusqlite::version_number() < OLDEST_SQLITE {
            return incompatible(&format!("SQLite {} is too old, 3.51.3 is needed", rusqlite::version()));
        }
        Ok(())
    }
}

fn is_file(path: &Path) -> bool {
    !path.as_os_str().is_empty() && path != Path::new(":memory:")
}

/// Tries again while somebody else holds the file, for statements that SQLite does not wait for itself.
pub(crate) fn patiently<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, rusqlite::Error>,
) -> Result<T, rusqlite::Error> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && start.elapsed() < patience => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            other => return other,
        }
    }
}

fn pragma(conn: &Connection, name: &str) -> Result<String, rusqlite::Error> {
    conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

/// Opens the connection that writes and brings the file's format up to date.
pub(crate) fn writer(settings: &Settings) -> Fallible<Connection> {
    settings.check()?;
    prepare(settings).map_err(|fault| explain(&settings.path, fault))
}

/// SQLite calls a file in a folder that may not be written to one that it cannot open.
fn explain(path: &Path, fault: Fault) -> Fault {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let locked = std::fs::metadata(folder).is_ok_and(|found| found.permissions().readonly());
    if fault.kind == StoreErrorKind::Unavailable && locked {
        return Fault::new(StoreErrorKind::ReadOnly, format!("the folder may not be written to: {}", fault.message));
    }
    fault
}

/// Puts the file into WAL mode. It needs the file for itself for a moment, which SQLite does not wait for.
fn switch_to_wal(conn: &Connection, patience: Duration) -> Fallible<()> {
    let mode = patiently(patience, || pragma(conn, "journal_mode = WAL"))?;
    if mode == "wal" {
        return Ok(());
    }
    // Some file systems have no shared memory.
    Err(Fault::new(
        StoreErrorKind::Incompatible,
        format!("the file stays in journal mode {mode}, WAL does not work here"),
    ))
}

fn prepare(settings: &Settings) -> Fallible<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&settings.path, flags)?;
    conn.busy_timeout(settings.busy_timeout)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    if conn.is_readonly("main")? {
        return Err(Fault::new(StoreErrorKind::ReadOnly, "the file or its folder may not be written to"));
    }
    let patience = settings.busy_timeout;
    if schema::is_empty(&conn)? {
        // Both must come before the first table.
        patiently(patience, || conn.execute_batch("PRAGMA auto_vacuum = INCREMENTAL"))?;
        switch_to_wal(&conn, patience)?;
    } else if patiently(patience, || pragma(&conn, "journal_mode"))? != "wal" {
        let foreign = schema::has_foreign(&conn, &settings.prefix)?;
        match settings.foreign_journal {
            ForeignJournal::Refuse if foreign => {
                return Err(Fault::new(
                    StoreErrorKind::Incompatible,
                    "the file holds other tables and is not in WAL mode: choose allow_wal_switch or keep_journal_mode",
                ));
            }
            ForeignJournal::Keep if foreign => {}
            _ => switch_to_wal(&conn, patience)?,
        }
    }
    let synchronous = match settings.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    // secure_delete: what is deleted or sealed anew must not stay behind in free pages.
    conn.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA cache_size = {WRITER_CACHE_KIB}; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;
         PRAGMA secure_delete = ON"
    ))?;
    schema::migrate(&conn, &settings.prefix, |conn| {
        Ok(patiently(patience, || conn.execute_batch("BEGIN IMMEDIATE"))?)
    })?;
    Ok(conn)
}

/// Opens a connection that reads.
pub(crate) fn reader(settings: &Settings) -> Fallible<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&settings.path, flags)?;
    conn.busy_timeout(settings.busy_timeout)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY")?;
    Ok(conn)
}

/// Tells a file from another one at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileMark(Option<(u64, u64)>);

impl FileMark {
    pub(crate) fn of(path: &Path) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            Self(std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino())))
        }
        #[cfg(not(unix))]
        {
            Self(std::fs::metadata(path).ok().map(|_| (0, 0)))
        }
    }

    /// Whether the path still leads to this file. SQLite would go on writing to one that was deleted, and
    /// what it acknowledges would be gone with the last handle.
    pub(crate) fn check(self, path: &Path) -> Fallible<()> {
        if Self::of(path) == self {
            return Ok(());
        }
        Err(Fault::new(StoreErrorKind::Unavailable, "the file was moved, deleted or replaced while it was open"))
    }
}
