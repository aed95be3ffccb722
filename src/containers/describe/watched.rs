//! Which path shows the changes of a container.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Unclear;
use super::bundle::Bundle;
use super::mountinfo::{self, Root};
use crate::containers::container::Watched;
use crate::containers::files;
use crate::containers::process::{self, Pid};
use crate::containers::rights;

/// Lower layers that an overlay may have (Linux: `OVL_MAX_STACK`).
const LAYERS: usize = 500;
/// The file of their names.
const LOWER: u64 = LAYERS as u64 * 4096;

/// The path, and what the layers are called.
pub struct Seen {
    pub watched: Watched,
    pub upper: Option<PathBuf>,
    pub layer: String,
}

/// Whether the mount at a container's root is what its bundle asked for.
pub fn agrees(root: &Root, bundle: &Bundle) -> bool {
    match (root, bundle.root()) {
        // STORAGE/LAYER/diff and STORAGE/LAYER/merged
        (Root::Overlay { upper, .. }, Some(asked)) => {
            base(bundle).join(upper).parent() == asked.parent()
        }
        _ => false,
    }
}

/// Where the changes of the container with the first process `pid` are seen.
///
/// # Errors
/// [`Unclear::ForeignPath`] for a path whose owner is no user of the container.
pub fn watched(pid: Pid, root: Root, bundle: &Bundle, layers: bool) -> Result<Seen, Unclear> {
    let inside = process::root(pid);
    match root {
        Root::Overlay { upper, lower } => {
            let base = base(bundle);
            let upper = real(base.join(upper));
            check(pid, &upper)?;
            let layer = layer(&upper);
            let watched = match layers {
                true => overlay(
                    upper.clone(),
                    lower.into_iter().map(|path| base.join(path)),
                    None,
                ),
                false => plain(checked(pid, inside)?),
            };
            Ok(seen(watched, Some(upper), layer))
        }
        Root::Fuse => fuse(pid, bundle),
        Root::Other => {
            let asked = bundle.root().filter(|path| is_same(path, &inside));
            let path = asked.map_or_else(|| inside.clone(), |path| real(path.to_owned()));
            let layer = if path == inside {
                String::new()
            } else {
                layer(&path)
            };
            Ok(seen(plain(checked(pid, path)?), None, layer))
        }
    }
}

/// Its root is closed even to root, and its mount names no layers; its files do.
fn fuse(pid: Pid, bundle: &Bundle) -> Result<Seen, Unclear> {
    let dir = bundle.root().and_then(Path::parent);
    let mut seen = from_files(dir.ok_or(Unclear::Gone(pid))?);
    check(pid, &seen.watched.path)?;
    seen.watched.lost = Some(
        "fuse-overlayfs: who made a change is not known, and a file made without a name \
        (O_TMPFILE) is not seen",
    );
    Ok(seen)
}

/// The layer of a container that does not run; `layers` is the driver's directory.
pub fn stored(layers: &Path, layer: &str) -> Option<Seen> {
    match layers.file_name()?.to_str()? {
        "overlay" => Some(from_files(&layers.join(layer))),
        "vfs" => {
            let path = existing(&layers.join("dir").join(layer))?;
            Some(seen(plain(path), None, layer.to_owned()))
        }
        _ => None,
    }
}

/// `STORAGE/overlay/LAYER` with its file of lower layers.
fn from_files(dir: &Path) -> Seen {
    let upper = real(dir.join("diff"));
    let base = dir.parent().unwrap_or(dir);
    let lower = files::read(&dir.join("lower"), LOWER).unwrap_or_default();
    let lower = mountinfo::layers(&lower).into_iter();
    let watched = overlay(upper.clone(), lower.map(|path| base.join(path)), None);
    let layer = layer(&upper);
    seen(watched, Some(upper), layer)
}

fn seen(watched: Watched, upper: Option<PathBuf>, layer: String) -> Seen {
    Seen {
        watched,
        upper,
        layer,
    }
}

fn overlay(
    path: PathBuf,
    lower: impl Iterator<Item = PathBuf>,
    lost: Option<&'static str>,
) -> Watched {
    Watched {
        path,
        // A layer that is not there shows nothing.
        lower: lower
            .filter_map(|path| existing(&path))
            .take(LAYERS)
            .collect(),
        overlay: true,
        lost,
    }
}

fn plain(path: PathBuf) -> Watched {
    Watched {
        path,
        lower: Vec::new(),
        overlay: false,
        lost: None,
    }
}

/// The directory from which relative layers count: engines go to it before they
/// mount where the options would be too long otherwise.
fn base(bundle: &Bundle) -> PathBuf {
    let root = bundle.root().unwrap_or(Path::new("/"));
    root.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned()
}

/// Without links: podman and docker mount by short ones.
fn real(path: PathBuf) -> PathBuf {
    existing(&path).unwrap_or(path)
}

fn existing(path: &Path) -> Option<PathBuf> {
    rights::look(|| std::fs::canonicalize(path)).ok()
}

/// `.../LAYER/diff` (podman, docker), `.../LAYER/fs` (containerd), else `.../LAYER`.
fn layer(path: &Path) -> String {
    let within = path.ends_with("diff") || path.ends_with("fs");
    let dir = if within { path.parent() } else { Some(path) };
    let name = dir.and_then(Path::file_name).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let data = rights::look(|| std::fs::metadata(path)).ok()?;
        Some((data.dev(), data.ino()))
    };
    place(one).is_some_and(|place_of_one| Some(place_of_one) == place(other))
}

/// [`check`], as part of an expression.
fn checked(pid: Pid, path: PathBuf) -> Result<PathBuf, Unclear> {
    check(pid, &path).map(|()| path)
}

/// A user can mount an overlay by any text for a path, or make any directory the
/// root of a process; but its owner must be a user of the container.
fn check(pid: Pid, path: &Path) -> Result<(), Unclear> {
    let data = rights::look(|| std::fs::metadata(path));
    let owner = data.map_err(|_| Unclear::Gone(pid))?.uid();
    match rights::contains(&process::mapped_users(pid), owner) {
        true => Ok(()),
        false => Err(Unclear::ForeignPath(path.to_owned())),
    }
}
