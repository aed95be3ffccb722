//! Looks at the layers of an overlay: what lies below a name, what stands in the
//! upper layer now.
//!
//! Whoever is inside chooses what the upper layer holds, and may change it between
//! any two calls: each component of a path is opened for itself, and no symbolic
//! link is followed. The lower layers do not change while they are mounted, so the
//! directory of the last look stays open.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::super::look::is_open_for_writing;
use super::super::parse::entry;
use crate::sys::inotify::{Stat, getdents, reopen, stat};
use crate::sys::xattr;

/// A directory in each lower layer that shows it, the top one first.
type Merged = Rc<[OwnedFd]>;

/// The layers, by their paths.
pub(super) struct Stack {
    upper: PathBuf,
    lower: Vec<PathBuf>,
    /// The last directory that was looked at: a descriptor in each layer is what a
    /// host with many containers has few of.
    kept: Option<(Vec<u8>, Merged)>,
}

/// What stands at a name of the upper layer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// Nothing, or nothing that can be looked at.
    Nothing,
    /// A mark that the name is deleted.
    Whiteout,
    /// A directory that hides those of its name below.
    Opaque(Stat),
    /// Anything else.
    Thing(Stat),
}

impl Stack {
    pub fn new(upper: PathBuf, lower: Vec<PathBuf>) -> Self {
        Self {
            upper,
            lower,
            kept: None,
        }
    }

    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// What the lower layers show at `path`, whatever the upper layer holds.
    pub fn below(&mut self, path: &[u8]) -> Option<Stat> {
        let (parent, name) = split(path);
        let name = CString::new(name).ok()?;
        for dir in self.merged(parent)?.iter() {
            match stat(dir.as_fd(), &name) {
                Ok(found) if is_whiteout(dir.as_fd(), &name, &found) => return None,
                Ok(found) => return Some(found),
                Err(_) => {}
            }
        }
        None
    }

    /// The names in the directory `path` of the lower layers, as one sees them inside.
    pub fn names_below(&mut self, path: &[u8]) -> Vec<CString> {
        let mut names = Vec::new();
        for dir in self.merged(path).iter().flat_map(|dirs| dirs.iter()) {
            names.extend(entries(dir.as_fd()).into_iter().map(|(name, _)| name));
        }
        names.sort();
        names.dedup();
        names
    }

    /// The directory `path` in each lower layer where it shows.
    fn merged(&mut self, path: &[u8]) -> Option<Merged> {
        if let Some((_, dirs)) = self.kept.iter().find(|(kept, _)| kept == path) {
            return Some(Rc::clone(dirs));
        }
        let mut dirs = Vec::new();
        if path.is_empty() {
            let all = self.lower.iter().filter_map(|layer| open(layer).ok());
            dirs.extend(all);
        } else {
            let (parent, name) = split(path);
            let name = CString::new(name).ok()?;
            for dir in self.merged(parent)?.iter() {
                let found = openat(
                    dir,
                    name.as_c_str(),
                    FLAGS | OFlag::O_DIRECTORY,
                    Mode::empty(),
                );
                match found {
                    Ok(found) => {
                        let last = is_opaque(found.as_fd());
                        dirs.push(found);
                        if last {
                            break;
                        }
                    }
                    Err(nix::Error::ENOENT) => {}
                    // A whiteout, a file: it hides what is below.
                    Err(_) => break,
                }
            }
        }
        let dirs: Merged = dirs.into();
        self.kept = Some((path.to_vec(), Rc::clone(&dirs)));
        Some(dirs)
    }

    /// What stands at `path` in the upper layer.
    pub fn above(&self, path: &[u8]) -> Found {
        let (parent, name) = split(path);
        let (Some(dir), Ok(name)) = (self.upper_dir(parent), CString::new(name)) else {
            return Found::Nothing;
        };
        let Ok(found) = stat(dir.as_fd(), &name) else {
            return Found::Nothing;
        };
        if found.kind() == libc::S_IFDIR {
            let opened = openat(
                &dir,
                name.as_c_str(),
                FLAGS | OFlag::O_DIRECTORY,
                Mode::empty(),
            );
            if opened.is_ok_and(|dir| is_opaque(dir.as_fd())) {
                return Found::Opaque(found);
            }
        } else if is_whiteout(dir.as_fd(), &name, &found) {
            return Found::Whiteout;
        }
        Found::Thing(found)
    }

