//! Every owner has a worker: it is its owner, it comes back, it goes when its
//! table, its account or its permission goes. Most of this needs root.

mod common;
mod supervisor_support;

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::process::Command;

use common::{Prefix, alive, is_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use supervisor_support::{lines, pid, wait_lines, worker};

const ONE: &str = "@W IN_CREATE true\n";

fn spool(prefix: &Prefix, user: &str) {
    fs::write(prefix.path("spool").join(user), prefix.fill(ONE)).unwrap();
}

fn status_field(pid: i32, name: &str) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap()
        .to_owned();
    line.split_whitespace()
        .skip(1)
        .map(|word| word.parse().unwrap())
        .collect()
}

#[test]
fn a_worker_that_dies_comes_back_and_the_others_never_notice() {
    let prefix = Prefix::new();
    prefix.table("a", ONE);
    if is_root() {
        spool(&prefix, "nobody");
    }
    let daemon = prefix.start();
    let first = pid(&prefix, "system");
    let other = is_root().then(|| pid(&prefix, "nobody"));
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    prefix.wait("another process", || {
        worker(&prefix, "system").is_some_and(|worker| worker["restarts"] == 1)
    });
    assert_ne!(pid(&prefix, "system"), first);
    wait_lines(&prefix, "system", 1);
    daemon.wait_log("it is started again now");
    assert_eq!(is_root().then(|| pid(&prefix, "nobody")), other);

    // The second death is answered after a pause.
    kill(Pid::from_raw(pid(&prefix, "system")), Signal::SIGKILL).unwrap();
    daemon.wait_log("it is started again in 1s");
    wait_lines(&prefix, "system", 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn workers_end_with_a_supervisor_that_is_killed() {
    let prefix = Prefix::new();
    prefix.table("a", ONE);
    let mut daemon = prefix.start();
    let process = Pid::from_raw(pid(&prefix, "system"));
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    prefix.wait("the worker's end", || !alive(process));
    // Its lock went with it, its socket does not block the next.
    let next = prefix.spawn(common::INCROND);
    next.wait_log_times("ready to process filesystem events", 2);
    assert_eq!(next.stop(), Some(0));
}

#[test]
fn a_users_worker_is_the_user_and_nothing_else() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    spool(&prefix, "games");
    let daemon = prefix.start();
    let process = pid(&prefix, "games");
    let games = User::from_name("games").unwrap().unwrap();
    assert_eq!(status_field(process, "Uid:"), [games.uid.as_raw(); 4]);
    assert_eq!(status_field(process, "Gid:"), [games.gid.as_raw(); 4]);
    assert_eq!(status_field(process, "Groups:"), [games.gid.as_raw()]);
    assert_eq!(status_field(process, "Umask:"), [22]);
    assert_eq!(status_field(process, "NoNewPrivs:"), [0]);
    let environ = fs::read(format!("/proc/{process}/environ")).unwrap();
    let mut names: Vec<&[u8]> = environ
        .split(|&b| b == 0)
        .filter_map(|pair| pair.split(|&b| b == b'=').next())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    let expected = ["HOME", "LOGNAME", "PATH", "SHELL", "USER", "USERNAME"];
    assert_eq!(names, expected.map(str::as_bytes));
    assert_eq!(
        nix::unistd::getsid(Some(Pid::from_raw(process)))
            .unwrap()
            .as_raw(),
        process
    );
    assert_eq!(
        fs::read_to_string(format!("/proc/{process}/comm")).unwrap(),
        "incrond\n"
    );
    // Of the supervisor's descriptors, it has none: neither lock nor socket.
    for entry in fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .flatten()
    {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        assert!(
            !target.starts_with(prefix.path("run")),
            "{}",
            target.display()
        );
        assert!(
            !target.starts_with(prefix.path("spool")),
            "{}",
            target.display()
        );
    }
    assert_eq!(daemon.stop(), Some(0));
    assert!(!alive(Pid::from_raw(process)));
}

#[test]
fn allow_and_deny_take_effect_when_they_change() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    spool(&prefix, "games");
    spool(&prefix, "nobody");
    let daemon = prefix.start();
    pid(&prefix, "games");
    fs::write(prefix.path("incron.deny"), "nobody\n").unwrap();
    prefix.wait("nobody's end", || worker(&prefix, "nobody").is_none());
    daemon.wait_log("user 'nobody' is not allowed to use incron: listed in");
    assert_eq!(lines(&prefix, "games"), 1);
    fs::write(prefix.path("incron.allow"), "nobody\n").unwrap();
    prefix.wait("games' end", || worker(&prefix, "games").is_none());
    wait_lines(&prefix, "nobody", 1);
    fs::remove_file(prefix.path("incron.allow")).unwrap();
    fs::remove_file(prefix.path("incron.deny")).unwrap();
    wait_lines(&prefix, "games", 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn spool_files_that_are_not_the_users_are_refused() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    let dir = prefix.path("spool");
    fs::write(prefix.path("secret"), prefix.fill(ONE)).unwrap();
    symlink(prefix.path("secret"), dir.join("daemon")).unwrap();
    fs::hard_link(prefix.path("secret"), dir.join("bin")).unwrap();
    spool(&prefix, "sys");
    chown(dir.join("sys"), Some(65534), None).unwrap();
    spool(&prefix, "games");
    chown(dir.join("games"), Some(5), None).unwrap();
    spool(&prefix, "no-such-account");
    nix::unistd::mkfifo(&dir.join("man"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let daemon = prefix.start();
    let log = prefix.log();
    for reason in [
        "daemon: it is a symbolic link",
        "bin: it has 2 names",
        "sys: it belongs to uid 65534",
        "man: it is a FIFO",
        "table for invalid user no-such-account found (ignored)",
        "loading table for user games",
    ] {
        assert!(log.contains(reason), "{reason}\n{log}");
    }
    assert_eq!(lines(&prefix, "games"), 1);
    assert_eq!(daemon.workers().len(), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_worker_that_is_held_up_holds_nobody_else_up() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::with("stop_grace = 1s");
    prefix.table("a", ONE);
    spool(&prefix, "nobody");
    let daemon = prefix.start();
    let held = Pid::from_raw(pid(&prefix, "nobody"));
    kill(held, Signal::SIGSTOP).unwrap();
    for _ in 0..200 {
        spool(&prefix, "nobody");
    }
    prefix.table("b", ONE);
    prefix.table("c", ONE);
    wait_lines(&prefix, "system", 3);
    // Told to stop, it is killed when its time is over.
    assert_eq!(daemon.stop(), Some(0));
    assert!(!alive(held));
    assert!(
        prefix.log().contains("it does not stop"),
        "{}",
        prefix.log()
    );
}

/// An account for one test; goes with it.
struct TestUser(String);

impl TestUser {
    fn new() -> Self {
        let name = format!("incrontest{}", std::process::id() % 100_000);
        let status = Command::new("useradd")
            .args(["-M", "-N", &name])
            .status()
            .unwrap();
        assert!(status.success());
        Self(name)
    }
}

impl Drop for TestUser {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["-f", &self.0]).output();
    }
}

#[test]
fn an_account_that_goes_takes_its_worker_along() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    let user = TestUser::new();
    spool(&prefix, &user.0);
    let daemon = prefix.start();
    let process = Pid::from_raw(pid(&prefix, &user.0));
    let name = user.0.clone();
    drop(user);
    prefix.wait("the worker's end", || !alive(process));
    assert!(worker(&prefix, &name).is_none());
    daemon.wait_log(&format!("table for invalid user {name} found (ignored)"));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_was_open_when_the_daemon_started_is_not_the_users() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    fs::write(prefix.path("secret"), "root's").unwrap();
    let secret = fs::File::open(prefix.path("secret")).unwrap();
    // A copy that is not close-on-exec, as a shell's `77<secret` leaves behind.
    let _left = nix::fcntl::fcntl(&secret, nix::fcntl::FcntlArg::F_DUPFD(77)).unwrap();
    spool(&prefix, "games");
    let daemon = prefix.start();
    let open = |pid: i32| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        links.filter(|link| *link == prefix.path("secret")).count()
    };
    assert_eq!(open(daemon.pid().as_raw()), 1, "nothing was tested");
    assert_eq!(open(pid(&prefix, "games")), 0);
}
