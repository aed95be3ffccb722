//! incronctl on the real daemon: what became of every event can be asked for,
//! line by line, and only by who may know.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::figures::{INCRONCTL, incronctl, json, line, run, stdout, wait_figures};
use common::gate::gate;
use common::{INCRONTAB, Prefix, is_root, touch};
use incron::control::{Answer, Client, Request};
use serde_json::Value;

#[test]
fn what_settle_merged() {
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CLOSE_WRITE,settle=300ms echo $# >> @O/seen\n");
    let daemon = prefix.start();
    // In turn: the kernel itself merges equal neighbours.
    daemon.at_once(|| {
        for _ in 0..3 {
            touch(prefix.watched().join("a"));
            touch(prefix.watched().join("b"));
        }
    });
    let figures = [("events", 6), ("merged", 4), ("runs", 2), ("waiting", 0)];
    let line = wait_figures(&prefix, "t:1", &figures);
    assert_eq!(line["state"], "served");
    assert_eq!(line["mask"], "IN_CLOSE_WRITE");
    assert_eq!(line["key"], "t");
    assert_eq!(line["path"], prefix.watched().to_str().unwrap());
    let ended = line["last"]["exit"] == 0 && line["last"]["milliseconds"].is_u64();
    assert!(ended || line["running"] == 1, "{line}");
}

#[test]
fn what_busy_skipped_and_what_no_loop_dropped() {
    let prefix = Prefix::new();
    fs::create_dir(prefix.watched().join("b")).unwrap();
    prefix.table(
        "t",
        "@W IN_CREATE,recursive=false,busy=skip read x < @O/gate\n\
         @W/b IN_CREATE,IN_NO_LOOP touch $@/own; read x < @O/gate\n",
    );
    let mut gate = gate(&prefix);
    let _daemon = prefix.start();
    touch(prefix.watched().join("a"));
    wait_figures(&prefix, "t:1", &[("events", 1), ("running", 1)]);
    touch(prefix.watched().join("c"));
    wait_figures(&prefix, "t:1", &[("events", 2), ("skipped", 1)]);
    touch(prefix.watched().join("b/a"));
    wait_figures(&prefix, "t:2", &[("events", 2), ("looped", 1)]);
    gate.write_all(b"go\ngo\n").unwrap();
    for name in ["t:1", "t:2"] {
        let line = wait_figures(&prefix, name, &[("running", 0), ("runs", 1), ("failed", 0)]);
        assert_eq!(line["last"]["exit"], 0, "{line}");
    }
}

#[test]
fn what_a_limit_held_back() {
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CREATE,limit=1/1h true\n");
    let _daemon = prefix.start();
    for name in ["a", "b", "c"] {
        touch(prefix.watched().join(name));
    }
    let figures = [("events", 3), ("runs", 1), ("waiting", 2), ("slowed", 1)];
    wait_figures(&prefix, "t:1", &figures);
}

#[test]
fn what_failed_and_was_tried_again() {
    let prefix = Prefix::new();
    prefix.table(
        "t",
        "@W IN_CREATE,retry=1 exit 3\n@W IN_DELETE /nonexistent/program\n",
    );
    let _daemon = prefix.start();
    touch(prefix.watched().join("a"));
    let figures = [("runs", 2), ("failed", 2), ("retried", 1)];
    let line = wait_figures(&prefix, "t:1", &figures);
    assert_eq!(line["last"]["exit"], 3, "{line}");
    fs::remove_file(prefix.watched().join("a")).unwrap();
    wait_figures(&prefix, "t:2", &[("events", 1), ("failed", 1)]);
}

#[test]
fn what_restart_ended_and_a_run_that_a_signal_ended() {
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CREATE,busy=restart exec sleep 1000\n");
    let _daemon = prefix.start();
    touch(prefix.watched().join("a"));
    wait_figures(&prefix, "t:1", &[("running", 1)]);
    touch(prefix.watched().join("b"));
    let line = wait_figures(
        &prefix,
        "t:1",
        &[("restarted", 1), ("runs", 2), ("running", 1)],
    );
    assert_eq!(line["last"]["exit"], Value::Null, "it runs");
    let pid = line["last"]["pid"].as_i64().unwrap() as i32;
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
    let line = wait_figures(&prefix, "t:1", &[("running", 0)]);
    assert_eq!(line["last"]["signal"], 10, "{line}");
}

