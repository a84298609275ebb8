//! A request as a command that makes it again.

use maud::{Markup, html};
use outpost_core::{Event, MASK, RequestRecord};

use crate::cx::Cx;
use crate::icon::{Icon, icon};
use crate::route::Href;
use crate::view::{code, copy_button};

/// The largest payload that is written into the command itself: a shell takes arguments of 128 KiB.
const INLINE: usize = 100 << 10;
/// What stands for a secret part of a URL.
const URL_MASK: &str = "***";
/// What the client says by itself, or what is between two machines only.
const OWN: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-authorization",
    "proxy-connection",
];

/// The command for a POSIX shell, with notes on what it lacks; `None` for what was not HTTP.
pub(super) fn command(cx: &Cx<'_>, request: &RequestRecord, event: &Event) -> Option<String> {
    if !request.url.starts_with("https://") && !request.url.starts_with("http://") {
        return None;
    }
    let mut notes = Vec::new();
    let mut words = vec![format!("curl --globoff --request {}", quoted(&request.method))];
    for (name, value) in &request.headers {
        let plain = name.to_ascii_lowercase();
        let odd = |text: &str| text.chars().any(char::is_control);
        if OWN.contains(&plain.as_str()) || plain.starts_with(':') || odd(name) || odd(value) {
            continue;
        }
        if value.contains(MASK) {
            notes.push(cx.f("The header {name} is secret and was left out.", &[("name", name)]));
        } else if value.is_empty() {
            // How curl is told to send a header without a value.
            words.push(format!("--header {}", quoted(&format!("{name};"))));
        } else {
            words.push(format!("--header {}", quoted(&format!("{name}: {value}"))));
        }
    }
    if request.url.contains(URL_MASK) || request.url.contains(MASK) {
        notes.push(cx.t("Put the secret part of the URL in the place of ***.").into_owned());
    }
    let text = std::str::from_utf8(&event.data).ok().filter(|text| text.len() <= INLINE && !text.contains('\0'));
    let before = match text {
        Some(text) => {
            // Through a pipe: what begins with @ would be the name of a file.
            words.push("--data-binary @-".to_owned());
            format!("printf '%s' {} |\n", quoted(text))
        }
        None => {
            let file = super::files::payload_name(event.id.as_str());
            notes.push(cx.f("Download the payload first, as {file}.", &[("file", &file)]));
            words.push(format!("--data-binary {}", quoted(&format!("@{file}"))));
            String::new()
        }
    };
    words.push(format!("--url {}", quoted(&request.url)));
    let notes: String = notes.iter().map(|note| format!("# {}\n", note.replace(char::is_control, " "))).collect();
    Some(format!("{notes}{before}{}\n", words.join(" \\\n  ")))
}

/// A word of a POSIX shell that stands for itself: within single quotes nothing has a meaning but a single quote.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

pub(super) fn block(cx: &Cx<'_>, command: &str, download: &Href) -> Markup {
    // What must be shown differently from what it is cannot be copied.
    let shown = (command.len() <= code::SHOWN).then(|| code::readable(command.as_bytes())).flatten();
    let shown = shown.filter(|shown| shown == command);
    html! {
        details.more {
            summary { (cx.t("Reproduce with cURL")) }
            p.muted { (cx.t("It sends the same bytes with the same signature. Receivers that check its age refuse it after some minutes.")) }
            @match &shown {
                Some(shown) => pre.code #curl tabindex="0" role="region" aria-label=(cx.t("cURL command")) { (shown) },
                None => p.muted { (cx.t("The command cannot be shown here as it is. Download it instead.")) },
            }
            div.actions {
                @if shown.is_some() { (copy_button(cx, "curl", &cx.t("cURL command"))) }
                a.btn.small href=(download) download aria-label=(cx.t("Download the cURL command")) { (icon(Icon::Download)) (cx.t("Download")) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_everything() {
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a'b$c`d\\\n!"), "'a'\\''b$c`d\\\n!'");
    }
}
