//! config.json of a container's bundle: what the engine asked the runtime for, in
//! the one form that all engines share (the OCI runtime specification).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::containers::files;

/// What of it tells us something.
#[derive(Debug, Default, Deserialize)]
pub struct Bundle {
    #[serde(default)]
    root: RootPath,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
struct RootPath {
    #[serde(default)]
    path: PathBuf,
}

impl Bundle {
    /// The bundle in `dir`; one that cannot be read says nothing.
    pub fn read(dir: &Path) -> Bundle {
        let text = files::read(&dir.join("config.json"), files::METADATA).unwrap_or_default();
        let mut bundle: Bundle = serde_json::from_slice(&text).unwrap_or_default();
        if !bundle.root.path.as_os_str().is_empty() {
            bundle.root.path = dir.join(&bundle.root.path); // relative to the bundle
        }
        bundle
    }

    /// The root directory on the host; None where it is not known.
    pub fn root(&self) -> Option<&Path> {
        Some(self.root.path.as_path()).filter(|path| path.is_absolute())
    }

    /// The first of these annotations that says something.
    pub fn annotation(&self, names: &[&str]) -> Option<&str> {
        let said = |name: &&str| self.annotations.get(*name).map(String::as_str);
        names.iter().filter_map(said).find(|text| !text.is_empty())
    }

    /// The host name that processes in the container see.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }
}
