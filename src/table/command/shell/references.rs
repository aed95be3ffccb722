//! Dollar signs and wildcards: what the shell may expand, and how.

use super::super::super::diagnostics::Span;
use super::super::template::{Token, Unit, Wild, expands};
use super::Compiler;
use super::context::{Context, End, ParameterWord, WordState};

impl Compiler<'_, '_> {
    /// A dollar sign: what it begins, or itself.
    pub(super) fn dollar(&mut self, doubled: bool, at: usize, context: Context) {
        let unquoted = matches!(context, Context::Bare { .. })
            || matches!(context, Context::Parameter { quoted: false, .. });
        self.word = WordState::no_keyword();
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

    /// The reference that brings the value in as one word.
    pub(super) fn wild(&mut self, wild: Wild, at: usize, context: Context) {
        let name = wild.variable();
        self.word = WordState::no_keyword();
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
}
