//! The webhook transport against receivers on real sockets, over HTTP/1.1.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use outpost_core::{
    ErrorClass, HeaderChoice, MASK, Message, Scheme, ServiceHeaders, Signing, SigningKey, StringMap, Transport,
    Verdict, Verifier, VerifyError, WebhookTransport,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use webhook_support::*;

/// Long enough for a socket on this machine, short enough for a test.
const SHORT: Duration = Duration::from_millis(200);

fn status(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn the_exact_bytes_go_out_with_standard_headers_and_a_signature_that_others_accept() {
    let mut receiver = Receiver::answering(OK).await;
    let transport = local().build().unwrap();
    let data =
        "{\"z\":1.0,\"a\":1e2,\n \"b\":10000000000000000000001, \"c\":\"\\u00e9\\/\",\"z\":2,\"e\":\"👩‍👩‍👧\u{2028}\"}";
    let receipt = transport.deliver(&target(&transport, &receiver.url("/in?a=%20b")), &message(data)).await.unwrap();
    assert_eq!((receipt.verdict, receipt.code.as_str(), receipt.retry_after), (Verdict::Accepted, "200", None));
    let response = receipt.response.unwrap();
    assert_eq!((&response.body[..], response.truncated, response.status), (&b"ok"[..], false, 200));

    let seen = receiver.next().await;
    assert_eq!(seen.line(), "POST /in?a=%20b HTTP/1.1");
    assert_eq!(seen.body, data.as_bytes());
    let seconds = now().as_seconds();
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-length", &data.len().to_string()),
        ("host", &receiver.address.to_string()),
        ("user-agent", concat!("Outpost/", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", "evt_1"),
        ("webhook-timestamp", &seconds.to_string()),
        ("webhook-topic", "user.created"),
    ] {
        assert_eq!(seen.all(name), [value], "{name}");
    }
    let theirs = standardwebhooks::Webhook::new(SECRET).unwrap().sign("evt_1", seconds, data.as_bytes()).unwrap();
    assert_eq!(seen.all("webhook-signature"), [theirs]);

    assert_eq!(
        (receipt.request.method.as_str(), receipt.request.url.as_str()),
        ("POST", receiver.url("/in?a=%20b").as_str())
    );
    assert!(receipt.request.headers.iter().any(|(name, _)| name == "webhook-signature"));
}

#[tokio::test]
async fn bytes_that_are_no_text_are_signed_and_sent_as_they_are() {
    let mut receiver = Receiver::answering(OK).await;
    let transport = local().build().unwrap();
    let data = b"\xff\xfe\x00{".to_vec();
    transport.deliver(&target(&transport, &receiver.url("/")), &message(data.clone())).await.unwrap();
    let seen = receiver.next().await;
    assert_eq!(seen.body, data);
    let verifier = Verifier::new(SECRET).unwrap();
    let [id, timestamp, signature] =
        ["id", "timestamp", "signature"].map(|key| seen.header(&format!("webhook-{key}")).unwrap());
    assert_eq!(verifier.verify(id, timestamp, signature, &data, now()), Ok(()));
    assert_eq!(verifier.verify(id, timestamp, signature, b"{}", now()), Err(VerifyError::Signature));
}

#[tokio::test]
async fn every_attempt_signs_its_own_time_under_the_same_id() {
    let mut receiver = Receiver::answering(OK).await;
    let transport = local().build().unwrap();
    let target = target(&transport, &receiver.url("/"));
    let names =
        |head: &str| head.lines().filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect::<Vec<_>>();
    transport.deliver(&target, &message("{}")).await.unwrap();
    let first = receiver.next().await;
    let later = Message { now: now().after(Duration::from_secs(86_400)), attempt: 2, ..message("{}") };
    transport.deliver(&target, &later).await.unwrap();
    let second = receiver.next().await;
    assert_eq!(names(&first.head), names(&second.head));
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_ne!(first.header("webhook-timestamp"), second.header("webhook-timestamp"));
    assert_ne!(first.header("webhook-signature"), second.header("webhook-signature"));
}

#[tokio::test]
async fn all_live_secrets_sign_newest_first_and_expired_ones_do_not() {
    let mut receiver = Receiver::answering(OK).await;
    let transport = local().build().unwrap();
    let public_pair = Scheme::Ed25519.generate_secret(|bytes| bytes.fill(5));
    let older = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
    let credentials = map(&[
        ("secret", public_pair.expose()),
        ("previous_secret", SECRET),
        ("previous_secret_invalid_at", "2026-01-31T09:00:00Z"),
        ("older_secrets", &format!(r#"[{{"secret":"{older}","invalid_at":"2026-01-31T08:30:00Z"}}]"#)),
    ]);
    let target = transport.prepare(&map(&[("url", &receiver.url("/"))]), &credentials, &StringMap::new()).unwrap();
    let mut lists = Vec::new();
    for minutes in [0, 31, 61] {
        let message = Message { now: now().after(Duration::from_secs(minutes * 60)), ..message("{}") };
        transport.deliver(&target, &message).await.unwrap();
        let seen = receiver.next().await;
        lists.push(seen.header("webhook-signature").unwrap().to_owned());
        let key = SigningKey::parse(public_pair.expose()).unwrap();
        Verifier::new(&key.public_key().unwrap())
            .unwrap()
            .verify("evt_1", &message.now.as_seconds().to_string(), lists.last().unwrap(), b"{}", message.now)
            .unwrap();
    }
    let versions =
        |list: &str| list.split(' ').map(|entry| entry.split_once(',').unwrap().0.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        lists.iter().map(|list| versions(list)).collect::<Vec<_>>(),
        [vec!["v1a", "v1", "v1"], vec!["v1a", "v1"], vec!["v1a"]]
    );
}

#[tokio::test]
async fn the_service_s_scheme_has_its_own_headers_and_both_schemes_fit_in_one_request() {
    let mut receiver = Receiver::answering(OK).await;
    let headers = ServiceHeaders {
        topic: HeaderChoice::Named("X-Acme-Event".into()),
        event_id: HeaderChoice::Off,
        timestamp_ms: HeaderChoice::Default,
        ..ServiceHeaders::default()
    };
    let previous = "an old secret of any form";
    let credentials = map(&[
        ("secret", "whsec_anything at all"),
        ("previous_secret", previous),
        ("previous_secret_invalid_at", "2027-01-01T00:00:00Z"),
    ]);
    let transport = local().signing(Signing::service(headers.clone())).build().unwrap();
    let target = transport.prepare(&map(&[("url", &receiver.url("/"))]), &credentials, &StringMap::new()).unwrap();
    transport.deliver(&target, &message("{}")).await.unwrap();
    let seen = receiver.next().await;
    let sign = |secret: &str| outpost_core::BodyKey::new(secret).unwrap().sign(b"{}");
    let expected = format!("v0={},{}", sign("whsec_anything at all"), sign(previous));
    assert_eq!(seen.header("x-outpost-signature"), Some(expected.as_str()));
    assert_eq!(seen.header("x-outpost-timestamp"), Some("2026-01-31T08:00:00Z"));
    assert_eq!(seen.header("x-outpost-timestamp-ms"), Some("2026-01-31T08:00:00.123Z"));
    assert_eq!(seen.header("x-acme-event"), Some("user.created"));
    assert_eq!(
        [seen.header("x-outpost-topic"), seen.header("x-outpost-event-id"), seen.header("webhook-id")],
        [None; 3]
    );

    let transport = local().signing(Signing::both(headers)).build().unwrap();
    transport.deliver(&webhook_support::target(&transport, &receiver.url("/")), &message("{}")).await.unwrap();
    let seen = receiver.next().await;
    assert_eq!(seen.header("x-outpost-signature"), Some(format!("v0={}", sign(SECRET)).as_str()));
    assert!(seen.header("webhook-signature").unwrap().starts_with("v1,"));
}

#[tokio::test]
async fn system_headers_win_over_metadata_and_metadata_over_custom_headers() {
    let mut receiver = Receiver::answering(OK).await;
    let config = map(&[
        ("url", &receiver.url("/")),
        ("custom_headers", r#"{"Authorization":"Bearer canary","X-Plain":"custom","webhook-plain":"custom"}"#),
    ]);
    let delivery = map(&[("signature", "forged"), ("plain", "delivery"), ("only", "delivery")]);
    let transport = local().build().unwrap();
    let target = transport.prepare(&config, &map(&[("secret", SECRET)]), &delivery).unwrap();
    let metadata = map(&[("id", "forged"), ("timestamp", "1"), ("topic", "x"), ("plain", "event"), ("Trace", "t 1")]);
    let message = Message { metadata: Arc::new(metadata), ..message("{}") };
    let receipt = transport.deliver(&target, &message).await.unwrap();
    let seen = receiver.next().await;
    for (name, value) in [
        ("webhook-id", "evt_1"),
        ("webhook-topic", "user.created"),
        ("webhook-plain", "event"),
        ("webhook-only", "delivery"),
        ("webhook-trace", "t 1"),
        ("x-plain", "custom"),
        ("authorization", "Bearer canary"),
    ] {
        assert_eq!(seen.all(name), [value], "{name}");
    }
    assert!(seen.header("webhook-signature").unwrap().starts_with("v1,"));
    assert!(!format!("{receipt:?}{target:?}").contains("canary"));
    assert!(receipt.request.headers.contains(&("authorization".to_owned(), MASK.to_owned())));

    // Without a prefix, metadata still cannot take the place of what describes the message.
    let bare = ServiceHeaders { prefix: " ".into(), ..ServiceHeaders::default() };
    let transport = local().signing(Signing::service(bare)).build().unwrap();
    let target = webhook_support::target(&transport, &receiver.url("/"));
    let metadata = map(&[("content-type", "text/html"), ("Host", "evil"), ("content-length", "1"), ("a", "b")]);
    transport.deliver(&target, &Message { metadata: Arc::new(metadata), ..message }).await.unwrap();
    let seen = receiver.next().await;
    assert_eq!(seen.all("content-type"), ["application/json"]);
    assert_eq!(seen.all("content-length"), ["2"]);
    assert_eq!(seen.all("host"), [receiver.address.to_string()]);
    assert_eq!([seen.header("a"), seen.header("event-id")], [Some("b"), Some("evt_1")]);
}

#[tokio::test]
async fn metadata_that_cannot_be_a_header_fails_the_attempt_and_nothing_is_sent() {
    let receiver = Receiver::answering(OK).await;
    let transport = local().build().unwrap();
    let target = target(&transport, &receiver.url("/"));
    for (key, value) in [("a b", "x"), ("a", "x\r\nX-A: b"), ("a", "\0"), ("", "")] {
        let message = Message { metadata: Arc::new(map(&[(key, value)])), ..message("{}") };
        match transport.deliver(&target, &message).await {
            Err(error) => assert_eq!((error.error.class, error.error.maybe_seen), (ErrorClass::Request, false)),
            // `webhook-` alone is a header name.
            Ok(_) => assert_eq!(key, ""),
        }
    }
}

#[tokio::test]
async fn the_envelope_holds_the_data_as_it_was_published() {
    let mut receiver = Receiver::answering(OK).await;
    let transport = local().envelope(true).build().unwrap();
    let data = "{ \"a\" : 1.0 }";
    transport.deliver(&target(&transport, &receiver.url("/")), &message(data)).await.unwrap();
    let seen = receiver.next().await;
    let expected = format!(r#"{{"type":"user.created","timestamp":"2026-01-30T00:00:00.000Z","data":{data}}}"#);
    assert_eq!(String::from_utf8(seen.body).unwrap(), expected);
    let signature = SigningKey::parse(SECRET).unwrap().sign("evt_1", now().as_seconds(), expected.as_bytes());
    assert_eq!(seen.head.lines().find_map(|line| line.strip_prefix("webhook-signature: ")), Some(signature.as_str()));
}

#[tokio::test]
async fn user_information_is_sent_as_basic_authorization_and_never_shown() {
    let mut receiver = Receiver::answering(OK).await;
    let transport = local().build().unwrap();
    let url = format!("http://user:canary@{}/in?token=canary", receiver.address);
    let target = target(&transport, &url);
    assert_eq!(target.display(), format!("http://***@{}/in?token=***", receiver.address));
    let receipt = transport.deliver(&target, &message("{}")).await.unwrap();
    let seen = receiver.next().await;
    assert_eq!(seen.header("authorization"), Some("Basic dXNlcjpjYW5hcnk="));
    assert_eq!(seen.header("host"), Some(receiver.address.to_string().as_str()));
    assert_eq!(seen.line(), "POST /in?token=canary HTTP/1.1");
    assert!(!format!("{receipt:?} {target:?}").contains("canary"));
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let mut receiver = Receiver::answering(OK).await;
    let transport = local().build().unwrap();
    for _ in 0..5 {
        deliver(&transport, &receiver.url("/")).await.unwrap();
        assert_eq!(receiver.next().await.connection, 0);
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn idle_connections_end_after_their_timeout_and_beyond_the_limit() {
    let mut receiver = Receiver::answering(OK).await;
    let transport = local().idle_timeout(Duration::from_millis(50)).build().unwrap();
    deliver(&transport, &receiver.url("/")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    deliver(&transport, &receiver.url("/")).await.unwrap();
    assert_eq!([receiver.next().await.connection, receiver.next().await.connection], [0, 1]);

    let transport = local().max_idle(0).build().unwrap();
    for _ in 0..2 {
        deliver(&transport, &receiver.url("/")).await.unwrap();
    }
    assert_eq!(receiver.connections(), 4);

    // The limit holds over all receivers together.
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(Receiver::answering(OK).await);
    }
    let transport = local().max_idle(2).build().unwrap();
    for _ in 0..3 {
        for other in &others {
            deliver(&transport, &other.url("/")).await.unwrap();
        }
    }
    let opened: usize = others.iter().map(Receiver::connections).sum();
    assert!(opened > 4 && opened <= 12, "{opened}");
}

#[tokio::test]
async fn a_kept_connection_that_the_receiver_closed_just_then_is_no_failed_attempt() {
    // Answers one request, then reads the next one and closes without a word: to the sender it looks as if
    // the connection was closed while the request was on its way.
    let mut receiver = Receiver::start(|mut stream, number, sender| async move {
        let Some(seen) = read_request(&mut stream, number).await else { return };
        let _ = sender.send(seen);
        stream.write_all(OK).await.unwrap();
        if let Some(seen) = read_request(&mut stream, number).await {
            let _ = sender.send(seen);
        }
    })
    .await;
    let transport = local().build().unwrap();
    for _ in 0..2 {
        assert_eq!(deliver(&transport, &receiver.url("/")).await.unwrap().code, "200");
    }
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(receiver.next().await.connection);
    }
    assert_eq!(connections, [0, 0, 1]);
}

#[tokio::test]
async fn a_kept_connection_that_was_reset_is_no_failed_attempt() {
    let receiver = Receiver::start(|mut stream, number, _| async move {
        if read_request(&mut stream, number).await.is_some() {
            stream.write_all(OK).await.unwrap();
            let _ = stream.read_u8().await;
            stream.set_zero_linger().unwrap();
        }
    })
    .await;
    let transport = local().build().unwrap();
    for _ in 0..4 {
        assert_eq!(deliver(&transport, &receiver.url("/")).await.unwrap().code, "200");
    }
}

#[tokio::test]
async fn a_request_that_was_answered_in_part_or_on_a_new_connection_is_not_sent_again() {
    let mut receiver = Receiver::start(|mut stream, number, sender| async move {
        let mut first = true;
        while let Some(seen) = read_request(&mut stream, number).await {
            let _ = sender.send(seen);
            if first {
                stream.write_all(OK).await.unwrap();
                first = false;
            } else {
                stream.write_all(b"HTTP/1.1 2").await.unwrap();
                return;
            }
        }
    })
    .await;
    let transport = local().build().unwrap();
    deliver(&transport, &receiver.url("/")).await.unwrap();
    let error = deliver(&transport, &receiver.url("/")).await.unwrap_err();
    assert_eq!((error.error.class, error.error.maybe_seen), (ErrorClass::Reset, true));
    assert!(error.request.is_some());
    receiver.next().await;
    receiver.next().await;
    assert!(receiver.seen.try_recv().is_err());

    let mut closing = Receiver::answering_once("").await;
    let error = deliver(&transport, &closing.url("/")).await.unwrap_err();
    assert_eq!((error.error.class, error.error.maybe_seen), (ErrorClass::Reset, true), "{error:?}");
    closing.next().await;
    assert_eq!(closing.connections(), 1);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_deliveries_at_once_share_a_bounded_number_of_connections() {
    let receiver = Receiver::answering(OK).await;
    let transport = WebhookTransport::clone(&local().build().unwrap());
    let url = receiver.url("/");
    for _ in 0..3 {
        let all: Vec<_> = (0..50)
            .map(|_| {
                let (transport, url) = (transport.clone(), url.clone());
                tokio::spawn(async move { deliver(&transport, &url).await.unwrap().code })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap(), "200");
        }
    }
    assert!(receiver.connections() <= 100, "{}", receiver.connections());
}
