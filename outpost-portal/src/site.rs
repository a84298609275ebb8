//! Putting a portal together: its settings, checked once, and what is derived from them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use outpost_core::{Descriptor, Error, Offers, Outpost, Problem, Result, Theme};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::accent::Accent;
use crate::auth::Authenticator;
use crate::guard::Keys;
use crate::text::Language;

/// Told of everything that somebody changes or reveals through the portal, after it was done.
pub(crate) type Audit = Arc<dyn Fn(&Action<'_>) + Send + Sync>;

/// One thing that somebody did in the portal, for the host's audit log.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Action<'a> {
    /// What was done, such as `reveal secret` or `delete destination`.
    pub action: &'static str,
    /// The tenant.
    pub tenant: &'a str,
    /// What it was done to: a destination, an event or a replay.
    pub subject: &'a str,
    /// Who did it: the name that an [`Authenticator`] gave, else the id of the portal's session.
    pub actor: &'a str,
}

/// Builds a [`Portal`](crate::Portal). Every setting can also come from the environment, see
/// [`env`](Self::env).
#[derive(Clone)]
pub struct PortalBuilder {
    outpost: Outpost,
    texts: Vec<(&'static str, String)>,
    disable_branding: bool,
    destination_filter: Option<bool>,
    custom_headers: Option<bool>,
    prefix_stripped: Option<bool>,
    frame_ancestors: Vec<String>,
    authenticator: Option<Arc<dyn Authenticator>>,
    secret: Option<Vec<u8>>,
    language: Language,
    audit: Option<Audit>,
    problems: Vec<Problem>,
}

/// The settings that are texts, by the name of their setter.
const REFERER: &str = "referer_url";
const REFRESH: &str = "refresh_url";
const ORGANIZATION: &str = "organization_name";
const ACCENT: &str = "accent_color";
const LOGO: &str = "logo";
const LOGO_DARK: &str = "logo_dark";
const FAVICON: &str = "favicon_url";
const FORCE_THEME: &str = "force_theme";
const PUBLIC_URL: &str = "public_url";
const MOUNT: &str = "mount";
const NOTICE: &str = "notice";

/// The environment's names of settings, each with the name of its setter.
const ENVIRONMENT: [(&str, &str); 12] = [
    ("PORTAL_REFERER_URL", REFERER),
    ("PORTAL_REFRESH_URL", REFRESH),
    ("PORTAL_ORGANIZATION_NAME", ORGANIZATION),
    ("PORTAL_BRAND_COLOR", ACCENT),
    // The name in the service's documentation comes last, so that it counts where both are set.
    ("PORTAL_ACCENT_COLOR", ACCENT),
    ("PORTAL_LOGO", LOGO),
    ("PORTAL_LOGO_DARK", LOGO_DARK),
    ("PORTAL_FAVICON_URL", FAVICON),
    ("PORTAL_FORCE_THEME", FORCE_THEME),
    ("PORTAL_DISABLE_OUTPOST_BRANDING", "disable_outpost_branding"),
    ("PORTAL_ENABLE_DESTINATION_FILTER", "destination_filter"),
    ("PORTAL_ENABLE_WEBHOOK_CUSTOM_HEADERS", "webhook_custom_headers"),
];

/// The longest of the settings that are texts, in bytes.
const MAX_SETTING: usize = 2048;

impl PortalBuilder {
    pub(crate) fn new(outpost: Outpost) -> Self {
        Self {
            outpost,
            texts: Vec::new(),
            disable_branding: false,
            destination_filter: None,
            custom_headers: None,
            prefix_stripped: None,
            frame_ancestors: Vec::new(),
            authenticator: None,
            secret: None,
            language: Language::english(),
            audit: None,
            problems: Vec::new(),
        }
    }

    fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.texts.retain(|(known, _)| *known != name);
        self.texts.push((name, value.into()));
        self
    }

