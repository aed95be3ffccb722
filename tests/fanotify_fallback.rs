//! Where fanotify may not be used, inotify serves, and the log says why.

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use common::{INCROND, LIMIT, is_root};

/// Runs a table under `setpriv` and reads its log until `text` stands in it.
struct Foreground {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Foreground {
    fn new(table: &std::path::Path, privileges: &[&str]) -> Self {
        let mut child = Command::new("setpriv")
            .args(privileges)
            .args([INCROND, "run"])
            .arg(table)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = child.stderr.take().unwrap();
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let _ = tell.send(line.unwrap());
            }
        });
        let seen = Vec::new();
        Self { child, lines, seen }
    }

    fn wait_for(&mut self, text: &str) {
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            let found = line.contains(text);
            self.seen.push(line);
            if found {
                return;
            }
        }
        panic!("no {text:?} in {:#?}", self.seen);
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory for anybody, with a table that watches `in` there.
fn place(options: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("in")).unwrap();
    let (at, out) = (dir.path().join("in"), dir.path().join("in/.out"));
    let line = format!(
        "{} IN_CLOSE_WRITE,IN_MOVED_TO,exclude=.out,{options} echo run $# >> {}\n",
        at.display(),
        out.display()
    );
    fs::write(dir.path().join("table"), line).unwrap();
    dir
}

fn falls_back(privileges: &[&str], why: &str) {
    let dir = place("source=fanotify");
    let mut daemon = Foreground::new(&dir.path().join("table"), privileges);
    daemon.wait_for(&format!("is served by inotify: fanotify cannot: {why}"));
    daemon.wait_for("ready");
    fs::write(dir.path().join("in/f"), "x").unwrap();
    daemon.wait_for("run 1: exited with 0");
}

#[test]
fn without_the_capability_inotify_serves_and_the_log_says_so() {
    if !is_root() {
        return eprintln!("skipped: not root");
    }
    let less = ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    falls_back(&less, "the capability CAP_SYS_ADMIN is missing");
    let less = [
        "--bounding-set=-dac_read_search",
        "--inh-caps=-dac_read_search",
    ];
    falls_back(&less, "the capability CAP_DAC_READ_SEARCH is missing");
}

#[test]
fn with_it_the_same_table_is_served_by_fanotify() {
    if !is_root() {
        return eprintln!("skipped: not root");
    }
    let dir = place("source=fanotify");
    let mut daemon = Foreground::new(&dir.path().join("table"), &["--no-new-privs"]);
    daemon.wait_for("ready");
    fs::create_dir_all(dir.path().join("in/a/b")).unwrap();
    fs::write(dir.path().join("in/a/b/f"), "x").unwrap();
    daemon.wait_for("run 1: exited with 0");
    let told = daemon.seen.iter().any(|l| l.contains("inotify"));
    assert!(!told, "{:#?}", daemon.seen);
}

#[test]
fn a_file_system_without_handles_is_named() {
    let mut source = incron::watch::Sources::new().unwrap();
    let gate = incron::watch::fanotify::Gate::new().unwrap();
    if let Err(why) = incron::watch::Fanotify::new(gate, Default::default()) {
        return eprintln!("skipped: {why}");
    }
    let mut out = Vec::new();
    let request = incron::watch::Request {
        line: incron::event::LineId(1),
        path: incron::table::PathSpec {
            written: "/proc/sys/kernel".into(),
            pattern: false,
        },
        mask: incron::table::Mask::MODIFY,
        recursive: false,
        depth: None,
        dotdirs: false,
        exclude: Vec::new(),
        poll: None,
        source: incron::table::Source::Fanotify,
        who: true,
    };
    incron::watch::Source::add(&mut source, request, &mut out);
    let [incron::watch::Report::Problem(_, problem)] = out.as_slice() else {
        panic!("{out:?}");
    };
    assert!(problem.serious);
    assert_eq!(
        problem.message,
        "/proc/sys/kernel is served by inotify, without who did it: fanotify cannot: \
         a file system of type proc cannot be watched as a whole"
    );
    let covered = source.coverage(incron::event::LineId(1));
    assert_eq!(covered, Some(incron::watch::Coverage::Served));
}
