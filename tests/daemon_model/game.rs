//! One game: a daemon in a prefix of its own, what happens to it and below its
//! watched directory, and what its lines must have told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;

use super::acts::Act;
use super::common::{Prefix, script};
use super::file::FileLine;
use super::life::{Ends, Life};
use super::line::Step;
use super::operations::Op;
use super::served::{Served, Streams, now};
use super::snapshot::{Id, Snapshot, base, dir, id, snapshot};
use super::table::{FILE_KEY, Kind, kinds, table};

/// Heard of by the trees and the pattern, and by the line that is not recursive.
const SENTINELS: [&str; 2] = ["d/zz/f", "d/zy"];

pub struct Game<'a> {
    pub prefix: &'a Prefix,
    /// What is not told by then never will be.
    patience: Duration,
    pub life: Life<'a>,
    hook: String,
    top: PathBuf,
    before: Snapshot,
    dead: BTreeSet<Id>,
    pub lines: Vec<Served>,
    file: FileLine,
    streams: Streams,
    /// Wakes when a stream has written.
    written: Inotify,
    /// When each line has last told of each sentinel.
    sentinels: BTreeMap<(String, String), usize>,
}

/// A prefix whose streams write to `out/KEY.PID`.
pub fn prefix() -> Prefix {
    let prefix = Prefix::new();
    let out = prefix.path("out");
    let text = format!("#!/bin/sh\nexec cat > {}/$1.$$\n", out.display());
    script(&prefix.path("stream"), &text);
    for dir in ["d/zz", "o"] {
        fs::create_dir_all(prefix.watched().join(dir)).unwrap();
    }
    for sentinel in SENTINELS {
        fs::write(prefix.watched().join(sentinel), "").unwrap();
    }
    prefix
}

impl<'a> Game<'a> {
    pub fn new(prefix: &'a Prefix, patience: Duration) -> Self {
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let written = Inotify::init(flags).unwrap();
        let of_files = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY;
        written.add_watch(&prefix.path("out"), of_files).unwrap();
        let numbered = kinds().into_iter().zip(0..);
        let mut game = Self {
            prefix,
            patience,
            life: Life::default(),
            hook: prefix.path("stream").to_str().unwrap().to_owned(),
            top: fs::canonicalize(prefix.watched()).unwrap(),
            before: Snapshot::new(),
            dead: BTreeSet::new(),
            lines: numbered.map(|(kind, id)| Served::new(kind, id)).collect(),
            file: FileLine::default(),
            streams: Streams::default(),
            written,
            sentinels: BTreeMap::new(),
        };
        game.edit(usize::MAX);
        game.before = game.look();
        game.start();
        game.settle();
        game
    }

    /// What there is, without the sentinels.
    fn look(&self) -> Snapshot {
        let mut all = snapshot(&self.top);
        all.retain(|path, _| !path.starts_with("d/z"));
        all
    }

