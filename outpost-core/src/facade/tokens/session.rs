//! A tenant's user in the portal.

use std::fmt;
use std::time::Duration;

use crate::domain::actor::Actor;
use crate::domain::token::Claims;
use crate::values::id::TenantId;
use crate::values::secret::Secret;
use crate::values::time::Timestamp;

/// A session of the portal, as a valid token proves it. `Debug` does not show the token.
#[derive(Clone)]
pub struct Session {
    pub(super) claims: Claims,
    actor: Actor,
    sid: String,
    signed_in_at: Timestamp,
    ends_at: Timestamp,
    token: Secret,
}

impl Session {
    /// `None` for claims of anything but a session.
    pub(super) fn new(claims: Claims, lifetime: Duration, token: String) -> Option<Self> {
        let (sid, signed_in_at) = claims.session()?;
        let (sid, actor, ends_at) = (sid.to_owned(), claims.actor(), signed_in_at.after(lifetime));
        Some(Self { claims, actor, sid, signed_in_at, ends_at, token: Secret::new(token) })
    }

    /// Who makes the session's calls: [`Outpost::acting_as`](crate::Outpost::acting_as).
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The session's tenant.
    #[must_use]
    pub const fn tenant_id(&self) -> &TenantId {
        self.claims.tenant_id()
    }

    /// Names the session: the same in all of its tokens, 32 hexadecimal digits. It is no secret.
    #[must_use]
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// When the portal link was opened.
    #[must_use]
    pub const fn signed_in_at(&self) -> Timestamp {
        self.signed_in_at
    }

    /// When this token ends, unless [`renew`](super::Tokens::renew) makes another one.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.claims.expires_at().min(self.ends_at)
    }

    /// When the session ends in any case.
    #[must_use]
    pub const fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// The token, for a cookie. Keep it out of logs and pages.
    #[must_use]
    pub fn token(&self) -> &str {
        self.token.expose()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("actor", &self.actor)
            .field("sid", &self.sid)
            .field("signed_in_at", &self.signed_in_at)
            .field("expires_at", &self.expires_at())
            .field("ends_at", &self.ends_at)
            .finish_non_exhaustive()
    }
}
