//! Signatures over outgoing requests: Standard Webhooks, and the service's own older scheme.
//!
//! Standard Webhooks signs `id.timestamp.body` with HMAC-SHA256 (`v1`, secrets `whsec_…`) or ed25519 (`v1a`,
//! secrets `whsk_…`, public keys `whpk_…`). The older scheme signs the body alone, see [`BodyKey`].

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use ed25519_dalek::Signer as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::values::secret::Secret;

/// Standard base64 with or without padding, as the reference libraries read it.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const HMAC_PREFIX: &str = "whsec_";
const ED25519_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";
/// How many random bytes a generated HMAC secret has. The standard asks for 24 to 64.
const GENERATED_BYTES: usize = 32;

/// Which kind of key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `v1`: HMAC-SHA256 with a secret shared with the receiver.
    Hmac,
    /// `v1a`: ed25519; the receiver needs only the public key.
    Ed25519,
}

/// Why a text is no key. Never holds any part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text starts with none of the prefixes that are known here.
    #[error("must start with whsec_ or whsk_")]
    Prefix,
    /// What follows the prefix is not base64.
    #[error("must be base64 after its prefix")]
    Base64,
    /// An HMAC secret of a length the standard does not allow.
    #[error("must hold 24 to 64 bytes")]
    HmacLength,
    /// An ed25519 key of a wrong length, or whose halves do not belong together.
    #[error("must hold an ed25519 key of 32 bytes, or a matching pair of 64")]
    Ed25519,
}

/// A key that signs by Standard Webhooks, its schedule computed once. `Debug` shows only the scheme.
#[derive(Clone)]
pub struct SigningKey(Kind);

#[derive(Clone)]
enum Kind {
    Hmac(Hmac<Sha256>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

impl SigningKey {
    /// Reads `whsec_` and 24 to 64 bytes in base64, or `whsk_` and an ed25519 seed (32 bytes) or key pair
    /// (64 bytes) in base64. Padding may be there or not.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if let Some(encoded) = text.strip_prefix(HMAC_PREFIX) {
            let key = decode(encoded)?;
            if !(24..=64).contains(&key.len()) {
                return Err(KeyError::HmacLength);
            }
            return hmac(&key).map(|mac| Self(Kind::Hmac(mac)));
        }
        let encoded = text.strip_prefix(ED25519_PREFIX).ok_or(KeyError::Prefix)?;
        let bytes = decode(encoded)?;
        let key = if let Ok(seed) = <&[u8; 32]>::try_from(bytes.as_slice()) {
            ed25519_dalek::SigningKey::from_bytes(seed)
        } else {
            let pair = <&[u8; 64]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Ed25519)?;
            ed25519_dalek::SigningKey::from_keypair_bytes(pair).map_err(|_| KeyError::Ed25519)?
        };
        Ok(Self(Kind::Ed25519(Box::new(key))))
    }

    /// Which kind of key it is.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        match self.0 {
            Kind::Hmac(_) => Scheme::Hmac,
            Kind::Ed25519(_) => Scheme::Ed25519,
        }
    }

    /// The public key as `whpk_…`; none for HMAC.
    #[must_use]
    pub fn public_key(&self) -> Option<String> {
        match &self.0 {
            Kind::Hmac(_) => None,
            Kind::Ed25519(key) => Some(format!("{PUBLIC_PREFIX}{}", STANDARD.encode(key.verifying_key().as_bytes()))),
        }
    }

    /// Signs one attempt: `v1,…` or `v1a,…`. `id` must hold no dot, and `unix_seconds` is the time of the
    /// attempt. With HMAC the body is not copied.
    #[must_use]
    pub fn sign(&self, id: &str, unix_seconds: i64, body: &[u8]) -> String {
        let mut signature = String::with_capacity(96);
        self.sign_into(&mut signature, id, &unix_seconds.to_string(), body);
        signature
    }

    /// Appends the signature to `out`, with the timestamp already in text form.
    pub(crate) fn sign_into(&self, out: &mut String, id: &str, timestamp: &str, body: &[u8]) {
        match &self.0 {
            Kind::Hmac(mac) => {
                out.push_str("v1,");
                STANDARD.encode_string(tag(mac, id, timestamp, body), out);
            }
            Kind::Ed25519(key) => {
                out.push_str("v1a,");
                STANDARD.encode_string(key.sign(&signed_content(id, timestamp, body)).to_bytes(), out);
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.scheme()).finish()
    }
}

