//! What /proc says of a process.
//!
//! Its directory is opened once and all else is read below it: the descriptor
//! means this process for ever, so two processes that share a number cannot mix.
//! What goes first when a process ends is read first: its program.

use std::ffi::{CStr, OsString};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use super::container;
use super::process::{Image, Marks, Program, Reader, Rest};
use crate::sys::read_link_at;

/// Of a command line, in bytes and words: what tells programs apart is at its start.
const MAX_CMDLINE: usize = 4096;
const MAX_WORDS: usize = 64;
/// Of any other file; mountinfo of a container with many volumes is the longest.
const MAX_FILE: usize = 256 * 1024;
/// `loginuid` and `sessionid` of what no login started.
const UNSET: u32 = u32::MAX;

/// /proc of this machine.
pub struct Proc {
    nanos_a_tick: u64,
    own_mounts: Option<u64>,
}

impl Proc {
    /// As it is mounted.
    pub fn new() -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        let mut proc = Self {
            nanos_a_tick: 1_000_000_000 / u64::try_from(ticks).unwrap_or(100).clamp(1, 1_000_000),
            own_mounts: None,
        };
        let own = open(std::process::id().cast_signed());
        proc.own_mounts = own.and_then(|dir| namespace(&dir, c"ns/mnt"));
        proc
    }

    /// The container, by the cgroup; else, in other mounts than ours, by its root.
    fn container(&self, dir: &OwnedFd, cgroups: &str, image: &mut Image, last: Option<&Image>) {
        image.container = container::of_cgroups(cgroups);
        let mounts = image.marks.mounts;
        if image.container.is_some() || mounts == self.own_mounts || mounts.is_none() {
            return;
        }
        image.container = match last.filter(|last| last.marks.mounts == mounts) {
            Some(last) => last.container.clone(),
            None => text(dir, "mountinfo").and_then(|text| container::of_mounts(&text)),
        };
    }
}

/// The marks of the process, whose cgroups are these.
fn marks(dir: &OwnedFd, cgroups: &[u8]) -> Marks {
    let mut hasher = DefaultHasher::new();
    hasher.write(cgroups);
    Marks {
        cgroups: hasher.finish(),
        session: number(dir, "sessionid"),
        mounts: namespace(dir, c"ns/mnt"),
        pids: namespace(dir, c"ns/pid"),
    }
}

impl Default for Proc {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader for Proc {
    type Found = OwnedFd;

    fn open(&self, pid: i32) -> Option<(OwnedFd, Program)> {
        let dir = open(pid)?;
        let exe = || read_link_at(dir.as_fd(), c"exe").ok().map(PathBuf::from);
        let mut program = Program {
            exe: exe(),
            cmdline: words(&bytes(&dir, "cmdline", MAX_CMDLINE).unwrap_or_default()),
        };
        if program.exe.is_some() && program.cmdline.is_empty() && exe().is_none() {
            program.exe = None; // it has ended in between
        }
        Some((dir, program))
    }

    fn rest(&self, dir: &OwnedFd, last: Option<&Image>) -> Option<Rest> {
        let stat = Stat::parse(&bytes(dir, "stat", MAX_FILE)?)?;
        let status = text(dir, "status").unwrap_or_default();
        let cgroups = text(dir, "cgroup").unwrap_or_default();
        let marks = marks(dir, cgroups.as_bytes());
        let mut image = Image {
            cgroup: cgroup(&cgroups),
            login_uid: number(dir, "loginuid"),
            session: marks.session,
            marks,
            ..Image::default()
        };
        self.container(dir, &cgroups, &mut image, last);
        Some(Rest {
            start: stat.start,
            ppid: stat.ppid,
            uid: effective(&status, "Uid:"),
            gid: effective(&status, "Gid:"),
            ns_pid: ns_pid(&status),
            // ps, too, shows it as [name].
            kernel: stat
                .kernel
                .then(|| OsString::from_vec([b"[", &*stat.name, b"]"].concat())),
            ended: stat.ended,
            image,
        })
    }

    fn is_like(&self, dir: &OwnedFd, last: &Image) -> Option<bool> {
        let cgroups = bytes(dir, "cgroup", MAX_FILE)?;
        Some(marks(dir, &cgroups) == last.marks)
    }

    fn pids(&self) -> Vec<i32> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut pids: Vec<i32> = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        pids
    }

    fn now(&self) -> u64 {
        nanos(ClockId::CLOCK_MONOTONIC)
    }

    fn ticks(&self, at: u64) -> u64 {
        // The two clocks differ by the time that the machine was suspended.
        let slept = nanos(ClockId::CLOCK_BOOTTIME).saturating_sub(self.now());
        at.saturating_add(slept) / self.nanos_a_tick
    }
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).unwrap_or(nix::sys::time::TimeSpec::new(0, 0));
    u64::try_from(std::time::Duration::from(time).as_nanos()).unwrap_or(0)
}

fn open(pid: i32) -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(
        AT_FDCWD,
        format!("/proc/{pid}").as_str(),
        flags,
        Mode::empty(),
    )
    .ok()
}

