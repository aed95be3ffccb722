//! Telling lines, and remembering what they were told while a scan is to come.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use super::Fanotify;
use super::batch::Batch;
use super::parse::Record;
use super::reach::Reach;
use super::root::{At, Line, RootId};
use super::tree::NodeId;
use super::unfold::{kind, target};
use crate::event::{Actor, Event, LineId, LineIds, Origin, next_seq};
use crate::sys::inotify;
use crate::table::Mask;
use crate::watch::Report;
use crate::watch::found::{self, Thing};
use crate::watch::look::{is_open_for_writing, with_nul};

/// One thing to be told.
pub(super) struct News<'a> {
    pub watch: &'a OsStr,
    pub name: &'a [u8],
    /// Handle of the directory and name: under what it is remembered.
    pub owner: (&'a [u8], &'a [u8]),
    /// `ISDIR` or nothing.
    pub kind: Mask,
    pub origin: Origin,
    pub old_path: Option<PathBuf>,
    pub actor: Option<Rc<Actor>>,
    /// What a scan has told of it.
    pub known: Option<Thing>,
}

type ByName<T> = HashMap<Box<[u8]>, HashMap<Box<[u8]>, T>>;

/// What lines were told since something came into reach that is to be scanned.
#[derive(Default)]
pub(super) struct Told(ByName<Vec<(LineId, Mask)>>);

impl Told {
    fn say(&mut self, owner: (&[u8], &[u8]), line: LineId, mask: Mask) {
        let names = self.0.entry(owner.0.into()).or_default();
        let words = names.entry(owner.1.into()).or_default();
        if mask.intersects(Mask::DELETE | Mask::MOVED_FROM) {
            words.retain(|(other, _)| *other != line);
        } else {
            words.push((line, mask));
        }
    }

