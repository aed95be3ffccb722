//! Table files: which names count, and which files may be trusted.
//!
//! A file is opened first and judged by its descriptor; the descriptor that was
//! judged is the one that the worker gets. The supervisor never reads a table.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use crate::control::MAX_TABLE;
use crate::open_files::named;

/// As in the kernel (path_resolution(7)).
const MAX_LINKS: u32 = 40;
/// Ends of names that editors and package managers leave behind.
const LEFTOVERS: [&str; 7] = [
    ".rpmsave", ".rpmnew", ".rpmorig", ".swp", ".swx", ".tmp", "~",
];

/// Why a name in a table directory is not that of a table; None: it is one.
pub fn passed_over(name: &OsStr) -> Option<&'static str> {
    let bytes = name.as_bytes();
    if bytes.starts_with(b".") {
        return Some("its name starts with a dot");
    }
    if bytes.starts_with(b"#") && bytes.ends_with(b"#") {
        return Some("its name is that of an editor's copy");
    }
    let left = LEFTOVERS.iter().any(|end| bytes.ends_with(end.as_bytes()));
    if left || bytes.windows(6).any(|part| part == b".dpkg-") {
        return Some("its name is that of a leftover file");
    }
    if name
        .to_str()
        .is_none_or(|name| name.chars().any(char::is_control))
    {
        return Some("its name is not printable UTF-8");
    }
    None
}

/// Neither group nor others may write.
const OWNER_ONLY: u32 = 0o022;
/// Others may not write. The group may: in a user's own place it is commonly
/// that user's alone (a umask of 0002).
const OWN_GROUP: u32 = 0o002;

/// What a file must be to be a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// It belongs to one of these.
    pub owners: Vec<u32>,
    /// It has no second name (a spool must not serve a file of another place).
    pub one_name: bool,
    /// It may be reached through a symbolic link.
    pub links: bool,
    /// None of these mode bits is set: who may not write it.
    pub sealed: u32,
}

impl Rule {
    /// For a table of the system, of a daemon that runs as `euid`.
    pub fn system(euid: u32) -> Self {
        Self {
            owners: owners(euid, 0),
            one_name: false,
            links: true,
            sealed: OWNER_ONLY,
        }
    }

    /// For a table of `uid` in the spool.
    pub fn spool(uid: u32) -> Self {
        Self {
            owners: owners(uid, 0),
            one_name: true,
            links: false,
            sealed: OWNER_ONLY,
        }
    }

    /// For a table in the own directory of `uid`.
    pub fn personal(uid: u32) -> Self {
        Self {
            owners: owners(uid, 0),
            one_name: false,
            links: true,
            sealed: OWN_GROUP,
        }
    }
}

fn owners(first: u32, second: u32) -> Vec<u32> {
    let mut owners = vec![first, second];
    owners.dedup();
    owners
}

/// Which version of a file was opened: another number means it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

impl fmt::Display for Version {
    /// For clients, who may compare it and nothing else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            inode,
            size,
            changed,
            modified,
        } = self;
        write!(f, "{device:x}-{inode:x}-{size:x}")?;
        write!(f, "-{:x}.{:x}", changed.0, changed.1)?;
        write!(f, "-{:x}.{:x}", modified.0, modified.1)
    }
}

/// A file that may be trusted, open for reading at its start.
#[derive(Debug)]
pub struct Opened {
    /// The descriptor that was judged.
    pub file: File,
    /// What it was when it was judged.
    pub version: Version,
}

/// Why a file is no table, and what would be right.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Refusal {
    #[error("it does not exist")]
    Missing,
    #[error("cannot open it: {0}")]
    Io(io::Error),
    #[error("it is a {0}, not a regular file")]
    Kind(&'static str),
    #[error("it belongs to uid {found}; it must belong to uid {wanted} (chown {wanted})")]
    Owner { found: u32, wanted: u32 },
    #[error("its mode {:04o} lets others write it (chmod go-w)", .0 & 0o7777)]
    Mode(u32),
    #[error("it has {0} names (hard links); it must have one")]
    Names(u64),
    #[error("it has {0} bytes, more than {MAX_TABLE}")]
    Size(u64),
    #[error("it is a symbolic link; here only regular files are tables")]
    Link,
    #[error("it is a symbolic link to nothing")]
    Dangling,
    #[error("it is a symbolic link, and others may change {} on its way", .0.display())]
    LinkWay(PathBuf),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(named(error))
    }
}

