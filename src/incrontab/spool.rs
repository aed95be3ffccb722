//! The spool directory, written by root while no daemon runs.
//!
//! Everything happens relative to one open directory; a table is complete
//! under a hidden name before it takes the place of the old one, so a daemon
//! that starts meanwhile sees the old table or the new one.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use super::error::Error;
use super::scratch::read_bounded;
use crate::config::Config;
use crate::control::MAX_TABLE;
use crate::supervisor::access::Access;

/// One user's place in the spool directory.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    dir: OwnedFd,
    owner: String,
}

impl Spool {
    /// Opens the directory for the table of `owner`.
    ///
    /// # Errors
    /// There is no such directory, others may write to it, or `owner` may not
    /// have a table: what the daemon would refuse is refused without it, too.
    pub fn open(config: &Config, owner: &str) -> Result<Self, Error> {
        let denied = |why| Error::NotAllowed {
            user: owner.to_owned(),
            why,
        };
        Access::read(config).check(owner).map_err(denied)?;
        let path = config.user_table_dir.clone();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let failed = |e: Errno| Error::File {
            path: path.clone(),
            error: e.into(),
        };
        let dir = open(&path, flags, Mode::empty()).map_err(failed)?;
        let about = fstat(&dir).map_err(failed)?;
        let shown = path.display();
        if about.st_mode & libc::S_IWOTH != 0 {
            return Err(Error::Spool(format!(
                "{shown} is writable by everyone; mend it first: chmod 0700 {shown}"
            )));
        }
        Ok(Self {
            path,
            dir,
            owner: owner.to_owned(),
        })
    }

    /// The table; None where there is none.
    ///
    /// # Errors
    /// It is no plain file of the size of a table, or cannot be read.
    pub fn get(&self) -> Result<Option<Vec<u8>>, Error> {
        match self.read() {
            Ok(Some(table)) => Ok(Some(table)),
            Ok(None) => Err(Error::TooLarge {
                what: format!("{} is too large", self.file().display()),
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::File {
                path: self.file(),
                error,
            }),
        }
    }

    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(self.dir.as_fd(), self.owner.as_str(), flags, Mode::empty())?;
        let about = fstat(&file)?;
        if SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(io::Error::other("not a plain file"));
        }
        read_bounded(File::from(file), MAX_TABLE)
    }

    /// Replaces the table, wholly or not at all; mode 0600, owner root.
    ///
    /// # Errors
    /// It cannot be written; the old table is as it was.
    pub fn install(&self, table: &[u8]) -> Result<(), Error> {
        let hidden = format!(".{}.{}", self.owner, std::process::id());
        self.replace(&hidden, table).map_err(|error| {
            let _ = unlinkat(
                self.dir.as_fd(),
                hidden.as_str(),
                UnlinkatFlags::NoRemoveDir,
            );
            Error::File {
                path: self.file(),
                error,
            }
        })
    }

    fn replace(&self, hidden: &str, table: &[u8]) -> io::Result<()> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let create = || {
            openat(
                self.dir.as_fd(),
                hidden,
                flags,
                Mode::S_IRUSR | Mode::S_IWUSR,
            )
        };
        let fd = match create() {
            // Left by a process of this number that was killed here.
            Err(Errno::EEXIST) => {
                unlinkat(self.dir.as_fd(), hidden, UnlinkatFlags::NoRemoveDir)?;
                create()?
            }
            other => other?,
        };
        let mut file = File::from(fd);
        file.write_all(table)?;
        file.sync_all()?;
        renameat(
            self.dir.as_fd(),
            hidden,
            self.dir.as_fd(),
            self.owner.as_str(),
        )?;
        fsync(&self.dir)?;
        Ok(())
    }

    /// Removes the table; false where there was none.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self) -> Result<bool, Error> {
        match unlinkat(
            self.dir.as_fd(),
            self.owner.as_str(),
            UnlinkatFlags::NoRemoveDir,
        ) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(e) => Err(Error::File {
                path: self.file(),
                error: e.into(),
            }),
        }
    }

    fn file(&self) -> PathBuf {
        self.path.join(&self.owner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn config(dir: &Path) -> Config {
        let missing = dir.join("none");
        Config {
            user_table_dir: dir.into(),
            allowed_users: missing.clone(),
            denied_users: missing,
            ..Config::default()
        }
    }

    fn spool(dir: &Path) -> Spool {
        Spool::open(&config(dir), "alice").expect("opens")
    }

    #[test]
    fn a_table_comes_and_goes_byte_for_byte() {
        let dir = tempfile::tempdir().expect("tempdir");
        let spool = spool(dir.path());
        assert_eq!(spool.get().expect("none"), None);
        assert!(!spool.remove().expect("none"));
        for table in [&b"# \xff\0\r\n/a IN_CREATE x"[..], b""] {
            spool.install(table).expect("installs");
            assert_eq!(spool.get().expect("there").as_deref(), Some(table));
        }
        let about = fs::metadata(dir.path().join("alice")).expect("there");
        assert_eq!(about.permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
        assert!(spool.remove().expect("there"));
        assert_eq!(spool.get().expect("none"), None);
    }

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        let dir = tempfile::tempdir().expect("tempdir");
        let spool = spool(dir.path());
        symlink("/etc/passwd", dir.path().join("alice")).expect("links");
        assert!(spool.get().is_err());
        spool
            .install(b"x\n")
            .expect("a link is replaced, not followed");
        assert_eq!(spool.get().expect("there").as_deref(), Some(&b"x\n"[..]));
        spool.remove().expect("removes");
        nix::unistd::mkfifo(&dir.path().join("alice"), Mode::S_IRWXU).expect("fifo");
        assert!(
            spool
                .get()
                .expect_err("fifo")
                .to_string()
                .contains("not a plain file")
        );
        spool.remove().expect("removes");
        fs::write(dir.path().join("alice"), vec![b'#'; MAX_TABLE + 1]).expect("writes");
        assert!(matches!(spool.get(), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_failed_install_leaves_the_old_table() {
        let dir = tempfile::tempdir().expect("tempdir");
        let spool = spool(dir.path());
        fs::create_dir(dir.path().join("alice")).expect("a directory in its place");
        assert!(spool.install(b"x").is_err());
        assert_eq!(
            fs::read_dir(dir.path()).expect("dir").count(),
            1,
            "no hidden file stays"
        );
    }

    #[test]
    fn a_spool_that_everyone_may_write_is_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        let error = Spool::open(&config(dir.path()), "alice")
            .expect_err("refused")
            .to_string();
        assert!(error.contains("chmod 0700"), "{error}");
    }

    #[test]
    fn who_is_denied_is_denied_without_a_daemon_too() {
        let dir = tempfile::tempdir().expect("tempdir");
        let config = Config {
            denied_users: dir.path().join("deny"),
            ..config(dir.path())
        };
        fs::write(&config.denied_users, "alice\n").expect("writes");
        assert!(matches!(
            Spool::open(&config, "alice"),
            Err(Error::NotAllowed { .. })
        ));
        assert!(Spool::open(&config, "bob").is_ok());
    }
}