    fn text(&self, name: &'static str) -> Option<&str> {
        self.texts
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Sets where the host application is: the portal links back to it, and whoever has no session is sent there
    /// unless there is a [`refresh_url`](Self::refresh_url). http or https. Required without an
    /// [`authenticator`](Self::authenticator).
    #[must_use]
    pub fn referer_url(self, url: impl Into<String>) -> Self {
        self.set(REFERER, url)
    }

    /// Sets where whoever has no session is sent to get one, with the parameter `return_to` added: the page
    /// within the portal that was wanted. That is a convenience and proves nothing: the endpoint must know by
    /// itself who asks, and make a link for *that* tenant with
    /// [`Outpost::portal_link`](outpost_core::Outpost::portal_link). Default: the referer URL.
    #[must_use]
    pub fn refresh_url(self, url: impl Into<String>) -> Self {
        self.set(REFRESH, url)
    }

    /// Sets the name that the pages are headed with. Default: none.
    #[must_use]
    pub fn organization_name(self, name: impl Into<String>) -> Self {
        self.set(ORGANIZATION, name)
    }

    /// Sets the colour of buttons and links, `#rgb` or `#rrggbb`. What is derived from it stays readable
    /// whichever colour it is.
    #[must_use]
    pub fn accent_color(self, color: impl Into<String>) -> Self {
        self.set(ACCENT, color)
    }

    /// Sets the logo, an http or https URL of an image. Its origin, and no other, is allowed for images.
    #[must_use]
    pub fn logo(self, url: impl Into<String>) -> Self {
        self.set(LOGO, url)
    }

    /// Sets the logo on dark ground. Default: [`logo`](Self::logo).
    #[must_use]
    pub fn logo_dark(self, url: impl Into<String>) -> Self {
        self.set(LOGO_DARK, url)
    }

    /// Sets the icon that browsers show for the pages, an http or https URL of an image.
    #[must_use]
    pub fn favicon_url(self, url: impl Into<String>) -> Self {
        self.set(FAVICON, url)
    }

    /// Sets the theme for everybody, `light` or `dark`. Default: whatever a link, the user or the browser wants.
    #[must_use]
    pub fn force_theme(self, theme: impl Into<String>) -> Self {
        self.set(FORCE_THEME, theme)
    }

    /// Leaves out the line that names Outpost at the foot of the pages. Default: it is there.
    #[must_use]
    pub fn disable_outpost_branding(mut self, disable: bool) -> Self {
        self.disable_branding = disable;
        self
    }

    /// Shows the filters of destinations, or does not even where the engine offers them. Default: as the engine does,
    /// [`OutpostBuilder::tenant_filters`](outpost_core::OutpostBuilder::tenant_filters).
    #[must_use]
    pub fn destination_filter(mut self, show: bool) -> Self {
        self.destination_filter = Some(show);
        self
    }

    /// Shows the headers that users add to webhooks, or does not even where the transport offers them. Default: as the
    /// transport does, `WebhookTransportBuilder::custom_headers`.
    #[must_use]
    pub fn webhook_custom_headers(mut self, show: bool) -> Self {
        self.custom_headers = Some(show);
        self
    }

    /// Sets the URL that browsers reach the portal at. Default: the one that portal links lead to, see
    /// [`TokenSettings`](outpost_core::TokenSettings). Its path is the mount; with `http` cookies go without
    /// `Secure`.
    #[must_use]
    pub fn public_url(self, url: impl Into<String>) -> Self {
        self.set(PUBLIC_URL, url)
    }

    /// Sets the path that browsers reach the portal under, such as `/webhooks`. Default: the path of the public URL,
    /// else `/`.
    #[must_use]
    pub fn mount(self, path: impl Into<String>) -> Self {
        self.set(MOUNT, path)
    }

    /// Says whether the host or a proxy takes the mount off the path before the portal sees it. Default: either is
    /// understood, which needs a mount that does not look like a page of the portal.
    #[must_use]
    pub fn prefix_stripped(mut self, stripped: bool) -> Self {
        self.prefix_stripped = Some(stripped);
        self
    }

    /// Sets a line that is shown above every page, such as that deliveries are late today. Default: none.
    #[must_use]
    pub fn notice(self, text: impl Into<String>) -> Self {
        self.set(NOTICE, text)
    }

    /// Lets pages of these origins, such as `https://app.example.com`, show the portal in a frame. Cookies are then
    /// `SameSite=None; Partitioned`. Default: nobody may.
    #[must_use]
    pub fn frame_ancestors<I, S>(mut self, origins: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.frame_ancestors = origins.into_iter().map(Into::into).collect();
        self
    }

    /// Lets the host say who asks, by its own session, in the place of portal links.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Sets the secret that forms are guarded with, 32 bytes or more, the same in every process. Default: one derived
    /// from the secret of portal links.
    #[must_use]
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secret = Some(secret.as_ref().to_vec());
        self
    }

