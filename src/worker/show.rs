//! What `incrond run` shows: each event, the run it became, its output and end,
//! readably on a terminal or as JSON lines for a program.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::account::AccountError;
use super::lines::Served;
use super::view::{End, RunInfo, View};
use super::whose;
use crate::event::Event;
use crate::run::Outcome;
use crate::table::{Context, Diagnostic, Severity, Table, render, visible};
use crate::watch::Problem;

/// Shows a person, on standard error.
pub struct TerminalView {
    colour: bool,
    lines: usize,
}

const DIM: &str = "2";
const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";

/// Below the time of day, so that what belongs to an event stands under it.
const INDENT: &str = "              ";

impl TerminalView {
    /// With colours or without.
    pub fn new(colour: bool) -> Self {
        Self { colour, lines: 0 }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A closed terminal is no reason to stop serving.
    fn say(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

fn clock(event: &Event) -> String {
    match Timestamp::try_from(event.time) {
        Ok(time) => time
            .to_zoned(TimeZone::system())
            .strftime("%H:%M:%S%.3f")
            .to_string(),
        Err(_) => "??:??:??.???".into(),
    }
}

impl View for TerminalView {
    fn loaded(&mut self, context: &Context, table: &Table, found: &[Diagnostic], source: &[u8]) {
        let text = render(
            found,
            source,
            &context.origin,
            Severity::Warning,
            self.colour,
        );
        let _ = io::stderr().write_all(text.as_bytes());
        self.lines = table.lines.len();
        for line in &table.lines {
            let path = self.paint(BOLD, &visible(line.path.written.as_bytes()));
            self.say(&format!(
                "line {:>3}  {path}  {}",
                line.number,
                line.mask.written()
            ));
            self.say(&format!(
                "          {}",
                visible(line.command.text.as_bytes())
            ));
        }
    }

    fn refused(&mut self, context: &Context, line: u32, error: &AccountError) {
        eprintln!("{}:{line}: {error}", context.origin);
    }

    fn unreadable(&mut self, origin: &str, error: &io::Error) {
        self.say(&format!("incrond: cannot read {origin}: {error}"));
    }

    fn dropped(&mut self, table: &str) {
        self.say(&format!("the table {table} is gone"));
    }

    fn ready(&mut self) {
        let lines = if self.lines == 1 {
            "1 line".into()
        } else {
            format!("{} lines", self.lines)
        };
        let ready = self.paint(GREEN, "ready");
        self.say(&format!(
            "{ready}: {lines} watched; change something there, end with Ctrl-C"
        ));
    }

    fn problem(&mut self, served: &Served, problem: &Problem) {
        let colour = if problem.serious { RED } else { YELLOW };
        let text = format!("line {}: {}", served.line.number, problem.message);
        self.say(&self.paint(colour, &text));
    }

    fn provider(&mut self, name: &str, serious: bool, text: &str) {
        let colour = if serious { YELLOW } else { DIM };
        self.say(&self.paint(colour, &format!("provider {name}: {text}")));
    }

    fn notice(&mut self, served: &Served, text: &str) {
        self.say(&self.paint(YELLOW, &format!("line {}: {text}", served.line.number)));
    }

    fn streamed(&mut self, served: &Served, event: &Event) {
        let target = self.paint(BOLD, &visible(event.target().as_bytes()));
        let to = self.paint(
            DIM,
            &format!("to the stream of line {}", served.line.number),
        );
        self.say(&format!(
            "{}  {target}  {}{}  {to}",
            clock(event),
            event.mask.text(),
            self.paint(DIM, &whose::text(event))
        ));
    }

    fn started(&mut self, info: &RunInfo, _: &Served, events: &[Rc<Event>]) {
        for event in events {
            let target = self.paint(BOLD, &visible(event.target().as_bytes()));
            self.say(&format!(
                "{}  {target}  {}{}",
                clock(event),
                event.mask.text(),
                self.paint(DIM, &whose::text(event))
            ));
        }
        let head = self.paint(DIM, &format!("line {}, run {}:", info.line, info.run.0));
        let again = if info.attempt > 0 {
            format!(" (try {})", info.attempt + 1)
        } else {
            String::new()
        };
        self.say(&format!(
            "{INDENT}{head} {}{again}",
            visible(info.command.as_bytes())
        ));
    }

    fn not_started(&mut self, served: &Served, error: &io::Error, again: bool) {
        let next = if again { "; it is tried again" } else { "" };
        let text = format!("line {}: {error}{next}", served.line.number);
        self.say(&self.paint(RED, &text));
    }

    fn output(&mut self, info: Option<&RunInfo>, text: &[u8]) {
        let run = info
            .map(|info| format!("run {} ", info.run.0))
            .unwrap_or_default();
        self.say(&format!(
            "{INDENT}{} {}",
            self.paint(DIM, &format!("{run}|")),
            visible(text)
        ));
    }

    fn stream_output(&mut self, served: &Served, text: &[u8]) {
        let head = self.paint(DIM, &format!("line {} |", served.line.number));
        self.say(&format!("{INDENT}{head} {}", visible(text)));
    }

    fn ended(&mut self, info: &RunInfo, end: End) {
        let End {
            outcome,
            duration,
            killed,
        } = end;
        let colour = if outcome == Outcome::Exited(0) {
            GREEN
        } else {
            RED
        };
        let how = self.paint(colour, &outcome.to_string());
        let killed = if killed { ", by us" } else { "" };
        let head = self.paint(DIM, &format!("run {}:", info.run.0));
        self.say(&format!(
            "{INDENT}{head} {how}{killed} after {:.3} s",
            duration.as_secs_f64()
        ));
    }

    fn resumed(&mut self, _: usize, _: usize) {}

    fn saved(&mut self, _: u64, lost: u64) {
        self.say(&format!("{lost} events still waited and are dropped"));
    }

    fn left_running(&mut self, running: usize, _: bool) {
        self.say(&format!(
            "{running} commands did not end in time and are killed"
        ));
    }

    fn orphaned(&mut self) {}
}

/// Shows a program, one JSON object a line on standard output.
pub struct JsonView;

impl JsonView {
    fn say(&self, value: serde_json::Value) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{value}").and_then(|()| out.flush());
    }
}

impl View for JsonView {
    fn loaded(&mut self, context: &Context, table: &Table, found: &[Diagnostic], source: &[u8]) {
        let text = render(found, source, &context.origin, Severity::Warning, false);
        let _ = io::stderr().write_all(text.as_bytes());
        self.say(json!({"type": "table", "table": table.name, "lines": table.lines.len()}));
    }

    fn refused(&mut self, context: &Context, line: u32, error: &AccountError) {
        eprintln!("{}:{line}: {error}", context.origin);
    }

    fn unreadable(&mut self, origin: &str, error: &io::Error) {
        eprintln!("incrond: cannot read {origin}: {error}");
    }

    fn dropped(&mut self, table: &str) {
        self.say(json!({"type": "dropped", "table": table}));
    }

    fn ready(&mut self) {
        self.say(json!({"type": "ready"}));
    }

    fn problem(&mut self, served: &Served, problem: &Problem) {
        let Problem { message, serious } = problem;
        let line = served.line.number;
        self.say(json!({"type": "problem", "line": line, "message": message, "serious": serious}));
    }

    fn provider(&mut self, name: &str, serious: bool, text: &str) {
        self.say(json!({
            "type": "provider", "provider": name, "message": text, "serious": serious,
        }));
    }

    fn notice(&mut self, served: &Served, text: &str) {
        self.say(json!({"type": "notice", "line": served.line.number, "message": text}));
    }

    fn streamed(&mut self, served: &Served, event: &Event) {
        if let Ok(event) = serde_json::from_str::<serde_json::Value>(&served.json(event)) {
            self.say(json!({"type": "streamed", "line": served.line.number, "event": event}));
        }
    }

    fn started(&mut self, info: &RunInfo, served: &Served, events: &[Rc<Event>]) {
        let events: Vec<serde_json::Value> = events
            .iter()
            .filter_map(|event| serde_json::from_str(&served.json(event)).ok())
            .collect();
        self.say(json!({
            "type": "run", "run": info.run.0, "pid": info.pid, "line": info.line,
            "attempt": info.attempt, "command": info.command, "events": events,
        }));
    }

    fn not_started(&mut self, served: &Served, error: &io::Error, again: bool) {
        self.say(json!({
            "type": "not_started", "line": served.line.number,
            "message": error.to_string(), "again": again,
        }));
    }

    fn output(&mut self, info: Option<&RunInfo>, text: &[u8]) {
        let run = info.map(|info| info.run.0);
        self.say(json!({"type": "output", "run": run, "text": String::from_utf8_lossy(text)}));
    }

    fn stream_output(&mut self, served: &Served, text: &[u8]) {
        let (line, text) = (served.line.number, String::from_utf8_lossy(text));
        self.say(json!({"type": "output", "run": null, "line": line, "text": text}));
    }

    fn ended(&mut self, info: &RunInfo, end: End) {
        let End {
            outcome,
            duration,
            killed,
        } = end;
        let (exit, signal) = match outcome {
            Outcome::Exited(code) => (Some(code), None),
            Outcome::Signaled(signal) => (None, Some(signal)),
        };
        self.say(json!({
            "type": "end", "run": info.run.0, "pid": info.pid, "exit": exit, "signal": signal,
            "killed": killed, "seconds": duration.as_secs_f64(),
        }));
    }

    fn resumed(&mut self, _: usize, _: usize) {}

    fn saved(&mut self, _: u64, lost: u64) {
        self.say(json!({"type": "dropped_events", "events": lost}));
    }

    fn left_running(&mut self, running: usize, killed: bool) {
        self.say(json!({"type": "left_running", "running": running, "killed": killed}));
    }

    fn orphaned(&mut self) {}
}
