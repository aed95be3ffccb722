//! The kernel's limits of watches and instances, as an operator of a daemon meets them:
//! the log and `incronctl status` name the line, the limit, its value and what is
//! needed; what can be watched is; the rest is tried again by itself.
//!
//! The limits are those of a user namespace that the daemon gets of its own.

mod common;
mod supervisor_support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::*;
use incron::control::{Answer, Request};
use supervisor_support::{ask, worker};

/// A daemon in a namespace where `limit` is `value`; None where there can be none.
fn limited<'a>(prefix: &'a Prefix, limit: &str, value: u32) -> Option<Daemon<'a>> {
    let possible = Command::new("unshare")
        .args(["-U", "-r", "true"])
        .stderr(Stdio::null())
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("left out: no user namespace here");
        return None;
    }
    let inside = format!("echo {value} >/proc/sys/user/{limit}; exec {INCROND} \"$@\"");
    let text = format!("#!/bin/sh\nexec unshare -U -r sh -ec '{inside}' sh \"$@\"\n");
    script(&prefix.path("limited"), &text);
    Some(prefix.spawn(prefix.path("limited").to_str().unwrap()))
}

/// Sets a limit of the namespace that `daemon` lives in.
fn set(daemon: &Daemon<'_>, limit: &str, value: u32) {
    let pid = daemon.pid().to_string();
    let set = format!("echo {value} >/proc/sys/user/{limit}");
    let status = Command::new("nsenter")
        .args([
            "-U",
            "--preserve-credentials",
            "-t",
            &pid,
            "sh",
            "-ec",
            &set,
        ])
        .status();
    assert!(status.unwrap().success(), "{set}");
}

/// What the daemon says of each line.
fn lines(prefix: &Prefix) -> String {
    let request = Request::Lines {
        owner: "system".into(),
        system: true,
        after: 0,
    };
    let Answer::Lines { lines, .. } = ask(prefix, &request) else {
        panic!("no lines")
    };
    serde_json::to_string(&lines).unwrap()
}

/// A table of two lines, of which the second is on forty directories.
fn tree(prefix: &Prefix) -> Vec<PathBuf> {
    let dirs: Vec<_> = (0..40)
        .map(|n| prefix.watched().join(format!("d/{n}")))
        .collect();
    for dir in &dirs {
        fs::create_dir_all(dir).unwrap();
    }
    let hook = prefix.hook("e").display().to_string();
    prefix.table(
        "t",
        &format!("@W IN_CREATE,recursive=false {hook} top $#\n@W/d IN_CREATE {hook} deep $@ $#\n"),
    );
    dirs
}

