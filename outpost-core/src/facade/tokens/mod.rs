//! Signed tokens: links into the portal, its sessions, and tenants' access to the API.

mod issuer;
mod session;
mod settings;

use std::time::Duration;

use bytes::Bytes;

pub(super) use self::issuer::Issuer;
pub use self::session::Session;
pub use self::settings::TokenSettings;
use super::{Outpost, of_store};
use crate::domain::actor::{Actor, Capabilities, Capability};
use crate::domain::operator::OPERATOR_TENANT;
use crate::domain::tenant::Tenant;
use crate::domain::token::{Claims, Theme, TokenKind, check_return_to};
use crate::ports::store::{Expect, Fetch, Key, Row, SmallRecord, Write};
use crate::values::error::{Error, ErrorKind, Problem, Result};
use crate::values::id::TenantId;
use crate::values::time::Timestamp;

/// The kinds of the records of entry tokens that were used and of sessions that were ended.
const USED: &str = "token_used";
const ENDED: &str = "session_ended";
/// For how long these outlive what they tell of, because the clocks of two processes may differ.
const KEPT_LONGER: Duration = Duration::from_secs(600);

/// What a portal link opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalLink {
    /// The theme to begin with. Default: the portal's.
    pub theme: Option<Theme>,
    /// The page inside the portal to begin with, such as `/destinations`; see
    /// [`check_return_to`](crate::check_return_to). Default: its first page.
    pub return_to: Option<String>,
    /// What its user may do. Default: everything.
    pub capabilities: Capabilities,
}

impl Default for PortalLink {
    fn default() -> Self {
        Self { theme: None, return_to: None, capabilities: Capabilities::ALL }
    }
}

impl PortalLink {
    /// Sets the theme to begin with.
    #[must_use]
    pub const fn theme(mut self, theme: Theme) -> Self {
        self.theme = Some(theme);
        self
    }

    /// Sets the page to begin with.
    #[must_use]
    pub fn return_to(mut self, path: impl Into<String>) -> Self {
        self.return_to = Some(path.into());
        self
    }

    /// Sets what its user may do.
    #[must_use]
    pub const fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }
}

/// What an entry token would open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryToken {
    /// For which tenant.
    pub tenant_id: TenantId,
    /// It was used already and opens nothing any more.
    pub used: bool,
}

impl Outpost {
    /// A link that opens the portal for a user of `tenant`: the portal's URL with `token`, and `theme` and `return_to`
    /// if they are set. Whoever has it is that user, so hand it only to a signed-in user, best as a redirect.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a bad `return_to`, the operator's tenant, or without
    /// [`OutpostBuilder::tokens`](crate::OutpostBuilder::tokens); [`Forbidden`](ErrorKind::Forbidden) for any actor but
    /// the operator; [`NotFound`](ErrorKind::NotFound) for the tenant; the store's failures.
    pub async fn portal_link(&self, tenant: &str, link: PortalLink) -> Result<String> {
        const OPERATION: &str = "portal link";
        self.actor.operator_only(OPERATION)?;
        let issuer = self.tokens().issuer(OPERATION)?;
        if let Some(Err(problem)) = link.return_to.as_deref().map(check_return_to) {
            return Err(Error::invalid(OPERATION, vec![problem]));
        }
        let lifetime = issuer.settings.entry_lifetime;
        let token = self.tokens().mint(OPERATION, TokenKind::Entry, tenant, link.capabilities, lifetime).await?;
        let start = format!("{}?", issuer.settings.portal_url);
        let end = start.len();
        let mut query = url::form_urlencoded::Serializer::for_suffix(start, end);
        query.append_pair("token", &token);
        if let Some(theme) = link.theme {
            query.append_pair("theme", theme.as_str());
        }
        if let Some(path) = &link.return_to {
            query.append_pair("return_to", path);
        }
        Ok(query.finish())
    }
}

/// The tokens of an [`Outpost`], made with [`TokenSettings`]. Each opens one door only:
///
/// | token | made by | accepted by | lives |
/// | --- | --- | --- | --- |
/// | entry | [`Outpost::portal_link`] | [`enter`](Self::enter), once | 10 minutes |
/// | session | [`enter`](Self::enter), [`renew`](Self::renew) | [`session`](Self::session) | 30 minutes without use, 24 hours in all |
/// | API | [`api`](Self::api) | [`authenticate`](Self::authenticate) | 24 hours |
///
/// They are JWTs signed with HS256. All end with the life of their tenant: one that is created again under the same id
/// has other tokens. Every refusal is [`Unauthenticated`](ErrorKind::Unauthenticated) in the same words, whatever its
/// reason, also where no settings were given. Time is that of the builder's clock, to the second, without leeway.
#[derive(Clone, Copy)]
pub struct Tokens<'a>(pub(super) &'a Outpost);

