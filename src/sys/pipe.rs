//! What only a pipe can be asked.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How many bytes nobody has read yet (`FIONREAD`, pipe(7)).
pub(crate) fn unread(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    let mut size: libc::c_int = 0;
    // SAFETY: FIONREAD stores one int, and `size` outlives the call.
    let result = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut size) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(size).unwrap_or(0))
}
