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
            self.mounts_inside(&mut way, bits);
        }
        self.complete_steps(&mut way);
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
                link: false,
                last,
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
                    return Some(self.missing(here, &name, Vec::new(), real, way));
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
                self.end(way, &spot.inside, next, spot.mount.id);
                return Some(spot);
            }
            let before = std::mem::replace(&mut here, spot);
            passed.push((before, std::mem::replace(&mut real, next)));
        }
        way.at = At::Dir;
        way.identity = key_of(here.fd.as_fd()).ok();
        let inside = here.inside.clone();
        self.end(way, &inside, real, here.mount.id);
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
                link: false,
                last: false,
            });
            name = next;
        }
        further(&mut inside, &name);
        step(&mut real, &name);
        if let Some(last) = way.steps.last_mut() {
            last.last = !last.link;
        }
        self.end(way, &inside, real, here.mount.id);
        here
    }

    fn end(&self, way: &mut Way, inside: &[u8], real: Vec<u8>, mount: u64) {
        way.areas.push(Area {
            dir: inside.into(),
            below: Box::default(),
        });
        way.real = real.into();
        way.mount = mount;
    }

    /// A directory on the way must tell of its names, whatever file system it is on.
    fn guard(&mut self, spot: &Spot, real: &[u8]) {
        if !self.group.is_marked(spot.fs) {
            self.group
                .mark_way(spot.fs, &spot.mount, spot.fd.as_fd(), real, PICTURE);
        }
    }

    /// What is mounted below the path belongs to the tree, too.
    fn mounts_inside(&mut self, way: &mut Way, bits: u64) {
        let below: Vec<(Mount, Vec<u8>)> = self
            .mounts
            .below(&way.real)
            .map(|(mount, rest)| (mount.clone(), rest.to_vec()))
            .collect();
        for (mount, rest) in below {
            let Ok(fd) = open(&*mount.point, path_flags(), Mode::empty()) else {
                continue;
            };
            if fanotify::mount_id(fd.as_fd()).ok() != Some(mount.id) {
                continue; // another one is mounted over it
            }
            let marked = fanotify::fsid(fd.as_fd())
                .and_then(|fs| self.group.mark(fs, &mount, fd.as_fd(), bits).map(|()| fs));
            let mut dir = match marked {
                Ok(fs) => fs.to_vec(),
                Err(e) => {
                    let why = Refusal::mark(&e, &mount.kind);
                    way.lack.get_or_insert(format!(
                        "not below {}: {why}",
                        String::from_utf8_lossy(&mount.point)
                    ));
                    Vec::new()
                }
            };
            dir.extend_from_slice(&mount.root);
            way.areas.push(Area {
                dir: dir.into(),
                below: rest.into(),
            });
        }
    }

    /// The names by which a mounted part of a file system is in it may change, too.
    fn complete_steps(&self, way: &mut Way) {
        let mut more = Vec::new();
        for area in &way.areas {
            let path = &area.dir;
            for at in (8..path.len()).filter(|&at| path.get(at) == Some(&b'/')) {
                let dir: Box<[u8]> = path.get(..at).unwrap_or_default().into();
                let name = path.get(at + 1..).unwrap_or_default();
                let name = name.split(|&b| b == b'/').next().unwrap_or_default();
                let known = |s: &Step| s.dir == dir && *s.name == *name;
                if !way.steps.iter().chain(&more).any(known) {
                    more.push(Step {
                        dir,
                        name: name.into(),
                        link: false,
                        last: false,
                    });
                }
            }
        }
        way.steps.extend(more);
    }

    /// Looks again where the path of a root leads to. True where that has changed.
    pub(super) fn resolve(&mut self, id: RootId) -> bool {
        let Some(root) = self.roots.get(id) else {
            return false;
        };
        let mut probe = Root::new(root.key.clone());
        probe.asked = root.asked;
        let before = (root.way.areas.clone(), root.way.identity.clone());
        let way = match self.look_up(&probe) {
            Ok(way) => way,
            Err(why) => Way {
                lack: Some(why.to_string()),
                ..Way::default()
            },
        };
        let now = (way.areas.clone(), way.identity.clone());
        self.set_way(id, way);
        before != now
    }

    /// Puts a root where `way` leads to.
    pub(super) fn set_way(&mut self, id: RootId, mut way: Way) {
        let root = self.roots.get(id);
        if root.is_some_and(Root::only_dir) && way.at == At::File {
            (way.at, way.identity) = (At::Nothing, None);
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
