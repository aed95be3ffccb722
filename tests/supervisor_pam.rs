//! With the feature `pam`, a user's worker lives in a PAM session: what the
//! modules set is what commands see, a refusal is a refusal, and a session that
//! was opened is closed. As root, with service files of the test's own.

mod common;
mod supervisor_support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::{Daemon, INCROND, Prefix, alive, children, is_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, mkfifo};
use supervisor_support::{lines, pid, wait_lines, worker};

/// Says yes to everybody, and logs what it was called for to `out/pam`.
const OPEN: &str = "auth required pam_permit.so\naccount required pam_permit.so\n\
                    session required pam_exec.so @P/note\n";

fn spool(prefix: &Prefix, user: &str, command: &str) {
    let text = prefix.fill(&format!("@W IN_CREATE {command}\n"));
    fs::write(prefix.path("spool").join(user), text).unwrap();
}

fn script(path: PathBuf, text: &str) {
    common::script(&path, &format!("#!/bin/sh\n{text}\n"));
}

/// Writes the service file; `@P` stands for its directory.
fn service(prefix: &Prefix, text: &str) {
    let dir = prefix.path("pam");
    fs::create_dir_all(&dir).unwrap();
    let text = text.replace("@P", dir.to_str().unwrap());
    fs::write(dir.join("incrond"), text).unwrap();
    let out = prefix.path("out/pam");
    let note = format!("echo $PAM_TYPE $PAM_USER $PAM_TTY >> {}", out.display());
    script(dir.join("note"), &note);
}

/// Our daemon, looking for service files in the prefix.
fn spawn(prefix: &Prefix) -> Daemon<'_> {
    let (program, dir) = (prefix.path("incrond"), prefix.path("pam"));
    script(
        program.clone(),
        &format!("INCRON_PAM_DIR={} exec {INCROND} \"$@\"", dir.display()),
    );
    prefix.spawn(program.to_str().unwrap())
}

fn start(prefix: &Prefix) -> Daemon<'_> {
    let daemon = spawn(prefix);
    daemon.wait_log("ready to process filesystem events");
    daemon
}

