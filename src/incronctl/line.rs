//! `status --line`: one line, with every figure and what it means.

use std::fmt::Write;

use super::daemon::{Report, Worker};
use super::text::{self, Paint, visible};
use crate::worker::protocol::{LineFigures, LineState};

/// The text of the lines that were named; there may be one for each of several owners.
pub fn report(report: &Report) -> String {
    let paint = Paint::new();
    let mut shown = String::new();
    for told in &report.workers {
        for line in &told.lines {
            if !shown.is_empty() {
                shown.push('\n');
            }
            one(&told.worker, line, paint, &mut shown);
        }
    }
    shown
}

fn one(worker: &Worker, line: &LineFigures, paint: Paint, shown: &mut String) {
    let owner = match worker.system {
        true => "system".to_owned(),
        false => format!("user {}", visible(&worker.owner)),
    };
    let state = match line.state {
        LineState::Served => text::state(line).to_owned(),
        _ => paint.red(text::state(line)),
    };
    let _ = writeln!(
        shown,
        "{} of {owner}: {state}",
        paint.bold(&text::name(line))
    );
    if let Some(reason) = &line.reason {
        let _ = writeln!(shown, "  {}", visible(reason));
    }
    let mut last = text::last(line, "%F %T");
    if let Some(run) = line.last.as_ref().filter(|_| last != "running") {
        let _ = write!(last, ", pid {}", run.pid);
        if let Some(millis) = run.milliseconds {
            let _ = write!(last, ", {}.{:03} s", millis / 1000, millis % 1000);
        }
    }
    for (name, value) in [
        ("path", visible(&line.path)),
        ("mask", text::mask(line)),
        ("key", visible(&line.key)),
        ("last run", last),
    ] {
        let _ = writeln!(shown, "  {name:<9} {value}");
    }
    let figures = figures(line);
    let width = figures.iter().map(|(value, ..)| value.to_string().len());
    let width = width.max().unwrap_or(0);
    for (value, name, meaning) in figures {
        let _ = writeln!(shown, "  {value:>width$} {name:<9} {meaning}");
    }
}

/// Every figure, its name in `--json`, and what it counts.
fn figures(line: &LineFigures) -> Vec<(u64, &'static str, &'static str)> {
    let mut all = vec![
        (line.events, "events", "that its filters wanted"),
        (line.waiting, "waiting", "events that have had no run yet"),
        (
            line.merged,
            "merged",
            "events that joined another of their path",
        ),
        (line.skipped, "skipped", "events dropped by busy=skip"),
        (line.looped, "looped", "events dropped by IN_NO_LOOP"),
        (
            line.unknown,
            "unknown",
            "events of actors that by= or exe= could not know",
        ),
        (line.runs, "runs", "started, retries included"),
        (line.running, "running", "runs going on"),
        (
            line.failed,
            "failed",
            "runs that failed or could not be started",
        ),
        (line.retried, "retried", "runs that were a retry"),
        (
            line.abandoned,
            "abandoned",
            "retries given up for a newer event",
        ),
        (
            line.restarted,
            "restarted",
            "runs ended early by busy=restart",
        ),
        (
            line.waited,
            "waited",
            "runs held back by busy, jobs or limit",
        ),
        (
            line.slowed,
            "slowed",
            "times that the limit began to hold the line",
        ),
        (
            line.postponed,
            "postponed",
            "starts put off: no process could be had",
        ),
    ];
    if let Some(stream) = &line.stream {
        let unread = "events that its process is still to read";
        all.extend([
            (stream.waiting, "unread", unread),
            (
                stream.merged,
                "replaced",
                "unread events, by a later one of their path",
            ),
            (stream.lost, "lost", "events: the queue was full"),
            (
                stream.again,
                "again",
                "events given once more after its process ended",
            ),
            (
                u64::from(stream.lines),
                "lines",
                "that share this process and its queue",
            ),
        ]);
    }
    all
}
