//! Webhooks over TLS and HTTP/2, with an authority of the test's own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod webhook_support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outpost_core::{ErrorClass, Transport, Verdict, Verifier};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use webhook_support::tls::{acceptor, authority, trusting};
use webhook_support::*;

/// What a server has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    h2: AtomicUsize,
}

async fn answer(seen: Arc<Seen>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    seen.requests.fetch_add(1, Ordering::SeqCst);
    seen.h2.fetch_add(usize::from(request.version() == Version::HTTP_2), Ordering::SeqCst);
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let verified = Verifier::new(SECRET).unwrap().verify_request(&parts.headers, &body, now());
    let text =
        format!("{verified:?} {} {}", parts.uri.path_and_query().unwrap(), parts.headers.contains_key("connection"));
    Ok(Response::new(Full::new(Bytes::from(text))))
}

async fn serve(acceptor: TlsAcceptor) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let counts = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counts.connections.fetch_add(1, Ordering::SeqCst);
            let (acceptor, counts) = (acceptor.clone(), Arc::clone(&counts));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let service = service_fn(move |request| answer(Arc::clone(&counts), request));
                if h2 {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn an_added_root_is_trusted_by_der_and_by_pem() {
    let authority = authority("ours");
    let (address, seen) = serve(acceptor(&authority, "127.0.0.1", false, &[])).await;
    for builder in [trusting(&authority), local().root_pem(authority.pem().as_bytes())] {
        let transport = builder.build().unwrap();
        for _ in 0..3 {
            let receipt = deliver(&transport, &format!("https://{address}/a?b=%20")).await.unwrap();
            assert_eq!(receipt.verdict, Verdict::Accepted);
            assert_eq!(&receipt.response.unwrap().body[..], b"Ok(()) /a?b=%20 false");
        }
    }
    assert_eq!((seen.connections.load(Ordering::SeqCst), seen.h2.load(Ordering::SeqCst)), (2, 0));
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_refused_and_the_reason_is_named() {
    let ours = authority("ours");
    let foreign = authority("foreign");
    for (acceptor, reason) in [
        (acceptor(&foreign, "127.0.0.1", false, &[]), "unknown issuer"),
        (acceptor(&ours, "other.example", false, &[]), "another name"),
        (acceptor(&ours, "127.0.0.1", true, &[]), "expired"),
    ] {
        let (address, seen) = serve(acceptor).await;
        let error = deliver(&trusting(&ours).build().unwrap(), &format!("https://{address}/")).await.unwrap_err();
        assert_eq!((error.error.class, error.error.maybe_seen), (ErrorClass::Tls, false), "{error:?}");
        assert!(error.error.message.contains(reason) && error.error.detail.contains(reason), "{error:?}");
        assert_eq!(seen.requests.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_receiver_without_tls_or_that_hangs_up_within_the_handshake_is_a_tls_error() {
    let plain = Receiver::answering(OK).await;
    let closing = Receiver::start(|_, _, _| async {}).await;
    let transport = local().build().unwrap();
    let speaking = Receiver::start(|mut stream, _, _| async move {
        use tokio::io::AsyncWriteExt as _;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    for address in [closing.address, speaking.address] {
        let error = deliver(&transport, &format!("https://{address}/")).await.unwrap_err().error;
        assert_eq!((error.class, error.maybe_seen), (ErrorClass::Tls, false), "{error:?}");
    }
    // It waits for more of what it takes for a request.
    let short = Duration::from_millis(200);
    let error = deliver_within(&transport, &format!("https://{}/", plain.address), short).await.unwrap_err().error;
    assert_eq!((error.class, error.maybe_seen), (ErrorClass::Timeout, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_used_where_offered_and_shares_one_connection() {
    let authority = authority("ours");
    let (address, seen) = serve(acceptor(&authority, "127.0.0.1", false, &["h2", "http/1.1"])).await;
    let transport = trusting(&authority).build().unwrap();
    let url = format!("https://{address}/a/../b?c=%7E");
    let first = deliver(&transport, &url).await.unwrap();
    assert_eq!(&first.response.unwrap().body[..], b"Ok(()) /a/../b?c=%7E false");
    let many: Vec<_> = (0..50)
        .map(|_| {
            let (transport, url) = (transport.clone(), url.clone());
            tokio::spawn(async move { deliver(&transport, &url).await.unwrap().verdict })
        })
        .collect();
    for one in many {
        assert_eq!(one.await.unwrap(), Verdict::Accepted);
    }
    assert_eq!((seen.h2.load(Ordering::SeqCst), seen.connections.load(Ordering::SeqCst)), (51, 1));
}

#[tokio::test]
async fn large_bodies_pass_over_http2() {
    let authority = authority("ours");
    let (address, _) = serve(acceptor(&authority, "127.0.0.1", false, &["h2"])).await;
    let transport = trusting(&authority).build().unwrap();
    let target = target(&transport, &format!("https://{address}/"));
    let data = format!("\"{}\"", "é👩‍👧".repeat(100_000));
    let receipt = transport.deliver(&target, &message(data)).await.unwrap();
    assert!(receipt.response.unwrap().body.starts_with(b"Ok(())"));
}

#[tokio::test]
async fn http2_connections_that_the_receiver_ended_are_no_failed_attempt() {
    let authority = authority("ours");
    let acceptor = acceptor(&authority, "127.0.0.1", false, &["h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Each connection says goodbye as soon as it has taken one request.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let goodbye = Arc::new(tokio::sync::Notify::new());
                let asked = Arc::clone(&goodbye);
                let service = service_fn(move |request| {
                    asked.notify_one();
                    answer(Arc::default(), request)
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
                tokio::select! {
                    _ = connection.as_mut() => {}
                    () = goodbye.notified() => {
                        connection.as_mut().graceful_shutdown();
                        let _ = connection.await;
                    }
                }
            });
        }
    });
    let transport = trusting(&authority).build().unwrap();
    for round in 0..20 {
        let receipt = deliver(&transport, &format!("https://{address}/")).await.unwrap();
        assert_eq!(receipt.verdict, Verdict::Accepted, "{round}");
    }
}

#[tokio::test]
async fn a_refused_http2_stream_is_sent_once_more_on_a_new_connection() {
    let authority = authority("ours");
    let acceptor = acceptor(&authority, "127.0.0.1", false, &["h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut streams) = tokio::sync::mpsc::unbounded_channel();
    // Each connection takes one request and refuses the others unread.
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(acceptor.accept(stream).await.unwrap()).await.unwrap();
                let mut first = true;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    sender.send((number, first)).unwrap();
                    if first {
                        respond.send_response(Response::new(()), true).unwrap();
                    } else {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                    }
                    first = false;
                }
            });
        }
    });
    let transport = trusting(&authority).build().unwrap();
    for _ in 0..2 {
        assert_eq!(deliver(&transport, &format!("https://{address}/")).await.unwrap().code, "200");
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(streams.recv().await.unwrap());
    }
    assert_eq!(seen, [(0, true), (0, false), (1, true)]);
}

#[tokio::test]
async fn a_stalled_handshake_ends_at_the_deadline() {
    let stalled = Receiver::start(|stream, _, _| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let short = Duration::from_millis(200);
    let transport = local().build().unwrap();
    let error = deliver_within(&transport, &format!("https://{}/", stalled.address), short).await.unwrap_err().error;
    assert_eq!((error.class, error.maybe_seen), (ErrorClass::Timeout, false));
}
