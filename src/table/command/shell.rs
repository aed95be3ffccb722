//! Commands with shell syntax: every wildcard becomes a quoted reference to a
//! variable, chosen by the context in which it stands.
//!
//! No value is ever pasted into the script, so a misjudged context can at worst
//! split a value into words: it cannot make it code. The exceptions are the places
//! where a shell evaluates what a variable holds (arithmetic, subscripts); names of
//! files are refused there. What is emitted works alike in dash and bash.

mod context;
mod references;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::super::diagnostics::{Reporter, Span};
use super::template::{Token, Unit};
use context::{Context, End, ParameterWord, WordState};

/// How deep quotes and substitutions may be nested; each look at all of them is
/// then short.
const DEEPEST: usize = 100;

/// Compiles a command into a script for `SHELL -c`. None after an error.
pub fn compile(units: &[Unit], report: &mut Reporter) -> Option<OsString> {
    let mut compiler = Compiler {
        units,
        at: 0,
        script: Vec::with_capacity(units.len() + 64),
        stack: vec![(Context::BARE, 0)],
        word: WordState::first(),
        backslash_in_backquotes: false,
        failed: false,
        report,
    };
    // `sh -c -x` would be an option.
    if matches!(units.first().and_then(Unit::byte), Some(b'-' | b'+')) {
        compiler.script.push(b' ');
    }
    compiler.run();
    (!compiler.failed).then(|| OsString::from_vec(compiler.script))
}

struct Compiler<'a, 'r> {
    units: &'a [Unit],
    at: usize,
    script: Vec<u8>,
    /// Contexts and where in the line each began.
    stack: Vec<(Context, usize)>,
    word: WordState,
    backslash_in_backquotes: bool,
    failed: bool,
    report: &'r mut Reporter,
}

impl Compiler<'_, '_> {
    fn run(&mut self) {
        while let Some(unit) = self.next() {
            if unit.byte() == Some(b'`') && self.end_backquotes() {
                continue;
            }
            let context = self
                .stack
                .last()
                .map_or(Context::BARE, |(context, _)| *context);
            match (unit.token, context) {
                (Token::Wild(wild), _) => self.wild(wild, unit.at, context),
                (Token::Dollar { doubled }, _) => self.dollar(doubled, unit.at, context),
                (Token::Byte(byte), Context::Bare { .. }) => self.bare(byte, unit.at),
                (Token::Byte(byte), Context::Double) => self.double(byte, unit.at),
                (Token::Byte(byte), Context::Single) => self.quoted_byte(byte, b'\''),
                (Token::Byte(byte), Context::AnsiC) => self.ansi_c(byte, unit.at),
                (Token::Byte(byte), Context::Parameter { quoted, word }) => {
                    self.parameter(byte, unit.at, quoted, word);
                }
                (Token::Byte(byte), Context::Arithmetic { .. }) => self.arithmetic(byte, unit.at),
            }
            if self.failed {
                return;
            }
        }
        self.check_closed();
    }

    fn next(&mut self) -> Option<Unit> {
        let unit = self.units.get(self.at).copied();
        self.at += 1;
        unit
    }

    fn peek(&self) -> Option<Token> {
        self.units.get(self.at).map(|u| u.token)
    }

    fn next_is(&self, byte: u8) -> bool {
        self.peek() == Some(Token::Byte(byte))
    }

    fn push(&mut self, context: Context, at: usize) {
        self.stack.push((context, at));
        self.word = WordState::first();
        if self.stack.len() > DEEPEST {
            self.fail(at, 1, "this is nested too deeply", "put it into a script");
        }
    }

    fn pop(&mut self) {
        self.stack.pop();
        // What follows goes on with a word that is no keyword.
        self.word = WordState::no_keyword();
    }

    fn fail(&mut self, at: usize, length: usize, message: &str, help: &str) {
        self.failed = true;
        self.report.error(Span { start: at, length }, message, help);
    }

    fn quoted_byte(&mut self, byte: u8, quote: u8) {
        self.script.push(byte);
        if byte == quote {
            self.pop();
        }
    }

    /// Copies a backslash and the byte it protects. A wildcard after it stays one.
    fn backslash(&mut self) {
        if self.in_backquotes() {
            self.backslash_in_backquotes = true;
        }
        match self.peek() {
            Some(Token::Byte(byte)) => self.script.extend([b'\\', byte]),
            Some(Token::Dollar { .. }) => self.script.extend(*b"\\$"),
            Some(Token::Wild(_)) => return,
            None => self.script.push(b'\\'),
        }
        self.at += 1;
    }

    fn bare(&mut self, byte: u8, at: usize) {
        match byte {
            b'#' if self.word.length == 0 => return self.comment(),
            b' ' | b'\t' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => self.end_word(byte),
            _ => {}
        }
        match byte {
            b'\\' => {
                self.word = WordState::no_keyword();
                return self.backslash();
            }
            b'\'' => self.push(Context::Single, at),
            b'"' => self.push(Context::Double, at),
            b'`' => self.push(Context::bare(End::Backquote), at),
            b'(' => return self.open_parenthesis(at),
            b')' => return self.close_parenthesis(),
            b'<' if self.next_is(b'<') => return self.here(at),
            b' ' | b'\t' | b';' | b'&' | b'|' | b'<' | b'>' => {}
            other => self.word.push(other),
        }
        self.script.push(byte);
    }

