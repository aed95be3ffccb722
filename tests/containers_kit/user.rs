//! A user made for a test, with other users of its own for its containers.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use super::{succeed, wait};

/// Removed with its home.
pub struct User {
    /// The account's name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    home: PathBuf,
}

impl User {
    /// Makes one, and a directory for what it runs.
    pub fn new() -> User {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ict{}-{number}", std::process::id());
        // Another test may hold the lock of the user database.
        wait("an account", || {
            let mut add = Command::new("useradd");
            add.args(["-m", "-s", "/bin/sh", &name])
                .output()
                .unwrap()
                .status
                .success()
        });
        let account = nix::unistd::User::from_name(&name).unwrap().unwrap();
        let user = User {
            name,
            uid: account.uid.as_raw(),
            home: account.dir,
        };
        succeed(user.command("mkdir").args(["-m", "700", "xdg"]));
        user
    }

    /// Where its files are.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The first of its other users (subuid(5)): number 1 in its containers.
    pub fn first_subuid(&self) -> u32 {
        let all = fs::read_to_string("/etc/subuid").unwrap();
        let mut lines = all.lines();
        let own = lines.find_map(|line| line.strip_prefix(&format!("{}:", self.name)));
        own.unwrap().split(':').next().unwrap().parse().unwrap()
    }

    /// A program to be run as the user.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        let id = self.uid.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", program]);
        command.current_dir(&self.home).env("HOME", &self.home);
        command.env("USER", &self.name).env("LOGNAME", &self.name);
        command.env("XDG_RUNTIME_DIR", self.home.join("xdg"));
        command.process_group(0);
        command
    }

    /// Ends all that runs as the user: podman leaves a process that holds its
    /// namespaces. Nobody else's process has this number as its user.
    pub fn end(&self) {
        wait("the end of a user's processes", || {
            let all = fs::read_dir("/proc").unwrap().flatten();
            let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            let own = pids.filter(|&pid: &i32| self.runs(pid));
            let own: Vec<i32> = own.collect();
            for &pid in &own {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            own.is_empty()
        });
    }

    fn runs(&self, pid: i32) -> bool {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
        };
        let uid = field("Uid:").and_then(|uid| uid.parse().ok());
        uid.map(Uid::from_raw) == Some(Uid::from_raw(self.uid)) && field("State:") != Some("Z")
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.end();
        super::unmount_below(&self.home);
        let mut remove = Command::new("userdel");
        remove.args(["-f", "-r", &self.name]);
        // Another test may hold the lock of the user database (status 1, 10).
        wait("the account's end", || {
            let code = remove.output().unwrap().status.code();
            !matches!(code, Some(1 | 10))
        });
        let _ = fs::remove_dir_all(&self.home);
    }
}