    /// The directory `path` of the upper layer.
    pub fn upper_dir(&self, path: &[u8]) -> Option<OwnedFd> {
        let mut dir = open(&self.upper).ok()?;
        for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            let flags = FLAGS | OFlag::O_DIRECTORY;
            dir = openat(&dir, name, flags, Mode::empty()).ok()?;
        }
        Some(dir)
    }

    /// The names in the directory `path` of the upper layer that are directories or
    /// whiteouts; true for a whiteout.
    pub fn marks(&self, path: &[u8]) -> Vec<(CString, bool)> {
        let Some(dir) = self.upper_dir(path) else {
            return Vec::new();
        };
        let kind = |(name, kind): (CString, u8)| match kind {
            libc::DT_DIR => Some((name, false)),
            libc::DT_CHR => {
                let found = stat(dir.as_fd(), &name).ok()?;
                is_whiteout(dir.as_fd(), &name, &found).then_some((name, true))
            }
            libc::DT_REG if fuse_hides(name.as_bytes()).is_some() => {
                let hidden = fuse_hides(name.as_bytes())?;
                Some((CString::new(hidden).ok()?, true))
            }
            _ => None,
        };
        let all = entries(dir.as_fd()).into_iter();
        all.filter_map(kind).collect()
    }

    /// True where overlayfs marked the directory `path` of the upper layer when something
    /// was copied into it.
    pub fn is_impure(&self, path: &[u8]) -> bool {
        let dir = self.upper_dir(path);
        dir.is_some_and(|dir| marked(dir.as_fd(), &IMPURE, |value| value == b"y"))
    }

    /// True while somebody has the file `path` of the upper layer open for writing.
    pub fn is_being_written(&self, path: &[u8]) -> bool {
        let (parent, name) = split(path);
        let dir = self.upper_dir(parent);
        dir.is_some_and(|dir| is_open_for_writing(dir.as_fd(), name))
    }
}

/// Not for reading: a look leaves no trace in the file or its times.
const FLAGS: OFlag = OFlag::O_PATH
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

fn open(layer: &Path) -> nix::Result<OwnedFd> {
    // The engine names it: its links are the engine's own.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(layer, flags, Mode::empty())
}

/// The directory and the name of a path inside; both empty for the root.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (
            path.get(..at).unwrap_or_default(),
            path.get(at + 1..).unwrap_or_default(),
        ),
        None => (b"", path),
    }
}

/// `dir/name`.
pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match dir {
        b"" => name.to_vec(),
        dir => [dir, b"/", name].concat(),
    }
}

/// What a file of fuse-overlayfs hides, where it is one of its whiteouts.
pub(super) fn fuse_hides(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(b".wh.")
        .filter(|rest| !rest.is_empty() && !rest.starts_with(b"."))
}

/// True for the files by which fuse-overlayfs marks a directory as opaque.
pub(super) fn fuse_marks(name: &[u8]) -> bool {
    matches!(name, b".wh..wh..opq" | b".wh..opq")
}

/// As overlayfs.rst describes: a character device 0:0, or an empty file with an
/// attribute (Linux 6.7); and the file of fuse-overlayfs beside the name.
fn is_whiteout(dir: BorrowedFd<'_>, name: &CStr, found: &Stat) -> bool {
    match found.kind() {
        libc::S_IFCHR => found.node == (0, 0),
        libc::S_IFREG if found.size == 0 => {
            let file = openat(dir, name, FLAGS, Mode::empty());
            file.is_ok_and(|file| marked(file.as_fd(), &WHITEOUT, |_| true))
        }
        _ => false,
    }
}

fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    marked(dir, &OPAQUE, |value| value == b"y")
        || stat(dir, c".wh..wh..opq").is_ok_and(|s| s.kind() == libc::S_IFREG)
}

const WHITEOUT: [&CStr; 2] = [c"trusted.overlay.whiteout", c"user.overlay.whiteout"];
const IMPURE: [&CStr; 2] = [c"trusted.overlay.impure", c"user.overlay.impure"];
const OPAQUE: [&CStr; 3] = [
    c"trusted.overlay.opaque",
    c"user.overlay.opaque",
    c"user.fuseoverlayfs.opaque",
];

fn marked(file: BorrowedFd<'_>, names: &[&CStr], is: impl Fn(&[u8]) -> bool) -> bool {
    let mut value = [0; 8];
    names
        .iter()
        .any(|name| matches!(xattr::get(file, name, &mut value), Ok(Some(value)) if is(value)))
}

/// Names and kinds in a directory; without `.` and `..`.
fn entries(dir: BorrowedFd<'_>) -> Vec<(CString, u8)> {
    let mut all = Vec::new();
    let Ok(dir) = reopen(dir) else {
        return all;
    };
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(filled @ 1..) = getdents(dir.as_fd(), &mut buffer) {
        let mut rest = buffer.get(..filled).unwrap_or_default();
        while let Some((found, taken)) = entry(rest) {
            if !matches!(found.name, b"." | b"..")
                && let Ok(name) = CString::new(found.name)
            {
                all.push((name, found.kind));
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
    all
}
