//! Sizes: a tree that costs nothing to watch, and what is remembered of others.

mod watch_kit;

use std::fs;

use incron::table::{Mask, Source as Choice};
use incron::watch::Source;
use watch_kit::{Kit, Tmpfs, kit_or_skip};

/// No directory is looked at before something happens in it: the first event is told
/// with nothing known but the way to it.
#[test]
fn a_hundred_thousand_directories_are_watched_at_once() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("d");
    let _fs = Tmpfs::new(kit.path("d"));
    for i in 0..100 {
        for j in 0..1000 {
            fs::create_dir_all(kit.path(&format!("d/{i}/{j}"))).unwrap();
        }
    }
    let line = kit.line("d", Mask::CREATE);
    kit.write("d/99/999/first");
    let figures = kit.source.fanotify_figures().unwrap();
    assert!(figures.handles < 10, "{figures:?}");
    assert_eq!(kit.told(), ["CREATE d/99/999|first"]);
    let figures = kit.source.fanotify_figures().unwrap();
    assert!(figures.handles < 10, "{figures:?}");
    // And none is left behind by those that nobody asks for.
    kit.remove(line);
    assert_eq!(kit.source.fanotify_figures().unwrap().marks, 0);
}

/// What is nothing to any line is remembered, but not without end.
#[test]
fn foreign_directories_are_forgotten_in_time() {
    let Some(mut kit) = kit_or_skip() else { return };
    kit.mkdir("m");
    let _fs = Tmpfs::new(kit.path("m"));
    kit.mkdir("m/d");
    kit.line("m/d", Mask::CREATE);
    for i in 0..70_000 {
        kit.mkdir(&format!("m/{i}"));
        if i % 1000 == 0 {
            kit.told();
        }
    }
    kit.told();
    let figures = kit.source.fanotify_figures().unwrap();
    assert!(figures.handles <= 65_536 + 16, "{figures:?}");
    kit.write("m/69999/f");
    kit.write("m/d/f");
    assert_eq!(kit.told(), ["CREATE m/d|f"]);
    let now = kit.clock.now();
    kit.source.tick(now, &mut Vec::new());
}

/// What `source=auto` chooses, by whose the line is, its tree and what it asks for.
#[test]
fn a_line_that_leaves_the_choice_is_served_by_what_suits_its_tree() {
    if kit_or_skip().is_none() {
        return;
    }
    let mut kit = Kit::serving(Choice::Auto);
    for i in 0..6_000 {
        kit.mkdir(&format!("many/{}/{i}", i / 1000));
        kit.mkdir(&format!("hidden/.{i}"));
    }
    kit.mkdir("few/a/b");
    let marks = |kit: &Kit| kit.source.fanotify_figures().map_or(0, |f| f.marks);
    kit.line("many", Mask::CREATE);
    assert_eq!(marks(&kit), 0, "a user's");
    kit.source.set_system(true);
    kit.line("few", Mask::CREATE);
    kit.line("hidden", Mask::CREATE);
    kit.line_with("many", Mask::CREATE, |request| request.recursive = false);
    // Every reader of the file system would be heard.
    kit.line("many", Mask::OPEN);
    assert_eq!(marks(&kit), 0);
    for path in ["many", "hidden", "few"] {
        let line = kit.line_with(path, Mask::CREATE, |request| {
            request.dotdirs = path == "hidden";
            request.who = path == "few";
        });
        assert_eq!(marks(&kit), 1, "{path}");
        kit.remove(line);
        assert_eq!(marks(&kit), 0, "{path}");
    }
}