#[test]
fn a_session_shapes_the_worker_and_is_closed_after_it() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    service(
        &prefix,
        &format!(
            "{OPEN}session required pam_env.so conffile=@P/env readenv=0\n\
             session required pam_limits.so conf=@P/limits\n\
             session optional pam_loginuid.so\n"
        ),
    );
    let env = "FROM_PAM DEFAULT=yes\nPATH DEFAULT=/usr/bin:/bin:/opt\nHOME DEFAULT=/root\n";
    fs::write(prefix.path("pam/env"), env).unwrap();
    fs::write(prefix.path("pam/limits"), "games - nofile 77\n").unwrap();
    spool(
        &prefix,
        "games",
        "{ env; ulimit -n; } > @O/new; mv @O/new @O/seen",
    );
    let daemon = start(&prefix);
    let process = pid(&prefix, "games");
    let games = User::from_name("games").unwrap().unwrap();
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let uid = format!("Uid:\t{0}\t{0}\t{0}\t{0}\n", games.uid);
    assert!(status.contains(&uid), "{status}");
    let login = fs::read_to_string(format!("/proc/{process}/loginuid")).unwrap_or_default();
    assert!(
        login.is_empty() || login == games.uid.to_string(),
        "{login}"
    );

    fs::write(prefix.watched().join("x"), "").unwrap();
    prefix.lines("seen", 1);
    let seen = prefix.out("seen");
    let has = |line: &str| seen.lines().any(|seen| seen == line);
    assert!(
        has("FROM_PAM=yes") && has("PATH=/usr/bin:/bin:/opt") && has("77"),
        "{seen}"
    );
    assert!(has(&format!("HOME={}", games.dir.display())), "{seen}");
    assert!(!seen.contains("INCRON_PAM_DIR"), "{seen}");

    // Whatever way the worker ends, its session ends, too.
    kill(Pid::from_raw(process), Signal::SIGKILL).unwrap();
    let log = prefix.lines("pam", 3);
    assert_eq!(log[0], "open_session games incrond");
    assert!(
        log.contains(&"close_session games incrond".to_owned()),
        "{log:?}"
    );
    let process = pid(&prefix, "games");
    let keepers = children(Pid::from_raw(process));
    assert_eq!(keepers.len(), 1);
    fs::remove_file(prefix.path("spool/games")).unwrap();
    prefix.wait("the second end", || {
        prefix.out("pam").matches("close_session").count() == 2
    });
    prefix.wait("the keeper's end", || !alive(keepers[0]));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn who_is_refused_has_no_worker_and_holds_nobody_up() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    service(
        &prefix,
        &format!("{OPEN}account required pam_succeed_if.so quiet user != games\n"),
    );
    spool(&prefix, "games", "true");
    spool(&prefix, "nobody", "true");
    let daemon = start(&prefix);
    wait_lines(&prefix, "nobody", 1);
    daemon.wait_log("user games: PAM refuses a session: pam_acct_mgmt: ");
    daemon.wait_log("the worker of user games is refused");
    assert_eq!(worker(&prefix, "games").unwrap()["state"], "waiting");
    assert!(!prefix.out("pam").contains("games"));

    // Permitted since: a new look at the table suffices.
    service(&prefix, OPEN);
    spool(&prefix, "games", "false");
    wait_lines(&prefix, "games", 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn an_expired_account_is_refused_by_name() {
    if !is_root() {
        return;
    }
    let name = format!("incronpam{}", std::process::id() % 100_000);
    let add = ["-M", "-N", "-e", "2001-01-01", &name];
    assert!(
        Command::new("useradd")
            .args(add)
            .status()
            .unwrap()
            .success()
    );
    let prefix = Prefix::new();
    let unix = "auth required pam_unix.so\naccount required pam_unix.so\n\
                session required pam_permit.so\n";
    service(&prefix, unix);
    spool(&prefix, &name, "true");
    let daemon = start(&prefix);
    daemon.wait_log(&format!(
        "user {name}: PAM refuses a session: pam_acct_mgmt: User account has expired"
    ));
    assert_eq!(daemon.stop(), Some(0));
    let _ = Command::new("userdel").arg(&name).output();
}

#[test]
fn without_a_service_file_there_is_no_session() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    fs::create_dir(prefix.path("pam")).unwrap();
    spool(&prefix, "games", "true");
    let daemon = start(&prefix);
    let process = pid(&prefix, "games");
    assert_eq!(lines(&prefix, "games"), 1);
    assert!(children(Pid::from_raw(process)).is_empty());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_module_that_hangs_keeps_only_its_user_waiting() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::with("stop_grace = 0s");
    service(
        &prefix,
        "auth required pam_permit.so\naccount required pam_permit.so\n\
         session required pam_exec.so @P/hang\n",
    );
    let fifo = prefix.path("pam/fifo");
    mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let hang = format!("[ $PAM_USER != games ] || cat {}", fifo.display());
    script(prefix.path("pam/hang"), &hang);
    spool(&prefix, "games", "true");
    spool(&prefix, "nobody", "true");
    let daemon = spawn(&prefix);
    daemon.wait_log("loading table for user nobody");
    wait_lines(&prefix, "nobody", 1);
    let waiting = worker(&prefix, "games").unwrap();
    assert_eq!(waiting["state"], "starting");
    let held = Pid::from_raw(waiting["pid"].as_i64().unwrap() as i32);
    assert_eq!(daemon.stop(), Some(0));
    assert!(!alive(held));
    // Lets the module's script go, which waits for somebody to write.
    let open = fs::OpenOptions::new().read(true).write(true).open(&fifo);
    drop(open.unwrap());
}
