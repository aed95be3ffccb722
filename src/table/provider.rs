//! `@NAME/rest`: a path below each member of the set that provider NAME keeps.
//!
//! In a [`PathSpec`] it stands as it is written; what is absolute cannot begin with
//! `@`, so the two are never mistaken for each other. Where the members are is
//! the worker's to know; here is only how a member and the rest become a path.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::PathSpec;
use super::diagnostics::{Reporter, Span, quoted};

/// NAME_MAX of <linux/limits.h>: the name is that of a file.
const LONGEST_NAME: usize = 255;

/// Checks the field `@NAME/rest`, without its escapes, and says where NAME ends.
pub(super) fn name_end(bytes: &[u8], span: Span, report: &mut Reporter) -> Option<usize> {
    let end = bytes.iter().position(|b| *b == b'/').unwrap_or(bytes.len());
    let name = bytes.get(1..end).unwrap_or_default();
    let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if name.is_empty() {
        report.error(
            span,
            "the name of the provider is missing",
            "write `@NAME/path`, as in `@homes/.ssh`",
        );
        return None;
    }
    if name.len() > LONGEST_NAME || !name.iter().all(legal) {
        report.error(
            span,
            format!("{} is no name of a provider", quoted(name)),
            "letters, digits, `_` and `-` make one: `@NAME/path`; a path starts with `/`",
        );
        return None;
    }
    let rest = bytes.get(end..).unwrap_or_default();
    if rest.split(|b| *b == b'/').any(|part| part == b"..") {
        report.error(
            span,
            "`..` would lead out of the provider's paths",
            "name what is below them",
        );
        return None;
    }
    Some(end)
}

impl PathSpec {
    /// The provider that keeps the paths this one stands for, and what follows
    /// each of them: nothing, or a path that begins with `/`.
    pub fn provider(&self) -> Option<(&str, &[u8])> {
        let text = self.written.as_bytes().strip_prefix(b"@")?;
        let end = text.iter().position(|b| *b == b'/').unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        Some((std::str::from_utf8(name).ok()?, rest))
    }

    /// The path that `rest` of [`provider`](Self::provider) means below `base`, which
    /// is absolute and has no slash at its end unless it is `/`.
    pub fn below(&self, base: &[u8]) -> PathSpec {
        let rest = self.provider().map_or(&b""[..], |(_, rest)| rest);
        let mut written = Vec::with_capacity(base.len() + rest.len());
        for byte in base.strip_suffix(b"/").unwrap_or(base) {
            if self.pattern && super::path::is_special(*byte) {
                written.push(b'\\');
            }
            written.push(*byte);
        }
        written.extend_from_slice(rest);
        if written.is_empty() {
            written.push(b'/');
        }
        PathSpec {
            written: OsString::from_vec(written),
            pattern: self.pattern,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pattern;
    use super::*;

    fn spec(written: &str, pattern: bool) -> PathSpec {
        PathSpec {
            written: written.into(),
            pattern,
        }
    }

    #[test]
    fn below_a_member() {
        let etc = spec("@c/etc", false);
        assert_eq!(etc.provider(), Some(("c", &b"/etc"[..])));
        assert_eq!(etc.below(b"/x/y"), spec("/x/y/etc", false));
        assert_eq!(etc.below(b"/"), spec("/etc", false));
        let whole = spec("@c", false);
        assert_eq!(whole.provider(), Some(("c", &b""[..])));
        assert_eq!(whole.below(b"/"), spec("/", false));
        assert_eq!(whole.below(b"/x[1]"), spec("/x[1]", false));
        assert_eq!(spec("/a", false).provider(), None);
    }

    #[test]
    fn a_member_is_never_a_pattern() {
        let jpg = spec("@c/*.jpg", true).below(b"/a*[b]{c,d}");
        let pattern = Pattern::compile(&jpg).unwrap();
        assert!(pattern.matches(b"/a*[b]{c,d}/x.jpg"));
        assert!(!pattern.matches(b"/axbc/x.jpg"));
    }
}
