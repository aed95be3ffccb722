//! Diagnostics as text: the cited line with its place marked, and nothing in it
//! that could repaint a terminal.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, Severity};

/// How much of a line is cited, in characters.
const CITED: usize = 120;

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
}
