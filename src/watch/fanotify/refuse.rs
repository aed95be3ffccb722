//! Why fanotify cannot serve a line: one reason, with the way out where there is one.

use std::fmt;
use std::io;

/// The reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The group could not be made.
    Group(String),
    /// Directories cannot be opened by their handles.
    Handles,
    /// The file system of this type cannot be marked.
    FileSystem(String, String),
}

impl Refusal {
    pub(super) fn group(error: &io::Error) -> Self {
        Self::Group(match error.raw_os_error() {
            Some(libc::EPERM) => "the capability CAP_SYS_ADMIN is missing".into(),
            Some(libc::EINVAL) => "the kernel is older than Linux 5.17".into(),
            Some(libc::ENOSYS) => "the kernel has no fanotify".into(),
            Some(libc::EMFILE) => {
                "the limit fs.fanotify.max_user_groups, or that of descriptors, is reached".into()
            }
            _ => error.to_string(),
        })
    }

    pub(super) fn mark(error: &io::Error, kind: &str) -> Self {
        let why = match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::ENODEV | libc::EXDEV | libc::EINVAL) => {
                "cannot be watched as a whole".into()
            }
            _ => format!("cannot be marked: {error}"),
        };
        Self::FileSystem(kind.into(), why)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(why) => f.write_str(why),
            Self::Handles => f.write_str("the capability CAP_DAC_READ_SEARCH is missing"),
            Self::FileSystem(kind, why) => write!(f, "a file system of type {kind} {why}"),
        }
    }
}
