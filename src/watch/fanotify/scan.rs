//! Trees that come into reach all at once: renamed into place, mounted, behind a
//! link that was switched. They are scanned when all that is queued has been told,
//! and what a scan finds is told only if nothing on the way to it was renamed
//! meanwhile: else it is done again.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::SystemTime;

use nix::fcntl::open;
use nix::sys::stat::Mode;

use super::Fanotify;
use super::batch::{Batch, ONDIR, RENAME};
use super::collect::{Found, Part};
use super::group::key_of;
use super::job::{Job, What};
use super::root::{At, Line, Root, RootId};
use super::tell::News;
use super::tree::Known;
use crate::event::{Actor, Origin};
use crate::sys::inotify as sys;
use crate::table::Mask;
use crate::watch::Report;
use crate::watch::found::{self, How, Part as Held};
use crate::watch::look::with_nul;
use crate::watch::scan::path_flags;

/// Scans of one tree before it is told as it was found.
const MOST_TRIES: u32 = 8;

impl Fanotify {
    /// Something is to be scanned when all that is queued has been told.
    pub(super) fn ask(&mut self, job: Job) {
        self.scanning = true;
        self.jobs.push(job);
    }

    pub(super) fn run_job(
        &mut self,
        mut job: Job,
        batch: &mut Batch,
        at: usize,
        out: &mut Vec<Report>,
    ) {
        match &job.what {
            What::Dir(key) => {
                let key = key.clone();
                self.scan(job, &key, None, batch, at, out);
            }
            What::Area(mount) => {
                let mount = *mount;
                let part = self.parts(job.root, |area| area.mount == mount).pop();
                if let Some(part) = part {
                    self.scan(job, &part.key.clone(), Some(part), batch, at, out);
                }
            }
            What::Top => {
                if !matches!(job.how, How::Since(_)) {
                    self.resolve(job.root);
                }
                let Some(root) = self.roots.get_mut(job.root) else {
                    return;
                };
                if let Some(area) = root.way.areas.first_mut() {
                    area.fresh = false;
                }
                let Some(identity) = root.way.identity.clone() else {
                    return;
                };
                let there = root.way.at;
                if let Some(back) = self.regain(job.root, &identity) {
                    job.how = How::Since(back.since);
                    job.lost = Some(back.number);
                }
                if let How::Since(since) = job.how {
                    job.how = How::Regain(since, Held::Lacked);
                }
                match there {
                    At::Dir => {
                        job.watch = self.roots.get(job.root).map(Root::watch);
                        job.what = What::Dir(identity.clone());
                        self.scan(job, &identity, None, batch, at, out);
                    }
                    At::File => self.find_file(job, batch, at, out),
                    At::Nothing => {}
                }
            }
        }
    }

    /// The path of a root leads to a file that was not there.
    fn find_file(&mut self, job: Job, batch: &mut Batch, at: usize, out: &mut Vec<Report>) {
        let Some(root) = self.roots.get(job.root) else {
            return;
        };
        let (real, route) = (
            root.way.real.clone(),
            OsStr::from_bytes(&root.route).to_owned(),
        );
        let slash = real.iter().rposition(|&b| b == b'/').unwrap_or(0);
        let dir = real.get(..slash.max(1)).unwrap_or_default();
        let name: Box<[u8]> = real.get(slash + 1..).unwrap_or_default().into();
        let Ok(dir) = open(dir, path_flags(), Mode::empty()) else {
            return;
        };
        let Ok(key) = key_of(dir.as_fd()) else { return };
        let kind = with_nul(&name, |n| sys::stat(dir.as_fd(), n)).map_or(0, |s| s.kind());
        let Some(thing) = self.look(job.root, dir.as_fd(), (&name, kind), job.how) else {
            return;
        };
        let found = Found {
            watch: route,
            name: Box::default(),
            owner: (key, name),
            twice: false,
            thing,
        };
        self.tell_all(&job, vec![found], (batch, at), out);
    }

    /// Where the root of a job has the directory at `path`, if it has it where it was
    /// when the job was asked for.
    fn place_of(&self, job: &Job, path: &[u8]) -> Option<Vec<u8>> {
        let watch = job.watch.as_ref()?;
        let hits = self.reach_of(path).hits;
        let mut hits = hits.iter().filter(|h| h.root == job.root);
        let is = hits.any(|h| h.watch == *watch);
        let watch = watch.as_bytes();
        is.then(|| watch.strip_suffix(b"/").unwrap_or(watch).to_vec())
    }

