//! File systems mounted over watched paths.

mod watch_kit;

use incron::table::Mask;
use incron::watch::Source;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::path::PathBuf;
use watch_kit::Kit;

/// A tmpfs that goes with the test.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn over(path: PathBuf) -> Option<Self> {
        let done = mount(
            Some("tmpfs"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        );
        if done.is_err() {
            eprintln!("skipped: may not mount");
        }
        done.ok().map(|()| Self(path))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Serves the change of the table of mounts, which the kernel has told already.
fn told(kit: &mut Kit) -> Vec<String> {
    let fd = kit.source.mounts().unwrap();
    let mut fds = [PollFd::new(fd, PollFlags::POLLPRI)];
    assert!(poll(&mut fds, PollTimeout::from(5000u16)).unwrap() > 0);
    let mut out = Vec::new();
    while kit.source.mounts_changed(kit.clock.now(), &mut out) {}
    let mut told = kit.told();
    for report in out {
        if let incron::watch::Report::Event(_, e) = report {
            told.push(kit.text(&e));
        }
    }
    told.sort();
    told
}

#[test]
fn a_mount_over_the_path_is_followed_and_so_is_its_end() {
    let mut kit = Kit::new();
    kit.mkdir("a/d");
    kit.write("a/d/old");
    kit.tick();
    kit.line("a/d", Mask::CREATE | Mask::UNMOUNT);
    let Some(fs) = Tmpfs::over(kit.path("a/d")) else {
        return;
    };
    assert_eq!(told(&mut kit), [""; 0]);
    kit.mkdir("a/d/s");
    kit.write("a/d/s/f");
    assert_eq!(kit.told(), ["CREATE,ISDIR a/d|s", "CREATE a/d/s|f (scan)"]);
    drop(fs);
    assert_eq!(told(&mut kit), ["UNMOUNT,ISDIR a/d|"]);
    kit.write("a/d/g");
    assert_eq!(kit.told(), ["CREATE a/d|g"]);
}

#[test]
fn one_that_is_mounted_before_the_end_of_the_last_is_seen_is_another() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    let Some(mut fs) = Tmpfs::over(kit.path("d")) else {
        return;
    };
    kit.line("d", Mask::CREATE | Mask::UNMOUNT);
    for n in 0..20 {
        kit.mkdir("d/s");
        kit.write("d/s/f");
        let mut events = kit.told();
        events.retain(|event| !event.starts_with("CREATE d/s|f"));
        assert_eq!(events, ["CREATE,ISDIR d|s"], "{n}");
        // As a rule it has the numbers of the last: of the mount and of the device.
        drop(fs);
        fs = Tmpfs::over(kit.path("d")).unwrap();
        assert_eq!(told(&mut kit), ["UNMOUNT,ISDIR d|"], "{n}");
    }
}

#[test]
fn what_the_end_of_a_mount_uncovers_is_not_new() {
    for mask in [
        Mask::CREATE | Mask::DELETE,
        Mask::CREATE | Mask::CLOSE_WRITE,
        Mask::MOVE | Mask::COMPLETE,
        Mask::MODIFY | Mask::ATTRIB,
    ] {
        let mut kit = Kit::new();
        kit.mkdir("d/sub/below");
        kit.write("d/f");
        kit.write("d/sub/g");
        kit.tick();
        kit.line("d", mask);
        let Some(fs) = Tmpfs::over(kit.path("d")) else {
            return;
        };
        assert_eq!(told(&mut kit), [""; 0]);
        drop(fs);
        assert_eq!(told(&mut kit), [""; 0], "{mask:?}");
        // And all of it is watched again.
        kit.write("d/sub/below/h");
        if mask.intersects(Mask::CREATE) {
            assert_eq!(kit.told()[0], "CREATE d/sub/below|h");
        }
        kit.told();
        kit.tick();
        // The same where a directory on the way is renamed away and back.
        kit.mv("d", "e");
        kit.told();
        kit.tick();
        kit.mv("e", "d");
        assert_eq!(kit.told(), [""; 0], "{mask:?}");
    }
}

