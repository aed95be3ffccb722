//! The spool directory, managed by root while no daemon runs.
//!
//! By the daemon's own hands: what it would refuse to read or to install is
//! refused here, too, and a table that is installed is whole or not there.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::User;

use super::error::Error;
use super::scratch::read_bounded;
use super::tables::{Found, Version};
use crate::config::Config;
use crate::control::MAX_TABLE;
use crate::supervisor::access::Access;
use crate::supervisor::spool;
use crate::supervisor::tables::{self, Opened, Refusal, Rule};

/// One user's place in the spool directory.
#[derive(Debug)]
pub struct Spool<'a> {
    config: &'a Config,
    owner: &'a str,
}

impl<'a> Spool<'a> {
    /// The place of `owner`'s table.
    ///
    /// # Errors
    /// Everyone may write to the directory, or no table can have that name.
    pub fn open(config: &'a Config, owner: &'a str) -> Result<Self, Error> {
        if let Some(why) = tables::passed_over(OsStr::new(owner)) {
            return Err(Error::Spool(format!(
                "user '{owner}' cannot have a table: {why}"
            )));
        }
        let dir = &config.user_table_dir;
        match dir.metadata() {
            Ok(about) if about.mode() & libc::S_IWOTH != 0 => {
                let dir = dir.display();
                let how = format!("{dir} is writable by everyone; mend it first: chmod 0700 {dir}");
                Err(Error::Spool(how))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::File {
                path: dir.clone(),
                error,
            }),
            _ => Ok(Self { config, owner }),
        }
    }

    fn dir(&self) -> &Path {
        &self.config.user_table_dir
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::File {
            path: self.file(),
            error,
        }
    }

    fn file(&self) -> PathBuf {
        self.dir().join(self.owner)
    }

    /// The table.
    ///
    /// # Errors
    /// The file is none that the daemon would serve, or cannot be read.
    pub fn get(&self) -> Result<Found, Error> {
        let Opened { file, version } = match self.look() {
            Ok(opened) => opened,
            Err(Refusal::Missing) => return Ok(Found::default()),
            Err(why) => return Err(Error::Spool(format!("{}: {why}", self.file().display()))),
        };
        let table = read_bounded(file, MAX_TABLE).map_err(|e| self.failed(e))?;
        let large = || Error::TooLarge {
            what: format!("{} has grown", self.file().display()),
        };
        Ok(Found {
            text: Some(table.ok_or_else(large)?),
            version: Version(version.to_string()),
        })
    }

    fn look(&self) -> Result<Opened, Refusal> {
        let account = User::from_name(self.owner).ok().flatten();
        let rule = Rule::spool(account.map_or(0, |user| user.uid.as_raw()));
        tables::open(self.dir(), OsStr::new(self.owner), &rule)
    }

    fn compare(&self, over: Option<&Version>) -> Result<(), Error> {
        let Some(over) = over else { return Ok(()) };
        let same = match self.look() {
            Ok(opened) => opened.version.to_string() == over.0,
            Err(Refusal::Missing) => over.0.is_empty(),
            Err(_) => false,
        };
        same.then_some(()).ok_or(Error::Changed)
    }

    /// Replaces the table, wholly or not at all; mode 0600, owner root. With
    /// `over`, only that version.
    ///
    /// # Errors
    /// The user may not have one, it is another version, or cannot be written.
    pub fn install(&self, table: &[u8], over: Option<&Version>) -> Result<(), Error> {
        let user = || self.owner.to_owned();
        Access::read(self.config)
            .check(self.owner)
            .map_err(|why| Error::NotAllowed { user: user(), why })?;
        self.compare(over)?;
        spool::install(self.dir(), self.owner, table).map_err(|e| self.failed(e))
    }

    /// Removes the table; false where there was none. With `over`, only that version.
    ///
    /// # Errors
    /// It is another version, or cannot be removed.
    pub fn remove(&self, over: Option<&Version>) -> Result<bool, Error> {
        self.compare(over)?;
        spool::remove(self.dir(), self.owner).map_err(|e| self.failed(e))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Root's, in a directory that only the tester writes.
    const OWNER: &str = "root";

    fn config(dir: &Path) -> Config {
        Config {
            user_table_dir: dir.into(),
            allowed_users: dir.join(".allow"),
            denied_users: dir.join(".deny"),
            ..Config::default()
        }
    }

    #[test]
    fn a_table_comes_and_goes_byte_for_byte() {
        if !nix::unistd::getuid().is_root() {
            return; // a table must be root's or its owner's
        }
        let dir = tempfile::tempdir().expect("tempdir");
        let config = config(&dir.path().join("spool"));
        let spool = Spool::open(&config, OWNER).expect("opens");
        assert_eq!(spool.get().expect("none"), Found::default());
        assert!(!spool.remove(None).expect("none"));
        for table in [&b"# \xff\0\r\n/a IN_CREATE x"[..], b""] {
            spool.install(table, None).expect("installs");
            assert_eq!(spool.get().expect("there").text.as_deref(), Some(table));
        }
        let seen = spool.get().expect("there").version;
        spool.install(b"x", Some(&seen)).expect("installs");
        assert!(matches!(
            spool.install(b"y", Some(&seen)),
            Err(Error::Changed)
        ));
        assert!(matches!(spool.remove(Some(&seen)), Err(Error::Changed)));
        assert!(spool.remove(None).expect("there"));
        assert_eq!(spool.get().expect("none"), Found::default());
    }

    #[test]
    fn what_the_daemon_would_not_serve_is_not_read() {
        let dir = tempfile::tempdir().expect("tempdir");
        let config = config(dir.path());
        let spool = Spool::open(&config, OWNER).expect("opens");
        let file = dir.path().join(OWNER);
        symlink("/etc/passwd", &file).expect("links");
        assert!(
            spool
                .get()
                .expect_err("a link")
                .to_string()
                .contains("symbolic link")
        );
        fs::remove_file(&file).expect("removes");
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        assert!(spool.get().is_err());
    }

    #[test]
    fn who_is_denied_gets_none_and_loses_none() {
        let dir = tempfile::tempdir().expect("tempdir");
        let config = config(dir.path());
        fs::write(&config.denied_users, format!("{OWNER}\n")).expect("writes");
        fs::write(dir.path().join(OWNER), "x").expect("writes");
        let spool = Spool::open(&config, OWNER).expect("opens");
        assert!(matches!(
            spool.install(b"y", None),
            Err(Error::NotAllowed { .. })
        ));
        assert!(spool.remove(None).expect("root may still remove it"));
    }

    #[test]
    fn a_spool_that_everyone_may_write_is_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        let config = config(dir.path());
        let error = Spool::open(&config, OWNER)
            .expect_err("refused")
            .to_string();
        assert!(error.contains("chmod 0700"), "{error}");
        assert!(Spool::open(&config, ".hidden").is_err());
    }
}
