//! The calls of fanotify(7), and file handles: what names a directory for as long
//! as it exists, whatever becomes of its path.
//!
//! A handle travels as the kernel writes it into its records: the number of its
//! bytes, its type, the bytes (`struct file_handle` of <fcntl.h>).

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::own_fd;

/// `MAX_HANDLE_SZ` of <linux/exportfs.h>.
const MOST: usize = 128;

/// `struct file_handle` with room for the largest.
#[repr(C)]
struct Buffer {
    length: u32,
    kind: i32,
    bytes: [u8; MOST],
}

/// A new group for notification, non-blocking, closed on exec, with neither a
/// bound on its queue nor on its marks. `pidfd`: each record has one.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`, `EINVAL` before Linux 5.17, `ENOSYS`,
/// `EMFILE` (`fs.fanotify.max_user_groups`, or descriptors).
pub fn init(pidfd: bool) -> io::Result<OwnedFd> {
    let mut flags = libc::FAN_CLASS_NOTIF
        | libc::FAN_CLOEXEC
        | libc::FAN_NONBLOCK
        | libc::FAN_UNLIMITED_QUEUE
        | libc::FAN_UNLIMITED_MARKS
        | libc::FAN_REPORT_DFID_NAME_TARGET;
    if pidfd {
        flags |= libc::FAN_REPORT_PIDFD;
    }
    let events = (libc::O_RDONLY | libc::O_LARGEFILE | libc::O_CLOEXEC).cast_unsigned();
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::fanotify_init(flags, events) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(own_fd(fd))
}

/// Adds, changes or removes the mark (`FAN_MARK_*` in `flags`) of what `target` is
/// open on, by its path in /proc, so that a path descriptor serves.
///
/// # Errors
/// As fanotify_mark(2): `EOPNOTSUPP`, `ENODEV` and `EXDEV` where the file system
/// cannot do it, `EPERM`, `ENOMEM`.
pub fn mark(
    group: BorrowedFd<'_>,
    flags: u32,
    mask: u64,
    target: BorrowedFd<'_>,
) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}\0", target.as_raw_fd());
    let path = CStr::from_bytes_until_nul(path.as_bytes()).map_err(io::Error::other)?;
    // SAFETY: `path` is NUL-terminated and outlives the call.
    let rc = unsafe {
        libc::fanotify_mark(
            group.as_raw_fd(),
            flags,
            mask,
            libc::AT_FDCWD,
            path.as_ptr(),
        )
    };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Records that wait in the queue. The kernel counts the fixed part of each alone.
///
/// # Errors
/// None are expected of a fanotify descriptor.
pub fn queued(group: BorrowedFd<'_>) -> io::Result<u64> {
    let fixed = size_of::<libc::fanotify_event_metadata>() as u64;
    super::inotify::queued(group).map(|bytes| bytes / fixed)
}

/// The handle of `name` in `dir`, or of `dir` itself where `name` is empty.
/// Appended to `out` as it stands in a record.
///
/// # Errors
/// `EOPNOTSUPP` where the file system has none; as name_to_handle_at(2).
pub fn handle(dir: BorrowedFd<'_>, name: &CStr, out: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = Buffer {
        length: MOST as u32,
        kind: 0,
        bytes: [0; MOST],
    };
    let mut mount: libc::c_int = 0;
    let at = &raw mut buffer;
    // SAFETY: `name` is NUL-terminated; the buffer has the layout of `struct
    // file_handle` and the room that its `length` says; `mount` is an int.
    let rc = unsafe {
        libc::name_to_handle_at(
            dir.as_raw_fd(),
            name.as_ptr(),
            at.cast(),
            &mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes = buffer.bytes.get(..buffer.length as usize);
    let bytes = bytes.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    out.extend_from_slice(&buffer.length.to_ne_bytes());
    out.extend_from_slice(&buffer.kind.to_ne_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Opens what `handle` (as in a record) names, as a path descriptor. `mount` is
/// any descriptor on a mount of its file system.
///
/// # Errors
/// `ESTALE` when it is gone; `EPERM` without `CAP_DAC_READ_SEARCH`; `EINVAL` for
/// bytes that are no handle.
pub fn open_handle(mount: BorrowedFd<'_>, handle: &[u8]) -> io::Result<OwnedFd> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let (length, rest) = handle.split_first_chunk::<4>().ok_or_else(wrong)?;
    let (kind, bytes) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
    let mut buffer = Buffer {
        length: u32::from_ne_bytes(*length),
        kind: i32::from_ne_bytes(*kind),
        bytes: [0; MOST],
    };
    if buffer.length as usize != bytes.len() {
        return Err(wrong());
    }
    buffer
        .bytes
        .get_mut(..bytes.len())
        .ok_or_else(wrong)?
        .copy_from_slice(bytes);
    let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    let at = &raw mut buffer;
    // SAFETY: the buffer has the layout of `struct file_handle` and at least the
    // bytes that its `length` says; the kernel only reads it.
    let fd = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), at.cast(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(own_fd(fd))
}

/// The mount that `target` was reached through, once more and by itself: at no path, and
/// with nothing mounted in it. It is gone when the descriptor is closed.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`, `EINVAL` for a mount of another namespace or an
/// unbindable one; as open_tree(2).
pub fn clone_mount(target: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32;
    let (dir, name) = (target.as_raw_fd(), c"".as_ptr());
    // SAFETY: the name is NUL-terminated and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, dir, name, flags) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(own_fd(fd))
}

/// The number by which records name the file system of `target`.
///
/// # Errors
/// As fstatfs(2).
pub fn fsid(target: BorrowedFd<'_>) -> io::Result<[u8; 8]> {
    let mut out = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `out` is a whole `struct statfs`.
    let rc = unsafe { libc::fstatfs(target.as_raw_fd(), out.as_mut_ptr()) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed plain integers are valid, and the kernel filled them in.
    let statfs = unsafe { out.assume_init() };
    // SAFETY: fsid_t is two ints without padding; libc keeps them private.
    Ok(unsafe { std::mem::transmute::<libc::fsid_t, [u8; 8]>(statfs.f_fsid) })
}

/// The number of the mount through which `target` was reached, as in mountinfo.
///
/// # Errors
/// As statx(2); `Unsupported` before Linux 5.8.
pub fn mount_id(target: BorrowedFd<'_>) -> io::Result<u64> {
    mount_number(target, libc::STATX_MNT_ID)
}

/// A number of that mount which no other one has or will have.
///
/// # Errors
/// As statx(2); `Unsupported` before Linux 6.8.
pub fn unique_mount_id(target: BorrowedFd<'_>) -> io::Result<u64> {
    mount_number(target, STATX_MNT_ID_UNIQUE)
}

/// From <linux/stat.h>.
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

fn mount_number(target: BorrowedFd<'_>, which: u32) -> io::Result<u64> {
    let mut out = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the name is NUL-terminated, `out` is a whole `struct statx`.
    let rc = unsafe {
        libc::statx(
            target.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            which,
            out.as_mut_ptr(),
        )
    };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed plain integers are valid, and the kernel filled them in.
    let stat = unsafe { out.assume_init() };
    if stat.stx_mask & which == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(stat.stx_mnt_id)
}
