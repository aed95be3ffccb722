//! The end of a worker: no new runs, time for those that run, and what waits is
//! handed over.

use std::io;
use std::time::Duration;

use super::engine::{Engine, Flow};
use super::protocol::FromWorker;
use super::saved;
use crate::time::Moment;

/// TERM, then KILL after `kill-after=` (5s unless a line says otherwise), take no
/// longer than this at a stop.
pub const KILLING: Duration = Duration::from_secs(7);

/// How far a stop has come.
#[derive(Clone, Copy, Debug)]
pub enum Stopping {
    /// Nobody asked for one.
    No,
    /// Running commands have until then.
    Grace(Moment),
    /// They had their time; streams, and with `stop_kill` all, are being killed, until then.
    Killing(Moment),
}

impl Stopping {
    pub(super) fn until(self) -> Option<Moment> {
        match self {
            Self::No => None,
            Self::Grace(until) | Self::Killing(until) => Some(until),
        }
    }
}

impl Engine {
    /// No new runs from here on; what runs gets its time.
    pub(super) fn stop(&mut self) -> io::Result<()> {
        if !matches!(self.stopping, Stopping::No) {
            return Ok(());
        }
        self.scheduler.close();
        let now = self.clock.now();
        self.streams.close_all(self.grace(), now);
        self.providers.stop(now);
        self.stopping = Stopping::Grace(now + self.grace());
        Ok(())
    }

    /// What running commands get at a stop.
    pub(super) fn grace(&self) -> Duration {
        Duration::from_secs(self.settings.stop_grace)
    }

    /// Whether a stop is through.
    pub(super) fn flow(&mut self) -> io::Result<Flow> {
        let now = self.clock.now();
        let waited_for = match self.stopping {
            Stopping::No => return Ok(Flow::Continue),
            Stopping::Grace(until) if now < until => {
                self.runner.running() + self.providers.running()
            }
            Stopping::Grace(_) => {
                self.end_those_that_run(now);
                self.ending()
            }
            Stopping::Killing(until) if now < until => self.ending(),
            Stopping::Killing(_) => 0,
        };
        if waited_for > 0 {
            return Ok(Flow::Continue);
        }
        self.providers.kill();
        self.save()?;
        Ok(Flow::Done)
    }

    /// The grace is over. A stream never goes on alone: only when its process has
    /// ended is it known what of its events that has not read.
    fn end_those_that_run(&mut self, now: Moment) {
        let (all, streams) = (self.runner.running(), self.streams.running());
        let killed = if self.settings.stop_kill {
            self.runner.kill_all(now);
            all
        } else {
            streams // they are sent TERM when their grace is over, which is this one
        };
        if killed > 0 {
            self.view.left_running(killed, true);
        }
        if all > killed {
            self.view.left_running(all - killed, false);
        }
        self.stopping = Stopping::Killing(now + KILLING);
    }

    /// How many processes were told to end and have not.
    fn ending(&self) -> usize {
        if self.settings.stop_kill {
            self.runner.running()
        } else {
            self.streams.running()
        }
    }

    /// Hands over what waits, up to the last event the kernel has for us.
    fn save(&mut self) -> io::Result<()> {
        self.drain_source()?;
        // Without what still waits: that is saved, and only then not lost.
        self.write_down();
        let mut waiting = self.scheduler.drain();
        for (fed, texts) in self.streams.unread() {
            let unread = |text: &Vec<u8>| saved::unread(text, &fed, &self.lines);
            waiting.extend(texts.iter().filter_map(unread));
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if self.channel.is_none() {
            self.view.saved(0, waiting.len() as u64);
            return Ok(());
        }
        let written = saved::write(&waiting, &self.lines)?;
        let events = written.events;
        self.view.saved(events, written.left_out);
        self.tell(FromWorker::Saved { events }, Some(&written.file))
    }
}
