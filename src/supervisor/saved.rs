//! Work that a worker could not start before it was stopped, kept over the
//! restart: `state_dir/saved/OWNER.jsonl`. Never read here, only stored.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::process::Owner;
use crate::worker::protocol::MAX_SAVED;

/// The directory of saved work.
#[derive(Clone, Debug)]
pub struct Saved {
    dir: PathBuf,
}

impl Saved {
    /// Below `state_dir`; made when there is something to keep.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("saved"),
        }
    }

    /// An account can be called "system", but none has an `@` in its name.
    fn path(&self, owner: &Owner) -> PathBuf {
        let name = if owner.system { "@system" } else { &owner.name };
        self.dir.join(format!("{name}.jsonl"))
    }

    /// The saved work of `owner`, if there is any.
    pub fn open(&self, owner: &Owner) -> Option<File> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(self.path(owner));
        match file {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log::error!("cannot read {}: {error}", self.path(owner).display());
                None
            }
        }
    }

    /// Whether there is any.
    pub fn exists(&self, owner: &Owner) -> bool {
        self.path(owner).exists()
    }

    /// It was taken up.
    pub fn remove(&self, owner: &Owner) {
        match std::fs::remove_file(self.path(owner)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::error!("cannot remove {}: {error}", self.path(owner).display());
            }
            _ => {}
        }
    }

    /// Keeps what a worker handed over, which must be a file in memory: any other
    /// could make us wait. Whole or not at all.
    pub fn keep(&self, owner: &Owner, memory: OwnedFd) -> io::Result<()> {
        let memory = File::from(memory);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.path(owner);
        let fresh = path.with_extension("new");
        let _ = std::fs::remove_file(&fresh);
        let written = write(&fresh, &memory).and_then(|()| std::fs::rename(&fresh, &path));
        if written.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        written
    }
}

fn write(path: &Path, memory: &File) -> io::Result<()> {
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let copied = io::copy(
        &mut FromStart {
            file: memory,
            at: 0,
        }
        .take(MAX_SAVED + 1),
        &mut out,
    )?;
    if copied > MAX_SAVED {
        return Err(io::Error::other("it is larger than 64 MiB"));
    }
    out.flush()?;
    out.sync_all()
}

/// Reads a file from its start, wherever its position is: the worker shares it.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};

    fn owner(name: &str) -> Owner {
        Owner {
            name: name.into(),
            system: name == "system",
            account: None,
        }
    }

    #[test]
    fn kept_whole_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::new(&dir.path().join("not/there/yet"));
        assert!(saved.open(&owner("alice")).is_none());
        let memory = memfd_create(c"t", MFdFlags::MFD_CLOEXEC).unwrap();
        File::from(memory.try_clone().unwrap())
            .write_all(b"{}\n")
            .unwrap();
        saved.keep(&owner("alice"), memory).unwrap();
        let mut text = String::new();
        saved
            .open(&owner("alice"))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "{}\n");
        assert!(!saved.exists(&owner("system")));
        saved.remove(&owner("alice"));
        assert!(!saved.exists(&owner("alice")));
    }

    #[test]
    fn not_too_much_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::new(dir.path());
        let memory = memfd_create(c"t", MFdFlags::MFD_CLOEXEC).unwrap();
        File::from(memory.try_clone().unwrap())
            .set_len(MAX_SAVED + 1)
            .unwrap();
        assert!(saved.keep(&owner("alice"), memory).is_err());
        assert!(!saved.exists(&owner("alice")));
        assert_eq!(
            std::fs::read_dir(dir.path().join("saved")).unwrap().count(),
            0
        );
    }
}
