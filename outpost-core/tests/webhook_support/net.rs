//! A network that the test holds.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use outpost_core::{Dialer, Io, Resolver};
use tokio::io::AsyncWriteExt as _;

use super::{OK, Seen, read_request};

/// Gives one prepared answer after the other; the last one for ever.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<VecDeque<Vec<IpAddr>>>>);

impl Names {
    pub fn new(answers: &[&[&str]]) -> Self {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Self(Arc::new(Mutex::new(answers.iter().map(parse).collect())))
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        answer.ok_or_else(|| io::Error::other("no answer"))
    }
}

/// Opens streams in memory to a receiver that answers 200; remembers what it was asked for.
#[derive(Clone, Default)]
pub struct Memory {
    pub dialed: Arc<Mutex<Vec<SocketAddr>>>,
    /// The requests that came.
    pub seen: Arc<Mutex<Vec<Seen>>>,
    /// How dialing these addresses fails.
    pub broken: Vec<(IpAddr, i32)>,
    /// Dialing this address never ends.
    pub silent: Option<IpAddr>,
}

impl Memory {
    pub fn dialed(&self) -> Vec<String> {
        self.dialed.lock().unwrap().iter().map(SocketAddr::to_string).collect()
    }
}

#[async_trait]
impl Dialer for Memory {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
        self.dialed.lock().unwrap().push(address);
        if let Some((_, code)) = self.broken.iter().find(|(broken, _)| *broken == address.ip()) {
            return Err(io::Error::from_raw_os_error(*code));
        }
        if self.silent == Some(address.ip()) {
            std::future::pending::<()>().await;
        }
        let (near, mut far) = tokio::io::duplex(65536);
        let seen = Arc::clone(&self.seen);
        tokio::spawn(async move {
            while let Some(request) = read_request(&mut far, 0).await {
                seen.lock().unwrap().push(request);
                far.write_all(OK).await.unwrap();
            }
        });
        Ok(Box::new(near))
    }
}
