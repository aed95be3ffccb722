//! What an event changes in what is known: directories that come and go, and the
//! ways to roots.

use super::Fanotify;
use super::areas::Gone;
use super::batch::{self, Batch};
use super::job::Job;
use super::parse::{Record, Span};
use super::reach::{Reach, within};
use super::root::{At, Root, RootId, Step};
use super::tree::{Known, NodeId};
use super::unfold::{kind, target};
use crate::table::Mask;
use crate::watch::Report;
use crate::watch::found::How;

impl Fanotify {
    /// The directory `name` in `id` has come or gone.
    pub(super) fn changed(
        &mut self,
        batch: &Batch,
        id: NodeId,
        name: &[u8],
        record: Record,
        bit: Mask,
    ) {
        let target = target(batch, record);
        if target.is_empty() {
            return;
        }
        if bit == Mask::CREATE {
            if self.matters(id, name) {
                self.tree.insert(&target, id, name, false);
                if self.scanning {
                    let reach = self.reach_at(id, name);
                    // On the way to what a pattern matches nothing is told.
                    let told = reach.hits.iter().filter(|h| h.served);
                    let all = told.map(|h| (h.root, target.clone()));
                    self.settled.extend(all);
                }
            } else {
                self.tree.set_foreign(&target);
            }
        } else if bit == Mask::DELETE {
            if let Known::Node(gone) = self.tree.known(&target) {
                self.dead.push(gone);
            }
            self.end_mounts(id, name);
        }
    }

    /// What is mounted of the directory `name` elsewhere has no path any more.
    fn end_mounts(&mut self, id: NodeId, name: &[u8]) {
        let users = self.users(id, name);
        if let Some(mut path) = self.tree.path(id).filter(|_| !users.is_empty()) {
            path.push(b'/');
            path.extend_from_slice(name);
            self.carry(&path, &Gone::Removed, &users);
        }
    }

    /// Tells those who have the directory `name` in their trees that it is gone.
    pub(super) fn tell_end(
        &mut self,
        batch: &mut Batch,
        parent: NodeId,
        name: &[u8],
        record: Record,
        out: &mut Vec<Report>,
    ) {
        let reach = self.reach_at(parent, name);
        for hit in reach.hits.iter().filter(|h| h.served) {
            self.tell_self(
                batch,
                (hit.root, &hit.watch),
                record,
                Mask::DELETE_SELF,
                out,
            );
        }
    }

    /// What the directory `name` in `parent` is.
    pub(super) fn reach_at(&self, parent: NodeId, name: &[u8]) -> Reach {
        match self.tree.path(parent) {
            Some(mut path) => {
                path.push(b'/');
                path.extend_from_slice(name);
                self.reach_of(&path)
            }
            None => Reach::default(),
        }
    }

