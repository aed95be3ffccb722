//! docs/semantics.md says which operation gives which event; here the operations
//! are done, and the page is compared with what lines were told.
//!
//! The worker stands still during an operation and learns of all of it at once,
//! so what a row says does not depend on who was faster. Beside our lines a bare
//! inotify watch and, where it is installed, Debian's incron see the same
//! operations. INCRON_WRITE_SEMANTICS=1 writes the page's tables anew.

#[path = "semantics/operations.rs"]
mod operations;
mod story;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::mount::{MntFlags, umount2};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use operations::{MOUNTS, OPERATIONS, Operation, prepare};
use serde_json::Value;
use story::common::{Daemon, PEER, children, is_root};
use story::{Check, Story};

/// The mask of the lines and watches, without the events of mere reading.
const MASK: &str = "IN_MODIFY,IN_ATTRIB,IN_CLOSE_WRITE,IN_MOVE,IN_CREATE,IN_DELETE,IN_DELETE_SELF,IN_MOVE_SELF,IN_UNMOUNT";

/// `EVENT NAME`, relative to `d`; `.` is `d` itself, a slash ends a directory's.
fn text(event: &str, path: &str, dir: bool) -> String {
    let event = event.trim_start_matches("IN_");
    // The name of a file without a name is its inode's number.
    let path = path.split('/').map(|part| {
        if part.starts_with('#') {
            "#inode"
        } else {
            part
        }
    });
    let path = path.collect::<Vec<_>>().join("/");
    let slash = if dir && path != "." { "/" } else { "" };
    format!("{event} {path}{slash}")
}

fn relative(base: &Path, path: &str) -> String {
    let rest = path.strip_prefix(base.to_str().unwrap()).unwrap_or(path);
    match rest.trim_matches('/') {
        "" => ".".into(),
        rest => rest.into(),
    }
}

fn cell(events: &[String]) -> String {
    let mut merged: Vec<(&String, usize)> = Vec::new();
    for event in events {
        match merged.last_mut() {
            Some((last, count)) if *last == event => *count += 1,
            _ => merged.push((event, 1)),
        }
    }
    let text: Vec<String> = merged
        .iter()
        .map(|(event, count)| {
            if *count == 1 {
                (*event).clone()
            } else {
                format!("{count} x {event}")
            }
        })
        .collect();
    if text.is_empty() {
        "-".into()
    } else {
        text.join(", ")
    }
}

/// Events of a bare inotify watch on `path`, until its queue is empty.
struct Bare {
    inotify: Inotify,
    name: &'static str,
}

impl Bare {
    fn new(path: &Path, name: &'static str) -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
        let mask = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        inotify.add_watch(path, mask).unwrap();
        Self { inotify, name }
    }

    fn told(&self) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                let dir = event.mask.contains(AddWatchFlags::IN_ISDIR);
                let name = event.name.map(|name| name.to_string_lossy().into_owned());
                let kind = event.mask & !AddWatchFlags::IN_ISDIR;
                let kind: Vec<_> = kind.iter_names().map(|(name, _)| name.to_owned()).collect();
                all.push(text(
                    &kind.join(","),
                    name.as_deref().unwrap_or(self.name),
                    dir,
                ));
            }
        }
        all
    }
}

/// What our lines were told in one operation, by the number of the line in its block.
type Ours = [Vec<String>; LINES.len()];

/// The lines of one operation; `@D` is its directory `d`.
const LINES: [&str; 5] = [
    "@D MASK,recursive=false",
    "@D MASK",
    "@D IN_COMPLETE",
    "@D/f MASK",
    "@D/f IN_CLOSE_WRITE",
];

/// The directory of the operation number `at`.
fn place(story: &Story, at: usize) -> PathBuf {
    story.prefix.watched().join(format!("{at:02}"))
}

fn table(story: &Story, count: usize) -> String {
    let mut table = "@P/mark IN_CREATE,run=stream cat >> @O/told\n".to_owned();
    for at in 0..count {
        let d = place(story, at).join("d").display().to_string();
        for line in LINES {
            let line = line.replace("@D", &d).replace("MASK", MASK);
            table.push_str(&format!("{line},run=stream cat >> @O/told\n"));
        }
    }
    story.fill(&table)
}

