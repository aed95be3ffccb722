//! state.db: the file, its versions, and the watches in it.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::rows::{Change, apply, entry, put};
use crate::watch::snapshot::Snapshot;

/// `user_version` of the file.
const VERSION: i32 = 1;
/// A line that is gone for so long is forgotten.
const FORGET: Duration = Duration::from_secs(30 * 24 * 3600);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS watches (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL,
        filesystem INTEGER NOT NULL,
        seen INTEGER NOT NULL,
        UNIQUE (key, filesystem)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS entries (
        watch INTEGER NOT NULL,
        path BLOB NOT NULL,
        mode INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        born INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        modified INTEGER NOT NULL,
        size INTEGER NOT NULL,
        user INTEGER NOT NULL,
        grp INTEGER NOT NULL,
        links INTEGER NOT NULL,
        owed INTEGER NOT NULL,
        PRIMARY KEY (watch, path)
    ) STRICT, WITHOUT ROWID;
";

/// What is wrong with state.db.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is not a database any more.
    #[error("{0} is damaged")]
    Damaged(PathBuf),
    /// A later version of this program made it.
    #[error("{0} was made by a later version of incron: remove it, or go back to that version")]
    Newer(PathBuf),
    /// Any other failure: no space, no permission, in use.
    #[error("{path}: {error}")]
    Failed {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        error: String,
    },
}

/// An open state.db.
pub struct Store {
    path: PathBuf,
    db: Connection,
}

