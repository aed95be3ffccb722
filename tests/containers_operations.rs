//! Every operation of a program in a container of rootful podman, rootless podman and
//! docker is told as a user inside would tell it, with who did it: by the daemon with
//! `@containers`, whose one mark sees the upper layers. docs/containers.md has the
//! table of what a user inside would say, and what is told otherwise.

mod containers_kit;
mod monitor_kit;
mod overlay_operations;
mod story;
mod watch_kit;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use containers_kit::{Docker, Podman, can_run, succeed};
use monitor_kit::{Monitor, Shell};
use overlay_operations::{Operations, Told};
use serde_json::Value;

const IMAGE: &str = "localhost/operations:1";
const TABLE: &str = "@containers IN_CREATE,IN_DELETE,IN_MODIFY,IN_CLOSE_WRITE,IN_MOVE,IN_ATTRIB,\
                     dotdirs=true,who=true,run=stream cat >> @O/events\n";

/// What may be told otherwise than a user inside would, and why it is not known better.
const OTHERWISE: [(&str, &str, &str); 3] = [
    (
        "rename_upper_dir",
        "udir: ATTRIB ISDIR, MOVED_FROM ISDIR; udir2: MOVED_TO ISDIR <- udir",
        "overlayfs marks it first, which looks like a chmod",
    ),
    (
        "rename_image_symlink",
        "isym: DELETE; isym2: MOVED_TO <- isym",
        "its copy is gone before it is looked at: so is a whiteout's",
    ),
    (
        "tmpfile_linkat",
        "made: CLOSE_WRITE, CREATE",
        "the kernel has the order of two records, not of all that it adds to them",
    ),
];

/// The test's image with the program and a directory for each operation.
fn image(dir: &Path, operations: &Operations) -> PathBuf {
    let root = dir.join("image");
    fs::copy(operations.program(), root.join("operations")).unwrap();
    for name in operations.all() {
        let own = root.join("w").join(name);
        fs::create_dir_all(&own).unwrap();
        operations.run("image", &own);
    }
    let tar = dir.join("operations.tar");
    let mut command = Command::new("tar");
    succeed(command.arg("-C").arg(&root).arg("-cf").arg(&tar).arg("."));
    tar
}

/// A running container, in the words of its engine and of its host.
struct Place {
    engine: &'static str,
    name: &'static str,
    /// Its first process.
    pid: u32,
    /// The user of the host who is root inside, and the one who is number 7.
    uids: (u32, u32),
    shell: Shell,
    /// Bytes of what was told that have been looked at.
    seen: usize,
}

/// What one operation was told as, and by whom.
struct Done {
    told: Told,
    events: Vec<Value>,
    /// Of the process on the host and inside.
    pids: (u32, u32),
}

impl Place {
    fn new(
        engine: &'static str,
        name: &'static str,
        pid: &str,
        uids: (u32, u32),
        exec: &mut Command,
    ) -> Place {
        let pid = pid.parse().unwrap();
        let shell = Shell::new(exec);
        Place {
            engine,
            name,
            pid,
            uids,
            shell,
            seen: 0,
        }
    }

    /// Waits until all that was done so far has been told; what was told since the last
    /// time.
    fn settle(&mut self, monitor: &Monitor, mark: &str) -> Vec<Value> {
        self.shell.run(&format!(": > /w/{mark}"));
        let (events, seen) = monitor.until("events", self.seen, &format!("/w/{mark}"));
        self.seen = seen;
        events
    }

    /// Does an operation; the process stays until its number was looked up.
    fn done(&mut self, monitor: &Monitor, name: &str, words: &str) -> Done {
        self.shell
            .say(&format!("/operations {words} held {name} /w/{name}"));
        let inside: u32 = self.shell.hear().parse().unwrap();
        let pids = (on_the_host(self.pid, inside), inside);
        self.shell.say("");
        let mut events = self.settle(monitor, &format!("{}.{name}", self.name));
        let below = format!("/w/{name}/");
        events.retain(|event| {
            event["labels"]["name"] == self.name
                && event["path"].as_str().unwrap().starts_with(&below)
        });
        Done {
            told: told(&events, name),
            events,
            pids,
        }
    }

