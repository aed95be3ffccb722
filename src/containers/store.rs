//! Where engines write down the process numbers of running containers, and how
//! those places are found: by configuration, and by the monitors that run.

use std::path::{Path, PathBuf};

use super::pattern::{Part, Pattern};

/// The ways in which it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// podman, CRI-O: `RUN/DRIVER-containers/ID/userdata/pidfile`.
    Conmon,
    /// docker, containerd: `STATE/io.containerd.runtime.v2.task/NAMESPACE/ID/init.pid`.
    Shim,
    /// All that podman, CRI-O and buildah have stored: `ROOT/DRIVER-containers/containers.json`.
    Stored,
}

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Store {
    /// What is below.
    pub kind: Kind,
    /// podman's run directory, containerd's state directory.
    pub dir: PathBuf,
}

const TASKS: &str = "io.containerd.runtime.v2.task";
const CONMON: [Part; 4] = [
    Part::Ending("-containers"),
    Part::Any,
    Part::Name("userdata"),
    Part::Name("pidfile"),
];
const STORED: [Part; 2] = [Part::Ending("-containers"), Part::Name("containers.json")];
const SHIM: [Part; 4] = [
    Part::Name(TASKS),
    Part::Any,
    Part::Any,
    Part::Name("init.pid"),
];

impl Store {
    /// The files with process numbers.
    pub fn pattern(&self) -> Pattern {
        Pattern {
            base: self.dir.clone(),
            parts: match self.kind {
                Kind::Conmon => &CONMON,
                Kind::Shim => &SHIM,
                Kind::Stored => &STORED,
            },
        }
    }

    /// The store in which `file` is such a file.
    pub fn of_file(kind: Kind, file: &Path) -> Option<Store> {
        let dir = file.ancestors().nth(4)?.to_owned();
        let store = Store { kind, dir };
        store.pattern().matches(file).then_some(store)
    }

    /// podman's and CRI-O's.
    pub fn conmon(dir: PathBuf) -> Store {
        Store {
            kind: Kind::Conmon,
            dir,
        }
    }

    /// A storage directory of podman, CRI-O and buildah.
    pub fn stored(dir: PathBuf) -> Store {
        Store {
            kind: Kind::Stored,
            dir,
        }
    }

    /// containerd's.
    pub fn shim(dir: PathBuf) -> Store {
        Store {
            kind: Kind::Shim,
            dir,
        }
    }

    /// That of the containerd that dockerd starts in its exec-root.
    pub fn docker(exec_root: &Path) -> Store {
        Store::shim(exec_root.join("containerd/daemon"))
    }
}
