//! `list`: the running containers, for people and for scripts.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;

use super::changed::{Changed, changed};
use super::cli::ListArgs;
use super::container::{Container, State};
use super::provide::line;
use super::teller::{Form, Teller};
use super::{monitors, say};
use crate::exit::Exit;
use crate::log::Escaped;

const HEADS: Row = [
    "ENGINE", "OWNER", "NAME", "IMAGE", "LAYER", "PID", "CHANGED", "WATCHED",
];
type Row<T = &'static str> = [T; 8];
/// A layer's name is cut for people; `--json` has all of it.
const LAYER: usize = 12;

/// Prints what runs; with `--follow`, also what comes and goes.
pub fn run(args: &ListArgs) -> ExitCode {
    let teller = Arc::new(Teller::new(Box::new(List {
        json: args.json,
        follow: args.follow,
        running: BTreeMap::new(),
        widths: [0; 8],
        ready: false,
    })));
    let out = io::stdout();
    let ended = monitors::begin(&args.which, teller).and_then(|all| match args.follow {
        true => all.run(out.as_fd()),
        false => Ok(()),
    });
    match ended {
        Ok(()) => Exit::Success.into(),
        Err(error) => {
            say(&format!("cannot go on: {error}"));
            Exit::Failure.into()
        }
    }
}

struct List {
    json: bool,
    follow: bool,
    running: BTreeMap<String, Container>,
    widths: Row<usize>,
    ready: bool,
}

impl Form for List {
    fn added(&mut self, container: &Container) {
        let known = self.running.insert(container.key(), container.clone());
        if self.ready && known.is_none() {
            self.show('+', container);
        }
    }

    fn removed(&mut self, key: &str) {
        let known = self.running.remove(key);
        if let Some(container) = known.filter(|_| self.ready) {
            self.show('-', &container);
        }
    }

    fn ready(&mut self) {
        self.ready = true;
        let all: Vec<_> = self.running.values().map(|one| (one, count(one))).collect();
        if self.json {
            all.iter()
                .for_each(|(one, changed)| line(&object(one, *changed)));
            return;
        }
        let rows: Vec<_> = all
            .iter()
            .map(|(one, changed)| row(one, *changed))
            .collect();
        let heads = HEADS.map(str::to_owned);
        for row in rows.iter().chain([&heads]) {
            let widths = self.widths.iter_mut().zip(row);
            widths.for_each(|(width, text)| *width = (*width).max(text.chars().count()));
        }
        let lost: Vec<_> = all.iter().filter_map(|(one, _)| one.watched.lost).collect();
        self.print(if self.follow { "  " } else { "" }, &heads);
        for row in &rows {
            self.print(if self.follow { "  " } else { "" }, row);
        }
        if let Some(lost) = lost.first() {
            text(&format!("* {lost}\n"));
        }
    }
}

impl List {
    fn show(&self, sign: char, container: &Container) {
        let changed = (sign == '+').then(|| count(container)).flatten();
        if self.json {
            let mut value = object(container, changed);
            if let Some(map) = value.as_object_mut() {
                let word = if sign == '+' { "started" } else { "ended" };
                map.insert("what".into(), word.into());
            }
            return line(&value);
        }
        self.print(&format!("{sign} "), &row(container, changed));
    }

    fn print(&self, before: &str, row: &Row<String>) {
        let mut shown = before.to_owned();
        for (cell, &width) in row.iter().zip(&self.widths) {
            shown.push_str(&format!("{cell:width$}  "));
        }
        text(&format!("{}\n", shown.trim_end()));
    }
}

fn text(text: &str) {
    let mut out = io::stdout().lock();
    if out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(Exit::Success as i32);
    }
}

/// What changed since the container's program began; None where no directory
/// holds the changes only.
fn count(container: &Container) -> Option<Changed> {
    changed(container.upper.as_deref()?, container.started?)
}

fn row(container: &Container, changed: Option<Changed>) -> Row<String> {
    let changed = changed.map_or(String::new(), |changed| {
        format!("{}{}", changed.files, if changed.more { "+" } else { "" })
    });
    let watched = match (container.watched.overlay, container.watched.lost) {
        (true, None) => "layer",
        (true, Some(_)) => "layer*",
        (false, _) => "root",
    };
    let pid = match container.state {
        State::Running => container.pid.to_string(),
        State::Stopped => "stopped".to_owned(),
        State::Build => "build".to_owned(),
    };
    let layer: String = container.layer.chars().take(LAYER).collect();
    let row = [
        container.engine.name(),
        &container.owner.name,
        &container.name,
        &container.image,
        &layer,
        &pid,
        &changed,
        watched,
    ];
    row.map(|cell| match cell {
        "" => "-".to_owned(),
        _ => Escaped(cell.as_bytes()).to_string(),
    })
}

fn object(container: &Container, changed: Option<Changed>) -> Value {
    let added = container.added();
    let mut object = container.labels();
    if container.state == State::Running {
        object.insert("pid".into(), container.pid.into());
    }
    for (name, value) in added
        .get("add")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if name != "labels" && name != "id" && name != "shown" {
            object.insert(name.clone(), value.clone());
        }
    }
    if let Some(changed) = changed {
        object.insert("changed".into(), changed.files.into());
        object.insert("changed_more".into(), changed.more.into());
    }
    if let Some(lost) = container.watched.lost {
        object.insert("lost".into(), lost.into());
    }
    object.into()
}
