//! Commands of plain words: split as a POSIX shell splits them, and the reasons why
//! a command needs that shell after all.

use super::super::diagnostics::{Reporter, Span};
use super::template::{Token, Unit, Wild, expands};

/// One argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word(Vec<Piece>);

/// A stretch of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Always the same.
    Literal(Vec<u8>),
    /// From the event.
    Wild(Wild),
}

impl Word {
    /// A word that no event changes.
    pub fn of(text: &[u8]) -> Word {
        Word(vec![Piece::Literal(text.to_vec())])
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// True where it is empty for every event.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, with wildcards as a table writes them.
    pub fn written(&self) -> std::ffi::OsString {
        let mut text = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => text.extend_from_slice(bytes),
                Piece::Wild(wild) => text.extend_from_slice(wild.written().as_bytes()),
            }
        }
        std::os::unix::ffi::OsStringExt::from_vec(text)
    }

    /// The text, when no event changes it.
    pub fn literal(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Piece::Literal(bytes)] => Some(bytes),
            _ => None,
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(Piece::Literal(bytes)) = self.0.last_mut() {
            bytes.push(byte);
        } else {
            self.0.push(Piece::Literal(vec![byte]));
        }
    }
}

/// Why a command needs a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedsShell;

/// Programs that are part of the shell only, and the words of its grammar.
const SHELL_WORDS: [&str; 66] = [
    ".", ":", "!", "{", "}", "[[", "]]", "alias", "bg", "bind", "break", "builtin", "caller",
    "case", "cd", "command", "compgen", "complete", "continue", "coproc", "declare", "dirs",
    "disown", "do", "done", "elif", "else", "enable", "esac", "eval", "exec", "exit", "export",
    "fc", "fg", "fi", "for", "function", "getopts", "hash", "if", "in", "jobs", "let", "local",
    "mapfile", "popd", "pushd", "read", "readonly", "return", "select", "set", "shift", "shopt",
    "source", "then", "time", "times", "trap", "type", "ulimit", "umask", "unset", "until",
    "while",
];

/// Splits into words. With `literal` (shell=no) a shell's operators are ordinary
/// characters; without it, the first thing only a shell can do ends the attempt.
/// None: an error was reported.
pub fn words(
    units: &[Unit],
    literal: bool,
    report: &mut Reporter,
) -> Option<Result<Vec<Word>, NeedsShell>> {
    let mut splitter = Splitter {
        units,
        at: 0,
        literal,
        words: Vec::new(),
        word: None,
    };
    match splitter.run() {
        Ok(()) => {}
        Err(Stop::NeedsShell) => return Some(Err(NeedsShell)),
        Err(Stop::Unclosed(at)) => {
            report.error(
                Span {
                    start: at,
                    length: 1,
                },
                "this quote is not closed",
                "close it",
            );
            return None;
        }
    }
    let words = splitter.words;
    if !literal && words.first().is_some_and(begins_shell) {
        return Some(Err(NeedsShell));
    }
    Some(Ok(words))
}

enum Stop {
    NeedsShell,
    Unclosed(usize),
}

struct Splitter<'a> {
    units: &'a [Unit],
    at: usize,
    literal: bool,
    words: Vec<Word>,
    word: Option<Word>,
}

