//! incron's own layer of a command: `$@ $# $% $&` are wildcards, `$$` is a dollar
//! sign; every other byte, `$x` included, is the command's.

/// What an event fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wild {
    /// `$@`: the watched path.
    Watch,
    /// `$#`: the name in it.
    File,
    /// `$%`: event names.
    Names,
    /// `$&`: the number of the mask.
    Number,
}

impl Wild {
    /// The variable that carries the value into a shell.
    pub fn variable(self) -> &'static str {
        match self {
            Wild::Watch => "INCRON_WATCH",
            Wild::File => "INCRON_FILE",
            Wild::Names => "INCRON_EVENT",
            Wild::Number => "INCRON_MASK",
        }
    }

    /// As it is written in a table.
    pub fn written(self) -> &'static str {
        match self {
            Wild::Watch => "$@",
            Wild::File => "$#",
            Wild::Names => "$%",
            Wild::Number => "$&",
        }
    }

    /// True where others choose the value: whoever can make a file.
    pub fn is_name(self) -> bool {
        matches!(self, Wild::Watch | Wild::File)
    }
}

/// The smallest piece of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A byte of the command.
    Byte(u8),
    /// A dollar sign: of `$$`, or one that no wildcard follows (`doubled` false).
    Dollar {
        /// Written `$$`.
        doubled: bool,
    },
    /// A wildcard.
    Wild(Wild),
}

/// A token and where in the line it stands (bytes, from 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    pub token: Token,
    pub at: usize,
}

impl Unit {
    pub fn wild(&self) -> Option<Wild> {
        if let Token::Wild(wild) = self.token {
            Some(wild)
        } else {
            None
        }
    }

    pub fn byte(&self) -> Option<u8> {
        if let Token::Byte(byte) = self.token {
            Some(byte)
        } else {
            None
        }
    }
}

/// Reads a command that starts at byte `start` of its line.
pub fn units(text: &[u8], start: usize) -> Vec<Unit> {
    let mut units = Vec::with_capacity(text.len());
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        let (token, length) = match (byte, text.get(i + 1)) {
            (b'$', Some(b'$')) => (Token::Dollar { doubled: true }, 2),
            (b'$', Some(b'@')) => (Token::Wild(Wild::Watch), 2),
            (b'$', Some(b'#')) => (Token::Wild(Wild::File), 2),
            (b'$', Some(b'%')) => (Token::Wild(Wild::Names), 2),
            (b'$', Some(b'&')) => (Token::Wild(Wild::Number), 2),
            (b'$', _) => (Token::Dollar { doubled: false }, 1),
            (byte, _) => (Token::Byte(byte), 1),
        };
        units.push(Unit {
            token,
            at: start + i,
        });
        i += length;
    }
    units
}

/// True where a shell would expand a dollar sign that `next` follows.
pub fn expands(next: Option<&Unit>) -> bool {
    match next.map(|u| u.token) {
        Some(Token::Byte(b)) => {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'_' | b'{' | b'(' | b'[' | b'*' | b'@' | b'#' | b'?' | b'-' | b'!'
                )
        }
        Some(Token::Dollar { .. }) => true,
        _ => false,
    }
}
