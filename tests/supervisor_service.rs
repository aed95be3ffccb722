//! What a user gets of it: commands as oneself, and nothing lost over a restart.

mod common;
mod supervisor_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Prefix, is_root};
use supervisor_support::{ask, install, pid, wait_lines, worker};

fn script(prefix: &Prefix, text: &str) -> String {
    let path = prefix.path("script");
    common::script(&path, &prefix.fill(text));
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_users_commands_run_as_the_user() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    let script = script(
        &prefix,
        "#!/bin/sh\n{ id -un; id -gn; id -Gn; pwd; umask; echo $HOME $LOGNAME $PATH; } > @O/new\n\
         mv @O/new @O/who\n",
    );
    let daemon = prefix.start();
    let table = prefix.fill(&format!("@W IN_CLOSE_WRITE {script}\n"));
    ask(&prefix, &install("games", table.as_bytes()));
    fs::write(prefix.watched().join("f"), "x").unwrap();
    let who = prefix.lines("who", 6);
    let path = "/usr/games games /usr/local/bin:/usr/bin:/bin";
    assert_eq!(who, ["games", "games", "games", "/usr/games", "0022", path]);
    drop(daemon);
}

#[test]
fn the_kernel_decides_what_a_user_may_watch() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    let script = script(&prefix, "#!/bin/sh\necho $1 >> @O/seen\n");
    fs::create_dir(prefix.path("secret")).unwrap();
    fs::set_permissions(prefix.path("secret"), fs::Permissions::from_mode(0o700)).unwrap();
    let daemon = prefix.start();
    let secret = prefix.path("secret");
    let table = format!("{} IN_CLOSE_WRITE {script} $#\n", secret.display())
        + &prefix.fill(&format!("@W IN_CLOSE_WRITE {script} $#\n"));
    ask(&prefix, &install("games", table.as_bytes()));
    fs::write(secret.join("hidden"), "x").unwrap();
    fs::write(prefix.watched().join("open"), "x").unwrap();
    assert_eq!(prefix.lines("seen", 1), ["open"]);
    drop(daemon);
}

#[test]
fn what_waits_at_a_stop_runs_after_the_next_start() {
    let prefix = Prefix::with("stop_grace = 1s\nstop_kill = yes");
    nix::unistd::mkfifo(&prefix.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = script(
        &prefix,
        "#!/bin/sh\n[ -e @O/go ] && { echo $1 >> @O/done; exit; }\necho $1 >> @O/begun\nread x < @O/../fifo\n",
    );
    prefix.table("t", &format!("@W IN_CLOSE_WRITE,jobs=1 {script} $#\n"));
    let daemon = prefix.start();
    for name in ["one", "two", "three"] {
        fs::write(prefix.watched().join(name), "x").unwrap();
    }
    assert_eq!(prefix.lines("begun", 1), ["one"]);
    assert_eq!(daemon.stop(), Some(0));
    assert!(
        prefix.log().contains("saved 2 events of system"),
        "{}",
        prefix.log()
    );
    assert!(prefix.path("state/saved/@system.jsonl").exists());

    fs::write(prefix.path("out/go"), "").unwrap();
    let daemon = prefix.spawn(common::INCROND);
    assert_eq!(prefix.lines("done", 2), ["two", "three"]);
    pid(&prefix, "system");
    prefix.wait("its file to go", || {
        !prefix.path("state/saved/@system.jsonl").exists()
    });
    drop(daemon);
}

#[test]
fn what_a_stream_has_not_read_stays_its_own_when_the_table_is_edited() {
    use base64::Engine as _;
    let prefix = Prefix::with("stop_grace = 1s\nstop_kill = yes");
    let stream = "@W IN_CLOSE_WRITE,run=stream sleep 1000\n";
    prefix.table("t", stream);
    let daemon = prefix.start();
    fs::write(prefix.watched().join("f"), "x").unwrap();
    let events = || worker(&prefix, "system").is_some_and(|worker| worker["events"] == 1);
    prefix.wait("the event", events);
    // Its line has another number now, and another line has its.
    prefix.table("t", &format!("@O IN_DELETE_SELF touch @O/wrong\n{stream}"));
    wait_lines(&prefix, "system", 2);
    assert_eq!(daemon.stop(), Some(0));
    let saved = fs::read_to_string(prefix.path("state/saved/@system.jsonl")).unwrap();
    let entry: serde_json::Value = serde_json::from_str(saved.trim_end()).unwrap();
    let command = base64::engine::general_purpose::STANDARD.encode("sleep 1000");
    assert_eq!(entry["command"], command, "{saved}");
}
