//! Work that waits at a stop, written so that the next worker can take it up.
//!
//! One JSON object a line: which line of which table, and the event. A line is
//! known by its path and command, not by its number, since the table may be
//! edited in between.

use std::collections::{HashMap, hash_map};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::lines::Lines;
use super::protocol::MAX_SAVED;
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

/// What was written.
pub struct Written {
    /// A file that has no name, positioned at its start.
    pub file: File,
    /// Events in it.
    pub events: u64,
    /// Events that had no room.
    pub left_out: u64,
}

/// Writes events, as many as the supervisor takes, the first before the last.
pub fn write(waiting: &[(LineId, Rc<Event>)], lines: &Lines) -> io::Result<Written> {
    let file = File::from(memfd_create(c"incron-saved", MFdFlags::MFD_CLOEXEC)?);
    let mut out = BufWriter::new(file);
    let (mut size, mut events) = (0, 0);
    let mut text = Vec::new();
    for (id, event) in waiting {
        let Some(served) = lines.get(*id) else {
            continue;
        };
        let (path, command) = served.work();
        let entry = Entry {
            table: served.table.to_string(),
            path: BASE64.encode(path),
            command: BASE64.encode(command),
            event: serde_json::value::RawValue::from_string(served.json(event))?,
        };
        text.clear();
        serde_json::to_writer(&mut text, &entry)?;
        text.push(b'\n');
        size += text.len() as u64;
        if size > MAX_SAVED {
            break;
        }
        out.write_all(&text)?;
        events += 1;
    }
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(Written {
        file,
        events,
        left_out: waiting.len() as u64 - events,
    })
}

/// The event of a JSON line that a stream command has not read, and which of
/// `fed`, the lines that feed it, it was for. Not the table's line of that
/// number: the table may have been edited since.
pub fn unread(text: &[u8], fed: &[LineId], lines: &Lines) -> Option<(LineId, Rc<Event>)> {
    let recorded = Event::from_json(std::str::from_utf8(text).ok()?).ok()?;
    let line = lines.numbered(fed, recorded.line)?;
    Some((line, Rc::new(recorded.event)))
}

/// Reads what `write` wrote; a line that cannot be read loses only itself.
pub fn read(file: File, lines: &Lines) -> io::Result<Found> {
    let mut found = Found::default();
    // Most events are of few lines.
    let mut known = HashMap::new();
    for text in BufReader::new(file).split(b'\n') {
        match entry(&text?, lines, &mut known) {
            Some(pair) => found.events.push(pair),
            None => found.orphans += 1,
        }
    }
    Ok(found)
}

/// Which lines of which table: its name, their path and command as they are written.
type Key = (String, String, String);

fn entry(
    text: &[u8],
    lines: &Lines,
    known: &mut HashMap<Key, Vec<LineId>>,
) -> Option<(LineId, Rc<Event>)> {
    let entry: Entry = serde_json::from_slice(text).ok()?;
    let recorded = Event::from_json(entry.event.get()).ok()?;
    let ids = match known.entry((entry.table, entry.path, entry.command)) {
        hash_map::Entry::Occupied(found) => found.into_mut(),
        hash_map::Entry::Vacant(new) => {
            let (table, path, command) = new.key();
            let (path, command) = (BASE64.decode(path).ok()?, BASE64.decode(command).ok()?);
            let ids = lines.find(table, (&path, &command));
            new.insert(ids)
        }
    };
    let line = lines.numbered(ids, recorded.line)?;
    Some((line, Rc::new(recorded.event)))
}
