//! `output=PATH`: a file to append to, opened so that nobody can make it
//! another file.
//!
//! A command that runs as a user opens the file itself, as that user
//! (`Program::append`): the kernel decides. For a command of root this is done
//! here, because whoever may write to a directory on the way could plant a link
//! to `/etc/cron.d` there: every directory and every link on the way must be
//! root's, no directory may be writable by everybody (unless sticky), and the
//! file must be a regular one of root's with one name.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, fcntl, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};

/// Links followed on the way, as many as the kernel follows.
const MAX_LINKS: u32 = 40;

/// Why a path is refused: an error number and a sentence.
pub(super) type Refusal = (Errno, String);

/// Opens an absolute `path` for appending, by the rules for root; a new file has
/// mode 0666 less `umask` and less that of this process.
pub(super) fn open_append(path: &Path, umask: u32) -> Result<OwnedFd, Refusal> {
    let (directory, name) = trusted_directory(path)?;
    let fd = open_file(directory.as_fd(), &name, 0o666 & !umask)?;
    let stat = fstat(&fd).map_err(plain)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err((Errno::EINVAL, "it is not a regular file".into()));
    }
    if stat.st_uid != 0 {
        return Err(refused(format!(
            "it belongs to uid {}, not to root",
            stat.st_uid
        )));
    }
    if stat.st_nlink != 1 {
        return Err(refused("it has a second name (a hard link)".into()));
    }
    // O_NONBLOCK was for the open only: a FIFO must not hold the worker up.
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_APPEND)).map_err(plain)?;
    Ok(fd)
}

fn open_file<F: AsFd>(directory: F, name: &OsStr, mode: u32) -> Result<OwnedFd, Refusal> {
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC;
    let guards = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mode = Mode::from_bits_truncate(mode);
    openat(&directory, name, flags | guards, mode).map_err(|errno| match errno {
        Errno::ELOOP => (errno, "it is a symbolic link".into()),
        // Another's link in a sticky directory (fs.protected_symlinks, proc_sys_fs(5)).
        Errno::EACCES if is_link(&directory, name) => (errno, "it is a symbolic link".into()),
        Errno::ENXIO => (errno, "it is not a regular file".into()),
        errno => plain(errno),
    })
}

fn is_link<F: AsFd>(directory: F, name: &OsStr) -> bool {
    let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFLNK)
}

/// The directory of `path` and the name in it, after a walk that trusts only root.
fn trusted_directory(path: &Path) -> Result<(OwnedFd, OsString), Refusal> {
    let mut way = VecDeque::new();
    push_front(&mut way, path);
    let name = match way.pop_back() {
        Some(name) if name != ".." => name,
        _ => return Err((Errno::EISDIR, "it names a directory".into())),
    };
    let mut directory = open_directory(AT_FDCWD, OsStr::new("/"))?;
    let mut links = 0;
    while let Some(part) = way.pop_front() {
        let next = open_part(&directory, &part)?;
        let stat = fstat(&next).map_err(plain)?;
        check_owner(&part, &stat)?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFLNK {
            links += 1;
            if links > MAX_LINKS {
                return Err((Errno::ELOOP, "too many symbolic links on the way".into()));
            }
            let target = readlinkat(&next, "").map_err(plain)?;
            let target = Path::new(&target);
            if target.is_absolute() {
                directory = open_directory(AT_FDCWD, OsStr::new("/"))?;
            }
            push_front(&mut way, target);
        } else {
            directory = next;
        }
    }
    Ok((directory, name))
}

fn push_front(way: &mut VecDeque<OsString>, path: &Path) {
    for part in path.components().rev() {
        match part {
            Component::Normal(name) => way.push_front(name.to_owned()),
            Component::ParentDir => way.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

fn open_directory<F: AsFd>(at: F, name: &OsStr) -> Result<OwnedFd, Refusal> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(at, name, flags, Mode::empty()).map_err(plain)
}

/// The thing itself, also where it is a link.
fn open_part(directory: &OwnedFd, part: &OsStr) -> Result<OwnedFd, Refusal> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory, part, flags, Mode::empty()).map_err(|errno| {
        (
            errno,
            format!("{}: {}", part.to_string_lossy(), errno.desc()),
        )
    })
}

fn check_owner(part: &OsStr, stat: &FileStat) -> Result<(), Refusal> {
    let part = part.to_string_lossy();
    if stat.st_uid != 0 {
        return Err(refused(format!(
            "{part} on the way belongs to uid {}, not to root; user= makes it that user's own file",
            stat.st_uid
        )));
    }
    let is_directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let sticky = stat.st_mode & libc::S_ISVTX != 0;
    if is_directory && stat.st_mode & libc::S_IWOTH != 0 && !sticky {
        return Err(refused(format!(
            "directory {part} on the way is writable by everybody"
        )));
    }
    Ok(())
}

fn refused(reason: String) -> Refusal {
    (Errno::EPERM, reason)
}

fn plain(errno: Errno) -> Refusal {
    (errno, errno.desc().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    fn root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    #[test]
    fn roots_own_files_are_appended_to() {
        if !root() {
            return eprintln!("SKIPPED: needs root");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        symlink("real", dir.path().join("roots-link")).unwrap();
        let path = dir.path().join("roots-link/../roots-link/log");
        for _ in 0..2 {
            let fd = open_append(&path, 0).unwrap();
            nix::unistd::write(&fd, b"x").unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"xx");
    }

    #[test]
    fn root_trusts_no_other_users_link_directory_or_file() {
        if !root() {
            return eprintln!("SKIPPED: needs root");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("theirs")).unwrap();
        chown(path("theirs"), Some(65534), None).unwrap();
        fs::create_dir(path("open")).unwrap();
        fs::set_permissions(path("open"), fs::Permissions::from_mode(0o777)).unwrap();
        symlink("/etc", path("planted")).unwrap();
        std::os::unix::fs::lchown(path("planted"), Some(65534), None).unwrap();
        fs::write(path("file"), "").unwrap();
        chown(path("file"), Some(65534), None).unwrap();
        fs::write(path("twice"), "").unwrap();
        fs::hard_link(path("twice"), path("second-name")).unwrap();
        for name in [
            "theirs/log",
            "open/log",
            "planted/incron-test-log",
            "file",
            "twice",
        ] {
            let (errno, reason) = open_append(&path(name), 0).unwrap_err();
            assert_eq!(errno, Errno::EPERM, "{name}: {reason}");
        }
        assert!(!Path::new("/etc/incron-test-log").exists());
    }
}
