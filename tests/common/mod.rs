//! A daemon in a prefix of its own, and waiting for what it does.
//!
//! Every path is a key of incron.conf, so any number of these run beside each
//! other and beside an installed daemon. Nothing here waits for time: a
//! condition is looked at again whenever something changes in the prefix.

#![allow(dead_code)] // each test file uses a part of it

pub mod figures;
pub mod gate;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// No condition is waited for longer. Nothing here takes nearly as long on any machine;
/// only a hang does.
pub const LIMIT: Duration = Duration::from_secs(120);

/// What a daemon logs when it serves all of its lines.
const READY: &str = "ready to process filesystem events";

/// Our daemon, as built for this test.
pub const INCROND: &str = env!("CARGO_BIN_EXE_incrond");
/// Our editor.
pub const INCRONTAB: &str = env!("CARGO_BIN_EXE_incrontab");
/// Debian's daemon, where it is installed.
pub const PEER: &str = "/usr/sbin/incrond";

/// An empty file, or one that is emptied.
pub fn touch(path: impl AsRef<Path>) {
    fs::write(path, "").unwrap();
}

/// A directory tree with its own incron.conf.
pub struct Prefix {
    pub dir: TempDir,
    /// Lines added to incron.conf.
    extra: String,
}

impl Default for Prefix {
    fn default() -> Self {
        Self::new()
    }
}

impl Prefix {
    pub fn new() -> Self {
        Self::with("")
    }

