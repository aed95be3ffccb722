//! Starts a program at the speed of vfork(2), whatever the size of this process.
//!
//! `clone(CLONE_VM | CLONE_VFORK)` on a stack of its own, as posix_spawn does
//! it: the child borrows this process's memory until it executes, and this
//! thread sleeps meanwhile. posix_spawn itself cannot change identity or say
//! which step failed, and std's `Command` forks for any of these.
//!
//! Each system call of the child is a part of the time from an event to its
//! command (about 1 % of it), so what can be done outside is: descriptors that
//! this process inherited are marked close-on-exec in advance, and the pidfd is
//! opened when the program already runs, from a reserve so that it cannot fail
//! for want of a descriptor.
//!
//! The rules of such a child: everything it needs is laid out before the clone
//! (no allocation after it), it makes bare system calls only (libc's setuid
//! would signal this process's other threads), all signals are blocked until
//! its dispositions are reset (a handler would run on our memory), and it ends
//! in execve or `_exit`.

mod child;
mod signals;
mod strings;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr;

use libc::{c_int, c_void};
use nix::errno::Errno;

use self::child::{Plan, entry};
use self::signals::set_mask;
use self::strings::Strings;
use super::process;

/// Stack of the child. It needs about 1 KiB; unoptimised builds some more.
const STACK: usize = 64 * 1024;
const GUARD: usize = 64 * 1024; // one page, whatever its size

/// The user a program runs as: uid, gid, supplementary groups.
pub type Ids<'a> = (u32, u32, &'a [u32]);

/// What to start, and how.
#[derive(Debug)]
pub struct Program<'a> {
    /// argv; the first is looked up in `env`'s PATH when it has no slash.
    pub argv: &'a [OsString],
    /// The whole environment, in two parts.
    pub env: [&'a [(OsString, OsString)]; 2],
    /// Descriptor 0 of the program.
    pub stdin: BorrowedFd<'a>,
    /// Descriptor 1 of the program.
    pub output: BorrowedFd<'a>,
    /// Descriptor 2 of the program.
    pub errors: BorrowedFd<'a>,
    /// It gets SIGTERM when the thread that started it ends, be it by SIGKILL.
    pub with_us: bool,
    /// A file to append to instead of both, opened as the program's own user.
    pub append: Option<&'a Path>,
    /// Working directory, entered as the program's own user.
    pub cwd: Option<&'a Path>,
    /// File mode mask.
    pub umask: Option<u32>,
    /// Added to the nice value.
    pub nice: Option<i32>,
    /// The user to become.
    pub ids: Option<Ids<'a>>,
}

/// A started program.
#[derive(Debug)]
pub struct Child {
    /// Its number, and that of its process group.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
}

/// What the child was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Step {
    Arguments,
    Clone,
    Group,
    Signals,
    Nice,
    Identity,
    Directory,
    Output,
    Descriptors,
    Execute,
}

/// Which step failed, and how (an errno).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// The error number of its system call.
    pub errno: i32,
}

/// Starts programs; holds what every start needs, made once.
#[derive(Debug)]
pub struct Spawner {
    stack: Stack,
    /// Signals whose disposition in this process is not the default.
    changed: Vec<c_int>,
    strings: Strings,
    /// A descriptor whose place a pidfd can take.
    reserve: Option<OwnedFd>,
}

impl Spawner {
    /// Maps the child's stack and notes which signals this process ignores or
    /// handles now: make it after they have been set up.
    pub fn new() -> io::Result<Self> {
        close_inherited_on_exec();
        Ok(Self {
            stack: Stack::new()?,
            changed: signals::changed(),
            strings: Strings::default(),
            reserve: Some(File::open("/dev/null")?.into()),
        })
    }

    /// Does what the next start would otherwise have to do.
    pub fn prepare(&mut self) {
        // In case a library has opened something without O_CLOEXEC.
        close_inherited_on_exec();
        self.strings.shrink();
        if self.reserve.is_none() {
            self.reserve = File::open("/dev/null").ok().map(OwnedFd::from);
        }
    }