/// The number in `mnt:[NUMBER]`.
fn namespace(dir: &OwnedFd, name: &CStr) -> Option<u64> {
    let link = read_link_at(dir.as_fd(), name).ok()?;
    let (_, text) = link.to_str()?.split_once(":[")?;
    text.strip_suffix(']')?.parse().ok()
}

fn number(dir: &OwnedFd, name: &str) -> Option<u32> {
    let id = text(dir, name)?.trim().parse().ok();
    id.filter(|id| *id != UNSET)
}

/// A file of at most `most` bytes, in as few calls as it takes: procfs makes up its
/// text anew for each.
fn bytes(dir: &OwnedFd, name: &str, most: usize) -> Option<Vec<u8>> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(dir.as_fd(), name, flags, Mode::empty()).ok()?);
    let mut page = [0; 4096];
    let mut bytes = Vec::new();
    loop {
        let read = file.read(&mut page).ok()?;
        bytes.extend_from_slice(page.get(..read)?);
        // It gives a page at most; what is less than asked for is the end.
        if read < page.len() || bytes.len() >= most {
            bytes.truncate(most);
            return Some(bytes);
        }
    }
}

fn text(dir: &OwnedFd, name: &str) -> Option<String> {
    let bytes = bytes(dir, name, MAX_FILE)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The words of a command line, as many as are kept.
fn words(bytes: &[u8]) -> Vec<OsString> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    let words = bytes.split(|b| *b == 0).take(MAX_WORDS);
    words
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect()
}

/// The effective id: the second of four.
fn effective(status: &str, name: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn ns_pid(status: &str) -> Option<i32> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    let inner = line.split_ascii_whitespace().skip(1).last()?;
    inner.parse().ok()
}

/// The path of the unified hierarchy, else that of systemd's.
fn cgroup(text: &str) -> Option<String> {
    let of = |head: &str| text.lines().find_map(|line| line.strip_prefix(head));
    let systemd = || {
        text.lines()
            .find_map(|line| Some(line.split_once(":name=systemd:")?.1))
    };
    let unified = of("0::").filter(|path| *path != "/");
    unified.or_else(systemd).or(of("0::")).map(str::to_owned)
}

/// What is needed of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: Vec<u8>,
    ppid: i32,
    start: u64,
    kernel: bool,
    ended: bool,
}

impl Stat {
    fn parse(bytes: &[u8]) -> Option<Self> {
        const PF_KTHREAD: u64 = 0x0020_0000;
        // A name may hold blanks and brackets: it ends at the last one.
        let open = bytes.iter().position(|b| *b == b'(')?;
        let close = bytes.iter().rposition(|b| *b == b')')?;
        let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
        let field = |n: usize| rest.split_ascii_whitespace().nth(n - 3);
        Some(Self {
            name: bytes.get(open + 1..close)?.to_vec(),
            ppid: field(4)?.parse().ok()?,
            start: field(22)?.parse().ok()?,
            kernel: field(9)?.parse::<u64>().ok()? & PF_KTHREAD != 0,
            ended: matches!(field(3)?, "Z" | "X"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_brackets_and_blanks() {
        let text = b"12 (a) R 1 (b) S 7 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3\n";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat.name, b"a) R 1 (b");
        assert_eq!(
            (stat.ppid, stat.start, stat.kernel, stat.ended),
            (7, 98765, false, false)
        );
        for cut in 0..text.len() - 12 {
            Stat::parse(&text[..cut]);
        }
        assert_eq!(Stat::parse(b")("), None);
    }

    #[test]
    fn ids_and_numbers() {
        let status = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNSpid:\t90\t7\t1\n";
        assert_eq!(effective(status, "Uid:"), Some(2));
        assert_eq!(effective(status, "Gid:"), Some(6));
        assert_eq!(ns_pid(status), Some(1));
        assert_eq!(ns_pid("NSpid:\t90\n"), None);
        assert_eq!(cgroup("1:name=systemd:/a\n0::/\n").as_deref(), Some("/a"));
        assert_eq!(cgroup("1:name=systemd:/a\n0::/b\n").as_deref(), Some("/b"));
        assert_eq!(words(b"a\0\0b c\0"), ["a", "", "b c"]);
        assert!(words(b"").is_empty());
    }

    #[test]
    fn this_process() {
        let proc = Proc::new();
        let own = std::process::id().cast_signed();
        let read = proc.read(own, None).unwrap();
        assert_eq!(read.rest.image.exe, std::env::current_exe().ok());
        assert_eq!(
            read.rest.image.cmdline,
            std::env::args_os().take(MAX_WORDS).collect::<Vec<_>>()
        );
        assert_eq!(read.rest.uid, Some(nix::unistd::geteuid().as_raw()));
        assert!(read.whole && !read.rest.ended);
        assert!(read.rest.start <= proc.ticks(proc.now()));
        assert!(proc.pids().contains(&own));
        assert_eq!(proc.read(i32::MAX, None), None);
    }
}
