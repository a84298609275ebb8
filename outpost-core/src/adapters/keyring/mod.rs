//! Encryption of what is secret: XChaCha20-Poly1305 under a ring of keys that can be changed.
//!
//! A sealed value is `1`, the key's id (8 bytes), a random nonce (24 bytes), then the ciphertext with its tag
//! (16 bytes). The tag also covers the first byte, the key's id and the context, so a value that is moved to
//! another tenant, destination or field does not open.

use std::fmt;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ports::seal::{SealContext, SealError, Sealer};
use crate::values::error::Problem;
use crate::values::secret::Sealed;

const PLAIN: u8 = 0;
const ENCRYPTED: u8 = 1;
const ID: usize = 8;
const NONCE: usize = 24;
const TAG: usize = 16;

/// The fewest bytes of a secret text.
const MIN_TEXT: usize = 32;
/// The fewest different bytes in it. 32 random hex digits have fewer once in tens of millions.
const MIN_VARIETY: usize = 8;
/// What stands in examples, in lower case and without separators.
const PLACEHOLDERS: [&str; 9] = [
    "changeme",
    "changethis",
    "replaceme",
    "replacethis",
    "placeholder",
    "example",
    "yoursecret",
    "insertyour",
    "donotuse",
];

/// The `info` of HKDF-SHA-256, without salt, that makes a key of a text. Part of the format.
const TEXT_LABEL: &[u8] = b"outpost sealing key from text, version 1";
/// The same for a key's id.
const ID_LABEL: &[u8] = b"outpost sealing key id, version 1";

/// A key that seals. Wiped when dropped; `Debug` shows only its id.
pub struct SealingKey {
    id: [u8; ID],
    /// On the heap, so that moving the key leaves no copies of it behind.
    cipher: Box<XChaCha20Poly1305>,
}

impl SealingKey {
    /// A key of 32 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        let mut id = [0; ID];
        derive(&*bytes, ID_LABEL, &mut id);
        Self { id, cipher: Box::new(XChaCha20Poly1305::new((&*bytes).into())) }
    }

    /// A key made of a secret text of at least 32 bytes by HKDF-SHA-256 without salt, with the info
    /// `outpost sealing key from text, version 1`. Whitespace around the text does not count.
    ///
    /// The text must be random, such as the output of `openssl rand -base64 32`: HKDF is fast, so a password
    /// that a person thought up can be guessed.
    ///
    /// # Errors
    /// A [`Problem`] with the field `sealing_key` when the text is missing, shorter, or looks like a
    /// placeholder. It holds no part of the text.
    pub fn from_text(text: &str) -> Result<Self, Problem> {
        Self::from_field("sealing_key", text)
    }

    fn from_field(field: impl Into<String>, text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        if let Some(message) = weakness(text) {
            return Err(Problem::new(field, message));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        derive(text.as_bytes(), TEXT_LABEL, &mut *bytes);
        Ok(Self::from_bytes(*bytes))
    }

    /// The key's id: 16 hexadecimal digits that tell nothing about the key. Sealed values name it.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&self.id)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id())
    }
}

// Going on with a key of zeros would be worse than a stop.
#[allow(clippy::expect_used)]
fn derive(secret: &[u8], label: &[u8], out: &mut [u8]) {
    let derived = Hkdf::<Sha256>::new(None, secret).expand(label, out);
    derived.expect("HKDF-SHA-256 gives up to 8160 bytes, and at most 32 are asked for");
}

