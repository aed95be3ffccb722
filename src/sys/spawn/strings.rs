//! The C strings of one start: arguments, environment, the files that may be
//! meant. All are laid out before the clone, in buffers kept for the next start.

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use libc::c_char;

use super::Program;

/// What runs a script without `#!`.
pub(super) const SHELL: &CStr = c"/bin/sh";
/// Where a name without a slash is looked up when the command has no PATH.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// Bytes of strings kept for the next start.
const KEPT: usize = 64 * 1024;

/// The C strings of one start in one buffer, kept for the next start.
#[derive(Debug, Default)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    /// Start of each string in `bytes`; NULL stands for the null pointer.
    starts: Vec<usize>,
    pub(super) pointers: Vec<*const c_char>,
}

const NULL: usize = usize::MAX;

/// Indexes into `Strings::pointers`; argv begins at 1, behind the shell's name.
pub(super) struct Layout {
    pub(super) env: usize,
    pub(super) candidates: usize,
    pub(super) cwd: Option<usize>,
    pub(super) append: Option<usize>,
}

impl Strings {
    /// Writes all strings, then makes pointers to them. Err: an errno.
    pub(super) fn lay_out(&mut self, program: &Program<'_>) -> Result<Layout, i32> {
        let name = program.argv.first().ok_or(libc::EINVAL)?;
        self.bytes.clear();
        self.starts.clear();
        self.add(&[SHELL.to_bytes()]);
        for argument in program.argv {
            self.add(&[argument.as_bytes()]);
        }
        self.starts.push(NULL);
        let env = self.starts.len();
        for (key, value) in program.env.into_iter().flatten() {
            self.add(&[key.as_bytes(), b"=", value.as_bytes()]);
        }
        self.starts.push(NULL);
        let candidates = self.starts.len();
        self.add_candidates(name, program.env);
        self.starts.push(NULL);
        let cwd = self.add_path(program.cwd);
        let append = self.add_path(program.append);
        // One pass over all: each string must have its own NUL only.
        let strings = self.starts.iter().filter(|&&start| start != NULL).count();
        if self.bytes.iter().filter(|&&byte| byte == 0).count() != strings {
            return Err(libc::EINVAL);
        }
        let base = self.bytes.as_ptr();
        self.pointers.clear();
        self.pointers
            .extend(self.starts.iter().map(|&start| match start {
                NULL => ptr::null(),
                start => base.wrapping_add(start).cast::<c_char>(),
            }));
        Ok(Layout {
            env,
            candidates,
            cwd,
            append,
        })
    }

    /// One string of several parts.
    fn add(&mut self, parts: &[&[u8]]) {
        self.starts.push(self.bytes.len());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
    }

    fn add_path(&mut self, path: Option<&Path>) -> Option<usize> {
        let index = self.starts.len();
        self.add(&[path?.as_os_str().as_bytes()]);
        Some(index)
    }

    /// Gives the room of an unusually large start back.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to(KEPT);
    }

    /// The files that `name` may mean, as execvp(3) looks for them.
    fn add_candidates(&mut self, name: &OsStr, env: [&[(OsString, OsString)]; 2]) {
        let name = name.as_bytes();
        if name.is_empty() || name.contains(&b'/') {
            return self.add(&[name]);
        }
        let path = env.into_iter().flatten().find(|(key, _)| key == "PATH");
        let path = path.map_or(DEFAULT_PATH, |(_, value)| value.as_bytes());
        for directory in path.split(|&byte| byte == b':') {
            if directory.is_empty() {
                self.add(&[b"./", name]);
            } else {
                self.add(&[directory, b"/", name]);
            }
        }
    }
}