    /// Sets the words of the pages. Default: English.
    #[must_use]
    pub fn language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    /// Sets who is told of everything that users change or reveal. Default: nobody; it is traced all the same.
    #[must_use]
    pub fn audit(mut self, audit: impl Fn(&Action<'_>) + Send + Sync + 'static) -> Self {
        self.audit = Some(Arc::new(audit));
        self
    }

    /// Takes settings by the names that the Outpost service has for them, such as from `std::env::vars()`:
    /// `PORTAL_REFERER_URL`, `PORTAL_REFRESH_URL`, `PORTAL_ORGANIZATION_NAME`, `PORTAL_ACCENT_COLOR` (or
    /// `PORTAL_BRAND_COLOR`), `PORTAL_LOGO`, `PORTAL_LOGO_DARK`, `PORTAL_FAVICON_URL`, `PORTAL_FORCE_THEME`,
    /// `PORTAL_DISABLE_OUTPOST_BRANDING`, `PORTAL_ENABLE_DESTINATION_FILTER` and
    /// `PORTAL_ENABLE_WEBHOOK_CUSTOM_HEADERS`. Empty values and other names are passed over.
    #[must_use]
    pub fn env<I, K, V>(mut self, variables: I) -> Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let given: Vec<(String, String)> = variables
            .into_iter()
            .map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().trim().to_owned()))
            .collect();
        for (name, setting) in ENVIRONMENT {
            let Some((_, value)) = given.iter().find(|(known, value)| known == name && !value.is_empty()) else {
                continue;
            };
            let switch = match value.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            };
            match (setting, switch) {
                ("disable_outpost_branding", Some(on)) => self.disable_branding = on,
                ("destination_filter", Some(on)) => self.destination_filter = Some(on),
                ("webhook_custom_headers", Some(on)) => self.custom_headers = Some(on),
                ("disable_outpost_branding" | "destination_filter" | "webhook_custom_headers", None) => {
                    self.problems.push(Problem::new(name, "must be true or false"));
                }
                (setting, _) => self = self.set(setting, value.clone()),
            }
        }
        self
    }

    /// Checks the settings and makes the portal.
    ///
    /// # Errors
    /// [`Invalid`](outpost_core::ErrorKind::Invalid) listing everything that is wrong.
    pub fn build(self) -> Result<crate::Portal> {
        let mut problems = self.problems.clone();
        let site = self.site(&mut problems);
        match site.filter(|_| problems.is_empty()) {
            Some(site) => Ok(crate::Portal::over(site)),
            None => Err(Error::invalid("build portal", problems)),
        }
    }

    fn site(&self, problems: &mut Vec<Problem>) -> Option<Site> {
        for (name, value) in &self.texts {
            if value.len() > MAX_SETTING || value.chars().any(char::is_control) {
                problems.push(Problem::new(*name, "must have at most 2048 bytes and no control characters"));
            }
        }
        let referer = self.web_url(REFERER, problems);
        let refresh = self.web_url(REFRESH, problems);
        let tokens = self.outpost.tokens();
        if self.authenticator.is_none() {
            if self.text(REFERER).is_none() {
                problems.push(Problem::new(
                    REFERER,
                    "is required without an authenticator: whoever has no session is sent there",
                ));
            }
            if !tokens.is_configured() {
                problems
                    .push(Problem::new("tokens", "are required without an authenticator: call OutpostBuilder::tokens"));
            }
        }
        let public = match self.text(PUBLIC_URL) {
            Some(_) => self.web_url(PUBLIC_URL, problems),
            None => tokens.portal_url().and_then(|url| Url::parse(url).ok()),
        };
        let mount = self.text(MOUNT).unwrap_or_else(|| public.as_ref().map_or("/", Url::path));
        let mount = Mount::new(mount, self.prefix_stripped, problems);
        let accent =
            self.text(ACCENT).and_then(|color| Accent::parse(color).map_err(|problem| problems.push(problem)).ok());
        let forced_theme = self.text(FORCE_THEME).and_then(|text| {
            let theme = Theme::parse(text);
            if theme.is_none() {
                problems.push(Problem::new(FORCE_THEME, "must be light or dark"));
            }
            theme
        });
        let [logo, logo_dark, favicon] =
            [LOGO, LOGO_DARK, FAVICON].map(|name| self.web_url(name, problems).map(String::from));
        let mut image_origins: Vec<String> = [&logo, &logo_dark, &favicon]
            .into_iter()
            .flatten()
            .filter_map(|url| Url::parse(url).ok())
            .map(|url| url.origin().ascii_serialization())
            .collect();
        image_origins.sort();
        image_origins.dedup();
        let mut ancestors = Vec::new();
        for origin in &self.frame_ancestors {
            match Url::parse(origin) {
                Ok(url) if is_web(&url) && url.path() == "/" && url.query().is_none() => {
                    ancestors.push(url.origin().ascii_serialization());
                }
                _ => problems.push(Problem::new("frame_ancestors", "must be origins such as https://app.example.com")),
            }
        }
        let derived = match &self.secret {
            Some(secret) if secret.len() < 32 => {
                problems.push(Problem::new("secret", "must have at least 32 bytes"));
                None
            }
            Some(secret) => Some(Sha256::digest(secret).into()),
            None => {
                let derived = tokens.derived_key("outpost portal forms");
                if derived.is_none() && self.authenticator.is_some() {
                    problems.push(Problem::new("secret", "is required: forms are guarded with it"));
                }
                derived
            }
        };
        let offers = self.outpost.offers();
        let types = self.outpost.destination_types();
        if self.destination_filter == Some(true) && !offers.tenant_filters {
            problems.push(Problem::new("destination_filter", "needs OutpostBuilder::tenant_filters"));
        }
        let headers_offered =
            types.iter().any(|kind| kind.config_fields.iter().any(|field| field.key == HEADERS_FIELD));
        if self.custom_headers == Some(true) && !headers_offered {
            problems.push(Problem::new("webhook_custom_headers", "need WebhookTransportBuilder::custom_headers"));
        }
        let secure = public.as_ref().is_none_or(|url| url.scheme() == "https");
        if !secure && !ancestors.is_empty() {
            problems.push(Problem::new(
                "frame_ancestors",
                "need an https public URL: browsers send such cookies on https only",
            ));
        }
        // The default accent stands in the stylesheet already.
        let css = without_comments(include_str!("../assets/portal.css"))
            + &accent.map(|accent| accent.css()).unwrap_or_default();
        let assets = Assets::new(css, include_str!("../assets/portal.js").to_owned());
        Some(Site {
            outpost: self.outpost.clone(),
            referer,
            refresh,
            organization: self.text(ORGANIZATION).map(str::to_owned),
            logo_dark: logo_dark.or_else(|| logo.clone()),
            logo,
            favicon,
            image_origins,
            forced_theme,
            branding: !self.disable_branding,
            filters: self.destination_filter.unwrap_or(true) && offers.tenant_filters,
            custom_headers: self.custom_headers.unwrap_or(true) && headers_offered,
            notice: self.text(NOTICE).map(str::to_owned),
            origin: public.as_ref().map(|url| url.origin().ascii_serialization()),
            secure,
            ancestors,
            authenticator: self.authenticator.clone(),
            keys: Keys::new(derived?),
            language: self.language.clone(),
            audit: self.audit.clone(),
            mount: mount?,
            assets,
            offers,
            types,
        })
    }

    fn web_url(&self, name: &'static str, problems: &mut Vec<Problem>) -> Option<Url> {
        let text = self.text(name)?;
        match Url::parse(text) {
            Ok(url) if is_web(&url) => Some(url),
            _ => {
                problems.push(Problem::new(name, "must be an http or https URL without user name and password"));
                None
            }
        }
    }
}

