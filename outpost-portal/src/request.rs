//! What a browser asks, read once and bounded.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};

/// The largest form, in bytes: a test payload of 256 KiB may grow threefold when it is encoded.
pub(crate) const MAX_FORM: usize = 1 << 20;
/// The most fields of a form; of a query no more are read.
pub(crate) const MAX_FIELDS: usize = 2000;

/// Names and values of a query or a form, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(
            form_urlencoded::parse(text)
                .take(MAX_FIELDS)
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// The first value of `name` that is not empty, without spaces around it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).map(str::trim).find(|value| !value.is_empty())
    }

    /// The first value of `name` as it was given; empty when there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// Whether `name` was given, whatever its value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Every value of `name`.
    pub(crate) fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

impl From<Vec<(String, String)>> for Params {
    fn from(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }
}

/// A request, with its body read if it has one that matters.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// The path below the mount, encoded, with a slash at its start.
    pub(crate) path: String,
    pub(crate) query: Params,
    pub(crate) form: Params,
    pub(crate) headers: HeaderMap,
}

impl Request {
    pub(crate) fn new(parts: &Parts, path: String, body: &Bytes) -> Self {
        Self {
            method: parts.method.clone(),
            path,
            query: Params::parse(parts.uri.query().unwrap_or_default().as_bytes()),
            form: Params::parse(body),
            headers: parts.headers.clone(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The values of the cookie `name`: several when portals are mounted one below the other, the most specific
    /// first.
    pub(crate) fn cookies<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        let headers = self.headers.get_all(http::header::COOKIE).into_iter();
        headers
            .filter_map(|value| value.to_str().ok())
            .flat_map(cookie::Cookie::split_parse_encoded)
            .filter_map(Result::ok)
            .filter(move |cookie| cookie.name() == name)
            .map(|cookie| cookie.value().to_owned())
    }

    pub(crate) fn is_post(&self) -> bool {
        self.method == Method::POST
    }

    /// Whether a form was sent from a page that is not one of ours. `origin`: ours, where it is known.
    pub(crate) fn is_foreign(&self, origin: Option<&str>) -> bool {
        match (self.header("sec-fetch-site"), self.header("origin"), origin) {
            (Some(site), ..) => !matches!(site, "same-origin" | "none"),
            // Older browsers say only where the form was.
            (None, Some(theirs), Some(own)) => theirs != own,
            _ => false,
        }
    }

    /// Whether a person goes to this page, in a window or a frame: not a script's fetch, not a prefetch.
    pub(crate) fn is_navigation(&self) -> bool {
        let fine = |value: &str| matches!(value, "document" | "iframe" | "frame" | "embed");
        self.header("sec-fetch-dest").is_none_or(fine) && !self.is_prefetch()
    }

    pub(crate) fn is_prefetch(&self) -> bool {
        ["sec-purpose", "purpose", "x-purpose"].iter().any(|name| {
            self.header(name)
                .is_some_and(|value| value.contains("prefetch") || value.contains("prerender") || value == "preview")
        })
    }

    pub(crate) fn accepts_gzip(&self) -> bool {
        self.header("accept-encoding").is_some_and(|value| {
            value.split(',').any(|part| {
                let mut pieces = part.split(';').map(str::trim);
                let named = pieces.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
                named && !pieces.any(|piece| matches!(piece, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
            })
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Request {
        let mut request = http::Request::builder().uri("/?a=1&a=&b=x%20y");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Request::new(&request.body(()).unwrap().into_parts().0, "/".to_owned(), &Bytes::new())
    }

    #[test]
    fn parameters_keep_order_and_repetition() {
        let request = asked(&[]);
        assert_eq!(request.query.get("a"), Some("1"));
        assert_eq!(request.query.all("a").collect::<Vec<_>>(), ["1", ""]);
        assert_eq!(request.query.get("b"), Some("x y"));
        assert!(!request.query.has("c"));
    }

    #[test]
    fn only_people_going_to_a_page_are_navigations() {
        assert!(asked(&[]).is_navigation());
        assert!(asked(&[("sec-fetch-dest", "iframe")]).is_navigation());
        assert!(!asked(&[("sec-fetch-dest", "empty")]).is_navigation());
        assert!(!asked(&[("sec-fetch-dest", "document"), ("sec-purpose", "prefetch;prerender")]).is_navigation());
        assert!(!asked(&[("purpose", "prefetch")]).is_navigation());
    }

    #[test]
    fn gzip_is_used_only_when_it_is_wanted() {
        assert!(asked(&[("accept-encoding", "br, gzip;q=0.5")]).accepts_gzip());
        assert!(!asked(&[("accept-encoding", "br, gzip;q=0")]).accepts_gzip());
        assert!(!asked(&[]).accepts_gzip());
    }

    #[test]
    fn of_several_cookies_of_one_name_all_are_seen() {
        let request = asked(&[("cookie", "a=1; b=2; a=3; broken; =x")]);
        assert_eq!(request.cookies("a").collect::<Vec<_>>(), ["1", "3"]);
    }
}
