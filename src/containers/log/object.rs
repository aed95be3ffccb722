//! An event in a container as one JSON object: for those who want to know which
//! container, by its name, and who did it.

use std::os::unix::ffi::OsStrExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::limit::Sum;
use super::{Entry, Severity, Shape, label};
use crate::event::json::{bytes, field, push_string, string};
use crate::event::{Actor, Event, Recorded, rfc3339};
use crate::log::is_dangerous;
use crate::table::Mask;

/// What is known of a container; the first is its identity.
const OF_CONTAINER: [&str; 8] = [
    "id",
    "name",
    "image",
    "engine",
    "owner",
    "pid",
    "pod",
    "namespace",
];

/// The object of an event; what is long and least missed is left out where it would
/// be cut.
pub fn entry(recorded: &Recorded, shape: Shape) -> Entry {
    let whole = compose(recorded, Detail::All);
    if whole.text.len() <= shape.room {
        return whole;
    }
    let short = compose(recorded, Detail::NoWords);
    match short.text.len() <= shape.room {
        true => short,
        false => compose(recorded, Detail::Least),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    All,
    /// Without the actor's words and parents.
    NoWords,
    /// Without its program and the old path, too; a path in one form.
    Least,
}

fn compose(recorded: &Recorded, detail: Detail) -> Entry {
    let event = &recorded.event;
    let severity = Severity::of(event.target().as_bytes());
    let mut json = begin(event);
    string(&mut json, "host", &recorded.host);
    container(&mut json, event);
    path(&mut json, event, detail);
    if let Some(old) = event.old_path.as_ref().filter(|_| detail != Detail::Least) {
        let old = old.as_os_str().as_bytes();
        bytes(&mut json, "old_path", "old_path_raw", old);
    }
    events(&mut json, event.mask);
    field(&mut json, "dir");
    json.push_str(match event.mask.intersects(Mask::ISDIR) {
        true => "true",
        false => "false",
    });
    match &event.actor {
        Some(actor) if detail == Detail::All => actor.write_json(&mut json),
        Some(actor) => {
            let exe = actor.exe.clone().filter(|_| detail != Detail::Least);
            let short = Actor {
                exe,
                cmdline: Vec::new(),
                parents: Vec::new(),
                ..Actor::clone(actor)
            };
            short.write_json(&mut json);
        }
        None => {}
    }
    string(&mut json, "origin", event.origin.text());
    if detail != Detail::All {
        json.push_str(",\"shortened\":true");
    }
    finish(json, severity, event)
}

/// The object of events that a limit kept back: `summed` of them, the last of which
/// is in `path`.
pub fn summary(sum: &Sum) -> Entry {
    let event = &sum.last;
    let mut json = begin(event);
    container(&mut json, event);
    field(&mut json, "summed");
    json.push_str(&sum.count.to_string());
    field(&mut json, "seconds");
    json.push_str(&sum.per.as_secs_f64().to_string());
    field(&mut json, "counts");
    json.push('{');
    for (n, (mask, count)) in sum.counts.iter().enumerate() {
        if n > 0 {
            json.push(',');
        }
        push_string(&mut json, &Mask(*mask).text());
        json.push(':');
        json.push_str(&count.to_string());
    }
    json.push('}');
    path(&mut json, event, Detail::Least);
    finish(json, sum.severity, event)
}

fn begin(event: &Event) -> String {
    let mut json = String::with_capacity(768);
    json.push_str("{\"time\":");
    push_string(&mut json, &rfc3339(event.time));
    json
}

fn container(json: &mut String, event: &Event) {
    field(json, "container");
    json.push('{');
    let known = OF_CONTAINER
        .iter()
        .filter_map(|name| Some((*name, label(event, name)?)));
    for (n, (name, value)) in known.enumerate() {
        if n > 0 {
            json.push(',');
        }
        push_string(json, name);
        json.push(':');
        push_string(json, value);
    }
    json.push('}');
    if let Some(layer) = label(event, "layer") {
        string(json, "layer", layer);
    }
}

fn path(json: &mut String, event: &Event, detail: Detail) {
    let target = event.target();
    match target.to_str() {
        None if detail == Detail::Least => {
            string(json, "path", "");
            string(json, "path_raw", &BASE64.encode(target.as_bytes()));
        }
        _ => bytes(json, "path", "path_raw", target.as_bytes()),
    }
}

fn events(json: &mut String, mask: Mask) {
    field(json, "events");
    json.push('[');
    for (n, name) in (mask & !Mask::ISDIR).names().enumerate() {
        if n > 0 {
            json.push(',');
        }
        push_string(json, name);
    }
    json.push(']');
}

fn finish(mut json: String, severity: Severity, event: &Event) -> Entry {
    string(&mut json, "severity", severity.word());
    json.push('}');
    Entry {
        severity,
        time: event.time,
        text: plain(json),
        fields: Vec::new(),
    }
}

/// Characters that a log or a terminal takes for its own, as JSON can write them
/// beside: they stand in strings only.
fn plain(json: String) -> String {
    if !json.contains(is_dangerous) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match is_dangerous(c) {
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_stays_itself_and_harmless(text in "\\PC{0,20}|.{0,20}|[\u{80}-\u{9f}\u{202a}-\u{202e}]{0,9}") {
            let mut json = String::from("{\"a\":1");
            string(&mut json, "text", &text);
            json.push('}');
            let json = plain(json);
            prop_assert!(!json.chars().any(is_dangerous));
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read["text"].as_str(), Some(text.as_str()));
        }
    }
}
