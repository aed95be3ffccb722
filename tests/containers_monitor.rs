//! The container monitor as a whole, with real containers: the shipped table, the daemon,
//! the provider and the log, as somebody who installed them sees them.

mod containers_kit;
mod monitor_kit;
mod overlay_operations;
mod story;
mod watch_kit;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use containers_kit::{IMAGE, Podman, can_run, wait};
use monitor_kit::{Monitor, Shell};
use overlay_operations::Operations;

const TAG: &str = "podsec-inotify-check-containers";

/// Each monitor sees the containers of all tests, so that a flood in one would be heard by
/// the others.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of a container's layer.
fn layer(podman: &Podman, name: &str) -> String {
    let upper = podman.field(name, ".GraphDriver.Data.UpperDir");
    let layer = Path::new(&upper).parent().unwrap().file_name().unwrap();
    layer.to_str().unwrap().to_owned()
}

fn shell(podman: &Podman, name: &str) -> Shell {
    Shell::new(&mut podman.command(&["exec", "-i", name, "sh"]))
}

/// Puts a program into a container; what that changes is not waited for.
fn put(podman: &Podman, program: &Path, name: &str, path: &str) {
    podman.podman(&["cp", program.to_str().unwrap(), &format!("{name}:{path}")]);
}

/// What comes after the tag in a file of log lines.
fn sentences(monitor: &Monitor, file: &str) -> Vec<String> {
    let text = monitor.story.prefix.out(file);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let after = |line: &str| line.split_once("]: ").unwrap().1.to_owned();
    whole.lines().map(after).collect()
}

#[test]
fn the_shipped_table_tells_the_system_log_what_podsec_did() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let podman = Podman::rootful();
    podman.start("ship-a");
    let monitor = Monitor::new(&[]);
    // Stands where /dev/log does.
    let socket = monitor.story.path("log.sock");
    let log = UnixDatagram::bind(&socket).unwrap();
    log.set_read_timeout(Some(containers_kit::LIMIT)).unwrap();
    monitor.shipped(&format!("--socket {}", socket.display()));
    let daemon = monitor.start();
    // Both a container from before the daemon and one that starts later.
    podman.start("ship-b");
    let hear = || {
        let mut packet = [0; 8192];
        let length = log.recv(&mut packet).unwrap();
        String::from_utf8(packet[..length].to_vec()).unwrap()
    };
    for name in ["ship-a", "ship-b"] {
        let id = layer(&podman, name);
        podman.shell(
            name,
            "echo > /etc/probe; : > /var/hidden; rm /etc/d/f; : > /bin/sh2",
        );
        for (number, sentence) in [
            (
                13,
                format!(
                    "Warning: An event CREATE occurred in the container {id} in configuration directory on the file /etc/probe"
                ),
            ),
            (
                13,
                format!(
                    "Warning: An event MODIFY occurred in the container {id} in configuration directory on the file /etc/probe"
                ),
            ),
            (
                13,
                format!(
                    "Warning: An event DELETE occurred in the container {id} in configuration directory on the file /etc/d/f"
                ),
            ),
            (
                10,
                format!(
                    "Critical: An event CREATE occurred in the container {id}  on the file /bin/sh2"
                ),
            ),
        ] {
            let line = std::iter::repeat_with(hear)
                .find(|line| {
                    line.contains(&id)
                        && !line.contains("/run/")
                        && !line.contains("/dev")
                        && !line.contains("/proc")
                        && !line.contains("/sys")
                })
                .unwrap();
            let (head, rest) = line.split_once(TAG).unwrap();
            assert!(head.starts_with(&format!("<{number}>")), "{line}");
            let (pid, text) = rest.strip_prefix('[').unwrap().split_once("]: ").unwrap();
            assert!(pid.parse::<u32>().is_ok(), "{line}");
            assert_eq!(text, sentence);
        }
    }
    drop(daemon);
}

