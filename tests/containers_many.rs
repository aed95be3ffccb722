//! Many containers, many starts; and nothing while nothing happens.

mod containers_kit;

use std::collections::HashSet;
use std::process::Command;
use std::sync::{PoisonError, RwLock};

use containers_kit::{Podman, Provider, can_run, succeed, wait};

/// Held alone by the one that wants nothing to happen.
static MACHINE: RwLock<()> = RwLock::new(());

#[test]
fn fifty_containers() {
    if !can_run() {
        return;
    }
    let _busy = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let podman = Podman::rootful();
    let mut provider = Provider::start(&["--podman-run", podman.run.to_str().unwrap()]);
    let wanted: HashSet<String> = (0..50).map(|n| format!("fifty-{n}")).collect();
    wanted.iter().for_each(|name| drop(podman.start(name)));
    let ours = |names: Vec<String>| -> HashSet<String> {
        names
            .into_iter()
            .filter(|name| name.starts_with("fifty-"))
            .collect()
    };
    let (mut told, mut ids) = (HashSet::new(), HashSet::new());
    provider.until("fifty", |line| {
        let name = line["add"]["labels"]["name"].as_str().unwrap_or("");
        if let Some(name) = wanted.get(name) {
            told.insert(name.clone());
            ids.insert(line["add"]["id"].to_string());
        }
        told.len() == wanted.len()
    });
    let second = Provider::start(&[]);
    assert_eq!(ours(second.names()), wanted);
    podman.podman(&["rm", "-fa", "-t0"]);
    provider.until("fifty ends", |line| {
        ids.remove(&line["remove"].to_string());
        ids.is_empty()
    });
    assert!(ours(provider.names()).is_empty());
}

#[test]
fn a_hundred_starts_and_ends() {
    if !can_run() {
        return;
    }
    let _busy = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let podman = Podman::rootful();
    let mut provider = Provider::start(&["--podman-run", podman.run.to_str().unwrap()]);
    podman.start("often-stays");
    provider.added("often-stays");
    podman.start("often");
    let mut add = provider.added("often");
    let mut pids = HashSet::from([add["labels"]["pid"].to_string()]);
    for _ in 1..100 {
        podman.podman(&["restart", "-t0", "often"]);
        provider.removed(&add);
        add = provider.added("often");
        pids.insert(add["labels"]["pid"].to_string());
    }
    assert_eq!(pids.len(), 100);
    assert!(provider.names().contains(&"often-stays".to_owned()));
}

#[test]
fn other_programs_do_not_wake_it() {
    if !can_run() {
        return;
    }
    let _quiet = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    let podman = Podman::rootful();
    podman.start("idle-a");
    // podman has helpers that go on for a while: a quiet moment may take a few tries.
    let provider = Provider::start(&[]);
    wait("a hundred programs that it did not notice", || {
        let before = provider.wakeups();
        (0..100).for_each(|_| drop(succeed(&mut Command::new("true"))));
        provider.wakeups() == before
    });
}
