//! Directories and their subtrees: what a line on them is told.

mod watch_kit;

use std::fs;

use incron::table::Mask;
use incron::watch::Source as _;
use watch_kit::Kit;

const CREATE: Mask = Mask::CREATE;

#[test]
fn a_plain_directory_tells_of_its_files() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.line_with("d", Mask::CREATE | Mask::CLOSE_WRITE | Mask::DELETE, |r| {
        r.recursive = false
    });
    kit.write("d/f");
    kit.rm("d/f");
    assert_eq!(kit.told(), ["CREATE d|f", "CLOSE_WRITE d|f", "DELETE d|f"]);
    kit.mkdir("d/sub");
    kit.write("d/sub/g");
    assert_eq!(kit.told(), ["CREATE,ISDIR d|sub"]);
}

#[test]
fn a_trailing_slash_stays_and_is_given_to_sub_directories() {
    let mut kit = Kit::new();
    kit.mkdir("d/s");
    kit.line("d/", CREATE);
    kit.write("d/f");
    kit.write("d/s/g");
    assert_eq!(kit.told(), ["CREATE d/|f", "CREATE d/s/|g"]);
}

#[test]
fn a_tree_made_at_once_is_complete_and_told_once() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.line("d", Mask::CREATE | Mask::CLOSE_WRITE);
    for i in 0..20 {
        kit.mkdir(&format!("d/{i}/a/b"));
        kit.write(&format!("d/{i}/a/b/f"));
    }
    let mut told = kit.told();
    told.sort();
    let mut want = Vec::new();
    for i in 0..20 {
        want.push(format!("CREATE,ISDIR d|{i}"));
        want.push(format!("CREATE,ISDIR d/{i}|a (scan)"));
        want.push(format!("CREATE,ISDIR d/{i}/a|b (scan)"));
        want.push(format!("CREATE d/{i}/a/b|f (scan)"));
        want.push(format!("CLOSE_WRITE d/{i}/a/b|f (scan)"));
    }
    want.sort();
    assert_eq!(told, want);
    kit.write("d/7/a/b/f");
    assert_eq!(kit.told(), ["CLOSE_WRITE d/7/a/b|f"]);
}

#[test]
fn a_file_still_open_when_it_is_found_is_told_when_it_is_closed() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.line("d", Mask::CREATE | Mask::CLOSE_WRITE);
    kit.mkdir("d/a");
    let file = fs::File::create(kit.path("d/a/f")).unwrap();
    assert_eq!(kit.told(), ["CREATE,ISDIR d|a", "CREATE d/a|f (scan)"]);
    drop(file);
    assert_eq!(kit.told(), ["CLOSE_WRITE d/a|f"]);
}

#[test]
fn a_tree_moved_in_is_told_once_each() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.mkdir("out/a/b");
    kit.write("out/a/b/f");
    let moves = kit.line("d", Mask::CREATE | Mask::MOVED_TO | Mask::CLOSE_WRITE);
    let writes = kit.line("d", Mask::CLOSE_WRITE);
    kit.mv("out/a", "d/a");
    let events = kit.events();
    let of = |line| {
        events
            .iter()
            .filter(|(l, _)| *l == line)
            .map(|(_, e)| kit.text(e))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(moves),
        [
            "MOVED_TO,ISDIR d|a",
            "MOVED_TO,ISDIR d/a|b (scan)",
            "MOVED_TO d/a/b|f (scan)"
        ]
    );
    assert_eq!(of(writes), ["CLOSE_WRITE d/a/b|f (scan)"]);
    kit.write("d/a/b/g");
    assert_eq!(kit.told_to(writes), ["CLOSE_WRITE d/a/b|g"]);
}

#[test]
fn a_rename_inside_keeps_the_watches_and_tells_the_new_paths() {
    let mut kit = Kit::new();
    kit.mkdir("d/a/b");
    kit.mkdir("d/c");
    kit.line("d", Mask::CREATE | Mask::MOVE | Mask::MOVE_SELF);
    let watches = kit.source.figures().watches;
    kit.mv("d/a", "d/c/x");
    assert_eq!(
        kit.told(),
        [
            "MOVED_FROM,ISDIR d|a",
            "MOVED_TO,ISDIR d/c|x <- d/a",
            "MOVE_SELF d/c/x|"
        ]
    );
    kit.write("d/c/x/b/f");
    assert_eq!(kit.told(), ["CREATE d/c/x/b|f"]);
    assert_eq!(kit.source.figures().watches, watches);
}

