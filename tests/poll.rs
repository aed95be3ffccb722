//! `poll=`: changes found by looking, told as the kernel would have.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::*;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

fn wait_for(prefix: &Prefix, lines: &[&str]) {
    prefix.wait(&format!("{lines:?} among {}", prefix.out("e")), || {
        let out = prefix.out("e");
        lines
            .iter()
            .all(|line| out.lines().any(|told| told == *line))
    });
}

/// A mount that ends with the test.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn made_written_changed_renamed_removed() {
    let prefix = Prefix::new();
    // On a file system of its own where that is allowed; as good on any other.
    let none: Option<&str> = None;
    let tmpfs = mount(
        Some("tmpfs"),
        &prefix.watched(),
        Some("tmpfs"),
        MsFlags::empty(),
        none,
    );
    let _mounted = tmpfs.is_ok().then(|| Mounted(prefix.watched()));
    let hook = prefix.hook("e").display().to_string();
    let mask = "IN_CREATE,IN_MODIFY,IN_CLOSE_WRITE,IN_ATTRIB,IN_DELETE,IN_MOVE";
    prefix.table(
        "t",
        &format!("@W {mask},poll=100ms,exclude=*.tmp {hook} $% $@ $#\n"),
    );
    fs::write(prefix.watched().join("old"), "1").unwrap();
    let daemon = prefix.start();
    let watched = prefix.watched();
    let line = |event: &str, dir: &str, name: &str| {
        let dir = if dir.is_empty() {
            watched.clone()
        } else {
            watched.join(dir)
        };
        format!("<{event}><{}><{name}>", dir.display())
    };
    let wait = |told: &[(&str, &str, &str)]| {
        let lines: Vec<String> = told
            .iter()
            .map(|(event, dir, name)| line(event, dir, name))
            .collect();
        wait_for(
            &prefix,
            &lines.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    };

    fs::create_dir(watched.join("d")).unwrap();
    fs::write(watched.join("d/new"), "1").unwrap();
    fs::write(watched.join("d/not.tmp"), "1").unwrap();
    wait(&[
        ("IN_CREATE,IN_ISDIR", "", "d"),
        ("IN_CREATE", "d", "new"),
        ("IN_CLOSE_WRITE", "d", "new"),
    ]);
    fs::write(watched.join("old"), "22").unwrap();
    wait(&[("IN_MODIFY", "", "old"), ("IN_CLOSE_WRITE", "", "old")]);
    fs::set_permissions(watched.join("old"), fs::Permissions::from_mode(0o600)).unwrap();
    wait(&[("IN_ATTRIB", "", "old")]);
    fs::rename(watched.join("d"), watched.join("e")).unwrap();
    wait(&[
        ("IN_MOVED_FROM,IN_ISDIR", "", "d"),
        ("IN_MOVED_TO,IN_ISDIR", "", "e"),
    ]);
    fs::remove_dir_all(watched.join("e")).unwrap();
    wait(&[("IN_DELETE", "e", "new"), ("IN_DELETE,IN_ISDIR", "", "e")]);
    assert!(!prefix.out("e").contains(".tmp"), "{}", prefix.out("e"));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_path_that_comes_and_goes_and_a_pattern() {
    let prefix = Prefix::new();
    let hook = prefix.hook("e").display().to_string();
    prefix.table(
        "t",
        &format!(
            "@W/late/f IN_CLOSE_WRITE,IN_DELETE_SELF,poll=100ms {hook} late $% $#\n\
             @W/*/in IN_CREATE,source=poll,poll=100ms {hook} in $@ $#\n"
        ),
    );
    let daemon = prefix.start();
    fs::create_dir(prefix.watched().join("late")).unwrap();
    fs::write(prefix.watched().join("late/f"), "1").unwrap();
    let saved = |count: usize| {
        prefix.wait("the saves", || {
            prefix.out("e").matches("<late><IN_CLOSE_WRITE><>").count() >= count
        });
    };
    saved(1);
    fs::write(prefix.watched().join("late/g"), "22").unwrap();
    fs::rename(
        prefix.watched().join("late/g"),
        prefix.watched().join("late/f"),
    )
    .unwrap();
    saved(2);
    fs::remove_dir_all(prefix.watched().join("late")).unwrap();
    wait_for(&prefix, &["<late><IN_DELETE_SELF><>"]);
    fs::create_dir_all(prefix.watched().join("a/in")).unwrap();
    fs::write(prefix.watched().join("a/in/x"), "1").unwrap();
    wait_for(
        &prefix,
        &[&format!(
            "<in><{}><x>",
            prefix.watched().join("a/in").display()
        )],
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_the_kernel_makes_up() {
    // Our own descriptors: no event is told of them.
    let prefix = Prefix::new();
    let hook = prefix.hook("e").display().to_string();
    let fds = format!("/proc/{}/fd", std::process::id());
    prefix.table(
        "t",
        &format!("{fds} IN_CREATE,recursive=false,poll=100ms {hook} $#\n"),
    );
    let daemon = prefix.start();
    let mut opened = Vec::new();
    // A number that others of this process do not use meanwhile.
    let file = fs::File::open("/dev/null").unwrap();
    let high = nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(700)).unwrap();
    opened.push(file);
    wait_for(&prefix, &[&format!("<{high}>")]);
    nix::unistd::close(high).unwrap();
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn the_log_says_what_to_expect_of_a_file_system() {
    let prefix = Prefix::new();
    let lower = prefix.path("lower");
    for dir in ["lower", "upper", "work"] {
        fs::create_dir(prefix.path(dir)).unwrap();
    }
    let dirs = |name: &str| prefix.path(name).display().to_string();
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        dirs("upper"),
        dirs("work")
    );
    let overlay = mount(
        Some("overlay"),
        &prefix.watched(),
        Some("overlay"),
        MsFlags::empty(),
        Some(data.as_str()),
    );
    let _mounted = overlay.is_ok().then(|| Mounted(prefix.watched()));
    let hook = prefix.hook("e").display().to_string();
    prefix.table(
        "t",
        &format!(
            "/proc/sys/kernel IN_MODIFY {hook}\n/sys/class/net IN_CREATE,recursive=false {hook}\n\
             @W IN_CREATE {hook}\n@W IN_CREATE,poll=1h {hook} polled\n{} IN_CREATE {hook}\n",
            Path::new("/dev/shm").display()
        ),
    );
    let daemon = prefix.start();
    daemon.wait_log("/proc/sys/kernel is on proc: its files change without an event");
    daemon.wait_log("/sys/class/net is on sysfs");
    if overlay.is_ok() {
        daemon.wait_log(&format!(
            "{} is on overlay: changes made beneath it",
            prefix.watched().display()
        ));
        assert_eq!(
            prefix.log().matches("is on overlay").count(),
            1,
            "a polled line needs no word"
        );
    }
    assert!(!prefix.log().contains("/dev/shm is on"));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_long_pause_holds_nothing_up() {
    // Neither another line on the path nor the end of the daemon.
    let prefix = Prefix::new();
    let hook = prefix.hook("e").display().to_string();
    prefix.table(
        "t",
        &format!("@W IN_CREATE,poll=1h {hook}\n@W IN_CREATE {hook} $#\n"),
    );
    let daemon = prefix.start();
    fs::write(prefix.watched().join("f"), "").unwrap();
    wait_for(&prefix, &["<f>"]);
    assert_eq!(daemon.stop(), Some(0));
}
