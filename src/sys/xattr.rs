//! Extended attributes of a file that is open, or only held (`O_PATH`).

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The value of the attribute `name`, as much of it as fits into `value`; None where
/// the file has none of this name, or its file system knows none.
///
/// # Errors
/// `EPERM` for `trusted.` without CAP_SYS_ADMIN; `ERANGE` for a longer value; else
/// as getxattr(2).
pub(crate) fn get<'a>(
    file: BorrowedFd<'_>,
    name: &CStr,
    value: &'a mut [u8],
) -> io::Result<Option<&'a [u8]>> {
    // fgetxattr(2) refuses a descriptor that is O_PATH; its name in /proc serves.
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    // SAFETY: both names are NUL-terminated; the kernel writes at most `value.len()`
    // bytes into `value`.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    match usize::try_from(length) {
        Ok(length) => Ok(value.get(..length)),
        Err(_) => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => {
                Ok(None)
            }
            error => Err(error),
        },
    }
}
