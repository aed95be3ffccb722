//! What the tests of actors share: the programs that act, and `Actors` that listen.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use incron::watch::actor::Actors;

/// An account of no machine: nobody else's processes have it.
pub const SOMEBODY: u32 = 54_321;

/// One thread that goes before all others is what a machine has.
static ALONE: Mutex<()> = Mutex::new(());

pub struct Kit {
    pub actors: Actors,
    pub dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Kit {
    /// None, and a word about it, where the kernel tells nothing of processes.
    pub fn listening() -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(|failed| failed.into_inner());
        let (actors, note) = Actors::start();
        if let Some(note) = note {
            assert!(!nix::unistd::geteuid().is_root() || confined(), "{note}");
            eprintln!("left out: {note}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        open(dir.path());
        Some(Self {
            actors,
            dir,
            _alone: alone,
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// True in a container: there the kernel is silent, as root too.
fn confined() -> bool {
    let depth = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = depth.lines().find(|line| line.starts_with("NSpid:"));
    let capable = nix::unistd::geteuid().is_root();
    line.is_some_and(|line| line.split_whitespace().count() > 2) || !capable
}

/// Everybody may go through it.
pub fn open(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub fn rm() -> PathBuf {
    std::fs::canonicalize("/bin/rm").unwrap()
}

/// Compiles one of the programs beside this file, static, into `dir`.
pub fn program(dir: &Path, name: &str) -> PathBuf {
    open(dir);
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/actor_kit")
        .join(name);
    let out = dir.join(name.trim_end_matches(".c"));
    let status = Command::new("cc")
        .args(["-O1", "-static", "-Wall", "-o"])
        .arg(&out)
        .arg(source)
        .status();
    assert!(status.unwrap().success());
    std::fs::canonicalize(out).unwrap()
}

/// Runs it to its end; what its number was.
pub fn run(command: &mut Command) -> i32 {
    let mut child = command.spawn().unwrap();
    assert!(child.wait().unwrap().success());
    child.id().cast_signed()
}

/// `play` gives how many of 2,000 were late: in one play, and nobody. That nobody is named
/// wrong is for `play` to see.
pub fn all_are_named(play: impl Fn() -> usize) {
    assert_eq!(play(), 0, "late, of 2,000");
}
