//! The one JSON form of an event, written fast and read back exactly.
//!
//! Commands read it on their standard input and work saved at shutdown is kept in
//! it. Written by hand into one buffer: a value tree would cost ten times as much,
//! and the order of the fields is for people. incron-events(7) documents each field;
//! a field that has nothing to say is left out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::actor::ActorFields;
use super::{Event, Origin};
use crate::table::Mask;

/// Where an event belongs: the part of its JSON that the line decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventContext<'a> {
    /// Name of the machine.
    pub host: &'a str,
    /// The table's name.
    pub table: &'a str,
    /// The line's number in it.
    pub line: u32,
    /// The line's key; the table's name where it has none.
    pub key: &'a str,
}

/// What [`Event::from_json`] reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields of EventContext
pub struct Recorded {
    pub event: Event,
    pub host: String,
    pub table: String,
    pub line: u32,
    pub key: String,
}

/// Why a text is not an event.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or a field is missing or has another type.
    #[error("not an event: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A field has the right type and no sense.
    #[error("not an event: {0} cannot be read")]
    Field(&'static str),
}

impl Event {
    /// The event as one line of JSON, without a newline.
    pub fn to_json(&self, context: &EventContext<'_>) -> String {
        let mut json = String::with_capacity(384);
        self.write_json(context, &mut json);
        json
    }

    /// As `to_json`, at the end of a buffer that may be used again.
    pub fn write_json(&self, context: &EventContext<'_>, json: &mut String) {
        json.push_str("{\"time\":\"");
        super::time::push(json, self.time);
        json.push('"');
        string(json, "host", context.host);
        string(json, "table", context.table);
        number(json, "line", u64::from(context.line));
        string(json, "key", context.key);
        bytes(json, "watch", "watch_raw", self.watch.as_bytes());
        bytes(json, "name", "name_raw", self.name.as_bytes());
        bytes(json, "path", "path_raw", self.target().as_bytes());
        if let Some(old) = &self.old_path {
            bytes(json, "old_path", "old_path_raw", old.as_os_str().as_bytes());
        }
        self.write_mask(json);
        if let Some(actor) = &self.actor {
            actor.write_json(json);
        }
        if let Some(labels) = &self.labels {
            write_labels(json, labels);
        }
        string(json, "origin", self.origin.text());
        number(json, "seq", self.seq);
        json.push('}');
    }

    fn write_mask(&self, json: &mut String) {
        json.push_str(",\"events\":[");
        for (i, name) in (self.mask & !Mask::ISDIR).names().enumerate() {
            json.push_str(if i == 0 { "\"" } else { ",\"" });
            json.push_str(name);
            json.push('"');
        }
        json.push(']');
        number(json, "mask", u64::from(self.mask.0));
        json.push_str(",\"dir\":");
        json.push_str(if self.mask.intersects(Mask::ISDIR) {
            "true"
        } else {
            "false"
        });
    }

    /// Reads what `to_json` wrote. Fields it does not know are ignored.
    pub fn from_json(json: &str) -> Result<Recorded, JsonError> {
        let fields: Fields<'_> = serde_json::from_str(json)?;
        let event = Event {
            mask: Mask(fields.mask),
            watch: raw(fields.watch, fields.watch_raw, "watch_raw")?,
            name: raw(fields.name, fields.name_raw, "name_raw")?,
            old_path: match fields.old_path {
                Some(old) => Some(raw(old, fields.old_path_raw, "old_path_raw")?.into()),
                None => None,
            },
            time: super::time::read(&fields.time).ok_or(JsonError::Field("time"))?,
            origin: Origin::from_text(&fields.origin).ok_or(JsonError::Field("origin"))?,
            actor: fields
                .actor
                .map(ActorFields::actor)
                .transpose()?
                .map(Rc::new),
            seq: fields.seq,
            labels: fields.labels.map(Rc::new),
        };
        Ok(Recorded {
            event,
            host: fields.host.into_owned(),
            table: fields.table.into_owned(),
            line: fields.line,
            key: fields.key.into_owned(),
        })
    }
}

