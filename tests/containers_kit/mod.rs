//! Real container engines in directories of a test's own: podman (of root, and of a
//! user made for the test), docker, containerd. Nothing reaches the network, nothing
//! installed is touched, and all of it is gone at the end: containers, daemons by
//! their numbers, mounts, the user.

#![allow(dead_code, unused_imports)] // each test file uses a part of it

mod daemons;
mod podman;
mod provider;
mod user;

pub use daemons::{Containerd, Docker};
pub use podman::Podman;
pub use provider::{LIMIT, Provider, wait};
pub use user::User;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Our program, as built for this test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_incron-containers");
/// The image's name in podman.
pub const IMAGE: &str = "localhost/bb:2";
/// The programs that a test of containers needs, and their Debian packages.
const NEEDED: [(&str, &str); 6] = [
    ("/usr/bin/podman", "podman"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/sbin/dockerd", "docker.io"),
    ("/usr/bin/containerd", "containerd"),
    ("/usr/bin/newuidmap", "uidmap"),
    ("/bin/busybox", "busybox-static"),
];

/// False, with the reason on standard error, where no container can be run.
pub fn can_run() -> bool {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: real containers need root");
        return false;
    }
    let missing = NEEDED.iter().find(|(path, _)| !Path::new(path).exists());
    if let Some((_, package)) = missing {
        eprintln!("skipped: {package} is not installed");
    }
    missing.is_none()
}

/// A directory that others may enter.
pub fn directory() -> TempDir {
    let dir = tempfile::Builder::new().prefix("incron-ct.").tempdir();
    let dir = dir.unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// An image of busybox and a few files, as a tar archive in `dir`.
pub fn image(dir: &Path) -> PathBuf {
    let root = dir.join("image");
    for name in ["bin", "etc/d", "tmp", "var"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in [
        "sh", "cat", "echo", "ls", "ln", "mkdir", "mv", "rm", "sleep", "touch", "true", "chmod",
    ] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
    fs::write(root.join("etc/motd"), "from the image\n").unwrap();
    fs::write(root.join("etc/d/f"), "from the image\n").unwrap();
    let tar = dir.join("image.tar");
    archive(&root, &tar);
    tar
}

/// All that is in the directory `root`, as a tar archive.
pub fn archive(root: &Path, tar: &Path) {
    let mut command = Command::new("tar");
    succeed(command.arg("-C").arg(root).arg("-cf").arg(tar).arg("."));
}

/// Runs a command to its end, which must be good; what it printed.
#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Unmounts what engines left mounted below `dir`.
pub fn unmount_below(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let below: Vec<&str> = points
        .filter(|point| Path::new(point).starts_with(dir))
        .collect();
    for point in below.iter().rev() {
        let _ = nix::mount::umount2(*point, nix::mount::MntFlags::MNT_DETACH);
    }
}
