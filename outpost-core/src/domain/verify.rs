//! The receiver's side of Standard Webhooks: is this request genuine and fresh?

use std::fmt;
use std::time::Duration;

use super::signing::{KeyError, VerifyingKey};
use crate::values::time::Timestamp;

/// How far the sender's clock may differ when the caller does not say: 5 minutes either way.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// The most entries of a signature header that are looked at.
const MAX_SIGNATURES: usize = 64;

/// Checks the signatures of incoming webhooks. It wants the raw bytes of the body, before any parsing.
///
/// It does not remember ids: a receiver that must act once keeps the ids it has seen for a while itself.
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<VerifyingKey>,
    tolerance: Duration,
    prefix: String,
}

/// Why a request is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// One of the three headers is missing or not visible ASCII.
    #[error("a signature header is missing or malformed")]
    Header,
    /// The timestamp is not a whole number of seconds.
    #[error("the timestamp is not a number")]
    Timestamp,
    /// The timestamp is too far in the past.
    #[error("the timestamp is too old")]
    TooOld,
    /// The timestamp is too far in the future.
    #[error("the timestamp is in the future")]
    TooNew,
    /// No signature in the list was made with a trusted key over these bytes.
    #[error("no signature matches")]
    Signature,
}

impl Verifier {
    /// Trusts one key: `whsec_…`, or `whpk_…` for ed25519.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub fn new(key: &str) -> Result<Self, KeyError> {
        Ok(Self { keys: vec![VerifyingKey::parse(key)?], tolerance: DEFAULT_TOLERANCE, prefix: "webhook-".to_owned() })
    }

    /// Trusts one more key, such as the next or the previous one.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub fn key(mut self, key: &str) -> Result<Self, KeyError> {
        self.keys.push(VerifyingKey::parse(key)?);
        Ok(self)
    }

    /// Sets how far the signed time may be from `now`, in either direction.
    #[must_use]
    pub const fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets what the headers' names start with, `webhook-` unless the sender says otherwise.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Checks a request by its headers.
    ///
    /// # Errors
    /// Why it is not to be trusted.
    pub fn verify_request(&self, headers: &http::HeaderMap, body: &[u8], now: Timestamp) -> Result<(), VerifyError> {
        let header = |name: &str| {
            let value = headers.get(format!("{}{name}", self.prefix)).ok_or(VerifyError::Header)?;
            value.to_str().map_err(|_| VerifyError::Header)
        };
        self.verify(header("id")?, header("timestamp")?, header("signature")?, body, now)
    }

    /// Checks a request by the values of its three headers. Entries of `signatures` with an unknown version
    /// are skipped.
    ///
    /// # Errors
    /// Why it is not to be trusted.
    pub fn verify(
        &self,
        id: &str,
        timestamp: &str,
        signatures: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), VerifyError> {
        let seconds: i64 = timestamp.parse().map_err(|_| VerifyError::Timestamp)?;
        let tolerance = i64::try_from(self.tolerance.as_secs()).unwrap_or(i64::MAX);
        let age = now.as_seconds().saturating_sub(seconds);
        if age > tolerance {
            return Err(VerifyError::TooOld);
        }
        if age < tolerance.saturating_neg() {
            return Err(VerifyError::TooNew);
        }
        let genuine = signatures.split(' ').take(MAX_SIGNATURES).filter_map(|entry| entry.split_once(',')).any(
            |(version, signature)| self.keys.iter().any(|key| key.accepts(version, signature, id, timestamp, body)),
        );
        if genuine { Ok(()) } else { Err(VerifyError::Signature) }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.keys.len()).field("tolerance", &self.tolerance).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::signing::SigningKey;

    const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn any_trusted_key_will_do_and_unknown_versions_are_skipped() {
        let [old, new] = [OLD, NEW].map(|text| SigningKey::parse(text).unwrap().sign("a", 1000, b"{}"));
        let list = format!("v9,xx garbage v1a,AAAA {new} {old}");
        for key in [OLD, NEW] {
            assert_eq!(Verifier::new(key).unwrap().verify("a", "1000", &list, b"{}", at(1000)), Ok(()));
        }
        let both = Verifier::new(NEW).unwrap().key(OLD).unwrap();
        assert_eq!(both.verify("a", "1000", &old, b"{}", at(1000)), Ok(()));
        let only_new = Verifier::new(NEW).unwrap();
        assert_eq!(only_new.verify("a", "1000", &old, b"{}", at(1000)), Err(VerifyError::Signature));
        assert_eq!(only_new.verify("a", "1000", &new, b"{} ", at(1000)), Err(VerifyError::Signature));
        assert_eq!(only_new.verify("a", "1000", "", b"{}", at(1000)), Err(VerifyError::Signature));
        assert!(!format!("{both:?}").contains("C2FV"));
    }

    #[test]
    fn the_time_must_be_near_in_both_directions() {
        let verifier = Verifier::new(OLD).unwrap();
        let signature = SigningKey::parse(OLD).unwrap().sign("a", 1000, b"");
        let check = |now| verifier.verify("a", "1000", &signature, b"", at(now));
        assert_eq!([check(700), check(1300)], [Ok(()), Ok(())]);
        assert_eq!(check(699), Err(VerifyError::TooNew));
        assert_eq!(check(1301), Err(VerifyError::TooOld));
        assert_eq!(verifier.verify("a", "1e3", &signature, b"", at(1000)), Err(VerifyError::Timestamp));
        assert_eq!(verifier.verify("a", "-9223372036854775808", "", b"", at(1)), Err(VerifyError::TooOld));
    }

    #[test]
    fn headers_are_read_under_the_sender_s_prefix() {
        let mut headers = http::HeaderMap::new();
        let signature = SigningKey::parse(OLD).unwrap().sign("a", 1000, b"x");
        headers.insert("acme-id", "a".parse().unwrap());
        headers.insert("acme-timestamp", "1000".parse().unwrap());
        let verifier = Verifier::new(OLD).unwrap().prefix("acme-").tolerance(Duration::from_secs(1));
        assert_eq!(verifier.verify_request(&headers, b"x", at(1001)), Err(VerifyError::Header));
        headers.insert("acme-signature", signature.parse().unwrap());
        assert_eq!(verifier.verify_request(&headers, b"x", at(1001)), Ok(()));
        assert_eq!(verifier.verify_request(&headers, b"x", at(1002)), Err(VerifyError::TooOld));
    }
}
