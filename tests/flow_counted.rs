//! Every wait, merge and drop is counted, and can be asked for while the daemon runs.
//! (tests/incronctl.rs has settle, skip, IN_NO_LOOP, restart, retry, and what is given
//! to a stream again; tests/flow_hostile.rs what a stream merges and loses.)

mod common;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::figures::{line, wait_figures, worker};
use common::gate::{gate, open};
use common::{Prefix, is_root, touch};

#[test]
fn what_waited_for_jobs() {
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CREATE,jobs=1 read x < @O/gate\n");
    let mut gate = gate(&prefix);
    let _daemon = prefix.start();
    for name in ["a", "b", "c"] {
        touch(prefix.watched().join(name));
    }
    let figures = [("events", 3), ("running", 1), ("waiting", 2), ("merged", 0)];
    wait_figures(&prefix, "t:1", &figures);
    (0..3).for_each(|_| open(&mut gate));
    let figures = [("runs", 3), ("waited", 2), ("waiting", 0), ("running", 0)];
    wait_figures(&prefix, "t:1", &figures);
}

#[test]
fn what_waited_for_max_jobs() {
    let prefix = Prefix::with("max_jobs = 1");
    for name in ["a", "b"] {
        fs::create_dir(prefix.watched().join(name)).unwrap();
    }
    prefix.table(
        "t",
        "@W/a IN_CREATE read x < @O/gate\n@W/b IN_CREATE read x < @O/gate\n",
    );
    let mut gate = gate(&prefix);
    let _daemon = prefix.start();
    touch(prefix.watched().join("a/x"));
    wait_figures(&prefix, "t:1", &[("running", 1)]);
    touch(prefix.watched().join("b/x"));
    wait_figures(
        &prefix,
        "t:2",
        &[("events", 1), ("waiting", 1), ("runs", 0)],
    );
    assert_eq!(worker(&prefix)["waiting"], 1);
    (0..2).for_each(|_| open(&mut gate));
    wait_figures(
        &prefix,
        "t:2",
        &[("runs", 1), ("waited", 1), ("running", 0)],
    );
}

#[test]
fn what_busy_queue_gathered() {
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CLOSE_WRITE,busy=queue read x < @O/gate\n");
    let mut gate = gate(&prefix);
    let _daemon = prefix.start();
    touch(prefix.watched().join("a"));
    wait_figures(&prefix, "t:1", &[("running", 1)]);
    for name in ["b", "c", "b"] {
        touch(prefix.watched().join(name));
    }
    let figures = [("events", 4), ("waiting", 2), ("merged", 1)];
    wait_figures(&prefix, "t:1", &figures);
    (0..2).for_each(|_| open(&mut gate));
    let figures = [("runs", 2), ("waited", 1), ("waiting", 0), ("running", 0)];
    wait_figures(&prefix, "t:1", &figures);
}

#[test]
fn retries_that_a_newer_event_made_needless() {
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CREATE,retry=16,busy=restart false\n");
    let _daemon = prefix.start();
    let mut count = 0;
    // While a retry waits, which it does for longer and longer.
    prefix.wait("a retry given up", || {
        touch(prefix.watched().join(count.to_string()));
        count += 1;
        line(&prefix, "t:1")["abandoned"].as_u64() > Some(0)
    });
    let line = line(&prefix, "t:1");
    assert!(line["failed"].as_u64() > Some(0), "{line}");
}

#[test]
fn what_a_removed_line_takes_along() {
    let prefix = Prefix::with("stop_grace = 1s");
    prefix.table(
        "t",
        "@W IN_CREATE,limit=1/1h true\n\
         @W IN_CREATE,run=stream exec sleep 1000\n",
    );
    let daemon = prefix.start();
    for name in ["a", "b", "c"] {
        touch(prefix.watched().join(name));
    }
    wait_figures(&prefix, "t:1", &[("runs", 1), ("waiting", 2)]);
    // They are in its pipe: what a process has not read is known when it ends.
    wait_figures(&prefix, "t:2", &[("events", 3), ("running", 1)]);
    assert_eq!(worker(&prefix)["removed"], 0);
    prefix.table("t", "@W IN_DELETE true\n");
    prefix.wait("what went with the lines", || {
        worker(&prefix)["removed"] == 5
    });
    daemon.wait_log("3 events were not read by its command");
}

/// A process of a user, until it is dropped.
struct Process(std::process::Child);

impl Process {
    fn of(user: &nix::unistd::User) -> Self {
        let mut command = Command::new("sleep");
        command.arg("1000").uid(user.uid.as_raw());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn starts_that_the_machine_refused() {
    if !is_root() {
        return eprintln!("left out: only root can be another user");
    }
    let prefix = Prefix::new();
    let user = nix::unistd::User::from_name("lp").unwrap().unwrap();
    let table = prefix.path("spool/lp");
    fs::write(&table, prefix.fill("@W IN_CREATE,recursive=false true\n")).unwrap();
    nix::unistd::chown(&table, Some(user.uid), None).unwrap();
    // Two processes for this user, and both are there: the worker, and this.
    let other = Process::of(&user);
    let mut limited = Command::new("prlimit");
    limited.args(["--nproc=2:", common::INCROND]);
    let daemon = prefix.spawn_by(limited);
    daemon.wait_log("ready to process filesystem events");
    touch(prefix.watched().join("a"));
    daemon.wait_log("; it is tried again");
    let refused = |line: &serde_json::Value| line["postponed"].as_u64() > Some(0);
    prefix.wait("a start put off", || refused(&line(&prefix, "lp:1")));
    wait_figures(
        &prefix,
        "lp:1",
        &[("runs", 0), ("waiting", 1), ("failed", 0)],
    );
    drop(other);
    wait_figures(
        &prefix,
        "lp:1",
        &[("runs", 1), ("waiting", 0), ("failed", 0)],
    );
}

/// What waits at a stop is saved, said, and done at the next start.
#[test]
fn what_was_saved_at_a_stop() {
    let prefix = Prefix::new();
    prefix.table(
        "t",
        "@W IN_CREATE,settle=1h,max-wait=1h echo $# >> @O/seen\n",
    );
    let daemon = prefix.start();
    for name in ["a", "b"] {
        touch(prefix.watched().join(name));
    }
    wait_figures(&prefix, "t:1", &[("waiting", 2)]);
    assert_eq!(daemon.stop(), Some(0));
    assert!(
        prefix
            .log()
            .contains("2 events still waited: saved for the next start")
    );
    let daemon = prefix.start();
    daemon.wait_log("resumed 2 events that waited at the last stop");
    let line = line(&prefix, "t:1");
    assert!(
        line["waiting"] == 2 || line["runs"] == 2,
        "they wait again, or have run: {line}"
    );
}
