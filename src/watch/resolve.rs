//! From a path as written to what is there now, and what must be guarded so that
//! we hear when that is no longer true.
//!
//! On the way: every directory for being moved or removed, every link for being
//! replaced. At the end: the directory that holds the last component, for its
//! name; for a path that does not exist, the deepest directory that does. A
//! directory can only be removed when it is empty, so names are watched at the end
//! of the way alone and the noise of other names stays small.
//!
//! Watch first, then look again: the way is walked until two walks agree.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;

use super::Report;
use super::found::How;
use super::inotify::Inotify;
use super::limits::is_limit;
use super::root::{File, Link, RootId, State};
use super::scan::path_flags;
use crate::sys::inotify::{self as sys, Identity, Stat};
use crate::table::Mask;

/// As the kernel: more links than this on one way are a loop.
const MOST_LINKS: u32 = 40;
/// Walks before a way that changes all the time is taken as it is.
const MOST_WALKS: u32 = 8;

/// What a path leads to.
enum End {
    Dir(OwnedFd, Stat),
    /// Its directory, its name there, itself.
    File(OwnedFd, Vec<u8>, OwnedFd, Stat),
    /// Nothing, or something that may not be looked at.
    Nothing,
}

/// One walk along a path.
struct Walk {
    root: RootId,
    links: Vec<(Link, Vec<u8>)>,
    leaf: Option<(i32, Box<[u8]>)>,
    /// Identity of everything met.
    trail: Vec<Identity>,
    /// Guards that could not be had.
    refused: Option<std::io::Error>,
    /// Why it is not known whether anything is there.
    barred: Option<nix::Error>,
    /// Real path of where the walk is.
    path: Vec<u8>,
}

/// A guard of a name that asks for no events of the thing itself may be shared
/// with lines that exclude unlinked files.
const EXCL: u32 = Mask::EXCL_UNLINK.0;
const MOVES: u32 = Mask::MOVE_SELF.0 | Mask::DELETE_SELF.0 | EXCL;
pub(super) const REPLACED: u32 = MOVES | Mask::ATTRIB.0;
const GOES: u32 = Mask::DELETE.0 | Mask::MOVED_TO.0 | EXCL;
const COMES: u32 = Mask::CREATE.0 | Mask::MOVED_TO.0 | EXCL;

impl Walk {
    /// It goes no further.
    fn ends(&mut self, error: nix::Error) -> End {
        self.barred = bars(error).then_some(error);
        End::Nothing
    }
}

impl Inotify {
    /// Looks at the path of `root` again and serves what is there.
    pub(super) fn resolve(&mut self, id: RootId, how: How, out: &mut Vec<Report>) {
        let Some(root) = self.roots.get(id) else {
            return;
        };
        if root.key.path.pattern && root.pattern.is_none() {
            return self.tell_bad_pattern(id, out);
        }
        let mut walk = Walk {
            root: id,
            links: Vec::new(),
            leaf: None,
            trail: Vec::new(),
            refused: None,
            barred: None,
            path: Vec::new(),
        };
        let mut end = self.walk(&mut walk);
        for _ in 0..MOST_WALKS {
            let before = std::mem::take(&mut walk.trail);
            end = self.walk(&mut walk);
            if walk.trail == before {
                break;
            }
        }
        let old_leaf = self.guard_way(id, &mut walk, &end);
        if let Some(root) = self.roots.get_mut(id) {
            root.real = std::mem::take(&mut walk.path).into();
        }
        match end {
            End::Dir(fd, stat) => self.serve_dir(id, fd, &stat, how, out),
            End::File(dir, name, fd, stat) => {
                self.serve_file(
                    id,
                    (dir, &name),
                    fd,
                    &stat,
                    old_leaf.as_ref() == walk.leaf.as_ref(),
                    how,
                    out,
                );
            }
            // It keeps what it has until that can be looked at.
            End::Nothing if walk.barred.is_some_and(|error| is_limit(error as i32)) => {}
            End::Nothing => self.serve_nothing(id),
        }
        if let Some(e) = walk.refused {
            self.refused_guard(id, &e);
        }
        if let Some(error) = walk.barred {
            self.refused_root(id, &error.into());
        }
        self.flag_mounts(id);
    }

    /// Puts the new guards in the place of the old; gives the old leaf.
    fn guard_way(&mut self, id: RootId, walk: &mut Walk, end: &End) -> Option<(i32, Box<[u8]>)> {
        let root = self.roots.get(id)?;
        if matches!(end, End::Dir(..)) || root.only_dir() {
            walk.leaf = None;
        }
        let mut links: Vec<Link> = Vec::new();
        for (link, path) in std::mem::take(&mut walk.links) {
            self.link(id, &link, &path);
            match links
                .iter_mut()
                .find(|l| l.wd == link.wd && l.name == link.name)
            {
                Some(known) => known.mask |= link.mask,
                None => links.push(link),
            }
        }
        let root = self.roots.get_mut(id)?;
        // The file's own watch stays until it is known whether it is the same file.
        if let State::File(File {
            inode: Some(inode), ..
        }) = root.state
        {
            links.extend(root.links.iter().filter(|l| l.wd == inode).cloned());
        }
        let old_leaf = std::mem::replace(&mut root.leaf, walk.leaf.clone());
        let old = std::mem::replace(&mut root.links, links.clone());
        for link in &old {
            self.unlink(id, link, &links);
        }
        old_leaf
    }

