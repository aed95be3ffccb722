//! The monitor in a container of its own, as the shipped manifest has it on every node of
//! a cluster: with these rights, these parts of the node's disk and no others.

mod containers_kit;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use containers_kit::{IMAGE, LIMIT, PROGRAM, Podman, archive, can_run, wait};
use serde_json::Value;

const MANIFEST: &str = "examples/containers/daemonset.yaml";

/// Each monitor sees the containers of all tests, and runs before everything else.
static ONE: Mutex<()> = Mutex::new(());

/// What the manifest says.
struct Manifest(String);

impl Manifest {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(MANIFEST);
        Self(fs::read_to_string(path).unwrap())
    }

    /// The lines of a file in its ConfigMap.
    fn file(&self, name: &str) -> String {
        let mut lines = self.0.lines();
        lines.find(|line| *line == format!("  {name}: |")).unwrap();
        let inside = lines.map_while(|line| line.strip_prefix("    "));
        inside.map(|line| format!("{line}\n")).collect()
    }

    /// The words in the list after `key`.
    fn list(&self, key: &str) -> Vec<&str> {
        let list = self.after(&format!("{key}: ["));
        let words = list.split(']').next().unwrap().split(',');
        words.map(|word| word.trim().trim_matches('"')).collect()
    }

    fn after(&self, text: &str) -> &str {
        let at = self.0.find(text).unwrap_or_else(|| panic!("no {text}"));
        &self.0[at + text.len()..]
    }

    /// What is mounted, by the fields of each line.
    fn mounts(&self) -> Vec<Mount> {
        let all = self.after("volumeMounts:\n").lines();
        let all = all.take_while(|line| line.trim() != "volumes:");
        let fields = all.filter_map(|line| line.trim().strip_prefix("- {")?.strip_suffix('}'));
        let mounts = fields.map(|fields| {
            let field = |key: &str| {
                let mut pairs = fields
                    .split(", ")
                    .map(|pair| pair.split_once(": ").unwrap());
                pairs
                    .find(|(name, _)| *name == key)
                    .map(|(_, value)| value.to_owned())
            };
            Mount {
                volume: field("name").unwrap(),
                path: field("mountPath").unwrap(),
                part: field("subPath"),
                writable: field("readOnly").as_deref() != Some("true"),
                follows: field("mountPropagation").as_deref() == Some("HostToContainer"),
            }
        });
        mounts.collect()
    }

    fn volume(&self, name: &str) -> Volume {
        let text = self
            .after(&format!("        - name: {name}\n"))
            .trim_start();
        if let Some(path) = text.strip_prefix("hostPath: {path: ") {
            return Volume::Node(path.split(',').next().unwrap().into());
        }
        match text.split(':').next().unwrap() {
            "configMap" => Volume::Files,
            "emptyDir" => Volume::Empty,
            other => panic!("the test knows nothing of {other}"),
        }
    }
}

enum Volume {
    /// Those of the ConfigMap.
    Files,
    Empty,
    /// A directory of the node.
    Node(PathBuf),
}

struct Mount {
    volume: String,
    path: String,
    part: Option<String>,
    writable: bool,
    follows: bool,
}