    /// What `line` was told of it.
    pub fn of(&self, owner: (&[u8], &[u8]), line: LineId) -> Mask {
        let words = self.0.get(owner.0).and_then(|n| n.get(owner.1));
        let of = words
            .into_iter()
            .flatten()
            .filter(|(other, _)| *other == line);
        of.fold(Mask(0), |all, (_, mask)| all | *mask)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// What scans told, while records of the same may wait.
#[derive(Default)]
pub(super) struct Seen {
    things: ByName<(u64, Thing)>,
    until: u64,
}

impl Seen {
    /// Records before the number `until` may say the same.
    pub fn insert(&mut self, owner: (&[u8], &[u8]), thing: Thing, until: u64) {
        self.until = self.until.max(until);
        let names = self.things.entry(owner.0.into()).or_default();
        names.insert(owner.1.into(), (until, thing));
    }

    fn known(&self, owner: (&[u8], &[u8]), number: u64) -> Option<Thing> {
        let (until, thing) = self.things.get(owner.0)?.get(owner.1)?;
        (number < *until).then_some(*thing)
    }

    fn forget(&mut self, owner: (&[u8], &[u8])) {
        if let Some(names) = self.things.get_mut(owner.0) {
            names.remove(owner.1);
        }
    }

    pub fn expire(&mut self, number: u64) {
        if number >= self.until {
            self.things.clear();
        }
    }
}

impl Fanotify {
    /// The process behind a record.
    pub(super) fn actor_of(&self, pid: i32, _pidfd: Option<&OwnedFd>) -> Option<Rc<Actor>> {
        match &mut *self.actors.borrow_mut() {
            Some(actors) => Some(actors.of(pid)),
            None => (pid > 0).then(|| Rc::new(Actor::of_pid(pid))),
        }
    }

    fn actor(&self, batch: &Batch, at: usize, root: RootId, record: Record) -> Option<Rc<Actor>> {
        let asked = self.roots.get(root)?.lines.iter().any(|l| l.who);
        if !asked {
            return None;
        }
        self.actor_of(record.pid, batch.pidfd(at))
    }

    /// Tells the lines of `root` what `choose` makes of what each asks for.
    pub(super) fn tell(
        &mut self,
        root: RootId,
        news: &News<'_>,
        choose: impl Fn(&Line) -> Mask,
        out: &mut Vec<Report>,
    ) {
        let Some(r) = self.roots.get_mut(root) else {
            return;
        };
        let mut chosen: Vec<(Mask, bool, LineId)> = Vec::new();
        for line in r.lines.iter_mut().filter(|l| !l.spent) {
            let bits = choose(line);
            let told = |t| found::covers(found::due(line.mask, t), bits);
            if !bits.is_empty() && !news.known.is_some_and(told) {
                chosen.push((bits | news.kind, line.who, line.id));
                line.spent = line.mask.intersects(Mask::ONESHOT);
            }
        }
        while let Some(&(mask, who, _)) = chosen.first() {
            let mut together = Vec::new();
            chosen.retain(|(other, w, line)| {
                let same = (*other, *w) == (mask, who);
                if same {
                    together.push(*line);
                }
                !same
            });
            if self.scanning {
                for &line in &together {
                    self.told.say(news.owner, line, mask);
                }
            }
            let event = Event {
                seq: next_seq(),
                mask,
                watch: news.watch.to_owned(),
                name: OsStr::from_bytes(news.name).to_owned(),
                old_path: news.old_path.clone(),
                time: self.time,
                origin: news.origin,
                actor: news.actor.clone().filter(|_| who),
                labels: None,
            };
            out.push(Report::Event(LineIds::new(&together), Rc::new(event)));
        }
    }

    /// What a scan has told of a name, where this record may be of before it: what
    /// changed after it has other stamps.
    fn known(&mut self, owner: (&[u8], &[u8]), number: u64, bit: Mask) -> Option<Thing> {
        let thing = self.seen.known(owner, number)?;
        let content = Mask::MODIFY | Mask::CLOSE_WRITE | Mask::ATTRIB;
        if !bit.intersects(content) {
            return Some(thing);
        }
        let now = self.exists(owner.0, owner.1)?;
        // Where stamps have the grain of the kernel's tick, equal ones prove nothing yet.
        let same = now.changed == thing.changed && (self.fine || thing.changed < self.drained);
        same.then_some(thing)
    }

    /// One event of a name in the directory `id`, to all who hear of it.
    pub(super) fn one(
        &mut self,
        batch: &mut Batch,
        at: usize,
        id: NodeId,
        record: Record,
        bit: Mask,
        out: &mut Vec<Report>,
    ) {
        let key: Box<[u8]> = batch.text(record.from.0).into();
        let name: Box<[u8]> = batch.text(record.from.1).into();
        let isdir = !kind(record).is_empty();
        if isdir && bit == Mask::DELETE {
            self.tell_end(batch, at, id, &name, record, out);
        }
        if !isdir && bit == Mask::CREATE {
            self.note_created(&key);
        }
        let (id, key, name) = self
            .late_place(id, (&key, &name), bit)
            .unwrap_or((id, key, name));
        let reach = self.reach(id);
        self.tell_name(batch, at, &reach, (&key, &name), record, bit, None, out);
        self.steps(batch, at, &reach, (&key, &name), record, bit, out);
        if isdir {
            self.changed(batch, id, &name, record, bit);
        } else if !self.files.is_empty() {
            self.by_link(batch, at, (id, &name), record, bit, out);
        }
    }

    /// Tells the roots that have the directory in their trees.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn tell_name(
        &mut self,
        batch: &Batch,
        at: usize,
        reach: &Reach,
        owner: (&[u8], &[u8]),
        record: Record,
        bit: Mask,
        from: Option<&Reach>,
        out: &mut Vec<Report>,
    ) {
        let isdir = !kind(record).is_empty();
        for hit in &reach.hits {
            let Some(r) = self.roots.get(hit.root) else {
                continue;
            };
            let (asked, excl) = (r.asked, r.key.flags.intersects(Mask::EXCL_UNLINK));
            let finish = Mask::CLOSE_WRITE | Mask::MOVED_TO | Mask::CREATE;
            let completes = !isdir && asked.intersects(Mask::COMPLETE) && bit.intersects(finish);
            let matched = (!hit.served).then(|| self.matched(hit, owner.1)).flatten();
            if !hit.served && (matched.is_none() || isdir) {
                continue;
            }
            if !completes && matched.is_none() && !asked.intersects(bit) {
                continue;
            }
            let content = Mask::MODIFY | Mask::CLOSE | Mask::ATTRIB | Mask::ACCESS | Mask::OPEN;
            if excl && bit.intersects(content) && self.exists(owner.0, owner.1).is_none() {
                continue;
            }
            let complete = completes && self.completes(owner, bit);
            let bits = if complete { bit | Mask::COMPLETE } else { bit };
            let number = batch.number(at);
            let known = self.known(owner, number, bit);
            let back =
                known.is_some_and(|t| t.gone) && bit.intersects(Mask::CREATE | Mask::MOVED_TO);
            let old = from.filter(|_| bit == Mask::MOVED_TO);
            let old_path = old.and_then(|f| self.old_path(batch, f, hit.root, record));
            let path = matched.as_deref().map(OsStr::from_bytes);
            let news = News {
                watch: path.unwrap_or(&hit.watch),
                name: if matched.is_some() { b"" } else { owner.1 },
                owner,
                kind: if matched.is_some() {
                    Mask(0)
                } else {
                    kind(record)
                },
                origin: Origin::Kernel,
                old_path,
                actor: self.actor(batch, at, hit.root, record),
                known,
            };
            match matched {
                Some(_) => self.tell(
                    hit.root,
                    &news,
                    |l| found::for_file(l.mask, bit, complete, false),
                    out,
                ),
                None => self.tell(hit.root, &news, |l| l.mask & bits, out),
            }
            if back || bit.intersects(Mask::DELETE | Mask::MOVED_FROM) {
                self.seen.forget(owner);
            }
        }
    }

    /// The path of a file on the way to matches that is one itself.
    fn matched(&self, hit: &super::reach::Hit, name: &[u8]) -> Option<Vec<u8>> {
        let pattern = self.roots.get(hit.root)?.pattern.as_ref()?;
        let mut path = hit.watch.as_bytes().to_vec();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        (!pattern.directories_only() && pattern.matches(&path)).then_some(path)
    }

    /// The old path of a rename, as `root` writes it where it can.
    pub(super) fn old_path(
        &self,
        batch: &Batch,
        from: &Reach,
        root: RootId,
        record: Record,
    ) -> Option<PathBuf> {
        let name = batch.text(record.from.1);
        let served = || from.hits.iter().filter(|h| h.served);
        let hit = served()
            .find(|h| h.root == root)
            .or_else(|| served().next());
        if let Some(hit) = hit {
            return Some(PathBuf::from(&hit.watch).join(OsStr::from_bytes(name)));
        }
        // The directory of a watched file is known by its path alone.
        let users = from.here.as_ref()?;
        let id = users.names.values().flatten().map(|(id, _)| *id);
        let with = |id: &RootId| {
            let root = self.roots.get(*id).filter(|r| r.way.at != At::Dir);
            let last = root.and_then(|r| r.way.steps.iter().find(|s| s.last));
            last.is_some_and(|s| users.names.contains_key(&s.name))
        };
        let root = self.roots.get(id.into_iter().find(with)?)?;
        let last = root.way.steps.iter().find(|s| s.last)?;
        let dir = root.way.real.strip_suffix(&*last.name)?;
        Some(PathBuf::from(OsStr::from_bytes(dir)).join(OsStr::from_bytes(name)))
    }

    /// Tells a root, as it knew the thing, of what it is not to hear otherwise.
    pub(super) fn tell_before(
        &mut self,
        batch: &Batch,
        at: usize,
        (root, watch, file): (RootId, &OsString, bool),
        record: Record,
        bit: Mask,
        out: &mut Vec<Report>,
    ) {
        let (key, name): (Box<[u8]>, Box<[u8]>) = (
            batch.text(record.from.0).into(),
            batch.text(record.from.1).into(),
        );
        let news = News {
            watch,
            name: if file { b"" } else { &name },
            owner: (&key, &name),
            kind: kind(record),
            origin: Origin::Kernel,
            old_path: None,
            actor: self.actor(batch, at, root, record),
            known: None,
        };
        self.tell(root, &news, |line| line.mask & bit, out);
    }

    /// A directory itself: opened, read, changed in its attributes. Told by the
    /// directory it is in, and to the root whose path it is.
    pub(super) fn itself(
        &mut self,
        batch: &mut Batch,
        at: usize,
        id: NodeId,
        record: Record,
        out: &mut Vec<Report>,
    ) {
        let bits = super::bits_of(record.mask);
        let all = [Mask::OPEN, Mask::ACCESS, Mask::CLOSE_NOWRITE, Mask::ATTRIB];
        let Some(node) = self.tree.get(id) else {
            return;
        };
        let (parent, name) = (node.parent, node.name.clone());
        let above = self.tree.get(parent).map(|n| n.key.clone());
        for bit in all.into_iter().filter(|&b| bits.intersects(b)) {
            if let Some(above) = &above {
                let reach = self.reach(parent);
                self.tell_name(batch, at, &reach, (above, &name), record, bit, None, out);
            }
            let reach = self.reach(id);
            for hit in reach.hits.iter().filter(|h| h.top && h.served) {
                let (root, watch) = (hit.root, hit.watch.clone());
                self.tell_self(batch, at, (root, &watch), record, bit | Mask::ISDIR, out);
            }
        }
    }

    /// An event of a directory without a name.
    pub(super) fn tell_self(
        &mut self,
        batch: &Batch,
        at: usize,
        (root, watch): (RootId, &OsStr),
        record: Record,
        mask: Mask,
        out: &mut Vec<Report>,
    ) {
        let key = target(batch, record);
        let news = News {
            watch,
            name: b"",
            owner: (&key, b""),
            kind: mask & Mask::ISDIR,
            origin: Origin::Kernel,
            old_path: None,
            actor: self.actor(batch, at, root, record),
            known: None,
        };
        self.tell(root, &news, |line| line.mask & mask & !Mask::ISDIR, out);
    }

    pub(super) fn tell_unmount(&mut self, root: RootId, out: &mut Vec<Report>) {
        let Some(r) = self.roots.get(root) else {
            return;
        };
        let watch = OsStr::from_bytes(&r.route).to_owned();
        let news = News {
            watch: &watch,
            name: b"",
            owner: (b"", b""),
            kind: Mask::ISDIR,
            origin: Origin::Kernel,
            old_path: None,
            actor: None,
            known: None,
        };
        self.tell(root, &news, |line| line.mask & Mask::UNMOUNT, out);
    }

    /// An event of the file that a root's path is.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn tell_file(
        &mut self,
        batch: &Batch,
        at: usize,
        root: RootId,
        owner: (&[u8], &[u8]),
        record: Record,
        bit: Mask,
        from: Option<&Reach>,
        out: &mut Vec<Report>,
    ) {
        let Some(r) = self.roots.get(root) else {
            return;
        };
        let (asked, watch) = (r.asked, OsStr::from_bytes(&r.route).to_owned());
        let writes = Mask::CLOSE_WRITE | Mask::MODIFY | Mask::COMPLETE;
        let stat = || bit == Mask::CREATE && asked.intersects(writes);
        let filled = stat().then(|| self.exists(owner.0, owner.1)).flatten();
        let linked = filled.is_some_and(|s| s.kind() == libc::S_IFREG && s.links > 1 && s.size > 0);
        let finish = Mask::CLOSE_WRITE | Mask::MOVED_TO | Mask::CREATE;
        let completes = asked.intersects(Mask::COMPLETE) && bit.intersects(finish);
        let complete = completes && self.completes(owner, bit);
        let known = self.known(owner, batch.number(at), bit);
        let old = from.filter(|_| bit == Mask::MOVED_TO);
        let news = News {
            watch: &watch,
            name: b"",
            owner,
            kind: Mask(0),
            origin: Origin::Kernel,
            old_path: old.and_then(|f| self.old_path(batch, f, root, record)),
            actor: self.actor(batch, at, root, record),
            known,
        };
        self.tell(
            root,
            &news,
            |l| found::for_file(l.mask, bit, complete, linked),
            out,
        );
        if bit.intersects(Mask::DELETE | Mask::MOVED_FROM) {
            self.seen.forget(owner);
        }
    }

    /// True where an event means that a file is all there.
    fn completes(&mut self, (dir, name): (&[u8], &[u8]), bit: Mask) -> bool {
        let Ok(dir) = self.group.open(&self.mounts, dir) else {
            return false;
        };
        let Ok(stat) = with_nul(name, |n| inotify::stat(dir.as_fd(), n)) else {
            return false;
        };
        let linked = stat.links > 1 && stat.size > 0;
        let wrong = stat.kind() != libc::S_IFREG || bit == Mask::CREATE && !linked;
        !wrong && !is_open_for_writing(dir.as_fd(), name)
    }
}
