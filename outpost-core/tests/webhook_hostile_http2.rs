//! Receivers that break the rules of HTTP/2, or keep to them in bad faith, written frame by frame.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use outpost_core::{Message, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use webhook_support::hostile::Step::{Again, Byte, Flood, Hold, Request, Reset};
use webhook_support::hostile::frames::{data, go_away, literal, ok, ping, reset, settings};
use webhook_support::hostile::*;
use webhook_support::tls::{acceptor, authority, trusting};
use webhook_support::*;

/// Delivers over HTTP/2 to a receiver that plays the script on every connection.
async fn against(steps: Vec<Step>) -> (String, usize) {
    let ours = authority("ours");
    let sender = Sender::new(trusting(&ours));
    let receiver = Receiver::scripted_tls(acceptor(&ours, "127.0.0.1", false, &["h2"]), steps).await;
    (sender.outcome(&receiver.secure()).await, receiver.connections())
}

async fn check(cases: impl IntoIterator<Item = (Vec<Step>, &'static str)>) {
    for (steps, expected) in cases {
        let shown: String = format!("{steps:?}").chars().take(300).collect();
        assert_eq!(against(steps).await.0, expected, "{shown}");
    }
}

/// Settings, then these frames.
fn answer(frames: &[Vec<u8>]) -> Step {
    say([settings(), frames.concat()].concat())
}

/// A block of headers on the request's stream.
fn headers(block: &[u8], end: bool) -> Vec<u8> {
    frame(1, 4 | u8::from(end), 1, block)
}

#[tokio::test]
async fn good_answers_pass_so_that_the_bad_ones_below_fail_for_their_own_reason() {
    check([
        (vec![Request, answer(&[ok(true)]), Hold], "200 Accepted"),
        (vec![Request, answer(&[ok(false), data(b"ok", true)]), Hold], "200 Accepted"),
        (vec![Request, answer(&[ping(), ok(false), data(b"", false), data(b"ok", true)]), Hold], "200 Accepted"),
        (vec![Request, answer(&[headers(&literal(":status", b"503"), true)]), Hold], "503 Overloaded"),
        // Interim answers, and a goodbye that lets the stream end.
        (vec![Request, answer(&[headers(&literal(":status", b"103"), false), ok(true)]), Hold], "200 Accepted"),
        (vec![Request, answer(&[go_away(1, 0), ok(true)]), Hold], "200 Accepted"),
    ])
    .await;
}

#[tokio::test]
async fn a_stall_anywhere_ends_at_the_deadline() {
    let no_window = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let no_streams = frame(4, 0, 0, &[0, 3, 0, 0, 0, 0]);
    check([
        (vec![Hold], "timeout seen"),
        (vec![say(settings()), Hold], "timeout seen"),
        (vec![Request, answer(&[]), Hold], "timeout seen"),
        // A window or a number of streams that is never opened.
        (vec![say(no_window), Hold], "timeout seen"),
        (vec![say(no_streams), Hold], "timeout seen"),
        // Half a frame; a block of headers without its end; an interim answer alone.
        (vec![Request, say(&settings()[..5]), Hold], "timeout seen"),
        (vec![Request, answer(&[frame(1, 0, 1, &[0x88])]), Hold], "timeout seen"),
        (vec![Request, answer(&[headers(&literal(":status", b"100"), false)]), Hold], "timeout seen"),
        (vec![Request, answer(&[go_away(1, 0)]), Hold], "timeout seen"),
        // The status is known.
        (vec![Request, answer(&[ok(false)]), Hold], "200 Accepted cut"),
        (vec![Request, answer(&[ok(false), data(b"part", false)]), Hold], "200 Accepted cut"),
        (vec![Request, Step::Drip([settings(), ok(false), vec![0; 999]].concat())], "timeout seen"),
    ])
    .await;
}

#[tokio::test]
async fn a_connection_that_stalled_once_is_not_used_again() {
    let ours = authority("ours");
    let acceptor = acceptor(&ours, "127.0.0.1", false, &["h2"]);
    let receiver = Receiver::start(move |stream, number, _| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let answer = if number == 0 { settings() } else { [settings(), ok(true)].concat() };
            stream.write_all(&answer).await.unwrap();
            stream.flush().await.unwrap();
            let mut sink = [0; 1024];
            while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        }
    })
    .await;
    let sender = Sender::new(trusting(&ours));
    assert_eq!(sender.outcome(&receiver.secure()).await, "timeout seen");
    assert_ne!(sender.outcome(&receiver.secure()).await, "timeout seen");
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn resets_of_the_stream_are_resets_until_the_status_is_known() {
    for reason in (0..=14).chain([0xffff_ffff]) {
        let (outcome, connections) = against(vec![Request, answer(&[reset(reason)]), Hold]).await;
        assert_eq!(outcome, "connection_reset seen", "{reason}");
        // Only a stream that was refused unread is sent once more.
        assert_eq!(connections, if reason == 7 { 2 } else { 1 }, "{reason}");
        let length = [&[0x88][..], &literal("content-length", b"9")].concat();
        let part = [headers(&length, false), data(b"part", false), reset(reason)];
        let (outcome, connections) = against(vec![Request, answer(&part), Hold]).await;
        assert_eq!((outcome.as_str(), connections), ("200 Accepted cut", 1), "{reason}");
    }
}

