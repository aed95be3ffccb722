//! Why a command could not be started: the one catalogue of such messages.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Job;
use crate::sys::spawn::{Failure, Step};

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The job has no argv.
    #[error("cannot run an empty command")]
    Empty,
    /// A NUL byte cannot be passed to a program.
    #[error("cannot run {}: an argument or a variable holds a NUL byte", show(.0))]
    Nul(OsString),
    /// execve(2) refused the program.
    #[error("cannot run {}: {}{}", show(.program), .errno.desc(), hint(.program, *.errno))]
    Execute {
        /// argv\[0\].
        program: OsString,
        /// `ETXTBSY` is worth a retry: somebody still writes the program.
        errno: Errno,
    },
    /// No process, no memory, no descriptors.
    #[error("cannot run {}: cannot make a process: {}{}", show(.program), .errno.desc(), hint(.program, *.errno))]
    Process {
        /// argv\[0\].
        program: OsString,
        /// `EAGAIN`, `ENOMEM`, `EMFILE` or `ENFILE`.
        errno: Errno,
    },
    /// setgroups(2), setresgid(2) or setresuid(2).
    #[error("cannot run {} as uid {uid}: {}", show(.program), .errno.desc())]
    Identity {
        /// argv\[0\].
        program: OsString,
        /// The user it was to run as.
        uid: u32,
        /// Its error.
        errno: Errno,
    },
    /// chdir(2).
    #[error("cannot run {}: cannot enter its directory {}: {}", show(.program), .cwd.display(), .errno.desc())]
    Directory {
        /// argv\[0\].
        program: OsString,
        /// `cwd=`, or the home directory.
        cwd: PathBuf,
        /// Its error.
        errno: Errno,
    },
    /// `output=PATH` cannot serve.
    #[error("cannot run {}: output={}: {reason}", show(.program), .path.display())]
    Output {
        /// argv\[0\].
        program: OsString,
        /// As in the table.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Its error; `EPERM` where it is a rule of ours.
        errno: Errno,
    },
    /// What the command was to read could not be kept in memory.
    #[error("cannot run {}: cannot hold its {size} bytes of standard input: {}", show(.program), .errno.desc())]
    Stdin {
        /// argv\[0\].
        program: OsString,
        /// Bytes to be read.
        size: usize,
        /// Its error.
        errno: Errno,
    },
    /// Any other preparation.
    #[error("cannot run {}: {step:?}: {}", show(.program), .errno.desc())]
    Other {
        /// argv\[0\].
        program: OsString,
        /// What was being done.
        step: Step,
        /// Its error.
        errno: Errno,
    },
}

impl StartError {
    /// Names what failed for `job`.
    pub(crate) fn new(failure: Failure, job: &Job) -> Self {
        let errno = Errno::from_raw(failure.errno);
        let program = job.argv.first().cloned().unwrap_or_default();
        match failure.step {
            Step::Arguments if job.argv.is_empty() => Self::Empty,
            Step::Arguments => Self::Nul(program),
            Step::Clone => Self::Process { program, errno },
            Step::Execute => Self::Execute { program, errno },
            Step::Identity => {
                let uid = job.identity.as_ref().map_or(0, |identity| identity.uid);
                Self::Identity {
                    program,
                    uid,
                    errno,
                }
            }
            Step::Directory => {
                let cwd = job.cwd.clone().unwrap_or_default();
                Self::Directory {
                    program,
                    cwd,
                    errno,
                }
            }
            Step::Output => Self::output(job, errno, output_reason(errno)),
            step => Self::Other {
                program,
                step,
                errno,
            },
        }
    }

    /// `output=PATH` is refused for `reason`.
    pub(super) fn output(job: &Job, errno: Errno, reason: String) -> Self {
        let path = match &job.output {
            crate::table::Output::File(path) => path.clone(),
            _ => PathBuf::new(),
        };
        Self::Output {
            program: job.argv.first().cloned().unwrap_or_default(),
            path,
            reason,
            errno,
        }
    }

    /// The error number behind it.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Empty | Self::Nul(_) => Errno::EINVAL,
            Self::Execute { errno, .. }
            | Self::Process { errno, .. }
            | Self::Identity { errno, .. }
            | Self::Directory { errno, .. }
            | Self::Output { errno, .. }
            | Self::Stdin { errno, .. }
            | Self::Other { errno, .. } => *errno,
        }
    }

    /// True when the same start may succeed a little later: no process or
    /// descriptor was free, or the program was still being written.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self.errno(),
            Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::ETXTBSY
        )
    }

    /// The `StartError` in what [`Runner::start`](super::Runner::start) returned.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<StartError> for io::Error {
    /// Keeps the kind: `ExecutableFileBusy`, `ArgumentListTooLong`, `NotFound` ...
    fn from(error: StartError) -> Self {
        let kind = io::Error::from_raw_os_error(error.errno() as i32).kind();
        io::Error::new(kind, error)
    }
}

/// Names fit on a line; the log escapes control characters.
fn show(program: &OsStr) -> String {
    let text = program.to_string_lossy();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}

/// What the bare error text does not say.
fn hint(program: &OsStr, errno: Errno) -> &'static str {
    let path = Path::new(program);
    match errno {
        // execve(2) says ENOENT also for a script whose interpreter is missing.
        Errno::ENOENT if path.is_absolute() && path.exists() => {
            " (it exists; the interpreter in its first line, or its loader, does not)"
        }
        Errno::ENOENT if !path.as_os_str().as_encoded_bytes().contains(&b'/') => {
            " in the directories of PATH"
        }
        Errno::EACCES if path.is_file() => " (is it executable, and its file system not noexec?)",
        Errno::E2BIG => " (stdin=paths hands any number of paths to a command)",
        Errno::EAGAIN => " (the limit of processes of its user, RLIMIT_NPROC, or of its cgroup)",
        Errno::EMFILE => " (the limit of open files, RLIMIT_NOFILE)",
        Errno::ETXTBSY => " (somebody has it open for writing)",
        _ => "",
    }
}

fn output_reason(errno: Errno) -> String {
    match errno {
        Errno::ELOOP => "it is a symbolic link".into(),
        Errno::EINVAL | Errno::ENXIO => "it is not a regular file".into(),
        errno => errno.desc().into(),
    }
}
