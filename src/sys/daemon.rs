//! fork(2) for a process that goes on without exec.

use std::io;

use nix::unistd::{ForkResult, Pid, fork};

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The old process, and the number of the new one.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Forks, or fails where another thread runs: its locks would stay locked for
/// ever in the child.
pub fn fork_single_threaded() -> io::Result<Forked> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("cannot fork: other threads are running"));
    }
    // SAFETY: one thread, as was just counted, and only a thread could start
    // another; so the child has no lock that nobody will open.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Forked::Parent(child)),
        ForkResult::Child => Ok(Forked::Child),
    }
}
