//! Whose a user namespace is, and a thread's rights on files: what tells the
//! containers of one user from those of another, and keeps us from reading more
//! of a user's files than the user may.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

// ioctl_ns(2); requests of <linux/nsfs.h>.
const NS_GET_PARENT: libc::Ioctl = 0xb702;
const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;

/// The user who made the user namespace of process `pid`: of nested ones the
/// outermost below our own. 0 for a process in our own.
///
/// # Errors
/// `ENOENT` when the process is gone, `EACCES` without the right to look at it.
pub fn namespace_owner(pid: i32) -> io::Result<u32> {
    let own = std::fs::metadata("/proc/self/ns/user")?.ino();
    let mut namespace = File::open(format!("/proc/{pid}/ns/user"))?;
    if namespace.metadata()?.ino() == own {
        return Ok(0);
    }
    loop {
        let outer = File::from(parent(&namespace)?);
        if outer.metadata()?.ino() == own {
            return owner(&namespace);
        }
        namespace = outer;
    }
}

fn parent(namespace: &File) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed; the result is a descriptor or -1.
    let fd: RawFd = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn owner(namespace: &File) -> io::Result<u32> {
    let mut uid: libc::uid_t = 0;
    // SAFETY: writes one uid_t through a pointer to one.
    let result = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_OWNER_UID, &mut uid) };
    match result {
        0.. => Ok(uid),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the calling thread, and no other, the rights of a user on files. It stays
/// root in everything else, /proc included.
///
/// # Errors
/// `EPERM` where the caller is not root.
pub fn read_files_as(uid: Uid, gid: Gid) -> io::Result<()> {
    // The libc's function would change all threads.
    // SAFETY: a length of 0 and no memory.
    if unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    setfsgid(gid);
    setfsuid(uid);
    // The calls give back what was, so a refusal shows in a second one.
    if setfsgid(gid) != gid || setfsuid(uid) != uid {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}
