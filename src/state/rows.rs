//! The rows of state.db: one for each path of a watch, and how they change.

use std::collections::{BTreeSet, HashMap, HashSet};

use rusqlite::{Row, Transaction, params};

use super::Marks;
use crate::sys::inotify::Stamp;
use crate::watch::snapshot::{Entry, Snapshot};

/// What is to be written down of one path.
pub enum Change<'a> {
    /// Directories went elsewhere, with all they hold: from and to where, what is there
    /// by now, and what is not to be written down of it.
    Moved(&'a Marks, &'a Snapshot, &'a HashSet<Box<[u8]>>),
    /// It is not there.
    Gone(&'a [u8]),
    /// It is as this; None: it owes a close if it did.
    Is(&'a [u8], Entry, Option<bool>),
}

/// Writes one change down.
pub(super) fn apply(
    all: &Transaction<'_>,
    watch: i64,
    change: &Change<'_>,
) -> rusqlite::Result<()> {
    match change {
        Change::Moved(marks, now, held) => relocate(all, watch, marks, now, held)?,
        Change::Gone(path) => {
            let sql = "DELETE FROM entries WHERE watch = ?1 AND path = ?2";
            all.prepare_cached(sql)?.execute(params![watch, path])?;
        }
        Change::Is(path, entry, owed) => put(all, watch, path, entry, *owed)?,
    }
    Ok(())
}

/// Each thing that went along is found by what it is, so it does not matter in which
/// order what was renamed. What went out of sight is forgotten, but while the end of
/// something in there may be among what is not to be written down.
fn relocate(
    all: &Transaction<'_>,
    watch: i64,
    marks: &Marks,
    now: &Snapshot,
    held: &HashSet<Box<[u8]>>,
) -> rusqlite::Result<()> {
    let keep = held.iter().any(|path| marks.moves(path));
    let mut places: HashMap<_, Vec<&[u8]>> = HashMap::new();
    for (path, entry) in now {
        places.entry(entry.identity()).or_default().push(path);
    }
    let mut went = Vec::new();
    for (path, entry) in at_and_below(all, watch, &marks.moved)? {
        let places = places.get_mut(&entry.identity());
        let to = places.and_then(|places| {
            let stays = places.iter().position(|to| **to == *path);
            stays
                .or(places.len().checked_sub(1))
                .map(|at| places.swap_remove(at))
        });
        let stays = match to {
            Some(to) => *to == *path || held.contains(to) || held.contains(&path),
            None => keep,
        };
        if !stays {
            apply(all, watch, &Change::Gone(&path))?;
            went.extend(to.map(|to| (to, entry)));
        }
    }
    for (to, entry) in went {
        put(all, watch, to, &entry, Some(entry.owed))?;
    }
    Ok(())
}

/// The rows of these directories and of all they hold.
fn at_and_below(
    all: &Transaction<'_>,
    watch: i64,
    dirs: &BTreeSet<Box<[u8]>>,
) -> rusqlite::Result<Snapshot> {
    let mut found = Snapshot::new();
    // All paths below `dir` are between `dir/` and `dir0`.
    let sql = "SELECT * FROM entries
               WHERE watch = ?1 AND (path = ?2 OR path >= ?3 AND path < ?4)";
    let mut rows = all.prepare_cached(sql)?;
    for dir in dirs {
        let (first, end) = ([dir, &b"/"[..]].concat(), [dir, &b"0"[..]].concat());
        for row in rows.query_map(params![watch, dir, first, end], entry)? {
            found.extend([row?]);
        }
    }
    Ok(found)
}

/// Writes down what a path is.
pub(super) fn put(
    all: &Transaction<'_>,
    watch: i64,
    path: &[u8],
    entry: &Entry,
    owed: Option<bool>,
) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ifnull(?12, 0))
        ON CONFLICT DO UPDATE SET mode = ?3, inode = ?4, born = ?5, changed = ?6, modified = ?7,
        size = ?8, user = ?9, grp = ?10, links = ?11, owed = ifnull(?12, owed)";
    all.prepare_cached(sql)?.execute(params![
        watch,
        path,
        entry.mode,
        entry.inode as i64, // the same 64 bits
        entry.born.0,
        entry.changed.0,
        entry.modified.0,
        entry.size as i64,
        entry.owner.0,
        entry.owner.1,
        entry.links,
        owed,
    ])?;
    Ok(())
}

/// A row as path and entry.
pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<(Box<[u8]>, Entry)> {
    let path: Vec<u8> = row.get(1)?;
    let entry = Entry {
        mode: row.get(2)?,
        inode: row.get::<_, i64>(3)? as u64,
        born: Stamp(row.get(4)?),
        changed: Stamp(row.get(5)?),
        modified: Stamp(row.get(6)?),
        size: row.get::<_, i64>(7)? as u64,
        owner: (row.get(8)?, row.get(9)?),
        links: row.get(10)?,
        owed: row.get(11)?,
    };
    Ok((path.into(), entry))
}
