//! Sizes: a tree that costs nothing to watch, and what is remembered of others.

mod watch_kit;

use std::fs;

use incron::table::Mask;
use incron::watch::Source;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use watch_kit::kit_or_skip;

struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn new(path: std::path::PathBuf) -> Self {
        let none = None::<&str>;
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        Self(path)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

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
