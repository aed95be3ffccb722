//! The fanotify group, its marks, and the way from a handle to a directory.
//!
//! A file system is known by the number that the kernel puts before each handle.
//! Directories are opened by their handles through any mount of it, which is open
//! only while that is done: an open mount could not be unmounted.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlink};
use nix::sys::stat::Mode;

use super::mounts::{Mount, Mounts};
use crate::sys::{fanotify as sys, inotify};
use crate::watch::scan::path_flags;

/// The number of a file system.
pub(super) type FsId = [u8; 8];

/// A file system with a mark, or a directory of which has one.
struct System {
    device: Box<[u8]>,
    /// What the kernel was asked for on all of it; 0: nothing.
    mask: u64,
    /// A mount of it, and the handle of that mount's root.
    door: Option<Door>,
    open: Option<OwnedFd>,
}

struct Door {
    mount: Mount,
    top: Box<[u8]>,
}

/// Where a directory is.
pub(super) enum Spot {
    /// The top of what is mounted, and its path in the file system.
    Top(Box<[u8]>),
    /// The handle of what it is in, its name there.
    In(Box<[u8]>, Box<[u8]>),
    /// Nowhere that a path leads to.
    Hidden,
}

pub(super) struct Group {
    fd: OwnedFd,
    systems: HashMap<FsId, System>,
    /// Directories with a mark of their own: on the way to a path, on a file system
    /// that has none.
    ways: HashMap<Box<[u8]>, Vec<u8>>,
}

/// What happens to a file by its name in a directory, but for renames.
const OF_FILES: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MODIFY
    | libc::FAN_CLOSE
    | libc::FAN_ATTRIB
    | libc::FAN_ACCESS
    | libc::FAN_OPEN;

/// The number and the handle of what is open.
pub(super) fn key_of(fd: BorrowedFd<'_>) -> io::Result<Box<[u8]>> {
    let mut key = sys::fsid(fd)?.to_vec();
    sys::handle(fd, c"", &mut key)?;
    Ok(key.into())
}

pub(super) fn fs_of(key: &[u8]) -> Option<FsId> {
    key.first_chunk().copied()
}

