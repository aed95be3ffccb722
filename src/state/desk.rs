//! The thread that looks and writes: what it knows, and each job in turn.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::statvfs::statvfs;

use super::keeper::{Job, Reply};
use super::rows::Change;
use super::store;
use super::{Mark, Marks, Store, StoreError, WatchId};
use crate::sys::inotify::{Stamp, file_clock};
use crate::watch::compare::{Difference, compare};
use crate::watch::snapshot::{Entry, Snapshot, Spec};
use crate::watch::walk;

/// A path that seems to change later than this was given a wrong time.
const FUTURE: i64 = 1_000_000_000;

/// A watched path as the thread knows it.
struct Watch {
    key: Vec<u8>,
    spec: Arc<Spec>,
    filesystem: i64,
    /// In the file; None: not yet, or there is no file.
    row: Option<i64>,
    /// What was found, until `Remember`.
    first: Option<(Snapshot, Stamp)>,
}

/// The thread's own.
pub(super) struct Desk {
    path: PathBuf,
    store: Option<Store>,
    watches: HashMap<WatchId, Watch>,
    /// What `Look` saw, until `Commit`.
    looked: Vec<Looked>,
    /// The last transaction failed, and the log says so.
    failing: bool,
}

/// What was seen of one watch.
struct Looked {
    id: WatchId,
    marks: Marks,
    /// None: nothing is there. Not listed: it cannot be looked at.
    seen: Vec<(Box<[u8]>, Mark, Option<Entry>)>,
    /// What is by now where directories went from or to.
    moved: Snapshot,
    at: Stamp,
}

impl Desk {
    /// Opens the file.
    pub fn new(path: PathBuf) -> Self {
        let store = open(&path);
        Self {
            path,
            store,
            watches: HashMap::new(),
            looked: Vec::new(),
            failing: false,
        }
    }

    /// Does a job; what is to be said of it.
    pub fn does(&mut self, job: Job) -> Option<Reply> {
        match job {
            Job::Begin { id, key, spec } => {
                let at = wall_clock();
                let found = self.begin(id, key, spec, file_clock());
                Some(Reply::Compared { id, found, at })
            }
            Job::Remember(id, except) => Some(Reply::Remembered(id, self.remember(id, except))),
            Job::Look(all) => {
                self.looked = all
                    .into_iter()
                    .filter_map(|(id, marks)| self.look(id, marks))
                    .collect();
                Some(Reply::Looked)
            }
            Job::Commit(except) => Some(Reply::Committed(self.commit(&except))),
            Job::End(id) => {
                self.watches.remove(&id);
                None
            }
            Job::Loaded => {
                let claimed: Vec<i64> = self
                    .watches
                    .values()
                    .filter_map(|watch| watch.row)
                    .collect();
                if let Some(store) = &mut self.store
                    && let Err(error) = store.forget_old(&claimed)
                {
                    self.failed(&error);
                }
                None
            }
        }
    }

    /// None: it was not known.
    fn begin(
        &mut self,
        id: WatchId,
        key: Vec<u8>,
        spec: Arc<Spec>,
        at: Stamp,
    ) -> Option<Vec<Difference>> {
        let filesystem = filesystem(&spec);
        let mut watch = Watch {
            key,
            spec,
            filesystem,
            row: None,
            first: None,
        };
        let path = watch.spec.path().display();
        let result = match walk::take(&watch.spec) {
            Ok(now) => match self.known(&watch) {
                Ok(Some((row, before))) => {
                    watch.row = Some(row);
                    Some(compare(&before, &now))
                }
                Ok(None) => {
                    watch.first = Some((now, at));
                    None
                }
                Err(error) => {
                    self.failed(&error);
                    Some(Vec::new())
                }
            },
            Err(error) => {
                log::warn!(
                    "cannot look at {path}: {error}; what changed there meanwhile is not known"
                );
                Some(Vec::new())
            }
        };
        self.watches.insert(id, watch);
        result
    }

    fn known(&mut self, watch: &Watch) -> Result<Option<(i64, Snapshot)>, StoreError> {
        let Some(store) = &self.store else {
            return Ok(None);
        };
        let (row, elsewhere) = store.find(&watch.key, watch.filesystem)?;
        if row.is_none() && elsewhere {
            let path = watch.spec.path().display();
            log::warn!(
                "{path} is on another file system than before: it is remembered anew, and nothing is compared"
            );
        }
        row.map(|row| Ok((row, store.load(row)?))).transpose()
    }

