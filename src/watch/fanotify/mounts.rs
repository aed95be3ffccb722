//! The table of mounts: which part of which file system is where.

use std::fs::File;
use std::io::{Read, Seek};

use crate::watch::mounts::{under, unescape};

/// A line of mountinfo (proc(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub id: u64,
    pub device: Box<[u8]>,
    /// The directory of the file system that is mounted; empty for all of it.
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
        mounts.read();
        mounts
    }

    /// Reads the table again. Gives what is gone from it or new in it.
    pub fn read(&mut self) -> Vec<Mount> {
        let mut text = Vec::new();
        let Some(file) = &mut self.file else {
            return Vec::new();
        };
        if file.rewind().is_err() || file.read_to_end(&mut text).is_err() {
            return Vec::new();
        }
        let table = text.split(|&b| b == b'\n').filter_map(parse).collect();
        let old = std::mem::replace(&mut self.table, table);
        let mut changed: Vec<Mount> = old
            .iter()
            .filter(|m| !self.table.contains(m))
            .cloned()
            .collect();
        changed.extend(self.table.iter().filter(|m| !old.contains(m)).cloned());
        changed
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
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = fields.nth(1)?.into();
    let trim = |path: Vec<u8>| -> Box<[u8]> { path.strip_suffix(b"/").unwrap_or(&path).into() };
    let root = trim(unescape(fields.next()?));
    let point = trim(unescape(fields.next()?));
    let kind = fields.skip_while(|f| *f != b"-").nth(1)?;
    Some(Mount {
        id,
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
        let root = parse(b"1 0 8:1 / / rw - ext4 /dev/a rw").unwrap();
        assert_eq!((&*root.root, &*root.point), (&b""[..], &b""[..]));
        assert_eq!(root.inside(b"/a/b"), Some(b"/a/b".to_vec()));
        assert_eq!(root.inside(b""), Some(Vec::new()));
    }
}
