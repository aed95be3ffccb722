//! What is found out about an event before it is told: who did it, what the file was
//! called, whether it is all there.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use super::Fanotify;
use super::batch::Batch;
use super::parse::Record;
use super::reach::{Hit, Reach};
use super::root::{At, RootId};
use crate::event::Actor;
use crate::sys::inotify;
use crate::table::Mask;
use crate::watch::found::Thing;
use crate::watch::look::{is_open_for_writing, with_nul};

impl Fanotify {
    /// The process behind a record, where a line of `root` asks for it.
    pub(super) fn actor(&self, root: RootId, record: Record) -> Option<Rc<Actor>> {
        let asked = self.roots.get(root)?.lines.iter().any(|l| l.who);
        if !asked {
            return None;
        }
        match &mut *self.actors.borrow_mut() {
            Some(actors) => Some(actors.of(record.pid)),
            None => (record.pid > 0).then(|| Rc::new(Actor::of_pid(record.pid))),
        }
    }

    /// What a scan has told a root of a name, where this record may be of before it: what
    /// changed after it has other stamps.
    pub(super) fn known(
        &mut self,
        root: RootId,
        owner: (&[u8], &[u8]),
        number: u64,
        bit: Mask,
    ) -> Option<Thing> {
        let thing = self.seen.known(root, owner, number)?;
        let content = Mask::MODIFY | Mask::CLOSE_WRITE | Mask::ATTRIB;
        if !bit.intersects(content) {
            return Some(thing);
        }
        let now = self.exists(owner.0, owner.1)?;
        // Where stamps have the grain of the kernel's tick, equal ones prove nothing yet.
        let same = now.changed == thing.changed && (self.fine || thing.changed < self.drained);
        same.then_some(thing)
    }

    /// The path of a file on the way to matches that is one itself.
    pub(super) fn matched(&self, hit: &Hit, name: &[u8]) -> Option<Vec<u8>> {
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

    /// True where an event means that a file is all there.
    pub(super) fn completes(
        &mut self,
        (root, owner): (RootId, (&[u8], &[u8])),
        record: Record,
        bit: Mask,
    ) -> bool {
        let (key, name) = owner;
        if self.closing.has(key, name) {
            return false; // to all it is told at once
        }
        let Ok(dir) = self.group.open(&self.mounts, key) else {
            return false;
        };
        let Ok(stat) = with_nul(name, |n| inotify::stat(dir.as_fd(), n)) else {
            return false;
        };
        let linked = stat.links > 1 && stat.size > 0;
        let wrong = stat.kind() != libc::S_IFREG || bit == Mask::CREATE && !linked;
        if wrong {
            return false;
        }
        let open = is_open_for_writing(dir.as_fd(), name);
        if open {
            let told = (true, self.actor(root, record));
            self.closing.insert(key.into(), name, told, self.now);
        }
        !open
    }
}
