//! Files that others wrote: engines, and users who may plant anything in their
//! place. A link is not followed, a FIFO does not hold us up, nothing is endless.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

use super::rights;

/// What an engine's metadata may take; a store of thousands of containers has less.
pub const METADATA: u64 = 32 << 20;
/// What the kernel says of a process.
pub const PROC: u64 = 1 << 20;

/// The bytes of a regular file.
///
/// # Errors
/// As open(2) and read(2); `InvalidData` for what is not a regular file, or longer
/// than `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(invalid("not a regular file"));
    };
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags);
    let file = rights::within(dir, |dir| options.open(dir.join(name)))?;
    if !file.metadata()?.is_file() {
        return Err(invalid("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= limit {
        true => Ok(bytes),
        false => Err(invalid("too long")),
    }
}

/// The same, as text; bytes that are not UTF-8 are replaced.
///
/// # Errors
/// As [`read`].
pub fn text(path: &Path, limit: u64) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read(path, limit)?).into_owned())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
