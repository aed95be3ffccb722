//! Containers of podman come and go, of root and of a user, and `incron-containers
//! provide` says so with all that is known of them.

mod containers_kit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use containers_kit::{IMAGE, PROGRAM, Podman, Provider, User, can_run, succeed, wait};
use serde_json::Value;

fn path(add: &Value) -> PathBuf {
    PathBuf::from(add["path"].as_str().unwrap())
}

/// Checks what is said of a container against podman's own word.
fn check(podman: &Podman, name: &str, add: &Value) {
    let labels = &add["labels"];
    let owner = podman.user.as_ref().map_or("root", |user| &user.name);
    assert_eq!(labels["engine"], "podman");
    assert_eq!(labels["owner"], owner);
    assert_eq!(labels["image"], IMAGE);
    assert_eq!(labels["id"], podman.field(name, ".Id").as_str());
    assert_eq!(labels["pid"], podman.field(name, ".State.Pid").as_str());
    assert_eq!(add["shown"], "/");
}

#[test]
fn a_container_of_root_from_start_to_end() {
    if !can_run() {
        return;
    }
    let podman = Podman::rootful();
    let mut provider = Provider::start(&["--podman-run", podman.run.to_str().unwrap()]);
    podman.start("ful-a");
    let add = provider.added("ful-a");
    check(&podman, "ful-a", &add);
    assert_eq!(add["kind"], "overlay");
    let upper = podman.field("ful-a", ".GraphDriver.Data.UpperDir");
    assert_eq!(path(&add), Path::new(&upper));
    let layer = path(&add).parent().unwrap().file_name().unwrap().to_owned();
    assert_eq!(add["labels"]["layer"], layer.to_str().unwrap());
    // Where the container writes, and where its image is.
    podman.shell("ful-a", "echo x > /tmp/new");
    assert_eq!(
        fs::read_to_string(path(&add).join("tmp/new")).unwrap(),
        "x\n"
    );
    let lower = add["lower"].as_array().unwrap();
    let image = Path::new(lower.last().unwrap().as_str().unwrap());
    assert_eq!(
        fs::read_to_string(image.join("etc/motd")).unwrap(),
        "from the image\n"
    );

    podman.podman(&["stop", "-t0", "ful-a"]);
    provider.removed(&add);
    podman.podman(&["start", "ful-a"]);
    let again = provider.added("ful-a");
    check(&podman, "ful-a", &again);
    assert_eq!(again["id"], add["id"]);
    assert_ne!(again["labels"]["pid"], add["labels"]["pid"]);
    podman.remove("ful-a");
    provider.removed(&again);
    assert!(!provider.names().contains(&"ful-a".to_owned()));
}

#[test]
fn what_runs_before_is_told_before_ready() {
    if !can_run() {
        return;
    }
    let podman = Podman::rootful();
    podman.start("early-a");
    // Its store is named nowhere: the process beside it tells where it is.
    let mut provider = Provider::start(&[]);
    assert!(provider.names().contains(&"early-a".to_owned()));
    podman.start("early-b");
    let add = provider.added("early-b");
    check(&podman, "early-b", &add);
}

#[test]
fn an_unknown_store_is_found_when_it_starts_a_container() {
    if !can_run() {
        return;
    }
    let mut provider = Provider::start(&[]);
    let podman = Podman::rootful();
    podman.start("late-a");
    let add = provider.added("late-a");
    check(&podman, "late-a", &add);
}

#[test]
fn a_container_of_a_user() {
    if !can_run() {
        return;
    }
    let mut provider = Provider::start(&[]);
    let podman = Podman::rootless();
    podman.start("less-a");
    let add = provider.added("less-a");
    check(&podman, "less-a", &add);
    assert_eq!(add["kind"], "overlay");
    podman.shell("less-a", "echo y > /var/new");
    assert_eq!(
        fs::read_to_string(path(&add).join("var/new")).unwrap(),
        "y\n"
    );
    // One whose files belong to the user's other users.
    let words = [
        "run",
        "-d",
        "--name",
        "less-b",
        "--userns",
        "keep-id",
        "--network",
        "none",
    ];
    podman.podman(&[&words[..], &[IMAGE, "sleep", "100000"]].concat());
    let keep = provider.added("less-b");
    check(&podman, "less-b", &keep);
    assert!(path(&keep).is_dir());
    podman.remove("less-a");
    provider.removed(&add);
    podman.remove("less-b");
    provider.removed(&keep);
}

#[test]
fn members_of_a_pod_bear_its_name() {
    if !can_run() {
        return;
    }
    let podman = Podman::rootful();
    let mut provider = Provider::start(&["--podman-run", podman.run.to_str().unwrap()]);
    let words = [
        "pod",
        "create",
        "--name",
        "pea",
        "--network",
        "none",
        "--infra-image",
        IMAGE,
    ];
    podman.podman(&[&words[..], &["--infra-command", "/bin/sleep 100000"]].concat());
    podman.podman(&[
        "run", "-d", "--pod", "pea", "--name", "pod-a", IMAGE, "sleep", "100000",
    ]);
    let add = provider.added("pod-a");
    assert_eq!(add["labels"]["pod"], "pea");
    check(&podman, "pod-a", &add);
}