impl Splitter<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        while let Some(unit) = self.next() {
            match unit.token {
                Token::Byte(b' ' | b'\t') => self.words.extend(self.word.take()),
                Token::Byte(b'#') if self.word.is_none() && !self.literal => break,
                Token::Byte(b'\'') => self.single(unit.at)?,
                Token::Byte(b'"') => self.double(unit.at)?,
                Token::Byte(b'\\') => self.escaped(),
                Token::Byte(byte) => {
                    self.shell_if(self.is_special(byte))?;
                    self.push(byte);
                }
                Token::Dollar { .. } => self.dollar(true)?,
                Token::Wild(wild) => self.wild(wild),
            }
        }
        self.words.extend(self.word.take());
        Ok(())
    }

    fn next(&mut self) -> Option<Unit> {
        let unit = self.units.get(self.at).copied();
        self.at += 1;
        unit
    }

    fn push(&mut self, byte: u8) {
        self.word.get_or_insert_default().push(byte);
    }

    fn wild(&mut self, wild: Wild) {
        self.word.get_or_insert_default().0.push(Piece::Wild(wild));
    }

    fn shell_if(&self, needed: bool) -> Result<(), Stop> {
        if needed && !self.literal {
            Err(Stop::NeedsShell)
        } else {
            Ok(())
        }
    }

    /// True for an unquoted byte that means something to a shell where it stands.
    fn is_special(&self, byte: u8) -> bool {
        let next = self.units.get(self.at).map(|u| u.token);
        match byte {
            b'|' | b'&' | b';' | b'<' | b'>' | b'(' | b')' | b'`' | b'*' | b'?' => true,
            // `[` alone is a program of its own; `{}` alone is for find and xargs.
            b'[' => self.word.is_some() || !matches!(next, None | Some(Token::Byte(b' ' | b'\t'))),
            b'{' => next != Some(Token::Byte(b'}')),
            b'~' => match self.word.as_ref().map(|word| word.0.last()) {
                None => true,
                Some(Some(Piece::Literal(b))) => b.ends_with(b"=") || b.ends_with(b":"),
                Some(_) => false,
            },
            _ => false,
        }
    }

    /// An unquoted backslash: the next byte is itself, a wildcard stays one.
    fn escaped(&mut self) {
        match self.next().map(|u| u.token) {
            Some(Token::Byte(byte)) => self.push(byte),
            Some(Token::Dollar { .. }) => self.push(b'$'),
            Some(Token::Wild(wild)) => self.wild(wild),
            None => self.push(b'\\'),
        }
    }

    fn dollar(&mut self, bare: bool) -> Result<(), Stop> {
        let next = self.units.get(self.at);
        let quote = bare && matches!(next.and_then(Unit::byte), Some(b'\'' | b'"'));
        self.shell_if(expands(next) || quote)?;
        self.push(b'$');
        Ok(())
    }

    fn single(&mut self, open: usize) -> Result<(), Stop> {
        self.word.get_or_insert_default();
        while let Some(unit) = self.next() {
            match unit.token {
                Token::Byte(b'\'') => return Ok(()),
                Token::Byte(byte) => self.push(byte),
                Token::Dollar { .. } => self.push(b'$'),
                Token::Wild(wild) => self.wild(wild),
            }
        }
        Err(Stop::Unclosed(open))
    }

    fn double(&mut self, open: usize) -> Result<(), Stop> {
        self.word.get_or_insert_default();
        while let Some(unit) = self.next() {
            match unit.token {
                Token::Byte(b'"') => return Ok(()),
                Token::Byte(b'\\') => match self.units.get(self.at).map(|u| u.token) {
                    Some(Token::Byte(byte @ (b'"' | b'\\' | b'`'))) => {
                        self.at += 1;
                        self.push(byte);
                    }
                    Some(Token::Dollar { .. }) => {
                        self.at += 1;
                        self.push(b'$');
                    }
                    _ => self.push(b'\\'),
                },
                Token::Byte(byte) => {
                    self.shell_if(byte == b'`')?;
                    self.push(byte);
                }
                Token::Dollar { .. } => self.dollar(false)?,
                Token::Wild(wild) => self.wild(wild),
            }
        }
        Err(Stop::Unclosed(open))
    }
}

/// True for a first word that only a shell understands.
fn begins_shell(word: &Word) -> bool {
    let whole = word.literal().and_then(|w| std::str::from_utf8(w).ok());
    if whole.is_some_and(|w| SHELL_WORDS.contains(&w)) {
        return true;
    }
    match word.0.first() {
        Some(Piece::Literal(start)) => std::str::from_utf8(start).is_ok_and(is_assignment),
        _ => false,
    }
}

/// `NAME=...` before a command.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

/// incron 0.5.10: words end at spaces, `\` protects the next byte, quotes are bytes.
pub fn old_words(units: &[Unit]) -> Vec<Word> {
    let mut splitter = Splitter {
        units,
        at: 0,
        literal: true,
        words: Vec::new(),
        word: None,
    };
    while let Some(unit) = splitter.next() {
        match unit.token {
            Token::Byte(b' ') => splitter.words.extend(splitter.word.take()),
            Token::Byte(b'\\') => splitter.escaped(),
            Token::Byte(byte) => splitter.push(byte),
            Token::Dollar { .. } => splitter.push(b'$'),
            Token::Wild(wild) => splitter.wild(wild),
        }
    }
    splitter.words.extend(splitter.word.take());
    splitter.words
}
