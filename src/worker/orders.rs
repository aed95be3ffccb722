//! What the supervisor asks of a worker: load, drop, begin, stop.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use super::channel::Incoming;
use super::engine::Engine;
use super::lines::Served;
use super::protocol::{FromWorker, Settings, ToWorker};
use super::saved;
use crate::control::MAX_TABLE;
use crate::event::LineId;
use crate::table::{self, Context, Diagnostic, Mask, Severity};
use crate::watch::{Coverage, Problem, Report, Source};

impl Engine {
    pub(super) fn read_channel(&mut self) -> io::Result<()> {
        while let Some(channel) = &self.channel {
            match channel.receive()? {
                Incoming::Nothing => break,
                Incoming::Packet(packet, fd) => self.obey(packet, fd)?,
                Incoming::Closed => {
                    self.detach();
                    self.view.orphaned();
                    self.stop()?;
                }
            }
        }
        Ok(())
    }

    fn obey(&mut self, packet: ToWorker, fd: Option<OwnedFd>) -> io::Result<()> {
        match packet {
            ToWorker::Hello(settings) => self.adopt(settings),
            ToWorker::Load { table, origin } => self.load_fd(table, origin, fd)?,
            ToWorker::Drop { table } => {
                self.drop_table(&table);
                self.tell_loaded(table, 0, 0)?;
            }
            ToWorker::Begin => {
                self.beginning = true;
                self.begin_catching_up()?;
            }
            ToWorker::Resume => self.resume(fd)?,
            ToWorker::Status => self.tell(FromWorker::Status(Box::new(self.status())), None)?,
            ToWorker::Lines { after } => self.tell(FromWorker::Lines(self.page(after)?), None)?,
            ToWorker::Stop => self.stop()?,
        }
        Ok(())
    }

    /// The configuration was read again. What runs and waits is not touched.
    fn adopt(&mut self, settings: Settings) {
        // The only logger of this process, so it cannot be taken.
        let _ = crate::supervisor::logging::start(&settings.log);
        self.runner.set_mailer(settings.mailer.clone());
        self.scheduler.set_max_jobs(settings.max_jobs as usize);
        let moved = self.settings.provider_dir != settings.provider_dir;
        self.settings = settings;
        if moved {
            self.move_providers();
        }
    }

    /// Says once that all is watched, and the past of catch-up lines told.
    pub(super) fn tell_ready(&mut self) -> io::Result<()> {
        if !self.beginning || !self.catch_up.caught_up() || !self.providers.are_ready() {
            return Ok(());
        }
        self.beginning = false;
        self.view.ready();
        self.tell(FromWorker::Ready, None)
    }

    pub(super) fn tell(&self, packet: FromWorker, fd: Option<&File>) -> io::Result<()> {
        match &self.channel {
            Some(channel) => channel.send(&packet, fd.map(AsFd::as_fd)),
            None => Ok(()),
        }
    }

    fn load_fd(&mut self, table: String, origin: String, fd: Option<OwnedFd>) -> io::Result<()> {
        let Some(fd) = fd else { return Ok(()) };
        let mut bytes = Vec::new();
        // One byte more than allowed, so that the parser sees and says it.
        let read = File::from(fd)
            .take(MAX_TABLE as u64 + 1)
            .read_to_end(&mut bytes);
        if let Err(error) = read {
            self.view.unreadable(&origin, &error);
            return self.tell_loaded(table, 0, 1);
        }
        let (lines, errors) = self.load(table.clone(), origin, &bytes);
        self.tell_loaded(table, lines, errors)
    }

    fn tell_loaded(&self, table: String, lines: u32, errors: u32) -> io::Result<()> {
        let loaded = FromWorker::Loaded {
            table,
            lines,
            errors,
        };
        self.tell(loaded, None)
    }

