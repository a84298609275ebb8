//! What an HTTP status means for a delivery.

use crate::ports::transport::Verdict;

/// Success is 200 to 299 and nothing else; redirects are refusals.
pub(crate) const fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Accepted,
        410 => Verdict::Gone,
        429 | 502 | 503 | 504 => Verdict::Overloaded,
        _ => Verdict::Rejected,
    }
}
