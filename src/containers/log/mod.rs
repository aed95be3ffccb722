//! `incron-containers log`: what changes in containers, for the system log.
//!
//! It reads events as a stream command does (incron-events(7)) and writes one line
//! for each: the sentences of podsec-inotify-check-containers, which other programs
//! read, or JSON. It ends with its input, having written all of it, and it waits for
//! a log that is slow: the daemon keeps what it has not read.
//!
//! ```text
//!  input     lines of events, and until when to wait for the next
//!  sentence  podsec's words            object    JSON
//!  limit     how many of one container, and the sum of the others
//!  target    syslog, the journal       file      standard output, a file
//! ```

mod file;
mod input;
mod limit;
mod object;
mod sentence;
mod target;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use self::input::{Input, Next};
use self::limit::{Limiter, Sum};
use self::sentence::Language;
use self::target::Target;
use crate::event::{Event, Recorded};
use crate::exit::Exit;
use crate::log::Escaped;
use crate::time::{Clock, Moment};

/// What the readers of podsec's messages look for.
pub const TAG: &str = "podsec-inotify-check-containers";
/// Lines of the input that are not events are named one by one up to here.
const NAMED: u64 = 100;

/// Of `log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// What a line looks like
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
    /// Where to: syslog, journal, stdout, or the path of a file
    #[arg(long, value_name = "WHERE", default_value = "syslog")]
    pub to: To,
    /// Another socket than that of syslog or the journal
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// At most N lines of one container in D (as in 1000/10s), then a sum; or none
    #[arg(long, value_name = "N/D", default_value = "1000/10s")]
    pub limit: limit::Limit,
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The sentences of podsec-inotify-check-containers
    #[default]
    Podsec,
    /// One JSON object
    Json,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named as the words of the command line
pub enum To {
    Syslog,
    Journal,
    Stdout,
    File(PathBuf),
}

impl FromStr for To {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "syslog" => Ok(To::Syslog),
            "journal" => Ok(To::Journal),
            "stdout" => Ok(To::Stdout),
            path if path.contains('/') => Ok(To::File(path.into())),
            _ => Err("syslog, journal, stdout or a path with a slash is wanted".into()),
        }
    }
}

/// How bad it is, in podsec's two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// In a home directory or in /etc.
    Warning,
    /// Anywhere else: programs, libraries.
    Critical,
}

impl Severity {
    /// Of a path inside a container.
    pub fn of(path: &[u8]) -> Self {
        match sentence::part(path) {
            sentence::Part::Other => Severity::Critical,
            _ => Severity::Warning,
        }
    }

    /// As syslog.h numbers it: notice, crit.
    pub fn number(self) -> u8 {
        match self {
            Severity::Warning => 5,
            Severity::Critical => 2,
        }
    }

    /// As it stands in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// One line for a log, and what the journal keeps beside it.
#[derive(Debug)]
pub struct Entry {
    /// How bad it is.
    pub severity: Severity,
    /// When it happened.
    pub time: std::time::SystemTime,
    /// Not escaped yet.
    pub text: String,
    /// Names and values, for the journal.
    pub fields: Vec<(String, String)>,
}

/// What the target makes of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// It keeps fields.
    pub fields: bool,
    /// It cuts a text that is longer, in bytes.
    pub room: usize,
}

/// A label of the event's container.
pub(super) fn label<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    let labels = event.labels.as_ref()?;
    labels.get(name).map(String::as_str)
}

/// What names the container of an event: podsec's word is the layer.
fn container(event: &Event) -> &str {
    let names = ["layer", "id", "name"];
    names
        .iter()
        .find_map(|name| label(event, name))
        .unwrap_or("-")
}

/// The program.
pub fn run(args: LogArgs) -> ExitCode {
    let target = match Target::new(&args) {
        Ok(target) => target,
        Err(error) => {
            super::say(&error);
            return Exit::Failure.into();
        }
    };
    let mut log = Log {
        format: args.format,
        language: Language::of_environment(),
        limiter: Limiter::new(args.limit),
        target,
        clock: Clock::new(),
    };
    let exit = log.run(&mut Input::new());
    exit.into()
}

struct Log {
    format: Format,
    language: Language,
    limiter: Limiter,
    target: Target,
    clock: Clock,
}

impl Log {
    fn run(&mut self, input: &mut Input) -> Exit {
        let mut bad = 0;
        loop {
            let idle = || {
                self.target.flush();
                self.limiter.deadline()
            };
            match input.next(&self.clock, idle) {
                Next::Line(number, line) => match read(line) {
                    Ok(recorded) => self.event(&recorded),
                    Err(error) => {
                        bad += 1;
                        complain(number, &error, bad);
                    }
                },
                Next::TooLong(number) => {
                    bad += 1;
                    complain(number, "it is longer than 1 MiB", bad);
                }
                Next::Time => self.sums(self.clock.now()),
                Next::End(error) => {
                    self.sums(Moment(u64::MAX));
                    if bad > NAMED {
                        super::say(&format!("{bad} lines of the input were not events"));
                    }
                    if let Some(error) = &error {
                        super::say(&format!("standard input: {error}"));
                    }
                    let written = self.target.close();
                    return match written && error.is_none() {
                        true => Exit::Success,
                        false => Exit::Failure,
                    };
                }
            }
            if self.target.is_closed() {
                return Exit::Success; // whoever read us has seen enough
            }
        }
    }

    fn event(&mut self, recorded: &Recorded) {
        let event = &recorded.event;
        let now = self.clock.now();
        self.sums(now);
        if self.limiter.admit(container(event), event, now) {
            let entry = match self.format {
                Format::Podsec => sentence::entry(event, self.language, self.target.shape()),
                Format::Json => object::entry(recorded, self.target.shape()),
            };
            self.target.write(&recorded.host, entry);
        }
    }

    /// What was counted where the time of a limit is over.
    fn sums(&mut self, now: Moment) {
        while let Some(sum) = self.limiter.sum(now) {
            let entry = self.summary(&sum);
            self.target.write(target::this_host(), entry);
        }
    }

    fn summary(&self, sum: &Sum) -> Entry {
        match self.format {
            Format::Podsec => sentence::summary(sum, self.language, self.target.shape()),
            Format::Json => object::summary(sum),
        }
    }
}

fn read(line: &[u8]) -> Result<Recorded, String> {
    let text = std::str::from_utf8(line).map_err(|_| "not an event: it is not UTF-8".to_owned())?;
    Event::from_json(text).map_err(|error| error.to_string())
}

/// A line that is no event; what it says may be of anybody.
fn complain(number: u64, error: &str, bad: u64) {
    if bad <= NAMED {
        let error = Escaped(error.as_bytes());
        super::say(&format!("line {number}: {error}; it is passed over"));
    }
    if bad == NAMED {
        let _ = writeln!(
            std::io::stderr(),
            "incron-containers: more are only counted"
        );
    }
}
