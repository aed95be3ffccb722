//! A full queue: everything that changed is told, and nothing twice.

mod watch_kit;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use incron::event::Origin;
use incron::table::Mask;
use watch_kit::Kit;
use watch_kit::apart::output;

fn kit(length: u32) -> Option<Kit> {
    let kit = Kit::with_queue(length);
    if kit.is_none() {
        eprintln!("skipped: needs the right to set fs.inotify.max_queued_events");
    }
    kit
}

#[test]
fn twenty_thousand_new_files_through_a_queue_of_64() {
    let Some(mut kit) = kit(64) else { return };
    for d in 0..20 {
        kit.mkdir(&format!("d/{d}"));
    }
    kit.line("d", Mask::CLOSE_WRITE);
    for f in 0..1000 {
        for d in 0..20 {
            kit.write(&format!("d/{d}/{f}"));
        }
    }
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    for (_, e) in kit.events() {
        *told.entry(kit.relative(e.target().as_ref())).or_default() += 1;
    }
    assert_eq!(told.len(), 20_000);
    assert!(
        told.values().all(|&n| n == 1),
        "{:?}",
        told.iter().find(|(_, n)| **n > 1)
    );
    assert!(kit.source.figures().overflows > 0);
    kit.write("d/3/3");
    assert_eq!(kit.told(), ["CLOSE_WRITE d/3|3"]);
}

