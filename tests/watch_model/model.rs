//! The model: what the lines must have been told, by what each operation did to
//! the file system.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use incron::table::{Mask, Source as Choice};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::file::{FILE, FileLine};
use super::games::Game;
use super::line::{ALL, Line, Step};
use super::operations::Op;
use super::race;
use super::scope::Shape;
use super::snapshot::{Id, Snapshot, base, dir, id, snapshot};
use super::watch_kit::{Kit, with_queue, with_usual_queue};

pub struct Model {
    pub kit: Kit,
    pub game: Game,
    /// The private directory, links followed.
    pub top: PathBuf,
    pub now: usize,
    /// What there is.
    pub before: Snapshot,
    /// Things that went since the last check; their numbers are used again.
    pub dead: BTreeSet<Id>,
    /// The first is on `d` and hears of all of it.
    pub lines: Vec<Line>,
    pub file: FileLine,
    /// Watches that are not of directories.
    pub overhead: usize,
}

/// Lines that share directories with the one on `d`, and some of their masks.
fn others() -> [(Shape, Mask); 8] {
    let tree = |depth, exclude| Shape::Tree {
        root: "d",
        depth,
        exclude,
    };
    let naming = Mask::CREATE | Mask::MOVED_TO;
    [
        (Shape::Pattern("d/*/f"), ALL),
        (Shape::Pattern("d/**/g"), ALL),
        (Shape::Pattern("d/{a,b}/[bc]"), ALL),
        (
            tree(Some(0), None),
            naming | Mask::MOVED_FROM | Mask::DELETE,
        ),
        (tree(Some(1), None), ALL),
        (tree(None, Some("b")), naming),
        (Shape::tree("d/a"), ALL),
        (Shape::tree("d/b/c"), ALL),
    ]
}

fn add(kit: &mut Kit, shape: &Shape, mask: Mask) -> Line {
    let id = kit.line_with(shape.path(), mask, |request| shape.ask(request));
    Line::new(id, shape, mask)
}

/// Where the other part is.
const OTHER: &str = "/mnt";

/// Makes `dir` a part of a file system that has another one elsewhere, and no more.
fn part(dir: &Path) {
    let none = None::<&str>;
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    for (name, point) in [("o", Path::new(OTHER)), ("much-longer", dir)] {
        let part = dir.join(name);
        fs::create_dir(&part).unwrap();
        mount(Some(&part), point, none, MsFlags::MS_BIND, none).unwrap();
    }
}

impl Model {
    /// A kit served by the source of the game, with its lines.
    pub fn new(game: Game) -> Self {
        let make = || Self::with_lines(game);
        let small = game.queue.and_then(|length| with_queue(length, make));
        small.unwrap_or_else(|| with_usual_queue(make))
    }

    fn with_lines(game: Game) -> Self {
        let mut kit = Kit::serving(game.source);
        if game.deck.parts {
            part(&kit.path(""));
        }
        kit.mkdir("d");
        kit.mkdir("o");
        let mut lines = vec![add(&mut kit, &Shape::tree("d"), ALL)];
        let overhead = kit.source.figures().watches.saturating_sub(1);
        kit.line(FILE, Mask::CLOSE_WRITE);
        if game.lines {
            let more = others().map(|(shape, mask)| add(&mut kit, &shape, mask));
            lines.extend(more);
        }
        let top = fs::canonicalize(kit.path("")).unwrap();
        let mut model = Self {
            before: snapshot(&top),
            kit,
            game,
            top,
            now: 0,
            dead: BTreeSet::new(),
            lines,
            file: FileLine::default(),
            overhead,
        };
        model.clear();
        model
    }

    /// All that happened so far is settled.
    pub fn clear(&mut self) {
        self.dead.clear();
        for line in &mut self.lines {
            line.settle(&self.top, &self.before);
        }
        self.file.settle();
    }

    pub fn run(&mut self, op: &Op) -> Result<(), String> {
        self.now += 1;
        match op {
            Op::Read => {
                let told = self.kit.mounts_changed();
                self.keep(told);
                self.read_if_any();
                return Ok(());
            }
            Op::Check => return self.check(),
            Op::Probe => {
                self.check()?;
                return self.probe();
            }
            Op::Race(p, q) => {
                self.check()?;
                return race::run(self, p, q);
            }
            _ => {}
        }
        // Where the names it gives are, before anything is moved.
        let named = op
            .named()
            .into_iter()
            .filter_map(|p| self.real(p))
            .collect();
        if op.apply(&self.top) {
            self.happened(op, &named);
        }
        Ok(())
    }

    /// Where a name is, links on the way followed.
    pub fn real(&self, path: &str) -> Option<String> {
        let at = fs::canonicalize(self.top.join(dir(path))).ok()?;
        let at = at.strip_prefix(&self.top).ok()?.to_str()?.to_owned();
        Some(format!("{at}/{}", base(path)))
    }

    /// A directory has another name; nothing else has changed.
    pub fn renamed(&mut self) {
        self.happened(&Op::Check, &BTreeSet::new());
    }

    pub fn read_if_any(&mut self) {
        if self.kit.readable() {
            self.read();
        }
    }

