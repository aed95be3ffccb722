//! What lines share, on the real daemon: the commands at once, and streams. Gates
//! (FIFOs) hold commands, so nothing depends on speed.

mod common;

use common::gate::{gate, open};
use common::{Prefix, alive, children, touch};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;

fn events(lines: &[String]) -> Vec<Value> {
    let whole = |line: &String| serde_json::from_str(line).expect("a whole event");
    lines.iter().map(whole).collect()
}

/// A line with a hundred runs to come does not keep one with three waiting.
#[test]
fn a_flood_of_one_line_leaves_the_others_their_turn() {
    let prefix = Prefix::with("max_jobs = 1");
    for name in ["a", "b", "c"] {
        fs::create_dir(prefix.watched().join(name)).unwrap();
    }
    let line =
        |name: &str| format!("@W/{name} IN_CREATE echo {name} >> @O/seen; read x < @O/gate\n");
    prefix.table("t", &[line("a"), line("b"), line("c")].concat());
    let mut gate = gate(&prefix);
    let _daemon = prefix.start();
    for i in 0..100 {
        touch(prefix.watched().join(format!("a/{i}")));
    }
    prefix.lines("seen", 1);
    // All of it is known when the first run has ended: before that, what it did is read.
    for i in 0..3 {
        touch(prefix.watched().join(format!("b/{i}")));
        touch(prefix.watched().join(format!("c/{i}")));
    }
    for count in 2..=13 {
        open(&mut gate);
        prefix.lines("seen", count);
    }
    let seen = prefix.lines("seen", 13);
    for rest in [&seen[1..4], &seen[4..7], &seen[7..10]] {
        let mut turn = rest.to_vec();
        turn.sort();
        assert_eq!(turn, ["a", "b", "c"], "each has its turn: {seen:?}");
    }
    assert_eq!(seen[10..], ["a", "a", "a"], "the others had no more");
    // So that the daemon can stop.
    prefix.table("t", "");
    (0..100).for_each(|_| open(&mut gate));
}

/// A stream is a process that runs already: what goes to it waits for no job of another.
#[test]
fn a_stream_is_fed_while_all_jobs_are_taken() {
    let prefix = Prefix::with("max_jobs = 1");
    for name in ["a", "b"] {
        fs::create_dir(prefix.watched().join(name)).unwrap();
    }
    prefix.table(
        "t",
        "@W/a IN_CREATE echo begun >> @O/begun; read x < @O/gate\n\
         @W/b IN_CREATE,settle=10ms,run=stream cat >> @O/seen\n",
    );
    let mut gate = gate(&prefix);
    let _daemon = prefix.start();
    touch(prefix.watched().join("a/1"));
    prefix.lines("begun", 1);
    touch(prefix.watched().join("b/1"));
    assert_eq!(events(&prefix.lines("seen", 1))[0]["name"], "1");
    open(&mut gate);
}

/// `busy=parallel`, which is the default: each event runs at once, whatever runs.
#[test]
fn parallel_runs_are_at_once() {
    for option in ["", ",busy=parallel"] {
        let prefix = Prefix::new();
        prefix.table(
            "t",
            &format!(
                "@W IN_CREATE{option} echo $# >> @O/seen; read x < @O/gate; echo done >> @O/seen"
            ),
        );
        let mut gate = gate(&prefix);
        let _daemon = prefix.start();
        for name in ["a", "b", "c"] {
            touch(prefix.watched().join(name));
        }
        let mut seen = prefix.lines("seen", 3);
        seen.sort();
        assert_eq!(seen, ["a", "b", "c"], "before any has ended");
        (0..3).for_each(|_| open(&mut gate));
        assert_eq!(prefix.lines("seen", 6)[3..], ["done", "done", "done"]);
    }
}

