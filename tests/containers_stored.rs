//! Containers that do not run are told of where that is asked for.

mod containers_kit;

use std::path::Path;
use std::process::Command;

use containers_kit::{IMAGE, PROGRAM, Podman, Provider, can_run, succeed};
use serde_json::Value;

fn state(add: &Value) -> &str {
    add["labels"]["state"].as_str().unwrap_or("running")
}

fn life(podman: &Podman, name: &str) {
    let root = podman.root.to_str().unwrap();
    let words: &[&str] = match podman.user {
        None => &["--stopped", "--podman-root", root],
        Some(_) => &["--stopped"],
    };
    if podman.user.is_some() {
        podman.start("first"); // the monitor beside it tells of the store
    }
    let mut provider = Provider::start(words);
    podman.podman(&[
        "create",
        "--name",
        name,
        "--network",
        "none",
        IMAGE,
        "sleep",
        "100000",
    ]);
    let made = provider.added(name);
    assert_eq!(
        (state(&made), &made["labels"].get("pid")),
        ("stopped", &None)
    );
    assert_eq!(made["labels"]["image"], IMAGE);
    let lower = made["lower"].as_array().unwrap().last().unwrap();
    assert!(Path::new(lower.as_str().unwrap()).join("etc/motd").exists());
    podman.podman(&["start", name]);
    let runs = provider.added(name);
    assert_eq!(state(&runs), "running");
    assert_eq!((&runs["id"], &runs["path"]), (&made["id"], &made["path"]));
    assert_eq!(runs["lower"], made["lower"], "what is watched stays");
    podman.podman(&["stop", "-t0", name]);
    let stopped = provider.added(name);
    assert_eq!(stopped, made);
    let list = succeed(Command::new(PROGRAM).arg("list").args(words));
    let row = list.lines().find(|line| line.contains(name)).unwrap();
    assert!(row.contains(" stopped "), "{list}");
    podman.remove(name);
    provider.removed(&made);
}

#[test]
fn a_stopped_container_of_root() {
    if can_run() {
        life(&Podman::rootful(), "stop-a");
    }
}

#[test]
fn a_stopped_container_of_a_user() {
    if can_run() {
        life(&Podman::rootless(), "stop-b");
    }
}

#[test]
fn a_container_in_which_an_image_is_built() {
    if !can_run() {
        return;
    }
    if !Path::new("/usr/bin/buildah").exists() {
        return eprintln!("skipped: buildah is not installed");
    }
    let podman = Podman::rootful();
    let root = podman.root.to_str().unwrap();
    let mut builds = Provider::start(&["--builds", "--podman-root", root]);
    let mut others = Provider::start(&["--stopped", "--podman-root", root]);
    let buildah = |words: &[&str]| {
        let mut command = Command::new("buildah");
        command.args(["--root", root, "--runroot"]).arg(&podman.run);
        succeed(command.args(["--storage-driver", "overlay"]).args(words))
    };
    buildah(&["from", "--pull-never", "--name", "build-a", IMAGE]);
    let add = builds.added("build-a");
    assert_eq!(state(&add), "build");
    podman.podman(&[
        "create",
        "--name",
        "build-b",
        "--network",
        "none",
        IMAGE,
        "true",
    ]);
    others.added("build-b");
    assert!(!others.names().contains(&"build-a".to_owned()));
    buildah(&["rm", "build-a"]);
    builds.removed(&add);
    assert!(!builds.names().contains(&"build-b".to_owned()));
}
