//! `catch-up=`: what changed while nothing ran is reported, once each, however
//! the daemon ended.

mod common;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use common::*;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

const ALL: &str = "IN_CREATE,IN_MODIFY,IN_CLOSE_WRITE,IN_DELETE,IN_MOVE,IN_ATTRIB";

/// One told event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    path: OsString,
    events: String,
    old: Option<String>,
    offline: bool,
}

/// A prefix with one line, whose events are kept in `out/events`.
fn prefix(options: &str) -> Prefix {
    let prefix = Prefix::new();
    let hook = prefix.path("collect");
    let out = prefix.path("out/events");
    script(&hook, &format!("#!/bin/sh\ncat >> {}\n", out.display()));
    line(&prefix, "t", options);
    prefix
}

fn line(prefix: &Prefix, table: &str, options: &str) {
    let hook = prefix.path("collect");
    prefix.table(
        table,
        &format!("@W {options},catch-up=true,stdin=json {}\n", hook.display()),
    );
}

fn events(prefix: &Prefix) -> Vec<Told> {
    let text = prefix.out("events");
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| told(&serde_json::from_str(line).unwrap(), prefix))
        .collect()
}

fn told(json: &Value, prefix: &Prefix) -> Told {
    let path = match json.get("path_raw").and_then(Value::as_str) {
        Some(raw) => OsString::from_vec(
            base64::engine::general_purpose::STANDARD
                .decode(raw)
                .unwrap(),
        ),
        None => json["path"].as_str().unwrap().into(),
    };
    let root = prefix.watched();
    let below = |path: &OsStr| {
        Path::new(path)
            .strip_prefix(&root)
            .unwrap()
            .as_os_str()
            .to_owned()
    };
    let events = json["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event.as_str().unwrap());
    let old = json.get("old_path").and_then(Value::as_str);
    Told {
        path: below(&path),
        events: events.collect::<Vec<_>>().join(","),
        old: old.map(|old| below(OsStr::new(old)).into_string().unwrap()),
        offline: json["origin"] == "offline",
    }
}

/// Starts, stops, and gives what was told from the start on.
fn run(prefix: &Prefix) -> Vec<Told> {
    let before = events(prefix).len();
    let daemon = prefix.start();
    assert_eq!(daemon.stop(), Some(0));
    events(prefix).split_off(before)
}

trait Notes {
    fn note(&self, text: &str);
}

impl Notes for Prefix {
    /// Into the log, for the reader of a failure.
    fn note(&self, text: &str) {
        let mut log = fs::OpenOptions::new()
            .append(true)
            .open(self.path("log"))
            .unwrap();
        std::io::Write::write_all(&mut log, format!("--- {text}\n").as_bytes()).unwrap();
    }
}

fn by_path(told: &[Told]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for told in told {
        assert!(told.offline, "{told:?}");
        let from = told
            .old
            .as_ref()
            .map(|old| format!(" from {old}"))
            .unwrap_or_default();
        all.entry(told.path.to_string_lossy().into())
            .or_default()
            .push(format!("{}{from}", told.events));
    }
    all
}

fn expect(told: &[Told], wanted: &[(&str, &[&str])]) {
    let wanted: BTreeMap<String, Vec<String>> = wanted
        .iter()
        .map(|(path, events)| {
            (
                (*path).into(),
                events.iter().map(|event| (*event).into()).collect(),
            )
        })
        .collect();
    // Runs of one path go on beside each other.
    let sorted = |mut all: BTreeMap<String, Vec<String>>| {
        all.values_mut().for_each(|events| events.sort());
        all
    };
    assert_eq!(sorted(by_path(told)), sorted(wanted));
}

#[test]
fn everything_that_happened_and_only_that() {
    let prefix = prefix(ALL);
    let at = |name: &str| prefix.watched().join(name);
    fs::create_dir(at("d")).unwrap();
    fs::create_dir(at("tree")).unwrap();
    for name in [
        "same", "written", "gone", "renamed", "mode", "d/deep", "tree/a", "tree/b", "saved",
    ] {
        fs::write(at(name), "1").unwrap();
    }
    assert_eq!(
        run(&prefix),
        [],
        "the first time there is nothing to compare"
    );
    assert_eq!(run(&prefix), [], "nothing changed");

    fs::write(at("written"), "longer").unwrap();
    fs::remove_file(at("gone")).unwrap();
    fs::rename(at("renamed"), at("d/new-name")).unwrap();
    fs::set_permissions(at("mode"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(at("d/made"), "x").unwrap();
    fs::create_dir(at("d/sub")).unwrap();
    fs::write(at("d/sub/empty"), "").unwrap();
    fs::rename(at("tree"), at("moved-tree")).unwrap();
    fs::write(at("moved-tree/b"), "changed").unwrap();
    fs::write(at("saved.new"), "saved").unwrap();
    fs::rename(at("saved.new"), at("saved")).unwrap();
    expect(
        &run(&prefix),
        &[
            ("d/made", &["IN_CREATE", "IN_MODIFY", "IN_CLOSE_WRITE"]),
            ("d/new-name", &["IN_MOVED_TO from renamed"]),
            ("d/sub", &["IN_CREATE"]),
            ("d/sub/empty", &["IN_CREATE", "IN_CLOSE_WRITE"]),
            ("gone", &["IN_DELETE"]),
            ("mode", &["IN_ATTRIB"]),
            ("moved-tree", &["IN_MOVED_TO from tree"]),
            ("moved-tree/b", &["IN_MODIFY", "IN_CLOSE_WRITE"]),
            ("renamed", &["IN_MOVED_FROM"]),
            ("saved", &["IN_MODIFY", "IN_CLOSE_WRITE"]),
            ("tree", &["IN_MOVED_FROM"]),
            ("written", &["IN_MODIFY", "IN_CLOSE_WRITE"]),
        ],
    );
    assert_eq!(run(&prefix), [], "each is told once");
}

#[test]
fn what_was_told_while_it_ran_is_not_told_again() {
    let prefix = prefix(ALL);
    let at = |name: &str| prefix.watched().join(name);
    fs::create_dir_all(at("a/b")).unwrap();
    fs::write(at("a/b/f"), "1").unwrap();
    fs::write(at("gone"), "1").unwrap();
    let daemon = prefix.start();
    fs::write(at("new"), "1").unwrap();
    fs::remove_file(at("gone")).unwrap();
    fs::rename(at("a"), at("z")).unwrap();
    fs::create_dir_all(at("x/y")).unwrap();
    fs::write(at("x/y/g"), "1").unwrap();
    fs::hard_link(at("new"), at("link")).unwrap();
    std::os::unix::fs::symlink("new", at("symlink")).unwrap();
    fs::set_permissions(at("x"), fs::Permissions::from_mode(0o700)).unwrap();
    let end = |told: &[Told]| {
        told.iter()
            .any(|told| told.path == "x" && told.events.starts_with("IN_ATTRIB"))
    };
    prefix.wait("the last change", || end(&events(&prefix)));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(run(&prefix), []);
    fs::write(at("z/b/f"), "longer").unwrap();
    expect(
        &run(&prefix),
        &[("z/b/f", &["IN_MODIFY", "IN_CLOSE_WRITE"])],
    );
}

/// What a directory holds goes out of sight with it, and is new when it is back.
#[test]
fn a_directory_renamed_to_where_nobody_looks_takes_its_past_along() {
    let prefix = prefix("IN_CREATE,IN_DELETE,IN_MOVE");
    let at = |name: &str| prefix.watched().join(name);
    fs::create_dir_all(at("a/b")).unwrap();
    fs::write(at("a/b/f"), "1").unwrap();
    fs::write(at("a/g"), "1").unwrap();
    let daemon = prefix.start();
    fs::rename(at("a"), at(".a")).unwrap();
    let told = |name: &str| events(&prefix).iter().any(|told| told.path == name);
    prefix.wait("the rename", || told(".a"));
    assert_eq!(daemon.stop(), Some(0));
    fs::remove_file(at(".a/g")).unwrap();
    fs::rename(at(".a/b"), at("b")).unwrap();
    let told = run(&prefix);
    let paths: Vec<_> = told
        .iter()
        .map(|told| told.path.to_str().unwrap())
        .collect();
    assert_eq!(paths, ["b", "b/f"], "{told:?}");
}

/// There and back, two at once, one into the place of another, one in another that moves.
#[test]
fn directories_take_their_past_along_however_they_are_renamed() {
    let prefix = prefix("IN_CREATE,IN_DELETE,IN_MOVE");
    let at = |name: &str| prefix.watched().join(name);
    for dir in ["back", "left", "right", "first", "second", "inner", "outer"] {
        fs::create_dir_all(at(dir).join("d")).unwrap();
        fs::write(at(dir).join("d").join(dir), "1").unwrap();
    }
    let daemon = prefix.start();
    let rename = |from: &str, to: &str| fs::rename(at(from), at(to)).unwrap();
    rename("back", "there");
    rename("there", "back");
    let (left, right) = (at("left"), at("right"));
    renameat2(
        AT_FDCWD,
        &left,
        AT_FDCWD,
        &right,
        RenameFlags::RENAME_EXCHANGE,
    )
    .unwrap();
    rename("first", "third");
    rename("second", "first");
    rename("inner", "outer/inner");
    rename("outer", "around");
    let told = |name: &str| events(&prefix).iter().any(|told| told.path == name);
    prefix.wait("the last rename", || told("around"));
    assert_eq!(daemon.stop(), Some(0));
    let now = [
        "back/d/back",
        "right/d/left",
        "left/d/right",
        "third/d/first",
        "first/d/second",
        "around/inner/d/inner",
        "around/d/outer",
    ];
    for file in now {
        fs::remove_file(at(file)).unwrap();
    }
    let gone = now.map(|file| (file, &["IN_DELETE"][..]));
    expect(&run(&prefix), &gone);
}

#[test]
fn a_line_keeps_its_past_over_an_edit_of_its_table() {
    let prefix = prefix("IN_CREATE");
    fs::write(prefix.watched().join("old"), "1").unwrap();
    assert_eq!(run(&prefix), []);
    fs::write(prefix.watched().join("old"), "22").unwrap();
    fs::write(prefix.watched().join("new"), "22").unwrap();
    fs::remove_file(prefix.path("tables/t")).unwrap();
    line(&prefix, "another", "IN_CLOSE_WRITE");
    expect(
        &run(&prefix),
        &[("new", &["IN_CLOSE_WRITE"]), ("old", &["IN_CLOSE_WRITE"])],
    );

    // Edited while it runs: nothing is told twice, nothing is forgotten.
    let daemon = prefix.start();
    fs::write(prefix.watched().join("third"), "1").unwrap();
    let told = |name: &str| events(&prefix).iter().any(|told| told.path == name);
    prefix.wait("the third file", || told("third"));
    fs::remove_file(prefix.path("tables/another")).unwrap();
    line(&prefix, "t", "IN_CLOSE_WRITE,key=x");
    prefix.wait("the new table", || {
        prefix.log().contains("table t created, loading")
    });
    fs::write(prefix.watched().join("fourth"), "1").unwrap();
    prefix.wait("the fourth file", || told("fourth"));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(run(&prefix), []);
    assert_eq!(
        events(&prefix)
            .iter()
            .filter(|told| told.path == "third")
            .count(),
        1
    );
}

#[test]
fn options_say_what_is_covered() {
    let prefix = prefix("IN_CREATE,depth=1,exclude=cache:*.tmp,include=*.txt");
    let at = |name: &str| prefix.watched().join(name);
    for dir in ["a/b", "cache", ".hidden"] {
        fs::create_dir_all(at(dir)).unwrap();
    }
    assert_eq!(run(&prefix), []);
    for name in [
        "a/1.txt",
        "a/b/2.txt",
        "cache/3.txt",
        ".hidden/4.txt",
        "5.tmp",
        "6.jpg",
        "7.txt",
    ] {
        fs::write(at(name), "1").unwrap();
    }
    expect(
        &run(&prefix),
        &[("7.txt", &["IN_CREATE"]), ("a/1.txt", &["IN_CREATE"])],
    );
}

#[test]
fn a_file_and_a_pattern() {
    let prefix = prefix("IN_OPEN");
    let hook = prefix.path("collect").display().to_string();
    fs::write(prefix.watched().join("file"), "1").unwrap();
    fs::create_dir_all(prefix.watched().join("u1/in")).unwrap();
    let both = format!(
        "@W/file IN_CLOSE_WRITE,catch-up=true,stdin=json {hook}\n\
         @W/*/in IN_CREATE,catch-up=true,stdin=json {hook}\n"
    );
    prefix.table("t", &both);
    assert_eq!(run(&prefix), []);
    fs::write(prefix.watched().join("file.new"), "22").unwrap();
    fs::rename(
        prefix.watched().join("file.new"),
        prefix.watched().join("file"),
    )
    .unwrap();
    fs::create_dir_all(prefix.watched().join("u2/in")).unwrap();
    fs::write(prefix.watched().join("u2/in/x"), "1").unwrap();
    fs::write(prefix.watched().join("u1/in/y"), "1").unwrap();
    fs::write(prefix.watched().join("u1/z"), "1").unwrap();
    let told = run(&prefix);
    let paths = by_path(&told);
    assert_eq!(paths.get("file"), Some(&vec!["IN_CLOSE_WRITE".to_owned()]));
    assert_eq!(paths.get("u2/in/x"), Some(&vec!["IN_CREATE".to_owned()]));
    assert_eq!(paths.get("u1/in/y"), Some(&vec!["IN_CREATE".to_owned()]));
    assert_eq!(paths.get("u1/z"), None);
    assert_eq!(run(&prefix), []);
}

#[test]
fn a_file_that_was_made_is_told_as_one_in_a_directory_is() {
    let prefix = prefix("IN_OPEN");
    let hook = prefix.path("collect").display().to_string();
    let options = "IN_CREATE,IN_CLOSE_WRITE,catch-up=true,stdin=json";
    prefix.table(
        "t",
        &format!("@W/f {options} {hook}\n@W/*.x {options} {hook}\n"),
    );
    assert_eq!(run(&prefix), []);
    for name in ["f", "g.x"] {
        fs::write(prefix.watched().join(name), "1").unwrap();
    }
    let both: &[&str] = &["IN_CREATE", "IN_CLOSE_WRITE"];
    expect(&run(&prefix), &[("f", both), ("g.x", both)]);
}

#[test]
fn names_of_any_bytes_and_trees_of_any_depth() {
    let prefix = prefix("IN_CREATE,IN_DELETE,IN_MOVE");
    let odd: [&[u8]; 5] = [b"\xff\xfe", b"a\nb", b"'%$", b" ", b"\xc3\x28.x"];
    fs::create_dir(prefix.watched().join("\u{1}d")).unwrap();
    // Deeper than PATH_MAX.
    let deep = std::process::Command::new("sh")
        .current_dir(prefix.watched())
        .arg("-c")
        .arg("n=$(printf '%0200d' 0); i=0; while [ $i -lt 25 ]; do mkdir $n && cd -P $n || exit 1; i=$((i+1)); done; : > bottom")
        .status();
    assert!(deep.unwrap().success());
    assert_eq!(run(&prefix), []);
    assert_eq!(run(&prefix), [], "deep trees are the same as before");
    for name in odd {
        fs::write(prefix.watched().join(OsStr::from_bytes(name)), "").unwrap();
    }
    let told = run(&prefix);
    let mut names: Vec<&[u8]> = told.iter().map(|told| told.path.as_bytes()).collect();
    names.sort_unstable();
    let mut wanted = odd;
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    fs::rename(
        prefix.watched().join("\u{1}d"),
        prefix.watched().join(OsStr::from_bytes(b"\xfed")),
    )
    .unwrap();
    assert_eq!(run(&prefix).len(), 2);
    assert_eq!(run(&prefix), []);
}

#[test]
fn a_damaged_file_is_set_aside() {
    let prefix = prefix("IN_CREATE");
    assert_eq!(run(&prefix), []);
    let db = prefix.path("state/state.db");
    assert_eq!(
        fs::metadata(&db).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for wal in ["state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(prefix.path("state").join(wal));
    }
    fs::write(&db, vec![b'x'; 8192]).unwrap();
    assert_eq!(run(&prefix), []);
    assert!(
        prefix.log().contains("is damaged and was moved to"),
        "{}",
        prefix.log()
    );
    assert!(prefix.path("state/state.db.damaged").exists());
    fs::write(prefix.watched().join("new"), "").unwrap();
    expect(&run(&prefix), &[("new", &["IN_CREATE"])]);
}

#[test]
fn without_its_file_everything_else_goes_on() {
    let prefix = prefix("IN_CREATE");
    fs::create_dir(prefix.path("state/state.db")).unwrap();
    let daemon = prefix.start();
    assert!(
        prefix.log().contains("catch-up= is without effect"),
        "{}",
        prefix.log()
    );
    fs::write(prefix.watched().join("new"), "").unwrap();
    prefix.wait("the event", || {
        events(&prefix)
            .iter()
            .any(|told| told.path == "new" && !told.offline)
    });
    assert_eq!(daemon.stop(), Some(0));
}

/// A tmpfs that ends with the test.
struct Small(std::path::PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_loses_nothing_and_is_over_when_it_is_over() {
    let prefix = prefix("IN_CREATE");
    let state = prefix.path("state");
    let flags = nix::mount::MsFlags::empty();
    let size = Some("size=2m");
    if nix::mount::mount(Some("tmpfs"), &state, Some("tmpfs"), flags, size).is_err() {
        return eprintln!("skipped: may not mount");
    }
    let _small = Small(state.clone());
    let daemon = prefix.start();
    let filler = state.join("filler");
    let mut fill = fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut fill, &[0; 4096]).is_ok() {}
    let name = |i: usize| format!("{i:0200}");
    for i in 0..500 {
        fs::write(prefix.watched().join(name(i)), "").unwrap();
    }
    daemon.wait_log("changes are served, and reported once more by catch-up= at the next start");
    prefix.wait("all events", || events(&prefix).len() >= 500);
    drop(fill);
    fs::remove_file(&filler).unwrap();
    fs::write(prefix.watched().join("after"), "").unwrap();
    daemon.wait_log("can be written again");
    assert_eq!(daemon.stop(), Some(0));
    let now = events(&prefix);
    assert_eq!(now.len(), 501);
    assert!(now.iter().all(|told| !told.offline));
    // What could not be written down is told once more, and then it is known. What
    // waits for its command at a stop comes with the next start.
    let mut again = Vec::new();
    for _ in 0..20 {
        let more = run(&prefix);
        if more.is_empty() {
            break;
        }
        again.extend(more);
    }
    let paths = by_path(&again);
    assert_eq!(paths.len(), again.len());
    assert!(paths.len() <= 500 && !paths.contains_key("after"));
    assert!(run(&prefix).is_empty());
}

#[test]
fn what_waited_at_a_stop_is_told_once() {
    // Settles for an hour: it waits when the daemon stops, and is saved.
    let prefix = prefix("IN_CLOSE_WRITE,settle=1h");
    let daemon = prefix.start();
    fs::write(prefix.watched().join("f"), "1").unwrap();
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(run(&prefix), [], "it waits still");
    let daemon = prefix.start();
    let workers = daemon.workers();
    // Killed: what waited is lost, but the file is known to be unreported.
    kill(workers[0], Signal::SIGKILL).unwrap();
    daemon.wait_log("SIGKILL");
    drop(daemon);
    line(&prefix, "t", "IN_CLOSE_WRITE");
    expect(&run(&prefix), &[("f", &["IN_CLOSE_WRITE"])]);
}

/// A repeatable series of numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
fn nothing_is_lost_by_kill_9_at_any_moment() {
    let prefix = prefix("IN_OPEN");
    let hook = prefix.path("read");
    let text = "while IFS= read -r p; do v=; IFS= read -r v < \"$p\"; printf '%s %s\\n' \"$p\" \"$v\"; done";
    let read = prefix.path("out/read");
    script(&hook, &format!("#!/bin/sh\n{text} >> {}\n", read.display()));
    let table = "@W IN_CLOSE_WRITE,IN_MOVED_TO,exclude=fresh,catch-up=true,batch=5ms,stdin=paths";
    prefix.table("t", &format!("{table} {}\n", hook.display()));
    let mut dice = Dice(7);
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let mut version = 0;
    for round in 0..14 {
        let mut daemon = prefix.start();
        let victim = match round % 2 {
            0 => daemon.pid(),
            _ => daemon.workers()[0],
        };
        let count = dice.roll(400) + 20;
        for at in 0..count {
            if at == count - count / 4 {
                kill(victim, Signal::SIGKILL).unwrap();
            }
            version += 1;
            let path = prefix
                .watched()
                .join(format!("d{}/f{}", dice.roll(4), dice.roll(60)));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = format!("{version:0>width$}", width = 8 + (version % 50) as usize);
            if dice.roll(3) == 0 {
                fs::write(prefix.watched().join("fresh"), text).unwrap();
                fs::rename(prefix.watched().join("fresh"), &path).unwrap();
            } else {
                fs::write(&path, text).unwrap();
            }
            last.insert(path.to_str().unwrap().to_owned(), version);
        }
        prefix.note(&format!("round {round}: up to version {version}"));
        if round % 2 == 0 {
            daemon.child.wait().unwrap();
        }
    }
    // For every file a command runs that finds its last version.
    let daemon = prefix.start();
    prefix.wait("the last version of every file", || {
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        for line in prefix.out("read").lines() {
            let (path, found) = line.rsplit_once(' ').unwrap_or_default();
            let newest = told.entry(path.to_owned()).or_default();
            *newest = found.parse().unwrap_or(0).max(*newest);
        }
        let missing = |(path, version): &(&String, &u64)| told.get(*path) != Some(version);
        let missing: Vec<_> = last.iter().filter(missing).collect();
        fs::write(prefix.path("run/missing"), format!("{missing:?}")).unwrap();
        missing.is_empty()
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn the_file_of_a_user_is_the_users_own() {
    if !is_root() {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let account = nix::unistd::User::from_name("daemon").unwrap().unwrap();
    let prefix = Prefix::new();
    // As an installation of before had it.
    fs::set_permissions(prefix.path("state"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(prefix.path("incron.allow"), "daemon\n").unwrap();
    fs::set_permissions(prefix.path("out"), fs::Permissions::from_mode(0o777)).unwrap();
    let table = format!(
        "@W IN_CREATE,catch-up=true /bin/sh -c 'echo $# >> {}'\n",
        prefix.path("out/user").display()
    );
    let spool = prefix.path("spool/daemon");
    fs::write(&spool, prefix.fill(&table)).unwrap();
    std::os::unix::fs::chown(
        &spool,
        Some(account.uid.as_raw()),
        Some(account.gid.as_raw()),
    )
    .unwrap();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(prefix.start().stop(), Some(0));
    let db = fs::metadata(prefix.path("state/users/daemon/state.db")).unwrap();
    assert_eq!((db.uid(), db.mode() & 0o777), (account.uid.as_raw(), 0o600));
    let dir = fs::metadata(prefix.path("state/users/daemon")).unwrap();
    assert_eq!(
        (dir.uid(), dir.mode() & 0o777),
        (account.uid.as_raw(), 0o700)
    );
    fs::write(prefix.watched().join("made"), "").unwrap();
    let daemon = prefix.start();
    prefix.lines("user", 1);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(prefix.out("user"), "made\n");
}
