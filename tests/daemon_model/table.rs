//! The table of a game: which lines stand in it, in which order.

use incron::table::Mask;

use super::line::{ALL, Line};
use super::scope::Shape;

/// A line of the table.
pub struct Kind {
    pub key: &'static str,
    pub shape: Shape,
    pub mask: Mask,
    pub catch_up: bool,
    /// An edit may take it away.
    pub optional: bool,
}

/// All lines there may be.
pub fn kinds() -> Vec<Kind> {
    let tree = |depth| Shape::Tree {
        root: "d",
        depth,
        exclude: None,
    };
    let kind = |key, shape, catch_up, optional| Kind {
        key,
        shape,
        mask: ALL,
        catch_up,
        optional,
    };
    vec![
        kind("tree", tree(None), true, false),
        kind("live", tree(None), false, false),
        kind("match", Shape::Pattern("d/*/f"), true, false),
        kind("below", Shape::tree("d/a"), false, false),
        kind("flat", tree(Some(0)), false, true),
        kind("deep", tree(Some(1)), false, true),
        kind("again", tree(None), false, true),
    ]
}

impl Kind {
    pub fn line(&self, id: u32) -> Line {
        Line::new(id, &self.shape, self.mask)
    }

    /// As it stands in the table; `@W` is the watched directory.
    fn text(&self, hook: &str) -> String {
        let options = match self.shape {
            Shape::Tree { depth: Some(0), .. } => ",recursive=false",
            Shape::Tree { depth: Some(1), .. } => ",depth=1",
            _ => "",
        };
        let key = self.key;
        let catch_up = self.catch_up;
        let names = ["CREATE", "MOVE", "CLOSE_WRITE", "DELETE"].map(|n| format!("IN_{n}"));
        format!(
            "@W/{} {}{options},key={key},run=stream,catch-up={catch_up} {hook} {key}\n",
            self.shape.path(),
            names.join(",")
        )
    }
}

/// The line on a file; its key.
pub const FILE_KEY: &str = "file";

/// The table that `number` stands for, and which of `kinds` are in it.
pub fn table(kinds: &[&Kind], number: usize, hook: &str) -> (String, Vec<bool>) {
    let on = |(at, kind): (usize, &&Kind)| !kind.optional || number >> at & 1 == 1;
    let on: Vec<bool> = kinds.iter().enumerate().map(on).collect();
    let shown = kinds.iter().zip(&on).filter(|(_, on)| **on);
    let mut lines: Vec<String> = shown.map(|(kind, _)| kind.text(hook)).collect();
    lines.push(format!(
        "@W/{} IN_CLOSE_WRITE,key={FILE_KEY},run=stream,catch-up=true {hook} {FILE_KEY}\n",
        super::file::FILE
    ));
    let turn = number % lines.len();
    lines.rotate_left(turn);
    if number & 1 << 9 != 0 {
        lines.reverse();
    }
    lines.insert(number % 3, "# a comment\n\n".into());
    (lines.concat(), on)
}
