//! Telling lines of what has happened, each what it asks for.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use super::Fanotify;
use super::batch::Batch;
use super::parse::Record;
use super::reach::Reach;
use super::root::{Line, RootId};
use super::tree::NodeId;
use super::unfold::{kind, target};
use crate::event::{Actor, Event, LineId, LineIds, Origin, next_seq};
use crate::table::Mask;
use crate::watch::Report;
use crate::watch::found::{self, Thing};

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

impl Fanotify {
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
                    let place = (news.watch, news.name.is_empty());
                    self.told.say(news.owner, line, mask, place);
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
            self.tell_end(batch, id, &name, record, out);
        }
        if !isdir && bit == Mask::CREATE {
            self.note_created(&key);
        }
        let (id, key, name) = self
            .late_place(id, (&key, &name), batch.text(record.target), bit)
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
        if bit == Mask::CLOSE_WRITE && !self.closing.is_empty() {
            self.closing.take(owner.0, owner.1);
        }
        let parts = bit.intersects(Mask::DELETE | Mask::MOVED_FROM);
        for hit in &reach.hits {
            if parts {
                self.seen.forget(hit.root, owner);
            }
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
            if self.heard_before(record, (hit, reach), bit) {
                continue;
            }
            self.heard.note(record, hit, bit);
            let content = Mask::MODIFY | Mask::CLOSE | Mask::ATTRIB | Mask::ACCESS | Mask::OPEN;
            if excl && bit.intersects(content) && self.exists(owner.0, owner.1).is_none() {
                continue;
            }
            let complete = completes && self.completes((hit.root, owner), record, bit);
            let bits = if complete { bit | Mask::COMPLETE } else { bit };
            let number = batch.number(at);
            let known = self.known(hit.root, owner, number, bit);
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
                actor: self.actor(hit.root, record),
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
        }
    }

    /// Tells a root, as it knew the thing, of what it is not to hear otherwise.
    pub(super) fn tell_before(
        &mut self,
        batch: &Batch,
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
            actor: self.actor(root, record),
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
                self.tell_self(batch, (root, &watch), record, bit | Mask::ISDIR, out);
            }
        }
    }

    /// An event of a directory without a name.
    pub(super) fn tell_self(
        &mut self,
        batch: &Batch,
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
            actor: self.actor(root, record),
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
        let complete = completes && self.completes((root, owner), record, bit);
        let known = self.known(root, owner, batch.number(at), bit);
        let old = from.filter(|_| bit == Mask::MOVED_TO);
        let news = News {
            watch: &watch,
            name: b"",
            owner,
            kind: Mask(0),
            origin: Origin::Kernel,
            old_path: old.and_then(|f| self.old_path(batch, f, root, record)),
            actor: self.actor(root, record),
            known,
        };
        self.tell(
            root,
            &news,
            |l| found::for_file(l.mask, bit, complete, linked),
            out,
        );
        if bit.intersects(Mask::DELETE | Mask::MOVED_FROM) {
            self.seen.forget(root, owner);
        }
    }
}
