//! Trees served by fanotify: every name in them is told, by the path it has.

mod watch_kit;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use incron::event::LineId;
use incron::table::{Mask, Source};
use watch_kit::apart::start;
use watch_kit::{kit_or_skip, request};

#[test]
fn a_directory_tells_of_its_files_and_of_those_below() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d");
    kit.line("d", Mask::CREATE | Mask::CLOSE_WRITE | Mask::DELETE);
    kit.write("d/f");
    kit.rm("d/f");
    assert_eq!(kit.told(), ["CREATE d|f", "CLOSE_WRITE d|f", "DELETE d|f"]);
    kit.mkdir("d/sub");
    kit.write("d/sub/g");
    kit.write("elsewhere");
    assert_eq!(
        kit.told(),
        [
            "CREATE,ISDIR d|sub",
            "CREATE d/sub|g",
            "CLOSE_WRITE d/sub|g"
        ]
    );
    assert_eq!(kit.source.fanotify_figures().unwrap().marks, 1);
}

/// As overlayfs does when a directory of an image is removed.
#[test]
fn what_an_exchange_brings_into_a_tree_that_is_still_to_be_scanned_is_told_once() {
    let Some(mut kit) = kit_or_skip() else { return };
    for dir in ["d", "o/x/s", "o/y"] {
        kit.mkdir(dir);
    }
    kit.line("d", Mask::MOVE);
    kit.mv("o/x", "d/x");
    kit.exchange("o/y", "d/x/s");
    let all = [
        "MOVED_TO,ISDIR d|x",
        "MOVED_TO,ISDIR d/x|s",
        "MOVED_FROM,ISDIR d/x|s",
    ];
    assert_eq!(kit.told(), all);
}

/// inotify loses a part of these without a scan; here there is none.
#[test]
fn seven_thousand_of_seven_thousand() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d");
    kit.line("d", Mask::CREATE);
    let top = kit.path("d");
    let maker = std::thread::spawn(move || {
        for i in 0..1000 {
            let dir = top.join(format!("{i}/a/b/c/d/e"));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("f"), b"").unwrap();
        }
    });
    let mut told = Vec::new();
    while !maker.is_finished() {
        told.extend(kit.told());
    }
    maker.join().unwrap();
    told.extend(kit.told());
    let different: BTreeSet<_> = told.iter().collect();
    assert_eq!((told.len(), different.len()), (7000, 7000));
    assert!(told.iter().all(|t| !t.contains("(scan)")));
    assert!(told.contains(&"CREATE d/999/a/b/c/d/e|f".to_owned()));
}

#[test]
fn names_of_any_bytes_are_told_as_they_are() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d");
    kit.line("d", Mask::CREATE);
    let every: Vec<u8> = (1..=255).filter(|b| *b != b'/').collect();
    let mut long = every.clone();
    long.push(b'x'); // 255 bytes
    for name in [&long[..], b"\xff\xfe\n'\"$()`", &[b'n'; 255], b" ", b"-rf"] {
        let dir = kit.path("d").join(OsStr::from_bytes(name));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(OsStr::from_bytes(name)), b"").unwrap();
        let events = kit.events();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].1.target(), dir.as_os_str());
        assert_eq!(events[1].1.name.as_bytes(), name);
        assert_eq!(events[1].1.watch, dir.as_os_str());
    }
}

#[test]
fn a_tree_renamed_into_reach_is_told_once_each() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d");
    kit.mkdir("out/a/b");
    kit.write("out/a/b/f");
    let moves = kit.line("d", Mask::CREATE | Mask::MOVED_TO | Mask::CLOSE_WRITE);
    kit.mv("out/a", "d/a");
    kit.write("d/a/b/g");
    assert_eq!(
        kit.told_to(moves),
        [
            "MOVED_TO,ISDIR d|a",
            "CREATE d/a/b|g",
            "CLOSE_WRITE d/a/b|g",
            "MOVED_TO,ISDIR d/a|b (scan)",
            "MOVED_TO d/a/b|f (scan)"
        ]
    );
    kit.mv("d/a", "out/z");
    kit.write("out/z/b/h");
    assert_eq!(kit.told(), [""; 0]);
    kit.mv("out/z", "d/y");
    kit.told();
    kit.write("d/y/b/g");
    assert_eq!(kit.told(), ["CLOSE_WRITE d/y/b|g"]);
}

#[test]
fn a_renamed_file_has_both_its_paths() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d/s");
    kit.line("d", Mask::MOVE);
    kit.write("d/f");
    kit.mv("d/f", "d/s/g");
    kit.mv("d/s/g", "h");
    kit.mv("h", "d/f");
    assert_eq!(
        kit.told(),
        [
            "MOVED_FROM d|f",
            "MOVED_TO d/s|g <- d/f",
            "MOVED_FROM d/s|g",
            "MOVED_TO d|f"
        ]
    );
}

/// The kernel makes one record of all that one process does to one file.
#[test]
fn what_came_and_went_before_it_was_read_is_told_in_that_order() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d");
    kit.line("d", Mask::CREATE | Mask::DELETE | Mask::CLOSE_WRITE);
    kit.write("d/gone");
    kit.rm("d/gone");
    kit.mkdir("d/s");
    kit.write("d/s/f");
    kit.rm("d/s");
    assert_eq!(
        kit.told(),
        [
            "CREATE d|gone",
            "CLOSE_WRITE d|gone",
            "DELETE d|gone",
            "CREATE,ISDIR d|s",
            "CREATE d/s|f",
            "CLOSE_WRITE d/s|f",
            "DELETE d/s|f",
            "DELETE,ISDIR d|s"
        ]
    );
    // The same inode again: away first, then back.
    kit.write("keep");
    fs::hard_link(kit.path("keep"), kit.path("d/l")).unwrap();
    kit.told();
    kit.rm("d/l");
    fs::hard_link(kit.path("keep"), kit.path("d/l")).unwrap();
    assert_eq!(kit.told(), ["DELETE d|l", "CREATE d|l"]);
}

