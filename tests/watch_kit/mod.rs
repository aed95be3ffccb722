//! What the tests of the inotify source share: a private directory, a source,
//! and events as short text.
//!
//! inotify queues an event before the system call that causes it returns, so a
//! test that works in one thread needs no waiting: it reads until the queue is
//! empty.
#![allow(dead_code)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use incron::event::{Event, LineId, Origin};
use incron::table::{Mask, PathSpec};
use incron::time::Clock;
use incron::watch::{Inotify, Problem, Report, Request, Source};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub struct Kit {
    pub source: Inotify,
    pub clock: Clock,
    pub problems: Vec<Problem>,
    dir: tempfile::TempDir,
    next: u32,
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
        source: incron::table::Source::Auto,
        who: false,
    }
}

impl Kit {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            source: Inotify::new().unwrap(),
            clock: Clock::new(),
            problems: Vec::new(),
            dir,
            next: 1,
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
                Report::Event(line, event) => events.push((line.0, (*event).clone())),
                Report::Problem(_, problem) => self.problems.push(problem),
            }
        }
        events
    }

    /// True when the source's descriptor is readable.
    pub fn readable(&self) -> bool {
        let mut fds = [PollFd::new(self.source.fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    }

    /// One read.
    pub fn read(&mut self) -> Vec<(u32, Event)> {
        let mut out = Vec::new();
        self.source.read(self.clock.now(), &mut out).unwrap();
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

impl Kit {
    /// A kit whose kernel queue holds `length` events. The limit is read when an
    /// instance is made and is the machine's: it is changed for that moment only.
    /// None without the right to change it.
    pub fn with_queue(length: u32) -> Option<Self> {
        const LIMIT: &str = "/proc/sys/fs/inotify/max_queued_events";
        let lock = fs::File::create(std::env::temp_dir().join("incron-test-queue.lock")).ok()?;
        lock.lock().ok()?;
        let before = fs::read_to_string(LIMIT).ok()?;
        fs::write(LIMIT, length.to_string()).ok()?;
        let kit = std::panic::catch_unwind(Kit::new);
        fs::write(LIMIT, before.trim()).unwrap();
        kit.ok()
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
