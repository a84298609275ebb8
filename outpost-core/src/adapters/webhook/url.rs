//! A destination's URL. The authority comes from the URL parser's canonical form, so that every spelling
//! of a host is one; the request target is the input's own bytes, because receivers may sign or route by it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use url::{Host, Url};

use super::mask::PathMask;
use super::mask::mask_target;
use crate::values::error::Problem;

/// The longest URL of a destination, in bytes.
pub const MAX_URL: usize = 2048;

/// A URL that can be sent to.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) uri: Uri,
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// `Authorization: Basic …` from the URL's user information.
    pub(super) basic: Option<HeaderValue>,
    /// The URL with its secret parts masked.
    pub(super) display: String,
}

/// Reads a destination's URL.
///
/// A fragment is dropped: it is never part of a request. Whitespace around the URL is not accepted, nor
/// are control characters, spaces and, outside the host, characters beyond ASCII.
pub(super) fn parse(text: &str, https_only: bool, masks: &[PathMask]) -> Result<Endpoint, Problem> {
    let refuse = |message: &str| Problem::new("config.url", message);
    if text.len() > MAX_URL {
        return Err(Problem::new("config.url", format!("must be at most {MAX_URL} bytes")));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refuse("must not hold spaces or control characters"));
    }
    // The parser also takes `https:host` and `https:\\host`; what people see must be what is meant.
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(refuse("must start with https:// or http://"));
    };
    let https = scheme.eq_ignore_ascii_case("https");
    if !https && !scheme.eq_ignore_ascii_case("http") {
        return Err(refuse("must start with https:// or http://"));
    }
    if !https && https_only {
        return Err(refuse("must start with https://"));
    }
    let url = Url::parse(text).map_err(|error| Problem::new("config.url", format!("is not a URL: {error}")))?;
    let host = url.host().ok_or_else(|| refuse("must have a host"))?.to_owned();
    let authority_end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (written_authority, target) = rest.split_at(authority_end);
    if written_authority.is_empty() || target.starts_with('\\') {
        return Err(refuse("must have a host after ://"));
    }
    let target = request_target(target).map_err(refuse)?;
    let port = url.port_or_known_default().filter(|port| *port != 0).ok_or_else(|| refuse("must not use port 0"))?;
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    };
    let scheme = if https { "https" } else { "http" };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority.as_str())
        .path_and_query(target.as_str())
        .build()
        .map_err(|_| refuse("holds characters that must be percent-encoded"))?;
    // A request goes to exactly the host that was checked.
    if uri.host() != Some(host.to_string().as_str()) || uri.path_and_query().map(|t| t.as_str()) != Some(&target) {
        return Err(refuse("cannot be used as written"));
    }
    if https && rustls::pki_types::ServerName::try_from(server_name(&host)).is_err() {
        return Err(refuse("has a host that no certificate can name"));
    }
    let basic = basic_auth(&url).map_err(refuse)?;
    let user = if basic.is_some() { "***@" } else { "" };
    let display = format!("{scheme}://{user}{authority}{}", mask_target(&host.to_string(), &target, masks));
    Ok(Endpoint { uri, host, port, basic, display })
}

