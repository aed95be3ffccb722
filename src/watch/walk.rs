//! Taking a snapshot: one walk through a tree, from descriptor to descriptor,
//! so that no length of path and no rename on the way leads it astray.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use super::parse;
use super::scan::{dir_flags, path_flags};
use super::snapshot::{Entry, Snapshot, Spec, join};
use crate::sys::inotify as sys;

/// Directories held open at once; those above are opened again on the way back.
const OPEN_AT_ONCE: usize = 64;
/// Bytes of one getdents64.
const BUFFER: usize = 32 * 1024;

/// A directory on the way.
struct Frame {
    /// None: closed for the sake of the limit of descriptors.
    fd: Option<OwnedFd>,
    path: Box<[u8]>,
    /// Levels below the nearest watched path; None: only looked through for one.
    level: Option<u32>,
    /// What is still to be entered.
    subs: Vec<(Box<[u8]>, Option<u32>)>,
}

/// Everything that `spec` covers now. A path that does not exist holds nothing;
/// what may not be read is left out.
///
/// # Errors
/// The path itself cannot be looked at, for another reason than that it is not
/// there: then nothing is known of what it holds.
pub fn take(spec: &Spec) -> io::Result<Snapshot> {
    let mut walk = Walk {
        spec,
        found: Snapshot::new(),
        buffer: vec![0; BUFFER],
    };
    let start = spec.path();
    let follow = spec.follow || spec.pattern.is_some();
    let Some(top) = open_top(start, follow)? else {
        return Ok(walk.found);
    };
    let entry = Entry::new(&sys::stat(top.as_fd(), c"")?);
    let path: Box<[u8]> = match &spec.pattern {
        Some(_) => start.as_os_str().as_bytes().into(),
        None => Box::default(),
    };
    let level = spec.is_root(&path).then_some(0);
    if level.is_some() {
        walk.found.insert(path.clone(), entry);
    }
    if entry.is_dir() {
        let fd = openat(&top, ".", dir_flags(), Mode::empty())?;
        walk.below(Frame {
            fd: Some(fd),
            path,
            level,
            subs: Vec::new(),
        });
    }
    Ok(walk.found)
}

/// As `take`, of what is at and below the directory `dir` of a snapshot.
///
/// # Errors
/// It cannot be looked at, for another reason than that it is not there.
pub fn below(spec: &Spec, dir: &[u8]) -> io::Result<Snapshot> {
    let mut walk = Walk {
        spec,
        found: Snapshot::new(),
        buffer: vec![0; BUFFER],
    };
    let Some(entry) = look(spec, dir)?.filter(|entry| spec.wants(dir, entry.is_dir())) else {
        return Ok(walk.found);
    };
    walk.found.insert(dir.into(), entry);
    if let Some(level) = walk.enters(dir).filter(|_| entry.is_dir()) {
        let path = spec.absolute(dir);
        let fd = match open_top(Path::new(&path), false) {
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => open_long(&path)?,
            other => other?,
        };
        let fd = fd.map(|fd| openat(&fd, ".", dir_flags(), Mode::empty()));
        if let Some(fd) = fd.transpose()? {
            walk.below(Frame {
                fd: Some(fd),
                path: dir.into(),
                level,
                subs: Vec::new(),
            });
        }
    }
    Ok(walk.found)
}

