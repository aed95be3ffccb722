//! Where the lines go. syslog and the journal are waited for, as long as there may
//! be more to read: what they do not take stays in the daemon.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

use super::file::Lines;
use super::{Entry, Format, LogArgs, Shape, TAG, To};
use crate::event::rfc3339;
use crate::log::{Destination, Direct, Escaped, LogSettings, Sent};

/// `LOG_USER` of syslog.h, as logger(1) has it.
const FACILITY: u8 = 1;
/// Of the 8000 bytes of a datagram, what time and tag leave.
const SYSLOG_ROOM: usize = 7900;
const JOURNAL_ROOM: usize = 64 << 10;
/// How long a log that is away is waited for when nothing more is to come.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// Pauses between attempts, growing.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// One of the four.
pub(super) struct Target {
    kind: Kind,
    format: Format,
    shape: Shape,
    /// Not written, and why is said by the end.
    lost: u64,
    /// When the input ended while the log was away.
    last_try: Option<Instant>,
}

enum Kind {
    Log(Direct),
    Lines(Lines),
}

/// The name of this machine.
pub(super) fn this_host() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = nix::unistd::gethostname().ok();
        let name = name.and_then(|name| name.into_string().ok());
        name.unwrap_or_else(|| "localhost".into())
    })
}

impl Target {
    /// The error is a line for people.
    pub fn new(args: &LogArgs) -> Result<Self, String> {
        let log = |destination| {
            let mut settings = LogSettings::new(destination);
            settings.ident = TAG.into();
            settings.socket.clone_from(&args.socket);
            settings.facility = FACILITY;
            settings.patient = true;
            Direct::new(&settings)
        };
        let direct = match &args.to {
            To::Syslog => log(Destination::Syslog),
            To::Journal => log(Destination::Journal),
            _ if args.socket.is_some() => {
                return Err("--socket is for syslog and the journal".into());
            }
            _ => None,
        };
        let kind = match (direct, &args.to) {
            (Some(direct), _) => Kind::Log(direct),
            (None, To::File(path)) => Kind::Lines(Lines::file(path)?),
            (None, _) => Kind::Lines(Lines::stdout()?),
        };
        Ok(Self {
            kind,
            format: args.format,
            shape: Shape {
                fields: args.to == To::Journal,
                room: match args.to {
                    To::Syslog => SYSLOG_ROOM,
                    To::Journal => JOURNAL_ROOM,
                    _ => usize::MAX,
                },
            },
            lost: 0,
            last_try: None,
        })
    }

    /// What it makes of an entry.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Writes, or has it written by the next [`Self::flush`].
    pub fn write(&mut self, host: &str, entry: Entry) {
        match &mut self.kind {
            Kind::Lines(lines) => {
                if self.format == Format::Json {
                    lines.add(format_args!("{}", entry.text));
                } else {
                    let (time, pid) = (rfc3339(entry.time), std::process::id());
                    let (host, text) = (Escaped(host.as_bytes()), &entry.text);
                    lines.add(format_args!("{time} {host} {TAG}[{pid}]: {text}"));
                }
            }
            Kind::Log(log) => {
                let number = entry.severity.number();
                let packet = log.packet(number, entry.text, entry.fields);
                self.send(&packet);
            }
        }
    }

    /// Sends, and tries again while the log is away.
    fn send(&mut self, packet: &[u8]) {
        let Kind::Log(log) = &mut self.kind else {
            return;
        };
        let mut pause = SHORTEST;
        let mut said = false;
        loop {
            match log.send(packet) {
                Sent::Done => {
                    self.last_try = None;
                    return;
                }
                Sent::Never => break,
                Sent::Later => {}
            }
            if input_is_over() {
                let since = *self.last_try.get_or_insert_with(Instant::now);
                if since.elapsed() > LAST_WAIT {
                    break;
                }
            }
            if !said && pause >= LONGEST {
                said = true;
                super::super::say("the log is away; events wait for it");
            }
            let milliseconds = u16::try_from(pause.as_millis()).unwrap_or(u16::MAX);
            let _ = poll(&mut [], PollTimeout::from(milliseconds));
            pause = (pause * 2).min(LONGEST);
        }
        self.lost += 1;
    }

    /// Writes what was put together.
    pub fn flush(&mut self) {
        if let Kind::Lines(lines) = &mut self.kind {
            lines.flush();
        }
    }

    /// True when nobody reads standard output any more.
    pub fn is_closed(&self) -> bool {
        matches!(&self.kind, Kind::Lines(lines) if lines.closed)
    }

    /// The end; true when all was written.
    pub fn close(&mut self) -> bool {
        self.flush();
        let lost = match &self.kind {
            Kind::Lines(lines) => lines.lost(),
            Kind::Log(_) => self.lost,
        };
        if lost > 0 {
            super::super::say(&format!("{lost} events were not written"));
        }
        lost == 0
    }
}

/// True when whoever wrote to standard input is gone.
fn input_is_over() -> bool {
    use nix::poll::{PollFd, PollFlags};
    use std::os::fd::AsFd;
    let stdin = std::io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
    let found = poll(&mut fds, PollTimeout::ZERO);
    let hung_up = fds.first().and_then(PollFd::revents);
    found.is_ok() && hung_up.is_some_and(|events| events.contains(PollFlags::POLLHUP)) || is_file()
}

/// A file has no end that poll(2) would tell of.
fn is_file() -> bool {
    use std::os::fd::AsFd;
    let stat = nix::sys::stat::fstat(std::io::stdin().as_fd());
    stat.is_ok_and(|stat| matches!(stat.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFCHR))
}