/// The host as certificates name it: IPv6 without brackets.
pub(super) fn server_name(host: &Host<String>) -> String {
    match host {
        Host::Domain(name) => name.clone(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

/// Path and query as they were written, without the fragment.
fn request_target(written: &str) -> Result<String, &'static str> {
    let target = written.split('#').next().unwrap_or_default();
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be ASCII after the host; percent-encode other characters");
    }
    Ok(if target.starts_with('/') { target.to_owned() } else { format!("/{target}") })
}

fn basic_auth(url: &Url) -> Result<Option<HeaderValue>, &'static str> {
    let password = url.password();
    if url.username().is_empty() && password.is_none() {
        return Ok(None);
    }
    let user = percent_decode(url.username());
    if user.contains(&b':') {
        return Err("must not have a colon in its user name");
    }
    let pair = [user, percent_decode(password.unwrap_or_default())].join(&b':');
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| "has user information that cannot be sent")?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Replaces each `%` and two hex digits by their byte; leaves anything else.
pub(super) fn percent_decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = match tail {
            [high, low, after @ ..] if *first == b'%' => hex(*high).zip(hex(*low)).map(|(h, l)| (h << 4 | l, after)),
            _ => None,
        };
        let (byte, after) = digits.unwrap_or((*first, tail));
        decoded.push(byte);
        rest = after;
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn ok(text: &str) -> Endpoint {
        parse(text, false, &[]).unwrap()
    }

    fn problem(text: &str) -> String {
        let problem = parse(text, false, &[]).err().unwrap_or_else(|| panic!("{text} is accepted"));
        assert_eq!(problem.field, "config.url");
        problem.message
    }

    #[test]
    fn the_target_is_the_input_s_own_bytes() {
        for (text, target) in [
            ("https://x.test", "/"),
            ("https://x.test?a=b", "/?a=b"),
            ("https://x.test#frag", "/"),
            ("https://x.test/#/?x", "/"),
            ("https://x.test/a/../b/./c//d", "/a/../b/./c//d"),
            ("https://x.test/%7Euser/%e2%82%ac?q=%20+&&=&a==b", "/%7Euser/%e2%82%ac?q=%20+&&=&a==b"),
            ("https://x.test/a|b\\c{d}'e~f", "/a|b\\c{d}'e~f"),
            ("https://x.test/p?next=https://y.test/a?b", "/p?next=https://y.test/a?b"),
            ("HTTPS://X.Test:443/A", "/A"),
        ] {
            assert_eq!(ok(text).uri.path_and_query().unwrap().as_str(), target, "{text}");
        }
    }

    #[test]
    fn hosts_are_canonical_in_every_spelling() {
        for (text, authority) in [
            ("https://X.TEST/", "x.test"),
            ("https://münchen.example/", "xn--mnchen-3ya.example"),
            ("http://127.1/", "127.0.0.1"),
            ("http://0x7f.0.0.1:81/", "127.0.0.1:81"),
            ("http://2130706433/", "127.0.0.1"),
            ("http://0177.0.0.01/", "127.0.0.1"),
            ("http://[0:0::0:1]:80/", "[::1]"),
            ("http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]"),
            ("http://１２７.０.０.１/", "127.0.0.1"),
            ("https://x.test:444/", "x.test:444"),
            ("https://a@b@x.test/", "x.test"),
        ] {
            assert_eq!(ok(text).uri.authority().unwrap().as_str(), authority, "{text}");
        }
    }

    #[test]
    fn odd_urls_are_problems_in_words() {
        for text in [
            "",
            "x",
            "/x",
            "ftp://x.test/",
            "https:x.test",
            "https:\\\\x.test",
            "https:///x.test",
            "https://\\x.test",
            "https://",
            "https://?x",
            " https://x.test/",
            "https://x.test/a b",
            "https://x.te\tst/",
            "https://x.test/\u{e9}",
            "https://x.test/\u{0}",
            "http://[fe80::1%25eth0]/",
            "http://a%00b/",
            "http://x.test:99999/",
            "http://x.test:0/",
            "http://[::1/",
            "http://a<b/",
            "https://x.test/<>",
            "https://x.test/`",
            "http://999.1.1.1/",
            "https://a%3Ab:c@x.test/",
            "javascript://x.test/",
            "https://x\u{2028}.test/",
            "http://x{y.test/",
            "http://a`b.test/",
        ] {
            assert!(!problem(text).is_empty());
        }
        assert!(problem(&format!("https://x.test/{}", "a".repeat(MAX_URL))).contains("2048"));
        assert!(parse("http://x.test/", true, &[]).is_err() && parse("https://x.test/", true, &[]).is_ok());
    }

    #[test]
    fn user_information_becomes_basic_authorization_and_is_masked() {
        let endpoint = ok("https://us%65r:p%40ss%3A@x.test:8443/in?a=1&api_key=k");
        assert_eq!(endpoint.basic.unwrap(), format!("Basic {}", STANDARD.encode("user:p@ss:")));
        assert_eq!(endpoint.display, "https://***@x.test:8443/in?a=1&api_key=***");
        assert!(endpoint.uri.to_string().starts_with("https://x.test:8443/"));
        assert!(ok("https://x.test/").basic.is_none());
        assert_eq!(ok("https://only@x.test/").basic.unwrap(), format!("Basic {}", STANDARD.encode("only:")));
    }

    #[test]
    fn percent_decoding_leaves_what_is_no_escape() {
        assert_eq!(percent_decode("a%41%4g%%4"), b"aA%4g%%4");
    }
}
