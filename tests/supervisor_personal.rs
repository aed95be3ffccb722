//! `incrond --user`: the whole for one user, without root.

mod common;
mod supervisor_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{INCROND, Prefix};
use incron::control::{Answer, Client, Request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use supervisor_support::{ask_at, install, reason, remove};

const ONE: &str = "@W IN_CREATE true\n";

/// The daemon of one user; ended with the test.
struct Personal<'a> {
    prefix: &'a Prefix,
    child: Child,
}

impl<'a> Personal<'a> {
    fn start(prefix: &'a Prefix) -> Self {
        fs::create_dir_all(prefix.path("config/incron")).unwrap();
        fs::write(prefix.path("config/incron/incron.conf"), "log = stderr\n").unwrap();
        let child = Command::new(INCROND)
            .args(["--user", "-n"])
            .env("XDG_CONFIG_HOME", prefix.path("config"))
            .env("XDG_STATE_HOME", prefix.path("state"))
            .env("XDG_RUNTIME_DIR", prefix.path("run"))
            .stdin(Stdio::null())
            .stderr(fs::File::create(prefix.path("log")).unwrap())
            .spawn()
            .unwrap();
        let personal = Self { prefix, child };
        let ready = "ready to process filesystem events";
        prefix.wait("readiness", || prefix.log().contains(ready));
        personal
    }

    fn socket(&self) -> PathBuf {
        self.prefix.path("run/incron/control.sock")
    }

    fn lines(&self) -> u64 {
        let Answer::Status { workers, .. } = ask_at(&self.socket(), &Request::Status) else {
            panic!("no status")
        };
        assert!(workers.len() <= 1, "one worker");
        workers
            .iter()
            .map(|worker| worker["lines"].as_u64().unwrap_or(0))
            .sum()
    }
}

impl Drop for Personal<'_> {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

#[test]
fn one_users_tables_are_served_by_one_worker() {
    let prefix = Prefix::new();
    let tables = prefix.path("config/incron");
    fs::create_dir_all(&tables).unwrap();
    fs::write(tables.join("a.incron"), prefix.fill(ONE)).unwrap();
    fs::write(tables.join("notes.txt"), prefix.fill(ONE)).unwrap();
    let personal = Personal::start(&prefix);
    assert_eq!(personal.lines(), 1);
    fs::write(tables.join("b.incron"), prefix.fill(ONE)).unwrap();
    prefix.wait("two lines", || personal.lines() == 2);
    fs::remove_file(tables.join("a.incron")).unwrap();
    prefix.wait("one line", || personal.lines() == 1);

    let user = User::from_uid(geteuid()).unwrap().unwrap().name;
    let done = ask_at(
        &personal.socket(),
        &install(&user, prefix.fill(ONE).as_bytes()),
    );
    assert_eq!(
        done,
        Answer::Done {
            lines: Some(1),
            errors: Some(0)
        }
    );
    assert_eq!(personal.lines(), 2);
    // One table goes, the worker stays; the answer comes when it has dropped it.
    let gone = ask_at(&personal.socket(), &remove(&user));
    assert!(matches!(gone, Answer::Done { .. }), "{gone:?}");
    assert_eq!(personal.lines(), 1);
    let other = ask_at(&personal.socket(), &install("daemon", b""));
    assert_eq!(reason(&other), "permission");

    let mode = |path: &str| {
        fs::metadata(prefix.path(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("run/incron"), 0o700);
    assert_eq!(mode("run/incron/control.sock"), 0o600);
    assert!(prefix.path("run/incron/incrond.pid").exists());
    let socket = personal.socket();
    drop(personal);
    assert!(Client::connect(&socket).is_err());
}

#[test]
fn without_a_runtime_directory_it_says_what_is_missing() {
    let output = Command::new(INCROND)
        .args(["--user", "-n"])
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("XDG_RUNTIME_DIR is not set"), "{text}");
}
