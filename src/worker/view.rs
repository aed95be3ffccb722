//! What a worker tells people: one trait, so that the daemon writes to its log
//! what `incrond run` shows on a terminal.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;

use super::account::AccountError;
use super::lines::Served;
use super::protocol::Settings;
use crate::event::Event;
use crate::run::{Job, Outcome};
use crate::schedule::RunId;
use crate::table::{Context, Diagnostic, Severity, Table};
use crate::watch::Problem;

/// A running command, as far as people want to know.
#[derive(Clone, Debug)]
pub struct RunInfo {
    /// Its number.
    pub run: RunId,
    /// Its process.
    pub pid: i32,
    /// Its table.
    pub table: Rc<str>,
    /// Its line in the table.
    pub line: u32,
    /// argv, quoted as a shell would read it.
    pub command: String,
    /// 0 for the first try.
    pub attempt: u32,
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// By itself, or by a signal.
    pub outcome: Outcome,
    /// After so long.
    pub duration: Duration,
    /// Because we ended it.
    pub killed: bool,
}

impl RunInfo {
    /// Describes `job`, just started as `pid`.
    pub fn new(run: RunId, pid: i32, served: &Served, job: &Job, attempt: u32) -> Self {
        Self {
            run,
            pid,
            table: Rc::clone(&served.table),
            line: served.line.number,
            command: command_text(&job.argv, served),
            attempt,
        }
    }
}

/// Direct commands as executed; shell commands as written in the table.
fn command_text(argv: &[OsString], served: &Served) -> String {
    if served.line.command.script().is_some() {
        return shown(served.line.command.text.as_bytes()).into_owned();
    }
    shell_words::join(argv.iter().map(|word| shown(word.as_bytes())))
}

/// A name for the log: two that differ look different. (What would forge a
/// line is escaped by the log itself.)
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => crate::log::Escaped(bytes).to_string().into(),
    }
}

/// Everything that is told.
#[allow(missing_docs)] // the names say it; each implementation shows its words
pub trait View {
    fn loaded(&mut self, context: &Context, table: &Table, found: &[Diagnostic], source: &[u8]);
    fn refused(&mut self, context: &Context, line: u32, error: &AccountError);
    fn unreadable(&mut self, origin: &str, error: &io::Error);
    fn dropped(&mut self, table: &str);
    fn ready(&mut self);
    fn problem(&mut self, served: &Served, problem: &Problem);
    fn provider(&mut self, name: &str, serious: bool, text: &str);
    fn notice(&mut self, served: &Served, text: &str);
    fn streamed(&mut self, served: &Served, event: &Event);
    fn started(&mut self, info: &RunInfo, served: &Served, events: &[Rc<Event>]);
    fn not_started(&mut self, served: &Served, error: &io::Error, again: bool);
    fn output(&mut self, info: Option<&RunInfo>, text: &[u8]);
    fn stream_output(&mut self, served: &Served, text: &[u8]);
    fn ended(&mut self, info: &RunInfo, end: End);
    fn resumed(&mut self, events: usize, orphans: usize);
    fn saved(&mut self, events: u64, lost: u64);
    fn left_running(&mut self, running: usize, killed: bool);
    fn orphaned(&mut self);
}

/// Tells the log. The words of incron that scripts look for are kept:
/// `PATH (%s) FILE (%s) EVENT (%s)`, `(%s) CMD (%s)`.
pub struct LogView {
    owner: String,
    system: bool,
}

impl LogView {
    /// For the worker of these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            owner: settings.owner.clone(),
            system: settings.system,
        }
    }

    /// `alice`, or `system::TABLE` as incron wrote it.
    fn who(&self, table: &str) -> String {
        if self.system {
            format!("system::{table}")
        } else {
            self.owner.clone()
        }
    }
}

impl View for LogView {
    fn loaded(&mut self, context: &Context, _: &Table, found: &[Diagnostic], _: &[u8]) {
        for diagnostic in found {
            let level = match diagnostic.severity {
                Severity::Note => continue,
                Severity::Warning => log::Level::Warn,
                Severity::Error => log::Level::Error,
            };
            let Diagnostic {
                line,
                column,
                message,
                help,
                ..
            } = diagnostic;
            let origin = &context.origin;
            let help = help
                .as_deref()
                .map(|help| format!(" ({help})"))
                .unwrap_or_default();
            log::log!(level, table = context.name.as_str(), line = *line;
                "{origin}:{line}:{column}: {message}{help}");
        }
    }

