//! One line of a game, and what it must be told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::Path;

use incron::event::Event;
use incron::table::Mask;

use super::scope::{Scope, Shape};
use super::snapshot::{Id, Snapshot, base, dir};

/// Everything the model knows how to ask for.
pub const ALL: Mask = Mask(
    Mask::CREATE.0 | Mask::MOVED_FROM.0 | Mask::MOVED_TO.0 | Mask::CLOSE_WRITE.0 | Mask::DELETE.0,
);
const NAMING: Mask = Mask(Mask::CREATE.0 | Mask::MOVED_TO.0);

/// What must be told of one thing.
pub struct Need {
    pub since: usize,
    /// It had another name before: the name alone is new.
    pub renamed: bool,
    /// It came along with a directory, and was heard of at any time before.
    pub along: bool,
    pub paths: BTreeSet<String>,
    pub bits: Mask,
}

pub struct Line {
    pub id: u32,
    pub mask: Mask,
    pub scope: Scope,
    /// It led elsewhere since the last check: what is told until that is read may be of
    /// the place before.
    pub rerouted: bool,
    /// Where it led since then.
    roots: BTreeSet<Id>,
    /// The things it hears of, now and at the last check, by their paths as it is
    /// told them.
    pub view: Snapshot,
    pub at_check: Snapshot,
    /// The paths that each directory had since the last check; those that are out of
    /// its sight begin with `!`.
    pub dirs: HashMap<Id, BTreeSet<String>>,
    /// The directories there are, by path, now and at the last check.
    pub dirs_now: BTreeMap<String, Id>,
    pub dirs_at_check: BTreeMap<String, Id>,
    /// Things heard of at any time since the last check: what goes out of sight and
    /// comes back between two reads has only been renamed.
    sighted: BTreeSet<Id>,
    /// Its path may lead elsewhere and back: what was there before is not new then.
    ever: BTreeSet<Id>,
    /// Directories that were below its path at any time.
    below: BTreeSet<Id>,
    pub needs: HashMap<(Id, bool), Need>,
    /// How often a thing of this name came, and was closed after writing.
    pub came: HashMap<String, usize>,
    pub closed: HashMap<String, usize>,
    pub told: Vec<(usize, Event)>,
}

impl Line {
    /// Nothing is known yet.
    pub fn new(id: u32, shape: &Shape, mask: Mask) -> Self {
        Self {
            id,
            mask,
            scope: Scope::new(shape),
            rerouted: false,
            roots: BTreeSet::new(),
            view: Snapshot::new(),
            at_check: Snapshot::new(),
            dirs: HashMap::new(),
            dirs_now: BTreeMap::new(),
            dirs_at_check: BTreeMap::new(),
            sighted: BTreeSet::new(),
            ever: BTreeSet::new(),
            below: BTreeSet::new(),
            needs: HashMap::new(),
            came: HashMap::new(),
            closed: HashMap::new(),
            told: Vec::new(),
        }
    }

    fn look(&mut self, top: &Path, all: &Snapshot) -> Snapshot {
        self.rerouted |= self.scope.follow(top);
        self.dirs_now.clear();
        let mut view = Snapshot::new();
        for (path, (id, kind)) in all {
            let path = self.scope.as_told(path);
            if *kind == 'd' {
                self.dirs.entry(*id).or_default().insert(path.clone());
                self.dirs_now.insert(path.clone(), *id);
            }
            if self.scope.hears(&path, *kind) {
                view.insert(path, (*id, *kind));
            }
        }
        view
    }

    /// At a check, all is told.
    pub fn settle(&mut self, top: &Path, all: &Snapshot) {
        self.dirs.clear();
        self.view = self.look(top, all);
        self.rerouted = false;
        self.roots = self.scope.root().into_iter().collect();
        self.at_check.clone_from(&self.view);
        self.dirs_at_check.clone_from(&self.dirs_now);
        self.needs.clear();
        self.sighted.clear();
        self.came.clear();
        self.closed.clear();
        self.told.clear();
    }

