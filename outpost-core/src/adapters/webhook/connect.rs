//! Connections: resolve, check every address, dial exactly those, TLS. Both pooled and fresh connections
//! come from here, so nothing reaches an address that was not checked.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::failure::Failure;
use super::proxy::{NoTunnel, Proxy};
use super::url::server_name;
use crate::domain::attempt::ErrorClass;
use crate::domain::egress::{EgressPolicy, Grant, Party, Refused};
use crate::ports::net::{Dialer, Io, Resolver};

/// How long one of several addresses may take before the next one is tried.
const ONE_ADDRESS: Duration = Duration::from_secs(3);
/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;
/// The most addresses of a name that are looked at.
const MAX_ANSWERS: usize = 64;

/// Makes connections for the HTTP client.
#[derive(Clone)]
pub(super) struct Connector(Arc<Parts>);

pub(super) struct Parts {
    pub(super) egress: EgressPolicy,
    /// The limited allowances of those it connects for.
    pub(super) grant: Grant,
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) dialer: Arc<dyn Dialer>,
    pub(super) proxy: Option<Proxy>,
    pub(super) tls: TlsConnector,
    /// The longest a connection may take to make when nobody waits for it any more.
    pub(super) limit: Duration,
    /// How many sockets are open.
    pub(super) open: Arc<AtomicUsize>,
}

/// Why a host has no usable addresses.
pub(super) enum NoAddress {
    Unresolved(String),
    Refused(Refused),
}

tokio::task_local! {
    /// What the present exchange waits for. The HTTP client hands nothing but the URL on to its connector, and
    /// starts it within the exchange's own task.
    pub(super) static WAITING: Arc<Waiting>;
}

/// What a connection in the making waits for, so that a deadline that passes meanwhile is blamed on the
/// right side.
#[derive(Debug, Default)]
pub(super) struct Waiting(AtomicU8);

impl Waiting {
    const RESOLVER: u8 = 1;
    const PROXY: u8 = 2;

    /// Runs `work` and remembers meanwhile that it is what is waited for.
    async fn during<T>(&self, what: u8, work: impl Future<Output = T>) -> T {
        self.0.store(what, Ordering::Relaxed);
        let outcome = work.await;
        self.0.store(0, Ordering::Relaxed);
        outcome
    }
}

impl Connector {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub(super) fn open_sockets(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// The limited allowances of `party`.
    pub(super) fn grant(&self, party: &Party) -> Grant {
        self.0.egress.grant(party)
    }

    /// The addresses of `host`, all of them checked: one bad address refuses the name.
    pub(super) async fn addresses(&self, host: &Host<String>, port: u16) -> Result<Vec<IpAddr>, NoAddress> {
        let egress = &self.0.egress;
        let name = match host {
            Host::Domain(name) => Some(name.as_str()),
            _ => None,
        };
        if let Some(name) = name {
            egress.check_host(name).map_err(NoAddress::Refused)?;
        }
        let mut addresses = self.resolve(host).await.map_err(NoAddress::Unresolved)?;
        for address in &addresses {
            egress.check_granted(&self.0.grant, name, *address, port).map_err(NoAddress::Refused)?;
        }
        addresses.truncate(MAX_ADDRESSES);
        Ok(addresses)
    }

    /// The addresses of `host`, at least one, unchecked.
    async fn resolve(&self, host: &Host<String>) -> Result<Vec<IpAddr>, String> {
        let mut addresses = match host {
            Host::Ipv4(address) => vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => vec![IpAddr::V6(*address)],
            Host::Domain(name) => {
                self.0.resolver.resolve(name).await.map_err(|error| format!("{name} does not resolve: {error}"))?
            }
        };
        if addresses.is_empty() {
            return Err(format!("{host} does not resolve: no such name"));
        }
        addresses.truncate(MAX_ANSWERS);
        Ok(addresses)
    }

    /// What a deadline that passed was spent on, when that was no fault of the receiver.
    pub(super) fn fault(&self, waiting: &Waiting) -> Option<Failure> {
        let detail = match (waiting.0.load(Ordering::Relaxed), &self.0.proxy) {
            (Waiting::RESOLVER, _) if self.0.resolver.is_full() => {
                "the deadline passed while too many look-ups of names were under way for one more".to_owned()
            }
            (Waiting::PROXY, Some(proxy)) => format!("the deadline passed while the proxy {proxy} made no connection"),
            _ => return None,
        };
        Some(Failure::new(ErrorClass::System, detail))
    }

    async fn connect(self, uri: Uri, waiting: Arc<Waiting>) -> Result<TokioIo<Socket>, Failure> {
        let limit = self.0.limit;
        match tokio::time::timeout(limit, self.connect_unbounded(&uri, &waiting)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self
                .fault(&waiting)
                .unwrap_or_else(|| Failure::new(ErrorClass::Timeout, format!("no connection to {uri} in {limit:?}")))),
        }
    }

