//! What a command reads: bytes in a sealed memory file.
//!
//! A file, unlike a pipe, is complete before the command starts: nothing has to
//! be written while it runs, and a command that never reads holds nothing up.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::Job;
use super::error::StartError;
use crate::sys::memory::sealed;

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
