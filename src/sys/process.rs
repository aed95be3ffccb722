//! A started process by its pidfd: signals that cannot hit another process, and
//! its end.
//!
//! nix's `waitid` refuses real-time signals it has no name for (a command may
//! well die of `SIGRTMIN`), so the status is read from `siginfo_t` here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::c_int;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its exit code, 0 to 255.
    Exited(i32),
    /// The signal that ended it.
    Signaled(i32),
}

/// pidfd_open(2) (Linux 5.3) of a child that has not been reaped; close-on-exec.
pub(super) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(fd) {
        // SAFETY: a new descriptor, which nobody else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reaps a child that is in `_exit`.
pub(super) fn reap_ending(pid: i32) {
    // SAFETY: no memory is passed. An error leaves nothing that could be done.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// Ends a child and its group at once.
pub(super) fn kill_and_reap(pid: i32) {
    // SAFETY: no memory is passed; the child is ours and not reaped.
    unsafe { libc::kill(-pid, libc::SIGKILL) };
    // SAFETY: as above; it may have left its group.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    reap_ending(pid);
}

/// Reaps the process if it has ended; None while it lives. waitid(2) with
/// `P_PIDFD` (Linux 5.4).
///
/// Errors: `ECHILD` when somebody else reaped it.
pub fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<End>> {
    loop {
        // SAFETY: siginfo_t is plain data; all zeroes is a valid value of it.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` outlives the call and the descriptor is borrowed for it.
        let result = unsafe {
            libc::waitid(
                libc::P_PIDFD,
                pidfd.as_raw_fd() as libc::id_t,
                &mut info,
                libc::WEXITED | libc::__WALL | libc::WNOHANG,
            )
        };
        if result < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        // SAFETY: waitid succeeded, so `info` holds the SIGCHLD fields (or zeroes: nothing ended).
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        return Ok(match (pid, info.si_code) {
            (0, _) => None,
            (_, libc::CLD_EXITED) => Some(End::Exited(status)),
            _ => Some(End::Signaled(status)),
        });
    }
}

/// pidfd_send_signal(2) (Linux 5.1): to this process and to no other, ever.
pub fn signal(pidfd: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    // SAFETY: no memory is passed (a null siginfo means the default one).
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sends `signal` to the process group that the unreaped process `pid` leads,
/// and to the process itself when it has moved to another group.
///
/// The caller must not have reaped `pid`: as a zombie it still reserves its
/// number, for itself and for its group.
pub fn signal_group(pid: i32, pidfd: BorrowedFd<'_>, number: c_int) -> io::Result<()> {
    // SAFETY: kill and getpgid pass no memory.
    let (group, own) = unsafe { (libc::kill(-pid, number), libc::getpgid(pid)) };
    let group = if group < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    };
    if own == pid {
        group
    } else {
        signal(pidfd, number)
    }
}

/// Undoes an inherited `SIGCHLD = SIG_IGN`, under which the kernel would throw
/// the exit status of every command away. A handler stays.
pub fn keep_exit_statuses() -> io::Result<()> {
    // SAFETY: sigaction is plain data; all zeroes is a valid value of it.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: only reads the present action into `old`.
    let result = unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), &mut old) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if old.sa_sigaction == libc::SIG_IGN {
        // SAFETY: SIG_DFL installs no code of ours.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    }
    Ok(())
}
