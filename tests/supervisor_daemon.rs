//! One daemon a lock, in the background or not, and what its command line says.

mod common;
mod supervisor_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{INCROND, Prefix, alive};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

fn incrond(arguments: &[&str], conf: Option<&Path>) -> Output {
    let mut command = Command::new(INCROND);
    command.args(arguments).stdin(Stdio::null());
    if let Some(conf) = conf {
        command.arg("-f").arg(conf);
    }
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn there_is_one_and_it_can_be_told_to_end() {
    let prefix = Prefix::new();
    let conf = prefix.conf();
    let none = incrond(&["-k"], Some(&conf));
    assert_eq!(none.status.code(), Some(1));
    assert!(err(&none).contains("error - incrond probably not running"));

    // A stale file with the number of a living process: that of this test.
    fs::write(
        prefix.path("run/incrond.pid"),
        std::process::id().to_string(),
    )
    .unwrap();
    assert_eq!(incrond(&["-k"], Some(&conf)).status.code(), Some(1));
    let mut daemon = prefix.start();
    let text = fs::read_to_string(prefix.path("run/incrond.pid")).unwrap();
    assert_eq!(text, daemon.pid().to_string());
    let mode = fs::metadata(prefix.path("run/incrond.pid"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);

    for arguments in [&["-n"][..], &[]] {
        let second = incrond(arguments, Some(&conf));
        assert_eq!(second.status.code(), Some(1));
        assert!(err(&second).contains("another instance of incrond already running"));
    }
    let kill = incrond(&["--kill"], Some(&conf));
    assert_eq!(kill.status.code(), Some(0));
    assert!(err(&kill).contains("attempting to terminate a running instance of incrond..."));
    assert!(err(&kill).contains("the instance notified, going down"));
    prefix.wait("its end", || daemon.child.try_wait().unwrap().is_some());
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    assert!(prefix.log().contains("stopping service"));
    assert!(!prefix.path("run/incrond.pid").exists());
    assert!(!prefix.path("run/control.sock").exists());
}

#[test]
fn in_the_background_it_has_let_go_of_everything() {
    let prefix = Prefix::new();
    let started = incrond(&[], Some(&prefix.conf()));
    assert_eq!(started.status.code(), Some(0), "{}", err(&started));
    // Whoever started it may rely on the lock, and on the socket.
    let text = fs::read_to_string(prefix.path("run/incrond.pid")).unwrap();
    let pid = Pid::from_raw(text.parse().unwrap());
    assert!(prefix.path("run/control.sock").exists());
    let proc = format!("/proc/{pid}");
    for fd in 0..3 {
        assert_eq!(
            fs::read_link(format!("{proc}/fd/{fd}")).unwrap(),
            Path::new("/dev/null")
        );
    }
    assert_eq!(
        fs::read_link(format!("{proc}/cwd")).unwrap(),
        Path::new("/")
    );
    let session = nix::unistd::getsid(Some(pid)).unwrap();
    assert_ne!(session, nix::unistd::getsid(None).unwrap());
    assert_ne!(session, pid, "no leader: it can never get a terminal");
    assert_eq!(
        incrond(&["-k"], Some(&prefix.conf())).status.code(),
        Some(0)
    );
    prefix.wait("its end", || !alive(pid));
}

#[test]
fn a_start_that_fails_says_so_to_the_starter() {
    let prefix = Prefix::new();
    fs::remove_dir(prefix.path("run")).unwrap();
    let failed = incrond(&[], Some(&prefix.conf()));
    fs::create_dir(prefix.path("run")).unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        err(&failed).contains("cannot use the lock file"),
        "{}",
        err(&failed)
    );
}

#[test]
fn a_wrong_configuration_is_78_and_names_the_place() {
    let prefix = Prefix::new();
    let conf = prefix.path("bad.conf");
    fs::write(&conf, "max_job = 3\nstop_kill = maybe\nlog = paper\n").unwrap();
    let bad = incrond(&["-n"], Some(&conf));
    assert_eq!(bad.status.code(), Some(78));
    let text = err(&bad);
    assert!(
        text.contains("bad.conf:2:13: `stop_kill`: `maybe` must be yes or no"),
        "{text}"
    );
    assert!(text.contains("bad.conf:3:7: `log`"), "{text}");

    fs::write(&conf, "max_job = 3\n").unwrap();
    let warned = incrond(&["--check", "/dev/null"], Some(&conf));
    assert_eq!(warned.status.code(), Some(0));
    assert!(
        err(&warned).contains("did you mean `max_jobs`?"),
        "{}",
        err(&warned)
    );

    let missing = incrond(&["-n"], Some(&prefix.path("none.conf")));
    assert_eq!(missing.status.code(), Some(78));
    assert!(err(&missing).contains("cannot read configuration"));
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (arguments, expected) in [
        (&["--help"][..], "Usage: incrond"),
        (&["-h"], "Exit codes"),
        (&["-V"], env!("CARGO_PKG_VERSION")),
        (&["--version"], "incrond"),
        (&["-?"], "as cron runs them when time passes"),
        (&["--about"], "incrontab(1)"),
    ] {
        let shown = incrond(arguments, None);
        assert_eq!(shown.status.code(), Some(0), "{arguments:?}");
        assert!(
            out(&shown).contains(expected),
            "{arguments:?}: {}",
            out(&shown)
        );
        assert_eq!(err(&shown), "", "{arguments:?}");
    }
    let wrong = incrond(&["--nonsense"], None);
    assert_eq!((wrong.status.code(), out(&wrong).as_str()), (Some(2), ""));
    let run = incrond(&["run"], None);
    assert_eq!(run.status.code(), Some(2));
    assert!(err(&run).contains("incrond run my.table"));
    let worker = incrond(&["--worker", "0"], None);
    assert_eq!(worker.status.code(), Some(2));
}

#[test]
fn check_looks_at_all_tables_or_at_those_named() {
    let prefix = Prefix::new();
    let conf = prefix.conf();
    prefix.table("good", "@W IN_CREATE true\n");
    let good = incrond(&["--check"], Some(&conf));
    assert_eq!(good.status.code(), Some(0), "{}", out(&good));
    assert!(
        out(&good).contains("1 tables, 1 good lines, 0 errors"),
        "{}",
        out(&good)
    );

    let table = prefix.path("bad.table");
    fs::write(&table, "/tmp IN_CRAETE true\n").unwrap();
    for arguments in [
        &["--check", table.to_str().unwrap()][..],
        &["run", "--check", table.to_str().unwrap()],
    ] {
        let bad = incrond(arguments, Some(&conf));
        assert_eq!(bad.status.code(), Some(78), "{}", out(&bad));
        assert!(out(&bad).contains("bad.table:1:6"), "{}", out(&bad));
    }
    // What is named is explained; `run` serves no more than a user's table.
    fs::write(&table, "/tmp IN_CREATE,user=games echo $# | cat\n").unwrap();
    let system = incrond(&["--check", table.to_str().unwrap()], Some(&conf));
    assert_eq!(system.status.code(), Some(0), "{}", out(&system));
    for said in ["bad.table\nline 1\n", "watches  /tmp", "events   IN_CREATE"] {
        assert!(out(&system).contains(said), "{said}: {}", out(&system));
    }
    assert!(!out(&good).contains("watches"), "{}", out(&good));
    let run = incrond(&["run", "--check", table.to_str().unwrap()], Some(&conf));
    assert_eq!(run.status.code(), Some(78), "{}", out(&run));
    fs::write(&table, "/tmp IN_CREATE,recursive=false echo $#\n").unwrap();
    let run = incrond(&["run", "--check", table.to_str().unwrap()], Some(&conf));
    assert_eq!(run.status.code(), Some(0), "{}", out(&run));
    assert!(out(&run).contains("(no shell)"), "{}", out(&run));
    fs::write(prefix.path("spool/no-such-user"), "x").unwrap();
    let spool = incrond(&["--check"], Some(&conf));
    assert_eq!(spool.status.code(), Some(78));
    assert!(
        out(&spool).contains("there is no such user"),
        "{}",
        out(&spool)
    );
    let missing = incrond(&["--check", "/nonexistent"], Some(&conf));
    assert_eq!(missing.status.code(), Some(78));
}

#[test]
fn the_service_manager_hears_of_it() {
    let prefix = Prefix::new();
    prefix.table("a", "@W IN_CREATE true\n");
    let socket = UnixDatagram::bind(prefix.path("notify")).unwrap();
    socket.set_read_timeout(Some(common::LIMIT)).unwrap();
    let hear = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let log = fs::File::create(prefix.path("log")).unwrap();
    let mut child = Command::new(INCROND)
        .args(["-n", "-f"])
        .arg(prefix.conf())
        .env("NOTIFY_SOCKET", prefix.path("notify"))
        .stderr(log)
        .spawn()
        .unwrap();
    let ready = hear();
    assert!(
        ready.contains("READY=1") && ready.contains("STATUS="),
        "{ready}"
    );
    let pid = Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, Signal::SIGHUP).unwrap();
    let reloading = hear();
    assert!(
        reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(hear().contains("READY=1"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert!(hear().contains("STOPPING=1"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
