//! Kept connections and receivers that say too much, too early or at the wrong time: no exchange is given
//! another's answer, and none fails only because its connection was kept.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::sync::Arc;

use outpost_core::{Message, Transport as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use webhook_support::hostile::Step::{Again, HalfClose, Hold, Request};
use webhook_support::hostile::*;
use webhook_support::*;

/// What a wrong answer would be told by.
const EVIL: &str = "HTTP/1.1 599 Evil\r\ncontent-length: 0\r\n\r\n";

/// The first connection answers its first request with `first`; all others answer 201.
async fn once_odd(first: String) -> Receiver {
    Receiver::start(move |mut stream, number, sender| {
        let first = first.clone();
        async move {
            let mut odd = number == 0;
            while let Some(seen) = read_request(&mut stream, number).await {
                let _ = sender.send(seen);
                let answer = if odd { &*first } else { "HTTP/1.1 201 Made\r\ncontent-length: 0\r\n\r\n" };
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                odd = false;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_after_an_answer_are_never_the_next_answer() {
    for (first, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "200 Accepted"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "200 Accepted"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200 Accepted"),
        ("HTTP/1.1 204 None\r\n\r\n", "204 Accepted"),
        ("HTTP/1.1 204 None\r\ncontent-length: 5\r\n\r\nhello", "204 Accepted"),
        ("HTTP/1.1 204 None\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "204 Accepted"),
        ("HTTP/1.1 304 Same\r\ncontent-length: 5\r\n\r\nhello", "304 Rejected"),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", "200 Accepted"),
        ("HTTP/1.1 500 Broken\r\ncontent-length: 2\r\n\r\nok", "500 Rejected"),
    ] {
        for _ in 0..10 {
            let receiver = once_odd(format!("{first}{EVIL}")).await;
            let sender = Sender::default();
            assert_eq!(sender.outcome(&receiver.url("/")).await, expected, "{first:?}");
            for _ in 0..2 {
                assert_eq!(sender.outcome(&receiver.url("/")).await, "201 Accepted", "{first:?}");
            }
            assert!(receiver.connections() > 1, "{first:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_with_both_framings_or_none_ends_its_connection() {
    for first in [
        // Chunked counts; a length beside it is a sign of smuggling.
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 200\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let receiver = once_odd(format!("{first}{EVIL}")).await;
        let sender = Sender::default();
        assert_eq!(sender.outcome(&receiver.url("/")).await, "200 Accepted");
        assert_eq!(sender.outcome(&receiver.url("/")).await, "201 Accepted");
    }
    // Without a length the body is all there is to the end, whatever it looks like.
    let receiver = Receiver::scripted([Request, say(format!("HTTP/1.1 200 OK\r\n\r\n{EVIL}"))]).await;
    let sender = Sender::default();
    for _ in 0..2 {
        let receipt = sender.send(&receiver.url("/")).await.unwrap();
        assert_eq!((receipt.code.as_str(), &receipt.response.unwrap().body[..]), ("200", EVIL.as_bytes()));
    }
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_says_while_its_connection_is_idle_costs_no_attempt() {
    // A goodbye that common servers say; an unasked answer; half a status line; junk.
    for said in ["HTTP/1.1 408 Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", EVIL, "HTTP/1.1", "\0\0"] {
        for close in [false, true] {
            let (said_it, mut heard) = tokio::sync::mpsc::unbounded_channel();
            let receiver = Receiver::start(move |mut stream: TcpStream, number, _| {
                let said_it = said_it.clone();
                async move {
                    while read_request(&mut stream, number).await.is_some() {
                        stream.write_all(OK).await.unwrap();
                        tokio::task::yield_now().await;
                        let _ = stream.write_all(said.as_bytes()).await;
                        said_it.send(()).unwrap();
                        if close {
                            return;
                        }
                    }
                }
            })
            .await;
            let sender = Sender::default();
            for round in 0..10 {
                assert_eq!(sender.outcome(&receiver.url("/")).await, "200 Accepted", "{said:?} {round}");
                // Only what was said before the next request can be told from an answer to it.
                heard.recv().await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_closed_while_idle_costs_no_attempt_in_any_way_of_closing() {
    for reset in [false, true] {
        let receiver = Receiver::start(move |mut stream, number, _| async move {
            read_request(&mut stream, number).await;
            let _ = stream.write_all(OK).await;
            if reset {
                stream.set_zero_linger().unwrap();
            }
        })
        .await;
        let sender = Sender::default();
        for round in 0..100 {
            let outcome = sender.outcome(&receiver.url("/")).await;
            // A reset can overtake the body, never the status that was read.
            assert!(outcome == "200 Accepted" || reset && outcome == "200 Accepted cut", "{round} {outcome}");
        }
    }
    // Half closed: the receiver would still read, but never answer.
    let receiver = Receiver::scripted([Request, say(OK), HalfClose, Hold]).await;
    let sender = Sender::default();
    for _ in 0..20 {
        assert_eq!(sender.outcome(&receiver.url("/")).await, "200 Accepted");
    }
}

#[tokio::test]
async fn an_answer_before_the_request_is_no_answer_to_a_later_one() {
    let receiver = Receiver::scripted([say(EVIL), Request, say(OK), Again]).await;
    let sender = Sender::default();
    for _ in 0..20 {
        let outcome = sender.outcome(&receiver.url("/")).await;
        // On a new connection an early answer may count as the answer; it is never taken for a success.
        assert!(["599 Rejected", "connection_reset unseen", "connection_reset seen"].contains(&&*outcome), "{outcome}");
    }
}

#[tokio::test]
async fn a_runtime_that_ends_under_a_kept_connection_is_trouble_of_the_sender_s_own() {
    // Answers the first request only.
    let mut receiver = Receiver::start(|mut stream, number, sender| async move {
        let mut first = true;
        while let Some(seen) = read_request(&mut stream, number).await {
            let _ = sender.send(seen);
            if first {
                stream.write_all(OK).await.unwrap();
            }
            first = false;
        }
    })
    .await;
    let transport = local().build().unwrap();
    let (theirs, url) = (transport.clone(), receiver.url("/"));
    let (kept, is_kept) = tokio::sync::oneshot::channel();
    let (end, to_end) = tokio::sync::oneshot::channel::<()>();
    let other = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            deliver(&theirs, &url).await.unwrap();
            // The connection's own tasks have their turn.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            kept.send(()).unwrap();
            let _ = to_end.await;
        });
    });
    is_kept.await.unwrap();
    let url = receiver.url("/");
    let second = tokio::spawn(async move { summary(&deliver(&transport, &url).await) });
    assert_eq!([receiver.next().await.connection, receiver.next().await.connection], [0, 0]);
    end.send(()).unwrap();
    assert_eq!(second.await.unwrap(), "system_error seen");
    other.join().unwrap();
}

#[tokio::test]
async fn http_1_0_keeps_connections_only_where_it_says_so() {
    for (header, connections) in [("", 3), ("connection: close\r\n", 3), ("connection: keep-alive\r\n", 1)] {
        let receiver = Receiver::scripted([
            Request,
            say(format!("HTTP/1.0 200 OK\r\n{header}content-length: 2\r\n\r\nok")),
            Again,
        ])
        .await;
        let sender = Sender::default();
        for _ in 0..3 {
            assert_eq!(sender.outcome(&receiver.url("/")).await, "200 Accepted");
        }
        assert_eq!(receiver.connections(), connections, "{header:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_exchange_of_many_at_once_gets_its_own_answer() {
    // Answers with what it was sent, and adds something to every third answer.
    let receiver = Receiver::start(|mut stream, number, _| async move {
        let mut count = number;
        while let Some(seen) = read_request(&mut stream, number).await {
            count += 1;
            let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", seen.body.len()).into_bytes();
            answer.extend(&seen.body);
            match count % 6 {
                0 => answer.extend(EVIL.bytes()),
                3 => answer.extend(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"),
                _ => {}
            }
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    let transport = Arc::new(local().build().unwrap());
    let target = target(&transport, &receiver.url("/"));
    let all: Vec<_> = (0..20)
        .map(|lane| {
            let (transport, target) = (Arc::clone(&transport), target.clone());
            tokio::spawn(async move {
                for number in 0..50 {
                    let data = format!("\"{lane}-{number}\"");
                    let message: Message = message(data.clone());
                    let receipt = transport.deliver(&target, &message).await.unwrap();
                    assert_eq!((receipt.code.as_str(), &receipt.response.unwrap().body[..]), ("200", data.as_bytes()));
                }
            })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
}
