//! The map of the portal: every address it answers, read from a path and written as one. Nothing else knows paths.

use std::fmt;

use maud::{Markup, PreEscaped, Render};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What a path segment may not hold as it is. Ids consist of letters, digits and `-_.:@|~`.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The longest path that is looked at, in bytes.
const MAX_PATH: usize = 4096;

/// An address within the portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Route<'a> {
    Home,
    Enter,
    Logout,
    SignedOut,
    Expired,
    New,
    NewType(&'a str),
    Overview(&'a str),
    Deliveries(&'a str),
    RetryDeliveries(&'a str),
    Delivery(&'a str, &'a str),
    Retry(&'a str, &'a str),
    Cancel(&'a str, &'a str),
    Payload(&'a str, &'a str),
    Response(&'a str, &'a str, u32),
    Curl(&'a str, &'a str, u32),
    Replay(&'a str),
    ReplayJob(&'a str),
    CancelReplay(&'a str),
    Test(&'a str),
    Settings(&'a str),
    Secret(&'a str),
    Reveal(&'a str),
    Rotate(&'a str),
    ExpirePrevious(&'a str),
    CheckSignature(&'a str),
    Disable(&'a str),
    Enable(&'a str),
    Delete(&'a str),
    Export(&'a str, Format),
    Activity,
    RetryActivity,
    ExportActivity(Format),
    Event(&'a str),
    Find,
    Help(&'a str),
    Preferences,
    Asset(&'a str),
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    Csv,
    Ndjson,
}

impl Format {
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

/// Which methods an address answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Methods {
    Get,
    Post,
    Both,
}

impl Methods {
    pub(crate) const fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
            Self::Both => "GET, HEAD, POST",
        }
    }
}

/// The decoded segments of a path below the mount; `None` when it is not one that anything here could have.
pub(crate) fn segments(path: &str) -> Option<Vec<String>> {
    if path.len() > MAX_PATH {
        return None;
    }
    let trimmed = path.trim_start_matches('/');
    // One slash at the end is a matter of taste.
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    if trimmed.is_empty() {
        return Some(Vec::new());
    }
    let decode = |part: &str| percent_decode_str(part).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    trimmed.split('/').map(decode).collect()
}

impl<'a> Route<'a> {
    /// The address with these segments.
    pub(crate) fn read(segments: &'a [String]) -> Option<Self> {
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
        Some(match *parts.as_slice() {
            [] | ["destinations"] => Self::Home,
            ["enter"] => Self::Enter,
            ["logout"] => Self::Logout,
            ["signed-out"] => Self::SignedOut,
            ["expired"] => Self::Expired,
            ["destinations", "new"] => Self::New,
            ["destinations", "new", kind] => Self::NewType(kind),
            ["destinations", id, ref rest @ ..] if id != "new" => match *rest {
                [] => Self::Overview(id),
                ["deliveries"] => Self::Deliveries(id),
                ["retry"] => Self::RetryDeliveries(id),
                ["deliveries.csv"] => Self::Export(id, Format::Csv),
                ["deliveries.ndjson"] => Self::Export(id, Format::Ndjson),
                ["deliveries", event] => Self::Delivery(id, event),
                ["deliveries", event, "retry"] => Self::Retry(id, event),
                ["deliveries", event, "cancel"] => Self::Cancel(id, event),
                ["deliveries", event, "payload"] => Self::Payload(id, event),
                ["deliveries", event, "attempts", n, "response"] => Self::Response(id, event, number(n)?),
                ["deliveries", event, "attempts", n, "curl"] => Self::Curl(id, event, number(n)?),
                ["replay"] => Self::Replay(id),
                ["test"] => Self::Test(id),
                ["settings"] => Self::Settings(id),
                ["secret"] => Self::Secret(id),
                ["secret", "reveal"] => Self::Reveal(id),
                ["secret", "rotate"] => Self::Rotate(id),
                ["secret", "expire-previous"] => Self::ExpirePrevious(id),
                ["secret", "check"] => Self::CheckSignature(id),
                ["disable"] => Self::Disable(id),
                ["enable"] => Self::Enable(id),
                ["delete"] => Self::Delete(id),
                _ => return None,
            },
            ["replays", job] => Self::ReplayJob(job),
            ["replays", job, "cancel"] => Self::CancelReplay(job),
            ["activity"] => Self::Activity,
            ["activity", "retry"] => Self::RetryActivity,
            ["activity.csv"] => Self::ExportActivity(Format::Csv),
            ["activity.ndjson"] => Self::ExportActivity(Format::Ndjson),
            ["events", id] => Self::Event(id),
            ["find"] => Self::Find,
            ["help", topic @ ("verify" | "filters" | "retries")] => Self::Help(topic),
            ["preferences"] => Self::Preferences,
            ["assets", name] => Self::Asset(name),
            _ => return None,
        })
    }

    /// Which methods it answers.
    pub(crate) const fn methods(self) -> Methods {
        match self {
            Self::Home
            | Self::SignedOut
            | Self::Expired
            | Self::New
            | Self::Overview(_)
            | Self::Deliveries(_)
            | Self::Delivery(..)
            | Self::Payload(..)
            | Self::Response(..)
            | Self::Curl(..)
            | Self::ReplayJob(_)
            | Self::Secret(_)
            | Self::Export(..)
            | Self::Activity
            | Self::ExportActivity(_)
            | Self::Event(_)
            | Self::Find
            | Self::Help(_)
            | Self::Asset(_) => Methods::Get,
            Self::Logout
            | Self::RetryDeliveries(_)
            | Self::Retry(..)
            | Self::Cancel(..)
            | Self::CancelReplay(_)
            | Self::Reveal(_)
            | Self::Rotate(_)
            | Self::ExpirePrevious(_)
            | Self::CheckSignature(_)
            | Self::RetryActivity => Methods::Post,
            Self::Enter
            | Self::NewType(_)
            | Self::Replay(_)
            | Self::Test(_)
            | Self::Settings(_)
            | Self::Disable(_)
            | Self::Enable(_)
            | Self::Delete(_)
            | Self::Preferences => Methods::Both,
        }
    }
}

/// The path below the mount, without the slash at its start.
impl fmt::Display for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = |part| utf8_percent_encode(part, SEGMENT);
        let of = |f: &mut fmt::Formatter<'_>, id, rest: &str| write!(f, "destinations/{}{rest}", e(id));
        match *self {
            Self::Home => Ok(()),
            Self::Enter => f.write_str("enter"),
            Self::Logout => f.write_str("logout"),
            Self::SignedOut => f.write_str("signed-out"),
            Self::Expired => f.write_str("expired"),
            Self::New => f.write_str("destinations/new"),
            Self::NewType(kind) => write!(f, "destinations/new/{}", e(kind)),
            Self::Overview(id) => of(f, id, ""),
            Self::Deliveries(id) => of(f, id, "/deliveries"),
            Self::RetryDeliveries(id) => of(f, id, "/retry"),
            Self::Delivery(id, event) => write!(f, "destinations/{}/deliveries/{}", e(id), e(event)),
            Self::Retry(id, event) => write!(f, "destinations/{}/deliveries/{}/retry", e(id), e(event)),
            Self::Cancel(id, event) => write!(f, "destinations/{}/deliveries/{}/cancel", e(id), e(event)),
            Self::Payload(id, event) => write!(f, "destinations/{}/deliveries/{}/payload", e(id), e(event)),
            Self::Response(id, event, n) => {
                write!(f, "destinations/{}/deliveries/{}/attempts/{n}/response", e(id), e(event))
            }
            Self::Curl(id, event, n) => write!(f, "destinations/{}/deliveries/{}/attempts/{n}/curl", e(id), e(event)),
            Self::Replay(id) => of(f, id, "/replay"),
            Self::ReplayJob(job) => write!(f, "replays/{}", e(job)),
            Self::CancelReplay(job) => write!(f, "replays/{}/cancel", e(job)),
            Self::Test(id) => of(f, id, "/test"),
            Self::Settings(id) => of(f, id, "/settings"),
            Self::Secret(id) => of(f, id, "/secret"),
            Self::Reveal(id) => of(f, id, "/secret/reveal"),
            Self::Rotate(id) => of(f, id, "/secret/rotate"),
            Self::ExpirePrevious(id) => of(f, id, "/secret/expire-previous"),
            Self::CheckSignature(id) => of(f, id, "/secret/check"),
            Self::Disable(id) => of(f, id, "/disable"),
            Self::Enable(id) => of(f, id, "/enable"),
            Self::Delete(id) => of(f, id, "/delete"),
            Self::Export(id, format) => write!(f, "destinations/{}/deliveries.{}", e(id), format.extension()),
            Self::Activity => f.write_str("activity"),
            Self::RetryActivity => f.write_str("activity/retry"),
            Self::ExportActivity(format) => write!(f, "activity.{}", format.extension()),
            Self::Event(id) => write!(f, "events/{}", e(id)),
            Self::Find => f.write_str("find"),
            Self::Help(topic) => write!(f, "help/{topic}"),
            Self::Preferences => f.write_str("preferences"),
            Self::Asset(name) => write!(f, "assets/{}", e(name)),
        }
    }
}

/// A link within the portal: mount, path, query and fragment. It renders as the value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Href {
    path: String,
    query: Vec<(String, String)>,
    fragment: Option<String>,
}

impl Href {
    /// `mount` ends with a slash.
    pub(crate) fn new(mount: &str, route: Route<'_>) -> Self {
        Self { path: format!("{mount}{route}"), query: Vec::new(), fragment: None }
    }

    /// Adds a parameter.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds parameters.
    #[must_use]
    pub(crate) fn with_all(mut self, pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        self.query.extend(pairs);
        self
    }

    /// Sets the fragment.
    #[must_use]
    pub(crate) fn at(mut self, fragment: impl Into<String>) -> Self {
        self.fragment = Some(fragment.into());
        self
    }
}

impl fmt::Display for Href {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if !self.query.is_empty() {
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish();
            write!(f, "?{query}")?;
        }
        match &self.fragment {
            Some(fragment) => write!(f, "#{fragment}"),
            None => Ok(()),
        }
    }
}

impl Render for Href {
    fn render(&self) -> Markup {
        // Escaped for the attribute: the query has ampersands.
        PreEscaped(self.to_string().replace('&', "&amp;").replace('"', "&quot;"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    macro_rules! variants {
        ($($variant:pat),* $(,)?) => {
            const NAMES: &[&str] = &[$(stringify!($variant)),*];

            /// The name of a route's variant. One that is missing here does not compile.
            fn name(route: Route<'_>) -> &'static str {
                use Route::*;
                match route { $($variant => stringify!($variant)),* }
            }
        };
    }

    variants! {
        Home, Enter, Logout, SignedOut, Expired, New, NewType(_), Overview(_), Deliveries(_), RetryDeliveries(_),
        Delivery(..), Retry(..), Cancel(..), Payload(..), Response(..), Curl(..), Replay(_), ReplayJob(_),
        CancelReplay(_), Test(_), Settings(_), Secret(_), Reveal(_), Rotate(_), ExpirePrevious(_), CheckSignature(_),
        Disable(_), Enable(_), Delete(_), Export(..), Activity, RetryActivity, ExportActivity(_), Event(_), Find,
        Help(_), Preferences, Asset(_),
    }

    /// One of each, with ids that need care. A new route is added here, or `every_route_is_listed` fails.
    pub(crate) fn every<'a>(id: &'a str, event: &'a str) -> Vec<Route<'a>> {
        use Route::*;
        vec![
            Home,
            Enter,
            Logout,
            SignedOut,
            Expired,
            New,
            NewType("webhook"),
            Overview(id),
            Deliveries(id),
            RetryDeliveries(id),
            Delivery(id, event),
            Retry(id, event),
            Cancel(id, event),
            Payload(id, event),
            Response(id, event, 1),
            Curl(id, event, 7),
            Replay(id),
            ReplayJob(event),
            CancelReplay(event),
            Test(id),
            Settings(id),
            Secret(id),
            Reveal(id),
            Rotate(id),
            ExpirePrevious(id),
            CheckSignature(id),
            Disable(id),
            Enable(id),
            Delete(id),
            Export(id, Format::Csv),
            Export(id, Format::Ndjson),
            Activity,
            RetryActivity,
            ExportActivity(Format::Csv),
            ExportActivity(Format::Ndjson),
            Event(event),
            Find,
            Help("verify"),
            Preferences,
            Asset("portal.0.css"),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            id in "[A-Za-z0-9][A-Za-z0-9_:.@|~-]{0,40}",
            event in "[A-Za-z0-9][A-Za-z0-9_:@|~-]{0,40}",
        ) {
            prop_assume!(id != "new");
            for route in every(&id, &event) {
                let path = route.to_string();
                let read = segments(&path).unwrap();
                prop_assert_eq!(Route::read(&read), Some(route), "{}", path);
                let read = segments(&format!("/{path}/")).unwrap();
                prop_assert_eq!(Route::read(&read), Some(route), "{}", path);
            }
        }

        #[test]
        fn no_path_panics(path in "\\PC{0,80}") {
            if let Some(read) = segments(&path) {
                let _ = Route::read(&read);
            }
        }
    }

    #[test]
    fn every_route_is_listed() {
        let listed: Vec<&str> = every("a", "b").into_iter().map(name).collect();
        let missing: Vec<_> = NAMES.iter().filter(|name| !listed.contains(name)).collect();
        assert!(missing.is_empty(), "not in `every`: {missing:?}");
    }

    /// The tests of what each address answers to whom go by that list.
    #[test]
    fn the_list_of_addresses_for_tests_has_every_route_with_its_methods() {
        let mut found = Vec::new();
        let lines = include_str!("../tests/support/routes.txt").lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let read = segments(cells[0]).unwrap();
            let route = Route::read(&read).unwrap_or_else(|| panic!("no address: {line}"));
            let methods = match (cells[1], cells[2]) {
                (_, "-") => Methods::Get,
                ("-", _) => Methods::Post,
                _ => Methods::Both,
            };
            assert_eq!(route.methods(), methods, "{line}");
            found.push(name(route));
        }
        let missing: Vec<_> = NAMES.iter().filter(|name| !found.contains(name)).collect();
        assert!(missing.is_empty(), "not in routes.txt: {missing:?}");
    }

    #[test]
    fn links_are_escaped_for_their_attribute() {
        let href = Href::new("/a/", Route::Activity).with("q", "\"<&").with("x", "1").at("top");
        assert_eq!(href.to_string(), "/a/activity?q=%22%3C%26&x=1#top");
        assert_eq!(href.render().into_string(), "/a/activity?q=%22%3C%26&amp;x=1#top");
    }
}
