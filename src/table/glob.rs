//! Globs over bytes: `*`, `?`, `[...]` and `{a,b}` as a shell reads them.
//!
//! Written here rather than taken from a regex-based crate for three reasons: a
//! file name is bytes and need not be UTF-8; thousands of lines each hold their
//! own glob, which costs bytes here and tens of kilobytes as an automaton; and the
//! common shapes (`name`, `*.ext`, `prefix*`) must cost a few nanoseconds. No text
//! is an error of syntax: as in a shell, an unclosed `[` or `{` is that character.

/// Braces expand to no more than this many globs.
const MAX_ALTERNATIVES: usize = 1024;
/// ... of no more than this many bytes in all.
const MAX_EXPANDED: usize = 64 * 1024;

/// Why a glob cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the braces stand for more than {MAX_ALTERNATIVES} patterns")]
pub struct TooManyAlternatives;

/// A brace-free glob for one component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Shape);

/// The common shapes have a path of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Literal(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    General(Box<[Token]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Star,
    Class(Class),
}

/// `[a-z]`, `[!0-9]`: ranges of characters, invalid bytes being characters of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    negated: bool,
    ranges: Box<[(u32, u32)]>,
}

impl Glob {
    /// Compiles the text of one component; braces must have been expanded.
    pub fn new(text: &[u8]) -> Glob {
        let tokens = tokens(text);
        let literal = |tokens: &[Token]| -> Option<Box<[u8]>> {
            tokens
                .iter()
                .map(|t| {
                    if let Token::Byte(b) = t {
                        Some(*b)
                    } else {
                        None
                    }
                })
                .collect()
        };
        if let Some(bytes) = literal(&tokens) {
            return Glob(Shape::Literal(bytes));
        }
        if let [Token::Star, rest @ ..] = tokens.as_slice()
            && let Some(bytes) = literal(rest)
        {
            return Glob(Shape::Suffix(bytes));
        }
        if let [rest @ .., Token::Star] = tokens.as_slice()
            && let Some(bytes) = literal(rest)
        {
            return Glob(Shape::Prefix(bytes));
        }
        Glob(Shape::General(tokens.into()))
    }

    /// Matches `name` and nothing else.
    pub fn exactly(name: &[u8]) -> Glob {
        Glob(Shape::Literal(name.into()))
    }

    /// The text it matches, when it matches only that.
    pub fn literal(&self) -> Option<&[u8]> {
        if let Shape::Literal(bytes) = &self.0 {
            Some(bytes)
        } else {
            None
        }
    }

    /// True where it matches the whole of `name`.
    #[inline]
    pub fn matches(&self, name: &[u8]) -> bool {
        match &self.0 {
            Shape::Literal(bytes) => **bytes == *name,
            Shape::Prefix(bytes) => name.starts_with(bytes),
            Shape::Suffix(bytes) => name.ends_with(bytes),
            Shape::General(tokens) => matches(tokens, name),
        }
    }

    /// As `matches`, but a leading dot must stand in the glob itself, as in a shell.
    pub fn matches_shown(&self, name: &[u8]) -> bool {
        let explicit = match &self.0 {
            Shape::Literal(_) => true,
            Shape::Prefix(bytes) => bytes.first() == Some(&b'.'),
            Shape::Suffix(_) => false,
            Shape::General(tokens) => tokens.first() == Some(&Token::Byte(b'.')),
        };
        (explicit || name.first() != Some(&b'.')) && self.matches(name)
    }
}

