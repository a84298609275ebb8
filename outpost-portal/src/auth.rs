//! Who asks: a session of the portal's own, or the host's by an [`Authenticator`].

use async_trait::async_trait;
use http::request::Parts;
use outpost_core::{Actor, Capabilities, Error, ErrorKind, Session};

use crate::request::Request;
use crate::site::Site;

/// Says who asks, by whatever session the host application has. With one there are no portal links and no cookies of
/// a session: the host's login is the portal's.
///
/// ```
/// use http::request::Parts;
/// use outpost_core::Capabilities;
/// use outpost_portal::{Authenticator, Principal, async_trait};
///
/// struct Ours;
///
/// #[derive(Clone)]
/// struct LoggedIn { account: String, session: String, email: String }
///
/// #[async_trait]
/// impl Authenticator for Ours {
///     async fn authenticate(&self, request: &Parts) -> outpost_core::Result<Option<Principal>> {
///         // The host's own middleware has put it there.
///         let user = request.extensions.get::<LoggedIn>();
///         Ok(user.map(|user| Principal {
///             tenant: user.account.clone(),
///             capabilities: Capabilities::ALL,
///             binding: user.session.clone(),
///             name: user.email.clone(),
///         }))
///     }
/// }
/// ```
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who asks; `None` when nobody is logged in. It is asked for every page, so keep it quick.
    ///
    /// # Errors
    /// When it cannot be told at the moment: the page says so, and that it may be tried again.
    async fn authenticate(&self, request: &Parts) -> outpost_core::Result<Option<Principal>>;
}

/// Somebody whom the host application knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The tenant whose portal it is. It must exist.
    pub tenant: String,
    /// What the user may do.
    pub capabilities: Capabilities,
    /// A value that is the session's own and ends with it, such as its id; not empty. Forms are bound to it; it is
    /// never shown.
    pub binding: String,
    /// The user's name, for the audit log.
    pub name: String,
}

/// Who is signed in.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) actor: Actor,
    pub(crate) tenant: String,
    /// What forms are bound to.
    pub(crate) binding: String,
    pub(crate) name: String,
    /// The portal's own session; `None` with the host's.
    pub(crate) session: Option<Session>,
}

impl Who {
    pub(crate) fn of(session: Session) -> Self {
        Self {
            actor: session.actor().clone(),
            tenant: session.tenant_id().to_string(),
            binding: session.sid().to_owned(),
            name: session.sid().to_owned(),
            session: Some(session),
        }
    }
}

impl Site {
    /// Who asks; `None` when nobody is signed in.
    pub(crate) async fn who(&self, request: &Request, parts: &Parts) -> outpost_core::Result<Option<Who>> {
        let Some(authenticator) = &self.authenticator else {
            for token in request.cookies(&self.cookie_name("")).take(4) {
                match self.outpost.tokens().session(&token).await {
                    Ok(session) => return Ok(Some(Who::of(session))),
                    // A cookie of another mount, or an old one.
                    Err(error) if error.kind() == ErrorKind::Unauthenticated => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(None);
        };
        let Some(principal) = authenticator.authenticate(parts).await? else { return Ok(None) };
        let tenant = match self.outpost.tenants().get(&principal.tenant).await {
            Ok(tenant) => tenant,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => {
                let message = format!("the authenticator names a tenant that does not exist: {:?}", principal.tenant);
                return Err(Error::new(ErrorKind::Internal, "authenticate", message));
            }
            Err(error) => return Err(error),
        };
        if principal.binding.is_empty() {
            // Forms would be good in every session.
            return Err(Error::new(ErrorKind::Internal, "authenticate", "the authenticator gives no binding"));
        }
        let actor = Actor::Tenant {
            tenant: tenant.id.clone(),
            incarnation: tenant.incarnation,
            capabilities: principal.capabilities,
        };
        Ok(Some(Who {
            actor,
            tenant: tenant.id.to_string(),
            // One session may switch between tenants, and a form of one of them must not act on another.
            binding: format!("{}/{}", tenant.incarnation.as_i64(), principal.binding),
            name: principal.name,
            session: None,
        }))
    }
}