#[test]
fn hostile_names_made_inside_are_text_in_one_line() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let podman = Podman::rootful();
    podman.start("name-a");
    let monitor = Monitor::new(&[]);
    monitor.shipped("--to @O/log");
    let _daemon = monitor.start();
    let long = "\\377".repeat(255);
    let names = [
        (r"$(touch pwned)", "$(touch pwned)"),
        (r"`touch pwned`;touch pwned", "`touch pwned`;touch pwned"),
        (r#"a"b'\''c"#, r#"a"b'c"#),
        (r"two\nlines", r"two\x0alines"),
        (r"\033[2Jclear", r"\x1b[2Jclear"),
        (r"back\\slash", r"back\slash"),
        (r"bad\303", r"bad\xc3"),
        (r" a  b ", " a  b "),
        (&long, &r"\xff".repeat(255)),
    ];
    let mut inside = shell(&podman, "name-a");
    for (written, _) in &names {
        inside.run(&format!("cd /etc/d; : > \"$(printf '{written}')\""));
    }
    inside.run(": > /etc/last");
    monitor.line("log", "/etc/last");
    let id = layer(&podman, "name-a");
    let told = sentences(&monitor, "log");
    for (_, shown) in &names {
        let line = format!(
            "Warning: An event CREATE occurred in the container {id} in configuration directory on the file /etc/d/{shown}"
        );
        assert_eq!(
            told.iter().filter(|told| **told == line).count(),
            1,
            "{line}\n{told:#?}"
        );
    }
    let upper = podman.field("name-a", ".GraphDriver.Data.UpperDir");
    for dir in [
        Path::new(&upper).join("etc/d"),
        monitor.story.path(""),
        "/".into(),
    ] {
        assert!(!dir.join("pwned").exists());
    }
}

/// Events that lines and sums of a limit stand for.
fn counted(told: &[String]) -> u64 {
    let sum = |line: &String| match line.split_once(" more events occurred") {
        Some((head, _)) => head.rsplit(' ').next().unwrap().parse().unwrap(),
        None => 1,
    };
    told.iter().map(sum).sum()
}

#[test]
fn a_container_that_floods_is_summed_and_nothing_is_lost() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let podman = Podman::rootful();
    podman.start("flood-a");
    podman.start("flood-b");
    let dir = tempfile::tempdir().unwrap();
    let Some(operations) = Operations::build(dir.path()) else {
        return eprintln!("SKIPPED: no C compiler that links statically");
    };
    put(&podman, operations.program(), "flood-a", "/bin/operations");
    let monitor = Monitor::new(&[]);
    let program = containers_kit::PROGRAM;
    let options = "IN_CREATE,who=true,run=stream";
    monitor.story.prefix.table(
        "t",
        &format!(
            "@containers/many {options} {program} log --limit none --to @O/all\n\
         @containers/many {options},key=sums {program} log --limit 1000/2s --to @O/some\n"
        ),
    );
    let _daemon = monitor.start();
    let mut inside = shell(&podman, "flood-a");
    inside.run("mkdir /many");
    inside.run("operations many /many 20000");
    let lost = || monitor.lost(1) + monitor.lost(2);
    let told = || sentences(&monitor, "all").len() as u64;
    wait("20,000 lines", || told() + lost() >= 20_000);
    assert_eq!((told(), lost()), (20_000, 0));
    // Another container is heard while this one floods.
    inside.say("mkdir /many/more; operations many /many/more 100000; echo done");
    podman.shell("flood-b", "mkdir /many; : > /many/quiet");
    monitor.line("some", "/many/quiet");
    assert_eq!(inside.hear(), "done");
    inside.run(": > /many/last");
    // More than anybody reads: what the daemon could not keep for the log
    // is counted by it, what the log does not write by that.
    for (file, line) in [("all", 1), ("some", 2)] {
        let all = 20_000 + 100_000 + 3;
        let found = || counted(&sentences(&monitor, file)) + monitor.lost(line);
        wait("all events", || found() >= all);
        assert_eq!(found(), all, "{file}");
    }
    let some = sentences(&monitor, "some").len();
    assert!(some < 60_000, "{some} lines");
}

#[test]
fn mounts_inside_and_a_layer_that_is_deleted_end_nothing() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let podman = Podman::rootful();
    let words = [
        "run",
        "-d",
        "--cap-add",
        "SYS_ADMIN",
        "--security-opt",
        "apparmor=unconfined",
    ];
    let rest = [
        "--network",
        "none",
        "--name",
        "over-a",
        IMAGE,
        "/bin/busybox",
        "sleep",
        "100000",
    ];
    podman.podman(&[&words[..], &rest].concat());
    podman.start("over-b");
    let monitor = Monitor::new(&[]);
    monitor.shipped("--to @O/log");
    let daemon = monitor.start();
    let mut inside = shell(&podman, "over-a");
    inside.run("busybox mount -t tmpfs none /etc; : > /etc/covered; mkdir /a");
    inside
        .run("busybox mount --bind /a /tmp; : > /tmp/through; busybox umount /etc; : > /etc/open");
    monitor.line("log", "/etc/open");
    let log = monitor.story.prefix.out("log");
    assert!(log.contains("on the file /a/through"), "{log}");
    // What is mounted is no part of the container.
    assert!(!log.contains("covered"), "{log}");

    let upper = podman.field("over-b", ".GraphDriver.Data.UpperDir");
    podman.shell("over-b", ": > /etc/kept");
    monitor.line("log", "/etc/kept");
    fs::remove_dir_all(&upper).unwrap();
    inside.run(": > /etc/after");
    monitor.line("log", "/etc/after");
    let log = monitor.story.prefix.out("log");
    assert!(
        log.contains("An event DELETE") && log.matches("/etc/kept").count() >= 2,
        "{log}"
    );
    fs::create_dir(&upper).unwrap(); // podman removes it
    assert_eq!(daemon.workers().len(), 1);
    let status = monitor.status(&[]);
    assert!(
        status.contains("0 overflows") && !status.contains("restarting"),
        "{status}"
    );
}