/// Whether it is an http or https URL without user name and password, whose host can stand in a security policy: the
/// parser lets a `;` pass, which would begin another directive there.
fn is_web(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte))
}

impl fmt::Debug for PortalBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortalBuilder").field("texts", &self.texts).finish_non_exhaustive()
    }
}

/// The field of webhooks that holds the headers that users add.
pub(crate) const HEADERS_FIELD: &str = "custom_headers";

/// Where the portal is, as browsers see it and as requests come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// With a slash at both ends.
    path: String,
    stripped: Option<bool>,
}

impl Mount {
    pub(crate) fn new(path: &str, stripped: Option<bool>, problems: &mut Vec<Problem>) -> Option<Self> {
        let inner = path.trim_matches('/');
        let fine = |part: &str| {
            !part.is_empty()
                && !matches!(part, "." | "..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~@%+".contains(&byte))
        };
        if inner.is_empty() {
            return Some(Self { path: "/".to_owned(), stripped: Some(false) });
        }
        if path.len() > 512 || !inner.split('/').all(fine) {
            problems.push(Problem::new(MOUNT, "must be a path such as /webhooks"));
            return None;
        }
        // With such a mount a path could be meant either way.
        let first = crate::route::segments(inner.split('/').next().unwrap_or_default()).unwrap_or_default();
        let ambiguous = crate::route::Route::read(&first).is_some()
            || ["destinations", "replays", "events", "help", "assets"]
                .contains(&inner.split('/').next().unwrap_or_default());
        if stripped.is_none() && ambiguous {
            problems.push(Problem::new(
                MOUNT,
                "starts like a page of the portal: say with prefix_stripped whether it is taken off",
            ));
            return None;
        }
        Some(Self { path: format!("/{inner}/"), stripped })
    }

