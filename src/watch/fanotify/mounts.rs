//! The table of mounts: which part of which file system is where.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::watch::mounts::{under, unescape};

/// What follows the path of a mounted directory that was removed; no other path has
/// two slashes.
pub(super) const DELETED: &[u8] = b"//deleted";

/// A line of mountinfo (proc(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub id: u64,
    /// The mount that it is on.
    pub parent: u64,
    pub device: Box<[u8]>,
    /// The directory of the file system that is mounted; empty for all of it. That of
    /// one which was removed ends with [`DELETED`].
    pub root: Box<[u8]>,
    /// Where it is mounted; empty for `/`.
    pub point: Box<[u8]>,
    pub kind: String,
}

/// All mounts of this process's namespace.
pub(super) struct Mounts {
    file: Option<File>,
    pub table: Vec<Mount>,
}

impl Mounts {
    pub fn new() -> Self {
        let mut mounts = Self {
            file: File::open("/proc/self/mountinfo").ok(),
            table: Vec::new(),
        };
        mounts.table = mounts.fetch();
        mounts
    }

    /// The table as it is now.
    pub fn fetch(&mut self) -> Vec<Mount> {
        let mut text = Vec::new();
        let read = |file: &mut File| file.rewind().and_then(|()| file.read_to_end(&mut text));
        match self.file.as_mut().map(read) {
            Some(Ok(_)) => text.split(|&b| b == b'\n').filter_map(parse).collect(),
            _ => self.table.clone(),
        }
    }

    /// Takes what was fetched. Gives what is gone from the table or new in it.
    pub fn put(&mut self, table: Vec<Mount>) -> Vec<Mount> {
        let old = std::mem::replace(&mut self.table, table);
        let gone = old.iter().filter(|m| !self.table.contains(m));
        let new = self.table.iter().filter(|m| !old.contains(m));
        gone.chain(new).cloned().collect()
    }

    /// True once after something was mounted or unmounted. A rename of what it is in
    /// changes the table without that.
    pub fn changed(&self) -> bool {
        let Some(file) = &self.file else {
            return false;
        };
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0)
    }

    pub fn get(&self, id: u64) -> Option<&Mount> {
        self.table.iter().find(|m| m.id == id)
    }

    /// Mounts below `path`, with what leads from it to them.
    pub fn below<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = (&'a Mount, &'a [u8])> {
        let inside = move |m: &'a Mount| {
            let rest = under(&m.point, path)?;
            (!rest.is_empty()).then_some((m, rest))
        };
        self.table.iter().filter_map(inside)
    }
}

impl Mount {
    /// The path in the file system of what is at `path` through this mount.
    pub fn inside(&self, path: &[u8]) -> Option<Vec<u8>> {
        let rest = under(path, &self.point)?;
        let mut inside = self.root.to_vec();
        if !rest.is_empty() {
            inside.push(b'/');
            inside.extend_from_slice(rest);
        }
        Some(inside)
    }
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = fields.next()?.into();
    let trim = |path: Vec<u8>| -> Box<[u8]> { path.strip_suffix(b"/").unwrap_or(&path).into() };
    let root = trim(unescape(fields.next()?));
    let point = trim(unescape(fields.next()?));
    let kind = fields.skip_while(|f| *f != b"-").nth(1)?;
    Some(Mount {
        id,
        parent,
        device,
        root,
        point,
        kind: String::from_utf8_lossy(kind).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_mount_leads_into_its_file_system() {
        let line = b"36 35 98:0 /sub\\040x /mnt/b rw,noatime shared:1 - ext4 /dev/vda rw";
        let mount = parse(line).unwrap();
        assert_eq!(
            (mount.id, &*mount.device, &*mount.kind),
            (36, &b"98:0"[..], "ext4")
        );
        assert_eq!(mount.inside(b"/mnt/b/c/d"), Some(b"/sub x/c/d".to_vec()));
        assert_eq!(mount.inside(b"/mnt/b"), Some(b"/sub x".to_vec()));
        assert_eq!(mount.inside(b"/mnt/bc"), None);
        assert_eq!(mount.parent, 35);
        let root = parse(b"1 0 8:1 / / rw - ext4 /dev/a rw").unwrap();
        assert_eq!((&*root.root, &*root.point), (&b""[..], &b""[..]));
        assert_eq!(root.inside(b"/a/b"), Some(b"/a/b".to_vec()));
        assert_eq!(root.inside(b""), Some(Vec::new()));
    }
}
