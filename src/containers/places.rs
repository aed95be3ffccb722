//! Where the engines of a machine keep the state of running containers: what their
//! configuration says, else their defaults. The stores of users, and all that is
//! unusual, are found by the processes that run (`monitors`).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::cli::{Engine, Which};
use super::files;
use super::process;
use super::store::Store;

/// podman's and CRI-O's configuration, the first that exists.
const STORAGE: [&str; 2] = [
    "/etc/containers/storage.conf",
    "/usr/share/containers/storage.conf",
];
const GRAPHROOT: &str = "/var/lib/containers/storage";
const RUNROOT: &str = "/run/containers/storage";
const DOCKER: &str = "/etc/docker/daemon.json";
const EXEC_ROOT: &str = "/run/docker";
const CONTAINERD: &str = "/etc/containerd/config.toml";
const STATE: &str = "/run/containerd";
/// The same containerd, as k3s starts it.
const K3S: &str = "/run/k3s/containerd";

/// What of daemon.json matters.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Daemon {
    exec_root: Option<PathBuf>,
}

/// The stores of root to begin with, those that the command line names included.
pub fn stores(which: &Which) -> Vec<Store> {
    let mut stores = Vec::new();
    if which.wants(Engine::Podman) || which.wants(Engine::Crio) {
        stores.push(Store::conmon(runroot()));
        stores.extend(which.podman_run.iter().cloned().map(Store::conmon));
    }
    if which.wants(Engine::Docker) {
        stores.push(Store::docker(&exec_root()));
        stores.extend(which.docker_run.iter().map(|dir| Store::docker(dir)));
    }
    if which.wants(Engine::Docker) || which.wants(Engine::Containerd) {
        stores.push(Store::shim(state())); // docker's namespace "moby" is here, too
        stores.push(Store::shim(K3S.into()));
        stores.extend(which.containerd_run.iter().cloned().map(Store::shim));
    }
    let mut seen = std::collections::HashSet::new();
    stores.retain(|store| seen.insert(store.clone()));
    stores
}

/// Root's storage directories, those of the command line included.
pub fn storage(which: &Which) -> Vec<Store> {
    let mut dirs = vec![configured("graphroot").unwrap_or_else(|| GRAPHROOT.into())];
    dirs.extend(which.podman_root.iter().cloned());
    dirs.into_iter().map(Store::stored).collect()
}

fn runroot() -> PathBuf {
    configured("runroot").unwrap_or_else(|| RUNROOT.into())
}

fn text(name: &str) -> Option<String> {
    let file = process::engines(Path::new(name));
    files::text(&file, files::PROC).ok()
}

fn configured(name: &str) -> Option<PathBuf> {
    let read = |name: &&str| text(name);
    key(&STORAGE.iter().find_map(read)?, "storage", name)
}

fn exec_root() -> PathBuf {
    let text = text(DOCKER).unwrap_or_default();
    let daemon: Daemon = serde_json::from_str(&text).unwrap_or_default();
    daemon.exec_root.unwrap_or_else(|| EXEC_ROOT.into())
}

fn state() -> PathBuf {
    let text = text(CONTAINERD).unwrap_or_default();
    key(&text, "", "state").unwrap_or_else(|| STATE.into())
}

/// An absolute path of a TOML file, by its section ("" before the first) and key.
/// Engines write such values on one line, in quotes of either kind.
fn key(text: &str, section: &str, key: &str) -> Option<PathBuf> {
    let mut within = "";
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            within = name.split(']').next().unwrap_or("").trim();
        } else if within == section
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            let value = value.trim();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let path = PathBuf::from(value.get(1..)?.split(quote).next()?);
            return path.is_absolute().then_some(path);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_configuration_files() {
        let text = "# c\nversion = 2\nstate = '/x y' # z\n[storage]\ndriver = \"overlay\"\n\
            # runroot = \"/no\"\n runroot = \"/run/c\"\n[storage.options]\nrunroot = \"/other\"\n";
        assert_eq!(key(text, "storage", "runroot"), Some("/run/c".into()));
        assert_eq!(key(text, "", "state"), Some("/x y".into()));
        assert_eq!(key(text, "", "runroot"), None);
        for bad in [
            "state",
            "state =",
            "state = /x",
            "state = \"x\"",
            "state=\"",
        ] {
            assert_eq!(key(bad, "", "state"), None, "{bad}");
        }
    }

    #[test]
    fn only_the_engines_that_are_asked_for() {
        let which = |engine| Which {
            engine: vec![engine],
            ..Which::default()
        };
        let kinds = |engine| {
            let stores = stores(&which(engine)).into_iter();
            stores
                .map(|store| store.kind)
                .collect::<std::collections::HashSet<_>>()
        };
        use super::super::store::Kind;
        assert_eq!(kinds(Engine::Podman), [Kind::Conmon].into());
        assert_eq!(kinds(Engine::Docker), [Kind::Shim].into());
    }
}