    /// What an operation changed.
    pub fn happened(&mut self, step: &Step<'_>) {
        let mut seen: BTreeSet<Id> = self.view.values().map(|(id, _)| *id).collect();
        if self.scope.is_bounded() {
            // What was too deep is known to have been there.
            let below = step.before.iter().filter(|(p, _)| p.starts_with("d/"));
            seen.extend(below.map(|(_, (id, _))| *id));
        }
        let heard = self.dirs_now.iter().filter(|(p, _)| self.scope.inside(p));
        let inside: BTreeSet<Id> = heard.map(|(_, id)| *id).collect();
        let dirs_before = self.dirs_now.clone();
        let below = dirs_before.iter().filter(|(p, _)| p.starts_with('d'));
        self.below.extend(below.map(|(_, id)| *id));
        let after = self.look(step.top, step.after);
        for (id, paths) in &mut self.dirs {
            if !step.alive.contains(id) {
                paths.insert("!".to_owned());
            }
        }
        let named: BTreeSet<String> = step.named.iter().map(|p| self.scope.as_told(p)).collect();
        let mounted = step.mounted.as_ref().map(|p| self.scope.as_told(p));
        // What is seen at two places is told at both, and more often.
        let plain = self.scope.is_plain() && !step.hidden;
        let mut arrived = Vec::new();
        for (path, (id, kind)) in &after {
            // Another link to it may be in the directory that is there now.
            let stays = dirs_before.get(dir(path)) == self.dirs_now.get(dir(path));
            let same = self.view.get(path).is_some_and(|(old, _)| old == id);
            if same && stays || mounted.as_ref() == Some(path) {
                continue;
            }
            let direct = named.contains(path);
            let dir_is_new = || {
                let at = self.dirs_now.get(dir(path));
                dir(path) != "d" && at.is_some_and(|id| !inside.contains(id))
            };
            if !plain || !seen.contains(id) || direct || dir_is_new() {
                *self.came.entry(base(path).to_owned()).or_default() += 1;
                let known = seen.contains(id) || self.sighted.contains(id);
                let known = known || !plain && self.ever.contains(id);
                // The root of a mount comes along with a directory that is known from elsewhere,
                // which is not looked through: its name is that of a directory in there.
                let above = self.dirs_now.get(dir(path));
                let known = known || above.is_some_and(|at| at.0 != id.0 && seen.contains(at));
                if direct || !known && !step.uncovered {
                    let along = !direct && self.ever.contains(id);
                    arrived.push((*id, path.clone(), *kind, known, along));
                }
            }
        }
        for (id, path, kind, known, along) in arrived {
            let file = if kind == 'f' {
                Mask::CLOSE_WRITE
            } else {
                Mask(0)
            };
            let bits = (NAMING | file) & self.mask;
            if (step.overflows || self.rerouted) && kind == 'd' && !self.scope.inside(&path) {
                continue; // nothing tells a directory that is not entered from one renamed there
            }
            // What its path led to before may have been told of it already.
            let need = Need {
                since: if self.rerouted { 0 } else { step.now },
                renamed: known,
                along,
                paths: BTreeSet::from([path]),
                bits,
            };
            self.need((id, false), need);
        }
        if let Some((id, path)) = &step.written {
            let paths = after.iter().filter(|(_, (i, _))| i == id);
            let mut paths: BTreeSet<String> = paths.map(|(p, _)| p.clone()).collect();
            for path in &paths {
                *self.closed.entry(base(path).to_owned()).or_default() += 1;
            }
            // A write is heard in the directory through which it was made.
            let heard = self.scope.hears(&self.scope.as_told(path), 'f');
            if self.mask.intersects(Mask::CLOSE_WRITE) && heard {
                let bits = (Mask::CLOSE_WRITE | Mask::MOVED_TO) & self.mask;
                if step.nameless {
                    let number = |path: &String| format!("{}/#{}", dir(path), id.1);
                    paths.extend(paths.iter().map(number).collect::<Vec<_>>());
                }
                let need = Need {
                    since: step.now,
                    renamed: false,
                    along: false,
                    paths,
                    bits,
                };
                self.need((*id, true), need);
            }
        }
        self.count_hidden(step, &after);
        self.rerouted |= step.uncovered || step.mounted.is_some();
        self.follow(&after);
        self.sighted.extend(seen.iter());
        self.ever.extend(after.values().map(|(id, _)| *id));
        self.note_before(step.after);
        self.sighted
            .retain(|id| step.hidden || step.alive.contains(id));
        self.ever
            .retain(|id| step.hidden || step.alive.contains(id));
        self.view = after;
    }