impl Group {
    pub fn new(pidfd: bool) -> io::Result<Self> {
        Ok(Self {
            fd: sys::init(pidfd)?,
            systems: HashMap::new(),
            ways: HashMap::new(),
        })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Marks held.
    pub fn marks(&self) -> usize {
        self.ways.len() + self.systems.values().filter(|s| s.mask != 0).count()
    }

    /// Records that wait.
    pub fn queued(&self) -> u64 {
        sys::queued(self.fd.as_fd()).unwrap_or(0)
    }

    /// Asks for at least `mask` of the whole file system that `fd` is on.
    pub fn mark(
        &mut self,
        fs: FsId,
        mount: &Mount,
        fd: BorrowedFd<'_>,
        mask: u64,
    ) -> io::Result<()> {
        let system = self.system(fs, mount);
        if system.mask & mask == mask {
            return Ok(());
        }
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
        let asked = system.mask | mask;
        sys::mark(self.fd.as_fd(), flags, mask, fd)?;
        if let Some(system) = self.systems.get_mut(&fs) {
            system.mask = asked;
        }
        Ok(())
    }

    fn system(&mut self, fs: FsId, mount: &Mount) -> &System {
        self.systems.entry(fs).or_insert_with(|| System {
            device: mount.device.clone(),
            mask: 0,
            door: None,
            open: None,
        })
    }

    /// Marks again what was unmounted as a whole and mounted again: its marks have gone with
    /// it. Gives those file systems.
    pub fn renew(&mut self, mounts: &Mounts, changed: &[Mount]) -> Vec<FsId> {
        for mount in changed {
            let system = mount.fs().and_then(|fs| self.systems.get_mut(&fs));
            if let Some(system) = system {
                system.device.clone_from(&mount.device);
            }
        }
        let marked = self.systems.iter().filter(|(_, s)| s.mask != 0);
        let marked: Vec<_> = marked.map(|(fs, system)| (*fs, system.mask)).collect();
        let (remove, add) = (libc::FAN_MARK_REMOVE, libc::FAN_MARK_ADD);
        let mut lost = |(fs, mask): (FsId, u64)| {
            let door = self.door(mounts, fs)?;
            let mark = |flags: u32, mask| {
                let flags = flags | libc::FAN_MARK_FILESYSTEM;
                sys::mark(self.fd.as_fd(), flags, mask, door.as_fd())
            };
            // What is not asked for can be taken back from a mark that is there.
            let unused = OF_FILES & !mask;
            let gone = mark(remove, unused & unused.wrapping_neg()).err()?;
            let gone = gone.raw_os_error() == Some(libc::ENOENT);
            (gone && mark(add, mask).is_ok()).then_some(fs)
        };
        marked.into_iter().filter_map(&mut lost).collect()
    }

    pub fn is_marked(&self, fs: FsId) -> bool {
        self.systems.get(&fs).is_some_and(|s| s.mask != 0)
    }

    /// Marks a directory on the way to a path.
    pub fn mark_way(
        &mut self,
        fs: FsId,
        mount: &Mount,
        fd: BorrowedFd<'_>,
        path: &[u8],
        mask: u64,
    ) {
        let Ok(key) = key_of(fd) else { return };
        if self.ways.contains_key(&key) {
            return;
        }
        self.system(fs, mount);
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_ONLYDIR;
        // Where it cannot be marked (proc), its names do not change either.
        if sys::mark(self.fd.as_fd(), flags, mask, fd).is_ok() {
            self.ways.insert(key, path.to_vec());
        }
    }

    /// Has the changes of files in a directory left out.
    ///
    /// # Errors
    /// `EINVAL` before Linux 6.0; the directory is gone.
    pub fn ignore(&mut self, mounts: &Mounts, key: &[u8]) -> io::Result<()> {
        let dir = self.open(mounts, key)?;
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_EVICTABLE;
        self.mark_ignored(flags, &dir, key)
    }

    /// Takes [`Self::ignore`] back.
    ///
    /// # Errors
    /// The mark may be there still.
    pub fn heed(&mut self, mounts: &Mounts, key: &[u8]) -> io::Result<()> {
        let done = match self.open(mounts, key) {
            Ok(dir) => self.mark_ignored(libc::FAN_MARK_REMOVE, &dir, key),
            Err(error) => Err(error),
        };
        match done {
            // The directory is gone, its file system is, or the kernel took the mark back.
            Err(e) if e.raw_os_error() == Some(libc::ESTALE) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn mark_ignored(&self, flags: u32, dir: &OwnedFd, key: &[u8]) -> io::Result<()> {
        let asked = fs_of(key).and_then(|fs| self.systems.get(&fs));
        let mask = asked.map_or(0, |system| system.mask) & OF_FILES;
        if mask == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = flags | libc::FAN_MARK_IGNORE_SURV;
        let mask = mask | libc::FAN_EVENT_ON_CHILD;
        sys::mark(self.fd.as_fd(), flags, mask, dir.as_fd())
    }

    /// Gives up the marks of directories whose paths `needed` does not know.
    pub fn keep_ways(&mut self, mask: u64, needed: impl Fn(&[u8]) -> bool) {
        let gone: Vec<_> = self
            .ways
            .iter()
            .filter(|(_, path)| !needed(path))
            .map(|(k, p)| (k.clone(), p.clone()))
            .collect();
        for (key, path) in gone {
            self.ways.remove(&key);
            let place = if path.is_empty() { b"/" } else { &*path };
            if let Ok(fd) = open(place, path_flags(), Mode::empty())
                && key_of(fd.as_fd()).is_ok_and(|k| k == key)
            {
                let _ = sys::mark(self.fd.as_fd(), libc::FAN_MARK_REMOVE, mask, fd.as_fd());
            }
        }
    }

    /// Asks for what `needed` says of each file system, and no more.
    pub fn narrow(&mut self, mounts: &Mounts, needed: impl Fn(FsId) -> u64) -> Vec<FsId> {
        let mut gone = Vec::new();
        let ids: Vec<FsId> = self.systems.keys().copied().collect();
        for fs in ids {
            let want = needed(fs);
            let Some(system) = self.systems.get(&fs) else {
                continue;
            };
            let extra = system.mask & !want;
            let in_use = want != 0 || self.ways.keys().any(|k| k.starts_with(&fs));
            if extra != 0 {
                let flags = libc::FAN_MARK_REMOVE | libc::FAN_MARK_FILESYSTEM;
                if let Some(fd) = self.door(mounts, fs) {
                    let _ = sys::mark(self.fd.as_fd(), flags, extra, fd.as_fd());
                }
            }
            if let Some(system) = self.systems.get_mut(&fs) {
                system.mask = want;
            }
            if !in_use {
                self.systems.remove(&fs);
                gone.push(fs);
            }
        }
        self.close();
        gone
    }

    /// Closes the mounts that were opened.
    pub fn close(&mut self) {
        for system in self.systems.values_mut() {
            system.open = None;
        }
    }

    /// The table of mounts has changed: doors are looked for anew. Gives the
    /// file systems whose door is another one now.
    pub fn forget_doors(&mut self, mounts: &Mounts) -> Vec<FsId> {
        let mut changed = Vec::new();
        for (fs, system) in &mut self.systems {
            let gone = |door: &Door| !mounts.table.contains(&door.mount);
            if system.door.as_ref().is_some_and(gone) {
                system.door = None;
                changed.push(*fs);
            }
            system.open = None;
        }
        changed
    }

    /// A mount of the file system, open; the whole of it rather than a part.
    fn door(&mut self, mounts: &Mounts, fs: FsId) -> Option<OwnedFd> {
        let system = self.systems.get_mut(&fs)?;
        if system.open.is_none() {
            let known = system.door.as_ref().map(|d| &d.mount);
            let of = |m: &&Mount| m.device == system.device;
            let mut all: Vec<&Mount> = mounts.table.iter().filter(of).collect();
            all.sort_by_key(|m| (Some(*m) != known, m.root.len()));
            let found = all.into_iter().find_map(|m| Some((m, open_mount(m, fs)?)));
            let (mount, fd) = found?;
            if known != Some(mount) {
                let top = key_of(fd.as_fd()).ok()?;
                let mount = mount.clone();
                system.door = Some(Door { mount, top });
            }
            system.open = Some(fd);
        }
        system.open.as_ref()?.try_clone().ok()
    }

    /// Opens what a handle names, as a path descriptor.
    pub fn open(&mut self, mounts: &Mounts, key: &[u8]) -> io::Result<OwnedFd> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let fs = fs_of(key).ok_or_else(missing)?;
        self.door(mounts, fs).ok_or_else(missing)?;
        let door = self.systems.get(&fs).and_then(|s| s.open.as_ref());
        sys::open_handle(
            door.ok_or_else(missing)?.as_fd(),
            key.get(8..).unwrap_or_default(),
        )
    }

    /// Where the directory that a handle names is now.
    ///
    /// # Errors
    /// `ESTALE` and `NotFound`: it is gone, or cannot be reached.
    pub fn spot(&mut self, mounts: &Mounts, key: &[u8]) -> io::Result<Spot> {
        let fd = self.open(mounts, key)?;
        let fs = fs_of(key).unwrap_or_default();
        let door = self.systems.get(&fs).and_then(|s| s.door.as_ref());
        if let Some(door) = door.filter(|d| *d.top == *key) {
            return Ok(Spot::Top(door.mount.root.clone()));
        }
        if inotify::stat(fd.as_fd(), c"")?.links == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let path = link_of(&fd)?;
        let Some(slash) = path.iter().rposition(|&b| b == b'/') else {
            return Ok(Spot::Hidden);
        };
        let name = path.get(slash + 1..);
        let parent = match open_in_mount(fd.as_fd(), b"..") {
            Ok(up) => key_of(up.as_fd())?,
            Err(nix::Error::ENOENT) => return Ok(Spot::Hidden),
            Err(nix::Error::EXDEV) => self.parent_beneath(key)?,
            Err(e) => return Err(e.into()),
        };
        Ok(Spot::In(parent, name.unwrap_or_default().into()))
    }

    /// What a directory is in, where something is mounted over that. Another mount may
    /// show it all the same: podman binds its directory of layers to itself.
    fn parent_beneath(&self, key: &[u8]) -> io::Result<Box<[u8]>> {
        let door = fs_of(key).and_then(|fs| self.systems.get(&fs)?.open.as_ref());
        let dir = open_beneath(door, key)?;
        let up = openat(&dir, "..", path_flags() | OFlag::O_DIRECTORY, Mode::empty())?;
        key_of(up.as_fd())
    }

    /// The handle of the directory `name` in `dir`, which is open and has the handle
    /// `key`, whatever is mounted on it.
    pub fn child(&self, dir: BorrowedFd<'_>, key: &[u8], name: &[u8]) -> io::Result<Box<[u8]>> {
        match open_in_mount(dir, name) {
            Err(nix::Error::EXDEV) => {
                let door = fs_of(key).and_then(|fs| self.systems.get(&fs)?.open.as_ref());
                let bare = open_beneath(door, key)?;
                key_of(open_in_mount(bare.as_fd(), name)?.as_fd())
            }
            open => key_of(open?.as_fd()),
        }
    }
}

/// Opens what a handle names as a file system has it, with nothing mounted in it.
fn open_beneath(door: Option<&OwnedFd>, key: &[u8]) -> io::Result<OwnedFd> {
    let door = door.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let bare = sys::clone_mount(door.as_fd())?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY;
    let mount = openat(&bare, ".", flags, Mode::empty())?;
    sys::open_handle(mount.as_fd(), key.get(8..).unwrap_or_default())
}

/// Opens the directory `name` in `dir`, if nothing is mounted on it: that could not be
/// unmounted meanwhile, by somebody who does it just then.
///
/// # Errors
/// `EXDEV`: something is.
fn open_in_mount(dir: BorrowedFd<'_>, name: &[u8]) -> nix::Result<OwnedFd> {
    let flags = path_flags() | OFlag::O_DIRECTORY;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV);
    openat2(dir, name, how)
}

fn link_of(fd: &OwnedFd) -> io::Result<Vec<u8>> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(readlink(path.as_str())?.into_vec())
}

impl Mount {
    /// A path descriptor of its top, if its place leads to it and not to one over it.
    pub fn top(&self) -> Option<OwnedFd> {
        let place = if self.point.is_empty() {
            b"/"
        } else {
            &*self.point
        };
        let path = open(place, path_flags(), Mode::empty()).ok()?;
        (sys::mount_id(path.as_fd()).ok()? == self.id).then_some(path)
    }

    /// The file system that it shows.
    pub fn fs(&self) -> Option<FsId> {
        sys::fsid(self.top()?.as_fd()).ok()
    }
}

/// Opens a mount of a file system.
fn open_mount(mount: &Mount, fs: FsId) -> Option<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let path = mount.top()?;
    if sys::fsid(path.as_fd()).ok()? != fs {
        return None;
    }
    // Not a bind mount of a file.
    openat(&path, ".", flags | OFlag::O_DIRECTORY, Mode::empty()).ok()
}