/// inotify sends no word that a second half will not come, so the usual way is to wait.
#[test]
fn half_of_a_rename_is_told_at_once_and_nothing_waits_for_the_other() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.mkdir("o");
    kit.write("d/f");
    kit.line("d", Mask::MOVE);
    for (from, to, wanted) in [
        ("d/f", "d/g", &["MOVED_FROM d|f", "MOVED_TO d|g <- d/f"][..]),
        ("d/g", "o/g", &["MOVED_FROM d|g"]),
        ("o/g", "d/h", &["MOVED_TO d|h"]),
    ] {
        kit.mv(from, to);
        let told: Vec<_> = kit.read().iter().map(|(_, e)| kit.text(e)).collect();
        assert_eq!(told, wanted, "in one read");
        assert_eq!(kit.source.deadline(), None);
        assert!(!kit.readable());
    }
}

#[test]
fn a_tree_moved_out_is_no_longer_watched() {
    let mut kit = Kit::new();
    kit.mkdir("d/a/b");
    kit.mkdir("out");
    kit.line("d", Mask::CREATE | Mask::MOVE_SELF);
    let watches = kit.source.figures().watches;
    kit.mv("d/a", "out/a");
    assert_eq!(kit.told(), ["MOVE_SELF d/a|"]);
    kit.write("out/a/b/f");
    assert_eq!(kit.told(), [""; 0]);
    assert_eq!(kit.source.figures().watches, watches - 2);
}

#[test]
fn names_that_change_hands_before_they_are_read_are_sorted_out() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.line("d", Mask::CLOSE_WRITE);
    kit.mkdir("d/x");
    kit.mv("d/x", "d/y");
    kit.mkdir("d/x");
    kit.told();
    kit.write("d/x/f");
    kit.write("d/y/f");
    assert_eq!(kit.told(), ["CLOSE_WRITE d/x|f", "CLOSE_WRITE d/y|f"]);
    kit.mv("d/x", "d/z");
    kit.mv("d/y", "d/x");
    kit.mv("d/z", "d/y");
    kit.told();
    kit.write("d/x/1");
    kit.write("d/y/2");
    assert_eq!(kit.told(), ["CLOSE_WRITE d/x|1", "CLOSE_WRITE d/y|2"]);
}

