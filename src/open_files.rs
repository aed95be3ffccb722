//! The limit of open files, as whoever runs into it is told: its name, its value, and
//! the way out. The kernel says "Too many open files" and no more.

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit};

/// The limit that `errno` (`EMFILE`, `ENFILE`) is about, with its value.
pub fn limit(errno: i32) -> String {
    if errno == libc::ENFILE {
        let most = fs::read_to_string("/proc/sys/fs/file-max").unwrap_or_default();
        return format!(
            "the limit of open files of the machine, fs.file-max ({})",
            most.trim()
        );
    }
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    format!("the limit of open files, RLIMIT_NOFILE ({most}),")
}

/// How a limit is raised.
pub fn way_out(errno: i32) -> &'static str {
    match errno {
        libc::ENFILE => "raise it with sysctl",
        _ => "raise it with `ulimit -n`, or with LimitNOFILE= in the unit of the service",
    }
}

/// The same error; where it is about this limit, in these words.
pub fn named(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno @ (libc::EMFILE | libc::ENFILE)) => {
            let text = format!("{} is too low: {}", limit(errno), way_out(errno));
            io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_its_value_and_the_way_out() {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let text = named(io::Error::from_raw_os_error(libc::EMFILE)).to_string();
        let wanted = format!("RLIMIT_NOFILE ({soft})");
        assert!(
            text.contains(&wanted) && text.contains("ulimit -n"),
            "{text}"
        );
        let text = named(io::Error::from_raw_os_error(libc::ENFILE)).to_string();
        assert!(text.contains("fs.file-max ("), "{text}");
        let other = named(io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(other.raw_os_error(), Some(libc::ENOENT));
    }
}