    /// A directory that a mount hides may be reached where the line does not hear of it
    /// (what it showed was bound to its path): it is told by the path that it had, as
    /// nothing else would tell of it when the mount ends.
    fn count_hidden(&mut self, step: &Step<'_>, view: &Snapshot) {
        if !step.hidden {
            return;
        }
        let known = |path: &String| {
            let above = step.after.get(dir(path));
            let seen = above.is_some_and(|(id, _)| self.below.contains(id));
            seen && !view.contains_key(&self.scope.as_told(path))
        };
        let arrived = |(path, (id, _)): &(&String, &(Id, char))| {
            let before = step.before.get(*path);
            before.is_none_or(|(old, _)| old != id) && known(path)
        };
        for (path, _) in step.after.iter().filter(arrived) {
            *self.came.entry(base(path).to_owned()).or_default() += 1;
        }
        if let Some((_, path)) = step.written.as_ref().filter(|(_, path)| known(path)) {
            *self.closed.entry(base(path).to_owned()).or_default() += 1;
        }
    }

    fn need(&mut self, what: (Id, bool), need: Need) {
        if !need.bits.is_empty() {
            self.needs.insert(what, need);
        }
    }

    /// What is in a directory that its path led to since the last check may have been
    /// told, though the path leads elsewhere by now.
    fn note_before(&mut self, all: &Snapshot) {
        self.roots.extend(self.scope.root());
        if !self.rerouted {
            return;
        }
        let roots = all.iter().filter(|(_, (id, _))| self.roots.contains(id));
        let roots: Vec<String> = roots.map(|(path, _)| format!("{path}/")).collect();
        let within = |path: &str| roots.iter().any(|root| path.starts_with(root.as_str()));
        let known = all.iter().filter(|(path, _)| within(path));
        self.ever.extend(known.map(|(_, (id, _))| *id));
    }

    /// What must be told may be told under any path that the thing has had since.
    fn follow(&mut self, after: &Snapshot) {
        let mut paths: BTreeMap<Id, Vec<&String>> = BTreeMap::new();
        for (path, (id, _)) in after {
            paths.entry(*id).or_default().push(path);
        }
        self.needs.retain(|(id, _), need| {
            let Some(now) = paths.get(id) else {
                return false;
            };
            need.paths.extend(now.iter().map(|path| (*path).clone()));
            true
        });
    }

    /// Events as the path they are about.
    pub fn heard(&self, top: &Path) -> Vec<(usize, String, Mask)> {
        let target = |e: &Event| below(top, &e.target());
        self.told
            .iter()
            .map(|(at, e)| (*at, target(e), e.mask))
            .collect()
    }
}

fn below(top: &Path, path: &OsStr) -> String {
    let path = Path::new(path);
    let below = path.strip_prefix(top).unwrap_or(path);
    below.to_string_lossy().into_owned()
}

/// One operation, as the lines see it.
pub struct Step<'a> {
    pub now: usize,
    /// The private directory.
    pub top: &'a Path,
    pub before: &'a Snapshot,
    pub after: &'a Snapshot,
    /// The names that it gave by itself.
    pub named: &'a BTreeSet<String>,
    /// The file that it wrote, and the path by which it did, links followed.
    pub written: Option<(Id, String)>,
    /// It had no name then; where its directory went on before that is read, the
    /// kernel's number for it is all that is known.
    pub nameless: bool,
    /// All things there are.
    pub alive: &'a BTreeSet<Id>,
    /// Where it mounted something: that is not told.
    pub mounted: Option<String>,
    /// It was the end of a mount, or one that hides others only (a directory bound over
    /// itself): what is there now was there before.
    pub uncovered: bool,
    /// Things may be out of sight below a mount.
    pub hidden: bool,
    /// The queue of the kernel may be full.
    pub overflows: bool,
}
