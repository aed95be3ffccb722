//! A running container, as tables and people get to know it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::cli::Engine;
use super::process::Pid;

/// Bytes of one label.
const LABEL: usize = 1024;

/// One of them; texts that are not known are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Whose it is.
    pub engine: Engine,
    /// 64 hexadecimal digits; of containerd any name.
    pub id: String,
    /// As the user gave it, or the engine.
    pub name: String,
    /// Name of the image.
    pub image: String,
    /// The user who runs it; the kernel's word, not the engine's.
    pub owner: Owner,
    /// Name of the layer's directory.
    pub layer: String,
    /// Its first process, in the host's numbers; 0 where none runs.
    pub pid: Pid,
    /// Whether it runs.
    pub state: State,
    /// Its pod, and the namespace of that in Kubernetes.
    pub pod: String,
    /// See `pod`.
    pub namespace: String,
    /// Where its changes are seen.
    pub watched: Watched,
    /// Where its changes are kept; None where no directory holds only them.
    pub upper: Option<PathBuf>,
    /// When its program began.
    pub started: Option<SystemTime>,
    /// False where the engine's files did not tell name and image.
    pub complete: bool,
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Running,
    /// It does not, and may be started.
    Stopped,
    /// An image is built in it.
    Build,
}

/// A user of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The number.
    pub uid: u32,
    /// The name; the number where it has none.
    pub name: String,
}

/// The path to watch for a container's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// An upper layer, or a root directory.
    pub path: PathBuf,
    /// Lower layers, top first; empty where `path` is a whole root.
    pub lower: Vec<PathBuf>,
    /// True where `path` is an upper layer of an overlay.
    pub overlay: bool,
    /// What cannot be seen this way.
    pub lost: Option<&'static str>,
}

impl Container {
    /// Names it among those of all engines and owners, and again after a restart.
    pub fn key(&self) -> String {
        format!("{}:{}:{}", self.engine.name(), self.owner.uid, self.id)
    }

    /// What is known of it, by name; what is not known is left out.
    pub fn labels(&self) -> Map<String, Value> {
        let (pid, state) = match self.state {
            State::Running => (self.pid.to_string(), ""),
            State::Stopped => (String::new(), "stopped"),
            State::Build => (String::new(), "build"),
        };
        let all = [
            ("engine", self.engine.name()),
            ("id", &self.id),
            ("name", &self.name),
            ("image", &self.image),
            ("owner", &self.owner.name),
            ("layer", &self.layer),
            ("pid", &pid),
            ("state", state),
            ("pod", &self.pod),
            ("namespace", &self.namespace),
        ];
        let known = all.into_iter().filter(|(_, value)| !value.is_empty());
        known
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
    }

    /// The message that adds it to `@containers`, as incron-provider(7) describes.
    pub fn added(&self) -> Value {
        let mut add = Map::new();
        add.insert("id".into(), self.key().into());
        path(&mut add, &self.watched.path);
        add.insert("labels".into(), self.labels().into());
        let kind = if self.watched.overlay {
            "overlay"
        } else {
            "plain"
        };
        add.insert("kind".into(), kind.into());
        if self.watched.overlay {
            lower(&mut add, &self.watched.lower);
        }
        add.insert("shown".into(), "/".into());
        json!({ "add": add })
    }
}

/// A user's file may call a container anything; incrond takes no more than 16 KiB of
/// labels, and an environment no NUL.
pub fn bounded(value: &str) -> String {
    let ends = (0..=value.len().min(LABEL)).rev();
    let kept = ends.filter_map(|end| value.get(..end)).next();
    kept.unwrap_or_default().replace('\0', "\u{fffd}")
}

fn path(add: &mut Map<String, Value>, path: &Path) {
    add.insert("path".into(), path.to_string_lossy().into());
    if path.to_str().is_none() {
        add.insert("path_raw".into(), raw(path).into());
    }
}

fn lower(add: &mut Map<String, Value>, layers: &[PathBuf]) {
    let texts: Option<Vec<_>> = layers.iter().map(|path| path.to_str()).collect();
    match texts {
        Some(texts) => add.insert("lower".into(), json!(texts)),
        None => {
            let raw: Vec<_> = layers.iter().map(|path| raw(path)).collect();
            add.insert("lower_raw".into(), json!(raw))
        }
    };
}

fn raw(path: &Path) -> String {
    BASE64.encode(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStringExt;

    fn container(name: &str, path: &[u8]) -> Container {
        let path: PathBuf = std::ffi::OsString::from_vec(path.to_vec()).into();
        Container {
            engine: Engine::Podman,
            id: "aa".into(),
            name: name.into(),
            image: String::new(),
            owner: Owner {
                uid: 7,
                name: "al".into(),
            },
            layer: "l".into(),
            pid: 9,
            state: State::Running,
            pod: String::new(),
            namespace: String::new(),
            watched: Watched {
                path: path.clone(),
                lower: vec!["/a".into(), path],
                overlay: true,
                lost: None,
            },
            upper: None,
            started: None,
            complete: true,
        }
    }

    #[test]
    fn the_message() {
        let wanted = json!({"add": {"id": "podman:7:aa", "path": "/u", "kind": "overlay",
            "lower": ["/a", "/u"], "shown": "/",
            "labels": {"engine": "podman", "id": "aa", "name": "c", "owner": "al",
                "layer": "l", "pid": "9"}}});
        assert_eq!(container("c", b"/u").added(), wanted);
    }

    #[test]
    fn paths_of_any_bytes() {
        let add = container("c", b"/\xff").added();
        let add = &add["add"];
        assert_eq!(
            (&add["path_raw"], &add["path"]),
            (&json!("L/8="), &json!("/\u{fffd}"))
        );
        assert_eq!(add["lower_raw"], json!(["L2E=", "L/8="]));
    }

    proptest! {
        #[test]
        fn labels_have_a_bound(name in "\\PC{0,2000}", zeros in 0..3usize) {
            let name = name + &"\0".repeat(zeros);
            let told = bounded(&name);
            prop_assert!(told.len() <= 3 * LABEL && !told.contains('\0'));
            let whole = name.replace('\0', "\u{fffd}");
            prop_assert!(name.len() > LABEL || told == whole);
        }
    }
}
