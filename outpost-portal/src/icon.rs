//! icons (stub)
#[derive(Clone, Copy)]
#[allow(dead_code)]
pub(crate) enum Icon {
    Check,
    Cross,
    Clock,
    Pause,
    Info,
    Plus,
    Retry,
    Copy,
    Download,
    Search,
    Warning,
    Webhook,
}
pub(crate) fn icon(_: Icon) -> maud::Markup {
    maud::html! { svg width="13" height="13" aria-hidden="true" {} }
}
