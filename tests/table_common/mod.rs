//! Short ways to parse a text in a test.

#![allow(dead_code)] // each test file uses its own part

use incron::table::{Context, Diagnostic, Dialect, Line, Severity, Table, parse};

/// A context like that of a user's table.
pub fn context(dialect: Dialect, system: bool) -> Context {
    Context {
        origin: "test".into(),
        name: "test".into(),
        dialect,
        system,
    }
}

/// Parses a user's table.
pub fn parse_text(text: &str) -> (Table, Vec<Diagnostic>) {
    parse(text.as_bytes(), &context(Dialect::V0_5_12, false))
}

/// The only line of a table without errors.
pub fn line(text: &str) -> Line {
    line_in(Dialect::V0_5_12, text)
}

/// As `line`, in a dialect.
pub fn line_in(dialect: Dialect, text: &str) -> Line {
    let (mut table, diagnostics) = parse(text.as_bytes(), &context(dialect, false));
    assert_eq!(table.lines.len(), 1, "{text}: {diagnostics:?}");
    table.lines.remove(0)
}

/// The only line of a table of the system.
pub fn system_line(text: &str) -> Line {
    let (mut table, diagnostics) = parse(text.as_bytes(), &context(Dialect::V0_5_12, true));
    assert_eq!(table.lines.len(), 1, "{text}: {diagnostics:?}");
    table.lines.remove(0)
}

fn of(severity: Severity, text: &str) -> Vec<Diagnostic> {
    let (table, mut diagnostics) = parse_text(text);
    diagnostics.retain(|d| d.severity == severity);
    if severity == Severity::Error && !diagnostics.is_empty() {
        assert!(table.lines.is_empty(), "{text}: an error, and served");
    }
    diagnostics
}

/// The errors of a text, none of whose lines is then served.
pub fn errors(text: &str) -> Vec<Diagnostic> {
    of(Severity::Error, text)
}

/// The warnings of a text.
pub fn warnings(text: &str) -> Vec<Diagnostic> {
    of(Severity::Warning, text)
}

/// The notes of a text.
pub fn notes(text: &str) -> Vec<Diagnostic> {
    of(Severity::Note, text)
}
