//! Asking incrond: one connection, figures in pages.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::cli::LineName;
use super::error::Error;
use crate::config::Config;
use crate::control::{Answer, Client, ClientError, Request};
use crate::worker::protocol::{LineFigures, Status};

/// Of one worker no more lines are shown: a user's worker says what its user likes.
const MAX_LINES: usize = 10_000;
/// incrond answers a user ten times a second; who asks for more pages waits.
const PAUSE: Duration = Duration::from_millis(200);
/// A page is asked for so often.
const TRIES: u32 = 25;

/// All that incrond told.
#[derive(Debug)]
pub struct Report {
    /// Of the daemon.
    pub version: String,
    /// Root sees all, a user the own.
    pub workers: Vec<Told>,
}

/// One worker, and its lines.
#[derive(Debug)]
pub struct Told {
    /// What of it is known here.
    pub worker: Worker,
    /// All that was told of it.
    pub raw: Value,
    /// In the order of tables and lines.
    pub lines: Vec<LineFigures>,
    /// Why there may be more lines than these.
    pub incomplete: Option<String>,
}

/// A worker, as the answer to `Request::Status` describes it.
#[derive(Debug, Deserialize)]
pub struct Worker {
    /// Whose.
    pub owner: String,
    /// Of the system tables.
    pub system: bool,
    /// running, starting, waiting
    pub state: String,
    /// Its process.
    pub pid: Option<u32>,
    /// When that was started, RFC 3339.
    pub since: Option<String>,
    /// Starts after the first.
    pub restarts: u64,
    /// None: it did not answer in time.
    #[serde(flatten)]
    pub figures: Option<Status>,
}

/// A connection to incrond.
pub struct Daemon(Client);

impl Daemon {
    /// Connects to the one that `config` describes.
    ///
    /// # Errors
    /// Nobody listens there, or the socket may not be used.
    pub fn connect(config: &Config) -> Result<Self, Error> {
        let socket = &config.control_socket;
        Client::connect(socket)
            .map(Self)
            .map_err(|error| match error {
                ClientError::NotRunning(error) => Error::NoDaemon {
                    socket: socket.clone(),
                    error,
                    personal: config.personal,
                },
                error => error.into(),
            })
    }

    /// One request, again while incrond is too busy for it.
    ///
    /// # Errors
    /// It was refused, or there is no answer.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, Error> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match self.0.ask(request)? {
                Answer::Refused { reason, .. } if reason == "busy" && tries > 0 => {
                    std::thread::sleep(PAUSE);
                }
                Answer::Refused { message, .. } => return Err(Error::Refused(message)),
                answer => return Ok(answer),
            }
        }
    }

    /// Figures of all workers that the caller may see, and their lines; of these
    /// only `line`, where one is named.
    ///
    /// # Errors
    /// As [`ask`](Self::ask); and the line is not there.
    pub fn report(&mut self, line: Option<&LineName>) -> Result<Report, Error> {
        let Answer::Status { version, workers } = self.ask(&Request::Status)? else {
            return Err(Error::Unexpected);
        };
        let mut told = Vec::with_capacity(workers.len());
        for raw in workers {
            let worker = Worker::deserialize(&raw).map_err(|_| Error::Unexpected)?;
            let mut lines = Vec::new();
            // Without a process there is nobody to ask.
            let incomplete = match worker.pid {
                Some(_) => self.lines(&worker, &mut lines).err(),
                None => None,
            };
            lines.sort_by(|a, b| (&a.table, a.line).cmp(&(&b.table, b.line)));
            if let Some(line) = line {
                lines.retain(|l| l.table == line.table && l.line == line.number);
            }
            told.push(Told {
                worker,
                raw,
                lines,
                incomplete: incomplete.map(|error| error.to_string()),
            });
        }
        if let Some(LineName { table, number }) = line {
            // It may be among those that could not be had.
            let why = told.iter().find_map(|told| told.incomplete.clone());
            told.retain(|told| !told.lines.is_empty());
            if told.is_empty() {
                if let Some(why) = why {
                    return Err(Error::Refused(why));
                }
                return Err(Error::NoLine {
                    table: table.clone(),
                    number: *number,
                });
            }
        }
        Ok(Report {
            version,
            workers: told,
        })
    }

    fn lines(&mut self, worker: &Worker, all: &mut Vec<LineFigures>) -> Result<(), Error> {
        let mut after = 0;
        loop {
            let request = Request::Lines {
                owner: worker.owner.clone(),
                system: worker.system,
                after,
            };
            let Answer::Lines { lines, next } = self.ask(&request)? else {
                return Err(Error::Unexpected);
            };
            all.extend(lines);
            let Some(next) = next.filter(|next| *next > after) else {
                return Ok(());
            };
            if all.len() >= MAX_LINES {
                let message = format!("no more than {MAX_LINES} lines are shown");
                return Err(Error::Refused(message));
            }
            after = next;
        }
    }
}
