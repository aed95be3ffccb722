//! Where a symbolic link leads, without the page on the heap that others take for it:
//! asked for each program that the machine executes.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;

/// readlinkat(2); a longer text than `PATH_MAX` is cut off there, as the kernel does.
pub fn read_link_at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OsString> {
    let mut buffer = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the name ends with NUL, and the buffer has the length given; both outlive
    // the call.
    let length = unsafe {
        let text = buffer.as_mut_ptr().cast();
        libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), text, buffer.len())
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let text = buffer.get(..length).unwrap_or_default();
    Ok(OsString::from_vec(text.to_vec()))
}
