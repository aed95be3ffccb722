//! What the lines of a running daemon told: the files that their streams wrote.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use incron::event::{Event, Origin, Recorded};
use incron::table::Mask;

use super::life::Ends;
use super::line::{Line, Step};
use super::snapshot::{Id, Snapshot, base};
use super::table::Kind;

/// Reads what was written since the last time.
#[derive(Default)]
pub struct Streams {
    /// How much of each file was read.
    read: HashMap<PathBuf, u64>,
}

impl Streams {
    /// New events, with the key of their line and a time after which they were told: work
    /// that waited at a stop is told when there is a process again. Each has a file,
    /// KEY.PID, whose end may be half a line: its worker was killed.
    pub fn news(&mut self, dir: &Path) -> Vec<(String, Event, usize)> {
        let mut news = Vec::new();
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            let from = self.read.entry(path.clone()).or_default();
            if entry.metadata().is_ok_and(|meta| meta.len() == *from) {
                continue;
            }
            let begun = entry.metadata().unwrap().created().map_or(0, nanoseconds);
            let mut file = File::open(&path).unwrap();
            file.seek(SeekFrom::Start(*from)).unwrap();
            let mut text = Vec::new();
            file.read_to_end(&mut text).unwrap();
            let end = text
                .iter()
                .rposition(|&b| b == b'\n')
                .map_or(0, |at| at + 1);
            *from += end as u64;
            for line in text[..end].split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
                let told: Recorded = Event::from_json(std::str::from_utf8(line).unwrap()).unwrap();
                let name = entry.file_name();
                let key = name.to_str().unwrap().split('.').next().unwrap();
                assert_eq!(told.key, key, "a line's event in another's stream");
                let at = read_at(&told.event).max(begun);
                news.push((told.key, told.event, at));
            }
        }
        news
    }
}

/// When an event was read, in nanoseconds.
pub fn read_at(event: &Event) -> usize {
    nanoseconds(event.time)
}

fn nanoseconds(time: SystemTime) -> usize {
    time.duration_since(UNIX_EPOCH).unwrap().as_nanos() as usize
}

/// Now, as `read_at` counts.
pub fn now() -> usize {
    UNIX_EPOCH.elapsed().unwrap().as_nanos() as usize
}

/// One line of the table, and what it told.
pub struct Served {
    pub kind: Kind,
    pub line: Line,
    /// It is in the table, and was at the last check.
    pub on: bool,
    pub armed: bool,
    /// What it heard of when the daemon was last stopped.
    pub at_stop: Snapshot,
    /// The part of that which was never away since.
    kept: Snapshot,
    /// What was written down at a stop by SIGTERM, and was never away from then to the
    /// last check; what was away since that.
    lasting: Snapshot,
    away: BTreeSet<String>,
    /// How often, by name, a thing came or was closed after writing.
    happened: HashMap<(String, u32), usize>,
    /// How often that was told, but for `offline`; how often that, by path.
    told: HashMap<(String, u32), usize>,
    offline: HashMap<(String, u32), usize>,
}

const NAMING: Mask = Mask(Mask::CREATE.0 | Mask::MOVED_TO.0);

impl Served {
    pub fn new(kind: Kind, id: u32) -> Self {
        Self {
            line: kind.line(id),
            kind,
            on: false,
            armed: false,
            at_stop: Snapshot::new(),
            kept: Snapshot::new(),
            lasting: Snapshot::new(),
            away: BTreeSet::new(),
            happened: HashMap::new(),
            told: HashMap::new(),
            offline: HashMap::new(),
        }
    }

    /// The daemon is stopped: it has written down all there is.
    pub fn stops(&mut self) {
        self.at_stop.clone_from(&self.line.view);
        self.kept.clone_from(&self.line.view);
    }

    /// Something has happened. A name that went and came back was told of both; the second
    /// may not have been written down when all is killed, and then its next end leaves no
    /// trace.
    pub fn happened(&mut self, step: &Step<'_>) {
        self.line.happened(step);
        let view = &self.line.view;
        let there = |path: &String, thing: &(Id, char)| view.get(path) == Some(thing);
        self.kept.retain(|path, thing| there(path, thing));
        let away = self.lasting.iter().filter(|(p, thing)| !there(p, thing));
        self.away.extend(away.map(|(path, _)| path.clone()));
    }