    /// The path with a slash at its end.
    pub(crate) fn as_str(&self) -> &str {
        &self.path
    }

    /// The path without the slash at its end; `/` for the root.
    pub(crate) fn bare(&self) -> &str {
        match self.path.trim_end_matches('/') {
            "" => "/",
            bare => bare,
        }
    }

    /// The path below the mount, with a slash at its start; `None` when it is not below it.
    pub(crate) fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let bare = self.path.trim_end_matches('/');
        let full = path.strip_prefix(bare).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let below = match self.stripped {
            Some(true) => Some(path),
            Some(false) => full,
            None => full.or(Some(path)),
        };
        below.map(|rest| if rest.is_empty() { "/" } else { rest })
    }
}

/// A stylesheet as it is sent: comments are for those who read its source.
fn without_comments(css: &str) -> String {
    let mut sent = String::with_capacity(css.len());
    let mut rest = css;
    while let Some((before, after)) = rest.split_once("/*") {
        sent.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after.trim_start());
    }
    sent + rest
}

/// The files that pages refer to, with their content's hash in their names.
#[derive(Debug)]
pub(crate) struct Assets {
    pub(crate) css: Asset,
    pub(crate) js: Asset,
}

#[derive(Debug)]
pub(crate) struct Asset {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) plain: Bytes,
    pub(crate) gzip: Option<Bytes>,
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, text: String) -> Self {
        let hash: String = Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let gzip = crate::reply::gzip(text.as_bytes(), 9);
        Self { name: format!("{stem}.{hash}.{extension}"), kind, plain: text.into(), gzip }
    }
}

