//! What the tests of the sources share: a private directory, a source,
//! and events as short text.
//!
//! inotify queues an event before the system call that causes it returns, so a
//! test that works in one thread needs no waiting: it reads until the queue is
//! empty.
//!
//! A source is proved by the model: `Kit::serving(Source::Fanotify)` makes every line ask
//! for that source, and `WATCH_MODEL_SOURCE=fanotify cargo test --test watch_model` plays
//! all games with it.
#![allow(dead_code)]

pub mod apart;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use incron::event::{Event, LineId, Origin};
use incron::table::{Mask, PathSpec, Source as Choice};
use incron::time::Clock;
use incron::watch::{Problem, Report, Request, Source, Sources};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub struct Kit {
    pub source: Sources,
    /// What lines ask for: `source=`.
    pub choice: Choice,
    pub clock: Clock,
    pub problems: Vec<Problem>,
    dir: tempfile::TempDir,
    next: u32,
    _alone: apart::Share,
}

/// A kit whose lines are served by fanotify. None, and a word about it, where this
/// process may not use it.
pub fn kit_or_skip() -> Option<Kit> {
    let gate = incron::watch::fanotify::Gate::new().unwrap();
    match incron::watch::Fanotify::new(gate, Default::default()) {
        Ok(_) => Some(Kit::serving(Choice::Fanotify)),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

/// A file system of a test's own, where nobody else makes noise.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    pub fn new(path: PathBuf) -> Self {
        let none = None::<&str>;
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        Self(path)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// A request with the defaults of the tables.
pub fn request(line: u32, path: impl Into<OsString>, mask: Mask) -> Request {
    Request {
        line: LineId(line),
        path: PathSpec {
            written: path.into(),
            pattern: false,
        },
        mask,
        recursive: true,
        depth: None,
        dotdirs: false,
        exclude: Vec::new(),
        poll: None,
        source: Choice::Auto,
        who: false,
    }
}

impl Kit {
    pub fn new() -> Self {
        Self::serving(Choice::Auto)
    }

    /// A kit whose lines are served by `choice`.
    pub fn serving(choice: Choice) -> Self {
        let alone = apart::Share::new();
        let dir = tempfile::tempdir().unwrap();
        Self {
            source: Sources::new().unwrap(),
            choice,
            clock: Clock::new(),
            problems: Vec::new(),
            dir,
            next: 1,
            _alone: alone,
        }
    }

    /// A path in the private directory.
    pub fn path(&self, rest: &str) -> PathBuf {
        let mut path = self.dir.path().as_os_str().to_owned().into_vec();
        path.push(b'/');
        path.extend_from_slice(rest.as_bytes());
        PathBuf::from(OsString::from_vec(path))
    }

    pub fn mkdir(&self, rest: &str) {
        fs::create_dir_all(self.path(rest)).unwrap();
    }

    pub fn write(&self, rest: &str) {
        fs::write(self.path(rest), b"x").unwrap();
    }

    pub fn mv(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// A file without a name, made in `dir`. None, and a word about it, where the file
    /// system has none.
    pub fn nameless(&self, dir: &str) -> Option<fs::File> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = fs::File::options();
        let options = options.write(true).custom_flags(libc::O_TMPFILE);
        let made = options.open(self.path(dir)).ok();
        if made.is_none() {
            eprintln!("left out: this file system has no O_TMPFILE");
        }
        made
    }

    /// Gives a file its name by linkat(2).
    pub fn give_name(&self, file: &fs::File, rest: &str) {
        use std::os::fd::AsRawFd;
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        let follow = nix::unistd::LinkatFlags::AT_SYMLINK_FOLLOW;
        let here = nix::fcntl::AT_FDCWD;
        nix::unistd::linkat(here, own.as_str(), here, &self.path(rest), follow).unwrap();
    }

    pub fn exchange(&self, one: &str, other: &str) {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        let (one, other) = (self.path(one), self.path(other));
        renameat2(
            AT_FDCWD,
            &one,
            AT_FDCWD,
            &other,
            RenameFlags::RENAME_EXCHANGE,
        )
        .unwrap();
    }

    pub fn rm(&self, rest: &str) {
        let path = self.path(rest);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
        .unwrap();
    }

    pub fn link(&self, target: &str, rest: &str) {
        std::os::unix::fs::symlink(target, self.path(rest)).unwrap();
    }

    /// Adds a recursive line; gives its number.
    pub fn line(&mut self, rest: &str, mask: Mask) -> u32 {
        self.line_with(rest, mask, |_| ())
    }

    pub fn line_with(&mut self, rest: &str, mask: Mask, change: impl FnOnce(&mut Request)) -> u32 {
        let line = self.next;
        self.next += 1;
        let mut request = request(line, self.path(rest), mask);
        request.source = self.choice;
        change(&mut request);
        let mut out = Vec::new();
        self.source.add(request, &mut out);
        self.keep_problems(out);
        line
    }

    pub fn remove(&mut self, line: u32) {
        self.source.remove(LineId(line));
    }

    fn keep_problems(&mut self, out: Vec<Report>) -> Vec<(u32, Event)> {
        let mut events = Vec::new();
        for report in out {
            match report {
                Report::Event(lines, event) => {
                    events.extend(lines.into_iter().map(|line| (line.0, (*event).clone())));
                }
                Report::Problem(_, problem) => self.problems.push(problem),
            }
        }
        events
    }

    /// True when the source has something to do.
    pub fn readable(&self) -> bool {
        let of = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let source = &self.source;
        let mut fds = [
            of(source.fd()),
            of(source.fanotify()),
            of(source.waker().fd()),
        ];
        source.fanotify_waits() || poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    }

    /// One read.
    pub fn read(&mut self) -> Vec<(u32, Event)> {
        let mut out = Vec::new();
        self.source.read(self.clock.now(), &mut out).unwrap();
        let now = self.clock.now();
        self.source.read_fanotify(now, &mut out).unwrap();
        self.source.woken(self.clock.now(), &mut out);
        self.keep_problems(out)
    }

    /// Serves a change of the table of mounts, if there was one.
    pub fn mounts_changed(&mut self) -> Vec<(u32, Event)> {
        let Some(fd) = self.source.mounts() else {
            return Vec::new();
        };
        let mut fds = [PollFd::new(fd, PollFlags::POLLPRI)];
        if poll(&mut fds, PollTimeout::ZERO).unwrap() == 0 {
            return Vec::new();
        }
        let mut out = Vec::new();
        while self.source.mounts_changed(self.clock.now(), &mut out) {}
        self.keep_problems(out)
    }

    /// Reads until nothing is left.
    pub fn events(&mut self) -> Vec<(u32, Event)> {
        let mut all = Vec::new();
        while self.readable() {
            all.extend(self.read());
        }
        all
    }

    /// All events as text, "CREATE,ISDIR a/b|name (scan)", relative to the
    /// private directory.
    pub fn told(&mut self) -> Vec<String> {
        let events = self.events();
        events.iter().map(|(_, e)| self.text(e)).collect()
    }

    /// As `told`, of one line.
    pub fn told_to(&mut self, line: u32) -> Vec<String> {
        let events = self.events();
        events
            .iter()
            .filter(|(l, _)| *l == line)
            .map(|(_, e)| self.text(e))
            .collect()
    }

    pub fn relative(&self, path: &Path) -> String {
        let base = self.path("");
        let rest = path
            .as_os_str()
            .as_bytes()
            .strip_prefix(base.as_os_str().as_bytes());
        String::from_utf8_lossy(rest.unwrap_or(path.as_os_str().as_bytes())).into_owned()
    }

    pub fn text(&self, e: &Event) -> String {
        let origin = match e.origin {
            Origin::Kernel => "",
            Origin::Scan => " (scan)",
            Origin::Rescan => " (rescan)",
            _ => " (?)",
        };
        let old = e
            .old_path
            .as_ref()
            .map(|p| format!(" <- {}", self.relative(p)))
            .unwrap_or_default();
        let watch = self.relative(Path::new(&e.watch));
        format!(
            "{} {watch}|{}{old}{origin}",
            names(e.mask),
            e.name.to_string_lossy()
        )
    }
}

/// The names of the bits of a mask, without `IN_`.
pub fn names(mask: Mask) -> String {
    const ALL: [(Mask, &str); 15] = [
        (Mask::ACCESS, "ACCESS"),
        (Mask::MODIFY, "MODIFY"),
        (Mask::ATTRIB, "ATTRIB"),
        (Mask::CLOSE_WRITE, "CLOSE_WRITE"),
        (Mask::CLOSE_NOWRITE, "CLOSE_NOWRITE"),
        (Mask::OPEN, "OPEN"),
        (Mask::MOVED_FROM, "MOVED_FROM"),
        (Mask::MOVED_TO, "MOVED_TO"),
        (Mask::CREATE, "CREATE"),
        (Mask::DELETE, "DELETE"),
        (Mask::DELETE_SELF, "DELETE_SELF"),
        (Mask::MOVE_SELF, "MOVE_SELF"),
        (Mask::UNMOUNT, "UNMOUNT"),
        (Mask::COMPLETE, "COMPLETE"),
        (Mask::ISDIR, "ISDIR"),
    ];
    let set = ALL.iter().filter(|(bit, _)| mask.intersects(*bit));
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}

/// The lock of the limits of queues, which are the machine's.
fn queue_limits() -> Option<fs::File> {
    fs::File::create(std::env::temp_dir().join("incron-test-queue.lock")).ok()
}

/// What `make` makes, where nobody changes the lengths of queues meanwhile: for a test that
/// counts, beside others that have tiny ones.
pub fn with_usual_queue<T>(make: impl FnOnce() -> T) -> T {
    let limits = queue_limits();
    let _shared = limits.as_ref().map(fs::File::lock_shared);
    make()
}

/// What `make` makes, where the kernel's queues hold `length` events. The limits are
/// read when an instance is made and are the machine's: they are changed for that
/// moment only. None without the right to change them.
pub fn with_queue<T>(length: u32, make: impl FnOnce() -> T) -> Option<T> {
    const LIMITS: [&str; 2] = [
        "/proc/sys/fs/inotify/max_queued_events",
        "/proc/sys/fs/fanotify/max_queued_events",
    ];
    let lock = queue_limits()?;
    lock.lock().ok()?;
    let mut before = Vec::new();
    for limit in LIMITS {
        let Ok(was) = fs::read_to_string(limit) else {
            continue; // a kernel without it
        };
        if fs::write(limit, length.to_string()).is_ok() {
            before.push((limit, was));
        }
    }
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(make));
    let changed = before.len();
    for (limit, was) in before {
        fs::write(limit, was.trim()).unwrap();
    }
    made.ok().filter(|_| changed > 0)
}

impl Kit {
    /// A kit whose kernel queue holds `length` events; see [`with_queue`].
    pub fn with_queue(length: u32) -> Option<Self> {
        with_queue(length, Kit::new)
    }

    /// Lets the clock of the file system advance, so that what follows has later
    /// stamps than what came before.
    pub fn tick(&self) {
        use nix::time::{ClockId, clock_gettime};
        let now = clock_gettime(ClockId::CLOCK_REALTIME).unwrap();
        while clock_gettime(ClockId::CLOCK_REALTIME_COARSE).unwrap() <= now {
            std::hint::spin_loop();
        }
    }
}

/// True in a process that has mounts of its own. Elsewhere the test `name` is run in
/// such a process, and must succeed there; without the right to that, it is left out.
pub fn in_own_mounts(name: &str) -> bool {
    const MARK: &str = "INCRON_TEST_OWN_MOUNTS";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("left out: only root has mounts of its own");
        return false;
    }
    let mut command = std::process::Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(MARK, "1");
    assert!(
        apart::status(&mut command).unwrap().success(),
        "{name}, with mounts of its own"
    );
    false
}
