//! `--simulate`: what a table would run for a list of events, when, and with which
//! arguments. Nothing is run: the same scheduler gets the same calls as in the worker,
//! and the time is a number.
//!
//! Two things stand in for the machine: paths are matched by their names (no link is
//! followed and no file looked at), and a run takes as long as the caller says.

mod events;
mod matching;

pub use events::{Change, ChangeError, parse_changes};

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;

use super::{Action, RunId, Scheduler, stream};
use crate::event::{Event, LineId};
use crate::table::{Line, Table, visible};
use crate::time::Moment;
use matching::Matcher;

/// Shell of lines without `SHELL=`.
const SHELL: &str = "/bin/sh";
/// Said instead of the rest, so that a table that never ends its work ends its text.
const MOST_ACTIONS: usize = 1_000_000;

/// How a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// From its start to its end.
    pub takes: Duration,
    /// Whether it ends with 0; else `retry=` applies.
    pub success: bool,
}

/// What the events meet.
pub struct Model<'a> {
    /// Commands at once, as `max_jobs` of incron.conf.
    pub max_jobs: usize,
    /// Asked once for each start: the line, and 0 or the number of the retry.
    pub course: &'a mut dyn FnMut(&Line, u32) -> Course,
}

/// What the table would do. One line of text for each event, start, end and notice, in
/// order of time; then the figures of each line. Names are escaped, arguments quoted.
pub fn simulate(table: &Table, changes: &[Change], model: &mut Model) -> String {
    let mut world = World::new(table, model);
    for change in changes {
        world.until(Moment(0) + change.at);
        world.change(change);
        world.act();
    }
    world.until(Moment(u64::MAX));
    world.figures();
    world.text
}

struct World<'a, 'm> {
    lines: Vec<(&'a Line, Matcher)>,
    scheduler: Scheduler,
    model: &'a mut Model<'m>,
    now: Moment,
    /// By end, then number.
    runs: BTreeMap<(Moment, RunId), Running>,
    actions: usize,
    text: String,
}

struct Running {
    line: u32,
    success: bool,
    killed: bool,
}

impl<'a, 'm> World<'a, 'm> {
    fn new(table: &'a Table, model: &'a mut Model<'m>) -> Self {
        let mut scheduler = Scheduler::new(model.max_jobs);
        let lines: Vec<_> = table
            .lines
            .iter()
            .filter_map(|line| Matcher::new(line).map(|matcher| (line, matcher)))
            .collect();
        for (id, (line, _)) in (0..).zip(&lines) {
            scheduler.set_line(LineId(id), &stream::scheduled(&line.options));
        }
        let runs = BTreeMap::new();
        Self {
            lines,
            scheduler,
            model,
            now: Moment(0),
            runs,
            actions: 0,
            text: String::new(),
        }
    }

    /// Ends runs and meets deadlines up to `to`, that moment included.
    fn until(&mut self, to: Moment) {
        while self.actions < MOST_ACTIONS {
            let end = self.runs.first_key_value().map(|(key, _)| key.0);
            let next = [end, self.scheduler.deadline()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= to) else {
                break;
            };
            self.now = self.now.max(next);
            self.end_runs();
            self.act();
        }
        if to < Moment(u64::MAX) {
            self.now = self.now.max(to);
        }
    }

    fn change(&mut self, change: &Change) {
        let path = change.path.as_os_str();
        self.say(format_args!("{} {}", change.mask.text(), shown(path)));
        let wanted: Vec<(u32, &Line, Event)> = (0..)
            .zip(&mut self.lines)
            .filter_map(|(id, (line, matcher))| Some((id, *line, matcher.event(line, change)?)))
            .collect();
        if wanted.is_empty() {
            self.say(format_args!("  no line wants this"));
        }
        for (id, line, event) in wanted {
            if stream::at_once(&line.options) {
                self.feed_stream(line);
            } else {
                self.scheduler.event(LineId(id), Rc::new(event), self.now);
            }
        }
    }

    fn feed_stream(&mut self, line: &Line) {
        let (number, command) = (line.number, shown(&line.command.text));
        self.say(format_args!("  line {number}: to the stream: {command}"));
    }

    fn end_runs(&mut self) {
        while let Some(first) = self.runs.first_entry().filter(|e| e.key().0 <= self.now) {
            let ((_, run), ended) = first.remove_entry();
            let how = match (ended.killed, ended.success) {
                (true, _) => "killed",
                (false, true) => "done",
                (false, false) => "failed",
            };
            self.say(format_args!("  line {}: run {} {how}", ended.line, run.0));
            self.scheduler.finished(run, ended.success, self.now);
        }
    }

