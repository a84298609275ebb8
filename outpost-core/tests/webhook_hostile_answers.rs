//! Answers over HTTP/1.1 that break rules or expectations. The status line decides; what is no HTTP is an
//! error of its own class; nothing of one exchange reaches the next.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::fmt::Write as _;

use outpost_core::{MASK, Message, ResponseRecord, Verdict};
use webhook_support::hostile::Step::{Flood, HalfClose, Hold, Request, Reset, Say};
use webhook_support::hostile::*;
use webhook_support::*;

/// What is recorded of an answer with these bytes.
async fn recorded(answer: impl Into<Vec<u8>>) -> ResponseRecord {
    let receiver = Receiver::scripted([Request, Say(answer.into())]).await;
    Sender::default().send(&receiver.url("/")).await.unwrap().response.unwrap()
}

fn value<'a>(response: &'a ResponseRecord, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn connections_that_end_too_early_are_resets_until_the_status_is_known() {
    let part = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n";
    let body = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart";
    let chunked = "HTTP/1.1 500 Broken\r\ntransfer-encoding: chunked\r\n\r\n9\r\npart";
    for (steps, expected) in [
        (vec![Request], "connection_reset seen"),
        (vec![Request, Reset], "connection_reset seen"),
        (vec![Request, HalfClose, Hold], "connection_reset seen"),
        (vec![Request, say("HTTP/1."), Reset], "connection_reset seen"),
        (vec![Request, say("HTTP/1.1 200 OK\r\n")], "connection_reset seen"),
        (vec![Request, say(part)], "connection_reset seen"),
        (vec![Request, say(part), HalfClose, Hold], "connection_reset seen"),
        (vec![Request, say("HTTP/1.1 100 Continue\r\n\r\n")], "connection_reset seen"),
        (vec![Request, say("HTTP/1.1 100 Continue\r\n\r\n"), Reset], "connection_reset seen"),
        (vec![Request, say(body)], "200 Accepted cut"),
        (vec![Request, say(body), HalfClose, Hold], "200 Accepted cut"),
        (vec![Request, say(chunked)], "500 Rejected cut"),
    ] {
        let sender = Sender::default();
        assert_eq!(sender.against(steps.clone()).await, expected, "{steps:?}");
        sender.all_closed().await;
    }
    // A reset may overtake what was sent just before it.
    for sent in [part, body, chunked] {
        let outcome = Sender::default().against([Request, say(sent), Reset]).await;
        assert!(["connection_reset seen", "200 Accepted cut", "500 Rejected cut"].contains(&&*outcome), "{outcome}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_the_request_is_a_reset() {
    for steps in [vec![], vec![Reset], vec![HalfClose, Hold]] {
        for _ in 0..10 {
            let sender = Sender::default();
            let outcome = sender.against(steps.clone()).await;
            // Whether bytes had gone out by then is a race; both are told as they were.
            assert!(outcome.starts_with("connection_reset "), "{steps:?} {outcome}");
            sender.all_closed().await;
        }
    }
}

#[tokio::test]
async fn status_lines_that_are_none_are_protocol_errors() {
    for line in [
        "HTTP/1.1 099 Low\r\n",
        "HTTP/1.1 000 Zero\r\n",
        "HTTP/1.1 1000 High\r\n",
        "HTTP/1.1 20 Short\r\n",
        "HTTP/1.1 2x0 Letters\r\n",
        "HTTP/1.1 -20 Minus\r\n",
        "HTTP/1.1 \r\n",
        "HTTP/1.1\r\n",
        "HTTP/1.1  200 Spaces\r\n",
        "HTTP/1.2 200 OK\r\n",
        "HTTP/2 200 OK\r\n",
        "HTTP/2.0 200 OK\r\n",
        "HTTP/0.9 200 OK\r\n",
        "ICY 200 OK\r\n",
        "http/1.1 200 OK\r\n",
        " HTTP/1.1 200 OK\r\n",
        "200 OK\r\n",
        "POST / HTTP/1.1\r\n",
        // An answer of HTTP/0.9 is a body and nothing else.
        "<html>it works</html>\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "220 mail.example ESMTP\r\n",
        "\u{feff}HTTP/1.1 200 OK\r\n",
        "\0",
    ] {
        let sender = Sender::default();
        let outcome = sender.against([Request, say(format!("{line}content-length: 0\r\n\r\n"))]).await;
        assert_eq!(outcome, "protocol_error seen", "{line:?}");
        sender.all_closed().await;
    }
}

#[tokio::test]
async fn odd_but_readable_status_lines_decide() {
    for (line, expected) in [
        ("HTTP/1.1 200 \r\n", "200 Accepted"),
        ("HTTP/1.1 200\r\n", "200 Accepted"),
        ("HTTP/1.1 200 été \u{1F600}\r\n", "200 Accepted"),
        ("HTTP/1.0 200 OK\r\n", "200 Accepted"),
        ("HTTP/1.1 200 OK\n", "200 Accepted"),
        ("\r\nHTTP/1.1 200 OK\r\n", "200 Accepted"),
        ("HTTP/1.1 299 Last\r\n", "299 Accepted"),
        ("HTTP/1.1 300 Next\r\n", "300 Rejected"),
        ("HTTP/1.1 600 Odd\r\n", "600 Rejected"),
    ] {
        let outcome = Sender::default().against([Request, say(format!("{line}content-length: 0\r\n\r\n"))]).await;
        assert_eq!(outcome, expected, "{line:?}");
    }
}

#[tokio::test]
async fn every_status_outside_200_to_299_is_a_failed_attempt() {
    let sender = Sender::default();
    for status in 200..=999 {
        // A few of each hundred: borders, and those with a meaning of their own.
        if ![0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 25, 26, 29, 99].contains(&(status % 100)) {
            continue;
        }
        let receiver = Receiver::answering(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n")).await;
        let receipt = sender.send(&receiver.url("/")).await.unwrap();
        let expected = match status {
            200..=299 => Verdict::Accepted,
            410 => Verdict::Gone,
            429 | 502 | 503 | 504 => Verdict::Overloaded,
            _ => Verdict::Rejected,
        };
        assert_eq!((receipt.verdict, receipt.code), (expected, status.to_string()));
    }
}

#[tokio::test]
async fn switching_protocols_is_a_refusal_and_ends_the_connection() {
    for upgrade in ["upgrade: websocket\r\nconnection: upgrade\r\n", "upgrade: h2c\r\nconnection: upgrade\r\n", ""] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\nHTTP/1.1 200 OK\r\n\r\n");
        let receiver = Receiver::scripted([Request, say(answer), Hold]).await;
        let sender = Sender::default();
        for _ in 0..2 {
            assert_eq!(sender.outcome(&receiver.url("/")).await, "101 Rejected");
        }
        assert_eq!(receiver.connections(), 2);
        sender.all_closed().await;
    }
}

#[tokio::test]
async fn interim_answers_of_every_kind_are_passed_over() {
    for code in [100, 102, 103, 104, 150, 199] {
        let interim = format!("HTTP/1.1 {code} Odd\r\nx-interim: 1\r\ncontent-length: 5\r\n\r\n").repeat(100);
        let response = recorded(format!("{interim}HTTP/1.1 201 Made\r\nx-final: 1\r\n\r\n")).await;
        assert_eq!((response.status, value(&response, "x-interim")), (201, None), "{code}");
        assert_eq!(value(&response, "x-final"), Some("1"));
    }
}

#[tokio::test]
async fn redirects_to_internal_addresses_and_in_circles_are_recorded_and_not_followed() {
    let receiver = Receiver::scripted([Request, say("")]).await;
    let own = receiver.url("/");
    for location in [
        "http://169.254.169.254/latest/meta-data/",
        "https://[fd00:ec2::254]/",
        "http://127.0.0.1:1/",
        "//localhost/",
        "/",
        "",
        "file:///etc/passwd",
        "gopher://x/",
        "not a url \u{1F600}",
        &own,
    ] {
        for code in [301, 302, 303, 307, 308] {
            let answer = format!("HTTP/1.1 {code} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            let receiver = Receiver::answering(answer).await;
            let receipt = Sender::default().send(&receiver.url("/")).await.unwrap();
            assert_eq!((receipt.verdict, receipt.code.as_str()), (Verdict::Rejected, &*code.to_string()));
            assert_eq!(value(&receipt.response.unwrap(), "location"), Some(location));
            assert_eq!(receiver.connections(), 1);
        }
    }
    assert_eq!(receiver.connections(), 0);
    // In a circle: one request for each delivery.
    let mut circle = Receiver::answering("HTTP/1.1 307 Again\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(Sender::default().outcome(&circle.url("/")).await, "307 Rejected");
    circle.next().await;
    assert!(circle.seen.try_recv().is_err());
}

#[tokio::test]
async fn demands_for_credentials_are_refusals_and_send_nothing_more() {
    for (code, header) in [(401, "www-authenticate: Basic realm=\"x\""), (407, "proxy-authenticate: Basic")] {
        let answer = format!("HTTP/1.1 {code} Who\r\n{header}\r\ncontent-length: 0\r\n\r\n");
        let mut receiver = Receiver::answering(answer).await;
        assert_eq!(Sender::default().outcome(&receiver.url("/")).await, format!("{code} Rejected"));
        assert_eq!(receiver.next().await.header("authorization"), None);
        assert!(receiver.seen.try_recv().is_err());
    }
}

#[tokio::test]
async fn headers_with_any_byte_change_nothing_about_a_success() {
    let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
    for byte in 0x80..=0xff_u8 {
        answer.extend(format!("x-{byte}: <").bytes());
        answer.extend([byte]);
        answer.extend(b">\r\n");
    }
    answer.extend(b"content-length: 2\r\n\r\nok");
    let response = recorded(answer).await;
    assert_eq!((response.status, &response.body[..]), (200, &b"ok"[..]));
    assert_eq!(response.headers.len(), 128);
    for byte in 0x80..0xff_u8 {
        assert_eq!(value(&response, &format!("x-{byte}")), Some("<\u{fffd}>"));
    }
}

#[tokio::test]
async fn headers_that_cannot_be_read_are_left_out_and_the_others_kept() {
    for odd in [
        &b": no name"[..],
        b"no colon",
        b"sp ace: x",
        b"x\x80: name",
        b"x-del: a\x7fb",
        b"x-bell: a\x07b",
        b"@: at",
        b"(c): x",
        b"\xff\xfe",
    ] {
        let answer =
            [b"HTTP/1.1 200 OK\r\nx-first: 1\r\n", odd, b"\r\nx-last: 2\r\ncontent-length: 2\r\n\r\nok"].concat();
        let response = recorded(answer).await;
        let shown = String::from_utf8_lossy(odd);
        assert_eq!((value(&response, "x-first"), value(&response, "x-last")), (Some("1"), Some("2")), "{shown:?}");
        assert_eq!((&response.body[..], response.headers.len()), (&b"ok"[..], 3), "{shown:?}");
    }
    let response =
        recorded("HTTP/1.1 200 OK\r\nx-empty:\r\nx-blank:   \t\r\nx-fold: a\r\n b\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!((value(&response, "x-empty"), value(&response, "x-blank")), (Some(""), Some("")));
    assert!(value(&response, "x-fold").unwrap().starts_with('a'));
}

#[tokio::test]
async fn answers_whose_framing_cannot_be_trusted_are_protocol_errors() {
    for head in [
        // RFC 9110 wants a NUL refused, since it can hide what follows.
        "x: a\0b\r\ncontent-length: 0",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 6",
        "content-length: -1",
        "content-length: five",
        "content-length: 99999999999999999999999999",
        "content-length: +5",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nhello");
        assert_eq!(Sender::default().against([Request, say(answer)]).await, "protocol_error seen", "{head}");
    }
}

#[tokio::test]
async fn hundreds_of_cookies_are_counted_out_and_masked() {
    let cookies = (0..300).fold(String::new(), |mut text, number| {
        let _ = write!(text, "set-cookie: sid{number}=canary\r\n");
        text
    });
    let response = recorded(format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{cookies}\r\nok")).await;
    assert_eq!((response.headers.len(), &response.body[..]), (128, &b"ok"[..]));
    let shown: Vec<_> = response.headers.iter().filter(|(name, _)| name == "set-cookie").collect();
    assert!(shown.len() == 127 && shown.iter().all(|(_, value)| value == MASK));
}

#[tokio::test]
async fn as_many_headers_as_are_allowed_pass_and_one_more_does_not() {
    for (count, expected) in [(1023, "200 Accepted"), (1024, "protocol_error seen")] {
        let headers = "x: a\r\n".repeat(count);
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n");
        assert_eq!(Sender::default().against([Request, say(answer)]).await, expected, "{count}");
    }
}

#[tokio::test]
async fn bodies_are_kept_as_bytes_whatever_they_are() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89".to_vec();
    let every: Vec<u8> = (0..=255).collect();
    for (kind, body) in [
        ("application/json", b"\xff\xfe\x00\xc3\x28".to_vec()),
        ("text/plain", vec![0; 1000]),
        ("image/png", png),
        ("text/plain; charset=iso-8859-1", b"\xe9t\xe9".to_vec()),
        ("application/json", every),
        ("text/html", b"<script>alert(1)</script>".to_vec()),
        ("application/json", b"HTTP/1.1 500 Broken\r\n\r\n".to_vec()),
    ] {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend(&body);
        let response = recorded(answer).await;
        assert_eq!((response.status, response.truncated), (200, false));
        assert_eq!(&response.body[..], &body);
    }
}

#[tokio::test]
async fn a_compressed_body_is_never_inflated() {
    // The start of a gzip stream of zeros; and one that is only named so.
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xed\xc1\x01\x0d\0\0\0\xc2\xa0\xf7Om\x0e7\xa0\0\0\0\0\0\0\0\0".to_vec();
    for (coding, body) in [("gzip", gzip), ("br", vec![0; 9]), ("gzip, gzip, deflate", b"none of them".to_vec())] {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n", body.len())
                .into_bytes();
        answer.extend(&body);
        let mut receiver = Receiver::answering(answer).await;
        let response = Sender::default().send(&receiver.url("/")).await.unwrap().response.unwrap();
        assert_eq!((&response.body[..], response.truncated), (&body[..], false));
        assert_eq!(value(&response, "content-encoding"), Some(coding));
        assert_eq!(receiver.next().await.header("accept-encoding"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_gigabytes_at_full_speed_are_cut_at_the_default_cap_well_before_the_deadline() {
    let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
    for head in ["transfer-encoding: chunked\r\n\r\n", "content-length: 5368709120\r\n\r\n", "\r\n"] {
        let sender = Sender::default();
        let steps = [Request, say(format!("HTTP/1.1 200 OK\r\n{head}")), Flood(chunk.clone())];
        let receiver = Receiver::scripted(steps).await;
        let long = Message { timeout: std::time::Duration::from_secs(3), ..message("{}") };
        let start = std::time::Instant::now();
        let receipt = sender.send_message(&receiver.url("/"), long.clone()).await.unwrap();
        assert!(start.elapsed() < long.timeout / 2);
        let response = receipt.response.unwrap();
        assert_eq!((receipt.verdict, response.body.len(), response.truncated), (Verdict::Accepted, 131_072, true));
        sender.all_closed().await;
    }
}