    /// What is wrong about the actors of an operation.
    fn wrong_actors(&self, done: &Done, uid: u32, words: &[&str]) -> Vec<String> {
        let user = nix::unistd::User::from_uid(uid.into()).unwrap();
        let mut wanted = serde_json::json!({
            "pid": done.pids.0, "ns_pid": done.pids.1, "uid": uid, "gid": uid,
            "exe": "/operations", "cmdline": words, "confidence": "exact",
        });
        if let Some(user) = user {
            wanted["user"] = user.name.into();
        }
        let fields = wanted.as_object().unwrap();
        let differs = |event: &&Value| {
            let actor = &event["actor"];
            fields.iter().any(|(name, value)| actor[name] != *value)
        };
        let wrong = done.events.iter().filter(differs);
        let said = wrong.map(|event| format!("{}: {event}, wanted {wanted}", self.engine));
        said.collect()
    }
}

/// The number on the host of a process `inside` the pid namespace of `first`.
fn on_the_host(first: u32, inside: u32) -> u32 {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(&first.to_string()).unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().into_string().ok());
    let found = pids.find(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("NSpid:"));
        let last = line.and_then(|line| line.split_whitespace().last());
        last == Some(&inside.to_string()) && namespace(pid).as_ref() == Some(&own)
    });
    found.unwrap().parse().unwrap()
}

/// Events in the words of the page. What is told twice in a row is told once: the
/// kernel adds what it has not delivered to what it adds.
fn told(events: &[Value], name: &str) -> Told {
    let below = format!("/w/{name}/");
    let inside = |path: &Value| path.as_str().unwrap().replace(&below, "");
    let mut told = Told::new();
    for event in events {
        let path = inside(&event["path"]);
        if path.starts_with('#') {
            continue; // O_TMPFILE
        }
        let names = event["events"].as_array().unwrap().iter();
        let names: Vec<&str> = names.map(|name| &name.as_str().unwrap()[3..]).collect();
        let dir = if event["dir"] == true { " ISDIR" } else { "" };
        let old = event
            .get("old_path")
            .map(|old| format!(" <- {}", inside(old)));
        let text = format!("{}{dir}{}", names.join(" "), old.unwrap_or_default());
        let all: &mut Vec<String> = told.entry(path).or_default();
        if all.last() != Some(&text) {
            all.push(text);
        }
    }
    told
}

/// A section of docs/containers.md between its marks.
fn section(page: &str, name: &str) -> (String, String, String) {
    let (begin, end) = (
        format!("<!-- begin {name} -->\n"),
        format!("<!-- end {name} -->"),
    );
    let (head, rest) = page.split_once(&begin).unwrap();
    let (text, tail) = rest.split_once(&end).unwrap();
    (
        format!("{head}{begin}"),
        text.into(),
        format!("{end}{tail}"),
    )
}

/// What a user inside would say of each operation: made by tests/overlay_translation.rs.
fn truth(page: &str) -> BTreeMap<String, Told> {
    let (_, table, _) = section(page, "operations");
    let rows = table.lines().skip(2).map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let inside = if cells[2].is_empty() {
            cells[1]
        } else {
            cells[2]
        };
        let mut told = Told::new();
        for path in inside.split("; ").filter(|path| !path.is_empty()) {
            let (path, events) = path.split_once(": ").unwrap();
            let mut events: Vec<String> = events.split(", ").map(str::to_owned).collect();
            events.dedup();
            told.insert(path.into(), events);
        }
        (cells[0].to_owned(), told)
    });
    rows.collect()
}

fn text(told: &Told) -> String {
    let paths = told.iter();
    let paths = paths.map(|(path, events)| format!("{path}: {}", events.join(", ")));
    paths.collect::<Vec<_>>().join("; ")
}