#[test]
fn what_a_stream_was_given_again() {
    let prefix = Prefix::new();
    // Reads one event and fails; its successors see the rest.
    prefix.table(
        "t",
        "@W IN_CREATE,run=stream read x < @O/gate; read x; echo got >> @O/seen; exit 1\n\
         @W IN_DELETE,run=stream read x < @O/gate; read x; echo got >> @O/seen; exit 1\n",
    );
    let mut gate = gate(&prefix);
    let _daemon = prefix.start();
    for name in ["a", "b", "c"] {
        touch(prefix.watched().join(name));
    }
    wait_figures(&prefix, "t:1", &[("events", 3), ("running", 1)]);
    gate.write_all(b"go\n").unwrap();
    let figures = [("stream.again", 2), ("failed", 1), ("stream.lines", 2)];
    let line = wait_figures(&prefix, "t:1", &figures);
    assert_eq!(line["stream"]["lost"], 0);
    assert_eq!(line["last"]["exit"], 1);
    assert!(line["runs"].as_u64().unwrap() >= 1);
    let other = self::line(&prefix, "t:2");
    assert_eq!(other["stream"]["again"], 2, "they share it: {other}");
    assert_eq!(other["events"], 0);
    gate.write_all(b"go\ngo\ngo\n").unwrap();
}

#[test]
fn lines_that_are_not_watched_say_so() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    let closed = prefix.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    prefix.table(
        "t",
        "@W/later IN_CREATE true\n@W IN_CREATE,IN_ONESHOT true\n",
    );
    fs::write(
        prefix.path("spool/games"),
        format!("{} IN_CREATE true\n", closed.display()),
    )
    .unwrap();
    let games = nix::unistd::User::from_name("games").unwrap().unwrap();
    nix::unistd::chown(&prefix.path("spool/games"), Some(games.uid), None).unwrap();
    let _daemon = prefix.start();
    assert_eq!(line(&prefix, "t:1")["state"], "waiting");
    fs::create_dir(prefix.watched().join("later")).unwrap();
    prefix.wait("the path", || line(&prefix, "t:1")["state"] == "served");
    prefix.wait("its one event", || line(&prefix, "t:2")["state"] == "spent");
    let refused = line(&prefix, "games:1");
    assert_eq!(refused["state"], "unwatched", "{refused}");
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("Permission denied"), "{reason}");
    let shown = stdout(&run(&prefix, &["status"]));
    assert!(shown.contains("not watched: create"), "{shown}");
}

#[test]
fn a_user_sees_the_own_and_root_all() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CREATE true\n");
    for (name, uid) in [("games", 5), ("man", 6)] {
        let table = prefix.path("spool").join(name);
        fs::write(&table, "/usr IN_DELETE,recursive=false true\n").unwrap();
        nix::unistd::chown(&table, Some(uid.into()), None).unwrap();
    }
    let _daemon = prefix.start();
    let owners = |value: &Value| -> Vec<String> {
        let workers = value["workers"].as_array().unwrap();
        let owner = |worker: &Value| worker["owner"].as_str().unwrap().to_owned();
        workers.iter().map(owner).collect()
    };
    let mut all = owners(&json(&run(&prefix, &["status", "--json"])));
    all.sort();
    assert_eq!(all, ["games", "man", "system"]);
    let as_games = |words: &[&str]| incronctl(&prefix, words).uid(5).gid(5).output().unwrap();
    let own = json(&as_games(&["status", "--json"]));
    assert_eq!(owners(&own), ["games"]);
    assert_eq!(own["workers"][0]["lines"].as_array().unwrap().len(), 1);
    assert_eq!(own["workers"][0]["lines_served"], 1);
    for other in ["man:1", "t:1"] {
        let output = as_games(&["status", "--line", other]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("not yours to see"), "{said}");
    }
    // Whoever asks the socket itself gets no more.
    for (owner, system) in [("man", false), ("system", true), ("nobody", false)] {
        let output = Command::new("/proc/self/exe")
            .args(["--ignored", "--exact", "somebody_else", "--nocapture"])
            .env("INCRON_TEST_SOCKET", prefix.path("run/control.sock"))
            .env("INCRON_TEST_OWNER", owner)
            .env("INCRON_TEST_SYSTEM", system.to_string())
            .uid(5)
            .gid(5)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("ANSWER permission"), "{owner}: {output:?}");
    }
}

