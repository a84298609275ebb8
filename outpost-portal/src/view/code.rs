//! Payloads and bodies: bytes that others have made, shown as they are and never more than that.

use maud::{Markup, html};

use crate::cx::Cx;

/// The most of a text that is shown, in bytes.
pub(crate) const SHOWN: usize = 64 << 10;

/// The first bytes of something, as text that cannot mislead, or `None` when it is not text.
pub(crate) fn readable(bytes: &[u8]) -> Option<String> {
    let cut = bytes.get(..SHOWN).unwrap_or(bytes);
    let text = match std::str::from_utf8(cut) {
        Ok(text) => text,
        // A character may be cut in two at the bound.
        Err(error) if bytes.len() > cut.len() && error.error_len().is_none() => {
            std::str::from_utf8(cut.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    if text.contains('\0') { None } else { Some(text.chars().map(visible).collect()) }
}

/// Characters that would turn the direction of text, or hide, as a sign that can be seen.
pub(crate) fn visible(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        '\r' => '\u{240d}',
        c if c.is_control() => {
            char::from_u32(0x2400 + u32::from(c)).filter(|_| u32::from(c) < 0x20).unwrap_or('\u{fffd}')
        }
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        c => c,
    }
}

/// A short text of others, such as a header's value, made safe to read.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '\u{240a}' } else { visible(c) }).collect()
}

/// A block of code; JSON is laid out and coloured.
pub(crate) fn block(cx: &Cx<'_>, id: &str, label: &str, bytes: &[u8]) -> Markup {
    let whole = bytes.len() <= SHOWN;
    html! {
        @match readable(bytes) {
            None => p.muted { (cx.f("Binary, {size}.", &[("size", &size(bytes.len()))])) },
            Some(text) => {
                pre.code id=(id) tabindex="0" role="region" aria-label=(label) {
                    @match whole.then(|| json(&text)).flatten() { Some(json) => (json), None => (text) }
                }
                @if !whole {
                    p.muted { (cx.f("The first 64 KiB of {size} are shown.", &[("size", &size(bytes.len()))])) }
                }
            }
        }
    }
}

/// `2.1 KB`.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{}.{} KB", bytes / 1_000, bytes % 1_000 / 100),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

/// JSON laid out and coloured, every token as it was given: numbers and strings are never read, because reading
/// could change them. `None` when it is not JSON.
fn json(text: &str) -> Option<Markup> {
    let value: &serde_json::value::RawValue = serde_json::from_str(text).ok()?;
    let mut spans: Vec<(&str, &str)> = Vec::new();
    lay_out(value.get(), &mut spans);
    Some(
        html! { @for (class, text) in spans { @if class.is_empty() { (text) } @else { span class=(class) { (text) } } } },
    )
}

/// Deeper than this nothing is set in further: a page must not grow with the square of its payload.
const INDENT: &str = "                ";

fn lay_out<'a>(text: &'a str, spans: &mut Vec<(&'static str, &'a str)>) {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    let newline = |depth: usize, spans: &mut Vec<(&'static str, &'a str)>| {
        spans.push(("", "\n"));
        spans.push(("", INDENT.get(..(depth * 2).min(INDENT.len())).unwrap_or_default()));
    };
    while let Some(byte) = bytes.get(at) {
        match byte {
            b' ' | b'\n' | b'\t' | b'\r' => at += 1,
            b'{' | b'[' => {
                let close = if *byte == b'{' { b'}' } else { b']' };
                let next = skip_spaces(bytes, at + 1);
                if bytes.get(next) == Some(&close) {
                    spans.push(("", if *byte == b'{' { "{}" } else { "[]" }));
                    at = next + 1;
                } else {
                    depth += 1;
                    spans.push(("", text.get(at..=at).unwrap_or_default()));
                    newline(depth, spans);
                    at += 1;
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                newline(depth, spans);
                spans.push(("", text.get(at..=at).unwrap_or_default()));
                at += 1;
            }
            b',' => {
                spans.push(("", ","));
                newline(depth, spans);
                at += 1;
            }
            b':' => {
                spans.push(("", ": "));
                at += 1;
            }
            b'"' => {
                let end = end_of_string(bytes, at);
                let key = bytes.get(skip_spaces(bytes, end)) == Some(&b':');
                spans.push((if key { "k" } else { "s" }, text.get(at..end).unwrap_or_default()));
                at = end;
            }
            _ => {
                let rest = bytes.get(at..).unwrap_or_default();
                let length = rest.iter().position(|byte| b",]}: \n\t\r".contains(byte)).unwrap_or(rest.len());
                let class = match byte {
                    b't' | b'f' => "b",
                    b'n' => "z",
                    _ => "n",
                };
                spans.push((class, text.get(at..at + length).unwrap_or_default()));
                at += length.max(1);
            }
        }
    }
}

fn skip_spaces(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn laid_out(text: &str) -> String {
        let mut spans = Vec::new();
        lay_out(text, &mut spans);
        spans.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn json_is_laid_out_and_its_tokens_stay_as_they_were() {
        let text = r#"{"n":-1.7976931348623157e+308,"m":0.0,"e":{},"l":[ ],"s":"a\"b{","t":[true,null,1]}"#;
        let shown = laid_out(text);
        assert!(shown.contains("  \"n\": -1.7976931348623157e+308,\n"), "{shown}");
        assert!(
            shown.contains("\"e\": {},") && shown.contains("\"l\": [],") && shown.contains(r#""s": "a\"b{","#),
            "{shown}"
        );
        assert!(shown.contains("    null,\n"), "{shown}");
    }

    proptest! {
        #[test]
        fn laying_out_changes_nothing_but_spaces(text in "\\PC{0,120}") {
            let json = serde_json::json!({ "a": text, "b": [1.5, text.len(), null, {}], "c": { "d": [] } }).to_string();
            let shown = laid_out(&json);
            let (left, right): (serde_json::Value, serde_json::Value) =
                (serde_json::from_str(&json).unwrap(), serde_json::from_str(&shown).unwrap());
            prop_assert_eq!(left, right);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,60}") {
            let _ = readable(&bytes);
            let _ = laid_out(&text);
        }
    }

    #[test]
    fn what_could_mislead_is_made_visible() {
        assert_eq!(readable("a\u{202e}b\u{200b}".as_bytes()).unwrap(), "a\u{fffd}b\u{fffd}");
        assert_eq!(readable(b"a\x1b[31m\r\n\tb").unwrap(), "a\u{241b}[31m\u{240d}\n\tb");
        assert_eq!(readable(b"a\0b"), None);
        assert_eq!(readable(&[0xff, 0xfe]), None);
        assert_eq!(one_line("a\nb"), "a\u{240a}b");
        let long = "ä".repeat(SHOWN);
        assert_eq!(readable(long.as_bytes()).unwrap().len(), SHOWN);
        let odd = format!("a{long}");
        assert_eq!(readable(odd.as_bytes()).unwrap().len(), SHOWN - 1);
    }
}