impl Origin {
    /// As it stands in JSON and in logs.
    pub fn text(self) -> &'static str {
        match self {
            Origin::Kernel => "kernel",
            Origin::Scan => "scan",
            Origin::Rescan => "rescan",
            Origin::Offline => "offline",
            Origin::Poll => "poll",
        }
    }

    fn from_text(text: &str) -> Option<Origin> {
        [
            Origin::Kernel,
            Origin::Scan,
            Origin::Rescan,
            Origin::Offline,
            Origin::Poll,
        ]
        .into_iter()
        .find(|origin| origin.text() == text)
    }
}

fn write_labels(json: &mut String, labels: &BTreeMap<String, String>) {
    json.push_str(",\"labels\":{");
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        push_string(json, name);
        json.push(':');
        push_string(json, value);
    }
    json.push('}');
}

pub(crate) fn field(json: &mut String, name: &str) {
    json.push_str(",\"");
    json.push_str(name);
    json.push_str("\":");
}

pub(crate) fn string(json: &mut String, name: &str, value: &str) {
    field(json, name);
    push_string(json, value);
}

pub(crate) fn number(json: &mut String, name: &str, mut value: u64) {
    field(json, name);
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    while let Some(place) = start.checked_sub(1).and_then(|i| digits.get_mut(i)) {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
        start -= 1;
        if value == 0 {
            break;
        }
    }
    json.push_str(std::str::from_utf8(digits.get(start..).unwrap_or_default()).unwrap_or("0"));
}

/// A text of any bytes: where it is not UTF-8, `raw` beside it has the bytes in base64.
pub(crate) fn bytes(json: &mut String, name: &str, raw: &str, value: &[u8]) {
    field(json, name);
    match std::str::from_utf8(value) {
        Ok(text) => push_string(json, text),
        Err(_) => {
            push_string(json, &String::from_utf8_lossy(value));
            field(json, raw);
            json.push('"');
            BASE64.encode_string(value, json);
            json.push('"');
        }
    }
}

/// A JSON string: quotes, backslashes and control characters escaped.
pub(crate) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    let special = |b: u8| b < 0x20 || matches!(b, b'"' | b'\\' | 0x7f);
    if !text.bytes().any(special) {
        json.push_str(text);
        json.push('"');
        return;
    }
    let mut start = 0;
    for (i, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\t' => "\\t",
            b'\r' => "\\r",
            0..0x20 | 0x7f => "",
            _ => continue,
        };
        json.push_str(text.get(start..i).unwrap_or_default());
        if escape.is_empty() {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            json.push_str(if byte >= 0x10 { "\\u00" } else { "\\u000" });
            if byte >= 0x10 {
                json.push(char::from(HEX[usize::from(byte >> 4)]));
            }
            json.push(char::from(HEX[usize::from(byte & 15)]));
        } else {
            json.push_str(escape);
        }
        start = i + 1;
    }
    json.push_str(text.get(start..).unwrap_or_default());
    json.push('"');
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    host: Cow<'a, str>,
    #[serde(borrow)]
    table: Cow<'a, str>,
    line: u32,
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    watch: Cow<'a, str>,
    watch_raw: Option<String>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    name_raw: Option<String>,
    #[serde(borrow)]
    old_path: Option<Cow<'a, str>>,
    old_path_raw: Option<String>,
    mask: u32,
    actor: Option<ActorFields>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    seq: u64,
}

pub(super) fn raw(
    text: Cow<'_, str>,
    raw: Option<String>,
    name: &'static str,
) -> Result<OsString, JsonError> {
    match raw {
        None => Ok(OsString::from(text.into_owned())),
        Some(raw) => BASE64
            .decode(raw)
            .map(OsString::from_vec)
            .map_err(|_| JsonError::Field(name)),
    }
}

impl Recorded {
    /// Where it belonged.
    pub fn context(&self) -> EventContext<'_> {
        EventContext {
            host: &self.host,
            table: &self.table,
            line: self.line,
            key: &self.key,
        }
    }
}

/// The moment `SystemTime` stands for, for tests that need an exact one.
#[cfg(test)]
fn moment(secs: u64, nanos: u32) -> std::time::SystemTime {
    std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(secs, nanos)
}

#[cfg(test)]
mod tests;
