//! Lines follow paths: files that are replaced, paths that come and go.

mod watch_kit;

use std::fs;

use incron::table::Mask;
use watch_kit::Kit;

const WRITES: Mask = Mask::CLOSE_WRITE;

#[test]
fn a_file_saved_in_place_or_by_rename_is_a_save() {
    let mut kit = Kit::new();
    kit.write("f");
    let close = kit.line("f", Mask::CLOSE_WRITE);
    let modify = kit.line("f", Mask::MODIFY);
    let moved = kit.line("f", Mask::CLOSE_WRITE | Mask::MOVED_TO);
    for _ in 0..3 {
        kit.write(".f.swp");
        kit.mv(".f.swp", "f");
        let events = kit.events();
        let of = |line| {
            events
                .iter()
                .filter(|(l, _)| *l == line)
                .map(|(_, e)| kit.text(e))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(close), ["CLOSE_WRITE f| <- .f.swp"]);
        assert_eq!(of(modify), ["MODIFY f| <- .f.swp"]);
        assert_eq!(of(moved), ["MOVED_TO f| <- .f.swp"]);
        kit.write("f");
        assert_eq!(kit.told_to(close), ["CLOSE_WRITE f|"]);
    }
}

#[test]
fn a_file_deleted_and_made_again_is_followed() {
    let mut kit = Kit::new();
    kit.write("f");
    kit.line(
        "f",
        WRITES | Mask::DELETE_SELF | Mask::MOVE_SELF | Mask::CREATE,
    );
    kit.rm("f");
    kit.write("f");
    assert_eq!(
        kit.told(),
        ["DELETE_SELF f|", "CREATE f|", "CLOSE_WRITE f|"]
    );
    kit.mv("f", "g");
    kit.write("g");
    kit.write("f");
    assert_eq!(kit.told(), ["MOVE_SELF f|", "CREATE f|", "CLOSE_WRITE f|"]);
}

#[test]
fn other_names_in_its_directory_are_nothing_to_a_file() {
    let mut kit = Kit::new();
    kit.write("f");
    kit.line("f", Mask::ALL_EVENTS);
    kit.write("g");
    kit.rm("g");
    assert_eq!(kit.told(), [""; 0]);
    fs::read(kit.path("f")).unwrap();
    assert_eq!(kit.told(), ["OPEN f|", "ACCESS f|", "CLOSE_NOWRITE f|"]);
}

#[test]
fn a_write_through_another_link_is_told_and_never_twice() {
    let mut kit = Kit::new();
    kit.write("f");
    kit.mkdir("other");
    fs::hard_link(kit.path("f"), kit.path("other/g")).unwrap();
    kit.line("f", WRITES);
    kit.write("other/g");
    assert_eq!(kit.told(), ["CLOSE_WRITE f|"]);
    kit.write("f");
    assert_eq!(kit.told(), ["CLOSE_WRITE f|"]);
    kit.write("other/g");
    kit.write("f");
    assert_eq!(kit.told(), ["CLOSE_WRITE f|"; 2]);
}

#[test]
fn a_file_linked_into_place_is_a_save() {
    let mut kit = Kit::new();
    kit.line("f", WRITES);
    kit.write("tmp");
    fs::hard_link(kit.path("tmp"), kit.path("f")).unwrap();
    assert_eq!(kit.told(), ["CLOSE_WRITE f|"]);
}

#[test]
fn a_path_that_is_not_there_is_waited_for() {
    let mut kit = Kit::new();
    kit.line("a/b/f", Mask::CREATE | WRITES);
    kit.line("a/b/c", Mask::CREATE);
    kit.mkdir("a");
    kit.write("a/noise");
    assert_eq!(kit.told(), [""; 0]);
    kit.mkdir("a/b/c");
    kit.write("a/b/c/g");
    kit.write("a/b/f");
    let mut told = kit.told();
    told.sort();
    assert_eq!(
        told,
        [
            "CLOSE_WRITE a/b/f| (scan)",
            "CREATE a/b/c|g (scan)",
            "CREATE a/b/f| (scan)"
        ]
    );
    kit.write("a/b/f");
    kit.write("a/b/c/h");
    assert_eq!(kit.told(), ["CLOSE_WRITE a/b/f|", "CREATE a/b/c|h"]);
}