#[test]
fn what_the_parent_tells_is_not_told_again() {
    let mut kit = Kit::new();
    kit.mkdir("d/s");
    kit.line("d", Mask::ALL_EVENTS);
    fs::set_permissions(
        kit.path("d/s"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    assert_eq!(kit.told(), ["ATTRIB,ISDIR d|s"]);
    fs::remove_dir(kit.path("d/s")).unwrap();
    let mut told = kit.told();
    told.sort();
    assert_eq!(told, ["DELETE,ISDIR d|s", "DELETE_SELF d/s|"]);
}

#[test]
fn our_own_reading_is_nobodys_event() {
    let mut kit = Kit::new();
    kit.mkdir("d/a/b");
    kit.line("d", Mask::ALL_EVENTS);
    assert_eq!(kit.told(), [""; 0]);
    kit.mkdir("d/n/m");
    kit.write("d/n/m/f");
    let told = kit.told();
    let want = [
        "CREATE,ISDIR d|n",
        "CREATE,ISDIR d/n|m (scan)",
        "CREATE d/n/m|f (scan)",
        "MODIFY d/n/m|f (scan)",
        "CLOSE_WRITE d/n/m|f (scan)",
    ];
    assert_eq!(told, want);
    fs::read_dir(kit.path("d/n/m")).unwrap().count();
    assert!(kit.told().contains(&"OPEN,ISDIR d/n|m".to_owned()));
}

#[test]
fn lines_share_watches_and_each_gets_its_own() {
    let mut kit = Kit::new();
    kit.mkdir("d/s");
    let a = kit.line("d", Mask::CREATE);
    let alone = kit.source.figures().watches;
    let b = kit.line("d", Mask::DELETE);
    assert_eq!(kit.source.figures().watches, alone);
    let c = kit.line_with("d/s", Mask::CLOSE_WRITE, |r| r.recursive = false);
    kit.write("d/s/f");
    kit.rm("d/s/f");
    let events = kit.events();
    let of = |line| {
        events
            .iter()
            .filter(|(l, _)| *l == line)
            .map(|(_, e)| kit.text(e))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(a), ["CREATE d/s|f"]);
    assert_eq!(of(b), ["DELETE d/s|f"]);
    assert_eq!(of(c), ["CLOSE_WRITE d/s|f"]);
    kit.remove(a);
    kit.write("d/s/g");
    kit.rm("d/s/g");
    assert_eq!(kit.told(), ["CLOSE_WRITE d/s|g", "DELETE d/s|g"]);
    kit.remove(b);
    kit.remove(c);
    assert_eq!(kit.source.figures().watches, 0);
    assert_eq!(kit.source.figures().roots, 0);
}

#[test]
fn a_reload_that_adds_before_it_removes_loses_nothing() {
    let mut kit = Kit::new();
    kit.mkdir("d/s");
    let old = kit.line("d", CREATE);
    kit.write("d/s/before");
    let new = kit.line("d", CREATE);
    kit.remove(old);
    kit.write("d/s/after");
    assert_eq!(kit.told_to(new), ["CREATE d/s|before", "CREATE d/s|after"]);
}

#[test]
fn dot_directories_are_entered_only_when_asked() {
    let mut kit = Kit::new();
    kit.mkdir(".hidden/d/.git/x");
    let plain = kit.line(".hidden/d", Mask::CREATE);
    let dots = kit.line_with(".hidden/d", Mask::CREATE, |r| r.dotdirs = true);
    kit.write(".hidden/d/.git/x/f");
    kit.write(".hidden/d/.dotfile");
    kit.mkdir(".hidden/d/sub");
    let events = kit.events();
    let of = |line| {
        events
            .iter()
            .filter(|(l, _)| *l == line)
            .map(|(_, e)| kit.text(e))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(plain),
        ["CREATE .hidden/d|.dotfile", "CREATE,ISDIR .hidden/d|sub"]
    );
    let all = [
        "CREATE .hidden/d/.git/x|f",
        "CREATE .hidden/d|.dotfile",
        "CREATE,ISDIR .hidden/d|sub",
    ];
    assert_eq!(of(dots), all);
    kit.write(".hidden/d/sub/g");
    assert_eq!(kit.told_to(plain), ["CREATE .hidden/d/sub|g"]);
}

#[test]
fn depth_bounds_the_subtree() {
    let mut kit = Kit::new();
    kit.mkdir("d/1/2/3");
    kit.line_with("d", CREATE, |r| r.depth = Some(1));
    kit.write("d/1/f");
    kit.write("d/1/2/f");
    kit.mkdir("d/n/m/o");
    assert_eq!(
        kit.told(),
        [
            "CREATE d/1|f",
            "CREATE,ISDIR d|n",
            "CREATE,ISDIR d/n|m (scan)"
        ]
    );
}

#[test]
fn very_deep_trees_are_watched_to_their_end() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.line("d", CREATE);
    let deep = format!("d/{}", vec!["x"; 300].join("/"));
    kit.mkdir(&deep);
    assert_eq!(kit.told().len(), 300);
    kit.write(&format!("{deep}/f"));
    assert_eq!(kit.told(), [format!("CREATE {deep}|f")]);
}

#[test]
fn oneshot_tells_once_until_it_is_added_again() {
    let mut kit = Kit::new();
    kit.mkdir("d/s");
    let line = kit.line("d", CREATE | Mask::ONESHOT);
    let other = kit.line("d", CREATE);
    kit.write("d/s/f");
    kit.write("d/g");
    let events = kit.events();
    assert_eq!(events.iter().filter(|(l, _)| *l == line).count(), 1);
    assert_eq!(events.iter().filter(|(l, _)| *l == other).count(), 2);
    kit.remove(line);
    kit.line("d", CREATE | Mask::ONESHOT);
    kit.write("d/h");
    assert_eq!(kit.told().len(), 2);
}

#[test]
fn a_removed_line_is_told_nothing_that_was_queued() {
    let mut kit = Kit::new();
    kit.mkdir("d");
    let line = kit.line("d", CREATE);
    kit.write("d/f");
    kit.remove(line);
    kit.line("d", Mask::DELETE);
    assert_eq!(kit.told(), [""; 0]);
}

#[test]
fn an_excluded_unlinked_file_is_silent_only_when_all_agree() {
    use std::io::Write;
    let mut kit = Kit::new();
    kit.mkdir("d");
    let line = kit.line("d", Mask::MODIFY | Mask::EXCL_UNLINK);
    let mut file = fs::File::create(kit.path("d/f")).unwrap();
    kit.rm("d/f");
    kit.told();
    file.write_all(b"x").unwrap();
    assert_eq!(kit.told_to(line), [""; 0]);
    let other = kit.line("d", Mask::MODIFY);
    file.write_all(b"x").unwrap();
    assert_eq!(kit.told_to(other), ["MODIFY d|f"]);
}

#[test]
fn names_of_any_bytes_are_told_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.line("d", CREATE);
    for name in [&b"\xff\xfe\n'\"$()`"[..], &[b'n'; 255], b" ", b"-rf"] {
        let mut path = kit.path("d").into_os_string().into_encoded_bytes();
        path.push(b'/');
        path.extend_from_slice(name);
        fs::create_dir(std::ffi::OsStr::from_bytes(&path)).unwrap();
        let events = kit.events();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].1.name.as_bytes(), name);
        assert_eq!(events[0].1.target().as_bytes(), path);
    }
}