#[test]
#[ignore = "run by the test above, as another user"]
fn somebody_else() {
    let Some(socket) = std::env::var_os("INCRON_TEST_SOCKET") else {
        return;
    };
    let request = Request::Lines {
        owner: std::env::var("INCRON_TEST_OWNER").unwrap(),
        system: std::env::var("INCRON_TEST_SYSTEM").unwrap() == "true",
        after: 0,
    };
    match Client::connect(socket.as_ref())
        .unwrap()
        .ask(&request)
        .unwrap()
    {
        Answer::Refused { reason, .. } => println!("ANSWER {reason}"),
        other => println!("{other:?}"),
    }
}

#[test]
fn a_worker_that_hangs_is_named_and_the_others_are_shown() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CREATE true\n");
    let table = prefix.path("spool/games");
    fs::write(&table, "/usr IN_DELETE,recursive=false true\n").unwrap();
    nix::unistd::chown(&table, Some(5.into()), None).unwrap();
    let _daemon = prefix.start();
    let all = json(&run(&prefix, &["status", "--json"]));
    let of_games = |worker: &&Value| worker["owner"] == "games";
    let pid = all["workers"].as_array().unwrap().iter().find(of_games);
    let pid = pid.unwrap()["pid"].as_i64().unwrap() as i32;
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let output = run(&prefix, &["status", "--json"]);
    let shown = run(&prefix, &["status"]);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("lines of games are missing: the worker does not answer"),
        "{said}"
    );
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for worker in told["workers"].as_array().unwrap() {
        let games = worker["owner"] == "games";
        assert_eq!(
            worker["lines"].as_array().unwrap().is_empty(),
            games,
            "{worker}"
        );
        assert_eq!(worker["incomplete"].is_string(), games, "{worker}");
        assert_eq!(worker["events"].is_null(), games, "{worker}");
    }
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("  it does not answer\n"), "{shown}");
    // What it answered too late was answered to nobody, and is no offence.
    prefix.wait("the worker", || {
        line(&prefix, "games:1")["state"] == "served"
    });
    let all = json(&run(&prefix, &["status", "--json"]));
    for worker in all["workers"].as_array().unwrap() {
        assert_eq!(
            (&worker["malformed"], &worker["restarts"]),
            (&0.into(), &0.into())
        );
    }
}

#[test]
fn many_lines_come_in_pages_and_stay_bounded() {
    let prefix = Prefix::new();
    let deep = "d".repeat(200);
    let table: String = (0..1200)
        .map(|i| format!("@W/{deep}/{i} IN_CREATE,key=k{i} true\n"))
        .collect();
    prefix.table("t", &table);
    let _daemon = prefix.start();
    let told = json(&run(&prefix, &["status", "--json"]));
    let lines = told["workers"][0]["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 1200);
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line["line"], at + 1);
        assert_eq!(line["key"], format!("k{at}"));
    }
    // The largest line that there can be still fits.
    let long = "x/\u{1}".repeat(1000);
    prefix.table("t", &format!("@W/{long} IN_CREATE true\n"));
    prefix.wait("the long line", || {
        let line = line(&prefix, "t:1");
        line["path"].as_str().is_some_and(|path| path.len() > 3000)
    });
}

#[test]
fn for_people_it_is_narrow_and_harmless() {
    let prefix = Prefix::new();
    let mut table = b"/tmp/x\x1bc\xff IN_CLOSE_WRITE,IN_MOVED_TO true\n".to_vec();
    table.extend_from_slice(prefix.fill("@W IN_CREATE,key=mine true\n").as_bytes());
    fs::write(prefix.path("tables/uploads"), table).unwrap();
    let _daemon = prefix.start();
    touch(prefix.watched().join("a"));
    wait_figures(&prefix, "uploads:2", &[("runs", 1), ("running", 0)]);
    let shown = stdout(&run(&prefix, &["status"]));
    assert!(!shown.contains('\x1b'), "{shown}");
    assert!(
        shown.contains("waits for its path: close_write,moved_to /tmp/x\\x1bc"),
        "{shown}"
    );
    let head = shown.lines().find(|line| line.contains("LINE")).unwrap();
    let row = shown
        .lines()
        .find(|line| line.contains("uploads:2"))
        .unwrap();
    assert!(row.ends_with("exit 0"), "{shown}");
    assert_eq!(
        head.find("LAST RUN"),
        row.rfind("  ").map(|at| at + 2),
        "{shown}"
    );
    let wide = |line: &&str| line.chars().count() > 80 && !line.contains(" /");
    assert_eq!(shown.lines().find(wide), None, "{shown}");

    let raw = line(&prefix, "uploads:1");
    let bytes = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        raw["path_raw"].as_str().unwrap(),
    );
    assert_eq!(bytes.unwrap(), b"/tmp/x\x1bc\xff");

    let one = stdout(&run(&prefix, &["status", "--line", "uploads:2"]));
    assert!(one.starts_with("uploads:2 of system: served\n"), "{one}");
    for figure in [
        "key       mine",
        " 1 runs",
        " 0 skipped",
        "dropped by IN_NO_LOOP",
    ] {
        assert!(one.contains(figure), "{figure:?} is not in {one}");
    }
    let wide = |line: &&str| line.chars().count() > 80 && !line.contains("path ");
    assert_eq!(one.lines().find(wide), None, "{one}");
}