#[test]
fn a_program_that_is_executed_is_told_and_who_read_it() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d");
    fs::copy("/bin/true", kit.path("d/prog")).unwrap();
    let mut asked = request(9, kit.path("d"), Mask::OPEN_EXEC | Mask::CLOSE_NOWRITE);
    asked.who = true;
    let mut out = Vec::new();
    incron::watch::Source::add(&mut kit.source, asked, &mut out);
    assert!(out.is_empty(), "{out:?}");
    // Another process writes it, so that no descriptor of ours is in the way.
    let script = format!("cp /bin/true {0}/x && exec {0}/x", kit.path("d").display());
    let mut child = start(Command::new("sh").args(["-c", &script])).unwrap();
    let pid = child.id() as i32;
    child.wait().unwrap();
    let events = kit.events();
    let exec: Vec<_> = events
        .iter()
        .filter(|(_, e)| e.mask.intersects(Mask::OPEN_EXEC))
        .collect();
    assert_eq!(exec.len(), 1, "{events:?}");
    assert_eq!(exec[0].1.name, "x");
    assert_eq!(exec[0].1.actor.as_ref().map(|a| a.pid), Some(pid));
    incron::watch::Source::remove(&mut kit.source, LineId(9));
    assert_eq!(kit.source.fanotify_figures().unwrap().marks, 0);
}

#[test]
fn a_path_that_is_not_there_is_waited_for_without_a_watch_on_the_way() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.line(
        "a/b/f",
        Mask::CREATE | Mask::CLOSE_WRITE | Mask::DELETE_SELF,
    );
    kit.line("a/b/c", Mask::CREATE);
    for _ in 0..2 {
        kit.mkdir("a/b/c");
        kit.write("a/b/c/g");
        kit.write("a/b/f");
        assert_eq!(
            kit.told(),
            ["CREATE a/b/c|g", "CREATE a/b/f|", "CLOSE_WRITE a/b/f|"]
        );
        kit.rm("a");
        assert_eq!(kit.told(), ["DELETE_SELF a/b/f|"]);
    }
    // All at once, by a rename.
    kit.mkdir("x/b");
    kit.write("x/b/f");
    kit.mv("x", "a");
    assert_eq!(kit.told(), ["CREATE a/b/f| (scan)"]);
}

#[test]
fn a_link_that_is_switched_leads_the_line_along() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("one");
    kit.mkdir("two");
    kit.write("two/old");
    kit.link("one", "now");
    kit.line("now", Mask::CREATE);
    kit.write("one/f");
    assert_eq!(kit.told(), ["CREATE now|f"]);
    kit.link("two", "next");
    kit.mv("next", "now");
    assert_eq!(kit.told(), ["CREATE now|old (scan)"]);
    kit.write("one/g");
    kit.write("two/h");
    assert_eq!(kit.told(), ["CREATE now|h"]);
}

#[test]
fn both_sources_serve_beside_each_other() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d");
    kit.line("d", Mask::CREATE);
    kit.line_with("d", Mask::CREATE, |r| r.source = Source::Inotify);
    kit.write("d/f");
    assert_eq!(kit.told(), ["CREATE d|f"; 2]);
    kit.remove(1);
    kit.write("d/g");
    assert_eq!(kit.told(), ["CREATE d|g"]);
}

/// The kernel goes on calling the file by the number of its inode.
#[test]
fn a_file_named_while_it_is_open_is_closed_under_its_name() {
    use std::io::Write;
    for from in ["d/a", "d/b"] {
        let Some(mut kit) = kit_or_skip() else { return };
        kit.mkdir("d/a");
        kit.mkdir("d/b");
        let mask = Mask::CREATE | Mask::CLOSE_WRITE;
        let tree = kit.line("d", mask);
        let file = kit.line("d/a/f", mask);
        let pattern = kit.line_with("d/*/f", mask, |request| request.path.pattern = true);
        let Some(mut made) = kit.nameless(from) else {
            return;
        };
        made.write_all(b"text").unwrap();
        kit.give_name(&made, "d/a/f");
        drop(made);
        let events = kit.events();
        let of = |line| -> Vec<String> {
            let told = events.iter().filter(|(to, _)| *to == line);
            told.map(|(_, event)| kit.text(event)).collect()
        };
        assert_eq!(of(tree), ["CREATE d/a|f", "CLOSE_WRITE d/a|f"], "{from}");
        let named = ["CREATE d/a/f|", "CLOSE_WRITE d/a/f|"];
        assert_eq!(of(file), named, "{from}");
        assert_eq!(of(pattern), named, "{from}");
    }
}

#[test]
fn a_path_does_not_go_on_by_a_link_whose_directory_is_gone() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d/b");
    std::os::unix::fs::symlink(kit.path("d/target"), kit.path("d/b/link")).unwrap();
    kit.line("d/b/link", Mask::CREATE);
    assert_eq!(kit.told(), [""; 0]);
    kit.mv("d/b", "away");
    kit.mkdir("d/target");
    kit.write("d/target/f");
    assert_eq!(kit.told(), [""; 0], "no path of the line leads there");
    kit.mkdir("d/b/link");
    kit.write("d/b/link/g");
    assert_eq!(kit.told(), ["CREATE d/b/link|g"]);
}