/// An image with the program where the package has it, but for the libraries.
fn image(podman: &Podman) -> String {
    let root = podman.dir().join("image");
    for dir in [
        "usr/bin",
        "usr/sbin",
        "usr/libexec/incron/providers",
        "built",
        "host/journal",
    ] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for (name, target) in [("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        symlink(target, root.join(name)).unwrap();
    }
    for place in [
        "usr/sbin/incrond",
        "usr/bin/incronctl",
        "usr/libexec/incron/incron-containers",
    ] {
        let name = Path::new(place).file_name().unwrap();
        symlink(Path::new("/built").join(name), root.join(place)).unwrap();
    }
    let provider = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/providers/containers");
    fs::copy(
        provider,
        root.join("usr/libexec/incron/providers/containers"),
    )
    .unwrap();
    let tar = podman.dir().join("pod.tar");
    archive(&root, &tar);
    podman.podman(&["import", tar.to_str().unwrap(), "localhost/pod:1"]);
    "localhost/pod:1".into()
}

/// The options with which podman makes of a container what the manifest makes of a pod.
fn options(manifest: &Manifest, podman: &Podman) -> Vec<String> {
    let text = &manifest.0;
    assert!(text.contains("hostPID: true") && text.contains("hostNetwork: true"));
    assert!(text.contains("readOnlyRootFilesystem: true"));
    assert!(text.contains("allowPrivilegeEscalation: false"));
    let mut options: Vec<String> = [
        "--pid=host",
        "--network=host",
        "--read-only",
        "--read-only-tmpfs=false",
        "--security-opt=no-new-privileges",
    ]
    .map(str::to_owned)
    .to_vec();
    let words = |key: &str| manifest.list(key).join(",").to_lowercase();
    options.push(format!("--cap-drop={}", words("drop")));
    options.push(format!("--cap-add={}", words("add")));
    let built = Path::new(PROGRAM).parent().unwrap().display();
    let mut mounts = vec![
        format!("{built}:/built:ro"),
        "/usr/lib:/usr/lib:ro".into(),
        "/usr/lib64:/usr/lib64:ro".into(),
    ];
    for mount in manifest.mounts() {
        let part = mount.part.as_deref().unwrap_or("");
        let node = match manifest.volume(&mount.volume) {
            Volume::Files => {
                let file = podman.dir().join(part);
                fs::write(&file, manifest.file(part)).unwrap();
                mounts.push(format!("{}:{}:ro", file.display(), mount.path));
                continue;
            }
            Volume::Empty => {
                // As the kubelet makes them.
                let dir = podman.dir().join(&mount.volume).join(part);
                fs::create_dir_all(&dir).unwrap();
                fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
                mounts.push(format!("{}:{}", dir.display(), mount.path));
                continue;
            }
            Volume::Node(dir) => dir.join(part),
        };
        assert!(!mount.writable, "{}", mount.path);
        // The node of the test has its directories elsewhere, and no containerd.
        let (theirs, ours) = match node.to_str().unwrap().trim_end_matches('/') {
            "/run/containers" => (podman.run.clone(), None),
            "/var/lib/containers" => (podman.root.clone(), None),
            "/run/systemd/journal" => (podman.dir().join("journal"), Some(&mount.path)),
            "/run/containerd" | "/var/lib/containerd" => continue,
            other => panic!("the test knows nothing of {other}"),
        };
        if ours.is_none() {
            assert!(
                mount.follows && Path::new(&mount.path) == node,
                "{}",
                mount.path
            );
        }
        let ours = ours.map_or(theirs.display().to_string(), Clone::clone);
        mounts.push(format!("{}:{ours}:ro,rslave", theirs.display()));
    }
    options.extend(mounts.into_iter().map(|mount| format!("--volume={mount}")));
    options
}

/// Whether a process of the container has a watch of this file.
fn watches(podman: &Podman, container: &str, file: &str) -> bool {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let its = namespace(&podman.field(container, ".State.Pid"));
    let wanted = format!(" ino:{:x} ", fs::metadata(file).unwrap().ino());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.filter(|p| namespace(p.file_name().to_str().unwrap()) == its);
    let mut infos = processes.flat_map(|p| fs::read_dir(p.path().join("fdinfo")));
    infos.any(|mut all| {
        all.any(|info| fs::read_to_string(info.unwrap().path()).is_ok_and(|t| t.contains(&wanted)))
    })
}

/// The monitor, as the manifest has it.
struct Pod {
    podman: Podman,
    manifest: Manifest,
    image: String,
    options: Vec<String>,
    /// Where journald listens.
    journal: UnixDatagram,
    _alone: MutexGuard<'static, ()>,
}

impl Pod {
    /// None where no container can be run.
    fn new() -> Option<Self> {
        if !can_run() {
            return None;
        }
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let manifest = Manifest::read();
        let podman = Podman::rootful();
        let dir = podman.dir().join("journal");
        fs::create_dir(&dir).unwrap();
        let journal = UnixDatagram::bind(dir.join("socket")).unwrap();
        journal.set_read_timeout(Some(LIMIT)).unwrap();
        Some(Self {
            image: image(&podman),
            options: options(&manifest, &podman),
            podman,
            manifest,
            journal,
            _alone: alone,
        })
    }

    /// Starts it with `change` made to each option, and waits until it is ready.
    fn start(&self, name: &str, change: (&str, &str)) {
        let options = self.options.iter().map(|o| o.replace(change.0, change.1));
        let options: Vec<String> = options.collect();
        let mut words = vec!["run", "-d", "--name", name];
        words.extend(options.iter().map(String::as_str));
        words.push(&self.image);
        words.extend(self.manifest.list("command"));
        self.podman.podman(&words);
        wait("a daemon that is ready", || {
            self.log(name)
                .contains("ready to process filesystem events")
        });
    }

    /// What it has said.
    fn log(&self, name: &str) -> String {
        let output = self.podman.command(&["logs", name]).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// What journald is sent of a file in a container.
    fn hear(&self, container: &str, path: &str) -> Value {
        loop {
            let mut packet = vec![0; 65536];
            let length = self.journal.recv(&mut packet).unwrap();
            packet.truncate(length);
            let text = String::from_utf8(packet).unwrap();
            let mut lines = text.lines();
            let message = lines.find_map(|line| line.strip_prefix("MESSAGE="));
            let event: Value = serde_json::from_str(message.unwrap()).unwrap();
            if event["container"]["name"] == container && event["path"] == path {
                return event;
            }
        }
    }

    /// Ends it; it must have been well until then.
    fn stop(&self, name: &str) {
        self.podman.podman(&["stop", "-t", "20", name]);
        assert_eq!(self.podman.field(name, ".State.ExitCode"), "0");
    }
}

#[test]
fn the_monitor_of_a_cluster_is_itself_a_container() {
    let Some(pod) = Pod::new() else { return };
    pod.podman.start("pod-before");
    pod.start("pod-monitor", ("", ""));
    // Not that of its own root: a container in a store of which nothing is known is heard.
    assert!(watches(&pod.podman, "pod-monitor", "/usr/bin/conmon"));
    pod.podman.start("pod-after");
    for name in ["pod-before", "pod-after"] {
        // One that stays: whether who ends at once is known is a matter of luck.
        let mut shell = pod.podman.command(&["exec", "-i", name, "sh"]);
        let mut shell = shell.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = shell.stdin.take().unwrap();
        writeln!(input, "echo > /etc/probe").unwrap();
        let event = pod.hear(name, "/etc/probe");
        drop(input);
        assert!(shell.wait().unwrap().success());
        assert_eq!(event["container"]["image"], IMAGE);
        let actor = &event["actor"];
        assert_eq!(actor["exe"], "/bin/busybox", "{actor}");
        assert_eq!(actor["confidence"], "exact", "{actor}");
    }
    // It is one of those that it watches, and nothing is wrong with any of them.
    let list = ["/usr/libexec/incron/incron-containers", "list"];
    let list = pod
        .podman
        .podman(&[&["exec", "pod-monitor"], &list[..]].concat());
    for name in ["pod-before", "pod-after", "pod-monitor"] {
        assert!(list.contains(name), "{list}");
    }
    // But for the real-time share, which the cgroups of some kernels have none of.
    let said = pod.log("pod-monitor");
    let said = said.lines().filter(|line| !line.contains("real-time"));
    let wrong = |line: &&str| {
        ["says:", " warning ", " error "]
            .iter()
            .any(|word| line.contains(word))
    };
    assert_eq!(said.filter(wrong).collect::<Vec<_>>(), [""; 0]);
    pod.stop("pod-monitor");
}

/// What of the manifest is there for the actors, and what is said without it.
#[test]
fn without_what_it_takes_to_know_who_did_it_the_log_says_so() {
    let Some(pod) = Pod::new() else { return };
    for (name, change, said) in [
        (
            "pod-network",
            ("--network=host", "--network=none"),
            "process events cannot be had",
        ),
        (
            "pod-priority",
            ("sys_nice,", ""),
            "may not run at real-time priority",
        ),
    ] {
        pod.start(name, change);
        let log = pod.log(name);
        let count = log.matches(said).count();
        assert_eq!(count, 1, "{log}");
        assert!(log.contains("(system::containers) line 1: "), "{log}");
        pod.stop(name);
    }
}