/// Opens `dir/name` when `rule` lets it be a table.
pub fn open(dir: &Path, name: &OsStr, rule: &Rule) -> Result<Opened, Refusal> {
    let path = dir.join(name);
    let (file, metadata) = open_itself(&path)?;
    if !metadata.is_symlink() {
        return judge(file, &metadata, rule);
    }
    if !rule.links {
        return Err(Refusal::Link);
    }
    let target = follow(&path, rule)?;
    let (file, metadata) = open_itself(&target)?;
    judge(file, &metadata, rule)
}

/// Where `path` leads, when nobody but `owners` can turn any step of the way:
/// no directory on it, and no link in one, is another's to change. So the
/// answer stays right between now and its use.
fn follow(path: &Path, rule: &Rule) -> Result<PathBuf, Refusal> {
    let owners = &rule.owners;
    let mut left: Vec<OsString> = parts(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop() {
        let turned = |_| Refusal::LinkWay(here.clone());
        let directory = std::fs::symlink_metadata(&here)?;
        let sticky = directory.mode() & 0o1000 != 0;
        let sealed = if sticky { 0 } else { rule.sealed };
        owner_and_mode(&directory, owners, sealed).map_err(turned)?;
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        let metadata = match std::fs::symlink_metadata(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Refusal::Dangling),
            other => other?,
        };
        // Anyone may put a name into a sticky directory, /tmp for one.
        if sticky && !owners.contains(&metadata.uid()) {
            return Err(Refusal::LinkWay(next));
        }
        if !metadata.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Refusal::Io(io::Error::from_raw_os_error(libc::ELOOP)));
        }
        let target = std::fs::read_link(&next)?;
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        left.extend(parts(&target));
    }
    Ok(here)
}

/// The parts of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let named = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(named).collect()
}

/// Ok when only `owners` can put files into `dir`.
pub fn trusted_directory(dir: &Path, owners: &[u32]) -> Result<(), Refusal> {
    owner_and_mode(&std::fs::metadata(dir)?, owners, OWNER_ONLY)
}

/// Opens the thing itself, be it a link, a FIFO or a device, without any
/// effect on it: nothing but its metadata can be read from this descriptor.
fn open_itself(path: &Path) -> Result<(File, Metadata), Refusal> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Refusal::Missing),
        other => other?,
    };
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

fn judge(file: File, metadata: &Metadata, rule: &Rule) -> Result<Opened, Refusal> {
    if !metadata.is_file() {
        return Err(Refusal::Kind(kind(metadata)));
    }
    owner_and_mode(metadata, &rule.owners, rule.sealed)?;
    if rule.one_name && metadata.nlink() != 1 {
        return Err(Refusal::Names(metadata.nlink()));
    }
    if metadata.len() > MAX_TABLE as u64 {
        return Err(Refusal::Size(metadata.len()));
    }
    // The same file, now for reading. Not waiting: its owner may hold a lease.
    let again = format!("/proc/self/fd/{}", file.as_raw_fd());
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(again)?;
    let version = Version {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    };
    Ok(Opened { file, version })
}

