//! Commands with shell syntax: every wildcard becomes a quoted reference to a
//! variable, chosen by the context in which it stands.
//!
//! No value is ever pasted into the script, so a misjudged context can at worst
//! split a value into words: it cannot make it code. The exceptions are the places
//! where a shell evaluates what a variable holds (arithmetic, subscripts); names of
//! files are refused there. What is emitted works alike in dash and bash.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::super::diagnostics::{Reporter, Span};
use super::template::{Token, Unit, Wild, expands};

/// Where the compiler stands; the innermost context is the last of its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// Unquoted text, up to `end`.
    Bare {
        end: End,
        parentheses: u32,
        cases: u32,
    },
    /// "..."
    Double,
    /// '...'
    Single,
    /// $'...': only bash has it, so its end is not the same in every shell.
    AnsiC,
    /// ${name op word}
    Parameter { quoted: bool, word: ParameterWord },
    /// $((...)) or ((...))
    Arithmetic { parentheses: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Text,
    Parenthesis,
    Backquote,
}

/// What stands after the name in `${...}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParameterWord {
    /// `:-word` and its like.
    Text,
    /// `#pattern`, `%pattern`.
    Pattern,
    /// bash's others: some are evaluated.
    Other,
}

/// Compiles a command into a script for `SHELL -c`. None after an error.
pub fn compile(units: &[Unit], report: &mut Reporter) -> Option<OsString> {
    let mut compiler = Compiler {
        units,
        at: 0,
        script: Vec::with_capacity(units.len() + 64),
        stack: vec![(Context::BARE, 0)],
        word: WordState::default(),
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

impl Context {
    const BARE: Context = Context::Bare {
        end: End::Text,
        parentheses: 0,
        cases: 0,
    };

    fn bare(end: End) -> Context {
        Context::Bare {
            end,
            parentheses: 0,
            cases: 0,
        }
    }
}

/// The unquoted word being read, as far as keywords and comments need it.
#[derive(Clone, Copy, Debug, Default)]
struct WordState {
    /// Its first bytes, while it is unquoted.
    start: [u8; 4],
    length: usize,
}

impl WordState {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.start.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    fn is(&self, word: [u8; 4]) -> bool {
        self.length == 4 && self.start == word
    }
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
        self.word = WordState::default();
    }

    fn pop(&mut self) {
        self.stack.pop();
        // What follows goes on with a word that is no keyword.
        self.word = WordState {
            length: usize::MAX / 2,
            ..WordState::default()
        };
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
            b' ' | b'\t' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => self.end_word(),
            _ => {}
        }
        match byte {
            b'\\' => {
                self.word.length = 5;
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
    fn end_word(&mut self) {
        if let Some((Context::Bare { cases, .. }, _)) = self.stack.last_mut() {
            if self.word.is(*b"case") {
                *cases += 1;
            } else if self.word.is(*b"esac") {
                *cases = cases.saturating_sub(1);
            }
        }
        self.word = WordState::default();
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

    /// A dollar sign: what it begins, or itself.
    fn dollar(&mut self, doubled: bool, at: usize, context: Context) {
        let unquoted = matches!(context, Context::Bare { .. })
            || matches!(context, Context::Parameter { quoted: false, .. });
        self.word.length = 5;
        if matches!(context, Context::Single | Context::AnsiC) {
            return self.script.push(b'$');
        }
        if let Some(Token::Wild(_)) = self.peek() {
            // `$"..."` would be something else in bash.
            let literal: &[u8] = match context {
                Context::Double => b"\"'$'\"",
                Context::Parameter { quoted: true, .. } => b"\\$",
                _ => b"'$'",
            };
            return self.script.extend_from_slice(literal);
        }
        if !doubled && expands(self.units.get(self.at)) {
            self.report.note(
                Span {
                    start: at,
                    length: 2,
                },
                "incron 0.5.x drops this dollar sign; here the shell expands what it begins",
            );
        }
        self.script.push(b'$');
        match self.peek() {
            Some(Token::Byte(b'(')) => self.open_substitution(at),
            Some(Token::Byte(b'{')) => self.open_parameter(at, !unquoted),
            Some(Token::Byte(b'\'')) if unquoted => {
                self.at += 1;
                self.script.push(b'\'');
                self.push(Context::AnsiC, at);
            }
            // `$$` of the shell: its process.
            Some(Token::Dollar { .. }) => {
                self.at += 1;
                self.script.push(b'$');
            }
            Some(Token::Byte(byte @ (b'#' | b'*' | b'@' | b'?' | b'-' | b'!'))) => {
                self.at += 1;
                self.script.push(byte);
            }
            _ => {}
        }
    }

    fn open_substitution(&mut self, at: usize) {
        self.at += 1;
        self.script.push(b'(');
        if self.next_is(b'(') {
            self.at += 1;
            self.script.push(b'(');
            self.push(Context::Arithmetic { parentheses: 0 }, at);
        } else {
            self.push(Context::bare(End::Parenthesis), at);
        }
    }

    /// `${`: the name, then what is to be done with it.
    fn open_parameter(&mut self, at: usize, quoted: bool) {
        self.at += 1;
        self.script.push(b'{');
        let start = self.at;
        while let Some(Token::Byte(byte)) = self.peek() {
            let special =
                self.at == start && matches!(byte, b'#' | b'?' | b'-' | b'!' | b'@' | b'*');
            if !byte.is_ascii_alphanumeric() && byte != b'_' && !special {
                break;
            }
            self.script.push(byte);
            self.at += 1;
        }
        let after = |i: usize| self.units.get(self.at + i).and_then(Unit::byte);
        let word = match (after(0), after(1)) {
            (Some(b'-' | b'=' | b'?' | b'+'), _) => ParameterWord::Text,
            (Some(b':'), Some(b'-' | b'=' | b'?' | b'+')) => ParameterWord::Text,
            (Some(b'#' | b'%'), _) => ParameterWord::Pattern,
            _ => ParameterWord::Other,
        };
        self.push(Context::Parameter { quoted, word }, at);
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

    /// The reference that brings the value in as one word.
    fn wild(&mut self, wild: Wild, at: usize, context: Context) {
        let name = wild.variable();
        self.word.length = 5;
        if self.backslash_in_backquotes && self.in_backquotes() {
            return self.fail(
                at,
                2,
                "a wildcard in backquotes that hold backslashes",
                "write $$(...) in place of the backquotes",
            );
        }
        let evaluated = match context {
            Context::Arithmetic { .. } => true,
            Context::Parameter { word, .. } => word == ParameterWord::Other,
            _ => false,
        };
        if evaluated && wild.is_name() {
            return self.fail(
                at,
                2,
                "a shell evaluates what stands here: a file name would be code",
                "give it to a program as an argument",
            );
        }
        let reference = match context {
            Context::Bare { .. } => format!("\"${{{name}}}\""),
            Context::Double | Context::Arithmetic { .. } => format!("${{{name}}}"),
            Context::Single => format!("'\"${{{name}}}\"'"),
            Context::Parameter {
                quoted: true,
                word: ParameterWord::Text,
            } => format!("${{{name}}}"),
            Context::Parameter { .. } => format!("\"${{{name}}}\""),
            Context::AnsiC => {
                return self.fail(at, 2, "a wildcard in $'...'", "write it in \"...\"");
            }
        };
        self.script.extend_from_slice(reference.as_bytes());
    }

    fn check_closed(&mut self) {
        let unclosed = self.stack.iter().skip(1).last().copied();
        let Some((context, at)) = unclosed else {
            return;
        };
        let (message, help) = match context {
            Context::Double | Context::Single | Context::AnsiC => {
                ("this quote is not closed", "close it")
            }
            Context::Bare {
                end: End::Backquote,
                ..
            } => ("this backquote is not closed", "close it"),
            Context::Bare { .. } => ("this `(` is not closed", "close it with `)`"),
            Context::Parameter { .. } => ("this `{` is not closed", "close it with `}`"),
            Context::Arithmetic { .. } => ("this `((` is not closed", "close it with `))`"),
        };
        self.fail(at, 1, message, help);
    }
}