#[test]
fn without_a_daemon_it_says_so() {
    let prefix = Prefix::new();
    for words in [&["status"][..], &["status", "--json"], &["reload", "root"]] {
        let output = run(&prefix, words);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("incrond does not answer at"), "{said}");
        assert!(said.contains("run/control.sock"), "{said}");
    }
    fs::write(prefix.conf(), "no equals sign\n").unwrap();
    assert_eq!(run(&prefix, &["status"]).status.code(), Some(78));
    assert_eq!(run(&prefix, &["stop"]).status.code(), Some(2));
}

#[test]
fn a_daemon_of_ones_own() {
    let prefix = Prefix::new();
    fs::create_dir_all(prefix.path("config/incron")).unwrap();
    fs::write(prefix.path("config/incron/incron.conf"), "log = stderr\n").unwrap();
    let table = prefix.fill("@W IN_CREATE true\n");
    fs::write(prefix.path("config/incron/mine.incron"), table).unwrap();
    let homes = |program: &str| {
        let mut command = Command::new(program);
        command
            .env("XDG_CONFIG_HOME", prefix.path("config"))
            .env("XDG_STATE_HOME", prefix.path("state"))
            .env("XDG_RUNTIME_DIR", prefix.path("run"));
        command
    };
    let nobody = homes(INCRONCTL)
        .args(["status", "--user"])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("systemctl --user"));
    let mut daemon = homes(common::INCROND)
        .args(["--user", "-n"])
        .stderr(fs::File::create(prefix.path("log")).unwrap())
        .spawn()
        .unwrap();
    prefix.wait("readiness", || prefix.log().contains("ready to process"));
    let output = homes(INCRONCTL)
        .args(["status", "--user", "--json"])
        .output()
        .unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(daemon.id() as i32),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    daemon.wait().unwrap();
    let told = json(&output);
    assert_eq!(told["workers"][0]["lines"][0]["state"], "served", "{told}");
}

#[test]
fn a_table_is_read_again() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    let _daemon = prefix.start();
    let none = run(&prefix, &["reload", "games"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no table for games"));
    let table = prefix.path("spool/games");
    fs::write(
        &table,
        "/usr IN_DELETE,recursive=false true\nrelative IN_CREATE true\n",
    )
    .unwrap();
    nix::unistd::chown(&table, Some(5.into()), None).unwrap();
    let done = stdout(&run(&prefix, &["reload", "games"]));
    assert!(done.contains("1 lines are served, 1 have errors"), "{done}");
    let others = incronctl(&prefix, &["reload", "man"])
        .uid(5)
        .gid(5)
        .output()
        .unwrap();
    assert_eq!(others.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&others.stderr).contains("insufficient privileges"));
}

#[test]
fn simulate_is_that_of_incrontab() {
    let prefix = Prefix::new();
    let file = prefix.path("t");
    fs::write(&file, "/in IN_CREATE,settle=1s true $#\n").unwrap();
    let events = prefix.path("events");
    fs::write(&events, "+0s IN_CREATE /in/a\n+0.5s IN_CREATE /in/a\n").unwrap();
    let words = [file.to_str().unwrap(), events.to_str().unwrap()];
    let ours = stdout(&run(&prefix, &["simulate", words[0], words[1]]));
    assert!(ours.contains("run 1: true a"), "{ours}");
    let theirs = Command::new(INCRONTAB)
        .args(["-T", words[0], "--simulate", words[1], "-f"])
        .arg(prefix.conf())
        .output()
        .unwrap();
    assert_eq!(ours, stdout(&theirs));
    fs::write(&file, "relative IN_CREATE true\n").unwrap();
    let bad = run(&prefix, &["simulate", words[0], words[1]]);
    assert_eq!(bad.status.code(), Some(78));
    let missing = run(&prefix, &["simulate", "/nonexistent/t", words[1]]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(missing.stderr.starts_with(b"incronctl: "));
}
