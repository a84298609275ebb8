//! Time and randomness.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::values::time::Timestamp;

/// A future that a trait object hands out.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where the library's time comes from. Tests give it a clock that they move.
pub trait Clock: Send + Sync + 'static {
    /// The current time. It must not run backwards by more than a correction of the system clock.
    fn now(&self) -> Timestamp;

    /// A monotonic reading, for measuring how long an exchange took; only differences count.
    fn monotonic(&self) -> Duration;

    /// Completes when `duration` has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Where the library's randomness comes from: ids, jitter, lease tokens and signing secrets.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// Draws a number from `entropy`.
pub(crate) fn random_u64(entropy: &dyn Entropy) -> u64 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_be_bytes(bytes)
}