impl Store {
    /// Opens the file, or makes it: for its owner only.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: &dyn std::fmt::Display| StoreError::Failed {
            path: path.to_owned(),
            error: error.to_string(),
        };
        // SQLite gives what it makes beside it the same mode.
        let made = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path);
        made.map_err(|error| failed(&error))?;
        let db = Connection::open(path).map_err(|error| failed(&error))?;
        let store = Self {
            path: path.to_owned(),
            db,
        };
        store.prepare().map_err(|error| store.wrong(&error))?;
        let version: i32 = store.ask("PRAGMA user_version")?;
        if version > VERSION {
            return Err(StoreError::Newer(store.path));
        }
        let made = store.db.execute_batch(SCHEMA);
        made.map_err(|error| store.wrong(&error))?;
        let set = store.db.pragma_update(None, "user_version", VERSION);
        set.map_err(|error| store.wrong(&error))?;
        Ok(store)
    }

    fn prepare(&self) -> rusqlite::Result<()> {
        // An earlier worker may still give its commands their time.
        self.db.busy_timeout(Duration::from_secs(30))?;
        // One process only: no shared memory beside the file.
        self.db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        self.db.pragma_update(None, "journal_mode", "WAL")?;
        // The last transactions may be missing after a power cut; what they held
        // is then reported again.
        self.db.pragma_update(None, "synchronous", "NORMAL")
    }

    fn ask(&self, sql: &str) -> Result<i32, StoreError> {
        self.db
            .query_row(sql, [], |row| row.get(0))
            .map_err(|error| self.wrong(&error))
    }

    fn wrong(&self, error: &rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(path),
            _ => StoreError::Failed {
                path,
                error: error.to_string(),
            },
        }
    }

    /// The row of a watch, and whether there is one of the same key on another
    /// file system. It counts as seen today.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn find(&self, key: &[u8], filesystem: i64) -> Result<(Option<i64>, bool), StoreError> {
        let find = || {
            let sql =
                "UPDATE watches SET seen = ?3 WHERE key = ?1 AND filesystem = ?2 RETURNING id";
            let row = self
                .db
                .query_row(sql, params![key, filesystem, today()], |row| row.get(0));
            let other = "SELECT EXISTS (SELECT 1 FROM watches WHERE key = ?1 AND filesystem <> ?2)";
            let other = self
                .db
                .query_row(other, params![key, filesystem], |row| row.get(0))?;
            Ok((row.optional()?, other))
        };
        find().map_err(|error| self.wrong(&error))
    }

    /// All that a watch held.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn load(&self, watch: i64) -> Result<Snapshot, StoreError> {
        let load = || {
            let mut all = self
                .db
                .prepare_cached("SELECT * FROM entries WHERE watch = ?1")?;
            let rows = all.query_map([watch], entry)?;
            rows.collect::<rusqlite::Result<Snapshot>>()
        };
        load().map_err(|error| self.wrong(&error))
    }

    /// Writes down a watch that is new, but for some of its paths; its row.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn remember(
        &mut self,
        key: &[u8],
        filesystem: i64,
        snapshot: &Snapshot,
        except: &HashSet<Box<[u8]>>,
    ) -> Result<i64, StoreError> {
        let remember = |db: &mut Connection| {
            let all = db.transaction()?;
            let sql =
                "INSERT INTO watches (key, filesystem, seen) VALUES (?1, ?2, ?3) RETURNING id";
            let watch = all.query_row(sql, params![key, filesystem, today()], |row| row.get(0))?;
            all.execute("DELETE FROM entries WHERE watch = ?1", [watch])?;
            for (path, entry) in snapshot.iter().filter(|(path, _)| !except.contains(*path)) {
                put(&all, watch, path, entry, Some(false))?;
            }
            all.commit()?;
            Ok(watch)
        };
        let result = remember(&mut self.db);
        result.map_err(|error| self.wrong(&error))
    }

    /// Writes down changes, all or none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn commit(&mut self, changes: &[(i64, Change<'_>)]) -> Result<(), StoreError> {
        let commit = |db: &mut Connection| {
            let all = db.transaction()?;
            for (watch, change) in changes {
                apply(&all, *watch, change)?;
            }
            all.commit()
        };
        let result = commit(&mut self.db);
        result.map_err(|error| self.wrong(&error))
    }

    /// Forgets what nobody has asked for in a month, but for `claimed`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn forget_old(&mut self, claimed: &[i64]) -> Result<(), StoreError> {
        let oldest = today().saturating_sub(FORGET.as_secs() as i64);
        let forget = |db: &mut Connection| {
            let all = db.transaction()?;
            let old: Vec<i64> = {
                let mut old = all.prepare("SELECT id FROM watches WHERE seen < ?1")?;
                let rows = old.query_map([oldest], |row| row.get(0))?;
                rows.collect::<rusqlite::Result<_>>()?
            };
            for watch in old.iter().filter(|watch| !claimed.contains(watch)) {
                all.execute("DELETE FROM entries WHERE watch = ?1", [watch])?;
                all.execute("DELETE FROM watches WHERE id = ?1", [watch])?;
            }
            all.commit()
        };
        let result = forget(&mut self.db);
        result.map_err(|error| self.wrong(&error))
    }
}

/// Renames a damaged file and what belongs to it; the new name.
///
/// # Errors
/// As rename(2).
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = with_end(path, ".damaged");
    std::fs::rename(path, &aside)?;
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(with_end(path, end));
    }
    Ok(aside)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Seconds since 1970.