#[test]
fn what_does_not_run_is_not_told() {
    if !can_run() {
        return;
    }
    let podman = Podman::rootful();
    let mut provider = Provider::start(&["--podman-run", podman.run.to_str().unwrap()]);
    // An image comes, a container is made and not started, another ends at once.
    let tar = podman.dir().join("image.tar");
    podman.podman(&["import", tar.to_str().unwrap(), "localhost/other:1"]);
    podman.podman(&[
        "create",
        "--name",
        "not-a",
        "--network",
        "none",
        IMAGE,
        "true",
    ]);
    podman.podman(&[
        "run",
        "--rm",
        "--name",
        "not-b",
        "--network",
        "none",
        IMAGE,
        "true",
    ]);
    podman.start("not-c");
    let add = provider.added("not-c");
    podman.remove("not-c");
    provider.removed(&add);
    let names = provider.names();
    assert!(
        !names.iter().any(|name| name.starts_with("not-")),
        "{names:?}"
    );
    let made = provider
        .seen
        .iter()
        .any(|line| line["add"]["labels"]["name"] == "not-a");
    assert!(!made);
}

#[test]
fn a_store_of_whole_directories_and_one_of_fuse() {
    if !can_run() {
        return;
    }
    let mut provider = Provider::start(&[]);
    let podman = Podman::new(Some(User::new()), &["vfs"]);
    podman.start("vfs-a");
    let add = provider.added("vfs-a");
    check(&podman, "vfs-a", &add);
    assert_eq!(add["kind"], "plain");
    podman.shell("vfs-a", "echo z > /new");
    assert_eq!(fs::read_to_string(path(&add).join("new")).unwrap(), "z\n");
    if !Path::new("/usr/bin/fuse-overlayfs").exists() || !Path::new("/dev/fuse").exists() {
        return eprintln!("left out: fuse-overlayfs is not installed");
    }
    let _open = Open::to_all("/dev/fuse");
    let fuse = ["overlay", "overlay.mount_program=/usr/bin/fuse-overlayfs"];
    let podman = Podman::new(Some(User::new()), &fuse);
    podman.start("fuse-a");
    let add = provider.added("fuse-a");
    check(&podman, "fuse-a", &add);
    assert_eq!(add["kind"], "overlay");
    podman.shell("fuse-a", "echo z > /new");
    assert_eq!(fs::read_to_string(path(&add).join("new")).unwrap(), "z\n");
    let lower = Path::new(
        add["lower"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .as_str()
            .unwrap(),
    );
    assert!(lower.join("etc/motd").exists());
    provider.complains("fuse-overlayfs: who made a change is not known");
}

/// A file that is open to all until the end of a test.
struct Open {
    path: &'static str,
    mode: fs::Permissions,
}

impl Open {
    fn to_all(path: &'static str) -> Open {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        Open { path, mode }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = fs::set_permissions(self.path, self.mode.clone());
    }
}

#[test]
fn a_container_that_is_closed_to_the_provider_is_named() {
    if !can_run() {
        return;
    }
    let podman = Podman::rootful();
    // It may do more than the provider.
    let words = [
        "run",
        "-d",
        "--name",
        "closed-a",
        "--network",
        "none",
        "--privileged",
    ];
    podman.podman(&[&words[..], &[IMAGE, "sleep", "100000"]].concat());
    podman.start("closed-b");
    let run = podman.run.to_str().unwrap();
    let mut provider = Provider::without("sys_ptrace", &["--podman-run", run]);
    provider.added("closed-b");
    let line = provider.complains("stands for a container that is not told");
    assert!(line.contains(&podman.field("closed-a", ".Id")), "{line}");
    assert!(line.contains("CAP_SYS_PTRACE"), "{line}");
}

#[test]
fn roots_are_watched_where_layers_are_not() {
    if !can_run() {
        return;
    }
    let podman = Podman::rootful();
    podman.start("root-a");
    let mut provider = Provider::begin(&["--watch", "root", "--engine", "podman"]);
    let add = provider.added("root-a");
    assert_eq!(add["kind"], "plain");
    let pid = podman.field("root-a", ".State.Pid");
    assert_eq!(path(&add), PathBuf::from(format!("/proc/{pid}/root")));
    podman.shell("root-a", "echo x > /tmp/new");
    assert_eq!(
        fs::read_to_string(path(&add).join("tmp/new")).unwrap(),
        "x\n"
    );
    let mut other = Provider::start(&["--engine", "docker,containerd"]);
    other.child.kill().unwrap();
    assert!(!other.names().contains(&"root-a".to_owned()));
}

#[test]
fn the_list_counts_what_changed() {
    if !can_run() {
        return;
    }
    let podman = Podman::rootful();
    podman.start("list-a");
    let listed = || {
        let lines = succeed(Command::new(PROGRAM).args(["list", "--json"]));
        let all = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.into_iter().find(|one| one["name"] == "list-a").unwrap()
    };
    assert_eq!(
        listed()["changed"],
        0,
        "what the engine made at the start is not counted"
    );
    // One new, one of the image written to, one of it deleted.
    podman.shell("list-a", "echo > /tmp/new; echo > /etc/motd; rm /etc/d/f");
    let one = listed();
    assert_eq!(one["changed"], 3);
    assert_eq!(one["pid"].to_string(), podman.field("list-a", ".State.Pid"));
    let table = succeed(Command::new(PROGRAM).arg("list"));
    let row = table.lines().find(|line| line.contains("list-a")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[..4], ["podman", "root", "list-a", IMAGE]);
    assert_eq!(cells[6..], ["3", "layer"]);
}

#[test]
fn a_provider_without_a_reader_ends() {
    if !can_run() {
        return;
    }
    let mut command = Command::new(PROGRAM);
    command.arg("provide").stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let out = child.stdout.take().unwrap();
    let mut line = String::new();
    let mut reader = std::io::BufReader::new(out);
    while !line.contains("ready") {
        line.clear();
        std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    }
    drop(reader);
    wait("its end", || child.try_wait().unwrap().is_some());
}
