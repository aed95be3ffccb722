//! The table, the guard and the manifest that are shipped for containers say the same
//! as the programs, and do what they say.

use std::fs;
use std::path::Path;
use std::process::Command;

use incron::supervisor::tables::passed_over;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The one line of a table.
fn line(table: &str) -> &str {
    let lines = table.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().unwrap();
    assert_eq!(lines.next(), None, "more than one line");
    line
}

#[test]
fn the_manifest_has_the_table() {
    let (table, manifest) = (
        file("etc/incron.d/containers"),
        file("examples/containers/daemonset.yaml"),
    );
    let line = line(&table);
    assert!(line.starts_with("@containers IN_CREATE,IN_DELETE,IN_MODIFY,IN_MOVED_FROM,"));
    assert!(line.contains(",exclude=/var:/proc:/tmp:/run,") && line.contains(",run=stream "));
    let own = manifest
        .lines()
        .find(|l| l.trim_start().starts_with("@containers"))
        .unwrap();
    let options = own
        .trim()
        .strip_prefix(line)
        .unwrap_or_else(|| panic!("{own}"));
    // The program takes these words.
    let mut words: Vec<&str> = options.split_whitespace().collect();
    let socket = words
        .iter()
        .position(|word| word.starts_with("/host"))
        .unwrap();
    words[socket] = "/nonexistent/socket";
    let program = env!("CARGO_BIN_EXE_incron-containers");
    assert!(line.ends_with(" /usr/libexec/incron/incron-containers log"));
    let mut command = Command::new(program);
    let status = command
        .arg("log")
        .args(words)
        .stdin(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// Why the table is not shipped in /etc/incron.d under a name of another kind.
#[test]
fn an_example_in_the_directory_of_tables_would_be_served() {
    for name in ["containers", "containers.example", "containers.disabled"] {
        assert_eq!(passed_over(name.as_ref()), None, "{name}");
    }
    assert!(passed_over("containers.rpmsave".as_ref()).is_some());
}

/// The guard with stand-ins for the engines: which one is called, and with which
/// words, whatever the labels hold.
#[test]
fn the_guard_stops_the_container_by_its_own_engine() {
    let dir = tempfile::tempdir().unwrap();
    for engine in ["podman", "docker", "crictl", "ctr"] {
        let script = dir.path().join(engine);
        let text = "#!/bin/sh\nprintf '<%s>' \"${0##*/}\" \"$@\"\n";
        let written = Command::new("sh")
            .args(["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""])
            .arg(&script)
            .arg(text)
            .status();
        assert!(written.unwrap().success());
    }
    let guard = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/containers/passwd-guard");
    let run = |engine: &str, more: &[(&str, &str)]| {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.path().display());
        let output = Command::new(&guard)
            .env_clear()
            .env("PATH", path)
            .env("INCRON_LABEL_ID", "0123 $(id);'\"")
            .env("INCRON_LABEL_ENGINE", engine)
            .env("INCRON_TARGET", "/etc/passwd")
            .envs(more.iter().copied())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (
            output.status.success(),
            said.lines().last().unwrap().to_owned(),
        )
    };
    let id = "0123 $(id);'\"";
    let stopped = |words: &str| (true, format!("{words}<--><{id}>"));
    assert_eq!(run("podman", &[]), stopped("<podman><stop><--time><5>"));
    assert_eq!(run("docker", &[]), stopped("<docker><stop><--time><5>"));
    assert_eq!(run("crio", &[]), stopped("<crictl><stop><--timeout><5>"));
    assert_eq!(
        run("containerd", &[]),
        stopped("<ctr><task><kill><--signal><SIGTERM>")
    );
    let pod = [("INCRON_LABEL_POD", "front")];
    assert_eq!(
        run("containerd", &pod),
        stopped("<crictl><stop><--timeout><5>")
    );
    assert!(!run("other", &[]).0, "it says so, and fails");
    if nix::unistd::geteuid().is_root() {
        let owner = [("INCRON_LABEL_OWNER", "nobody")];
        assert_eq!(run("podman", &owner), stopped("<podman><stop><--time><5>"));
    }
}