    async fn connect_unbounded(&self, uri: &Uri, waiting: &Waiting) -> Result<TokioIo<Socket>, Failure> {
        let https = uri.scheme_str() == Some("https");
        // Parsed again here rather than trusted: whatever spelling arrives is judged as what it means.
        let host = Host::parse(uri.host().unwrap_or_default())
            .map_err(|error| Failure::new(ErrorClass::Request, format!("bad host: {error}")))?;
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let addresses = waiting.during(Waiting::RESOLVER, self.addresses(&host, port)).await;
        let addresses = addresses.map_err(|error| match error {
            NoAddress::Unresolved(detail) => Failure::new(ErrorClass::Dns, detail),
            NoAddress::Refused(refused) => Failure::new(ErrorClass::Blocked, refused.to_string()),
        })?;
        let stream = match &self.0.proxy {
            None => self.dial(&addresses, port).await?,
            Some(proxy) => waiting.during(Waiting::PROXY, self.tunnel(proxy, &addresses, port)).await?,
        };
        let open = Open::new(&self.0.open);
        if !https {
            return Ok(Socket::new(Stream::Plain(stream), false, open));
        }
        let name = ServerName::try_from(server_name(&host))
            .map_err(|error| Failure::new(ErrorClass::Tls, format!("{host}: {error}")))?;
        let stream = self.0.tls.connect(name, stream).await.map_err(|error| {
            let mut failure = Failure::io(&error);
            // The receiver hung up within the handshake.
            if failure.class == ErrorClass::Reset {
                failure = Failure::new(ErrorClass::Tls, format!("TLS handshake: {error}"));
            }
            failure
        })?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Socket::new(Stream::Tls(Box::new(stream)), h2, open))
    }

    /// A stream to the first of the checked `addresses` that the proxy reaches. Whatever goes wrong here is on
    /// this side.
    async fn tunnel(&self, proxy: &Proxy, addresses: &[IpAddr], port: u16) -> Result<Box<dyn Io>, Failure> {
        let failed = |detail: &str| Failure::new(ErrorClass::System, format!("the proxy {proxy}: {detail}"));
        // The operator has named the proxy, so its address is not checked; most proxies are internal.
        let mut of_proxy = self.resolve(&proxy.host).await.map_err(|detail| failed(&detail))?;
        of_proxy.truncate(MAX_ADDRESSES);
        let mut last = failed("no address");
        for (index, address) in addresses.iter().enumerate() {
            let tunnel = async {
                let stream = self.dial(&of_proxy, proxy.port).await;
                let stream = stream.map_err(|failure| NoTunnel { detail: failure.detail, other_address: false })?;
                proxy.tunnel(stream, SocketAddr::new(*address, port)).await
            };
            let late = |_| Err(NoTunnel { detail: format!("no answer to CONNECT {address}"), other_address: true });
            let outcome = if index + 1 < addresses.len() {
                tokio::time::timeout(ONE_ADDRESS, tunnel).await.unwrap_or_else(late)
            } else {
                tunnel.await
            };
            match outcome {
                Ok(stream) => return Ok(stream),
                Err(no) => {
                    last = failed(&no.detail);
                    if !no.other_address {
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    async fn dial(&self, addresses: &[IpAddr], port: u16) -> Result<Box<dyn Io>, Failure> {
        let mut last = Failure::new(ErrorClass::Dns, "no address");
        for (index, address) in addresses.iter().enumerate() {
            let address = SocketAddr::new(*address, port);
            let dialing = self.0.dialer.dial(address);
            let outcome = if index + 1 < addresses.len() {
                tokio::time::timeout(ONE_ADDRESS, dialing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            } else {
                dialing.await
            };
            match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    last = Failure::io(&error);
                    last.detail = format!("connecting to {address}: {}", last.detail);
                }
            }
            // Another address does not help when there are no sockets left here.
            if last.class == ErrorClass::System {
                break;
            }
        }
        Err(last)
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Socket>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let waiting = WAITING.try_with(Arc::clone).unwrap_or_default();
        Box::pin(self.clone().connect(uri, waiting))
    }
}

/// Counts one open socket for as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What has passed over one connection, so that a failure can tell whether the receiver answered at all.
#[derive(Debug, Default)]
pub(super) struct Wire {
    h2: bool,
    read: AtomicU64,
    written: AtomicU64,
    /// Both counts when the last answer was complete.
    settled_read: AtomicU64,
    settled_written: AtomicU64,
    reused: AtomicBool,
    cut: AtomicBool,
    /// The task that waits to write.
    writer: Mutex<Option<Waker>>,
}

impl Wire {
    /// An answer has been read to its end: what comes now belongs to the next request.
    pub(super) fn settle(&self) {
        self.settled_read.store(self.read.load(Ordering::Relaxed), Ordering::Relaxed);
        self.settled_written.store(self.written.load(Ordering::Relaxed), Ordering::Relaxed);
        self.reused.store(true, Ordering::Relaxed);
    }

    /// Whether bytes of the present request may have gone out. Streams of HTTP/2 cannot be told apart here.
    pub(super) fn may_have_sent(&self) -> bool {
        self.h2 || self.written.load(Ordering::Relaxed) != self.settled_written.load(Ordering::Relaxed)
    }

    /// Has the connection fail at once, without waiting for what is still to be written. Others share a
    /// connection of HTTP/2, so that goes on.
    pub(super) fn cut(&self) {
        if self.h2 {
            return;
        }
        self.cut.store(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            writer.wake();
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.cut.load(Ordering::SeqCst) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// Passes on how writing went; a task that waits is woken when the connection is cut.
    fn waiting<T>(&self, outcome: Poll<io::Result<T>>, cx: &Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_pending() && !self.h2 {
            *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            self.check()?;
        }
        outcome
    }

    /// Whether it had served a request before, and has brought no byte of an answer to the present one.
    pub(super) fn is_stale(&self) -> bool {
        !self.h2
            && self.reused.load(Ordering::Relaxed)
            && self.read.load(Ordering::Relaxed) == self.settled_read.load(Ordering::Relaxed)
    }
}

/// Has a task give way to others after some hundreds of kilobytes, rather than after so many reads: parsing
/// what a receiver floods us with (interim answers, say) can take seconds otherwise, in which no deadline of
/// the same thread is noticed.
fn spend(bytes: usize, cx: &mut Context<'_>) {
    for _ in 0..bytes / 4096 {
        match tokio::task::coop::poll_proceed(cx) {
            Poll::Ready(budget) => budget.made_progress(),
            Poll::Pending => return,
        }
    }
}

enum Stream {
    Plain(Box<dyn Io>),
    Tls(Box<TlsStream<Box<dyn Io>>>),
}

/// A connected stream, plain or TLS, that counts what passes.
pub(super) struct Socket {
    stream: Stream,
    wire: Arc<Wire>,
    _open: Open,
}

impl Socket {
    fn new(stream: Stream, h2: bool, open: Open) -> TokioIo<Self> {
        TokioIo::new(Self { stream, wire: Arc::new(Wire { h2, ..Wire::default() }), _open: open })
    }

    fn wrote(&self, outcome: Poll<io::Result<usize>>, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = outcome {
            self.wire.written.fetch_add(count as u64, Ordering::Relaxed);
        }
        self.wire.waiting(outcome, cx)
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(Arc::clone(&self.wire));
        if self.wire.h2 { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.wire.check()?;
        let before = buf.filled().len();
        let outcome = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let count = buf.filled().len() - before;
        self.wire.read.fetch_add(count as u64, Ordering::Relaxed);
        spend(count, cx);
        outcome
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        let outcome = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.wrote(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        let outcome = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.wrote(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.check()?;
        let outcome = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        self.wire.waiting(outcome, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.check()?;
        let outcome = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        self.wire.waiting(outcome, cx)
    }
}