impl Scheme {
    /// The scheme a secret's prefix says it is for; HMAC for anything unknown.
    #[must_use]
    pub fn of_secret(secret: &str) -> Self {
        if secret.starts_with(ED25519_PREFIX) { Self::Ed25519 } else { Self::Hmac }
    }

    /// Makes a new secret from randomness: `fill` must write unpredictable bytes.
    #[must_use]
    pub fn generate_secret(self, fill: impl FnOnce(&mut [u8])) -> Secret {
        let mut bytes = Zeroizing::new([0; GENERATED_BYTES]);
        fill(bytes.as_mut());
        let prefix = match self {
            Self::Hmac => HMAC_PREFIX,
            Self::Ed25519 => ED25519_PREFIX,
        };
        let mut text = String::with_capacity(64);
        text.push_str(prefix);
        STANDARD.encode_string(bytes.as_slice(), &mut text);
        Secret::new(text)
    }
}

/// A key of the service's own scheme: HMAC-SHA256 in hex over the body alone, keyed by the bytes of the
/// whole secret text, prefix included. It protects against forgery, not against replay.
#[derive(Clone)]
pub struct BodyKey(Hmac<Sha256>);

impl BodyKey {
    /// A key from a secret of any form.
    ///
    /// # Errors
    /// Never in practice; HMAC takes keys of every length.
    pub fn new(secret: &str) -> Result<Self, KeyError> {
        hmac(secret.as_bytes()).map(Self)
    }

    /// The signature in lowercase hex.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> String {
        let mut out = String::with_capacity(64);
        self.sign_into(&mut out, body);
        out
    }

    pub(crate) fn sign_into(&self, out: &mut String, body: &[u8]) {
        let tag = self.0.clone().chain_update(body).finalize().into_bytes();
        for byte in tag {
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
    }
}

impl fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyKey")
    }
}

/// A key that checks signatures.
#[derive(Clone)]
pub(crate) enum VerifyingKey {
    Hmac(Hmac<Sha256>),
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl VerifyingKey {
    /// Reads `whsec_…`, `whpk_…`, or `whsk_…` of which only the public half is kept.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyError> {
        if let Some(encoded) = text.strip_prefix(PUBLIC_PREFIX) {
            let bytes = decode(encoded)?;
            let bytes = <&[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Ed25519)?;
            return ed25519_dalek::VerifyingKey::from_bytes(bytes).map(Self::Ed25519).map_err(|_| KeyError::Ed25519);
        }
        Ok(match SigningKey::parse(text)?.0 {
            Kind::Hmac(mac) => Self::Hmac(mac),
            Kind::Ed25519(key) => Self::Ed25519(key.verifying_key()),
        })
    }

    /// Whether `signature`, without its version, belongs to the request. Takes equal time for every HMAC.
    pub(crate) fn accepts(&self, version: &str, signature: &str, id: &str, timestamp: &str, body: &[u8]) -> bool {
        let Ok(signature) = TOLERANT.decode(signature) else { return false };
        match self {
            Self::Hmac(mac) if version == "v1" => {
                subtle::ConstantTimeEq::ct_eq(tag(mac, id, timestamp, body).as_slice(), signature.as_slice()).into()
            }
            Self::Ed25519(key) if version == "v1a" => ed25519_dalek::Signature::from_slice(&signature)
                .is_ok_and(|signature| key.verify_strict(&signed_content(id, timestamp, body), &signature).is_ok()),
            Self::Hmac(_) | Self::Ed25519(_) => false,
        }
    }
}

fn decode(encoded: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    TOLERANT.decode(encoded).map(Zeroizing::new).map_err(|_| KeyError::Base64)
}

fn hmac(key: &[u8]) -> Result<Hmac<Sha256>, KeyError> {
    Hmac::new_from_slice(key).map_err(|_| KeyError::HmacLength)
}

