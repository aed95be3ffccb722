//! Wildcards inside a program for another interpreter (`sh -c "..."`, `ssh`, `eval`):
//! the outer quoting cannot keep a file name from being code there.

use super::super::diagnostics::{Reporter, Span};
use super::template::{Token, Unit};

/// Programs that run an argument as code, and the option before that argument
/// (empty: any argument is code).
const INTERPRETERS: [(&str, &str); 32] = [
    ("sh", "-c"),
    ("bash", "-c"),
    ("dash", "-c"),
    ("ksh", "-c"),
    ("zsh", "-c"),
    ("fish", "-c"),
    ("csh", "-c"),
    ("tcsh", "-c"),
    ("ash", "-c"),
    ("su", "-c"),
    ("runuser", "-c"),
    ("script", "-c"),
    ("flock", "-c"),
    ("python", "-c"),
    ("python3", "-c"),
    ("perl", "-e"),
    ("ruby", "-e"),
    ("node", "-e"),
    ("php", "-r"),
    ("lua", "-e"),
    ("env", "-S"),
    ("mysql", "-e"),
    ("mariadb", "-e"),
    ("psql", "-c"),
    ("sqlite3", ""),
    ("eval", ""),
    ("ssh", ""),
    ("let", ""),
    ("trap", ""),
    ("watch", ""),
    ("sed", "-e"),
    ("parallel", ""),
];

/// Warns once for each interpreter that gets a wildcard as code.
pub fn warn(units: &[Unit], in_shell: bool, report: &mut Reporter) {
    let mut state = State::Outside;
    for word in words(units, in_shell) {
        state = match (word, state) {
            (Words::End, _) => State::Outside,
            (Words::Word(word), State::Options(program, flag)) if is_flag(&word.text, flag) => {
                let _ = word;
                State::Code(program, flag)
            }
            (Words::Word(word), State::Code(program, flag)) => {
                if let Some(at) = word.name_at {
                    report.warning(
                        Span {
                            start: at,
                            length: 2,
                        },
                        format!("{program} would read the file name as code"),
                        advice(program),
                    );
                    State::Outside
                } else if flag.is_empty() {
                    State::Code(program, flag)
                } else {
                    State::Outside
                }
            }
            (Words::Word(word), state) => match interpreter(&word.text) {
                Some((program, "")) => State::Code(program, ""),
                Some((program, flag)) => State::Options(program, flag),
                None => state,
            },
        };
    }
}

#[derive(Clone, Copy)]
enum State {
    Outside,
    /// After the program: its option may come.
    Options(&'static str, &'static str),
    /// The next word is code.
    Code(&'static str, &'static str),
}

fn advice(program: &str) -> &'static str {
    match program {
        "ssh" => "quote for the far shell: write a script there, and send the name on its input",
        "sh" | "bash" | "dash" | "ksh" | "zsh" | "ash" | "eval" => {
            "leave it out: the command may use shell syntax itself; or pass the name as an \
             argument: sh -c 'use \"$$1\"' sh $@/$#"
        }
        _ => "pass the name as an argument, or read it from INCRON_TARGET in the environment",
    }
}

fn interpreter(word: &[u8]) -> Option<(&'static str, &'static str)> {
    let name = word.rsplit(|b| *b == b'/').next()?;
    INTERPRETERS
        .iter()
        .find(|(program, _)| program.as_bytes() == name)
        .copied()
}

/// `-c`, `-lc`, `-ec`.
fn is_flag(word: &[u8], flag: &str) -> bool {
    match (word, flag.as_bytes()) {
        ([b'-', letters @ ..], [b'-', flag]) => {
            letters.last() == Some(flag) && letters.iter().all(u8::is_ascii_alphabetic)
        }
        _ => false,
    }
}

enum Words {
    Word(Rough),
    /// An operator: the next word is a program.
    End,
}

/// A word without its quotes, its start only.
#[derive(Default)]
struct Rough {
    text: Vec<u8>,
    /// Where `$@` or `$#` stands in it.
    name_at: Option<usize>,
    any: bool,
}

/// Splits roughly: quotes are honoured, nesting is not.
fn words(units: &[Unit], in_shell: bool) -> Vec<Words> {
    let mut words = Vec::new();
    let mut word = Rough::default();
    let mut quote: Option<u8> = None;
    for unit in units {
        match (unit.token, quote) {
            (Token::Byte(b), Some(q)) if b == q => quote = None,
            (Token::Byte(q @ (b'"' | b'\'')), None) => {
                quote = Some(q);
                word.any = true;
            }
            (Token::Byte(b' ' | b'\t'), None) => end(&mut word, &mut words),
            (Token::Byte(b'|' | b';' | b'&' | b'(' | b')' | b'`'), None) if in_shell => {
                end(&mut word, &mut words);
                words.push(Words::End);
            }
            (Token::Byte(b), _) => {
                word.any = true;
                if word.text.len() < 64 {
                    word.text.push(b);
                }
            }
            (Token::Dollar { .. }, _) => word.any = true,
            (Token::Wild(wild), _) => {
                word.any = true;
                if wild.is_name() {
                    word.name_at = word.name_at.or(Some(unit.at));
                }
            }
        }
    }
    end(&mut word, &mut words);
    words
}

fn end(word: &mut Rough, words: &mut Vec<Words>) {
    let word = std::mem::take(word);
    if word.any {
        words.push(Words::Word(word));
    }
}
