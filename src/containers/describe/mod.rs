//! From a process number that an engine wrote down to a [`Container`]: who owns it,
//! what it is called, where its changes are seen.
//!
//! An engine's files are believed for names only. Owner, root and layers are the
//! kernel's word, because a user may write any number into a file of an own store:
//! it must not make the first process of another's container, or of the host, ours.

mod asleep;
mod bundle;
mod docker;
mod monitor;
mod mountinfo;
mod storage;
mod watched;

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::unistd::{Uid, User};

pub use asleep::{Asked, asleep, homes};
use bundle::Bundle;
pub use monitor::Monitor;
use mountinfo::Root;

use super::cli::Engine;
use super::container::{Container, Owner, State, bounded};
use super::process::{self, Pid};
use super::rights;
use super::store::Kind;
use crate::sys;

const POD: [&str; 3] = [
    "io.kubernetes.pod.name",
    "io.kubernetes.cri.sandbox-name",
    "io.kubernetes.cri-o.KubeName",
];
const NAMESPACE: [&str; 3] = [
    "io.kubernetes.pod.namespace",
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.cri-o.Namespace",
];
const NAME: [&str; 3] = [
    "io.kubernetes.container.name",
    "io.kubernetes.cri.container-name",
    "nerdctl/name",
];
const IMAGE: [&str; 2] = [
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri-o.ImageName",
];

/// A process number, and the file in which an engine wrote it.
#[derive(Debug)]
pub struct Found<'a> {
    /// `.../ID/userdata/pidfile` or `.../ID/init.pid`.
    pub file: &'a Path,
    /// Which of the two.
    pub kind: Kind,
    /// The number.
    pub pid: Pid,
    /// To whom the store belongs.
    pub owner: u32,
}

/// Why a process number is no container.
#[derive(Debug, thiserror::Error)]
pub enum Unclear {
    /// The runtime has not yet changed its root.
    #[error("the process {0} is still outside of its container")]
    NotYet(Pid),
    /// Not the child of a process that monitors it: the runtime has not yet ended; or
    /// the file is left from before a reboot, and the number is another's.
    #[error("the process {0} has no monitor")]
    Stray(Pid),
    /// The kernel shows it to nobody who lacks a right (ptrace(2), PTRACE_MODE_READ).
    #[error("the process {0} is closed to us; is the capability CAP_SYS_PTRACE missing?")]
    Closed(Pid),
    /// Something that ended.
    #[error("the process {0} is of no container")]
    Gone(Pid),
    /// Somebody lies.
    #[error("the process {pid} belongs to user {real}, but its file to user {claimed}")]
    Foreign { pid: Pid, real: u32, claimed: u32 },
    /// The same.
    #[error("{0} does not belong to its container's users")]
    ForeignPath(PathBuf),
}

/// What a container is; `layers` says that upper layers may be watched.
///
/// # Errors
/// See [`Unclear`].
pub fn describe(found: &Found<'_>, layers: bool) -> Result<Container, Unclear> {
    let pid = found.pid;
    let real = sys::namespace_owner(pid).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Unclear::Closed(pid),
        _ => Unclear::Gone(pid),
    })?;
    if real != found.owner {
        let claimed = found.owner;
        return Err(Unclear::Foreign { pid, real, claimed });
    }
    // First of all: mounts read before the root changes are the host's.
    if process::is_outside(pid) {
        return Err(Unclear::NotYet(pid));
    }
    let mounts = process::mounts(pid).map_err(|_| Unclear::Gone(pid))?;
    let root = mountinfo::root(&mounts).ok_or(Unclear::Gone(pid))?;
    let owner = owner(real);
    match found.kind {
        Kind::Conmon => of_conmon(found, owner, root, layers),
        Kind::Shim => of_shim(found, owner, root, layers),
        Kind::Stored => Err(Unclear::Gone(pid)), // it has no numbers
    }
}

/// A user of the host, with the name that the user database has.
pub fn owner(uid: u32) -> Owner {
    let name = match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    };
    Owner { uid, name }
}

