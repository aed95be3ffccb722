//! What one mark for a whole file system costs, beside inotify's watches and beside
//! no watch at all in the same run: `cargo bench --bench fanotify [-- ROUNDS]`.
//!
//! All happens on a tmpfs of its own, mounted for the run; needs root. Prints the time
//! until the first event can be told, by the size of the tree, and the kernel's memory
//! for it; how many records of others are discarded in a second; what that costs those
//! others; and the time from close(2) to the event. Medians of the rounds, taken in turn.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use incron::event::LineId;
use incron::table::{Mask, PathSpec, Source as Choice};
use incron::time::Clock;
use incron::watch::{Report, Request, Source, Sources};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const CHANGES: Mask =
    Mask(Mask::CREATE.0 | Mask::CLOSE_WRITE.0 | Mask::DELETE.0 | Mask::MOVED_TO.0);

struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let none = None::<&str>;
        mount(
            Some("tmpfs"),
            dir.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            none,
        )
        .expect("root");
        Self(dir)
    }

    fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(&path).expect("a directory");
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

fn sources(path: &Path, choice: Choice, mask: Mask) -> (Sources, Duration) {
    let mut source = Sources::new().expect("an instance");
    let request = Request {
        line: LineId(1),
        path: PathSpec {
            written: path.into(),
            pattern: false,
        },
        mask,
        recursive: true,
        depth: None,
        dotdirs: false,
        exclude: Vec::new(),
        poll: None,
        source: choice,
        who: false,
    };
    let mut out = Vec::new();
    let start = Instant::now();
    source.add(request, &mut out);
    let took = start.elapsed();
    assert!(out.is_empty(), "{out:?}");
    (source, took)
}

/// One turn of the worker's loop: waits, reads; how many events.
fn turn(source: &mut Sources, clock: &Clock, out: &mut Vec<Report>, most: u8) -> usize {
    let wait = source
        .deadline()
        .map(|at| (at - clock.now()).as_nanos().div_ceil(1_000_000));
    let wait = wait.unwrap_or(u128::from(most)).min(u128::from(most)) as u8;
    let of = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = [of(source.fd()), of(source.fanotify())];
    poll(&mut fds, PollTimeout::from(wait)).expect("poll");
    let ready = fds.map(|fd| fd.any() == Some(true));
    if ready[0] {
        source.read(clock.now(), out).expect("read");
    }
    if ready[1] {
        source.read_fanotify(clock.now(), out).expect("read");
    }
    source.tick(clock.now(), out);
    let events = out
        .iter()
        .filter(|r| matches!(r, Report::Event(..)))
        .count();
    out.clear();
    events
}

/// CPU time of this thread: others keep the machine busy, too.
fn spent() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    now.expect("a clock").into()
}

/// Seconds of that outside the kernel.
fn spent_by_program() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("usage");
    usage.user_time().num_microseconds() as f64 / 1e6
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// One line of the table, as benches/kit.py makes them: to standard output, and to the
/// file that $INCRON_ROWS names. `most`: the bound is not to be exceeded.
fn row(figure: &str, values: &[f64], (most, bound): (bool, f64), unit: &str) {
    let middle = median(values.to_vec());
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    let good = if most {
        middle <= bound
    } else {
        middle >= bound
    };
    let (sign, word) = (
        if most { "<=" } else { ">=" },
        if good { "ok" } else { "MISSED" },
    );
    println!("6  {figure:58} {middle:9.3} [{low:.3}..{high:.3}] {sign} {bound} {unit} {word}");
    let Some(path) = std::env::var_os("INCRON_ROWS") else {
        return;
    };
    let row = serde_json::json!({
        "issue": 6, "figure": figure, "median": middle, "low": low, "high": high,
        "bound": bound, "unit": unit, "most": most, "good": good,
    });
    let file = fs::OpenOptions::new().append(true).create(true).open(path);
    writeln!(file.expect("rows"), "{row}").expect("rows");
}

