//! The webhook transport against receivers on real sockets, over HTTP/1.1.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::sync::Arc;
use std::time::Duration;

use outpost_core::{
    ErrorClass, HeaderChoice, MASK, Message, Scheme, ServiceHeaders, Signing, SigningKey, StringMap, Transport,
    Verdict, Verifier, VerifyError, WebhookTransport,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use webhook_support::*;

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
    // What is sealed in the store does not stand in the attempt either, whatever the header's name.
    for (name, shown) in
        [("authorization", MASK), ("x-plain", MASK), ("webhook-only", MASK), ("webhook-plain", "event")]
    {
        assert!(receipt.request.headers.contains(&(name.to_owned(), shown.to_owned())), "{name}");
    }

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
async fn a_second_try_that_fails_too_says_that_the_first_may_have_been_seen() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        read_request(&mut stream, 0).await.unwrap();
        stream.write_all(OK).await.unwrap();
        read_request(&mut stream, 0).await.unwrap();
    });
    let transport = local().build().unwrap();
    deliver(&transport, &url).await.unwrap();
    let error = deliver(&transport, &url).await.unwrap_err();
    assert_eq!((error.error.class, error.error.maybe_seen), (ErrorClass::Refused, true));
    assert!(error.request.is_some());
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
