//! Receivers that follow a script, and what every exchange with one must keep to.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use outpost_core::{
    DeliveryError, Dialer, Io, Message, Receipt, Transport as _, WebhookTransport, WebhookTransportBuilder,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::{Receiver, local, message, target};

/// The deadline of an exchange that is expected to run into it.
pub const LIMIT: Duration = Duration::from_millis(400);
/// How much later than its deadline an exchange may end.
pub const GRACE: Duration = Duration::from_secs(1);

/// What a receiver does, one thing after another; at the end it closes the connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads one request to its end.
    Request,
    /// Reads the first byte of whatever comes, and leaves the rest.
    Byte,
    /// Sends these bytes.
    Say(Vec<u8>),
    /// Sends these bytes one at a time, then waits for the end of the connection.
    Drip(Vec<u8>),
    /// Sends these bytes over and over, as fast as they are taken.
    Flood(Vec<u8>),
    /// Ends its own side, and reads on.
    HalfClose,
    /// Resets the connection.
    Reset,
    /// Keeps the connection open without a word until the sender closes it.
    Hold,
    /// Keeps the connection open for ever and reads nothing.
    Freeze,
    /// Starts the script anew.
    Again,
}

pub fn say(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Say(bytes.into())
}

/// One connection of a scripted receiver.
trait Peer: AsyncRead + AsyncWrite + Send + Unpin {
    fn reset(&self);
}

impl Peer for TcpStream {
    fn reset(&self) {
        self.set_zero_linger().unwrap();
    }
}

impl Peer for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset(&self) {
        self.get_ref().0.set_zero_linger().unwrap();
    }
}

/// Reads a request of HTTP/1.1, or to the end of the connection. Senders wait for the answer before they send
/// another request, so there is nothing after it.
async fn read_text(peer: &mut impl Peer) -> Option<()> {
    let (mut bytes, mut whole) = (Vec::with_capacity(1024), None);
    while whole.is_none_or(|whole| bytes.len() < whole) {
        if peer.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if whole.is_none()
            && let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n")
        {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            whole = Some(end + 4 + length.parse::<usize>().unwrap());
        }
    }
    Some(())
}

/// Reads a request of HTTP/2 up to the frame that ends its stream, or the end of the connection.
async fn read_frames(peer: &mut impl Peer, greeted: &mut bool) -> Option<()> {
    if !*greeted {
        let mut preface = [0; 24];
        peer.read_exact(&mut preface).await.ok()?;
        *greeted = true;
    }
    loop {
        let mut head = [0; 9];
        peer.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        peer.read_exact(&mut payload).await.ok()?;
        let (kind, flags) = (head[3], head[4]);
        if kind <= 1 && flags & 1 != 0 {
            return Some(());
        }
    }
}

async fn play(mut peer: impl Peer, steps: &[Step], h2: bool) -> Option<()> {
    let mut greeted = false;
    let mut next = 0;
    while let Some(step) = steps.get(next) {
        next += 1;
        match step {
            Step::Request if h2 => read_frames(&mut peer, &mut greeted).await?,
            Step::Request => read_text(&mut peer).await?,
            Step::Byte => drop(peer.read_u8().await.ok()?),
            Step::Say(bytes) => {
                peer.write_all(bytes).await.ok()?;
                peer.flush().await.ok()?;
            }
            Step::Drip(bytes) => {
                for byte in bytes {
                    peer.write_all(&[*byte]).await.ok()?;
                    peer.flush().await.ok()?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                hold(&mut peer).await;
            }
            Step::Flood(bytes) => loop {
                peer.write_all(bytes).await.ok()?;
            },
            Step::HalfClose => peer.shutdown().await.ok()?,
            Step::Reset => peer.reset(),
            Step::Hold => hold(&mut peer).await,
            Step::Freeze => std::future::pending().await,
            Step::Again => next = 0,
        }
    }
    Some(())
}

async fn hold(peer: &mut impl Peer) {
    let mut sink = [0; 4096];
    while peer.read(&mut sink).await.is_ok_and(|count| count > 0) {}
}

impl Receiver {
    /// Plays the script on every connection.
    pub async fn scripted(steps: impl Into<Vec<Step>>) -> Self {
        let steps = Arc::new(steps.into());
        Self::start(move |stream, _, _| {
            let steps = Arc::clone(&steps);
            async move {
                let _ = play(stream, &steps, false).await;
            }
        })
        .await
    }

    /// Plays the script on every connection after a handshake.
    pub async fn scripted_tls(acceptor: TlsAcceptor, steps: impl Into<Vec<Step>>) -> Self {
        let steps = Arc::new(steps.into());
        Self::start(move |stream, _, _| {
            let (steps, acceptor) = (Arc::clone(&steps), acceptor.clone());
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let _ = play(stream, &steps, h2).await;
            }
        })
        .await
    }

    pub fn secure(&self) -> String {
        format!("https://{}/", self.address)
    }
}

/// A frame of HTTP/2.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Frames by name.
pub mod frames {
    use super::frame;

    pub const CANCEL: u32 = 8;

    /// Empty settings.
    pub fn settings() -> Vec<u8> {
        frame(4, 0, 0, &[])
    }

