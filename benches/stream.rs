//! Events a second, and CPU an event, from `push` into `cat >/dev/null`, beside the
//! commands a second of vfork and execv in C (spawn_floor.c) in the same run.
//! `cargo bench --bench stream`; needs gcc.

mod kit;

use kit::compile;
use std::process::Command;
use std::time::{Duration, Instant};

use incron::run::stream::{Limits, Streams};
use incron::run::{Job, Report, Runner};
use incron::time::Clock;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

const EVENTS: u32 = 1_000_000;
/// What one turn of a worker's loop reads from inotify at most (64 KiB).
const TURN: u32 = 1000;
const COMMANDS: u32 = 3000;

fn floor() -> f64 {
    let dir = tempfile::tempdir().expect("a directory");
    let stamp = compile("spawn_stamp.c", &["-static", "-nostdlib"], dir.path());
    let program = compile("spawn_floor.c", &[], dir.path());
    let start = Instant::now();
    Command::new(program)
        .arg(stamp)
        .arg(COMMANDS.to_string())
        .output()
        .expect("the floor");
    f64::from(COMMANDS) / start.elapsed().as_secs_f64()
}

fn wait(runner: &Runner, streams: &Streams) {
    let mut fds = [runner.fd(), streams.fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    poll(&mut fds, PollTimeout::NONE).expect("poll");
}

/// Seconds of the wall, and of this process's CPU.
fn ours() -> (f64, f64) {
    let clock = Clock::new();
    let cpu = || Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock"));
    let (mut runner, mut streams) = (
        Runner::new().expect("a runner"),
        Streams::new().expect("streams"),
    );
    let mut job = Job::new(["/bin/sh", "-c", "exec cat >/dev/null"]);
    job.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    let id = streams.open(
        job,
        Limits {
            lines: 10 * TURN as usize,
            bytes: 16 << 20,
        },
        clock.now(),
    );
    streams.process(clock.now(), &mut runner);
    let line = format!(
        "{{\"path\":\"/srv/www/file-000001\",\"events\":[\"IN_CLOSE_WRITE\"],{}}}",
        "\"x\":\"y\",".repeat(25)
    );
    let (start, start_cpu) = (Instant::now(), cpu());
    for turn in 0..EVENTS / TURN {
        for n in 0..TURN {
            streams.push(id, line.as_bytes(), &(turn * TURN + n).to_le_bytes());
        }
        streams.process(clock.now(), &mut runner);
        while streams.counts(id).expect("the stream").1 > 5 * TURN as usize {
            wait(&runner, &streams);
            streams.process(clock.now(), &mut runner);
        }
    }
    while streams.counts(id).expect("the stream").1 > 0 {
        wait(&runner, &streams);
        streams.process(clock.now(), &mut runner);
    }
    streams.close_all(Duration::from_secs(60), clock.now());
    let mut reports = Vec::new();
    while runner.running() > 0 {
        wait(&runner, &streams);
        runner.process(clock.now(), &mut reports);
        for report in reports.drain(..) {
            if let Report::Ended { run, outcome, .. } = report {
                streams.ended(run, outcome, clock.now());
            }
        }
    }
    let (counts, waiting) = streams.counts(id).expect("the stream");
    assert_eq!((counts.lost, counts.merged, waiting), (0, 0, 0));
    (
        start.elapsed().as_secs_f64(),
        (cpu() - start_cpu).as_secs_f64(),
    )
}

fn main() {
    let floor = floor();
    let (wall, cpu) = ours();
    let rate = f64::from(EVENTS) / wall;
    println!(
        "stream: {rate:.0} events/s, {:.2} us of CPU an event",
        cpu * 1e6 / f64::from(EVENTS)
    );
    println!("floor: {floor:.0} commands/s; ratio {:.0}", rate / floor);
}