    /// Walks the path once and guards it.
    fn walk(&mut self, walk: &mut Walk) -> End {
        let Some(root) = self.roots.get(walk.root) else {
            return End::Nothing;
        };
        let follow = !root.key.flags.intersects(Mask::DONT_FOLLOW);
        let only_dir = root.only_dir();
        let leaf_mask = if only_dir {
            GOES | COMES
        } else {
            root.leaf_mask()
        };
        let mut todo = components(&root.route);
        let mut links = 0;
        walk.path.clear();
        walk.leaf = None;
        walk.barred = None;
        let start = || {
            open(
                "/",
                OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
                Mode::empty(),
            )
        };
        let mut here = match start() {
            Ok(fd) => fd,
            Err(error) => return walk.ends(error),
        };
        // The directory and the name by which `here` was reached.
        let mut above: Option<(OwnedFd, Vec<u8>, Vec<u8>)> = None;
        while let Some(name) = todo.pop() {
            let last = todo.is_empty();
            let mask = if last { leaf_mask } else { COMES };
            let found = match openat(&here, name.as_slice(), path_flags(), Mode::empty()) {
                Err(nix::Error::ENOENT) => {
                    let wd = self.guard(walk, here.as_fd(), Some(&name), mask);
                    walk.leaf = wd.filter(|_| last).map(|wd| (wd, name.clone().into()));
                    // It may have come before the guard was there.
                    openat(&here, name.as_slice(), path_flags(), Mode::empty())
                }
                other => other,
            };
            let fd = match found {
                Ok(fd) => fd,
                Err(error) => {
                    self.guard_above(walk, above.as_ref());
                    return walk.ends(error);
                }
            };
            let stat = match sys::stat(fd.as_fd(), c"") {
                Ok(stat) => stat,
                Err(_) => return End::Nothing,
            };
            walk.trail.push(stat.identity());
            if stat.kind() == libc::S_IFLNK && (!last || follow) {
                links += 1;
                self.guard(walk, fd.as_fd(), None, REPLACED);
                let target = match readlinkat(&fd, "") {
                    Ok(target) if links <= MOST_LINKS => target.into_vec(),
                    Ok(_) => return End::Nothing,
                    Err(_) => return End::Nothing,
                };
                if target.first() == Some(&b'/') {
                    walk.path.clear();
                    match start() {
                        Ok(fd) => here = fd,
                        Err(error) => return walk.ends(error),
                    }
                }
                todo.extend(components(&target));
            } else if stat.kind() == libc::S_IFDIR {
                let parent = walk.path.clone();
                step(&mut walk.path, &name);
                self.guard(walk, fd.as_fd(), None, MOVES);
                above = Some((std::mem::replace(&mut here, fd), name, parent));
            } else if last {
                let wd = self.guard(walk, here.as_fd(), Some(&name), leaf_mask);
                walk.leaf = wd.map(|wd| (wd, name.clone().into()));
                step(&mut walk.path, &name);
                return End::File(here, name, fd, stat);
            } else {
                self.guard(
                    walk,
                    here.as_fd(),
                    Some(&name),
                    GOES | COMES | Mask::MOVED_FROM.0,
                );
                self.guard_above(walk, above.as_ref());
                return End::Nothing;
            }
        }
        self.guard_above(walk, above.as_ref());
        match sys::stat(here.as_fd(), c"") {
            Ok(stat) => End::Dir(here, stat),
            Err(_) => End::Nothing,
        }
    }

    /// The deepest directory may be removed, or another one put in its place.
    fn guard_above(&mut self, walk: &mut Walk, above: Option<&(OwnedFd, Vec<u8>, Vec<u8>)>) {
        let Some((dir, name, path)) = above else {
            return;
        };
        let here = std::mem::replace(&mut walk.path, path.clone());
        self.guard(walk, dir.as_fd(), Some(name), GOES);
        walk.path = here;
    }

    /// Adds one guard to a walk.
    fn guard(
        &mut self,
        walk: &mut Walk,
        fd: BorrowedFd<'_>,
        name: Option<&[u8]>,
        mask: u32,
    ) -> Option<i32> {
        match self.kernel.watch(fd, mask) {
            Ok(wd) => {
                let path = if walk.path.is_empty() {
                    b"/".to_vec()
                } else {
                    walk.path.clone()
                };
                walk.links.push((
                    Link {
                        wd,
                        name: name.map(Into::into),
                        mask,
                    },
                    path,
                ));
                Some(wd)
            }
            Err(e) => {
                walk.refused = Some(e);
                None
            }
        }
    }
}

/// True for an error that does not say that nothing is there: a directory on the way that
/// may not be searched, a limit.
fn bars(error: nix::Error) -> bool {
    error == nix::Error::EACCES || is_limit(error as i32)
}

/// The components of a path, the last one first.
pub(super) fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path
        .split(|&b| b == b'/')
        .filter(|c| !c.is_empty() && *c != b".");
    let mut all: Vec<_> = parts.map(<[u8]>::to_vec).collect();
    all.reverse();
    all
}

/// The real path one component further.
pub(super) fn step(path: &mut Vec<u8>, name: &[u8]) {
    if name == b".." {
        let end = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
        path.truncate(end);
    } else {
        path.push(b'/');
        path.extend_from_slice(name);
    }
}
