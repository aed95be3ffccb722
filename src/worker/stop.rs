//! The end of a worker: no new runs, time for those that run, and what waits is
//! handed over.

use std::io;
use std::time::Duration;

use super::engine::{Engine, Flow};
use super::protocol::FromWorker;
use super::saved;
use crate::time::Moment;

/// TERM, then KILL after `kill-after=`, take no longer than this at a stop.
const KILLING: Duration = Duration::from_secs(10);

/// How far a stop has come.
#[derive(Clone, Copy, Debug)]
pub enum Stopping {
    /// Nobody asked for one.
    No,
    /// Running commands have until then.
    Grace(Moment),
    /// They had their time and are being killed, until then.
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
        let running = self.runner.running();
        let over = match self.stopping {
            Stopping::No => return Ok(Flow::Continue),
            Stopping::Grace(until) | Stopping::Killing(until) => now >= until,
        };
        if running > 0 && !over {
            return Ok(Flow::Continue);
        }
        if running > 0 && matches!(self.stopping, Stopping::Grace(_)) {
            self.view.left_running(running, self.settings.stop_kill);
            if self.settings.stop_kill {
                self.runner.kill_all(now);
                self.stopping = Stopping::Killing(now + KILLING);
                return Ok(Flow::Continue);
            }
        }
        self.save()?;
        Ok(Flow::Done)
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