    /// A word has ended: `case ... esac` changes what `)` means.
    fn end_word(&mut self, end: u8) {
        if let Some((Context::Bare { cases, .. }, _)) = self.stack.last_mut() {
            match self.word.keyword() {
                Some(b"case") => *cases += 1,
                Some(b"esac") => *cases = cases.saturating_sub(1),
                _ => {}
            }
        }
        self.word = self.word.after(end);
    }

    fn open_parenthesis(&mut self, at: usize) {
        if self.next_is(b'(') {
            self.at += 1;
            self.script.extend(*b"((");
            return self.push(Context::Arithmetic { parentheses: 0 }, at);
        }
        if let Some((Context::Bare { parentheses, .. }, _)) = self.stack.last_mut() {
            *parentheses += 1;
        }
        self.script.push(b'(');
    }

    fn close_parenthesis(&mut self) {
        self.script.push(b')');
        if let Some((
            Context::Bare {
                end,
                parentheses,
                cases,
            },
            _,
        )) = self.stack.last_mut()
        {
            if *parentheses > 0 {
                *parentheses -= 1;
            } else if *cases == 0 && *end == End::Parenthesis {
                self.pop();
            }
        }
    }

    fn here(&mut self, at: usize) {
        self.at += 1;
        self.script.extend(*b"<<");
        if self.next_is(b'<') {
            self.at += 1;
            self.script.push(b'<');
            return;
        }
        self.report.warning(
            Span {
                start: at,
                length: 2,
            },
            "a here-document has no lines here: a command is one line",
            "write `printf '%s\\n' ... | COMMAND`, or put it into a script",
        );
    }

    /// The rest of the command is a comment (in backquotes: up to their end).
    fn comment(&mut self) {
        self.at -= 1;
        while let Some(unit) = self.next() {
            match unit.token {
                Token::Byte(b'`') if self.in_backquotes() => {
                    self.at -= 1;
                    return;
                }
                Token::Byte(byte) => self.script.push(byte),
                Token::Dollar { .. } => self.script.push(b'$'),
                Token::Wild(wild) => self.script.extend(wild.variable().bytes()),
            }
        }
    }

    fn double(&mut self, byte: u8, at: usize) {
        match byte {
            b'\\' if matches!(self.peek(), Some(Token::Wild(_))) => self.script.extend(*b"\\\\"),
            b'\\' => self.backslash(),
            b'`' => {
                self.script.push(byte);
                self.push(Context::bare(End::Backquote), at);
            }
            _ => self.quoted_byte(byte, b'"'),
        }
    }

    fn ansi_c(&mut self, byte: u8, at: usize) {
        if byte == b'\\' && self.next_is(b'\'') {
            return self.fail(
                at,
                2,
                "this quote ends in some shells and not in others",
                "write '...' and \"...\": `'it'\"'\"'s'`",
            );
        }
        self.quoted_byte(byte, b'\'');
    }

    fn parameter(&mut self, byte: u8, at: usize, quoted: bool, word: ParameterWord) {
        match byte {
            b'\\' => self.backslash(),
            b'}' => {
                self.script.push(byte);
                self.pop();
            }
            b'"' => {
                self.script.push(byte);
                self.push(Context::Double, at);
            }
            // In "${x:-'...'}" the single quotes are characters.
            b'\'' if !quoted || word == ParameterWord::Pattern => {
                self.script.push(byte);
                self.push(Context::Single, at);
            }
            b'`' => {
                self.script.push(byte);
                self.push(Context::bare(End::Backquote), at);
            }
            other => self.script.push(other),
        }
    }

    fn arithmetic(&mut self, byte: u8, at: usize) {
        self.script.push(byte);
        let Some((Context::Arithmetic { parentheses }, _)) = self.stack.last_mut() else {
            return;
        };
        match byte {
            b'(' => *parentheses += 1,
            b')' if *parentheses > 0 => *parentheses -= 1,
            b')' => {
                if self.next_is(b')') {
                    self.at += 1;
                    self.script.push(b')');
                }
                self.pop();
            }
            b'"' => self.push(Context::Double, at),
            b'\'' => self.push(Context::Single, at),
            b'`' => self.push(Context::bare(End::Backquote), at),
            _ => {}
        }
    }

    /// A backquote ends backquotes whatever stands between; false: it begins them.
    fn end_backquotes(&mut self) -> bool {
        let open = |(context, _): &(Context, usize)| {
            matches!(
                context,
                Context::Bare {
                    end: End::Backquote,
                    ..
                }
            )
        };
        let Some(index) = self.stack.iter().rposition(open) else {
            return false;
        };
        self.stack.truncate(index + 1);
        self.script.push(b'`');
        self.pop();
        self.backslash_in_backquotes = false;
        true
    }

    fn in_backquotes(&self) -> bool {
        self.stack.iter().any(|(context, _)| {
            matches!(
                context,
                Context::Bare {
                    end: End::Backquote,
                    ..
                }
            )
        })
    }

    fn check_closed(&mut self) {
        let unclosed = self.stack.iter().skip(1).last().copied();
        let Some((context, at)) = unclosed else {
            return;
        };
        let (message, help) = context.unclosed();
        self.fail(at, 1, message, help);
    }
}