#[test]
fn a_hook_learns_container_image_and_actor() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let podman = Podman::rootless();
    let id = podman.start("hook-a");
    let monitor = Monitor::new(&[]);
    monitor.story.prefix.table("t",
        "@containers/etc IN_CLOSE_WRITE,who=true echo \"$INCRON_TARGET $INCRON_LABEL_ENGINE $INCRON_LABEL_NAME \
         $INCRON_LABEL_ID $INCRON_LABEL_IMAGE $INCRON_LABEL_OWNER $INCRON_EXE $INCRON_UID $INCRON_CONFIDENCE\" >> @O/hook\n");
    let _daemon = monitor.start();
    podman.shell("hook-a", "echo x >> /etc/motd");
    let user = podman.user.as_ref().unwrap();
    let (name, uid) = (&user.name, user.uid);
    let wanted = format!("/etc/motd podman hook-a {id} {IMAGE} {name} /bin/busybox {uid} exact");
    assert_eq!(monitor.line("hook", "/etc/motd"), wanted);
}

#[test]
fn the_guard_stops_a_container_whose_accounts_an_intruder_changed() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let Some(operations) = Operations::build(dir.path()) else {
        return eprintln!("SKIPPED: no C compiler that links statically");
    };
    let podman = Podman::rootful();
    podman.start("guard-a");
    podman.start("guard-b");
    for name in ["guard-a", "guard-b"] {
        put(&podman, operations.program(), name, "/bin/dpkg");
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/containers");
    let table = fs::read_to_string(examples.join("passwd-guard.incron")).unwrap();
    let guard = examples.join("passwd-guard");
    let installed = "/usr/local/libexec/passwd-guard";
    assert!(table.trim_end().ends_with(installed), "{table}");
    let monitor = Monitor::new(&[]);
    // The real podman, with the store of this test.
    let words: Vec<String> = podman
        .command(&[])
        .get_args()
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let script = format!(
        "#!/bin/sh\nexec /usr/bin/podman {} \"$@\"\n",
        words.join(" ")
    );
    monitor.story.script("bin/podman", &script);
    let path = format!(
        "PATH={}:/usr/sbin:/usr/bin:/sbin:/bin\n",
        monitor.story.path("bin").display()
    );
    let table = table.replace(installed, guard.to_str().unwrap());
    monitor.story.prefix.table("guard", &(path + &table));
    let daemon = monitor.start();

    let runs = |name: &str| podman.field(name, ".State.Running") == "true";
    podman.podman(&["exec", "guard-a", "/bin/dpkg", "append", "/etc/passwd"]);
    let motd = podman
        .command(&["exec", "guard-a", "sh", "-c", "echo x >> /etc/motd"])
        .output();
    assert!(
        motd.unwrap().status.success(),
        "{}",
        monitor.story.prefix.log()
    );
    podman.shell("guard-b", "echo intruder::0:0::/:/bin/sh >> /etc/passwd");
    wait("the end of the second", || !runs("guard-b"));
    // What its package manager writes is its own affair.
    assert!(runs("guard-a"), "{}", monitor.story.prefix.log());
    daemon.wait_log("stopping guard-b of root: /etc/passwd was changed by /bin/busybox");
    assert!(!monitor.story.prefix.log().contains("stopping guard-a"));
    // And by a rename, as sed -i and editors save.
    podman.shell("guard-a", "cd /etc; echo > new; mv new shadow");
    wait("the end of the first", || !runs("guard-a"));
}

/// Each of them is a new mark, tree and layer, and the last one that goes ends all that.
#[test]
fn containers_that_come_and_go_are_all_told() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let podman = Podman::rootful();
    let monitor = Monitor::new(&["--podman-run", podman.run.to_str().unwrap()]);
    monitor.shipped("--format json --to @O/log");
    let _daemon = monitor.start();
    for n in 0..20 {
        let name = format!("goes-{n}");
        podman.start(&name);
        podman.shell(&name, &format!(": > /etc/own-{n}"));
        let line = monitor.line("log", &format!("/etc/own-{n}\""));
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(told["container"]["name"], name);
        assert_eq!(told["actor"]["exe"], "/bin/busybox");
        assert_eq!(told["actor"]["confidence"], "exact");
        podman.remove(&name);
    }
}