fn today() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Marks;
    use crate::watch::snapshot::Entry;

    fn snapshot(paths: &[&[u8]]) -> Snapshot {
        let entry = |at: usize| Entry {
            inode: u64::MAX - at as u64,
            mode: 0o100_644,
            ..Entry::default()
        };
        paths
            .iter()
            .enumerate()
            .map(|(at, path)| ((*path).into(), entry(at)))
            .collect()
    }

    fn paths(store: &Store, watch: i64) -> Vec<Vec<u8>> {
        store
            .load(watch)
            .unwrap()
            .into_keys()
            .map(<[u8]>::into_vec)
            .collect()
    }

    fn marks(moved: &[&[u8]]) -> Marks {
        Marks {
            moved: moved.iter().map(|&path| path.into()).collect(),
            ..Marks::default()
        }
    }

    #[test]
    fn what_is_remembered_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let all = snapshot(&[b"", b"a", b"a/\xff", b"b"]);
        let mut store = Store::open(&path).unwrap();
        assert_eq!(store.find(b"k", 1).unwrap(), (None, false));
        let watch = store.remember(b"k", 1, &all, &HashSet::new()).unwrap();
        drop(store);
        let mut store = Store::open(&path).unwrap();
        assert_eq!(store.find(b"k", 1).unwrap(), (Some(watch), false));
        assert_eq!(store.find(b"k", 2).unwrap(), (None, true));
        assert_eq!(store.load(watch).unwrap(), all);
        store.forget_old(&[]).unwrap();
        assert_eq!(
            store.find(b"k", 1).unwrap().0,
            Some(watch),
            "it was asked for today"
        );
    }

    #[test]
    fn a_directory_takes_along_what_it_holds_whatever_the_names() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("state.db")).unwrap();
        let all = snapshot(&[
            b"\xff",
            b"\xff-x",
            b"\xff/\xfe",
            b"\xff/d/\n",
            b"\xff0",
            b"z/old",
        ]);
        let watch = store.remember(b"k", 1, &all, &HashSet::new()).unwrap();
        let marks = marks(&[b"\xff", b"z"]);
        let found = |from: &[u8], to: &[u8]| (Box::from(to), all[from]);
        let now = [
            found(b"\xff", b"z"),
            found(b"\xff/\xfe", b"z/\xfe"),
            found(b"\xff/d/\n", b"z/d/\n"),
        ];
        let (now, held) = (Snapshot::from(now), HashSet::new());
        store
            .commit(&[(watch, Change::Moved(&marks, &now, &held))])
            .unwrap();
        let wanted: [&[u8]; 5] = [b"z", b"z/d/\n", b"z/\xfe", b"\xff-x", b"\xff0"];
        assert_eq!(paths(&store, watch), wanted);
        store
            .commit(&[(watch, Change::Moved(&marks, &Snapshot::new(), &held))])
            .unwrap();
        assert_eq!(paths(&store, watch), [&b"\xff-x"[..], b"\xff0"]);
    }

    #[test]
    fn what_may_have_ended_untold_is_kept_while_something_waits() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("state.db")).unwrap();
        let all = snapshot(&[b"a", b"a/gone", b"a/here", b"b", b"b/waits"]);
        let watch = store.remember(b"k", 1, &all, &HashSet::new()).unwrap();
        let marks = marks(&[b"a", b"b", b"c"]);
        let now = [
            (Box::from(&b"c"[..]), all[&b"a"[..]]),
            (b"c/here"[..].into(), all[&b"a/here"[..]]),
            (b"b/waits"[..].into(), all[&b"b/waits"[..]]),
        ];
        let (now, held) = (Snapshot::from(now), [b"b/waits"[..].into()].into());
        store
            .commit(&[(watch, Change::Moved(&marks, &now, &held))])
            .unwrap();
        let wanted: [&[u8]; 5] = [b"a/gone", b"b", b"b/waits", b"c", b"c/here"];
        assert_eq!(paths(&store, watch), wanted);
    }

    #[test]
    fn what_is_owed_stays_until_it_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("state.db")).unwrap();
        let watch = store
            .remember(b"k", 1, &Snapshot::new(), &HashSet::new())
            .unwrap();
        let mut owed = |known| {
            store
                .commit(&[(watch, Change::Is(b"f", Entry::default(), known))])
                .unwrap();
            store.load(watch).unwrap().values().next().unwrap().owed
        };
        assert!(!owed(None) && owed(Some(true)) && owed(None) && !owed(Some(false)) && !owed(None));
    }

    #[test]
    fn damaged_files_and_those_of_later_versions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        std::fs::write(&path, [b'x'; 5000]).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Damaged(_))));
        set_aside(&path).unwrap();
        let store = Store::open(&path).unwrap();
        store
            .db
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        drop(store);
        assert!(matches!(Store::open(&path), Err(StoreError::Newer(_))));
        let below = path.join("not-a-directory");
        assert!(matches!(
            Store::open(&below),
            Err(StoreError::Failed { .. })
        ));
    }
}
