//! Where log records go: syslog, the journal, standard error, or JSON lines.
//!
//! The programs write with the macros of the `log` crate; `init` decides the
//! destination, once or again. A destination never blocks its program and never
//! makes it fail: what cannot be written now waits in an outbox, bounded, and
//! what is lost is counted and said.
//!
//! ```text
//!  escape   text that cannot forge a line      outbox   waiting and counting
//!  syslog   /dev/log, RFC 3164                 journal  native fields
//!  console  standard error, plain or JSON  direct  one sink, for a program that
//!                                                  logs other programs' events
//! ```

mod console;
mod direct;
mod escape;
mod journal;
mod outbox;
mod syslog;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::log::kv::{self, Key, Value, VisitSource};
use ::log::{Level, LevelFilter, Log, Metadata, Record};

pub(crate) use self::direct::Direct;
pub use self::escape::Escaped;
pub(crate) use self::escape::is_dangerous;
pub(crate) use self::outbox::Sent;
use self::outbox::{Outbox, Sink};

/// `log =` of incron.conf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Destination {
    /// The datagram socket /dev/log, facility cron, as cron(8) and incron do.
    #[default]
    Syslog,
    /// journald's own socket, with a field for each value.
    Journal,
    /// Lines for people; under systemd with its priority prefixes.
    Stderr,
    /// One JSON object a line, on standard error.
    Json,
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        match word {
            "syslog" => Ok(Self::Syslog),
            "journal" => Ok(Self::Journal),
            "stderr" => Ok(Self::Stderr),
            "json" => Ok(Self::Json),
            other => Err(Error::UnknownDestination(other.to_owned())),
        }
    }
}

/// Where and what to log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Where to.
    pub destination: Destination,
    /// The least important level that is written.
    pub level: LevelFilter,
    /// The name before `[pid]`.
    pub ident: String,
    /// Another socket than /dev/log or /run/systemd/journal/socket.
    pub socket: Option<PathBuf>,
    /// As syslog.h numbers it (`LOG_CRON` is 9).
    pub facility: u8,
    /// Wait while the queue of the log is full, rather than go on without.
    pub patient: bool,
}

impl LogSettings {
    /// As `incrond`, from level info.
    pub fn new(destination: Destination) -> Self {
        let ident = String::from("incrond");
        Self {
            destination,
            level: LevelFilter::Info,
            ident,
            socket: None,
            facility: 9,
            patient: false,
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `log =` is none of ours.
    #[error("`{0}` is no log destination; syslog, journal, stderr and json are")]
    UnknownDestination(String),
    /// Another library of this program was first.
    #[error("another logger is installed in this program")]
    Taken,
}

static LOGGER: Logger = Logger(Mutex::new(None));

/// Makes the `log` macros write to `settings.destination` from now on. It may be
/// called again to change that; what still waits for the old destination is
/// given a last chance.
///
/// A destination that is away is no error: its records wait (bounded).
/// `log::logger().flush()` tries to write them; a loop calls it when it is idle,
/// a program before it ends.
pub fn init(settings: &LogSettings) -> Result<(), Error> {
    let sink: Box<dyn Sink> = match settings.destination {
        Destination::Syslog => Box::new(syslog::Syslog::new(settings)),
        Destination::Journal => Box::new(journal::Journal::new(settings)),
        Destination::Stderr => Box::new(console::Stderr::new(settings)),
        Destination::Json => Box::new(console::Json::new(settings)),
    };
    let ours: &'static dyn Log = &LOGGER;
    if ::log::set_logger(ours).is_err() && !std::ptr::addr_eq(::log::logger(), ours) {
        return Err(Error::Taken);
    }
    ::log::set_max_level(settings.level);
    if let Some(mut old) = LOGGER.outbox().replace(Outbox::new(sink)) {
        old.flush();
    }
    Ok(())
}

/// How long a loop waits before it asks [`behind`] again.
pub const RETRY: Duration = Duration::from_secs(1);

/// Tries to write what waits for a log that was away, without blocking; true
/// while something still waits. A loop asks at each turn, so that messages do
/// not wait for the next one.
pub fn behind() -> bool {
    LOGGER.outbox().as_mut().is_some_and(Outbox::behind)
}

/// The one logger of a program.
struct Logger(Mutex<Option<Outbox>>);

impl Logger {
    /// A panic while logging leaves nothing half done that matters.
    fn outbox(&self) -> MutexGuard<'_, Option<Outbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= ::log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata())
            && let Some(outbox) = self.outbox().as_mut()
        {
            outbox.write(&Message::new(record));
        }
    }

    fn flush(&self) {
        if let Some(outbox) = self.outbox().as_mut() {
            outbox.flush();
        }
    }
}

/// A record as the destinations see it.
#[derive(Debug)]
struct Message {
    level: Level,
    /// Where it is not that of the level.
    severity: Option<u8>,
    /// Not escaped yet.
    text: String,
    /// The record's key-values, in their order.
    fields: Vec<(String, serde_json::Value)>,
}

impl Message {
    fn new(record: &Record<'_>) -> Self {
        let mut fields = Fields(Vec::new());
        // Only a value's own Display can fail; the rest of the record is still good.
        let _ = record.key_values().visit(&mut fields);
        Self {
            level: record.level(),
            severity: None,
            text: record.args().to_string(),
            fields: fields.0,
        }
    }

    /// A message of the log itself.
    fn own(level: Level, text: String) -> Self {
        Self {
            level,
            severity: None,
            text,
            fields: Vec::new(),
        }
    }

    /// Severity as syslog(3) and journald number it.
    fn severity(&self) -> u8 {
        if let Some(severity) = self.severity {
            return severity;
        }
        match self.level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        }
    }
}

/// Gathers key-values; numbers and booleans stay what they are.
struct Fields(Vec<(String, serde_json::Value)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let json = if let Some(number) = value.to_u64() {
            number.into()
        } else if let Some(number) = value.to_i64() {
            number.into()
        } else if let Some(truth) = value.to_bool() {
            truth.into()
        } else {
            value.to_string().into()
        };
        self.0.push((key.to_string(), json));
        Ok(())
    }
}