fn tag(mac: &Hmac<Sha256>, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = mac.clone();
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// ed25519 reads its input twice, so it needs it in one piece.
fn signed_content(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), timestamp.as_bytes(), body].join(&b'.')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;

    #[test]
    fn the_reference_library_s_vector_is_reproduced() {
        let key = SigningKey::parse(SECRET).unwrap();
        assert_eq!(key.sign(ID, 1_649_367_553, BODY), "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
        assert_eq!(key.scheme(), Scheme::Hmac);
        assert_eq!(key.public_key(), None);
    }

    #[test]
    fn the_older_scheme_signs_the_body_with_the_whole_text() {
        // From `printf %s BODY | openssl dgst -sha256 -hmac whsec_…`.
        let key = BodyKey::new("whsec_test").unwrap();
        assert_eq!(key.sign(b"{}"), "46bdc2a2e83964bd2695acc6a1f97162d8bafc135a071aa5cd5c99aae5481440".to_owned());
    }

    #[test]
    fn secrets_are_checked_and_never_shown() {
        let bad = [
            ("", KeyError::Prefix),
            ("C2FVsBQIhrscChlQIMV+b5sSYspob7oD", KeyError::Prefix),
            ("whsec_!!!!", KeyError::Base64),
            ("whsec_AAAA", KeyError::HmacLength),
            ("whsk_AAAA", KeyError::Ed25519),
        ];
        for (text, error) in bad {
            assert_eq!(SigningKey::parse(text).unwrap_err(), error, "{text}");
        }
        let long = |count| format!("whsec_{}", STANDARD.encode(vec![7; count]));
        assert!(SigningKey::parse(&long(23)).is_err() && SigningKey::parse(&long(65)).is_err());
        for count in [24, 25, 32, 64] {
            assert!(SigningKey::parse(&long(count)).is_ok());
            assert!(SigningKey::parse(long(count).trim_end_matches('=')).is_ok());
        }
        assert_eq!(format!("{:?}", SigningKey::parse(SECRET).unwrap()), "SigningKey(Hmac)");
        assert_eq!(format!("{:?}", BodyKey::new(SECRET).unwrap()), "BodyKey");
    }

    #[test]
    fn generated_secrets_of_both_schemes_sign_and_verify() {
        for scheme in [Scheme::Hmac, Scheme::Ed25519] {
            let secret = scheme.generate_secret(|bytes| bytes.fill(9));
            assert_eq!(Scheme::of_secret(secret.expose()), scheme);
            let key = SigningKey::parse(secret.expose()).unwrap();
            assert_eq!(key.scheme(), scheme);
            let signature = key.sign("evt_1", 1, b"{}");
            let (version, encoded) = signature.split_once(',').unwrap();
            let public = key.public_key().unwrap_or_else(|| secret.expose().to_owned());
            let verifying = VerifyingKey::parse(&public).unwrap();
            assert!(verifying.accepts(version, encoded, "evt_1", "1", b"{}"));
            assert!(!verifying.accepts(version, encoded, "evt_1", "2", b"{}"));
            assert!(!verifying.accepts("v2", encoded, "evt_1", "1", b"{}"));
            assert!(!verifying.accepts(version, "", "evt_1", "1", b"{}"));
        }
    }

    #[test]
    fn a_key_pair_whose_halves_do_not_match_is_refused() {
        let seed = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
        let text = |bytes: &[u8]| format!("whsk_{}", STANDARD.encode(bytes));
        let pair = seed.to_keypair_bytes();
        let from_pair = SigningKey::parse(&text(&pair)).unwrap();
        let from_seed = SigningKey::parse(&text(&[3; 32])).unwrap();
        assert_eq!(from_pair.public_key(), from_seed.public_key());
        let mut wrong = pair;
        wrong[40] ^= 1;
        assert_eq!(SigningKey::parse(&text(&wrong)).unwrap_err(), KeyError::Ed25519);
    }

    proptest! {
        #[test]
        fn signatures_equal_those_of_the_reference_crate(
            key in proptest::collection::vec(any::<u8>(), 24..=64),
            id in "[A-Za-z0-9_]{1,40}",
            seconds in 0i64..4_000_000_000,
            body in "\\PC{0,200}",
        ) {
            let text = format!("whsec_{}", STANDARD.encode(&key));
            let theirs = standardwebhooks::Webhook::new(&text).unwrap().sign(&id, seconds, body.as_bytes()).unwrap();
            prop_assert_eq!(SigningKey::parse(&text).unwrap().sign(&id, seconds, body.as_bytes()), theirs);
        }
    }
}