    /// Does what the scheduler says.
    fn act(&mut self) {
        while self.actions < MOST_ACTIONS
            && let Some(action) = self.scheduler.next(self.now)
        {
            self.actions += 1;
            match action {
                Action::Start {
                    run,
                    line,
                    events,
                    attempt,
                } => self.start(run, line, &events, attempt),
                Action::Kill { run, .. } => self.kill(run),
                Action::Notice(line, text) => {
                    let number = self.number(line);
                    self.say(format_args!("  line {number}: {text}"));
                }
            }
        }
        if self.actions >= MOST_ACTIONS {
            self.say(format_args!(
                "  {MOST_ACTIONS} actions: the rest is not shown"
            ));
        }
    }

    fn start(&mut self, run: RunId, id: LineId, events: &[Rc<Event>], attempt: u32) {
        let Some((line, _)) = self.lines.get(id.0 as usize) else {
            return;
        };
        let line: &Line = line;
        if line.options.stream {
            self.feed_stream(line);
            self.tell(events);
            return self.scheduler.finished(run, true, self.now);
        }
        let shell = line.env.iter().rev().find(|(name, _)| name == "SHELL");
        let shell = shell.map_or(OsStr::new(SHELL), |(_, value)| value);
        let invocation = line.command.invocation_many(events, shell);
        let words: Vec<String> = invocation.argv.iter().map(|word| shown(word)).collect();
        let again = if attempt > 0 {
            format!(" (retry {attempt})")
        } else {
            String::new()
        };
        self.say(format_args!(
            "  line {}: run {}{again}: {}",
            line.number,
            run.0,
            words.join(" ")
        ));
        // Which values the variables have is not seen in the arguments.
        let plain = matches!(events, [one] if words.iter().any(|w| *w == shown(&one.target())));
        if !plain {
            self.tell(events);
        }
        let course = (self.model.course)(line, attempt);
        let running = Running {
            line: line.number,
            success: course.success,
            killed: false,
        };
        self.runs.insert((self.now + course.takes, run), running);
    }

    fn tell(&mut self, events: &[Rc<Event>]) {
        for event in events {
            let (mask, target) = (event.mask.text(), shown(&event.target()));
            let _ = writeln!(self.text, "{:>24} {mask} {target}", "for");
        }
    }

    /// A killed run ends at once.
    fn kill(&mut self, run: RunId) {
        let Some(key) = self.runs.keys().find(|key| key.1 == run).copied() else {
            return;
        };
        if let Some(running) = self.runs.remove(&key) {
            let killed = Running {
                success: false,
                killed: true,
                ..running
            };
            self.runs.insert((self.now, run), killed);
        }
    }

    fn figures(&mut self) {
        for (id, (line, _)) in (0..).zip(&self.lines) {
            let c = self.scheduler.counters(LineId(id));
            let figures = [
                (c.events, "events"),
                (c.started, "runs"),
                (c.merged, "merged"),
                (c.skipped, "skipped"),
                (c.looped, "dropped by IN_NO_LOOP"),
                (c.waited, "runs waited"),
                (c.retried, "retries"),
                (c.failed, "failed"),
                (c.waiting, "still wait"),
            ];
            let shown = figures
                .iter()
                .enumerate()
                .filter(|(n, (count, _))| *n < 2 || *count > 0);
            let list: Vec<String> = shown
                .map(|(_, (count, what))| format!("{count} {what}"))
                .collect();
            let _ = writeln!(self.text, "line {}: {}", line.number, list.join(", "));
        }
    }

    fn number(&self, line: LineId) -> u32 {
        self.lines
            .get(line.0 as usize)
            .map_or(0, |(line, _)| line.number)
    }

    fn say(&mut self, what: std::fmt::Arguments) {
        let millis = self.now.0 / 1_000_000;
        let time = format!("+{}.{:03}s", millis / 1000, millis % 1000);
        let _ = writeln!(self.text, "{time:>12} {what}");
    }
}

/// A word as a shell would take it, where it is made of ordinary characters.
fn shown(word: &OsStr) -> String {
    let bytes = word.as_bytes();
    let ordinary = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(b);
    if !bytes.is_empty() && bytes.iter().all(ordinary) {
        return OsString::from(word).to_string_lossy().into_owned();
    }
    format!("'{}'", visible(bytes).replace('\'', r"'\''"))
}
