//! Character classes of globs: `[a-z]`, `[!0-9]`, `[[:digit:]]`.

/// `[a-z]`, `[!0-9]`: ranges of characters, invalid bytes being characters of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    negated: bool,
    ranges: Box<[(u32, u32)]>,
}

impl Class {
    /// True where it matches this character of [`character`].
    pub fn contains(&self, c: u32) -> bool {
        let inside = self
            .ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&c));
        inside != self.negated
    }

    /// Reads a class after its `[`; its length includes the `]`.
    pub fn read(text: &[u8]) -> Option<(Class, usize)> {
        let negated = matches!(text.first(), Some(b'!' | b'^'));
        let mut at = usize::from(negated);
        let start = at;
        let mut ranges = Vec::new();
        loop {
            let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
            match rest {
                [b']', ..] if at > start => {
                    return Some((
                        Class {
                            negated,
                            ranges: ranges.into(),
                        },
                        at + 1,
                    ));
                }
                [b'[', b':', ..] => {
                    if let Some((named, length)) = named_class(rest) {
                        ranges.extend_from_slice(named);
                        at += length;
                        continue;
                    }
                }
                _ => {}
            }
            let (low, width) = class_character(rest);
            at += width;
            let high = match text.get(at..) {
                Some([b'-', next @ ..]) if !matches!(next.first(), Some(b']') | None) => {
                    let (high, width) = class_character(next);
                    at += 1 + width;
                    high
                }
                _ => low,
            };
            ranges.push((low, high));
        }
    }
}

fn class_character(text: &[u8]) -> (u32, usize) {
    match text {
        [b'\\', rest @ ..] if !rest.is_empty() => {
            let (c, width) = character(rest);
            (c, width + 1)
        }
        _ => character(text),
    }
}

/// `[:digit:]` and its like, over ASCII.
fn named_class(text: &[u8]) -> Option<(&'static [(u32, u32)], usize)> {
    type Named = (&'static [u8], &'static [(u32, u32)]);
    const CLASSES: [Named; 8] = [
        (b"[:alnum:]", &[(0x30, 0x39), (0x41, 0x5a), (0x61, 0x7a)]),
        (b"[:alpha:]", &[(0x41, 0x5a), (0x61, 0x7a)]),
        (b"[:digit:]", &[(0x30, 0x39)]),
        (b"[:lower:]", &[(0x61, 0x7a)]),
        (b"[:upper:]", &[(0x41, 0x5a)]),
        (b"[:xdigit:]", &[(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)]),
        (b"[:space:]", &[(0x20, 0x20), (0x09, 0x0d)]),
        (
            b"[:punct:]",
            &[(0x21, 0x2f), (0x3a, 0x40), (0x5b, 0x60), (0x7b, 0x7e)],
        ),
    ];
    CLASSES
        .iter()
        .find(|(name, _)| text.starts_with(name))
        .map(|(name, ranges)| (*ranges, name.len()))
}

/// The first character and its length: UTF-8, or a single byte beyond Unicode.
pub fn character(text: &[u8]) -> (u32, usize) {
    let first = text.first().copied().unwrap_or(0);
    if first.is_ascii() {
        return (u32::from(first), 1);
    }
    for width in 2..=4 {
        let Some(piece) = text.get(..width) else {
            break;
        };
        if let Ok(Some(c)) = std::str::from_utf8(piece).map(|s| s.chars().next()) {
            return (u32::from(c), width);
        }
    }
    (0x11_0000 + u32::from(first), 1)
}
