//! What kind of failure an error is, by its type, and what to say about it.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};

use crate::domain::attempt::ErrorClass;
use crate::domain::egress::TENANT_MESSAGE;

/// A failure, with one text for the tenant and one for the operator.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    pub(super) message: &'static str,
    pub(super) detail: String,
    /// The receiver told that it did not look at the request.
    pub(super) unprocessed: bool,
}

impl Failure {
    pub(super) fn new(class: ErrorClass, detail: impl Into<String>) -> Self {
        Self { class, message: tenant_message(class), detail: detail.into(), unprocessed: false }
    }

    fn tls(error: &rustls::Error) -> Self {
        let message = tls_message(error);
        Self { class: ErrorClass::Tls, message, detail: format!("{message}: {error}"), unprocessed: false }
    }

    pub(super) fn io(error: &io::Error) -> Self {
        if let Some(inner) = error.get_ref()
            && let Some(found) = known(inner)
        {
            return found;
        }
        Self::new(io_class(error), error.to_string())
    }

    /// Finds the first error of a known type in a chain.
    pub(super) fn classify(error: &(dyn StdError + 'static)) -> Self {
        let mut next = Some(error);
        let mut text = Vec::new();
        let mut http: Option<ErrorClass> = None;
        while let Some(error) = next {
            if let Some(found) = known(error) {
                return found;
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                http = http.or_else(|| http_class(error));
            }
            text.push(error.to_string());
            next = error.source();
        }
        Self::new(http.unwrap_or(ErrorClass::Network), text.join(": "))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.detail)
    }
}

impl StdError for Failure {}

fn known(error: &(dyn StdError + 'static)) -> Option<Failure> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.clone());
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(Failure::tls(error));
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(Failure::io(error));
    }
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        if let Some(io) = error.get_io() {
            return Some(Failure::io(io));
        }
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let going = error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
        // What is not from the receiver is our side's own judgement over what the receiver had sent.
        let class = if error.is_remote() { ErrorClass::Reset } else { ErrorClass::Protocol };
        let mut failure = Failure::new(class, error.to_string());
        failure.unprocessed = refused || going;
        return Some(failure);
    }
    None
}

fn http_class(error: &hyper::Error) -> Option<ErrorClass> {
    if error.is_parse() {
        Some(ErrorClass::Protocol)
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() || error.is_body_write_aborted()
    {
        Some(ErrorClass::Reset)
    } else if error.is_timeout() {
        Some(ErrorClass::Timeout)
    } else if error.is_user() {
        // Such as when the application's runtime shuts down under the connection.
        Some(ErrorClass::System)
    } else {
        None
    }
}

fn io_class(error: &io::Error) -> ErrorClass {
    use io::ErrorKind;
    // No free file handles, in this process or on this machine; there is no stable kind for it.
    #[cfg(unix)]
    let exhausted = matches!(error.raw_os_error(), Some(23 | 24));
    #[cfg(not(unix))]
    let exhausted = matches!(error.raw_os_error(), Some(10024));
    if exhausted {
        return ErrorClass::System;
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => ErrorClass::Refused,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::NotConnected
        | ErrorKind::WriteZero
        | ErrorKind::UnexpectedEof => ErrorClass::Reset,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => ErrorClass::Unreachable,
        ErrorKind::TimedOut => ErrorClass::Timeout,
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse | ErrorKind::OutOfMemory => ErrorClass::System,
        _ => ErrorClass::Network,
    }
}

const fn tls_message(error: &rustls::Error) -> &'static str {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(certificate) => certificate_message(certificate),
        Error::NoCertificatesPresented => "the receiver presented no certificate",
        Error::PeerIncompatible(_)
        | Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity) => {
            "the receiver speaks no version or cipher of TLS that is secure enough"
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => "the receiver demands a client certificate",
        Error::AlertReceived(AlertDescription::UnrecognisedName) => "the receiver does not serve the URL's host name",
        Error::AlertReceived(_) => "the receiver broke off the secure connection",
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => "the receiver's answer was not proper TLS",
        _ => tenant_message(ErrorClass::Tls),
    }
}

const fn certificate_message(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => "the receiver's certificate comes from an unknown issuer",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the receiver's certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the receiver's certificate is not valid yet"
        }
        CertificateError::Revoked => "the receiver's certificate has been revoked",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the receiver's certificate is for another name"
        }
        _ => "the receiver's certificate is not valid",
    }
}

/// What a tenant is told: enough to act on, nothing about the operator's network.
const fn tenant_message(class: ErrorClass) -> &'static str {
    match class {
        // The same text for all: which of them it is would tell what exists in the operator's network.
        ErrorClass::Blocked | ErrorClass::Dns => TENANT_MESSAGE,
        ErrorClass::Refused => "the receiver refused the connection",
        ErrorClass::Reset => "the receiver closed the connection before it had answered",
        ErrorClass::Unreachable => "the receiver cannot be reached",
        ErrorClass::Timeout => "the receiver did not answer in time",
        ErrorClass::Tls => "a secure connection to the receiver could not be made",
        ErrorClass::Protocol => "the receiver's answer was not proper HTTP",
        ErrorClass::Request => "the request could not be built from the destination's settings",
        ErrorClass::System => "the sender had a temporary problem of its own",
        _ => "the receiver could not be reached because of a network problem",
    }
}
