//! From a path as written to file systems and the paths in them, as it is now.
//! Where it ends before its last name, the rest of it is taken as it is written:
//! directories that are made later need no more looking.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;

use super::Fanotify;
use super::group::{FsId, key_of};
use super::mounts::Mount;
use super::refuse::Refusal;
use super::root::{Area, At, PICTURE, Root, RootId, Step, Way};
use crate::sys::{fanotify, inotify};
use crate::watch::resolve::{components, step};
use crate::watch::scan::path_flags;

/// As the kernel: more links than this on one way are a loop.
const MOST_LINKS: u32 = 40;

/// A directory on the way.
struct Spot {
    fd: OwnedFd,
    fs: FsId,
    mount: Mount,
    /// Number of the file system, and the path in it.
    inside: Vec<u8>,
}

impl Spot {
    /// How much of `inside` is the top of the mount.
    fn top(&self) -> usize {
        8 + self.mount.root.len()
    }
}

impl Fanotify {
    /// Where `fd` is, which is at `real`.
    fn spot(&self, fd: OwnedFd, real: &[u8]) -> Option<Spot> {
        let mount = self
            .mounts
            .get(fanotify::mount_id(fd.as_fd()).ok()?)?
            .clone();
        let fs = fanotify::fsid(fd.as_fd()).ok()?;
        let mut inside = fs.to_vec();
        inside.extend(mount.inside(real)?);
        Some(Spot {
            fd,
            fs,
            mount,
            inside,
        })
    }

    /// Looks where the path of `root` leads to, and marks what is there.
    ///
    /// # Errors
    /// The file system of the path cannot be marked.
    pub(super) fn look_up(&mut self, root: &Root) -> Result<Way, Refusal> {
        let mut way = Way::default();
        let mut passed = Vec::new();
        let Some(top) = self.walk(root, &mut way, &mut passed) else {
            return Ok(way);
        };
        let bits = PICTURE | root.kernel_bits();
        self.group
            .mark(top.fs, &top.mount, top.fd.as_fd(), bits)
            .map_err(|e| Refusal::mark(&e, &top.mount.kind))?;
        self.try_handle(&top)?;
        for (spot, real) in &passed {
            self.guard(spot, real);
        }
        if root.descends() && way.at != At::File {
            let known = &root.way.areas;
            self.mounts_inside(&mut way, known, bits);
        }
        way.complete_steps();
        Ok(way)
    }

