//! Where a worker keeps what its `catch-up=` lines need: a file of its owner.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::process::Owner;

/// `state_dir/state.db`, for the worker of a user `state_dir/users/NAME/state.db`
/// in a directory that is made for the user. None: it could not be, and the log
/// says why.
pub fn file(state_dir: &Path, owner: &Owner) -> Option<PathBuf> {
    let Some(account) = &owner.account else {
        return Some(state_dir.join("state.db"));
    };
    let users = state_dir.join("users");
    let dir = users.join(&owner.name);
    let made = passable(state_dir)
        .and_then(|()| directory(&users, 0o711).map(drop))
        .and_then(|()| private(&dir, account.uid, account.gid));
    match made {
        Ok(()) => Some(dir.join("state.db")),
        Err(error) => {
            log::error!(
                "catch-up= has no effect for {}: {}: {error}",
                owner.name,
                dir.display()
            );
            None
        }
    }
}

/// Makes a directory where there is none; it.
fn directory(path: &Path, mode: u32) -> io::Result<File> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = libc::O_NOFOLLOW | libc::O_DIRECTORY;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Users pass through to their own directory; what is in it they cannot list.
fn passable(state_dir: &Path) -> io::Result<()> {
    let dir = directory(state_dir, 0o711)?;
    let mode = dir.metadata()?.mode();
    if mode & 0o011 != 0o011 {
        dir.set_permissions(Permissions::from_mode((mode & 0o7777) | 0o011))?;
    }
    Ok(())
}

/// The user's own. One left behind by an earlier account of this name is not.
fn private(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let dir = directory(path, 0o700)?;
    let found = dir.metadata()?.uid();
    if found == uid {
        return Ok(());
    }
    if std::fs::read_dir(path)?.next().is_some() {
        let text = format!("it belongs to uid {found}, an earlier account: remove it");
        return Err(io::Error::other(text));
    }
    fchown(&dir, Some(uid), Some(gid))
}
