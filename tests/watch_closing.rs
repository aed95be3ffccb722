//! A file that is still open for writing when its close is told, as it is until the
//! kernel has ended it: what waits for that is told, though nothing more is heard.
//!
//! A descriptor that fanotify hands out with its event stands for the kernel: it may
//! write, and its own close is no event.

mod watch_kit;

use std::fs;
use std::os::fd::OwnedFd;

use incron::table::Mask;
use incron::watch::{Report, Source as _};
use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use watch_kit::{Kit, kit_or_skip};

/// Writes a file of `dir`; it stays open until what is returned is dropped.
fn written_and_held(kit: &Kit, dir: &str, name: &str) -> Option<OwnedFd> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return None;
    }
    let group = Fanotify::init(
        InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC,
        EventFFlags::O_RDWR | EventFFlags::O_CLOEXEC,
    );
    let group = group.unwrap();
    let mask = MaskFlags::FAN_CLOSE_WRITE | MaskFlags::FAN_EVENT_ON_CHILD;
    let dir = kit.path(dir);
    group
        .mark(MarkFlags::FAN_MARK_ADD, mask, AT_FDCWD, Some(&dir))
        .unwrap();
    fs::write(dir.join(name), "text").unwrap();
    let event = group.read_events().unwrap().remove(0);
    Some(event.fd().unwrap().try_clone_to_owned().unwrap())
}

/// What is told when its time has come.
fn tick(kit: &mut Kit) -> Vec<String> {
    let mut out = Vec::new();
    let at = kit.source.deadline().unwrap();
    kit.source.tick(at, &mut out);
    let events = out.iter().filter_map(|report| match report {
        Report::Event(_, event) => Some(kit.text(event)),
        Report::Problem(..) => None,
    });
    events.collect()
}

#[test]
fn a_file_that_is_closed_a_little_later_is_complete_then() {
    complete_a_little_later(Kit::new());
}

#[test]
fn a_file_that_is_closed_a_little_later_is_complete_then_by_fanotify() {
    if let Some(kit) = kit_or_skip() {
        complete_a_little_later(kit);
    }
}

fn complete_a_little_later(mut kit: Kit) {
    kit.mkdir("d");
    kit.line("d", Mask::CLOSE_WRITE | Mask::COMPLETE);
    kit.line("d/f", Mask::COMPLETE);
    let path = kit.path("d/[f]").to_str().unwrap().to_owned();
    kit.line_with("", Mask::COMPLETE, |request| {
        request.path.written = path.into();
        request.path.pattern = true;
    });
    let Some(held) = written_and_held(&kit, "d", "f") else {
        return;
    };
    assert_eq!(kit.told(), ["CLOSE_WRITE d|f"]);
    assert_eq!(tick(&mut kit), [""; 0], "it is open");
    drop(held);
    let mut told = tick(&mut kit);
    told.sort();
    assert_eq!(told, ["COMPLETE d/f|", "COMPLETE d/f|", "COMPLETE d|f"]);
    assert_eq!(kit.source.deadline(), None);
    assert_eq!(kit.told(), [""; 0]);
}

#[test]
fn a_file_that_is_written_by_another_for_long_is_left_to_his_close() {
    left_to_his_close(Kit::new());
}

#[test]
fn a_file_that_is_written_by_another_for_long_is_left_to_his_close_by_fanotify() {
    if let Some(kit) = kit_or_skip() {
        left_to_his_close(kit);
    }
}

fn left_to_his_close(mut kit: Kit) {
    kit.mkdir("d");
    kit.line("d", Mask::COMPLETE);
    let mut long = fs::File::create(kit.path("d/f")).unwrap();
    fs::write(kit.path("d/f"), "once").unwrap();
    assert_eq!(kit.told(), [""; 0]);
    for _ in 0..12 {
        assert_eq!(tick(&mut kit), [""; 0]);
    }
    assert_eq!(kit.source.deadline(), None, "nothing is waited for by time");
    std::io::Write::write_all(&mut long, b"again").unwrap();
    drop(long);
    assert_eq!(kit.told(), ["COMPLETE d|f"]);
}

/// It was closed just before its directory was watched.
#[test]
fn a_file_that_a_scan_finds_open_for_the_last_time_is_closed() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.line("d", Mask::CLOSE_WRITE);
    kit.mkdir("d/new");
    let Some(held) = written_and_held(&kit, "d/new", "f") else {
        return;
    };
    assert_eq!(kit.told(), [""; 0]);
    drop(held);
    assert_eq!(tick(&mut kit), ["CLOSE_WRITE d/new|f (scan)"]);
    assert_eq!(kit.source.deadline(), None);
    kit.write("d/new/f");
    assert_eq!(kit.told(), ["CLOSE_WRITE d/new|f"]);
}

/// It was closed just before its directory was renamed into the tree.
#[test]
fn a_file_that_a_scan_finds_open_for_the_last_time_is_closed_by_fanotify() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d");
    kit.mkdir("new");
    kit.line("d", Mask::CLOSE_WRITE);
    let Some(held) = written_and_held(&kit, "new", "f") else {
        return;
    };
    kit.told();
    kit.mv("new", "d/new");
    assert_eq!(kit.told(), [""; 0]);
    assert_eq!(tick(&mut kit), [""; 0], "it is open");
    drop(held);
    assert_eq!(tick(&mut kit), ["CLOSE_WRITE d/new|f (scan)"]);
    assert_eq!(kit.source.deadline(), None);
    let open = fs::File::create(kit.path("d/new/g")).unwrap();
    kit.mv("d/new", "new");
    kit.told();
    kit.mv("new", "d/new");
    kit.told();
    drop(open);
    let told = tick(&mut kit);
    let of_g = |all: &[String]| all.iter().filter(|t| t.ends_with("|g")).count();
    assert_eq!(of_g(&told) + of_g(&kit.told()), 1, "once, by its close");
}

/// And one whose close is heard before it is looked at again is told once.
#[test]
fn a_close_that_is_heard_is_not_told_again() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.line("d", Mask::CLOSE_WRITE);
    kit.mkdir("d/new");
    let open = fs::File::create(kit.path("d/new/f")).unwrap();
    assert_eq!(kit.told(), [""; 0]);
    drop(open);
    assert_eq!(tick(&mut kit), [""; 0], "the kernel's word is in the queue");
    assert_eq!(kit.told(), ["CLOSE_WRITE d/new|f"]);
    assert_eq!(tick(&mut kit), [""; 0]);
    assert_eq!(kit.source.deadline(), None);
    let open = fs::File::options()
        .append(true)
        .open(kit.path("d/new/f"))
        .unwrap();
    drop(open);
    assert_eq!(kit.told(), ["CLOSE_WRITE d/new|f"]);
}
