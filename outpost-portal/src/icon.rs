//! Small stroke icons in the colour of the text beside them. They say nothing by themselves: a word stands next to each.

use maud::{Markup, html};

/// What an icon shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Icon {
    Check,
    Cross,
    Clock,
    Pause,
    Info,
    Plus,
    Minus,
    Retry,
    Copy,
    Download,
    Search,
    Warning,
    Webhook,
    Queue,
    Bucket,
    Send,
    Key,
    Eye,
    Trash,
    Settings,
    External,
    Forward,
    Back,
    Skip,
}

impl Icon {
    #[cfg(test)]
    const ALL: [Self; 24] = [
        Self::Check,
        Self::Cross,
        Self::Clock,
        Self::Pause,
        Self::Info,
        Self::Plus,
        Self::Minus,
        Self::Retry,
        Self::Copy,
        Self::Download,
        Self::Search,
        Self::Warning,
        Self::Webhook,
        Self::Queue,
        Self::Bucket,
        Self::Send,
        Self::Key,
        Self::Eye,
        Self::Trash,
        Self::Settings,
        Self::External,
        Self::Forward,
        Self::Back,
        Self::Skip,
    ];

    /// The line, drawn on a square of 16.
    const fn path(self) -> &'static str {
        match self {
            Self::Check => "M3 8.5 6.5 12 13 4.5",
            Self::Cross => "m4 4 8 8M12 4l-8 8",
            Self::Clock => "M8 2a6 6 0 1 0 .01 0M8 5v3l2 1.5",
            Self::Pause => "M6 4v8M10 4v8",
            Self::Info => "M8 2a6 6 0 1 0 .01 0M8 7.5V11M8 5v.01",
            Self::Plus => "M8 3v10M3 8h10",
            Self::Minus => "M3 8h10",
            Self::Retry => "M13 8a5 5 0 1 1-1.6-3.7L13 6M13 2.5V6H9.5",
            Self::Copy => "M6 6h7.5v7.5H6zM10 3V2.5H2.5V10H3",
            Self::Download => "M8 2.5V10M4.8 7 8 10.2 11.2 7M3 13.5h10",
            Self::Search => "M7 2.8a4.2 4.2 0 1 0 .01 0M10.2 10.2l3.3 3.3",
            Self::Warning => "M8 2.5 14 13H2zM8 6.5v3M8 11.3v.01",
            Self::Webhook => {
                "M5.2 9.5a2.5 2.5 0 1 0 2.3 2.5H12M8 5l3 5M10 5a2.3 2.3 0 1 0-3 1.5L5 10M11 9.7a2.3 2.3 0 1 1-.8 4"
            }
            Self::Queue => "M2.5 4h11M2.5 8h11M2.5 12h7",
            Self::Bucket => "M2.5 5h11L12 13.5H4zM5 5a3 3 0 0 1 6 0",
            Self::Send => "M13.5 2.5 2.5 7l4.5 2 2 4.5zM7 9l3-3",
            Self::Key => "M5.5 7.5a3 3 0 1 0 .01 0M7.8 8.4 13 3.2M11 5.2l2 2",
            Self::Eye => "M1.5 8C4.5 3 11.5 3 14.5 8 11.5 13 4.5 13 1.5 8zM8 6.2a1.8 1.8 0 1 0 .01 0",
            Self::Trash => "M3 4.5h10M6 4.5V2.5h4v2M4.2 4.5l.6 9h6.4l.6-9",
            Self::Settings => "M2.5 5h5M11.5 5h2M9.5 3.5v3M2.5 11h2M8.5 11h5M6.5 9.5v3",
            Self::External => "M6.5 3.5h-4v10h10v-4M9.5 2.5h4v4M13 3 7.5 8.5",
            Self::Forward => "m6 3.5 4.5 4.5L6 12.5",
            Self::Back => "M10 3.5 5.5 8l4.5 4.5",
            Self::Skip => "M8 2a6 6 0 1 0 .01 0M4 4l8 8",
        }
    }
}

/// The icon as an inline image of 14 pixels, hidden from screen readers. Those that point turn round in right-to-left pages.
pub(crate) fn icon(name: Icon) -> Markup {
    let flip = matches!(name, Icon::Forward | Icon::Back | Icon::Send | Icon::External).then_some("flip");
    html! {
        svg class=[flip] width="14" height="14" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.75"
            stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" { path d=(name.path()) {} }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_icon_is_drawn_differently_small_and_silent() {
        let drawn: std::collections::BTreeSet<String> = Icon::ALL.iter().map(|i| icon(*i).into_string()).collect();
        assert_eq!(drawn.len(), Icon::ALL.len());
        for svg in drawn {
            assert!(svg.len() < 320 && svg.contains("aria-hidden=\"true\"") && svg.contains("currentColor"), "{svg}");
            assert!(!svg.contains("style") && !svg.contains(" id="), "{svg}");
        }
    }
}
