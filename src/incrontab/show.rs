//! A table on a terminal: nothing in it may drive the terminal.
//!
//! `incrontab -l` into a pipe or a file is byte for byte. On a terminal, bytes
//! that would move the cursor, rename the window or turn the text around are
//! made visible: root may be listing the table of a user who put them there.

use std::fmt::Write as _;

/// `bytes` with everything but text, newlines and tabs made visible.
pub fn for_terminal(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push(&mut shown, c);
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

fn push(shown: &mut String, c: char) {
    match c {
        '\n' | '\t' => shown.push(c),
        // Carets as cat -v has them: ^[ for ESC, ^? for DEL.
        '\0'..='\x1f' | '\x7f' => {
            shown.push('^');
            shown.push(char::from((c as u8) ^ 0x40));
        }
        _ if c.is_control() || turns_text(c) => {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        }
        _ => shown.push(c),
    }
}

/// Unicode's controls of direction: what is shown is not what is there.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_as_it_is() {
        let table = "# Füße\n/a\\ b\tIN_CREATE\techo $#\n";
        assert_eq!(for_terminal(table.as_bytes()), table);
    }

    #[test]
    fn controls_are_visible() {
        assert_eq!(for_terminal(b"\x1b]0;x\x07\r\x7f\0"), "^[]0;x^G^M^?^@");
        assert_eq!(for_terminal(b"\xff\xc2\x9b1m"), "\\xff\\u{9b}1m");
        assert_eq!(for_terminal("\u{202e}".as_bytes()), "\\u{202e}");
    }
}
