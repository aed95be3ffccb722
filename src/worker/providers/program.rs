//! The program of a provider: where it is looked for, and whether it may be run.
//!
//! What it prints decides what a worker watches, and it runs as the worker's own
//! user: only root, or that user, may have written it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Writable by the group or others.
const SHARED: u32 = 0o022;

/// Why a provider cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such file.
    #[error("there is no provider {name}: {} does not exist", path.display())]
    Missing {
        /// NAME of `@NAME`.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A directory, a FIFO, a device.
    #[error("{} is not a regular file", .0.display())]
    Kind(PathBuf),
    /// Somebody else could write it.
    #[error("{} is owned by uid {uid}; root or uid {own} may own it", path.display())]
    Owner {
        /// The program, or its directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Who would run it.
        own: u32,
    },
    /// Somebody else can write it.
    #[error("{} is writable by others; chmod go-w makes it right", .0.display())]
    Shared(PathBuf),
    /// Not executable by anybody.
    #[error("{} is not executable; chmod +x makes it so", .0.display())]
    NoProgram(PathBuf),
    /// It cannot be looked at.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The program, or its directory.
        path: PathBuf,
        /// As the kernel says.
        error: io::Error,
    },
}

/// The program of provider `name` in `dir`, to be run as `own`.
///
/// # Errors
/// Why it must not or cannot be run; each names the path.
pub fn find(dir: &Path, name: &str, own: u32) -> Result<PathBuf, Refusal> {
    let path = dir.join(name);
    let missing = || Refusal::Missing {
        name: name.to_owned(),
        path: path.clone(),
    };
    let about = |path: &Path| match open(path) {
        Ok(about) => Ok(about),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
        Err(error) => Err(Refusal::Unreadable {
            path: path.to_owned(),
            error,
        }),
    };
    // Who can write the directory can put another program in its place.
    trusted(dir, &about(dir)?, own)?;
    let program = about(&path)?;
    if !program.is_file() {
        return Err(Refusal::Kind(path));
    }
    trusted(&path, &program, own)?;
    if program.mode() & 0o111 == 0 {
        return Err(Refusal::NoProgram(path));
    }
    Ok(path)
}

/// For `incrontab -T` and `incrond --check`: where it is, or why it cannot serve, as
/// far as the caller can see that.
pub fn about(dir: &Path, name: &str) -> String {
    match find(dir, name, nix::unistd::geteuid().as_raw()) {
        Ok(path) => path.display().to_string(),
        Err(why) => why.to_string(),
    }
}

fn open(path: &Path) -> io::Result<Metadata> {
    let flags = libc::O_PATH;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    file.metadata()
}

fn trusted(path: &Path, about: &Metadata, own: u32) -> Result<(), Refusal> {
    let uid = about.uid();
    if uid != 0 && uid != own {
        let path = path.to_owned();
        return Err(Refusal::Owner { path, uid, own });
    }
    match about.mode() & SHARED {
        0 => Ok(()),
        _ => Err(Refusal::Shared(path.to_owned())),
    }
}
