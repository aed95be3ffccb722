//! What a command reads: bytes in a sealed memory file.
//!
//! A file, unlike a pipe, is complete before the command starts: nothing has to
//! be written while it runs, and a command that never reads holds nothing up.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::Job;
use super::error::StartError;
use super::pipe::above_stdio;

/// The job's standard input; None: /dev/null.
pub(super) fn open(job: &Job) -> Result<Option<OwnedFd>, StartError> {
    if job.stdin.is_empty() {
        return Ok(None);
    }
    sealed(&job.stdin)
        .map(Some)
        .map_err(|error| StartError::Stdin {
            program: job.argv.first().cloned().unwrap_or_default(),
            size: job.stdin.len(),
            errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
        })
}

/// A file in memory, at its start, that nobody can change.
pub(crate) fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(above_stdio(create()?)?);
    file.write_all(bytes)?;
    file.rewind()?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
    Ok(file.into())
}

/// Not executable, as vm.memfd_noexec=2 wants it; before Linux 6.3 that flag is
/// unknown.
fn create() -> nix::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let noexec = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    match memfd_create(c"incron-stdin", flags | noexec) {
        Err(Errno::EINVAL) => memfd_create(c"incron-stdin", flags),
        result => result,
    }
}
