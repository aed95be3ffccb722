//! What the path of a line covers, and under which names.

use std::fs;
use std::path::{Path, PathBuf};

use incron::table::{PathSpec, Pattern};
use incron::watch::Request;

use super::snapshot::{Id, dir, id};

/// What its path is.
#[derive(Clone, Debug)]
pub enum Shape {
    Tree {
        root: &'static str,
        depth: Option<u32>,
        exclude: Option<&'static str>,
    },
    Pattern(&'static str),
}

impl Shape {
    pub fn tree(root: &'static str) -> Self {
        Shape::Tree {
            root,
            depth: None,
            exclude: None,
        }
    }

    /// Fills in what the line asks of the source.
    pub fn ask(&self, request: &mut Request) {
        match self {
            Shape::Tree { depth, exclude, .. } => {
                request.depth = depth.filter(|depth| *depth > 0);
                request.recursive = *depth != Some(0);
                request.exclude = exclude.iter().map(|name| (*name).to_owned()).collect();
            }
            Shape::Pattern(_) => request.path.pattern = true,
        }
    }

    pub fn path(&self) -> &'static str {
        match self {
            Shape::Tree { root, .. } => root,
            Shape::Pattern(path) => path,
        }
    }
}

/// What a line hears of.
pub struct Scope {
    pub shape: Shape,
    pattern: Option<Pattern>,
    /// Where its path leads, links followed, and what is there.
    real: Option<(String, Id)>,
    /// The same, with what is missing at the end.
    leads: PathBuf,
}

/// Where a path leads, links followed, and what is missing of it after them.
fn leads(top: &Path, path: &str) -> PathBuf {
    const MOST_LINKS: usize = 40;
    let backwards = |path: &Path| -> Vec<_> {
        let names = path.components().rev();
        names.map(|name| name.as_os_str().to_owned()).collect()
    };
    let (mut at, mut todo, mut links) = (top.to_owned(), backwards(Path::new(path)), 0);
    while let Some(name) = todo.pop() {
        let next = at.join(name);
        match fs::read_link(&next) {
            // A link's own path is the root's or relative; `join` knows both.
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                todo.extend(backwards(&target));
            }
            _ => at = next,
        }
    }
    at
}

impl Scope {
    pub fn new(shape: &Shape) -> Self {
        let spec = PathSpec {
            written: shape.path().into(),
            pattern: true,
        };
        let pattern = matches!(shape, Shape::Pattern(_));
        Self {
            shape: shape.clone(),
            pattern: pattern.then(|| Pattern::compile(&spec).unwrap()),
            real: None,
            leads: PathBuf::new(),
        }
    }

    /// Looks where its path leads by now. True: elsewhere, also where nothing is there: a
    /// link is looked at when its change is read, and what was done before that, but not
    /// read yet, in the place that it leads to by then is told of that place.
    pub fn follow(&mut self, top: &Path) -> bool {
        let Shape::Tree { root, .. } = &self.shape else {
            return false;
        };
        let at = |real: PathBuf| {
            let below = real.strip_prefix(top).ok()?.to_str()?.to_owned();
            Some((below, id(&fs::metadata(&real).ok()?)))
        };
        let real = fs::canonicalize(top.join(root)).ok().and_then(at);
        let before = std::mem::replace(&mut self.real, real);
        let led = std::mem::replace(&mut self.leads, leads(top, root));
        before != self.real || led != self.leads
    }

    /// The path under which it is told of what is at `path`; begins with `!` where
    /// it is not.
    pub fn as_told(&self, path: &str) -> String {
        let (Shape::Tree { root, .. }, real) = (&self.shape, self.real.as_ref()) else {
            return path.to_owned();
        };
        let below = real.and_then(|(real, _)| path.strip_prefix(real.as_str()));
        match below.filter(|below| below.is_empty() || below.starts_with('/')) {
            Some(below) => format!("{root}{below}"),
            None => format!("!{path}"),
        }
    }

    /// True where the line hears of the names in the directory `path`.
    pub fn inside(&self, path: &str) -> bool {
        let shown = |below: &str| !below.split('/').any(|name| name.starts_with('.'));
        match &self.shape {
            Shape::Tree {
                root,
                depth,
                exclude,
            } => {
                let below = path.strip_prefix(root);
                below.is_some_and(|below| match below.strip_prefix('/') {
                    None => below.is_empty(),
                    Some(below) => {
                        let mut names = below.split('/');
                        let deep = depth.is_none_or(|depth| names.clone().count() as u32 <= depth);
                        deep && shown(below) && !names.any(|name| Some(name) == *exclude)
                    }
                })
            }
            Shape::Pattern(_) => {
                let matches = |end: usize| self.matches(&path[..end]);
                let ends = path.match_indices('/').map(|(at, _)| at);
                let first = ends.chain([path.len()]).find(|end| matches(*end));
                first.is_some_and(|end| shown(path[end..].trim_start_matches('/')))
            }
        }
    }

    fn matches(&self, path: &str) -> bool {
        let pattern = self.pattern.as_ref();
        pattern.is_some_and(|pattern| pattern.matches(path.as_bytes()))
    }

    /// True where the line hears of the thing at `path`.
    pub fn hears(&self, path: &str, kind: char) -> bool {
        self.inside(dir(path)) || kind != 'd' && self.matches(path)
    }

    /// Its root is always there, and the whole of it is heard of.
    pub fn is_plain(&self) -> bool {
        matches!(
            &self.shape,
            Shape::Tree {
                root: "d",
                depth: None,
                ..
            }
        )
    }

    /// The thing that its path leads to.
    pub fn root(&self) -> Option<Id> {
        self.real.as_ref().map(|(_, id)| *id)
    }

    /// What is too deep is known to be there.
    pub fn is_bounded(&self) -> bool {
        matches!(&self.shape, Shape::Tree { depth: Some(_), .. })
    }

    /// Its path always leads to the same directory.
    pub fn is_fixed(&self) -> bool {
        !matches!(&self.shape, Shape::Tree { root, .. } if *root != "d")
    }
}
