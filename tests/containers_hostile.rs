//! Files and processes of users who mean no good, files half written, homes that do
//! not answer: the others' containers are told all the same, and nobody's are taken
//! for another's.

mod containers_kit;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use containers_kit::{PROGRAM, Podman, Provider, User, can_run, succeed};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A process that looks like the monitor of a container of the user's.
struct Monitor(Child);

impl Monitor {
    fn start(user: &User, dir: &Path, id: &str, pidfile: &Path) -> Monitor {
        let dir = dir.join(id);
        fs::create_dir(&dir).unwrap();
        let program = dir.join("conmon");
        succeed(Command::new("cp").arg("/bin/sh").arg(&program));
        // It waits for a line that never comes; what follows the script are its words.
        fs::write(dir.join("script"), "read x\n").unwrap();
        let mut command = user.command(program.to_str().unwrap());
        command.arg(dir.join("script"));
        command.args(["-c", id, "-b", "/nowhere", "-n", "f", "-p"]);
        command.arg(pidfile).stdin(Stdio::piped());
        Monitor(command.spawn().unwrap())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `DIR/x-containers/ID/userdata/pidfile`, the user's, with this text.
fn pidfile(user: &User, dir: &Path, id: &str, text: &str) -> PathBuf {
    let below = dir.join("x-containers").join(id).join("userdata");
    succeed(user.command("mkdir").arg("-p").arg(&below));
    let file = below.join("pidfile");
    let script = "printf %s \"$1\" > \"$2\"";
    succeed(
        user.command("sh")
            .args(["-c", script, "sh", text])
            .arg(&file),
    );
    file
}

#[test]
fn another_ones_process_is_not_taken_for_a_users_container() {
    if !can_run() {
        return;
    }
    let victim = Podman::rootful();
    victim.start("forge-a");
    let pid = victim.field("forge-a", ".State.Pid");
    let user = User::new();
    let dir = containers_kit::directory();
    let mut monitors = Vec::new();
    let own = std::process::id().to_string();
    for (id, text) in [
        ("init", "1"),
        ("test", &own),
        ("forged", &pid),
        ("none", "-1"),
        ("no", "x"),
    ] {
        let file = pidfile(&user, &user.home().join("run"), id, text);
        monitors.push(Monitor::start(&user, dir.path(), id, &file));
    }
    let mut provider = Provider::start(&[]);
    for id in ["test", "forged"] {
        let line = provider.complains(&format!("/{id}/userdata/pidfile is not believed"));
        assert!(line.contains("belongs to user 0"), "{line}");
    }
    let of_user = |line: &serde_json::Value| line["add"]["labels"]["owner"] == user.name.as_str();
    assert!(!provider.seen.iter().any(of_user), "{:#?}", provider.seen);
    assert!(provider.names().contains(&"forge-a".to_owned()));
    drop(monitors);
}

#[test]
fn links_and_pipes_in_place_of_files_hold_nobody_up() {
    if !can_run() {
        return;
    }
    let user = User::new();
    let dir = containers_kit::directory();
    let run = user.home().join("run");
    let file = pidfile(&user, &run, "pipe", "");
    fs::remove_file(&file).unwrap();
    succeed(user.command("mkfifo").arg(&file));
    let link = pidfile(&user, &run, "link", "");
    fs::remove_file(&link).unwrap();
    succeed(
        user.command("ln")
            .args(["-s", "/proc/self/status"])
            .arg(&link),
    );
    // A directory of root's, by its own path.
    let roots = Podman::rootful();
    roots.start("links-a");
    let id = roots.field("links-a", ".Id");
    let far = roots
        .run
        .join("overlay-containers")
        .join(&id)
        .join("userdata/pidfile");
    let _monitors = [
        Monitor::start(&user, dir.path(), "pipe", &file),
        Monitor::start(&user, dir.path(), "far", &far),
    ];
    let mut provider = Provider::start(&[]);
    let podman = Podman::rootful();
    podman.start("links-b");
    provider.added("links-b");
    let of_user = |line: &serde_json::Value| line["add"]["labels"]["owner"] == user.name.as_str();
    assert!(!provider.seen.iter().any(of_user), "{:#?}", provider.seen);
}

/// A file system whose server never answers.
struct Hanging {
    _server: File,
    at: PathBuf,
}

impl Hanging {
    /// `more` are options; without `allow_other` it is closed to all but the user, root
    /// included, as a home on NFS is where its server trusts no root.
    fn mount(at: PathBuf, user: &User, more: &str) -> Hanging {
        let mut options = File::options();
        let server = options.read(true).write(true).open("/dev/fuse").unwrap();
        let data = format!(
            "fd={},rootmode=40000,user_id={1},group_id={1}{more}",
            server.as_raw_fd(),
            user.uid
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("hanging"), &at, Some("fuse"), flags, Some(&*data)).unwrap();
        Hanging {
            _server: server,
            at,
        }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = umount2(&self.at, MntFlags::MNT_DETACH | MntFlags::MNT_FORCE);
    }
}

#[test]
fn a_home_that_hangs_holds_up_nobody_else() {
    if !can_run() || !Path::new("/dev/fuse").exists() {
        return;
    }
    let user = User::new();
    let dir = containers_kit::directory();
    let at = user.home().join("far");
    succeed(user.command("mkdir").arg(&at));
    let hanging = Hanging::mount(at.clone(), &user, ",allow_other");
    let file = at.join("x-containers/a/userdata/pidfile");
    let monitor = Monitor::start(&user, dir.path(), "a", &file);
    let podman = Podman::rootful();
    podman.start("hang-a");
    let mut provider = Provider::start(&[]);
    assert!(provider.names().contains(&"hang-a".to_owned()));
    provider.complains("do not answer");
    let other = Podman::rootless();
    other.start("hang-b");
    provider.added("hang-b");
    drop(monitor);
    drop(hanging); // whoever hangs there goes on
}

#[test]
fn a_home_that_is_closed_to_root_holds_up_nobody() {
    if !can_run() || !Path::new("/dev/fuse").exists() {
        return;
    }
    let user = User::new();
    let dir = containers_kit::directory();
    let at = user.home().join("closed");
    succeed(user.command("mkdir").arg(&at));
    let closed = Hanging::mount(at.clone(), &user, "");
    let refused = fs::read_dir(&at).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    let file = at.join("x-containers/a/userdata/pidfile");
    let monitor = Monitor::start(&user, dir.path(), "a", &file);
    let podman = Podman::rootful();
    podman.start("closed-a");
    let mut provider = Provider::start(&[]);
    assert!(provider.names().contains(&"closed-a".to_owned()));
    let other = Podman::rootless();
    other.start("closed-b");
    provider.added("closed-b");
    let of_user = |line: &serde_json::Value| line["add"]["labels"]["owner"] == user.name.as_str();
    assert!(!provider.seen.iter().any(of_user), "{:#?}", provider.seen);
    drop(monitor);
    drop(closed);
}

#[test]
fn metadata_half_written_and_names_of_any_characters() {
    if !can_run() {
        return;
    }
    let podman = Podman::rootless();
    podman.start("meta-a");
    let file = podman.metadata();
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let mut provider = Provider::start(&[]);
    // The process beside the container has its name; its image is told nowhere else.
    let add = provider
        .seen
        .iter()
        .find(|line| line["add"]["labels"]["name"] == "meta-a")
        .unwrap()["add"]
        .clone();
    assert_eq!(add["labels"].get("image"), None);
    let odd = "../../etc/passwd\u{1b}[31m\n\"$(id)\u{202e}";
    let json = serde_json::to_string(odd).unwrap();
    fs::write(&file, whole.replace("[\"meta-a\"]", &format!("[{json}]"))).unwrap();
    // Looked at again when the store changes.
    podman.start("meta-b");
    let again = provider.added(odd);
    assert_eq!((&again["id"], &again["path"]), (&add["id"], &add["path"]));
    assert_eq!(again["labels"]["image"], containers_kit::IMAGE);
    let table = succeed(Command::new(PROGRAM).arg("list"));
    assert!(
        table.contains(r#"../../etc/passwd\x1b[31m\x0a"$(id)\xe2\x80\xae"#),
        "{table}"
    );
    fs::write(&file, "").unwrap();
    assert!(
        provider.names().contains(&odd.to_owned()),
        "the old picture stays"
    );
    fs::write(&file, whole).unwrap();
}

/// A process of a user that opens conmon without end.
struct Flood(Child);

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_flood_of_what_looks_like_starts_hides_none() {
    if !can_run() {
        return;
    }
    let user = User::new();
    let mut command = user.command("sh");
    command.args(["-c", "while :; do : < /usr/bin/conmon; done"]);
    let mut provider = Provider::start(&[]);
    let flood = Flood(command.spawn().unwrap());
    let podman = Podman::rootful(); // a store that is not known
    podman.start("flood-a");
    provider.added("flood-a");
    drop(flood);
}

#[test]
fn a_layer_deleted_under_a_running_container() {
    if !can_run() {
        return;
    }
    let podman = Podman::rootful();
    podman.start("layer-a");
    let mut provider = Provider::start(&[]);
    let first = provider
        .seen
        .iter()
        .find(|line| line["add"]["labels"]["name"] == "layer-a");
    let add = first.unwrap()["add"].clone();
    let layer = Path::new(add["path"].as_str().unwrap()).parent().unwrap();
    fs::remove_dir_all(layer.join("diff")).unwrap();
    succeed(Command::new(PROGRAM).arg("list"));
    podman.podman(&["kill", "layer-a"]);
    provider.removed(&add);
    fs::create_dir(layer.join("diff")).unwrap(); // podman removes it
}
