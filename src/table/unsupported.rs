//! What the language has and this release does not: refused, never silently ignored.

use super::diagnostics::{Reporter, Span};

/// A feature that a table may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    /// `who=true`
    Who,
    /// `source=fanotify`
    Fanotify,
    /// `IN_OPEN_EXEC`
    OpenExec,
    /// `@NAME/rest`
    Provider,
}

/// The one list: taking an entry out makes its words work.
const UNSUPPORTED: [(Feature, &str); 4] = [
    (Feature::Who, "`who=true` is not supported yet"),
    (Feature::Fanotify, "`source=fanotify` is not supported yet"),
    (Feature::OpenExec, "`IN_OPEN_EXEC` is not supported yet"),
    (
        Feature::Provider,
        "paths of a provider (`@NAME/rest`) are not supported yet",
    ),
];

/// Reports an error and returns true where this release lacks `feature`.
pub(super) fn refuse(feature: Feature, span: Span, report: &mut Reporter) -> bool {
    let entry = UNSUPPORTED.iter().find(|(f, _)| *f == feature);
    if let Some((_, message)) = entry {
        report.error(span, *message, "take it out, or wait for a later release");
    }
    entry.is_some()
}
