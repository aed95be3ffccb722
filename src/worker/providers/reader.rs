//! Lines of any length, read in pieces, none held beyond a bound.

/// A longer line is passed over, in bytes.
pub(super) const LONGEST_LINE: usize = 1 << 20;

/// A line that has not ended yet, and how many have.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    /// The line is too long: the rest of it is passed over.
    over: bool,
    /// Lines that have begun.
    number: u64,
}

/// A line, from 1 on in the life of its process.
pub(super) enum Line<'a> {
    /// Without its newline.
    Whole(u64, &'a [u8]),
    /// Longer than [`LONGEST_LINE`]; told when that is known, not when it ends.
    TooLong(u64),
}

impl Lines {
    /// Takes what was just read; `each` gets the lines in it.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if self.partial.is_empty() && !self.over {
                self.number += 1;
            }
            if !self.over && self.partial.len() + text.len() > LONGEST_LINE {
                self.over = true;
                self.partial = Vec::new();
                each(Line::TooLong(self.number));
            }
            if !ended {
                if !self.over {
                    self.partial.extend_from_slice(text);
                }
                continue;
            }
            if std::mem::take(&mut self.over) {
                continue;
            }
            if self.partial.is_empty() {
                each(Line::Whole(self.number, text));
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(text);
                each(Line::Whole(self.number, &line));
            }
        }
    }

    /// The process has ended: a line without a newline is none, it may be half of one.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However it arrives, each line comes once, whole, with its number.
        #[test]
        fn pieces_make_no_difference(
            lines in prop::collection::vec("[a-c]{0,6}", 0..12), size in 1usize..9
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let (mut reader, mut got) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                reader.take(piece, |line| match line {
                    Line::Whole(number, line) => got.push((number, line.to_vec())),
                    Line::TooLong(_) => panic!("too long"),
                });
            }
            let wanted: Vec<_> = (1..).zip(lines.into_iter().map(String::into_bytes)).collect();
            prop_assert_eq!(got, wanted);
        }
    }

    #[test]
    fn a_line_without_end_is_told_once_and_not_kept() {
        let (mut reader, mut got) = (Lines::default(), Vec::new());
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..1000 {
            reader.take(&piece, |line| match line {
                Line::TooLong(number) => got.push(number),
                Line::Whole(..) => panic!("a line"),
            });
            assert!(reader.partial.capacity() <= 2 * LONGEST_LINE);
        }
        reader.take(b"\nok\n", |line| match line {
            Line::Whole(number, line) => {
                assert_eq!(line, b"ok");
                got.push(number);
            }
            Line::TooLong(_) => panic!("again"),
        });
        assert_eq!(got, [1, 2]);
    }
}
