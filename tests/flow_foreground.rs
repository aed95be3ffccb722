//! `incrond run TABLE` shows what goes wrong, and of which line it is.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{INCROND, Prefix};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// `incrond run`, its messages in the prefix's log; ended with the test.
struct Foreground(Child);

impl Foreground {
    fn start(prefix: &Prefix, table: &str, words: &[&str]) -> Self {
        let file = prefix.path("mine.incron");
        fs::write(&file, prefix.fill(table)).unwrap();
        let log = fs::File::create(prefix.path("log")).unwrap();
        let child = Command::new(INCROND)
            .arg("run")
            .args(words)
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn wait_for(prefix: &Prefix, text: &str) {
    prefix.wait(&format!("{text:?}"), || prefix.log().contains(text));
}

const STREAM: &str = "@W IN_DELETE true\n@W IN_CREATE,run=stream echo hello; exit 3\n";

#[test]
fn a_stream_that_ends_is_told_with_its_line() {
    let prefix = Prefix::new();
    let _run = Foreground::start(&prefix, STREAM, &[]);
    wait_for(&prefix, "line 2 | hello");
    wait_for(
        &prefix,
        "line 2: the stream's command exited with 3; started again at once",
    );
    wait_for(
        &prefix,
        "line 2: the stream's command exited with 3; started again in 1s",
    );
}

#[test]
fn a_program_is_told_the_same() {
    let prefix = Prefix::new();
    let _run = Foreground::start(&prefix, STREAM, &["--json"]);
    wait_for(&prefix, "started again at once");
    let told: Vec<serde_json::Value> = prefix
        .log()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let has = |kind: &str, field: &str, text: &str| {
        told.iter().any(|value| {
            value["type"] == kind
                && value["line"] == 2
                && value[field]
                    .as_str()
                    .is_some_and(|said| said.contains(text))
        })
    };
    assert!(has("output", "text", "hello"), "{told:?}");
    assert!(has("notice", "message", "exited with 3"), "{told:?}");
}

/// When it ends, it says what had no run of its own: it can be asked no more.
#[test]
fn what_was_dropped_is_told_at_the_end() {
    let prefix = Prefix::new();
    let table = "@W IN_CREATE,busy=skip echo $# >> @O/seen; exec sleep 1000\n\
                 @W IN_DELETE echo $# >> @O/gone\n";
    let run = Foreground::start(&prefix, table, &[]);
    wait_for(&prefix, "ready: 2 lines watched");
    fs::write(prefix.watched().join("a"), "").unwrap();
    prefix.lines("seen", 1);
    for name in ["b", "c"] {
        fs::write(prefix.watched().join(name), "").unwrap();
    }
    // Told after the others.
    fs::remove_file(prefix.watched().join("a")).unwrap();
    prefix.lines("gone", 1);
    drop(run);
    let log = prefix.log();
    assert!(
        log.contains("line 1: 3 events: 2 dropped by busy=skip\n"),
        "{log}"
    );
    assert!(!log.contains("line 2: 1 events"), "{log}");
}

#[test]
fn a_mail_that_cannot_be_sent_is_told() {
    if Path::new("/usr/sbin/sendmail").exists() {
        return eprintln!("left out: there is a mailer, which would send it");
    }
    let prefix = Prefix::new();
    let table = "MAILTO=root\n@W IN_CREATE,output=mail echo found $#\n";
    let _run = Foreground::start(&prefix, table, &[]);
    wait_for(&prefix, "ready: 1 line watched");
    fs::write(prefix.watched().join("a"), "").unwrap();
    wait_for(
        &prefix,
        "output of line 2 of mine.incron is not mailed: cannot run /usr/sbin/sendmail",
    );
}