/// Bytes of the kernel's memory for its own objects.
fn slab() -> f64 {
    let text = fs::read_to_string("/proc/meminfo").expect("/proc");
    let line = text.lines().find_map(|l| l.strip_prefix("Slab:"));
    let kib = line.and_then(|l| l.split_ascii_whitespace().next());
    kib.expect("Slab").parse::<f64>().expect("a number") * 1024.0
}

fn setup(fs: &Tmpfs, rounds: usize) {
    println!("directories    inotify ms    fanotify ms");
    let top = fs.dir("large");
    let mut made = 1;
    for wanted in [100, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000] {
        while made < wanted {
            let dir = top.join(format!("{}/{}", made / 1000, made));
            fs::create_dir_all(dir).expect("a directory");
            made += 1;
        }
        let time = |choice| {
            let (mut source, took) = sources(&top, choice, CHANGES);
            fs::write(top.join("0/1/first"), b"").expect("a file");
            fs::remove_file(top.join("0/1/first")).expect("a file");
            let clock = Clock::new();
            assert!(
                turn(&mut source, &clock, &mut Vec::new(), 100) > 0,
                "not told"
            );
            took.as_secs_f64() * 1000.0
        };
        let both = (0..rounds).map(|_| (time(Choice::Inotify), time(Choice::Fanotify)));
        let (inotify, fanotify): (Vec<_>, Vec<_>) = both.unzip();
        println!(
            "{wanted:>11} {:>13.2} {:>14.3}",
            median(inotify),
            median(fanotify)
        );
    }
}

/// The tree that `setup` made, with ten files in each directory.
fn large(fs: &Tmpfs, rounds: usize) {
    let top = fs.dir("large");
    for made in 1..100_000 {
        let dir = top.join(format!("{}/{}", made / 1000, made));
        for file in 0..10 {
            fs::write(dir.join(file.to_string()), b"").expect("a file");
        }
    }
    let measure = |choice, nth: usize| {
        let (before, start) = (slab(), Instant::now());
        let (mut source, _) = sources(&top, choice, CHANGES);
        let path = top.join(format!("99/99999/first{nth}"));
        fs::write(&path, b"").expect("a file");
        let (clock, mut out) = (Clock::new(), Vec::new());
        while turn(&mut source, &clock, &mut out, 100) == 0 {}
        let took = start.elapsed().as_secs_f64() * 1000.0;
        let memory = (slab() - before) / 100_000.0;
        fs::remove_file(path).expect("a file");
        (took, memory)
    };
    let unzip = |choice| (0..rounds).map(|n| measure(choice, n)).unzip();
    let (marked, slim): (Vec<f64>, Vec<f64>) = unzip(Choice::Fanotify);
    let (watched, fat): (Vec<f64>, Vec<f64>) = unzip(Choice::Inotify);
    let what = "1,000,000 files in 100,000 directories";
    row(
        &format!("{what}: start to an event told"),
        &marked,
        (true, 5.0),
        "ms",
    );
    row(
        &format!("{what}: kernel memory a directory"),
        &slim,
        (true, 8.0),
        "B",
    );
    println!(
        "  inotify: {:.0} ms, {:.0} B of the kernel a directory",
        median(watched),
        median(fat)
    );
}

/// Records of a foreign directory that wait are read and discarded.
fn discarded(fs: &Tmpfs, rounds: usize) {
    let (watched, foreign) = (fs.dir("watched"), fs.dir("foreign"));
    let (mut rates, mut own) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (mut source, _) = sources(&watched, Choice::Fanotify, CHANGES);
        // In many directories, of which none is loud enough to be left out.
        for i in 0..100 {
            let dir = foreign.join(format!("{round}-{i}"));
            fs::create_dir_all(&dir).expect("a directory");
            for j in 0..1000 {
                fs::write(dir.join(j.to_string()), b"x").expect("a file");
            }
        }
        let clock = Clock::new();
        let mut out = Vec::new();
        let (start, user) = (spent(), spent_by_program());
        while source.drain_fanotify(clock.now(), &mut out).expect("read") {}
        let took = (spent() - start).as_secs_f64();
        own.push((spent_by_program() - user) / took);
        let figures = source.fanotify_figures().expect("fanotify");
        assert!(figures.foreign >= 100_000, "{figures:?}");
        rates.push(figures.foreign as f64 / took / 1e6);
    }
    fs::remove_dir_all(&foreign).expect("files");
    row(
        "foreign records discarded in a second of CPU",
        &rates,
        (false, 1.5),
        "million",
    );
}