/// One step, and a marker that is told after all that it caused.
fn step(story: &Story, daemon: &Daemon<'_>, dir: &Path, mark: &str, step: fn(&Path)) {
    story.at_once(daemon, || step(dir));
    // A mount is told beside the queue of events.
    if dir.join("d").exists() {
        daemon.wait_watching(&dir.join("d"));
    }
    fs::write(story.path("mark").join(mark), "").unwrap();
    let mark = format!("\"{mark}\"");
    story
        .prefix
        .wait("the marker", || story.prefix.out("told").contains(&mark));
}

/// What our lines were told in each operation.
fn told(story: &Story, count: usize) -> Vec<Ours> {
    let mut all: Vec<Ours> = vec![Ours::default(); count];
    for line in story.prefix.out("told").lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        // The first line is the marker's.
        let Some(number) = (event["line"].as_u64().unwrap() as usize).checked_sub(2) else {
            continue;
        };
        let (at, line) = (number / LINES.len(), number % LINES.len());
        let path = relative(&place(story, at).join("d"), event["path"].as_str().unwrap());
        let names = event["events"].as_array().unwrap().iter();
        let names: Vec<&str> = names.filter_map(Value::as_str).collect();
        let dir = event["dir"].as_bool().unwrap();
        all[at][line].push(text(&names.join(","), &path, dir));
    }
    all
}

/// Ends mounts that a failed test left.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Our lines, and bare watches on `d` and on `d/f`.
fn ours_and_bare(operations: &[Operation]) -> Vec<(Ours, [Vec<String>; 2])> {
    let story = Story::new();
    story.dir("mark");
    for at in 0..operations.len() {
        prepare(&place(&story, at));
    }
    story.prefix.table("t", &table(&story, operations.len()));
    let daemon = story.start();
    let mut bare = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        let dir = place(&story, at);
        let _unmount = Unmount(dir.join("d"));
        let watches = [
            Bare::new(&dir.join("d"), "."),
            Bare::new(&dir.join("d/f"), "f"),
        ];
        let mut told = [Vec::new(), Vec::new()];
        for (number, act) in operation.steps.iter().enumerate() {
            step(&story, &daemon, &dir, &format!("mark-{at}-{number}"), *act);
            for (all, watch) in told.iter_mut().zip(&watches) {
                all.extend(watch.told());
            }
        }
        bare.push(told);
    }
    told(&story, operations.len())
        .into_iter()
        .zip(bare)
        .collect()
}

/// What a recursive line on `d` and a line on `d/f` of Debian's incron are told.
fn peer(operation: &Operation) -> [String; 2] {
    let story = Story::new();
    let dir = place(&story, 0);
    prepare(&dir);
    story.dir("mark");
    let hook = story.script(
        "hook",
        &story.fill("#!/bin/sh\nprintf '%s|%s|%s\\n' \"$2\" \"$3\" \"$4\" >> @O/$1\n"),
    );
    let d = dir.join("d");
    // Each table has an inotify instance of its own, and so a marker of its own.
    for (name, path) in [("dir", d.clone()), ("file", d.join("f"))] {
        let (h, p) = (hook.display(), path.display());
        let text = format!(
            "{p} {MASK} {h} {name} \"$@\" \"$#\" \"$%\"\n\
             @P/mark IN_CREATE,IN_CLOSE_WRITE,recursive=false {h} {name}-mark \"$@\" \"$#\" \"$%\"\n"
        );
        story.prefix.table(name, &story.fill(&text));
    }
    let mut daemon = story.spawn(PEER);
    daemon.wait_watching(&d);
    daemon.wait_watching(&d.join("f"));
    daemon.wait_watching(&story.path("mark"));
    let mut crashed = false;
    let pid = daemon.pid();
    for act in operation.steps {
        let marks = ["dir-mark", "file-mark"].map(|name| (name, story.prefix.out(name).len()));
        if crashed {
            act(&dir);
            continue;
        }
        story.prefix.hold(&[pid], || act(&dir));
        for (name, before) in marks {
            story.prefix.wait("the marker", || {
                crashed |= daemon.child.try_wait().unwrap().is_some();
                let idle = children(pid).is_empty();
                let marked = story.prefix.out(name).len() > before;
                // While it loads a table anew it loses events: the mark is made again.
                if idle && !marked {
                    fs::write(story.path("mark").join(name), "").unwrap();
                }
                crashed || idle && marked
            });
        }
    }
    if operation.unsteady {
        return ["loses what is in it, may crash".into(), "-".into()];
    }
    ["dir", "file"].map(|name| {
        let out = story.prefix.out(name);
        let mut events: Vec<String> = out
            .lines()
            .map(|line| {
                let part: Vec<&str> = line.split('|').collect();
                let kinds: Vec<&str> = part[2].split(',').collect();
                let dir = kinds.contains(&"IN_ISDIR");
                let path = relative(&d, &format!("{}/{}", part[0], part[1]));
                text(&kinds.join(",").replace(",IN_ISDIR", ""), &path, dir)
            })
            .collect();
        // Its commands run beside each other: their order says nothing.
        events.sort();
        let crash = if crashed && name == "dir" {
            " (and it crashes)"
        } else {
            ""
        };
        format!("{}{crash}", cell(&events))
    })
}

