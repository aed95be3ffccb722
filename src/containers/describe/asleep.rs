//! Containers that are stored and do not run: stopped ones of podman and CRI-O, and
//! those in which buildah builds an image.

use std::path::{Path, PathBuf};

use super::storage::Stored;
use super::{first, watched};
use crate::containers::cli::Engine;
use crate::containers::container::{Container, Owner, State};
use crate::containers::rights;

/// Which of them are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Those that a start would make run.
    pub stopped: bool,
    /// Those of buildah.
    pub builds: bool,
}

impl Asked {
    /// Whether any is.
    pub fn any(self) -> bool {
        self.stopped || self.builds
    }
}

/// Those that `file`, a containers.json, has. None where it is half written: what
/// was known of it stays true.
pub fn asleep(file: &Path, owner: &Owner, asked: Asked) -> Option<Vec<Container>> {
    let dir = file.parent()?;
    let driver = dir.file_name()?.to_str()?.strip_suffix("-containers")?;
    let layers = dir.parent()?.join(driver);
    let all = Stored::all(file)?.into_iter();
    Some(
        all.filter_map(|stored| one(stored, &layers, owner, asked))
            .collect(),
    )
}

fn one(stored: Stored, layers: &Path, owner: &Owner, asked: Asked) -> Option<Container> {
    // A user writes the file; its words must not lead out of the store.
    let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if !plain(&stored.id) || !plain(&stored.layer) {
        return None;
    }
    let built = stored.is_built();
    if !(if built { asked.builds } else { asked.stopped }) {
        return None;
    }
    let seen = watched::stored(layers, &stored.layer)?;
    let data = rights::look(|| std::fs::metadata(&seen.watched.path)).ok()?;
    if !rights::is_ours(&data) {
        return None;
    }
    let (image, pod) = stored.image_and_pod();
    Some(Container {
        engine: Engine::Podman,
        name: first(&[stored.name()]),
        image: first(&[&image]),
        pod: first(&[&pod]),
        namespace: String::new(),
        layer: seen.layer,
        pid: 0,
        state: if built { State::Build } else { State::Stopped },
        complete: true,
        started: None,
        watched: seen.watched,
        upper: seen.upper,
        owner: owner.clone(),
        id: stored.id,
    })
}

/// Where accounts that people use keep podman's containers, if they have any.
pub fn homes() -> Vec<(u32, PathBuf)> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let account = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let uid = fields.next()?.parse().ok()?;
        let home = Path::new(fields.nth(2)?);
        let store = home.join(".local/share/containers/storage");
        (1000..=60_000).contains(&uid).then_some((uid, store))
    };
    text.lines().filter_map(account).collect()
}
