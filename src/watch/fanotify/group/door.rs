//! Directories by their handles: opened through a door, which is a mount of their file
//! system, and where they are. A door shows the way up only from what is in it, and a
//! container has several parts of the machine's disk and never all of it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlink};
use nix::sys::stat::Mode;

use super::super::mounts::{Mount, Mounts};
use super::super::reach::within;
use super::{FsId, Group, fs_of, key_of};
use crate::sys::{fanotify as sys, inotify};
use crate::watch::scan::path_flags;

pub(super) struct Door {
    mount: Mount,
    /// The handle of its root.
    top: Box<[u8]>,
    open: Option<OwnedFd>,
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
        let systems = self.systems.values_mut();
        for door in systems.flat_map(|system| &mut system.doors) {
            door.open = None;
        }
    }

    /// The table of mounts has changed: doors are looked for anew. Gives the file systems
    /// that have lost one.
    pub fn forget_doors(&mut self, mounts: &Mounts) -> Vec<FsId> {
        self.close();
        let mut changed = Vec::new();
        for (fs, system) in &mut self.systems {
            let before = system.doors.len();
            system.doors.retain(|d| mounts.table.contains(&d.mount));
            system.looked = false;
            if system.doors.len() < before {
                changed.push(*fs);
            }
        }
        changed
    }

    /// How many mounts it takes to reach all of a file system that is mounted: one, if
    /// that is the whole of it.
    fn find_doors(&mut self, mounts: &Mounts, fs: FsId) -> usize {
        let Some(system) = self.systems.get_mut(&fs) else {
            return 0;
        };
        if !system.looked {
            // What is mounted over one by now hides it.
            system.doors.retain_mut(|door| door.is_open(fs));
            let of = |m: &&Mount| m.device == system.device;
            let mut all: Vec<&Mount> = mounts.table.iter().filter(of).collect();
            all.sort_by_key(|m| m.root.len());
            for mount in all {
                let shows = |door: &Door| within(&mount.root, &door.mount.root);
                if !system.doors.iter().any(shows) {
                    system.doors.extend(Door::new(mount, fs));
                }
            }
            system.looked = !system.doors.is_empty();
        }
        system.doors.len()
    }

    /// The door `at` of those that were found.
    fn door(&mut self, fs: FsId, at: usize) -> Option<&Door> {
        let door = self.systems.get_mut(&fs)?.doors.get_mut(at)?;
        door.is_open(fs).then_some(door)
    }

    /// A mount of the file system, open.
    pub(super) fn any_door(&mut self, mounts: &Mounts, fs: FsId) -> Option<BorrowedFd<'_>> {
        let found = 0..self.find_doors(mounts, fs);
        let at = found.into_iter().find(|&at| self.door(fs, at).is_some())?;
        Some(self.door(fs, at)?.open.as_ref()?.as_fd())
    }

    /// Opens what a handle names, as a path descriptor.
    pub fn open(&mut self, mounts: &Mounts, key: &[u8]) -> io::Result<OwnedFd> {
        let fs = fs_of(key).ok_or_else(missing)?;
        let door = self.any_door(mounts, fs).ok_or_else(missing)?;
        sys::open_handle(door, handle_of(key))
    }

    /// Where the directory that a handle names is now.
    ///
    /// # Errors
    /// `ESTALE` and `NotFound`: it is gone, or cannot be reached.
    pub fn spot(&mut self, mounts: &Mounts, key: &[u8]) -> io::Result<Spot> {
        let fs = fs_of(key).ok_or_else(missing)?;
        let mut hidden = Err(missing());
        for at in 0..self.find_doors(mounts, fs) {
            let Some(door) = self.door(fs, at) else {
                continue;
            };
            match door.spot(key)? {
                Spot::Hidden => hidden = Ok(Spot::Hidden),
                place => return Ok(place),
            }
        }
        hidden
    }

    /// The handle of the directory `name` in `dir`, which is open and has the handle
    /// `key`, whatever is mounted on it.
    pub fn child(
        &mut self,
        mounts: &Mounts,
        (dir, key): (BorrowedFd<'_>, &[u8]),
        name: &[u8],
    ) -> io::Result<Box<[u8]>> {
        match open_in_mount(dir, name) {
            Err(nix::Error::EXDEV) => {
                let fs = fs_of(key).ok_or_else(missing)?;
                let door = self.any_door(mounts, fs).ok_or_else(missing)?;
                let bare = open_beneath(door, key)?;
                key_of(open_in_mount(bare.as_fd(), name)?.as_fd())
            }
            open => key_of(open?.as_fd()),
        }
    }
}

impl Door {
    fn new(mount: &Mount, fs: FsId) -> Option<Self> {
        let open = open_mount(mount, fs)?;
        Some(Self {
            mount: mount.clone(),
            top: key_of(open.as_fd()).ok()?,
            open: Some(open),
        })
    }

    /// Opens it, if it is not.
    fn is_open(&mut self, fs: FsId) -> bool {
        if self.open.is_none() {
            self.open = open_mount(&self.mount, fs);
        }
        self.open.is_some()
    }

    /// Where a directory is; hidden, too, if it is not in what this mount shows.
    fn spot(&self, key: &[u8]) -> io::Result<Spot> {
        let door = self.open.as_ref().ok_or_else(missing)?.as_fd();
        let fd = sys::open_handle(door, handle_of(key))?;
        if *self.top == *key {
            return Ok(Spot::Top(self.mount.root.clone()));
        }
        if inotify::stat(fd.as_fd(), c"")?.links == 0 {
            return Err(missing());
        }
        let path = link_of(&fd)?;
        let Some(slash) = path.iter().rposition(|&b| b == b'/') else {
            return Ok(Spot::Hidden);
        };
        let name = path.get(slash + 1..);
        let parent = match open_in_mount(fd.as_fd(), b"..") {
            Ok(up) => key_of(up.as_fd())?,
            Err(nix::Error::ENOENT) => return Ok(Spot::Hidden),
            Err(nix::Error::EXDEV) => parent_beneath(door, key)?,
            Err(e) => return Err(e.into()),
        };
        Ok(Spot::In(parent, name.unwrap_or_default().into()))
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn handle_of(key: &[u8]) -> &[u8] {
    key.get(8..).unwrap_or_default()
}

/// What a directory is in, where something is mounted over that. Another mount may
/// show it all the same: podman binds its directory of layers to itself.
fn parent_beneath(door: BorrowedFd<'_>, key: &[u8]) -> io::Result<Box<[u8]>> {
    let dir = open_beneath(door, key)?;
    let up = openat(&dir, "..", path_flags() | OFlag::O_DIRECTORY, Mode::empty())?;
    key_of(up.as_fd())
}

/// Opens what a handle names as a file system has it, with nothing mounted in it.
fn open_beneath(door: BorrowedFd<'_>, key: &[u8]) -> io::Result<OwnedFd> {
    let bare = sys::clone_mount(door)?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY;
    let mount = openat(&bare, ".", flags, Mode::empty())?;
    sys::open_handle(mount.as_fd(), handle_of(key))
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
