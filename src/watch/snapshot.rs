//! What a line's path holds at one moment: each file and directory with what
//! tells it from every other and from itself at another time.
//!
//! Two snapshots and `compare` are what polling and `catch-up=` are made of.
//! Paths are bytes: below the line's path for a plain path (empty for the path
//! itself), whole for a pattern, which has no one path to be below of.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::Request;
use crate::sys::inotify::{Stamp, Stat};
use crate::table::{Filter, Mask, PathSpec, Pattern};

/// One file or directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    /// Its number; with `born`, what a rename does not change.
    pub inode: u64,
    /// When it was made; zero where the file system does not keep that.
    pub born: Stamp,
    /// `st_ctime`: nobody can set it.
    pub changed: Stamp,
    /// `st_mtime`
    pub modified: Stamp,
    /// Bytes.
    pub size: u64,
    /// User and group.
    pub owner: (u32, u32),
    /// Names it has.
    pub links: u32,
    /// It was written and the close of that was not seen.
    pub owed: bool,
}

/// All that a path holds, parents before what they hold.
pub type Snapshot = BTreeMap<Box<[u8]>, Entry>;

impl Entry {
    /// From what statx(2) tells.
    pub fn new(stat: &Stat) -> Self {
        Self {
            mode: stat.mode,
            inode: stat.inode,
            born: stat.born.unwrap_or_default(),
            changed: stat.changed,
            modified: stat.modified,
            size: stat.size,
            owner: stat.owner,
            links: stat.links,
            owed: false,
        }
    }

    /// The file type bits, as `libc::S_IFREG`.
    pub fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Type, number, birth: what a rename does not change.
    pub fn identity(&self) -> (u32, u64, i64) {
        (self.kind(), self.inode, self.born.0)
    }

    /// A directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == libc::S_IFDIR
    }

    /// A regular file.
    pub fn is_file(&self) -> bool {
        self.kind() == libc::S_IFREG
    }
}

/// What a snapshot is taken of.
#[derive(Clone, Debug)]
pub struct Spec {
    pub(super) path: PathSpec,
    pub(super) pattern: Option<Pattern>,
    pub(super) recursive: bool,
    pub(super) depth: Option<u32>,
    pub(super) dotdirs: bool,
    /// A symbolic link at the end of a plain path is followed.
    pub(super) follow: bool,
    /// What is left out; only for plain paths.
    exclude: Filter,
    /// Directories that are not entered; only for plain paths.
    closed: Filter,
}

impl Spec {
    /// What `request` covers, without what `exclude` excludes.
    pub fn new(request: &Request, exclude: Filter) -> Self {
        let pattern = request
            .path
            .pattern
            .then(|| Pattern::compile(&request.path).ok());
        Self {
            path: request.path.clone(),
            pattern: pattern.flatten(),
            recursive: request.recursive,
            depth: request.depth,
            dotdirs: request.dotdirs,
            follow: !request.mask.intersects(Mask::DONT_FOLLOW),
            exclude,
            closed: Filter::default(),
        }
    }

    /// The same, without what is in the directories that `closed` excludes.
    pub fn without(self, closed: Filter) -> Self {
        Self { closed, ..self }
    }

    /// The path as written.
    pub fn written(&self) -> &[u8] {
        self.path.written.as_bytes()
    }

    /// The path, or the directory below which all matches of the pattern are.
    pub fn path(&self) -> &Path {
        match &self.pattern {
            Some(pattern) => pattern.base(),
            None => Path::new(&self.path.written),
        }
    }

    /// The options that say what is covered, as one text.
    pub fn options(&self) -> String {
        let Self {
            pattern,
            recursive,
            depth,
            dotdirs,
            follow,
            ..
        } = self;
        let pattern = pattern.is_some();
        let depth = depth.filter(|_| *recursive);
        let dotdirs = *dotdirs && *recursive;
        format!("{pattern} {recursive} {depth:?} {dotdirs} {follow}")
    }

    /// What precedes the paths of the snapshot, without a slash at the end.
    fn base(&self) -> &[u8] {
        match &self.pattern {
            Some(_) => b"",
            None => self.written().strip_suffix(b"/").unwrap_or(self.written()),
        }
    }

