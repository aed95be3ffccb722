//! A table in words: what each line watches, with which events, and what it runs.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use super::{Diagnostic, Line, Mask, Options, Severity, Table, visible};

/// Explains the lines that are served. `diagnostics` are the table's: the notes on
/// other incrons are repeated beneath their lines. `shell` is used where the table
/// sets no SHELL. `provider` says of a name where its program is, or why there is none.
pub fn explain(
    table: &Table,
    diagnostics: &[Diagnostic],
    shell: &OsStr,
    provider: &dyn Fn(&str) -> String,
) -> String {
    let mut text = String::new();
    for line in &table.lines {
        line_text(&mut text, line, shell);
        if let Some((name, _)) = line.path.provider() {
            item(&mut text, "provider", &visible(provider(name).as_bytes()));
        }
        let first = diagnostics.partition_point(|d| d.line < line.number);
        let own = diagnostics
            .iter()
            .skip(first)
            .take_while(|d| d.line == line.number);
        for note in own.filter(|d| d.severity == Severity::Note) {
            item(&mut text, "differs", &note.message);
        }
    }
    if table.lines.is_empty() {
        text.push_str("No line is served.\n");
    }
    text
}

fn line_text(text: &mut String, line: &Line, shell: &OsStr) {
    let _ = writeln!(text, "line {}", line.number);
    item(text, "watches", &watched(line));
    item(text, "events", &line.mask.events().written());
    if !line.mask.flags().is_empty() {
        item(text, "flags", &line.mask.flags().written());
    }
    let options = line.options.written(super::Dialect::V0_5_12);
    if !options.is_empty() {
        item(text, "options", &visible(options.join(",").as_bytes()));
    }
    let variable = |(name, value): &(OsString, OsString)| {
        format!("{}={}", visible(name.as_bytes()), visible(value.as_bytes()))
    };
    for pair in line.env.iter() {
        item(text, "sets", &variable(pair));
    }
    item(text, "runs", &command(line, shell));
}

fn item(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<8} {value}");
}

fn watched(line: &Line) -> String {
    let o = &line.options;
    let path = visible(line.path.written.as_bytes());
    let mut text = match (line.path.provider(), line.path.pattern) {
        (Some((name, b"")), _) => format!("every path that provider {name} names"),
        (Some((name, rest)), pattern) => {
            let like = if pattern {
                "every path like"
            } else {
                "the path"
            };
            let rest = visible(rest);
            format!("in every path that provider {name} names, {like} {rest}")
        }
        (None, true) => format!("every path like {path}"),
        (None, false) => path,
    };
    text.push_str(&depth(line.mask, o));
    let globs = |globs: &[String]| visible(globs.join(" ").as_bytes());
    if !o.include.is_empty() {
        let _ = write!(text, "; only {}", globs(&o.include));
    }
    if !o.exclude.is_empty() {
        let _ = write!(text, "; not {}", globs(&o.exclude));
    }
    match o.kind {
        Some(super::Kind::File) => text.push_str("; only what happens to files"),
        Some(super::Kind::Dir) => text.push_str("; only what happens to directories"),
        None => {}
    }
    who(&mut text, " done by", &o.by);
    who(&mut text, " done with", &o.exe);
    text
}

/// `; only done by a b; not done by c`
fn who(text: &mut String, what: &str, words: &[String]) {
    let not = |word: &&String| word.starts_with('!');
    let only: Vec<&str> = words
        .iter()
        .filter(|w| !not(w))
        .map(String::as_str)
        .collect();
    let never: Vec<&str> = words
        .iter()
        .filter(not)
        .filter_map(|w| w.get(1..))
        .collect();
    for (word, list) in [("only", only), ("not", never)] {
        if !list.is_empty() {
            let _ = write!(
                text,
                "; {word}{what} {}",
                visible(list.join(" ").as_bytes())
            );
        }
    }
}

fn depth(mask: Mask, o: &Options) -> String {
    let mut text = match (o.recursive, o.depth) {
        (false, _) | (true, Some(0)) => return String::new(),
        (true, None) => " and, if it is a directory, all below it".to_string(),
        (true, Some(depth)) => format!(" and, if it is a directory, {depth} levels below it"),
    };
    text.push_str(if o.dotdirs {
        ""
    } else {
        " except dot directories"
    });
    if mask.intersects(Mask::DONT_FOLLOW) {
        text.push_str(", the link itself if it is one");
    }
    text
}

fn command(line: &Line, shell: &OsStr) -> String {
    let of_table = line
        .env
        .iter()
        .find(|(name, _)| name == "SHELL")
        .map(|(_, value)| value);
    let shell = of_table.map_or(shell, OsString::as_os_str);
    match (line.command.script(), line.command.arguments()) {
        (Some(script), _) => {
            format!(
                "{} (in {})",
                visible(script.as_bytes()),
                visible(shell.as_bytes())
            )
        }
        (None, Some(words)) => {
            let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
            format!("{} (no shell)", words.join(" "))
        }
        (None, None) => String::new(),
    }
}

/// A word as a shell would need it, so that its bounds are seen.
fn quote(word: &OsStr) -> String {
    visible(shell_words::quote(&String::from_utf8_lossy(word.as_bytes())).as_bytes())
}