/// What is wrong with a secret text, as the rest of a sentence.
fn weakness(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".to_owned());
    }
    if text.len() < MIN_TEXT {
        return Some(format!("must have at least {MIN_TEXT} bytes, but has {}", text.len()));
    }
    let mut seen = [false; 256];
    for byte in text.bytes() {
        if let Some(seen) = seen.get_mut(usize::from(byte)) {
            *seen = true;
        }
    }
    let variety = seen.iter().filter(|seen| **seen).count();
    let letters = text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    let letters: Zeroizing<String> = Zeroizing::new(letters.collect());
    let repeats = (1..=text.len() / 2).any(|length| {
        let bytes = text.as_bytes();
        bytes.iter().zip(bytes.iter().skip(length)).all(|(one, later)| one == later)
    });
    let placeholder = PLACEHOLDERS.iter().any(|word| letters.contains(word));
    (variety < MIN_VARIETY || repeats || placeholder)
        .then(|| "looks like a placeholder; use a random text, such as from `openssl rand -base64 32`".to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seals with one key and opens with several. `Debug` shows only the keys' ids.
///
/// What it seals: of every destination the config (URL and custom headers), the credentials and the delivery
/// metadata. Event payloads and everything else are stored as they are.
///
/// - **To turn encryption on**, give the builder a ring
///   ([`OutpostBuilder::sealer`](crate::OutpostBuilder::sealer)). What was stored in plain text before still opens;
///   [`Destinations::reseal`](crate::Destinations::reseal) seals all of it, else each destination is sealed when it
///   next changes. Then [forbid](Self::allow_plain) plain values.
/// - **To change the key**, make a ring that writes with the new key and [reads](Self::reading) the old one, call
///   `reseal`, and drop the old one. Where several processes share a store, first have all of them read the new key.
/// - **A lost key** is lost: start answers [`Incompatible`](crate::ErrorKind::Incompatible), as it does for a wrong
///   one, before anything is sent.
///
/// A reader of the sealed bytes sees how long a value is and which key sealed it, nothing else.
///
/// ```
/// use outpost_core::{KeyRing, SealingKey};
///
/// # fn main() -> Result<(), outpost_core::Problem> {
/// let new = SealingKey::from_text("kB2v0yWc9Qm4sT7uXz1eRf6hLj3nPa8dGi5oVqYtE0w=")?;
/// let old = SealingKey::from_text("Zr8pN1xK5cV9mD3gT7bQ2wJ6yH0fLs4aUeXoIiRkPzM=")?;
/// let ring = KeyRing::new(new).reading(old);
/// # drop(ring);
/// # Ok(()) }
/// ```
pub struct KeyRing {
    writing: SealingKey,
    reading: Vec<SealingKey>,
    allow_plain: bool,
}

impl KeyRing {
    /// A ring that seals and opens with this key.
    #[must_use]
    pub const fn new(writing: SealingKey) -> Self {
        Self { writing, reading: Vec::new(), allow_plain: true }
    }

    /// Reads secret texts separated by commas, each as [`SealingKey::from_text`] does: the first one writes,
    /// the others only read. Such a text cannot hold a comma.
    ///
    /// # Errors
    /// A [`Problem`] with the field `sealing_keys[0]` and so on; it holds no part of the text.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let texts = text.split(',').enumerate();
        let mut keys = texts.map(|(at, text)| SealingKey::from_field(format!("sealing_keys[{at}]"), text));
        let writing = keys.next().unwrap_or_else(|| SealingKey::from_field("sealing_keys[0]", ""))?;
        keys.try_fold(Self::new(writing), |ring, key| Ok(ring.reading(key?)))
    }

    /// Adds a key that only opens, for values sealed before the key was changed.
    #[must_use]
    pub fn reading(mut self, key: SealingKey) -> Self {
        self.reading.push(key);
        self
    }

    /// Sets whether values stored in plain text may be opened. Default: they may, so that encryption can be
    /// turned on over an existing store. While they may, somebody who can write to the store can put a plain
    /// value in the place of a sealed one; turn it off once everything is sealed.
    #[must_use]
    pub const fn allow_plain(mut self, allow: bool) -> Self {
        self.allow_plain = allow;
        self
    }

    fn seal_with(&self, nonce: [u8; NONCE], context: &SealContext, plain: &[u8]) -> Result<Sealed, SealError> {
        let id = self.writing.id;
        let aad = associated(&id, context);
        let ciphertext = self.writing.cipher.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad });
        let ciphertext = ciphertext.map_err(|_| SealError(format!("{} is too long to be sealed", context.field)))?;
        Ok(Sealed::new([&[ENCRYPTED][..], &id, &nonce, &ciphertext].concat()))
    }

    fn unknown_key(&self, id: [u8; ID], context: &SealContext) -> SealError {
        let others: String = self.reading.iter().map(|key| format!(", {}", key.id())).collect();
        let message = format!(
            "{} was sealed with key {}, but the key ring has {} (writes){others}",
            context.field,
            hex(&id),
            self.writing.id()
        );
        SealError(message)
    }
}

impl Sealer for KeyRing {
    fn seal(&self, context: &SealContext, plain: &[u8]) -> Result<Sealed, SealError> {
        // From the system and nothing else: a nonce that came twice under one key would give the values away.
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)
            .map_err(|error| SealError(format!("the operating system gives no random numbers: {error}")))?;
        self.seal_with(nonce, context, plain)
    }

    fn open(&self, context: &SealContext, sealed: &Sealed) -> Result<Vec<u8>, SealError> {
        let field = context.field;
        let body = match sealed.as_bytes().split_first() {
            Some((&ENCRYPTED, body)) => body,
            Some((&PLAIN, plain)) if self.allow_plain => return Ok(plain.to_vec()),
            Some((&PLAIN, _)) => {
                return Err(SealError(format!("{field} is stored in plain text, which this key ring does not allow")));
            }
            Some((form, _)) => {
                return Err(SealError(format!("{field} is sealed in form {form}, which this version does not know")));
            }
            None => return Err(SealError(format!("{field} is empty, so it was never sealed"))),
        };
        let damaged = || SealError(format!("{field} is damaged, or belongs to another tenant, destination or field"));
        let (id, rest) = body.split_first_chunk::<ID>().ok_or_else(damaged)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        let key = std::iter::once(&self.writing).chain(&self.reading).find(|key| key.id == *id);
        let key = key.ok_or_else(|| self.unknown_key(*id, context))?;
        let aad = associated(id, context);
        key.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: &aad }).map_err(|_| damaged())
    }

    fn is_current(&self, sealed: &Sealed) -> bool {
        sealed.as_bytes().len() >= 1 + ID + NONCE + TAG
            && sealed.as_bytes().strip_prefix(&[ENCRYPTED]).is_some_and(|body| body.starts_with(&self.writing.id))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writing, reading, allow_plain } = self;
        f.debug_struct("KeyRing")
            .field("writing", writing)
            .field("reading", reading)
            .field("allow_plain", allow_plain)
            .finish()
    }
}

/// What the tag covers besides the value: form, key, tenant, destination and field, each preceded by its
/// length as 4 bytes, so that no two contexts give the same bytes.
fn associated(id: &[u8; ID], context: &SealContext) -> Vec<u8> {
    let tenant = context.tenant.as_i64().to_be_bytes();
    let destination = context.destination.as_i64().to_be_bytes();
    let mut bytes = Vec::with_capacity(64);
    for part in [&[ENCRYPTED][..], id, &tenant, &destination, context.field.as_bytes()] {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
