//! The operations of a game, and how often each is played. A name leads anywhere
//! or nowhere: an operation that does not apply does nothing.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::dice::Dice;

/// Paths are below the private directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Write(String),
    Append(String),
    Truncate(String),
    Mkdir(String),
    MkdirAll(String),
    /// Directories and a file at once, as `cp -r` makes them.
    Tree(String),
    Remove(String),
    RemoveAll(String),
    Rename(String, String),
    Exchange(String, String),
    Link(String, String),
    Symlink(String, String),
    /// A link that takes the place of what is there, as Kubernetes does with ..data.
    Switch(String, String),
    /// A file that has no name until it is written: O_TMPFILE and linkat(2).
    Nameless(String),
    Chmod(String),
    /// A tmpfs over a directory.
    Mount(String),
    /// The first directory seen at the second.
    Bind(String, String),
    Unmount(String),
    /// A tree is renamed to and fro while another thread writes files in it.
    Race(String, String),
    /// One read of the source.
    Read,
    Check,
    Probe,
}

/// What an operation is played with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deck {
    /// Only in a mount namespace of our own.
    pub mounts: bool,
    pub races: bool,
    /// No mount shows all of the file system. Only in a mount namespace of our own.
    pub parts: bool,
}

pub const NAMES: [&str; 6] = ["a", "b", "c", "f", "g", ".h"];

fn place(dice: &mut Dice) -> String {
    let mut path = if dice.roll(4) == 0 { "o" } else { "d" }.to_owned();
    for _ in 0..1 + dice.roll(3) {
        path.push('/');
        path.push_str(NAMES[[0, 0, 1, 1, 2, 3, 4, 5][dice.roll(8)]]);
    }
    path
}

/// One operation.
pub fn op(dice: &mut Dice, deck: Deck) -> Op {
    if deck.mounts && dice.roll(12) == 0 {
        let p = place(dice);
        return match dice.roll(7) {
            0..2 => Op::Mount(p),
            2 => Op::Bind(place(dice), p),
            _ => Op::Unmount(p),
        };
    }
    if deck.races && dice.roll(30) == 0 {
        return Op::Race(place(dice), place(dice));
    }
    match dice.roll(52) {
        0..6 => Op::Read,
        6..9 => Op::Check,
        9 => Op::Probe,
        _ => change(dice),
    }
}

/// One that changes something.
pub fn change(dice: &mut Dice) -> Op {
    let p = place(dice);
    match dice.roll(35) {
        0..6 => Op::Write(p + "/f"),
        6..9 => Op::Write(p),
        9 => Op::Append(p + "/f"),
        10 => Op::Truncate(p),
        11..14 => Op::Mkdir(p),
        14..17 => Op::MkdirAll(p),
        17 => Op::Tree(p),
        18 => Op::Remove(p + "/f"),
        19 => Op::Remove(p),
        20 => Op::RemoveAll(p),
        21..26 => Op::Rename(p, place(dice)),
        26 => Op::Rename(p + "/f", place(dice) + "/f"),
        27 => Op::Exchange(p, place(dice)),
        28 => Op::Link(p + "/f", place(dice) + "/g"),
        29 => Op::Symlink(p, place(dice)),
        30..32 => Op::Switch(
            place(dice),
            if dice.roll(2) == 0 { "d/a".into() } else { p },
        ),
        32 => Op::Nameless(p),
        33 => Op::Nameless(p + "/f"),
        _ => Op::Chmod(p),
    }
}

