//! Lines that ask who did it, served by the real daemon, or in the foreground.

mod actor_kit;
mod common;

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use actor_kit::{SOMEBODY, program, rm};
use common::{INCROND, LIMIT, Prefix, is_root};
use serde_json::Value;

/// One daemon at a time follows processes: its threads go before all others, but not
/// before those of another daemon.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `incrond run --json` of one table; what it says, line by line.
struct Foreground {
    child: Child,
    lines: Receiver<String>,
    dir: tempfile::TempDir,
    /// Told since the last wait began: what a wait in vain shows.
    told: Vec<String>,
    _alone: MutexGuard<'static, ()>,
}

impl Foreground {
    fn start(table: &str) -> Self {
        Self::start_with(table, |_| ())
    }

    fn start_with(table: &str, change: impl FnOnce(&mut Command)) -> Self {
        let alone = alone();
        let dir = tempfile::tempdir().unwrap();
        actor_kit::open(dir.path());
        let watched = dir.path().join("watched");
        std::fs::create_dir(&watched).unwrap();
        std::os::unix::fs::chown(&watched, Some(SOMEBODY), None).unwrap();
        let text = table.replace("@W", watched.to_str().unwrap());
        std::fs::write(dir.path().join("table"), text).unwrap();
        let mut command = Command::new(INCROND);
        command
            .args(["run", "--json"])
            .arg(dir.path().join("table"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        // It ends with the daemon, and reads on when nobody listens any more: the
        // daemon may wait for room in the pipe.
        std::thread::spawn(move || {
            for line in out.lines() {
                let _ = tell.send(line.unwrap());
            }
        });
        let mut started = Self {
            child,
            lines,
            dir,
            told: Vec::new(),
            _alone: alone,
        };
        started.until(|said| said["type"] == "ready");
        started
    }

    fn watched(&self) -> PathBuf {
        self.dir.path().join("watched")
    }

    /// What it says next.
    fn next(&mut self) -> Value {
        let line = self.lines.recv_timeout(LIMIT);
        let line = line.unwrap_or_else(|e| {
            let last = self.told.len().saturating_sub(20);
            panic!("{e}; told last: {:#?}", &self.told[last..])
        });
        self.told.push(line);
        serde_json::from_str(self.told.last().unwrap()).unwrap()
    }

    /// All that it says until something is so.
    fn until(&mut self, is: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut said = Vec::new();
        self.told.clear();
        loop {
            let next = self.next();
            let found = is(&next);
            said.push(next);
            if found {
                return said;
            }
        }
    }

    /// The events of the runs until the one of a file of this name.
    fn events_until(&mut self, name: &str) -> Vec<Value> {
        let last = |said: &Value| {
            let events = said["events"].as_array();
            events.is_some_and(|events| events.iter().any(|e| e["name"] == name))
        };
        let said = self.until(last);
        let events = said.iter().filter_map(|said| said["events"].as_array());
        events.flatten().cloned().collect()
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn touch(path: &Path) {
    std::fs::write(path, "").unwrap();
}

/// All 2,000 are named; nobody is named wrong, nor called exact without a program.
fn all_are_named(program: &Path, at_once: usize) {
    if !is_root() {
        eprintln!("left out: not root");
        return;
    }
    actor_kit::all_are_named(|| late_of_a_storm(program, at_once));
}

fn late_of_a_storm(program: &Path, at_once: usize) -> usize {
    let mut daemon = Foreground::start("@W IN_DELETE,who=true,batch=50ms cat > /dev/null\n");
    let (dir, words) = (daemon.watched(), ["2000".to_string(), at_once.to_string()]);
    let storm = actor_kit::program(daemon.dir.path(), "storm.c");
    let mut command = Command::new(storm);
    command
        .arg(program)
        .arg(&dir)
        .args(words)
        .arg(SOMEBODY.to_string());
    let mut storm = command.stdout(Stdio::null()).spawn().unwrap();
    let (mut told, mut late) = (HashSet::new(), 0);
    while told.len() < 2000 {
        let said = daemon.next();
        for event in said["events"].as_array().into_iter().flatten() {
            let (actor, path) = (&event["actor"], event["path"].as_str().unwrap());
            assert!(told.insert(path.to_owned()), "twice: {path}");
            if actor["confidence"] == "late" && actor.get("exe").is_none() {
                assert_eq!(actor["uid"], SOMEBODY, "{event}");
                late += 1;
                continue;
            }
            assert_eq!(actor["confidence"], "exact", "{event}");
            assert_eq!(actor["exe"], program.to_str().unwrap(), "{event}");
            assert_eq!(actor["uid"], SOMEBODY, "{event}");
            let cmdline = serde_json::json!([program, path]);
            assert_eq!(actor["cmdline"], cmdline, "{event}");
        }
    }
    assert!(storm.wait().unwrap().success());
    late
}

#[test]
fn rm_one_after_the_other() {
    all_are_named(&rm(), 1);
}

#[test]
fn rm_four_at_a_time() {
    all_are_named(&rm(), 4);
}

#[test]
fn unlink_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    all_are_named(&program(dir.path(), "unlink.c"), 1);
}

#[test]
fn unlink_four_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    all_are_named(&program(dir.path(), "unlink.c"), 4);
}

#[test]
fn who_brought_what_a_scan_finds() {
    if !is_root() {
        return;
    }
    let mut daemon = Foreground::start("@W IN_MOVED_TO,who=true true\n");
    let (within, beside) = (daemon.watched(), daemon.dir.path().to_owned());
    let mut found = 0;
    for n in 0..300 {
        let (tree, last) = (within.join(format!("tree{n}")), format!("last{n}"));
        std::fs::create_dir_all(beside.join("tree/sub")).unwrap();
        touch(&beside.join("file"));
        touch(&beside.join(&last));
        std::fs::rename(beside.join("tree"), &tree).unwrap();
        // Before, while or after the tree is scanned.
        let begin = Instant::now();
        while begin.elapsed().as_micros() < n {}
        std::fs::rename(beside.join("file"), tree.join("sub/file")).unwrap();
        std::fs::rename(beside.join(&last), within.join(&last)).unwrap();
        let events = daemon.events_until(&last);
        let event = events.iter().find(|event| event["name"] == "file").unwrap();
        assert_eq!(event["actor"]["pid"], std::process::id(), "{event}");
        assert_eq!(event["actor"]["confidence"], "exact", "{event}");
        found += usize::from(event["origin"] == "scan");
    }
    eprintln!("{found} of 300 were found by a scan");
}

/// Each thing in it, too: whoever made it elsewhere, it is here by whom renamed the tree,
/// or made the link.
#[test]
fn who_brings_a_tree_brings_what_is_in_it() {
    if !is_root() {
        return;
    }
    let mut daemon =
        Foreground::start("@W IN_MOVED_TO,who=true true\n@W/now IN_CREATE,who=true,key=now true\n");
    let theirs = daemon.dir.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(SOMEBODY), None).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (tree, now) = (theirs.join("tree"), daemon.watched().join("now"));
    as_user(SOMEBODY, &["mkdir", "-p", &text(&tree.join("sub"))]);
    touch(&tree.join("sub/file"));
    touch(&theirs.join("first"));
    // The record of its making has been read when this one is told.
    std::fs::rename(theirs.join("first"), daemon.watched().join("first")).unwrap();
    daemon.events_until("first");
    as_user(SOMEBODY, &["mv", &text(&tree), &text(&daemon.watched())]);
    let moved = daemon.events_until("file");
    as_user(SOMEBODY, &["ln", "-s", "tree/sub", &text(&now)]);
    let linked = daemon.events_until("file");
    for (events, program) in [(moved, "/mv"), (linked, "/ln")] {
        let event = events.iter().find(|event| event["name"] == "file").unwrap();
        let actor = &event["actor"];
        assert_eq!(event["origin"], "scan", "{event}");
        assert_eq!(actor["uid"], SOMEBODY, "{event}");
        assert_eq!(actor["confidence"], "exact", "{event}");
        assert!(actor["exe"].as_str().unwrap().ends_with(program), "{event}");
    }
}

/// As somebody else.
fn as_user(uid: u32, words: &[&str]) {
    let mut command = Command::new(words[0]);
    assert!(
        command
            .args(&words[1..])
            .uid(uid)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn only_some_users_and_programs() {
    if !is_root() {
        return;
    }
    let table =
        format!("@W IN_CREATE,by={SOMEBODY},!root true\n@W IN_CREATE,exe=!touch,key=x true\n");
    let mut daemon = Foreground::start(&table);
    let file = |name: &str| daemon.watched().join(name).to_str().unwrap().to_owned();
    let (a, b, c, last) = (file("a"), file("b"), file("c"), file("last"));
    as_user(0, &["touch", &a]);
    as_user(SOMEBODY, &["touch", &b]);
    as_user(0, &["cp", "/dev/null", &c]);
    as_user(SOMEBODY, &["cp", "/dev/null", &last]);
    let mut told: Vec<String> = Vec::new();
    // Both lines want the last one.
    while told.iter().filter(|line| line.ends_with("last")).count() < 2 {
        for event in daemon.next()["events"].as_array().into_iter().flatten() {
            let name = event["name"].as_str().unwrap();
            told.push(format!("{} {name}", event["key"].as_str().unwrap()));
        }
    }
    told.sort();
    assert_eq!(told, ["table b", "table last", "x c", "x last"]);
}

#[test]
fn a_command_does_not_run_itself_and_others_do() {
    if !is_root() {
        return;
    }
    // Each run makes a file itself, and a grandchild that makes one when it has ended.
    let table = "@W IN_CREATE,IN_NO_LOOP,who=true \
                 touch @W/own.$INCRON_FILE; \
                 (while kill -0 $$ 2>/dev/null; do :; done; touch @W/late.$INCRON_FILE) &\n";
    let mut daemon = Foreground::start(table);
    touch(&daemon.watched().join("first"));
    let first = daemon.events_until("first");
    assert_eq!(first.len(), 1);
    let late = daemon.watched().join("late.first");
    // Somebody else's, for as long as the run and what it left behind go on.
    let (mut others, end) = (0, Instant::now() + LIMIT);
    while !late.exists() {
        assert!(
            Instant::now() < end,
            "what the run left behind does nothing"
        );
        touch(&daemon.watched().join(format!("other{others}")));
        daemon.events_until(&format!("other{others}"));
        others += 1;
    }
    touch(&daemon.watched().join("last"));
    let told = daemon.events_until("last");
    let own: Vec<&Value> = told
        .iter()
        .filter(|e| e["name"].as_str().unwrap().starts_with(['o', 'l']) && e["name"] != "last")
        .filter(|e| !e["name"].as_str().unwrap().starts_with("other"))
        .collect();
    assert!(own.is_empty(), "{own:?}");
    assert!(others > 0 || late.exists());
}

#[test]
fn what_a_person_sees() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let prefix = Prefix::new();
    let table = prefix.path("table");
    std::fs::write(&table, prefix.fill("@W IN_CREATE,who=true true\n")).unwrap();
    let log = std::fs::File::create(prefix.path("log")).unwrap();
    let mut child = Command::new(INCROND)
        .arg("run")
        .arg(&table)
        .stderr(log)
        .spawn()
        .unwrap();
    prefix.wait("ready", || prefix.log().contains("ready: 1 line"));
    let pid = actor_kit::run(Command::new("touch").arg(prefix.watched().join("a")));
    let touch = std::fs::canonicalize("/usr/bin/touch").unwrap();
    let wanted = format!("IN_CREATE  by root: {}, pid {pid} (exact)", touch.display());
    prefix.wait(&wanted, || prefix.log().contains(&wanted));
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    child.wait().unwrap();
}

/// Capabilities to mark a file system are missing.
const NO_MARKS: &str = "setpriv --bounding-set=-sys_admin";
/// In another network namespace than the machine's own the kernel tells nothing.
const NO_MESSAGES: &str = "unshare --net";

/// Starts `incrond` by these words; what it says is wrong.
fn confined(by: &str, table: &str) -> (Vec<Value>, Foreground) {
    let mut problems = Vec::new();
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("start");
    common::script(&script, &format!("#!/bin/sh\nexec {by} {INCROND} \"$@\"\n"));
    let mut daemon = Foreground::start_with(table, |command| {
        let words: Vec<_> = command.get_args().map(|word| word.to_owned()).collect();
        let mut other = Command::new(&script);
        other
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        *command = other;
    });
    // Said before `ready`, which was waited for: a reload says it again.
    let table = daemon.dir.path().join("table");
    let text = std::fs::read_to_string(&table).unwrap();
    std::fs::write(
        &table,
        format!("{text}\n{}", text.replace("key=a", "key=b")),
    )
    .unwrap();
    for said in daemon.until(|said| said["type"] == "ready") {
        if said["type"] == "problem" {
            problems.push(said);
        }
    }
    (problems, daemon)
}

#[test]
fn where_the_kernel_tells_nothing_of_processes() {
    if !is_root() {
        return;
    }
    let (problems, mut daemon) = confined(NO_MESSAGES, "@W IN_CREATE,who=true,key=a true\n");
    assert!(problems.is_empty(), "it is said once: {problems:?}");
    // This process lives on: it is known, from /proc.
    touch(&daemon.watched().join("x"));
    let events = daemon.events_until("x");
    let actor = &events[0]["actor"];
    assert_eq!(actor["confidence"], "late");
    assert_eq!(
        actor["exe"],
        std::env::current_exe().unwrap().to_str().unwrap()
    );
    // One that has ended is a number at most, or was read in time.
    as_user(0, &["touch", daemon.watched().join("y").to_str().unwrap()]);
    let events = daemon.events_until("y");
    let confidence = events.last().unwrap()["actor"]["confidence"]
        .as_str()
        .unwrap();
    assert!(matches!(confidence, "late" | "pid"), "{confidence}");
}

/// What stands in the way of others does not hide processes from the one who asks.
fn everybody_is_known_by(by: &str) {
    let (_, mut daemon) = confined(by, "@W IN_CREATE,who=true,key=a true\n");
    as_user(
        SOMEBODY,
        &["touch", daemon.watched().join("x").to_str().unwrap()],
    );
    let events = daemon.events_until("x");
    let actor = &events.last().unwrap()["actor"];
    let touch = std::fs::canonicalize("/usr/bin/touch").unwrap();
    assert_eq!(actor["confidence"], "exact", "{by}: {actor}");
    assert_eq!(actor["uid"], SOMEBODY);
    assert_eq!(actor["exe"], touch.to_str().unwrap());
}

#[test]
fn where_proc_hides_the_processes_of_others() {
    if !is_root() {
        return;
    }
    everybody_is_known_by(
        "unshare --mount sh -c \
         'mount -t proc -o hidepid=invisible proc /proc && exec \"$@\"' sh",
    );
}

#[test]
fn without_the_right_to_change_the_network() {
    if !is_root() {
        return;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']);
    let mut number = || numbers.next().unwrap().parse::<u32>().unwrap();
    if (number(), number()) < (6, 7) {
        eprintln!("left out: this kernel asks for CAP_NET_ADMIN");
        return;
    }
    everybody_is_known_by("setpriv --bounding-set=-net_admin");
}

#[test]
fn without_the_right_to_mark_a_file_system() {
    if !is_root() {
        return;
    }
    let (problems, mut daemon) = confined(NO_MARKS, "@W IN_CREATE,who=true,key=a true\n");
    let message = problems[0]["message"].as_str().unwrap();
    assert!(
        message.contains("served by inotify, without who did it"),
        "{message}"
    );
    assert_eq!(problems[0]["serious"], true);
    touch(&daemon.watched().join("x"));
    let events = daemon.events_until("x");
    assert!(events[0].get("actor").is_none(), "{}", events[0]);
}

#[test]
fn an_actor_that_is_not_known_is_told_to_whom_it_may_concern() {
    if !is_root() {
        return;
    }
    let table = "@W IN_CREATE,by=root,key=a true\n@W IN_CREATE,by=!root,key=c true\n";
    let (_, mut daemon) = confined(NO_MARKS, table);
    touch(&daemon.watched().join("x"));
    let events = daemon.events_until("x");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["key"], "c");
}

#[test]
fn figures_of_the_daemon() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let prefix = Prefix::new();
    prefix.table(
        "who",
        "@W IN_CREATE,who=true true\n@W IN_CREATE,by=nobody,!root true\n",
    );
    let daemon = prefix.start();
    as_user(0, &["touch", prefix.watched().join("a").to_str().unwrap()]);
    let status = || {
        let output = Command::new(env!("CARGO_BIN_EXE_incronctl"))
            .arg("-f")
            .arg(prefix.conf())
            .args(["status", "--json"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    prefix.wait("the actor in status", || status().contains("\"exact\":1"));
    assert!(status().contains("\"late\":0"), "{}", status());
    // With the last line that asks, it ends.
    let threads = || {
        let worker = daemon.workers()[0];
        let tasks = std::fs::read_dir(format!("/proc/{worker}/task"))
            .unwrap()
            .flatten();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
        tasks
            .filter(|_| true)
            .filter_map(|t| name(t).ok())
            .filter(|n| n == "actors\n")
            .count()
    };
    let processors = std::thread::available_parallelism().unwrap().get().min(2);
    assert_eq!(threads(), 2 * processors);
    prefix.table("who", "@W IN_CREATE true\n");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    prefix.wait("no thread", || threads() == 0);
}
