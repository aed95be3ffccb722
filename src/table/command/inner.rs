//! Wildcards inside a program for another interpreter (`sh -c "..."`, `ssh`, `eval`):
//! the outer quoting cannot keep a file name from being code there.

use super::super::diagnostics::{Reporter, Span};
use super::direct::{Piece, Word};
use super::template::{Token, Unit, Wild};

/// Programs that run the argument after an option as code.
const WITH_OPTION: [(&str, u8); 26] = [
    ("sh", b'c'),
    ("bash", b'c'),
    ("dash", b'c'),
    ("ksh", b'c'),
    ("zsh", b'c'),
    ("fish", b'c'),
    ("csh", b'c'),
    ("tcsh", b'c'),
    ("ash", b'c'),
    ("su", b'c'),
    ("runuser", b'c'),
    ("script", b'c'),
    ("flock", b'c'),
    ("python", b'c'),
    ("python3", b'c'),
    ("perl", b'e'),
    ("ruby", b'e'),
    ("node", b'e'),
    ("php", b'r'),
    ("lua", b'e'),
    ("env", b'S'),
    ("mysql", b'e'),
    ("mariadb", b'e'),
    ("psql", b'c'),
    ("sed", b'e'),
    ("printf", b'v'),
];

/// Programs that run any argument as code.
const ANY_ARGUMENT: [&str; 7] = ["eval", "ssh", "let", "trap", "watch", "parallel", "sqlite3"];

/// Builtins that take names of variables, whose subscripts bash evaluates.
const NAMES: [&str; 7] = [
    "declare", "typeset", "local", "readonly", "export", "unset", "read",
];

/// Words before the program that runs.
const BEFORE: [&str; 20] = [
    "sudo", "env", "nice", "ionice", "nohup", "timeout", "time", "exec", "command", "setsid",
    "xargs", "if", "then", "else", "elif", "while", "until", "do", "!", "{",
];

