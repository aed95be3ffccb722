//! What an operator is told of a limit that was reached: its name, its value, and how
//! much would do.
//!
//! In a user namespace (a container) there are two limits of watches and instances, that
//! of the machine and `user.max_inotify_*` of the namespace: the lower one is named.

use std::fs;
use std::io;

use super::limits::Lack;
use crate::open_files;

/// The limit that holds here of the two for `what`, `watches` or `instances`.
fn holds(what: &str) -> (String, u64) {
    let read = |name: String| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let text = fs::read_to_string(path).ok()?;
        Some((name, text.trim().parse().ok()?))
    };
    let names = [
        format!("fs.inotify.max_user_{what}"),
        format!("user.max_inotify_{what}"),
    ];
    let unknown = (format!("fs.inotify.max_user_{what}"), 0);
    let both = names.into_iter().filter_map(read);
    both.min_by_key(|(_, value)| *value).unwrap_or(unknown)
}

/// One line for the log: what the path lacks. `held`: the watches of this process.
pub(super) fn message(path: &[u8], lack: Lack, held: usize) -> String {
    let path: String = String::from_utf8_lossy(path)
        .chars()
        .flat_map(char::escape_debug)
        .collect();
    let missing = lack.missing;
    match lack.errno {
        libc::ENOSPC => {
            let (name, value) = holds("watches");
            let need = held + missing as usize;
            format!(
                "{path}: not watched completely: the limit {name} ({value}) is reached; \
                 {held} watches are held here and {missing} or more are missing; \
                 set the limit to more than {need}, or watch less"
            )
        }
        errno @ (libc::EMFILE | libc::ENFILE) => format!(
            "{path}: not watched completely: {} is reached; {missing} or more directories are missing; \
             a scan holds one open for each level, at most 64; {}",
            open_files::limit(errno),
            open_files::way_out(errno)
        ),
        libc::ENOMEM => format!(
            "{path}: not watched completely: the kernel has no memory for {missing} or more watches"
        ),
        errno => format!(
            "{path}: cannot be watched: {}",
            io::Error::from_raw_os_error(errno)
        ),
    }
}

/// Why there is no inotify instance, with what would help.
pub(super) fn no_instance(error: io::Error) -> io::Error {
    let text = match error.raw_os_error() {
        // The kernel has one word for both limits.
        Some(libc::EMFILE) if fs::File::open("/dev/null").is_ok() => {
            let (name, value) = holds("instances");
            format!("the limit {name} ({value}) of this user is reached, and one more is needed")
        }
        Some(errno @ (libc::EMFILE | libc::ENFILE)) => {
            let (limit, way_out) = (open_files::limit(errno), open_files::way_out(errno));
            format!("{limit} is reached, and one more is needed: {way_out}")
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("no inotify instance: {text}"))
}