impl Op {
    /// Does it below `top`. True where anything may have changed.
    pub fn apply(&self, top: &Path) -> bool {
        let path = |rel: &str| top.join(rel);
        let real_dir = |p: &Path| p.is_dir() && !p.is_symlink();
        match self {
            Op::Write(p) => fs::write(path(p), b"x").is_ok(),
            Op::Append(p) => {
                let file = File::options().append(true).open(path(p));
                file.is_ok_and(|mut f| f.write_all(b"y").is_ok())
            }
            Op::Truncate(p) => {
                let mut open = File::options();
                open.write(true).truncate(true);
                !path(p).is_dir() && open.open(path(p)).is_ok()
            }
            Op::Mkdir(p) => fs::create_dir(path(p)).is_ok(),
            // These may fail in the middle.
            Op::MkdirAll(p) => {
                let _ = fs::create_dir_all(path(p));
                true
            }
            Op::Tree(p) => {
                let made = fs::create_dir_all(path(p).join("a/b"));
                let _ = made.and_then(|()| fs::write(path(p).join("a/b/f"), b"x"));
                true
            }
            Op::RemoveAll(p) => {
                let dir = real_dir(&path(p));
                let _ = dir && fs::remove_dir_all(path(p)).is_ok();
                dir
            }
            Op::Remove(p) => fs::remove_file(path(p)).is_ok() || fs::remove_dir(path(p)).is_ok(),
            Op::Rename(p, q) => fs::rename(path(p), path(q)).is_ok(),
            Op::Exchange(p, q) => exchange(&path(p), &path(q)),
            Op::Link(p, q) => fs::hard_link(path(p), path(q)).is_ok(),
            Op::Symlink(p, q) => symlink(path(p), path(q)).is_ok(),
            Op::Switch(p, q) => {
                let new = path("new-link");
                symlink(path(p), &new).is_ok()
                    && (fs::rename(&new, path(q)).is_ok() || fs::remove_file(&new).is_err())
            }
            Op::Nameless(p) => nameless(&path(p)),
            Op::Chmod(p) => {
                let mode = fs::Permissions::from_mode(0o755);
                !path(p).is_symlink() && fs::set_permissions(path(p), mode).is_ok()
            }
            Op::Mount(p) => real_dir(&path(p)) && tmpfs(&path(p)),
            Op::Bind(p, q) => real_dir(&path(p)) && real_dir(&path(q)) && bind(&path(p), &path(q)),
            Op::Unmount(p) => umount2(&path(p), MntFlags::MNT_DETACH).is_ok(),
            Op::Race(..) | Op::Read | Op::Check | Op::Probe => false,
        }
    }

    /// The file that it closes after writing, if it does anything.
    pub fn written(&self) -> Option<String> {
        match self {
            Op::Write(p) | Op::Append(p) | Op::Truncate(p) | Op::Nameless(p) => Some(p.clone()),
            Op::Tree(p) => Some(format!("{p}/a/b/f")),
            _ => None,
        }
    }

    /// The names that it gives by itself.
    pub fn named(&self) -> Vec<&str> {
        match self {
            Op::Rename(_, q) | Op::Link(_, q) | Op::Symlink(_, q) | Op::Switch(_, q) => vec![q],
            Op::Nameless(q) => vec![q],
            Op::Exchange(p, q) => vec![p, q],
            _ => Vec::new(),
        }
    }
}

fn exchange(p: &Path, q: &Path) -> bool {
    renameat2(AT_FDCWD, p, AT_FDCWD, q, RenameFlags::RENAME_EXCHANGE).is_ok()
}

fn nameless(path: &Path) -> bool {
    let Some(dir) = path.parent() else {
        return false;
    };
    let mut open = File::options();
    open.write(true).custom_flags(libc::O_TMPFILE);
    let Ok(mut file) = open.open(dir) else {
        return false;
    };
    let fd = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let follow = AtFlags::AT_SYMLINK_FOLLOW;
    file.write_all(b"z").is_ok()
        && nix::unistd::linkat(AT_FDCWD, &fd, AT_FDCWD, path, follow).is_ok()
}

fn tmpfs(at: &Path) -> bool {
    let (kind, none) = (Some("tmpfs"), None::<&str>);
    mount(kind, at, kind, MsFlags::empty(), none).is_ok()
}

fn bind(from: &Path, at: &Path) -> bool {
    let none = None::<&str>;
    mount(Some(from), at, none, MsFlags::MS_BIND, none).is_ok()
}
