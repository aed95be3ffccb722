//! Where in a shell command the compiler stands.

/// Where the compiler stands; the innermost context is the last of its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
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
pub enum End {
    Text,
    Parenthesis,
    Backquote,
}

/// What stands after the name in `${...}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterWord {
    /// `:-word` and its like.
    Text,
    /// `#pattern`, `%pattern`.
    Pattern,
    /// bash's others: some are evaluated.
    Other,
}

impl Context {
    pub const BARE: Context = Context::Bare {
        end: End::Text,
        parentheses: 0,
        cases: 0,
    };

    /// What to say of one that the command does not end.
    pub fn unclosed(self) -> (&'static str, &'static str) {
        match self {
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
        }
    }

    /// Unquoted text within something, up to `end`.
    pub fn bare(end: End) -> Context {
        Context::Bare {
            end,
            parentheses: 0,
            cases: 0,
        }
    }
}

/// The unquoted word being read, as far as keywords and comments need it.
#[derive(Clone, Copy, Debug, Default)]
pub struct WordState {
    /// Its first bytes, while it is unquoted.
    start: [u8; 5],
    pub length: usize,
    /// It stands where a command begins, so it may be a keyword.
    command: bool,
}

impl WordState {
    /// Before the first word of a command.
    pub fn first() -> WordState {
        WordState {
            command: true,
            ..WordState::default()
        }
    }

    /// A word that has begun and can be no keyword: part of it is quoted or expanded.
    pub fn no_keyword() -> WordState {
        WordState {
            length: usize::MAX / 2,
            ..WordState::default()
        }
    }

    pub fn push(&mut self, byte: u8) {
        if let Some(place) = self.start.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    /// The keyword it is, if it is whole.
    pub fn keyword(&self) -> Option<&[u8]> {
        self.start.get(..self.length).filter(|_| self.command)
    }

    /// What comes after it, once `end` has ended it.
    pub fn after(&self, end: u8) -> WordState {
        let opens: [&[u8]; 9] = [
            b"then", b"do", b"else", b"elif", b"if", b"while", b"until", b"!", b"{",
        ];
        let command = match end {
            b';' | b'&' | b'|' | b'(' | b')' => true,
            _ if self.length == 0 => self.command,
            _ => self.keyword().is_some_and(|word| opens.contains(&word)),
        };
        WordState {
            command,
            ..WordState::default()
        }
    }
}