#[tokio::test]
async fn goodbyes_are_resets_and_only_an_orderly_one_is_tried_anew() {
    for (steps, connections) in [
        // Before and after the request; the last stream is below ours.
        (vec![Request, answer(&[go_away(0, 0)]), Hold], 2),
        (vec![Request, answer(&[go_away(0, 0)])], 2),
        (vec![Request, answer(&[go_away(0, 11)]), Hold], 1),
        (vec![Request, answer(&[go_away(0, 2)])], 1),
        (vec![Request, answer(&[go_away(1, 2)])], 1),
        // It had our stream, then closed: it may have acted.
        (vec![Request, answer(&[go_away(1, 0)])], 1),
        (vec![Request, answer(&[])], 1),
        (vec![Request, answer(&[]), Reset], 1),
    ] {
        let (outcome, opened) = against(steps.clone()).await;
        assert_eq!((outcome.as_str(), opened), ("connection_reset seen", connections), "{steps:?}");
    }
    for steps in [vec![say([settings(), go_away(0, 0)].concat()), Hold], vec![say(settings())], vec![]] {
        let (outcome, opened) = against(steps.clone()).await;
        assert!(outcome.starts_with("connection_reset "), "{outcome} {steps:?}");
        assert!(opened <= 2, "{opened} {steps:?}");
    }
}