    /// Scans a tree for a root, with all that is mounted in it.
    fn scan(
        &mut self,
        mut job: Job,
        key: &[u8],
        part: Option<Part>,
        batch: &mut Batch,
        at: usize,
        out: &mut Vec<Report>,
    ) {
        let Known::Node(id) = self.find(key, batch, at) else {
            return;
        };
        let Some(path) = self.tree.path(id) else {
            return;
        };
        let top = part.unwrap_or_else(|| Part {
            key: key.into(),
            path: path.clone(),
            watch: self.place_of(&job, &path),
            mount: None,
        });
        let place = top.watch.clone();
        let Some(hit) = self.hit_in(&path, job.root, place.as_deref()) else {
            return;
        };
        let mut parts = self.parts_below(job.root, hit.watch.as_bytes());
        parts.push(top);
        let mut touched: HashSet<Box<[u8]>> = self.tree.chain(id).map(|n| n.key.clone()).collect();
        touched.extend(parts.iter().map(|p| p.key.clone()));
        let mut found = Vec::new();
        for part in &parts {
            self.collect(&job, part, &mut touched, &mut found);
        }
        self.extend(batch);
        let new = batch.records.get(at..).unwrap_or_default();
        let renames = |mask: u64| mask & RENAME != 0 && mask & ONDIR != 0;
        let moved = new
            .iter()
            .any(|r| renames(r.mask) && touched.contains(batch.text(r.target)));
        if moved && job.tries < MOST_TRIES {
            job.tries += 1;
            return self.ask(job);
        }
        self.tell_all(&job, found, (batch, at), out);
        if let Some(root) = self.roots.get_mut(job.root) {
            let told = |mount: u64| parts.iter().any(|p| p.mount == Some(mount));
            let areas = root.way.areas.iter_mut();
            areas
                .filter(|a| told(a.mount))
                .for_each(|a| a.fresh = false);
        }
    }

    /// Tells what a scan found, but for what came while it was done: the records from
    /// `at` on tell of that, from its arrival on and with the process behind it.
    fn tell_all(
        &mut self,
        job: &Job,
        found: Vec<Found>,
        (batch, at): (&mut Batch, usize),
        out: &mut Vec<Report>,
    ) {
        let (root, how) = (job.root, job.how);
        self.extend(batch);
        let mut told = Vec::with_capacity(found.len());
        for found in found {
            let (directory, name) = &found.owner;
            match batch.arrival(directory, name) {
                Some((arrived, _)) if arrived >= at => {}
                arrival => {
                    let actor = arrival.and_then(|(_, record)| self.actor(root, record));
                    let actor = actor.or_else(|| job.by.clone());
                    self.tell_found(root, &found, (how, actor), out);
                    told.push(found);
                }
            }
        }
        for found in told {
            let owner = (&*found.owner.0, &*found.owner.1);
            if found.thing.open {
                let (dir, name) = (owner.0.into(), owner.1);
                self.closing.insert(dir, name, (false, None), self.now);
            }
            self.seen.insert(root, owner, found.thing, batch.total);
        }
    }

    /// Tells the lines of `root` of a thing that was found, but for what they know.
    fn tell_found(
        &mut self,
        root: RootId,
        found: &Found,
        (how, actor): (How, Option<Rc<Actor>>),
        out: &mut Vec<Report>,
    ) {
        let Some(r) = self.roots.get(root) else {
            return;
        };
        // It may have changed after the records at hand were read.
        self.time = SystemTime::now();
        let thing = found.thing;
        let owner = (&*found.owner.0, &*found.owner.1);
        let left: Vec<(crate::event::LineId, Mask)> = r
            .lines
            .iter()
            .map(|line| {
                let place = found.twice.then_some(&*found.watch);
                let told = self.told.of(owner, line.id, (place, found.name.is_empty()));
                let due = found::due(line.mask, thing);
                let arrival = Mask::CREATE | Mask::MOVED_TO;
                (
                    line.id,
                    match told.is_empty() {
                        true => due,
                        false if thing.moved => Mask(0),
                        false => due & !told & !arrival,
                    },
                )
            })
            .collect();
        let any = left.iter().fold(Mask(0), |all, (_, due)| all | *due);
        for bit in found::ORDER.into_iter().filter(|&b| any.intersects(b)) {
            let news = News {
                watch: &found.watch,
                name: &found.name,
                owner,
                kind: if thing.dir { Mask::ISDIR } else { Mask(0) },
                origin: if how.again() {
                    Origin::Rescan
                } else {
                    Origin::Scan
                },
                old_path: None,
                actor: actor.clone(),
                known: None,
            };
            let choose = |line: &Line| {
                let due = left
                    .iter()
                    .find(|(id, _)| *id == line.id)
                    .map(|(_, due)| *due);
                found::step(due.unwrap_or_default(), bit, thing)
            };
            self.tell(root, &news, choose, out);
        }
    }

    /// The kernel had no memory for a record: everything may have changed.
    pub(super) fn overflow(&mut self) {
        self.figures.overflows += 1;
        self.figures.rescans += 1;
        let since = self.drained;
        self.tree.forget(None);
        for id in self.roots.ids() {
            self.resolve(id);
            self.ask(Job::top(id, How::Since(since)));
        }
    }
}
