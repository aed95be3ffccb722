//! Patterns in paths: `/home/*/inbox`, `/srv/**/conf`, `/data/{a,b}`.
//!
//! Matched component by component, so that the watch room can walk a tree with it:
//! it knows where to begin ([`Pattern::base`]), which directories to enter
//! ([`Pattern::could_contain`]) and which paths are meant ([`Pattern::matches`]).
//! As in a shell, `*` and `?` do not match `/`, nor the dot a name begins with;
//! `**` stands for any number of directories, none of them a dot directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::PathSpec;
use super::glob::{Glob, TooManyAlternatives, expand_braces};

/// A compiled path pattern. Bounded: braces stand for at most 1024 patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    base: PathBuf,
    alternatives: Vec<Vec<Component>>,
    directories_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Component {
    Name(Glob),
    /// `**`
    Any,
}

impl Pattern {
    /// Compiles a path; one that is no pattern matches itself.
    pub fn compile(spec: &PathSpec) -> Result<Pattern, TooManyAlternatives> {
        let written = spec.written.as_bytes();
        let alternatives: Vec<Vec<Component>> = if spec.pattern {
            expand_braces(written)?
                .iter()
                .map(|one| components(one))
                .collect()
        } else {
            vec![
                names(written)
                    .map(|n| Component::Name(Glob::exactly(n)))
                    .collect(),
            ]
        };
        Ok(Pattern {
            base: base(&alternatives),
            alternatives,
            directories_only: written.ends_with(b"/"),
        })
    }

    /// The deepest directory that every match lies below (or is).
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The pattern ends in a slash: it means directories, and `$@` ends in one too.
    pub fn directories_only(&self) -> bool {
        self.directories_only
    }

    /// True where `path` (absolute, no `.` or `..`) is one the pattern means. A
    /// trailing slash makes no difference.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.alternatives
            .iter()
            .any(|one| run(one, path).last().copied().unwrap_or(false))
    }

    /// True where some path below the directory `dir` may match.
    pub fn could_contain(&self, dir: &[u8]) -> bool {
        self.alternatives.iter().any(|one| {
            let reached = run(one, dir);
            reached.iter().take(one.len()).any(|r| *r)
        })
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

/// A `/` in a class or after a backslash still ends a component, as in a shell.
fn components(glob: &[u8]) -> Vec<Component> {
    let mut components: Vec<Component> = Vec::new();
    for name in names(glob) {
        match name {
            b"**" if components.last() == Some(&Component::Any) => {}
            b"**" => components.push(Component::Any),
            name => components.push(Component::Name(Glob::new(name))),
        }
    }
    components
}

fn base(alternatives: &[Vec<Component>]) -> PathBuf {
    let literal = |one: &[Component], i: usize| -> Option<Vec<u8>> {
        match one.get(i)? {
            // The last component is the thing itself, and waits to appear like any other.
            Component::Name(glob) if i + 1 < one.len() => glob.literal().map(<[u8]>::to_vec),
            _ => None,
        }
    };
    let mut base = PathBuf::from("/");
    let Some(first) = alternatives.first() else {
        return base;
    };
    let mut i = 0;
    while let Some(name) = literal(first, i)
        && alternatives
            .iter()
            .all(|one| literal(one, i).as_ref() == Some(&name))
    {
        base.push(OsStr::from_bytes(&name));
        i += 1;
    }
    base
}

/// Which positions of the pattern are reached once `path` is read; the last one
/// means a match.
fn run(components: &[Component], path: &[u8]) -> Vec<bool> {
    let mut reached = vec![false; components.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    skip_any(components, &mut reached);
    for name in names(path) {
        let mut next = vec![false; reached.len()];
        for (i, component) in components.iter().enumerate() {
            if !reached.get(i).copied().unwrap_or(false) {
                continue;
            }
            let to = match component {
                Component::Any if name.first() != Some(&b'.') => i,
                Component::Name(glob) if glob.matches_shown(name) => i + 1,
                _ => continue,
            };
            if let Some(position) = next.get_mut(to) {
                *position = true;
            }
        }
        skip_any(components, &mut next);
        reached = next;
    }
    reached
}

/// `**` stands for no directory, too.
fn skip_any(components: &[Component], reached: &mut [bool]) {
    for (i, component) in components.iter().enumerate() {
        if *component == Component::Any
            && reached.get(i).copied().unwrap_or(false)
            && let Some(next) = reached.get_mut(i + 1)
        {
            *next = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::compile(&PathSpec {
            written: text.into(),
            pattern: true,
        })
        .unwrap()
    }

    #[test]
    fn one_star_is_one_component() {
        let p = pattern("/home/*/inbox");
        assert_eq!(p.base(), Path::new("/home"));
        assert!(p.matches(b"/home/ann/inbox") && p.matches(b"/home/ann/inbox/"));
        assert!(!p.matches(b"/home/ann/x/inbox") && !p.matches(b"/home/inbox"));
        assert!(!p.matches(b"/home/.hid/inbox"));
        assert!(p.could_contain(b"/home") && p.could_contain(b"/") && p.could_contain(b"/home/x"));
        assert!(!p.could_contain(b"/home/ann/inbox") && !p.could_contain(b"/srv"));
    }

    #[test]
    fn two_stars_span() {
        let p = pattern("/srv/**/conf");
        assert_eq!(p.base(), Path::new("/srv"));
        assert!(p.matches(b"/srv/conf") && p.matches(b"/srv/a/b/conf"));
        assert!(!p.matches(b"/srv/.git/conf"));
        assert!(p.could_contain(b"/srv/a/b/c") && p.could_contain(b"/srv/conf"));
        assert!(pattern("/srv/**").matches(b"/srv/a/b"));
        assert!(pattern("/srv/**").matches(b"/srv"));
    }

    #[test]
    fn braces_and_base() {
        let p = pattern("/a/{b,c/d}/x");
        assert_eq!(p.base(), Path::new("/a"));
        assert!(p.matches(b"/a/b/x") && p.matches(b"/a/c/d/x") && !p.matches(b"/a/c/x"));
        assert_eq!(pattern("/a/b/*.conf").base(), Path::new("/a/b"));
        assert_eq!(pattern("/*").base(), Path::new("/"));
    }

    #[test]
    fn literals() {
        let spec = PathSpec {
            written: "/a/[x]*".into(),
            pattern: false,
        };
        let p = Pattern::compile(&spec).unwrap();
        assert!(p.matches(b"/a/[x]*") && !p.matches(b"/a/xy"));
        assert!(pattern(r"/a/\*x*").matches(b"/a/*xy"));
        assert!(pattern("/a/*/").directories_only());
    }

    #[test]
    fn many_stars_take_little_time() {
        let p = pattern(&"/**/a*a*a*a*a*b".repeat(60));
        let path = "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(90);
        assert!(!p.matches(path.as_bytes()));
    }
}
