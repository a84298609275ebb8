//! The thread that writes, in group commits.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outpost_core::store::{
    ApplyOutcome, Claim, Claimed, IngestOutcome, Prune, Pruned, SettleOutcome, StoreResult, Sweep, Swept,
};
use outpost_core::{StoreError, StoreErrorKind};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::apply::ApplyWork;
use crate::error::{Fallible, Fault};
use crate::ingest::IngestWork;
use crate::open::{self, FileMark, Settings, patiently};
use crate::settle::SettleWork;
use crate::sql::Sql;
use crate::tx::{Cache, Tx};

/// Jobs that wait; further callers wait for a place.
const QUEUE: usize = 256;
/// The most jobs and about the most items of one commit.
const MAX_JOBS: usize = 64;
const MAX_ITEMS: usize = 4096;
/// How often other processes' changes are looked for: seldom while there are none.
const LOOK_SELDOM: Duration = Duration::from_secs(1);
const LOOK_OFTEN: Duration = Duration::from_millis(250);
/// How long after the last foreign change it is looked for often.
const OFTEN_FOR: Duration = Duration::from_secs(60);
/// While another process commits, the time it is left to get in before each of our transactions.
const COURTESY: Duration = Duration::from_micros(500);
const COURTESY_FOR: Duration = Duration::from_secs(1);
/// How long the log's last copying waits for those who read it; what is left the next opening copies.
const CLOSING: Duration = Duration::from_millis(500);

type Reply<T> = oneshot::Sender<StoreResult<T>>;

/// One request to write.
pub(crate) enum Job {
    Apply(ApplyWork, Reply<ApplyOutcome>),
    Ingest(IngestWork, Reply<Vec<IngestOutcome>>),
    Claim(Claim, Reply<Claimed>),
    Settle(SettleWork, Reply<Vec<SettleOutcome>>),
    Sweep(Sweep, Reply<Swept>),
    Prune(Prune, Reply<Pruned>),
    /// Look whether another process has committed.
    Look,
    Close(Reply<()>),
}

/// An answer that is sent once the commit has happened.
enum Answer {
    Apply(ApplyOutcome),
    Ingest(Vec<IngestOutcome>),
    Claim(Claimed),
    Settle(Vec<SettleOutcome>),
    Sweep(Swept),
    Prune(Pruned),
}

impl Job {
    fn weight(&self) -> usize {
        match self {
            Self::Apply(work, _) => work.weight(),
            Self::Ingest(work, _) => work.weight(),
            Self::Settle(work, _) => work.weight(),
            Self::Claim(claim, _) => claim.limit as usize,
            Self::Sweep(sweep, _) => sweep.limit as usize,
            Self::Prune(prune, _) => prune.examine as usize,
            Self::Look | Self::Close(_) => 0,
        }
    }

    fn run(&self, tx: &mut Tx<'_>) -> Fallible<Answer> {
        match self {
            Self::Apply(work, _) => tx.apply(work).map(Answer::Apply),
            Self::Ingest(work, _) => tx.ingest(work).map(Answer::Ingest),
            Self::Claim(claim, _) => tx.claim(claim).map(Answer::Claim),
            Self::Settle(work, _) => tx.settle(work).map(Answer::Settle),
            Self::Sweep(sweep, _) => tx.sweep(sweep).map(Answer::Sweep),
            Self::Prune(prune, _) => tx.prune(prune).map(Answer::Prune),
            Self::Look | Self::Close(_) => Err(Fault::new(StoreErrorKind::Internal, "not a job for a transaction")),
        }
    }

    fn answer(self, answer: Answer) {
        // A caller that has gone misses its answer; what it asked for has happened.
        match (self, answer) {
            (Self::Apply(_, reply), Answer::Apply(outcome)) => drop(reply.send(Ok(outcome))),
            (Self::Ingest(_, reply), Answer::Ingest(outcomes)) => drop(reply.send(Ok(outcomes))),
            (Self::Claim(_, reply), Answer::Claim(claimed)) => drop(reply.send(Ok(claimed))),
            (Self::Settle(_, reply), Answer::Settle(outcomes)) => drop(reply.send(Ok(outcomes))),
            (Self::Sweep(_, reply), Answer::Sweep(swept)) => drop(reply.send(Ok(swept))),
            (Self::Prune(_, reply), Answer::Prune(pruned)) => drop(reply.send(Ok(pruned))),
            _ => {}
        }
    }

    fn fail(self, fault: &Fault) {
        match self {
            Self::Apply(_, reply) => drop(reply.send(Err(fault.error("apply")))),
            Self::Ingest(_, reply) => drop(reply.send(Err(fault.error("ingest")))),
            Self::Claim(_, reply) => drop(reply.send(Err(fault.error("claim")))),
            Self::Settle(_, reply) => drop(reply.send(Err(fault.error("settle")))),
            Self::Sweep(_, reply) => drop(reply.send(Err(fault.error("sweep")))),
            Self::Prune(_, reply) => drop(reply.send(Err(fault.error("prune")))),
            Self::Close(reply) => drop(reply.send(Err(fault.error("close")))),
            Self::Look => {}
        }
    }
}

