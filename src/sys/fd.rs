//! Descriptors that arrive as numbers.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Takes ownership of a descriptor that the kernel has just made for us
/// (SCM_RIGHTS) or that our parent left open for us (`--worker FD`).
///
/// The caller must be the only owner: nothing else in this process may close it.
pub fn own_fd(raw: RawFd) -> OwnedFd {
    assert!(raw >= 0, "a descriptor is never negative");
    // SAFETY: the number is not negative, and by the rule above no other owner
    // exists; a closed number makes later calls fail with EBADF, not undefined.
    unsafe { OwnedFd::from_raw_fd(raw) }
}