/// What Debian's incron is told in each operation; None where it is not installed.
fn peers(operations: &[Operation]) -> Vec<Option<[String; 2]>> {
    if !Path::new(PEER).exists() {
        eprintln!("left out: Debian's incron is not installed");
        return vec![None; operations.len()];
    }
    let (next, all) = (
        Mutex::new(0..operations.len()),
        Mutex::new(vec![None; operations.len()]),
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let at = next.lock().unwrap().next();
                    let Some(at) = at else { return };
                    let told = peer(&operations[at]);
                    all.lock().unwrap()[at] = Some(told);
                }
            });
        }
    });
    all.into_inner().unwrap()
}

#[test]
fn the_page_says_what_happens() {
    if !is_root() {
        return eprintln!("left out: chown needs root");
    }
    let (mut dirs, mut files) = (String::new(), String::new());
    let peers = peers(OPERATIONS);
    let check = if peers[0].is_some() {
        Check::All
    } else {
        Check::ButLast
    };
    for ((operation, peer), (ours, bare)) in
        OPERATIONS.iter().zip(peers).zip(ours_and_bare(OPERATIONS))
    {
        let name = operation.name;
        let [flat, tree, complete, file, close] = ours.map(|events| cell(&events));
        let [bare_dir, bare_file] = bare.map(|events| cell(&events));
        let [peer_dir, peer_file] = peer.unwrap_or_default();
        let same = tree == flat && tree != "-";
        let tree = if same { "the same" } else { &tree };
        dirs.push_str(&format!(
            "| {name} | {flat} | {tree} | {complete} | {bare_dir} | {peer_dir} |\n"
        ));
        // Most of what happens in a directory is nothing to one file in it.
        if [&file, &close, &bare_file].iter().any(|cell| *cell != "-") {
            files.push_str(&format!(
                "| {name} | {file} | {close} | {bare_file} | {peer_file} |\n"
            ));
        }
    }
    println!("{dirs}\n{files}");
    story::semantics("directory", &dirs, check);
    story::semantics("file", &files, check);
}

#[test]
fn the_page_says_what_a_mount_does() {
    if !is_root() {
        return eprintln!("left out: mounts need root");
    }
    let rows: String = MOUNTS
        .iter()
        .zip(ours_and_bare(MOUNTS))
        .map(|(operation, (ours, bare))| {
            let [_, tree, _, file, _] = ours.map(|events| cell(&events));
            let [bare_dir, _] = bare.map(|events| cell(&events));
            format!("| {} | {tree} | {file} | {bare_dir} |\n", operation.name)
        })
        .collect();
    println!("{rows}");
    story::semantics("mount", &rows, Check::All);
}