#[test]
fn a_path_removed_and_made_again_is_followed() {
    let mut kit = Kit::new();
    kit.mkdir("a/b/d");
    kit.line("a/b/d", Mask::CREATE | Mask::DELETE_SELF);
    for _ in 0..3 {
        kit.rm("a");
        assert_eq!(kit.told(), ["DELETE_SELF a/b/d|"]);
        kit.mkdir("a/b/d");
        kit.write("a/b/d/f");
        assert_eq!(kit.told(), ["CREATE a/b/d|f (scan)"]);
        kit.write("a/b/d/g");
        assert_eq!(kit.told(), ["CREATE a/b/d|g"]);
    }
}

#[test]
fn a_directory_removed_while_someone_stands_in_it_is_followed() {
    let mut kit = Kit::new();
    kit.mkdir("a/d");
    kit.line("a/d", Mask::CREATE);
    let _held = (
        fs::File::open(kit.path("a")).unwrap(),
        fs::File::open(kit.path("a/d")).unwrap(),
    );
    kit.rm("a");
    kit.told();
    kit.mkdir("a/d");
    kit.told();
    kit.write("a/d/f");
    assert_eq!(kit.told(), ["CREATE a/d|f"]);
}

#[test]
fn a_parent_renamed_away_and_back_is_followed_and_tells_only_what_is_new() {
    let mut kit = Kit::new();
    kit.mkdir("a/b/d");
    kit.write("a/b/d/old");
    kit.tick();
    kit.line("a/b/d", Mask::CREATE | WRITES);
    kit.mv("a", "away");
    assert_eq!(kit.told(), [""; 0]);
    kit.write("away/b/d/new");
    assert_eq!(kit.told(), [""; 0]);
    kit.mv("away", "a");
    assert_eq!(
        kit.told(),
        [
            "CREATE a/b/d|new (rescan)",
            "CLOSE_WRITE a/b/d|new (rescan)"
        ]
    );
    kit.write("a/b/d/f");
    assert_eq!(kit.told(), ["CREATE a/b/d|f", "CLOSE_WRITE a/b/d|f"]);
}

#[test]
fn a_tree_renamed_into_place_is_told() {
    let mut kit = Kit::new();
    kit.line("d", Mask::CREATE | Mask::MOVED_TO);
    kit.mkdir("prepared/s");
    kit.write("prepared/s/f");
    kit.mv("prepared", "d");
    assert_eq!(
        kit.told(),
        ["MOVED_TO,ISDIR d|s (scan)", "MOVED_TO d/s|f (scan)"]
    );
}

#[test]
fn a_link_in_the_path_that_is_switched_is_followed() {
    let mut kit = Kit::new();
    kit.mkdir("v1");
    kit.mkdir("v2");
    kit.write("v1/config");
    kit.write("v2/config");
    kit.link("v1", "data");
    kit.link("data/config", "config");
    let file = kit.line("config", WRITES);
    let dir = kit.line("data", Mask::MOVED_TO);
    kit.link("v2", "data.tmp");
    kit.mv("data.tmp", "data");
    let events = kit.events();
    let of = |line| {
        events
            .iter()
            .filter(|(l, _)| *l == line)
            .map(|(_, e)| kit.text(e))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(file), ["CLOSE_WRITE config| (scan)"]);
    assert_eq!(of(dir), ["MOVED_TO data|config (scan)"]);
    kit.write("v2/config");
    assert_eq!(kit.told_to(file), ["CLOSE_WRITE config|"]);
    kit.write("v1/config");
    assert_eq!(kit.told(), [""; 0]);
}

#[test]
fn a_link_is_watched_itself_when_asked() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.link("d", "l");
    kit.line("l", Mask::CREATE | Mask::DELETE_SELF | Mask::DONT_FOLLOW);
    kit.write("d/f");
    assert_eq!(kit.told(), [""; 0]);
    kit.rm("l");
    assert_eq!(kit.told(), ["DELETE_SELF l|"]);
}

#[test]
fn links_below_the_path_are_not_followed() {
    let mut kit = Kit::new();
    kit.mkdir("out");
    kit.mkdir("d");
    kit.link("../out", "d/l");
    kit.link("d", "d/loop");
    kit.line("d", Mask::CREATE);
    kit.write("out/f");
    kit.link("../out", "d/m");
    assert_eq!(kit.told(), ["CREATE d|m"]);
}