#[tokio::test]
async fn broken_frames_are_protocol_errors() {
    for (name, frames) in [
        ("HTTP/1.1", OK.to_vec()),
        ("garbage", vec![0xff; 64]),
        ("data before headers", data(b"x", true)),
        ("a stream that was never opened", frame(1, 5, 3, &[0x88])),
        ("a stream of the receiver's own", frame(1, 5, 2, &[0x88])),
        ("a promise, which the sender switched off", frame(5, 4, 1, &[0, 0, 0, 2, 0x82])),
        ("a frame above the agreed size", frame(0, 0, 1, &[0; 17_000])),
        ("a ping of a wrong size", frame(6, 0, 0, &[0; 7])),
        ("a continuation of nothing", frame(9, 4, 1, &[0x88])),
        ("a window of zero", frame(8, 0, 0, &[0; 4])),
        ("a window that overflows", frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("settings of a wrong size", frame(4, 0, 0, &[0; 5])),
        ("settings out of range", frame(4, 0, 0, &[0, 5, 0, 0, 0, 1])),
        ("headers on stream 0", frame(1, 5, 0, &[0x88])),
        ("an index that is not in the table", headers(&[0xfe], true)),
        ("broken compression", headers(&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], true)),
        ("more padding than frame", frame(1, 0xd, 1, &[200, 0x88])),
        ("no status", headers(&literal("x", b"y"), true)),
        ("an empty status", headers(&literal(":status", b""), true)),
        ("status 099", headers(&literal(":status", b"099"), true)),
        ("status 1000", headers(&literal(":status", b"1000"), true)),
        ("two statuses", headers(&[0x88, 0x88], true)),
        ("a status after a header", headers(&[&literal("x", b"y")[..], &[0x88]].concat(), true)),
        ("a name in capitals", headers(&[&[0x88][..], &literal("X", b"y")].concat(), true)),
        ("a NUL in a value", headers(&[&[0x88][..], &literal("x", b"a\0b")].concat(), true)),
        ("a connection header", headers(&[&[0x88][..], &literal("connection", b"close")].concat(), true)),
    ] {
        let (outcome, connections) = against(vec![Request, say([settings(), frames].concat()), Hold]).await;
        assert_eq!((outcome.as_str(), connections), ("protocol_error seen", 1), "{name}");
    }
    // Instead of settings.
    for first in [OK.to_vec(), vec![0xff; 64]] {
        let (outcome, _) = against(vec![Byte, say(first.clone()), Hold]).await;
        assert_eq!(outcome, "protocol_error seen", "{first:?}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_keep_to_its_length_leaves_the_status_s_verdict() {
    let length = |length: &[u8]| headers(&[&[0x88][..], &literal("content-length", length)].concat(), false);
    check([
        (vec![Request, answer(&[length(b"9"), data(b"part", true)]), Hold], "200 Accepted cut"),
        (vec![Request, answer(&[length(b"2"), data(b"more", true)]), Hold], "200 Accepted cut"),
        (vec![Request, answer(&[ok(false), data(b"part", false), vec![0xff; 64]]), Hold], "200 Accepted cut"),
        (vec![Request, answer(&[ok(false), data(b"part", false), go_away(1, 2)])], "200 Accepted cut"),
        (vec![Request, answer(&[ok(false), data(b"part", false)])], "200 Accepted cut"),
        (vec![Request, answer(&[ok(false), data(b"part", false), headers(&literal("x", b"y"), true)])], "200 Accepted"),
    ])
    .await;
}

#[tokio::test]
async fn header_lists_without_measure_are_protocol_errors() {
    let part = literal("x-long", &[b'a'; 120]).repeat(100);
    let more = |flags| frame(9, flags, 1, &part);
    // 100 blocks of 12 KB; and 20 KB of bytes that stand for 4 KB each.
    let plain = [frame(1, 1, 1, &[&[0x88][..], &part].concat()), more(0).repeat(100), more(4)].concat();
    let entry = [&[0x88, 0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'a'; 4000]].concat();
    let bomb = [frame(1, 1, 1, &entry), frame(9, 4, 1, &[0xbe; 16_000])].concat();
    let many = [frame(1, 1, 1, &[&[0x88][..], &[0x89; 16_000]].concat()), frame(9, 4, 1, &[0x90; 16_000])].concat();
    for frames in [plain, bomb, many] {
        let (outcome, _) = against(vec![Request, say([settings(), frames].concat()), Hold]).await;
        assert_eq!(outcome, "protocol_error seen");
    }
    let flood = vec![Request, answer(&[frame(1, 1, 1, &[0x88])]), Flood(more(0).repeat(10))];
    assert_eq!(against(flood).await.0, "protocol_error seen");
    let empty = vec![Request, answer(&[frame(1, 1, 1, &[0x88])]), Flood(frame(9, 0, 1, &[]).repeat(1000))];
    assert_eq!(against(empty).await.0, "protocol_error seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_small_frames_end_at_a_bound_or_at_the_deadline() {
    let interim = headers(&literal(":status", b"103"), false);
    for (name, first, flood, expected) in [
        ("pings", vec![], ping(), &["timeout seen", "protocol_error seen"][..]),
        ("settings", vec![], settings(), &["timeout seen", "protocol_error seen"]),
        ("interim answers", vec![], interim, &["timeout seen", "protocol_error seen"]),
        ("windows", vec![], frame(8, 0, 1, &[0, 0, 0, 1]), &["timeout seen", "protocol_error seen"]),
        ("unknown frames", vec![], frame(0xee, 0, 0, &[0; 8]), &["timeout seen", "protocol_error seen"]),
        ("empty data", ok(false), data(b"", false), &["200 Accepted cut"]),
        ("padding", ok(false), frame(0, 8, 1, &[8; 9]), &["200 Accepted cut"]),
        ("data", ok(false), data(&[b'x'; 16_384], false), &["200 Accepted cut"]),
    ] {
        let many = flood.repeat(65_536 / flood.len());
        let (outcome, _) = against(vec![Request, answer(&[first]), Flood(many)]).await;
        assert!(expected.contains(&&*outcome), "{name}: {outcome}");
    }
}

#[tokio::test]
async fn a_body_above_the_cap_costs_its_stream_and_not_the_connection() {
    let ours = authority("ours");
    let listener = acceptor(&ours, "127.0.0.1", false, &["h2"]);
    let receiver = Receiver::start(move |stream, _, _| {
        let listener = listener.clone();
        async move {
            let mut connection = h2::server::handshake(listener.accept(stream).await.unwrap()).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                let _ = body.send_data(vec![b'x'; 300_000].into(), true);
            }
        }
    })
    .await;
    let sender = Sender::new(trusting(&ours));
    for _ in 0..5 {
        let within = Message { timeout: std::time::Duration::from_secs(3), ..message("{}") };
        let receipt = sender.send_message(&receiver.secure(), within).await.unwrap();
        let response = receipt.response.unwrap();
        assert_eq!((receipt.verdict, response.body.len(), response.truncated), (Verdict::Accepted, 131_072, true));
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn kept_connections_of_http2_serve_on_after_odd_answers() {
    let ours = authority("ours");
    // Streams are numbered 1, 3, 5: the script's answers fit the first only.
    let steps = vec![Request, answer(&[ok(true)]), Request, answer(&[frame(3, 0, 3, &8_u32.to_be_bytes())]), Again];
    let receiver = Receiver::scripted_tls(acceptor(&ours, "127.0.0.1", false, &["h2"]), steps).await;
    let sender = Sender::new(trusting(&ours));
    assert_eq!(sender.outcome(&receiver.secure()).await, "200 Accepted");
    assert_eq!(sender.outcome(&receiver.secure()).await, "connection_reset seen");
    assert_eq!(receiver.connections(), 1);
}
