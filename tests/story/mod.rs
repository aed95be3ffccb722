//! What tests that act out a story share: a daemon with programs of its own.
//!
//! Programs that cannot be had on every machine (nginx, a mailer, a virus
//! scanner) are stand-ins: scripts on a private PATH that record what they were
//! given. A burst is exact because the workers stand still while it happens.

#![allow(dead_code)] // each test file uses a part of it

#[path = "../common/mod.rs"]
pub mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{Daemon, INCROND, Prefix};

pub struct Story {
    pub prefix: Prefix,
    mailer: bool,
}

impl Story {
    pub fn new() -> Self {
        Self::with("")
    }

    /// With these lines added to incron.conf; `@P` stands for the prefix.
    pub fn with(extra: &str) -> Self {
        let prefix = Prefix::with(extra);
        fs::create_dir(prefix.path("bin")).unwrap();
        Self {
            prefix,
            mailer: false,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.prefix.path(name)
    }

    /// Makes a directory and all above it.
    pub fn dir(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).unwrap();
        self.path(name)
    }

    /// A program that appends its arguments, each in `<>`, as one line to
    /// `out/NAME`, and then does `body`, a piece of sh in which `@P` is the prefix.
    pub fn stand_in(&self, name: &str, body: &str) {
        let out = self.path("out").join(name);
        let head = format!(
            "#!/bin/sh\nl=\nfor a in \"$@\"; do l=\"$l<$a>\"; done\nprintf '%s\\n' \"$l\" >> {}\n",
            out.display()
        );
        self.script(
            &format!("bin/{name}"),
            &format!("{head}{}\n", self.fill(body)),
        );
    }

    /// An executable file. Another process writes it: a descriptor of ours that is
    /// open for writing may be inherited by what a test beside this one forks, and
    /// then the file cannot be executed (ETXTBSY).
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let mut child = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let written = child.stdin.take().unwrap().write_all(text.as_bytes());
        written.unwrap();
        assert!(child.wait().unwrap().success());
        path
    }

    /// `ssh HOST COMMAND`, for rsync: the other end is this machine, too.
    pub fn ssh(&self) {
        self.stand_in("ssh", "shift\nexec sh -c \"$*\"");
    }

    /// A mailer that keeps each mail as `out/mail.PID`, complete when it is there.
    /// It stands in for /usr/sbin/sendmail in a mount namespace of the daemon's own.
    pub fn mailer(&mut self) {
        self.stand_in(
            "sendmail",
            "cat > @P/run/mail.$$ && mv @P/run/mail.$$ @P/out/mail.$$",
        );
        self.mailer = true;
    }

    /// The mails that were sent, in no order.
    pub fn mails(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("out")).unwrap().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("mail."))
            .map(|entry| fs::read_to_string(entry.path()).unwrap())
            .collect()
    }

    /// `@P` is the prefix.
    pub fn fill(&self, text: &str) -> String {
        self.prefix
            .fill(text)
            .replace("@P", self.path("").to_str().unwrap().trim_end_matches('/'))
    }

    /// PATH with the stand-ins first.
    fn search(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into());
        format!("{}:/usr/sbin:{path}", self.path("bin").display())
    }

    /// `program -n -f CONF` with the stand-ins on its PATH.
    pub fn spawn(&self, program: &str) -> Daemon<'_> {
        let enter = if self.mailer {
            "unshare --mount -- sh -c 'mount -t overlay none -o lowerdir=\"$BIN\":/usr/sbin \
             /usr/sbin && exec \"$@\"' sh"
        } else {
            ""
        };
        let text = format!(
            "#!/bin/sh\nexport PATH='{}' BIN='{}'\nexec {enter} {program} \"$@\"\n",
            self.search(),
            self.path("bin").display(),
        );
        let start = self.script("start", &text);
        self.prefix.spawn(start.to_str().unwrap())
    }

    /// Our daemon, ready.
    pub fn start(&self) -> Daemon<'_> {
        let daemon = self.spawn(INCROND);
        daemon.wait_log("ready to process filesystem events");
        daemon
    }

    /// Does `act` while the workers stand still: they learn of all of it at once.
    pub fn at_once(&self, daemon: &Daemon<'_>, act: impl FnOnce()) {
        daemon.at_once(act);
    }

    /// A FIFO, `out/gate`: a stand-in that reads a line of it waits to be let through.
    pub fn gate(&self) -> fs::File {
        let path = self.path("out/gate");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).open(path).unwrap()
    }
}

/// Runs a shell command, which must succeed; what it printed.
pub fn sh(text: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("sh").arg("-c").arg(text).output().unwrap();
    assert!(
        status.success(),
        "{text}\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8_lossy(&stdout).into_owned()
}

/// True where a program is installed; says that its test is left out where not.
pub fn have(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
        || Path::new("/usr/sbin").join(program).exists();
    if !found {
        eprintln!("left out: {program} is not installed");
    }
    found
}

/// Writes a file, and all directories above it.
pub fn put(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Which cells of a table of docs/semantics.md are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Check {
    All,
    /// The last is of a program that is not here.
    ButLast,
    /// The others depend on the versions of the programs.
    First,
}

impl Check {
    fn cells(self, row: &str) -> Vec<&str> {
        let mut cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
        match self {
            Check::All => {}
            Check::ButLast => drop(cells.pop()),
            Check::First => cells.truncate(1),
        }
        cells
    }
}

/// Compares the rows of the table `section` of docs/semantics.md, which stand
/// between `<!-- begin SECTION -->` and `<!-- end SECTION -->`, with `rows`; writes
/// them where INCRON_WRITE_SEMANTICS is set.
pub fn semantics(section: &str, rows: &str, check: Check) {
    // Tests beside this one write other sections of the page.
    static PAGE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _page = PAGE.lock().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/semantics.md");
    let page = fs::read_to_string(&path).unwrap();
    let (begin, end) = (
        format!("<!-- begin {section} -->\n"),
        format!("<!-- end {section} -->"),
    );
    let (head, rest) = page.split_once(&begin).expect("the section's beginning");
    let (table, tail) = rest.split_once(&end).expect("the section's end");
    if std::env::var_os("INCRON_WRITE_SEMANTICS").is_some() {
        // Two lines name the columns.
        let names: String = table.split_inclusive('\n').take(2).collect();
        fs::write(&path, format!("{head}{begin}{names}{rows}{end}{tail}")).unwrap();
        return;
    }
    let written: Vec<Vec<&str>> = table.lines().skip(2).map(|row| check.cells(row)).collect();
    for row in rows.lines() {
        let cells = check.cells(row);
        let first = cells.first();
        let found = written.iter().find(|written| written.first() == first);
        let found = found.unwrap_or_else(|| panic!("docs/semantics.md has no row {first:?}"));
        assert_eq!(*found, cells, "INCRON_WRITE_SEMANTICS=1 writes it anew");
    }
    if check != Check::First {
        assert_eq!(
            written.len(),
            rows.lines().count(),
            "a row too many in {section}"
        );
    }
}
