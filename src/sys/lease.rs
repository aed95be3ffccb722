//! Whether somebody is writing a file right now.

use std::os::fd::{AsRawFd, BorrowedFd};

/// True while the file is open for writing anywhere. The kernel grants a read
/// lease exactly when it is not (fcntl(2), F_SETLEASE); the lease is given back
/// at once. False where leases do not exist (network file systems) or we may
/// not have one (CAP_LEASE).
///
/// A writer that comes in between is announced by SIGIO: the caller must have
/// it blocked.
pub fn is_being_written(file: BorrowedFd<'_>) -> bool {
    // SAFETY: takes numbers; the descriptor is borrowed for the call.
    let refused = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) } < 0;
    if refused {
        return std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
    }
    // SAFETY: as above.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    false
}