#[test]
fn excluded_directories_are_not_entered_and_cost_no_watch() {
    let mut kit = Kit::new();
    kit.mkdir("d/node_modules/a/b");
    kit.mkdir("d/src/build");
    kit.mkdir("d/build");
    kit.line_with("d", Mask::CREATE, |r| {
        r.exclude = vec!["node_modules".into(), "/build".into()];
    });
    let watches = kit.source.figures().watches;
    kit.write("d/node_modules/a/f");
    kit.write("d/build/f");
    kit.write("d/src/build/f");
    assert_eq!(kit.told(), ["CREATE d/src/build|f"]);
    // A name that is taken out becomes one that is not.
    std::fs::rename(kit.path("d/node_modules"), kit.path("d/modules")).unwrap();
    kit.told();
    assert!(kit.source.figures().watches > watches);
    kit.write("d/modules/a/b/f");
    assert_eq!(kit.told(), ["CREATE d/modules/a/b|f"]);
}

/// Directories are watched from inside; nobody may notice.
#[test]
fn the_working_directory_is_left_where_it_was() {
    let before = std::env::current_dir().unwrap();
    let here = |step: &str| assert_eq!(std::env::current_dir().unwrap(), before, "{step}");
    let mut kit = Kit::new();
    kit.mkdir("d/a/b");
    kit.write("f");
    let line = kit.line("d", Mask::ALL_EVENTS);
    here("a tree");
    kit.line("f", Mask::CLOSE_WRITE);
    kit.line("missing/x", Mask::CLOSE_WRITE);
    here("other paths");
    kit.mkdir("d/c/d/e");
    kit.mv("d/a", "d/c/a");
    kit.told();
    here("new directories");
    kit.rm("d/c");
    kit.told();
    kit.remove(line);
    here("an end");
}

#[test]
fn a_directory_of_a_hundred_thousand_names_is_told_once() {
    const MANY: usize = 100_000;
    let mut kit = Kit::new();
    kit.mkdir("d");
    kit.mkdir("big/dir");
    for i in 0..MANY {
        fs::File::create(kit.path(&format!("big/{i}"))).unwrap();
    }
    let line = kit.line("d", Mask::CREATE | Mask::MOVED_TO | Mask::DELETE);
    kit.mv("big", "d/big");
    let told = kit.events();
    let names: std::collections::HashSet<_> = told.iter().map(|(_, e)| &e.name).collect();
    assert_eq!((told.len(), names.len()), (MANY + 2, MANY + 2));
    kit.write("d/big/one more");
    kit.write("d/big/dir/f");
    assert_eq!(
        kit.told_to(line),
        ["CREATE d/big|one more", "CREATE d/big/dir|f"]
    );
}

/// A directory that two exchanges take along: what was made in it between them is told
/// with a name that it had, and what came in its place is no less new for that.
#[test]
fn a_directory_that_two_exchanges_take_along_keeps_its_names() {
    for depth in [None, Some(1)] {
        let mut kit = Kit::new();
        kit.mkdir("d/g");
        kit.write("d/b");
        let line = kit.line_with("d", Mask::CREATE, |request| request.depth = depth);
        kit.exchange("d/b", "d/g");
        kit.write("d/b/f");
        kit.mkdir("d/c/new");
        kit.exchange("d/b", "d/c");
        let told = kit.told_to(line);
        let has = |wanted: &[&str]| told.iter().any(|t| wanted.contains(&t.as_str()));
        assert!(has(&["CREATE d/b|f", "CREATE d/c|f"]), "{depth:?} {told:?}");
        assert!(has(&["CREATE,ISDIR d/b|new (scan)"]), "{depth:?} {told:?}");
        assert!(!has(&["CREATE d/g|f"]), "{depth:?} {told:?}");
        assert_eq!(told.len(), 3, "{depth:?} {told:?}");
        kit.write("d/c/after");
        assert_eq!(kit.told_to(line), ["CREATE d/c|after"], "{depth:?}");
    }
}