fn owner_and_mode(metadata: &Metadata, owners: &[u32], sealed: u32) -> Result<(), Refusal> {
    if !owners.contains(&metadata.uid()) {
        let wanted = owners.first().copied().unwrap_or(0);
        return Err(Refusal::Owner {
            found: metadata.uid(),
            wanted,
        });
    }
    if metadata.mode() & sealed != 0 {
        return Err(Refusal::Mode(metadata.mode()));
    }
    Ok(())
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "directory",
        () if kind.is_fifo() => "FIFO",
        () if kind.is_socket() => "socket",
        () if kind.is_char_device() || kind.is_block_device() => "device",
        () => "special file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn rule() -> Rule {
        Rule {
            owners: vec![nix::unistd::geteuid().as_raw()],
            one_name: true,
            links: true,
            sealed: OWNER_ONLY,
        }
    }

    fn refusal(dir: &Path, name: &str, rule: &Rule) -> String {
        open(dir, name.as_ref(), rule).unwrap_err().to_string()
    }

    #[test]
    fn names() {
        for good in ["web", "10-web.conf", "a b", "incron.table", "#half", "ünï"] {
            assert_eq!(passed_over(good.as_ref()), None, "{good}");
        }
        for bad in [
            ".web",
            "web~",
            "web.rpmsave",
            "web.rpmnew",
            "web.rpmorig",
            "web.dpkg-old",
            "web.dpkg-dist",
            "web.swp",
            "web.swx",
            "#web#",
            "web.tmp",
            "a\nb",
        ] {
            assert!(passed_over(bad.as_ref()).is_some(), "{bad}");
        }
        assert!(passed_over(OsStr::from_bytes(b"\xff")).is_some());
    }

    #[test]
    fn refused_files_say_what_would_be_right() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::write(dir.join("good"), "x").unwrap();
        assert!(open(dir, "good".as_ref(), &rule()).is_ok());
        assert!(refusal(dir, "none", &rule()).contains("does not exist"));

        std::fs::write(dir.join("open"), "x").unwrap();
        std::fs::set_permissions(dir.join("open"), PermissionsExt::from_mode(0o646)).unwrap();
        assert!(refusal(dir, "open", &rule()).contains("0646"));
        assert!(refusal(dir, "open", &rule()).contains("chmod go-w"));

        let other = Rule {
            owners: vec![4_000_000],
            ..rule()
        };
        assert!(refusal(dir, "good", &other).contains("chown 4000000"));

        nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(refusal(dir, "fifo", &rule()).contains("FIFO"));
        std::fs::create_dir(dir.join("dir")).unwrap();
        assert!(refusal(dir, "dir", &rule()).contains("directory"));

        std::fs::write(dir.join("big"), vec![b'#'; MAX_TABLE + 1]).unwrap();
        assert!(refusal(dir, "big", &rule()).contains("1048576"));

        std::fs::hard_link(dir.join("good"), dir.join("twin")).unwrap();
        assert!(refusal(dir, "twin", &rule()).contains("2 names"));
        let many = Rule {
            one_name: false,
            ..rule()
        };
        assert!(open(dir, "twin".as_ref(), &many).is_ok());
    }

    #[test]
    fn links_are_followed_where_nobody_else_can_turn_them() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::create_dir(dir.join("real")).unwrap();
        std::fs::write(dir.join("real/table"), "x").unwrap();
        symlink(dir.join("real/table"), dir.join("link")).unwrap();
        symlink(dir.join("nothing"), dir.join("dangling")).unwrap();
        let root_too = Rule {
            owners: vec![nix::unistd::geteuid().as_raw(), 0],
            ..rule()
        };
        assert!(open(dir, "link".as_ref(), &root_too).is_ok());
        assert!(refusal(dir, "dangling", &root_too).contains("link to nothing"));
        let none = Rule {
            links: false,
            ..root_too.clone()
        };
        assert!(refusal(dir, "link", &none).contains("symbolic link"));
        std::fs::set_permissions(dir.join("real"), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(refusal(dir, "link", &root_too).contains("others may change"));
        symlink("loop", dir.join("loop")).unwrap();
        assert!(refusal(dir, "loop", &root_too).contains("symbolic links"));
    }

    #[test]
    fn a_link_that_others_can_turn_midway_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        // Good at both ends, but the way leads through a directory of others.
        std::fs::create_dir(dir.join("theirs")).unwrap();
        std::fs::write(dir.join("ours"), "x").unwrap();
        symlink(dir.join("ours"), dir.join("theirs/turn")).unwrap();
        symlink("theirs/turn", dir.join("link")).unwrap();
        let rule = Rule {
            owners: vec![nix::unistd::geteuid().as_raw(), 0],
            ..rule()
        };
        assert!(open(dir, "link".as_ref(), &rule).is_ok());
        std::fs::set_permissions(dir.join("theirs"), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(refusal(dir, "link", &rule).contains("theirs"));
        std::fs::set_permissions(dir.join("theirs"), PermissionsExt::from_mode(0o1777)).unwrap();
        assert!(
            open(dir, "link".as_ref(), &rule).is_ok(),
            "sticky, and the link is ours"
        );
    }

    #[test]
    fn a_version_tells_one_writing_from_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::write(dir.join("t"), "x").unwrap();
        let first = open(dir, "t".as_ref(), &rule()).unwrap().version;
        assert_eq!(open(dir, "t".as_ref(), &rule()).unwrap().version, first);
        std::fs::write(dir.join("t"), "xy").unwrap();
        assert_ne!(open(dir, "t".as_ref(), &rule()).unwrap().version, first);
    }
}
