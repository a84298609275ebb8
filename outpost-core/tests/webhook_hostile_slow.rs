//! Receivers that take their time, in every phase of an exchange: the one deadline holds, the class says so,
//! and no socket stays behind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use outpost_core::{Dialer, Io, Message, Resolver, Transport as _, WebhookTransport, WebhookTransportBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use webhook_support::hostile::Step::{Byte, Drip, Flood, Freeze, HalfClose, Hold, Request, Say};
use webhook_support::hostile::*;
use webhook_support::tls::{acceptor, authority, trusting};
use webhook_support::*;

struct Hanging;

#[async_trait]
impl Resolver for Hanging {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[async_trait]
impl Dialer for Hanging {
    async fn dial(&self, _: SocketAddr) -> io::Result<Box<dyn Io>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_resolver_that_hangs_ends_at_the_deadline_and_nothing_was_seen() {
    let sender = Sender::new(local().resolver(Hanging));
    assert_eq!(sender.outcome("http://slow.example/").await, "timeout unseen");
    assert_eq!(sender.outcome("https://slow.example/").await, "timeout unseen");
}

#[tokio::test]
async fn an_address_that_swallows_packets_ends_at_the_deadline_and_nothing_was_seen() {
    let transport = local().dialer(Hanging).build().unwrap();
    let error = deliver_within(&transport, "http://127.0.0.1:9/", LIMIT).await.unwrap_err();
    assert_eq!(summary(&Err(error)), "timeout unseen");
}

#[tokio::test]
async fn a_stall_in_any_phase_of_an_answer_ends_at_the_deadline() {
    for (steps, expected) in [
        // Accepts and never answers, with and without reading.
        (vec![Freeze], "timeout seen"),
        (vec![Byte, Freeze], "timeout seen"),
        (vec![Request, Hold], "timeout seen"),
        (vec![Request, say("HTTP/1.1 200"), Hold], "timeout seen"),
        (vec![Request, say("HTTP/1.1 200 OK\r\n"), Hold], "timeout seen"),
        (vec![Request, say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"), Hold], "timeout seen"),
        (vec![Request, say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r"), Hold], "timeout seen"),
        (vec![Request, say("HTTP/1.1 100 Continue\r\n\r\n"), Hold], "timeout seen"),
        // From here on the status is known, and decides.
        (vec![Request, say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"), Hold], "200 Accepted cut"),
        (vec![Request, say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no"), Hold], "200 Accepted cut"),
        (vec![Request, say("HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\no"), Hold], "503 Overloaded cut"),
        (vec![Request, say("HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n"), Hold], "200 Accepted cut"),
        (vec![Request, say("HTTP/1.1 200 OK\r\n\r\nwithout an end"), Hold], "200 Accepted cut"),
        (
            vec![Request, say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"), Hold],
            "200 Accepted cut",
        ),
        (
            vec![Request, say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: "), Hold],
            "200 Accepted cut",
        ),
    ] {
        let sender = Sender::default();
        assert_eq!(sender.against(steps.clone()).await, expected, "{steps:?}");
        sender.all_closed().await;
    }
}

#[tokio::test]
async fn one_byte_at_a_time_buys_no_time_in_any_phase() {
    let long = "a".repeat(1000);
    for (before, drip, expected) in [
        ("", format!("HTTP/1.1 200 {long}"), "timeout seen"),
        ("HTTP/1.1 200 OK\r\n", format!("x-slow: {long}"), "timeout seen"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", long.clone(), "200 Accepted cut"),
        ("HTTP/1.1 200 OK\r\n\r\n", long.clone(), "200 Accepted cut"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\na\r\n".repeat(99), "200 Accepted cut"),
        // A size that never ends, an extension that never ends, a trailer that never ends.
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "0".repeat(99), "200 Accepted cut"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=", long.clone(), "200 Accepted cut"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ", long.clone(), "200 Accepted cut"),
        ("", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(99), "timeout seen"),
    ] {
        let sender = Sender::default();
        let steps = [Request, say(before), Drip(drip.into_bytes())];
        assert_eq!(sender.against(steps.clone()).await, expected, "{steps:?}");
        sender.all_closed().await;
    }
}

#[tokio::test]
async fn a_stall_or_a_drip_within_the_tls_handshake_ends_at_the_deadline() {
    for steps in [
        vec![Freeze],
        vec![Byte, Hold],
        // Half a record's head, and a record whose bytes come one by one.
        vec![Byte, say([0x16, 3]), Hold],
        vec![Byte, say([0x16, 3, 3, 0x3f, 0xff, 2, 0, 0x3f, 0xf0]), Drip(vec![3; 1000])],
    ] {
        let sender = Sender::default();
        let receiver = Receiver::scripted(steps.clone()).await;
        assert_eq!(sender.outcome(&receiver.secure()).await, "timeout unseen", "{steps:?}");
        sender.all_closed().await;
    }
}

#[tokio::test]
async fn a_receiver_that_never_reads_a_large_request_ends_at_the_deadline() {
    let ours = authority("ours");
    let sender = Sender::new(trusting(&ours));
    // More than the buffers of two sockets take.
    let large = Message { timeout: Duration::from_secs(2), ..message(vec![b'1'; 8 << 20]) };
    for (receiver, secure) in [
        (Receiver::scripted([Freeze]).await, false),
        (Receiver::scripted([Byte, HalfClose, Freeze]).await, false),
        (Receiver::scripted_tls(acceptor(&ours, "127.0.0.1", false, &[]), [Freeze]).await, true),
    ] {
        let url = if secure { receiver.secure() } else { receiver.url("/") };
        let outcome = summary(&sender.send_message(&url, large.clone()).await);
        assert!(["timeout seen", "connection_reset seen"].contains(&outcome.as_str()), "{outcome}");
    }
    sender.all_closed().await;
}

#[tokio::test]
async fn an_exchange_that_is_given_up_leaves_no_socket() {
    let sender = Sender::default();
    let (frozen, silent) = (Receiver::scripted([Byte, Freeze]).await, Receiver::scripted([Request, Hold]).await);
    for (receiver, size) in [(frozen, 8 << 20), (silent, 2)] {
        let url = receiver.url("/");
        let exchange = sender.send_message(&url, message(vec![b'1'; size]));
        assert!(tokio::time::timeout(Duration::from_secs(2), exchange).await.is_err());
        sender.all_closed().await;
    }
}

/// A sender over streams in memory, and the receiver's end of each.
fn in_memory(builder: WebhookTransportBuilder) -> (WebhookTransport, Sockets, mpsc::UnboundedReceiver<DuplexStream>) {
    let (sender, peers) = mpsc::unbounded_channel();
    let sockets = Sockets::default();
    let transport = builder.dialer(InMemory { sockets: sockets.clone(), peers: sender }).build().unwrap();
    (transport, sockets, peers)
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_to_a_request_that_is_never_read_leaves_no_socket_for_long() {
    let (transport, sockets, mut peers) = in_memory(local());
    let receiver = tokio::spawn(async move {
        let mut peer = peers.recv().await.unwrap();
        peer.read_u8().await.unwrap();
        peer.write_all(OK).await.unwrap();
        peer
    });
    let target = target(&transport, "http://127.0.0.1:9/");
    let receipt = transport.deliver(&target, &message(vec![b'1'; 1 << 20])).await.unwrap();
    assert_eq!(receipt.code, "200");
    let _frozen = receiver.await.unwrap();
    sockets.all_closed(Duration::from_secs(90)).await;
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_that_is_never_read_leaves_no_socket_for_long() {
    let ours = authority("ours");
    let acceptor = acceptor(&ours, "127.0.0.1", false, &["h2"]);
    let (transport, sockets, mut peers) = in_memory(trusting(&ours));
    let receiver = tokio::spawn(async move {
        let mut peer = acceptor.accept(peers.recv().await.unwrap()).await.unwrap();
        // All the room there is, so that the request is written until the stream takes no more.
        let window = 0x7fff_ffff_u32.to_be_bytes();
        let settings = frame(4, 0, 0, &[&[0, 4][..], &window].concat());
        let update = frame(8, 0, 0, &(0x7fff_0000_u32).to_be_bytes());
        peer.write_all(&[settings, update].concat()).await.unwrap();
        peer.flush().await.unwrap();
        peer
    });
    let target = target(&transport, "https://127.0.0.1:9/");
    let outcome = transport.deliver(&target, &message(vec![b'1'; 4 << 20])).await;
    assert_eq!(summary(&outcome), "timeout seen");
    let _frozen = receiver.await.unwrap();
    sockets.all_closed(Duration::from_secs(90)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_at_a_bound_or_at_the_deadline() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (head, flood, expected) in [
        // A status line, one header's name, one header's value, headers: bounded in bytes or number.
        ("HTTP/1.1 200 ", "a", "protocol_error seen"),
        ("HTTP/1.1 200 OK\r\n", "a", "protocol_error seen"),
        ("HTTP/1.1 200 OK\r\nx: ", "a", "protocol_error seen"),
        ("HTTP/1.1 200 OK\r\n", "x: a\r\n", "protocol_error seen"),
        ("", "\r\n", "protocol_error seen"),
        // Interim answers have no end; the deadline is theirs.
        ("", "HTTP/1.1 100 Continue\r\n\r\n", "timeout seen"),
        ("", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", "timeout seen"),
        ("", "HTTP/1.1 199 Odd\r\n\r\n", "timeout seen"),
        // The status decides over whatever the body does.
        (chunked, "1\r\na\r\n", "200 Accepted cut"),
        (chunked, "0", "200 Accepted cut"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", "a", "200 Accepted cut"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", "x: a\r\n", "200 Accepted cut"),
        ("HTTP/1.1 500 Broken\r\n\r\n", "a", "500 Rejected cut"),
    ] {
        let sender = Sender::default();
        let many = flood.repeat(65_536 / flood.len());
        assert_eq!(
            sender.against([Request, Say(head.into()), Flood(many.into())]).await,
            expected,
            "{head:?} {flood:?}"
        );
        sender.all_closed().await;
    }
}

#[tokio::test]
async fn a_slow_receiver_holds_up_nobody_else_of_the_same_host() {
    let slow = Receiver::scripted([Request, Hold]).await;
    let quick = Receiver::answering(OK).await;
    let sender = Arc::new(Sender::default());
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (sender, url) = (Arc::clone(&sender), slow.url("/"));
            tokio::spawn(async move { sender.outcome(&url).await })
        })
        .collect();
    let within = Message { timeout: Duration::from_secs(5), ..message("{}") };
    for _ in 0..20 {
        let target = target(&sender.transport, &quick.url("/"));
        assert_eq!(sender.transport.deliver(&target, &within).await.unwrap().code, "200");
    }
    for one in waiting {
        assert_eq!(one.await.unwrap(), "timeout seen");
    }
}
