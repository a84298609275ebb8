//! How an attempt ended, in words, and what its receiver can do about it. One place, so that every page says the same.

use std::time::Duration;

use outpost_core::{AttemptError, ErrorClass, Outcome};

use crate::cx::Cx;
use crate::time::span;
use crate::view::code::one_line;

/// What happened, as one sentence. `status` is that of the answer, if there was one; `duration` is how long the
/// exchange took.
pub(crate) fn sentence(
    cx: &Cx<'_>,
    outcome: &Outcome,
    error: Option<&AttemptError>,
    status: Option<u16>,
    duration: Duration,
) -> String {
    if let Some(error) = error {
        return failure(cx, error, duration);
    }
    match status {
        Some(status) if outcome.success => cx.f("The receiver accepted it with {status}.", &[("status", &status)]),
        Some(status @ 300..=399) => {
            cx.f("The receiver answered {status}. Redirects are not followed.", &[("status", &status)])
        }
        Some(410) => cx.t("The receiver answered 410 Gone: it wants no more events.").into_owned(),
        Some(429) => cx.t("The receiver answered 429: too many requests.").into_owned(),
        Some(status @ (502..=504)) => {
            cx.f("The receiver answered {status}: it is overloaded or down.", &[("status", &status)])
        }
        Some(status @ 400..=499) => cx.f("The receiver refused it with {status}.", &[("status", &status)]),
        Some(status @ 500..=599) => cx.f("The receiver failed with {status}.", &[("status", &status)]),
        Some(status) => cx.f("The receiver answered {status}, which is not from 200 to 299.", &[("status", &status)]),
        None if outcome.success => cx.t("The receiver accepted it.").into_owned(),
        None => cx.f("It failed: {code}.", &[("code", &one_line(&outcome.code))]),
    }
}

fn failure(cx: &Cx<'_>, error: &AttemptError, duration: Duration) -> String {
    let say = |text| cx.t(text).into_owned();
    match error.class {
        ErrorClass::Timeout => cx.f("No answer within {time}.", &[("time", &span(duration))]),
        ErrorClass::Refused => say("Could not connect: the receiver refused the connection."),
        ErrorClass::Reset => say("The receiver closed the connection before it had answered."),
        ErrorClass::Unreachable => say("Could not connect: there is no way to the receiver."),
        // One text for both: which of them it was would tell what exists in the operator's network.
        ErrorClass::Dns | ErrorClass::Blocked => {
            say("Could not connect: the address does not exist, or events may not be sent to it.")
        }
        ErrorClass::Tls => say(tls(&error.message).unwrap_or("A secure connection to the receiver could not be made.")),
        ErrorClass::Protocol => say("What the receiver answered was not proper HTTP."),
        ErrorClass::Request => say("The request could not be made from the destination’s settings."),
        ErrorClass::System => say("It could not be sent because of a problem on our side."),
        _ => say("Could not connect: there was a problem on the network."),
    }
}

/// Our own words for what the core says of a certificate.
fn tls(message: &str) -> Option<&'static str> {
    Some(match message {
        "the receiver's certificate has expired" => "The receiver’s TLS certificate has expired.",
        "the receiver's certificate is not valid yet" => "The receiver’s TLS certificate is not valid yet.",
        "the receiver's certificate is for another name" => "The receiver’s TLS certificate is for another name.",
        "the receiver's certificate comes from an unknown issuer" => {
            "The receiver’s TLS certificate comes from an issuer that is not trusted."
        }
        "the receiver's certificate has been revoked" => "The receiver’s TLS certificate has been revoked.",
        "the receiver's certificate is not valid" => "The receiver’s TLS certificate is not valid.",
        "the receiver demands a client certificate" => "The receiver asks for a client certificate, which is not sent.",
        "the receiver speaks no version or cipher of TLS that is secure enough" => {
            "The receiver speaks no version of TLS that is secure enough."
        }
        "the receiver does not serve the URL's host name" => "The receiver does not serve the host name of the URL.",
        _ => return None,
    })
}

/// What to do about it, as one or two sentences; nothing for a success, and nothing where there is nothing to do.
pub(crate) fn hint(
    cx: &Cx<'_>,
    outcome: &Outcome,
    error: Option<&AttemptError>,
    status: Option<u16>,
) -> Option<String> {
    if outcome.success {
        return None;
    }
    let text = match (error.map(|error| error.class), status) {
        (Some(ErrorClass::Timeout), _) => "Answer 2xx at once and do the work afterwards.",
        (Some(ErrorClass::Refused), _) => "See that the receiver runs and listens on the port of the URL.",
        (Some(ErrorClass::Reset), _) => {
            "Look for a crash or a time limit in the receiver, or in a proxy before it. It may have seen the event."
        }
        (Some(ErrorClass::Unreachable | ErrorClass::Network), _) => {
            "See that the receiver can be reached from the internet. It is usually over soon."
        }
        (Some(ErrorClass::Dns | ErrorClass::Blocked), _) => {
            "Check the spelling of the host, and that it has a public address."
        }
        (Some(ErrorClass::Tls), _) => {
            "Install a current certificate for the host of the URL, with all of its intermediate certificates."
        }
        (Some(ErrorClass::Protocol), _) => {
            "See that the port of the URL speaks HTTP, and http or https as the URL says."
        }
        (Some(ErrorClass::Request), _) => "Check the URL and the headers in the destination’s settings.",
        (Some(_), _) => return None,
        (None, Some(300..=399)) => "Enter the final URL in the destination’s settings.",
        (None, Some(401 | 403 | 407)) => {
            "Check that the receiver lets the request through: the signing secret it has, and the headers it wants."
        }
        (None, Some(404)) => "Check the path of the URL in the destination’s settings.",
        (None, Some(405)) => "Events are sent with POST; let the receiver accept it at this path.",
        (None, Some(410)) => "Answer 410 only when the destination is to get no more events.",
        (None, Some(413)) => "Let the receiver, and a proxy before it, accept larger bodies.",
        (None, Some(415)) => "Let the receiver accept the content type application/json.",
        (None, Some(429)) => {
            "Answer with Retry-After to say how long to wait, or set a rate limit for the destination."
        }
        (None, Some(502..=504)) => "See that the receiver runs behind its proxy. Retry-After says how long to wait.",
        (None, Some(400..=499)) => "The answer’s body may say what the receiver did not like.",
        (None, Some(500..=599)) => "Look for an error in the log of the receiver at this time.",
        (None, _) => return None,
    };
    Some(cx.t(text).into_owned())
}
