//! A line on the paths of a provider begins and ends, and with the first and the
//! last of them the provider's process.

use std::path::PathBuf;
use std::rc::Rc;

use super::super::engine::Engine;
use super::complaints::Complaints;
use super::members::Members;
use super::message::Member;
use super::{LONGEST, PATIENCE, Provider, SHORTEST, program};
use crate::event::LineId;
use crate::run::Job;
use crate::table::{Mask, PathSpec};
use crate::time::Moment;
use crate::watch::{Problem, Report, Request, Source};

/// What is waited for of a program that is not there or may not be run.
const PUT_RIGHT: Mask = Mask(Mask::CLOSE_WRITE.0 | Mask::MOVED_TO.0 | Mask::ATTRIB.0);

impl Engine {
    /// A line on the paths of a provider begins, or (IN_ONESHOT) begins anew.
    pub(in super::super) fn begin_provided(&mut self, line: LineId, reports: &mut Vec<Report>) {
        let named = self.lines.get(line).and_then(|served| {
            let (name, _) = served.line.path.provider()?;
            Some(Rc::<str>::from(name))
        });
        let Some(name) = named else { return };
        if !self.providers.by_name.contains_key(&name) {
            self.begin_provider(&name, line, reports);
            self.know_actors(&name, reports);
            return;
        }
        let Some(known) = self.providers.by_name.get_mut(&name) else {
            return;
        };
        if !known.lines.contains(&line) {
            known.lines.push(line);
        }
        if let Some(message) = known.refused.clone() {
            let serious = true;
            reports.push(Report::Problem(line, Problem { message, serious }));
        }
        let members: Vec<Rc<Member>> = known.members.all().cloned().collect();
        self.know_actors(&name, reports);
        for member in members {
            if let Some(spent) = self.providers.aliases.of(line, &member.id) {
                self.end_member(spent);
            }
            self.begin_member(line, &member, reports);
        }
    }

    fn begin_provider(&mut self, name: &Rc<str>, line: LineId, reports: &mut Vec<Report>) {
        let now = self.clock.now();
        let program = self.providers.aliases.program(name);
        let known = Provider {
            lines: vec![line],
            members: Members::default(),
            process: None,
            program,
            refused: None,
            again: None,
            pause: SHORTEST,
            starts: 0,
            ready: false,
            patience: Some(now + PATIENCE),
            malformed: Complaints::default(),
            problems: Complaints::default(),
            full: Complaints::default(),
        };
        self.providers.by_name.insert(Rc::clone(name), known);
        self.watch_program(name, program, reports);
        self.start_provider(name, now);
    }

    /// Where a line asks who, processes are known before the first path comes.
    fn know_actors(&mut self, name: &str, reports: &mut Vec<Report>) {
        let Some(known) = self.providers.by_name.get(name) else {
            return;
        };
        for line in &known.lines {
            if let Some(served) = self.lines.get(*line) {
                let request = served.request(*line);
                let mut found = Vec::new();
                self.source.know_actors(known.program, &request, &mut found);
                reports.extend(found.into_iter().map(|report| match report {
                    // How well they can be known is of interest to whoever wrote the line.
                    Report::Problem(_, problem) => Report::Problem(*line, problem),
                    event => event,
                }));
            }
        }
    }

    /// Hears when its program comes, or is put right.
    fn watch_program(&mut self, name: &str, line: LineId, reports: &mut Vec<Report>) {
        let path = self.settings.provider_dir.join(name);
        let request = Request {
            line,
            path: PathSpec {
                written: path.into_os_string(),
                pattern: false,
            },
            mask: PUT_RIGHT,
            recursive: false,
            depth: None,
            dotdirs: false,
            exclude: Vec::new(),
            poll: None,
            source: crate::table::Source::Auto,
            who: false,
        };
        self.source.add(request, reports);
    }

    pub(super) fn start_provider(&mut self, name: &Rc<str>, now: Moment) {
        let own = nix::unistd::geteuid().as_raw();
        let found = program::find(&self.settings.provider_dir, name, own);
        let result = found.map_err(|why| why.to_string()).and_then(|path| {
            let mut job = Job::new(None::<PathBuf>);
            job.base = self.base_env.clone().into();
            let started = self.providers.start(name, &path, &mut job, now);
            started.map_err(|why| why.to_string())
        });
        let Some(known) = self.providers.by_name.get_mut(name) else {
            return;
        };
        known.again = None;
        let Err(why) = result else {
            known.refused = None;
            return;
        };
        // The same again, if there is no place or no permission for it; it is also
        // tried when something happens to its file.
        known.again = Some(now + LONGEST);
        known.patience = None;
        if known.refused.as_ref() == Some(&why) {
            return;
        }
        known.refused = Some(why.clone());
        let lines = known.lines.clone();
        self.tell_problem(&lines, &why);
    }

    /// The pause before a new try has lost its reason.
    pub(super) fn program_changed(&mut self, name: &Rc<str>, now: Moment) {
        let known = self.providers.by_name.get_mut(name);
        let Some(known) = known.filter(|known| known.again.is_some()) else {
            return;
        };
        if !self.providers.stopping {
            known.pause = SHORTEST;
            self.start_provider(name, now);
        }
    }

    pub(super) fn tell_problem(&mut self, lines: &[LineId], message: &str) {
        let problem = Problem {
            message: message.to_owned(),
            serious: true,
        };
        for line in lines {
            if let Some(served) = self.lines.get(*line) {
                self.view.problem(served, &problem);
            }
        }
    }

    /// A line ends; and with the last one on a provider its process.
    pub(in super::super) fn end_provided(&mut self, line: LineId) {
        for id in self.providers.aliases.remove_line(line) {
            self.source.remove(id);
        }
        let named = |(_, known): &(&Rc<str>, &mut Provider)| known.lines.contains(&line);
        let Some((name, known)) = self.providers.by_name.iter_mut().find(named) else {
            return;
        };
        known.lines.retain(|other| *other != line);
        if known.lines.is_empty() {
            let name = Rc::clone(name);
            if let Some(known) = self.providers.give_up(&name, self.clock.now()) {
                self.source.remove(known.program);
                self.providers.aliases.remove(known.program);
            }
        }
    }

    /// The configuration names another directory.
    pub(in super::super) fn move_providers(&mut self) {
        let now = self.clock.now();
        let mut reports = Vec::new();
        let names: Vec<Rc<str>> = self.providers.by_name.keys().cloned().collect();
        for name in names {
            let Some(known) = self.providers.by_name.get_mut(&name) else {
                continue;
            };
            let program = known.program;
            match known
                .process
                .and_then(|at| self.providers.processes.get_mut(&at))
            {
                // It is started again when it has ended.
                Some(process) => process.terminate(now),
                None => self.start_provider(&name, now),
            }
            self.source.remove(program);
            self.watch_program(&name, program, &mut reports);
            self.know_actors(&name, &mut reports);
        }
        self.take_reports(&mut reports);
    }
}