impl Assets {
    fn new(css: String, js: String) -> Self {
        Self {
            css: Asset::new("portal", "css", "text/css; charset=utf-8", css),
            js: Asset::new("portal", "js", "text/javascript; charset=utf-8", js),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Asset> {
        [&self.css, &self.js].into_iter().find(|asset| asset.name == name)
    }
}

/// A portal's settings after they were checked.
pub(crate) struct Site {
    /// Acts as the operator.
    pub(crate) outpost: Outpost,
    pub(crate) referer: Option<Url>,
    pub(crate) refresh: Option<Url>,
    pub(crate) organization: Option<String>,
    pub(crate) logo: Option<String>,
    pub(crate) logo_dark: Option<String>,
    pub(crate) favicon: Option<String>,
    pub(crate) image_origins: Vec<String>,
    pub(crate) forced_theme: Option<Theme>,
    pub(crate) branding: bool,
    pub(crate) filters: bool,
    pub(crate) custom_headers: bool,
    pub(crate) notice: Option<String>,
    /// The origin that browsers see, where it is known.
    pub(crate) origin: Option<String>,
    pub(crate) secure: bool,
    pub(crate) ancestors: Vec<String>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) keys: Keys,
    pub(crate) language: Language,
    pub(crate) audit: Option<Audit>,
    pub(crate) mount: Mount,
    pub(crate) assets: Assets,
    pub(crate) offers: Offers,
    pub(crate) types: Vec<Descriptor>,
}

impl Site {
    /// The kind of destination with this name.
    pub(crate) fn kind(&self, name: &str) -> Option<&Descriptor> {
        self.types.iter().find(|kind| kind.kind == name)
    }

    /// Whether destinations of this kind are signed with a secret of their own.
    pub(crate) fn signs(&self, kind: &str) -> bool {
        self.kind(kind).is_some_and(|kind| kind.credential_fields.iter().any(|field| field.key == "secret"))
    }

    /// Whether the portal may be shown in a frame.
    pub(crate) fn embedded(&self) -> bool {
        !self.ancestors.is_empty()
    }

    /// The content security policy of every answer.
    pub(crate) fn policy(&self) -> String {
        let images: String = self.image_origins.iter().map(|origin| format!(" {origin}")).collect();
        let ancestors = if self.ancestors.is_empty() { "'none'".to_owned() } else { self.ancestors.join(" ") };
        format!(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:{images}; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mount(path: &str, stripped: Option<bool>) -> Mount {
        Mount::new(path, stripped, &mut Vec::new()).unwrap()
    }

    #[test]
    fn a_path_is_read_with_and_without_its_prefix() {
        let auto = mount("/a/b/", None);
        assert_eq!(auto.as_str(), "/a/b/");
        assert_eq!(auto.below("/a/b"), Some("/"));
        assert_eq!(auto.below("/a/b/activity"), Some("/activity"));
        assert_eq!(auto.below("/activity"), Some("/activity"));
        assert_eq!(auto.below("/a/bc"), Some("/a/bc"));
        assert_eq!(mount("a/b", Some(false)).below("/activity"), None);
        assert_eq!(mount("/activity", Some(true)).below("/activity"), Some("/activity"));
        assert_eq!(mount("/", None).below("/activity"), Some("/activity"));
    }

    #[test]
    fn what_every_page_loads_is_light() {
        let assets = Assets::new(
            without_comments(include_str!("../assets/portal.css")),
            include_str!("../assets/portal.js").to_owned(),
        );
        let size = |asset: &Asset| (asset.plain.len(), asset.gzip.as_ref().unwrap().len());
        assert!(size(&assets.css) <= (16 << 10, 5 << 10), "{:?}", size(&assets.css));
        assert!(size(&assets.js).0 <= 4 << 10 && size(&assets.js).1 <= 2 << 10, "{:?}", size(&assets.js));
        assert!(size(&assets.css).1 <= 5 << 10, "{:?}", size(&assets.css));
        assert!(!String::from_utf8_lossy(&assets.css.plain).contains("/*"));
    }

    #[test]
    fn a_mount_that_could_be_a_page_must_be_explained() {
        for path in ["/activity", "/destinations/x", "/assets"] {
            let mut problems = Vec::new();
            assert_eq!(Mount::new(path, None, &mut problems), None);
            assert!(problems[0].message.contains("prefix_stripped"));
            assert!(Mount::new(path, Some(true), &mut Vec::new()).is_some());
        }
        for path in ["/a b", "/a//b", "/../x", "/a?b", "/a;b"] {
            assert!(Mount::new(path, Some(true), &mut Vec::new()).is_none(), "{path}");
        }
    }
}
