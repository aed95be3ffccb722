//! What is wrong with a table, said so that it can be put right: the line, the
//! column, the cited text, and what would be right.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// More diagnostics of a kind than these are counted, not kept: a table of rubbish must
/// not cost a hundred times its size.
const MAX_KEPT: usize = 1000;
/// How much of a line is cited, in characters.
const CITED: usize = 120;
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
        let kept = if is_note { self.notes } else { self.kept.len() - self.notes };
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

/// Bytes as a person may see them: control and direction characters and bytes
/// that are not UTF-8 as escapes, so that a table cannot repaint a terminal.
pub fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_visible(&mut text, c);
        }
        for byte in chunk.invalid() {
            push_hex(&mut text, *byte);
        }
    }
    text
}

fn push_visible(text: &mut String, c: char) {
    match c {
        '\t' => text.push(' '),
        c if c.is_ascii_control() => push_hex(text, c as u8),
        c if c.is_control() || is_unseen(c) => text.extend(c.escape_unicode()),
        c => text.push(c),
    }
}

fn push_hex(text: &mut String, byte: u8) {
    text.push_str(&format!("\\x{byte:02x}"));
}

/// Characters that reorder or hide their neighbours, or break a line.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
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

/// Writes diagnostics as rustc does, `source` being the bytes that were parsed and
/// `origin` the file's name; coloured for a terminal.
pub fn render(
    diagnostics: &[Diagnostic],
    source: &[u8],
    origin: &str,
    severity: Severity,
    colour: bool,
) -> String {
    let lines: Vec<&[u8]> = source.split(|b| *b == b'\n').collect();
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let origin = visible(origin.as_bytes());
    let mut text = String::new();
    for diagnostic in diagnostics.iter().filter(|d| d.severity >= severity) {
        let index = diagnostic.line.saturating_sub(1) as usize;
        let line = lines.get(index).copied().unwrap_or_default();
        text.push_str(&render_one(&renderer, diagnostic, line, &origin));
        text.push_str("\n\n");
    }
    text
}

fn render_one(renderer: &Renderer, d: &Diagnostic, line: &[u8], origin: &str) -> String {
    // Where the line can stand as it is, the renderer finds the column itself.
    let as_it_is = line.len() <= 4 * CITED && is_plain(line);
    let cited = if as_it_is {
        Cited::whole(line, d)
    } else {
        Cited::part(line, d)
    };
    let level = match d.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let snippet = Snippet::source(cited.text.as_str())
        .line_start(d.line as usize)
        .annotation(AnnotationKind::Primary.span(cited.start..cited.end));
    let title = level.primary_title(d.message.as_str());
    let mut group: Group<'_> = if as_it_is {
        title.element(snippet.path(origin))
    } else {
        let place = Origin::path(origin)
            .line(d.line as usize)
            .char_column(d.column as usize);
        title.element(place).element(snippet)
    };
    if let Some(help) = &d.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// True where a line can be shown with nothing changed but tabs.
fn is_plain(line: &[u8]) -> bool {
    line.iter().all(|b| *b == b'\t' || (0x20..0x7f).contains(b))
}

/// The part of a line around a diagnostic, made visible.
struct Cited {
    text: String,
    start: usize,
    end: usize,
}

impl Cited {
    /// All of a plain line.
    fn whole(line: &[u8], d: &Diagnostic) -> Cited {
        let mut text = visible(line);
        text.push(' ');
        let start = (d.column.saturating_sub(1) as usize).min(line.len());
        let end = (start + d.length as usize).clamp(start + 1, text.len());
        Cited { text, start, end }
    }

    /// What surrounds the place, made visible.
    fn part(line: &[u8], d: &Diagnostic) -> Cited {
        let start = (d.column.saturating_sub(1) as usize).min(line.len());
        let end = (start + d.length as usize).min(line.len());
        let from = start.saturating_sub(CITED / 2);
        let to = (from + CITED).min(line.len());
        let piece = |from: usize, to: usize| line.get(from..to.max(from)).unwrap_or_default();
        let mut text = String::new();
        if from > 0 {
            text.push('…');
        }
        text.push_str(&visible(piece(from, start)));
        let marked = text.len();
        text.push_str(&visible(piece(start, end.min(to))));
        let unmarked = text.len();
        text.push_str(&visible(piece(end.min(to), to)));
        if to < line.len() {
            text.push('…');
        }
        if unmarked == text.len() {
            // Room for a mark behind the last character.
            text.push(' ');
        }
        Cited {
            start: marked,
            end: unmarked.max(marked + 1).min(text.len()),
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(column: u32, length: u32) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            line: 2,
            column,
            length,
            message: "unknown word `IN_CREAT`".into(),
            help: Some("did you mean `IN_CREATE`?".into()),
        }
    }

    #[test]
    fn cites_line_and_column() {
        let text = render(
            &[one(4, 8)],
            b"# x\n/a IN_CREAT c\n",
            "/etc/incron.d/x",
            Severity::Note,
            false,
        );
        assert!(text.contains("error: unknown word `IN_CREAT`"), "{text}");
        assert!(text.contains("/etc/incron.d/x:2:4"), "{text}");
        assert!(text.contains("/a IN_CREAT c"), "{text}");
        assert!(text.contains("^^^^^^^^"), "{text}");
        assert!(text.contains("did you mean"), "{text}");
    }

    #[test]
    fn hostile_text_is_visible_and_bounded() {
        let mut source = b"\n/a \x1b[2J\xff\xe2\x80\xae".to_vec();
        source.extend(std::iter::repeat_n(b'x', 100_000));
        for column in [1, 4, 8, 50_000, 100_009, 200_000] {
            let text = render(
                &[one(column, 99_999)],
                &source,
                "t\x1b",
                Severity::Note,
                false,
            );
            assert!(
                !text.contains('\x1b') && !text.contains('\u{202e}'),
                "{text}"
            );
            assert!(text.len() < 4000, "{}", text.len());
        }
    }

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
