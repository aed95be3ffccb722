//! Does the kernel report writes through an overlay at the file in the upper layer?
//! From Linux 6.5 it does ("ovl: enable fsnotify events on underlying real files");
//! vendors carry it elsewhere, too, so it is tried and not looked up.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// True if it does. The overlay lies on a tmpfs in a mount namespace of a thread
/// that ends: nothing of it is ever seen or left.
///
/// # Errors
/// `EPERM` without the right to mount, `ENODEV` where the kernel has no overlay.
pub fn upper_layers_report() -> io::Result<bool> {
    let probe = std::thread::Builder::new().spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        probe(Path::new("/run"))
    })?;
    probe.join().unwrap_or(Err(io::ErrorKind::Other.into()))
}

fn probe(at: &Path) -> io::Result<bool> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=64k"),
    )?;
    for dir in ["lower", "upper", "work", "merged"] {
        fs::create_dir(at.join(dir))?;
    }
    let file = at.join("upper/file");
    fs::write(&file, "")?;
    let options = format!(
        "lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work",
        at.display()
    );
    let merged = at.join("merged");
    mount(
        Some("overlay"),
        &merged,
        Some("overlay"),
        MsFlags::empty(),
        Some(&*options),
    )?;
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(&file, AddWatchFlags::IN_MODIFY)?;
    fs::write(merged.join("file"), "changed")?;
    Ok(inotify.read_events().is_ok_and(|events| !events.is_empty()))
}
