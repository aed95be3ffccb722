//! `status`: every worker and its lines, for people.

use std::fmt::Write;

use super::daemon::{Report, Told, Worker};
use super::text::{self, Paint, count, visible};
use crate::worker::protocol::{LineFigures, LineState, ProviderFigures};

/// The text of the whole report.
pub fn report(report: &Report) -> String {
    let paint = Paint::new();
    let workers = count(report.workers.len() as u64, "worker");
    let mut shown = format!("incrond {}: {workers}\n", visible(&report.version));
    for told in &report.workers {
        shown.push('\n');
        worker(&told.worker, paint, &mut shown);
        lines(told, paint, &mut shown);
    }
    shown
}

fn worker(worker: &Worker, paint: Paint, shown: &mut String) {
    let name = match worker.system {
        true => "system".to_owned(),
        false => format!("user {}", visible(&worker.owner)),
    };
    let _ = write!(shown, "{}: {}", paint.bold(&name), visible(&worker.state));
    if let Some(pid) = worker.pid {
        let _ = write!(shown, ", pid {pid}");
    }
    if let Some(since) = &worker.since {
        let _ = write!(shown, ", since {}", text::time(since, "%F %T"));
    }
    if worker.restarts > 0 {
        let _ = write!(shown, ", {}", count(worker.restarts, "restart"));
    }
    shown.push('\n');
    let Some(figures) = &worker.figures else {
        shown.push_str("  it does not answer\n");
        return;
    };
    let watched = [
        count(figures.tables.into(), "table"),
        count(figures.lines.into(), "line"),
        format!("{} kernel watches", figures.watches),
        count(figures.overflows, "overflow"),
        count(figures.rescans, "rescan"),
    ];
    let mut happened = vec![
        count(figures.events, "event"),
        count(figures.runs, "run"),
        format!("{} failed", figures.failed),
        format!("{} running", figures.running),
        format!("{} waiting", figures.waiting),
    ];
    if figures.removed > 0 {
        happened.push(format!("{} removed with their lines", figures.removed));
    }
    let _ = writeln!(shown, "  {}", watched.join(", "));
    if let Some(actors) = &figures.actors {
        let told = [
            format!("{} processes known", actors.known),
            format!("{} exact", actors.exact),
            format!("{} late", actors.late),
            format!("{} unknown", actors.unknown),
            format!("{} lost", actors.lost),
        ];
        let _ = writeln!(shown, "  actors: {}", told.join(", "));
    }
    if let Some(fanotify) = &figures.fanotify {
        let marked = [
            format!("fanotify: {}", count(fanotify.marks, "mark")),
            format!("{} directories known", fanotify.handles),
            format!("{} of these left out", fanotify.hushed),
            format!("{} records read", fanotify.records),
            format!("{} of others", fanotify.foreign),
            format!("{} of unknown directories", fanotify.stale),
        ];
        let _ = writeln!(shown, "  {}", marked.join(", "));
    }
    let _ = writeln!(shown, "  {}", happened.join(", "));
    for known in &figures.providers {
        provider(known, paint, shown);
    }
    let told = figures.providers.len() as u64;
    let left_out = u64::from(figures.all_providers).saturating_sub(told);
    if left_out > 0 {
        let _ = writeln!(shown, "  {}", count(left_out, "more provider"));
    }
}

fn provider(known: &ProviderFigures, paint: Paint, shown: &mut String) {
    let mut told = vec![match known.pid {
        Some(pid) => format!("pid {pid}"),
        None => paint.red("not running"),
    }];
    if known.pid.is_some() && !known.ready {
        told.push("not ready yet".into());
    }
    told.push(count(known.members, "path"));
    told.push(count(known.lines.into(), "line"));
    told.push(count(known.restarts, "restart"));
    let name = visible(&known.name);
    let _ = writeln!(shown, "  provider {name}: {}", told.join(", "));
    if let Some(reason) = &known.reason {
        let _ = writeln!(shown, "    {}", visible(reason));
    }
}

fn lines(told: &Told, paint: Paint, shown: &mut String) {
    if told.lines.is_empty() {
        return;
    }
    let heading = [
        "LINE", "EVENTS", "RUNS", "FAILED", "DROPPED", "WAITING", "LAST RUN",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(told.lines.iter().map(row));
    let mut rows = text::columns(&rows).into_iter();
    shown.push('\n');
    let _ = writeln!(shown, "  {}", rows.next().unwrap_or_default());
    for (line, row) in told.lines.iter().zip(rows) {
        let _ = writeln!(shown, "  {row}");
        let state = match line.state {
            LineState::Served => text::state(line).to_owned(),
            _ => paint.red(text::state(line)),
        };
        let (mask, path) = (text::mask(line), visible(&line.path));
        let _ = writeln!(shown, "    {state}: {mask} {path}");
        if let Some(reason) = &line.reason {
            let _ = writeln!(shown, "    {}", visible(reason));
        }
    }
}

fn row(line: &LineFigures) -> Vec<String> {
    vec![
        text::name(line),
        line.events.to_string(),
        line.runs.to_string(),
        line.failed.to_string(),
        text::dropped(line).to_string(),
        text::waiting(line).to_string(),
        text::last(line, "%m-%d %T"),
    ]
}
