//! Text in a log: a file name or a command's output must not be able to forge a
//! line, move a terminal's cursor, or make a line endless.

use std::fmt::{self, Write};

/// Bytes of anywhere, shown as text: valid UTF-8 as it is, control characters
/// (but not the tab) and bytes that are not UTF-8 as `\x0a`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            escape(chunk.valid(), f)?;
            hex(chunk.invalid(), f)?;
        }
        Ok(())
    }
}

fn escape(text: &str, out: &mut impl Write) -> fmt::Result {
    let mut plain = 0;
    for (at, character) in text.char_indices().filter(|&(_, c)| is_dangerous(c)) {
        let end = at + character.len_utf8();
        out.write_str(text.get(plain..at).unwrap_or_default())?;
        hex(text.get(at..end).unwrap_or_default().as_bytes(), out)?;
        plain = end;
    }
    out.write_str(text.get(plain..).unwrap_or_default())
}

/// Control characters, and those that end a line or turn its direction in some
/// viewers (Unicode line and paragraph separators, bidirectional controls).
pub(crate) fn is_dangerous(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn hex(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    bytes
        .iter()
        .try_for_each(|byte| write!(out, "\\x{byte:02x}"))
}

/// `text` as one line of at most `limit` bytes; a cut is shown as `...`.
pub(super) fn line(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit));
    // A String takes everything.
    let _ = escape(prefix(text, limit), &mut line);
    if line.len() > limit || text.len() > limit {
        let kept = prefix(&line, limit.saturating_sub(3)).len();
        line.truncate(kept);
        line.push_str("...");
    }
    line
}

/// The longest start of `text` in `limit` bytes that cuts no character.
pub(super) fn prefix(text: &str, limit: usize) -> &str {
    let mut ends = (0..=limit.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_forges_a_line_or_grows_without_bound(text in ".{0,200}", limit in 3usize..100) {
            let line = line(&text, limit);
            prop_assert!(line.len() <= limit);
            prop_assert!(!line.chars().any(is_dangerous));
        }

        #[test]
        fn no_bytes_do(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let text = Escaped(&bytes).to_string();
            prop_assert!(!text.chars().any(is_dangerous));
            if let Ok(plain) = std::str::from_utf8(&bytes) && !plain.chars().any(is_dangerous) {
                prop_assert_eq!(text, plain);
            }
        }
    }

    #[test]
    fn it_looks_like_this() {
        assert_eq!(
            Escaped(b"a\nb\xff\tc\x1b[2J").to_string(),
            "a\\x0ab\\xff\tc\\x1b[2J"
        );
        assert_eq!(
            line("a\u{85}b \u{202e}c", 100),
            "a\\xc2\\x85b \\xe2\\x80\\xaec"
        );
        assert_eq!(line("\u{e4}\u{e4}\u{e4}", 5), "\u{e4}...");
    }
}
