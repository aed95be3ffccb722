//! Options on the real daemon that tests/flow.rs has no room for, and that none is
//! without a test there.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::figures::{run, stdout, wait_figures};
use common::{INCRONTAB, Prefix, is_root, touch};

/// The guard's two lines of log: when it begins, with the line and the rate, and when
/// it is over; what was held back ran nevertheless.
#[test]
fn a_limit_is_told_once_when_it_begins_and_once_when_it_is_over() {
    let prefix = Prefix::new();
    prefix.table(
        "t",
        "@W IN_DELETE true\n@W IN_CREATE,limit=2/1s echo $# >> @O/seen\n",
    );
    let daemon = prefix.start();
    daemon.at_once(|| (0..6).for_each(|i| touch(prefix.watched().join(i.to_string()))));
    daemon.wait_log("(system::t) line 2: limit=2/1s: no longer slowed, after ");
    let mut seen = prefix.lines("seen", 6);
    seen.sort();
    assert_eq!(seen, ["0", "1", "2", "3", "4", "5"], "slowed, not stopped");
    let log = prefix.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("limit=")).collect();
    assert_eq!(said.len(), 2, "{log}");
    assert!(said[0].contains("warn"), "{}", said[0]);
    let begins = "(system::t) line 2: limit=2/1s: 2 runs in the last ";
    assert!(said[0].contains(begins), "{}", said[0]);
    assert!(
        said[0].ends_with("slowed, what waits is merged by path"),
        "{}",
        said[0]
    );
    wait_figures(
        &prefix,
        "t:2",
        &[("slowed", 1), ("waited", 4), ("waiting", 0)],
    );
}

#[test]
fn a_batch_by_count_waits_no_longer_than_max_wait() {
    let prefix = Prefix::new();
    prefix.table(
        "t",
        "@W IN_CREATE,batch=100,max-wait=300ms,stdin=paths { cat; echo end; } >> @O/seen\n",
    );
    let daemon = prefix.start();
    daemon.at_once(|| {
        ["a", "b"]
            .iter()
            .for_each(|name| touch(prefix.watched().join(name)))
    });
    let want = ["@W/a", "@W/b", "end"].map(|line| prefix.fill(line));
    assert_eq!(prefix.lines("seen", 3), want);
}

#[test]
fn each_run_reads_its_event_as_json() {
    let prefix = Prefix::new();
    prefix.table(
        "t",
        "@W IN_CREATE,stdin=json,key=k { cat; echo end; } >> @O/seen\n",
    );
    let _daemon = prefix.start();
    touch(prefix.watched().join("a b"));
    let seen = prefix.lines("seen", 2);
    let event: serde_json::Value = serde_json::from_str(&seen[0]).unwrap();
    assert_eq!(event["path"], prefix.fill("@W/a b"));
    assert_eq!(
        (&event["name"], &event["key"]),
        (&"a b".into(), &"k".into())
    );
    assert_eq!(seen[1], "end", "one event, and the end of file");
}

#[test]
fn a_group_of_its_own() {
    if !is_root() {
        return eprintln!("left out: only root can");
    }
    let prefix = Prefix::new();
    prefix.table(
        "t",
        "@W IN_CREATE,user=nobody,group=games { id -un; id -gn; } >> @O/seen\n\
         @W IN_DELETE,group=games { id -un; id -gn; } >> @O/root\n",
    );
    let _daemon = prefix.start();
    touch(prefix.watched().join("a"));
    assert_eq!(prefix.lines("seen", 2), ["nobody", "games"]);
    fs::remove_file(prefix.watched().join("a")).unwrap();
    assert_eq!(prefix.lines("root", 2), ["root", "games"]);
}

/// `loopable=false` is `IN_NO_LOOP`; what is dropped is counted.
#[test]
fn a_line_that_is_not_loopable() {
    let prefix = Prefix::new();
    prefix.table(
        "t",
        "@W IN_CLOSE_WRITE,loopable=false echo $# >> @O/seen; echo x > @W/own\n",
    );
    let _daemon = prefix.start();
    touch(prefix.watched().join("a"));
    wait_figures(
        &prefix,
        "t:1",
        &[("runs", 1), ("looped", 1), ("running", 0)],
    );
    touch(prefix.watched().join("b"));
    assert_eq!(prefix.lines("seen", 2), ["a", "b"]);
}

