//! How receivers check signatures: complete code in several languages with the real names of the headers. The tests
//! run it against signed requests.

use maud::{Markup, html};
use outpost_core::{ServiceGuide, SigningGuide, StandardGuide};

use crate::cx::Cx;
use crate::view::code;
use crate::view::copy_button;

/// One program, as it is written in `snippets/`.
struct Snippet {
    /// Part of element ids.
    slug: &'static str,
    language: &'static str,
    text: &'static str,
}

const STANDARD: [Snippet; 4] = [
    Snippet { slug: "node", language: "Node.js", text: include_str!("snippets/standard.mjs") },
    Snippet { slug: "python", language: "Python", text: include_str!("snippets/standard.py") },
    Snippet { slug: "go", language: "Go", text: include_str!("snippets/standard.go") },
    Snippet { slug: "shell", language: "Shell", text: include_str!("snippets/standard.sh") },
];

/// Python's own library knows no ed25519.
const PUBLIC: [Snippet; 3] = [
    Snippet { slug: "node", language: "Node.js", text: include_str!("snippets/public.mjs") },
    Snippet { slug: "go", language: "Go", text: include_str!("snippets/public.go") },
    Snippet { slug: "shell", language: "Shell", text: include_str!("snippets/public.sh") },
];

const SERVICE: [Snippet; 4] = [
    Snippet { slug: "node", language: "Node.js", text: include_str!("snippets/service.mjs") },
    Snippet { slug: "python", language: "Python", text: include_str!("snippets/service.py") },
    Snippet { slug: "go", language: "Go", text: include_str!("snippets/service.go") },
    Snippet { slug: "shell", language: "Shell", text: include_str!("snippets/service.sh") },
];

/// All that a receiver needs: what is signed, and code that checks it. `public`: the secret is the private half of a
/// key pair.
pub(super) fn show(cx: &Cx<'_>, guide: &SigningGuide, public: bool) -> Markup {
    let both = guide.standard.is_some() && guide.service.is_some();
    html! {
        @if both {
            p { (cx.t("Requests carry two signatures. Check either one; the first is the better one, because it covers the time as well.")) }
        }
        @if let Some(names) = &guide.standard {
            @if both { h3 { (cx.t("Standard Webhooks")) } }
            (standard(cx, names, public))
        }
        @if let Some(names) = &guide.service {
            @if both { h3 { (cx.t("The signature over the body")) } }
            (service(cx, names))
        }
    }
}

fn standard(cx: &Cx<'_>, names: &StandardGuide, public: bool) -> Markup {
    let (signed, snippets) = if public {
        (
            "The Standard Webhooks scheme, with a key pair: ed25519 over the id, the time and the raw body, with a dot between them.",
            &PUBLIC[..],
        )
    } else {
        (
            "The Standard Webhooks scheme: HMAC-SHA256 over the id, the time and the raw body, with a dot between them. The key is what follows whsec_, decoded from base64.",
            &STANDARD[..],
        )
    };
    let fill = |text: &str| {
        text.replace("HEADER_ID", &names.id)
            .replace("HEADER_TIMESTAMP", &names.timestamp)
            .replace("HEADER_SIGNATURE", &names.signature)
    };
    let scheme = if public { "v1a" } else { "v1" };
    html! {
        p { (cx.t(signed)) }
        dl.facts {
            dt { (cx.t("ID")) } dd { code { (names.id) } }
            dt { (cx.t("Time")) } dd { code { (names.timestamp) } " " span.muted { (cx.t("in seconds since 1970")) } }
            dt { (cx.t("Signatures")) } dd { code { (names.signature) } " " span.muted { code { (scheme) ",…" } " " (cx.t("with a space between them")) } }
        }
        @if public {
            p.muted { (cx.t("Let the receiver read the public key from its environment variable WEBHOOK_PUBLIC_KEY. Python has no ed25519 of its own; use a library there.")) }
        } @else { (environment(cx)) }
        (programs(cx, scheme, snippets, fill))
    }
}

fn service(cx: &Cx<'_>, names: &ServiceGuide) -> Markup {
    let fill = |text: &str| {
        let text = names
            .timestamp
            .as_ref()
            .map_or_else(|| without_time(text), |timestamp| with_time(text).replace("HEADER_TIMESTAMP", timestamp));
        text.replace("HEADER_SIGNATURE", &names.signature)
    };
    html! {
        p { (cx.t("HMAC-SHA256 over the raw body alone, in hex. The key is the whole text of the secret, its prefix included.")) }
        dl.facts {
            dt { (cx.t("Signatures")) } dd { code { (names.signature) } " " span.muted { code { "v0=…" } " " (cx.t("with a comma between them")) } }
            @if let Some(timestamp) = &names.timestamp {
                dt { (cx.t("Time")) } dd { code { (timestamp) } " " span.muted { (cx.t("in RFC 3339, not signed")) } }
            }
        }
        (environment(cx))
        (programs(cx, "v0", &SERVICE, fill))
    }
}

fn environment(cx: &Cx<'_>) -> Markup {
    html! {
        p.muted { (cx.t("Let the receiver read the secret from its environment variable WEBHOOK_SECRET, never from its code.")) }
    }
}

fn programs(cx: &Cx<'_>, scheme: &str, snippets: &[Snippet], fill: impl Fn(&str) -> String) -> Markup {
    html! {
        @for (index, snippet) in snippets.iter().enumerate() {
            @let id = format!("verify-{scheme}-{}", snippet.slug);
            @let label = cx.f("Check a signature in {language}", &[("language", &snippet.language)]);
            details.more open[index == 0] {
                summary { (snippet.language) }
                div.actions { (copy_button(cx, &id, &cx.f("{language} code", &[("language", &snippet.language)]))) }
                (code::block(cx, &id, &label, fill(snippet.text).as_bytes()))
            }
        }
    }
}

/// The lines that are there only where the time is sent stand between two marks.
const BEGIN: &str = "BEGIN_TIME\n";
const END: &str = "END_TIME\n";

fn with_time(text: &str) -> String {
    text.replace(BEGIN, "").replace(END, "")
}

fn without_time(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for (index, part) in text.split(BEGIN).enumerate() {
        let rest = if index == 0 { part } else { part.split_once(END).map_or("", |(_, rest)| rest) };
        kept.push_str(rest);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        for snippet in &SERVICE {
            let (with, without) = (with_time(snippet.text), without_time(snippet.text));
            assert!(with.contains("HEADER_TIMESTAMP") && with.len() > without.len(), "{}", snippet.language);
            for text in [&with, &without] {
                assert!(!text.contains("_TIME\n") && !text.contains("\n\n\n\n"), "{text}");
            }
            assert!(!without.contains("HEADER_TIMESTAMP") && without.contains("HEADER_SIGNATURE"));
        }
    }
}