/// The way to the thread.
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    /// How many times another process was seen to have committed.
    foreign: Arc<watch::Sender<u64>>,
    closed: Arc<AtomicBool>,
    looking: AtomicBool,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Opens the file on a new thread.
    pub(crate) async fn start(settings: Settings) -> StoreResult<(Self, Sql)> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let foreign = Arc::new(watch::Sender::new(0));
        let closed = Arc::new(AtomicBool::new(false));
        let sql = Sql::new(&settings.prefix);
        let (ready, opened) = oneshot::channel();
        let commits = Arc::new(AtomicU64::new(0));
        let (seen, ends, counted) = (foreign.clone(), closed.clone(), commits.clone());
        let thread = std::thread::Builder::new().name("outpost-write".to_owned());
        let spawned = thread.spawn(move || match open::writer(&settings) {
            Ok(conn) => {
                let mark = FileMark::of(&settings.path);
                let sql = Sql::new(&settings.prefix);
                let cache = Cache::default();
                let mut thread = Thread {
                    conn,
                    sql,
                    cache,
                    settings,
                    mark,
                    version: None,
                    foreign_at: None,
                    foreign: seen,
                    closed: ends,
                    commits: counted,
                };
                // From now on whatever others commit counts.
                thread.look();
                let _ = ready.send(Ok(()));
                thread.run(queue);
            }
            Err(fault) => {
                let _ = ready.send(Err(fault.error("open")));
            }
        });
        spawned.map_err(|error| StoreError::new(StoreErrorKind::Unavailable, format!("sqlite: open: {error}")))?;
        opened.await.map_err(|_| StoreError::new(StoreErrorKind::Internal, "sqlite: open: it panicked"))??;
        Ok((Self { jobs, foreign, closed, looking: AtomicBool::new(false), commits }, sql))
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Has a job done. Once it is queued it happens, whether the caller waits or not.
    pub(crate) async fn call<T>(&self, operation: &str, job: impl FnOnce(Reply<T>) -> Job) -> StoreResult<T> {
        if self.closed.load(Ordering::Acquire) {
            return Err(crate::closed(operation));
        }
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| crate::closed(operation))?;
        answer.await.map_err(|_| {
            if self.closed.load(Ordering::Acquire) {
                // Closing answers what it begins; this came too late and was not begun.
                return crate::closed(operation);
            }
            Fault::new(StoreErrorKind::Unknown, "the writer ended without an answer").error(operation)
        })?
    }

    pub(crate) async fn changed(&self, since: u64) -> StoreResult<u64> {
        self.look_out();
        let mut foreign = self.foreign.subscribe();
        loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(crate::closed("changed"));
            }
            let seen = *foreign.borrow_and_update();
            if seen > since {
                return Ok(seen);
            }
            if foreign.changed().await.is_err() {
                return Err(crate::closed("changed"));
            }
        }
    }

    /// Starts the thread that has the writer look for other processes' commits. It ends with the writer.
    fn look_out(&self) {
        if self.looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (jobs, foreign) = (self.jobs.downgrade(), Arc::downgrade(&self.foreign));
        let thread = std::thread::Builder::new().name("outpost-watch".to_owned());
        let spawned = thread.spawn(move || {
            let (mut known, mut seen_at) = (0, None::<Instant>);
            loop {
                let often = seen_at.is_some_and(|at| at.elapsed() < OFTEN_FOR);
                std::thread::sleep(if often { LOOK_OFTEN } else { LOOK_SELDOM });
                let (Some(jobs), Some(foreign)) = (jobs.upgrade(), foreign.upgrade()) else { return };
                let now = *foreign.borrow();
                if now > known {
                    (known, seen_at) = (now, Some(Instant::now()));
                }
                // A full queue looks by itself: every transaction does.
                if foreign.receiver_count() > 0
                    && matches!(jobs.try_send(Job::Look), Err(mpsc::error::TrySendError::Closed(_)))
                {
                    return;
                }
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread to look for other processes' changes");
            self.looking.store(false, Ordering::Release);
        }
    }

    pub(crate) async fn close(&self) -> StoreResult<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.send(Job::Close(reply)).await;
        // Whoever waits for changes learns of the end.
        self.foreign.send_modify(|_| ());
        if sent.is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }
}

struct Thread {
    conn: Connection,
    sql: Sql,
    cache: Cache,
    settings: Settings,
    mark: FileMark,
    /// The file's version as our own connection counts it: it moves with others' commits only.
    version: Option<i64>,
    /// When another connection was last seen to have committed.
    foreign_at: Option<Instant>,
    foreign: Arc<watch::Sender<u64>>,
    closed: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
}

