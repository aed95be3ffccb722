//! Files that are still open for writing when it is heard that they were closed: looked at
//! again, as the inotify source does (`watch/closing`).

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use nix::fcntl::openat;
use nix::sys::stat::Mode;

use super::Fanotify;
use super::batch::Batch;
use super::group::key_of;
use super::root::RootId;
use super::tell::News;
use super::tree::Known;
use crate::event::Origin;
use crate::sys::inotify;
use crate::table::Mask;
use crate::time::Moment;
use crate::watch::Report;
use crate::watch::closing::Closed;
use crate::watch::look::{is_open_for_writing, with_nul};
use crate::watch::scan::path_flags;

type Close = Closed<Box<[u8]>>;

impl Fanotify {
    /// Looks again at the files whose time has come.
    pub(super) fn look_at_closing(&mut self, now: Moment, out: &mut Vec<Report>) {
        let mut closed = Vec::new();
        for mut file in self.closing.due(now) {
            match self.is_still_open(&file) {
                Some(true) => self.closing.again(file, now),
                Some(false) => {
                    file.at = now;
                    closed.push((file.dir.clone(), file.name.clone()));
                    self.closing.put(file);
                }
                None => {} // by another name it is told anew
            }
        }
        self.group.close();
        if closed.is_empty() {
            return;
        }
        // If it was closed once more since, that close is queued by now, and takes it.
        let until = self.figures.records + self.group.queued();
        while self.figures.records < until && matches!(self.drain(now, out), Ok(true)) {}
        for (dir, name) in closed {
            let file = self.closing.take(&*dir, &name);
            match file {
                Some(file) if file.at <= now => self.tell_closed(&file, out),
                Some(open) => self.closing.put(open),
                None => {}
            }
        }
        self.group.close();
    }

    fn is_still_open(&mut self, file: &Close) -> Option<bool> {
        let dir = self.group.open(&self.mounts, &file.dir).ok()?;
        let stat = with_nul(&file.name, |n| inotify::stat(dir.as_fd(), n)).ok()?;
        (stat.kind() == libc::S_IFREG).then(|| is_open_for_writing(dir.as_fd(), &file.name))
    }

    /// Tells whoever knows the file by its name in its directory, or by itself.
    fn tell_closed(&mut self, file: &Close, out: &mut Vec<Report>) {
        self.time = SystemTime::now();
        let own = self.roots_of(file);
        if let Known::Node(id) = self.find(&file.dir, &mut Batch::default(), 0) {
            for hit in self.reach(id).hits.iter() {
                let path = (!hit.served)
                    .then(|| self.matched(hit, &file.name))
                    .flatten();
                match path {
                    Some(path) => {
                        let watch = OsStr::from_bytes(&path);
                        self.tell_whole(hit.root, (watch, b""), file, out);
                    }
                    None if hit.served => {
                        self.tell_whole(hit.root, (&hit.watch, &file.name), file, out);
                    }
                    None => {}
                }
            }
        }
        for root in own {
            let Some(route) = self.roots.get(root).map(|root| root.route.clone()) else {
                continue;
            };
            self.tell_whole(root, (OsStr::from_bytes(&route), b""), file, out);
        }
    }

    /// Roots whose path is the file.
    fn roots_of(&mut self, file: &Close) -> Vec<RootId> {
        if self.files.is_empty() {
            return Vec::new();
        }
        let dir = self.group.open(&self.mounts, &file.dir).ok();
        let name = OsStr::from_bytes(&file.name);
        let open = dir.and_then(|dir| openat(&dir, name, path_flags(), Mode::empty()).ok());
        let key = open.and_then(|file| key_of(file.as_fd()).ok());
        let roots = key.and_then(|key| self.files.get(&*key));
        roots.cloned().unwrap_or_default()
    }

    fn tell_whole(
        &mut self,
        root: RootId,
        (watch, name): (&OsStr, &[u8]),
        file: &Close,
        out: &mut Vec<Report>,
    ) {
        let (bits, origin) = match file.told {
            true => (Mask::COMPLETE, Origin::Kernel),
            false => (Mask::CLOSE_WRITE | Mask::COMPLETE, Origin::Scan),
        };
        let news = News {
            watch,
            name,
            owner: (&file.dir, &file.name),
            kind: Mask(0),
            origin,
            old_path: None,
            actor: file.actor.clone(),
            known: None,
        };
        self.tell(root, &news, |line| line.mask & bits, out);
    }
}
