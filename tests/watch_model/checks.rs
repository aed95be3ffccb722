//! What is compared at each check: what a line was told with what the model asks for.

use std::collections::{BTreeSet, HashSet};

use incron::event::Event;
use incron::table::Mask;

use super::line::Line;
use super::operations::NAMES;
use super::snapshot::{Id, base, dir};

/// What a line was told: when, of which path, what.
pub type Heard = [(usize, String, Mask)];

const PARTING: Mask = Mask(Mask::DELETE.0 | Mask::MOVED_FROM.0);
const NAMING: Mask = Mask(Mask::CREATE.0 | Mask::MOVED_TO.0);

impl Line {
    /// With what it was told.
    pub fn explain(&self, error: &str) -> String {
        let text = |(at, e): &(usize, Event)| {
            let (watch, name) = (e.watch.to_string_lossy(), e.name.to_string_lossy());
            let names: Vec<_> = e.mask.names().collect();
            format!("{at}: {} {watch}|{name} ({:?})", names.join(","), e.origin)
        };
        let told: Vec<_> = self.told.iter().map(text).collect();
        format!("{error}, by {:?}\n{told:#?}", self.scope.shape)
    }

    pub fn check_needs(&self, heard: &Heard) -> Result<(), String> {
        for ((id, write), need) in &self.needs {
            let ok = heard.iter().any(|(at, path, mask)| {
                *at >= need.since && mask.intersects(need.bits) && need.paths.contains(path)
            });
            if !ok {
                return Err(format!(
                    "not told (write: {write}), at {}: {id:?} {:?}",
                    need.since, need.paths
                ));
            }
        }
        Ok(())
    }

    /// Names that went from a directory that is still there.
    pub fn check_gone(&self, heard: &Heard, dead: &BTreeSet<Id>) -> Result<(), String> {
        if !self.mask.contains(PARTING) {
            return Ok(());
        }
        for (path, (_, kind)) in &self.at_check {
            let in_dir = |dir: &str| format!("{dir}/{}", base(path));
            let Some(dir) = self.dirs_at_check.get(dir(path)) else {
                continue;
            };
            let now = self.dirs_now.iter().filter(|(_, id)| *id == dir);
            let now: Vec<String> = now.map(|(at, _)| in_dir(at)).collect();
            let there = |p: &String| self.view.contains_key(p) || !self.scope.hears(p, *kind);
            if now.is_empty() || now.iter().any(there) || dead.contains(dir) {
                continue;
            }
            let had = self.dirs.get(dir).into_iter().flatten();
            let had: HashSet<String> = had.map(|at| in_dir(at)).collect();
            if had.iter().any(|p| !self.scope.hears(p, *kind)) {
                continue; // it was out of sight for a while
            }
            let ok = |(_, at, mask): &(usize, String, Mask)| {
                mask.intersects(PARTING) && had.contains(at)
            };
            if !heard.iter().any(ok) {
                return Err(format!("its end not told: {path}"));
            }
        }
        Ok(())
    }

    pub fn check_counts(&self, heard: &Heard) -> Result<(), String> {
        if self.rerouted {
            return Ok(());
        }
        let count = |bits: Mask, name: &str| {
            let of_name = |(_, p, mask): &&(usize, String, Mask)| {
                mask.intersects(bits) && base(p) == name && p != self.scope.shape.path()
            };
            heard.iter().filter(of_name).count()
        };
        for name in NAMES {
            let came = self.came.get(name).copied().unwrap_or(0);
            let closed = self.closed.get(name).copied().unwrap_or(0);
            let arrivals = count(NAMING, name);
            if arrivals > came {
                return Err(format!("{name}: {arrivals} arrivals told, {came} happened"));
            }
            let closes = count(Mask::CLOSE_WRITE, name);
            if closes > closed + came {
                return Err(format!(
                    "{name}: {closes} closes told, {closed} (+{came}) happened"
                ));
            }
        }
        Ok(())
    }

    /// What `probe`, made and written in `dir`, was told as: each thing once, in one
    /// event or in two. A directory that is seen at two places is told at both.
    pub fn check_probe(&self, dir: &str, heard: &Heard, twice: bool) -> Result<(), String> {
        let at = self.scope.as_told(dir);
        let probe = format!("{at}/probe");
        let count = |bit| {
            heard
                .iter()
                .filter(|(_, path, mask)| mask.intersects(bit) && *path == probe)
                .count()
        };
        for bit in [Mask::CREATE, Mask::CLOSE_WRITE] {
            let want = usize::from(self.scope.inside(&at) && self.mask.intersects(bit));
            let all = heard
                .iter()
                .filter(|(_, _, mask)| mask.intersects(bit))
                .count();
            if count(bit) != want || all > want && !twice {
                return Err(format!("probe of {dir}"));
            }
        }
        Ok(())
    }
}
