//! Globs over bytes: `*`, `?`, `[...]` and `{a,b}` as a shell reads them.
//!
//! Written here rather than taken from a regex-based crate for three reasons: a
//! file name is bytes and need not be UTF-8; thousands of lines each hold their
//! own glob, which costs bytes here and tens of kilobytes as an automaton; and the
//! common shapes (`name`, `*.ext`, `prefix*`) must cost a few nanoseconds. No text
//! is an error of syntax: as in a shell, an unclosed `[` or `{` is that character.

mod braces;
mod class;

pub use braces::{TooManyAlternatives, expand as expand_braces};
use class::{Class, character};

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
                class.contains(c).then_some(width)
            }
            Token::Star => None,
        }
    }
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
            b'[' if !unclosed => match Class::read(text.get(at..).unwrap_or_default()) {
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

#[cfg(test)]
mod tests;
