//! Members are watched, and what happens to them comes to the lines.

use std::rc::Rc;

use super::super::engine::Engine;
use super::aliases::Entry;
use super::message::Member;
use super::{overlay, shown};
use crate::event::{Event, LineId};
use crate::table::visible;
use crate::time::Moment;
use crate::watch::{Problem, Report, Source};

/// No path is longer, PATH_MAX of <linux/limits.h> without its NUL.
const LONGEST_PATH: usize = 4095;

impl Engine {
    pub(super) fn begin_members(
        &mut self,
        lines: &[LineId],
        member: &Rc<Member>,
        out: &mut Vec<Report>,
    ) {
        for line in lines {
            self.begin_member(*line, member, out);
        }
    }

    pub(super) fn numbers(&self, lines: &[LineId], member: &Member) -> Vec<LineId> {
        let of = |line: &LineId| self.providers.aliases.of(*line, &member.id);
        lines.iter().filter_map(of).collect()
    }

    pub(super) fn end_members(&mut self, numbers: Vec<LineId>) {
        for number in numbers {
            self.end_member(number);
        }
    }

    pub(super) fn end_member(&mut self, number: LineId) {
        self.source.remove(number);
        self.providers.aliases.remove(number);
    }

    /// Watches a path of the set for a line.
    pub(super) fn begin_member(
        &mut self,
        line: LineId,
        member: &Rc<Member>,
        reports: &mut Vec<Report>,
    ) {
        let Some(served) = self.lines.get(line) else {
            return;
        };
        let id = self.providers.aliases.member(line, member);
        let mut request = served.request(id);
        request.path = request.path.below(&member.path);
        if request.path.written.len() > LONGEST_PATH {
            let message = "the path is too long with what the line adds to it".into();
            let serious = true;
            reports.push(Report::Problem(id, Problem { message, serious }));
            return;
        }
        let layered = member.overlay.is_some();
        if layered {
            request.mask |= overlay::ASKED;
        }
        self.source.explain(&request, reports);
        self.source.add(request, reports);
        if layered {
            self.providers.aliases.look(id);
            // What is queued may be what the look has seen. An error comes again with the
            // next read.
            let _ = self.drain_source();
            self.providers.aliases.settle(id);
        }
    }

    /// An event of a member, or of the program of a provider.
    pub(in super::super) fn provided(&mut self, id: LineId, event: &Rc<Event>, now: Moment) {
        let providers = &mut self.providers;
        let (line, events, own) = match providers.aliases.get_mut(id) {
            Some(Entry::Member(alias)) => {
                let Some(served) = self.lines.get(alias.line) else {
                    return;
                };
                let events = providers.shown.events(alias, event, served.line.mask);
                (alias.line, events, shown::own_length(&alias.member))
            }
            Some(Entry::Program(name)) => {
                let name = Rc::clone(name);
                return self.program_changed(&name, now);
            }
            None => return,
        };
        for event in events {
            if self.lines.wants_below(line, &event, own) {
                self.status.events += 1;
                self.hand_on(line, event, now);
            }
        }
    }

    /// A problem of a member is one of its line.
    pub(in super::super) fn provided_problem(&mut self, id: LineId, problem: &Problem) {
        let now = self.clock.now();
        let Some(Entry::Member(alias)) = self.providers.aliases.get(id) else {
            return;
        };
        let Some(served) = self.lines.get(alias.line) else {
            return;
        };
        let Some((name, _)) = served.line.path.provider() else {
            return;
        };
        let known = self.providers.by_name.get_mut(name);
        if known.is_some_and(|known| known.problems.is_said(now)) {
            let member = visible(alias.member.id.as_bytes());
            let problem = Problem {
                message: format!("@{name} ({member}): {}", problem.message),
                serious: problem.serious,
            };
            self.view.problem(served, &problem);
        }
    }
}