    pub fn play(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Op(op) => self.operate(op),
            Act::Check => return self.check(),
            Act::Edit(number) => self.edit(*number),
            Act::Reload => {
                if let Some(daemon) = &self.life.daemon {
                    daemon.signal(Signal::SIGHUP);
                }
            }
            Act::KillWorker => self.kill_worker(),
            Act::Stop => self.stop()?,
            Act::KillDaemon => self.kill_daemon(),
        }
        Ok(())
    }

    fn edit(&mut self, number: usize) {
        let kinds: Vec<&Kind> = self.lines.iter().map(|served| &served.kind).collect();
        let (text, on) = table(&kinds, number, &self.hook);
        self.prefix.table("t", &text);
        for (served, on) in self.lines.iter_mut().zip(on) {
            served.armed &= on;
            served.on = on;
        }
    }

    fn operate(&mut self, op: &Op) {
        let started = now();
        let named: BTreeSet<String> = op.named().iter().filter_map(|p| self.real(p)).collect();
        if !op.apply(&self.top) {
            return;
        }
        let after = self.look();
        let alive: BTreeSet<Id> = after.values().map(|(id, _)| *id).collect();
        let written = op.written().and_then(|path| {
            let real = fs::canonicalize(self.top.join(path)).ok()?;
            let meta = fs::metadata(&real).ok().filter(fs::Metadata::is_file)?;
            let real = real.strip_prefix(&self.top).ok()?.to_str()?.to_owned();
            Some((id(&meta), real))
        });
        self.file
            .happened(&self.top, started, &written, Some(&alive));
        let step = Step {
            now: started,
            top: &self.top,
            before: &self.before,
            after: &after,
            named: &named,
            written,
            nameless: matches!(op, Op::Nameless(_)),
            alive: &alive,
            mounted: None,
            uncovered: false,
            hidden: false,
            overflows: false,
        };
        for served in &mut self.lines {
            served.happened(&step);
        }
        let gone = self.before.values().map(|(id, _)| *id);
        self.dead.extend(gone.filter(|id| !alive.contains(id)));
        self.before = after;
    }

    /// Where a name is, links on the way followed.
    fn real(&self, path: &str) -> Option<String> {
        let at = fs::canonicalize(self.top.join(dir(path))).ok()?;
        let at = at.strip_prefix(&self.top).ok()?.to_str()?.to_owned();
        Some(format!("{at}/{}", base(path)))
    }

    fn news(&mut self) {
        for (key, event, at) in self.streams.news(&self.prefix.path("out")) {
            let path = event.target().into_string().unwrap();
            let path = path.strip_prefix(self.top.to_str().unwrap()).unwrap();
            let path = path.trim_start_matches('/').to_owned();
            if path.starts_with("d/z") {
                self.sentinels.insert((key, path), at);
            } else if key == FILE_KEY {
                self.file.told.push(at);
            } else {
                let served = self.lines.iter_mut().find(|s| s.kind.key == key).unwrap();
                served.hear(at, &path, event);
            }
        }
    }

    /// Reads what is told until `done`; false after `patience`.
    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = Instant::now() + self.patience;
        loop {
            self.news();
            if done(self) {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            let mut fds = [PollFd::new(self.written.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(25u8));
            while self.written.read_events().is_ok_and(|e| !e.is_empty()) {}
        }
    }

    fn check(&mut self) -> Result<(), String> {
        let mut started = None;
        if self.life.daemon.is_none() {
            started = Some(now());
            self.start();
        }
        self.await_worker();
        let since = now();
        let told = self.until(|game| {
            // Again, since a line that has just begun may not have watched yet.
            let missing = game.silent(since);
            if missing.is_some() {
                for path in SENTINELS {
                    fs::write(game.top.join(path), "x").unwrap();
                }
            }
            missing.is_none()
        });
        if !told {
            let key = self.silent(since);
            return Err(format!(
                "no sentinel told by {key:?}\n{}",
                self.prefix.log()
            ));
        }
        let ends = self.life.ends;
        self.lines.iter_mut().for_each(|served| served.allow(ends));
        let mut wrong = Ok(());
        self.until(|game| {
            wrong = game.compare(started);
            wrong.is_ok()
        });
        wrong.map_err(|error| format!("{error}\n{}", self.prefix.log()))?;
        self.settle();
        Ok(())
    }

    /// A line that has not told of its sentinel since then.
    fn silent(&self, since: usize) -> Option<&'static str> {
        let told = |served: &&Served| {
            let heard = |path: &&str| served.line.scope.hears(path, 'f');
            let mut sentinels = SENTINELS.iter().copied().filter(heard);
            sentinels.all(|path| {
                let at = (served.kind.key.to_owned(), path.to_owned());
                self.sentinels.get(&at).is_some_and(|at| *at >= since)
            })
        };
        let mut on = self.lines.iter().filter(|served| served.on);
        on.find(|served| !told(served))
            .map(|served| served.kind.key)
    }

    fn compare(&self, started: Option<usize>) -> Result<(), String> {
        for served in &self.lines {
            served.compare(&self.top, &self.dead, self.life.ends, started)?;
        }
        self.file.check()
    }

    fn settle(&mut self) {
        self.dead.clear();
        for served in &mut self.lines {
            served.settle(&self.top, &self.before, self.life.ends);
        }
        self.file.settle();
        self.life.ends = Ends::default();
    }

    /// The daemon ends; what was told in all.
    pub fn end(mut self) -> Result<(), String> {
        self.check()?;
        self.stop()?;
        self.news();
        for served in &self.lines {
            served.check_counts(self.life.all_ends)?;
        }
        Ok(())
    }
}