    /// An event of a name that is on the way to roots, or is one's own path.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn steps(
        &mut self,
        batch: &mut Batch,
        at: usize,
        reach: &Reach,
        owner: (&[u8], &[u8]),
        record: Record,
        bit: Mask,
        out: &mut Vec<Report>,
    ) {
        self.steps_from(batch, at, (reach, None), owner, record, bit, out);
    }

    /// As `steps`; with the directory that a rename came from.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn steps_from(
        &mut self,
        batch: &mut Batch,
        at: usize,
        (reach, from): (&Reach, Option<&Reach>),
        owner: (&[u8], &[u8]),
        record: Record,
        bit: Mask,
        out: &mut Vec<Report>,
    ) {
        let Some(users) = reach.here.as_ref().and_then(|h| h.names.get(owner.1)) else {
            return;
        };
        for (id, step) in users.clone() {
            let Some(step) = self.roots.get(id).and_then(|r| r.way.steps.get(step)) else {
                continue;
            };
            let (link, last) = (step.link, step.last);
            if step.inner {
                continue;
            }
            let below = [&*step.dir, b"/", &*step.name].concat();
            if kind(record).is_empty() {
                if self.link_changed(id, (link, last), owner, record, bit) {
                    continue;
                }
                if last {
                    self.file_event(batch, at, (id, from), owner, record, bit, out);
                }
            } else if bit.intersects(Mask::DELETE | Mask::MOVED_FROM) {
                let file = self.roots.get(id).is_some_and(|r| r.way.at == At::File);
                if file && bit == Mask::MOVED_FROM && self.exchanged(batch, record, owner) {
                    continue; // a file has taken its place
                }
                self.lose_way(id);
                self.lose_links(id, &below);
            } else if bit == Mask::MOVED_TO {
                let by = self.actor(id, record);
                self.ask(Job::top(id, How::Moved).by(by));
            } else if bit == Mask::CREATE && last {
                let target = target(batch, record);
                self.set_at(id, At::Dir, Some(target));
            }
        }
    }

    /// A link on the way came, went or was replaced.
    fn link_changed(
        &mut self,
        id: RootId,
        (link, last): (bool, bool),
        owner: (&[u8], &[u8]),
        record: Record,
        bit: Mask,
    ) -> bool {
        let names = Mask::CREATE | Mask::DELETE | Mask::MOVE;
        if !bit.intersects(names) {
            return link;
        }
        let follows = !last || self.roots.get(id).is_some_and(Root::follows);
        let mut is_link = || {
            let stat = self.exists(owner.0, owner.1);
            stat.is_some_and(|s| s.kind() == libc::S_IFLNK)
        };
        if !link && (bit.intersects(Mask::DELETE | Mask::MOVED_FROM) || !follows || !is_link()) {
            return false;
        }
        let before = self.roots.get(id).and_then(|r| r.way.identity.clone());
        self.lose_if_other(id);
        let now = self.roots.get(id).and_then(|r| r.way.identity.clone());
        if now.is_some() && now != before {
            let how = if bit == Mask::MOVED_TO {
                How::Moved
            } else {
                How::Made
            };
            let by = self.actor(id, record);
            self.ask(Job::top(id, how).by(by));
        }
        true
    }

    /// An event of the file that is a root's path.
    #[allow(clippy::too_many_arguments)]
    fn file_event(
        &mut self,
        batch: &mut Batch,
        at: usize,
        (id, from): (RootId, Option<&Reach>),
        owner: (&[u8], &[u8]),
        record: Record,
        bit: Mask,
        out: &mut Vec<Report>,
    ) {
        if self.roots.get(id).is_none_or(Root::only_dir) {
            return;
        }
        if bit == Mask::MOVED_FROM && self.exchanged(batch, record, owner) {
            return;
        }
        self.tell_file(batch, at, id, owner, record, bit, from, out);
        let target = target(batch, record);
        if bit.intersects(Mask::CREATE | Mask::MOVED_TO) {
            self.set_at(id, At::File, Some(target));
        } else if bit.intersects(Mask::DELETE | Mask::MOVED_FROM) {
            self.lose_file(id);
        }
    }

    /// The second half of an exchange takes the old file away from a name that leads
    /// to the new one already.
    fn exchanged(&mut self, batch: &Batch, record: Record, owner: (&[u8], &[u8])) -> bool {
        self.first_half(batch, record).is_some() && self.exists(owner.0, owner.1).is_some()
    }

    /// True where another thing has just come to the name that this rename takes something
    /// away from: it is the second half of an exchange.
    pub(super) fn is_taken(&self, batch: &Batch, record: Record) -> bool {
        let other = self.first_half(batch, record);
        other.is_some_and(|target| target != batch.text(record.target))
    }

    /// What the rename that may be the first half of an exchange is of.
    fn first_half(&self, batch: &Batch, record: Record) -> Option<&[u8]> {
        let is = |place: &batch::Place, (dir, name): (Span, Span)| {
            (&*place.0, &*place.1) == (batch.text(dir), batch.text(name))
        };
        let mut last = self.arrived.iter();
        let first = last.find(|(from, to, _)| is(to, record.from) && is(from, record.to));
        first.map(|(_, _, target)| &**target)
    }

    /// A directory on the way is gone, and with it the links in it that the path went by.
    fn lose_links(&mut self, id: RootId, dir: &[u8]) {
        let in_it = |s: &Step| s.link && within(&s.dir, dir);
        let went = |r: &Root| r.way.steps.iter().any(in_it);
        if !self.roots.get(id).is_some_and(went) {
            return;
        }
        self.resolve(id);
        if self.roots.get(id).is_some_and(|r| r.way.identity.is_some()) {
            self.ask(Job::top(id, How::Moved));
        }
    }

    /// Notes what is at the path of a root now.
    pub(super) fn set_at(&mut self, id: RootId, at: At, identity: Option<Box<[u8]>>) {
        self.forget_file(id);
        if let (At::File, Some(file)) = (at, &identity) {
            self.files.entry(file.clone()).or_default().push(id);
        }
        if let Some(root) = self.roots.get_mut(id) {
            root.way.at = at;
            root.way.identity = identity;
        }
    }

    /// An event of a watched file in a directory that is nothing to its root, or
    /// without any directory: by another of its names.
    pub(super) fn by_file(
        &mut self,
        batch: &mut Batch,
        at: usize,
        record: Record,
        out: &mut Vec<Report>,
    ) {
        let bits = super::bits_of(record.mask);
        let all = [
            Mask::OPEN,
            Mask::OPEN_EXEC,
            Mask::ATTRIB,
            Mask::ACCESS,
            Mask::MODIFY,
            Mask::CLOSE_WRITE,
            Mask::CLOSE_NOWRITE,
        ];
        for bit in all.into_iter().filter(|&b| bits.intersects(b)) {
            self.by_link(batch, at, (NodeId::NONE, b""), record, bit, out);
        }
    }

    /// One event of a file, to the roots that know it by another name than this in `dir`.
    pub(super) fn by_link(
        &mut self,
        batch: &mut Batch,
        at: usize,
        (dir, name): (NodeId, &[u8]),
        record: Record,
        bit: Mask,
        out: &mut Vec<Report>,
    ) {
        if bit.intersects(Mask::CREATE | Mask::DELETE | Mask::MOVE) {
            return;
        }
        let target = target(batch, record);
        let Some(users) = self.files.get(&target).cloned() else {
            return;
        };
        let place = self.tree.path(dir);
        for id in users {
            let Some(last) = self
                .roots
                .get(id)
                .and_then(|r| r.way.steps.iter().find(|s| s.last))
            else {
                continue;
            };
            if place.as_deref() == Some(&*last.dir) && *name == *last.name {
                continue; // told by its name
            }
            let last = last.name.clone();
            if record.from.0.is_empty() && !self.still_at(id, &target) {
                continue; // it has lost the name that is watched
            }
            let owner = (&*target, &*last);
            self.tell_file(batch, at, id, owner, record, bit, None, out);
        }
    }

    /// The path of a root still leads to the file.
    fn still_at(&self, id: RootId, file: &[u8]) -> bool {
        use std::os::fd::AsFd;
        let Some(root) = self.roots.get(id) else {
            return false;
        };
        let flags = crate::watch::scan::path_flags();
        let open = nix::fcntl::open(&*root.way.real, flags, nix::sys::stat::Mode::empty());
        open.is_ok_and(|fd| super::resolve::is(fd.as_fd(), file).unwrap_or(false))
    }
}
