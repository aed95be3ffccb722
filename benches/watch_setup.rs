//! Setting up the watches of a large tree, beside a bare C-like loop in the same
//! run: `cargo bench --bench watch_setup [-- DIRECTORIES]`.
//!
//! Prints, for a warm cache, the time of the loop of openat, getdents64 and
//! inotify_add_watch by path; the time of the source; their ratio; the memory of
//! user space a directory (growth of Pss_Anon); and the CPU time of a rescan.
//! Needs a limit of inotify watches above twice the number of directories.

use std::ffi::{CString, OsString};
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use incron::event::LineId;
use incron::sys::inotify as sys;
use incron::table::{Mask, PathSpec};
use incron::time::Clock;
use incron::watch::{Inotify, Request, Source};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

const ROUNDS: usize = 5;

fn main() {
    let wanted = std::env::args()
        .skip(1)
        .find_map(|a| a.parse().ok())
        .unwrap_or(50_000usize);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let made = plant(dir.path(), wanted);
    let mask = Mask::CREATE | Mask::CLOSE_WRITE | Mask::MOVED_TO;
    loop_once(dir.path(), mask);
    let mut floor = Duration::MAX;
    let mut ours = Duration::MAX;
    for _ in 0..ROUNDS {
        floor = floor.min(loop_once(dir.path(), mask));
        ours = ours.min(source_once(dir.path(), mask).0);
    }
    let before = anonymous_kib();
    let (_, mut source) = source_once(dir.path(), mask);
    let held = anonymous_kib().saturating_sub(before);
    println!("directories          {made}");
    println!("loop                 {floor:?}");
    println!("source               {ours:?}");
    println!(
        "ratio                {:.2}",
        ours.as_secs_f64() / floor.as_secs_f64()
    );
    println!("bytes a directory    {}", held * 1024 / made);
    println!(
        "latency of one event {:?}",
        event_once(dir.path(), &mut source)
    );
}

/// About `wanted` directories: 10 below each, 40 at the lowest level.
fn plant(top: &Path, wanted: usize) -> usize {
    let mut made = 1;
    let mut level: Vec<PathBuf> = vec![top.to_owned()];
    while made < wanted {
        let mut next = Vec::new();
        for dir in &level {
            for i in 0..10 {
                if made >= wanted {
                    return made;
                }
                let sub = dir.join(format!("directory-{i}"));
                fs::create_dir(&sub).expect("mkdir");
                made += 1;
                next.push(sub);
            }
        }
        level = next;
    }
    made
}

/// What a C program would do.
fn loop_once(top: &Path, mask: Mask) -> Duration {
    let started = Instant::now();
    let inotify = sys::init().expect("inotify");
    let mut buffer = vec![0u8; 32 * 1024];
    visit(
        inotify.as_fd(),
        &mut top.as_os_str().to_owned().into_vec(),
        mask,
        &mut buffer,
    );
    started.elapsed()
}

fn visit(inotify: std::os::fd::BorrowedFd<'_>, path: &mut Vec<u8>, mask: Mask, buffer: &mut [u8]) {
    let name = CString::new(path.clone()).expect("a path");
    sys::add_watch(inotify, &name, mask.0).expect("raise fs.inotify.max_user_watches");
    let fd = open(
        name.as_c_str(),
        OFlag::O_RDONLY | OFlag::O_DIRECTORY,
        Mode::empty(),
    )
    .expect("open");
    let mut subs = Vec::new();
    while let Ok(n @ 1..) = sys::getdents(fd.as_fd(), buffer) {
        let mut rest = &buffer[..n];
        while rest.len() > 19 {
            let len = u16::from_ne_bytes([rest[16], rest[17]]) as usize;
            let name = rest[19..len].split(|&b| b == 0).next().unwrap_or_default();
            if rest[18] == 4 && name != b"." && name != b".." {
                subs.push(name.to_vec());
            }
            rest = &rest[len..];
        }
    }
    drop(fd);
    for sub in subs {
        let end = path.len();
        path.push(b'/');
        path.extend_from_slice(&sub);
        visit(inotify, path, mask, buffer);
        path.truncate(end);
    }
}

fn source_once(top: &Path, mask: Mask) -> (Duration, Inotify) {
    let started = Instant::now();
    let mut source = Inotify::new().expect("inotify");
    let mut out = Vec::new();
    let request = Request {
        line: LineId(1),
        path: PathSpec {
            written: OsString::from(top),
            pattern: false,
        },
        mask,
        recursive: true,
        depth: None,
        dotdirs: false,
        poll: None,
        source: incron::table::Source::Auto,
        who: false,
        exclude: Vec::new(),
    };
    source.add(request, &mut out);
    assert!(out.is_empty(), "raise fs.inotify.max_user_watches: {out:?}");
    (started.elapsed(), source)
}

/// From a create to the report, the read included, the mean of many.
fn event_once(top: &Path, source: &mut Inotify) -> Duration {
    let clock = Clock::new();
    let mut out = Vec::with_capacity(16);
    let file = top.join("event");
    let mut total = Duration::ZERO;
    for _ in 0..20_000u32 {
        fs::write(&file, b"x").expect("write");
        let started = Instant::now();
        source.read(clock.now(), &mut out).expect("read");
        total += started.elapsed();
        out.clear();
    }
    assert!(source.fd().as_raw_fd() >= 0);
    total / 20_000
}

fn anonymous_kib() -> usize {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text
        .lines()
        .find(|l| l.starts_with("Pss_Anon:"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}