    fn refused(&mut self, context: &Context, line: u32, error: &AccountError) {
        log::error!(table = context.name.as_str(), line; "{}:{line}: {error}", context.origin);
    }

    fn unreadable(&mut self, origin: &str, error: &io::Error) {
        log::error!("cannot read {origin}: {error}");
    }

    fn dropped(&mut self, _: &str) {}

    fn ready(&mut self) {
        log::debug!("worker of {} is ready", self.owner);
    }

    fn problem(&mut self, served: &Served, problem: &Problem) {
        let level = if problem.serious {
            log::Level::Error
        } else {
            log::Level::Info
        };
        let line = served.line.number;
        log::log!(level, table = &*served.table, line;
            "({}) line {line}: {}", self.who(&served.table), problem.message);
    }

    fn provider(&mut self, name: &str, serious: bool, text: &str) {
        let level = if serious {
            log::Level::Warn
        } else {
            log::Level::Info
        };
        log::log!(level, "({}) provider {name}: {text}", self.owner);
    }

    fn notice(&mut self, served: &Served, text: &str) {
        let line = served.line.number;
        log::warn!(table = &*served.table, line; "({}) line {line}: {text}", self.who(&served.table));
    }

    /// Nothing: a stream is there for events too many for a log.
    fn streamed(&mut self, _: &Served, _: &Event) {}

    fn started(&mut self, info: &RunInfo, served: &Served, events: &[Rc<Event>]) {
        let who = self.who(&info.table);
        if let Some(event) = events.last() {
            let name = shown(event.name.as_bytes());
            let path = shown(event.watch.as_os_str().as_bytes());
            log::info!(table = &*info.table, line = info.line, key = served.key(),
                path = &*event.target().to_string_lossy(), run = info.run.0;
                "PATH ({path}) FILE ({name}) EVENT ({})", event.mask.text());
        }
        log::info!(table = &*info.table, line = info.line, key = served.key(), run = info.run.0,
            pid = info.pid; "({who}) CMD ({})", info.command);
    }

    fn not_started(&mut self, served: &Served, error: &io::Error, again: bool) {
        let line = served.line.number;
        let next = if again { "; it is tried again" } else { "" };
        log::error!(table = &*served.table, line;
            "({}) line {line}: {error}{next}", self.who(&served.table));
    }

    fn output(&mut self, info: Option<&RunInfo>, text: &[u8]) {
        let text = shown(text);
        match info {
            Some(info) => log::info!(table = &*info.table, line = info.line, run = info.run.0,
                pid = info.pid; "({}) CMDOUT ({text})", self.who(&info.table)),
            None => log::info!("({}) CMDOUT ({text})", self.owner),
        }
    }

    fn stream_output(&mut self, served: &Served, text: &[u8]) {
        let (who, line) = (self.who(&served.table), served.line.number);
        log::info!(table = &*served.table, line; "({who}) CMDOUT ({})", shown(text));
    }

    fn ended(&mut self, info: &RunInfo, end: End) {
        let End {
            outcome,
            duration,
            killed,
        } = end;
        let killed = if killed { ", by us" } else { "" };
        let level = match outcome {
            Outcome::Exited(0) => log::Level::Debug,
            _ => log::Level::Warn,
        };
        log::log!(level, table = &*info.table, line = info.line, run = info.run.0, pid = info.pid;
            "({}) CMDEND ({}) {outcome}{killed} after {:.3} s",
            self.who(&info.table), info.command, duration.as_secs_f64());
    }

    fn resumed(&mut self, events: usize, orphans: usize) {
        log::info!(
            "({}) resumed {events} events that waited at the last stop",
            self.owner
        );
        if orphans > 0 {
            log::warn!(
                "({}) {orphans} saved events have no line any more",
                self.owner
            );
        }
    }

    fn saved(&mut self, events: u64, lost: u64) {
        let who = &self.owner;
        if events > 0 {
            log::info!("({who}) {events} events still waited: saved for the next start");
        }
        if lost > 0 {
            log::error!("({who}) {lost} events still waited: lost, nobody takes so many");
        }
    }

    fn left_running(&mut self, running: usize, killed: bool) {
        let what = if killed { "are killed" } else { "go on alone" };
        log::warn!(
            "({}) {running} commands did not end in time and {what}",
            self.owner
        );
    }

    fn orphaned(&mut self) {
        log::warn!("({}) the supervisor is gone, the worker ends", self.owner);
    }
}