/// None: it is not there.
fn open_top(path: &Path, follow: bool) -> io::Result<Option<OwnedFd>> {
    let mut flags = path_flags();
    flags.set(OFlag::O_NOFOLLOW, !follow);
    match open(path, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

struct Walk<'a> {
    spec: &'a Spec,
    found: Snapshot,
    buffer: Vec<u8>,
}

impl Walk<'_> {
    /// At which level the directory `dir` is entered, if it is.
    fn enters(&self, dir: &[u8]) -> Option<Option<u32>> {
        let base = match &self.spec.pattern {
            Some(_) => self.spec.path().as_os_str().as_bytes(),
            None => b"",
        };
        let mut path: Box<[u8]> = base.into();
        let mut level = self.spec.is_root(&path).then_some(0);
        let names = dir.strip_prefix(base)?.split(|&byte| byte == b'/');
        for name in names.filter(|name| !name.is_empty()) {
            path = join(&path, name);
            let root = self.spec.pattern.is_some() && self.spec.is_root(&path);
            level = self.enter(&path, name, level, root)?;
        }
        Some(level)
    }

    fn below(&mut self, top: Frame) {
        let mut stack = vec![top];
        if let Some(top) = stack.last_mut() {
            self.list(top);
        }
        while let Some(frame) = stack.last_mut() {
            let Some((name, level)) = frame.subs.pop() else {
                stack.pop();
                continue;
            };
            let path = join(&frame.path, &name);
            let name = OsStr::from_bytes(&name).to_owned();
            let Some(dir) = reopened(&mut stack) else {
                continue;
            };
            // Gone, replaced or not readable: what can be read is.
            let Ok(fd) = openat(dir, name.as_os_str(), dir_flags(), Mode::empty()) else {
                continue;
            };
            let mut next = Frame {
                fd: Some(fd),
                path,
                level,
                subs: Vec::new(),
            };
            self.list(&mut next);
            if !next.subs.is_empty() {
                stack.push(next);
                let above = stack.len().checked_sub(OPEN_AT_ONCE);
                if let Some(above) = above.filter(|at| *at > 0).and_then(|at| stack.get_mut(at)) {
                    above.fd = None;
                }
            }
        }
    }

    /// Reads a directory: notes what is in it and what of it is to be entered.
    fn list(&mut self, frame: &mut Frame) {
        let Some(fd) = &frame.fd else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Ok(n @ 1..) = sys::getdents(fd.as_fd(), &mut buffer) {
            let mut rest = buffer.get(..n).unwrap_or_default();
            while let Some((entry, len)) = parse::entry(rest) {
                rest = rest.get(len..).unwrap_or_default();
                if !matches!(entry.name, b"." | b".." | b"") {
                    let sub = self.meet(fd, &frame.path, frame.level, entry);
                    frame
                        .subs
                        .extend(sub.map(|level| (entry.name.into(), level)));
                }
            }
        }
        self.buffer = buffer;
    }

    /// Notes one entry; Some where it is a directory to be entered, and at which level.
    fn meet(
        &mut self,
        dir: &OwnedFd,
        path: &[u8],
        level: Option<u32>,
        entry: parse::Entry<'_>,
    ) -> Option<Option<u32>> {
        let path = join(path, entry.name);
        let root = self.spec.pattern.is_some() && self.spec.is_root(&path);
        let surely_no_dir = !matches!(entry.kind, libc::DT_DIR | libc::DT_UNKNOWN);
        if !root && level.is_none() && surely_no_dir {
            return None;
        }
        let name = CString::new(entry.name).ok()?;
        let found = Entry::new(&sys::stat(dir.as_fd(), &name).ok()?);
        if !self.spec.wants(&path, found.is_dir()) {
            return None;
        }
        let enter = found
            .is_dir()
            .then(|| self.enter(&path, entry.name, level, root))
            .flatten();
        let file = self
            .spec
            .pattern
            .as_ref()
            .is_some_and(|p| p.directories_only())
            && !found.is_dir();
        if level.is_some() || (root && !file) {
            self.found.insert(path, found);
        }
        enter
    }

    fn enter(
        &self,
        path: &[u8],
        name: &[u8],
        level: Option<u32>,
        root: bool,
    ) -> Option<Option<u32>> {
        if root {
            return Some(Some(0));
        }
        let spec = self.spec;
        if !spec.opens(path) {
            return None;
        }
        let below = level.map(|level| level + 1).filter(|level| {
            spec.recursive
                && (spec.dotdirs || !name.starts_with(b"."))
                && spec.depth.is_none_or(|most| *level <= most)
        });
        let searched = spec.pattern.as_ref().is_some_and(|p| p.could_contain(path));
        (below.is_some() || searched).then_some(below)
    }
}

/// The directory at the end of `stack`, opened again from the top if it was closed.
fn reopened(stack: &mut [Frame]) -> Option<&OwnedFd> {
    let at = stack.len().checked_sub(1)?;
    if stack.get(at)?.fd.is_none() {
        let open = stack.iter().rposition(|frame| frame.fd.is_some())?;
        let mut fd: Option<OwnedFd> = None;
        for next in stack.get(open + 1..)? {
            let name = next
                .path
                .rsplit(|byte| *byte == b'/')
                .next()
                .unwrap_or_default();
            let from = fd.as_ref().or(stack.get(open)?.fd.as_ref())?;
            fd = Some(openat(from, name, dir_flags(), Mode::empty()).ok()?);
        }
        stack.get_mut(at)?.fd = fd;
    }
    stack.get(at)?.fd.as_ref()
}

/// What is at `relative` of `spec` now; None: nothing.
///
/// # Errors
/// It cannot be looked at.
pub fn look(spec: &Spec, relative: &[u8]) -> io::Result<Option<Entry>> {
    let path = spec.absolute(relative);
    let follow = spec.follow && spec.pattern.is_none() && relative.is_empty();
    let opened = match open_top(Path::new(&path), follow) {
        Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => open_long(&path)?,
        other => other?,
    };
    let Some(fd) = opened else { return Ok(None) };
    Ok(Some(Entry::new(&sys::stat(fd.as_fd(), c"")?)))
}

/// As `open_top` for a path longer than PATH_MAX.
fn open_long(path: &OsStr) -> io::Result<Option<OwnedFd>> {
    let mut at = open("/", path_flags(), Mode::empty())?;
    for name in path
        .as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
    {
        at = match openat(&at, name, path_flags(), Mode::empty()) {
            Ok(fd) => fd,
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LineId;
    use crate::table::{Filter, Mask, PathSpec, Source};
    use crate::watch::Request;

    #[test]
    fn what_is_closed_is_seen_but_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        for made in ["cache/deep", "kept/cache"] {
            std::fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        std::fs::write(dir.path().join("x.cache"), "").unwrap();
        let request = Request {
            line: LineId(1),
            path: PathSpec {
                written: dir.path().into(),
                pattern: false,
            },
            mask: Mask::CREATE,
            recursive: true,
            depth: None,
            dotdirs: false,
            exclude: vec!["/cache".into(), "*.cache".into()],
            poll: None,
            source: Source::Poll,
            who: false,
        };
        let spec = Spec::new(&request, Filter::default());
        let spec = spec.without(Filter::excluding(&request.exclude));
        let found: Vec<_> = take(&spec).unwrap().into_keys().collect();
        let wanted: [&[u8]; 5] = [b"", b"cache", b"kept", b"kept/cache", b"x.cache"];
        assert!(found.iter().map(|path| &**path).eq(wanted), "{found:?}");
    }
}
