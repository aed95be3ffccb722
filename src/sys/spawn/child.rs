//! What the child does between the clone and its program: bare system calls on
//! what was laid out before, nothing that allocates, locks or may panic.

use std::convert::Infallible;
use std::os::fd::RawFd;

use libc::{c_char, c_int, c_long, c_void};
use nix::errno::Errno;

use super::signals::{reset_to_default, set_mask};
use super::strings::SHELL;
use super::{Failure, Ids, Step};

/// setgroups and its kin with 32-bit ids under their name on this machine.
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
mod id_calls {
    pub(super) use libc::{SYS_setgroups, SYS_setresgid, SYS_setresuid};
}
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
mod id_calls {
    pub(super) use libc::SYS_setgroups32 as SYS_setgroups;
    pub(super) use libc::SYS_setresgid32 as SYS_setresgid;
    pub(super) use libc::SYS_setresuid32 as SYS_setresuid;
}

/// Everything the child does, and the place where it says what went wrong.
pub(super) struct Plan<'a> {
    /// `/bin/sh`, then the program's argv, then null: argv is this plus one.
    pub(super) shell_argv: *mut *const c_char,
    pub(super) envp: *const *const c_char,
    pub(super) candidates: *const *const c_char,
    pub(super) cwd: *const c_char,
    pub(super) append: *const c_char,
    pub(super) stdin: RawFd,
    pub(super) output: RawFd,
    pub(super) errors: RawFd,
    pub(super) with_us: bool,
    pub(super) umask: Option<u32>,
    pub(super) nice: Option<i32>,
    pub(super) ids: Option<Ids<'a>>,
    pub(super) changed: &'a [c_int],
    pub(super) failure: Option<Failure>,
}

/// The child. It never returns to the caller's code: libc's clone calls `_exit`.
pub(super) extern "C" fn entry(argument: *mut c_void) -> c_int {
    // SAFETY: `clone_child` passes a Plan that outlives the child and that nobody else touches.
    let plan = unsafe { &mut *argument.cast::<Plan<'_>>() };
    let Err(failure) = run_plan(plan);
    plan.failure = Some(failure);
    127
}

fn run_plan(plan: &Plan<'_>) -> Result<Infallible, Failure> {
    // SAFETY: no memory is passed.
    check(Step::Group, unsafe { libc::setpgid(0, 0) }.into())?;
    reset_signals(plan.changed)?;
    if let Some(umask) = plan.umask {
        // SAFETY: no memory is passed; without CLONE_FS the mask is the child's own.
        unsafe { libc::umask(umask & 0o777) };
    }
    add_nice(plan.nice)?;
    become_user(plan.ids)?;
    if !plan.cwd.is_null() {
        // SAFETY: a C string of `Strings`, alive until the child executes.
        check(Step::Directory, unsafe { libc::chdir(plan.cwd) }.into())?;
    }
    if plan.with_us {
        // After the user is changed, which takes it back.
        // SAFETY: no memory is passed.
        let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
        check(Step::Signals, result.into())?;
    }
    let (output, errors) = if plan.append.is_null() {
        (plan.output, plan.errors)
    } else {
        let file = open_output(plan.append)?;
        (file, file)
    };
    move_descriptors(plan.stdin, output, errors)?;
    set_mask(0);
    execute(plan)
}

fn check(step: Step, result: c_long) -> Result<c_long, Failure> {
    if result < 0 {
        Err(Failure {
            step,
            errno: Errno::last_raw(),
        })
    } else {
        Ok(result)
    }
}

fn reset_signals(changed: &[c_int]) -> Result<(), Failure> {
    for &number in changed {
        // Without CLONE_SIGHAND the table is the child's own.
        check(Step::Signals, reset_to_default(number))?;
    }
    Ok(())
}

fn add_nice(nice: Option<i32>) -> Result<(), Failure> {
    let Some(nice) = nice else { return Ok(()) };
    // SAFETY: no memory is passed. The bare call returns 20 - nice, so that it is never negative.
    let present = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0) };
    let wanted = (20 - check(Step::Nice, present)?).saturating_add(c_long::from(nice));
    // SAFETY: no memory is passed; the kernel clamps the value to -20 .. 19.
    let result = unsafe {
        libc::syscall(
            libc::SYS_setpriority,
            libc::PRIO_PROCESS,
            0,
            wanted.clamp(-20, 19),
        )
    };
    check(Step::Nice, result).map(|_| ())
}

