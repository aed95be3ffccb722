//! Containers of docker and containerd come and go, and `incron-containers provide`
//! says so, without asking their daemons.

mod containers_kit;

use std::path::Path;

use containers_kit::{Containerd, Docker, Provider, can_run};

#[test]
fn containers_of_docker_and_containerd() {
    if !can_run() {
        return;
    }
    let docker = Docker::new();
    let mut containerd = Containerd::new();
    let archive = docker.archive();
    containerd.ctr(&["images", "import", archive.to_str().unwrap()]);
    let places = [
        "--docker-run",
        docker.run.to_str().unwrap(),
        "--containerd-run",
    ];
    let places = [&places[..], &[containerd.run.to_str().unwrap()]].concat();
    let mut provider = Provider::start(&places);

    let id = docker.start("dock-a");
    let add = provider.added("dock-a");
    let labels = &add["labels"];
    assert_eq!(
        (&labels["engine"], &labels["owner"]),
        (&"docker".into(), &"root".into())
    );
    assert_eq!(
        (&labels["id"], &labels["image"]),
        (&id.into(), &"bb:1".into())
    );
    let inspect = |field: &str| docker.docker(&["inspect", "-f", field, "dock-a"]);
    assert_eq!(labels["pid"], inspect("{{.State.Pid}}").as_str());
    assert_eq!(
        add["path"],
        inspect("{{.GraphDriver.Data.UpperDir}}").as_str()
    );
    assert_eq!(add["kind"], "overlay");
    docker.docker(&["exec", "dock-a", "touch", "/new"]);
    assert!(
        Path::new(add["path"].as_str().unwrap())
            .join("new")
            .exists()
    );

    containerd.start("ctr-a");
    let ctr = provider.added("ctr-a");
    let labels = &ctr["labels"];
    assert_eq!(
        (&labels["engine"], &labels["id"]),
        (&"containerd".into(), &"ctr-a".into())
    );
    containerd.ctr(&[
        "task",
        "exec",
        "--exec-id",
        "x",
        "ctr-a",
        "/bin/touch",
        "/new",
    ]);
    let upper = Path::new(ctr["path"].as_str().unwrap());
    assert!(upper.join("new").exists());
    let layer = upper.parent().unwrap().file_name().unwrap();
    assert_eq!(labels["layer"], layer.to_str().unwrap());

    docker.docker(&["stop", "-t0", "dock-a"]);
    provider.removed(&add);
    docker.docker(&["start", "dock-a"]);
    let again = provider.added("dock-a");
    containerd.remove("ctr-a");
    provider.removed(&ctr);
    // A daemon that dies takes no container along, and is no error.
    drop(containerd);
    docker.docker(&["exec", "dock-a", "true"]);
    docker.docker(&["rm", "-f", "dock-a"]);
    provider.removed(&again);
}

#[test]
fn stores_that_nobody_named_are_found_by_their_processes() {
    if !can_run() {
        return;
    }
    let mut provider = Provider::start(&[]);
    let docker = Docker::new();
    docker.start("shim-a");
    let add = provider.added("shim-a");
    assert_eq!(add["labels"]["engine"], "docker");
    let second = Provider::start(&["--engine", "docker"]);
    assert!(second.names().contains(&"shim-a".to_owned()));
}