#[test]
fn every_operation_in_every_kind_of_container() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(operations) = Operations::build(dir.path()) else {
        return eprintln!("SKIPPED: no C compiler that links statically");
    };
    let (rootful, rootless, docker) = (Podman::rootful(), Podman::rootless(), Docker::new());
    for podman in [&rootful, &rootless] {
        let tar = image(podman.dir(), &operations);
        podman.podman(&["import", tar.to_str().unwrap(), IMAGE]);
    }
    let tar = image(docker.dir(), &operations);
    docker.docker(&["import", tar.to_str().unwrap(), "operations:1"]);

    let monitor = Monitor::new(&[]);
    monitor.story.prefix.table("t", TABLE);
    let _daemon = monitor.start();

    let run = ["run", "-d", "--network", "none", "--name"];
    let mut places = Vec::new();
    for (engine, name, podman) in [
        ("podman", "op-root", &rootful),
        ("podman, rootless", "op-user", &rootless),
    ] {
        podman.podman(&[&run[..], &[name, IMAGE, "sleep", "100000"]].concat());
        let uids = match &podman.user {
            None => (0, 7),
            Some(user) => (user.uid, user.first_subuid() + 6),
        };
        let pid = podman.field(name, ".State.Pid");
        let mut exec = podman.command(&["exec", "-i", name, "sh"]);
        places.push(Place::new(engine, name, &pid, uids, &mut exec));
    }
    let words = ["op-dock", "operations:1", "sleep", "100000"];
    docker.docker(&[&run[..], &words].concat());
    let pid = docker.docker(&["inspect", "-f", "{{.State.Pid}}", "op-dock"]);
    let mut exec = docker.command(&["exec", "-i", "op-dock", "sh"]);
    places.push(Place::new("docker", "op-dock", &pid, (0, 7), &mut exec));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/containers.md");
    let page = fs::read_to_string(&path).unwrap();
    let truth = truth(&page);
    assert_eq!(truth.len(), operations.all().len());
    let mut wrong = Vec::new();
    for place in &mut places {
        place
            .shell
            .run("for d in /w/*; do /operations before $d; done; chmod 777 /w/create_write");
        place.settle(&monitor, &format!("{}.before", place.name));
        for name in operations.all() {
            let done = place.done(&monitor, &name, "");
            let own = format!("/w/{name}");
            let words = ["/operations", "held", &name, &own];
            wrong.extend(place.wrong_actors(&done, place.uids.0, &words));
            let told = text(&done.told);
            let allowed = OTHERWISE
                .iter()
                .any(|other| (other.0, other.1) == (&name, &told));
            if done.told != truth[&name] && !allowed {
                let inside = text(&truth[&name]);
                wrong.push(format!(
                    "{} {name}\n  ours  {told}\n  truth {inside}",
                    place.engine
                ));
            }
        }
        // Another user inside.
        place.shell.run("rm /w/create_write/made");
        place.settle(&monitor, &format!("{}.removed", place.name));
        let done = place.done(&monitor, "create_write", "as 7");
        assert_eq!(done.told, truth["create_write"]);
        let words = [
            "/operations",
            "as",
            "7",
            "held",
            "create_write",
            "/w/create_write",
        ];
        wrong.extend(place.wrong_actors(&done, place.uids.1, &words));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let rows = OTHERWISE.iter().map(|(name, told, why)| {
        format!("| {name} | {told} | {} | {why} |\n", text(&truth[*name]))
    });
    let (head, written, tail) = section(&page, "engines");
    let columns: String = written.split_inclusive('\n').take(2).collect();
    let ours = format!("{columns}{}", rows.collect::<String>());
    if std::env::var_os("INCRON_WRITE_SEMANTICS").is_some() {
        return fs::write(&path, format!("{head}{ours}{tail}")).unwrap();
    }
    assert_eq!(
        ours, written,
        "INCRON_WRITE_SEMANTICS=1 writes docs/containers.md anew"
    );
}
