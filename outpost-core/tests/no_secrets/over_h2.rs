//! The one crate below us that logs by itself is the one for HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outpost_core::{Message, Transport as _, Verdict};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::shown::{config, credentials, delivery_metadata, event};
use crate::webhook_support::{local, message};
use crate::{CANARY, assert_hidden, log};

/// A receiver that speaks HTTP/2, and the certificate to trust.
async fn receiver() -> (SocketAddr, Vec<u8>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await.unwrap();
    });
    (address, authority.der().to_vec())
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let seen = request.headers()["x-plain"] == CANARY;
    let answer = Response::builder().status(if seen { 200 } else { 400 }).header("x-echo", CANARY);
    Ok(answer.body(Full::new(Bytes::from_static(b"canary parrot"))).unwrap())
}

#[tokio::test]
async fn http2_logs_neither_headers_nor_bodies() {
    log::catch();
    let (address, root) = receiver().await;
    let transport = local().root_der(&root).build().unwrap();
    let mut config = config();
    config.insert("url".to_owned(), format!("https://canary:canary@{address}/hooks?token=canary"));
    let target = transport.prepare(&config, &credentials(), &delivery_metadata()).unwrap();
    let message = Message { metadata: event().metadata.clone(), ..message(event().data.clone()) };
    let receipt = transport.deliver(&target, &message).await.unwrap();
    assert_eq!(receipt.verdict, Verdict::Accepted);
    assert_hidden(&receipt);
    log::assert_clean_and_with("h2::codec");
}
