//! Receivers whose TLS is broken, outdated, or none at all. No verdict but a class of its own, a reason that
//! tells what to mend, and nothing sent.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use webhook_support::hostile::Step::{Byte, Flood, Hold, Request, Reset};
use webhook_support::hostile::*;
use webhook_support::tls::{acceptor, authority, changed, demanding, trusting};
use webhook_support::*;

/// An alert that ends a handshake.
fn alert(description: u8) -> Step {
    say([0x15, 3, 3, 0, 2, 2, description])
}

/// The first answer of a server that chooses this version, with the cipher of TLS 1.0 that all had.
fn server_hello(version: [u8; 2]) -> Step {
    let mut body = vec![2, 0, 0, 38, version[0], version[1]];
    body.extend([7; 32]);
    body.extend([0, 0, 0x2f, 0]);
    let length = u8::try_from(body.len()).unwrap();
    say([&[0x16, version[0], version[1], 0, length][..], &body].concat())
}

#[tokio::test]
async fn each_failure_of_a_handshake_is_a_tls_error_with_its_reason() {
    const OLD: &str = "no version or cipher of TLS";
    const NONE: &str = "was not proper TLS";
    const BROKE: &str = "broke off the secure connection";
    const PLAIN: &str = "a secure connection to the receiver could not be made";
    for (steps, reason) in [
        // Only TLS 1.0 or 1.1 there, told by an alert or by a choice.
        (vec![Byte, alert(70), Hold], OLD),
        (vec![Byte, alert(71)], OLD),
        (vec![Byte, server_hello([3, 1]), Hold], OLD),
        (vec![Byte, server_hello([3, 2]), Hold], OLD),
        (vec![Byte, alert(112)], "does not serve the URL's host name"),
        (vec![Byte, alert(40)], BROKE),
        (vec![Byte, alert(80)], BROKE),
        (vec![Byte, alert(255)], BROKE),
        // No TLS at all.
        (vec![Byte, say("HTTP/1.1 400 Bad Request\r\n\r\n"), Hold], NONE),
        (vec![say("SSH-2.0-OpenSSH_9.2\r\n"), Hold], NONE),
        (vec![say("220 mail.example ESMTP\r\n"), Hold], NONE),
        (vec![say([0; 64]), Hold], NONE),
        (vec![say([0xff; 64]), Hold], NONE),
        (vec![Flood(vec![0x41; 65_536])], NONE),
        // A record longer than any may be; one that belongs later; a handshake message of no known kind.
        (vec![say([0x16, 3, 3, 0xff, 0xff]), Hold], NONE),
        (vec![Byte, say([0x17, 3, 3, 0, 4, 1, 2, 3, 4]), Hold], NONE),
        (vec![Byte, say([0x16, 3, 3, 0, 4, 0xfe, 0, 0, 0]), Hold], NONE),
        // Cut off.
        (vec![Byte], PLAIN),
        (vec![Byte, Reset], PLAIN),
        (vec![Byte, say([0x16, 3, 3])], PLAIN),
    ] {
        let sender = Sender::default();
        let receiver = Receiver::scripted(steps.clone()).await;
        let outcome = sender.send(&receiver.secure()).await;
        assert_eq!(summary(&outcome), "tls_error unseen", "{steps:?} {outcome:?}");
        let error = outcome.unwrap_err().error;
        assert!(error.message.contains(reason), "{steps:?} {error:?}");
        sender.all_closed().await;
    }
}

#[tokio::test]
async fn certificates_are_refused_with_their_reason() {
    let ours = authority("ours");
    let future = changed(&ours, "127.0.0.1", &[], |params| params.not_before = rcgen::date_time_ymd(2100, 1, 1));
    let misused = changed(&ours, "127.0.0.1", &[], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    for (acceptor, reason) in [
        (future, "not valid yet"),
        (misused, "is not valid"),
        (acceptor(&authority("ours"), "127.0.0.1", false, &[]), "certificate"),
        (acceptor(&ours, "127.0.0.2", false, &[]), "another name"),
        (acceptor(&ours, "localhost", false, &[]), "another name"),
        (acceptor(&authority("foreign"), "127.0.0.1", true, &["h2"]), "certificate"),
    ] {
        let sender = Sender::new(trusting(&ours));
        let receiver = Receiver::scripted_tls(acceptor, [Request, say(OK)]).await;
        let outcome = sender.send(&receiver.secure()).await;
        assert_eq!(summary(&outcome), "tls_error unseen");
        let error = outcome.unwrap_err().error;
        assert!(error.message.contains(reason), "{error:?}");
        sender.all_closed().await;
    }
}

#[tokio::test]
async fn a_receiver_that_demands_a_client_certificate_is_a_tls_error() {
    let ours = authority("ours");
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let sender = Sender::new(trusting(&ours));
        let receiver = Receiver::scripted_tls(demanding(&ours, "127.0.0.1", versions), [Request, say(OK)]).await;
        let outcome = sender.send(&receiver.secure()).await;
        // TLS 1.3 lets a request go out before the refusal comes.
        let error = &outcome.as_ref().unwrap_err().error;
        assert_eq!(error.class, outpost_core::ErrorClass::Tls, "{error:?}");
        sender.all_closed().await;
    }
}

#[tokio::test]
async fn a_plain_request_to_a_tls_port_is_a_protocol_error() {
    for answer in [vec![0x15, 3, 1, 0, 2, 2, 22], b"\x15\x03\x03\x00\x02\x02\x46".to_vec()] {
        assert_eq!(Sender::default().against([Request, say(answer)]).await, "protocol_error seen");
    }
    let receiver = Receiver::scripted_tls(acceptor(&authority("ours"), "127.0.0.1", false, &[]), []).await;
    let outcome = Sender::default().outcome(&receiver.url("/")).await;
    // Rustls sends its alert and closes with the request half read, which may reset the connection.
    assert!(["protocol_error seen", "connection_reset seen"].contains(&&*outcome), "{outcome}");
}

#[tokio::test]
async fn a_tls_connection_that_ends_without_a_goodbye_is_a_reset_until_the_status_is_known() {
    let ours = authority("ours");
    for (steps, expected) in [
        (vec![Request], "connection_reset seen"),
        (vec![Request, Reset], "connection_reset seen"),
        (vec![Request, say("HTTP/1.1 200 OK\r\n")], "connection_reset seen"),
        // Without a goodbye nobody knows whether that was all.
        (vec![Request, say("HTTP/1.1 200 OK\r\n\r\npart")], "200 Accepted cut"),
        (vec![Request, say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")], "200 Accepted cut"),
        (vec![Request, say(OK)], "200 Accepted"),
    ] {
        let sender = Sender::new(trusting(&ours));
        let receiver = Receiver::scripted_tls(acceptor(&ours, "127.0.0.1", false, &[]), steps.clone()).await;
        assert_eq!(sender.outcome(&receiver.secure()).await, expected, "{steps:?}");
        sender.all_closed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_tls_connections_that_end_while_idle_cost_no_attempt() {
    let ours = authority("ours");
    for protocols in [&[][..], &["h2"]] {
        let answer = if protocols.is_empty() { say(OK) } else { say([frames::settings(), frames::ok(true)].concat()) };
        let receiver = Receiver::scripted_tls(acceptor(&ours, "127.0.0.1", false, protocols), [Request, answer]).await;
        let sender = Sender::new(trusting(&ours));
        for round in 0..50 {
            assert_eq!(sender.outcome(&receiver.secure()).await, "200 Accepted", "{protocols:?} {round}");
        }
    }
}
