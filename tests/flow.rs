//! The options that say when and how a command runs, each on the real daemon.
//!
//! What they mean to the nanosecond is proved in the simulation
//! (tests/schedule_simulation.rs); here each is seen to work from the table to
//! the command. Gates (FIFOs) hold commands, so nothing depends on speed.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use common::figures::wait_figures;
use common::gate::{gate, open};
use common::{Daemon, Prefix, is_root, touch};

/// A prefix with this table, served.
fn serve(table: &str) -> (Prefix, PathBuf) {
    let prefix = Prefix::new();
    prefix.table("t", table);
    let watched = prefix.watched();
    (prefix, watched)
}

/// Waits until the worker itself knows that the one run is over. Its process is gone before:
/// what happens in between still comes while it runs.
fn run_is_over(prefix: &Prefix) {
    wait_figures(prefix, "t:1", &[("runs", 1), ("running", 0)]);
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn a_command_has_the_old_path_of_a_rename_of_which_both_halves_are_seen() {
    let (prefix, w) = serve("@W IN_MOVE echo $# $% \"<$INCRON_OLD>\" >> @O/seen");
    touch(w.join("a"));
    let _daemon = prefix.start();
    fs::rename(w.join("a"), w.join("b")).unwrap();
    fs::rename(w.join("b"), prefix.path("away")).unwrap();
    fs::rename(prefix.path("away"), w.join("c")).unwrap();
    let old = w.join("a");
    let wanted = [
        "a IN_MOVED_FROM <>".to_owned(),
        format!("b IN_MOVED_TO <{}>", old.display()),
        "b IN_MOVED_FROM <>".into(),
        "c IN_MOVED_TO <>".into(),
    ];
    assert_eq!(sorted(prefix.lines("seen", 4)), sorted(wanted.into()));
}

#[test]
fn settle_merges_the_events_of_a_path() {
    let (prefix, w) =
        serve("@W IN_CREATE,IN_MODIFY,IN_CLOSE_WRITE,settle=300ms echo $# $% >> @O/seen");
    let daemon = prefix.start();
    daemon.at_once(|| {
        for i in 0..50 {
            fs::write(w.join("a"), format!("{i}")).unwrap();
        }
        touch(w.join("b"));
    });
    let got = sorted(prefix.lines("seen", 2));
    assert_eq!(
        got,
        [
            "a IN_MODIFY,IN_CREATE,IN_CLOSE_WRITE",
            "b IN_CREATE,IN_CLOSE_WRITE"
        ]
    );
}

#[test]
fn max_wait_bounds_settle() {
    let (prefix, w) = serve("@W IN_MODIFY,settle=500ms,max-wait=700ms echo $# >> @O/seen");
    let _daemon = prefix.start();
    // Written again at every look: never quiet for long enough.
    prefix.wait("a run all the same", || {
        fs::write(w.join("a"), "x").unwrap();
        !prefix.out("seen").is_empty()
    });
}

#[test]
fn batch_by_time_runs_once_with_all_paths_on_standard_input() {
    let (prefix, w) =
        serve("@W IN_CREATE,batch=300ms,stdin=paths cat >> @O/seen; echo end >> @O/seen");
    let daemon = prefix.start();
    daemon.at_once(|| {
        ["a", "b", "c d"]
            .iter()
            .for_each(|name| touch(w.join(name)))
    });
    let got = prefix.lines("seen", 4);
    let want: Vec<String> = ["@W/a", "@W/b", "@W/c d", "end"]
        .iter()
        .map(|l| prefix.fill(l))
        .collect();
    assert_eq!(got, want);
}

#[test]
fn batch_by_count_and_json_by_default() {
    let (prefix, w) = serve("@W IN_CREATE,batch=3,jobs=1 cat >> @O/seen");
    let _daemon = prefix.start();
    for i in 0..6 {
        touch(w.join(format!("f{i}")));
    }
    let got = prefix.lines("seen", 6);
    for (i, line) in got.iter().enumerate() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["name"], format!("f{i}"));
        assert_eq!(json["events"][0], "IN_CREATE");
        assert_eq!(json["table"], "t");
        assert_eq!(json["line"], 1);
        assert_eq!(json["origin"], "kernel");
    }
}

