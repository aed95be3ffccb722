//! Words and columns for people: nothing that is shown can drive the terminal.

use std::io::IsTerminal;

use crate::table;
use crate::worker::protocol::{LastRun, LineFigures, LineState};

/// A text of anybody, with all but plain text made visible.
pub fn visible(text: &str) -> String {
    table::visible(text.as_bytes())
}

/// Emphasis, where the terminal can show it and nobody minds.
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

impl Paint {
    /// For standard output.
    pub fn new() -> Self {
        let off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self(!off && std::io::stdout().is_terminal())
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What wants attention.
    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// `1 line`, `2 lines`.
pub fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// `www:3`
pub fn name(line: &LineFigures) -> String {
    format!("{}:{}", visible(&line.table), line.line)
}

/// `close_write,moved_to`
pub fn mask(line: &LineFigures) -> String {
    let words = line.mask.split(',');
    let short: Vec<String> = words
        .map(|word| {
            word.strip_prefix("IN_")
                .unwrap_or(word)
                .to_ascii_lowercase()
        })
        .collect();
    visible(&short.join(","))
}

/// In words.
pub fn state(line: &LineFigures) -> &'static str {
    match line.state {
        LineState::Served => "served",
        LineState::Waiting => "waits for its path",
        LineState::Partly => "partly watched",
        LineState::Unwatched => "not watched",
        LineState::Spent => "done (IN_ONESHOT)",
    }
}

/// A moment in the caller's time zone, as `form` of strftime(3) says; as it came,
/// where it is none.
pub fn time(text: &str, form: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime(form)
            .to_string(),
        Err(_) => visible(text),
    }
}

/// `exit 0`, `signal 15`, `running`.
fn end(run: &LastRun) -> String {
    match (run.exit, run.signal, run.milliseconds) {
        (Some(code), ..) => format!("exit {code}"),
        (None, Some(number), _) => format!("signal {number}"),
        (None, None, None) => "running".to_owned(),
        (None, None, Some(_)) => "ended".to_owned(),
    }
}

/// When the latest run of a line began, as `form` says, and how it ended.
pub fn last(line: &LineFigures, form: &str) -> String {
    match &line.last {
        _ if line.stream.is_some() && line.running > 0 => "running".to_owned(),
        Some(run) => format!("{} {}", time(&run.time, form), end(run)),
        None => "-".to_owned(),
    }
}

/// Events of a line that became no run of their own accord: skipped by `busy=skip`,
/// by `IN_NO_LOOP`, of an unknown actor, lost by a stream.
pub fn dropped(line: &LineFigures) -> u64 {
    let lost = line.stream.as_ref().map_or(0, |stream| stream.lost);
    line.skipped
        .saturating_add(line.looped)
        .saturating_add(line.unknown)
        .saturating_add(lost)
}

/// Events that wait, with those that a stream is still to read.
pub fn waiting(line: &LineFigures) -> u64 {
    let unread = line.stream.as_ref().map_or(0, |stream| stream.waiting);
    line.waiting.saturating_add(unread)
}

/// Rows under their headings: the first column to the left, numbers to the right,
/// the last as it is.
pub fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len))
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let row = |row: &Vec<String>| {
        let last = row.len().saturating_sub(1);
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(at, (cell, &width))| match at {
            0 => format!("{cell:<width$}"),
            _ if at == last => cell.clone(),
            _ => format!("{cell:>width$}"),
        });
        let cells: Vec<String> = cells.collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [
            ["a", "EVENTS", "LAST"],
            ["long", "5", "x"],
            ["b", "1234567", ""],
        ];
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(
            columns(&rows),
            ["a      EVENTS  LAST", "long        5  x", "b     1234567"]
        );
    }

    #[test]
    fn nothing_drives_the_terminal() {
        assert_eq!(visible("a\x1b[2J\nb"), "a\\x1b[2J\\x0ab");
        assert_eq!(time("\x1b]0;x", "%F"), "\\x1b]0;x");
    }
}
