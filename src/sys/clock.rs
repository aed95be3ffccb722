//! The clock that stamps files, without its grain.
//!
//! The kernel stamps a change with the time of its last tick, 1 to 10 ms ago, so
//! that a change before a moment and one after it may have the same stamp. Since
//! Linux 6.13 a file whose stamp somebody has looked at gets a finer one with its
//! next change, and from then on no file gets an older one (`mg_floor`,
//! kernel/time/timekeeping.c). So a file of our own, looked at and changed again,
//! gives a time that parts all earlier changes from all later ones.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat};
use nix::time::{ClockId, clock_gettime};

use super::inotify::Stamp;

thread_local! {
    /// A thread of its own file each: what one changes, another one looks at.
    static FILE: OnceCell<Option<OwnedFd>> = const { OnceCell::new() };
}

/// Changes of our file until its stamp must be a fine one; a tick may come between.
const MOST: usize = 4;

/// A time that no later change of a file has a stamp before. On kernels from 6.13 no
/// earlier change has this one or a later one; on others, those of the same tick may.
/// (Stamps that a server gives, or that hold whole seconds only, are another matter.)
pub fn file_clock() -> Stamp {
    FILE.with(|file| {
        let file = file.get_or_init(|| fine_stamps().then(own_file).flatten());
        file.as_ref().and_then(stamp).unwrap_or_else(last_tick)
    })
}

/// The time of the kernel's last tick: as `file_clock`, but earlier changes may have it.
pub fn last_tick() -> Stamp {
    time(ClockId::CLOCK_REALTIME_COARSE)
}

fn time(clock: ClockId) -> Stamp {
    clock_gettime(clock).map_or(Stamp::default(), |t| Stamp::new(t.tv_sec(), t.tv_nsec()))
}

fn own_file() -> Option<OwnedFd> {
    // Some systems allow no other kind (vm.memfd_noexec); Linux 6.3.
    let plain = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    memfd_create(c"clock", MFdFlags::MFD_CLOEXEC | plain).ok()
}

fn stamp(file: &OwnedFd) -> Option<Stamp> {
    let changed = |s: FileStat| Stamp::new(s.st_ctime, s.st_ctime_nsec);
    let mut last = None;
    for _ in 0..MOST {
        let before = time(ClockId::CLOCK_REALTIME);
        fchmod(file, Mode::S_IRUSR).ok()?;
        let now = changed(fstat(file).ok()?);
        last = Some(now);
        // Neither that of a tick nor the fine one of another file.
        if now >= before {
            break;
        }
    }
    last
}

/// True where a write after a look at a file's times gives it other times, however
/// soon it comes: multigrain timestamps, Linux 6.13. Of the file system see
/// [`keeps_fine_stamps`].
pub fn fine_stamps() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|n| n.parse::<u32>().ok());
    (next(), next()) >= (Some(6), Some(13))
}

/// True where the file system of `file` is one of those whose files, looked at,
/// never get the same stamp again (`FS_MGTIME`: ext4, xfs, btrfs and tmpfs).
pub fn keeps_fine_stamps(file: std::os::fd::BorrowedFd<'_>) -> bool {
    use nix::sys::statfs::{
        BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, fstatfs,
    };
    let fine = [
        BTRFS_SUPER_MAGIC,
        EXT4_SUPER_MAGIC,
        TMPFS_MAGIC,
        XFS_SUPER_MAGIC,
    ];
    fine_stamps() && fstatfs(file).is_ok_and(|fs| fine.contains(&fs.filesystem_type()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn parts_earlier_changes_from_later_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let changed = || {
            let meta = std::fs::metadata(&path).unwrap();
            Stamp::new(meta.ctime(), meta.ctime_nsec())
        };
        let fine = fine_stamps();
        for round in 0..1_000 {
            std::fs::write(&path, b"x").unwrap();
            // A file that was looked at gets a finer stamp than one that was not.
            let first = changed();
            if round % 2 == 0 {
                std::fs::write(&path, b"y").unwrap();
            }
            let clock = file_clock();
            assert!(!fine || first < clock);
            std::fs::write(&path, b"z").unwrap();
            assert!(changed() >= clock);
        }
    }
}