    /// `:status: 200`, with more of the block to come or not, and a body to come or not.
    pub fn ok(end: bool) -> Vec<u8> {
        frame(1, 4 | u8::from(end), 1, &[0x88])
    }

    pub fn data(bytes: &[u8], end: bool) -> Vec<u8> {
        frame(0, u8::from(end), 1, bytes)
    }

    pub fn reset(reason: u32) -> Vec<u8> {
        frame(3, 0, 1, &reason.to_be_bytes())
    }

    pub fn go_away(last: u32, reason: u32) -> Vec<u8> {
        frame(7, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat())
    }

    pub fn ping() -> Vec<u8> {
        frame(6, 0, 0, &[7; 8])
    }

    /// A header that enters no table, its lengths below 127.
    pub fn literal(name: &str, value: &[u8]) -> Vec<u8> {
        let length = |length: usize| u8::try_from(length).unwrap();
        [&[0, length(name.len())], name.as_bytes(), &[length(value.len())], value].concat()
    }
}

/// Opens connections with TCP and knows how many are open.
#[derive(Clone)]
pub struct Sockets(watch::Sender<usize>);

impl Default for Sockets {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl Sockets {
    pub async fn all_closed(&self, within: Duration) {
        let mut open = self.0.subscribe();
        let closed = tokio::time::timeout(within, open.wait_for(|open| *open == 0)).await.is_ok();
        assert!(closed, "{} sockets are still open", *self.0.borrow());
    }
}

struct Counted<S>(S, watch::Sender<usize>);

impl<S> Drop for Counted<S> {
    fn drop(&mut self) {
        self.1.send_modify(|open| *open -= 1);
    }
}

impl<S: Io> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: Io> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[async_trait]
impl Dialer for Sockets {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
        let stream = TcpStream::connect(address).await?;
        self.0.send_modify(|open| *open += 1);
        Ok(Box::new(Counted(stream, self.0.clone())))
    }
}

/// Opens connections in memory, for virtual time: the other end of each goes through the channel.
pub struct InMemory {
    pub sockets: Sockets,
    pub peers: mpsc::UnboundedSender<DuplexStream>,
}

#[async_trait]
impl Dialer for InMemory {
    async fn dial(&self, _: SocketAddr) -> io::Result<Box<dyn Io>> {
        let (ours, theirs) = duplex(64 << 10);
        let _ = self.peers.send(theirs);
        self.sockets.0.send_modify(|open| *open += 1);
        Ok(Box::new(Counted(ours, self.sockets.0.clone())))
    }
}

/// A transport, and the rules that hold for every exchange.
pub struct Sender {
    pub transport: WebhookTransport,
    sockets: Sockets,
}

impl Default for Sender {
    fn default() -> Self {
        Self::new(local())
    }
}

impl Sender {
    pub fn new(builder: WebhookTransportBuilder) -> Self {
        let sockets = Sockets::default();
        Self { transport: builder.dialer(sockets.clone()).build().unwrap(), sockets }
    }

    /// Delivers with a short deadline.
    pub async fn send(&self, url: &str) -> Result<Receipt, DeliveryError> {
        self.send_message(url, Message { timeout: LIMIT, ..message("{}") }).await
    }

    /// Delivers, and checks what is true of every exchange: it ends, and an error tells the tenant nothing of
    /// addresses or libraries.
    pub async fn send_message(&self, url: &str, message: Message) -> Result<Receipt, DeliveryError> {
        let target = target(&self.transport, url);
        let start = Instant::now();
        let outcome = self.transport.deliver(&target, &message).await;
        assert!(start.elapsed() < message.timeout + GRACE, "{:?}: {outcome:?}", start.elapsed());
        if let Err(failure) = &outcome {
            let text = failure.error.message.to_ascii_lowercase();
            for word in ["127.0.0.1", "os error", "hyper", "h2", "rustls", "::", "(", "\"", "error"] {
                assert!(!text.contains(word), "{text}");
            }
            assert!(text.len() > 20 && !failure.error.detail.is_empty(), "{failure:?}");
            assert_eq!(failure.request.is_some(), failure.error.maybe_seen, "{failure:?}");
            assert_eq!(failure.response, None);
        }
        outcome
    }

    /// Delivers, and tells in short how it ended.
    pub async fn outcome(&self, url: &str) -> String {
        summary(&self.send(url).await)
    }

    /// Delivers to a receiver of HTTP that plays the script.
    pub async fn against(&self, steps: impl Into<Vec<Step>>) -> String {
        self.outcome(&Receiver::scripted(steps).await.url("/")).await
    }

    /// Waits until no socket is open any more.
    pub async fn all_closed(&self) {
        self.sockets.all_closed(Duration::from_secs(3)).await;
    }
}

/// `200 Accepted`, `200 Accepted cut`, `timeout seen`, `dns_error unseen`.
pub fn summary(outcome: &Result<Receipt, DeliveryError>) -> String {
    match outcome {
        Ok(receipt) => {
            let cut = if receipt.response.as_ref().unwrap().truncated { " cut" } else { "" };
            format!("{} {:?}{cut}", receipt.code, receipt.verdict)
        }
        Err(failure) => {
            let seen = if failure.error.maybe_seen { "seen" } else { "unseen" };
            format!("{} {seen}", failure.error.class)
        }
    }
}
