//! Directories that are renamed and removed while things happen below them: every
//! path that is told is one that the thing had, and everything is told.

mod watch_kit;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use incron::table::Mask;
use watch_kit::apart::status;
use watch_kit::{Tmpfs, kit_or_skip};

/// One after the other, unread: each file has exactly one path when it is made.
#[test]
fn a_file_is_told_by_the_path_it_had_when_it_was_made() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d/x/0/b/c");
    kit.line("d", Mask::CREATE);
    kit.mkdir("d/y");
    kit.told();
    let mut expected = Vec::new();
    let mut from = "d/x/0".to_owned();
    for round in 1..200 {
        let to = format!("d/{}/{round}", ["x", "y"][round % 2]);
        kit.write(&format!("{from}/b/c/f{round}"));
        expected.push(format!("CREATE {from}/b/c|f{round}"));
        kit.mv(&from, &to);
        if round % 3 == 0 {
            kit.mkdir(&format!("{to}/b/n{round}/m"));
            kit.write(&format!("{to}/b/n{round}/m/g"));
            expected.push(format!("CREATE,ISDIR {to}/b|n{round}"));
            expected.push(format!("CREATE,ISDIR {to}/b/n{round}|m"));
            expected.push(format!("CREATE {to}/b/n{round}/m|g"));
        }
        if round % 50 == 49 {
            assert_eq!(kit.told(), expected);
            expected.clear();
        }
        from = to;
    }
}

/// The kernel keeps equal renames as one, so the last one must be found out.
#[test]
fn there_and_back_and_there_again_ends_there() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d/a");
    kit.line("d", Mask::CREATE | Mask::MOVE);
    kit.write("d/f");
    kit.told();
    for _ in 0..3 {
        kit.mv("d/a", "d/b");
        kit.mv("d/b", "d/a");
        kit.mv("d/f", "d/g");
        kit.mv("d/g", "d/f");
    }
    kit.mv("d/a", "d/b");
    kit.mv("d/f", "d/g");
    let told = kit.told();
    let last = |text: &str| told.iter().rposition(|t| t.starts_with(text)).unwrap();
    assert!(last("MOVED_TO,ISDIR d|b") > last("MOVED_TO,ISDIR d|a"));
    assert!(last("MOVED_TO d|g") > last("MOVED_TO d|f"));
    kit.write("d/b/n");
    assert_eq!(kit.told(), ["CREATE d/b|n"]);
}

/// A write that the kernel has added to a record of before the rename.
#[test]
fn a_write_after_a_rename_is_told_by_the_new_path() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d/a");
    kit.mkdir("o");
    kit.line("d", Mask::CREATE | Mask::CLOSE_WRITE);
    kit.write("d/a/f");
    kit.mv("d/a", "d/b");
    kit.write("d/b/f");
    assert_eq!(kit.told(), ["CREATE d/a|f", "CLOSE_WRITE d/b|f"]);
    // Out of reach it is told as it was known.
    kit.write("d/b/f");
    kit.mv("d/b", "o/b");
    kit.write("o/b/f");
    assert_eq!(kit.told(), ["CLOSE_WRITE d/b|f"]);
}

#[test]
fn ancestors_change_their_names_while_files_are_written() {
    let Some(mut kit) = kit_or_skip() else { return };
    // Of a file system of its own: nothing is counted that others do.
    let _fs = Tmpfs::new(kit.path(""));
    kit.mkdir("d/a0/s/t");
    kit.line("d", Mask::CREATE);
    let deep = fs::File::open(kit.path("d/a0/s/t")).unwrap();
    let top = kit.path("d");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mover = std::thread::spawn(move || {
        let mut at = 0;
        while !stopped.load(Ordering::Relaxed) {
            let (from, to) = (format!("a{}", at % 3), format!("a{}", (at + 1) % 3));
            fs::rename(top.join(from), top.join(to)).unwrap();
            at += 1;
        }
        at
    });
    let writer = std::thread::spawn(move || {
        for i in 0..3000 {
            let path = format!("/proc/self/fd/{}/f{i}", deep.as_raw_fd());
            fs::write(path, b"").unwrap();
        }
    });
    let mut told = Vec::new();
    while !writer.is_finished() {
        told.extend(kit.told());
    }
    writer.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    let renames = mover.join().unwrap();
    told.extend(kit.told());
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for text in &told {
        let (dir, name) = text.split_once('|').unwrap();
        let known = (0..3).any(|i| dir == format!("CREATE d/a{i}/s/t"));
        assert!(known, "{text}: never its path");
        *names.entry(name.to_owned()).or_default() += 1;
    }
    assert_eq!(names.len(), 3000, "after {renames} renames");
    assert!(names.values().all(|&n| n == 1));
    assert_eq!(kit.source.fanotify_figures().unwrap().stale, 0);
}

/// Nothing is known of the tree when it goes: its handles lead nowhere any more.
#[test]
fn a_tree_never_seen_before_is_told_while_it_is_removed() {
    let Some(mut kit) = kit_or_skip() else { return };
    // Of a file system of its own: nothing is counted that others do.
    let _fs = Tmpfs::new(kit.path(""));
    for i in 0..30 {
        for j in 0..5 {
            kit.mkdir(&format!("d/{i}/{j}/x"));
            kit.write(&format!("d/{i}/{j}/x/f"));
        }
    }
    kit.line("d", Mask::DELETE | Mask::DELETE_SELF);
    let mut rm = Command::new("rm");
    let rm = status(rm.arg("-rf").arg(kit.path("d")));
    assert!(rm.unwrap().success());
    let told = kit.told();
    let is = |kind: &str| {
        told.iter()
            .filter(|t| t.starts_with(kind))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(is("DELETE ").len(), 150, "files");
    assert_eq!(is("DELETE,ISDIR ").len(), 30 + 150 + 150);
    assert_eq!(is("DELETE_SELF ").len(), 30 + 150 + 150 + 1);
    assert_eq!(kit.source.fanotify_figures().unwrap().stale, 0);
}

#[test]
fn trees_that_come_and_go_while_they_are_read_leave_nothing_behind() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d");
    kit.mkdir("o");
    kit.line("d", Mask::CREATE | Mask::MOVE | Mask::DELETE);
    let base = kit.path("");
    let maker = std::thread::spawn(move || {
        for i in 0..300 {
            let (out, into) = (base.join(format!("o/{i}")), base.join(format!("d/{i}")));
            fs::create_dir_all(out.join("a/b")).unwrap();
            fs::write(out.join("a/b/f"), b"x").unwrap();
            fs::rename(&out, &into).unwrap();
            fs::write(into.join("a/g"), b"x").unwrap();
            if i % 2 == 0 {
                fs::remove_dir_all(&into).unwrap();
            }
        }
    });
    let mut told = Vec::new();
    while !maker.is_finished() {
        told.extend(kit.told());
    }
    maker.join().unwrap();
    told.extend(kit.told());
    let times = |text: &str| {
        let is = |t: &&String| *t == text || **t == format!("{text} (scan)");
        told.iter().filter(is).count()
    };
    for i in (1..300).step_by(2) {
        let moved = times(&format!("MOVED_TO,ISDIR d|{i}"));
        let g = times(&format!("CREATE d/{i}/a|g")) + times(&format!("MOVED_TO d/{i}/a|g"));
        let f = times(&format!("MOVED_TO d/{i}/a/b|f"));
        assert_eq!((moved, g, f), (1, 1, 1), "{i}");
    }
}
