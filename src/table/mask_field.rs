//! The mask field: a comma list of event names, numbers and options.
//!
//! `\` protects the byte after it, so that a comma or a blank can stand in a value.

use super::diagnostics::{Reporter, Span, quoted};
use super::option_words::{self, OptionWords};
use super::{Context, Dialect, Mask, Options, mask};

/// After this many errors in one field the rest of it is not looked at.
const MAX_ERRORS: u32 = 8;

/// How many bytes the field at the start of `text` takes.
pub(super) fn length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b' ' | b'\t' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at.min(text.len())
}

/// Reads the field. Errors are reported; what comes back is then not to be used.
pub(super) fn parse(
    field: &[u8],
    start: usize,
    context: &Context,
    dialect: Dialect,
    report: &mut Reporter,
) -> (Mask, Options) {
    let mut mask = Mask(0);
    let mut options = OptionWords::new(context.system, dialect);
    // `by=alice,!bob`: no mask begins with `!`, so this can mean one thing only.
    let mut list: Option<&[u8]> = None;
    for (offset, word) in words(field) {
        if report.errors() >= MAX_ERRORS {
            break;
        }
        let span = Span {
            start: start + offset,
            length: word.len(),
        };
        if word.is_empty() {
            report.warning(span, "an empty word between commas", "take the comma out");
        } else if let Some(at) = word.iter().position(|b| *b == b'=') {
            let (name, value) = (word.get(..at), word.get(at + 1..));
            list = name.filter(|name| matches!(*name, b"by" | b"exe"));
            options.set(
                name.unwrap_or_default(),
                value.unwrap_or_default(),
                span,
                report,
            );
        } else if word.starts_with(b"!") && list.is_some() {
            options.set(list.unwrap_or_default(), word, span, report);
        } else if word == b"IN_NO_LOOP" {
            options.no_loop(span);
        } else {
            mask |= mask_word(word, span, report);
        }
    }
    let whole = Span {
        start,
        length: field.len(),
    };
    let options = options.finish(whole, report);
    (check(mask, whole, report), options)
}

/// The words of the field and where they start. A comma in braces, as in
/// `include=*.{jpg,png}`, is part of its word.
fn words(field: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut next = Some(0);
    let last_close = field.iter().rposition(|b| *b == b'}').unwrap_or(0);
    std::iter::from_fn(move || {
        let start = next?;
        let mut at = start;
        let mut braces = 0usize;
        loop {
            match field.get(at) {
                None => {
                    next = None;
                    break;
                }
                Some(b'{') if at < last_close => {
                    braces += 1;
                    at += 1;
                }
                Some(b'}') => {
                    braces = braces.saturating_sub(1);
                    at += 1;
                }
                Some(b',') if braces == 0 => {
                    next = Some(at + 1);
                    break;
                }
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
            }
        }
        Some((
            start,
            field.get(start..at.min(field.len())).unwrap_or_default(),
        ))
    })
}

fn mask_word(word: &[u8], span: Span, report: &mut Reporter) -> Mask {
    if word
        .first()
        .is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+'))
    {
        return number(word, span, report);
    }
    let text = std::str::from_utf8(word).unwrap_or_default();
    if let Some(mask) = Mask::from_word(text) {
        let ours = matches!(text, "IN_COMPLETE" | "IN_EXCL_UNLINK" | "IN_OPEN_EXEC");
        if ours || !text.starts_with("IN_") {
            report.note(
                span,
                format!("incron 0.5.x does not know the name `{text}`"),
            );
        }
        return mask;
    }
    unknown(word, text, span, report);
    // Not empty, so that a mask without events is not reported beside it.
    Mask::MODIFY
}

fn unknown(word: &[u8], text: &str, span: Span, report: &mut Reporter) {
    let message = format!("unknown word {} in the mask", quoted(word));
    let help = if matches!(text, "IN_MASK_ADD" | "IN_MASK_CREATE") {
        "the lines of a table share their watches already: take it out".into()
    } else if let Some(name) = option_words::NAMES.iter().find(|n| **n == text) {
        format!("an option needs a value: `{name}=...`")
    } else {
        let options = option_words::NAMES.iter().copied();
        match report.nearest(
            text,
            mask::words()
                .map(|(_, w)| w)
                .chain(options)
                .chain(["IN_NO_LOOP"]),
        ) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "a mask is names such as `IN_CLOSE_WRITE,IN_MOVED_TO`, a number, and options \
                     such as `settle=2s`"
                .into(),
        }
    };
    report.error(span, message, help);
}

/// Decimal as incron reads it (`010` is ten), or hexadecimal after `0x`.
fn number(word: &[u8], span: Span, report: &mut Reporter) -> Mask {
    let text = std::str::from_utf8(word).unwrap_or_default();
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let value = match hexadecimal {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            u32::from_str_radix(digits, 16).ok()
        }
        None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    let mask = Mask(value.unwrap_or(0));
    if value.is_none() {
        report.error(
            span,
            format!("{} is not a mask", quoted(word)),
            "a number is decimal (`12`) or hexadecimal (`0xc`), at most 32 bits, and not \
             negative; `IN_ALL_EVENTS` is 4095",
        );
    } else if !mask.unknown_in_number().is_empty() {
        report.error(
            span,
            format!("the bits {:#x} mean nothing", mask.unknown_in_number().0),
            "<sys/inotify.h> has the bits; names are easier to read: `IN_CLOSE_WRITE`",
        );
    } else if hexadecimal.is_some() {
        report.note(span, "incron 0.5.x reads a hexadecimal number as 0");
    } else if mask.is_empty() {
        report.error(
            span,
            "a mask of 0 has no events",
            "name events: `IN_CLOSE_WRITE,IN_MOVED_TO`",
        );
    }
    if mask.is_empty() { Mask::MODIFY } else { mask }
}

/// A mask must name an event that a command can run for.
fn check(mask: Mask, span: Span, report: &mut Reporter) -> Mask {
    let useful = mask.events();
    if useful.is_empty() && report.errors() == 0 {
        report.error(
            span,
            "the mask has no events",
            "name at least one: `IN_CLOSE_WRITE`, `IN_MOVED_TO`, `IN_CREATE`, `IN_DELETE`, ...",
        );
    }
    let news = Mask(mask.0 & (Mask::IGNORED | Mask::Q_OVERFLOW).0);
    if !news.is_empty() {
        report.warning(
            span,
            format!("{} never runs a command", news.text()),
            "it is about the watch, not about a file: take it out",
        );
    }
    if mask.intersects(Mask::ISDIR) {
        report.warning(
            span,
            "IN_ISDIR in a mask chooses nothing",
            "for events of directories only write `type=dir`",
        );
    }
    useful | mask.flags()
}
