//! What was queued before the mounts changed is told before they are looked at, and by
//! inotify one read at a time: however much it is, no more than that is in memory.

mod watch_kit;

use std::path::PathBuf;

use incron::table::{Mask, Source as Choice};
use incron::watch::{Report, Source};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use watch_kit::{Kit, kit_or_skip};

/// A file system that goes with the test.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn over(path: PathBuf) -> Option<Self> {
        let (flags, tmpfs) = (MsFlags::empty(), Some("tmpfs"));
        let done = mount(tmpfs, &path, tmpfs, flags, None::<&str>);
        if done.is_err() {
            eprintln!("left out: may not mount");
        }
        done.ok().map(|()| Self(path))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Files that are made before the mount: several reads of either source.
const FILES: usize = 12_000;
/// More events than one read of either source holds.
const READ: usize = 4_000;

/// At most `most` events are told by one call.
fn told_before_the_mounts(mut kit: Kit, most: usize) {
    kit.mkdir("t");
    let Some(_own) = Tmpfs::over(kit.path("t")) else {
        return;
    };
    kit.mkdir("t/d/m");
    kit.line("t/d", Mask::CREATE);
    kit.write("t/d/first");
    assert_eq!(kit.told(), ["CREATE t/d|first"]);
    for i in 0..FILES {
        kit.write(&format!("t/d/{i}"));
    }
    let Some(_fs) = Tmpfs::over(kit.path("t/d/m")) else {
        return;
    };
    kit.write("t/d/m/new");
    let mut told = Vec::new();
    loop {
        let mut out = Vec::new();
        let more = kit.source.mounts_changed(kit.clock.now(), &mut out);
        assert!(out.len() <= most, "{} at once", out.len());
        told.extend(out.iter().filter_map(|report| match report {
            Report::Event(_, event) => Some(kit.text(event)),
            Report::Problem(..) => None,
        }));
        if !more {
            break;
        }
    }
    let files: Vec<_> = (0..FILES).map(|i| format!("CREATE t/d|{i}")).collect();
    assert_eq!(told[..FILES], files);
    assert_eq!(told[FILES..], ["CREATE t/d/m|new (scan)"]);
    assert_eq!(kit.told(), [""; 0]);
}

#[test]
fn inotify() {
    told_before_the_mounts(Kit::serving(Choice::Inotify), READ);
}

/// Where anybody makes a directory, fanotify reads all that waits; the kernel itself
/// has made one record of all that a process did to a file.
#[test]
fn fanotify() {
    if let Some(kit) = kit_or_skip() {
        told_before_the_mounts(kit, FILES + 1);
    }
}

/// A writer that never stops does not put the look at the mounts off for ever.
#[test]
fn a_writer_that_goes_on_puts_nothing_off() {
    for kit in [Some(Kit::serving(Choice::Inotify)), kit_or_skip()] {
        let Some(mut kit) = kit else { continue };
        kit.mkdir("d/m");
        kit.line("d", Mask::CREATE);
        let Some(_fs) = Tmpfs::over(kit.path("d/m")) else {
            return;
        };
        kit.write("d/m/new");
        let (mut made, mut found) = (0, false);
        loop {
            // Never fewer than fill the next read.
            for _ in 0..READ {
                kit.write(&format!("d/{made}"));
                kit.rm(&format!("d/{made}"));
                made += 1;
            }
            let mut out = Vec::new();
            let more = kit.source.mounts_changed(kit.clock.now(), &mut out);
            let new = |report: &Report| matches!(report, Report::Event(_, e) if kit.text(e).contains("d/m|new"));
            found |= out.iter().any(new);
            if !more {
                break;
            }
        }
        assert!(found, "after {made} files");
    }
}