/// A writer that goes on while we read: one rescan follows another, and each must
/// know what the one before has told.
#[test]
fn twenty_thousand_new_files_while_the_queue_overflows_again_and_again() {
    let Some(mut kit) = kit(64) else { return };
    for d in 0..20 {
        kit.mkdir(&format!("d/{d}"));
    }
    kit.line("d", Mask::CLOSE_WRITE);
    let dirs: Vec<_> = (0..20).map(|d| kit.path(&format!("d/{d}"))).collect();
    let written = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&written);
    let reads = std::sync::Arc::new(AtomicUsize::new(0));
    let done = std::sync::Arc::clone(&reads);
    let writer = std::thread::spawn(move || {
        for f in 0..1000 {
            // It is not through before there were some reads, however slow they are.
            while f >= (done.load(Ordering::Relaxed) + 1) * 50 {
                std::thread::yield_now();
            }
            for dir in &dirs {
                fs::write(dir.join(f.to_string()), b"x").unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut until = 0;
    loop {
        // Each read but the last finds the queue full.
        until = 20_000.min(until + 100);
        while written.load(Ordering::Relaxed) < until && !writer.is_finished() {
            std::thread::yield_now();
        }
        let last = writer.is_finished();
        for (_, e) in if last { kit.events() } else { kit.read() } {
            let path = kit.relative(e.target().as_ref());
            told.entry(path).or_default().push(kit.text(&e));
        }
        reads.fetch_add(1, Ordering::Relaxed);
        if last {
            break;
        }
        until = until.max(written.load(Ordering::Relaxed));
    }
    writer.join().unwrap();
    let twice: Vec<_> = told.values().filter(|t| t.len() > 1).collect();
    let figures = kit.source.figures();
    assert_eq!(
        (told.len(), twice.len()),
        (20_000, 0),
        "{figures:?} {twice:?}"
    );
    assert!(figures.overflows > 10, "{figures:?}");
}

/// A close changes no time of a file.
#[test]
fn a_close_is_told_though_only_a_rescan_has_seen_the_file_open() {
    let Some(mut kit) = kit(16) else { return };
    kit.mkdir("d");
    let line = kit.line("d", Mask::CREATE | Mask::CLOSE_WRITE);
    let fill = |kit: &Kit, from: u32| {
        for f in from..from + 50 {
            kit.write(&format!("d/{f}"));
        }
    };
    fill(&kit, 0);
    let mut file = fs::File::create(kit.path("d/open")).unwrap();
    std::io::Write::write_all(&mut file, b"x").unwrap();
    let of = |told: Vec<String>| -> Vec<String> {
        told.into_iter().filter(|t| t.contains("|open")).collect()
    };
    assert_eq!(of(kit.told_to(line)), ["CREATE d|open (rescan)"]);
    fill(&kit, 50);
    drop(file);
    assert_eq!(of(kit.told_to(line)), ["CLOSE_WRITE d|open (rescan)"]);
    fill(&kit, 100);
    assert_eq!(of(kit.told_to(line)), [""; 0]);
}

#[test]
fn what_was_there_before_is_not_told() {
    let Some(mut kit) = kit(16) else { return };
    kit.mkdir("d");
    kit.write("d/old");
    kit.tick();
    kit.line("d", Mask::CREATE | Mask::CLOSE_WRITE | Mask::MOVED_TO);
    for f in 0..50 {
        kit.write(&format!("d/{f}"));
    }
    let events = kit.events();
    assert!(events.iter().any(|(_, e)| e.origin == Origin::Rescan));
    for f in 0..50 {
        let of: Vec<_> = events
            .iter()
            .filter(|(_, e)| e.name == f.to_string().as_str())
            .map(|(_, e)| kit.text(e))
            .collect();
        assert_eq!(of.len(), 2, "{of:?}");
        assert!(
            of[0].starts_with("CREATE ") && of[1].starts_with("CLOSE_WRITE "),
            "{of:?}"
        );
    }
    assert!(!events.iter().any(|(_, e)| e.name == "old"));
}

#[test]
fn deletions_are_told_to_lines_that_ask_for_them() {
    let Some(mut kit) = kit(16) else { return };
    kit.mkdir("d/s/t");
    for f in 0..50 {
        kit.write(&format!("d/s/{f}"));
    }
    let line = kit.line("d", Mask::DELETE | Mask::DELETE_SELF);
    kit.line("d", Mask::CREATE);
    for f in 0..50 {
        kit.rm(&format!("d/s/{f}"));
    }
    kit.rm("d/s/t");
    let mut told = kit.told_to(line);
    for t in &mut told {
        *t = t.replace(" (rescan)", "");
    }
    told.sort();
    let mut want: Vec<_> = (0..50).map(|f| format!("DELETE d/s|{f}")).collect();
    want.push("DELETE,ISDIR d/s|t".into());
    want.push("DELETE_SELF d/s/t|".into());
    want.sort();
    assert_eq!(told, want);
}

#[test]
fn directories_made_and_moved_meanwhile_are_found() {
    let Some(mut kit) = kit(16) else { return };
    kit.mkdir("d/a/b");
    kit.write("d/a/b/known");
    kit.mkdir("out/x");
    kit.write("out/x/f");
    kit.tick();
    kit.line("d", Mask::CREATE | Mask::MOVED_TO);
    for f in 0..50 {
        kit.write(&format!("d/{f}"));
    }
    kit.mkdir("d/new/deep");
    kit.write("d/new/deep/f");
    kit.mv("out/x", "d/x");
    kit.mv("d/a", "d/c");
    let told = kit.told();
    let has = |text: &str| {
        told.iter()
            .filter(|t| t.replace(" (rescan)", "").replace(" (scan)", "") == text)
            .count()
    };
    assert_eq!(has("CREATE d/new/deep|f"), 1, "{told:?}");
    assert_eq!(has("MOVED_TO d/x|f"), 1, "{told:?}");
    assert!(!told.iter().any(|t| t.contains("known")), "{told:?}");
    kit.write("d/c/b/g");
    kit.write("d/new/deep/g");
    assert_eq!(kit.told(), ["CREATE d/c/b|g", "CREATE d/new/deep|g"]);
}

#[test]
fn a_file_that_is_saved_or_removed_meanwhile_is_told_to_its_line() {
    let Some(mut kit) = kit(16) else { return };
    kit.write("f");
    kit.write("g");
    let f = kit.line("f", Mask::CLOSE_WRITE);
    let g = kit.line("g", Mask::DELETE_SELF);
    kit.mkdir("noise");
    kit.line("noise", Mask::CREATE);
    kit.tick();
    for i in 0..50 {
        kit.write(&format!("noise/{i}"));
    }
    fs::write(kit.path("f"), b"longer").unwrap();
    kit.rm("g");
    let events = kit.events();
    let of = |line| {
        events
            .iter()
            .filter(|(l, _)| *l == line)
            .map(|(_, e)| kit.text(e))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(f), ["CLOSE_WRITE f| (rescan)"]);
    assert_eq!(of(g), ["DELETE_SELF g| (rescan)"]);
}

#[test]
fn a_line_on_everything_does_not_overflow_by_our_own_reading() {
    let Some(mut kit) = kit(64) else { return };
    for d in 0..500 {
        kit.mkdir(&format!("d/{d}"));
    }
    kit.line("d", Mask::ALL_EVENTS);
    assert_eq!(kit.told(), [""; 0]);
    for f in 0..100 {
        kit.write(&format!("d/{f}/f"));
    }
    let events = kit.events();
    let of = |bit| {
        events
            .iter()
            .filter(|(_, e)| e.mask.intersects(bit) && e.name == "f")
            .count()
    };
    assert_eq!((of(Mask::CREATE), of(Mask::CLOSE_WRITE)), (100, 100));
    assert_eq!(kit.source.figures().overflows, 1);
}

/// As the file systems of old disks: ext4 with inodes of 128 bytes.
#[test]
fn nothing_is_lost_where_stamps_are_whole_seconds() {
    let Some(mut kit) = kit(16) else { return };
    kit.mkdir("d");
    let (image, top) = (kit.path("image"), kit.path("d"));
    let image = image.to_str().unwrap();
    fs::File::create(image).unwrap().set_len(8 << 20).unwrap();
    let run = |program: &str, args: &[&str]| {
        let done = output(Command::new(program).args(args));
        done.is_ok_and(|done| done.status.success())
    };
    let _umount = Umount(top.clone());
    if !run("mkfs.ext4", &["-q", "-I", "128", image])
        || !run("mount", &["-o", "loop", image, top.to_str().unwrap()])
    {
        return eprintln!("skipped: no mkfs.ext4, or may not mount");
    }
    kit.line("d", Mask::CLOSE_WRITE);
    for f in 0..100 {
        kit.write(&format!("d/{f}"));
    }
    let told: BTreeSet<_> = kit
        .events()
        .into_iter()
        .map(|(_, e)| e.name.clone())
        .collect();
    assert_eq!(told.len(), 100);
    assert_eq!(kit.source.figures().overflows, 1);
}

/// Ends the mount with the test.
struct Umount(std::path::PathBuf);

impl Drop for Umount {
    fn drop(&mut self) {
        let _ = output(Command::new("umount").arg("-l").arg(&self.0));
    }
}

#[test]
fn a_name_that_was_exchanged_is_missed_by_every_line_on_its_directory() {
    let Some(mut kit) = kit(16) else { return };
    for dir in ["d/a", "d/b"] {
        kit.mkdir(dir);
    }
    let mask = Mask::CREATE | Mask::MOVE | Mask::DELETE;
    let lines = [
        kit.line("d", mask),
        kit.line_with("d", mask, |r| r.recursive = false),
        kit.line_with("d", mask, |r| r.depth = Some(1)),
    ];
    kit.exchange("d/a", "d/b");
    kit.events();
    for n in 0..30 {
        kit.write(&format!("d/{n}"));
    }
    kit.rm("d/b");
    let told = kit.events();
    for line in lines {
        let gone = |e: &incron::event::Event| e.name == "b" && e.mask.intersects(Mask::DELETE);
        assert!(
            told.iter().any(|(l, e)| *l == line && gone(e)),
            "line {line}"
        );
    }
}

/// The kernel tells of an exchange as of two renames, and the new thing comes to the
/// second name before the old one leaves it. Here the queue ends between the halves.
#[test]
fn an_exchange_in_the_middle_of_which_the_queue_is_full_is_told_once() {
    let Some(mut kit) = kit(16) else { return };
    kit.mkdir("d/e");
    kit.line("d", Mask::CREATE | Mask::MOVE | Mask::DELETE);
    kit.write("d/a");
    kit.write("d/e/b");
    kit.told();
    for f in 0..13 {
        kit.write(&format!("d/{f}"));
    }
    kit.exchange("d/a", "d/e/b");
    let told = kit.told();
    let of = |name: &str| -> Vec<String> {
        let told = told.iter().filter(|t| t.contains(name));
        told.map(|t| t.replace(" (rescan)", "")).collect()
    };
    assert_eq!(kit.source.figures().overflows, 1);
    assert_eq!(of("d/e|b"), ["MOVED_TO d/e|b <- d/a", "MOVED_FROM d/e|b"]);
    // Only a rescan saw it come.
    assert_eq!(of("d|a"), ["MOVED_FROM d|a", "CREATE d|a"]);
}

#[test]
fn a_directory_in_the_place_of_a_file_that_was_told_is_told() {
    let Some(mut kit) = kit(16) else { return };
    kit.mkdir("d");
    kit.line("d", Mask::CREATE | Mask::CLOSE_WRITE);
    kit.write("d/f");
    kit.told();
    kit.write("d/f");
    for f in 0..20 {
        kit.write(&format!("d/{f}"));
    }
    kit.rm("d/f");
    kit.mkdir("d/f");
    let told = kit.told();
    assert!(told.iter().any(|t| t == "CLOSE_WRITE d|f"), "{told:?}");
    assert!(
        told.iter().any(|t| t.starts_with("CREATE,ISDIR d|f")),
        "{told:?}"
    );
}

/// A line with `depth=` meets a directory that is renamed as a new one: its old name is
/// gone all the same.
#[test]
fn a_renamed_directory_has_left_its_name_at_every_depth() {
    for depth in [None, Some(1), Some(2)] {
        let Some(mut kit) = kit(16) else { return };
        kit.mkdir("d/g/x/y");
        kit.mkdir("d/a");
        let mask = Mask::DELETE | Mask::MOVED_FROM | Mask::CREATE;
        let line = kit.line_with("d", mask, |request| request.depth = depth);
        for n in 0..40 {
            kit.write(&format!("d/{n}"));
        }
        kit.mv("d/g", "d/a/g");
        let told = kit.told_to(line);
        let gone = |name: &&String| name.starts_with("DELETE,ISDIR d|g");
        assert_eq!(told.iter().filter(gone).count(), 1, "{depth:?} {told:?}");
    }
}