    /// The path of the snapshot that stands for the absolute path `target`.
    pub fn relative<'a>(&self, target: &'a [u8]) -> Option<&'a [u8]> {
        if self.pattern.is_some() {
            return Some(target);
        }
        let rest = target.strip_prefix(self.base())?;
        if rest.is_empty() {
            Some(rest)
        } else {
            rest.strip_prefix(b"/")
        }
    }

    /// The absolute path that `relative` of the snapshot stands for.
    pub fn absolute(&self, relative: &[u8]) -> OsString {
        let mut path = self.base().to_vec();
        if self.pattern.is_none() && (!relative.is_empty() || path.is_empty()) {
            path.push(b'/');
        }
        path.extend_from_slice(relative);
        OsString::from_vec(path)
    }

    /// True for the watched path itself, or a path that the pattern matches.
    pub fn is_root(&self, relative: &[u8]) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.matches(relative),
            None => relative.is_empty(),
        }
    }

    /// True where `relative` is not left out.
    pub fn wants(&self, relative: &[u8], is_dir: bool) -> bool {
        self.pattern.is_some() || self.exclude.wants(relative, is_dir)
    }

    /// True where the directory `relative` may be entered.
    pub fn opens(&self, relative: &[u8]) -> bool {
        self.pattern.is_some() || self.closed.wants(relative, true)
    }

    /// True where what is in the directory `relative` may be in a snapshot.
    pub fn enters(&self, relative: &[u8]) -> bool {
        if self.pattern.is_some() {
            return true;
        }
        let (mut end, mut level) = (0, 0);
        relative.split(|&byte| byte == b'/').all(|name| {
            end += name.len() + usize::from(level > 0);
            level += 1;
            self.recursive
                && (self.dotdirs || !name.starts_with(b"."))
                && self.depth.is_none_or(|most| level <= most)
                && self.opens(relative.get(..end).unwrap_or_default())
        })
    }

    /// `$@` and `$#` for `relative`, as a line is told by the kernel.
    pub fn place(&self, relative: &[u8]) -> (OsString, OsString) {
        if self.is_root(relative) {
            let watch = match &self.pattern {
                Some(_) => OsString::from_vec(relative.to_vec()),
                None => self.path.written.clone(),
            };
            return (watch, OsString::new());
        }
        let slash = relative.iter().rposition(|byte| *byte == b'/');
        let (dir, name) = match slash {
            Some(at) => (
                relative.get(..at).unwrap_or_default(),
                relative.get(at + 1..).unwrap_or_default(),
            ),
            None => (&b""[..], relative),
        };
        let mut watch = match dir {
            b"" if self.pattern.is_none() => self.path.written.clone().into_vec(),
            dir => self.absolute(dir).into_vec(),
        };
        if self.written().ends_with(b"/") && !watch.ends_with(b"/") {
            watch.push(b'/');
        }
        (OsString::from_vec(watch), OsString::from_vec(name.to_vec()))
    }
}

/// `dir` and `name` as one path of a snapshot.
pub fn join(dir: &[u8], name: &[u8]) -> Box<[u8]> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    if !dir.is_empty() && !dir.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path.into()
}

/// The directory in which `path` lies; None for the top.
pub fn parent(path: &[u8]) -> Option<&[u8]> {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) | None if path.is_empty() => None,
        Some(at) => path.get(..at),
        None => Some(b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(written: &str, pattern: bool) -> Spec {
        let request = Request {
            line: crate::event::LineId(1),
            path: PathSpec {
                written: written.into(),
                pattern,
            },
            mask: Mask::CREATE,
            recursive: true,
            depth: None,
            dotdirs: false,
            exclude: Vec::new(),
            poll: None,
            source: crate::table::Source::Auto,
            who: false,
        };
        Spec::new(&request, Filter::default())
    }

    #[test]
    fn paths_there_and_back() {
        for (written, relative, whole) in [
            ("/a/b", "", "/a/b"),
            ("/a/b/", "", "/a/b"),
            ("/a/b", "c/d", "/a/b/c/d"),
            ("/", "c", "/c"),
            ("/", "", "/"),
        ] {
            let spec = spec(written, false);
            assert_eq!(spec.absolute(relative.as_bytes()), whole);
            assert_eq!(
                spec.relative(whole.as_bytes()),
                Some(relative.as_bytes()),
                "{written}"
            );
        }
        assert_eq!(spec("/a/b", false).relative(b"/a/bc"), None);
        assert_eq!(spec("/a/*", true).absolute(b"/a/x/y"), "/a/x/y");
    }

    #[test]
    fn places_are_told_as_inotify_tells_them() {
        let place = |written: &str, pattern, relative: &str| {
            let (watch, name) = spec(written, pattern).place(relative.as_bytes());
            format!("{} {}", watch.display(), name.display())
        };
        assert_eq!(place("/w", false, ""), "/w ");
        assert_eq!(place("/w", false, "f"), "/w f");
        assert_eq!(place("/w/", false, "d/f"), "/w/d/ f");
        assert_eq!(place("/", false, "f"), "/ f");
        assert_eq!(place("/w/*", true, "/w/x"), "/w/x ");
        assert_eq!(place("/w/*", true, "/w/x/f"), "/w/x f");
    }

    #[test]
    fn parents() {
        assert_eq!(parent(b""), None);
        assert_eq!(parent(b"a"), Some(&b""[..]));
        assert_eq!(parent(b"a/b"), Some(&b"a"[..]));
        assert_eq!(&*join(b"", b"a"), b"a");
        assert_eq!(&*join(b"/", b"a"), b"/a");
        assert_eq!(&*join(b"a", b"b"), b"a/b");
    }
}