#[test]
fn busy_queue_makes_one_more_run_for_all_that_came() {
    let (prefix, w) = serve(
        "@W IN_CREATE,busy=queue,stdin=paths cat >> @O/seen; echo start >> @O/seen; read x < @O/gate",
    );
    let mut gate = gate(&prefix);
    let _daemon = prefix.start();
    touch(w.join("a"));
    prefix.lines("seen", 2);
    touch(w.join("b"));
    touch(w.join("c"));
    open(&mut gate);
    let got = prefix.lines("seen", 5);
    let want: Vec<String> = ["@W/a", "start", "@W/b", "@W/c", "start"]
        .iter()
        .map(|l| prefix.fill(l))
        .collect();
    assert_eq!(got, want);
    open(&mut gate);
}

#[test]
fn busy_skip_drops_what_comes_meanwhile() {
    let (prefix, w) =
        serve("@W IN_CREATE,busy=skip echo $# >> @O/seen; read x < @O/gate; echo done >> @O/seen");
    let mut gate = gate(&prefix);
    let _daemon = prefix.start();
    touch(w.join("a"));
    prefix.lines("seen", 1);
    touch(w.join("b"));
    open(&mut gate);
    prefix.lines("seen", 2);
    run_is_over(&prefix);
    touch(w.join("c"));
    assert_eq!(prefix.lines("seen", 3), ["a", "done", "c"]);
    open(&mut gate);
}

#[test]
fn busy_restart_ends_the_run_and_starts_anew() {
    let (prefix, w) = serve(
        "@W IN_CREATE,busy=restart echo $# >> @O/seen; read x < @O/gate; echo done >> @O/seen",
    );
    let mut gate = gate(&prefix);
    let _daemon = prefix.start();
    touch(w.join("a"));
    prefix.lines("seen", 1);
    touch(w.join("b"));
    prefix.lines("seen", 2);
    open(&mut gate);
    assert_eq!(
        prefix.lines("seen", 3),
        ["a", "b", "done"],
        "the first run never came to its end"
    );
}

#[test]
fn jobs_bounds_one_line_and_keeps_order() {
    let (prefix, w) = serve("@W IN_CREATE,jobs=1 echo $# >> @O/seen; read x < @O/gate");
    let mut gate = gate(&prefix);
    let daemon = prefix.start();
    for i in 0..5 {
        touch(w.join(format!("f{i}")));
    }
    for i in 1..=5 {
        assert_eq!(prefix.lines("seen", i).len(), i);
        assert!(common::children(daemon.workers()[0]).len() <= 1);
        open(&mut gate);
    }
    assert_eq!(prefix.lines("seen", 5), ["f0", "f1", "f2", "f3", "f4"]);
}

#[test]
fn limit_slows_merges_and_says_so() {
    let (prefix, w) = serve("@W IN_CREATE,IN_DELETE,recursive=false,limit=2/1s echo $# >> @O/seen");
    let daemon = prefix.start();
    for _ in 0..20 {
        touch(w.join("a"));
        fs::remove_file(w.join("a")).unwrap();
    }
    touch(w.join("z"));
    daemon.wait_log("limit");
    prefix.wait("the last path", || prefix.out("seen").contains("z"));
    let runs = prefix.out("seen").lines().count();
    assert!((3..41).contains(&runs), "merged, and not lost: {runs}");
}

#[test]
fn no_loop_ignores_what_the_command_itself_does() {
    let (prefix, w) = serve("@W IN_CLOSE_WRITE,IN_NO_LOOP echo x >> @W/own; echo $# >> @O/seen");
    let _daemon = prefix.start();
    touch(w.join("a"));
    prefix.lines("seen", 1);
    run_is_over(&prefix);
    touch(w.join("b"));
    assert_eq!(prefix.lines("seen", 2), ["a", "b"]);
}

/// The time is more than a shell needs to begin: before that, SIGTERM ends it.
#[test]
fn timeout_ends_a_command_and_its_children() {
    let (prefix, w) = serve(
        "@W IN_CREATE,timeout=5s,kill-after=200ms trap '' TERM; echo $$$$ >> @O/seen; sleep 1000 & sleep 1000; sleep 1000",
    );
    let daemon = prefix.start();
    touch(w.join("a"));
    daemon.wait_log("SIGKILL");
    let pid = prefix.lines("seen", 1)[0].parse().unwrap();
    prefix.wait("the group's end", || {
        nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), None).is_err()
    });
}