#[test]
fn loops_of_links_and_hopeless_paths_are_waited_for() {
    let mut kit = Kit::new();
    kit.link("b", "a");
    kit.link("a", "b");
    kit.line("a/x", Mask::CREATE);
    kit.write("file");
    kit.line("file/below", Mask::CREATE);
    kit.rm("b");
    kit.mkdir("b/x");
    kit.rm("file");
    kit.mkdir("file/below");
    kit.told();
    kit.write("b/x/f");
    kit.write("file/below/g");
    assert_eq!(kit.told(), ["CREATE a/x|f", "CREATE file/below|g"]);
}

#[test]
fn a_file_becomes_a_directory_and_back() {
    let mut kit = Kit::new();
    kit.write("x");
    kit.line("x", Mask::CREATE | WRITES);
    kit.rm("x");
    kit.mkdir("x/s");
    kit.told();
    kit.write("x/s/f");
    assert_eq!(kit.told(), ["CREATE x/s|f", "CLOSE_WRITE x/s|f"]);
    kit.rm("x");
    kit.told();
    kit.write("x");
    assert_eq!(kit.told(), ["CREATE x|", "CLOSE_WRITE x|"]);
}

#[test]
fn only_directories_where_that_is_asked() {
    let mut kit = Kit::new();
    kit.write("x");
    kit.line("x", Mask::CLOSE_WRITE | Mask::DELETE_SELF | Mask::ONLYDIR);
    kit.write("x");
    assert_eq!(kit.told(), [""; 0]);
    kit.rm("x");
    kit.mkdir("x");
    kit.told();
    kit.rm("x");
    assert_eq!(kit.told(), ["DELETE_SELF x|"]);
}

#[test]
fn old_path_is_known_across_lines() {
    let mut kit = Kit::new();
    kit.mkdir("a");
    kit.mkdir("b");
    let a = kit.line("a", Mask::MOVED_FROM);
    let b = kit.line("b", Mask::MOVED_TO);
    kit.write("a/f");
    kit.mv("a/f", "b/g");
    let events = kit.events();
    let of = |line| {
        events
            .iter()
            .filter(|(l, _)| *l == line)
            .map(|(_, e)| kit.text(e))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(a), ["MOVED_FROM a|f"]);
    assert_eq!(of(b), ["MOVED_TO b|g <- a/f"]);
}

#[test]
fn complete_means_closed_by_the_last_writer_or_moved_or_linked_in() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.line("d", Mask::COMPLETE);
    let one = fs::File::create(kit.path("d/f")).unwrap();
    let two = fs::File::options()
        .write(true)
        .open(kit.path("d/f"))
        .unwrap();
    drop(one);
    assert_eq!(kit.told(), [""; 0]);
    drop(two);
    assert_eq!(kit.told(), ["COMPLETE d|f"]);
    kit.write("tmp");
    fs::hard_link(kit.path("tmp"), kit.path("d/linked")).unwrap();
    kit.mv("tmp", "d/moved");
    assert_eq!(kit.told(), ["COMPLETE d|linked", "COMPLETE d|moved"]);
}

#[test]
fn our_own_look_at_a_file_is_not_told() {
    let reading = Mask::OPEN | Mask::CLOSE_NOWRITE;
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.line("d", Mask::COMPLETE);
    kit.line("d", reading);
    kit.line("d/f", reading | Mask::COMPLETE);
    for _ in 0..3 {
        kit.write("d/f");
    }
    // Twice the lines' word of a write, and no more of what it took to know.
    let mut told = kit.told();
    told.sort();
    let expected = [
        ["COMPLETE d/f|"; 3],
        ["COMPLETE d|f"; 3],
        ["OPEN d/f|"; 3],
        ["OPEN d|f"; 3],
    ];
    assert_eq!(told, expected.concat());
    fs::read(kit.path("d/f")).unwrap();
    let mut told = kit.told();
    told.sort();
    let expected = [
        "CLOSE_NOWRITE d/f|",
        "CLOSE_NOWRITE d|f",
        "OPEN d/f|",
        "OPEN d|f",
    ];
    assert_eq!(told, expected);
    // A file with another name is watched itself, too.
    fs::hard_link(kit.path("d/f"), kit.path("g")).unwrap();
    kit.told();
    kit.write("d/f");
    let mut told = kit.told();
    told.sort();
    assert_eq!(
        told,
        ["COMPLETE d/f|", "COMPLETE d|f", "OPEN d/f|", "OPEN d|f"]
    );
}

