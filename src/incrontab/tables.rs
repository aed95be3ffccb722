//! Where tables live: with the daemon, or, for root while no daemon runs, in
//! the spool directory itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::Error;
use super::spool::Spool;
use super::user::Subject;
use crate::config::Config;
use crate::control::{Answer, Client, ClientError, MAX_TABLE, Request};

/// What became of a table that was installed or loaded again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Lines served, where known.
    pub lines: Option<u32>,
    /// Lines that cannot be served, where known.
    pub errors: Option<u32>,
}

impl Loaded {
    /// The daemon may know of errors that the table alone does not show.
    pub fn warning(&self) -> Option<String> {
        let errors = self.errors.filter(|&errors| errors > 0)?;
        let lines = if errors == 1 {
            "1 line".into()
        } else {
            format!("{errors} lines")
        };
        Some(format!(
            "incrontab: warning: {lines} of the table cannot be served; see incrond's log"
        ))
    }
}

/// Which writing of the table was seen; empty: there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version(pub String);

/// A table as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its text; None where there is none.
    pub text: Option<Vec<u8>>,
    /// To say what a change is to replace.
    pub version: Version,
}

/// One user's table, wherever it is.
pub trait Tables {
    /// The table.
    ///
    /// # Errors
    /// Refused, or out of reach.
    fn get(&mut self) -> Result<Found, Error>;

    /// Replaces the table, wholly or not at all; with `over`, only that version.
    ///
    /// # Errors
    /// Refused, or out of reach; [`Error::Changed`] where it is another version.
    fn install(&mut self, table: &[u8], over: Option<&Version>) -> Result<Loaded, Error>;

    /// Removes the table, likewise; false where there was none.
    ///
    /// # Errors
    /// As for `install`.
    fn remove(&mut self, over: Option<&Version>) -> Result<bool, Error>;

    /// Has the daemon read the table again; None where there is none.
    ///
    /// # Errors
    /// Refused, or out of reach; without a daemon there is nobody to do it.
    fn reload(&mut self) -> Result<Option<Loaded>, Error>;
}

/// The real ones. Each request is a connection of its own: an editor may be
/// open for days, and the daemon bounds how long a connection may be silent.
pub struct Machine<'a> {
    /// Where the socket and the spool are.
    pub config: &'a Config,
    /// Who asks, about whom.
    pub subject: &'a Subject,
}

impl Machine<'_> {
    /// The daemon's answer; None where no daemon runs and root asks.
    fn ask(&self, request: &Request) -> Result<Option<Answer>, Error> {
        let socket = &self.config.control_socket;
        let answer = match Client::connect(socket).and_then(|mut client| client.ask(request)) {
            Ok(answer) => answer,
            Err(ClientError::NotRunning(_)) if self.subject.is_root() => return Ok(None),
            Err(ClientError::NotRunning(error)) => {
                return Err(Error::NoDaemon {
                    socket: socket.clone(),
                    error,
                });
            }
            Err(error) => return Err(Error::Conversation(error.to_string())),
        };
        match answer {
            Answer::Refused { reason, .. } if reason == "changed" => Err(Error::Changed),
            Answer::Refused { message, .. } => Err(Error::Refused(message)),
            answer => Ok(Some(answer)),
        }
    }

    fn spool(&self) -> Result<Spool<'_>, Error> {
        Spool::open(self.config, &self.subject.owner)
    }

    fn user(&self) -> String {
        self.subject.owner.clone()
    }
}

fn unexpected<T>(answer: &Answer) -> Result<T, Error> {
    let kind = match answer {
        Answer::Done { .. } => "done",
        Answer::Table { .. } => "table",
        Answer::NoTable => "no_table",
        Answer::Status { .. } => "status",
        Answer::Lines { .. } => "lines",
        Answer::Refused { .. } => "refused",
    };
    Err(Error::Conversation(format!("unexpected answer \"{kind}\"")))
}

impl Tables for Machine<'_> {
    fn get(&mut self) -> Result<Found, Error> {
        match self.ask(&Request::Get { user: self.user() })? {
            None => self.spool()?.get(),
            Some(Answer::NoTable) => Ok(Found::default()),
            Some(Answer::Table { table, version }) => match STANDARD.decode(table) {
                Ok(bytes) if bytes.len() <= MAX_TABLE => Ok(Found {
                    text: Some(bytes),
                    version: Version(version),
                }),
                Ok(_) => Err(Error::TooLarge {
                    what: "the table in the spool".into(),
                }),
                Err(e) => Err(Error::Conversation(e.to_string())),
            },
            Some(answer) => unexpected(&answer),
        }
    }

    fn install(&mut self, table: &[u8], over: Option<&Version>) -> Result<Loaded, Error> {
        let request = Request::Install {
            user: self.user(),
            table: STANDARD.encode(table),
            expect: over.map(|version| version.0.clone()),
        };
        match self.ask(&request)? {
            None => self
                .spool()?
                .install(table, over)
                .map(|()| Loaded::default()),
            Some(Answer::Done { lines, errors }) => Ok(Loaded { lines, errors }),
            Some(answer) => unexpected(&answer),
        }
    }

    fn remove(&mut self, over: Option<&Version>) -> Result<bool, Error> {
        let request = Request::Remove {
            user: self.user(),
            expect: over.map(|version| version.0.clone()),
        };
        match self.ask(&request)? {
            None => self.spool()?.remove(over),
            Some(Answer::Done { .. }) => Ok(true),
            Some(Answer::NoTable) => Ok(false),
            Some(answer) => unexpected(&answer),
        }
    }

    fn reload(&mut self) -> Result<Option<Loaded>, Error> {
        match self.ask(&Request::Reload { user: self.user() })? {
            None => Err(Error::NoDaemon {
                socket: self.config.control_socket.clone(),
                error: std::io::Error::from(std::io::ErrorKind::NotFound),
            }),
            Some(Answer::Done { lines, errors }) => Ok(Some(Loaded { lines, errors })),
            Some(Answer::NoTable) => Ok(None),
            Some(answer) => unexpected(&answer),
        }
    }
}