#[test]
fn retry_runs_again_after_a_failure() {
    let (prefix, w) = serve(
        "@W IN_CREATE,recursive=false,retry=2 echo $# >> @O/seen; read x < @O/gate; test $$x = good",
    );
    let mut gate = gate(&prefix);
    let daemon = prefix.start();
    touch(w.join("a"));
    prefix.lines("seen", 1);
    gate.write_all(b"bad\n").unwrap();
    daemon.wait_log("exited with 1");
    prefix.lines("seen", 2);
    gate.write_all(b"good\n").unwrap();
    wait_figures(&prefix, "t:1", &[("runs", 2), ("running", 0)]);
    assert_eq!(prefix.lines("seen", 2), ["a", "a"]);
}

#[test]
fn include_exclude_and_type_choose() {
    let (prefix, w) = serve(
        "@W IN_CREATE,include=*.jpg:*.png,exclude=/tmp:draft* echo one $# >> @O/seen\n\
         @W IN_CREATE,type=dir,recursive=false echo dir $# >> @O/seen\n\
         @W IN_CREATE,type=file,recursive=false,include=last echo $# >> @O/seen\n",
    );
    fs::create_dir(w.join("tmp")).unwrap();
    let _daemon = prefix.start();
    for name in ["a.jpg", "b.txt", "draft.jpg", "tmp/c.png", "d.png"] {
        touch(w.join(name));
    }
    fs::create_dir(w.join("e")).unwrap();
    touch(w.join("last"));
    prefix.wait("the last", || prefix.out("seen").contains("last"));
    prefix.lines("seen", 4);
    let got = sorted(prefix.lines("seen", 4));
    assert_eq!(got, ["dir e", "last", "one a.jpg", "one d.png"]);
}

#[test]
fn depth_bounds_recursion() {
    let (prefix, w) = serve("@W IN_CREATE,type=file,depth=1 echo $@/$# >> @O/seen");
    fs::create_dir_all(w.join("x/y")).unwrap();
    let _daemon = prefix.start();
    touch(w.join("x/y/deep"));
    touch(w.join("x/one"));
    touch(w.join("zero"));
    let want: Vec<String> = ["@W/x/one", "@W/zero"]
        .iter()
        .map(|l| prefix.fill(l))
        .collect();
    assert_eq!(sorted(prefix.lines("seen", 2)), want);
}

#[test]
fn paths0_survives_newlines() {
    let (prefix, w) = serve("@W IN_CREATE,stdin=paths0 cat >> @O/raw; echo >> @O/seen");
    let _daemon = prefix.start();
    touch(w.join("a\nb"));
    prefix.lines("seen", 1);
    assert_eq!(prefix.out("raw"), prefix.fill("@W/a\nb\0"));
}