#[test]
fn another_name_for_a_file_is_no_write() {
    let mut kit = Kit::new();
    kit.write("f");
    kit.line("f", Mask::CLOSE_WRITE | Mask::MOVED_TO);
    kit.line("f", Mask::CLOSE_WRITE | Mask::ATTRIB);
    kit.write("f");
    assert_eq!(kit.told(), ["CLOSE_WRITE f|"; 2]);
    kit.tick();
    fs::hard_link(kit.path("f"), kit.path("g")).unwrap();
    assert_eq!(kit.told(), ["ATTRIB f| (rescan)"]);
    // A write through it that comes before we know of it is told.
    kit.write("f");
    fs::remove_file(kit.path("g")).unwrap();
    kit.told();
    kit.tick();
    fs::hard_link(kit.path("f"), kit.path("g")).unwrap();
    kit.write("g");
    let told = kit.told();
    let writes = told.iter().filter(|t| t.starts_with("CLOSE_WRITE f|"));
    assert_eq!(writes.count(), 2, "{told:?}");
}

#[test]
fn an_exchange_is_one_change_of_the_file() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.write("d/e");
    kit.write("d/f");
    kit.line("d/f", Mask::ALL_EVENTS);
    kit.line("d/f", Mask::CLOSE_WRITE);
    // Another root with the same file.
    kit.line_with("d/f", Mask::MOVE_SELF, |r| r.mask |= Mask::DONT_FOLLOW);
    kit.exchange("d/e", "d/f");
    assert_eq!(
        kit.told(),
        ["MOVED_TO d/f| <- d/e", "CLOSE_WRITE d/f| <- d/e"]
    );
    // Away and back again is not one.
    kit.mv("d/e", "d/f");
    kit.mv("d/f", "d/g");
    assert_eq!(
        kit.told(),
        [
            "MOVED_TO d/f| <- d/e",
            "CLOSE_WRITE d/f| <- d/e",
            "MOVE_SELF d/f|",
            "MOVE_SELF d/f|"
        ]
    );
}

#[test]
fn a_file_named_while_it_is_open_is_told_by_its_name() {
    use std::io::Write;
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.line("d", Mask::CLOSE_WRITE | Mask::COMPLETE);
    kit.line("d", Mask::OPEN | Mask::ACCESS | Mask::CLOSE_NOWRITE);
    kit.line("d/f", Mask::CLOSE_WRITE);
    let Some(mut file) = kit.nameless("d") else {
        return;
    };
    file.write_all(b"text").unwrap();
    kit.told();
    kit.give_name(&file, "d/f");
    assert_eq!(kit.told(), [""; 0]);
    drop(file);
    assert_eq!(kit.told(), ["CLOSE_WRITE,COMPLETE d|f", "CLOSE_WRITE d/f|"]);
    assert_eq!(kit.told(), [""; 0]);
    // One that never gets a name keeps its number.
    drop(kit.nameless("d"));
    let told = kit.told();
    let number = |t: &&String| t.starts_with("CLOSE_WRITE d|#");
    assert_eq!(told.iter().filter(number).count(), 1, "{told:?}");
}

