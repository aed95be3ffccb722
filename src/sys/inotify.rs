//! The calls of inotify, and those of a directory walk, that no safe wrapper
//! offers in the form the watch room needs: raw masks and watch descriptors,
//! `getdents64` into a buffer that is used again, `statx`, and leases.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub use super::clock::{file_clock, fine_stamps, keeps_fine_stamps, last_tick};

/// `IN_MASK_ADD`: the bits are added to those of an existing watch.
pub const MASK_ADD: u32 = libc::IN_MASK_ADD;

/// `F_SETSIG` of <fcntl.h>, which libc leaves out.
const F_SETSIG: libc::c_int = 10;

/// A new inotify instance: non-blocking, closed on exec.
///
/// # Errors
/// `EMFILE` when `fs.inotify.max_user_instances` or the descriptor limit is reached.
pub fn init() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer; the result is checked before it becomes an OwnedFd.
    let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds or changes the watch of `path`; gives its watch descriptor.
///
/// # Errors
/// As inotify_add_watch(2): `ENOSPC`, `ENOMEM`, `EACCES`, `ENOENT` ...
pub fn add_watch(inotify: BorrowedFd<'_>, path: &CStr, mask: u32) -> io::Result<i32> {
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    let wd = unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), mask) };
    if wd < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(wd)
    }
}

/// Ends a watch. The kernel queues `IN_IGNORED` for it.
///
/// # Errors
/// `EINVAL` when it had ended by itself.
pub fn rm_watch(inotify: BorrowedFd<'_>, wd: i32) -> io::Result<()> {
    // SAFETY: takes no pointer.
    let rc = unsafe { libc::inotify_rm_watch(inotify.as_raw_fd(), wd) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Bytes of events that wait in the queue (`FIONREAD`).
///
/// # Errors
/// None are expected of an inotify descriptor.
pub fn queued(inotify: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int through a pointer to one.
    let rc = unsafe { libc::ioctl(inotify.as_raw_fd(), libc::FIONREAD, &mut bytes) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}

/// Fills `buf` with directory entries (`struct linux_dirent64`); 0 at the end.
///
/// # Errors
/// `ENOENT` when the directory has been removed; as getdents64(2).
pub fn getdents(dir: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`.
    let n = unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            dir.as_raw_fd(),
            buf.as_mut_ptr(),
            buf.len(),
        )
    };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// A time of a file, in nanoseconds since 1970 (ends in 2262).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub i64);

impl Stamp {
    /// Later than any.
    pub const NEVER: Stamp = Stamp(i64::MAX);

    /// The latest time that it may stand for: some file systems keep whole seconds
    /// only (ext4 with inodes of 128 bytes), or two (FAT).
    pub fn latest(self) -> Stamp {
        match self.0 % 1_000_000_000 {
            0 => Stamp(self.0.saturating_add(1_999_999_999)),
            _ => self,
        }
    }

    /// From seconds and nanoseconds.
    pub fn new(seconds: i64, nanos: i64) -> Stamp {
        Stamp(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }
}

/// What tells an inode from every other: device, number, birth where it is kept.
pub type Identity = ((u32, u32), u64, Option<Stamp>);

/// What `statx` tells of a file.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // statx(2) documents them
pub struct Stat {
    pub device: (u32, u32),
    pub inode: u64,
    pub links: u32,
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// What a device node stands for.
    pub node: (u32, u32),
    pub size: u64,
    pub changed: Stamp,
    pub modified: Stamp,
    /// Where the file system keeps it.
    pub born: Option<Stamp>,
    /// The root of a mount (Linux 5.8).
    pub mount_root: bool,
}

impl Stat {
    /// The file type bits, as `libc::S_IFREG`.
    pub fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Device, inode and birth: numbers are used again, but not with one birth.
    pub fn identity(&self) -> Identity {
        (self.device, self.inode, self.born)
    }
}

/// The properties of `name` in `dir`, or of `dir` itself where `name` is empty.
/// A symbolic link is not followed.
///
/// # Errors
/// As statx(2).
pub fn stat(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Stat> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    let want = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    let mut out = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `name` is NUL-terminated, `out` is a whole `struct statx`.
    let rc = unsafe {
        libc::statx(
            dir.as_raw_fd(),
            name.as_ptr(),
            flags,
            want,
            out.as_mut_ptr(),
        )
    };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed plain integers are valid, and the kernel filled them in.
    let s = unsafe { out.assume_init() };
    let stamp = |t: libc::statx_timestamp| Stamp::new(t.tv_sec, t.tv_nsec.into());
    Ok(Stat {
        device: (s.stx_dev_major, s.stx_dev_minor),
        inode: s.stx_ino,
        links: s.stx_nlink,
        mode: s.stx_mode.into(),
        owner: (s.stx_uid, s.stx_gid),
        node: (s.stx_rdev_major, s.stx_rdev_minor),
        size: s.stx_size,
        changed: stamp(s.stx_ctime),
        modified: stamp(s.stx_mtime),
        born: (s.stx_mask & libc::STATX_BTIME != 0).then(|| stamp(s.stx_btime)),
        mount_root: s.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0,
    })
}

/// Whether anybody has `file` open for writing: a read lease is refused then
/// (fcntl(2), `F_SETLEASE`). None where the kernel does not say: the file is
/// somebody else's, or its file system has no leases. `file` must be open for
/// reading only, and should be closed soon: it holds the lease.
pub fn written_by_others(file: BorrowedFd<'_>) -> Option<bool> {
    let fd = file.as_raw_fd();
    // A writer that comes while we hold the lease must not send us SIGIO, which
    // would end the process; SIGURG is ignored by default.
    // SAFETY: F_SETSIG takes an int.
    if unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGURG) } < 0 {
        return None;
    }
    // SAFETY: F_SETLEASE takes an int.
    if unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) } < 0 {
        let busy = io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
        return busy.then_some(true);
    }
    // SAFETY: F_SETLEASE takes an int.
    unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
    Some(false)
}

/// Opens for reading what `path` (an `O_PATH` descriptor) stands for.
///
/// # Errors
/// As open(2); `ENOENT` where /proc is not mounted.
pub fn reopen(path: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use nix::fcntl::{OFlag, open};
    let name = format!("/proc/self/fd/{}", path.as_raw_fd());
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    Ok(open(name.as_str(), flags, nix::sys::stat::Mode::empty())?)
}
