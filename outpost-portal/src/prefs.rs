//! What a user prefers: kept in a cookie, read strictly, harmless when forged.

use jiff::tz::TimeZone;
use outpost_core::Theme;

/// The page sizes that are offered.
pub(crate) const PAGE_SIZES: [u32; 3] = [25, 50, 100];

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prefs {
    pub(crate) theme: Option<Theme>,
    /// The IANA name of the time zone, and what it is.
    pub(crate) zone: (String, TimeZone),
    pub(crate) page: u32,
    /// Whether single keys are shortcuts.
    pub(crate) keys: bool,
}

impl Default for Prefs {
    fn default() -> Self {
        Self { theme: None, zone: ("UTC".to_owned(), TimeZone::UTC), page: 25, keys: false }
    }
}

impl Prefs {
    /// Reads the cookie; what is not understood is as if it were not there.
    pub(crate) fn read(cookie: &str) -> Self {
        let mut prefs = Self::default();
        for (name, value) in cookie.split('&').take(8).filter_map(|pair| pair.split_once('=')) {
            match name {
                "theme" => prefs.theme = Theme::parse(value),
                "zone" => {
                    if let Some(zone) = zone(value) {
                        prefs.zone = zone;
                    }
                }
                "page" => prefs.page = page_size(value).unwrap_or(prefs.page),
                "keys" => prefs.keys = value == "1",
                _ => {}
            }
        }
        prefs
    }

    pub(crate) fn write(&self) -> String {
        let theme = self.theme.map_or("auto", Theme::as_str);
        format!("theme={theme}&zone={}&page={}&keys={}", self.zone.0, self.page, u8::from(self.keys))
    }
}

/// The time zone with this IANA name.
pub(crate) fn zone(name: &str) -> Option<(String, TimeZone)> {
    let fine = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
    if !fine {
        return None;
    }
    if name.eq_ignore_ascii_case("utc") {
        return Some(("UTC".to_owned(), TimeZone::UTC));
    }
    let zone = TimeZone::get(name).ok()?;
    let name = zone.iana_name()?.to_owned();
    Some((name, zone))
}

/// One of the page sizes that are offered.
pub(crate) fn page_size(text: &str) -> Option<u32> {
    text.parse().ok().filter(|size| PAGE_SIZES.contains(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_back_and_nonsense_is_passed_over() {
        let prefs =
            Prefs { theme: Some(Theme::Dark), zone: zone("Europe/Berlin").expect("a zone"), page: 100, keys: true };
        assert_eq!(Prefs::read(&prefs.write()), prefs);
        assert_eq!(Prefs::read("theme=pink&zone=../../etc/passwd&page=1000000&keys=maybe&x"), Prefs::default());
        assert_eq!(Prefs::read(""), Prefs::default());
    }
}
