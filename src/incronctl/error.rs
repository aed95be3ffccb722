//! Every way in which incronctl says no, in one catalogue.

use std::io;
use std::path::PathBuf;

use crate::control::ClientError;
use crate::exit::Exit;
use crate::incrontab;

/// Why incronctl did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Error {
    #[error("{0}")]
    Config(#[from] crate::config::ConfigError),
    #[error(
        "incrond does not answer at {}: {error}\nIs it running? `systemctl {}status incron` knows.",
        socket.display(), if *personal { "--user " } else { "" }
    )]
    NoDaemon {
        socket: PathBuf,
        error: io::Error,
        personal: bool,
    },
    #[error("{0}")]
    Conversation(#[from] ClientError),
    #[error("incrond gave an unexpected answer; is it of another version?")]
    Unexpected,
    #[error("{0}")]
    Refused(String),
    #[error("no line {table}:{number} is served, or it is not yours to see")]
    NoLine { table: String, number: u32 },
    #[error("no table for {0}")]
    NoTable(String),
    #[error("your user id {0} has no name in the user database")]
    Nameless(u32),
    #[error(transparent)]
    Simulate(#[from] incrontab::Error),
    #[error("cannot write: {0}")]
    Output(io::Error),
}

impl Error {
    /// How the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Config,
            Self::Simulate(error) => error.exit(),
            _ => Exit::Failure,
        }
    }
}