#[test]
fn a_tree_moved_in_while_its_path_was_away_is_told_when_it_is_back() {
    let mut kit = Kit::new();
    kit.mkdir("a/b/d/old/deep");
    kit.write("a/b/d/old/deep/known");
    kit.mkdir("tree/s");
    kit.write("tree/f");
    kit.write("tree/s/g");
    kit.tick();
    kit.line("a/b/d", Mask::CREATE | Mask::MOVED_TO | Mask::CLOSE_WRITE);
    kit.mv("a", "away");
    assert_eq!(kit.told(), [""; 0]);
    kit.mv("tree", "away/b/d/old/tree");
    kit.mkdir("away/b/d/made");
    kit.write("away/b/d/made/h");
    kit.mv("away/b/d/old/deep", "away/b/d/old/other");
    kit.mv("away", "a");
    let mut told = kit.told();
    told.sort();
    assert_eq!(
        told,
        [
            "CLOSE_WRITE a/b/d/made|h (scan)",
            "CREATE a/b/d/made|h (scan)",
            "CREATE,ISDIR a/b/d|made (scan)",
            "MOVED_TO a/b/d/old/other|known (scan)",
            "MOVED_TO a/b/d/old/tree/s|g (scan)",
            "MOVED_TO a/b/d/old/tree|f (scan)",
            "MOVED_TO,ISDIR a/b/d/old/tree|s (scan)",
            "MOVED_TO,ISDIR a/b/d/old|other (scan)",
            "MOVED_TO,ISDIR a/b/d/old|tree (scan)",
        ]
    );
    kit.mv("a", "away");
    kit.told();
    kit.tick();
    kit.rm("away/b/d/made");
    kit.mkdir("away/b/d/made");
    kit.mv("away", "a");
    assert_eq!(kit.told(), ["CREATE,ISDIR a/b/d|made (scan)"]);
    kit.mv("a", "away");
    kit.told();
    kit.mv("away", "a");
    assert_eq!(kit.told(), [""; 0]);
    kit.write("a/b/d/old/tree/s/again");
    let told = kit.told();
    assert_eq!(told.len(), 2, "{told:?}");
}

/// Made without a name in one directory, named in another.
#[test]
fn a_file_named_in_another_directory_is_closed_there() {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;
    let mut kit = Kit::new();
    kit.mkdir("d/from");
    kit.mkdir("d/to");
    kit.write("d/to/other");
    kit.line("d", Mask::CREATE | Mask::CLOSE_WRITE);
    let file = kit.line("d/to/new", Mask::CLOSE_WRITE);
    let Some(mut made) = kit.nameless("d/from") else {
        return;
    };
    made.write_all(b"x").unwrap();
    kit.give_name(&made, "d/to/new");
    drop(made);
    let mut told: Vec<_> = kit.events();
    told.retain(|(line, e)| *line != file || e.mask.intersects(Mask::CLOSE_WRITE));
    let told: Vec<_> = told.iter().map(|(_, e)| kit.text(e)).collect();
    let closed = ["CLOSE_WRITE d/to|new", "CLOSE_WRITE d/to/new|"];
    assert!(
        closed.iter().all(|t| told.iter().any(|told| told == t)),
        "{told:?}"
    );
    assert_eq!(told.len(), 3, "{told:?}");
    // A name that looks like one of the kernel's is a name.
    let inode = fs::metadata(kit.path("d/to/new")).unwrap().ino();
    kit.write(&format!("d/from/#{inode}"));
    let told = kit.told();
    assert!(
        told.contains(&format!("CLOSE_WRITE d/from|#{inode}")),
        "{told:?}"
    );
}

/// A look along the path is no moment: what changes while it goes on may be found by it,
/// and is told with a time after the change, though the queue was read before.
#[test]
fn what_a_look_finds_is_dated_after_it_happened() {
    let mut kit = Kit::new();
    for dir in ["a", "b"] {
        kit.mkdir(dir);
    }
    // A long way, so that the look takes its time.
    for n in 1..38 {
        kit.link(&format!("l{}", n - 1), &format!("l{n}"));
    }
    kit.link("a", "l0");
    kit.line("l37/f", WRITES);
    for round in 0..300 {
        for dir in ["a", "b"] {
            kit.write(&format!("{dir}/new"));
            kit.mv(&format!("{dir}/new"), &format!("{dir}/f"));
        }
        kit.link("a", "new-link");
        kit.mv("new-link", "l0");
        kit.events();
        // The line hears that it must look, and meanwhile the link is switched.
        kit.rm("a/f");
        kit.link("b", "new-link");
        let (from, to) = (kit.path("new-link"), kit.path("l0"));
        let switch = std::thread::spawn(move || {
            for _ in 0..round * 40 {
                std::hint::spin_loop();
            }
            let before = std::time::SystemTime::now();
            fs::rename(from, to).unwrap();
            before
        });
        let mut events = kit.events();
        let before = switch.join().unwrap();
        events.extend(kit.events());
        let after = events.iter().filter(|(_, e)| e.time >= before);
        assert_eq!(after.count(), 1, "round {round}: {events:?}");
    }
}
