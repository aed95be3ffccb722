//! The private directory in which a table is edited.
//!
//! The file is opened by everyone by its path: by the editor, and by us after
//! it. So the directory is the guard: made by mkdtemp(3), mode 0700, the
//! caller's. What comes back must be a plain file of the caller's all the same.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::control::MAX_TABLE;

/// The file's name; editors choose their colours by it.
const NAME: &str = "table.incron";

/// A directory with a table in it; removed when dropped, unless kept.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    file: PathBuf,
    keep: bool,
}

/// What the editor left.
#[derive(Debug)]
pub enum Left {
    /// A file of a size that a table may have.
    Text(Vec<u8>),
    /// A file that no table can be, and why.
    Unfit(String),
}

impl Scratch {
    /// A new directory below `$TMPDIR` (when absolute) or /tmp, with `text` in it.
    ///
    /// # Errors
    /// The directory or the file cannot be made.
    pub fn new(tmpdir: Option<OsString>, text: &[u8]) -> Result<Self, Error> {
        let base = tmpdir.map(PathBuf::from).filter(|dir| dir.is_absolute());
        let base = base.unwrap_or_else(|| "/tmp".into());
        let dir =
            nix::unistd::mkdtemp(&base.join("incrontab.XXXXXX")).map_err(|e| Error::Scratch {
                path: base,
                error: e.into(),
            })?;
        let file = dir.join(NAME);
        let scratch = Self {
            dir,
            file,
            keep: false,
        };
        scratch.write(text).map_err(|error| Error::File {
            path: scratch.file.clone(),
            error,
        })?;
        Ok(scratch)
    }

    /// The file to edit.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// From here on the directory stays: the person's text is in it.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.file)?;
        file.write_all(text)
    }

    /// Reads the file back, as whatever the editor made of it.
    pub fn read(&self) -> Left {
        match self.open().and_then(|file| read_bounded(file, MAX_TABLE)) {
            Ok(Some(text)) => Left::Text(text),
            Ok(None) => Left::Unfit(format!(
                "it is larger than {} KiB, the most a table may be",
                MAX_TABLE / 1024
            )),
            Err(e) => Left::Unfit(e.to_string()),
        }
    }

    fn open(&self) -> io::Result<File> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK; // a FIFO here must not hang us
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&self.file)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::other("it is not a plain file any more"));
        }
        if about.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other("it belongs to another user now"));
        }
        Ok(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.dir); // swap and backup files with it
        }
    }
}

/// Everything in `from`, or None where that is more than `most` bytes.
///
/// # Errors
/// As read(2).
pub fn read_bounded(from: impl Read, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= most).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn scratch(base: &Path) -> Scratch {
        Scratch::new(Some(base.into()), b"text\n").expect("made")
    }

    #[test]
    fn private_and_gone_afterwards() {
        let base = tempfile::tempdir().expect("tempdir");
        let made = scratch(base.path());
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        assert_eq!(mode(made.file()), 0o600);
        assert_eq!(mode(made.file().parent().expect("dir")), 0o700);
        assert!(matches!(made.read(), Left::Text(t) if t == b"text\n"));
        drop(made);
        assert_eq!(fs::read_dir(base.path()).expect("dir").count(), 0);
    }

    #[test]
    fn kept_when_asked() {
        let base = tempfile::tempdir().expect("tempdir");
        let mut made = scratch(base.path());
        made.keep();
        let file = made.file().to_owned();
        drop(made);
        assert_eq!(fs::read(file).expect("kept"), b"text\n");
    }

    #[test]
    fn only_a_plain_file_of_a_bounded_size_comes_back() {
        let base = tempfile::tempdir().expect("tempdir");
        let made = scratch(base.path());
        fs::write(made.file(), vec![b'#'; MAX_TABLE + 1]).expect("written");
        assert!(matches!(made.read(), Left::Unfit(why) if why.contains("larger")));
        fs::remove_file(made.file()).expect("removed");
        assert!(matches!(made.read(), Left::Unfit(_)));
        symlink("/etc/passwd", made.file()).expect("linked");
        assert!(matches!(made.read(), Left::Unfit(_)));
        fs::remove_file(made.file()).expect("removed");
        nix::unistd::mkfifo(made.file(), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        assert!(matches!(made.read(), Left::Unfit(why) if why.contains("plain")));
    }

    #[test]
    fn a_relative_tmpdir_is_not_used() {
        let made = Scratch::new(Some("relative".into()), b"").expect("made");
        assert!(made.file().starts_with("/tmp"));
    }
}
