//! What is secret is sealed before a store sees it.

use crate::values::id::Incarnation;
use crate::values::secret::Sealed;

/// What a sealed value belongs to. Sealing binds the value to it, so that it opens nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealContext {
    /// The tenant.
    pub tenant: Incarnation,
    /// The destination.
    pub destination: Incarnation,
    /// Which field: `config`, `credentials`, `delivery_metadata`, or the name of a value of its own.
    pub field: &'static str,
}

/// A sealed value could not be opened, or a value not sealed. The text holds no secret; it may name keys by id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SealError(pub String);

/// Turns secret values into sealed ones and back.
///
/// The first byte of a sealed value names its form: 0 is plain text, 1 what a [`KeyRing`](crate::KeyRing)
/// encrypts. Turning encryption on or off is therefore never a change of format.
pub trait Sealer: Send + Sync + 'static {
    /// Seals `plain` for `context`.
    ///
    /// # Errors
    /// When it cannot be sealed; nothing is stored then.
    fn seal(&self, context: &SealContext, plain: &[u8]) -> Result<Sealed, SealError>;

    /// Opens a sealed value of `context`.
    ///
    /// # Errors
    /// When the value is of another context, another form or damaged.
    fn open(&self, context: &SealContext, sealed: &Sealed) -> Result<Vec<u8>, SealError>;

    /// Whether the value is sealed the way [`seal`](Self::seal) would do it now: in the same form, with the
    /// same key. What is not should be opened and sealed anew. Looks at the value's marks only; it may not open.
    fn is_current(&self, sealed: &Sealed) -> bool;
}

/// Keeps values as they are, marked as plain.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainSealer;

impl Sealer for PlainSealer {
    fn seal(&self, _context: &SealContext, plain: &[u8]) -> Result<Sealed, SealError> {
        let mut bytes = Vec::with_capacity(plain.len() + 1);
        bytes.push(0);
        bytes.extend_from_slice(plain);
        Ok(Sealed::new(bytes))
    }

    fn open(&self, _context: &SealContext, sealed: &Sealed) -> Result<Vec<u8>, SealError> {
        match sealed.as_bytes().split_first() {
            Some((0, plain)) => Ok(plain.to_vec()),
            Some(_) => Err(SealError("the value is encrypted, but no key is configured".to_owned())),
            None => Err(SealError("the value is empty, so it was never sealed".to_owned())),
        }
    }

    fn is_current(&self, sealed: &Sealed) -> bool {
        sealed.as_bytes().first() == Some(&0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_are_marked_and_encrypted_ones_refused() {
        let context =
            SealContext { tenant: Incarnation::from_i64(1), destination: Incarnation::from_i64(2), field: "config" };
        let sealed = PlainSealer.seal(&context, b"{}").unwrap();
        assert_eq!(sealed.as_bytes(), b"\0{}");
        assert_eq!(PlainSealer.open(&context, &sealed).unwrap(), b"{}");
        assert!(PlainSealer.open(&context, &Sealed::new(&b"\x01abc"[..])).is_err());
        assert!(PlainSealer.open(&context, &Sealed::default()).is_err());
        assert!(PlainSealer.is_current(&sealed));
        assert!(!PlainSealer.is_current(&Sealed::new(&b"\x01abc"[..])) && !PlainSealer.is_current(&Sealed::default()));
    }
}