/// Operators of `[[ ]]` whose operands bash evaluates.
const EVALUATED: [&[u8]; 6] = [b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge"];

/// `sh -c "..."` that runs without a shell around it: its script is compiled as the
/// shell form is, so that names are no code there either. True where a file name was
/// in it; None after an error.
pub fn compile(words: &mut [Word], start: usize, report: &mut Reporter) -> Option<bool> {
    let [program, option, script, ..] = words else {
        return Some(false);
    };
    let name = program
        .literal()
        .and_then(|p| p.rsplit(|b| *b == b'/').next());
    let is_shell = matches!(
        name,
        Some(b"sh" | b"bash" | b"dash" | b"ash" | b"ksh" | b"zsh")
    );
    if !is_shell
        || script.literal().is_some()
        || !is_option(option.literal().unwrap_or_default(), b'c')
    {
        return Some(false);
    }
    let mut units = Vec::new();
    for piece in script.pieces() {
        let token = |byte: &u8| match byte {
            b'$' => Token::Dollar { doubled: true },
            byte => Token::Byte(*byte),
        };
        match piece {
            Piece::Literal(bytes) => {
                units.extend(bytes.iter().map(|b| Unit {
                    token: token(b),
                    at: start,
                }));
            }
            Piece::Wild(wild) => units.push(Unit {
                token: Token::Wild(*wild),
                at: start,
            }),
        }
    }
    let compiled = super::shell::compile(&units, report)?;
    *script = Word::of(compiled.as_encoded_bytes());
    Some(units.iter().filter_map(Unit::wild).any(Wild::is_name))
}

/// Warns once for each interpreter that gets a wildcard as code.
pub fn warn(units: &[Unit], in_shell: bool, report: &mut Reporter) {
    let mut state = State::Program;
    let mut test = Test::default();
    for word in words(units, in_shell) {
        let Some(word) = word else {
            state = State::Program;
            test = Test::default();
            continue;
        };
        if let Some(at) = in_shell.then(|| test.evaluated(&word)).flatten() {
            tell(report, at, "[[");
        }
        if let Some(at) = word.name_at.filter(|_| in_shell && word.is_subscript) {
            tell(report, at, "bash");
        }
        state = match state {
            State::Option(program, option) if is_option(&word.text, option) => State::Code(program),
            State::Code(program) => {
                if let Some(at) = word.name_at {
                    tell(report, at, program);
                }
                State::Arguments
            }
            State::AllCode(program) | State::Names(program) => {
                let code = matches!(state, State::AllCode(_)) || !word.is_value;
                match word.name_at.filter(|_| code) {
                    Some(at) => {
                        tell(report, at, program);
                        State::Arguments
                    }
                    None => state,
                }
            }
            _ => program(&word, state),
        };
    }
}

/// What the next word may be.
#[derive(Clone, Copy)]
enum State {
    /// The program, or a word before it.
    Program,
    /// An argument, or a program for one like xargs.
    Arguments,
    /// After a program of WITH_OPTION.
    Option(&'static str, u8),
    /// Code.
    Code(&'static str),
    /// Code, like every later one.
    AllCode(&'static str),
    /// Names of variables.
    Names(&'static str),
}

/// What a word that is no code makes of the words after it.
fn program(word: &Rough, state: State) -> State {
    let name = word.text.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let is = |program: &&&str| program.as_bytes() == name;
    if let Some((program, option)) = WITH_OPTION.iter().find(|(p, _)| p.as_bytes() == name) {
        return State::Option(program, *option);
    }
    if !matches!(state, State::Program) {
        return state;
    }
    let before = BEFORE.iter().any(|b| is(&b))
        || word.is_value
        || name
            .first()
            .is_none_or(|b| *b == b'-' || b.is_ascii_digit());
    if let Some(program) = ANY_ARGUMENT.iter().find(is) {
        State::AllCode(program)
    } else if let Some(program) = NAMES.iter().find(is) {
        State::Names(program)
    } else if before {
        State::Program
    } else {
        State::Arguments
    }
}

fn tell(report: &mut Reporter, at: usize, program: &str) {
    let help = match program {
        "ssh" => "quote for the far shell: put a script there, and send the name on its input",
        "sh" | "bash" | "dash" | "ksh" | "zsh" | "ash" | "eval" => {
            "leave it out: the command may use shell syntax itself; or pass the name as an \
             argument: sh -c 'use \"$$1\"' sh $@/$#"
        }
        "[[" => "compare texts with `=`, or numbers with `[ ... ]`",
        _ => "pass the name as an argument, or read it from INCRON_TARGET in the environment",
    };
    let span = Span {
        start: at,
        length: 2,
    };
    report.warning(
        span,
        format!("{program} would read the file name as code"),
        help,
    );
}

/// `[[ ... ]]`, or `test -v`: a name and an operator that evaluates it.
#[derive(Default)]
struct Test {
    open: bool,
    /// `[ ]` and `test` evaluate after -v only.
    double: bool,
    name_at: Option<usize>,
    operator: bool,
}

impl Test {
    /// Where the name stands, once both were seen.
    fn evaluated(&mut self, word: &Rough) -> Option<usize> {
        match word.text.as_slice() {
            opening @ (b"[[" | b"[" | b"test") => {
                *self = Test {
                    open: true,
                    double: opening == b"[[",
                    ..Test::default()
                }
            }
            b"]]" | b"]" => *self = Test::default(),
            b"-v" => self.operator = true,
            text => self.operator |= self.double && EVALUATED.contains(&text),
        }
        self.name_at = self.name_at.or(word.name_at);
        let both = self.open && self.operator;
        let at = self.name_at.filter(|_| both)?;
        *self = Test::default();
        Some(at)
    }
}

/// `-c`, `-lc`, `-ec`.
fn is_option(word: &[u8], option: u8) -> bool {
    match word {
        [b'-', letters @ ..] => {
            letters.last() == Some(&option) && letters.iter().all(u8::is_ascii_alphabetic)
        }
        _ => false,
    }
}

/// A word without its quotes, its start only.
#[derive(Default)]
struct Rough {
    text: Vec<u8>,
    /// Where the first `$@` or `$#` stands in it.
    name_at: Option<usize>,
    /// `NAME=` stands before that.
    is_value: bool,
    /// `NAME[` stands before that.
    is_subscript: bool,
    any: bool,
}

/// Splits roughly: quotes are honoured, nesting is not. None is an operator, after
/// which a program stands.
fn words(units: &[Unit], in_shell: bool) -> Vec<Option<Rough>> {
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
                words.push(None);
            }
            (Token::Byte(b), _) => {
                word.any = true;
                word.is_value |= b == b'=' && word.name_at.is_none();
                if word.text.len() < 64 {
                    word.text.push(b);
                }
            }
            (Token::Dollar { .. }, _) => word.any = true,
            (Token::Wild(wild), _) => {
                word.any = true;
                if wild.is_name() && word.name_at.is_none() {
                    word.name_at = Some(unit.at);
                    word.is_subscript = is_subscript(&word.text);
                }
            }
        }
    }
    end(&mut word, &mut words);
    words
}

/// `x[`, which bash evaluates up to the `]`.
fn is_subscript(start: &[u8]) -> bool {
    let name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let length = start.iter().take_while(|b| name(b)).count();
    length > 0 && start.get(length) == Some(&b'[') && !start.contains(&b']')
}

fn end(word: &mut Rough, words: &mut Vec<Option<Rough>>) {
    let word = std::mem::take(word);
    if word.any {
        words.push(Some(word));
    }
}
