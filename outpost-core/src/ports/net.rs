//! The network: names to addresses, addresses to streams.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connected stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Opens connections. It is only ever given an address that the guard against internal addresses has
/// passed, or that of the operator's own proxy, so it must connect to exactly that one.
#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// Connects to `address`.
    ///
    /// # Errors
    /// The operating system's error, which the transport classifies by its kind.
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Io>>;
}

/// Resolves host names.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// Every address of `host`, in order of preference. An empty answer counts as "no such name".
    ///
    /// # Errors
    /// Why the name could not be resolved.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;

    /// Whether as many look-ups are under way as this resolver allows, so that others wait for them. A
    /// look-up that misses its deadline meanwhile is blamed on this side, not on the destination.
    fn is_full(&self) -> bool {
        false
    }
}
