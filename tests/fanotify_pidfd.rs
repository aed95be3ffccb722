//! Records with a descriptor of their process: none is left open. The only test of its
//! file, since it counts the descriptors of its process.

mod watch_kit;

use std::fs;
use std::path::Path;

use incron::table::Mask;
use incron::time::Clock;
use incron::watch::Report;
use incron::watch::fanotify::{Fanotify, Gate, Options};
use watch_kit::{Tmpfs, kit_or_skip, request};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Each of many records brings a descriptor of its process, wanted or not.
#[test]
fn descriptors_of_processes_are_closed_each_once() {
    let Some(kit) = kit_or_skip() else { return };
    kit.mkdir("m");
    let _fs = Tmpfs::new(kit.path("m"));
    kit.mkdir("m/d");
    kit.mkdir("m/foreign");
    let gate = Gate::new().unwrap();
    let mut source = Fanotify::new(
        gate,
        Options {
            pidfd: true,
            ..Options::default()
        },
    )
    .unwrap();
    let mut out = Vec::new();
    let mut asked = request(1, kit.path("m/d"), Mask::CREATE | Mask::DELETE);
    asked.who = true;
    source.add(&asked, &mut out).unwrap();
    let clock = Clock::new();
    let write = |dir: &Path, i: usize| {
        fs::write(dir.join(format!("f{i}")), b"x").unwrap();
        fs::remove_file(dir.join(format!("f{i}"))).unwrap();
    };
    let before = descriptors();
    let (ours, foreign) = (kit.path("m/d"), kit.path("m/foreign"));
    for i in 0..50_000 {
        write(&ours, i);
        write(&foreign, i);
        if i % 100 == 99 {
            source.drain(clock.now(), &mut out).unwrap();
        }
    }
    source.drain(clock.now(), &mut out).unwrap();
    assert_eq!(descriptors(), before);
    let events = out.iter().filter(|r| matches!(r, Report::Event(..)));
    assert_eq!(events.count(), 100_000);
    let figures = source.figures();
    assert!(figures.records >= 100_000, "{figures:?}");
}