fn storm(dir: &Path) -> Duration {
    let start = spent();
    for i in 0..100_000 {
        let file = dir.join(format!("f{i}"));
        fs::write(&file, b"x").expect("a file");
        fs::remove_file(&file).expect("a file");
    }
    spent() - start
}

/// What the mark costs a process that makes and removes files elsewhere.
fn slowdown(fs: &Tmpfs, rounds: usize) {
    let (watched, foreign) = (fs.dir("watched"), fs.dir("foreign"));
    let mut ratios = Vec::new();
    storm(&foreign);
    for _ in 0..rounds {
        let without = storm(&foreign).as_secs_f64();
        let (mut source, _) = sources(&watched, Choice::Fanotify, CHANGES);
        let dir = foreign.clone();
        let worker = std::thread::spawn(move || storm(&dir));
        let (clock, mut out) = (Clock::new(), Vec::new());
        while !worker.is_finished() {
            turn(&mut source, &clock, &mut out, 10);
        }
        let with = worker.join().expect("files").as_secs_f64();
        ratios.push(with / without);
        let figures = source.fanotify_figures().expect("fanotify");
        println!("  {without:.2} s, marked {with:.2} s, {figures:?}");
    }
    let what = "100,000 foreign create+write+unlink, to those without a mark";
    row(&format!("{what}: CPU"), &ratios, (true, 1.25), "x");
}

/// From before the close of a file to the event, in microseconds.
fn latency(dir: &Path, choice: Choice) -> f64 {
    let (mut source, _) = sources(dir, choice, Mask::CLOSE_WRITE);
    let (clock, mut out) = (Clock::new(), Vec::new());
    let (ask, asked) = mpsc::channel::<()>();
    let (answer, answered) = mpsc::channel::<Instant>();
    let path = dir.join("f");
    let writer = std::thread::spawn(move || {
        while asked.recv().is_ok() {
            let file = fs::File::create(&path).expect("a file");
            // The reader sleeps by now.
            std::thread::sleep(Duration::from_micros(200));
            let start = Instant::now();
            drop(file);
            answer.send(start).expect("the reader");
        }
    });
    let mut all = Vec::new();
    for _ in 0..2000 {
        ask.send(()).expect("the writer");
        let told = loop {
            let events = turn(&mut source, &clock, &mut out, 100);
            if events > 0 {
                break Instant::now();
            }
        };
        let start = answered.recv().expect("the writer");
        all.push(told.saturating_duration_since(start).as_secs_f64() * 1e6);
    }
    drop(ask);
    writer.join().expect("the writer");
    median(all)
}

fn main() {
    let rounds = std::env::args()
        .skip(1)
        .find_map(|a| a.parse().ok())
        .unwrap_or(5);
    let fs = Tmpfs::new();
    setup(&fs, rounds);
    large(&fs, rounds);
    discarded(&fs, rounds);
    slowdown(&fs, rounds);
    let dir = fs.dir("latency");
    fs::write(dir.join("f"), b"").expect("a file");
    let both = (0..rounds).map(|_| {
        (
            latency(&dir, Choice::Inotify),
            latency(&dir, Choice::Fanotify),
        )
    });
    let both: Vec<_> = both.collect();
    let of = |pick: fn(&(f64, f64)) -> f64| median(both.iter().map(pick).collect());
    println!(
        "close(2) to the event, p50: inotify {:.1} us, fanotify {:.1} us",
        of(|b| b.0),
        of(|b| b.1)
    );
    let ratios: Vec<f64> = both.iter().map(|(i, f)| f / i).collect();
    let what = "close(2) to the event, p50, to inotify's";
    row(what, &ratios, (true, 1.3), "x");
}
