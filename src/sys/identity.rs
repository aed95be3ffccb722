//! Starting a process as somebody else, and holding on to it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// Whom a process becomes. Looked up before the fork: nothing that allocates
/// or asks a name service may happen after it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// Real, effective and saved user.
    pub uid: libc::uid_t,
    /// Real, effective and saved group.
    pub gid: libc::gid_t,
    /// Supplementary groups.
    pub groups: Vec<libc::gid_t>,
}

/// How a worker process starts.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Stays open over the exec.
    pub keep: BorrowedFd<'a>,
    /// None: stays who we are.
    pub identity: Option<Identity>,
    /// File mode mask; None: ours.
    pub umask: Option<libc::mode_t>,
    /// The soft and hard limit of open files; None: ours.
    pub files: Option<(u64, u64)>,
}

/// Starts `command` in a session of its own with default signals, as `spawn`
/// says. Identity is given up for good: real, effective and saved.
pub fn spawn_worker(command: &mut Command, spawn: Spawn<'_>) -> io::Result<Child> {
    let Spawn {
        keep,
        identity,
        umask,
        files,
    } = spawn;
    let keep = keep.as_raw_fd();
    let prepare = move || {
        default_signals()?;
        keep_only(keep)?;
        if let Some((soft, hard)) = files {
            let limit = libc::rlimit {
                rlim_cur: soft,
                rlim_max: hard,
            };
            // SAFETY: reads one struct that lives until the call is over.
            check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
        }
        // SAFETY: takes no argument.
        check(unsafe { libc::setsid() })?;
        if let Some(mask) = umask {
            // SAFETY: takes a number, cannot fail.
            unsafe { libc::umask(mask) };
        }
        identity.as_ref().map_or(Ok(()), become_user)
    };
    // SAFETY: between fork and exec the closure makes system calls only; all
    // it reads was built before, and io::Error of an errno does not allocate.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// Turns this process into `command`, as the user of `identity` for good, with
/// default signals and no descriptor but `keep` and the standard ones. Groups
/// stay as they are (see [`join_groups`]). Returns only the error.
#[cfg(feature = "pam")]
pub fn exec_worker(command: &mut Command, keep: BorrowedFd<'_>, identity: &Identity) -> io::Error {
    let keep = keep.as_raw_fd();
    let (uid, gid) = (identity.uid, identity.gid);
    let prepare = move || {
        default_signals()?;
        keep_only(keep)?;
        become_ids(uid, gid)
    };
    // SAFETY: nothing is forked: the closure runs in this process, which has one thread.
    unsafe { command.pre_exec(prepare) };
    command.exec()
}

fn become_user(to: &Identity) -> io::Result<()> {
    join_groups(to)?;
    become_ids(to.uid, to.gid)
}

/// Takes on the supplementary groups of `to`, while still root.
pub fn join_groups(to: &Identity) -> io::Result<()> {
    // SAFETY: the pointer and the length are of one live Vec.
    check(unsafe { libc::setgroups(to.groups.len(), to.groups.as_ptr()) })
}

fn become_ids(uid: libc::uid_t, gid: libc::gid_t) -> io::Result<()> {
    // SAFETY: takes numbers.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: takes numbers.
    check(unsafe { libc::setresuid(uid, uid, uid) })
}

/// An inherited mask or an ignored signal would confuse every command.
fn default_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL installs no code. KILL, STOP and those of libc are
        // refused with EINVAL, which is as good.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::uninit();
    // SAFETY: fills the set it is given.
    check(unsafe { libc::sigemptyset(none.as_mut_ptr()) })?;
    // SAFETY: reads the set that was just filled; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) })
}

/// Of the descriptors above the standard ones only this survives the exec. Ours
/// are close-on-exec anyway; what root's shell left open when it started us is
/// not, and would be the user's. Before Linux 5.11 it stays so.
fn keep_only(fd: RawFd) -> io::Result<()> {
    let (first, last, flags) = (3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: takes numbers, and closes nothing before the exec.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    // SAFETY: F_SETFD takes a number; a closed descriptor gives EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A descriptor of a child that has not been reaped, so that its number cannot
/// be another's. Readable when it has ended.
pub fn pidfd_open(child: &Child) -> io::Result<OwnedFd> {
    pidfd_of(child.id() as libc::pid_t)
}

/// A descriptor of the process that has this number now.
pub fn pidfd_of(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers. The descriptor is close-on-exec (pidfd_open(2)).
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).unwrap_or(-1);
    check(fd)?;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