/// Podman and CRI-O: `RUN/DRIVER-containers/ID/userdata/pidfile`.
fn of_conmon(
    found: &Found<'_>,
    owner: Owner,
    root: Root,
    layers: bool,
) -> Result<Container, Unclear> {
    let gone = || Unclear::Gone(found.pid);
    let data = found.file.parent().ok_or_else(gone)?;
    let id = name(data.parent()).ok_or_else(gone)?;
    let run = data.parent().and_then(Path::parent).ok_or_else(gone)?;
    let monitor = process::parent(found.pid).and_then(Monitor::of);
    let monitor = monitor.filter(|monitor| monitor.id == id);
    let kept = kept(&root).map(|store| store.join(run.file_name().unwrap_or_default()));
    let dir = match (&monitor, &kept) {
        (Some(monitor), _) => monitor.bundle.clone(),
        (None, Some(kept)) => kept.join(&id).join("userdata"),
        (None, None) => return Err(Unclear::Stray(found.pid)),
    };
    let bundle = Bundle::read(&dir);
    if monitor.is_none() && !watched::agrees(&root, &bundle) {
        return Err(Unclear::Stray(found.pid));
    }
    let places = [
        dir.parent().and_then(Path::parent),
        kept.as_deref(),
        Some(run),
    ];
    let mut places = places.into_iter().flatten();
    let stored = places.find_map(|dir| storage::Stored::find(dir, &id));
    let (image, pod) = stored
        .as_ref()
        .map(|s| s.image_and_pod())
        .unwrap_or_default();
    let called = stored.as_ref().map_or("", |stored| stored.name());
    let called = first(&[called, monitor.as_ref().map_or("", |monitor| &monitor.name)]);
    let podman_pod = podman_pod(&dir, &bundle, &called);
    let seen = watched::watched(found.pid, root, &bundle, layers)?;
    Ok(Container {
        engine: match bundle.annotation(&["io.container.manager"]) {
            Some("cri-o") => Engine::Crio,
            _ => Engine::Podman,
        },
        name: first(&[bundle.annotation(&NAME).unwrap_or(""), &called]),
        image: first(&[&image, bundle.annotation(&IMAGE).unwrap_or("")]),
        pod: first(&[bundle.annotation(&POD).unwrap_or(""), &pod, &podman_pod]),
        namespace: first(&[bundle.annotation(&NAMESPACE).unwrap_or("")]),
        layer: first(&[&seen.layer, stored.as_ref().map_or("", |s| &s.layer)]),
        complete: stored.is_some(),
        pid: found.pid,
        state: State::Running,
        id,
        owner,
        watched: seen.watched,
        upper: seen.upper,
        started: started(found.file),
    })
}

/// Podman keeps the names of pods in a database of its own. But a pod's infra
/// container bears it as its host name, and the others say which that is.
fn podman_pod(dir: &Path, bundle: &Bundle, name: &str) -> String {
    let plain = |id: &&str| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let infra = bundle.annotation(&["io.kubernetes.cri-o.SandboxID"]);
    match (infra.filter(plain), dir.ancestors().nth(2)) {
        (Some(id), Some(all)) => {
            let infra = Bundle::read(&all.join(id).join("userdata"));
            infra.hostname().to_owned()
        }
        _ if name.ends_with("-infra") => bundle.hostname().to_owned(),
        _ => String::new(),
    }
}

/// The storage directory to which an upper layer belongs.
fn kept(root: &Root) -> Option<PathBuf> {
    match root {
        // STORAGE/overlay/LAYER/diff
        Root::Overlay { upper, .. } => upper.ancestors().nth(3).map(Path::to_owned),
        _ => None,
    }
}

/// Docker and containerd: `STATE/io.containerd.runtime.v2.task/NAMESPACE/ID/init.pid`.
fn of_shim(
    found: &Found<'_>,
    owner: Owner,
    root: Root,
    layers: bool,
) -> Result<Container, Unclear> {
    let gone = || Unclear::Gone(found.pid);
    let dir = found.file.parent().ok_or_else(gone)?;
    let id = name(Some(dir)).ok_or_else(gone)?;
    let bundle = Bundle::read(dir);
    let parent = process::parent(found.pid).ok_or_else(gone)?;
    if !process::comm(parent).starts_with("containerd-shim") && !watched::agrees(&root, &bundle) {
        return Err(Unclear::Stray(found.pid));
    }
    let docker = name(dir.parent()).as_deref() == Some("moby");
    let settings = bundle.root().filter(|_| docker);
    let settings = settings.and_then(|root| docker::Settings::find(root, &id));
    let complete = settings.is_some() || !docker;
    let settings = settings.unwrap_or_default();
    let said = |names: &[&str]| bundle.annotation(names).unwrap_or("").to_owned();
    let label = |name: &str| settings.label(name).unwrap_or("").to_owned();
    let seen = watched::watched(found.pid, root, &bundle, layers)?;
    let fallback = if docker { "" } else { &id };
    Ok(Container {
        engine: if docker {
            Engine::Docker
        } else {
            Engine::Containerd
        },
        name: first(&[settings.name(), &said(&NAME), fallback]),
        image: first(&[settings.image(), &said(&IMAGE)]),
        pod: first(&[&said(&POD), &label(POD[0])]),
        namespace: first(&[&said(&NAMESPACE), &label(NAMESPACE[0])]),
        layer: seen.layer,
        complete,
        pid: found.pid,
        state: State::Running,
        id,
        owner,
        watched: seen.watched,
        upper: seen.upper,
        started: started(found.file),
    })
}

/// The runtime writes the number when all is set up, before the program begins.
fn started(file: &Path) -> Option<SystemTime> {
    let data = rights::look(|| file.symlink_metadata()).ok()?;
    data.modified().ok()
}

fn name(path: Option<&Path>) -> Option<String> {
    let name: &OsStr = path?.file_name()?;
    Some(name.to_string_lossy().into_owned())
}

/// The first text that says something.
fn first(texts: &[&str]) -> String {
    let known = texts.iter().find(|text| !text.is_empty());
    bounded(known.copied().unwrap_or_default())
}