    /// Handles can be opened at all.
    fn try_handle(&mut self, top: &Spot) -> Result<(), Refusal> {
        let opened = key_of(top.fd.as_fd()).and_then(|key| self.group.open(&self.mounts, &key));
        match opened {
            Err(e) if e.raw_os_error() == Some(libc::EPERM) => Err(Refusal::Handles),
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                Err(Refusal::mark(&e, &top.mount.kind))
            }
            _ => Ok(()),
        }
    }

    /// Walks the path. Gives the deepest directory on it, or that itself.
    fn walk(&self, root: &Root, way: &mut Way, passed: &mut Vec<(Spot, Vec<u8>)>) -> Option<Spot> {
        let start = || open("/", path_flags(), Mode::empty()).ok();
        let mut real: Vec<u8> = Vec::new();
        let mut todo = components(&root.route);
        let mut here = self.spot(start()?, b"")?;
        let mut links = 0;
        while let Some(name) = todo.pop() {
            let last = todo.is_empty();
            let dir: Box<[u8]> = here.inside.as_slice().into();
            way.steps.push(Step {
                dir,
                name: name.as_slice().into(),
                top: here.top(),
                link: false,
                last,
                inner: false,
            });
            let found = openat(&here.fd, name.as_slice(), path_flags(), Mode::empty());
            let Ok(fd) = found else {
                return Some(self.missing(here, &name, todo, real, way));
            };
            let kind = inotify::stat(fd.as_fd(), c"").ok()?.kind();
            if kind == libc::S_IFLNK && (!last || root.follows()) {
                if let Some(step) = way.steps.last_mut() {
                    (step.link, step.last) = (true, false);
                }
                links += 1;
                let target = readlinkat(&fd, "").ok().map(OsStringExt::into_vec);
                let Some(target) = target.filter(|_| links <= MOST_LINKS) else {
                    return Some(self.missing(here, &name, todo, real, way));
                };
                if target.first() == Some(&b'/') {
                    let top = self.spot(start()?, b"")?;
                    let before = std::mem::replace(&mut here, top);
                    passed.push((before, std::mem::take(&mut real)));
                }
                todo.extend(components(&target));
                continue;
            }
            let mut next = real.clone();
            step(&mut next, &name);
            if kind != libc::S_IFDIR && !last {
                return Some(self.missing(here, &name, todo, real, way));
            }
            let key = key_of(fd.as_fd()).ok();
            let Some(spot) = self.spot(fd, &next) else {
                return Some(self.missing(here, &name, todo, real, way));
            };
            if kind != libc::S_IFDIR {
                way.at = At::File;
                way.identity = key;
                self.end(way, &spot.inside, next, &spot.mount);
                return Some(spot);
            }
            let before = std::mem::replace(&mut here, spot);
            passed.push((before, std::mem::replace(&mut real, next)));
        }
        way.at = At::Dir;
        way.identity = key_of(here.fd.as_fd()).ok();
        let inside = here.inside.clone();
        self.end(way, &inside, real, &here.mount);
        Some(here)
    }

    /// The rest of a path that leads nowhere yet.
    fn missing(
        &self,
        here: Spot,
        name: &[u8],
        todo: Vec<Vec<u8>>,
        mut real: Vec<u8>,
        way: &mut Way,
    ) -> Spot {
        let mut inside = here.inside.clone();
        let mut name = name.to_vec();
        for next in todo.into_iter().rev() {
            further(&mut inside, &name);
            step(&mut real, &name);
            way.steps.push(Step {
                dir: inside.as_slice().into(),
                name: next.as_slice().into(),
                top: here.top(),
                link: false,
                last: false,
                inner: false,
            });
            name = next;
        }
        further(&mut inside, &name);
        step(&mut real, &name);
        if let Some(last) = way.steps.last_mut() {
            last.last = !last.link;
        }
        self.end(way, &inside, real, &here.mount);
        here
    }

    fn end(&self, way: &mut Way, inside: &[u8], real: Vec<u8>, mount: &Mount) {
        way.areas.push(Area {
            dir: inside.into(),
            top: 8 + mount.root.len(),
            mount: mount.id,
            parent: mount.parent,
            ..Area::default()
        });
        way.real = real.into();
        way.mount = mount.id;
    }

    /// A directory on the way must tell of its names, whatever file system it is on.
    fn guard(&mut self, spot: &Spot, real: &[u8]) {
        if !self.group.is_marked(spot.fs) {
            self.group
                .mark_way(spot.fs, &spot.mount, spot.fd.as_fd(), real, PICTURE);
        }
    }

    /// Looks again where the path of a root leads to.
    pub(super) fn resolve(&mut self, id: RootId) {
        let Some(root) = self.roots.get(id) else {
            return;
        };
        let mut probe = Root::new(root.key.clone());
        probe.asked = root.asked;
        probe.way.areas.clone_from(&root.way.areas);
        let way = match self.look_up(&probe) {
            Ok(way) => way,
            Err(why) => Way {
                lack: Some(why.to_string()),
                ..Way::default()
            },
        };
        self.set_way(id, way);
    }

    /// Puts a root where `way` leads to.
    pub(super) fn set_way(&mut self, id: RootId, mut way: Way) {
        let root = self.roots.get(id);
        if root.is_some_and(Root::only_dir) && way.at == At::File {
            (way.at, way.identity) = (At::Nothing, None);
        }
        if root.is_some_and(|r| r.way == way) {
            return; // what is known of directories goes on to be true
        }
        self.forget_file(id);
        if let (At::File, Some(file)) = (way.at, &way.identity) {
            self.files.entry(file.clone()).or_default().push(id);
        }
        self.roots.settle(id, way);
        if let Some(root) = self.roots.get_mut(id) {
            root.settled = inotify::file_clock();
        }
        self.tree.touch();
        self.tree.forget_foreign();
        self.hear_all();
    }

    pub(super) fn forget_file(&mut self, id: RootId) {
        let file = self.roots.get(id).and_then(|r| r.way.identity.clone());
        if let Some(file) = file
            && let Some(users) = self.files.get_mut(&file)
        {
            users.retain(|&r| r != id);
            if users.is_empty() {
                self.files.remove(&file);
            }
        }
    }
}

/// The path in a file system one name further.
fn further(inside: &mut Vec<u8>, name: &[u8]) {
    let mut path = inside.split_off(8.min(inside.len()));
    step(&mut path, name);
    inside.extend(path);
}

/// What is open is what `key` says.
pub(super) fn is(fd: BorrowedFd<'_>, key: &[u8]) -> io::Result<bool> {
    Ok(*key_of(fd)? == *key)
}

pub(super) fn dir_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK
}
