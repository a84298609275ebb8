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
    Retry,
    Download,
    Search,
    Warning,
}

impl Icon {
    #[cfg(test)]
    const ALL: [Self; 10] = [
        Self::Check,
        Self::Cross,
        Self::Clock,
        Self::Pause,
        Self::Info,
        Self::Plus,
        Self::Retry,
        Self::Download,
        Self::Search,
        Self::Warning,
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
            Self::Retry => "M13 8a5 5 0 1 1-1.6-3.7L13 6M13 2.5V6H9.5",
            Self::Download => "M8 2.5V10M4.8 7 8 10.2 11.2 7M3 13.5h10",
            Self::Search => "M7 2.8a4.2 4.2 0 1 0 .01 0M10.2 10.2l3.3 3.3",
            Self::Warning => "M8 2.5 14 13H2zM8 6.5v3M8 11.3v.01",
        }
    }
}

/// The icon as an inline image of 14 pixels, hidden from screen readers.
pub(crate) fn icon(name: Icon) -> Markup {
    html! {
        svg width="14" height="14" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.75"
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