    /// Puts a table in force; the number of its lines served, and not served.
    pub fn load(&mut self, name: String, origin: String, bytes: &[u8]) -> (u32, u32) {
        let context = Context {
            origin,
            name,
            dialect: self.settings.dialect,
            system: self.settings.system || self.tries_out(),
        };
        let (table, diagnostics) = table::parse(bytes, &context);
        self.view.loaded(&context, &table, &diagnostics, bytes);
        let mut refused = errors(&diagnostics);
        let mut lines: Vec<Served> = Vec::with_capacity(table.lines.len());
        for line in table.lines {
            let number = line.number;
            let (base, host, before) = (&self.base_env, &self.host, lines.last());
            match Served::new(line, &context.name, base, host, before) {
                Ok(served) => lines.push(served),
                Err(error) => {
                    refused += 1;
                    self.view.refused(&context, number, &error);
                }
            }
        }
        let served = lines.len() as u32;
        self.replace(&context.name, lines);
        (served, refused)
    }

    /// Root tries out a table of the system in the foreground: all its words are good.
    fn tries_out(&self) -> bool {
        self.channel.is_none() && nix::unistd::geteuid().is_root()
    }

    fn replace(&mut self, name: &str, lines: Vec<Served>) {
        let change = self.lines.replace(name, lines);
        let mut reports = Vec::new();
        for id in change.added.into_iter().chain(self.rearmed(&change.kept)) {
            self.begin_line(id, &mut reports);
        }
        // Given up last: what old and new lines share stays watched throughout.
        for id in change.removed {
            self.forget(id);
        }
        self.take_reports(&mut reports);
    }

    /// Everything that serves a line begins; its watches last, so that no event
    /// finds the rest unprepared.
    fn begin_line(&mut self, id: LineId, reports: &mut Vec<Report>) {
        let Some(served) = self.lines.get(id) else {
            return;
        };
        self.scheduler.set_line(id, &served.schedule());
        if served.line.options.stream {
            self.streams
                .add(id, served, &self.settings, self.clock.now());
        }
        if served.line.path.provider().is_some() {
            return self.begin_provided(id, reports);
        }
        let request = served.request(id);
        let path = table::visible(request.path.written.as_bytes());
        self.source.explain(&request, reports);
        self.remember(id, reports);
        self.source.add(request, reports);
        if let Some(actors) = &*self.source.actors() {
            // They may have begun just now; commands that run already are their lines'.
            for (line, info) in self.active.values() {
                actors.began(info.pid, *line);
            }
        }
        if self.source.coverage(id) == Some(Coverage::Waiting) {
            let message = format!("{path} does not exist yet: it is waited for");
            let serious = false;
            reports.push(Report::Problem(id, Problem { message, serious }));
        }
    }

    /// Kept lines with IN_ONESHOT: a reload arms them again, as it did in incron.
    fn rearmed(&self, kept: &[LineId]) -> Vec<LineId> {
        let oneshot = |id: &LineId| {
            let served = self.lines.get(*id);
            served.is_some_and(|served| served.line.mask.intersects(Mask::ONESHOT))
        };
        kept.iter().copied().filter(oneshot).collect()
    }

    fn drop_table(&mut self, name: &str) {
        self.view.dropped(name);
        for id in self.lines.remove_table(name) {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: LineId) {
        self.unremember(id);
        self.end_provided(id);
        self.source.remove(id);
        self.scheduler.remove_line(id);
        self.streams.remove(id, self.grace(), self.clock.now());
        self.lines.forget(id);
    }

    fn resume(&mut self, fd: Option<OwnedFd>) -> io::Result<()> {
        let Some(fd) = fd else { return Ok(()) };
        let now = self.clock.now();
        let found = saved::read(File::from(fd), &self.lines)?;
        self.view.resumed(found.events.len(), found.orphans);
        for (line, event) in found.events {
            self.catch_up.told(line, &event);
            self.lines.resumed(line);
            self.hand_on(line, event, now);
        }
        Ok(())
    }
}

fn errors(diagnostics: &[Diagnostic]) -> u32 {
    diagnostics
        .iter()
        .filter(|found| found.severity == Severity::Error)
        .count() as u32
}
