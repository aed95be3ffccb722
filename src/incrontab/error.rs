//! Every way in which incrontab says no, in one catalogue.
//!
//! The wording of incron's old incrontab is kept where scripts may look for
//! it. `main` alone adds the prefix and turns an error into an exit code.

use std::io;
use std::path::PathBuf;

use crate::exit::Exit;

/// Why incrontab did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Error {
    #[error("user '{0}' not found")]
    NoSuchUser(String),
    #[error("your user id {0} has no name in the user database")]
    Nameless(u32),
    #[error(
        "cannot override user to '{0}': insufficient privileges (only root may manage others' tables)"
    )]
    NotYours(String),
    #[error("user '{user}' is not allowed to use incron: {why}")]
    NotAllowed { user: String, why: String },
    #[error("{0}")]
    Config(String),
    #[error(
        "incrond does not answer at {}: {error}\n\
         Start it (`systemctl start incron`), or ask the administrator to.",
        socket.display()
    )]
    NoDaemon { socket: PathBuf, error: io::Error },
    #[error("incrond broke off the conversation: {0}")]
    Conversation(String),
    #[error("{0}")]
    Refused(String),
    #[error("the table was changed by someone else")]
    Changed,
    #[error("cannot load table from file '{}': {error}", path.display())]
    Import { path: PathBuf, error: io::Error },
    #[error("cannot load table from standard input: {0}")]
    Stdin(io::Error),
    #[error("{what}: a table is at most {} KiB", crate::control::MAX_TABLE / 1024)]
    TooLarge { what: String },
    #[error("{0}")]
    Spool(String),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("cannot make a private directory in {}: {error} (TMPDIR names another place)", path.display())]
    Scratch { path: PathBuf, error: io::Error },
    #[error("cannot run the editor \"{command}\": {reason}")]
    Editor { command: String, reason: String },
    #[error("the table was not installed: {0}")]
    NotInstalled(String),
    #[error("{errors} of this table cannot be served", errors = lines(*.0))]
    BadTable(usize),
    #[error("{0}")]
    GivenUp(String),
    #[error("cannot write: {0}")]
    Output(io::Error),
    #[error("cannot play the events of {what}: {why}")]
    Events { what: String, why: String },
}

fn lines(n: usize) -> String {
    if n == 1 {
        "1 line".into()
    } else {
        format!("{n} lines")
    }
}

impl Error {
    /// How the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::BadTable(_) => Exit::Config,
            _ => Exit::Failure,
        }
    }
}