/// Groups first: after the user is changed they could not be.
fn become_user(ids: Option<Ids<'_>>) -> Result<(), Failure> {
    let Some((uid, gid, groups)) = ids else {
        return Ok(());
    };
    // SAFETY: `groups` is a slice of 32-bit ids, alive until the child executes.
    let result = unsafe { libc::syscall(id_calls::SYS_setgroups, groups.len(), groups.as_ptr()) };
    check(Step::Identity, result)?;
    // SAFETY: no memory is passed.
    check(Step::Identity, unsafe {
        libc::syscall(id_calls::SYS_setresgid, gid, gid, gid)
    })?;
    // SAFETY: no memory is passed.
    check(Step::Identity, unsafe {
        libc::syscall(id_calls::SYS_setresuid, uid, uid, uid)
    })?;
    Ok(())
}

/// Opens `path` for appending, a regular file and no link.
fn open_output(path: *const c_char) -> Result<RawFd, Failure> {
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
    let guards = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    // SAFETY: a C string of `Strings`, alive until the child executes.
    let fd = unsafe { libc::open(path, flags | guards, 0o666) };
    check(Step::Output, fd.into())?;
    // SAFETY: stat is plain data; all zeroes is a valid value of it.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` outlives the call.
    check(Step::Output, unsafe { libc::fstat(fd, &mut stat) }.into())?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Failure {
            step: Step::Output,
            errno: libc::EINVAL,
        });
    }
    // O_NONBLOCK was for the open only: a FIFO must not hold the worker up.
    // SAFETY: no memory is passed.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_APPEND) };
    check(Step::Output, result.into())?;
    Ok(fd)
}

/// 0, 1 and 2 are set; everything else closes when the program executes.
fn move_descriptors(stdin: RawFd, output: RawFd, errors: RawFd) -> Result<(), Failure> {
    for (from, to) in [(stdin, 0), (output, 1), (errors, 2)] {
        // `from` is above 2 (`memory::above_stdio`), so no target is overwritten before it is used,
        // and dup2 makes a copy, which is not close-on-exec.
        // SAFETY: no memory is passed; without CLONE_FILES the table is the child's own.
        check(Step::Descriptors, unsafe { libc::dup2(from, to) }.into())?;
    }
    Ok(())
}

/// Tries the candidates as execvp(3) does; a script without `#!` goes to the shell.
fn execute(plan: &Plan<'_>) -> Result<Infallible, Failure> {
    let failed = |errno| {
        Err(Failure {
            step: Step::Execute,
            errno,
        })
    };
    let argv = plan.shell_argv.wrapping_add(1);
    let mut last = libc::ENOENT;
    let mut next = plan.candidates;
    loop {
        // SAFETY: the array ends in a null pointer, where the loop ends.
        let file = unsafe { *next };
        if file.is_null() {
            return failed(last);
        }
        next = next.wrapping_add(1);
        // SAFETY: a C string and two null-terminated arrays of C strings, all in `Strings`.
        unsafe { libc::execve(file, argv.cast_const(), plan.envp) };
        match Errno::last_raw() {
            libc::EACCES => last = libc::EACCES,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            libc::ENOEXEC => {
                // SAFETY: `argv` points into `Strings::pointers`, which has at least argv[0] here.
                unsafe { *argv = file };
                let shell_argv = plan.shell_argv.cast_const();
                // SAFETY: as for the execve above; /bin/sh reads the file named by its argv[1].
                unsafe { libc::execve(SHELL.as_ptr(), shell_argv, plan.envp) };
                return failed(Errno::last_raw());
            }
            errno => return failed(errno),
        }
    }
}
