//! What the processes say, how they end, and what is due with time.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::super::engine::Engine;
use super::complaints::Complaints;
use super::members::{Added, MOST_MEMBERS};
use super::message::Message;
use super::process::Heard;
use super::{LONGEST, PATIENCE, SHORTEST, Turn};
use crate::run::Outcome;
use crate::table::visible;
use crate::time::Moment;
use crate::watch::Report;

impl Engine {
    /// What the processes say and how they end.
    pub(in super::super) fn read_providers(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let turns = self.providers.read(now)?;
        let takes_out = |turn: &(_, Turn)| {
            let message = matches!(turn.1, Turn::Heard(Heard::Message(_)));
            message && !matches!(turn.1, Turn::Heard(Heard::Message(Message::Add(_))))
        };
        if turns.iter().any(takes_out) {
            // What happened before a path is taken out is told.
            self.drain_source()?;
        }
        let mut reports = Vec::new();
        for (name, turn) in turns {
            let Some(name) = name else { continue };
            match turn {
                Turn::Ended(end, lived) => self.provider_ended(&name, end, lived, now),
                Turn::Heard(Heard::Said(text)) => {
                    let text = format!("says: {}", visible(&text));
                    self.view.provider(&name, false, &text);
                }
                Turn::Heard(Heard::Malformed(number, why)) => {
                    self.malformed(&name, number, &why, now);
                }
                Turn::Heard(Heard::More(count)) => {
                    if let Some(known) = self.providers.by_name.get_mut(&name) {
                        known.malformed.leave_out(count, now);
                    }
                }
                Turn::Heard(Heard::Message(message)) if !self.providers.stopping => {
                    self.hear_provider(&name, message, now, &mut reports)?;
                }
                Turn::Heard(Heard::Message(_)) => {}
            }
        }
        self.take_reports(&mut reports);
        Ok(())
    }

    fn malformed(&mut self, name: &str, number: u64, why: &str, now: Moment) {
        let known = self.providers.by_name.get_mut(name);
        if known.is_some_and(|known| known.malformed.is_said(now)) {
            let text = format!(
                "line {number} of its output is passed over: {}",
                visible(why.as_bytes())
            );
            self.view.provider(name, true, &text);
        }
    }

    fn hear_provider(
        &mut self,
        name: &Rc<str>,
        message: Message,
        now: Moment,
        reports: &mut Vec<Report>,
    ) -> io::Result<()> {
        let Some(known) = self.providers.by_name.get_mut(name) else {
            return Ok(());
        };
        let lines = known.lines.clone();
        match message {
            Message::Add(member) => match known.members.add(*member) {
                Added::Same => {}
                Added::New(member) => self.begin_members(&lines, &member, reports),
                Added::Relabelled(member) => {
                    for line in lines {
                        self.providers.aliases.relabel(line, &member);
                    }
                }
                Added::Moved(member, old) => {
                    let old = self.numbers(&lines, &old);
                    self.begin_members(&lines, &member, reports);
                    self.drain_source()?;
                    self.end_members(old);
                }
                Added::Full if known.full.is_said(now) => {
                    let most = MOST_MEMBERS;
                    let text = format!("it names more than {most} paths, or 64 MiB of them");
                    self.tell_problem(&lines, &format!("provider {name}: {text}"));
                }
                Added::Full => {}
            },
            Message::Remove(id) => {
                if let Some(member) = known.members.remove(&id) {
                    let numbers = self.numbers(&lines, &member);
                    self.end_members(numbers);
                }
            }
            Message::Ready => {
                known.patience = None;
                known.ready = true;
                for member in known.members.ready() {
                    let numbers = self.numbers(&lines, &member);
                    self.end_members(numbers);
                }
            }
        }
        Ok(())
    }

    fn provider_ended(&mut self, name: &Rc<str>, end: Outcome, lived: Duration, now: Moment) {
        let stopping = self.providers.stopping;
        let Some(known) = self.providers.by_name.get_mut(name) else {
            return;
        };
        known.process = None;
        if stopping {
            return;
        }
        let pause = match lived >= LONGEST {
            true => SHORTEST,
            false => known.pause,
        };
        known.pause = (pause * 2).min(LONGEST);
        known.again = Some(now + pause);
        let (paths, pause) = (known.members.len(), pause.as_secs());
        let text = format!(
            "{end}; it is started again in {pause} s, its {paths} paths stay watched until then"
        );
        self.view.provider(name, true, &text);
    }

    /// Starts, ends and says what is due.
    pub(in super::super) fn tick_providers(&mut self, now: Moment) {
        if self.providers.deadline().is_none_or(|at| at > now) {
            return;
        }
        for process in self.providers.processes.values_mut() {
            process.tick(now);
        }
        let names: Vec<Rc<str>> = self.providers.by_name.keys().cloned().collect();
        for name in names {
            self.tick_provider(&name, now);
        }
    }

    fn tick_provider(&mut self, name: &Rc<str>, now: Moment) {
        let Some(known) = self.providers.by_name.get_mut(name) else {
            return;
        };
        let mut said = Vec::new();
        let mut count = |complaints: &mut Complaints, what: &str| {
            if let Some(count) = complaints.left_out(now) {
                said.push(format!("{count} more {what}"));
            }
        };
        count(&mut known.malformed, "lines of its output were passed over");
        count(
            &mut known.problems,
            "problems with its paths were not logged",
        );
        count(&mut known.full, "paths had no room");
        let late = known.patience.is_some_and(|until| until <= now);
        if late {
            known.patience = None;
        }
        let lines = known.lines.clone();
        let due = !self.providers.stopping && known.again.is_some_and(|at| at <= now);
        for text in said {
            self.view.provider(name, true, &text);
        }
        if late {
            let patience = PATIENCE.as_secs();
            self.tell_problem(
                &lines,
                &format!(
                    "provider {name} has not said in {patience} s that it is ready: \
                     what it has named so far is watched"
                ),
            );
        }
        if due {
            self.start_provider(name, now);
        }
    }
}
