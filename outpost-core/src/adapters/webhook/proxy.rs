//! The operator's proxy: a tunnel to an address that was checked here, made with `CONNECT`.

use std::fmt;
use std::net::SocketAddr;

use ::url::Host;
use http::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::url;
use crate::ports::net::Io;
use crate::values::error::Problem;

/// The longest head of a proxy's answer that is read, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Where the proxy is. `Debug` and `Display` show host and port alone.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// `Basic …`, from the URL's user information.
    authorization: Option<HeaderValue>,
}

/// Why a tunnel could not be made.
pub(super) struct NoTunnel {
    pub(super) detail: String,
    /// It was about the target, so another of its addresses may do.
    pub(super) other_address: bool,
}

impl NoTunnel {
    fn broken(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), other_address: false }
    }
}

impl Proxy {
    /// Reads `http://user:password@host:port`. Problems never repeat the text, which may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let refuse = |message: &str| Problem::new("proxy", message);
        if !text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://")) {
            return Err(refuse("must start with http://; the tunnel itself carries TLS for https destinations"));
        }
        let endpoint = url::parse(text, false, &[]).map_err(|problem| refuse(&problem.message))?;
        if endpoint.uri.path_and_query().is_some_and(|target| target.as_str() != "/") || text.contains('#') {
            return Err(refuse("must be scheme, host and port alone"));
        }
        Ok(Self { host: endpoint.host, port: endpoint.port, authorization: endpoint.basic })
    }

    /// Asks for a tunnel to `target` over a stream to the proxy.
    pub(super) async fn tunnel(&self, mut stream: Box<dyn Io>, target: SocketAddr) -> Result<Box<dyn Io>, NoTunnel> {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        let broken = |error: std::io::Error| NoTunnel::broken(error.to_string());
        stream.write_all(&request).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= MAX_HEAD {
                return Err(NoTunnel::broken("its answer to CONNECT has no end"));
            }
            // Byte by byte, because what follows the head is the receiver's already.
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(NoTunnel::broken("it closed the connection within its answer to CONNECT"));
                }
                Err(error) => return Err(broken(error)),
            }
        }
        match status(&head) {
            Some(200..=299) => Ok(stream),
            Some(407) => Err(NoTunnel::broken("it answered CONNECT with 407: it wants a user name and a password")),
            Some(status) => {
                Err(NoTunnel { detail: format!("it answered CONNECT {target} with {status}"), other_address: true })
            }
            None => Err(NoTunnel::broken("its answer to CONNECT is not proper HTTP")),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The status of `HTTP/1.1 200 …`.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    let (digits, after) = rest.split_at_checked(3)?;
    let ended = after.first().is_some_and(|byte| matches!(byte, b' ' | b'\r'));
    let status = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    status.parse().ok().filter(|status| ended && *status >= 100)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_status_line_is_an_answer() {
        for (head, read) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 502\r\n\r\n", Some(502)),
            ("HTTP/1.1 099 x\r\n\r\n", None),
            ("HTTP/1.1 2000 x\r\n\r\n", None),
            ("HTTP/1.1 +20 x\r\n\r\n", None),
            ("HTTP/2 200 x\r\n\r\n", None),
            ("ICY 200 OK\r\n\r\n", None),
            ("\r\n\r\n", None),
        ] {
            assert_eq!(status(head.as_bytes()), read, "{head}");
        }
    }
}