#[test]
fn equal_stream_commands_of_a_table_share_a_process() {
    let prefix = Prefix::new();
    for name in ["a", "b", "c", "d"] {
        fs::create_dir(prefix.watched().join(name)).unwrap();
    }
    let shared = "run=stream echo $$$$ >> @O/pids; exec cat >> @O/seen\n";
    prefix.table(
        "t",
        &format!(
            "@W/a IN_CREATE,{shared}@W/b IN_CREATE,{shared}\
             @W/c IN_CREATE,run=stream echo $$$$ >> @O/pids; exec cat >> @O/other\n"
        ),
    );
    prefix.table("u", &format!("@W/d IN_CREATE,{shared}"));
    let daemon = prefix.start();
    let mut pids = prefix.lines("pids", 3);
    for name in ["a/1", "b/2", "a/3", "c/4"] {
        touch(prefix.watched().join(name));
    }
    let seen = events(&prefix.lines("seen", 3));
    let what: Vec<(u64, &str)> = seen
        .iter()
        .map(|e| (e["line"].as_u64().unwrap(), e["name"].as_str().unwrap()))
        .collect();
    assert_eq!(what, [(1, "1"), (2, "2"), (1, "3")], "in order");
    assert_eq!(events(&prefix.lines("other", 1))[0]["name"], "4");
    touch(prefix.watched().join("d/5"));
    assert_eq!(events(&prefix.lines("seen", 4))[3]["table"], "u");
    pids.dedup();
    assert_eq!(pids.len(), 3);
    assert_eq!(children(daemon.workers()[0]).len(), 3, "two of t, one of u");
}

/// At a stop: end of file first, TERM for who does not end by that in time, KILL for
/// who does not end by that.
#[test]
fn a_stop_asks_a_stream_politely_first() {
    // More than the first needs to end by itself.
    let prefix = Prefix::with("stop_grace = 5s");
    prefix.table(
        "t",
        "@W IN_CREATE,run=stream trap 'echo polite TERM >> @O/end' TERM; cat > @O/read; \
         echo end of file >> @O/end\n\
         @W IN_CREATE,run=stream trap 'echo TERM >> @O/end; exit' TERM; echo up >> @O/up; \
         while :; do read x < @O/gate; done\n\
         @W IN_CREATE,run=stream,kill-after=200ms trap '' TERM; echo $$$$ >> @O/pid; \
         echo up >> @O/up; while :; do read x < @O/gate; done\n",
    );
    let _gate = gate(&prefix);
    let daemon = prefix.start();
    prefix.lines("up", 2);
    let stubborn = Pid::from_raw(prefix.lines("pid", 1)[0].parse().unwrap());
    touch(prefix.watched().join("a"));
    assert_eq!(events(&prefix.lines("read", 1))[0]["name"], "a");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(prefix.lines("end", 2), ["end of file", "TERM"]);
    assert!(!alive(stubborn));
    // What those two had not read waits for their next ones.
    assert!(
        prefix
            .log()
            .contains("still waited: saved for the next start")
    );
}

/// A process that is killed in the middle: what it had not read goes to the next, in
/// order, and nothing that it had read.
#[test]
fn what_a_killed_stream_had_not_read_goes_to_the_next() {
    let prefix = Prefix::new();
    prefix.table(
        "t",
        "@W IN_CREATE,run=stream while read -r x; do echo \"$$x\" >> @O/seen; read x < @O/gate; done",
    );
    let mut gate = gate(&prefix);
    let daemon = prefix.start();
    for i in 0..5 {
        touch(prefix.watched().join(i.to_string()));
    }
    prefix.lines("seen", 1);
    let pid = children(daemon.workers()[0])[0];
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    prefix.lines("seen", 2);
    for count in 3..=5 {
        open(&mut gate);
        prefix.lines("seen", count);
    }
    let names: Vec<String> = events(&prefix.lines("seen", 5))
        .iter()
        .map(|event| event["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["0", "1", "2", "3", "4"]);
    daemon.wait_log("(system::t) line 1: the stream's command was ended by SIGKILL; started again");
    open(&mut gate);
}
