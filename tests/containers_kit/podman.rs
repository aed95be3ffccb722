//! podman with a store of its own, as root or as a user made for the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{IMAGE, User, directory, image, succeed, unmount_below, wait};

/// A store, with the test's image in it; its containers end with it.
pub struct Podman {
    dir: TempDir,
    /// None: root.
    pub user: Option<User>,
    driver: Vec<String>,
    /// podman's --root.
    pub root: PathBuf,
    /// podman's --runroot.
    pub run: PathBuf,
}

impl Podman {
    /// Root's, on overlay.
    pub fn rootful() -> Podman {
        Podman::new(None, &["overlay"])
    }

    /// A user's, on overlay.
    pub fn rootless() -> Podman {
        Podman::new(Some(User::new()), &["overlay"])
    }

    /// With the driver and its options.
    pub fn new(user: Option<User>, driver: &[&str]) -> Podman {
        let dir = directory();
        let home = match &user {
            Some(user) => user.home().to_owned(),
            None => dir.path().to_owned(),
        };
        let podman = Podman {
            root: home.join("store"),
            run: home.join("run"),
            driver: driver.iter().map(|&word| word.to_owned()).collect(),
            user,
            dir,
        };
        // The machine of a test may not let a container raise its limits.
        let limits =
            "[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=1024:1024\"]\n";
        fs::write(podman.dir.path().join("containers.conf"), limits).unwrap();
        let tar = image(podman.dir.path());
        podman.podman(&["import", tar.to_str().unwrap(), IMAGE]);
        podman
    }

    /// podman with these words, to be run as the store's owner.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = match &self.user {
            Some(user) => user.command("podman"),
            None => Command::new("podman"),
        };
        let tmp = self.run.join("tmp");
        command.env("CONTAINERS_CONF", self.dir.path().join("containers.conf"));
        command.current_dir("/").arg("--root").arg(&self.root);
        command
            .arg("--runroot")
            .arg(&self.run)
            .arg("--tmpdir")
            .arg(tmp);
        let (driver, options) = self.driver.split_first().unwrap();
        command.args(["--storage-driver", driver, "--runtime", "runc"]);
        for option in options {
            command.args(["--storage-opt", option]);
        }
        command.args(words);
        command
    }

    /// Runs it; what it printed.
    #[track_caller]
    pub fn podman(&self, words: &[&str]) -> String {
        succeed(&mut self.command(words))
    }

    /// Starts a container that stays; its id.
    #[track_caller]
    pub fn start(&self, name: &str) -> String {
        let words = ["run", "-d", "--name", name, "--network", "none", IMAGE];
        self.podman(&[&words[..], &["sleep", "100000"]].concat())
    }

    /// Runs a shell script in a container.
    #[track_caller]
    pub fn shell(&self, name: &str, script: &str) -> String {
        self.podman(&["exec", name, "sh", "-c", script])
    }

    /// A field of `podman inspect`.
    #[track_caller]
    pub fn field(&self, name: &str, field: &str) -> String {
        self.podman(&["inspect", "-f", &format!("{{{{{field}}}}}"), name])
    }

    /// Where the store keeps what it knows of containers.
    pub fn metadata(&self) -> PathBuf {
        self.root
            .join(format!("{}-containers/containers.json", self.driver[0]))
    }

    /// Ends and removes a container.
    #[track_caller]
    pub fn remove(&self, name: &str) {
        self.podman(&["rm", "-f", "-t0", name]);
    }

    /// The directory of the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command(&["pod", "rm", "-fa", "-t0"]).output();
        let _ = self.command(&["rm", "-fa", "-t0"]).output();
        // What podman starts at a container's end would mount the store again.
        let root = self.root.to_str().unwrap();
        wait("the end of podman's helpers", || !someone_names(root));
        if let Some(user) = &self.user {
            // Files of the user's other users.
            let mut remove = user.command("podman");
            let _ = remove
                .args(["unshare", "rm", "-rf"])
                .arg(&self.root)
                .output();
            user.end();
        }
        unmount_below(&self.root);
        unmount_below(&self.run);
    }
}

/// Whether a process has this text in its command line.
fn someone_names(text: &str) -> bool {
    let words = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let mut all = fs::read_dir("/proc").unwrap().flatten().filter_map(words);
    all.any(|words| String::from_utf8_lossy(&words).contains(text))
}
