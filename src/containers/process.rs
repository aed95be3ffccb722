//! What /proc says of a process that belongs to a container: its parent, words and
//! users, and the mount that is its root.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::libc::pid_t;

use super::files;
use super::rights::Range;

/// A process number on this host.
pub type Pid = pid_t;

fn file(pid: Pid, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// Every process there is; those that come meanwhile may be missing.
pub fn all() -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let number = |name: OsString| name.to_str().and_then(|name| name.parse().ok());
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter_map(number).collect()
}

/// The name, at most 15 bytes; empty where the process is gone.
pub fn comm(pid: Pid) -> String {
    let text = files::text(&file(pid, "comm"), files::PROC).unwrap_or_default();
    text.trim_end_matches('\n').to_owned()
}

/// The command line; empty for a kernel thread and where the process is gone.
pub fn words(pid: Pid) -> Vec<OsString> {
    let bytes = files::read(&file(pid, "cmdline"), files::PROC).unwrap_or_default();
    let words = bytes.split(|&byte| byte == 0);
    words
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect()
}

/// Fields of /proc/PID/stat after the name, from field 3 (the state) on.
fn stat(pid: Pid) -> Option<Vec<String>> {
    let text = files::text(&file(pid, "stat"), files::PROC).ok()?;
    let (_, after) = text.rsplit_once(')')?; // a name may hold anything
    Some(after.split_whitespace().map(str::to_owned).collect())
}

/// The parent's number.
pub fn parent(pid: Pid) -> Option<Pid> {
    stat(pid)?.get(1)?.parse().ok()
}

/// True for a process of the process namespace that we are in, whose numbers and
/// paths are ours. An engine inside a container has other ones.
pub fn is_ours(pid: Pid) -> bool {
    let namespace = |path: &Path| std::fs::read_link(path).ok();
    let ours = namespace(Path::new("/proc/self/ns/pid"));
    ours.is_some() && ours == namespace(&file(pid, "ns/pid"))
}

/// Host users that the process's user namespace knows.
pub fn mapped_users(pid: Pid) -> Vec<Range> {
    let text = files::text(&file(pid, "uid_map"), files::PROC).unwrap_or_default();
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().skip(1);
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    text.lines().filter_map(range).collect()
}

/// Where the process's root is, as a path of ours.
pub fn root(pid: Pid) -> PathBuf {
    file(pid, "root")
}

/// Where root's engines have this absolute path. In a container that shares the machine's
/// processes, `/` is another one than theirs; with CAP_SYS_PTRACE theirs can be entered.
pub fn engines(path: &Path) -> PathBuf {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let other = || {
        // The first process may be closed even to root, by what runs a virtual machine;
        // the second is a thread of the kernel.
        let (first, there) = [1, 2]
            .map(root)
            .into_iter()
            .find_map(|r| Some((place(&r)?, r)))?;
        (Some(first) != place(Path::new("/"))).then_some(there)
    };
    match (ROOT.get_or_init(other), path.strip_prefix("/")) {
        (Some(root), Ok(rest)) => root.join(rest),
        _ => path.to_owned(),
    }
}

/// Whether a container's first process has still the root of those who start it: that of the
/// engines, or of its parent, where theirs is closed to us.
pub fn is_outside(pid: Pid) -> bool {
    let of_parent = parent(pid).and_then(|parent| place(&root(parent)));
    let theirs = [place(&engines(Path::new("/"))), of_parent];
    // The root of fuse-overlayfs is closed to root, so that it is not theirs.
    place(&root(pid)).is_some_and(|root| theirs.contains(&Some(root)))
}

/// The numbers of a file system and of a directory in it.
type Place = (u64, u64);

fn place(path: &Path) -> Option<Place> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.dev(), data.ino()))
}

/// The mounts of the process.
///
/// # Errors
/// `ENOENT` where it is gone.
pub fn mounts(pid: Pid) -> io::Result<Vec<u8>> {
    files::read(&file(pid, "mountinfo"), files::METADATA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_ourselves() {
        let own = std::process::id() as Pid;
        assert!(all().contains(&own));
        assert!(is_ours(own));
        assert_eq!(
            parent(own),
            Some(std::os::unix::process::parent_id() as Pid)
        );
        assert!(!words(own).is_empty());
    }

    #[test]
    fn nobody_is_no_error() {
        assert_eq!((comm(-1), parent(-1)), (String::new(), None));
        assert!(words(-1).iter().all(|word| word.is_empty()));
        assert!(mapped_users(-1).is_empty() && !is_ours(-1));
    }
}
