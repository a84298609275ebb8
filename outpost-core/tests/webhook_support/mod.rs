//! Receivers written by hand on real sockets, and the shortest way to a delivery.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

pub mod hostile;
pub mod net;
pub mod spellings;
pub mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use outpost_core::{
    DeliveryError, EgressPolicy, EventId, Message, Party, Receipt, StringMap, Target, TenantId, Timestamp, Transport,
    Trigger, WebhookTransport, WebhookTransportBuilder,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// 2026-01-31T08:00:00.123Z
pub fn now() -> Timestamp {
    Timestamp::parse("now", "2026-01-31T08:00:00.123Z").unwrap()
}

pub fn message(data: impl Into<Bytes>) -> Message {
    Message {
        id: EventId::new("evt_1").unwrap(),
        topic: "user.created".into(),
        time: Timestamp::parse("time", "2026-01-30T00:00:00Z").unwrap(),
        metadata: Arc::default(),
        data: data.into(),
        attempt: 1,
        trigger: Trigger::Automatic,
        now: now(),
        timeout: Duration::from_secs(10),
        party: party("acme"),
    }
}

/// A destination that this tenant has made.
pub fn party(tenant: &str) -> Party {
    Party { tenant: TenantId::new(tenant).unwrap(), made_by_operator: false }
}

pub fn map(pairs: &[(&str, &str)]) -> StringMap {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A builder that may send to this machine.
pub fn local() -> WebhookTransportBuilder {
    WebhookTransport::builder().egress(EgressPolicy::builder().allow_net("loopback").build().unwrap())
}

pub fn target(transport: &WebhookTransport, url: &str) -> Target {
    transport.prepare(&map(&[("url", url)]), &map(&[("secret", SECRET)]), &StringMap::new()).unwrap()
}

pub async fn deliver(transport: &WebhookTransport, url: &str) -> Result<Receipt, DeliveryError> {
    transport.deliver(&target(transport, url), &message("{}")).await
}

pub async fn deliver_within(
    transport: &WebhookTransport,
    url: &str,
    timeout: Duration,
) -> Result<Receipt, DeliveryError> {
    let message = Message { timeout, ..message("{}") };
    transport.deliver(&target(transport, url), &message).await
}

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Seen {
    pub connection: usize,
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// Reads one request with a content-length; `None` at the end of the connection.
pub async fn read_request(stream: &mut (impl AsyncRead + Unpin), connection: usize) -> Option<Seen> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let mut seen = Seen { connection, head: String::from_utf8(bytes).unwrap(), body: Vec::new() };
    seen.body.resize(seen.header("content-length").unwrap_or("0").parse().unwrap(), 0);
    stream.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}

/// A receiver on a port of its own.
pub struct Receiver {
    pub address: SocketAddr,
    pub seen: mpsc::UnboundedReceiver<Seen>,
    pub connections: Arc<AtomicUsize>,
}

impl Receiver {
    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    pub async fn next(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    /// Gives each connection, with its number from 0, to `serve`.
    pub async fn start<F, Fut>(serve: F) -> Self
    where
        F: Fn(TcpStream, usize, mpsc::UnboundedSender<Seen>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(stream, count.fetch_add(1, Ordering::SeqCst), sender.clone()));
            }
        });
        Self { address, seen, connections }
    }

    /// Answers every request of every connection with these bytes.
    pub async fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response = Arc::new(response.into());
        Self::start(move |mut stream, number, sender| {
            let response = Arc::clone(&response);
            async move {
                while let Some(seen) = read_request(&mut stream, number).await {
                    let _ = sender.send(seen);
                    if stream.write_all(&response).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Answers the first request of every connection with these bytes, then closes it.
    pub async fn answering_once(response: impl Into<Vec<u8>>) -> Self {
        let response = Arc::new(response.into());
        Self::start(move |mut stream, number, sender| {
            let response = Arc::clone(&response);
            async move {
                let Some(seen) = read_request(&mut stream, number).await else { return };
                let _ = sender.send(seen);
                let _ = stream.write_all(&response).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
