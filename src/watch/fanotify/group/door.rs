//! Directories by their handles: opened through a door, which is any mount of their file
//! system, and where they are.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlink};
use nix::sys::stat::Mode;

use super::super::mounts::{Mount, Mounts};
use super::{FsId, Group, fs_of, key_of};
use crate::sys::{fanotify as sys, inotify};
use crate::watch::scan::path_flags;

pub(super) struct Door {
    pub mount: Mount,
    pub top: Box<[u8]>,
}

/// Where a directory is.
pub(in super::super) enum Spot {
    /// The top of what is mounted, and its path in the file system.
    Top(Box<[u8]>),
    /// The handle of what it is in, its name there.
    In(Box<[u8]>, Box<[u8]>),
    /// Nowhere that a path leads to.
    Hidden,
}

impl Group {
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
    pub(super) fn door(&mut self, mounts: &Mounts, fs: FsId) -> Option<OwnedFd> {
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
