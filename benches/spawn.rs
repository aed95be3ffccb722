//! How much later a command starts through `Runner`, with its output pipe, own
//! group, clean signals and /dev/null, than by the least that a C program can do
//! (spawn_floor.c). Both in turn, in one run: only the ratio counts on a shared
//! machine. `cargo bench --bench spawn`; needs gcc.

mod kit;

use kit::compile;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use incron::run::{Job, Report, Runner};
use incron::schedule::RunId;
use incron::time::Clock;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 20;
const RUNS: usize = 500;

fn nanoseconds(text: &[u8]) -> i64 {
    String::from_utf8_lossy(text)
        .trim()
        .parse()
        .expect("a number")
}

fn floor(program: &Path, job: &Job) -> Vec<i64> {
    let mut command = Command::new(program);
    command
        .arg(&job.argv[0])
        .arg(RUNS.to_string())
        .env_clear()
        .envs(job.env.iter().cloned());
    let out = command.output().expect("the floor");
    out.stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(nanoseconds)
        .collect()
}

fn ours(runner: &mut Runner, job: &Job, next: &mut u64) -> Vec<i64> {
    let clock = Clock::new();
    let mut reports = Vec::new();
    let once = |_| {
        *next += 1;
        runner.prepare();
        let before = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock"));
        runner
            .start(RunId(*next), job, clock.now())
            .expect("a start");
        let mut stamp = 0;
        while runner.running() > 0 {
            poll(
                &mut [PollFd::new(runner.fd(), PollFlags::POLLIN)],
                PollTimeout::NONE,
            )
            .expect("poll");
            runner.process(clock.now(), &mut reports);
        }
        for report in reports.drain(..) {
            if let Report::Output(_, line) = report {
                stamp = nanoseconds(&line);
            }
        }
        stamp - before.as_nanos() as i64
    };
    (0..RUNS).map(once).collect()
}

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let stamp = compile("spawn_stamp.c", &["-static", "-nostdlib"], dir.path());
    let program = compile("spawn_floor.c", &[], dir.path());
    let mut job = Job::new([stamp]);
    // As many variables as a line's command gets; the floor's has the same.
    job.env = (0..18)
        .map(|n| (format!("INCRON_{n}").into(), "/srv/some/path".into()))
        .collect();
    let mut runner = Runner::new().expect("a runner");
    let (mut ours_all, mut floor_all, mut next) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        floor_all.extend(floor(&program, &job));
        ours_all.extend(ours(&mut runner, &job, &mut next));
    }
    for (name, percent) in [("p10", 10), ("p50", 50), ("p90", 90), ("p99", 99)] {
        let at = |all: &mut Vec<i64>| {
            all.sort_unstable();
            all[all.len() * percent / 100] as f64 / 1000.0
        };
        let (ours, floor) = (at(&mut ours_all), at(&mut floor_all));
        println!(
            "start to first instruction, {name}: ours {ours:.1} us, floor {floor:.1} us, ratio {:.2}",
            ours / floor
        );
    }
}
