//! The suite that every store passes, and that a store of your own proves itself with.
//!
//! One call makes one `#[test]` of every case. Its argument is called once for each test and answers a
//! store that is fresh and empty:
//!
//! ```
//! # use outpost_core::MemoryStore;
//! outpost_core::conformance_suite!(|| async { MemoryStore::new() });
//! # fn main() {}
//! ```
//!
//! What it answers is anything that turns into a [`Fixture`]: a store; a store and a guard that is dropped
//! after it, such as a temporary directory; or a whole [`Fixture`], which may also hold a second handle on
//! the same data, as another process would have it. Cases about several processes need that handle and
//! pass idly without it.
//!
//! Each case runs on a runtime of its own with two worker threads; the calling crate needs no tokio. A case
//! that does not come to an end fails as well. No case sleeps or reads a clock: the time is part of each
//! request. `random_operations_agree_with_the_reference` compares the store with
//! [`MemoryStore`](crate::MemoryStore) over random operations; when it fails it prints a seed, and
//! `OUTPOST_SEED` in the environment replays it. `OUTPOST_STEPS` makes it longer.
//!
//! Where the words of the trait leave something open, the suite takes what they leave open as it comes:
//! where revisions start, the order of deliveries due at the same time, the order of lanes ready at the
//! same time, and which rows a bounded sweep takes first.
//!
//! # Adding a case
//! Write `pub(super) async fn name(w: World)` in the file of its operation and put its name into the list in
//! `list.rs`, the only one there is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a case reports by panicking"
)]

mod apply;
mod claim;
mod compare;
mod fetch;
mod flow;
mod health;
mod health_judged;
mod ingest;
mod life;
mod list;
mod log;
mod model;
mod prune;
mod prune_age;
mod quota;
mod records;
mod replay;
mod rollups;
mod rollups_read;
mod scan;
mod scan_filter;
mod settle;
mod settle_moves;
mod sharing;
mod support;

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use self::support::World;
use crate::ports::store::Store;

/// What a test needs of a store: a handle, and what must live as long.
pub struct Fixture {
    store: Arc<dyn Store>,
    other: Option<Arc<dyn Store>>,
    guard: Option<Box<dyn Any + Send + Sync>>,
}

impl Fixture {
    /// A store that is fresh and empty.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self { store: Arc::new(store), other: None, guard: None }
    }

    /// Adds another handle on the same data, as another process would have it.
    #[must_use]
    pub fn with_other(mut self, other: impl Store) -> Self {
        self.other = Some(Arc::new(other));
        self
    }

    /// Adds something that is dropped after the stores.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guard = Some(Box::new(guard));
        self
    }
}

impl<S: Store> From<S> for Fixture {
    fn from(store: S) -> Self {
        Self::new(store)
    }
}

impl<S: Store, G: Any + Send + Sync> From<(S, G)> for Fixture {
    fn from((store, guard): (S, G)) -> Self {
        Self::new(store).with_guard(guard)
    }
}

/// One case of the suite.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name, unique in the suite.
    pub name: &'static str,
    /// The file it is in: mostly the store's operation that it is about.
    pub group: &'static str,
    run: fn(World) -> Pin<Box<dyn Future<Output = ()>>>,
}

/// Every case, in the order of the list.
#[must_use]
pub fn cases() -> Vec<Case> {
    list::cases()
}

/// How long a case may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs one case on a store that `make` answers, and panics if the store fails it or there is no such case.
pub fn run<F, A>(name: &str, make: F)
where
    F: FnOnce() -> A,
    A: Future<Output: Into<Fixture>>,
{
    run_within(name, PATIENCE, make);
}

/// As [`run`], but with a limit of your own on how long the case may take.
pub fn run_within<F, A>(name: &str, patience: Duration, make: F)
where
    F: FnOnce() -> A,
    A: Future<Output: Into<Fixture>>,
{
    let case = cases().into_iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case {name:?} in the suite"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime for the case");
    runtime.block_on(async {
        let world = World::new(make().await.into());
        let done = tokio::time::timeout(patience, (case.run)(world)).await;
        assert!(done.is_ok(), "{name} did not come to an end within {patience:?}: the store hangs");
    });
}

/// Proves a store: makes one `#[test]` of every case of the [suite](crate::conformance).
///
/// The argument is called without arguments, once for each test, and answers a future of a store that is
/// fresh and empty, or of anything else that turns into a [`Fixture`](crate::conformance::Fixture). To
/// prove several stores in one file, put each call into a module of its own.
#[macro_export]
macro_rules! conformance_suite {
    ($make:expr) => {
        $crate::__conformance_cases!([$crate::__conformance_tests]($make));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (($make:expr) $($group:ident: $($case:ident)*;)*) => {
        $($(
            #[test]
            fn $case() {
                $crate::conformance::run(::core::stringify!($case), $make);
            }
        )*)*
    };
}
