//! The machine's own clock, randomness and network.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ports::clock::{BoxFuture, Clock, Entropy};
use crate::values::time::Timestamp;

/// The system's time: a wall-clock anchor plus monotonic progress, so that small corrections of the wall
/// clock do not disturb leases and schedules. A step of more than a second, such as after a laptop wakes
/// up, is followed at once, because receivers compare signed timestamps with their own clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    /// Wall milliseconds at `start`.
    anchor: AtomicI64,
}

/// How far wall clock and monotonic progress may differ before the wall clock is followed.
const STEP_MILLIS: i64 = 1000;

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl SystemClock {
    /// A clock anchored at the present wall-clock time.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now(), anchor: AtomicI64::new(wall_millis()) }
    }
}

fn wall_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let progress = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        let smooth = self.anchor.load(Ordering::Relaxed).saturating_add(progress);
        let wall = wall_millis();
        if wall.abs_diff(smooth) > STEP_MILLIS.unsigned_abs() {
            self.anchor.store(wall.saturating_sub(progress), Ordering::Relaxed);
            return Timestamp::from_millis(wall);
        }
        Timestamp::from_millis(smooth)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Time as Tokio counts it, from a given start. Under `tokio::time::pause` it is virtual: days pass in
/// milliseconds. For tests.
#[derive(Debug)]
pub struct TokioClock {
    start: tokio::time::Instant,
    anchor: Timestamp,
}

impl TokioClock {
    /// A clock that reads `anchor` now. Needs a Tokio runtime with time enabled when it is paused.
    #[must_use]
    pub fn starting_at(anchor: Timestamp) -> Self {
        Self { start: tokio::time::Instant::now(), anchor }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.anchor.after(self.start.elapsed())
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The operating system's random numbers, drawn in blocks to save system calls.
pub struct SystemEntropy {
    block: Mutex<Block>,
}

struct Block {
    bytes: [u8; 1024],
    used: usize,
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self { block: Mutex::new(Block { bytes: [0; 1024], used: 1024 }) }
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in out {
            if block.used >= block.bytes.len() {
                refill(&mut block.bytes);
                block.used = 0;
            }
            let at = block.used;
            // What was handed out does not stay in memory.
            *byte = block.bytes.get_mut(at).map(std::mem::take).unwrap_or_default();
            block.used += 1;
        }
    }
}

#[allow(clippy::panic)]
fn refill(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        // Secrets and lease tokens made without randomness would be worse than a stop, and every supported
        // platform's source works once the process runs.
        panic!("the operating system gives no random numbers: {error}");
    }
}

/// Randomness from a seed: the same seed gives the same bytes. For tests only.
pub struct SeededEntropy {
    state: Mutex<(u64, u64)>,
}

impl SeededEntropy {
    /// Randomness from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new((seed, 0)) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        use sha2::{Digest, Sha256};
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in out.chunks_mut(32) {
            let (seed, counter) = *state;
            state.1 += 1;
            let hash = Sha256::digest([seed.to_be_bytes(), counter.to_be_bytes()].concat());
            for (byte, random) in chunk.iter_mut().zip(hash) {
                *byte = random;
            }
        }
    }
}

/// Connects with TCP, without delay for small packets.
#[cfg(feature = "webhook")]
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpDialer;

#[cfg(feature = "webhook")]
#[async_trait::async_trait]
impl crate::ports::net::Dialer for TcpDialer {
    async fn dial(&self, address: std::net::SocketAddr) -> std::io::Result<Box<dyn crate::ports::net::Io>> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// The most look-ups that [`SystemResolver`] has under way.
#[cfg(feature = "webhook")]
const MAX_LOOKUPS: usize = 64;
/// The most addresses of an answer that are used.
#[cfg(feature = "webhook")]
const MAX_ANSWERS: usize = 64;

/// Asks the operating system's resolver, on Tokio's blocking threads, at most 64 names at once.
///
/// The system's call cannot be ended. So a look-up that nobody waits for any more still counts until it
/// returns: a name server that does not answer takes these threads, never all of Tokio's. Clones count
/// together.
#[cfg(feature = "webhook")]
#[derive(Clone)]
pub struct SystemResolver {
    slots: std::sync::Arc<tokio::sync::Semaphore>,
    lookup: fn(&str) -> std::io::Result<Vec<std::net::IpAddr>>,
}

#[cfg(feature = "webhook")]
impl SystemResolver {
    /// A resolver that counts for itself.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_LOOKUPS)), lookup: ask_system }
    }
}