    /// Before the private directory goes. Mounts go along with renamed directories, so where
    /// they are the kernel says.
    pub fn unmount_all(&mut self) {
        let points = || {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            let all = mounts.lines().filter_map(|line| line.split(' ').nth(4));
            let below = all.map(PathBuf::from).filter(|p| p.starts_with(&self.top));
            below.collect::<Vec<_>>()
        };
        let end = |point: &PathBuf| umount2(point, MntFlags::MNT_DETACH).is_ok();
        // One over another has the same path.
        while points().iter().rev().filter(|point| end(point)).count() > 0 {}
        if self.game.deck.parts {
            end(&PathBuf::from(OTHER));
        }
    }

    fn happened(&mut self, op: &Op, named: &BTreeSet<String>) {
        let after = snapshot(&self.top);
        let alive: BTreeSet<Id> = after.values().map(|(id, _)| *id).collect();
        let written = op.written().and_then(|path| {
            let real = fs::canonicalize(self.top.join(path)).ok()?;
            let meta = fs::metadata(&real).ok().filter(fs::Metadata::is_file)?;
            let real = real.strip_prefix(&self.top).ok()?.to_str()?.to_owned();
            Some((id(&meta), real))
        });
        let known = (!self.game.deck.mounts).then_some(&alive);
        self.file.happened(&self.top, self.now, &written, known);
        let mounted = match op {
            Op::Mount(p) | Op::Bind(_, p) => self.real(p),
            _ => None,
        };
        // Not what is mounted in it: that is hidden by it.
        let over_itself = |at: &String| {
            let before = self.before.get(at).map(|(id, _)| id);
            before == after.get(at).map(|(id, _)| id)
        };
        let step = Step {
            now: self.now,
            top: &self.top,
            before: &self.before,
            after: &after,
            named,
            written,
            nameless: matches!(op, Op::Nameless(_)),
            alive: &alive,
            uncovered: matches!(op, Op::Unmount(_)) || mounted.as_ref().is_some_and(over_itself),
            mounted,
            hidden: self.game.deck.mounts,
            overflows: self.game.queue.is_some(),
        };
        for line in &mut self.lines {
            line.happened(&step);
        }
        let gone = self.before.values().map(|(id, _)| *id);
        self.dead.extend(gone.filter(|id| !alive.contains(id)));
        self.before = after;
    }

    pub fn read(&mut self) {
        let told = self.kit.read();
        self.keep(told);
    }

    pub fn drain(&mut self) {
        let told = self.kit.mounts_changed();
        self.keep(told);
        while self.kit.readable() {
            self.read();
        }
    }

    fn keep(&mut self, told: Vec<(u32, incron::event::Event)>) {
        for (id, event) in told {
            match self.lines.iter_mut().find(|line| line.id == id) {
                Some(line) => line.told.push((self.now, event)),
                None => self.file.told.push(self.now),
            }
        }
        self.file.read(!self.kit.readable());
    }

    /// inotify has one watch for each directory that is watched.
    pub fn counts_watches(&self) -> bool {
        let links = self.before.values().any(|(_, kind)| *kind == 'l');
        self.game.source != Choice::Fanotify && !links && !self.game.deck.mounts
    }

    pub fn check(&mut self) -> Result<(), String> {
        self.drain();
        for line in &self.lines {
            let heard = line.heard(&self.top);
            let compared = line
                .check_needs(&heard)
                .and_then(|()| line.check_gone(&heard, &self.dead))
                .and_then(|()| match self.game.queue {
                    None => line.check_counts(&heard),
                    Some(_) => Ok(()),
                });
            compared.map_err(|error| line.explain(&error))?;
        }
        self.file.check()?;
        self.check_watches()?;
        self.clear();
        Ok(())
    }

    fn check_watches(&self) -> Result<(), String> {
        if !self.counts_watches() {
            return Ok(());
        }
        let hears = |path: &str| self.lines.iter().any(|line| line.scope.inside(path));
        let dirs = self.before.iter().filter(|(_, (_, kind))| *kind == 'd');
        let want = dirs.filter(|(path, _)| hears(path)).count() + self.overhead;
        let have = self.kit.source.figures().watches;
        // Lines whose path may come and go guard directories outside of the tree.
        let slack = if self.game.lines { 12 } else { 3 };
        if !(want..=want + slack).contains(&have) {
            return Err(format!("{have} watches for {want}"));
        }
        Ok(())
    }

    /// Writes a file in every directory that is watched.
    pub fn probe(&mut self) -> Result<(), String> {
        let dirs = self.before.iter().filter(|(_, (_, kind))| *kind == 'd');
        let dirs: Vec<String> = dirs.map(|(path, _)| path.clone()).collect();
        for dir in dirs {
            let probe = format!("{dir}/probe");
            let made = fs::write(self.kit.path(&probe), b"x");
            if self.game.deck.mounts && made.is_err() {
                continue; // a bind mount shows a directory that was removed
            }
            made.unwrap();
            self.drain();
            for line in &self.lines {
                let heard = line.heard(&self.top);
                line.check_probe(&dir, &heard, self.game.deck.mounts)
                    .map_err(|error| line.explain(&error))?;
            }
            self.kit.rm(&probe);
            self.drain();
            self.lines.iter_mut().for_each(|line| line.told.clear());
        }
        self.before = snapshot(&self.top);
        self.clear();
        Ok(())
    }
}