/// What a stream was given is a recording: played to a table, it shows what the daemon
/// ran for the same events.
#[test]
fn a_recorded_stream_is_simulated() {
    let prefix = Prefix::new();
    let lines = "@W IN_CLOSE_WRITE,include=*.txt echo $# >> @O/seen\n\
                 @W IN_MOVED_TO,settle=200ms echo moved $# >> @O/seen\n";
    prefix.table("t", lines);
    prefix.table(
        "recorder",
        "@W IN_ALL_EVENTS,run=stream exec cat >> @O/record\n",
    );
    let daemon = prefix.start();
    for name in ["a.txt", "b.tmp", "c d.txt"] {
        touch(prefix.watched().join(name));
    }
    fs::rename(prefix.watched().join("b.tmp"), prefix.watched().join("e")).unwrap();
    let ran = prefix.lines("seen", 3);
    daemon.stop();
    fs::remove_file(prefix.path("out/seen")).unwrap();

    let table = prefix.path("played");
    fs::write(&table, prefix.fill(lines)).unwrap();
    let record = prefix.path("out/record");
    let words = [table.to_str().unwrap(), record.to_str().unwrap()];
    let played = stdout(&run(&prefix, &["simulate", words[0], words[1]]));
    let by_editor = std::process::Command::new(INCRONTAB)
        .args(["-T", words[0], "--simulate", words[1], "-f"])
        .arg(prefix.conf())
        .output()
        .unwrap();
    assert_eq!(stdout(&by_editor), played);
    // A shell has the names as values, so the events say what they are.
    let mut shown: Vec<String> = Vec::new();
    for text in played
        .lines()
        .map(str::trim)
        .filter(|text| text.starts_with("for "))
    {
        let path = text.rsplit(&prefix.fill("@W/")).next().unwrap();
        let name = path.trim_end_matches('\'').to_owned();
        match text.contains("IN_MOVED_TO") {
            true => shown.push(format!("moved {name}")),
            false => shown.push(name),
        }
    }
    let (mut ran, mut simulated) = (ran, shown);
    ran.sort();
    simulated.sort();
    assert_eq!(ran, simulated, "{played}");
    assert!(played.contains("run 3: "), "{played}");
    assert!(!played.contains("run 4: "), "{played}");
    assert!(!prefix.path("out/seen").exists(), "nothing was run");
}

#[test]
fn a_shell_or_none() {
    let prefix = Prefix::new();
    let hook = prefix.hook("words");
    let hook = hook.display();
    prefix.table(
        "t",
        &format!(
            "@W IN_CREATE,shell=no {hook} $# ; $HOME\n\
             @W IN_DELETE,shell=yes {hook} $# `echo by a shell`\n"
        ),
    );
    let _daemon = prefix.start();
    touch(prefix.watched().join("a"));
    assert_eq!(prefix.lines("words", 1), ["<a><;><$HOME>"]);
    fs::remove_file(prefix.watched().join("a")).unwrap();
    assert_eq!(prefix.lines("words", 2)[1], "<a><by><a><shell>");
}

/// Each option of a table stands in a line that a test gives to a real daemon.
#[test]
fn no_option_is_without_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words = fs::read_to_string(root.join("src/table/option_words.rs")).unwrap();
    let (_, names) = words.split_once("const NAMES: [&str; ").unwrap();
    let (names, _) = names.split_once("];").unwrap();
    let names: BTreeSet<&str> = names.split('"').skip(1).step_by(2).collect();
    assert!(names.len() > 30, "{names:?}");
    let mut tests = String::new();
    for entry in fs::read_dir(root.join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.contains("mod common;") {
            tests += &text;
        }
    }
    let tested = |name: &&&str| {
        let option = format!("{name}=");
        let at = tests.match_indices(&option).any(|(at, _)| {
            let before = tests[..at].chars().next_back();
            matches!(before, Some(',' | ' '))
        });
        !at
    };
    let missing: Vec<_> = names.iter().filter(tested).collect();
    assert!(missing.is_empty(), "no daemon was given {missing:?}");
}
