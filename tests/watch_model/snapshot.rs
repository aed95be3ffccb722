//! What there is at one moment.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One thing, whatever its names: device and inode.
pub type Id = (u64, u64);

/// Everything below the private directory: path to thing and kind (`d`, `f`, `l`).
pub type Snapshot = BTreeMap<String, (Id, char)>;

/// All that is below `d`, which lines are on, and `o`, which none is on.
pub fn snapshot(top: &Path) -> Snapshot {
    let mut all = Snapshot::new();
    let mut todo = vec!["d".to_owned(), "o".to_owned()];
    while let Some(rel) = todo.pop() {
        let path = top.join(&rel);
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        let kind = match meta.file_type() {
            t if t.is_dir() => 'd',
            t if t.is_symlink() => 'l',
            _ => 'f',
        };
        if kind == 'd' {
            for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
                todo.push(format!("{rel}/{}", entry.file_name().to_string_lossy()));
            }
        }
        all.insert(rel, (id(&meta), kind));
    }
    all
}

pub fn id(meta: &fs::Metadata) -> Id {
    (meta.dev(), meta.ino())
}

/// The last name of a path.
pub fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The directory that a path names a thing in.
pub fn dir(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}