    /// Starts `program` in a process group of its own, with default signals and
    /// descriptors 0, 1 and 2 only. Returns when it executes.
    pub fn spawn(&mut self, program: &Program<'_>) -> Result<Child, Failure> {
        if self.reserve.is_none() {
            self.reserve = File::open("/dev/null").ok().map(OwnedFd::from);
        }
        if self.reserve.is_none() {
            return Err(failed(Step::Clone, libc::EMFILE));
        }
        let layout = self.strings.lay_out(program);
        let layout = layout.map_err(|errno| failed(Step::Arguments, errno))?;
        let pointers = &mut self.strings.pointers;
        let path = |index: Option<usize>| index.and_then(|i| pointers.get(i).copied());
        let (cwd, append) = (path(layout.cwd), path(layout.append));
        let base = pointers.as_mut_ptr();
        let mut plan = Plan {
            shell_argv: base,
            // Indexes that `lay_out` returned lie inside the array.
            envp: base.wrapping_add(layout.env).cast_const(),
            candidates: base.wrapping_add(layout.candidates).cast_const(),
            cwd: cwd.unwrap_or(ptr::null()),
            append: append.unwrap_or(ptr::null()),
            stdin: program.stdin.as_raw_fd(),
            output: program.output.as_raw_fd(),
            errors: program.errors.as_raw_fd(),
            with_us: program.with_us,
            umask: program.umask,
            nice: program.nice,
            ids: program.ids,
            changed: &self.changed,
            failure: None,
        };
        let pid =
            clone_child(&self.stack, &mut plan).map_err(|errno| failed(Step::Clone, errno))?;
        if let Some(failure) = plan.failure {
            process::reap_ending(pid);
            return Err(failure);
        }
        self.follow(pid)
    }

    /// Opens the pidfd of a program that already runs.
    fn follow(&mut self, pid: i32) -> Result<Child, Failure> {
        let pidfd = process::open(pid).or_else(|_| {
            self.reserve = None;
            process::open(pid)
        });
        pidfd.map(|pidfd| Child { pid, pidfd }).map_err(|error| {
            // The kernel is out of memory. What cannot be followed must not run.
            process::kill_and_reap(pid);
            failed(Step::Clone, error.raw_os_error().unwrap_or(libc::ENOMEM))
        })
    }
}

fn failed(step: Step, errno: i32) -> Failure {
    Failure { step, errno }
}

/// Marks everything above standard error close-on-exec. Linux 5.11; on older
/// kernels only our own descriptors (all O_CLOEXEC) are.
fn close_inherited_on_exec() {
    // SAFETY: no memory is passed, and no descriptor is closed now.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            c_int::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
}

/// Memory for the child to run on, with an inaccessible part below it.
#[derive(Debug)]
struct Stack(*mut c_void);

impl Stack {
    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new private mapping; nothing existing is touched.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                GUARD + STACK,
                libc::PROT_NONE,
                flags,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self(base);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range lies inside the mapping just made, which nothing else uses.
        let result = unsafe { libc::mprotect(base.wrapping_byte_add(GUARD), STACK, access) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(stack)
        }
    }

    /// The end of the mapping: stacks grow down.
    fn top(&self) -> *mut c_void {
        self.0.wrapping_byte_add(GUARD + STACK)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made; no child runs on it (clone_child returned).
        unsafe { libc::munmap(self.0, GUARD + STACK) };
    }
}

/// Runs `plan` in a child; returns its number when it has executed its program
/// or ended. Err: the errno of clone.
fn clone_child(stack: &Stack, plan: &mut Plan<'_>) -> Result<i32, i32> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let argument: *mut Plan<'_> = plan;
    let old = set_mask(!0);
    // SAFETY: `entry` runs on `stack`, which nobody else uses; CLONE_VFORK keeps this thread, and
    // so everything that `plan` points to, as it is until the child has executed or ended.
    let pid = unsafe { libc::clone(entry, stack.top(), flags, argument.cast()) };
    let errno = Errno::last_raw();
    set_mask(old);
    if pid < 0 { Err(errno) } else { Ok(pid) }
}
