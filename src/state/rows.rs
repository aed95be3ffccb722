//! The rows of state.db: one for each path of a watch, and how they change.

use rusqlite::{Row, Transaction, params};

use crate::sys::inotify::Stamp;
use crate::watch::snapshot::Entry;

/// What is to be written down of one path.
pub enum Change<'a> {
    /// A directory and all it held are under another path.
    Renamed(&'a [u8], &'a [u8]),
    /// What it held went away with it.
    Emptied(&'a [u8]),
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
    // All paths below `dir` are between `dir/` and `dir0`.
    let below = |dir: &[u8]| ([dir, b"/"].concat(), [dir, b"0"].concat());
    match change {
        Change::Renamed(from, to) => {
            let ((first, end), (to, _)) = (below(from), below(to));
            let (_, to_end) = below(to.strip_suffix(b"/").unwrap_or(&to));
            let sql = "DELETE FROM entries WHERE watch = ?1 AND path >= ?2 AND path < ?3";
            all.prepare_cached(sql)?
                .execute(params![watch, to, to_end])?;
            let sql = "UPDATE entries SET path = CAST(?4 || substr(path, ?5) AS BLOB)
                       WHERE watch = ?1 AND path >= ?2 AND path < ?3";
            let after = first.len() as i64 + 1;
            all.prepare_cached(sql)?
                .execute(params![watch, first, end, to, after])?;
        }
        Change::Emptied(dir) => {
            let (first, end) = below(dir);
            let sql = "DELETE FROM entries WHERE watch = ?1 AND path >= ?2 AND path < ?3";
            all.prepare_cached(sql)?
                .execute(params![watch, first, end])?;
        }
        Change::Gone(path) => {
            let sql = "DELETE FROM entries WHERE watch = ?1 AND path = ?2";
            all.prepare_cached(sql)?.execute(params![watch, path])?;
        }
        Change::Is(path, entry, owed) => put(all, watch, path, entry, *owed)?,
    }
    Ok(())
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