    fn remember(&mut self, id: WatchId, mut except: HashSet<Box<[u8]>>) -> Vec<Box<[u8]>> {
        let Some(watch) = self.watches.get_mut(&id) else {
            return Vec::new();
        };
        let Some((snapshot, at)) = watch.first.take() else {
            return Vec::new();
        };
        let fresh = snapshot.iter().filter(|(_, entry)| is_fresh(entry, at));
        let fresh: Vec<Box<[u8]>> = fresh.map(|(path, _)| path.clone()).collect();
        except.extend(fresh.iter().cloned());
        let Some(store) = &mut self.store else {
            return Vec::new();
        };
        match store.remember(&watch.key, watch.filesystem, &snapshot, &except) {
            Ok(row) => watch.row = Some(row),
            Err(error) => self.failed(&error),
        }
        fresh
    }

    fn look(&self, id: WatchId, mut marks: Marks) -> Option<Looked> {
        let watch = self.watches.get(&id)?;
        let at = file_clock();
        let mut moved = Snapshot::new();
        // What cannot be looked at keeps its old entries, too.
        marks.moved.retain(|dir| {
            let found = walk::below(&watch.spec, dir);
            found.is_ok_and(|found| {
                moved.extend(found);
                true
            })
        });
        let mut seen = Vec::with_capacity(marks.paths.len());
        for (path, mark) in &marks.paths {
            // What cannot be looked at keeps its old entry, and is told again.
            let Ok(entry) = walk::look(&watch.spec, path) else {
                continue;
            };
            let entry = entry.filter(|entry| watch.spec.wants(path, entry.is_dir()));
            seen.push((path.clone(), *mark, entry));
        }
        Some(Looked {
            id,
            marks,
            seen,
            moved,
            at,
        })
    }

    fn commit(
        &mut self,
        except: &HashMap<WatchId, HashSet<Box<[u8]>>>,
    ) -> Vec<(WatchId, Box<[u8]>, Mark)> {
        let mut again = Vec::new();
        let mut changes = Vec::new();
        let looked = std::mem::take(&mut self.looked);
        for Looked {
            id,
            marks,
            seen,
            moved,
            at,
        } in &looked
        {
            let Some(watch) = self.watches.get(id) else {
                continue;
            };
            let Some(row) = watch.row else {
                continue;
            };
            let Some(except) = except.get(id) else {
                continue;
            };
            let held = |path: &[u8]| except.contains(path);
            if !marks.moved.is_empty() {
                changes.push((row, Change::Moved(marks, moved, except)));
            }
            for (path, mark, entry) in seen.iter().filter(|(path, ..)| !held(path)) {
                match entry {
                    Some(entry) if is_fresh(entry, *at) => again.push((*id, path.clone(), *mark)),
                    Some(entry) => changes.push((row, Change::Is(path, *entry, mark.owed(entry)))),
                    None => changes.push((row, Change::Gone(path))),
                }
            }
        }
        if let (Some(store), false) = (&mut self.store, changes.is_empty()) {
            match store.commit(&changes) {
                Ok(()) if self.failing => {
                    self.failing = false;
                    log::info!("{} can be written again", self.path.display());
                }
                Ok(()) => {}
                Err(error) => self.failed(&error),
            }
        }
        again
    }

    /// Says it once; serving goes on, and what is not written down now is
    /// reported again at the next start.
    fn failed(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Damaged(_)) {
            self.store = None;
            aside(&self.path, "catch-up= begins anew at the next start");
        } else if !std::mem::replace(&mut self.failing, true) {
            log::error!(
                "{error}; changes are served, and reported once more by catch-up= at the next start"
            );
        }
    }
}

/// Never earlier than the stamp of a change that precedes this call.
fn wall_clock() -> Stamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Stamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A change in the tick of the look: another one would not show.
fn is_fresh(entry: &Entry, at: Stamp) -> bool {
    entry.changed.latest() >= at && entry.changed.0 < at.0.saturating_add(FUTURE)
}

fn open(path: &Path) -> Option<Store> {
    let failed = match Store::open(path) {
        Err(StoreError::Damaged(_)) => {
            aside(path, "what happened while nothing ran is not known");
            Store::open(path)
        }
        other => other,
    };
    failed
        .inspect_err(|error| {
            log::error!("{error}; catch-up= is without effect until it can be used")
        })
        .ok()
}

fn aside(path: &Path, so: &str) {
    match store::set_aside(path) {
        Ok(aside) => {
            log::error!(
                "{} is damaged and was moved to {}; {so}",
                path.display(),
                aside.display()
            );
        }
        Err(error) => log::error!("{} is damaged: remove it ({error}); {so}", path.display()),
    }
}

/// What tells the file system of a path from another that is mounted there at
/// other times: `f_fsid`, of the path or the nearest directory that exists.
fn filesystem(spec: &Spec) -> i64 {
    let found = spec
        .path()
        .ancestors()
        .find_map(|path| statvfs(path.as_os_str().as_bytes()).ok());
    found.map_or(0, |found| found.filesystem_id() as i64)
}
