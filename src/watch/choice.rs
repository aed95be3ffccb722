//! Which source serves a line: what it says itself, else what its tree is like.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use std::os::fd::AsFd;

use super::fanotify::Refusal;
use super::scan::dir_flags;
use super::{Request, parse};
use crate::sys::inotify as sys;
use crate::table::{Mask, Source as Choice};

/// Trees of more directories than this are served by fanotify where the line leaves
/// the choice. Below it inotify is set up in less than a tenth of a second, and hears
/// nothing of what happens elsewhere (docs/benchmarks.md).
pub(super) const MANY: usize = 5_000;

/// Who asks for fanotify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Nobody.
    Inotify,
    /// The line, which says what only fanotify does.
    Written,
    /// `source=auto`.
    Chosen,
}

/// Which source is to serve `request`. `system`: its worker is the system's.
pub(super) fn of(request: &Request, system: bool) -> Ask {
    let asks = request.who || request.mask.intersects(Mask::OPEN_EXEC);
    // Every reader of the file system would be heard.
    let reading = Mask::ACCESS | Mask::OPEN | Mask::CLOSE_NOWRITE;
    match request.source {
        Choice::Fanotify => Ask::Written,
        Choice::Auto if asks => Ask::Written,
        Choice::Auto
            if system
                && request.recursive
                && request.depth.is_none()
                && !request.path.pattern
                && !request.mask.intersects(reading)
                && is_large(Path::new(&request.path.written), request.dotdirs) =>
        {
            Ask::Chosen
        }
        _ => Ask::Inotify,
    }
}

/// Why a line gets less than it asks for.
pub(super) fn refused(request: &Request, why: &Refusal) -> String {
    let path = String::from_utf8_lossy(request.path.written.as_bytes());
    let mut without = Vec::new();
    if request.who {
        without.push("who did it");
    }
    if request.mask.intersects(Mask::OPEN_EXEC) {
        without.push("IN_OPEN_EXEC");
    }
    let without = match without.as_slice() {
        [] => String::new(),
        all => format!(", without {}", all.join(" and ")),
    };
    format!("{path} is served by inotify{without}: fanotify cannot: {why}")
}

/// True where there are more than [`MANY`] directories in the tree, as far as the line
/// enters it. Reads no more of it than is needed to know.
fn is_large(path: &Path, dotdirs: bool) -> bool {
    let start = || {
        let top = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        openat(&top, ".", dir_flags(), Mode::empty()).ok()
    };
    let Some(top) = start() else { return false };
    let mut found = 0;
    let mut todo = vec![Vec::new()];
    let mut buffer = vec![0; 32 * 1024];
    while let Some(below) = todo.pop() {
        let below: Vec<u8> = below;
        let name = if below.is_empty() { b"." } else { &*below };
        let Ok(dir) = openat(&top, name, dir_flags(), Mode::empty()) else {
            continue;
        };
        while let Ok(n @ 1..) = sys::getdents(dir.as_fd(), &mut buffer) {
            let mut rest = buffer.get(..n).unwrap_or_default();
            while let Some((entry, len)) = parse::entry(rest) {
                rest = rest.get(len..).unwrap_or_default();
                let dots = matches!(entry.name, b"." | b".." | b"");
                let hidden = !dotdirs && entry.name.first() == Some(&b'.');
                if dots || hidden || super::look::kind_of(dir.as_fd(), entry) != libc::S_IFDIR {
                    continue;
                }
                found += 1;
                let mut next = below.clone();
                if !next.is_empty() {
                    next.push(b'/');
                }
                next.extend_from_slice(entry.name);
                todo.push(next);
            }
            if found > MANY {
                return true;
            }
        }
    }
    false
}
