//! Standard error: lines for people, or JSON lines for programs.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use jiff::Zoned;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::outbox::{Sent, Sink};
use super::{LogSettings, Message, escape};

/// Longer messages are cut.
const MAX_MESSAGE: usize = 64 << 10;
/// How long the end of a program may wait for its reader.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// `time level incrond[pid]: message`; with a priority prefix (sd-daemon(3)) and
/// no time where standard error is the journal.
pub(super) struct Stderr {
    ident: String,
    journal: bool,
}

impl Stderr {
    pub(super) fn new(settings: &LogSettings) -> Self {
        Self {
            ident: settings.ident.clone(),
            journal: is_journal(),
        }
    }
}

impl Sink for Stderr {
    fn format(&self, message: &Message) -> Vec<u8> {
        let text = escape::line(&message.text, MAX_MESSAGE);
        if self.journal {
            return format!("<{}>{text}\n", message.severity()).into_bytes();
        }
        let time = Zoned::now().strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
        let (level, ident) = (level(message), &self.ident);
        format!("{time} {level} {ident}[{}]: {text}\n", std::process::id()).into_bytes()
    }

    fn send(&mut self, packet: &[u8]) -> Sent {
        write(packet)
    }

    fn wait(&mut self) {
        wait(LAST_CHANCE);
    }
}

/// One object a line: `time` (RFC 3339, UTC), `level`, `ident`, `pid`, `message`,
/// then the record's own fields.
pub(super) struct Json {
    ident: String,
}

impl Json {
    pub(super) fn new(settings: &LogSettings) -> Self {
        Self {
            ident: settings.ident.clone(),
        }
    }
}

impl Sink for Json {
    fn format(&self, message: &Message) -> Vec<u8> {
        let time = jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            .to_string();
        let text = escape::prefix(&message.text, MAX_MESSAGE);
        let mut object = serde_json::Map::new();
        object.insert("time".into(), time.into());
        object.insert("level".into(), level(message).into());
        object.insert("ident".into(), self.ident.clone().into());
        object.insert("pid".into(), std::process::id().into());
        object.insert("message".into(), text.into());
        for (name, value) in &message.fields {
            // A record's own field must not pass for one of ours.
            let taken = object.contains_key(name);
            let name = if taken {
                format!("{name}_")
            } else {
                name.clone()
            };
            object.insert(name, value.clone());
        }
        let mut line = serde_json::Value::Object(object).to_string().into_bytes();
        line.push(b'\n');
        line
    }

    fn send(&mut self, packet: &[u8]) -> Sent {
        write(packet)
    }

    fn wait(&mut self) {
        wait(LAST_CHANCE);
    }
}

fn level(message: &Message) -> &'static str {
    match message.level {
        ::log::Level::Error => "error",
        ::log::Level::Warn => "warn",
        ::log::Level::Info => "info",
        ::log::Level::Debug => "debug",
        ::log::Level::Trace => "trace",
    }
}

/// True when systemd connected standard error to the journal (systemd.exec(5)).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stat = nix::sys::stat::fstat(std::io::stderr());
    stat.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Writes where there is room now. The descriptor is shared with other programs,
/// so it must stay blocking: poll(2) says whether PIPE_BUF bytes (4096) fit, and
/// only a longer line may have to wait for its reader.
fn write(packet: &[u8]) -> Sent {
    if !wait(Duration::ZERO) {
        return Sent::Later;
    }
    match std::io::stderr().write_all(packet) {
        Ok(()) => Sent::Done,
        // A reader that has gone, or a full disk: nobody can be told.
        Err(_) => Sent::Never,
    }
}

fn wait(time: Duration) -> bool {
    let stderr = std::io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
    // An error of poll says nothing about the descriptor: write then.
    poll(&mut fds, time).map_or(true, |ready| ready > 0)
}