impl<'a> Tokens<'a> {
    /// Whether the builder was given [`TokenSettings`].
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.0.guard.tokens.is_some()
    }

    /// Where the portal is; `None` without settings.
    #[must_use]
    pub fn portal_url(&self) -> Option<&'a str> {
        self.0.guard.tokens.as_ref().map(|issuer| issuer.settings.portal_url.as_str())
    }

    /// A key that is the same after a restart and in every process with the same secret, such as for form guards:
    /// HKDF-SHA-256 of the secret that signs, other for each `label`. `None` without settings.
    #[must_use]
    pub fn derived_key(&self, label: &str) -> Option<[u8; 32]> {
        self.0.guard.tokens.as_ref().map(|issuer| issuer.derive(label))
    }

    /// A token for the API, with which a tenant may do what `capabilities` say.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for the operator's tenant, or without
    /// [`OutpostBuilder::tokens`](crate::OutpostBuilder::tokens); [`Forbidden`](ErrorKind::Forbidden) for any actor but
    /// the operator; [`NotFound`](ErrorKind::NotFound) for the tenant; the store's failures.
    pub async fn api(&self, tenant: &str, capabilities: Capabilities) -> Result<String> {
        const OPERATION: &str = "API token";
        self.0.actor.operator_only(OPERATION)?;
        let lifetime = self.issuer(OPERATION)?.settings.api_lifetime;
        self.mint(OPERATION, TokenKind::Api, tenant, capabilities, lifetime).await
    }

    /// Who brings this API token.
    ///
    /// # Errors
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) for anything but a valid API token; the store's failures.
    pub async fn authenticate(&self, token: &str) -> Result<Actor> {
        const OPERATION: &str = "authenticate";
        let (_, claims) = self.verified(OPERATION, token, TokenKind::Api)?;
        self.look_up(OPERATION, &claims, None).await?;
        Ok(claims.actor())
    }

    /// What this entry token would open, without using it up.
    ///
    /// # Errors
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) for anything but an entry token that is valid but for having been
    /// used; the store's failures.
    pub async fn peek(&self, token: &str) -> Result<EntryToken> {
        const OPERATION: &str = "peek at entry token";
        let (issuer, claims) = self.verified(OPERATION, token, TokenKind::Entry)?;
        let used = self.look_up(OPERATION, &claims, issuer.used_record(&claims)).await?;
        Ok(EntryToken { tenant_id: claims.tenant_id().clone(), used })
    }

    /// Uses an entry token up and begins a session. Of several calls with one token exactly one succeeds, in whatever
    /// process.
    ///
    /// # Errors
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) for anything but a valid entry token that was not used; the
    /// store's failures.
    pub async fn enter(&self, token: &str) -> Result<Session> {
        const OPERATION: &str = "enter";
        let (issuer, claims) = self.verified(OPERATION, token, TokenKind::Entry)?;
        let record = issuer.used_record(&claims);
        if self.look_up(OPERATION, &claims, record.clone()).await? {
            return Err(refused(OPERATION));
        }
        if let Some((kind, key)) = record {
            let record = mark(kind, key, claims.expires_at());
            if self.0.write(OPERATION, Write::PutRecord { record, expect: Expect::Absent }).await?.is_err() {
                return Err(refused(OPERATION));
            }
        }
        let settings = &issuer.settings;
        let now = self.0.shared().now();
        let end = now.after(settings.session_lifetime);
        let claims = claims.into_session(self.random(), self.random(), now, settings.session_idle, end);
        let token = issuer.sign(OPERATION, &claims)?;
        Session::new(claims, settings.session_lifetime, token).ok_or_else(|| refused(OPERATION))
    }

    /// The session that this token is of. Costs one look into the store.
    ///
    /// # Errors
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) for anything but a valid token of a session that has not ended;
    /// the store's failures.
    pub async fn session(&self, token: &str) -> Result<Session> {
        const OPERATION: &str = "session";
        let (issuer, claims) = self.verified(OPERATION, token, TokenKind::Session)?;
        let session = Session::new(claims, issuer.settings.session_lifetime, token.to_owned());
        let session = session.filter(|session| self.is_live(session)).ok_or_else(|| refused(OPERATION))?;
        if self.look_up(OPERATION, &session.claims, Some(ended_record(&session))).await? {
            return Err(refused(OPERATION));
        }
        Ok(session)
    }

    /// A token with which the session lives on, to replace the one it has: when more than a tenth of the idle time has
    /// passed, and never beyond the session's end.
    #[must_use]
    pub fn renew(&self, session: &Session) -> Option<String> {
        let issuer = self.0.guard.tokens.as_ref()?;
        let now = self.0.shared().now();
        let due = now.since(session.claims.issued_at()) > issuer.settings.session_idle / 10;
        let next = self.next(issuer, session).filter(|next| due && next.expires_at() > session.claims.expires_at())?;
        issuer.sign("renew", &next).ok()
    }

    /// Ends the session for good, with all of its tokens, in every process over the store.
    ///
    /// # Errors
    /// The store's failures.
    pub async fn end(&self, session: &Session) -> Result<()> {
        const OPERATION: &str = "end session";
        let (kind, key) = ended_record(session);
        let record = mark(kind, key, session.ends_at());
        let written = self.0.write(OPERATION, Write::PutRecord { record, expect: Expect::Any }).await?;
        written.map(drop).map_err(|_| Error::new(ErrorKind::Internal, OPERATION, "the session's end was not written"))
    }

    fn issuer(&self, operation: &'static str) -> Result<&'a Issuer> {
        self.0.guard.tokens.as_ref().ok_or_else(|| {
            Error::invalid(operation, vec![Problem::new("tokens", "are not set up: call OutpostBuilder::tokens")])
        })
    }

    async fn mint(
        &self,
        operation: &'static str,
        kind: TokenKind,
        tenant: &str,
        capabilities: Capabilities,
        lifetime: Duration,
    ) -> Result<String> {
        if tenant == OPERATOR_TENANT {
            let problem = Problem::new("tenant_id", "is reserved for operator events");
            return Err(Error::invalid(operation, vec![problem]));
        }
        let tenant: Tenant = self.0.admit(operation, tenant, Capability::Read).await?;
        let claims = Claims::new(kind, &tenant, capabilities, self.random(), self.0.shared().now(), lifetime);
        self.issuer(operation)?.sign(operation, &claims)
    }

    /// What a token says that opens this door as far as can be seen without the store.
    fn verified(&self, operation: &'static str, token: &str, kind: TokenKind) -> Result<(&'a Issuer, Claims)> {
        let issuer = self.0.guard.tokens.as_ref();
        let found = issuer.and_then(|issuer| Some((issuer, issuer.verify(token)?)));
        let now = self.0.shared().now();
        found.filter(|(_, claims)| claims.admits(kind, now)).ok_or_else(|| refused(operation))
    }

    /// Refuses when the token's tenant is gone or lives anew; tells whether the record is there.
    async fn look_up(
        &self,
        operation: &'static str,
        claims: &Claims,
        record: Option<(&'static str, String)>,
    ) -> Result<bool> {
        let shared = self.0.shared();
        let mut keys = vec![Key::Tenant(claims.tenant_id().clone())];
        keys.extend(record.map(|(kind, key)| Key::Record(kind.to_owned(), key)));
        let rows = shared.store.fetch(Fetch { now: shared.now(), keys }).await;
        let rows = rows.map_err(|error| of_store(operation, error))?;
        match rows.first().and_then(|rows| rows.first()) {
            Some(Row::Tenant(tenant)) if tenant.incarnation == claims.incarnation() => {}
            _ => return Err(refused(operation)),
        }
        Ok(rows.get(1).is_some_and(|rows| !rows.is_empty()))
    }

    fn is_live(&self, session: &Session) -> bool {
        self.0.shared().now() < session.expires_at()
    }

    /// The session's next token; `None` when it is over.
    fn next(&self, issuer: &Issuer, session: &Session) -> Option<Claims> {
        let idle = issuer.settings.session_idle;
        let next = || session.claims.clone().prolonged(self.random(), self.0.shared().now(), idle, session.ends_at());
        self.is_live(session).then(next)
    }

    /// 128 random bits.
    fn random(&self) -> String {
        let mut bytes = [0; 16];
        self.0.shared().entropy.fill(&mut bytes);
        format!("{:032x}", u128::from_be_bytes(bytes))
    }
}

impl Issuer {
    /// Where it is written that an entry token was used, if that matters.
    fn used_record(&self, claims: &Claims) -> Option<(&'static str, String)> {
        let key = || format!("{:016x}/{}", claims.incarnation().as_i64(), claims.id());
        self.settings.entry_single_use.then(|| (USED, key()))
    }
}

/// Where it is written that a session was ended.
fn ended_record(session: &Session) -> (&'static str, String) {
    (ENDED, format!("{:016x}/{}", session.claims.incarnation().as_i64(), session.sid()))
}

fn mark(kind: &str, key: String, until: Timestamp) -> SmallRecord {
    SmallRecord {
        kind: kind.to_owned(),
        key,
        value: Bytes::new(),
        expires_at: Some(until.after(KEPT_LONGER)),
        revision: 0,
    }
}

/// One answer for every reason, so that nobody learns from it what was wrong.
fn refused(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unauthenticated, operation, "the token is not valid")
}
