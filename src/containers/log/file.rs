//! Lines for standard output or a file: whole lines, many in one write.
//!
//! A file is opened anew when its name leads to another one, or to none: whoever
//! rotates it need not tell us. A full disk costs lines, which are counted, and the
//! count is the first line when there is room again.

use std::fmt::{Arguments, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::TAG;
use crate::event::rfc3339;

/// Written at once.
const BLOCK: usize = 64 << 10;

/// A file, or standard output.
pub(super) struct Lines {
    /// None: standard output.
    path: Option<PathBuf>,
    /// Not std's standard output: after an error that would write again what was
    /// written.
    file: Option<File>,
    waiting: String,
    count: u64,
    /// Lines that were not written since the last that was.
    missing: u64,
    lost: u64,
    /// The last write ended within a line.
    torn: bool,
    /// Nobody reads standard output any more.
    pub closed: bool,
}

impl Lines {
    /// The error is a line for people.
    pub fn stdout() -> Result<Self, String> {
        let fd = io::stdout().as_fd().try_clone_to_owned();
        let file = fd.map_err(|error| format!("standard output: {error}"))?;
        Ok(Self::new(None, file.into()))
    }

    /// The error is a line for people: names the file and why.
    pub fn file(path: &Path) -> Result<Self, String> {
        let file = open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self::new(Some(path.to_owned()), file))
    }

    fn new(path: Option<PathBuf>, file: File) -> Self {
        Self {
            path,
            file: Some(file),
            waiting: String::with_capacity(BLOCK),
            count: 0,
            missing: 0,
            lost: 0,
            torn: false,
            closed: false,
        }
    }

    pub fn add(&mut self, line: Arguments<'_>) {
        // A String takes everything.
        let _ = self.waiting.write_fmt(line);
        self.waiting.push('\n');
        self.count += 1;
        if self.waiting.len() >= BLOCK {
            self.flush();
        }
    }

    pub fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut text = std::mem::take(&mut self.waiting);
        let count = std::mem::take(&mut self.count);
        if self.missing > 0 {
            text.insert_str(0, &self.confession());
        }
        match self.put(text.as_bytes()) {
            Ok(()) => self.missing = 0,
            Err(error) if self.path.is_none() && error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
            }
            Err(error) => {
                if self.missing == 0 {
                    let path = self.path.as_deref().unwrap_or(Path::new("standard output"));
                    super::super::say(&format!("{}: {error}; events are lost", path.display()));
                }
                // Whole lines that went before the error count as lost, too: they
                // are few, and a count must never say less.
                self.missing += count;
                self.lost += count;
            }
        }
        text.clear();
        self.waiting = text;
    }

    fn confession(&self) -> String {
        let (time, pid) = (rfc3339(std::time::SystemTime::now()), std::process::id());
        let host = super::target::this_host();
        let missing = self.missing;
        if self.waiting.starts_with('{') {
            return format!("{{\"time\":\"{time}\",\"lost\":{missing}}}\n");
        }
        format!(
            "{time} {host} {TAG}[{pid}]: Critical: {missing} events could not be written here\n"
        )
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let (Some(path), Some(file)) = (&self.path, &self.file)
            && !leads_to(path, file)
        {
            self.file = None; // rotated
        }
        let file = match (self.file.take(), &self.path) {
            (Some(file), _) => file,
            (None, Some(path)) => {
                let file = open(path)?;
                self.torn = false;
                file
            }
            (None, None) => return Err(ErrorKind::BrokenPipe.into()),
        };
        let file = self.file.insert(file);
        if self.torn {
            write_all(file, b"\n", &mut self.torn)?;
        }
        write_all(file, bytes, &mut self.torn)
    }

    /// Lines that were not written.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

fn leads_to(path: &Path, file: &File) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn write_all(out: &mut impl Write, mut bytes: &[u8], torn: &mut bool) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                *torn = bytes.get(n - 1) != Some(&b'\n');
                bytes = bytes.get(n..).unwrap_or_default();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Readable by root and its group: it names what is in containers.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).open(path)
}
