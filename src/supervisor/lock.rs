//! One daemon a lock file.
//!
//! The kernel holds the lock and frees it with the process, so a stale file
//! never blocks a start; the number in it is for people and for `-k`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Held as long as it lives; the file goes with it.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    owner: u32,
}

/// Why the lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it.
    #[error("another instance of incrond already running")]
    Held,
    /// The file cannot be made or written.
    #[error("cannot use the lock file {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock and writes the number of this process into its file.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let wrap = |source| LockError::File {
            path: path.to_owned(),
            source,
        };
        loop {
            let mut file = open(path, true).map_err(wrap)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockError::Held),
                Err(TryLockError::Error(error)) => return Err(wrap(error)),
            }
            // The former holder may have removed the file between our open
            // and our lock: then the lock is on a file nobody else will find.
            if is_at(&file, path) {
                write_pid(&mut file).map_err(wrap)?;
                return Ok(Self {
                    file,
                    path: path.to_owned(),
                    owner: std::process::id(),
                });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Not in a child that has a copy of the descriptor.
        if self.owner == std::process::id() && is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path, write: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(write)
        .create(write)
        .truncate(false)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(std::process::id().to_string().as_bytes())
}

/// Sends SIGTERM to the holder of the lock. False: nobody holds it.
pub fn terminate_holder(path: &Path) -> io::Result<bool> {
    let mut file = match open(path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    if !is_held(&file)? {
        return Ok(false);
    }
    let mut text = String::new();
    (&mut file).take(32).read_to_string(&mut text)?;
    let pid: i32 = text
        .trim()
        .parse()
        .map_err(|_| io::Error::other("it holds no number"))?;
    if pid <= 1 {
        return Err(io::Error::other("it does not hold the number of a daemon"));
    }
    let Some(holder) = process(pid)? else {
        return Ok(false);
    };
    // The number was read from a file: while the lock is still held and the
    // descriptor was opened in between, it is the holder's and not another's.
    if !is_held(&file)? {
        return Ok(false);
    }
    crate::sys::process::signal(holder.as_fd(), libc::SIGTERM)?;
    Ok(true)
}

fn process(pid: i32) -> io::Result<Option<OwnedFd>> {
    match crate::sys::pidfd_of(pid) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        other => other.map(Some),
    }
}

fn is_held(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_no_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pid");
        let first = Lock::take(&path).unwrap();
        assert!(matches!(Lock::take(&path), Err(LockError::Held)));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, std::process::id().to_string());
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_file_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pid");
        std::fs::write(&path, "999999999").unwrap();
        assert!(!terminate_holder(&path).unwrap());
        let lock = Lock::take(&path).unwrap();
        drop(lock);
        assert!(!terminate_holder(&path).unwrap());
    }

    #[test]
    fn neither_links_nor_pipes_are_lock_files() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        std::fs::write(&target, "precious").unwrap();
        let link = dir.path().join("x.pid");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(Lock::take(&link), Err(LockError::File { .. })));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(Lock::take(&fifo), Err(LockError::File { .. })));
    }
}
