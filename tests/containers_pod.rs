//! The monitor in a container of its own, as the shipped manifest has it on every node of
//! a cluster: with these rights, these parts of the node's disk and no others.

mod containers_kit;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use containers_kit::{IMAGE, LIMIT, PROGRAM, Podman, can_run, succeed, wait};
use serde_json::Value;

const MANIFEST: &str = "examples/containers/daemonset.yaml";

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

    /// The node's directory of a volume; None where it is no directory of the node.
    fn node(&self, volume: &str) -> Option<PathBuf> {
        let at = self.after(&format!("        - name: {volume}\n"));
        let path = at.trim_start().strip_prefix("hostPath: {path: ")?;
        Some(path.split(',').next().unwrap().into())
    }
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
    succeed(
        Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&tar)
            .arg("."),
    );
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
        let Some(node) = manifest.node(&mount.volume) else {
            match &mount.part {
                Some(name) => {
                    let file = podman.dir().join(name);
                    fs::write(&file, manifest.file(name)).unwrap();
                    mounts.push(format!("{}:{}:ro", file.display(), mount.path));
                }
                None => options.push(format!("--tmpfs={}", mount.path)),
            }
            continue;
        };
        assert!(!mount.writable, "{}", mount.path);
        let node = node.join(mount.part.as_deref().unwrap_or(""));
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

/// What journald is sent of a file in a container.
fn hear(journal: &UnixDatagram, container: &str, path: &str, log: impl Fn() -> String) -> Value {
    loop {
        let mut packet = vec![0; 65536];
        let received = journal.recv(&mut packet);
        let length = received.unwrap_or_else(|error| panic!("{container}: {error}: {}", log()));
        packet.truncate(length);
        let text = String::from_utf8(packet).unwrap();
        let mut lines = text.lines();
        let message = lines
            .find_map(|line| line.strip_prefix("MESSAGE="))
            .unwrap();
        let event: Value = serde_json::from_str(message).unwrap();
        if event["container"]["name"] == container && event["path"] == path {
            return event;
        }
    }
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

#[test]
fn the_monitor_of_a_cluster_is_itself_a_container() {
    if !can_run() {
        return;
    }
    let manifest = Manifest::read();
    let podman = Podman::rootful();
    let image = image(&podman);
    let dir = podman.dir().join("journal");
    fs::create_dir(&dir).unwrap();
    let journal = UnixDatagram::bind(dir.join("socket")).unwrap();
    journal.set_read_timeout(Some(LIMIT)).unwrap();
    podman.start("pod-before");
    let options = options(&manifest, &podman);
    let mut words = vec!["run", "-d", "--name", "pod-monitor"];
    words.extend(options.iter().map(String::as_str));
    words.push(&image);
    words.extend(manifest.list("command"));
    podman.podman(&words);
    let log = || {
        succeed(
            Command::new("sh")
                .args(["-c", "exec 2>&1; exec \"$@\"", "sh"])
                .args(log_command(&podman)),
        )
    };
    wait("a daemon that is ready", || {
        log().contains("ready to process filesystem events")
    });
    // Not that of its own root: a container in a store of which nothing is known is heard.
    assert!(watches(&podman, "pod-monitor", "/usr/bin/conmon"));
    podman.start("pod-after");
    for name in ["pod-before", "pod-after"] {
        podman.shell(name, "echo > /etc/probe");
        let event = hear(&journal, name, "/etc/probe", log);
        assert_eq!(event["container"]["image"], IMAGE);
        let actor = &event["actor"];
        assert_eq!(actor["exe"], "/bin/busybox", "{actor}");
        assert_eq!(actor["confidence"], "exact", "{actor}");
    }
    // It is one of those that it watches, and nothing is wrong with any of them.
    let list = podman.podman(&[
        "exec",
        "pod-monitor",
        "/usr/libexec/incron/incron-containers",
        "list",
    ]);
    for name in ["pod-before", "pod-after", "pod-monitor"] {
        assert!(list.contains(name), "{list}");
    }
    let said = log();
    assert!(
        !said.contains("says:") && !said.contains(" warning ") && !said.contains(" error "),
        "{said}"
    );
    podman.podman(&["stop", "-t", "20", "pod-monitor"]);
    assert_eq!(podman.field("pod-monitor", ".State.ExitCode"), "0");
}

fn log_command(podman: &Podman) -> Vec<std::ffi::OsString> {
    let command = podman.command(&["logs", "pod-monitor"]);
    let words = command.get_args().map(ToOwned::to_owned);
    std::iter::once(command.get_program().to_owned())
        .chain(words)
        .collect()
}