    /// With these lines added to incron.conf; `@P` stands for the prefix.
    pub fn with(extra: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("incron-test.")
            .tempdir()
            .unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["tables", "spool", "run", "state", "watched", "out"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::set_permissions(dir.path().join("spool"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(dir.path().join("out"), fs::Permissions::from_mode(0o1777)).unwrap();
        let prefix = Self {
            dir,
            extra: extra.into(),
        };
        prefix.write_conf();
        prefix
    }

    fn write_conf(&self) {
        let root = self.path("");
        let root = root.to_str().unwrap().trim_end_matches('/');
        let conf = format!(
            "{}\nsystem_table_dir = {root}/tables\nuser_table_dir = {root}/spool\n\
             allowed_users = {root}/incron.allow\ndenied_users = {root}/incron.deny\n\
             lockfile_dir = {root}/run\nlockfile_name = incrond\n\
             control_socket = {root}/run/control.sock\nstate_dir = {root}/state\n\
             log = stderr\n",
            self.extra.replace("@P", root) // first: the first of two counts
        );
        fs::write(self.conf(), conf).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn conf(&self) -> PathBuf {
        self.path("incron.conf")
    }

    /// The watched directory.
    pub fn watched(&self) -> PathBuf {
        self.path("watched")
    }

    /// Writes a system table; `@W` and `@O` stand for the watched directory and
    /// the one for output.
    pub fn table(&self, name: &str, text: &str) {
        let text = self.fill(text);
        // Renamed into place: no daemon sees half of it.
        let new = self.path("run").join(format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path("tables").join(name)).unwrap();
    }

    pub fn fill(&self, text: &str) -> String {
        text.replace("@W", self.watched().to_str().unwrap())
            .replace("@O", self.path("out").to_str().unwrap())
    }

    /// Output file's text; empty where there is none.
    pub fn out(&self, name: &str) -> String {
        let bytes = fs::read(self.path("out").join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A script that appends its arguments, each in `<>`, as one line to `out/NAME`.
    pub fn hook(&self, name: &str) -> PathBuf {
        let path = self.path(&format!("hook-{name}"));
        let out = self.path("out").join(name);
        let text = format!(
            "#!/bin/sh\nl=\nfor a in \"$@\"; do l=\"$l<$a>\"; done\nprintf '%s\\n' \"$l\" >> {}\n",
            out.display()
        );
        script(&path, &text);
        path
    }

    /// Starts our daemon in the foreground and waits until it is ready, whatever those
    /// before it wrote in the log.
    pub fn start(&self) -> Daemon<'_> {
        let before = self.log().matches(READY).count();
        let daemon = self.spawn(INCROND);
        daemon.wait_log_times(READY, before + 1);
        daemon
    }

    /// Starts a daemon in the foreground, its messages in `log`.
    pub fn spawn(&self, program: &str) -> Daemon<'_> {
        self.spawn_by(Command::new(program))
    }

    /// As `spawn`, by a command that ends in the program's name.
    pub fn spawn_by(&self, mut command: Command) -> Daemon<'_> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let child = command
            .args(["-n", "-f"])
            .arg(self.conf())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon {
            prefix: self,
            child,
        }
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// Waits until `condition` holds, looking again whenever something changes
    /// in the prefix or what it writes to.
    pub fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
        for dir in ["", "out", "run", "state", "spool"] {
            inotify
                .add_watch(
                    &self.path(dir),
                    AddWatchFlags::IN_CREATE
                        | AddWatchFlags::IN_MODIFY
                        | AddWatchFlags::IN_MOVE
                        | AddWatchFlags::IN_DELETE,
                )
                .unwrap();
        }
        let end = Instant::now() + LIMIT;
        while !condition() {
            if Instant::now() > end {
                panic!("waited in vain for {what}\n--- log ---\n{}", self.log());
            }
            let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
            // Some conditions (a process is gone) change nothing in a directory.
            let _ = poll(&mut fds, PollTimeout::from(25u8));
            while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
    }

    /// Does `act` while these processes stand still: they learn of all of it at once,
    /// however long it takes.
    pub fn hold(&self, pids: &[Pid], act: impl FnOnce()) {
        for pid in pids {
            kill(*pid, Signal::SIGSTOP).unwrap();
        }
        self.wait("processes that stand still", || {
            pids.iter().all(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.rsplit(") ")
                    .next()
                    .is_some_and(|rest| rest.starts_with('T'))
            })
        });
        act();
        for pid in pids {
            kill(*pid, Signal::SIGCONT).unwrap();
        }
    }

    /// Waits until an output file has `count` lines; they.
    pub fn lines(&self, name: &str, count: usize) -> Vec<String> {
        let what = format!("{count} lines in {name}");
        self.wait(&what, || self.out(name).lines().count() >= count);
        self.out(name).lines().map(str::to_owned).collect()
    }
}

/// Writes an executable script, by a process of its own: had we ever had it open
/// for writing, a command started meanwhile by another thread's test could hold
/// the descriptor, and executing the script would fail with ETXTBSY.
pub fn script(path: &Path, text: &str) {
    use std::io::Write;
    let mut child = Command::new("sh")
        .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

/// A running daemon; ended with its prefix.
pub struct Daemon<'a> {
    prefix: &'a Prefix,
    pub child: Child,
}

impl Daemon<'_> {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub fn wait_log(&self, text: &str) {
        self.wait_log_times(text, 1);
    }

    /// Waits until the log has `text` at least `count` times.
    pub fn wait_log_times(&self, text: &str, count: usize) {
        let what = format!("{count} x {text:?} in the log");
        self.prefix
            .wait(&what, || self.prefix.log().matches(text).count() >= count);
    }

    /// Does `act` while the workers stand still: they learn of all of it at once.
    pub fn at_once(&self, act: impl FnOnce()) {
        self.prefix.hold(&self.workers(), act);
    }

    /// Pids of the workers.
    pub fn workers(&self) -> Vec<Pid> {
        children(self.pid())
    }

    /// Waits until this daemon, ours or Debian's, serves all of its table. Debian's does
    /// not say when: it watches `path` when it has begun with it, and waits for events
    /// when it is through.
    pub fn wait_serving(&self, program: &str, path: &Path) {
        if program == INCROND {
            return self.wait_log(READY);
        }
        self.wait_watching(path);
        let syscall = format!("/proc/{}/syscall", self.pid());
        #[cfg(target_arch = "x86_64")]
        let polls = [libc::SYS_poll, libc::SYS_ppoll];
        #[cfg(not(target_arch = "x86_64"))]
        let polls = [libc::SYS_ppoll];
        self.prefix.wait("the end of loading", || {
            let at = fs::read_to_string(&syscall).unwrap_or_default();
            let number = at.split_whitespace().next().and_then(|n| n.parse().ok());
            // Not every kernel says it.
            at.is_empty() || number.is_some_and(|n| polls.contains(&n))
        });
    }

    /// Waits until the daemon's inotify instances watch `path`: works for any daemon.
    pub fn wait_watching(&self, path: &Path) {
        let inode = format!("ino:{:x} ", fs::metadata(path).unwrap().ino());
        self.prefix
            .wait(&format!("a watch on {}", path.display()), || {
                let mut all = vec![self.pid()];
                all.extend(self.workers());
                all.iter().any(|pid| {
                    let dir = format!("/proc/{pid}/fdinfo");
                    let Ok(entries) = fs::read_dir(dir) else {
                        return false;
                    };
                    entries.flatten().any(|entry| {
                        let text = fs::read_to_string(entry.path()).unwrap_or_default();
                        text.lines()
                            .any(|line| line.starts_with("inotify") && line.contains(&inode))
                    })
                })
            });
    }

    /// Ends it by SIGTERM; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        let mut code = None;
        self.prefix.wait("the daemon's end", || {
            match self.child.try_wait().unwrap() {
                Some(status) => {
                    code = status.code();
                    true
                }
                None => false,
            }
        });
        code
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill(self.pid(), Signal::SIGTERM);
            let end = Instant::now() + Duration::from_secs(15);
            self.prefix.wait("the daemon's end", || {
                if Instant::now() > end {
                    let _ = self.child.kill();
                }
                self.child.try_wait().is_ok_and(|status| status.is_some())
            });
        }
    }
}

/// Direct children of a process.
pub fn children(pid: Pid) -> Vec<Pid> {
    let mut all = Vec::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return all;
    };
    for task in tasks.flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .map(Pid::from_raw),
        );
    }
    all
}

/// True while the process exists and is no zombie.
pub fn alive(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|text| {
        !text
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
