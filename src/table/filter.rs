//! `include=`, `exclude=` and `type=` of a line, compiled.
//!
//! Asked for every event of every line on a directory, so a glob of a common shape
//! costs a comparison or two and nothing is allocated.

use super::glob::{Glob, TooManyAlternatives, expand_braces};
use super::{Kind, Options};

/// Decides which paths below the watched path a line wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    include: Vec<Rule>,
    exclude: Vec<Rule>,
    kind: Option<Kind>,
}

/// A path below the watched path (no leading slash), and what is asked of it again
/// and again.
#[derive(Clone, Copy, Debug)]
pub struct Below<'a> {
    path: &'a [u8],
    /// More than a name.
    nested: bool,
    is_dir: bool,
}

impl<'a> Below<'a> {
    /// `path`; empty for the watched path itself.
    pub fn new(path: &'a [u8], is_dir: bool) -> Self {
        Self {
            path,
            nested: path.contains(&b'/'),
            is_dir,
        }
    }
}

/// One brace-free glob of `include=` or `exclude=`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// `*.jpg`: any component.
    Name(Glob),
    /// `/a/*.jpg`: these components, from the watched path or from anywhere.
    Path { globs: Vec<Glob>, anchored: bool },
    /// `build/`: as the others, but only a directory.
    Directory(Box<Rule>),
}

impl Filter {
    /// Compiles a line's options. Fails only for braces that stand for too much.
    pub fn new(options: &Options) -> Result<Filter, TooManyAlternatives> {
        Ok(Filter {
            include: rules(&options.include)?,
            exclude: rules(&options.exclude)?,
            kind: options.kind,
        })
    }

    /// What `exclude=` alone takes out, for deciding which directories to enter.
    pub fn excluding(exclude: &[String]) -> Filter {
        Filter {
            // The parser has compiled these before.
            exclude: rules(exclude).unwrap_or_default(),
            ..Filter::default()
        }
    }

    /// True where the line wants an event of `relative`, the path below the watched
    /// path (no leading slash). The watched path itself (empty) is always wanted,
    /// unless `type=` says otherwise.
    pub fn wants(&self, relative: &[u8], is_dir: bool) -> bool {
        self.wants_below(Below::new(relative, is_dir))
    }

    /// [`wants`](Self::wants), for many filters and one path.
    #[inline]
    pub fn wants_below(&self, below: Below<'_>) -> bool {
        match self.kind {
            Some(Kind::File) if below.is_dir => return false,
            Some(Kind::Dir) if !below.is_dir => return false,
            _ => {}
        }
        if below.path.is_empty() {
            return true;
        }
        (self.include.is_empty() || self.include.iter().any(|r| r.hits(below)))
            && !self.exclude.iter().any(|r| r.hits(below))
    }

    /// True where the directory `relative` and all below it are excluded, so that it
    /// need not be entered. An include never prunes.
    pub fn prunes(&self, relative: &[u8]) -> bool {
        let below = Below::new(relative, true);
        !relative.is_empty() && self.exclude.iter().any(|r| r.hits(below))
    }

    /// True without any rule: every path is wanted.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty() && self.kind.is_none()
    }
}

fn rules(globs: &[String]) -> Result<Vec<Rule>, TooManyAlternatives> {
    let mut rules = Vec::new();
    for glob in globs {
        for one in expand_braces(glob.as_bytes())? {
            rules.extend(rule(&one));
            if rules.len() > 4096 {
                return Err(TooManyAlternatives);
            }
        }
    }
    Ok(rules)
}

fn rule(glob: &[u8]) -> Option<Rule> {
    let anchored = glob.starts_with(b"/");
    let mut globs: Vec<Glob> = glob
        .split(|b| *b == b'/')
        .filter(|c| !c.is_empty())
        .map(Glob::new)
        .collect();
    let rule = match globs.len() {
        0 => return None,
        1 if !anchored => Rule::Name(globs.remove(0)),
        _ => Rule::Path { globs, anchored },
    };
    Some(if glob.ends_with(b"/") {
        Rule::Directory(Box::new(rule))
    } else {
        rule
    })
}

impl Rule {
    /// True where the path, or a directory on the way to it, matches.
    #[inline]
    fn hits(&self, below: Below<'_>) -> bool {
        let relative = below.path;
        match self {
            Rule::Name(glob) => {
                if !below.nested {
                    return glob.matches(relative);
                }
                relative
                    .split(|b| *b == b'/')
                    .any(|name| glob.matches(name))
            }
            Rule::Path {
                globs,
                anchored: true,
            } => starts_with(globs, relative),
            Rule::Path {
                globs,
                anchored: false,
            } => {
                let mut rest = relative;
                loop {
                    if starts_with(globs, rest) {
                        return true;
                    }
                    match rest.iter().position(|b| *b == b'/') {
                        Some(slash) => rest = rest.get(slash + 1..).unwrap_or_default(),
                        None => return false,
                    }
                }
            }
            Rule::Directory(rule) if below.is_dir => rule.hits(below),
            Rule::Directory(rule) => match relative.iter().rposition(|b| *b == b'/') {
                Some(slash) => {
                    let directory = relative.get(..slash).unwrap_or_default();
                    rule.hits(Below::new(directory, true))
                }
                None => false,
            },
        }
    }
}

/// The first components of `path` match, one each.
fn starts_with(globs: &[Glob], path: &[u8]) -> bool {
    let mut names = path.split(|b| *b == b'/');
    globs
        .iter()
        .all(|glob| names.next().is_some_and(|name| glob.matches(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let list = |globs: &[&str]| globs.iter().map(|g| (*g).to_string()).collect();
        Filter::new(&Options {
            include: list(include),
            exclude: list(exclude),
            ..Options::default()
        })
        .unwrap()
    }

    #[test]
    fn names_match_any_component() {
        let f = filter(&["*.jpg", "*.{png,gif}"], &["node_modules"]);
        assert!(f.wants(b"a.jpg", false) && f.wants(b"x/y/a.gif", false));
        assert!(!f.wants(b"a.txt", false));
        assert!(!f.wants(b"node_modules/a.jpg", false) && !f.wants(b"x/node_modules/a.jpg", false));
        assert!(f.prunes(b"node_modules") && f.prunes(b"x/node_modules"));
        assert!(!f.prunes(b"x"), "an include must not stop the descent");
    }

    #[test]
    fn anchored_rules() {
        let f = filter(&[], &["/build", "src/*.o"]);
        assert!(!f.wants(b"build/x", false) && f.wants(b"x/build", false));
        assert!(!f.wants(b"src/a.o", false) && !f.wants(b"x/src/a.o", false));
        assert!(f.wants(b"src/x/a.o", false));
        assert!(f.prunes(b"build") && !f.prunes(b"x/build") && !f.prunes(b"src"));
    }

    #[test]
    fn directories_only() {
        let f = filter(&[], &["out/"]);
        assert!(f.wants(b"out", false) && !f.wants(b"out", true) && !f.wants(b"a/out/x", false));
        assert!(f.prunes(b"out"));
    }

    #[test]
    fn types_and_the_watched_path_itself() {
        let options = Options {
            kind: Some(Kind::File),
            ..Options::default()
        };
        let f = Filter::new(&options).unwrap();
        assert!(f.wants(b"x", false) && !f.wants(b"x", true) && f.wants(b"", false));
        assert!(filter(&["*.jpg"], &[]).wants(b"", true));
        assert!(Filter::default().is_empty() && !f.is_empty());
    }

    #[test]
    fn hidden_names_are_names() {
        assert!(filter(&["*.swp"], &[]).wants(b".a.swp", false));
    }
}