/// Backtracks to the last star only, so the time is bounded by name times glob.
fn matches(tokens: &[Token], name: &[u8]) -> bool {
    let (mut t, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let rest = name.get(n..).unwrap_or_default();
        let step = match tokens.get(t) {
            Some(Token::Star) => {
                star = Some((t + 1, n));
                t += 1;
                continue;
            }
            None if rest.is_empty() => return true,
            Some(token) if !rest.is_empty() => token.step(rest),
            _ => None,
        };
        match (step, star) {
            (Some(width), _) => {
                t += 1;
                n += width;
            }
            (None, Some((after, from))) if from < name.len() => {
                star = Some((after, from + 1));
                (t, n) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

impl Token {
    /// How many bytes of `rest` (not empty) it takes, if it matches there.
    fn step(&self, rest: &[u8]) -> Option<usize> {
        match self {
            Token::Byte(b) => (rest.first() == Some(b)).then_some(1),
            Token::One => Some(character(rest).1),
            Token::Class(class) => {
                let (c, width) = character(rest);
                let inside = class
                    .ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&c));
                (inside != class.negated).then_some(width)
            }
            Token::Star => None,
        }
    }
}

/// The first character and its length: UTF-8, or a single byte beyond Unicode.
fn character(text: &[u8]) -> (u32, usize) {
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

fn tokens(text: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len());
    // Once one `[` is found unclosed, so is every later one: never look twice.
    let mut unclosed = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'\\' => {
                tokens.push(Token::Byte(text.get(at).copied().unwrap_or(b'\\')));
                at += 1;
            }
            b'?' => tokens.push(Token::One),
            b'*' => {
                if tokens.last() != Some(&Token::Star) {
                    tokens.push(Token::Star);
                }
            }
            b'[' if !unclosed => match class(text.get(at..).unwrap_or_default()) {
                Some((class, length)) => {
                    tokens.push(Token::Class(class));
                    at += length;
                }
                None => {
                    unclosed = true;
                    tokens.push(Token::Byte(b'['));
                }
            },
            other => tokens.push(Token::Byte(other)),
        }
    }
    tokens
}

/// Reads a class after its `[`; its length includes the `]`.
fn class(text: &[u8]) -> Option<(Class, usize)> {
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
    const CLASSES: [(&[u8], &[(u32, u32)]); 8] = [
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

/// Expands braces as bash does, `\` protecting the next byte: `a{b,c}` is `ab` and
/// `ac`. Braces without a comma are themselves.
pub fn expand_braces(text: &[u8]) -> Result<Vec<Vec<u8>>, TooManyAlternatives> {
    let mut done = Vec::new();
    let mut todo = vec![(text.to_vec(), 0)];
    let mut bytes = 0;
    while let Some((text, from)) = todo.pop() {
        let Some(group) = brace_group(&text, from) else {
            bytes += text.len();
            done.push(text);
            if done.len() > MAX_ALTERNATIVES || bytes > MAX_EXPANDED {
                return Err(TooManyAlternatives);
            }
            continue;
        };
        if todo.len() + group.commas.len() > MAX_ALTERNATIVES
            || (todo.len() + group.commas.len()) * text.len() > 16 * MAX_EXPANDED
        {
            return Err(TooManyAlternatives);
        }
        // The last alternative is pushed first, so they come out as written.
        let mut ends = group.commas;
        ends.insert(0, group.open);
        ends.push(group.close);
        for pair in ends.windows(2).rev() {
            let &[before, after] = pair else { continue };
            let mut one = text[..group.open].to_vec();
            one.extend_from_slice(&text[before + 1..after]);
            one.extend_from_slice(&text[group.close + 1..]);
            todo.push((one, group.open));
        }
    }
    Ok(done)
}

struct Braces {
    open: usize,
    commas: Vec<usize>,
    close: usize,
}

/// The first outermost group with a comma at or after `from`, found in one pass.
fn brace_group(text: &[u8], from: usize) -> Option<Braces> {
    let mut open: Vec<Braces> = Vec::new();
    let mut found: Option<Braces> = None;
    let mut at = from;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'{' => open.push(Braces {
                open: at,
                commas: Vec::new(),
                close: 0,
            }),
            b',' => {
                if let Some(group) = open.last_mut() {
                    group.commas.push(at);
                }
            }
            b'}' => {
                if let Some(mut group) = open.pop()
                    && !group.commas.is_empty()
                {
                    group.close = at;
                    // An outer group begins earlier and takes the place of an inner one.
                    if found.as_ref().is_none_or(|f| group.open < f.open) {
                        found = Some(group);
                    }
                    if open.is_empty() {
                        return found;
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests;
