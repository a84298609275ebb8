//! What receivers answer, over HTTP/1.1 on real sockets: statuses, headers, bodies, silence.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::time::{Duration, Instant};

use outpost_core::{ErrorClass, MASK, Transport, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use webhook_support::*;

/// Long enough for a socket on this machine, short enough for a test.
const SHORT: Duration = Duration::from_millis(200);

fn status(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let mut elsewhere = Receiver::answering(OK).await;
    let transport = local().build().unwrap();
    for code in [301, 302, 303, 307, 308, 300, 304] {
        let location = elsewhere.url("/target");
        let answer = format!("HTTP/1.1 {code} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(answer).await;
        let receipt = deliver(&transport, &receiver.url("/")).await.unwrap();
        assert_eq!((receipt.verdict, receipt.code), (Verdict::Rejected, code.to_string()));
        assert!(receipt.response.unwrap().headers.contains(&("location".to_owned(), location)));
        assert_eq!(receiver.connections(), 1);
    }
    assert!(elsewhere.seen.try_recv().is_err());
}

#[tokio::test]
async fn statuses_become_verdicts() {
    let transport = local().build().unwrap();
    for (line, verdict) in [
        ("200 OK", Verdict::Accepted),
        ("204 No Content", Verdict::Accepted),
        ("299 Odd", Verdict::Accepted),
        ("400 Bad", Verdict::Rejected),
        ("404 Gone fishing", Verdict::Rejected),
        ("410 Gone", Verdict::Gone),
        ("429 Slow", Verdict::Overloaded),
        ("500 Broken", Verdict::Rejected),
        ("502 Gateway", Verdict::Overloaded),
        ("503 Busy", Verdict::Overloaded),
        ("504 Gateway", Verdict::Overloaded),
        ("599 Odd", Verdict::Rejected),
        ("999 Odd", Verdict::Rejected),
    ] {
        let receiver = Receiver::answering(status(line)).await;
        let receipt = deliver(&transport, &receiver.url("/")).await.unwrap();
        assert_eq!(receipt.verdict, verdict, "{line}");
        assert_eq!(receipt.code, line[..3]);
    }
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_and_as_a_date_on_failures_only() {
    let transport = local().build().unwrap();
    for (line, value, wait) in [
        ("503 Busy", "120", Some(120_000)),
        ("429 Slow", "Sat, 31 Jan 2026 08:01:00 GMT", Some(59_877)),
        ("500 Broken", "7", Some(7_000)),
        ("503 Busy", "soon", None),
        ("200 OK", "7", None),
    ] {
        let answer = format!("HTTP/1.1 {line}\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(answer).await;
        let receipt = deliver(&transport, &receiver.url("/")).await.unwrap();
        assert_eq!(receipt.retry_after, wait.map(Duration::from_millis), "{line} {value}");
    }
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
    let receiver = Receiver::answering(answer.to_vec()).await;
    let transport = local().build().unwrap();
    for _ in 0..2 {
        let receipt = deliver(&transport, &receiver.url("/")).await.unwrap();
        assert_eq!((receipt.code.as_str(), &receipt.response.unwrap().body[..]), ("200", &b"x"[..]));
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn headers_and_bodies_that_are_no_text_change_nothing_about_a_success() {
    let mut answer =
        b"HTTP/1.1 200 OK\r\nx-raw: a\x80\xffb\r\nx-empty:\r\nset-cookie: sid=canary\r\nbad name: y\r\nx-late : z\r\n"
            .to_vec();
    for number in 0..300 {
        answer.extend(format!("x-many: {number}\r\n").bytes());
    }
    answer.extend(format!("x-long: {}\r\n", "l".repeat(60_000)).bytes());
    answer.extend(b"content-length: 5\r\n\r\n\xff\xfe\x00\xc3(");
    let receiver = Receiver::answering(answer).await;
    let receipt = deliver(&local().build().unwrap(), &receiver.url("/")).await.unwrap();
    assert_eq!(receipt.verdict, Verdict::Accepted);
    let response = receipt.response.unwrap();
    assert_eq!(&response.body[..], b"\xff\xfe\x00\xc3(");
    let value = |name: &str| response.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(value("x-raw"), Some("a\u{fffd}\u{fffd}b"));
    assert_eq!(value("x-empty"), Some(""));
    assert_eq!(value("set-cookie"), Some(MASK));
    assert_eq!(response.headers.len(), 128);
}

#[tokio::test]
async fn too_many_headers_and_answers_that_are_no_http_are_protocol_errors() {
    let transport = local().build().unwrap();
    let mut many = b"HTTP/1.1 200 OK\r\n".to_vec();
    for number in 0..1100 {
        many.extend(format!("x-{number}: a\r\n").bytes());
    }
    many.extend(b"\r\n");
    let huge = format!("HTTP/1.1 200 OK\r\nx-a: {}\r\n\r\n", "a".repeat(1 << 20)).into_bytes();
    for answer in [many, huge, b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), b"\0\0\0\0\0\0\0\0".to_vec()] {
        let receiver = Receiver::answering_once(answer).await;
        let error = deliver(&transport, &receiver.url("/")).await.unwrap_err().error;
        assert_eq!((error.class, error.maybe_seen), (ErrorClass::Protocol, true), "{error:?}");
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_cap_and_the_connection_dropped() {
    // Each with more than the cap, and the connection must be closed by the sender.
    for head in ["transfer-encoding: chunked", "content-length: 10000000000"] {
        let (closed, mut was_closed) = tokio::sync::mpsc::unbounded_channel();
        let receiver = Receiver::start(move |mut stream, number, _| {
            let closed = closed.clone();
            async move {
                read_request(&mut stream, number).await.unwrap();
                stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes()).await.unwrap();
                let mut chunk = b"2000\r\n".to_vec();
                chunk.extend([b'x'; 0x2000]);
                chunk.extend(b"\r\n");
                let mut sent = 0_usize;
                while stream.write_all(&chunk).await.is_ok() {
                    sent += chunk.len();
                }
                let _ = closed.send(sent);
            }
        })
        .await;
        let transport = local().response_capture(10_000).build().unwrap();
        let receipt = deliver(&transport, &receiver.url("/")).await.unwrap();
        assert_eq!(receipt.verdict, Verdict::Accepted);
        let response = receipt.response.unwrap();
        assert_eq!((response.body.len(), response.truncated), (10_000, true));
        // Socket buffers take some; the rest is never read.
        assert!(was_closed.recv().await.unwrap() < 16 << 20);
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_cap_is_whole() {
    let transport = local().response_capture(4).build().unwrap();
    for (body, truncated) in [("1234", false), ("12345", true), ("", false)] {
        let receiver =
            Receiver::answering(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
        let response = deliver(&transport, &receiver.url("/")).await.unwrap().response.unwrap();
        assert_eq!((response.truncated, response.body.len()), (truncated, body.len().min(4)));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_the_status_s_verdict() {
    let transport = local().build().unwrap();
    for (line, verdict) in [("200 OK", Verdict::Accepted), ("503 Busy", Verdict::Overloaded)] {
        let receiver = Receiver::answering_once(format!("HTTP/1.1 {line}\r\ncontent-length: 100\r\n\r\npart")).await;
        let receipt = deliver(&transport, &receiver.url("/")).await.unwrap();
        let response = receipt.response.unwrap();
        assert_eq!((receipt.verdict, response.truncated, &response.body[..]), (verdict, true, &b"part"[..]));
    }
    let receiver =
        Receiver::answering_once("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n").await;
    let receipt = deliver(&transport, &receiver.url("/")).await.unwrap();
    assert_eq!((receipt.verdict, receipt.response.unwrap().truncated), (Verdict::Accepted, true));
}

#[tokio::test]
async fn one_deadline_covers_the_whole_exchange() {
    async fn drip(stream: &mut tokio::net::TcpStream, bytes: &[u8]) {
        for byte in bytes {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        std::future::pending::<()>().await;
    }
    let transport = local().build().unwrap();
    // Never answers; drips headers.
    for head in [&b""[..], b"HTTP/1.1 200 OK\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        let receiver = Receiver::start(move |mut stream, number, _| async move {
            read_request(&mut stream, number).await;
            drip(&mut stream, head).await;
        })
        .await;
        let start = Instant::now();
        let error = deliver_within(&transport, &receiver.url("/"), SHORT).await.unwrap_err();
        assert_eq!((error.error.class, error.error.maybe_seen), (ErrorClass::Timeout, true));
        assert!(error.request.is_some());
        assert!(start.elapsed() >= SHORT && start.elapsed() < SHORT * 5);
    }
    // Drips the body: the status has come, so it decides.
    let receiver = Receiver::start(|mut stream, number, _| async move {
        read_request(&mut stream, number).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
        drip(&mut stream, &[b'x'; 1000]).await;
    })
    .await;
    let start = Instant::now();
    let receipt = deliver_within(&transport, &receiver.url("/"), SHORT).await.unwrap();
    let response = receipt.response.unwrap();
    assert!(receipt.verdict == Verdict::Accepted && response.truncated);
    assert!(!response.body.is_empty() && response.body.len() < 100);
    assert!(start.elapsed() < SHORT * 5);
}

#[tokio::test]
async fn endless_interim_answers_end_at_the_deadline() {
    let receiver = Receiver::start(|mut stream, number, _| async move {
        read_request(&mut stream, number).await;
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let error = deliver_within(&local().build().unwrap(), &receiver.url("/"), SHORT).await.unwrap_err();
    assert_eq!(error.error.class, ErrorClass::Timeout);
}

#[tokio::test]
async fn connections_that_fail_have_their_own_classes() {
    let transport = local().build().unwrap();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = deliver(&transport, &format!("http://{free}/")).await.unwrap_err();
    assert_eq!((error.error.class, error.error.maybe_seen, error.request), (ErrorClass::Refused, false, None));
    assert!(error.error.detail.contains(&free.to_string()) && !error.error.message.contains("127.0.0.1"));

    let resetting = Receiver::start(|mut stream, number, _| async move {
        read_request(&mut stream, number).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let error = deliver(&transport, &resetting.url("/")).await.unwrap_err().error;
    assert_eq!((error.class, error.maybe_seen), (ErrorClass::Reset, true), "{error:?}");
}

#[tokio::test]
async fn an_early_answer_to_a_large_request_is_taken() {
    let receiver = Receiver::start(|mut stream, _, _| async move {
        let _ = stream.read_u8().await;
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut sink = vec![0; 65536];
        while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let transport = local().build().unwrap();
    let receipt =
        transport.deliver(&target(&transport, &receiver.url("/")), &message(vec![b'1'; 4 << 20])).await.unwrap();
    assert_eq!(receipt.code, "413");
}
