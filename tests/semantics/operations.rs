//! The operations of docs/semantics.md: what is done to a directory `d`, to what
//! is in it and to the file `d/f`.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::time::SystemTime;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{LinkatFlags, linkat};

use crate::story::sh;

/// One row: what it is called, and what is done, step by step. Each step is done
/// with the directory of the operation as its argument, as [`prepare`] made it.
pub struct Operation {
    pub name: &'static str,
    pub steps: &'static [fn(&Path)],
    /// What incron 0.5.12 does differs from time to time: a directory that appears
    /// makes it load the whole table anew.
    pub unsteady: bool,
}

const fn op(name: &'static str, steps: &'static [fn(&Path)]) -> Operation {
    Operation {
        name,
        steps,
        unsteady: false,
    }
}

/// A directory appears below `d`.
const fn tree(name: &'static str, steps: &'static [fn(&Path)]) -> Operation {
    Operation {
        name,
        steps,
        unsteady: true,
    }
}

/// `d`, which is watched, and `away`, which is not.
pub fn prepare(dir: &Path) {
    for sub in ["d/sub", "d/empty", "away/tree"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    for file in ["d/f", "d/e", "d/sub/g", "away/x", "away/tree/t"] {
        fs::write(dir.join(file), "old text\n").unwrap();
    }
}

thread_local! {
    /// Files that stay open from one step to the next.
    static OPEN: RefCell<Vec<fs::File>> = const { RefCell::new(Vec::new()) };
}

fn close_one(_: &Path) {
    OPEN.with_borrow_mut(|open| drop(open.pop()));
}

/// A shell command in the directory of the operation.
fn run(dir: &Path, text: &str) {
    sh(&format!("cd {} && {text}", dir.display()));
}

fn append(path: impl AsRef<Path>) -> fs::File {
    fs::OpenOptions::new().append(true).open(path).unwrap()
}

fn more(dir: &Path) {
    run(dir, "echo more >> d/f");
}

fn exchange(dir: &Path) {
    let (e, f) = (dir.join("d/e"), dir.join("d/f"));
    renameat2(AT_FDCWD, &e, AT_FDCWD, &f, RenameFlags::RENAME_EXCHANGE).unwrap();
}

/// A file that gets its name only when it is written, and is closed after that.
fn named_late(dir: &Path, name: &str) {
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).custom_flags(libc::O_TMPFILE);
    let mut file = options.open(dir.join("d")).unwrap();
    file.write_all(b"text").unwrap();
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let (name, follow) = (dir.join(name), LinkatFlags::AT_SYMLINK_FOLLOW);
    linkat(AT_FDCWD, own.as_str(), AT_FDCWD, &name, follow).unwrap();
}

fn set_times(dir: &Path, times: fs::FileTimes) {
    fs::File::open(dir.join("d/f"))
        .unwrap()
        .set_times(times)
        .unwrap();
}

