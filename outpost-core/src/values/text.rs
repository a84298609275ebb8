//! Texts that must not grow too long.

/// The longest start of `text` of at most `most` bytes that ends between two characters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_cut_never_parts_a_character() {
        assert_eq!((cut("größe", 3), cut("größe", 4), cut("größe", 100), cut("ö", 1)), ("gr", "grö", "größe", ""));
    }
}
