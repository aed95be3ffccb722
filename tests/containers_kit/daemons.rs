//! dockerd and containerd, each with a socket, data and state of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{directory, image, succeed, unmount_below, wait};

/// A daemon that ends with its directory.
struct Daemon {
    child: Child,
    dir: TempDir,
}

impl Daemon {
    fn start(dir: TempDir, command: &mut Command, answers: impl FnMut() -> bool) -> Daemon {
        let log = File::create(dir.path().join("daemon.log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap();
        let daemon = Daemon { child, dir };
        wait("the daemon's answer", answers);
        daemon
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
        unmount_below(self.dir.path());
    }
}

/// dockerd, with the image `bb:1`.
pub struct Docker {
    daemon: Daemon,
    /// Its exec-root.
    pub run: PathBuf,
}

impl Docker {
    /// Starts it, and waits until it answers.
    pub fn new() -> Docker {
        let dir = directory();
        let at = |name: &str| dir.path().join(name);
        let tar = image(dir.path());
        let mut command = Command::new("dockerd");
        command.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        command
            .args(["--storage-driver", "overlay2", "-H"])
            .arg(socket(dir.path()));
        command
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("run"));
        command.arg("--pidfile").arg(at("pid"));
        let at_socket = socket(dir.path());
        let daemon = Daemon::start(dir, &mut command, || {
            let mut info = Command::new("docker");
            let output = info.args(["-H", &at_socket, "info"]).output();
            output.is_ok_and(|output| output.status.success())
        });
        let docker = Docker {
            run: daemon.path("run"),
            daemon,
        };
        docker.docker(&["import", tar.to_str().unwrap(), "bb:1"]);
        docker
    }

    /// Runs docker; what it printed.
    #[track_caller]
    pub fn docker(&self, words: &[&str]) -> String {
        succeed(&mut self.command(words))
    }

    /// docker with these words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        let socket = socket(self.daemon.dir.path());
        command.arg("-H").arg(socket).args(words);
        command
    }

    /// The directory of the test.
    pub fn dir(&self) -> &Path {
        self.daemon.dir.path()
    }

    /// Starts a container that stays; its id.
    #[track_caller]
    pub fn start(&self, name: &str) -> String {
        let words = ["run", "-d", "--name", name, "--network", "none", "bb:1"];
        self.docker(&[&words[..], &["sleep", "100000"]].concat())
    }

    /// The image as an archive that containerd takes.
    pub fn archive(&self) -> PathBuf {
        let tar = self.daemon.path("saved.tar");
        self.docker(&["save", "bb:1", "-o", tar.to_str().unwrap()]);
        tar
    }
}

fn socket(dir: &Path) -> String {
    format!("unix://{}/sock", dir.display())
}

impl Drop for Docker {
    fn drop(&mut self) {
        let at = socket(self.daemon.dir.path());
        let docker = |words: &[&str]| {
            Command::new("docker")
                .args(["-H", &at])
                .args(words)
                .output()
        };
        let Ok(all) = docker(&["ps", "-aq"]) else {
            return;
        };
        for id in String::from_utf8_lossy(&all.stdout).lines() {
            let _ = docker(&["rm", "-f", id]);
        }
    }
}

/// containerd, without images.
pub struct Containerd {
    daemon: Daemon,
    /// Its state directory.
    pub run: PathBuf,
    running: Vec<String>,
}

impl Containerd {
    /// Starts it, and waits until it answers.
    pub fn new() -> Containerd {
        let dir = directory();
        let at = |name: &str| dir.path().join(name);
        let mut command = Command::new("containerd");
        command
            .arg("--root")
            .arg(at("data"))
            .arg("--state")
            .arg(at("run"));
        command.arg("-a").arg(at("sock"));
        let address = at("sock");
        let daemon = Daemon::start(dir, &mut command, || {
            let mut version = Command::new("ctr");
            let output = version.arg("-a").arg(&address).arg("version").output();
            output.is_ok_and(|output| output.status.success())
        });
        Containerd {
            run: daemon.path("run"),
            daemon,
            running: Vec::new(),
        }
    }

    /// Runs ctr; what it printed.
    #[track_caller]
    pub fn ctr(&self, words: &[&str]) -> String {
        succeed(&mut self.command(words))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command
            .arg("-a")
            .arg(self.daemon.path("sock"))
            .args(["-n", &namespace()])
            .args(words);
        command
    }

    /// Starts a container of the image `bb:1` that stays.
    #[track_caller]
    pub fn start(&mut self, id: &str) {
        let image = "docker.io/library/bb:1";
        let words = ["run", "-d", "--snapshotter", "overlayfs", image, id];
        self.running.push(id.to_owned());
        self.ctr(&[&words[..], &["/bin/sleep", "100000"]].concat());
    }

    /// Ends and removes it.
    pub fn remove(&mut self, id: &str) {
        self.running.retain(|other| other != id);
        let _ = self.command(&["task", "rm", "-f", id]).output();
        let _ = self.command(&["container", "rm", id]).output();
    }
}

/// The runtime keeps its state by namespace and id, for all containerds together.
fn namespace() -> String {
    format!("ict{}", std::process::id())
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for id in std::mem::take(&mut self.running) {
            self.remove(&id);
        }
        let _ = fs::remove_file(self.daemon.path("sock"));
        // In each hierarchy the runtime leaves a group named after the namespace.
        for hierarchy in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = fs::remove_dir(hierarchy.path().join(namespace()));
        }
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(namespace()));
    }
}
