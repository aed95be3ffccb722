//! Work that waits at a stop, written so that the next worker can take it up.
//!
//! One JSON object a line: which line of which table, and the event. A line is
//! known by its path and command, not by its number, since the table may be
//! edited in between.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::lines::Lines;
use crate::event::{Event, LineId};

/// What a file of saved work held.
#[derive(Default)]
pub struct Found {
    /// Events of lines that still exist.
    pub events: Vec<(LineId, Rc<Event>)>,
    /// How many had no line any more, or could not be read.
    pub orphans: usize,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    table: String,
    path: String,
    command: String,
    event: Box<serde_json::value::RawValue>,
}

/// Writes events into a file that has no name, positioned at its start.
pub fn write(waiting: &[(LineId, Rc<Event>)], lines: &Lines) -> io::Result<File> {
    let file = File::from(memfd_create(c"incron-saved", MFdFlags::MFD_CLOEXEC)?);
    let mut out = BufWriter::new(file);
    for (id, event) in waiting {
        let Some(served) = lines.get(*id) else {
            continue;
        };
        let entry = Entry {
            table: served.table.to_string(),
            path: BASE64.encode(served.line.path.written.as_bytes()),
            command: BASE64.encode(served.line.command.text.as_bytes()),
            event: serde_json::value::RawValue::from_string(served.json(event))?,
        };
        serde_json::to_writer(&mut out, &entry)?;
        out.write_all(b"\n")?;
    }
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

/// The event of a JSON line that a stream command has not read.
pub fn unread(text: &[u8], lines: &Lines) -> Option<(LineId, Rc<Event>)> {
    let recorded = Event::from_json(std::str::from_utf8(text).ok()?).ok()?;
    let line = lines.numbered(&recorded.table, recorded.line)?;
    Some((line, Rc::new(recorded.event)))
}

/// Reads what `write` wrote; a line that cannot be read loses only itself.
pub fn read(file: File, lines: &Lines) -> io::Result<Found> {
    let mut found = Found::default();
    for text in BufReader::new(file).split(b'\n') {
        match entry(&text?, lines) {
            Some(pair) => found.events.push(pair),
            None => found.orphans += 1,
        }
    }
    Ok(found)
}

fn entry(text: &[u8], lines: &Lines) -> Option<(LineId, Rc<Event>)> {
    let entry: Entry = serde_json::from_slice(text).ok()?;
    let path = BASE64.decode(&entry.path).ok()?;
    let command = BASE64.decode(&entry.command).ok()?;
    let line = lines.find(&entry.table, &path, &command)?;
    let event = Event::from_json(entry.event.get()).ok()?;
    Some((line, Rc::new(event.event)))
}
