//! A table on a terminal: nothing in it may drive the terminal.
//!
//! `incrontab -l` into a pipe or a file is byte for byte. On a terminal, bytes
//! that would move the cursor, rename the window or turn the text around are
//! made visible, by the same rule as in error messages: root may be listing the
//! table of a user who put them there.

use crate::table::visible;

/// `bytes` with everything but text, newlines and tabs made visible.
pub fn for_terminal(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for piece in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\t')) {
        match piece.split_last() {
            Some((end @ (b'\n' | b'\t'), text)) => {
                shown.push_str(&visible(text));
                shown.push(char::from(*end));
            }
            _ => shown.push_str(&visible(piece)),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_as_it_is() {
        let table = "# Füße\n\n/a\\ b\tIN_CREATE\t\techo $#";
        assert_eq!(for_terminal(table.as_bytes()), table);
    }

    #[test]
    fn controls_are_visible() {
        assert_eq!(
            for_terminal(b"\x1b]0;x\x07\r\n\x7f"),
            "\\x1b]0;x\\x07\\x0d\n\\x7f"
        );
        assert_eq!(for_terminal(b"\xff\xc2\x9b1m"), "\\xff\\u{9b}1m");
        assert_eq!(for_terminal("\u{202e}".as_bytes()), "\\u{202e}");
    }
}