impl Thread {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut weight = first.weight();
            let mut jobs = vec![first];
            while jobs.len() < MAX_JOBS && weight < MAX_ITEMS {
                let Ok(job) = queue.try_recv() else { break };
                weight += job.weight();
                jobs.push(job);
            }
            let looks = jobs.len();
            jobs.retain(|job| !matches!(job, Job::Look));
            if jobs.len() < looks {
                self.look();
            }
            let (closing, jobs): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| matches!(job, Job::Close(_)));
            self.group(jobs);
            if !closing.is_empty() {
                return self.close(queue, closing);
            }
        }
        // The last handle is gone.
        self.checkpoint();
    }

    /// Commits the jobs together. Should one of them fail, each is committed alone, so that it fails alone.
    fn group(&mut self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let together = jobs.len() > 1;
        match self.commit(&jobs) {
            Ok(answers) => jobs.into_iter().zip(answers).for_each(|(job, answer)| job.answer(answer)),
            Err(Failed::Job(_)) if together => {
                for job in jobs {
                    match self.commit(std::slice::from_ref(&job)) {
                        Ok(mut answers) => match answers.pop() {
                            Some(answer) => job.answer(answer),
                            None => job.fail(&Fault::new(StoreErrorKind::Internal, "there is no answer")),
                        },
                        Err(Failed::All(fault) | Failed::Job(fault)) => job.fail(&fault),
                    }
                }
            }
            Err(Failed::All(fault) | Failed::Job(fault)) => jobs.into_iter().for_each(|job| job.fail(&fault)),
        }
    }

    fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Answer>, Failed> {
        self.cache.trim();
        self.begin().map_err(Failed::All)?;
        let ran = std::panic::catch_unwind(AssertUnwindSafe(|| self.run_all(jobs)));
        let ran = ran.unwrap_or_else(|_| Err(Fault::new(StoreErrorKind::Internal, "an operation panicked")));
        let answers = match ran {
            Ok(answers) => answers,
            Err(fault) => {
                self.roll_back();
                return Err(Failed::Job(fault));
            }
        };
        let committed = self.conn.prepare_cached("COMMIT").and_then(|mut statement| statement.execute([]));
        match committed {
            Ok(_) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                Ok(answers)
            }
            Err(error) => {
                self.roll_back();
                let mut fault = Fault::from(error);
                // Without the lock or the room for it the commit's last page, which makes it one, is not in the
                // file. After anything else, such as a sync that failed, it may be.
                if !matches!(fault.kind, StoreErrorKind::Busy | StoreErrorKind::Full) {
                    fault.kind = StoreErrorKind::Unknown;
                }
                Err(Failed::All(fault))
            }
        }
    }

    /// Begins a transaction, waiting for the others'.
    fn begin(&mut self) -> Fallible<()> {
        self.mark.check(&self.settings.path)?;
        // Another process that writes all the time needs a gap between our commits.
        if self.foreign_at.is_some_and(|at| at.elapsed() < COURTESY_FOR) {
            std::thread::sleep(COURTESY);
        }
        let patience = self.settings.busy_timeout;
        // SQLite's own waiting backs off to a tenth of a second; beside a busy writer it would rarely meet a gap.
        self.conn.busy_timeout(Duration::ZERO)?;
        let begun = patiently(patience, || self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([]));
        self.conn.busy_timeout(patience)?;
        begun?;
        Ok(())
    }

    fn run_all(&mut self, jobs: &[Job]) -> Fallible<Vec<Answer>> {
        self.note_version()?;
        let mut tx = Tx { conn: &self.conn, sql: &self.sql, cache: &mut self.cache };
        let answers = jobs.iter().map(|job| job.run(&mut tx)).collect::<Fallible<Vec<_>>>()?;
        tx.flush()?;
        Ok(answers)
    }

    fn roll_back(&mut self) {
        self.cache.clear();
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    /// Forgets what is known when another connection has committed since.
    fn note_version(&mut self) -> Fallible<()> {
        let version: i64 = self.conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if let Some(before) = self.version.replace(version)
            && before != version
        {
            self.cache.clear();
            self.foreign_at = Some(Instant::now());
            self.foreign.send_modify(|seen| *seen += 1);
        }
        Ok(())
    }

    fn look(&mut self) {
        if let Err(fault) = self.note_version() {
            tracing::warn!(error = fault.message, "other processes' changes cannot be seen");
        }
    }

    fn checkpoint(&self) {
        let waited = self.conn.busy_timeout(CLOSING);
        if let Err(error) = waited.and_then(|()| self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")) {
            // Somebody else may be reading; the log is read at the next start.
            tracing::debug!(%error, "the log stays beside the file");
        }
    }

    fn close(self, mut queue: mpsc::Receiver<Job>, closing: Vec<Job>) {
        self.closed.store(true, Ordering::Release);
        queue.close();
        self.checkpoint();
        let closed = self.conn.close().map_err(|(_, error)| Fault::from(error));
        let late = Fault::new(StoreErrorKind::Unavailable, "the store is closed");
        while let Ok(job) = queue.try_recv() {
            job.fail(&late);
        }
        for job in closing {
            if let Job::Close(reply) = job {
                let _ = reply.send(closed.as_ref().copied().map_err(|fault| fault.error("close")));
            }
        }
    }
}

/// A transaction that failed.
enum Failed {
    /// For all of its jobs alike: it could not begin, or not commit.
    All(Fault),
    /// In one of its jobs; it was rolled back, and the others may do without that one.
    Job(Fault),
}