#[test]
fn output_goes_where_the_line_says() {
    let (prefix, w) = serve(
        "@W IN_CREATE,recursive=false,output=@O/file echo to-file $#\n\
         @W IN_CREATE,recursive=false,output=discard echo to-nowhere $#\n\
         @W IN_CREATE,recursive=false echo to-log $#\n",
    );
    // Root's output may go only where root alone can write.
    fs::set_permissions(prefix.path("out"), fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = prefix.start();
    touch(w.join("a"));
    assert_eq!(prefix.lines("file", 1), ["to-file a"]);
    daemon.wait_log("CMDOUT (to-log a)");
    assert!(!prefix.log().contains("CMDOUT (to-nowhere"));
}

#[test]
fn cwd_umask_and_nice() {
    let (prefix, w) = serve(
        "@W IN_CREATE,recursive=false,cwd=/usr,umask=077,nice=5 { pwd; umask; nice; } >> @O/seen",
    );
    let _daemon = prefix.start();
    touch(w.join("a"));
    let got = prefix.lines("seen", 3);
    assert_eq!(got[0], "/usr");
    assert!(got[1].ends_with("077"));
    assert_eq!(got[2], "5");
}

#[test]
fn system_tables_run_commands_as_other_users() {
    if !is_root() {
        return eprintln!("left out: only root can");
    }
    let (prefix, w) = serve(
        "@W IN_CREATE,recursive=false,user=nobody { id -un; echo $$USER; id -G; } >> @O/seen",
    );
    let _daemon = prefix.start();
    touch(w.join("a"));
    assert_eq!(prefix.lines("seen", 3), ["nobody", "nobody", "65534"]);
    assert_eq!(fs::metadata(prefix.path("out/seen")).unwrap().uid(), 65534);
}

#[test]
fn an_unknown_user_is_an_error_of_its_line_alone() {
    let (prefix, w) =
        serve("@W IN_CREATE,user=no-such-user true\n@W IN_CREATE echo $# >> @O/seen\n");
    let daemon = prefix.start();
    touch(w.join("a"));
    assert_eq!(prefix.lines("seen", 1), ["a"]);
    daemon.wait_log("user=no-such-user");
}

#[test]
fn environment_lines_and_incron_variables() {
    let (prefix, w) = serve(
        "GREETING=\"hello world\"\n@W IN_CREATE,key=k1 printf '%s|' \"$GREETING\" \"$INCRON_TARGET\" \"$INCRON_EVENT\" \"$INCRON_TABLE\" \"$INCRON_LINE\" \"$INCRON_KEY\" >> @O/seen; echo >> @O/seen",
    );
    let _daemon = prefix.start();
    touch(w.join("a"));
    let want = prefix.fill("hello world|@W/a|IN_CREATE|t|2|k1|");
    assert_eq!(prefix.lines("seen", 1), [want]);
}

/// One long-lived command reads all events, and the next takes up what it left.
#[test]
fn a_stream_reads_events_and_is_started_again() {
    let (prefix, w) = serve(
        "@W IN_CREATE,recursive=false,run=stream read -r a; read -r b; printf '%s\\n' \"$a\" \"$b\" >> @O/seen",
    );
    let _daemon: Daemon<'_> = prefix.start();
    for i in 0..6 {
        touch(w.join(format!("f{i}")));
    }
    let names: Vec<String> = prefix
        .lines("seen", 6)
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].to_string())
        .collect();
    let want: Vec<String> = (0..6).map(|i| format!("\"f{i}\"")).collect();
    assert_eq!(
        names, want,
        "each process reads two and ends; none is lost, none is given twice"
    );
}

#[test]
fn output_is_mailed_to_mailto() {
    let prefix = Prefix::with("mailer = @P/sendmail");
    let out = prefix.path("out");
    let text = format!(
        "#!/bin/sh\n{{ echo \"args $*\"; cat; }} > {0}/.mail; mv {0}/.mail {0}/mail\n",
        out.display()
    );
    common::script(&prefix.path("sendmail"), &text);
    prefix.table(
        "t",
        "MAILTO=admin@example.org\n@W IN_CREATE,recursive=false,output=mail echo found $#\n",
    );
    let _daemon = prefix.start();
    touch(prefix.watched().join("news"));
    prefix.wait("a mail", || prefix.path("out/mail").exists());
    let mail = prefix.out("mail");
    assert!(mail.contains("To: admin@example.org"), "{mail}");
    assert!(mail.contains("Subject: incron <"), "{mail}");
    assert!(mail.contains("\n\nfound news\n"), "{mail}");
}

#[test]
fn a_changed_configuration_reaches_running_workers() {
    let prefix = Prefix::with("max_jobs = 1");
    prefix.table(
        "t",
        "@W IN_CREATE,recursive=false echo $# >> @O/seen; read x < @O/gate",
    );
    let mut gate = gate(&prefix);
    let daemon = prefix.start();
    for name in ["a", "b", "c"] {
        touch(prefix.watched().join(name));
    }
    prefix.lines("seen", 1);
    let conf = fs::read_to_string(prefix.conf()).unwrap();
    fs::write(prefix.conf(), conf.replace("max_jobs = 1", "max_jobs = 3")).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    // No command has ended, and the others start all the same.
    prefix.lines("seen", 3);
    (0..3).for_each(|_| open(&mut gate));
}