#[cfg(feature = "webhook")]
impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "webhook")]
impl std::fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemResolver").field("free", &self.slots.available_permits()).finish()
    }
}

#[cfg(feature = "webhook")]
fn ask_system(host: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
    use std::net::ToSocketAddrs as _;
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).take(MAX_ANSWERS).collect())
}

#[cfg(feature = "webhook")]
#[async_trait::async_trait]
impl crate::ports::net::Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        let slot = std::sync::Arc::clone(&self.slots).acquire_owned().await.map_err(std::io::Error::other)?;
        let (host, lookup) = (host.to_owned(), self.lookup);
        let asking = tokio::task::spawn_blocking(move || {
            let answer = lookup(&host);
            drop(slot);
            answer
        });
        asking.await.map_err(std::io::Error::other)?
    }

    fn is_full(&self) -> bool {
        self.slots.available_permits() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn randomness_differs_and_seeds_repeat() {
        let mut blocks = [[0; 16]; 4];
        SystemEntropy::default().fill(&mut blocks[0]);
        SystemEntropy::default().fill(&mut blocks[1]);
        SeededEntropy::new(7).fill(&mut blocks[2]);
        SeededEntropy::new(7).fill(&mut blocks[3]);
        assert_ne!(blocks[0], blocks[1]);
        assert_eq!(blocks[2], blocks[3]);
    }

    #[cfg(feature = "webhook")]
    mod resolving {
        use std::net::IpAddr;
        use std::sync::{Arc, Condvar, Mutex};
        use std::task::{Context, Poll, Waker};

        use tokio::sync::Semaphore;

        use super::super::SystemResolver;
        use crate::ports::net::Resolver as _;

        /// How many look-ups have begun, and whether they may end.
        static GATE: Mutex<(usize, bool)> = Mutex::new((0, false));
        static CHANGED: Condvar = Condvar::new();

        /// A name server that answers when the gate opens.
        fn hanging(_: &str) -> std::io::Result<Vec<IpAddr>> {
            let mut gate = GATE.lock().unwrap();
            gate.0 += 1;
            CHANGED.notify_all();
            drop(CHANGED.wait_while(gate, |gate| !gate.1).unwrap());
            Ok(vec![IpAddr::from([192, 0, 2, 1])])
        }

        #[tokio::test]
        async fn look_ups_are_bounded_and_abandoned_ones_count_until_their_threads_return() {
            let resolver = SystemResolver { slots: Arc::new(Semaphore::new(2)), lookup: hanging };
            let mut context = Context::from_waker(Waker::noop());
            for host in ["a", "b"] {
                assert!(!resolver.is_full());
                let mut abandoned = resolver.resolve(host);
                assert!(matches!(abandoned.as_mut().poll(&mut context), Poll::Pending));
            }
            // Both callers are gone, their threads are not.
            drop(CHANGED.wait_while(GATE.lock().unwrap(), |gate| gate.0 < 2).unwrap());
            assert!(resolver.is_full());
            let mut third = resolver.resolve("c");
            for _ in 0..10 {
                assert!(matches!(third.as_mut().poll(&mut context), Poll::Pending));
                tokio::task::yield_now().await;
            }
            assert!(resolver.is_full());
            assert_eq!(GATE.lock().unwrap().0, 2);
            GATE.lock().unwrap().1 = true;
            CHANGED.notify_all();
            assert_eq!(third.await.unwrap(), [IpAddr::from([192, 0, 2, 1])]);
            assert_eq!(resolver.resolve("d").await.unwrap().len(), 1);
        }

        #[tokio::test]
        async fn the_system_s_names_resolve() {
            assert!(SystemResolver::new().resolve("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
            assert!(SystemResolver::new().resolve("name.invalid").await.is_err());
        }
    }
}