    pub fn hear(&mut self, at: usize, path: &str, event: Event) {
        for bit in [NAMING, Mask::CLOSE_WRITE] {
            if event.mask.intersects(bit) {
                let (map, of) = match event.origin {
                    Origin::Offline => (&mut self.offline, path),
                    _ => (&mut self.told, base(path)),
                };
                *map.entry((of.to_owned(), bit.0)).or_default() += 1;
            }
        }
        self.line.told.push((at, event));
    }

    /// What need not be told after such ends, to a line that hears of the past.
    pub fn allow(&mut self, ends: Ends) {
        let line = &mut self.line;
        if ends.any() {
            // What has left by an event that still waits, or was not written down, is where it
            // was to the state: its directory is back by a rename, and takes it along.
            line.needs.retain(|_, need| !need.along);
        }
        if ends.killed {
            // A name that came and went, or one that the state did not know yet.
            line.needs.retain(|_, need| !need.renamed);
            let lasting = &self.lasting;
            line.at_check
                .retain(|path, (id, _)| lasting.get(path).is_some_and(|(was, _)| was == id));
        } else if let Some(stopped) = ends.stopped {
            // What is where it was has not been renamed.
            let (view, at_stop) = (&line.view, &self.at_stop);
            let elsewhere = |what: Id| {
                let mut names = view.iter().filter(|(_, (id, _))| *id == what);
                names.any(|(path, (id, _))| at_stop.get(path).is_none_or(|(was, _)| was != id))
            };
            line.needs
                .retain(|(id, _), need| !need.renamed || need.since < stopped || elsewhere(*id));
        }
    }

    /// `started`: when the daemon was, if that was after all that happened.
    pub fn compare(
        &self,
        top: &Path,
        dead: &BTreeSet<Id>,
        ends: Ends,
        started: Option<usize>,
    ) -> Result<(), String> {
        let line = &self.line;
        if let Some(started) = started {
            let wrong = line.told.iter().find(|(_, e)| {
                read_at(e) >= started && (e.origin != Origin::Offline || !self.kind.catch_up)
            });
            if wrong.is_some() {
                return Err(self.explain("not offline"));
            }
        }
        if !self.armed || ends.any() && !self.kind.catch_up {
            return Ok(());
        }
        let heard = line.heard(top);
        let compared = line.check_needs(&heard);
        let compared = compared.and_then(|()| line.check_gone(&heard, dead));
        compared.map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &str) -> String {
        self.line
            .explain(&format!("{error}, key={}", self.kind.key))
    }

    /// At a check, all is told.
    pub fn settle(&mut self, top: &Path, all: &Snapshot, ends: Ends) {
        for (of, bit) in [
            (&self.line.came, NAMING),
            (&self.line.closed, Mask::CLOSE_WRITE),
        ] {
            for (name, count) in of {
                *self.happened.entry((name.clone(), bit.0)).or_default() += count;
            }
        }
        self.line.settle(top, all);
        self.armed = self.on;
        if ends.stopped.is_some() && !ends.killed {
            self.lasting.clone_from(&self.kept);
        } else {
            self.lasting.retain(|path, _| !self.away.contains(path));
        }
        self.away.clear();
    }

    /// Nothing was told more often than it happened; after `ends`, once more each.
    pub fn check_counts(&self, ends: usize) -> Result<(), String> {
        if !self.line.scope.is_fixed() {
            return Ok(()); // what is read late may be of the place before
        }
        let happened = |name: &str, bit: Mask| {
            let of = self.happened.get(&(name.to_owned(), bit.0));
            of.copied().unwrap_or(0)
        };
        let by_name = self
            .told
            .iter()
            .filter(|((name, _), _)| !name.starts_with('#'));
        for ((name, bit), told) in by_name {
            let mut most = happened(name, NAMING);
            if *bit == Mask::CLOSE_WRITE.0 {
                most += happened(name, Mask::CLOSE_WRITE);
            }
            if *told > most {
                let what = Mask(*bit).names().collect::<Vec<_>>().join("|");
                let key = self.kind.key;
                return Err(format!(
                    "{key}: {what} {name}: {told} told, {most} happened"
                ));
            }
        }
        let again = self.offline.iter().find(|(_, told)| **told > ends);
        again.map_or(Ok(()), |((path, _), told)| {
            let key = self.kind.key;
            Err(format!(
                "{key}: {path}: {told} told as offline, {ends} ends"
            ))
        })
    }
}