#[test]
fn a_full_table_of_watches_is_named_and_over_when_it_is_raised() {
    let prefix = Prefix::new();
    let dirs = tree(&prefix);
    let Some(daemon) = limited(&prefix, "max_inotify_watches", 30) else {
        return;
    };
    daemon.wait_log("ready to process filesystem events");
    let log = prefix.log();
    let told = log
        .lines()
        .find(|line| line.contains("not watched completely"));
    let told = told.unwrap_or_else(|| panic!("nothing told: {log}"));
    for part in [
        "(system::t) line 2: ",
        "max_inotify_watches (30)",
        "more than ",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(
        lines(&prefix).contains("max_inotify_watches (30)"),
        "{}",
        lines(&prefix)
    );
    // The other line, and what of this one could be watched, is.
    fs::write(prefix.watched().join("new"), "").unwrap();
    fs::write(prefix.watched().join("d/new"), "").unwrap();
    prefix.wait("both lines", || {
        let out = prefix.out("e");
        out.contains("<top><new>") && out.contains("<deep>")
    });
    // What happens without a watch is told when there is one.
    for dir in &dirs {
        fs::write(dir.join("f"), "").unwrap();
    }
    set(&daemon, "max_inotify_watches", 1000);
    daemon.wait_log("line 2: ");
    daemon.wait_log("watched completely again");
    let all = |name: &str| {
        prefix.wait(&format!("{name} in each directory"), || {
            let out = prefix.out("e");
            let told = |dir: &PathBuf| out.contains(&format!("<deep><{}><{name}>", dir.display()));
            dirs.iter().all(told)
        });
    };
    all("f");
    assert!(
        !lines(&prefix).contains("max_inotify_watches"),
        "{}",
        lines(&prefix)
    );
    for dir in &dirs {
        fs::write(dir.join("g"), "").unwrap();
    }
    all("g");
    let out = prefix.out("e");
    assert_eq!(out.lines().count(), 2 + 2 * dirs.len(), "once each: {out}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn watches_that_a_line_gives_back_go_to_one_that_lacks_them() {
    let prefix = Prefix::new();
    let dirs = tree(&prefix);
    fs::create_dir_all(prefix.watched().join("other")).unwrap();
    for n in 0..40 {
        fs::create_dir(prefix.watched().join(format!("other/{n}"))).unwrap();
    }
    let hook = prefix.hook("e").display().to_string();
    prefix.table("a", &format!("@W/other IN_CREATE {hook} other $#\n"));
    let Some(daemon) = limited(&prefix, "max_inotify_watches", 70) else {
        return;
    };
    daemon.wait_log("ready to process filesystem events");
    daemon.wait_log("(system::t) line 2: ");
    fs::remove_file(prefix.path("tables/a")).unwrap();
    daemon.wait_log("watched completely again");
    for dir in &dirs {
        fs::write(dir.join("f"), "").unwrap();
    }
    prefix.wait("an event of each directory", || {
        prefix.out("e").matches("<f>").count() == dirs.len()
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn without_an_instance_a_worker_says_why_and_is_started_again() {
    let prefix = Prefix::new();
    tree(&prefix);
    // One for the daemon itself.
    let Some(daemon) = limited(&prefix, "max_inotify_instances", 1) else {
        return;
    };
    daemon.wait_log("max_inotify_instances (1)");
    set(&daemon, "max_inotify_instances", 100);
    prefix.wait("the worker", || {
        worker(&prefix, "system").is_some_and(|worker| worker["state"] == "running")
    });
    fs::write(prefix.watched().join("d/7/f"), "").unwrap();
    prefix.wait("its event", || prefix.out("e").contains("<f>"));
    assert_eq!(daemon.stop(), Some(0));
}

/// Whatever it is that there is no descriptor for: what it says names the limit.
#[test]
fn too_few_open_files_are_named_wherever_they_are_missed() {
    let prefix = Prefix::new();
    fs::create_dir_all(prefix.watched().join("a/b/c/d/e/f")).unwrap();
    let table = prefix.path("mine");
    let watched = prefix.watched();
    fs::write(&table, format!("{} IN_CREATE true\n", watched.display())).unwrap();
    let mut served = false;
    // With fewer than 5 the dynamic loader itself ends.
    for limit in (5..).take_while(|limit| *limit < 64) {
        let script = format!("ulimit -n {limit}; exec {INCROND} run {}", table.display());
        let mut program = Command::new("sh");
        program.args(["-c", &script]).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let mut said = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            said += &line;
            if line.starts_with("ready") {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!said.contains("does not exist"), "{limit}: {said}");
        let named = said.contains(&format!("RLIMIT_NOFILE ({limit})"));
        served = said.contains("ready") && !said.contains("not watched completely");
        assert!(
            named && said.contains("ulimit -n") || served,
            "{limit}: {said}"
        );
        if served {
            break;
        }
    }
    assert!(served, "it never has enough");
}

/// The daemon, whose worker may be what has too few.
#[test]
fn a_daemon_with_too_few_open_files_says_so() {
    for limit in [6, 10, 14] {
        let prefix = Prefix::new();
        tree(&prefix);
        let script = format!("ulimit -n {limit}; exec {INCROND} \"$@\"");
        let mut program = Command::new("sh");
        program.args(["-c", &script, "sh"]);
        let _daemon = prefix.spawn_by(program);
        prefix.wait("the limit", || {
            prefix.log().contains(&format!("RLIMIT_NOFILE ({limit})"))
        });
    }
}
