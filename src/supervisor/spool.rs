//! Users' tables on disk: written whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Puts `text` in place of `dir/name`, so that a reader, or a crash, meets the
/// old table or the new one and nothing in between. On disk when it returns.
pub fn install(dir: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // The dot keeps it from being taken for a table; one writer at a time, by
    // the lock, so what is there is a leftover.
    let fresh = dir.join(format!(".{name}.new"));
    let _ = std::fs::remove_file(&fresh);
    let written = write(&fresh, text).and_then(|()| std::fs::rename(&fresh, dir.join(name)));
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    written?;
    File::open(dir)?.sync_all()
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Removes `dir/name`. False: there was none.
pub fn remove(dir: &Path, name: &str) -> io::Result<bool> {
    match std::fs::remove_file(dir.join(name)) {
        Ok(()) => File::open(dir)?.sync_all().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn whole_private_and_over_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("spool");
        install(&spool, "alice", b"one").unwrap();
        std::fs::write(spool.join(".alice.new"), "left over").unwrap();
        install(&spool, "alice", b"two").unwrap();
        assert_eq!(std::fs::read(spool.join("alice")).unwrap(), b"two");
        let mode = std::fs::metadata(spool.join("alice"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 1);
        assert!(remove(&spool, "alice").unwrap());
        assert!(!remove(&spool, "alice").unwrap());
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("alice/x")).unwrap();
        assert!(install(dir.path(), "alice", b"one").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
