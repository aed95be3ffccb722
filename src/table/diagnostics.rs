//! What is wrong with a table, said so that it can be put right: the line, the
//! column, the cited text, and what would be right.

use super::render::visible;

/// More diagnostics of a kind than these are counted, not kept: a table of rubbish must
/// not cost a hundred times its size.
const MAX_KEPT: usize = 1000;
/// How much of a word a message repeats, in bytes.
const QUOTED: usize = 60;

/// An error or a warning about a table: file, line, column, what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error: the line is skipped. Warning: it is served. Note: it differs from 0.5.x.
    pub severity: Severity,
    /// Line number from 1.
    pub line: u32,
    /// Byte column from 1.
    pub column: u32,
    /// How many bytes from there it is about; 0: a place between two.
    pub length: u32,
    /// One line, no control characters.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For the curious: `-T` only.
    Note,
    /// Served, but probably not what was meant.
    Warning,
    /// Not served.
    Error,
}

/// A stretch of a line: from this byte (from 0), this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub start: usize,
    pub length: usize,
}

/// Collects the diagnostics of one table.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    kept: Vec<Diagnostic>,
    line: u32,
    errors_in_line: u32,
    /// Kept notes; they never take the place of an error.
    notes: usize,
    dropped: u32,
}

impl Reporter {
    /// Everything after this is about line `number`.
    pub fn begin(&mut self, number: u32) {
        self.line = number;
        self.errors_in_line = 0;
    }

    /// Errors since `begin`.
    pub fn errors(&self) -> u32 {
        self.errors_in_line
    }

    pub fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.errors_in_line += 1;
        self.push(Severity::Error, span, message.into(), Some(help.into()));
    }

    pub fn warning(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Warning, span, message.into(), Some(help.into()));
    }

    pub fn note(&mut self, span: Span, message: impl Into<String>) {
        self.push(Severity::Note, span, message.into(), None);
    }

    fn push(&mut self, severity: Severity, span: Span, message: String, help: Option<String>) {
        let is_note = severity == Severity::Note;
        let kept = if is_note {
            self.notes
        } else {
            self.kept.len() - self.notes
        };
        if kept >= MAX_KEPT {
            self.dropped += u32::from(severity == Severity::Error);
            return;
        }
        self.notes += usize::from(is_note);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.kept.push(Diagnostic {
            severity,
            line: self.line,
            column: number(span.start + 1),
            length: number(span.length),
            message,
            help: help.filter(|h| !h.is_empty()),
        });
    }

    /// As [`nearest`], while errors are still kept: a search for each of a hundred
    /// thousand words would take a while, for nobody.
    pub fn nearest<'a>(
        &self,
        word: &str,
        candidates: impl Iterator<Item = &'a str>,
    ) -> Option<&'a str> {
        if self.kept.len() - self.notes >= MAX_KEPT {
            return None;
        }
        nearest(word, candidates)
    }

    /// All of them, in the order of the lines.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        if self.dropped > 0 {
            self.kept.push(Diagnostic {
                severity: Severity::Error,
                line: self.line,
                column: 1,
                length: 0,
                message: format!("{} more errors are not shown", self.dropped),
                help: None,
            });
        }
        self.kept
    }
}

/// A word for a message, visible and bounded.
pub(super) fn quoted(word: &[u8]) -> String {
    match word.get(..QUOTED) {
        Some(start) if word.len() > QUOTED => format!("`{}…`", visible(start)),
        _ => format!("`{}`", visible(word)),
    }
}

/// The candidate nearest to `word`, where one is near enough to be meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > 40 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    candidates
        .map(|c| {
            let distance = strsim::damerau_levenshtein(&lower, &c.to_ascii_lowercase());
            // The case decides between `IN_CREATE` and a shorter, equally near name.
            (distance, strsim::damerau_levenshtein(word, c), c)
        })
        .filter(|(distance, _, c)| *distance <= 1 + c.len().min(word.len()) / 5)
        .min_by_key(|(distance, exact, _)| (*distance, *exact))
        .map(|(_, _, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names() {
        let words = || super::super::mask::words().map(|(_, w)| w);
        assert_eq!(nearest("IN_CREAT", words()), Some("IN_CREATE"));
        assert_eq!(nearest("in_create", words()), Some("IN_CREATE"));
        assert_eq!(nearest("CLOSE_WRITE", words()), Some("close_write"));
        assert_eq!(nearest("rsync", words()), None);
        assert_eq!(nearest(&"x".repeat(100_000), words()), None);
    }
}
