//! Paths for people: `data.items[0]["odd key"]`.

/// The most bytes of one key that a path shows.
const MAX_KEY: usize = 64;

/// Adds a member to a path.
pub(super) fn push_key(path: &mut String, key: &str) {
    let cut = cut(key, MAX_KEY);
    let plain = !key.is_empty() && key.chars().all(|one| one.is_alphanumeric() || matches!(one, '_' | '-' | '$'));
    let more = if cut.len() < key.len() { "…" } else { "" };
    if plain {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(cut);
        path.push_str(more);
    } else {
        // Quoted, so that a key with a dot in it is not taken for two.
        path.push_str(&format!("[{:?}]", format!("{cut}{more}")));
    }
}

/// Adds a place in a list to a path.
pub(super) fn push_index(path: &mut String, index: usize) {
    path.push_str(&format!("[{index}]"));
}

/// The longest start of `text` of at most `max` bytes that ends between characters.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let ends = text.char_indices().map(|(at, one)| at + one.len_utf8());
    text.get(..ends.take_while(|end| *end <= max).last().unwrap_or(0)).unwrap_or_default()
}