/// `echo`, as a shell redirects it, in place of a longer description.
pub const OPERATIONS: &[Operation] = &[
    op("`echo > d/new`", &[|p| run(p, "echo new > d/new")]),
    op("`: > d/new`", &[|p| run(p, ": > d/new")]),
    op("`echo >> d/f`", &[more]),
    op("`echo > d/f`", &[|p| run(p, "echo text > d/f")]),
    op(
        "open d/f for writing, write nothing, close",
        &[|p| drop(append(p.join("d/f")))],
    ),
    op(
        "truncate(2) d/f",
        &[|p| nix::unistd::truncate(&p.join("d/f"), 1).unwrap()],
    ),
    op(
        "write d/f through a memory map, unmap, close",
        &[|p| run(p, MMAP)],
    ),
    op(
        "two writers open d/f; one closes; the other closes",
        &[
            |p| {
                OPEN.with_borrow_mut(|open| {
                    open.extend([append(p.join("d/f")), append(p.join("d/f"))])
                })
            },
            close_one,
            close_one,
        ],
    ),
    op("`cat d/f`", &[|p| run(p, "cat d/f")]),
    tree("`mkdir d/a`", &[|p| run(p, "mkdir d/a")]),
    tree(
        "`mkdir -p d/a/b && echo > d/a/b/n`",
        &[|p| run(p, "mkdir -p d/a/b && echo > d/a/b/n")],
    ),
    op("`echo >> d/sub/g`", &[|p| run(p, "echo more >> d/sub/g")]),
    op("`mv d/f d/g`", &[|p| run(p, "mv d/f d/g")]),
    op("`mv d/f d/sub/f`", &[|p| run(p, "mv d/f d/sub/f")]),
    op("`mv x d/x`", &[|p| run(p, "mv away/x d/x")]),
    op("`mv d/f away`", &[|p| run(p, "mv d/f away")]),
    op("`mv x d/f`, over it", &[|p| run(p, "mv away/x d/f")]),
    op("`mv d/e d/f`, over it", &[|p| run(p, "mv d/e d/f")]),
    op(
        "`mv d/e d/f`; `echo >> d/f`",
        &[|p| run(p, "mv d/e d/f"), more],
    ),
    op(
        "`echo > d/.new && mv d/.new d/f`",
        &[|p| run(p, "echo new > d/.new && mv d/.new d/f")],
    ),
    op(
        "`rm d/f; echo > d/f`",
        &[|p| run(p, "rm d/f; echo new > d/f")],
    ),
    op(
        "`rm d/f; echo > d/f`; `echo >> d/f`",
        &[|p| run(p, "rm d/f; echo new > d/f"), more],
    ),
    op("exchange d/e and d/f (renameat2)", &[exchange]),
    op("exchange d/e and d/f; `echo >> d/f`", &[exchange, more]),
    op("`ln x d/x`", &[|p| run(p, "ln away/x d/x")]),
    op("`ln d/f other`", &[|p| run(p, "ln d/f away/other")]),
    op(
        "`ln d/f other`; `echo >> other`",
        &[
            |p| run(p, "ln d/f away/other"),
            |p| run(p, "echo more >> away/other"),
        ],
    ),
    op("`ln -s f d/s`", &[|p| symlink("f", p.join("d/s")).unwrap()]),
    op(
        "O_TMPFILE in d, write, linkat to d/new, close",
        &[|p| named_late(p, "d/new")],
    ),
    op(
        "`rm d/f`; O_TMPFILE in d, write, linkat to d/f, close",
        &[|p| run(p, "rm d/f"), |p| named_late(p, "d/f")],
    ),
    op("`rm d/f`", &[|p| run(p, "rm d/f")]),
    op("`rmdir d/empty`", &[|p| run(p, "rmdir d/empty")]),
    op("`rm -rf d/sub`", &[|p| run(p, "rm -rf d/sub")]),
    op(
        "`rm d/e d/f; rm -r d/sub; rmdir d/empty d`",
        &[|p| run(p, "rm d/e d/f; rm -r d/sub; rmdir d/empty d")],
    ),
    op("`mv d away`", &[|p| run(p, "mv d away")]),
    op(
        "`mv d away && mkdir d && echo > d/f`",
        &[|p| run(p, "mv d away && mkdir d && echo new > d/f")],
    ),
    tree("`mv tree d`, with tree/t", &[|p| run(p, "mv away/tree d")]),
    op("`mv d/sub away`", &[|p| run(p, "mv d/sub away")]),
    tree(
        "`cp -r tree d`, with tree/t",
        &[|p| run(p, "cp -r away/tree d")],
    ),
    op("`chmod 600 d/f`", &[|p| run(p, "chmod 600 d/f")]),
    op("`chown nobody d/f`", &[|p| run(p, "chown nobody d/f")]),
    op(
        "set access and modification time of d/f",
        &[|p| {
            let times = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
            set_times(p, times.set_accessed(SystemTime::UNIX_EPOCH));
        }],
    ),
    op(
        "set the modification time of d/f alone",
        &[|p| {
            set_times(p, fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH));
        }],
    ),
    op("`chmod 700 d`", &[|p| run(p, "chmod 700 d")]),
];

const MMAP: &str = "python3 -c 'import mmap; f=open(\"d/f\",\"r+b\"); m=mmap.mmap(f.fileno(),0); \
                    m[0]=65; m.close(); f.close()'";

/// What needs the table of mounts to be watched, too.
pub const MOUNTS: &[Operation] = &[
    op(
        "mount over d; `echo > d/f`; unmount",
        &[over, |p| run(p, "echo new > d/f"), off],
    ),
    op("mount over d, unmount; `echo >> d/f`", &[over, off, more]),
];

fn over(dir: &Path) {
    mount(
        Some("tmpfs"),
        &dir.join("d"),
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
}

fn off(dir: &Path) {
    umount2(&dir.join("d"), MntFlags::empty()).unwrap();
}