#[test]
fn what_changed_under_a_mount_is_told_at_its_end() {
    let mut kit = Kit::new();
    kit.mkdir("d/sub");
    kit.write("d/sub/old");
    kit.tick();
    kit.line("d", Mask::CREATE | Mask::CLOSE_WRITE);
    let below = std::fs::File::open(kit.path("d/sub")).unwrap();
    let Some(fs) = Tmpfs::over(kit.path("d")) else {
        return;
    };
    assert_eq!(told(&mut kit), [""; 0]);
    kit.tick();
    use std::os::fd::AsRawFd;
    std::fs::write(format!("/proc/self/fd/{}/new", below.as_raw_fd()), "x").unwrap();
    drop(fs);
    assert_eq!(
        told(&mut kit),
        [
            "CLOSE_WRITE d/sub|new (rescan)",
            "CREATE d/sub|new (rescan)"
        ]
    );
}

#[test]
fn a_mount_inside_the_tree_is_followed_and_so_is_its_end() {
    let mut kit = Kit::new();
    kit.mkdir("d/m/hidden");
    kit.line("d", Mask::CREATE);
    let Some(fs) = Tmpfs::over(kit.path("d/m")) else {
        return;
    };
    told(&mut kit);
    kit.write("d/m/f");
    assert_eq!(kit.told(), ["CREATE d/m|f"]);
    drop(fs);
    assert_eq!(told(&mut kit), [""; 0]);
    kit.write("d/m/g");
    kit.write("d/m/hidden/h");
    assert_eq!(kit.told(), ["CREATE d/m|g", "CREATE d/m/hidden|h"]);
}

#[test]
fn a_directory_made_just_before_a_mount_hides_it_is_watched_after_its_end() {
    let mut kit = Kit::new();
    kit.mkdir("d/m");
    kit.line("d", Mask::CREATE);
    kit.mkdir("d/m/new/sub");
    let Some(fs) = Tmpfs::over(kit.path("d/m")) else {
        return;
    };
    assert_eq!(told(&mut kit), ["CREATE,ISDIR d/m|new"]);
    drop(fs);
    assert_eq!(told(&mut kit), ["CREATE,ISDIR d/m/new|sub (scan)"]);
    kit.write("d/m/new/sub/f");
    assert_eq!(kit.told(), ["CREATE d/m/new/sub|f"]);
}

#[test]
fn what_a_bind_mount_showed_is_not_told_under_its_path_after_its_end() {
    let mut kit = Kit::new();
    kit.mkdir("d/a");
    kit.mkdir("d/b");
    kit.mkdir("o");
    kit.line("d", Mask::CREATE);
    for shown in ["d/a", "o"] {
        let bound = mount(
            Some(&kit.path(shown)),
            &kit.path("d/b"),
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        );
        if bound.is_err() {
            eprintln!("skipped: may not mount");
            return;
        }
        let bound = Tmpfs(kit.path("d/b"));
        assert_eq!(told(&mut kit), [""; 0]);
        kit.write(&format!("{shown}/f"));
        let heard = kit.told();
        assert!(heard.contains(&"CREATE d/b|f".into()), "{heard:?}");
        drop(bound);
        assert_eq!(told(&mut kit), [""; 0]);
        kit.write(&format!("{shown}/g"));
        kit.write(&format!("d/b/of-{}", &shown[..1]));
        let mut want = vec![format!("CREATE d/b|of-{}", &shown[..1])];
        if shown == "d/a" {
            want.insert(0, "CREATE d/a|g".into());
        }
        assert_eq!(kit.told(), want);
    }
}

#[test]
fn what_a_mount_hides_is_told_where_else_it_is_seen() {
    let mut kit = Kit::new();
    kit.mkdir("d/a/sub");
    kit.mkdir("d/b");
    kit.line("d", Mask::CREATE);
    let (a, b) = (kit.path("d/a"), kit.path("d/b"));
    let none = None::<&str>;
    if mount(Some(&a), &b, none, MsFlags::MS_BIND, none).is_err() {
        eprintln!("skipped: may not mount");
        return;
    }
    let bound = Tmpfs(b);
    assert_eq!(told(&mut kit), ["CREATE,ISDIR d/b|sub (scan)"]);
    let Some(over) = Tmpfs::over(a) else { return };
    assert_eq!(told(&mut kit), [""; 0]);
    kit.write("d/b/f");
    kit.write("d/b/sub/g");
    assert_eq!(kit.told(), ["CREATE d/b|f", "CREATE d/b/sub|g"]);
    drop(over);
    assert_eq!(told(&mut kit), [""; 0]);
    kit.write("d/b/sub/h");
    let mut heard = kit.told();
    heard.sort();
    assert_eq!(heard, ["CREATE d/a/sub|h", "CREATE d/b/sub|h"]);
    drop(bound);
}
