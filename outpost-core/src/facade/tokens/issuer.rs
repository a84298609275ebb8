//! Signing and verifying: HS256 and nothing else.
//!
//! `jsonwebtoken` chooses its cryptography for the whole process, and panics when the application's dependencies turn on
//! two kinds of it. Here one is named instead, so that what the application chooses for itself neither matters nor is
//! touched. Claims are checked by us, because the crate would check them by the system's clock.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER as CRYPTO;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, decode_header};
use sha2::Sha256;
use url::Url;

use super::TokenSettings;
use crate::domain::token::Claims;
use crate::values::error::{Error, ErrorKind, Problem, Result};

/// The longest token that is looked at. Ours have less than 1 KiB.
const MAX_TOKEN: usize = 4096;
/// The salt of HKDF-SHA-256 for keys that are made of the secret.
const DERIVING: &[u8] = b"outpost key from token secret, version 1";

/// Signs tokens and verifies them.
pub(in crate::facade) struct Issuer {
    pub(super) settings: TokenSettings,
    signing: EncodingKey,
    verifying: Vec<DecodingKey>,
}

impl Issuer {
    /// Of settings that have no problems. Signs once to see that it can.
    pub(in crate::facade) fn new(mut settings: TokenSettings) -> Result<Self> {
        const OPERATION: &str = "start";
        // As browsers would write it.
        let url = Url::parse(&settings.portal_url);
        let url = url.map_err(|_| Error::invalid(OPERATION, vec![Problem::new("tokens.portal_url", "is no URL")]))?;
        settings.portal_url = url.into();
        let first = settings.secrets.first().map_or(&[][..], |secret| secret);
        let signing = EncodingKey::from_secret(first);
        let verifying = settings.secrets.iter().map(|secret| DecodingKey::from_secret(secret)).collect();
        let issuer = Self { settings, signing, verifying };
        let message = b"outpost";
        let works = issuer.signature(message).is_some_and(|signature| issuer.is_signed(message, &signature));
        if works {
            Ok(issuer)
        } else {
            Err(Error::new(ErrorKind::Incompatible, OPERATION, "this build cannot sign tokens"))
        }
    }

    /// The token that says `claims`.
    pub(super) fn sign(&self, operation: &'static str, claims: &Claims) -> Result<String> {
        let part = |json: serde_json::Result<Vec<u8>>| json.ok().map(|json| URL_SAFE_NO_PAD.encode(json));
        let parts = part(serde_json::to_vec(&Header::new(Algorithm::HS256))).zip(part(serde_json::to_vec(claims)));
        let token = parts.and_then(|(header, claims)| {
            let mut token = format!("{header}.{claims}");
            let signature = self.signature(token.as_bytes())?;
            token.push('.');
            URL_SAFE_NO_PAD.encode_string(signature, &mut token);
            Some(token)
        });
        token.ok_or_else(|| Error::new(ErrorKind::Internal, operation, "the token cannot be signed"))
    }

    /// What a token says, when one of our secrets has signed it. Says nothing about whether it is still valid.
    pub(super) fn verify(&self, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (_, claims) = message.split_once('.')?;
        let header = decode_header(token).ok()?;
        // What it says is critical is unknown to us.
        if header.alg != Algorithm::HS256 || header.crit.is_some() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !self.is_signed(message.as_bytes(), &signature) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signer = (CRYPTO.signer_factory)(&Algorithm::HS256, &self.signing).ok()?;
        signer.try_sign(message).ok()
    }

    /// Compares in constant time for each secret.
    fn is_signed(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        self.verifying.iter().any(|key| {
            let verifier = (CRYPTO.verifier_factory)(&Algorithm::HS256, key);
            verifier.is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
        })
    }

    /// A key made of the secret that signs.
    // Going on with a key of zeros would be worse than a stop.
    #[allow(clippy::expect_used)]
    pub(super) fn derive(&self, label: &str) -> [u8; 32] {
        let mut key = [0; 32];
        let derived = Hkdf::<Sha256>::new(Some(DERIVING), self.signing.as_bytes()).expand(label.as_bytes(), &mut key);
        derived.expect("HKDF-SHA-256 gives up to 8160 bytes, and 32 are asked for");
        key
    }
}
